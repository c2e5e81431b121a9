#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::cli::explain::{capture, json, sides};
use crate::decision::End;
use crate::matcher::{Answer, Classifier};
use crate::router::Rule;

const FILE: &str = r#"
listen = ["127.0.0.1:4430", "[::1]:4430"]
max_first_flight = "64B"
[[service]]
name = "ssh"
prefix = 'SSH-'
connect = "127.0.0.1:22"
[[service]]
name = "web"
regex = ['^(GET|POST) ', '^HEAD ']
connect = ["127.0.0.1:80", "unix:/run/web.sock"]
[[service]]
name = "end"
regex = '^SSH$'
close = true
[[service]]
name = "fallback"
exec = ["/bin/echo", "hello you"]
"#;

fn config() -> Config {
    Config::parse(Path::new("x.toml"), FILE).unwrap().0
}

fn explain(config: &Config, bytes: &[u8], cuts: Option<&[usize]>) -> String {
    let subject = Subject::new(bytes.to_vec(), config.max_first_flight_bytes);
    let sides = sides(config, None).unwrap();
    let mut account = Account::new(sides[0].router, &subject.flight, config.max_first_flight_bytes);
    if let Some(cuts) = cuts {
        account.walk(sides[0].router, &subject.flight, config.max_first_flight_bytes, cuts);
    }
    explanation(config, &sides, &subject, None, &[account])
}

#[test]
fn a_match_is_told_with_pattern_byte_reason_and_action() {
    assert_eq!(
        explain(&config(), b"POST /\r\n", None),
        "\
bytes     8: POST /\\r\\n
listener  127.0.0.1:4430, [::1]:4430

service  verdict  known at  because of
ssh      reject   1 byte
web      match    5 bytes   regex '^(GET|POST) '
end      reject   1 byte

decision  web: it matches, and every service before it has rejected (match, known at 5 bytes)
action    connect to 127.0.0.1:80, else unix:/run/web.sock
"
    );
}

#[test]
fn an_undecided_first_flight_is_told_with_what_would_decide_it() {
    assert_eq!(
        explain(&config(), b"SSH", None),
        "\
bytes     3: SSH
listener  127.0.0.1:4430, [::1]:4430

service  verdict    known at  because of
ssh      need-more  -         prefix 'SSH-'
web      reject     1 byte
end      need-more  -         regex '^SSH$'

undecided after 3 bytes: ssh needs more
  if the client half-closes now  end (half-close): close
  if it stays so up to 64 bytes  fallback (full): exec /bin/echo 'hello you'
  if it stays so for 5s          timeout (timeout): close
"
    );
}

#[test]
fn pieces_that_say_the_same_are_one_line() {
    let text = explain(&config(), b"GET /", Some(&[1, 2, 3, 4, 5]));
    let rows: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("after")).take(4).collect();
    assert_eq!(
        rows,
        [
            "after   match  need-more  decision",
            "1 to 3  -      web        -",
            "4       web    -          web (match, 4 bytes)",
            "the whole is decided the same way",
        ]
    );
}

#[test]
fn what_a_peer_sent_is_escaped_and_shortened() {
    let text = explain(&config(), b"\x1b[2J\\\x00\xff", None);
    assert!(text.starts_with("bytes     7: \\x1b[2J\\\\\\x00\\xff\n"), "{text}");
    let long = explain(&config(), &[b'x'; 70], None);
    assert!(long.starts_with(&format!("bytes     64: {}\n", "x".repeat(64))), "{long}");
    assert!(long.contains("the bytes after the first 64 bytes are left out: `max_first_flight`"), "{long}");
    assert!(explain(&config(), b"", None).starts_with("bytes     0\n"));
}

/// Claims every first flight, with a fact that holds what a peer may send.
#[derive(Debug)]
struct Talker;

impl Classifier for Talker {
    fn classify(&self, _: &[u8], _: Option<End>) -> Answer {
        Answer::Match(vec![Fact { name: "sni".into(), value: "a\x1b]0;b\u{9b}ü".into() }])
    }

    fn name(&self) -> &str {
        "talker"
    }
}

#[test]
fn facts_are_escaped() {
    let config = config();
    let matchers = vec![Matcher::Classifier { slot: 0, condition: Arc::default() }];
    let router = Router::new(vec![Rule { service: 0, matchers }], vec![Arc::new(Talker)]);
    let side = Side { addresses: Vec::new(), router: &router };
    let account = Account::new(&router, b"x", 64);
    assert_eq!(
        rows(&config, &side, &account),
        "service  verdict  known at  because of       facts\n\
         ssh      match    1 byte    plugin 'talker'  sni=a\\x1b]0;b\\xc2\\x9b\\xc3\\xbc\n"
    );
}

fn flow(flight: &[u8]) -> Flow {
    Flow {
        client: "192.0.2.1:50000".parse().unwrap(),
        server: "192.0.2.2:443".parse().unwrap(),
        flight: flight.to_vec(),
        from_start: true,
        incomplete: false,
        half_closed: false,
        server_spoke_after: None,
    }
}

#[test]
fn a_capture_is_told_with_a_line_for_each_connection() {
    let config = config();
    let sides = sides(&config, None).unwrap();
    let flows = vec![
        flow(b"SSH-2.0-x"),
        Flow { half_closed: true, ..flow(b"SSH") },
        Flow { from_start: false, incomplete: true, ..flow(b"HEA") },
        Flow { server_spoke_after: Some(0), ..flow(b"") },
        Flow { half_closed: true, ..flow(b"") },
    ];
    let left_out = capture::LeftOut { past_limit: 0, without_tcp: 2 };
    let capture = Capture { flows, left_out };
    let accounts: Vec<Account> =
        capture.flows.iter().map(|flow| Account::new(sides[0].router, &flow.flight, 64)).collect();
    assert_eq!(
        overview(&config, &sides[0], &capture, &accounts),
        "\
listener  127.0.0.1:4430, [::1]:4430

flow  client           server         bytes  decision
1     192.0.2.1:50000  192.0.2.2:443  9      ssh (match, 4 bytes)
2     192.0.2.1:50000  192.0.2.2:443  3      end (half-close, 3 bytes); then the client half-closed
3     192.0.2.1:50000  192.0.2.2:443  3      undecided, later timeout; its start was not captured; bytes are missing after these
4     192.0.2.1:50000  192.0.2.2:443  0      undecided, later timeout; only the server spoke
5     192.0.2.1:50000  192.0.2.2:443  0      closed: it sent nothing; then the client half-closed
left out: 2 packets without TCP
"
    );
    let json = json::overview(&config, &sides[0], &capture, &accounts);
    assert_eq!((&json["flows"][0]["service"], &json["flows"][0]["flow"]), (&"ssh".into(), &1.into()));
    assert_eq!(json["flows"][2]["ends"]["timeout"]["service"], "timeout");
    assert_eq!(json["flows"].as_array().unwrap().len(), 5);
    assert_eq!(json["left_out_packets"]["without_tcp"], 2);
}

#[test]
fn a_capture_without_connections_says_so() {
    let config = config();
    let sides = sides(&config, None).unwrap();
    assert_eq!(overview(&config, &sides[0], &Capture::default(), &[]), "the capture has no TCP connection\n");
}
