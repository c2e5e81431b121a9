//! `portsplit plugin run`: what a plugin says about some bytes, when it knows, and what that costs.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use portsplit_runtime::{Fact, Flags, Plugin, Verdict};
use serde_json::{Value, json};

use super::feed::{Step, feed};
use super::module::{Configured, Module, call_help, refused, runtime};
use crate::cli::describe::{count, excerpt, printable, printable_lines, size};
use crate::cli::input::{self, Bytes, Cuts};
use crate::cli::table::Table;
use crate::cli::{EXIT_FAILED, Failure, print, print_json, say};
use crate::config::escape;

const EXAMPLES: &str = "\
Examples:
  printf 'SSH-2.0-x\\r\\n' | portsplit plugin run ssh
  portsplit plugin run my.wasm --hex '4b 4e 4b 01' --config '{\"version\": 1}'
  portsplit plugin run tls --file hello.bin --split 5,100 --trace
  portsplit plugin run ssh --text 'SSH-' --byte-by-byte --trace
  portsplit plugin run ssh --text 'SSH-' --half-close --json

Exit codes: 0 it has a verdict, whichever; 1 it failed or contradicts itself; 2 wrong usage.";

/// Bytes that can be given: four times the first flight of the server's default.
const MOST_BYTES: usize = 64 << 10;

/// Bytes of the input, and of a fact, that are shown.
const SHOWN_BYTES: usize = 64;

/// Show what a plugin says about some bytes.
///
/// Prints the verdict, the number of bytes at which it is known, the facts, and the cost. Bytes come from standard input
/// unless they are given.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The module, or the name of a shipped plugin.
    plugin: PathBuf,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    config: Configured,
    /// Feed the bytes in pieces that end after these byte counts, such as 1,3,7.
    #[arg(long, value_name = "COUNTS", value_parser = input::cuts, conflicts_with = "byte_by_byte")]
    split: Option<Cuts>,
    /// Feed the bytes one by one.
    #[arg(long)]
    byte_by_byte: bool,
    #[command(flatten)]
    end: End,
    /// Show each call; those that a need-more makes useless are left out, as the server does.
    #[arg(long)]
    trace: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Where the bytes come from.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct Source {
    /// Bytes as text with the escapes of the configuration: \r \n \t \0 \\ \xNN.
    #[arg(long, value_name = "TEXT", value_parser = input::text, allow_hyphen_values = true)]
    pub(super) text: Option<Bytes>,
    /// Bytes as hex digits; spaces, colons, commas and 0x are ignored.
    #[arg(long, value_name = "HEX", value_parser = input::hex)]
    pub(super) hex: Option<Bytes>,
    /// A file that holds the bytes.
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Standard input holds the bytes.
    #[arg(value_name = "-", value_parser = ["-"])]
    stdin: Option<String>,
}

/// Why no byte follows.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct End {
    /// After the bytes the client half-closes.
    #[arg(long)]
    half_close: bool,
    /// After the bytes the first flight is full.
    #[arg(long)]
    full: bool,
    /// After the bytes the time to decide is up.
    #[arg(long)]
    time_up: bool,
}

impl Source {
    /// Returns the bytes if they are given, without looking at standard input.
    pub(super) fn given(&self) -> Result<Option<Vec<u8>>, Failure> {
        if let Source { text: Some(Bytes(bytes)), .. } | Source { hex: Some(Bytes(bytes)), .. } = self {
            return Ok(Some(bytes.clone()));
        }
        let Some(path) = &self.file else { return Ok(None) };
        let shown = || format!("cannot read `{}`", printable(&path.to_string_lossy()));
        let file = File::open(path).with_context(shown)?;
        Ok(Some(input::read(file, MOST_BYTES + 1).with_context(shown)?))
    }

    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        if let Some(bytes) = self.given()? {
            return Ok(bytes);
        }
        let stdin = io::stdin().lock();
        if stdin.is_terminal() {
            say("reading bytes from the terminal; Ctrl-D ends them, and `--text` or `--hex` takes its place");
        }
        Ok(input::read(stdin, MOST_BYTES + 1).context("cannot read standard input")?)
    }
}

impl End {
    fn flags(&self) -> Flags {
        match self {
            End { half_close: true, .. } => Flags::HALF_CLOSED,
            End { full: true, .. } => Flags::BUFFER_FULL,
            End { time_up: true, .. } => Flags::TIME_UP,
            End { .. } => Flags::NONE,
        }
    }
}

