//! `portsplit plugin bench`: what a plugin costs to load and to ask, against its budget.

mod all;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use portsplit_runtime::{CallError, ExampleVerdict, Flags, Plugin, PluginInfo, Runtime, RuntimeOptions};
use serde_json::{Value, json};

use super::feed::feed;
use super::module::{Configured, Module, call_help, refused};
use super::progress::announced;
use super::run::{Source, percent};
use crate::cli::describe::{count, excerpt, printable, printable_lines, size};
use crate::cli::table::Table;
use crate::cli::{Failure, print, print_json};

const EXAMPLES: &str = "\
Examples:
  portsplit plugin bench tls                       on the longest example of its manifest that matches
  portsplit plugin bench my.wasm --file hello.bin
  portsplit plugin bench my.wasm --calls 20000 --json
  portsplit plugin bench --all                     a decision with 1, 10, 25 and all shipped plugins as services

Exit codes: 0 done, 1 the plugin cannot be used or a call failed, 2 wrong usage.";

/// Time for the calls of one length, so that a slow plugin is measured with fewer of them.
const TIME_PER_LENGTH: Duration = Duration::from_millis(500);

/// Measure what a plugin costs: loading, calls by number of bytes, feeding byte by byte, memory.
///
/// Times depend on the machine and what else it does; fuel does not, and is what the budget limits.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The module, or the name of a shipped plugin.
    #[arg(required_unless_present = "all")]
    plugin: Option<PathBuf>,
    /// Measure whole decisions about SSH, TLS and HTTP, with more and more shipped plugins as services.
    #[arg(long, conflicts_with_all = ["plugin", "Source", "config"])]
    all: bool,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    config: Configured,
    /// Calls for each number of bytes, or decisions for each number of services; fewer where half a second is not enough.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// The cost of calls that show the same bytes.
struct Length {
    bytes: usize,
    fuel: u64,
    memory_bytes: usize,
    calls: usize,
    median: Duration,
    p99: Duration,
}

/// The cost of bytes that come one at a time.
struct Drip {
    calls: usize,
    fuel: u64,
    time: Duration,
}

