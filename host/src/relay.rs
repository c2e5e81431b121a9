//! Moves bytes between a client and its upstream, both ways and independently, until both are done.
//!
//! What it keeps: every byte that was accepted from one side reaches the other unless that other side is gone; a
//! half-close is passed on once the bytes before it are; an error in one direction never eats bytes of the other; an
//! abort is passed on as an abort, after the bytes before it. A direction holds at most one buffer or pipe of bytes that
//! the other side has not taken, and reads nothing meanwhile.
//!
//! This file has what concerns both directions: their end, patience, and how both sides are closed; `direction` moves
//! the bytes.

mod direction;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use self::direction::{Direction, Progress, State};
use crate::config::Splice;
use crate::stream::Stream;

/// How long a side that can take no more bytes is still read, so that closing does not destroy what it has not read yet.
const LINGER: Duration = Duration::from_secs(5);

/// How long an abort waits at most for the bytes before it to be taken and acknowledged.
const FLUSH: Duration = Duration::from_secs(5);

/// How long output may still come after the program of a connection has ended, when something else holds it open.
const OUTPUT_DRAIN: Duration = Duration::from_secs(5);

/// The most that can be on its way when a program ends: what a pipe or a terminal holds, and a buffer of ours.
const OUTPUT_LEFT_BYTES: u64 = 128 << 10;

/// How long a relay may stand still.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While both sides may still send; `None` is for ever.
    pub idle: Option<Duration>,
    /// Once one side has finished; `None` is for ever.
    pub half_closed: Option<Duration>,
}

/// How a relay behaves.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long it may stand still.
    pub patience: Patience,
    /// Whether bytes between sockets go through pipes.
    pub splice: Splice,
}

/// What a relay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Bytes written to the upstream, the first flight included.
    pub bytes_in: u64,
    /// Bytes written to the client.
    pub bytes_out: u64,
    /// How it ended.
    pub ending: Ending,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides finished and every byte was delivered.
    Done,
    /// The client aborted or vanished.
    ClientReset,
    /// The upstream aborted or vanished.
    UpstreamReset,
    /// No byte moved for too long.
    Idle,
    /// One side had finished and the other moved no byte for too long.
    HalfClosed,
}

impl Ending {
    /// Returns the name that logs use.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::ClientReset => "client-reset",
            Ending::UpstreamReset => "upstream-reset",
            Ending::Idle => "idle-timeout",
            Ending::HalfClosed => "half-close-timeout",
        }
    }
}

/// What the upstream gets before anything else.
#[derive(Debug, Default)]
pub struct FirstFlight {
    /// All bytes that were read before the decision.
    pub bytes: Vec<u8>,
    /// How many of them the upstream has taken already.
    pub written: usize,
}

/// Relays until both sides are done, one aborts, or patience runs out, and closes both.
///
/// `first_flight` goes to the upstream before anything else. `upstream_ended` resolves when the upstream can take and
/// make no more bytes although its descriptors may stay open, as when a program has exited; a socket never does.
/// `moved` always has the bytes that went inward and outward, also when the future is dropped.
///
/// # Cancel safety
/// Dropping the future aborts both sides, so that neither takes what it has for complete.
pub async fn relay(
    mut client: Stream,
    mut upstream: Stream,
    first_flight: FirstFlight,
    terms: Terms,
    upstream_ended: impl Future<Output = ()>,
    moved: &Cell<(u64, u64)>,
) -> Report {
    client.reset_on_drop(true);
    upstream.reset_on_drop(true);
    let splice = if client.is_socket() && upstream.is_socket() { terms.splice } else { Splice::Never };
    let mut relay = Relay {
        client,
        upstream,
        inward: Direction::new(first_flight, splice),
        outward: Direction::new(FirstFlight::default(), splice),
        patience: terms.patience,
        moved_at: Instant::now(),
        output_deadline: None,
        output_most: u64::MAX,
    };
    moved.set((relay.inward.bytes, relay.outward.bytes));
    let ending = {
        let mut timer = pin!(sleep(Duration::MAX));
        let mut upstream_ended = pin!(upstream_ended);
        let mut watching = true;
        poll_fn(|cx| {
            if watching && upstream_ended.as_mut().poll(cx).is_ready() {
                watching = false;
                relay.stop_input();
            }
            let ending = relay.poll_ending(cx, timer.as_mut());
            moved.set((relay.inward.bytes, relay.outward.bytes));
            ending
        })
        .await
    };
    relay.close(ending).await;
    Report { bytes_in: relay.inward.bytes, bytes_out: relay.outward.bytes, ending }
}

struct Relay {
    client: Stream,
    upstream: Stream,
    /// From the client to the upstream.
    inward: Direction,
    /// From the upstream to the client.
    outward: Direction,
    patience: Patience,
    moved_at: Instant,
    /// When output is given up that something holds open although the program has ended.
    output_deadline: Option<Instant>,
    /// How many bytes the client has taken, at most, once it has all that the program itself wrote.
    output_most: u64,
}

