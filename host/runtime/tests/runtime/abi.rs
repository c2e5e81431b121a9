//! The contract, rule by rule: exports, result, flags, imports, configuration.

use portsplit_runtime::{CallError, ContractError, Flags, LogLevel, PluginOptions, Preparation, Verdict};
use serde_json::json;

use crate::support::{call, has, load, load_with, refusal, runtime, wasm, with_body, with_parts};

const MATCH: &str = "(i64.const 0x1_0000_0000)";
const FACT: &str = r#"(import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))"#;
const LOG: &str = r#"(import "portsplit" "log" (func $log (param i32 i32 i32)))"#;
const FAIL: &str = r#"(import "portsplit" "fail" (func $fail (param i32 i32)))"#;

#[test]
fn each_tag_is_a_verdict_and_others_break_the_contract() {
    assert_eq!(call("(i64.const 0)").unwrap().verdict, Verdict::Reject);
    assert_eq!(call("(i64.const 0x1_0000_0064)").unwrap().verdict, Verdict::Match);
    for tag in [3u32, 4, 0x7fff_ffff, 0xffff_ffff] {
        let result = call(&format!("(i64.const {:#x})", u64::from(tag) << 32));
        assert_eq!(result.unwrap_err(), CallError::Contract(ContractError::UnknownTag { tag }));
    }
}

#[test]
fn a_need_more_hint_is_always_more_than_was_shown() {
    for (hint, total) in [(0u32, 5), (1, 5), (4, 5), (5, 5), (6, 6), (0xffff_ffff, 0xffff_ffff)] {
        let outcome = call(&format!("(i64.const {:#x})", 2u64 << 32 | u64::from(hint))).unwrap();
        assert_eq!((outcome.verdict, outcome.argument), (Verdict::NeedMore(total), hint));
    }
}

#[test]
fn need_more_is_handed_on_under_flags_and_settles_to_reject() {
    let plugin = load(&with_body("(i64.const 0x2_0000_0000)"));
    let outcome = plugin.classify(b"a", Flags::HALF_CLOSED).unwrap();
    assert_eq!(outcome.verdict, Verdict::NeedMore(2));
    for flags in [Flags::HALF_CLOSED, Flags::BUFFER_FULL, Flags::TIME_UP] {
        assert_eq!(outcome.verdict.settled(flags), Verdict::Reject);
    }
    assert_eq!(outcome.verdict.settled(Flags::NONE), Verdict::NeedMore(2));
    assert_eq!(Verdict::Match.settled(Flags::TIME_UP), Verdict::Match);
}

#[test]
fn length_bytes_and_flags_reach_the_plugin() {
    // The argument of need-more gives them back: flags, length and the last byte.
    let body = "(i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (i32.or
        (i32.shl (local.get $flags) (i32.const 24))
        (i32.or (i32.shl (local.get $len) (i32.const 8))
            (i32.load8_u (i32.add (i32.const 1023) (local.get $len)))))))";
    let plugin = load(&with_body(body));
    let outcome = plugin.classify(b"xyz", Flags::HALF_CLOSED | Flags::TIME_UP).unwrap();
    assert_eq!(outcome.argument, 5 << 24 | 3 << 8 | u32::from(b'z'));
    assert_eq!(plugin.classify(&[7; 4000], Flags::NONE).unwrap().argument, 4000 << 8 | 7);
}

#[test]
fn no_bytes_are_a_call_too() {
    let plugin = load(&with_body("(i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (local.get $len)))"));
    assert_eq!(plugin.classify(b"", Flags::NONE).unwrap().verdict, Verdict::NeedMore(1));
}

#[test]
fn a_refused_or_misplaced_buffer_breaks_the_contract() {
    let plugin = |ptr: &str| {
        load(&format!(
            r#"(module (memory (export "memory") 1) (func (export "portsplit_abi_1"))
                (func (export "portsplit_buffer") (param i32) (result i32) (i32.const {ptr}))
                (func (export "portsplit_classify") (param i32 i32) (result i64) {MATCH}))"#
        ))
    };
    let refused = plugin("0").classify(b"abcd", Flags::NONE).unwrap_err();
    assert_eq!(refused, CallError::Contract(ContractError::BufferRefused { len: 4 }));
    for ptr in ["65533", "65536", "-1", "0x7fffffff", "0x80000000"] {
        let error = plugin(ptr).classify(b"abcd", Flags::NONE).unwrap_err();
        assert!(matches!(error, CallError::Contract(ContractError::BufferOutOfBounds { len: 4, .. })), "{error}");
    }
    assert_eq!(plugin("65532").classify(b"abcd", Flags::NONE).unwrap().verdict, Verdict::Match);
}

