//! Each load of the suite: who takes part, what is done to them, which figures come out.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{CLIENTS, Measured, Metric, Plan, Row, Section, Setup, Stage, skipped, title};
use crate::load::Kind as LoadKind;
use crate::peer::{Asked, Kind, Part, Program};
use crate::usage;
use crate::wire::Protocol;

/// Connections that bulk goes over at once.
const STREAMS: usize = 4;

/// How many plugins there are in the load about them.
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
    let text = "Short connections as above, SSH, HTTP and TLS in turn, decided by ten plugins instead of prefixes. Those \
        that decide come last, so that all the others are asked first and reject.";
    let empty = |notes| Section { title, text, metrics: SHORT, rows: Vec::new(), notes };
    let asked = match ten_plugins(stage) {
        Ok(asked) => asked,
        Err(error) => {
            return Ok(empty(vec![format!("skipped: no plugins in {}: {error}", stage.options.plugins.display())]));
        }
    };
    let note = who_is_asked(&asked);
    let mut setups = Vec::new();
    if let Some(program) = stage.programs(|kind| kind == Kind::Portsplit).first() {
        setups.push(stage.set_up(program, "prefixes", 0, |_| {})?);
        match stage.set_up(program, &format!("{PLUGINS} plugins"), 0, |rules| rules.plugins = asked) {
            Ok(setup) => setups.push(setup),
            Err(error) => return Ok(empty(vec![format!("skipped: this binary takes no plugins: {error}")])),
        }
    }
    let time = stage.options.time;
    let rows = stage.rounds(title, &mut setups, SHORT.len(), |setup| short_figures(setup, LoadKind::Short, time))?;
    Ok(Section { title, text, metrics: SHORT, rows, notes: vec![note] })
}

/// Picks ten plugins: those that decide at the end, before them others in the order of their names. Where there are too
/// few, copies of those that decide fill the row.
fn ten_plugins(stage: &Stage<'_>) -> io::Result<Vec<Asked>> {
    let mut there: Vec<PathBuf> = Vec::new();
    // Relative paths in a configuration start in its own folder.
    for entry in fs::read_dir(fs::canonicalize(&stage.options.plugins)?)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "wasm") {
            there.push(file);
        }
    }
    there.sort();
    let decides = |file: &PathBuf| match file.file_stem()?.to_str()? {
        "ssh" => Some(Protocol::Ssh),
        "http" | "http1" => Some(Protocol::Http),
        "tls" => Some(Protocol::Tls),
        _ => None,
    };
    let deciding: Vec<Asked> = there
        .iter()
        .filter_map(|file| Some(Asked { file: file.clone(), part: Part::Decides(decides(file)?) }))
        .collect();
    if deciding.is_empty() {
        return Err(io::Error::other("none that knows SSH, HTTP or TLS"));
    }
    let room = PLUGINS.saturating_sub(deciding.len());
    let others = there.iter().filter(|file| decides(file).is_none()).take(room);
    let mut asked: Vec<Asked> = others.map(|file| Asked { file: file.clone(), part: Part::Rejects }).collect();
    // Only these two give the fact that a copy asks for.
    let to_copy = deciding.iter().filter(|asked| asked.part != Part::Decides(Protocol::Http)).cycle();
    for (number, Asked { file, .. }) in to_copy.take(room.saturating_sub(asked.len())).enumerate() {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let copy = stage.folder.join(format!("{number}-{name}"));
        fs::copy(file, &copy)?;
        asked.push(Asked { file: copy, part: Part::Copy });
    }
    asked.extend(deciding);
    Ok(asked)
}

/// Says which plugins are asked, in order, and what is decided without one.
fn who_is_asked(asked: &[Asked]) -> String {
    let name = |asked: &Asked| asked.file.file_stem().map(|name| name.to_string_lossy().into_owned());
    let with_part = |part: fn(Part) -> bool| {
        asked.iter().filter(|asked| part(asked.part)).filter_map(name).collect::<Vec<String>>().join(", ")
    };
    let copies = asked.iter().filter(|asked| asked.part == Part::Copy).count();
    let mut note = match with_part(|part| part == Part::Rejects) {
        others if others.is_empty() => "Asked".to_owned(),
        others => format!("Asked: {others}"),
    };
    if copies > 0 {
        note += &format!(" {copies} copies of those that decide, whose services want other facts");
    }
    note += &format!("; then {}.", with_part(|part| matches!(part, Part::Decides(_))));
    for protocol in Protocol::ALL {
        if asked.iter().all(|asked| asked.part != Part::Decides(protocol)) {
            note += &format!(" There is no plugin for {}, so a prefix decides it.", protocol.name());
        }
    }
    note
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
