//! Modules that mean harm: each is refused at load, or its call ends with an error and the next call is as good as new.

use std::time::{Duration, Instant};

use portsplit_runtime::{CallError, Flags, LoadError, PluginOptions, Verdict};
use serde_json::json;

use crate::support::{call, has, load, load_with, refusal, runtime, wasm, with_body, with_parts};

#[test]
fn an_endless_loop_ends_with_its_fuel() {
    let plugin = load(&with_body("(loop $l (br $l)) (i64.const 0)"));
    let start = Instant::now();
    for _ in 0..100 {
        let (result, stats) = plugin.classify_measured(b"a", Flags::NONE);
        assert_eq!(result.unwrap_err(), CallError::OutOfFuel { budget: 200_000 });
        assert_eq!(stats.fuel, 200_000);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "100 runaways took {:?}", start.elapsed());
}

#[test]
fn an_endless_loop_with_endless_fuel_ends_at_the_deadline() {
    let options =
        PluginOptions { fuel: u64::MAX, deadline: Some(PluginOptions::DEFAULT_DEADLINE), ..PluginOptions::default() };
    let plugin = load_with(&with_body("(loop $l (br $l)) (i64.const 0)"), &options).unwrap();
    for _ in 0..5 {
        let start = Instant::now();
        let error = plugin.classify(b"a", Flags::NONE).unwrap_err();
        assert_eq!(error, CallError::Deadline { limit: PluginOptions::DEFAULT_DEADLINE });
        // Generous: other tests share the processors, and what is limited is processor time.
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }
}

#[test]
fn the_deadline_is_there_after_the_clock_slept() {
    let options =
        PluginOptions { fuel: u64::MAX, deadline: Some(Duration::from_millis(4)), ..PluginOptions::default() };
    let runtime = portsplit_runtime::Runtime::new(portsplit_runtime::RuntimeOptions::default()).unwrap();
    let plugin = runtime.load(&wasm(&with_body("(loop $l (br $l)) (i64.const 0)")), &options).unwrap();
    // Longer than the ticker stays awake without calls; nothing is waited for but the passing of time itself.
    std::thread::sleep(Duration::from_millis(300));
    assert!(matches!(plugin.classify(b"a", Flags::NONE), Err(CallError::Deadline { .. })));
}

#[test]
fn bulk_operations_cost_fuel_by_their_length() {
    let plugin = load(&with_body(
        "(drop (memory.grow (i32.const 60)))
        (loop $l (memory.copy (i32.const 0) (i32.const 65536) (i32.const 2000000)) (br $l)) (i64.const 0)",
    ));
    let start = Instant::now();
    assert_eq!(plugin.classify(b"a", Flags::NONE).unwrap_err(), CallError::OutOfFuel { budget: 200_000 });
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
}

#[test]
fn memory_grows_to_its_limit_and_no_further() {
    // Grows by one page until that fails, then touches the last byte.
    let body = "(local $pages i32)
        (block $full (loop $l
            (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
            (br $l)))
        (local.set $pages (memory.size))
        (i32.store8 (i32.sub (i32.mul (local.get $pages) (i32.const 65536)) (i32.const 1)) (i32.const 1))
        (i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (i32.shl (local.get $pages) (i32.const 8))))";
    let pages = |memory_bytes: usize| {
        let plugin = load_with(&with_body(body), &PluginOptions { memory_bytes, ..PluginOptions::default() }).unwrap();
        let (result, stats) = plugin.classify_measured(b"a", Flags::NONE);
        assert_eq!(stats.memory_bytes, memory_bytes);
        result.unwrap().argument >> 8
    };
    assert_eq!(pages(4 << 20), 64);
    assert_eq!(pages(1 << 20), 16);
    assert_eq!(pages(16 << 20), 256, "raised in the plugin's table");
    assert_eq!(load(&with_body(body)).classify(b"a", Flags::NONE).unwrap().argument >> 8, 64);
}

#[test]
fn a_memory_larger_than_the_limit_is_refused_and_a_raised_limit_takes_it() {
    let text = with_body("(i64.const 0)").replace("(export \"memory\") 1", "(export \"memory\") 100");
    has(&refusal(&text), "starts with 6553600 bytes of memory, more than `memory` (4194304)");
    let options = PluginOptions { memory_bytes: 8 << 20, ..PluginOptions::default() };
    assert_eq!(load_with(&text, &options).unwrap().classify(b"a", Flags::NONE).unwrap().verdict, Verdict::Reject);
    for memory_bytes in [0, 65535, (1 << 30) + 1] {
        let error = load_with(&text, &PluginOptions { memory_bytes, ..PluginOptions::default() }).unwrap_err();
        assert!(matches!(error, LoadError::Limit { key: "memory", .. }), "{error}");
    }
}

