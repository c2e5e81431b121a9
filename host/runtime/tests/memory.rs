//! No kind of call leaks: resident memory is the same after 100,000 of them. A binary of its own, because other tests
//! in the same process would be measured too.

#![allow(clippy::unwrap_used, clippy::panic)]

use portsplit_runtime::{Flags, PluginOptions, Runtime, RuntimeOptions};

/// Calls measured of each kind.
const CALLS: u32 = 100_000;

/// What the allocator may keep more after a hundred thousand calls than after a thousand.
const SLACK_BYTES: u64 = 2 << 20;

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn module(imports: &str, body: &str, more: &str) -> Vec<u8> {
    with_memory(imports, 1, 1024, body, more)
}

/// A module with `pages` of memory and its buffer at `buffer`.
fn with_memory(imports: &str, pages: u32, buffer: u32, body: &str, more: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module {imports} (memory (export "memory") {pages})
            (func (export "portsplit_abi_1"))
            (func (export "portsplit_buffer") (param i32) (result i32) (i32.const {buffer}))
            (func (export "portsplit_classify") (param i32 i32) (result i64) {body}) {more})"#
    ))
    .unwrap()
}

#[test]
fn memory_does_not_grow_over_a_hundred_thousand_calls_of_any_kind() {
    let runtime = Runtime::new(RuntimeOptions::default()).unwrap();
    let fact = r#"(import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))
        (import "portsplit" "log" (func $log (param i32 i32 i32)))
        (import "portsplit" "fail" (func $fail (param i32 i32)))"#;
    let wasi = r#"(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#;
    let plugins = [
        (
            "match with facts",
            module(
                fact,
                "(call $log (i32.const 4) (i32.const 0) (i32.const 1))
            (drop (call $fact (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 900))) (i64.const 0x1_0000_0000)",
                r#"(data (i32.const 0) "k")"#,
            ),
        ),
        ("trap", module(fact, "(call $fail (i32.const 0) (i32.const 9)) (unreachable)", "")),
        ("out of fuel", module("", "(loop $l (br $l)) (i64.const 0)", "")),
        ("stack overflow", module("", "(call $f) (i64.const 0)", "(func $f (call $f))")),
        (
            "memory bomb",
            module(
                "",
                "(block $b (loop $l
            (br_if $b (i32.eq (memory.grow (i32.const 8)) (i32.const -1))) (br $l)))
            (i32.store (i32.const 4194300) (i32.const 1)) (i64.const 0)",
                "",
            ),
        ),
        (
            "table bomb",
            module(
                "",
                "(block $b (loop $l
            (br_if $b (i32.eq (table.grow (ref.null func) (i32.const 5000)) (i32.const -1))) (br $l))) (i64.const 0)",
                "(table 1 funcref)",
            ),
        ),
        ("unknown tag", module("", "(i64.const -1)", "")),
        ("lying hint", module("", "(i64.const 0x2_ffff_ffff)", "")),
        ("buffer outside memory", with_memory("", 1, 65_535, "(i64.const 0)", "")),
        (
            "fact outside memory",
            module(
                fact,
                "(drop (call $fact (i32.const 0) (i32.const 1) (i32.const -8) (i32.const 16))) (i64.const 0)",
                r#"(data (i32.const 0) "k")"#,
            ),
        ),
        (
            "larger memory",
            with_memory("", 60, 1024, "(memory.fill (i32.const 0) (i32.const 7) (i32.const 15000)) (i64.const 0)", ""),
        ),
        ("wasi", module(wasi, "(drop (call $random (i32.const 0) (i32.const 64))) (i64.const 0)", "")),
        ("wasi trap", module(wasi, "(drop (call $random (i32.const 0) (i32.const 64))) (unreachable)", "")),
    ];
    // A runaway costs what its fuel takes; less fuel makes the same number of calls shorter.
    let options = PluginOptions { fuel: 20_000, ..PluginOptions::default() };
    for (kind, wasm) in plugins {
        let plugin = runtime.load(&wasm, &options).unwrap();
        let run = |calls: u32| {
            for _ in 0..calls {
                let _ = std::hint::black_box(plugin.classify(b"SSH-2.0-portsplit", Flags::NONE));
            }
        };
        run(1_000);
        let before = resident_bytes();
        run(CALLS);
        let after = resident_bytes();
        println!("{kind}: {} KiB, then {} KiB", before >> 10, after >> 10);
        assert!(after <= before + SLACK_BYTES, "{kind}: from {before} to {after} bytes");
    }
    // Loading again and again keeps nothing either.
    let wasm = module("", "(i64.const 0)", r#"(func (export "_initialize"))"#);
    let load = |times: u32| (0..times).for_each(|_| drop(runtime.load(&wasm, &options).unwrap()));
    load(50);
    let before = resident_bytes();
    load(500);
    let after = resident_bytes();
    println!("loads: {} KiB, then {} KiB", before >> 10, after >> 10);
    assert!(after <= before + 2 * SLACK_BYTES, "loads: from {before} to {after} bytes");
}
