//! `portsplit plugin list --markdown`: the page about the shipped detectors, `docs/detectors.md`.
//!
//! All of it comes from the modules, from their cases and from a file of figures that `plugin test --matrix --corpus
//! --json` wrote, so that the same sources give the same page on every machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use portsplit_plugin_sdk::harness::{Case, Expected, Flags, Measurement, Plugin, Trace};
use portsplit_runtime::{Manifest, PluginOptions};
use serde::Deserialize;
use serde_json::Value;

use crate::cli::Failure;
use crate::cli::describe::{count, printable, size};
use crate::cli::plugin::module::runtime;
use crate::cli::plugin::subject::Subject;
use crate::plugin::SHIPPED;

/// The length of first flight that fuel is given for: that of a usual TLS hello or HTTP request.
const FLIGHT_BYTES: usize = 500;

/// Protocols in which the client says nothing, or nothing that tells, before the server has spoken.
const SERVER_FIRST: [(&str, &str); 8] = [
    ("smtp", "`220 mail.example.org ESMTP`"),
    ("ftp", "`220 FTP server ready`"),
    ("pop3", "`+OK`"),
    ("imap", "`* OK IMAP4rev1`"),
    ("mysql", "a packet with its version"),
    ("vnc", "`RFB 003.008`"),
    ("nntp", "`200 news.example.org`"),
    ("nats", "`INFO {...}`"),
];

/// What `plugin test --matrix --corpus FILE --json` wrote.
#[derive(Debug, Deserialize)]
struct Figures {
    corpus: Vec<CorpusFile>,
    measured: Measurement,
}

#[derive(Debug, Deserialize)]
struct CorpusFile {
    date: Option<String>,
}

/// What the page says about one plugin.
struct Entry {
    manifest: Manifest,
    size_bytes: u64,
    /// The number of bytes at which its cases match, in the middle.
    decided_at: Option<usize>,
    fuel: Option<u64>,
    recall: String,
    precision: String,
}

/// Writes the page.
pub(super) fn page(cases: Option<&Path>, measured: Option<&Path>) -> Result<String, Failure> {
    let figures = measured.map(read).transpose()?;
    let runtime = runtime(true)?;
    let mut entries = Vec::new();
    for (name, wasm) in SHIPPED {
        let subject = Subject::find(&PathBuf::from(name), cases, &runtime, Value::Null)?;
        let Some(manifest) = subject.plugin.manifest().cloned() else {
            return Err(Failure::Failed(anyhow!("{name} has no manifest")));
        };
        let cases = subject.all_cases().list;
        let (recall, precision) = rates(&manifest.name, figures.as_ref());
        entries.push(Entry {
            size_bytes: wasm.len() as u64,
            decided_at: decided_at(&subject.plugin, &cases),
            fuel: fuel(&subject.plugin, &cases),
            manifest,
            recall,
            precision,
        });
    }
    let mut page = head(entries.len(), cases, measured);
    page.push_str(&table(&entries));
    page.push_str(&measured_by(figures.as_ref()));
    page.push_str(&server_first());
    page.push_str("\n## Each detector\n");
    for entry in &entries {
        page.push_str(&details(&entry.manifest));
    }
    Ok(page)
}

fn read(path: &Path) -> Result<Figures, Failure> {
    let shown = printable(&path.to_string_lossy());
    let text = fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
    let figures = serde_json::from_slice(&text).with_context(|| {
        format!("`{shown}` is not what `portsplit plugin test --matrix --corpus FILE --json` writes")
    })?;
    Ok(figures)
}

/// The cases that match without a configuration.
fn matching(cases: &[Case]) -> impl Iterator<Item = &Case> {
    cases.iter().filter(|case| case.expect == Expected::Match && case.config.is_none() && !case.half_close)
}

fn decided_at(plugin: &Plugin, cases: &[Case]) -> Option<usize> {
    let decided = matching(cases).filter_map(|case| {
        let ends: Vec<usize> = (1..=case.bytes.len()).collect();
        Trace::in_segments(plugin, &case.bytes, &ends).decided_at()
    });
    let mut decided: Vec<usize> = decided.collect();
    decided.sort_unstable();
    decided.get(decided.len() / 2).copied()
}

fn fuel(plugin: &Plugin, cases: &[Case]) -> Option<u64> {
    let calls = matching(cases).filter_map(|case| {
        let mut flight = case.bytes.clone();
        flight.resize(FLIGHT_BYTES, 0);
        plugin.classify(&flight, Flags::NONE).fuel
    });
    calls.max()
}

/// Recall with the number of samples, and precision, as far as there are figures.
fn rates(name: &str, figures: Option<&Figures>) -> (String, String) {
    let protocols = figures.map(|figures| figures.measured.protocols.as_slice()).unwrap_or_default();
    let own = || protocols.iter().filter(|row| row.samples > 0 && row.plugins.iter().any(|plugin| plugin == name));
    let measurable = || own().filter(|row| row.measurable);
    let samples: usize = measurable().map(|row| row.samples).sum();
    if samples == 0 {
        let (matched, samples) = own().fold((0, 0), |sum, row| (sum.0 + row.matched, sum.1 + row.samples));
        let recall = if samples == 0 { "—".to_owned() } else { format!("{matched} of {samples}") };
        return (recall, "—".to_owned());
    }
    let matched: usize = measurable().map(|row| row.matched).sum();
    // Each row has the wrong claims of its plugins.
    let wrong = measurable().map(|row| row.wrong_claims).max().unwrap_or_default();
    let precision = if matched + wrong == 0 { "—".to_owned() } else { percent(matched, matched + wrong) };
    (format!("{} of {samples}", percent(matched, samples)), precision)
}

