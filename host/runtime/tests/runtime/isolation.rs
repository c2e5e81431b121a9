//! Nothing of one call reaches another, whatever the plugin does to remember; and nothing differs between two runs.

use portsplit_runtime::{CallError, Flags, Plugin, PluginOptions, Preparation, Verdict};
use serde_json::json;

use crate::support::{has, load, load_with, with_parts};

/// Writes what it is shown to every page of memory it can get, to globals and to a table, and gives as a fact whatever
/// it finds there from before.
const CANARY: &str = r#"(module
    IMPORTS
    (import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (table $t 8 funcref)
    (elem declare func $f)
    (func $f)
    (global $g (mut i64) (i64.const 0))
    (global $v (mut v128) (v128.const i64x2 0 0))
    (data (i32.const 0) "leak")
    (func (export "portsplit_abi_1"))
    (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 1024))
    (func (export "portsplit_classify") (param $len i32) (param $flags i32) (result i64)
        (local $at i32)
        ;; Found from before: in globals, the table, or the pages after the buffer's.
        (if (i64.ne (global.get $g) (i64.const 0)) (then (call $leak (i32.const 1024))))
        (if (v128.any_true (global.get $v)) (then (call $leak (i32.const 1024))))
        TABLE_CHECK
        (if (i32.ne (memory.size) (i32.const 2)) (then (call $leak (i32.const 1024))))
        (drop (memory.grow (i32.const 14)))
        (local.set $at (i32.const 2048))
        (loop $scan
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (call $leak (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 1024)))
            (br_if $scan (i32.lt_u (local.get $at) (i32.const 1048576))))
        ;; Remember.
        (global.set $g (i64.load (i32.const 1024)))
        (global.set $v (v128.load (i32.const 1024)))
        TABLE_SET
        (local.set $at (i32.const 2048))
        (loop $keep
            (memory.copy (local.get $at) (i32.const 1024) (i32.const 32))
            (local.set $at (i32.add (local.get $at) (i32.const 1024)))
            (br_if $keep (i32.lt_u (local.get $at) (i32.const 1048576))))
        (i64.const 0x1_0000_0000))
    (func $leak (param $at i32)
        (drop (call $fact (i32.const 0) (i32.const 4) (local.get $at) (i32.const 32))))
    MORE)"#;

fn canary(imports: &str, with_table: bool, more: &str) -> String {
    let check = "(if (i32.eqz (ref.is_null (table.get $t (i32.const 3)))) (then (call $leak (i32.const 1024))))";
    let set = "(table.set $t (i32.const 3) (ref.func $f)) (drop (table.grow $t (ref.func $f) (i32.const 5)))";
    CANARY
        .replace("IMPORTS", imports)
        .replace("TABLE_CHECK", if with_table { check } else { "" })
        .replace("TABLE_SET", if with_table { set } else { "" })
        .replace("MORE", more)
}

/// Touching a megabyte takes a while on a machine that is busy with other tests, and time is not what is tested here.
fn patient(wat: &str) -> Plugin {
    let deadline = Some(std::time::Duration::from_secs(5));
    load_with(wat, &PluginOptions { deadline, ..PluginOptions::default() }).unwrap()
}

/// Shows the plugin unique secrets from four threads and asserts that none comes out.
fn assert_forgets(plugin: &Plugin, calls: u32) {
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            scope.spawn(move || {
                for i in 0..calls / 4 {
                    let secret = format!("secret-{thread:04}-{i:08}-0123456789ab");
                    let outcome = plugin.classify(secret.as_bytes(), Flags::NONE).unwrap();
                    assert_eq!((outcome.verdict, outcome.facts), (Verdict::Match, vec![]), "call {i} of {thread}");
                }
            });
        }
    });
}

#[test]
fn a_plugin_that_tries_to_remember_finds_nothing() {
    let plugin = patient(&canary("", true, ""));
    assert_eq!(plugin.info().preparation, Preparation::Nothing);
    assert_forgets(&plugin, 10_000);
}

#[test]
fn neither_does_one_whose_memory_is_too_large_to_be_cleared() {
    let large = canary("", true, "")
        .replace("(memory (export \"memory\") 2)", "(memory (export \"memory\") 20)")
        .replace("(memory.size) (i32.const 2)", "(memory.size) (i32.const 20)");
    assert_forgets(&patient(&large), 10_000);
    // Past what is kept, and with an image of what was there at the start.
    let whole = large
        .replace("(memory.grow (i32.const 14))", "(memory.grow (i32.const 44))")
        .replace("(i32.const 1048576)", "(i32.const 4194304)");
    let start = r#"(func (export "_initialize") (i32.store (i32.const 512) (i32.const 1)))"#;
    let whole = whole.replace("(func $leak", &format!("{start} (func $leak"));
    let options = PluginOptions {
        fuel: 2_000_000,
        deadline: Some(std::time::Duration::from_secs(5)),
        ..PluginOptions::default()
    };
    assert_forgets(&load_with(&whole, &options).unwrap(), 400);
}

#[test]
fn neither_does_one_that_starts_from_a_snapshot() {
    let more = r#"(func (export "_initialize") (i32.store (i32.const 512) (i32.const 1)))"#;
    let plugin = patient(&canary("", false, more));
    assert_eq!(plugin.info().preparation, Preparation::Snapshot);
    assert_forgets(&plugin, 10_000);
}

