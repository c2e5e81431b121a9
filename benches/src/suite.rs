//! The loads and their order: starts what each needs, goes through the rounds, and collects the samples.

mod cases;
mod start;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::child::Talking;
use crate::load::{self, Job};
use crate::net;
use crate::options::{Load, Options};
use crate::peer::{Backend, Kind, Peer, Program, Rules};
use crate::stats::Samples;
use crate::usage::Cpu;

/// Clients at once in short connections and round trips.
pub(crate) const CLIENTS: usize = 32;

/// Connections before the first measurement of a proxy, so that its memory and the caches are warm.
const WARM_UP: usize = 200;

/// The most time that a warm-up may take.
const WARM_UP_TIME: Duration = Duration::from_secs(5);

/// Titles of the loads, by which the goals find them.
pub(crate) mod title {
    pub(crate) const SHORT: &str = "Short connections, closed by the client";
    pub(crate) const ABORT: &str = "Short connections, aborted by the client";
    pub(crate) const ROUND_TRIP: &str = "Round trips";
    pub(crate) const PULL: &str = "Bulk from the backend";
    pub(crate) const PUSH: &str = "Bulk to the backend";
    pub(crate) const IDLE: &str = "Idle connections";
    pub(crate) const START: &str = "Start-up and memory at rest";
    pub(crate) const PLUGINS: &str = "Plugins";
    pub(crate) const SERVICES: &str = "Growth with services";
    pub(crate) const CONNECTIONS: &str = "Growth with open connections";
}

/// Something that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) digits: usize,
    /// Whether the tables have ratios of it.
    pub(crate) compared: bool,
    /// Whether the picture shows it.
    pub(crate) plotted: bool,
}

impl Metric {
    const fn new(name: &'static str, digits: usize) -> Metric {
        Metric { name, digits, compared: false, plotted: false }
    }

    /// The same, with ratios.
    const fn compared(self) -> Metric {
        Metric { compared: true, ..self }
    }

    /// The same, with ratios and in the picture.
    const fn plotted(self) -> Metric {
        Metric { compared: true, plotted: true, ..self }
    }

    /// Tells whether more is better: of rates it is.
    pub(crate) fn more_is_better(&self) -> bool {
        self.name.ends_with("/s")
    }
}

/// All that one load has shown.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) text: &'static str,
    pub(crate) metrics: &'static [Metric],
    pub(crate) rows: Vec<Row>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
}

/// What one proxy has shown in one variant of a load.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    pub(crate) variant: String,
    /// For each metric the samples of all rounds.
    pub(crate) samples: Vec<Samples>,
    pub(crate) bytes: u64,
    pub(crate) errors: u64,
}

impl Row {
    fn new(kind: Kind, variant: &str, metrics: usize, rounds: usize) -> Row {
        let samples = vec![vec![None; rounds]; metrics];
        Row { kind, variant: variant.to_owned(), samples, bytes: 0, errors: 0 }
    }

    /// Takes the figures of one round.
    fn set(&mut self, round: usize, values: &[Option<f64>]) {
        for (samples, value) in self.samples.iter_mut().zip(values) {
            if let Some(sample) = samples.get_mut(round) {
                *sample = *value;
            }
        }
    }

    /// Returns the proxy's name and the variant.
    pub(crate) fn label(&self) -> String {
        label(self.kind, &self.variant)
    }
}

fn label(kind: Kind, variant: &str) -> String {
    let separator = if variant.is_empty() { "" } else { ", " };
    format!("{}{separator}{variant}", kind.name())
}

/// A whole run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) sections: Vec<Section>,
    /// The machine and the programs.
    pub(crate) facts: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) short: bool,
}

impl Run {
    /// Says what portsplit did wrong; figures are never judged.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for section in &self.sections {
            for row in section.rows.iter().filter(|row| row.kind == Kind::Portsplit) {
                if row.errors > 0 {
                    failures.push(format!("{} {}: {} errors of portsplit", section.title, row.variant, row.errors));
                }
                if row.bytes == 0 {
                    failures.push(format!("{} {}: portsplit moved no byte", section.title, row.variant));
                }
            }
        }
        failures
    }
}