fn percent(part: usize, whole: usize) -> String {
    let text = format!("{:.1}", part as f64 * 100.0 / whole as f64);
    format!("{} %", text.strip_suffix(".0").unwrap_or(&text))
}

fn head(plugins: usize, cases: Option<&Path>, measured: Option<&Path>) -> String {
    let mut command = "portsplit plugin list --markdown".to_owned();
    for (option, path) in [("cases", cases), ("measured", measured)] {
        if let Some(path) = path {
            command.push_str(&format!(" --{option} {}", printable(&path.to_string_lossy())));
        }
    }
    let figures = match measured {
        Some(path) => {
            let path = printable(&path.to_string_lossy());
            format!(" The figures in {path} by `portsplit plugin test --matrix --corpus FILE --json`.")
        }
        None => String::new(),
    };
    format!(
        "# Detectors\n\n\
         <!-- Written by `{command}`.{figures} -->\n\n\
         portsplit ships {}. A service uses one by its name, and may ask for facts:\n\n\
         ```toml\n\
         [[service]]\n\
         name = \"web\"\n\
         plugin = \"tls\"\n\
         where = {{ sni = \"*.example.org\" }}\n\
         connect = \"127.0.0.1:8443\"\n\
         ```\n\n\
         Only what a client sends first counts, never a port. A match means that the bytes are this protocol and nothing \
         else that is known here; what cannot be told apart is listed with [each detector](#each-detector). What no \
         detector knows is recognised by a `prefix`, a `regex` or [a plugin of your own](plugins.md). What a decision costs \
         with 1, 10, 25 and all of them, `portsplit plugin bench --all` measures.\n\n",
        count(plugins, "detector")
    )
}

fn table(entries: &[Entry]) -> String {
    let mut text = "| detector | matches | facts | at byte | size | fuel | recall | precision |\n\
                    |---|---|---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for entry in entries {
        let manifest = &entry.manifest;
        let facts: Vec<String> = manifest.facts.iter().map(|fact| format!("`{}`", fact.name)).collect();
        let number = |number: Option<String>| number.unwrap_or_else(|| "—".to_owned());
        let cells = [
            format!("[`{0}`](#{0})", manifest.name),
            cell(&manifest.description),
            facts.join(" "),
            number(entry.decided_at.map(|at| at.to_string())),
            size(entry.size_bytes),
            number(entry.fuel.map(|fuel| fuel.to_string())),
            entry.recall.clone(),
            entry.precision.clone(),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text.push_str(&format!(
        "\nAt byte: how many bytes of its test cases it takes to match, in the middle of them. Size: of the module. Fuel: of a \
         call with {FLIGHT_BYTES} bytes, the most over these cases; a call may use {}.",
        PluginOptions::DEFAULT_FUEL
    ));
    text
}

fn measured_by(figures: Option<&Figures>) -> String {
    let Some(figures) = figures else { return "\n".to_owned() };
    let dates: Vec<&str> = figures.corpus.iter().filter_map(|file| file.date.as_deref()).collect();
    let of = if dates.is_empty() { String::new() } else { format!(" of {}", dates.join(" and ")) };
    let all = &figures.measured.overall;
    let alike = match figures.measured.is_sound() {
        true => " Every sample got the same answer in the segments that were captured and byte by byte.",
        false => "",
    };
    let rate = |part: Option<f64>| part.map_or_else(|| "—".to_owned(), |part| format!("{:.2} %", part * 100.0));
    format!(
        " Recall and precision: measured on {}{of} that real clients sent, which others captured and nobody here wrote; \
         \"3 of 3\" where there are too few for a rate, — where there is none.\n\n\
         All together: recall {} ({} of {} samples), precision {} ({}); of {} samples that no detector may match, {} \
         ({}) were matched.{}\n",
        count(figures.measured.samples, "first flight"),
        rate(all.recall),
        all.matched,
        all.samples,
        rate(all.precision),
        count(all.wrong_claims, "wrong claim"),
        all.negatives,
        all.negatives_claimed,
        rate(all.claimed),
        alike,
    )
}

fn server_first() -> String {
    let mut text = "\n## Protocols in which the server speaks first\n\n\
        In these the client waits for the server's greeting, so there is nothing to recognise, and there is no detector for \
        them. Their connections go to the service `timeout`, one of them for each listener:\n\n\
        | protocol | the server begins with |\n|---|---|\n"
        .to_owned();
    for (protocol, greeting) in SERVER_FIRST {
        text.push_str(&format!("| {protocol} | {greeting} |\n"));
    }
    text.push_str(
        "\n```toml\ntimeout = \"2s\"              # how long such a client waits for the greeting\n\n[[service]]\n\
         name = \"timeout\"\nconnect = \"127.0.0.1:25\"\n```\n",
    );
    text
}

fn details(manifest: &Manifest) -> String {
    let mut text = format!("\n### {}\n\n{}\n", manifest.name, printable(&manifest.description));
    if !manifest.facts.is_empty() {
        text.push('\n');
        for fact in &manifest.facts {
            let about =
                if fact.description.is_empty() { String::new() } else { format!(": {}", printable(&fact.description)) };
            text.push_str(&format!("- `{}`{about}\n", fact.name));
        }
    }
    if !manifest.cannot_see.is_empty() {
        text.push_str("\nIt does not see:\n\n");
        for what in &manifest.cannot_see {
            text.push_str(&format!("- {}\n", printable(what)));
        }
    }
    text
}

/// Text that does not end a cell of a table.
fn cell(text: &str) -> String {
    printable(text).replace('|', "\\|")
}
