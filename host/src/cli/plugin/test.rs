//! `portsplit plugin test`: cases, the manifest's examples and the laws, for plugins of any language.
//!
//! The SDK's harness does the work; this file chooses what is checked and shows what came of it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use portsplit_plugin_sdk::harness::{Case, CaseOutcome, Cases, CasesOutcome, Law, Laws, Report, Violation};
use serde_json::{Value, json};

use super::matrix;
use super::module::runtime;
use super::progress::announced;
use super::subject::Subject;
use crate::cli::describe::{count, printable};
use crate::cli::{EXIT_FAILED, Failure, print, print_json};

const EXAMPLES: &str = "\
Examples:
  portsplit plugin test                       the plugin that was built in this folder
  portsplit plugin test my-protocol other.wasm
  portsplit plugin test ssh                   a shipped plugin, with the examples of its manifest
  portsplit plugin test --filter 'half-close' only the cases and laws with this in their name
  portsplit plugin test --inputs 100000 --seed 7
  portsplit plugin test --matrix              no shipped plugin matches the cases of another
  portsplit plugin test --matrix --corpus first-flights.jsonl --least-recall 0.99
                                              recall and precision on captured first flights

Exit codes: 0 everything passed, 1 something did not, 2 wrong usage.";

/// Test plugins: cases.toml, the examples of the manifest, and the laws every plugin keeps.
///
/// The laws are checked on the bytes of the cases and on inputs made from them. A law that is broken is shown with the
/// smallest input found, in hex and as a case to keep.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Folders in which a plugin was built, modules, or names of shipped plugins; this folder unless some are named.
    #[arg(value_name = "DIR|FILE")]
    plugins: Vec<PathBuf>,
    /// The cases, instead of cases.toml in the plugin's folder; or a folder that has NAME/cases.toml for plugins.
    #[arg(long, value_name = "FILE|DIR")]
    cases: Option<PathBuf>,
    #[command(flatten)]
    matrix: matrix::Options,
    /// Run only the cases, examples and laws with this in their name.
    #[arg(long, value_name = "TEXT", conflicts_with = "matrix")]
    filter: Option<String>,
    /// How many inputs to make for the laws.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000, conflicts_with = "matrix")]
    inputs: u64,
    /// Makes the same inputs again.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, conflicts_with = "matrix")]
    seed: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// How one plugin did.
struct Tested {
    subject: Subject,
    cases: CasesOutcome,
    laws: Option<Report>,
}

impl Tested {
    fn passed(&self) -> bool {
        self.cases.passed() && self.laws.as_ref().is_none_or(Report::kept)
    }
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.matrix.matrix {
        return matrix::run(&args.matrix, &args.plugins, args.cases.as_deref(), args.json);
    }
    let runtime = runtime(true)?;
    let mut all = Vec::new();
    let here = [PathBuf::from(".")];
    let plugins = if args.plugins.is_empty() { &here[..] } else { &args.plugins };
    for named in plugins {
        let subject = Subject::find(named, args.cases.as_deref(), &runtime, Value::Null)?;
        let tested = announced(&format!("testing {}", subject.name), || test(subject, args));
        if !args.json {
            print(as_text(&tested).as_bytes())?;
        }
        all.push(tested);
    }
    let ran = all.iter().any(|tested| !tested.cases.list.is_empty() || tested.laws.is_some());
    if let (false, Some(filter)) = (ran, &args.filter) {
        return Err(Failure::Failed(anyhow!("no case and no law has `{}` in its name", printable(filter))));
    }
    let passed = all.iter().all(Tested::passed);
    if args.json {
        print_json(&json!({ "ok": passed, "plugins": all.iter().map(as_json).collect::<Vec<Value>>() }))?;
    }
    Ok(ExitCode::from(if passed { 0 } else { EXIT_FAILED }))
}

fn test(subject: Subject, args: &Args) -> Tested {
    let wanted = |name: &str| args.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    let every = subject.all_cases();
    let chosen: Vec<Case> = every.list.iter().filter(|case| wanted(&case.name)).cloned().collect();
    let cases = Cases { list: chosen }.check(&subject.plugin);
    let laws: Vec<Law> = Law::ALL.into_iter().filter(|law| wanted(law.name())).collect();
    let laws = (!laws.is_empty()).then(|| {
        // Laws are checked on all the bytes there are, whichever cases were asked for.
        Laws::only(laws).over(&every).random(args.inputs).seed(args.seed).check(&subject.plugin)
    });
    Tested { subject, cases, laws }
}

fn as_text(tested: &Tested) -> String {
    let mut text = format!("{}\n", tested.subject.name);
    for case in tested.cases.list.iter().filter(|case| !case.passed()) {
        text.push_str(&format!("\n{}\n", case.to_string().trim_end()));
    }
    let failed = tested.cases.list.iter().filter(|case| !case.passed()).count();
    let from = match &tested.subject.cases {
        Some((path, _)) => format!("{} and the manifest", printable(&path.to_string_lossy())),
        None => "the manifest".to_owned(),
    };
    let result = if failed == 0 { "all passed".to_owned() } else { format!("{failed} FAILED") };
    text.push_str(&format!("{} of {from}: {result}\n", count(tested.cases.list.len(), "case")));
    if let Some(laws) = &tested.laws {
        text.push_str(&laws.to_string());
    }
    text.push('\n');
    text
}

fn as_json(tested: &Tested) -> Value {
    let laws = tested.laws.iter().flat_map(|report| &report.laws).filter(|law| law.checked || law.waived.is_some());
    let laws: Vec<Value> = laws
        .map(|law| {
            json!({
                "name": law.law.name(),
                "statement": law.law.statement(),
                "kept": law.violation.is_none() && law.waived.is_none(),
                "waived": law.waived,
                "violation": law.violation.as_ref().map(violation_json),
            })
        })
        .collect();
    json!({
        "file": tested.subject.name,
        "ok": tested.passed(),
        "cases": tested.cases.list.iter().map(case_json).collect::<Vec<Value>>(),
        "laws": laws,
        "inputs": tested.laws.as_ref().map(|report| report.inputs),
        "seed": tested.laws.as_ref().map(|report| report.seed),
    })
}

fn case_json(case: &CaseOutcome) -> Value {
    json!({
        "name": case.name,
        "line": Some(case.line).filter(|line| *line > 0),
        "passed": case.passed(),
        "failures": case.failures,
        "hex": hex(&case.bytes),
        "decided_at": case.decided_at,
        "fuel": case.fuel,
    })
}

pub(super) fn violation_json(violation: &Violation) -> Value {
    json!({
        "law": violation.law.name(),
        "message": violation.message,
        "hex": hex(&violation.bytes),
        "config": violation.config,
        "case": violation.case.to_string(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
