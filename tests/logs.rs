//! The log: one line per connection, as text or as JSON, and never a raw byte of a peer.

use crate::support::config::{LISTEN, all_to, service, to};
use crate::support::rng::Rng;
use crate::support::{Backend, Portsplit, eventually};

/// Bytes that a log must never contain as they are: control characters except the line's end, and broken UTF-8.
fn is_clean(raw: &[u8]) -> bool {
    let no_controls = std::str::from_utf8(raw).is_ok_and(|text| !text.chars().any(char::is_control));
    no_controls && !raw.is_empty()
}

#[test]
fn a_connections_line_tells_how_it_went() {
    let backend = Backend::tag("web");
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to(&backend, "web", "prefix = 'GET '")));
    let client = portsplit.client_sending("GET /");
    client.finish();
    client.receive_to_end();
    let line = portsplit.connection_of(&client.local());
    let field = |key: &str| line.field(key);
    assert_eq!((field("level"), field("service"), field("reason")), ("INFO".into(), "web".into(), "match".into()));
    assert!(field("listener").contains(portsplit.address()), "{}", line.text());
    assert!(field("upstream").contains(backend.address()), "{}", line.text());
    assert!((4..=5).contains(&line.number("first_flight_bytes")), "{}", line.text());
    assert_eq!((line.number("bytes_in"), line.number("bytes_out")), (5, 9), "{}", line.text());
    assert!(line.decide_ms() < 2000 && !field("end").is_empty() && !field("timestamp").is_empty(), "{}", line.text());
}

#[test]
fn every_connection_has_exactly_one_line_however_it_ends() {
    let backend = Backend::tag("web");
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to(&backend, "web", "prefix = 'GET '")));
    for round in 0..60 {
        let client = portsplit.client();
        match round % 5 {
            0 => client.send("GET /"),
            1 => client.send("no match"),
            2 => client.send("GE"),
            3 => {
                client.abort();
                continue;
            }
            _ => {}
        }
        client.finish();
        client.answer();
    }
    eventually("all have ended", || portsplit.log().count(|line| line.message() == "connection") >= 60);
    portsplit.client_sending("GET /").finish();
    eventually("and one more", || portsplit.log().count(|line| line.message() == "connection") >= 61);
    assert_eq!(portsplit.log().count(|line| line.message() == "connection"), 61);
}

#[test]
fn the_text_format_tells_the_same_for_people() {
    let backend = Backend::tag("web");
    let port = crate::support::portsplit::free_port();
    let listen = format!("listen = [\"127.0.0.1:{port}\"]\n");
    let config = format!("{listen}{}", to(&backend, "web", "prefix = 'GET '"));
    let portsplit = Portsplit::start_logging("text", "info", &config);
    let client = crate::support::Socket::connect(&format!("127.0.0.1:{port}"));
    client.send("GET /");
    client.finish();
    client.receive_to_end();
    let peer = client.local();
    let line = portsplit.wait_for_line("the connection's line", |line| line.text().contains(&peer));
    let text = line.text();
    for part in ["INFO", "connection", "web", "match", backend.address()] {
        assert!(text.contains(part), "`{part}` is missing in: {text}");
    }
    assert!(portsplit.log().lines().iter().all(|line| is_clean(&line.raw)), "no colours into a pipe");
}