#[test]
fn a_missing_export_is_named() {
    let exports = [
        ("portsplit_abi_1", r#"(func (export "portsplit_abi_1"))"#),
        ("portsplit_buffer", r#"(func (export "portsplit_buffer") (param i32) (result i32) (i32.const 8))"#),
        ("portsplit_classify", r#"(func (export "portsplit_classify") (param i32 i32) (result i64) (i64.const 0))"#),
        ("memory", r#"(memory (export "memory") 1)"#),
    ];
    for (missing, _) in exports {
        let rest: String = exports.iter().filter(|(name, _)| *name != missing).map(|(_, text)| *text).collect();
        has(&refusal(&format!("(module {rest})")), &format!("missing export `{missing}`"));
    }
}

#[test]
fn an_export_of_another_type_is_refused_with_both_types() {
    let text = with_body("(i64.const 0)");
    let other = text.replace("(param $len i32) (param $flags i32) (result i64)", "(param i32) (result i64)");
    has(&refusal(&other), "`portsplit_classify` has type (i32) -> i64, the ABI says (i32, i32) -> i64");
    let other = text
        .replace(r#"(func (export "portsplit_abi_1"))"#, r#"(global (export "portsplit_abi_1") i32 (i32.const 1))"#);
    has(&refusal(&other), "`portsplit_abi_1` has type global, the ABI says () -> ()");
    let other =
        text.replace(r#"(memory (export "memory") 1)"#, r#"(memory 1) (global (export "memory") i32 (i32.const 1))"#);
    has(&refusal(&other), "`memory` has type global");
    let other = with_parts("", "(i64.const 0)", r#"(func (export "_initialize") (param i32))"#);
    has(&refusal(&other), "`_initialize` has type (i32) -> ()");
}

#[test]
fn another_major_version_is_refused_before_anything_else() {
    let other = with_body("(i64.const 0)").replace("portsplit_abi_1", "portsplit_abi_2");
    has(&refusal(&other), "speaks ABI 2, this portsplit speaks ABI 1");
}

#[test]
fn an_import_that_is_not_allowed_is_named_with_what_to_do() {
    let cases = [
        (r#"(import "env" "time" (func))"#, "imports `env.time`", "left undefined"),
        (r#"(import "portsplit" "conn" (func))"#, "imports `portsplit.conn`", "ABI 1.0 has only"),
        (r#"(import "wasi_snapshot_preview1" "sock_accept" (func))"#, "wasi_snapshot_preview1.sock_accept", "sockets"),
        (r#"(import "wasi_unstable" "fd_write" (func))"#, "wasi_unstable.fd_write", "preview 1"),
        (r#"(import "wbg" "x" (func))"#, "wbg.x", "wasm-bindgen"),
        (r#"(import "gojs" "x" (func))"#, "gojs.x", "wasip1"),
        (r#"(import "a\nb" "c\1b" (func))"#, r"imports `a\x0ab.c\x1b`", "may import only"),
        (r#"(import "portsplit" "fact" (global i32))"#, "imports `portsplit.fact`", "only functions"),
        (r#"(import "env" "table" (table 1 funcref))"#, "imports `env.table`", "only functions"),
        (r#"(import "env" "memory" (memory 1))"#, "imports `env.memory`", "--importMemory"),
    ];
    for (import, named, advice) in cases {
        let error = refusal(&with_parts(import, "(i64.const 0)", ""));
        has(&error, named);
        has(&error, advice);
    }
    let error = refusal(&with_parts(r#"(import "portsplit" "log" (func (param i32)))"#, "(i64.const 0)", ""));
    has(&error, "`portsplit.log` has type (i32) -> (), the ABI says (i32, i32, i32) -> ()");
    let error = refusal(&with_parts(r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#, "(i64.const 0)", ""));
    has(&error, "fd_write");
}

#[test]
fn facts_are_kept_only_by_a_match() {
    let data = r#"(data (i32.const 0) "sni") (data (i32.const 16) "example.org\00\ff\\")"#;
    let give = "(drop (call $fact (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 11)))
        (drop (call $fact (i32.const 0) (i32.const 3) (i32.const 16) (i32.const 14)))";
    let outcome = load(&with_parts(FACT, &format!("{give} {MATCH}"), data)).classify(b"a", Flags::NONE).unwrap();
    let facts: Vec<_> = outcome.facts.iter().map(|fact| (fact.name.as_str(), fact.value.as_str())).collect();
    assert_eq!(facts, [("sni", "example.org"), ("sni", r"example.org\x00\xff\\")]);
    let outcome = load(&with_parts(FACT, &format!("{give} (i64.const 0)"), data)).classify(b"a", Flags::NONE).unwrap();
    assert_eq!((outcome.verdict, outcome.facts.len()), (Verdict::Reject, 0));
}

#[test]
fn each_limit_on_facts_is_obeyed_at_its_value_and_broken_past_it() {
    let run = |times: u32, args: &str, data: &str| {
        let body = format!(
            "(local $i i32) (loop $l (drop (call $fact {args}))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const {times})))) {MATCH}"
        );
        load(&with_parts(FACT, &body, data)).classify(b"a", Flags::NONE)
    };
    let data = format!(r#"(data (i32.const 0) "{}") (data (i32.const 64) "Bad")"#, "k".repeat(33));
    let key = "(i32.const 0) (i32.const 1)";
    assert_eq!(run(16, &format!("{key} (i32.const 0) (i32.const 1024)"), &data).unwrap().facts.len(), 16);
    let broken = |times, args: &str| match run(times, args, &data).unwrap_err() {
        CallError::Contract(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(broken(17, &format!("{key} (i32.const 0) (i32.const 1)")), ContractError::TooManyFacts);
    let long = broken(1, &format!("{key} (i32.const 0) (i32.const 1025)"));
    assert_eq!(long, ContractError::FactTooLong { name: "k".into(), len: 1025 });
    assert!(run(1, "(i32.const 0) (i32.const 32) (i32.const 0) (i32.const 0)", &data).is_ok());
    for (ptr, len) in [(0, 33), (0, 0), (64, 3), (0, -1)] {
        let error = broken(1, &format!("(i32.const {ptr}) (i32.const {len}) (i32.const 0) (i32.const 0)"));
        assert!(matches!(error, ContractError::FactName { .. }), "{error}");
    }
    for args in [
        "(i32.const 65535) (i32.const 2) (i32.const 0) (i32.const 0)",
        "(i32.const 0) (i32.const 1) (i32.const -1) (i32.const 9)",
    ] {
        let error = broken(1, args);
        assert!(matches!(error, ContractError::PointerOutOfBounds { import: "portsplit.fact", .. }), "{error}");
    }
}

#[test]
fn log_lines_are_kept_escaped_and_limited() {
    let data = r#"(data (i32.const 0) "hello\0a\1b[31m")"#;
    let body = "(local $i i32) (loop $l (call $log (local.get $i) (i32.const 0) (i32.const 10))
        (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 20))))
        (i64.const 0)";
    let plugin = load(&with_parts(LOG, body, data));
    let (result, stats) = plugin.classify_measured(b"a", Flags::NONE);
    let logs = result.unwrap().logs;
    assert_eq!((logs.len(), logs[0].level, logs[4].level), (16, LogLevel::Error, LogLevel::Trace));
    assert_eq!(logs[0].message, r"hello\x0a\x1b[31");
    assert_eq!(stats.logs, logs);
    let outside = "(call $log (i32.const 0) (i32.const 65536) (i32.const 1)) (i64.const 0)";
    let error = load(&with_parts(LOG, outside, "")).classify(b"a", Flags::NONE).unwrap_err();
    assert!(matches!(error, CallError::Contract(ContractError::PointerOutOfBounds { import: "portsplit.log", .. })));
}

#[test]
fn a_failure_message_travels_with_the_trap() {
    let plugin = load(&with_parts(
        FAIL,
        "(call $fail (i32.const 0) (i32.const 4)) (unreachable)",
        r#"(data (i32.const 0) "oops")"#,
    ));
    let error = plugin.classify(b"a", Flags::NONE).unwrap_err();
    assert!(matches!(&error, CallError::Trap { message: Some(m), .. } if m == "oops"), "{error}");
    has(&error.to_string(), "unreachable");
    has(&error.to_string(), "it said: oops");
}

#[test]
fn assembly_scripts_abort_gives_its_message_and_place() {
    // Strings are UTF-16 with their length in bytes in front.
    let plugin = load(&with_parts(
        r#"(import "env" "abort" (func $abort (param i32 i32 i32 i32)))"#,
        "(call $abort (i32.const 4) (i32.const 20) (i32.const 7) (i32.const 9)) (i64.const 0)",
        r#"(data (i32.const 0) "\04\00\00\00n\00o\00") (data (i32.const 16) "\06\00\00\00a\00.\00t\00")"#,
    ));
    let error = plugin.classify(b"a", Flags::NONE).unwrap_err();
    assert_eq!(error, CallError::Abort { message: "no at a.t:7:9".into() });
    let wild = load(&with_parts(
        r#"(import "env" "abort" (func $abort (param i32 i32 i32 i32)))"#,
        "(call $abort (i32.const -1) (i32.const 2) (i32.const 0) (i32.const 0)) (i64.const 0)",
        "",
    ));
    assert_eq!(wild.classify(b"a", Flags::NONE).unwrap_err(), CallError::Abort { message: "without a message".into() });
}

/// Counts in memory and in a global how often it was initialised and configured, and answers with what it finds.
fn counting(more: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1) (global $g (mut i32) (i32.const 0))
        (func $up (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
            (global.set $g (i32.add (global.get $g) (i32.const 1))))
        (func (export "portsplit_abi_1"))
        (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 1024))
        (func (export "portsplit_classify") (param i32 i32) (result i64)
            (i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (i32.or
                (i32.shl (global.get $g) (i32.const 16)) (i32.shl (i32.load (i32.const 8)) (i32.const 8))))))
        {more})"#
    )
}

#[test]
fn what_runs_once_runs_once_and_its_state_is_there_in_every_call() {
    let parts = r#"(start $up) (func (export "_initialize") (call $up))
        (func (export "portsplit_configure") (param i32) (result i32) (call $up) (i32.const 0))"#;
    let options = PluginOptions { config: json!({}), ..PluginOptions::default() };
    let plugin = load_with(&counting(parts), &options).unwrap();
    assert_eq!(plugin.info().preparation, Preparation::Snapshot);
    for _ in 0..3 {
        assert_eq!(plugin.classify(b"a", Flags::NONE).unwrap().argument, 3 << 16 | 3 << 8);
    }
    let plugin = load(&counting(parts));
    assert_eq!(plugin.classify(b"a", Flags::NONE).unwrap().argument, 2 << 16 | 2 << 8, "not configured");
    let plugin = load(&counting(""));
    assert_eq!(plugin.info().preparation, Preparation::Nothing);
    assert_eq!(plugin.classify(b"a", Flags::NONE).unwrap().argument, 0);
}

#[test]
fn a_plugin_that_changes_its_tables_is_prepared_in_every_call_with_the_same_result() {
    let parts = r#"(table 2 funcref) (elem declare func $up)
        (start $up)
        (func (export "_initialize") (call $up) (table.set (i32.const 1) (ref.func $up)))
        (func (export "portsplit_configure") (param i32) (result i32) (call_indirect (i32.const 1)) (i32.const 0))"#;
    let options = PluginOptions { config: json!({}), ..PluginOptions::default() };
    let plugin = load_with(&counting(parts), &options).unwrap();
    assert_eq!(plugin.info().preparation, Preparation::EveryCall);
    for _ in 0..3 {
        let (result, stats) = plugin.classify_measured(b"a", Flags::NONE);
        assert_eq!(result.unwrap().argument, 3 << 16 | 3 << 8);
        assert!(stats.fuel < 100, "preparation does not count: {}", stats.fuel);
    }
}

#[test]
fn configuration_arrives_as_json_and_may_be_refused_with_a_reason() {
    // Accepts `{"a":1}` only by its length, and keeps its last byte.
    let parts = r#"(func (export "portsplit_configure") (param $len i32) (result i32)
        (if (i32.ne (local.get $len) (i32.const 7)) (then
            (call $fail (i32.const 0) (i32.const 9)) (return (i32.const 1))))
        (i32.store8 (i32.const 64) (i32.load8_u (i32.const 1030))) (i32.const 0))
        (data (i32.const 0) "wrong key")"#;
    let body =
        "(i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (i32.shl (i32.load8_u (i32.const 64)) (i32.const 8))))";
    let text = with_parts(FAIL, body, parts);
    let configured = |config| load_with(&text, &PluginOptions { config, ..PluginOptions::default() });
    let plugin = configured(json!({"a": 1})).unwrap();
    assert_eq!(plugin.classify(b"x", Flags::NONE).unwrap().argument, u32::from(b'}') << 8);
    let error = configured(json!({"ab": 1})).unwrap_err().to_string();
    assert_eq!(error, "the plugin refuses its `config`: wrong key");
    let error =
        load_with(&with_body("(i64.const 0)"), &PluginOptions { config: json!({}), ..PluginOptions::default() });
    has(&error.unwrap_err().to_string(), "takes no configuration");
}

#[test]
fn a_manifest_limits_what_the_plugin_is_shown() {
    let manifest = br#"{"name": "short", "version": "1", "abi": "1.0", "max_bytes": 3}"#;
    let body = "(if (i32.gt_u (local.get $len) (i32.const 3)) (then (unreachable)))
        (i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (i32.shl (local.get $flags) (i32.const 8))))";
    let packed = portsplit_runtime::pack(&wasm(&with_body(body)), manifest).unwrap();
    let plugin = runtime().load(&packed, &PluginOptions::default()).unwrap();
    assert_eq!((plugin.name(), plugin.manifest().unwrap().max_bytes), ("short", Some(3)));
    let at = |n: usize| plugin.classify(&b"abcdef"[..n], Flags::NONE).unwrap();
    assert_eq!((at(2).verdict, at(2).argument), (Verdict::NeedMore(3), 0));
    let eager = portsplit_runtime::pack(&wasm(&with_body("(i64.const 0x2_0000_0063)")), manifest).unwrap();
    let eager = runtime().load(&eager, &PluginOptions::default()).unwrap();
    assert_eq!(eager.classify(b"a", Flags::NONE).unwrap().verdict, Verdict::NeedMore(3), "asked for 99");
    for n in 3..6 {
        assert_eq!((at(n).verdict, at(n).argument), (Verdict::Reject, Flags::BUFFER_FULL.bits() << 8));
    }
}

#[test]
fn packing_replaces_a_manifest_and_changes_nothing_else() {
    let module = wasm(&with_body(MATCH));
    let first = portsplit_runtime::pack(&module, br#"{"name":"a","version":"1","abi":"1.0"}"#).unwrap();
    let second = portsplit_runtime::pack(&first, br#"{"name":"b","version":"1","abi":"1.4"}"#).unwrap();
    assert_eq!(first.len(), second.len());
    assert!(second.starts_with(&module));
    let info = portsplit_runtime::inspect(&second).unwrap();
    assert_eq!(info.manifest.unwrap().name, "b");
    assert_eq!(info.warnings, ["it is built for ABI 1.4, newer than this portsplit's 1.0"]);
    let schema = br#"{"name":"a","version":"1","abi":"1.0","config_schema":{"properties":{"a":{"type":"integer"}}}}"#;
    let info = portsplit_runtime::inspect(&portsplit_runtime::pack(&module, schema).unwrap()).unwrap();
    assert_eq!(info.warnings, ["it describes a configuration but does not export `portsplit_configure`"]);
    assert!(portsplit_runtime::pack(&module, b"{}").is_err());
    assert!(portsplit_runtime::pack(b"nothing", br#"{"name":"a","version":"1","abi":"1.0"}"#).is_err());
    let other = portsplit_runtime::pack(&module, br#"{"name":"a","version":"1","abi":"2.0"}"#).unwrap();
    has(&runtime().load(&other, &PluginOptions::default()).unwrap_err().to_string(), "speaks ABI 2.0");
}

#[test]
fn fuel_counts_the_same_every_time() {
    let plugin = load(&with_body(
        "(local $i i32) (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 1000)))) (i64.const 0)",
    ));
    let (first, stats) = plugin.classify_measured(b"abc", Flags::NONE);
    assert_eq!(first.unwrap().verdict, Verdict::Reject);
    assert!(stats.fuel > 1000 && stats.fuel < 20_000, "{}", stats.fuel);
    assert_eq!(stats.memory_bytes, 65536);
    for _ in 0..1000 {
        assert_eq!(plugin.classify_measured(b"abc", Flags::NONE).1.fuel, stats.fuel);
    }
}
