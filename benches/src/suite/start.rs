//! Starting: how long until a proxy serves, what it holds before the first client, and what it holds after some.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CLIENTS, Measured, Metric, Row, Section, Stage, WARM_UP_TIME, label, skipped, title};
use crate::load::{Job, Kind as LoadKind};
use crate::peer::{Asked, Kind, Part, Program, Rules};
use crate::usage;
use crate::wire::Protocol;

/// Services of the variant with many.
const MANY: usize = 500;

/// Connections after which memory is read again.
const CONNECTIONS: usize = 2000;

/// How long a proxy may take to come to rest once it listens: threads that have just begun still touch memory.
const SETTLED_AFTER: Duration = Duration::from_millis(200);

const METRICS: &[Metric] = &[
    Metric::new("start-up, ms", 1).plotted(),
    Metric::new("memory at rest, MiB", 1).plotted(),
    Metric::new("after 2,000 connections, MiB", 1),
];

/// What is configured in a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// The three protocols; for nginx TLS and the rest.
    Few,
    Many,
    /// A service for each plugin there is, and then the protocols.
    Plugins,
}

impl Variant {
    fn name(self, plugins: usize) -> String {
        match self {
            Variant::Few => "3 services".to_owned(),
            Variant::Many => format!("{MANY} services"),
            Variant::Plugins => format!("all {plugins} plugins"),
        }
    }

    fn apply(self, rules: &mut Rules, plugins: &[PathBuf]) {
        match self {
            Variant::Few => {}
            Variant::Many => rules.unmatched = MANY - 3,
            Variant::Plugins => {
                rules.plugins = plugins.iter().map(|file| asked(file)).collect();
                rules.http_only = true;
            }
        }
    }
}

/// What a plugin says to connections that are all HTTP.
fn asked(file: &Path) -> Asked {
    let decides = file.file_stem().is_some_and(|name| name == "http1");
    let part = if decides { Part::Decides(Protocol::Http) } else { Part::Rejects };
    Asked { file: file.to_owned(), part }
}

pub(super) fn start(stage: &mut Stage<'_>) -> io::Result<Section> {
    let title = title::START;
    let text = "Start-up is from the start of the process until it has accepted a connection, known to half a millisecond, \
        one or two of them the benchmark's own; plugins come out of the compile cache. Memory is the proportional set \
        size before the first first flight, and after 2,000 short connections.";
    let mut notes = Vec::new();
    let plugins = all_plugins(stage).unwrap_or_default();
    let folder = stage.folder.join("plugins");
    if plugins.is_empty() {
        notes.push(format!("skipped: start-up with plugins: no plugins in {}", stage.options.plugins.display()));
    } else {
        fs::create_dir_all(&folder)?;
        notes.extend(first_start(stage, &plugins, &folder)?);
    }
    let mut plans: Vec<(Program, Variant)> = Vec::new();
    for program in stage.programs(|kind| kind != Kind::Direct) {
        plans.push((program.clone(), Variant::Few));
        if program.kind.has_rules() {
            plans.push((program.clone(), Variant::Many));
        }
        if program.kind == Kind::Portsplit && !plugins.is_empty() {
            plans.push((program, Variant::Plugins));
        }
    }
    let mut rows: Vec<Row> = plans
        .iter()
        .map(|(program, variant)| {
            Row::new(program.kind, &variant.name(plugins.len()), METRICS.len(), stage.options.rounds)
        })
        .collect();
    for round in 0..stage.options.rounds {
        for turn in 0..plans.len() {
            let at = (turn + round) % plans.len();
            let (Some((program, variant)), Some(row)) = (plans.get(at), rows.get_mut(at)) else { continue };
            eprintln!("{title}: round {}: {}", round + 1, row.label());
            match once(stage, program, &row.variant, &folder, |rules| variant.apply(rules, &plugins)) {
                Ok((measured, values)) => {
                    row.bytes += measured.bytes;
                    row.errors += measured.errors;
                    row.set(round, &values);
                }
                Err(error) => notes.push(skipped(program, &row.variant, error)?),
            }
        }
    }
    rows.retain(|row| row.bytes > 0 || row.kind == Kind::Portsplit);
    Ok(Section { title, text, metrics: METRICS, rows, notes })
}

/// Starts a proxy, looks at it, and has it serve some connections.
fn once(
    stage: &mut Stage<'_>,
    program: &Program,
    variant: &str,
    folder: &Path,
    rules: impl FnOnce(&mut Rules),
) -> io::Result<(Measured, Vec<Option<f64>>)> {
    let setup = stage.begin(program, variant, folder, rules)?;
    let id = setup.peer.id().ok_or_else(|| io::Error::other("no process"))?;
    std::thread::sleep(SETTLED_AFTER);
    let at_rest = usage::memory_kib(id)?;
    let job = setup.job(LoadKind::Short, CLIENTS, WARM_UP_TIME);
    let measured = setup.run(&Job { limit: CONNECTIONS, ..job })?;
    let after = usage::memory_kib(id)?;
    let start_up = setup.peer.start_up.as_secs_f64() * 1e3;
    Ok((measured, vec![Some(start_up), Some(at_rest / 1024.0), Some(after / 1024.0)]))
}

/// Starts portsplit once with nothing in the compile cache and says how long that takes.
fn first_start(stage: &mut Stage<'_>, plugins: &[PathBuf], folder: &Path) -> io::Result<Option<String>> {
    let Some(program) = stage.programs(|kind| kind == Kind::Portsplit).pop() else { return Ok(None) };
    eprintln!("{}: compiling {} plugins", title::START, plugins.len());
    let (_, values) = once(stage, &program, "", folder, |rules| Variant::Plugins.apply(rules, plugins))?;
    let Some(Some(millis)) = values.first() else { return Ok(None) };
    let label = label(program.kind, &Variant::Plugins.name(plugins.len()));
    Ok(Some(format!("{label}, the very first start, which compiles them: {:.1} s.", millis / 1e3)))
}

/// Returns every plugin in the folder that the options name.
fn all_plugins(stage: &Stage<'_>) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    // Relative paths in a configuration start in its own folder.
    for entry in fs::read_dir(fs::canonicalize(&stage.options.plugins)?)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "wasm") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
