#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

const FILE: &str = r#"
listen = [
    "127.0.0.1:4430",
    { address = "[::1]:4431", services = ["ssh"] },
    "unix:/run/x.sock",
]
[[service]]
name = "ssh"
prefix = 'SSH-'
connect = "127.0.0.1:22"
[[service]]
name = "web"
regex = '^GET '
connect = "127.0.0.1:80"
"#;

fn config() -> Config {
    Config::parse(Path::new("x.toml"), FILE).unwrap().0
}

#[test]
fn listeners_with_the_same_services_are_explained_together() {
    let config = config();
    let names: Vec<String> = sides(&config, None).unwrap().iter().map(Side::names).collect();
    assert_eq!(names, ["127.0.0.1:4430, unix:/run/x.sock", "[::1]:4431"]);
}

#[test]
fn a_listener_is_named_by_its_address_or_its_port() {
    let config = config();
    for (written, address) in [
        ("127.0.0.1:4430", "127.0.0.1:4430"),
        ("[::1]:4431", "[::1]:4431"),
        ("[0:0::1]:4431", "[::1]:4431"),
        ("4431", "[::1]:4431"),
        (":4430", "127.0.0.1:4430"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("/run/x.sock", "unix:/run/x.sock"),
    ] {
        assert_eq!(sides(&config, Some(written)).unwrap()[0].names(), address, "{written}");
    }
}

#[test]
fn a_listener_that_is_not_there_is_refused_with_those_that_are() {
    for written in ["127.0.0.1:1", "1", "", "/run/y.sock", "127.0.0.1"] {
        let Err(Failure::Usage(message)) = sides(&config(), Some(written)) else { panic!("{written} was found") };
        assert!(message.contains("127.0.0.1:4430, [::1]:4431, unix:/run/x.sock"), "{message}");
    }
}

#[test]
fn bytes_past_the_largest_first_flight_are_left_out() {
    let subject = Subject::new(b"abc".to_vec(), 2);
    assert_eq!((subject.flight.as_slice(), subject.cut), (&b"ab"[..], true));
    let subject = Subject::new(b"ab".to_vec(), 2);
    assert_eq!((subject.flight.as_slice(), subject.cut), (&b"ab"[..], false));
}
