#![allow(clippy::unwrap_used)]
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

fn message(expect: impl Fn(&Plugin)) -> String {
    let wasm = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat")).unwrap();
    let plugin = Plugin::wasm(wasm).load().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| expect(&plugin))).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

const LETTER: &[u8] = b"POST\x01\x02ab";

#[test]
fn a_failed_expectation_shows_the_bytes_and_every_answer() {
    let text = message(|plugin| drop(plugin.feed(LETTER).expect_reject()));
    for wanted in [
        "plugin `good`, after 8 bytes:\nexpected reject\n     got match with to = \"ab\"",
        "50 4f 53 54 01 02 61 62",
        "POST..ab",
        "4-5      need-more(6)\n6        need-more(7)",
        "8        match with to = \"ab\"",
    ] {
        assert!(text.contains(wanted), "{text}\nnot: {wanted}");
    }
}

#[test]
fn each_expectation_can_fail() {
    type Expectation = fn(&Plugin);
    let failing: [(&str, Expectation); 11] = [
        ("expected match\n", |plugin| drop(plugin.feed(b"GET").expect_match())),
        ("expected need-more\n", |plugin| drop(plugin.feed(b"GET").expect_undecided())),
        ("expected need-more(5)\n", |plugin| drop(plugin.feed(b"POST").expect_need_more(5))),
        ("expected decided at byte 7\n     got decided at byte 8", |plugin| drop(plugin.feed(LETTER).decided_at(7))),
        ("got never decided", |plugin| drop(plugin.feed(b"POST").decided_at(4))),
        ("expected need-more(5) at 4 bytes", |plugin| drop(plugin.feed(LETTER).need_more_at(4, 5))),
        ("expected the fact to = [\"b\"]", |plugin| drop(plugin.feed(LETTER).fact("to", "b"))),
        ("expected the fact to = []", |plugin| drop(plugin.feed(LETTER).no_fact("to"))),
        ("expected no facts", |plugin| drop(plugin.feed(LETTER).no_facts())),
        ("expected less than 5 fuel", |plugin| drop(plugin.feed(LETTER).fuel_below(5))),
        ("and a half-close:\nexpected match", |plugin| {
            drop(plugin.feed(b"POST").then_half_close().expect_match());
        }),
    ];
    for (wanted, expect) in failing {
        let text = message(expect);
        assert!(text.contains(wanted), "{text}\nnot: {wanted}");
    }
}

#[test]
fn a_hint_saves_calls_when_bytes_come_in_segments() {
    let wasm = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat")).unwrap();
    let plugin = Plugin::wasm(wasm).load().unwrap();
    let fed = plugin.feed_segments(&[b"POST", b"\x01", b"\x02a", b"b"]).expect_match();
    let lens: Vec<usize> = fed.trace().steps().map(|(len, _)| len).collect();
    assert_eq!(lens, [4, 7, 8]);
    assert!(fed.trace().drip_fuel() > fed.trace().most_fuel());
}