#[test]
fn a_memory_that_grows_at_load_is_limited_too() {
    let grow =
        r#"(func (export "_initialize") (drop (memory.grow (i32.const 1000))) (drop (memory.grow (i32.const 63))))"#;
    let plugin = load(&with_parts("", "(i64.const 0)", grow));
    assert_eq!(plugin.classify_measured(b"a", Flags::NONE).1.memory_bytes, 4 << 20);
}

#[test]
fn tables_grow_to_their_limit_and_no_further() {
    let body = "(block $full (loop $l
            (br_if $full (i32.eq (table.grow (ref.null func) (i32.const 1000)) (i32.const -1))) (br $l)))
        (i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (table.size)))";
    let outcome = load(&with_parts("", body, "(table 10 funcref)")).classify(b"a", Flags::NONE).unwrap();
    assert_eq!(outcome.argument, 19_010);
    has(&refusal(&with_parts("", "(i64.const 0)", "(table 20001 funcref)")), "20001 table elements");
    has(&refusal(&with_parts("", "(i64.const 0)", "(table 1 funcref) (table 1 funcref)")), "2 tables");
}

#[test]
fn every_kind_of_trap_is_an_error_of_that_call_only() {
    let table = "(table 3 funcref) (elem (i32.const 1) $other) (func $other (param i64)) (type $none (func))";
    let cases = [
        ("(unreachable)", "unreachable"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0))) (i64.const 0)", "divide by zero"),
        ("(drop (i32.rem_s (i32.const 1) (i32.const 0))) (i64.const 0)", "divide by zero"),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1))) (i64.const 0)", "integer overflow"),
        ("(drop (i32.trunc_f64_s (f64.const nan))) (i64.const 0)", "invalid conversion"),
        ("(drop (i32.trunc_f64_s (f64.const 1e30))) (i64.const 0)", "integer overflow"),
        ("(drop (i32.load (i32.const 65533))) (i64.const 0)", "out of bounds memory"),
        ("(drop (i32.load (i32.const -1))) (i64.const 0)", "out of bounds memory"),
        ("(i32.store (i32.const 0x7fffffff) (i32.const 1)) (i64.const 0)", "out of bounds memory"),
        ("(memory.fill (i32.const 65530) (i32.const 1) (i32.const 7)) (i64.const 0)", "out of bounds memory"),
        ("(call_indirect (type $none) (i32.const 3)) (i64.const 0)", "out of bounds table"),
        ("(call_indirect (type $none) (i32.const 0)) (i64.const 0)", "uninitialized element"),
        ("(call_indirect (type $none) (i32.const 1)) (i64.const 0)", "type mismatch"),
        ("(call $deep) (i64.const 0)", "stack exhausted"),
        ("(if (i32.gt_u (local.get $len) (i32.const 3)) (then (unreachable))) (i64.const 0)", "unreachable"),
    ];
    for (body, reason) in cases {
        let plugin = load(&with_parts("", body, &format!("{table} (func $deep (call $deep))")));
        for _ in 0..3 {
            match plugin.classify(b"abcd", Flags::NONE).unwrap_err() {
                CallError::Trap { reason: found, message: None } => has(&found, reason),
                other => panic!("{body}: {other:?}"),
            }
        }
    }
    assert_eq!(call("(i64.const 0x1_0000_0000)").unwrap().verdict, Verdict::Match);
}