#[test]
fn neither_does_one_with_wasi_or_prepared_in_every_call() {
    let wasi = r#"(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))"#;
    let plugin = patient(&canary(wasi, true, r#"(func (export "_initialize") (drop (call $yield)))"#));
    assert_eq!(plugin.info().preparation, Preparation::EveryCall);
    assert_forgets(&plugin, 2_000);
}

#[test]
fn two_plugins_that_take_turns_in_the_same_slots_do_not_meet() {
    let (one, other) = (patient(&canary("", true, "")), patient(&canary("", true, "(func)")));
    for i in 0..2_000 {
        let plugin = if i % 2 == 0 { &one } else { &other };
        let secret = format!("secret-{i:08}-0123456789abcdef01");
        assert_eq!(plugin.classify(secret.as_bytes(), Flags::NONE).unwrap().facts, vec![]);
    }
}

#[test]
fn a_trap_leaves_nothing_behind_either() {
    let trapping = canary("", true, "").replace("(i64.const 0x1_0000_0000))", "(unreachable))");
    let (trapping, plugin) = (patient(&trapping), patient(&canary("", true, "")));
    for i in 0..1_000 {
        let secret = format!("secret-{i:08}-0123456789abcdef01");
        assert!(matches!(trapping.classify(secret.as_bytes(), Flags::NONE), Err(CallError::Trap { .. })));
        assert_eq!(plugin.classify(secret.as_bytes(), Flags::NONE).unwrap().facts, vec![]);
    }
}

/// Writes to standard error, asks for the time, for random bytes and to sleep, and gives the first two as facts.
fn wasi_plugin(more: &str) -> String {
    let imports = r#"(import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))"#;
    let body = r#"
        (if (i32.eq (local.get $flags) (i32.const 4)) (then (call $exit (i32.const 3))))
        (call $say)
        (if (call $clock (i32.const 0) (i64.const 1) (i32.const 128)) (then (unreachable)))
        (if (call $clock (i32.const 1) (i64.const 1) (i32.const 136)) (then (unreachable)))
        (if (call $random (i32.const 144) (i32.const 40)) (then (unreachable)))
        (if (call $environ (i32.const 200) (i32.const 204)) (then (unreachable)))
        (if (i32.load (i32.const 200)) (then (unreachable)))
        (if (i32.ne (call $prestat (i32.const 3) (i32.const 200)) (i32.const 8)) (then (unreachable)))
        ;; A subscription to a clock, one hour from now.
        (i64.store (i32.const 300) (i64.const 77))
        (i64.store (i32.const 324) (i64.const 3600000000000))
        (if (call $poll (i32.const 300) (i32.const 400) (i32.const 1) (i32.const 500)) (then (unreachable)))
        (if (i64.ne (i64.load (i32.const 400)) (i64.const 77)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 500)) (i32.const 1)) (then (unreachable)))
        (drop (call $fact (i32.const 0) (i32.const 1) (i32.const 128) (i32.const 56)))
        (i64.const 0x1_0000_0000)"#;
    let data = format!(
        r#"(data (i32.const 0) "k") (data (i32.const 16) "hello\nworld\n") (data (i32.const 64) "\10\00\00\00\0c\00\00\00")
        (func $say (if (call $write (i32.const 2) (i32.const 64) (i32.const 1) (i32.const 72)) (then (unreachable))))
        {more}"#
    );
    with_parts(imports, body, &data)
}

#[test]
fn wasi_grants_nothing_and_gives_the_same_every_time() {
    let plugin = load(&wasi_plugin(""));
    let start = std::time::Instant::now();
    let first = plugin.classify(b"a", Flags::NONE).unwrap();
    assert!(start.elapsed() < std::time::Duration::from_secs(60), "it slept");
    assert_eq!(first.facts.len(), 1);
    assert_eq!(first.logs.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["hello", "world"]);
    for _ in 0..100 {
        assert_eq!(plugin.classify(b"a", Flags::NONE).unwrap(), first);
    }
    let error = plugin.classify(b"a", Flags::TIME_UP).unwrap_err();
    assert_eq!(error, CallError::Abort { message: "it called proc_exit(3)".into() });
}

#[test]
fn wasi_works_at_load_and_on_the_threads_of_an_async_runtime() {
    let more = r#"(func (export "_initialize") (call $say))
        (func (export "portsplit_configure") (param i32) (result i32) (call $say) (i32.const 0))"#;
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    tokio.block_on(async {
        let options = PluginOptions { config: json!({}), ..PluginOptions::default() };
        let plugin = load_with(&wasi_plugin(more), &options).unwrap();
        assert_eq!(plugin.info().preparation, Preparation::Snapshot);
        assert_eq!(plugin.classify(b"a", Flags::NONE).unwrap().verdict, Verdict::Match);
    });
}

#[test]
fn output_beyond_its_limit_fails_inside_the_plugin() {
    let spam = wasi_plugin("").replace("(call $say)\n", "(loop $l (call $say) (br $l))\n");
    let error = load(&spam).classify(b"a", Flags::NONE).unwrap_err();
    has(&error.to_string(), "unreachable");
    has(&error.to_string(), "world");
}

#[test]
fn a_loop_of_wasi_calls_ends_too() {
    let spin = wasi_plugin("")
        .replace("(call $say)\n", "(loop $l (drop (call $random (i32.const 144) (i32.const 9000))) (br $l))\n");
    let start = std::time::Instant::now();
    let error = load(&spin).classify(b"a", Flags::NONE).unwrap_err();
    assert!(matches!(error.kind(), "fuel" | "deadline"), "{error}");
    assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
}
