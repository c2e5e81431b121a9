//! One connection from accept to close: read, decide, act, relay, and the one log line about it.
//!
//! A connection is one future, and most of its time is spent relaying, so there is room in it for that and no more.
//! What it has to wait for before, a first flight that comes in pieces or an upstream that takes its time, has a box
//! of its own; when nothing has to be waited for, which is usual, there is no box and no timer.

mod record;

use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use self::record::{CUT_OFF, Ended, Record, Upstream};
use crate::action::connect::{self, Attempt, Connected};
use crate::action::exec::{self, ExecContext, ProgramIo};
use crate::buffer;
use crate::config::{Action, Config, Program};
use crate::decision::{Decision, End, Outcome};
use crate::limits::{Counters, Permit, Refusal};
use crate::listener::Peer;
use crate::log::Throttle;
use crate::relay::{Ending, FirstFlight, Patience, Relay};
use crate::router::{Deciding, Router};
use crate::server::worker::Leaving;
use crate::stream::Stream;
use crate::watched::Watched;

/// What a connection needs to know about where it came in; it keeps this for its life, whatever is reloaded meanwhile.
#[derive(Clone, Debug)]
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

/// Serves one accepted connection to its end. Dropping it aborts the connection and kills its program.
pub(crate) struct Connection {
    stage: Stage,
}

/// Where a connection stands.
#[expect(
    clippy::large_enum_variant,
    reason = "relaying is what most of its life consists of, so a box would only add to it"
)]
enum Stage {
    /// Accepted, and nothing read yet.
    Arrived(Arrival),
    /// Something has to be waited for that leads to another stage.
    Waiting(Pin<Box<dyn Future<Output = Stage>>>),
    Relaying(Relayed),
    Over,
}

/// A relay and what is known about its connection; when it is cut off, the log still says how many bytes went by.
struct Relayed {
    /// Gone once it has ended, and the end is logged after that.
    relay: Option<Relay>,
    record: Record,
}

impl Drop for Relayed {
    fn drop(&mut self) {
        if let Some(relay) = self.relay.take() {
            self.record.log_end(&Ended { moved: Some(relay.moved()), ..Ended::because(CUT_OFF) });
        }
    }
}

/// A connection that is not decided.
struct Arrival {
    client: Stream,
    record: Record,
    leaving: Rc<Leaving>,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd, peer: Peer, plan: Rc<Plan>, permit: Permit, leaving: Rc<Leaving>) -> Connection {
        let client = match peer {
            Peer::Tcp(_) => Stream::tcp(Watched::new(socket)),
            Peer::Unix => Stream::unix(Watched::new(socket)),
        };
        let record = Record::new(peer, plan, permit);
        Connection { stage: Stage::Arrived(Arrival { client, record, leaving }) }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.stage {
                Stage::Relaying(Relayed { relay, record }) => {
                    if let Some(relaying) = relay {
                        let report = ready!(relaying.poll(cx, patience(&record.plan.config)));
                        // Both ends are closed when the log says so.
                        *relay = None;
                        record.log_end(&Ended::relayed(report));
                    }
                    self.stage = Stage::Over;
                }
                Stage::Waiting(future) => self.stage = ready!(future.as_mut().poll(cx)),
                Stage::Over => return Poll::Ready(()),
                Stage::Arrived(_) => {
                    if let Stage::Arrived(arrival) = std::mem::replace(&mut self.stage, Stage::Over) {
                        self.stage = arrival.proceed(cx);
                    }
                }
            }
        }
    }
}

impl Arrival {
    /// Decides by what is there already and acts on it, if that is enough.
    fn proceed(self, cx: &mut Context<'_>) -> Stage {
        let plan = Rc::clone(&self.record.plan);
        if let Some(decision) = plan.router.at_once() {
            return self.decided(decision, b"");
        }
        buffer::with(|buffer| {
            let length = buffer.len().min(plan.config.max_first_flight_bytes);
            let buffer = buffer.get_mut(..length).unwrap_or_default();
            let flight = match self.client.poll_read(cx, buffer) {
                Poll::Ready(Ok(bytes @ 1..)) => buffer.get(..bytes).unwrap_or_default(),
                Poll::Ready(Ok(0)) => return self.gone(Gone::Silent),
                Poll::Ready(Err(_)) => return self.gone(Gone::Reset),
                Poll::Pending => b"",
            };
            let mut deciding = Deciding::default();
            if !flight.is_empty() {
                let full = flight.len() == plan.config.max_first_flight_bytes;
                let decision = plan.router.decide(&mut deciding, flight);
                let decision = decision.or_else(|| full.then(|| plan.router.finish(&mut deciding, flight, End::Full)));
                if let Some(decision) = decision {
                    return self.decided(decision, flight);
                }
            }
            Stage::Waiting(Box::pin(self.wait(flight.to_vec(), deciding)))
        })
    }

