//! `on_error`: what a failing call means for its connection.

use super::guest::{Modules, classifier, start};
use crate::support::config::{LISTEN, service, to};
use crate::support::{Backend, Portsplit};

/// A plugin that traps for clients that begin with T and rejects the others, with `on_error`, before two services.
#[track_caller]
fn trapping(modules: &Modules, on_error: &str, next: &Backend, fallback: &Backend) -> Portsplit {
    start(&format!(
        "{LISTEN}[plugins.guest]\nwasm = {:?}\n{on_error}\n{}{}{}",
        modules.path("trap"),
        service("guest", "plugin = \"guest\"", "close = true"),
        to(next, "next", "prefix = 'Ta'"),
        service("fallback", "", &format!("connect = \"{}\"", fallback.address())),
    ))
}

fn trap_on_t() -> Modules {
    let body = "(if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 84)) (then unreachable)) (i64.const 0)";
    Modules::with("trap", &classifier(body))
}

#[test]
fn a_failure_means_reject_and_the_next_service_gets_every_byte() {
    let modules = trap_on_t();
    for on_error in ["", "on_error = \"reject\""] {
        let (next, fallback) = (Backend::tag("next"), Backend::tag("fallback"));
        let portsplit = trapping(&modules, on_error, &next, &fallback);
        for (sent, service) in [("Take all of this", "next"), ("Tell me", "fallback"), ("Quiet", "fallback")] {
            let client = portsplit.client_sending(sent);
            client.finish();
            assert_eq!(client.answer(), format!("{service}\n{sent}"), "{on_error}");
            let line = portsplit.connection_of(&client.local());
            assert_eq!(line.field("service"), service, "{}", line.text());
        }
    }
}

#[test]
fn a_failure_closes_where_the_plugin_is_told_so() {
    let modules = trap_on_t();
    let (next, fallback) = (Backend::tag("next"), Backend::tag("fallback"));
    let portsplit = trapping(&modules, "on_error = \"close\"", &next, &fallback);
    for _ in 0..20 {
        let client = portsplit.client_sending("Take all of this");
        client.assert_closed_without_a_byte();
    }
    assert_eq!((next.accepted(), fallback.accepted()), (0, 0), "no other service heard of it");
    let client = portsplit.client_sending("Quiet");
    client.finish();
    assert_eq!(client.answer(), "fallback\nQuiet", "a plugin that rejects without failing closes nothing");
}