/// What came of the bytes.
struct Run<'a> {
    plugin: &'a Plugin,
    flight: &'a [u8],
    /// The calls as they were asked for.
    steps: &'a [Step],
    /// The smallest number of bytes with the verdict.
    known_at: Option<usize>,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let config = args.config.value()?;
    let module = Module::find(&args.plugin)?;
    let mut flight = args.source.bytes()?;
    if flight.len() > MOST_BYTES {
        flight.truncate(MOST_BYTES);
        say(&format!("only the first {MOST_BYTES} bytes are used"));
    }
    let plugin = module.load(&runtime(true)?, config).map_err(|error| refused(&module.name, &error))?;
    let last = args.end.flags();
    // Byte by byte comes first: it finds the deciding byte, and the calls that are shown are then not the first ones.
    let drip = feed(&plugin, &flight, 0..=flight.len(), last);
    let ends: Vec<usize> = match &args.split {
        Some(Cuts(cuts)) => cuts.iter().copied().filter(|cut| *cut < flight.len()).chain([flight.len()]).collect(),
        None if args.byte_by_byte => (usize::from(!flight.is_empty())..=flight.len()).collect(),
        None => vec![flight.len()],
    };
    let steps = feed(&plugin, &flight, ends, last);
    let Some((step, other)) = steps.last().zip(drip.last()) else { return Ok(ExitCode::SUCCESS) };
    let decided = matches!(step.verdict(), Some(Verdict::Match | Verdict::Reject));
    let known_at = (decided && step.verdict() == other.verdict()).then_some(other.bytes);
    let found = Run { plugin: &plugin, flight: &flight, steps: &steps, known_at };
    if args.json {
        print_json(&found.as_json(step))?;
    } else {
        print(found.as_text(step, args.trace).as_bytes())?;
    }
    if let Err(error) = &step.result {
        say(&format!("portsplit: {}\n  help: {}", printable_lines(&error.to_string()), call_help(error)));
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    let agree = word(step) == word(other) && step.facts() == other.facts();
    if !agree {
        let (one, two) = (word(step), word(other));
        say(&format!(
            "portsplit: it contradicts itself: `{one}` as the bytes are fed here, `{two}` byte by byte\n  help: {}",
            "a verdict must not depend on how the bytes are cut; `portsplit plugin test` finds the smallest input"
        ));
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    Ok(ExitCode::SUCCESS)
}

fn word(step: &Step) -> &'static str {
    match step.verdict() {
        Some(Verdict::Match) => "match",
        Some(Verdict::Reject) => "reject",
        Some(Verdict::NeedMore(_)) => "need-more",
        None => "failed",
    }
}

/// The least number of bytes a need-more asks for.
fn needs(step: &Step) -> Option<usize> {
    match step.verdict() {
        Some(Verdict::NeedMore(total)) => Some(total),
        _ => None,
    }
}

fn fact_text(fact: &Fact) -> String {
    format!("{}={}", fact.name, excerpt(fact.value.as_bytes(), SHOWN_BYTES))
}

pub(super) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

impl Run<'_> {
    fn as_text(&self, step: &Step, trace: bool) -> String {
        let mut text = if trace { format!("{}\n", self.calls()) } else { String::new() };
        let mut table = Table::default();
        let mut row = |what: &str, found: String| table.push([what.to_owned(), found]);
        let version = self.plugin.manifest().map(|manifest| format!(" {}", manifest.version)).unwrap_or_default();
        row("plugin", printable(&format!("{}{version}", self.plugin.name())));
        let shown =
            if self.flight.is_empty() { String::new() } else { format!(": {}", excerpt(self.flight, SHOWN_BYTES)) };
        row("bytes", format!("{}{shown}", self.flight.len()));
        let more = match (needs(step), self.known_at) {
            (Some(total), _) => format!(", {} in all at least", count(total, "byte")),
            (None, Some(at)) => format!(", known at {}", count(at, "byte")),
            (None, None) => String::new(),
        };
        row("verdict", format!("{}{more}", word(step)));
        for fact in step.facts() {
            row("fact", fact_text(fact));
        }
        for line in &step.stats.logs {
            row("log", format!("{}: {}", line.level.as_str(), printable(&line.message)));
        }
        let budget = self.plugin.options().fuel;
        row("fuel", format!("{} of {budget} ({})", step.stats.fuel, percent(step.stats.fuel, budget)));
        row("memory", size(step.stats.memory_bytes as u64));
        row("time", format!("{:.1} µs", step.stats.duration.as_secs_f64() * 1e6));
        text.push_str(&table.render());
        text
    }

    fn calls(&self) -> String {
        let budget = self.plugin.options().fuel;
        let mut table = Table::default();
        table.push(["call", "bytes", "verdict", "needs", "fuel", "of budget", "µs", "facts"]);
        for (number, step) in (1..).zip(self.steps) {
            let needs = needs(step).map(|total| total.to_string()).unwrap_or_default();
            let flags = if step.flags.is_last() { " (last)" } else { "" };
            table.push([
                number.to_string(),
                step.bytes.to_string(),
                format!("{}{flags}", word(step)),
                needs,
                step.stats.fuel.to_string(),
                percent(step.stats.fuel, budget),
                format!("{:.1}", step.stats.duration.as_secs_f64() * 1e6),
                step.facts().iter().map(fact_text).collect::<Vec<String>>().join(" "),
            ]);
        }
        table.render()
    }

    fn as_json(&self, step: &Step) -> Value {
        json!({
            "plugin": self.plugin.name(),
            "version": self.plugin.manifest().map(|manifest| &manifest.version),
            "bytes": self.flight.len(),
            "text": escape(self.flight),
            "verdict": word(step),
            "needs": needs(step),
            "known_at": self.known_at,
            "facts": facts_json(step),
            "fuel": step.stats.fuel,
            "fuel_budget": self.plugin.options().fuel,
            "memory_bytes": step.stats.memory_bytes,
            "microseconds": step.stats.duration.as_secs_f64() * 1e6,
            "logs": step.stats.logs.iter().map(|line| json!({ "level": line.level.as_str(), "message": line.message })).collect::<Vec<Value>>(),
            "error": step.result.as_ref().err().map(|error| json!({ "code": error.kind(), "message": error.to_string(), "help": call_help(error) })),
            "calls": self.steps.iter().map(call_json).collect::<Vec<Value>>(),
        })
    }
}

fn facts_json(step: &Step) -> Vec<Value> {
    step.facts().iter().map(|fact| json!({ "name": fact.name, "value": fact.value })).collect()
}

fn call_json(step: &Step) -> Value {
    json!({
        "bytes": step.bytes,
        "flags": step.flags.bits(),
        "verdict": word(step),
        "needs": needs(step),
        "fuel": step.stats.fuel,
        "microseconds": step.stats.duration.as_secs_f64() * 1e6,
        "facts": facts_json(step),
    })
}
