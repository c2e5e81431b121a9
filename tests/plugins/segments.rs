//! What the shipped plugins decide does not depend on how the bytes are cut.

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use super::guest::start;
use crate::support::config::{LISTEN, service, to};
use crate::support::rng::Rng;
use crate::support::{Backend, Portsplit, Socket, eventually, tools};

/// What OpenSSL sends first when it is asked for `host`.
#[track_caller]
fn client_hello(host: &'static str) -> Vec<u8> {
    static SEEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    SEEN.lock().unwrap().clear();
    let server = Backend::tcp(|socket| {
        let mut record = socket.receive(5);
        let len = usize::from(record[3]) << 8 | usize::from(record[4]);
        record.extend(socket.receive(len));
        *SEEN.lock().unwrap() = record;
    });
    // One small key share, so that the hello is short enough to be sent byte by byte.
    let args =
        ["s_client", "-connect", server.address(), "-servername", host, "-alpn", "h2,http/1.1", "-groups", "X25519"];
    let output = tools::run_within(Duration::from_secs(30), "openssl", &args, b"");
    eventually("the hello is there", || !SEEN.lock().unwrap().is_empty());
    let hello = SEEN.lock().unwrap().clone();
    assert!(hello.windows(host.len()).any(|part| part == host.as_bytes()), "{}", output.stderr);
    hello
}

/// Sends `bytes` cut at `cuts`, finishes, and returns who answered; the bytes must have come back.
#[track_caller]
fn answered(portsplit: &Portsplit, bytes: &[u8], cuts: &[usize]) -> String {
    let client = portsplit.client();
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        client.send(&bytes[from..to]);
        from = to;
        // Lets the program read what there is, most of the time; where it did not, the pieces travel together.
        std::thread::sleep(Duration::from_micros(300));
    }
    finish(&client, bytes)
}

#[track_caller]
fn finish(client: &Socket, bytes: &[u8]) -> String {
    let service = client.receive_line();
    client.finish();
    let mut got = Vec::new();
    (&mut &*client).read_to_end(&mut got).unwrap();
    assert_eq!(got, bytes, "{service} got other bytes");
    service
}

#[test]
fn the_shipped_plugins_decide_the_same_however_the_bytes_are_cut() {
    if !tools::have(&["openssl"]) {
        return;
    }
    let (one, two, ssh, rest) = (Backend::tag("one"), Backend::tag("two"), Backend::tag("ssh"), Backend::tag("rest"));
    let portsplit = start(&format!(
        "timeout = \"60s\"\n{LISTEN}{}{}{}{}",
        to(&one, "one", "plugin = \"tls\"\nwhere = { sni = [\"one.example\", \"*.one.example\"], alpn = \"h2\" }"),
        to(&ssh, "ssh", "plugin = \"ssh\"\nwhere = { version = \"2.0\" }"),
        to(&two, "two", "plugin = \"tls\"\nwhere = { sni = \"two.example\" }"),
        service("fallback", "", &format!("connect = \"{}\"", rest.address())),
    ));
    let flights: Vec<(&str, Vec<u8>)> = vec![
        ("one", client_hello("one.example")),
        ("one", client_hello("a.one.example")),
        ("two", client_hello("two.example")),
        ("rest", client_hello("three.example")),
        ("ssh", b"SSH-2.0-OpenSSH_9.9 a comment\r\n".to_vec()),
        ("rest", b"SSH-1.5-old\r\n".to_vec()),
        ("rest", b"GET / HTTP/1.1\r\n".to_vec()),
    ];
    let (_, mut rng) = Rng::from_env("the_shipped_plugins_decide_the_same_however_the_bytes_are_cut");
    let mut decided_at = Vec::new();
    for (service, bytes) in &flights {
        let client = portsplit.client_sending(bytes);
        assert_eq!(finish(&client, bytes), *service, "the whole flight at once");
        decided_at.push(portsplit.connection_of(&client.local()).number("deciding_bytes"));
        for _ in 0..40 {
            let mut cuts: Vec<usize> = (0..rng.below(8)).map(|_| rng.below(bytes.len())).collect();
            cuts.sort_unstable();
            assert_eq!(answered(&portsplit, bytes, &cuts), *service, "cut at {cuts:?}");
        }
    }
    std::thread::scope(|scope| {
        for ((service, bytes), decided_at) in flights.iter().zip(&decided_at) {
            let portsplit = &portsplit;
            scope.spawn(move || {
                let client = portsplit.client();
                client.send_byte_by_byte(bytes);
                assert_eq!(finish(&client, bytes), *service, "byte by byte");
                let line = portsplit.connection_of(&client.local());
                // A plugin that is asked with many bytes at once does not say how many it would have needed.
                assert!(line.number("deciding_bytes") <= *decided_at, "byte by byte: {}", line.text());
            });
        }
    });
}
