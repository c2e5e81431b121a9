//! The load generators: child processes with one thread each, told by their arguments what to do.
//!
//! A load prepares, says `ready`, is let go, runs for its time, says `result`, and keeps what it has open until it is let
//! go again. So the parent can look at the proxy at each of these moments. A load checks every byte that it gets; what
//! is wrong is counted as an error.

mod bulk;
mod open;
mod round_trip;
mod short;

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::child::{self, Line};
use crate::wire::Protocol;

/// Where the connections of each protocol go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets {
    pub(crate) ssh: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) tls: SocketAddr,
}

impl Targets {
    /// All protocols to one address, as behind a proxy.
    pub(crate) fn all(address: SocketAddr) -> Targets {
        Targets { ssh: address, http: address, tls: address }
    }

    pub(crate) fn of(&self, protocol: Protocol) -> SocketAddr {
        match protocol {
            Protocol::Ssh => self.ssh,
            Protocol::Http => self.http,
            Protocol::Tls => self.tls,
        }
    }

    /// Takes the addresses from the values `ssh`, `http` and `tls`.
    ///
    /// # Errors
    /// Fails if one is missing or wrong.
    pub(crate) fn parse(line: &Line) -> io::Result<Targets> {
        Ok(Targets { ssh: line.value("ssh")?, http: line.value("http")?, tls: line.value("tls")? })
    }
}

/// What a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One connection after the other, closed by the client.
    Short,
    /// The same, aborted by the client.
    Abort,
    /// 64 bytes there and back, again and again.
    RoundTrip,
    /// From the backend to the client.
    Pull,
    /// From the client to the backend.
    Push,
    /// Nothing, on open connections.
    Idle,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Short, Kind::Abort, Kind::RoundTrip, Kind::Pull, Kind::Push, Kind::Idle];

    fn name(self) -> &'static str {
        match self {
            Kind::Short => "short",
            Kind::Abort => "abort",
            Kind::RoundTrip => "round-trip",
            Kind::Pull => "pull",
            Kind::Push => "push",
            Kind::Idle => "idle",
        }
    }
}

/// A load to start.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(crate) targets: Targets,
    /// Connections at once.
    pub(crate) clients: usize,
    pub(crate) time: Duration,
    /// Connections in all, for short ones; 0 is any number within the time.
    pub(crate) limit: usize,
    /// All connections speak HTTP instead of each protocol in turn.
    pub(crate) http_only: bool,
}

impl Job {
    /// Returns the arguments that make a child do this.
    pub(crate) fn arguments(&self) -> Vec<String> {
        vec![
            "load".to_owned(),
            format!("kind={}", self.kind.name()),
            format!("ssh={}", self.targets.ssh),
            format!("http={}", self.targets.http),
            format!("tls={}", self.targets.tls),
            format!("clients={}", self.clients),
            format!("millis={}", self.time.as_millis()),
            format!("limit={}", self.limit),
            format!("http_only={}", self.http_only),
        ]
    }

    fn parse(arguments: &[String]) -> io::Result<Job> {
        let line = Line::parse(arguments.iter().map(String::as_str));
        let name: String = line.value("kind")?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        Ok(Job {
            kind: kind.ok_or_else(|| io::Error::other("no such load"))?,
            targets: Targets::parse(&line)?,
            clients: line.value("clients")?,
            time: Duration::from_millis(line.value("millis")?),
            limit: line.value("limit")?,
            http_only: line.value("http_only")?,
        })
    }

    /// Returns the protocol of the connection with this number.
    fn protocol(&self, number: usize) -> Protocol {
        if self.http_only { Protocol::Http } else { Protocol::of(number) }
    }
}

/// What a load has done.
#[derive(Debug, Default)]
struct Outcome {
    /// Connections, round trips, or nothing.
    done: u64,
    /// Bytes that arrived, checked.
    bytes: u64,
    errors: u64,
    first_error: Option<String>,
    elapsed: Duration,
    latencies: Vec<u32>,
}

impl Outcome {
    fn error(&mut self, error: impl ToString) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    fn latency(&mut self, since: Instant, now: Instant) {
        self.latencies.push(u32::try_from(now.duration_since(since).as_nanos()).unwrap_or(u32::MAX));
    }

    fn line(&mut self, word: &str) -> String {
        self.latencies.sort_unstable();
        let quantile = |share: usize| {
            let at = self.latencies.len().saturating_sub(1) * share / 100;
            self.latencies.get(at).copied().unwrap_or(0)
        };
        let mut line = format!("{word} done={} bytes={} errors={}", self.done, self.bytes, self.errors);
        let _ = write!(line, " elapsed={} p50={} p99={}", self.elapsed.as_nanos(), quantile(50), quantile(99));
        line
    }

    /// Tells the parent, and the person who watches what went wrong first.
    fn say(&mut self, word: &str) -> io::Result<()> {
        if let Some(error) = self.first_error.take() {
            eprintln!("load: {} errors, the first: {error}", self.errors);
        }
        child::say(&self.line(word))
    }
}

/// Runs the load that `arguments` describe, as a child.
///
/// # Errors
/// Fails if the process runs out of something; errors of connections are counted and reported instead.
pub(crate) fn run(arguments: &[String]) -> io::Result<()> {
    let job = Job::parse(arguments)?;
    match job.kind {
        Kind::Short | Kind::Abort => {
            Outcome::default().say("ready")?;
            if child::wait_for_go() {
                short::run(&job)?.say("result")?;
            }
        }
        Kind::Pull | Kind::Push => {
            Outcome::default().say("ready")?;
            if child::wait_for_go() {
                let (mut outcome, _open) = bulk::run(&job)?;
                outcome.say("result")?;
                child::wait_for_go();
            }
        }
        Kind::RoundTrip => {
            let (mut opened, connections) = open::open(&job);
            opened.say("ready")?;
            if child::wait_for_go() {
                let (mut outcome, _open) = round_trip::run(&job, connections)?;
                outcome.say("result")?;
                child::wait_for_go();
            }
        }
        Kind::Idle => {
            let (mut opened, _open) = open::open(&job);
            opened.say("ready")?;
            if child::wait_for_go() {
                std::thread::sleep(job.time);
                Outcome::default().say("result")?;
                child::wait_for_go();
            }
        }
    }
    Ok(())
}
