//! Prints what calls and loads cost on this machine, beside the goals: `cargo run --release -p portsplit-runtime
//! --example calls [plugin.wasm…]`.
//!
//! Times are medians of many runs: on the clock, with the 99th percentile, and of the processor, which is what counts where
//! others use the machine too. Modules made here read every byte they are shown. Files are
//! those named, else the shipped plugins and the examples of all languages that `plugins/examples/build` has built; each
//! is loaded cold and from the cache, and called. Memory is that of a process of its own that has ten plugins.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use portsplit_runtime::{Example, ExampleVerdict, Flags, Plugin, PluginOptions, Runtime, RuntimeOptions};

type Error = Box<dyn std::error::Error>;

/// What is asked in the call that the goals are about.
const BYTES: usize = 500;

/// With this argument the program loads ten plugins, calls them and prints its memory.
const RESIDENT: &str = "--resident";

const LANGUAGES: [&str; 6] = ["assemblyscript", "c", "go", "rust", "wat", "zig"];

fn main() -> Result<(), Error> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == RESIDENT) {
        return resident(arguments.get(1).ok_or("no folder for the cache")?, arguments.get(2..).unwrap_or_default());
    }
    println!("{} build", if cfg!(debug_assertions) { "dev" } else { "release" });
    let runtime = Runtime::new(RuntimeOptions::default())?;
    made_here(&runtime)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shipped = shipped(&root)?;
    in_a_row("ten shipped plugins in a row, none of which matches", &runtime, &shipped)?;
    if arguments.is_empty() {
        arguments.extend(shipped.iter().map(|path| path.display().to_string()));
        for language in LANGUAGES {
            let path = root.join("plugins/examples").join(language).join("target/knock.wasm");
            match path.is_file() {
                true => arguments.push(path.display().to_string()),
                false => println!("skipped: the example in {language} is not built (plugins/examples/build)"),
            }
        }
    }
    for path in &arguments {
        file(path)?;
    }
    memory(&shipped)
}

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

/// The costs of modules that are known to the last instruction.
fn made_here(runtime: &Runtime) -> Result<(), Error> {
    let input = [b'x'; BYTES];
    for (name, pages) in [("1 page", 1), ("17 pages", 17), ("64 pages", 64)] {
        let plugin = runtime.load(&scanner(pages)?, &PluginOptions::default())?;
        measure(&format!("one call, {BYTES} bytes, {name}"), "10 µs", 20_000, || once(&plugin, &input));
    }
    let ten: Vec<Plugin> = (0..10)
        .map(|i| Ok(runtime.load(&scanner(1 + i % 3)?, &PluginOptions::default())?))
        .collect::<Result<_, Error>>()?;
    measure("ten plugins in a row, each over all bytes", "100 µs", 5_000, || {
        ten.iter().for_each(|plugin| once(plugin, &input));
    });
    let plugin = runtime.load(&runaway()?, &PluginOptions::default())?;
    measure("a runaway cut off by its fuel", "100 µs", 2_000, || once(&plugin, &input));
    let options =
        PluginOptions { fuel: u64::MAX, deadline: Some(PluginOptions::DEFAULT_DEADLINE), ..Default::default() };
    let plugin = runtime.load(&runaway()?, &options)?;
    measure("a runaway cut off by the deadline", "5 ms", 100, || once(&plugin, &input));
    Ok(())
}

fn once(plugin: &Plugin, input: &[u8]) {
    drop(std::hint::black_box(plugin.classify(input, Flags::NONE)));
}

