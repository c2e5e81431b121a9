//! `portsplit plugin test --matrix`: whether plugins leave each other's protocols alone, by their cases or on a corpus.
//!
//! The SDK's harness asks and counts; this file chooses who takes part and which limits hold. `figures` shows what a
//! corpus measured.

mod figures;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use portsplit_plugin_sdk::harness::{
    Cases, Confusion, Corpus, CorpusError, Exception, Exceptions, Measurement, measure,
};
use serde_json::{Value, json};

use super::module::runtime;
use super::progress::announced;
use super::subject::Subject;
use crate::cli::describe::{count, printable};
use crate::cli::table::Table;
use crate::cli::{EXIT_FAILED, Failure, print, print_json, say};
use crate::plugin::SHIPPED;

/// Time between two signs of life.
const TIME_PER_SIGN: Duration = Duration::from_secs(2);

/// What `plugin test` takes for the matrix.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Test the plugins against each other: none may match the cases of another. All shipped ones unless some are named.
    #[arg(long)]
    pub(super) matrix: bool,
    /// Measure them on captured first flights instead (JSON lines, with labels.json beside); can be given several times.
    #[arg(long, value_name = "FILE", requires = "matrix")]
    corpus: Vec<PathBuf>,
    /// Leave out the samples that this file names, and show the figures with them as well.
    #[arg(long, value_name = "FILE", requires = "corpus")]
    except: Option<PathBuf>,
    /// Fail if fewer of the corpus's samples are recognised, as a part of 1.
    #[arg(long, value_name = "PART", requires = "corpus", value_parser = part)]
    least_recall: Option<f64>,
    /// Fail if fewer of the matches are right.
    #[arg(long, value_name = "PART", requires = "corpus", value_parser = part)]
    least_precision: Option<f64>,
    /// Fail if more of the negatives are matched.
    #[arg(long, value_name = "PART", requires = "corpus", value_parser = part)]
    most_claimed: Option<f64>,
    /// Show the bytes of samples that were missed or matched wrongly.
    #[arg(long, requires = "corpus")]
    show_bytes: bool,
}

/// Reads a part of 1.
fn part(text: &str) -> Result<f64, String> {
    let part = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..=1.0).contains(&part) { Ok(part) } else { Err("it must be between 0 and 1, such as 0.99".to_owned()) }
}

pub(super) fn run(
    options: &Options,
    named: &[PathBuf],
    cases: Option<&Path>,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let runtime = runtime(true)?;
    let all: Vec<PathBuf> = SHIPPED.iter().map(|(name, _)| PathBuf::from(name)).collect();
    let named = if named.is_empty() { &all } else { named };
    let subjects = named.iter().map(|named| Subject::find(named, cases, &runtime, Value::Null));
    let subjects = subjects.collect::<Result<Vec<Subject>, Failure>>()?;
    if options.corpus.is_empty() { by_cases(&subjects, as_json) } else { on_corpus(options, &subjects, as_json) }
}

fn by_cases(subjects: &[Subject], as_json: bool) -> Result<ExitCode, Failure> {
    let cases: Vec<Cases> = subjects.iter().map(Subject::all_cases).collect();
    let plugins: Vec<_> = subjects.iter().map(|subject| &subject.plugin).zip(&cases).collect();
    let confusion = announced("asking all plugins about the cases of each", || Confusion::of(&plugins));
    let passed = confusion.wrong.is_empty();
    if as_json {
        let (rows, wrong, overlaps) = (&confusion.rows, &confusion.wrong, &confusion.overlaps);
        print_json(&json!({ "ok": passed, "rows": rows, "wrong": wrong, "overlaps": overlaps }))?;
    } else {
        print(confusion_text(&confusion).as_bytes())?;
    }
    Ok(ExitCode::from(if passed { 0 } else { EXIT_FAILED }))
}

/// A row for each plugin, then what is wrong. The cells themselves, of which all but the diagonal should be 0, are in the
/// JSON. A case that is left open makes services behind that plugin wait.
fn confusion_text(confusion: &Confusion) -> String {
    let mut table = Table::default();
    table.push(["plugin", "cases", "matched", "by others", "left open by others", "leaves open"]);
    for (number, row) in confusion.rows.iter().enumerate() {
        let own = row.matched.get(number).copied().unwrap_or_default();
        let others = row.matched.iter().sum::<usize>() - own;
        let is_other = |(at, cases): (usize, &usize)| (at != number).then_some(*cases);
        let by_others: usize = row.undecided.iter().enumerate().filter_map(is_other).sum();
        let column = confusion.rows.iter().enumerate().filter(|(at, _)| *at != number);
        let of_others: usize = column.filter_map(|(_, row)| row.undecided.get(number)).sum();
        let numbers = [row.cases, own, others, by_others, of_others].map(|number| number.to_string());
        table.push([printable(&row.plugin)].into_iter().chain(numbers));
    }
    let mut text = table.render();
    for wrong in &confusion.wrong {
        let [plugin, case, by, what] = [&wrong.plugin, &wrong.case, &wrong.by, &wrong.what].map(|said| printable(said));
        text.push_str(&format!("\nWRONG: {plugin}, case `{case}`: {by} {what}"));
    }
    for overlap in &confusion.overlaps {
        let [plugin, case, by] = [&overlap.plugin, &overlap.case, &overlap.by].map(|said| printable(said));
        text.push_str(&format!("\noverlap: {plugin}, case `{case}`: {by} matches too: {}", printable(&overlap.reason)));
    }
    if !confusion.wrong.is_empty() || !confusion.overlaps.is_empty() {
        text.push('\n');
    }
    let cases = confusion.rows.iter().map(|row| row.cases).sum();
    let asked = cases * confusion.rows.len();
    let result = match confusion.wrong.len() {
        0 => "none wrong".to_owned(),
        wrong => format!("{wrong} WRONG"),
    };
    let declared = match confusion.overlaps.len() {
        0 => String::new(),
        overlaps => format!(", {} declared", count(overlaps, "overlap")),
    };
    let plugins = count(confusion.rows.len(), "plugin");
    format!("{text}\n{plugins}, {}, {}: {result}{declared}\n", count(cases, "case"), count(asked, "answer"))
}

