//! What a plugin rejects by the first byte alone it is not asked about again, and everything else it is.

use super::guest::{Modules, classifier, start};
use crate::support::config::{LISTEN, service, to};
use crate::support::{Backend, Portsplit, Socket};

/// Behind `guest`, what begins with N goes to `normal` and all the rest to `fallback`.
#[track_caller]
fn behind(modules: &Modules, normal: &Backend, fallback: &Backend) -> Portsplit {
    start(&format!(
        "{}{LISTEN}{}{}{}",
        modules.key(),
        service("guest", "plugin = \"guest\"", "close = true"),
        to(normal, "normal", "prefix = 'N'"),
        service("fallback", "", &format!("connect = \"{}\"", fallback.address())),
    ))
}

/// Finishes and returns what came back.
#[track_caller]
fn answer(client: &Socket) -> String {
    client.finish();
    client.answer()
}

#[test]
fn a_plugin_is_run_for_those_only_whose_first_byte_it_does_not_reject() {
    // Says nothing about one byte, of which only N needs more; logs a line and rejects as soon as there are two.
    let body = "(if (i32.gt_u (local.get $len) (i32.const 1)) (then
            (call $log (i32.const 2) (i32.const 28) (i32.const 16)) (return (i64.const 0))))
        (select (i64.const 0x200000002) (i64.const 0) (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 78)))";
    let modules = Modules::with("guest", &classifier(body));
    let (normal, fallback) = (Backend::tag("normal"), Backend::tag("fallback"));
    let portsplit = behind(&modules, &normal, &fallback);
    let calls = |portsplit: &Portsplit| portsplit.log().count(|line| line.message() == "plugin log");
    for first in ["GET / HTTP/1.1", "SSH-2.0-test", "\u{16}\u{3}\u{1}", "x"] {
        for _ in 0..5 {
            assert_eq!(answer(&portsplit.client_sending(first)), format!("fallback\n{first}"));
        }
    }
    let client = portsplit.client();
    client.send_byte_by_byte(b"Hello");
    assert_eq!(answer(&client), "fallback\nHello");
    portsplit.connection_of(&client.local());
    assert_eq!(calls(&portsplit), 0, "{}", portsplit.log().text());
    for connection in 1..=5 {
        let client = portsplit.client_sending("Nobody");
        assert_eq!(answer(&client), "normal\nNobody");
        portsplit.connection_of(&client.local());
        assert_eq!(calls(&portsplit), connection, "{}", portsplit.log().text());
    }
}

#[test]
fn a_plugin_that_takes_a_reject_back_decides_the_same_however_the_bytes_are_cut() {
    let body = "(select (i64.const 0x100000000) (i64.const 0) (i32.gt_u (local.get $len) (i32.const 1)))";
    let modules = Modules::with("guest", &classifier(body));
    let (normal, fallback) = (Backend::tag("normal"), Backend::tag("fallback"));
    let portsplit = behind(&modules, &normal, &fallback);
    for sent in ["Next", "Xerxes"] {
        let service = if sent.starts_with('N') { "normal" } else { "fallback" };
        for byte_by_byte in [false, true, false] {
            let client = portsplit.client();
            if byte_by_byte {
                client.send_byte_by_byte(sent.as_bytes());
            } else {
                client.send(sent);
            }
            assert_eq!(answer(&client), format!("{service}\n{sent}"), "byte by byte: {byte_by_byte}");
        }
    }
}
