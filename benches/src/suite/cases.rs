//! Each load of the suite: who takes part, what is done to them, which figures come out.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{CLIENTS, Measured, Metric, Plan, Row, Section, Setup, Stage, skipped, title};
use crate::load::Kind as LoadKind;
use crate::peer::{Kind, Program, Rules};
use crate::usage;

/// Connections that bulk goes over at once.
const STREAMS: usize = 4;

/// How many plugins are asked before the prefixes.
const PLUGINS: usize = 10;

const SHORT: &[Metric] = &[
    Metric::new("CPU, µs a connection", 1).plotted(),
    Metric::new("connections/s", 0).plotted(),
    Metric::new("p50, µs", 0),
    Metric::new("p99, µs", 0),
    Metric::new("user time, %", 0),
];

/// The same, of which only the first is in the picture.
const SHORT_AGAIN: &[Metric] = &[
    Metric::new("CPU, µs a connection", 1).plotted(),
    Metric::new("connections/s", 0).compared(),
    Metric::new("p50, µs", 0),
    Metric::new("p99, µs", 0),
    Metric::new("user time, %", 0),
];

fn short_figures(setup: &mut Setup, kind: LoadKind, stage_time: std::time::Duration) -> Figures {
    let measured = setup.run(&setup.job(kind, CLIENTS, stage_time))?;
    let values = vec![
        measured.cpu_micros_per(measured.done),
        Some(measured.done / measured.seconds),
        Some(measured.p50_micros),
        Some(measured.p99_micros),
        measured.user_percent(),
    ];
    Ok((measured, values))
}

type Figures = io::Result<(Measured, Vec<Option<f64>>)>;

fn everybody(stage: &Stage<'_>) -> Vec<Plan> {
    stage.programs(|_| true).into_iter().map(|program| Plan::new(program, "", |_| {})).collect()
}

pub(super) fn short(stage: &mut Stage<'_>, kind: LoadKind) -> io::Result<Section> {
    let (title, metrics, text) = if kind == LoadKind::Short {
        (
            title::SHORT,
            SHORT,
            "32 clients: connect, send a first flight (SSH, HTTP and TLS in turn), read an answer of 128 bytes, close. \
             nginx gets HTTP only, since it can tell TLS from the rest and no more.",
        )
    } else {
        (title::ABORT, SHORT_AGAIN, "The same, but the client ends each connection with a reset.")
    };
    let (mut setups, notes) = stage.set_up_all(everybody(stage))?;
    let time = stage.options.time;
    let rows = stage.rounds(title, &mut setups, metrics.len(), |setup| short_figures(setup, kind, time))?;
    Ok(Section { title, text, metrics, rows, notes })
}

pub(super) fn round_trip(stage: &mut Stage<'_>) -> io::Result<Section> {
    const METRICS: &[Metric] = &[
        Metric::new("CPU, µs a round trip", 2).plotted(),
        Metric::new("round trips/s", 0).plotted(),
        Metric::new("p50, µs", 0),
        Metric::new("p99, µs", 0).plotted(),
        Metric::new("user time, %", 0),
    ];
    let title = title::ROUND_TRIP;
    let text = "64 bytes there and back on 32 open connections.";
    let (mut setups, notes) = stage.set_up_all(everybody(stage))?;
    let time = stage.options.time;
    let rows =
        stage.rounds(title, &mut setups, METRICS.len(), |setup| short_figures(setup, LoadKind::RoundTrip, time))?;
    Ok(Section { title, text, metrics: METRICS, rows, notes })
}