/// A limit and what was measured.
struct Limit {
    what: &'static str,
    wanted: f64,
    measured: Option<f64>,
    kept: bool,
}

fn on_corpus(options: &Options, subjects: &[Subject], as_json: bool) -> Result<ExitCode, Failure> {
    let mut corpus = Corpus::default();
    for path in &options.corpus {
        corpus = corpus.and(read(path, |path| Corpus::read(path))?);
    }
    let exceptions = options.except.as_deref().map(|path| read(path, |path| Exceptions::read(path))).transpose()?;
    let idle = exceptions.as_ref().map(|exceptions| corpus.leave_out(exceptions)).unwrap_or_default();
    let plugins: Vec<_> = subjects.iter().map(|subject| &subject.plugin).collect();
    let mut told = Instant::now();
    let measured = measure(&plugins, &corpus, |done, all| {
        if told.elapsed() >= TIME_PER_SIGN {
            told = Instant::now();
            say(&format!("{done} of {all} samples"));
        }
    });
    let limits = limits(options, &measured);
    let passed = measured.is_sound() && limits.iter().all(|limit| limit.kept);
    if as_json {
        print_json(&corpus_json(options, subjects, &measured, &idle, &limits, passed))?;
    } else {
        let mut text = figures::text(&measured, &corpus, &idle, options.show_bytes);
        for limit in &limits {
            let kept = if limit.kept { "kept" } else { "NOT KEPT" };
            let measured = limit.measured.map_or_else(|| "nothing".to_owned(), |measured| format!("{measured:.4}"));
            text.push_str(&format!("{} {}: {measured}, {kept}\n", limit.what, limit.wanted));
        }
        print(text.as_bytes())?;
    }
    Ok(ExitCode::from(if passed { 0 } else { EXIT_FAILED }))
}

/// Reads a file with `open`, and says which one it was if that fails.
fn read<T>(path: &Path, open: impl FnOnce(&Path) -> Result<T, CorpusError>) -> Result<T, Failure> {
    let shown = printable(&path.to_string_lossy());
    Ok(open(path).map_err(|error| anyhow!("{}", printable(&error.to_string()))).context(shown)?)
}

/// Compares with the limits asked for. What could not be measured keeps none of them.
fn limits(options: &Options, measured: &Measurement) -> Vec<Limit> {
    let overall = &measured.overall;
    let least = |what, wanted: Option<f64>, measured: Option<f64>| {
        wanted.map(|wanted| Limit { what, wanted, measured, kept: measured.is_some_and(|part| part >= wanted) })
    };
    let most = |what, wanted: Option<f64>, measured: Option<f64>| {
        wanted.map(|wanted| Limit { what, wanted, measured, kept: measured.is_some_and(|part| part <= wanted) })
    };
    let all = [
        least("recall of at least", options.least_recall, overall.recall),
        least("precision of at least", options.least_precision, overall.precision),
        most("negatives claimed of at most", options.most_claimed, overall.claimed),
    ];
    all.into_iter().flatten().collect()
}

fn corpus_json(
    options: &Options,
    subjects: &[Subject],
    measured: &Measurement,
    idle: &[&Exception],
    limits: &[Limit],
    passed: bool,
) -> Value {
    let files = options.corpus.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        json!({ "name": name, "date": figures::date_of(path) })
    });
    let limits: BTreeMap<&str, Value> = limits
        .iter()
        .map(|limit| (limit.what, json!({ "wanted": limit.wanted, "measured": limit.measured, "kept": limit.kept })))
        .collect();
    json!({
        "ok": passed,
        "corpus": files.collect::<Vec<Value>>(),
        "plugins": subjects.iter().map(|subject| subject.plugin.name()).collect::<Vec<&str>>(),
        "limits": limits,
        "exceptions_without_a_sample": idle,
        "measured": measured,
    })
}