    /// Waits until more bytes, or the lack of them, decide.
    async fn wait(mut self, mut flight: Vec<u8>, mut deciding: Deciding) -> Stage {
        let limits = &Rc::clone(&self.record.plan).config.limits;
        if let Err(limit) = self.record.permit.undecided(limits) {
            report_refusal(self.record.peer, &self.record.plan, limit);
            self.record.forget();
            return Stage::Over;
        }
        match self.read_first_flight(&mut flight, &mut deciding).await {
            Ok(decision) => self.decided(decision, &flight),
            Err(gone) => self.gone(gone),
        }
    }

    /// Reads until the router decides; `flight` has all bytes that were read.
    async fn read_first_flight(&self, flight: &mut Vec<u8>, deciding: &mut Deciding) -> Result<Decision, Gone> {
        let plan = &self.record.plan;
        let most = plan.config.max_first_flight_bytes;
        let deadline = self.record.accepted_at + plan.config.decide_timeout;
        while flight.len() < most {
            let room = most - flight.len();
            let read = tokio::select! {
                biased;
                read = timeout_at(deadline, read_some(&self.client, flight, room)) => read,
                () = self.leaving.wait() => return Err(Gone::Leaving),
            };
            match read {
                Err(_) => return Ok(plan.router.finish(deciding, flight, End::Timeout)),
                Ok(Ok(0)) if flight.is_empty() => return Err(Gone::Silent),
                Ok(Ok(0)) => return Ok(plan.router.finish(deciding, flight, End::HalfClose)),
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(Gone::Reset),
            }
            if let Some(decision) = plan.router.decide(deciding, flight) {
                return Ok(decision);
            }
        }
        Ok(plan.router.finish(deciding, flight, End::Full))
    }

    /// Does what the decision says, as far as that goes without waiting.
    fn decided(mut self, decision: Decision, flight: &[u8]) -> Stage {
        let now = self.record.decided(decision, flight.len());
        let plan = Rc::clone(&self.record.plan);
        let Arrival { client, record, .. } = self;
        match action_of(&plan.config, decision.outcome) {
            Action::Close => {
                drop(client);
                record.end(Ended::because("closed"));
                Stage::Over
            }
            Action::Connect(to) => {
                let attempt = to.targets.first().map(|target| connect::attempt(target, &to.socket, flight));
                if let Some(Attempt::Connected(upstream, written)) = attempt {
                    let rest = flight.get(written..).unwrap_or_default().to_vec();
                    let connected = Connected { stream: upstream, written, target: 0, failed: Vec::new() };
                    return relaying(client, connected, rest, record, now);
                }
                Stage::Waiting(Box::pin(open_upstream(client, attempt, flight.to_vec(), record)))
            }
            Action::Exec(program) => {
                Stage::Waiting(Box::pin(serve_program(client, Arc::clone(program), flight.to_vec(), record)))
            }
        }
    }