pub(super) fn bulk(stage: &mut Stage<'_>, kind: LoadKind) -> io::Result<Section> {
    const METRICS: &[Metric] =
        &[Metric::new("CPU, s a GiB", 3).plotted(), Metric::new("GiB/s", 2).plotted(), Metric::new("user time, %", 0)];
    let (title, text) = if kind == LoadKind::Pull {
        (title::PULL, "4 connections at once; the client compares every byte. All use the system's congestion control.")
    } else {
        (title::PUSH, "The other way; the backend compares every byte and acknowledges every MiB.")
    };
    let (mut setups, notes) = stage.set_up_all(everybody(stage))?;
    let time = stage.options.time;
    let rows = stage.rounds(title, &mut setups, METRICS.len(), |setup| {
        let measured = setup.run(&setup.job(kind, STREAMS, time))?;
        let gib = measured.bytes as f64 / f64::from(1 << 30);
        let seconds = measured.cpu_micros_per(gib).map(|micros| micros / 1e6);
        let values = vec![seconds, Some(gib / measured.seconds), measured.user_percent()];
        Ok((measured, values))
    })?;
    Ok(Section { title, text, metrics: METRICS, rows, notes })
}

pub(super) fn idle(stage: &mut Stage<'_>) -> io::Result<Section> {
    const METRICS: &[Metric] = &[
        Metric::new("memory, KiB a connection", 2).plotted(),
        Metric::new("CPU while idle, ms a second", 2),
        Metric::new("connections", 0),
    ];
    let title = title::IDLE;
    let text = "2,000 relayed connections on which nothing happens (sslh-select: 480, the most that `select` can \
        number). Memory is the growth of the proportional set size; the kernel's is not in it.";
    let wanted = if stage.options.short { 200 } else { 2000 };
    let (mut rows, mut notes): (Vec<Row>, Vec<String>) = (Vec::new(), Vec::new());
    for program in stage.programs(|kind| kind != Kind::Direct) {
        rows.push(Row::new(program.kind, "", METRICS.len(), stage.options.rounds));
    }
    // Memory that was used once may stay with a process, so every round has processes of its own.
    for round in 0..stage.options.rounds {
        for program in stage.programs(|kind| kind != Kind::Direct) {
            let Some(row) = rows.iter_mut().find(|row| row.kind == program.kind) else { continue };
            eprintln!("{title}: round {}: {}", round + 1, program.kind.name());
            match idle_figures(stage, &program, wanted) {
                Ok((measured, values)) => {
                    row.bytes += measured.bytes;
                    row.errors += measured.errors;
                    row.set(round, &values);
                }
                Err(error) => notes.push(skipped(&program, &format!("round {}", round + 1), error)?),
            }
        }
    }
    rows.retain(|row| row.bytes > 0 || row.kind == Kind::Portsplit);
    Ok(Section { title, text, metrics: METRICS, rows, notes })
}

fn idle_figures(stage: &mut Stage<'_>, program: &Program, wanted: usize) -> Figures {
    let time = stage.options.time;
    let setup = stage.set_up(program, "", 0, |_| {})?;
    let id = setup.peer.id().ok_or_else(|| io::Error::other("no process"))?;
    let before = usage::memory_kib(id)?;
    let (mut load, mut ready) = setup.start(&setup.job(LoadKind::Idle, wanted.min(program.kind.max_open()), time))?;
    let full = usage::memory_kib(id)?;
    let idle = setup.finish(&mut load)?;
    ready.errors += idle.errors;
    let cpu = idle.cpu.map(|cpu| cpu.total.as_secs_f64() * 1e3 / time.as_secs_f64());
    let values = vec![Some((full - before) / ready.done.max(1.0)), cpu, Some(ready.done)];
    Ok((ready, values))
}