#[test]
fn the_level_silences_what_lies_below_it() {
    let port = crate::support::portsplit::free_port();
    let backend = Backend::tag("web");
    let config = format!("listen = [\"127.0.0.1:{port}\"]\n{}", to(&backend, "web", "prefix = 'GET '"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portsplit.toml");
    std::fs::write(&file, format!("{config}\n[log]\nlevel = \"error\"\nformat = \"json\"\n")).unwrap();
    let mut command = std::process::Command::new(crate::support::portsplit::program());
    command.arg("--config").arg(&file).stderr(std::process::Stdio::piped()).stdin(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    let log = crate::support::log::Log::follow(child.stderr.take().unwrap());
    let address = format!("127.0.0.1:{port}");
    eventually("it listens", || crate::support::Socket::try_connect(&address).is_ok());
    crate::support::process::signal(child.id(), crate::support::process::Signal::TERM);
    assert!(crate::support::process::wait_within(&mut child, crate::support::PATIENCE).is_some());
    assert_eq!(log.len(), 0, "{}", log.text());
}

#[test]
fn a_peers_bytes_never_reach_the_log_raw() {
    let (seed, mut rng) = Rng::from_env("a_peers_bytes_never_reach_the_log_raw");
    for format in ["json", "text"] {
        let services = [
            service("echo", "prefix = '>'", "exec = [\"/bin/sh\", \"-c\", \"cat >&2\"]"),
            service("fallback", "", "close = true"),
        ];
        let port = crate::support::portsplit::free_port();
        let config = format!("listen = [\"127.0.0.1:{port}\"]\n{}", services.concat());
        let portsplit = Portsplit::start_logging(format, "trace", &config);
        let address = format!("127.0.0.1:{port}");
        let hostile: [&[u8]; 4] = [
            b"\x1b[31mred\x1b[0m\r\n2026-01-01T00:00:00Z INFO forged line\n",
            b"\x00\x01\x02\x7f\x80\xff\xfe\n{\"level\":\"INFO\",\"message\":\"forged\"}\n",
            "\u{202e}bidi\u{2028}line\u{85}next".as_bytes(),
            b"\"}\n{\"message\":\"forged\"}",
        ];
        let random: Vec<Vec<u8>> = (0..100)
            .map(|_| {
                let len = 1 + rng.below(300);
                rng.bytes(len)
            })
            .collect();
        let payloads = hostile.iter().map(|bytes| bytes.to_vec()).chain(random);
        let mut connections = 0;
        for payload in payloads {
            for prefix in ["", ">"] {
                let client = crate::support::Socket::connect(&address);
                client.send([prefix.as_bytes(), &payload].concat());
                client.finish();
                client.answer();
                connections += 1;
            }
        }
        let is_end = |line: &crate::support::log::Line| match format {
            "json" => line.message() == "connection",
            _ => line.text().contains(" connection ") || line.text().contains(": connection"),
        };
        eventually("every connection is logged", || portsplit.log().count(is_end) >= connections);
        for line in portsplit.log().lines() {
            assert!(is_clean(&line.raw), "SEED={seed}, {format}: {:?}", line.text());
            let forged = line.message() == "forged" || line.text().starts_with("2026-01-01T00:00:00Z INFO forged");
            assert!(!forged, "a peer wrote a line of its own: {}", line.text());
            assert!(format == "text" || line.json.is_object(), "SEED={seed}: not JSON: {:?}", line.text());
        }
    }
}

#[test]
fn payload_is_not_logged_at_the_default_level() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start_logging("json", "info", &all_to(&backend));
    for marker in [">secret-marker", "secret-marker"] {
        let client = portsplit.client_sending(marker);
        client.finish();
        client.answer();
        portsplit.connection_of(&client.local());
    }
    assert_eq!(portsplit.log().count(|line| line.text().contains("secret-marker")), 0);
}

#[test]
fn a_log_reader_that_is_stuck_does_not_stop_the_service() {
    use std::process::{Command, Stdio};
    let backend = Backend::tag("web");
    let port = crate::support::portsplit::free_port();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portsplit.toml");
    let config = format!("listen = [\"127.0.0.1:{port}\"]\n{}", to(&backend, "web", "prefix = 'GET '"));
    std::fs::write(&file, format!("{config}\n[log]\nlevel = \"trace\"\n")).unwrap();
    let mut command = Command::new(crate::support::portsplit::program());
    // Nobody reads this pipe: it is full after 64 KiB.
    command.arg("--config").arg(&file).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let address = format!("127.0.0.1:{port}");
    eventually("it listens", || crate::support::Socket::try_connect(&address).is_ok());
    for round in 0..1500 {
        let client = crate::support::Socket::connect(&address);
        client.send("GET /");
        client.finish();
        assert_eq!(client.answer(), "web\nGET /", "connection {round}");
    }
    crate::support::process::signal(child.id(), crate::support::process::Signal::TERM);
    let ended = crate::support::process::wait_within(&mut child, crate::support::PATIENCE);
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(ended.is_some(), "it does not end while nobody reads its log");
}

#[test]
fn the_last_line_counts_what_was_let_in_refused_and_not_connected() {
    let backend = Backend::echo();
    let down = crate::support::backend::Refused::new();
    let config = [
        "max_connections = 3\nmax_undecided = 3\ntimeout = \"60s\"\n".to_owned(),
        all_to(&backend),
        service("down", "prefix = 'd'", &format!("connect = \"{}\"", down.address())),
    ];
    let mut portsplit = Portsplit::start(&config.concat());
    for _ in 0..4 {
        let client = portsplit.client_sending("d");
        client.answer();
        portsplit.connection_of(&client.local());
    }
    let open: Vec<_> = (0..3).map(|_| portsplit.client_sending(">")).collect();
    for client in &open {
        assert_eq!(client.receive(1), b">");
    }
    for _ in 0..5 {
        portsplit.client().assert_closed_without_a_byte();
    }
    drop(open);
    portsplit.signal(crate::support::process::Signal::TERM);
    portsplit.wait_within(crate::support::PATIENCE);
    let line = portsplit.wait_for_line("the counts", |line| line.message() == "stopped");
    let counts = ["accepted", "refused", "upstream_failures"].map(|key| line.number(key));
    assert_eq!(counts, [7, 5, 4], "{}", line.text());
}

#[test]
fn a_path_with_control_characters_is_logged_on_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = format!("{}/a\\nb\\u001b[31mc", dir.path().display());
    for format in ["text", "json"] {
        let listen = format!("listen = [\"unix:{path}\", \"127.0.0.1:0\"]\n");
        let missing = service("a", "prefix = 'a'", &format!("connect = \"unix:{path}.missing\""));
        let portsplit = Portsplit::start_logging(format, "info", &format!("{listen}{missing}"));
        let client = crate::support::Socket::connect(&format!("unix:{}/a\nb\u{1b}[31mc", dir.path().display()));
        client.send("a");
        client.answer();
        eventually("the connection is logged", || {
            portsplit.log().count(|line| line.text().contains("upstream-failed")) > 0
        });
        for line in portsplit.log().lines() {
            assert!(is_clean(&line.raw), "{format}: {:?}", line.text());
            assert!(line.text().starts_with(['2', '{']), "{format}: a line without its time: {:?}", line.text());
        }
        portsplit.stop();
    }
}
