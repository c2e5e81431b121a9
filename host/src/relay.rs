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

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use self::direction::{Direction, Progress, State};
use crate::config::Splice;
use crate::stream::Stream;

/// How long a side that can take no more bytes is still read, so that closing does not destroy what it has not read yet.
const LINGER: Duration = Duration::from_secs(5);

/// How long an abort waits at most for the bytes before it to be taken and acknowledged.
const FLUSH: Duration = Duration::from_secs(5);

/// How long output may still come after the program of a connection has ended, when something else holds it open.
const OUTPUT_DRAIN: Duration = Duration::from_secs(5);

/// The most that can be on its way when a program ends, beside what its pipe says it holds: the same for a terminal, which
/// cannot say, and a buffer of ours.
const OUTPUT_LEFT_BYTES: u64 = 128 << 10;

/// How long a relay may stand still.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While both sides may still send; `None` is for ever.
    pub idle: Option<Duration>,
    /// Once one side has finished; `None` is for ever.
    pub half_closed: Option<Duration>,
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

impl Patience {
    fn shortest(self) -> Option<Duration> {
        self.idle.into_iter().chain(self.half_closed).min()
    }
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
    /// The bytes that were read before the decision and that the upstream has not taken yet.
    pub rest: Vec<u8>,
    /// How many bytes before these it has taken already.
    pub written: usize,
}

/// A client and its upstream, until both are done, one aborts, or patience runs out.
///
/// Dropping it before aborts both sides, so that neither takes what it has for complete.
pub struct Relay {
    client: Stream,
    upstream: Stream,
    /// From the client to the upstream.
    inward: Direction,
    /// From the upstream to the client.
    outward: Direction,
    moved_at: Instant,
    /// When output is given up that something holds open although the program has ended.
    output_deadline: Option<Instant>,
    /// How many bytes the client has taken, at most, once it has all that the program itself wrote.
    output_most: u64,
    /// How many bytes both sides together had not acknowledged when the end was last put off for them.
    unacknowledged: usize,
    /// Made when there is something to wait for.
    timer: Option<Pin<Box<Sleep>>>,
    /// How it ends, once that is known.
    ending: Option<Ending>,
    /// How long the end waits for acknowledgements, if it does.
    flush: Option<Box<Flush>>,
}

/// Waiting for acknowledgements, for which there is no event.
#[derive(Clone, Copy, Debug)]
struct Flush {
    give_up: Instant,
    /// Until the next look.
    pause: Duration,
}

impl Relay {
    /// Begins to relay; `first_flight` goes to the upstream before anything else, and `now` is the time.
    pub fn new(
        mut client: Stream,
        mut upstream: Stream,
        first_flight: FirstFlight,
        splice: Splice,
        now: Instant,
    ) -> Relay {
        client.reset_on_drop(true);
        upstream.reset_on_drop(true);
        let splice = if client.is_socket() && upstream.is_socket() { splice } else { Splice::Never };
        Relay {
            client,
            upstream,
            inward: Direction::new(first_flight, splice),
            outward: Direction::new(FirstFlight::default(), splice),
            moved_at: now,
            output_deadline: None,
            output_most: u64::MAX,
            unacknowledged: usize::MAX,
            timer: None,
            ending: None,
            flush: None,
        }
    }

    /// Returns how many bytes have gone to the upstream and to the client, the first flight included.
    pub fn moved(&self) -> (u64, u64) {
        (self.inward.bytes, self.outward.bytes)
    }

    /// Relays to the end, as [`Relay::poll`]. `upstream_ended` resolves when the upstream can take and make no more
    /// bytes although its descriptors may stay open, as when a program has exited; a socket never does.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: it can be called again.
    pub async fn run(&mut self, patience: Patience, mut upstream_ended: Pin<&mut impl Future<Output = ()>>) -> Report {
        let mut watching = true;
        poll_fn(|cx| {
            if watching && upstream_ended.as_mut().poll(cx).is_ready() {
                watching = false;
                self.stop_input();
            }
            self.poll(cx, patience)
        })
        .await
    }