pub(super) fn plugins(stage: &mut Stage<'_>) -> io::Result<Section> {
    let title = title::PLUGINS;
    let text = "Short connections, all HTTP, that ten plugins are asked about and reject before a prefix matches. They \
        are copies of the plugins there are, each a plugin of its own to portsplit.";
    let empty = |notes| Section { title, text, metrics: SHORT, rows: Vec::new(), notes };
    let files = match plugin_files(stage) {
        Ok(files) => files,
        Err(error) => {
            return Ok(empty(vec![format!("skipped: no plugins in {}: {error}", stage.options.plugins.display())]));
        }
    };
    let mut setups = Vec::new();
    if let Some(program) = stage.programs(|kind| kind == Kind::Portsplit).first() {
        setups.push(stage.set_up(program, "prefixes only", 0, |rules| rules.http_only = true)?);
        let with_plugins = |rules: &mut Rules| {
            rules.http_only = true;
            rules.plugins = files;
        };
        match stage.set_up(program, &format!("{PLUGINS} plugins first"), 0, with_plugins) {
            Ok(setup) => setups.push(setup),
            Err(error) => return Ok(empty(vec![format!("skipped: this binary takes no plugins: {error}")])),
        }
    }
    let time = stage.options.time;
    let rows = stage.rounds(title, &mut setups, SHORT.len(), |setup| short_figures(setup, LoadKind::Short, time))?;
    Ok(Section { title, text, metrics: SHORT, rows, notes: Vec::new() })
}

/// Copies the plugins there are, in turn, until there are ten files with names of their own.
fn plugin_files(stage: &Stage<'_>) -> io::Result<Vec<PathBuf>> {
    let mut there: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&stage.options.plugins)? {
        let file = entry?.path();
        // A plugin that knows HTTP would match what the others and the prefixes are to be asked about.
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".wasm") && !name.contains("http") {
            there.push(file);
        }
    }
    there.sort();
    let mut copies = Vec::new();
    for (number, file) in there.iter().cycle().take(PLUGINS).enumerate() {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let copy = stage.folder.join(format!("{number}-{name}"));
        fs::copy(file, &copy)?;
        copies.push(copy);
    }
    if copies.is_empty() { Err(io::Error::other("no .wasm file")) } else { Ok(copies) }
}

pub(super) fn services(stage: &mut Stage<'_>) -> io::Result<Section> {
    let title = title::SERVICES;
    let text = "Short connections, all HTTP. HTTP is the last service; the prefixes of those before it do not match, and \
        the bytes they begin with are letters in turn.";
    let counts: &[usize] = if stage.options.short { &[1, 100] } else { &[1, 100, 500] };
    let mut plans = Vec::new();
    for program in stage.programs(Kind::has_rules) {
        for count in counts {
            let services = if *count == 1 { "service" } else { "services" };
            plans.push(Plan::new(program.clone(), format!("{count} {services}"), |rules| {
                rules.http_only = true;
                rules.unmatched = *count - 1;
            }));
        }
    }
    let (mut setups, notes) = stage.set_up_all(plans)?;
    let time = stage.options.time;
    let rows =
        stage.rounds(title, &mut setups, SHORT_AGAIN.len(), |setup| short_figures(setup, LoadKind::Short, time))?;
    Ok(Section { title, text, metrics: SHORT_AGAIN, rows, notes })
}

pub(super) fn connections(stage: &mut Stage<'_>) -> io::Result<Section> {
    let title = title::CONNECTIONS;
    let text = "Short connections while that many others are open and idle. sslh-select cannot hold more than 480.";
    let counts: &[usize] = if stage.options.short { &[10, 500] } else { &[10, 1000, 9000] };
    let mut plans = Vec::new();
    for program in stage.programs(|kind| kind != Kind::Direct) {
        for count in counts.iter().filter(|count| **count <= program.kind.max_open()) {
            let plan = Plan::new(program.clone(), format!("{count} open"), |_| {});
            plans.push(Plan { held: *count, ..plan });
        }
    }
    let (mut setups, notes) = stage.set_up_all(plans)?;
    let time = stage.options.time;
    let rows =
        stage.rounds(title, &mut setups, SHORT_AGAIN.len(), |setup| short_figures(setup, LoadKind::Short, time))?;
    Ok(Section { title, text, metrics: SHORT_AGAIN, rows, notes })
}