#[test]
fn what_runs_at_load_is_limited_as_well() {
    let spin = "(loop $l (br $l))";
    let start = Instant::now();
    let error = refusal(&with_parts("", "(i64.const 0)", &format!("(func $s {spin}) (start $s)")));
    has(&error, "the start function failed: the plugin used all its fuel");
    let error = refusal(&with_parts("", "(i64.const 0)", &format!(r#"(func (export "_initialize") {spin})"#)));
    has(&error, "`_initialize` failed: the plugin used all its fuel");
    let configure = format!(r#"(func (export "portsplit_configure") (param i32) (result i32) {spin} (i32.const 0))"#);
    let options = PluginOptions { config: json!({}), ..PluginOptions::default() };
    let error = load_with(&with_parts("", "(i64.const 0)", &configure), &options).unwrap_err().to_string();
    has(&error, "`portsplit_configure` failed: the plugin used all its fuel");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    has(&refusal(&with_parts("", "(i64.const 0)", "(func $s (unreachable)) (start $s)")), "start function failed");
    let deep = "(func $s (call $s)) (start $s)";
    has(&refusal(&with_parts("", "(i64.const 0)", deep)), "stack exhausted");
    has(&refusal(&with_parts("", "(i64.const 0)", r#"(data (i32.const 65535) "ab")"#)), "out of bounds");
}

#[test]
fn names_that_would_confuse_the_snapshot_are_harmless() {
    let parts = r#"(global $g (export "__wizer_global_0") (mut i32) (i32.const 5))
        (func (export "wizer-initialize")) (func (export "_initialize") (global.set $g (i32.const 9)))"#;
    let body = "(i64.or (i64.const 0x2_0000_0000) (i64.extend_i32_u (i32.shl (global.get $g) (i32.const 8))))";
    assert_eq!(load(&with_parts("", body, parts)).classify(b"a", Flags::NONE).unwrap().argument, 9 << 8);
    // A section of names before the code.
    let mut module = wasm(&with_parts("", "(i64.const 0)", r#"(func (export "_initialize"))"#));
    module.splice(8..8, [0, 5, 4, b'n', b'a', b'm', b'e']);
    let plugin = runtime().load(&module, &PluginOptions::default()).unwrap();
    assert_eq!(plugin.classify(b"a", Flags::NONE).unwrap().verdict, Verdict::Reject);
}

#[test]
fn files_that_are_no_modules_are_told_apart() {
    let refused = |bytes: &[u8]| runtime().load(bytes, &PluginOptions::default()).unwrap_err().to_string();
    has(&refused(b""), "the file is empty");
    has(&refused(b"\0as"), "within its first 8 bytes");
    has(&refused(b"#!/bin/sh\n"), "does not start with");
    has(&refused(b"(module)"), "WebAssembly text");
    has(&refused(b"\x7fELF\x02\x01\x01"), "`.cwasm`");
    has(&refused(b"BC\xc0\xde1234"), "LLVM bitcode");
    has(&refused(b"!<arch>\n"), "static library");
    has(&refused(b"\0asm\x0d\0\x01\0"), "components are not supported");
    has(&refused(b"\0asm\x02\0\0\0"), "unknown version");
    has(&refused(b"\0asm\x01\0\0\0"), "missing export");
}

#[test]
fn precompiled_code_is_not_a_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let options = portsplit_runtime::RuntimeOptions { cache_dir: Some(cache.clone()), ..Default::default() };
    let cached = portsplit_runtime::Runtime::new(options).unwrap();
    cached.load(&wasm(&with_body("(i64.const 0)")), &PluginOptions::default()).unwrap();
    let file = std::fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(file).unwrap();
    let options = PluginOptions { max_size_bytes: 16 << 20, ..PluginOptions::default() };
    for from in [0, 56] {
        assert!(matches!(runtime().load(&bytes[from..], &options), Err(LoadError::NotWasm { .. })));
    }
}

#[test]
fn a_module_cut_short_anywhere_is_refused() {
    let full = wasm(&with_parts(
        "",
        "(i64.const 0)",
        r#"(table 2 funcref) (elem (i32.const 0) $f) (func $f) (start $f) (global i32 (i32.const 1))"#,
    ));
    // The names at the end may be missing: identifier, length, then a string of four bytes.
    let end = full.windows(5).rposition(|bytes| bytes == b"\x04name").unwrap() - 2;
    assert!(runtime().load(&full[..end], &PluginOptions::default()).is_ok());
    for len in (0..end).chain(end + 1..full.len()) {
        assert!(runtime().load(&full[..len], &PluginOptions::default()).is_err(), "{len} of {}", full.len());
    }
}

#[test]
fn a_module_with_any_byte_changed_loads_or_is_refused_but_never_panics() {
    let full = wasm(&with_parts(
        r#"(import "portsplit" "fact" (func (param i32 i32 i32 i32) (result i32)))"#,
        "(local $i i32) (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9)))) (i64.const 0)",
        r#"(func (export "_initialize") (i32.store (i32.const 0) (i32.const 7))) (data (i32.const 8) "xy")"#,
    ));
    let (mut loaded, mut refused) = (0, 0);
    for at in 8..full.len() {
        for change in [0x01, 0x80] {
            let mut bytes = full.clone();
            bytes[at] ^= change;
            match runtime().load(&bytes, &PluginOptions::default()) {
                Ok(plugin) => {
                    loaded += 1;
                    let _ = plugin.classify(b"SSH-2.0", Flags::NONE);
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().chars().any(char::is_control), "{error}");
                }
            }
        }
    }
    assert!(loaded > 20 && refused > 100, "{loaded} loaded, {refused} refused");
}

#[test]
fn the_size_limit_is_obeyed_at_its_value_and_broken_past_it() {
    let mut module = wasm(&with_body("(i64.const 0)"));
    // A custom section fills the file up: identifier, length in four bytes, empty name, zeros.
    let options = PluginOptions::default();
    let content = options.max_size_bytes - module.len() - 5;
    let leb = |n: usize| [n as u8 | 0x80, (n >> 7) as u8 | 0x80, (n >> 14) as u8 | 0x80, (n >> 21) as u8];
    module.push(0);
    module.extend(leb(content));
    module.resize(options.max_size_bytes, 0);
    assert!(runtime().load(&module, &options).is_ok());
    module.push(0);
    let error = runtime().load(&module, &options).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { size_bytes, .. } if size_bytes == (4 << 20) + 1), "{error}");
}

/// Loads, and gives the processor time that took and whether it succeeded.
fn timed(wat: &str) -> (Duration, Result<(), String>) {
    let module = wasm(wat);
    let cpu_time = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let start = cpu_time();
    let result = runtime().load(&module, &PluginOptions::default()).map(drop).map_err(|e| e.to_string());
    (cpu_time() - start, result)
}

/// Longest a load may take: what is promised is 5 s, and a processor shared with other virtual machines may be half as
/// fast as the one that was promised.
const LOAD_LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_crowd_of_functions_is_refused_or_compiles_in_time() {
    let functions = |n: usize| {
        (0..n)
            .map(|i| format!("(func (param i32) (result i32) (i32.add (local.get 0) (i32.const {i})))"))
            .collect::<String>()
    };
    let (time, result) = timed(&with_parts("", "(i64.const 0)", &functions(50_000)));
    has(&result.unwrap_err(), "50003 functions, more than the 10000 allowed");
    assert!(time < Duration::from_secs(1), "{time:?}");
    let (time, result) = timed(&with_parts("", "(i64.const 0)", &functions(9_997)));
    assert_eq!(result, Ok(()));
    println!("10000 functions: {time:?}");
    assert!(time < LOAD_LIMIT, "{time:?}");
}

#[test]
fn functions_that_are_hard_to_compile_are_refused_or_compile_in_time() {
    let locals = |n: usize| format!("(local {})", "i32 ".repeat(n));
    let assigns = |n: usize, k: usize| {
        (0..n)
            .map(|i| {
                format!("(local.set {} (i32.add (local.get {}) (i32.load (local.get 0))))", 2 + i % k, 2 + (i * 7) % k)
            })
            .collect::<String>()
    };
    let nested = |n: usize| {
        format!("{}{}{}", "(block (br_if 0 (local.get 0)) (local.set 2 (local.get 1))".repeat(n), "", ")".repeat(n))
    };
    let loops = |n: usize, k: usize| {
        (0..n)
            .map(|i| {
                format!(
                    "(loop (local.set {} (i32.add (local.get {}) (i32.const 1))) (br_if 0 (local.get {})))",
                    2 + i % k,
                    2 + (i * 7) % k,
                    2 + (i * 3) % k
                )
            })
            .collect::<String>()
    };
    let table = |n: usize| format!("(block $a (block $b (br_table {} $b (local.get 0))))", "$a ".repeat(n));
    let cases = [
        ("long", format!("{}{}", locals(100), assigns(18_000, 100))),
        ("many locals and loops", format!("{}{}", locals(3_900), loops(9_000, 3_900))),
        ("loops at the limit", format!("{}{}", locals(1_000), loops(1_200, 1_000))),
        ("deep loops", format!("{}{}", "(loop (br_if 0 (local.get 0))".repeat(3_300), ")".repeat(3_300))),
        ("too deep loops", format!("{}{}", "(loop (br_if 0 (local.get 0))".repeat(20_000), ")".repeat(20_000))),
        ("deep blocks", format!("{}{}", locals(10), nested(5_000))),
        ("wide table", table(60_000)),
    ];
    for (name, body) in cases {
        let (time, result) = timed(&with_body(&format!("{body} (i64.const 0)")));
        println!("{name}: {time:?} {:?}", result);
        assert!(time < LOAD_LIMIT, "{name}: {time:?}");
    }
    let (_, result) = timed(&with_body(&format!("{} (i64.const 0)", locals(4_001))));
    has(&result.unwrap_err(), "local variables in one function");
    let (_, result) = timed(&with_body(&format!("{} (i64.const 0)", "(drop (i32.const 100000))".repeat(60_000))));
    has(&result.unwrap_err(), "bytes in one function");
}

#[test]
fn nothing_waits_when_more_threads_call_than_there_are_slots() {
    let options = portsplit_runtime::RuntimeOptions { slots: 1, ..Default::default() };
    let narrow = portsplit_runtime::Runtime::new(options).unwrap();
    let plugin = narrow.load(&wasm(&with_body("(i64.const 0x1_0000_0000)")), &PluginOptions::default()).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| (0..500).all(|_| plugin.classify(b"a", Flags::NONE).unwrap().verdict == Verdict::Match))
            })
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    });
}
