//! Which service gets a connection, seen from outside: priority, segmentation, half-close, time and a full buffer.
//! The pure decision has property tests of its own; here it is the real program and real sockets.

use std::time::{Duration, Instant};

use crate::support::config::{LISTEN, service, to};
use crate::support::{Backend, Portsplit, Socket, assert_took, eventually};

/// Services whose answer names them, in an order that matters.
struct Tags {
    portsplit: Portsplit,
    _backends: Vec<Backend>,
}

impl Tags {
    #[track_caller]
    fn start(globals: &str, services: &[(&'static str, &str)]) -> Tags {
        let backends: Vec<Backend> = services.iter().map(|(name, _)| Backend::tag(name)).collect();
        let tables = services.iter().zip(&backends).map(|((name, matcher), backend)| to(backend, name, matcher));
        let portsplit = Portsplit::start(&format!("{globals}\n{LISTEN}{}", tables.collect::<String>()));
        Tags { portsplit, _backends: backends }
    }

    /// What a client that sends `pieces` in segments of their own, then finishes, gets back.
    #[track_caller]
    fn answer(&self, pieces: &[&[u8]]) -> String {
        self.play(pieces).answer()
    }

    /// The answer as [`Tags::answer`], and why the connection went there.
    #[track_caller]
    fn answer_and_reason(&self, pieces: &[&[u8]]) -> (String, String) {
        let client = self.play(pieces);
        (client.answer(), self.portsplit.connection_of(&client.local()).field("reason"))
    }

    #[track_caller]
    fn play(&self, pieces: &[&[u8]]) -> Socket {
        let client = self.portsplit.client();
        for piece in pieces {
            client.send(piece);
            eventually("the piece is acknowledged", || client.unacknowledged() == 0);
        }
        client.finish();
        client
    }
}

#[test]
fn the_upstream_gets_exactly_the_bytes_that_were_read() {
    let tags = Tags::start("", &[("ssh", "prefix = 'SSH-'"), ("web", "regex = '^(GET|POST) /'")]);
    for (sent, name) in [("SSH-2.0-test\r\nmore", "ssh"), ("GET / HTTP/1.1\r\n\r\n", "web"), ("POST /x", "web")] {
        assert_eq!(tags.answer(&[sent.as_bytes()]), format!("{name}\n{sent}"));
    }
}

#[test]
fn byte_by_byte_decides_as_one_segment_does() {
    let services = [
        ("ssh", "prefix = 'SSH-'"),
        ("vpn", r"prefix = '\x00\x0e\x38'"),
        ("web", r"regex = '^[A-Z]{3,7} [^ ]* HTTP/1\.[01]'"),
        ("fallback", ""),
    ];
    let tags = Tags::start("", &services);
    let flights: [&[u8]; 6] = [
        b"SSH-2.0-x\r\n",
        b"\x00\x0e\x38\x01\x02",
        b"DELETE /a HTTP/1.1\r\n",
        b"SSJ",
        b"get / http/1.1",
        b"\x00\x0e\x39",
    ];
    for flight in flights {
        let whole = tags.answer_and_reason(&[flight]);
        let bytes: Vec<&[u8]> = flight.chunks(1).collect();
        assert_eq!(tags.answer_and_reason(&bytes), whole, "byte by byte: {flight:?}");
        for at in 1..flight.len() {
            assert_eq!(tags.answer_and_reason(&[&flight[..at], &flight[at..]]), whole, "cut at {at}: {flight:?}");
        }
    }
}

#[test]
fn an_earlier_service_that_still_needs_more_is_not_overtaken() {
    let tags = Tags::start("", &[("a", "prefix = 'GETX'"), ("b", "prefix = 'GE'"), ("fallback", "")]);
    for pieces in [vec![&b"GETX"[..]], vec![b"GE", b"TX"], vec![b"G", b"E", b"T", b"X"]] {
        assert_eq!(tags.answer(&pieces), "a\nGETX", "in {} segments", pieces.len());
    }
    for pieces in [vec![&b"GETY"[..]], vec![b"GE", b"TY"], vec![b"G", b"E", b"T", b"Y"]] {
        assert_eq!(tags.answer(&pieces), "b\nGETY", "in {} segments", pieces.len());
    }
}

#[test]
fn a_match_that_waited_for_an_earlier_service_wins_when_time_is_up() {
    let tags = Tags::start("timeout = \"400ms\"", &[("a", "prefix = 'GETX'"), ("b", "prefix = 'GE'"), ("timeout", "")]);
    let started = Instant::now();
    let client = tags.portsplit.client_sending("GET");
    assert_eq!(client.receive_line(), "b");
    assert_took("the decision", started.elapsed(), 390, 1400);
    assert_eq!(client.receive(3), b"GET");
}

#[test]
fn fallback_gets_the_connection_as_soon_as_every_service_rejects() {
    let services = [("a", "prefix = 'twelve bytes'"), ("b", "regex = '^GET '"), ("fallback", "")];
    let tags = Tags::start("timeout = \"60s\"", &services);
    for flight in ["GX", "x", "\n", "twelve byteS"] {
        // The client stays open: only the bytes can have decided this.
        let client = tags.portsplit.client_sending(flight);
        assert_eq!(client.receive_line(), "fallback", "after {flight:?}");
        assert_eq!(client.receive(flight.len()), flight.as_bytes());
        let peer = client.local();
        drop(client);
        let line = tags.portsplit.connection_of(&peer);
        assert_eq!((line.field("service").as_str(), line.field("reason").as_str()), ("fallback", "no-match"));
    }
}

#[test]
fn without_a_fallback_an_unmatched_connection_is_closed() {
    let tags = Tags::start("timeout = \"60s\"", &[("ssh", "prefix = 'SSH-'")]);
    let client = tags.portsplit.client_sending("GET / HTTP/1.0\r\n\r\n");
    assert!(client.assert_closed_without_a_byte() < Duration::from_secs(5));
    let line = tags.portsplit.connection_of(&client.local());
    assert_eq!((line.field("end").as_str(), line.field("reason").as_str()), ("closed", "no-match"));
}

#[test]
fn a_silent_client_gets_the_timeout_service_on_time() {
    let tags = Tags::start("timeout = \"500ms\"", &[("ssh", "prefix = 'SSH-'"), ("timeout", ""), ("fallback", "")]);
    let started = Instant::now();
    let client = tags.portsplit.client();
    assert_eq!(client.receive_line(), "timeout");
    assert_took("the server's first line", started.elapsed(), 490, 1500);
    client.send("now a conversation");
    assert_eq!(client.receive(18), b"now a conversation");
    let peer = client.local();
    drop(client);
    let line = tags.portsplit.connection_of(&peer);
    assert_eq!((line.field("service").as_str(), line.field("reason").as_str()), ("timeout", "timeout"));
    assert_eq!(line.number("first_flight_bytes"), 0);
    assert!((490..1500).contains(&line.decide_ms()), "{}", line.text());
}

#[test]
fn trickled_bytes_do_not_move_the_deadline_and_are_all_passed_on() {
    let tags = Tags::start("timeout = \"600ms\"", &[("a", "prefix = 'aaaaaaaaaaaaaaaaaaaaaaaa'"), ("timeout", "")]);
    let started = Instant::now();
    let client = tags.portsplit.client();
    let reader = client.clone();
    let (line, took, sent) = std::thread::scope(|scope| {
        let answer = scope.spawn(|| (reader.receive_line(), started.elapsed()));
        let mut sent = 0;
        // One byte every 50 ms: a deadline that started anew with each would never come.
        while !answer.is_finished() && sent < 23 {
            client.send("a");
            sent += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        let (line, took) = answer.join().unwrap();
        (line, took, sent)
    });
    assert_eq!(line, "timeout");
    assert_took("the decision", took, 590, 1100);
    client.finish();
    assert_eq!(client.receive_to_end(), "a".repeat(sent).as_bytes());
}

#[test]
fn without_a_timeout_service_a_silent_client_is_closed_on_time() {
    let tags = Tags::start("timeout = \"400ms\"", &[("ssh", "prefix = 'SSH-'"), ("fallback", "")]);
    let started = Instant::now();
    let client = tags.portsplit.client_sending("SS");
    client.assert_closed_without_a_byte();
    assert_took("the close", started.elapsed(), 390, 1400);
    let line = tags.portsplit.connection_of(&client.local());
    assert_eq!((line.field("end").as_str(), line.field("reason").as_str()), ("closed", "timeout"));
}

#[test]
fn a_service_that_closes_sends_nothing() {
    let config = service("ssh", "prefix = 'SSH-'", "close = true");
    let portsplit = Portsplit::start(&format!("{LISTEN}{config}"));
    let client = portsplit.client_sending("SSH-2.0-x");
    client.assert_closed_without_a_byte();
    let line = portsplit.connection_of(&client.local());
    assert_eq!((line.field("service").as_str(), line.field("reason").as_str()), ("ssh", "match"));
}

#[test]
fn a_request_that_half_closes_at_once_is_answered_in_full() {
    let tags = Tags::start("", &[("web", "regex = '^GET '"), ("fallback", "")]);
    for _ in 0..100 {
        assert_eq!(tags.answer(&[b"GET / HTTP/1.0\r\n\r\n"]), "web\nGET / HTTP/1.0\r\n\r\n");
    }
}

#[test]
fn half_close_with_undecided_bytes_goes_to_fallback_with_the_bytes_and_the_end() {
    let tags = Tags::start("timeout = \"60s\"", &[("ssh", "prefix = 'SSH-'"), ("fallback", "")]);
    let client = tags.portsplit.client_sending("SS");
    client.finish();
    assert_eq!(client.answer(), "fallback\nSS");
    let line = tags.portsplit.connection_of(&client.local());
    assert_eq!(line.field("reason"), "half-close", "{}", line.text());
}

#[test]
fn a_client_that_leaves_without_a_byte_reaches_nobody() {
    let tags = Tags::start("timeout = \"60s\"", &[("ssh", "prefix = 'SSH-'"), ("fallback", ""), ("timeout", "")]);
    let client = tags.portsplit.client();
    client.finish();
    client.assert_closed_without_a_byte();
    let line = tags.portsplit.connection_of(&client.local());
    assert_eq!(line.field("service"), "", "{}", line.text());
    assert!(tags._backends.iter().all(|backend| backend.accepted() == 0));
}

#[test]
fn a_regex_with_dollar_matches_only_at_half_close() {
    let tags = Tags::start("timeout = \"500ms\"", &[("end", "regex = '^ping$'"), ("fallback", ""), ("timeout", "")]);
    assert_eq!(tags.answer(&[b"ping"]), "end\nping");
    assert_eq!(tags.answer(&[b"ping!"]), "fallback\nping!");
    let client = tags.portsplit.client_sending("ping");
    assert_eq!(client.receive_line(), "timeout", "no half-close, so no end of the text");
}

#[test]
fn an_unanchored_regex_finds_its_text_anywhere() {
    let tags = Tags::start("", &[("found", r"regex = 'magic\xff'"), ("fallback", "")]);
    assert_eq!(tags.portsplit.client_sending(b"some bytes, then magic\xff").receive_line(), "found");
    assert_eq!(tags.answer(&[b"some bytes, no m\xffagic"]).lines().next(), Some("fallback"));
}

#[test]
fn a_full_buffer_goes_to_fallback_with_every_byte() {
    let tags =
        Tags::start("max_first_flight = \"1KiB\"\ntimeout = \"60s\"", &[("never", "regex = 'x'"), ("fallback", "")]);
    for len in [1024, 1025, 5000] {
        let sent = "a".repeat(len);
        let client = tags.portsplit.client_sending(&sent);
        assert_eq!(client.receive_line(), "fallback", "with {len} bytes");
        assert_eq!(client.receive(len), sent.as_bytes());
        let peer = client.local();
        drop(client);
        assert_eq!(tags.portsplit.connection_of(&peer).field("reason"), "full");
    }
    // One byte less does not fill it: the service may still match.
    let client = tags.portsplit.client_sending("a".repeat(1023));
    client.send("x");
    assert_eq!(client.receive_line(), "never");
}

#[test]
fn first_flights_around_every_power_of_two_arrive_once() {
    let tags = Tags::start("", &[("late", "regex = '#'"), ("fallback", "")]);
    for size in [256, 1024, 2048, 4096, 8192, 16384] {
        for len in size - 2..=size + 2 {
            let body = "a".repeat(len - 1);
            let expected = if len <= 16384 { "late" } else { "fallback" };
            let client = tags.portsplit.client();
            client.send(&body[..len / 3]);
            client.send(&body[len / 3..]);
            client.send("#");
            client.finish();
            assert_eq!(client.answer(), format!("{expected}\n{body}#"), "{len} bytes");
        }
    }
}

#[test]
fn a_byte_that_races_with_the_deadline_still_reaches_the_timeout_service() {
    let tags = Tags::start("timeout = \"100ms\"", &[("ssh", "prefix = 'SSH-'"), ("timeout", "")]);
    std::thread::scope(|scope| {
        for step in 0..40 {
            let tags = &tags;
            scope.spawn(move || {
                let client = tags.portsplit.client_sending("S");
                // Between 80 and 120 ms after accept: some before, some after, some at the deadline.
                std::thread::sleep(Duration::from_millis(80 + step));
                client.send("S");
                client.finish();
                // Before the deadline the half-close comes first, and without a fallback that means close.
                let answer = client.answer();
                assert!(answer == "timeout\nSS" || answer.is_empty(), "at {step}: {answer:?}");
            });
        }
    });
}
