#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::matcher::Answer::{Fail, NeedMore, Reject};

/// Loads a module whose `classify` has this body, with the parameters `$len` and `$flags` and the first byte in
/// `$first`.
fn guest(on_error: OnError, body: &str) -> Guest {
    let wasm = wat::parse_str(format!(
        r#"(module
            (import "portsplit" "log" (func $log (param i32 i32 i32)))
            (import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "k")
            (func (export "portsplit_abi_1"))
            (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 1024))
            (func (export "portsplit_classify") (param $len i32) (param $flags i32) (result i64)
                (local $first i32)
                (local.set $first (i32.load8_u (i32.const 1024)))
                {body}))"#
    ));
    let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    Guest::new(runtime.load(&wasm.unwrap(), &PluginOptions::default()).unwrap(), on_error)
}

/// Needs more after `N`, rejects any other byte alone, and traps as soon as it is shown more than one.
const ONE_BYTE_ONLY: &str = "(if (i32.gt_u (local.get $len) (i32.const 1)) (then (unreachable)))
    (select (i64.const 0x2_0000_0002) (i64.const 0) (i32.eq (local.get $first) (i32.const 78)))";

#[test]
fn what_is_rejected_by_its_first_byte_is_never_shown_again() {
    for on_error in [OnError::Reject, OnError::Close] {
        let guest = guest(on_error, ONE_BYTE_ONLY);
        for first in (0..=255u8).filter(|first| *first != b'N') {
            for end in [None, Some(End::HalfClose), Some(End::Full), Some(End::Timeout)] {
                assert_eq!(guest.classify(&[first, 1, 2], end), Reject, "{first}");
            }
            assert_eq!(guest.classify(&[first], None), Reject, "{first}");
        }
        assert_eq!(guest.errors(), 0, "it was shown more than a first byte");
        assert_eq!(guest.classify(b"N", None), NeedMore(2));
        for calls in 1..=3 {
            assert_eq!(guest.classify(b"Nothing", None), if on_error == OnError::Close { Fail } else { Reject });
            assert_eq!(guest.errors(), calls, "what needs more is asked about each time");
        }
    }
}

#[test]
fn a_failure_at_the_first_byte_is_one_each_time() {
    let loops = "(if (i32.eq (local.get $first) (i32.const 76)) (then (loop $more (br $more))))";
    let traps = "(if (i32.eq (local.get $first) (i32.const 84)) (then (unreachable)))";
    let tags = "(if (i32.eq (local.get $first) (i32.const 85)) (then (return (i64.const 0x7_0000_0000))))";
    let guest = guest(OnError::Close, &format!("{loops} {traps} {tags} (i64.const 0)"));
    let mut calls = 0;
    for flight in ["Long", "Lasting", "T", "Trap", "Unknown", "U"] {
        for _ in 0..2 {
            calls += 1;
            assert_eq!(guest.classify(flight.as_bytes(), None), Fail, "{flight}");
            assert_eq!(guest.errors(), calls, "counted once: {flight}");
        }
    }
    assert_eq!(guest.classify(b"Quiet", None), Reject);
}

#[test]
fn a_match_at_the_first_byte_has_the_facts_of_its_own_connection() {
    let guest = guest(
        OnError::Reject,
        "(drop (call $fact (i32.const 0) (i32.const 1) (i32.const 1024) (local.get $len))) (i64.const 0x1_0000_0000)",
    );
    for flight in ["A", "Alice", "Anna", "A"] {
        let fact = Fact { name: "k".into(), value: flight.into() };
        assert_eq!(guest.classify(flight.as_bytes(), None), Answer::Match(vec![fact]));
    }
}

#[test]
fn a_plugin_that_takes_its_reject_back_is_not_asked_again() {
    let guest = guest(
        OnError::Reject,
        "(select (i64.const 0x1_0000_0000) (i64.const 0) (i32.gt_u (local.get $len) (i32.const 1)))",
    );
    for flight in ["Sent at once", "S", "Sent at once"] {
        assert_eq!(guest.classify(flight.as_bytes(), None), Reject, "the same however it is cut");
    }
}

#[test]
fn a_plugin_that_logs_its_reject_is_asked_each_time() {
    let log = "(call $log (i32.const 4) (i32.const 0) (i32.const 1))";
    let guest = guest(OnError::Reject, &format!("{log} {ONE_BYTE_ONLY}"));
    for calls in 1..=3 {
        assert_eq!(guest.classify(b"Hello", None), Reject);
        assert_eq!(guest.errors(), calls);
    }
}

#[test]
fn no_byte_is_no_first_byte() {
    let guest = guest(OnError::Reject, "(if (local.get $len) (then (unreachable))) (i64.const 0x2_0000_0001)");
    assert_eq!(guest.classify(b"", None), NeedMore(1));
    assert_eq!(guest.classify(b"", Some(End::HalfClose)), Reject);
    assert_eq!(guest.errors(), 0);
}