/// Runs what `options` ask for; files go to `folder`.
///
/// # Errors
/// Fails if a proxy that is there does not start, or a child of ours ends unexpectedly.
pub(crate) fn run(options: &Options, folder: &Path) -> io::Result<Run> {
    let mut facts = machine();
    let load_before = load_average();
    for program in options.programs.iter().filter(|program| program.kind != Kind::Direct) {
        facts.push(format!("{}: {}", program.kind.name(), program.version));
    }
    facts.extend(options.missing.iter().cloned());
    let mut stage = Stage { options, folder: folder.to_owned(), started: 0 };
    let mut sections = Vec::new();
    for load in &options.loads {
        match load {
            Load::Rate => {
                sections.push(cases::short(&mut stage, load::Kind::Short)?);
                sections.push(cases::short(&mut stage, load::Kind::Abort)?);
            }
            Load::RoundTrip => sections.push(cases::round_trip(&mut stage)?),
            Load::Bulk => {
                sections.push(cases::bulk(&mut stage, load::Kind::Pull)?);
                sections.push(cases::bulk(&mut stage, load::Kind::Push)?);
            }
            Load::Idle => sections.push(cases::idle(&mut stage)?),
            Load::Start => sections.push(start::start(&mut stage)?),
            Load::Plugins => sections.push(cases::plugins(&mut stage)?),
            Load::Services => sections.push(cases::services(&mut stage)?),
            Load::Connections => sections.push(cases::connections(&mut stage)?),
        }
    }
    facts.push(format!("load average of the machine: {load_before} before, {} after", load_average()));
    Ok(Run { sections, facts, rounds: options.rounds, time: options.time, short: options.short })
}

/// Starts what the loads need.
struct Stage<'a> {
    options: &'a Options,
    folder: PathBuf,
    started: usize,
}

/// A proxy with all that belongs to it, ready to be measured.
struct Setup {
    peer: Peer,
    variant: String,
    /// Keeps connections open meanwhile.
    _held: Option<Talking>,
    _backend: Backend,
    http_only: bool,
}

/// A proxy to set up for a load, and how.
struct Plan {
    program: Program,
    variant: String,
    /// Connections that are opened first and stay open.
    held: usize,
    rules: Box<dyn FnOnce(&mut Rules)>,
}

impl Plan {
    fn new(program: Program, variant: impl Into<String>, rules: impl FnOnce(&mut Rules) + 'static) -> Plan {
        Plan { program, variant: variant.into(), held: 0, rules: Box::new(rules) }
    }
}

/// What one load has done to one proxy.
struct Measured {
    done: f64,
    bytes: u64,
    errors: u64,
    seconds: f64,
    p50_micros: f64,
    p99_micros: f64,
    /// `None` without a proxy.
    cpu: Option<Cpu>,
}

impl Measured {
    /// Returns the CPU time of the proxy in microseconds for each of `count`.
    fn cpu_micros_per(&self, count: f64) -> Option<f64> {
        let cpu = self.cpu.filter(|_| count > 0.0)?;
        Some(cpu.total.as_secs_f64() * 1e6 / count)
    }

    fn user_percent(&self) -> Option<f64> {
        Some(self.cpu?.user_share() * 100.0)
    }
}

