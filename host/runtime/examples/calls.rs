//! Prints what calls and loads cost on this machine: `cargo run -p portsplit-runtime --example calls [plugin.wasm…]`.
//!
//! Medians of many runs, with the 99th percentile. The built-in plugins read every byte they are shown; files given on
//! the command line are loaded cold and from the cache, and called with the same 500 bytes.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::{Duration, Instant};

use portsplit_runtime::{Flags, Plugin, PluginOptions, Runtime, RuntimeOptions};

type Error = Box<dyn std::error::Error>;

/// Loops over all bytes with `pages` pages of memory, and touches three of them.
fn scanner(pages: u32) -> Result<Vec<u8>, Error> {
    let last = pages * 65536 - 8;
    Ok(wat::parse_str(format!(
        r#"(module (memory (export "memory") {pages}) (data (i32.const 0) "{zeros}")
            (func (export "portsplit_abi_1"))
            (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 8192))
            (func (export "portsplit_classify") (param $len i32) (param i32) (result i64)
                (local $i i32) (local $sum i32)
                (i32.store (i32.const {last}) (local.get $len))
                (loop $l
                    (local.set $sum (i32.add (local.get $sum)
                        (i32.load8_u (i32.load8_u offset=8192 (local.get $i)))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $l (i32.lt_u (local.get $i) (local.get $len))))
                (i32.store (i32.const 4096) (local.get $sum))
                (i64.const 0)))"#,
        zeros = "a".repeat(256)
    ))?)
}

fn runaway() -> Result<Vec<u8>, Error> {
    Ok(wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "portsplit_abi_1"))
            (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 16))
            (func (export "portsplit_classify") (param i32 i32) (result i64) (loop $l (br $l)) (i64.const 0)))"#,
    )?)
}

/// Runs `f` often and prints the median and the 99th percentile.
fn measure(what: &str, times: usize, mut f: impl FnMut()) {
    for _ in 0..times / 10 + 1 {
        f();
    }
    let mut samples: Vec<Duration> = (0..times)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed()
        })
        .collect();
    samples.sort();
    let at = |part: usize| samples.get(times * part / 100).copied().unwrap_or_default();
    println!("{what:<52} {:>10.1?} (p99 {:.1?})", at(50), at(99));
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    (pages * 4096) >> 20
}

fn main() -> Result<(), Error> {
    let runtime = Runtime::new(RuntimeOptions::default())?;
    let input = [b'x'; 500];
    println!("resident after start: {} MiB", resident_mib());
    let once = |plugin: &Plugin| drop(std::hint::black_box(plugin.classify(&input, Flags::NONE)));
    for (name, pages) in [("1 page", 1), ("17 pages", 17), ("64 pages", 64)] {
        let plugin = runtime.load(&scanner(pages)?, &PluginOptions::default())?;
        measure(&format!("one call, 500 bytes, {name}"), 20_000, || once(&plugin));
    }
    let ten: Vec<Plugin> = (0..10)
        .map(|i| Ok(runtime.load(&scanner(1 + i % 3)?, &PluginOptions::default())?))
        .collect::<Result<_, Error>>()?;
    measure("ten plugins in a row", 5_000, || ten.iter().for_each(once));
    let plugin = runtime.load(&runaway()?, &PluginOptions::default())?;
    measure("runaway cut off by fuel", 2_000, || once(&plugin));
    let options =
        PluginOptions { fuel: u64::MAX, deadline: Some(PluginOptions::DEFAULT_DEADLINE), ..Default::default() };
    let plugin = runtime.load(&runaway()?, &options)?;
    measure("runaway cut off by the deadline", 100, || once(&plugin));
    println!("resident with these plugins: {} MiB", resident_mib());

    for path in std::env::args().skip(1) {
        load_file(&path, &input)?;
    }
    println!("resident at the end: {} MiB", resident_mib());
    Ok(())
}

fn load_file(path: &str, input: &[u8]) -> Result<(), Error> {
    let wasm = std::fs::read(path)?;
    let dir = std::env::temp_dir().join(format!("portsplit-calls-{}", std::process::id()));
    let fresh = || Runtime::new(RuntimeOptions { cache_dir: Some(dir.clone()), ..Default::default() });
    println!("{path}: {} bytes", wasm.len());
    let runtime = fresh()?;
    let cold = runtime.load(&wasm, &PluginOptions::default())?;
    let (prepare, compile) = (cold.info().prepare_time, cold.info().compile_time);
    println!("  cold load: {:.1?} (prepare {prepare:.1?}, compile {compile:.1?})", cold.info().load_time);
    let runtime = fresh()?;
    let start = Instant::now();
    let plugin = runtime.load(&wasm, &PluginOptions::default())?;
    println!("  and with its first instance: {:.1?}", start.elapsed());
    let (read, from_cache) = (plugin.info().compile_time, plugin.info().from_cache);
    println!("  cached load: {:.1?} (reading the cache {read:.1?}, from cache: {from_cache})", plugin.info().load_time);
    let (result, stats) = plugin.classify_measured(input, Flags::NONE);
    println!("  one call: {} fuel, {} KiB, {:?}", stats.fuel, stats.memory_bytes >> 10, result.map(|o| o.verdict));
    measure("  one call, 500 bytes", 5_000, || drop(std::hint::black_box(plugin.classify(input, Flags::NONE))));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