/// A folder for compiled code that is gone afterwards.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Some(plugin) = &args.plugin else {
        all::run(args.calls, args.json)?;
        return Ok(ExitCode::SUCCESS);
    };
    let config = args.config.value()?;
    let module = Module::find(plugin)?;
    let scratch = Scratch(env::temp_dir().join(format!("portsplit-bench-{}", std::process::id())));
    let load = || {
        let options = RuntimeOptions { cache_dir: Some(scratch.0.clone()), ..RuntimeOptions::default() };
        let runtime = Runtime::new(options).map_err(|error| Failure::Failed(anyhow!(error)))?;
        module.load(&runtime, config.clone()).map_err(|error| refused(&module.name, &error))
    };
    let cold = load()?.info().clone();
    let plugin = load()?;
    let flight = match args.source.given()? {
        Some(bytes) => bytes,
        None => example(&plugin),
    };
    let what = format!("measuring {}", module.name);
    let lengths = announced(&what, || {
        lengths(flight.len()).into_iter().map(|bytes| measure(&plugin, &flight, bytes, args.calls)).collect()
    });
    let lengths: Result<Vec<Length>, CallError> = lengths;
    let lengths = lengths.map_err(|error| {
        Failure::Failed(anyhow!(
            "{}: {}\n  help: {}",
            module.name,
            printable_lines(&error.to_string()),
            call_help(&error)
        ))
    })?;
    let drip = drip(&plugin, &flight);
    if args.json {
        print_json(&as_json(&plugin, &cold, &flight, &lengths, &drip))?;
    } else {
        print(as_text(&plugin, &cold, &flight, &lengths, &drip).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The longest example that matches without a configuration, else 500 bytes of nothing in particular.
fn example(plugin: &Plugin) -> Vec<u8> {
    let examples = plugin.manifest().map(|manifest| manifest.examples.as_slice()).unwrap_or_default();
    let fitting =
        examples.iter().filter(|example| example.verdict == ExampleVerdict::Match && example.config.is_none());
    let longest = fitting.filter_map(|example| example.bytes().ok()).max_by_key(Vec::len);
    longest.unwrap_or_else(|| b"portsplit ".repeat(50))
}

/// No byte, powers of two, and all of them.
fn lengths(all: usize) -> Vec<usize> {
    let powers = (0..usize::BITS).map(|power| 1usize << power).take_while(|length| *length < all);
    let mut lengths: Vec<usize> = [0].into_iter().chain(powers).chain([all]).collect();
    lengths.dedup();
    lengths
}

fn measure(plugin: &Plugin, flight: &[u8], bytes: usize, most_calls: u32) -> Result<Length, CallError> {
    let shown = flight.get(..bytes).unwrap_or(flight);
    let (mut times, mut fuel, mut memory_bytes) = (Vec::new(), 0, 0);
    let start = Instant::now();
    for call in 0..most_calls.max(1) {
        let (result, stats) = plugin.classify_measured(shown, Flags::NONE);
        result?;
        fuel = stats.fuel.max(fuel);
        memory_bytes = stats.memory_bytes.max(memory_bytes);
        times.push(stats.duration);
        if call > 0 && start.elapsed() > TIME_PER_LENGTH {
            break;
        }
    }
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).or(times.last()).copied().unwrap_or_default();
    Ok(Length { bytes, fuel, memory_bytes, calls: times.len(), median: at(0.5), p99: at(0.99) })
}

fn drip(plugin: &Plugin, flight: &[u8]) -> Drip {
    let steps = feed(plugin, flight, 1..=flight.len(), Flags::NONE);
    Drip {
        calls: steps.len(),
        fuel: steps.iter().map(|step| step.stats.fuel).sum(),
        time: steps.iter().map(|step| step.stats.duration).sum(),
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn as_text(plugin: &Plugin, cold: &PluginInfo, flight: &[u8], lengths: &[Length], drip: &Drip) -> String {
    let budget = plugin.options().fuel;
    let mut head = Table::default();
    let mut row = |what: &str, found: String| head.push([what.to_owned(), found]);
    row("plugin", printable(plugin.name()));
    row("bytes", format!("{}: {}", flight.len(), excerpt(flight, 40)));
    let from_cache = if plugin.info().from_cache { "from the cache" } else { "the second time, not cached" };
    row(
        "load",
        format!("{:.1} ms cold, {:.1} ms {from_cache}", millis(cold.load_time), millis(plugin.info().load_time)),
    );
    row("code", size(plugin.info().code_bytes as u64));
    let memory = lengths.iter().map(|length| length.memory_bytes).max().unwrap_or_default() as u64;
    let most = plugin.options().memory_bytes as u64;
    row("memory", format!("{} of {} ({})", size(memory), size(most), percent(memory, most)));
    let drip = format!("{}, {} fuel, {:.1} µs in all", count(drip.calls, "call"), drip.fuel, micros(drip.time));
    row("byte by byte", drip);
    let mut table = Table::default();
    table.push(["bytes", "fuel", "of budget", "median µs", "p99 µs", "calls"]);
    for length in lengths {
        table.push([
            length.bytes.to_string(),
            length.fuel.to_string(),
            percent(length.fuel, budget),
            format!("{:.1}", micros(length.median)),
            format!("{:.1}", micros(length.p99)),
            length.calls.to_string(),
        ]);
    }
    format!("{}\n{}", head.render(), table.render())
}

fn as_json(plugin: &Plugin, cold: &PluginInfo, flight: &[u8], lengths: &[Length], drip: &Drip) -> Value {
    let rows = lengths.iter().map(|length| {
        json!({
            "bytes": length.bytes,
            "fuel": length.fuel,
            "memory_bytes": length.memory_bytes,
            "calls": length.calls,
            "median_us": micros(length.median),
            "p99_us": micros(length.p99),
        })
    });
    json!({
        "plugin": plugin.name(),
        "bytes": flight.len(),
        "load_cold_ms": millis(cold.load_time),
        "load_cached_ms": plugin.info().from_cache.then(|| millis(plugin.info().load_time)),
        "code_bytes": plugin.info().code_bytes,
        "fuel_budget": plugin.options().fuel,
        "memory_budget_bytes": plugin.options().memory_bytes,
        "lengths": rows.collect::<Vec<Value>>(),
        "drip": { "calls": drip.calls, "fuel": drip.fuel, "us": micros(drip.time) },
    })
}
