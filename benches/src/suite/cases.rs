//! Each load of the suite: who takes part, what is done to them, which figures come out.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::{CLIENTS, Measured, Metric, Section, Setup, Stage};
use crate::load::Kind as LoadKind;
use crate::peer::{Asked, Kind, Part};
use crate::usage;
use crate::wire::Protocol;

/// Connections that bulk goes over at once.
const STREAMS: usize = 4;

/// How many plugins there are in the load about them.
const PLUGINS: usize = 10;

const fn compared(name: &'static str, digits: usize) -> Metric {
    Metric { name, digits, compared: true }
}

const fn plain(name: &'static str, digits: usize) -> Metric {
    Metric { name, digits, compared: false }
}

const SHORT: &[Metric] = &[
    compared("CPU, µs a connection", 1),
    compared("connections/s", 0),
    plain("p50, µs", 0),
    plain("p99, µs", 0),
    plain("user time, %", 0),
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

fn all_setups(stage: &mut Stage<'_>) -> io::Result<Vec<Setup>> {
    let programs = stage.programs(|_| true);
    programs.iter().map(|program| stage.set_up(program, "", 0, |_| {})).collect()
}

pub(super) fn short(stage: &mut Stage<'_>, kind: LoadKind) -> io::Result<Section> {
    let mut setups = all_setups(stage)?;
    let (title, text) = if kind == LoadKind::Short {
        (
            "Short connections, closed by the client",
            "32 clients: connect, send a first flight (SSH, HTTP and TLS in turn), read an answer of 128 bytes, close. \
             nginx gets HTTP only, since it can tell TLS from the rest and no more.",
        )
    } else {
        ("Short connections, aborted by the client", "The same, but the client ends each connection with a reset.")
    };
    let time = stage.options.time;
    let rows = stage.rounds(title, &mut setups, SHORT.len(), |setup| short_figures(setup, kind, time))?;
    Ok(Section { title, text, metrics: SHORT, rows, notes: Vec::new() })
}

pub(super) fn round_trip(stage: &mut Stage<'_>) -> io::Result<Section> {
    const METRICS: &[Metric] = &[
        compared("CPU, µs a round trip", 2),
        compared("round trips/s", 0),
        plain("p50, µs", 0),
        compared("p99, µs", 0),
        plain("user time, %", 0),
    ];
    let title = "Round trips";
    let text = "64 bytes there and back on 32 open connections.";
    let mut setups = all_setups(stage)?;
    let time = stage.options.time;
    let rows = stage.rounds(title, &mut setups, METRICS.len(), |setup| {
        let measured = setup.run(&setup.job(LoadKind::RoundTrip, CLIENTS, time))?;
        let values = vec![
            measured.cpu_micros_per(measured.done),
            Some(measured.done / measured.seconds),
            Some(measured.p50_micros),
            Some(measured.p99_micros),
            measured.user_percent(),
        ];
        Ok((measured, values))
    })?;
    Ok(Section { title, text, metrics: METRICS, rows, notes: Vec::new() })
}

pub(super) fn bulk(stage: &mut Stage<'_>, kind: LoadKind) -> io::Result<Section> {
    const METRICS: &[Metric] = &[compared("CPU, s a GiB", 3), compared("GiB/s", 2), plain("user time, %", 0)];
    let (title, text) = if kind == LoadKind::Pull {
        ("Bulk from the backend", "4 connections at once; the client compares every byte.")
    } else {
        ("Bulk to the backend", "4 connections at once; the backend compares every byte and acknowledges every MiB.")
    };
    let mut setups = all_setups(stage)?;
    let time = stage.options.time;
    let rows = stage.rounds(title, &mut setups, METRICS.len(), |setup| {
        let measured = setup.run(&setup.job(kind, STREAMS, time))?;
        let gib = measured.bytes as f64 / f64::from(1 << 30);
        let seconds = measured.cpu_micros_per(gib).map(|micros| micros / 1e6);
        let values = vec![seconds, Some(gib / measured.seconds), measured.user_percent()];
        Ok((measured, values))
    })?;
    Ok(Section { title, text, metrics: METRICS, rows, notes: Vec::new() })
}

pub(super) fn idle(stage: &mut Stage<'_>) -> io::Result<Section> {
    const METRICS: &[Metric] = &[
        compared("memory, KiB a connection", 2),
        plain("memory at rest, MiB", 1),
        plain("CPU while idle, ms a second", 2),
        plain("connections", 0),
    ];
    let title = "Idle connections";
    let text = "2,000 relayed connections on which nothing happens (sslh-select: 480, the most that `select` can \
        number). Memory is proportional set size, kernel memory not counted; at rest is before the first connection.";
    let wanted = if stage.options.short { 200 } else { 2000 };
    let time = stage.options.time;
    let mut all = Vec::new();
    // Memory that was used once may stay with a process, so every round has processes of its own.
    for program in stage.programs(|kind| kind != Kind::Direct) {
        for round in 0..stage.options.rounds.min(3) {
            all.push((round, program.clone()));
        }
    }
    all.sort_by_key(|(round, _)| *round);
    let mut rows: Vec<super::Row> = Vec::new();
    for (round, program) in all {
        eprintln!("{title}: round {}: {}", round + 1, program.kind.name());
        let setup = stage.set_up(&program, "", 0, |_| {})?;
        let Some(id) = setup.peer.id() else { continue };
        let at_rest = usage::memory_kib(id)?;
        let (mut load, ready) = setup.start(&setup.job(LoadKind::Idle, wanted.min(program.kind.max_open()), time))?;
        let full = usage::memory_kib(id)?;
        let idle = setup.finish(&mut load)?;
        let cpu = idle.cpu.map(|cpu| cpu.total.as_secs_f64() * 1e3 / time.as_secs_f64());
        let values = [Some((full - at_rest) / ready.done.max(1.0)), Some(at_rest / 1024.0), cpu, Some(ready.done)];
        let at = rows.iter().position(|row| row.kind == program.kind).unwrap_or_else(|| {
            let samples = vec![vec![None; stage.options.rounds]; METRICS.len()];
            rows.push(super::Row { kind: program.kind, variant: String::new(), samples, bytes: 0, errors: 0 });
            rows.len() - 1
        });
        let Some(row) = rows.get_mut(at) else { continue };
        row.bytes += ready.bytes;
        row.errors += ready.errors;
        for (samples, value) in row.samples.iter_mut().zip(values) {
            if let Some(sample) = samples.get_mut(round) {
                *sample = value;
            }
        }
    }
    Ok(Section { title, text, metrics: METRICS, rows, notes: Vec::new() })
}

pub(super) fn plugins(stage: &mut Stage<'_>) -> io::Result<Section> {
    let title = "Plugins";
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
    const METRICS: &[Metric] = &[
        compared("CPU, µs a connection", 1),
        compared("connections/s", 0),
        plain("p99, µs", 0),
        plain("start-up, ms", 0),
        plain("memory, MiB", 1),
    ];
    let title = "Growth with services";
    let text = "Short connections, all HTTP, with services in front whose prefixes do not match; the last ones do. Start-up is \
        until the first connection is accepted, a few milliseconds of the benchmark's own included.";
    let counts: &[usize] = if stage.options.short { &[0, 100] } else { &[0, 10, 100, 500] };
    let mut setups = Vec::new();
    for program in stage.programs(Kind::has_rules) {
        for count in counts {
            setups.push(stage.set_up(&program, &format!("{count} in front"), 0, |rules| {
                rules.http_only = true;
                rules.unmatched = *count;
            })?);
        }
    }
    let time = stage.options.time;
    let rows = stage.rounds(title, &mut setups, METRICS.len(), |setup| {
        let (measured, values) = short_figures(setup, LoadKind::Short, time)?;
        let memory = setup.peer.id().map(usage::memory_kib).transpose()?;
        let start_up = setup.peer.start_up.as_secs_f64() * 1e3;
        let [cpu, rate, _, p99, ..] = values.as_slice() else { return Ok((measured, values)) };
        let values = vec![*cpu, *rate, *p99, Some(start_up), memory.map(|kib| kib / 1024.0)];
        Ok((measured, values))
    })?;
    Ok(Section { title, text, metrics: METRICS, rows, notes: Vec::new() })
}

pub(super) fn connections(stage: &mut Stage<'_>) -> io::Result<Section> {
    let title = "Growth with open connections";
    let text = "Short connections while others are open and idle. sslh-select is left out: it cannot hold them.";
    let counts: &[usize] = if stage.options.short { &[10, 500] } else { &[10, 1000, 9000] };
    let mut setups = Vec::new();
    for program in stage.programs(|kind| kind.has_rules() || kind == Kind::SslhEv) {
        for count in counts {
            setups.push(stage.set_up(&program, &format!("{count} open"), *count, |_| {})?);
        }
    }
    let time = stage.options.time;
    let rows = stage.rounds(title, &mut setups, SHORT.len(), |setup| short_figures(setup, LoadKind::Short, time))?;
    Ok(Section { title, text, metrics: SHORT, rows, notes: Vec::new() })
}
