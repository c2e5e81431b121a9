//! One connection from accept to close: read, decide, act, relay, and the one log line about it.

use std::cell::Cell;
use std::fmt;
use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::action::connect::{self, connect};
use crate::action::exec::{self, ExecContext, ProgramIo};
use crate::buffer;
use crate::config::{Action, Config, Program, Target};
use crate::decision::{Decision, End, Outcome};
use crate::limits::{Counters, Permit};
use crate::listener::Peer;
use crate::log::Throttle;
use crate::relay::{FirstFlight, Patience, Report, Terms, relay};
use crate::router::{Deciding, Router};
use crate::server::worker::Leaving;
use crate::stream::Stream;
use crate::watched::Watched;

/// What a connection needs to know about where it came in; it keeps this for its life, whatever is reloaded meanwhile.
#[derive(Debug)]
pub struct Plan {
    /// The configuration in force at accept.
    pub config: Arc<Config>,
    /// Decides for the listener.
    pub router: Arc<Router>,
    /// The listener's address, for logs.
    pub listener: String,
    /// Where the connection is counted.
    pub counters: Arc<Counters>,
}

/// Serves one accepted connection to its end.
///
/// # Cancel safety
/// Dropping the future aborts the connection and kills its program.
pub(crate) async fn serve(socket: OwnedFd, peer: Peer, plan: Arc<Plan>, mut permit: Permit, leaving: Rc<Leaving>) {
    let mut record = Record::new(peer, Arc::clone(&plan));
    let client = match peer {
        Peer::Tcp(_) => Stream::tcp(Watched::new(socket)),
        Peer::Unix => Stream::unix(Watched::new(socket)),
    };
    let mut flight = Vec::new();
    let decision = read_first_flight(&client, &plan, &mut flight, record.accepted_at, &leaving).await;
    permit.decided();
    record.decided_after = record.accepted_at.elapsed();
    record.first_flight_bytes = flight.len();
    let decision = match decision {
        Ok(decision) => decision,
        Err(gone) => return record.end(gone.name(), None),
    };
    record.decision = Some(decision);
    match action_of(&plan.config, decision.outcome) {
        Action::Close => record.end("closed", None),
        Action::Connect(targets) => serve_upstream(client, flight, targets, &plan.config, record).await,
        // Boxed so that connections without a program need no room for one.
        Action::Exec(program) => Box::pin(serve_program(client, flight, program, &plan.config, record)).await,
    }
}

fn action_of(config: &Config, outcome: Outcome) -> &Action {
    match outcome {
        Outcome::Service(number) => config.services.get(number).map_or(&Action::Close, |service| &service.action),
        Outcome::Fallback => &config.fallback,
        Outcome::Timeout => &config.timeout,
        Outcome::Close => &Action::Close,
    }
}

/// Why there is nothing to decide any more.
enum Gone {
    /// The client left without a byte.
    Silent,
    /// The client aborted.
    Reset,
    /// The server is stopping.
    Leaving,
}

impl Gone {
    fn name(&self) -> &'static str {
        match self {
            Gone::Silent => "silent",
            Gone::Reset => "client-reset",
            Gone::Leaving => "stopping",
        }
    }
}

/// Reads until the router decides; `flight` has all bytes that were read.
async fn read_first_flight(
    client: &Stream,
    plan: &Plan,
    flight: &mut Vec<u8>,
    accepted_at: Instant,
    leaving: &Leaving,
) -> Result<Decision, Gone> {
    if let Some(decision) = plan.router.at_once() {
        return Ok(decision);
    }
    let deadline = accepted_at + plan.config.decide_timeout;
    let mut deciding = Deciding::default();
    loop {
        let room = plan.config.max_first_flight_bytes.saturating_sub(flight.len());
        let read = tokio::select! {
            biased;
            read = timeout_at(deadline, read_some(client, flight, room)) => read,
            () = leaving.wait() => return Err(Gone::Leaving),
        };
        let end = match read {
            Err(_) => Some(End::Timeout),
            Ok(Ok(0)) if flight.is_empty() => return Err(Gone::Silent),
            Ok(Ok(0)) => Some(End::HalfClose),
            Ok(Ok(_)) => None,
            Ok(Err(_)) => return Err(Gone::Reset),
        };
        if end.is_none() {
            if let Some(decision) = plan.router.decide(&mut deciding, flight) {
                return Ok(decision);
            }
            if flight.len() < plan.config.max_first_flight_bytes {
                continue;
            }
        }
        return Ok(plan.router.finish(&mut deciding, flight, end.unwrap_or(End::Full)));
    }
}

/// Appends what is there, at most `room` bytes, to `flight`.
async fn read_some(client: &Stream, flight: &mut Vec<u8>, room: usize) -> io::Result<usize> {
    poll_fn(|cx| {
        buffer::with(|buffer| {
            let length = room.min(buffer.len());
            let buffer = buffer.get_mut(..length).unwrap_or_default();
            client.poll_read(cx, buffer).map_ok(|bytes| {
                flight.extend_from_slice(buffer.get(..bytes).unwrap_or_default());
                bytes
            })
        })
    })
    .await
}

async fn serve_upstream(client: Stream, flight: Vec<u8>, targets: &[Target], config: &Config, mut record: Record) {
    static UNREACHABLE: Throttle = Throttle::new(Duration::from_secs(1));
    match connect(targets, &flight, config.connect_timeout).await {
        Err(failed) => {
            let error = failed.join("; ");
            record.plan.counters.upstream_failures.fetch_add(1, Ordering::Relaxed);
            if let Some(unlogged) = UNREACHABLE.pass() {
                let service = record.service();
                tracing::warn!(service, error, unlogged, "no target answered; the client is closed");
            }
            record.end("upstream-failed", Some(error));
        }
        Ok(connect::Connected { stream, written, failed, target }) => {
            record.upstream = Some(Upstream::Target(target));
            let report =
                relay(client, stream, FirstFlight { bytes: flight, written }, terms(config), pending(), &record.moved)
                    .await;
            let failed = (!failed.is_empty()).then(|| failed.join("; "));
            record.end_with(report, failed);
        }
    }
}