impl Relay {
    fn poll_ending(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Ending> {
        let before = self.inward.bytes + self.outward.bytes;
        let upstream_is_gone = self.inward.state == (State::Refused { aborted: true });
        let last = self.inward.state == State::Done;
        let outward = self.outward.poll(cx, &mut self.upstream, upstream_is_gone, &mut self.client, last);
        let client_is_gone = self.outward.state == (State::Refused { aborted: true });
        let last = self.outward.state == State::Done;
        let inward = self.inward.poll(cx, &mut self.client, client_is_gone, &mut self.upstream, last);
        if self.inward.bytes + self.outward.bytes != before {
            self.moved_at = Instant::now();
        }
        if let Progress::SourceAborted = inward {
            return Poll::Ready(Ending::ClientReset);
        }
        if let Progress::SourceAborted = outward {
            return Poll::Ready(Ending::UpstreamReset);
        }
        match (self.inward.state, self.outward.state) {
            (State::Done, State::Done) => return Poll::Ready(Ending::Done),
            // A client that takes no more bytes and has sent its last one is gone.
            (State::Done | State::Refused { .. }, State::Refused { .. }) if self.inward.source_ended => {
                return Poll::Ready(Ending::ClientReset);
            }
            (State::Refused { .. }, State::Done) if self.inward.source_ended => return Poll::Ready(Ending::Done),
            _ => {}
        }
        self.poll_patience(cx, timer)
    }

    /// Looks at the clock only when the timer fires, so that moving bytes does not touch the timer.
    fn poll_patience(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Ending> {
        loop {
            let Some((deadline, ending)) = self.deadline() else { return Poll::Pending };
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                return Poll::Ready(ending);
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Says when patience ends if nothing moves until then, and what that means.
    fn deadline(&self) -> Option<(Instant, Ending)> {
        let (patience, ending) = match (self.inward.state, self.outward.state) {
            // What a side that has gone left behind is worth waiting for, but not for long.
            (State::Open, _) if self.inward.source_aborted => (Some(FLUSH), Ending::ClientReset),
            (_, State::Open) if self.outward.source_aborted => (Some(FLUSH), Ending::UpstreamReset),
            (State::Refused { .. }, State::Done) => {
                let linger = self.patience.half_closed.map_or(LINGER, |patience| patience.min(LINGER));
                (Some(linger), Ending::Done)
            }
            (State::Done, _) | (_, State::Done) => (self.patience.half_closed, Ending::HalfClosed),
            _ if self.output_deadline.is_some() => (self.patience.half_closed, Ending::HalfClosed),
            _ => (self.patience.idle, Ending::Idle),
        };
        let patience = patience.and_then(|patience| self.moved_at.checked_add(patience)).map(|at| (at, ending));
        // What the program itself wrote waits for a slow client; what others write into its output does not.
        let all_taken = !self.outward.holds_bytes() || self.outward.bytes >= self.output_most;
        match (patience, self.output_deadline.filter(|_| all_taken)) {
            (Some((at, _)), Some(cut)) if cut < at => Some((cut, Ending::Done)),
            (None, Some(cut)) => Some((cut, Ending::Done)),
            (patience, _) => patience,
        }
    }

    /// Takes note that the upstream's program has ended: what the client sends from now on is thrown away.
    fn stop_input(&mut self) {
        if self.inward.state == State::Open {
            self.inward.refuse(false);
        }
        self.output_deadline = Instant::now().checked_add(OUTPUT_DRAIN);
        self.output_most = self.outward.bytes.saturating_add(OUTPUT_LEFT_BYTES);
        self.moved_at = Instant::now();
    }

    /// Closes both sides the way that tells each of them the truth about the other.
    async fn close(&mut self, ending: Ending) {
        let (client_aborts, upstream_aborts) = match ending {
            Ending::Done => (false, false),
            Ending::ClientReset => (false, true),
            Ending::UpstreamReset => (true, false),
            Ending::Idle | Ending::HalfClosed => (true, true),
        };
        match ending {
            Ending::UpstreamReset => delivered(&self.client).await,
            Ending::ClientReset => delivered(&self.upstream).await,
            Ending::Done | Ending::Idle | Ending::HalfClosed => {}
        }
        self.client.reset_on_drop(client_aborts);
        self.upstream.reset_on_drop(upstream_aborts);
    }
}

/// Waits until the peer has acknowledged everything, since an abort destroys what is still on its way.
async fn delivered(stream: &Stream) {
    let give_up = Instant::now() + FLUSH;
    let mut pause = Duration::from_micros(200);
    while stream.unacknowledged_bytes() > 0 && Instant::now() < give_up {
        sleep_until(Instant::now() + pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests;