impl Stage<'_> {
    /// Returns the programs of which a load makes sense.
    fn programs(&self, only: impl Fn(Kind) -> bool) -> Vec<Program> {
        self.options.programs.iter().filter(|program| only(program.kind)).cloned().collect()
    }

    /// Sets up all of `plans`; a proxy other than portsplit that cannot is left out, with a note that says why.
    fn set_up_all(&mut self, plans: Vec<Plan>) -> io::Result<(Vec<Setup>, Vec<String>)> {
        let (mut setups, mut notes) = (Vec::new(), Vec::new());
        for Plan { program, variant, held, rules } in plans {
            match self.set_up(&program, &variant, held, rules) {
                Ok(setup) => setups.push(setup),
                Err(error) => notes.push(skipped(&program, &variant, error)?),
            }
        }
        Ok((setups, notes))
    }

    /// Starts a proxy and its own backend; `held` connections are opened and stay open.
    fn set_up(
        &mut self,
        program: &Program,
        variant: &str,
        held: usize,
        rules: impl FnOnce(&mut Rules),
    ) -> io::Result<Setup> {
        let folder = self.folder.clone();
        let mut setup = self.begin(program, variant, &folder, rules)?;
        let warm_up = setup.job(load::Kind::Short, CLIENTS.min(8), WARM_UP_TIME);
        if setup.run(&Job { limit: WARM_UP, ..warm_up })?.done == 0.0 {
            return Err(io::Error::other(format!("{} answers no connection", program.kind.name())));
        }
        if held > 0 {
            let (holder, opened) = setup.start(&setup.job(load::Kind::Idle, held, Duration::ZERO))?;
            if opened.done < held as f64 {
                let kind = program.kind.name();
                return Err(io::Error::other(format!("{kind} relays {} of {held} connections only", opened.done)));
            }
            setup._held = Some(holder);
        }
        Ok(setup)
    }

    /// Starts a proxy and its own backend, and nothing else; its files go to `folder`.
    fn begin(
        &mut self,
        program: &Program,
        variant: &str,
        folder: &Path,
        rules: impl FnOnce(&mut Rules),
    ) -> io::Result<Setup> {
        let backend = Backend::start()?;
        let mut with = Rules { backend: backend.targets, unmatched: 0, plugins: Vec::new(), http_only: false };
        rules(&mut with);
        self.started += 1;
        let label = format!("{}-{}", program.kind.name(), self.started);
        let peer = Peer::start(program, &with, folder, &label)?;
        let http_only = with.http_only || program.kind.only_http();
        Ok(Setup { peer, variant: variant.to_owned(), _held: None, _backend: backend, http_only })
    }

    /// Goes through the rounds: every setup once in each, another one first each time.
    fn rounds(
        &self,
        name: &str,
        setups: &mut [Setup],
        metrics: usize,
        mut measure: impl FnMut(&mut Setup) -> io::Result<(Measured, Vec<Option<f64>>)>,
    ) -> io::Result<Vec<Row>> {
        let rounds = self.options.rounds;
        let mut rows: Vec<Row> =
            setups.iter().map(|setup| Row::new(setup.peer.kind, &setup.variant, metrics, rounds)).collect();
        let count = setups.len();
        for round in 0..rounds {
            for turn in 0..count {
                let at = (turn + round) % count;
                let (Some(setup), Some(row)) = (setups.get_mut(at), rows.get_mut(at)) else { continue };
                let what = format!("{} {}", setup.peer.kind.name(), setup.variant);
                eprintln!("{name}: round {} of {rounds}: {what}", round + 1);
                let (measured, values) = match measure(setup) {
                    Ok(measured) => measured,
                    Err(error) if setup.peer.kind == Kind::Portsplit => return Err(error),
                    Err(error) => {
                        eprintln!("{what}: {error}");
                        row.errors += 1;
                        continue;
                    }
                };
                row.bytes += measured.bytes;
                row.errors += measured.errors;
                row.set(round, &values);
            }
        }
        Ok(rows)
    }
}

impl Setup {
    fn job(&self, kind: load::Kind, clients: usize, time: Duration) -> Job {
        Job { kind, targets: self.peer.targets, clients, time, limit: 0, http_only: self.http_only }
    }

    /// Starts a load and waits until it is ready.
    fn start(&self, job: &Job) -> io::Result<(Talking, Measured)> {
        let mut load = Talking::start(&job.arguments())?;
        let ready = measured(&load.hear("ready")?)?;
        Ok((load, ready))
    }

    /// Lets a load run and measures what it does.
    fn finish(&self, load: &mut Talking) -> io::Result<Measured> {
        let before = self.cpu()?;
        load.go()?;
        let mut result = measured(&load.hear("result")?)?;
        result.cpu = match (self.cpu()?, before) {
            (Some(after), Some(before)) => Some(after.since(&before)),
            _ => None,
        };
        Ok(result)
    }

    /// Starts a load, runs it and ends it; what went wrong in opening counts too.
    fn run(&self, job: &Job) -> io::Result<Measured> {
        let (mut load, ready) = self.start(job)?;
        let mut result = self.finish(&mut load)?;
        result.errors += ready.errors;
        Ok(result)
    }

    fn cpu(&self) -> io::Result<Option<Cpu>> {
        self.peer.id().map(Cpu::of).transpose()
    }
}

/// Says that a proxy does not take part; portsplit has to.
fn skipped(program: &Program, variant: &str, error: io::Error) -> io::Result<String> {
    if program.kind == Kind::Portsplit {
        return Err(error);
    }
    let words = error.to_string();
    let words: Vec<&str> = words.lines().map(str::trim).collect();
    let note = format!("skipped: {}: {}", label(program.kind, variant), words.join(" "));
    eprintln!("{note}");
    Ok(note)
}

fn measured(line: &crate::child::Line) -> io::Result<Measured> {
    Ok(Measured {
        done: line.value("done")?,
        bytes: line.value("bytes")?,
        errors: line.value("errors")?,
        seconds: line.value::<f64>("elapsed")? / 1e9,
        p50_micros: line.value::<f64>("p50")? / 1e3,
        p99_micros: line.value::<f64>("p99")? / 1e3,
        cpu: None,
    })
}

fn machine() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let congestion = net::congestion_control().unwrap_or_else(|_| "unknown".to_owned());
    vec![
        format!("{cores} cores, {}", model.trim_start_matches([' ', '\t', ':'])),
        format!("Linux {}, loopback, congestion control {congestion}", read("/proc/sys/kernel/osrelease")),
        format!("open files: {}", crate::child::raise_open_files_limit()),
    ]
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}
