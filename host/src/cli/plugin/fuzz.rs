//! `portsplit plugin fuzz`: looks for an input that breaks a law, for a given time, and writes the smallest one.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portsplit_plugin_sdk::harness::{Law, Laws, Report};
use serde_json::json;

use super::module::{Configured, runtime};
use super::subject::Subject;
use super::test::violation_json;
use crate::cli::{EXIT_FAILED, Failure, print, print_json, say};
use crate::config::parse_duration;

const EXAMPLES: &str = "\
Examples:
  portsplit plugin fuzz target/my-protocol.wasm
  portsplit plugin fuzz target/my-protocol.wasm --time 10m --law monotone --law final
  portsplit plugin fuzz target/my-protocol.wasm --seed 7 >> cases.toml    keep what it finds

Exit codes: 0 nothing was found, 1 a law is broken and the input is on standard output, 2 wrong usage.";

/// Look for an input that breaks a law.
///
/// Makes inputs from cases.toml, the manifest's examples and what the module holds, keeps those that show something new,
/// and stops at the first law that is broken. The smallest input that breaks it is written as a block for cases.toml.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The folder in which a plugin was built, a module, or the name of a shipped plugin.
    #[arg(value_name = "FILE")]
    plugin: PathBuf,
    /// How long to look.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    time: Duration,
    /// Makes the same inputs again, for the same number of them; chosen by the clock unless given.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Only this law; can be given several times.
    #[arg(long = "law", value_name = "NAME", value_parser = str::parse::<Law>)]
    laws: Vec<Law>,
    /// The cases to start from, instead of cases.toml in the plugin's folder.
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    #[command(flatten)]
    config: Configured,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let subject = Subject::find(&args.plugin, args.cases.as_deref(), &runtime(true)?, args.config.value()?)?;
    let laws = if args.laws.is_empty() { Law::ALL.to_vec() } else { args.laws.clone() };
    let seed = args.seed.unwrap_or_else(clock);
    say(&format!("fuzzing {} for {:?}, seed {seed}", subject.name, args.time));
    let cases = subject.all_cases();
    let laws = Laws::only(laws).over(&cases).for_time(args.time).seed(seed).stop_at_first();
    let start = Instant::now();
    let mut told = start;
    let report = laws.check_with(&subject.plugin, |inputs, corpus| {
        if told.elapsed() >= Duration::from_secs(1) {
            told = Instant::now();
            let rate = inputs as f64 / start.elapsed().as_secs_f64().max(0.001);
            say(&format!(
                "{:5.0} s  {inputs} inputs, {rate:.0} a second, a corpus of {corpus}",
                start.elapsed().as_secs_f64()
            ));
        }
    });
    let found = report.violations().next();
    if args.json {
        print_json(&json!({
            "ok": found.is_none(),
            "file": subject.name,
            "seed": report.seed,
            "inputs": report.inputs,
            "corpus": report.corpus,
            "seconds": report.elapsed.as_secs_f64(),
            "violation": found.map(violation_json),
        }))?;
    } else {
        show(&report)?;
    }
    Ok(ExitCode::from(if found.is_some() { EXIT_FAILED } else { 0 }))
}

/// Tells a person what happened, and writes the case to standard output.
fn show(report: &Report) -> Result<(), Failure> {
    let done = format!("{} inputs, a corpus of {}, {:.1?}", report.inputs, report.corpus, report.elapsed);
    let Some(found) = report.violations().next() else {
        say(&format!("{done}: no law is broken"));
        return Ok(());
    };
    say(&format!("{done}\n\n{}", found.to_string().trim_end()));
    if found.law != Law::Config {
        print(
            format!("\n# found by `portsplit plugin fuzz --seed {}`: {}\n{}", report.seed, found.law, found.case)
                .as_bytes(),
        )?;
    }
    Ok(())
}

fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() ^ u64::from(since.subsec_nanos())
}