    fn gone(self, gone: Gone) -> Stage {
        drop(self.client);
        self.record.end(Ended::because(gone.name()));
        Stage::Over
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

/// Says that a connection is closed because of a limit; nothing else is logged about it.
pub(crate) fn report_refusal(peer: Peer, plan: &Plan, limit: Refusal) {
    static FULL: Throttle = Throttle::new(Duration::from_secs(1));
    if let Some(unlogged) = FULL.pass() {
        tracing::warn!(%peer, listener = plan.listener, %limit, unlogged, "limit reached; closed at accept");
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

/// Connects to an upstream that takes its time, or to another one; `attempt` is what has come of the first so far.
async fn open_upstream(client: Stream, attempt: Option<Attempt>, flight: Vec<u8>, record: Record) -> Stage {
    static UNREACHABLE: Throttle = Throttle::new(Duration::from_secs(1));
    let plan = Rc::clone(&record.plan);
    let Some(Action::Connect(to)) = record.outcome().map(|outcome| action_of(&plan.config, outcome)) else {
        return Stage::Over;
    };
    match connect::connect(to, attempt, &flight, plan.config.connect_timeout).await {
        Err(failed) => {
            drop(client);
            let error = failed.join("; ");
            plan.counters.upstream_failures.fetch_add(1, Ordering::Relaxed);
            if let Some(unlogged) = UNREACHABLE.pass() {
                let service = record.service();
                tracing::warn!(service, error, unlogged, "no target answered; the client is closed");
            }
            record.end(Ended { error: Some(error), ..Ended::because("upstream-failed") });
            Stage::Over
        }
        Ok(connected) => {
            let mut rest = flight;
            drop(rest.drain(..connected.written.min(rest.len())));
            relaying(client, connected, rest, record, Instant::now())
        }
    }
}

/// Begins to relay; `rest` is what the upstream has not taken of the first flight.
fn relaying(client: Stream, connected: Connected, rest: Vec<u8>, mut record: Record, now: Instant) -> Stage {
    let Connected { stream, written, target, failed } = connected;
    record.upstream = Some(Upstream::Target(target));
    record.note_failed(&failed);
    let relay = Relay::new(client, stream, FirstFlight { rest, written }, record.plan.config.splice, now);
    Stage::Relaying(Relayed { relay: Some(relay), record })
}

async fn serve_program(client: Stream, program: Arc<Program>, flight: Vec<u8>, mut record: Record) -> Stage {
    static UNSTARTABLE: Throttle = Throttle::new(Duration::from_secs(1));
    let plan = Rc::clone(&record.plan);
    let local = client.socket().and_then(|socket| rustix::net::getsockname(socket).ok());
    let local = local.and_then(connect::internet_address).map(|address| address.to_string());
    let peer = record.peer.to_string();
    let context =
        ExecContext { service: record.service(), peer: &peer, local: local.as_deref().unwrap_or(&plan.listener) };
    let running = match exec::spawn(&program, &context) {
        Ok(running) => running,
        Err(error) => {
            drop(client);
            plan.counters.upstream_failures.fetch_add(1, Ordering::Relaxed);
            if let Some(unlogged) = UNSTARTABLE.pass() {
                let service = record.service();
                tracing::warn!(service, %error, unlogged, "cannot start the program; the client is closed");
            }
            record.end(Ended { error: Some(error.to_string()), ..Ended::because("upstream-failed") });
            return Stage::Over;
        }
    };
    let mut child = running.child;
    record.upstream = Some(Upstream::Program(child.id()));
    let stream = match running.io {
        ProgramIo::Pipes { stdin, stdout } => Stream::pipes(stdin, stdout),
        ProgramIo::Pty { master } => Stream::terminal(master),
    };
    let ended = async {
        if child.exited().await.is_err() {
            pending::<()>().await;
        }
    };
    let first_flight = FirstFlight { rest: flight, written: 0 };
    let relay = Relay::new(client, stream, first_flight, plan.config.splice, Instant::now());
    let mut relayed = Relayed { relay: Some(relay), record };
    let Some(relay) = &mut relayed.relay else { return Stage::Over };
    let report = relay.run(patience(&plan.config), pin!(ended)).await;
    relayed.relay = None;
    let mut end = Ended::relayed(report);
    // A program that has closed its output may still have input to take, and its work to finish.
    if report.ending == Ending::Done {
        let patience = plan.config.half_close_timeout;
        let _ = timeout(patience.unwrap_or(Duration::MAX), child.exited()).await;
    }
    match child.end().await {
        Ok(status) => end.exit = Some(status).filter(|status| !status.success()),
        Err(error) => end.error = Some(error.to_string()),
    }
    relayed.record.log_end(&end);
    Stage::Over
}

fn patience(config: &Config) -> Patience {
    Patience { idle: config.idle_timeout, half_closed: config.half_close_timeout }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relayed_connection_needs_little_memory() {
        let bytes = std::mem::size_of::<Connection>();
        assert!(bytes <= 512, "a connection has {bytes} bytes");
    }
}