/// Runs `f` often and prints the medians, the 99th percentile and the goal.
fn measure(what: &str, goal: &str, times: usize, mut f: impl FnMut()) {
    for _ in 0..times / 10 + 1 {
        f();
    }
    let (mut clock, mut processor) = (Vec::with_capacity(times), Vec::with_capacity(times));
    for _ in 0..times {
        // The processor's time is asked for outside of the clock's, because asking takes a third of a microsecond.
        let used = thread_cpu_time();
        let start = Instant::now();
        f();
        clock.push(start.elapsed());
        processor.push(thread_cpu_time().saturating_sub(used));
    }
    let at = |samples: &mut Vec<Duration>, part: usize| {
        samples.sort_unstable();
        samples.get(times * part / 100).copied().unwrap_or_default()
    };
    let (median, p99, cpu) = (at(&mut clock, 50), at(&mut clock, 99), at(&mut processor, 50));
    println!("{what:<52} {median:>9.1?}, p99 {p99:>8.1?}, processor {cpu:>8.1?} (goal {goal})");
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The shipped plugins, in the order of their names.
fn shipped(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(root.join("plugins/dist"))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    Ok(files)
}

/// Ten plugins of these files, the first again where there are fewer.
fn ten(runtime: &Runtime, files: &[impl AsRef<Path>]) -> Result<Vec<Plugin>, Error> {
    let ten = files.iter().cycle().take(10);
    ten.map(|path| Ok(runtime.load(&std::fs::read(path)?, &PluginOptions::default())?)).collect()
}

fn in_a_row(what: &str, runtime: &Runtime, files: &[PathBuf]) -> Result<(), Error> {
    let ten = ten(runtime, files)?;
    let input = [b'\t'; BYTES];
    measure(what, "100 µs", 5_000, || ten.iter().for_each(|plugin| once(plugin, &input)));
    Ok(())
}

/// A folder for compiled code that is gone afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("portsplit-calls-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What one file costs to load and to call.
fn file(path: &str) -> Result<(), Error> {
    let wasm = std::fs::read(path)?;
    let scratch = Scratch::new("file");
    let fresh = || Runtime::new(RuntimeOptions { cache_dir: Some(scratch.0.clone()), ..Default::default() });
    println!("{}: {} bytes", std::fs::canonicalize(path)?.display(), wasm.len());
    let runtime = fresh()?;
    let cold = runtime.load(&wasm, &PluginOptions::default())?;
    let (prepare, compile) = (cold.info().prepare_time, cold.info().compile_time);
    println!("  cold load: {:.1?} (prepare {prepare:.1?}, compile {compile:.1?})", cold.info().load_time);
    let runtime = fresh()?;
    let plugin = runtime.load(&wasm, &PluginOptions::default())?;
    println!("  cached load: {:.1?} (from the cache: {})", plugin.info().load_time, plugin.info().from_cache);
    let mut rejected = vec![b'\t'; BYTES];
    let matched = plugin.manifest().and_then(|manifest| manifest.examples.iter().find_map(matching));
    let more = matched.map(|mut bytes| {
        bytes.resize(bytes.len().max(BYTES), 0);
        bytes
    });
    rejected.truncate(BYTES);
    for (what, input) in [("that it rejects", Some(rejected)), ("that begin with what it matches", more)] {
        let Some(input) = input else { continue };
        let (result, stats) = plugin.classify_measured(&input, Flags::NONE);
        let verdict = result.map_or_else(|error| error.to_string(), |outcome| outcome.verdict.to_string());
        println!("  {verdict}: {} fuel, {} KiB", stats.fuel, stats.memory_bytes >> 10);
        measure(&format!("  {} bytes {what}", input.len()), "10 µs", 5_000, || once(&plugin, &input));
    }
    Ok(())
}

/// The bytes of an example that matches without a configuration.
fn matching(example: &Example) -> Option<Vec<u8>> {
    (example.verdict == ExampleVerdict::Match && example.config.is_none()).then(|| example.bytes().ok()).flatten()
}

/// Memory of a process with ten plugins: once it has compiled them, and once it took them from the cache.
fn memory(shipped: &[PathBuf]) -> Result<(), Error> {
    let scratch = Scratch::new("resident");
    for how in ["compiled", "from the cache"] {
        let mut command = Command::new(std::env::current_exe()?);
        let output = command.arg(RESIDENT).arg(&scratch.0).args(shipped).output()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        println!("resident with ten plugins, {how}: {said} (goal 25 MiB)");
    }
    Ok(())
}

fn resident(cache: &str, files: &[String]) -> Result<(), Error> {
    let at_start = resident_kib();
    let runtime = Runtime::new(RuntimeOptions { cache_dir: Some(cache.into()), ..Default::default() })?;
    let ten = ten(&runtime, files)?;
    let input = [b'\t'; BYTES];
    (0..1_000).for_each(|_| ten.iter().for_each(|plugin| once(plugin, &input)));
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!("{:.1} MiB, {:.1} MiB before the first", mib(resident_kib()), mib(at_start));
    Ok(())
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * 4
}