async fn serve_program(client: Stream, flight: Vec<u8>, program: &Program, config: &Config, mut record: Record) {
    let local = client.socket().and_then(|socket| rustix::net::getsockname(socket).ok());
    let local = local.and_then(connect::internet_address).map(|address| address.to_string());
    let peer = record.peer.to_string();
    let context = ExecContext {
        service: record.service(),
        peer: &peer,
        local: local.as_deref().unwrap_or(&record.plan.listener),
    };
    let started = exec::spawn(program, &context).map(|running| {
        let stream = match running.io {
            ProgramIo::Pipes { stdin, stdout } => Stream::pipes(stdin, stdout),
            ProgramIo::Pty { master } => Stream::terminal(master),
        };
        (stream, running.child)
    });
    match started {
        Err(error) => {
            record.plan.counters.upstream_failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(service = record.service(), %error, "cannot start the program; the client is closed");
            record.end("upstream-failed", Some(error.to_string()));
        }
        Ok((stream, mut child)) => {
            record.upstream = Some(Upstream::Program(child.id()));
            let ended = async {
                if child.exited().await.is_err() {
                    pending::<()>().await;
                }
            };
            let report =
                relay(client, stream, FirstFlight { bytes: flight, written: 0 }, terms(config), ended, &record.moved)
                    .await;
            let error = match child.end().await {
                Ok(status) => {
                    record.exit = Some(status).filter(|status| !status.success());
                    None
                }
                Err(error) => Some(error.to_string()),
            };
            record.end_with(report, error);
        }
    }
}

fn terms(config: &Config) -> Terms {
    let patience = Patience { idle: config.idle_timeout, half_closed: config.half_close_timeout };
    Terms { patience, splice: config.splice }
}

/// What an action opened, as logs show it.
enum Upstream {
    Target(Target),
    Program(u32),
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Upstream::Target(target) => target.fmt(f),
            Upstream::Program(id) => write!(f, "pid:{id}"),
        }
    }
}

/// What is known about a connection; it is logged when this is dropped, so that no connection ends unseen.
struct Record {
    peer: Peer,
    plan: Arc<Plan>,
    accepted_at: Instant,
    decided_after: Duration,
    first_flight_bytes: usize,
    decision: Option<Decision>,
    upstream: Option<Upstream>,
    /// Bytes that were relayed to the upstream and to the client.
    moved: Cell<(u64, u64)>,
    /// How the program ended, unless it succeeded.
    exit: Option<ExitStatus>,
    end: &'static str,
    error: Option<String>,
}

impl Record {
    fn new(peer: Peer, plan: Arc<Plan>) -> Record {
        Record {
            peer,
            plan,
            accepted_at: Instant::now(),
            decided_after: Duration::ZERO,
            first_flight_bytes: 0,
            decision: None,
            upstream: None,
            moved: Cell::default(),
            exit: None,
            end: "cut-off",
            error: None,
        }
    }

    fn service(&self) -> &str {
        match self.decision.map(|decision| decision.outcome) {
            Some(Outcome::Service(number)) => self.plan.config.services.get(number).map_or("", |service| &service.name),
            Some(Outcome::Fallback) => "fallback",
            Some(Outcome::Timeout) => "timeout",
            Some(Outcome::Close) | None => "",
        }
    }

    fn end(mut self, end: &'static str, error: Option<String>) {
        self.end = end;
        self.error = error;
    }

    fn end_with(self, report: Report, error: Option<String>) {
        self.end(report.ending.name(), error);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let service = Some(self.service()).filter(|service| !service.is_empty());
        let reason = self.decision.map(|decision| tracing::field::display(decision.reason));
        let decided = self.decision.map(|decision| decision.deciding_bytes);
        let moved = self.upstream.as_ref().map(|_| self.moved.get());
        let (bytes_in, bytes_out) = (moved.map(|(inward, _)| inward), moved.map(|(_, outward)| outward));
        tracing::info!(
            peer = %self.peer,
            listener = self.plan.listener,
            service,
            reason,
            deciding_bytes = decided,
            first_flight_bytes = self.first_flight_bytes,
            decide_us = u64::try_from(self.decided_after.as_micros()).unwrap_or(u64::MAX),
            upstream = self.upstream.as_ref().map(tracing::field::display),
            bytes_in,
            bytes_out,
            duration_ms = u64::try_from(self.accepted_at.elapsed().as_millis()).unwrap_or(u64::MAX),
            exit = self.exit.map(tracing::field::display),
            end = self.end,
            error = self.error,
            "connection"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relayed_connection_needs_little_memory() {
        let config = Config::parse(
            std::path::Path::new("x.toml"),
            "listen = '127.0.0.1:0'\n[[service]]\nname = 'a'\nprefix = 'A'\nclose = true\n",
        );
        let config = Arc::new(config.expect("a valid configuration").0);
        let router = config.listeners.first().map(|listener| Arc::clone(&listener.router)).unwrap_or_default();
        let counters = Arc::new(Counters::default());
        let permit = counters.admit(&config.limits, None).expect("nothing is open");
        let plan = Arc::new(Plan { config, router, listener: String::new(), counters });
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("two sockets");
        let task = serve(socket.into(), Peer::Unix, plan, permit, Rc::default());
        let bytes = std::mem::size_of_val(&task);
        assert!(bytes <= 2_560, "the task of a connection has {bytes} bytes");
    }
}