    /// Relays what can be relayed now; ready when both sides may be closed, which dropping this does in a way that tells
    /// each of them the truth about the other. Always one and the same task has to poll it.
    pub fn poll(&mut self, cx: &mut Context<'_>, patience: Patience) -> Poll<Report> {
        let ending = match self.ending {
            Some(ending) => ending,
            None => ready!(self.poll_ending(cx, patience)),
        };
        self.ending = Some(ending);
        ready!(self.poll_delivered(cx, ending));
        let (client_aborts, upstream_aborts) = match ending {
            Ending::Done => (false, false),
            Ending::ClientReset => (false, true),
            Ending::UpstreamReset => (true, false),
            Ending::Idle | Ending::HalfClosed => (true, true),
        };
        self.client.reset_on_drop(client_aborts);
        self.upstream.reset_on_drop(upstream_aborts);
        Poll::Ready(Report { bytes_in: self.inward.bytes, bytes_out: self.outward.bytes, ending })
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>, patience: Patience) -> Poll<Ending> {
        let before = self.inward.bytes + self.outward.bytes;
        let upstream_is_gone = self.inward.state == (State::Refused { aborted: true });
        let last = self.inward.state == State::Done;
        let outward = self.outward.poll(cx, &mut self.upstream, upstream_is_gone, &mut self.client, last);
        let client_is_gone = self.outward.state == (State::Refused { aborted: true });
        let last = self.outward.state == State::Done;
        let inward = self.inward.poll(cx, &mut self.client, client_is_gone, &mut self.upstream, last);
        if self.inward.bytes + self.outward.bytes != before {
            self.moved_at = Instant::now();
            self.unacknowledged = usize::MAX;
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
            // A client that has sent its last byte is not read any more, so only this notices that it has gone.
            (State::Done, State::Open) if self.client.poll_gone(cx).is_ready() => {
                return Poll::Ready(Ending::ClientReset);
            }
            _ => {}
        }
        let ending = ready!(self.poll_patience(cx, patience));
        // What a slow peer takes out of the kernel's buffers moves too, and would be destroyed now.
        let inward = self.inward.unacknowledged_bytes(&self.upstream);
        let unacknowledged = inward + self.outward.unacknowledged_bytes(&self.client);
        let of_patience = matches!(ending, Ending::Done | Ending::Idle | Ending::HalfClosed);
        if of_patience && (1..self.unacknowledged).contains(&unacknowledged) {
            self.unacknowledged = unacknowledged;
            self.moved_at = Instant::now();
            return self.poll_patience(cx, patience);
        }
        Poll::Ready(ending)
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>, patience: Patience) -> Poll<Ending> {
        let Some((deadline, ending)) = self.deadline(patience) else { return Poll::Pending };
        let timer = match &mut self.timer {
            // The clock is looked at only when the timer has fired, so that moving bytes does not touch it.
            Some(timer) if timer.deadline() <= deadline && !timer.is_elapsed() => return Poll::Pending,
            Some(timer) => timer,
            // A new one fires at the end of the shortest patience, so that a half-close does not touch it either.
            None => {
                let first = patience.shortest().and_then(|shortest| self.moved_at.checked_add(shortest));
                let timer = Box::pin(sleep_until(first.map_or(deadline, |first| first.min(deadline))));
                self.timer.insert(timer)
            }
        };
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(ending);
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Says when patience ends if nothing moves until then, and what that means.
    fn deadline(&self, patience: Patience) -> Option<(Instant, Ending)> {
        let (longest, ending) = match (self.inward.state, self.outward.state) {
            // What a side that has gone left behind is worth waiting for, but not for long.
            (State::Open, _) if self.inward.source_aborted => (Some(FLUSH), Ending::ClientReset),
            (_, State::Open) if self.outward.source_aborted => (Some(FLUSH), Ending::UpstreamReset),
            (State::Refused { .. }, State::Done) => {
                let linger = patience.half_closed.map_or(LINGER, |patience| patience.min(LINGER));
                (Some(linger), Ending::Done)
            }
            (State::Done, _) | (_, State::Done) => (patience.half_closed, Ending::HalfClosed),
            _ if self.output_deadline.is_some() => (patience.half_closed, Ending::HalfClosed),
            _ => (patience.idle, Ending::Idle),
        };
        let end = longest.and_then(|longest| self.moved_at.checked_add(longest)).map(|at| (at, ending));
        // What the program itself wrote waits for a slow client; what others write into its output does not.
        let some_left = self.outward.holds_bytes() || self.outward.has_more;
        let all_taken = !some_left || self.outward.bytes >= self.output_most;
        match (end, self.output_deadline.filter(|_| all_taken)) {
            (Some((at, _)), Some(cut)) if cut < at => Some((cut, Ending::Done)),
            (None, Some(cut)) => Some((cut, Ending::Done)),
            (end, _) => end,
        }
    }

    /// Takes note that the upstream's program has ended: what the client sends from now on is thrown away.
    fn stop_input(&mut self) {
        if self.inward.state == State::Open {
            self.inward.refuse(false);
        }
        self.output_deadline = Instant::now().checked_add(OUTPUT_DRAIN);
        let left_bytes = OUTPUT_LEFT_BYTES.saturating_add(self.upstream.waiting_bytes());
        self.output_most = self.outward.bytes.saturating_add(left_bytes);
        self.moved_at = Instant::now();
    }

    /// Waits until the side that is to be aborted has acknowledged everything, since an abort destroys what is still on
    /// its way.
    fn poll_delivered(&mut self, cx: &mut Context<'_>, ending: Ending) -> Poll<()> {
        let aborted = match ending {
            Ending::UpstreamReset => &self.client,
            Ending::ClientReset => &self.upstream,
            Ending::Done | Ending::Idle | Ending::HalfClosed => return Poll::Ready(()),
        };
        while aborted.unacknowledged_bytes() > 0 {
            let now = Instant::now();
            let flush = self
                .flush
                .get_or_insert_with(|| Box::new(Flush { give_up: now + FLUSH, pause: Duration::from_micros(200) }));
            if now >= flush.give_up {
                break;
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(now)));
            timer.as_mut().reset(now + flush.pause);
            flush.pause = (flush.pause * 2).min(Duration::from_millis(50));
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests;
