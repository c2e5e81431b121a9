//! Moves bytes between a client and its upstream, both ways and independently, until both are done.
//!
//! What it keeps: every byte that was accepted from one side reaches the other unless that other side is gone; a
//! half-close is passed on once the bytes before it are; an error in one direction never eats bytes of the other; an
//! abort is passed on as an abort, after the bytes before it. A direction holds at most one buffer of bytes that the
//! other side has not taken, and reads nothing meanwhile.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::buffer;
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
    patience: Patience,
    upstream_ended: impl Future<Output = ()>,
    moved: &Cell<(u64, u64)>,
) -> Report {
    client.reset_on_drop(true);
    upstream.reset_on_drop(true);
    let mut relay = Relay {
        client,
        upstream,
        inward: Direction::starting_with(first_flight),
        outward: Direction::starting_with(FirstFlight::default()),
        patience,
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

#[derive(Debug)]
struct Direction {
    /// Bytes that the target has not taken yet, from `taken` on.
    pending: Vec<u8>,
    taken: usize,
    source_ended: bool,
    /// The source is known to have aborted, although bytes from before may still wait to be moved.
    source_aborted: bool,
    state: State,
    /// Bytes that the target has taken.
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// All bytes are delivered and the target knows that no more will come.
    Done,
    /// The target takes no more bytes; what comes is thrown away. `aborted` if it ended without finishing first.
    Refused {
        aborted: bool,
    },
}

/// What a direction can do at the moment.
enum Progress {
    Waiting,
    /// The source aborted, and all bytes before that are delivered.
    SourceAborted,
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

impl Direction {
    fn starting_with(first_flight: FirstFlight) -> Direction {
        let FirstFlight { bytes: pending, written: taken } = first_flight;
        Direction {
            pending,
            taken,
            source_ended: false,
            source_aborted: false,
            state: State::Open,
            bytes: taken as u64,
        }
    }

    /// Tells whether bytes were taken from the source that the target has not taken yet.
    fn holds_bytes(&self) -> bool {
        self.taken < self.pending.len()
    }

    fn refuse(&mut self, aborted: bool) {
        self.state = State::Refused { aborted };
        self.pending = Vec::new();
        self.taken = 0;
    }

    /// Moves what can be moved now.
    ///
    /// `source_is_gone` says that writing to the source has failed with its abort. The kernel reports an abort once:
    /// what reads as the end afterwards is none. `last` says that the other direction is done, so that the target will
    /// be closed next and need not be told of the end before.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        source_is_gone: bool,
        target: &mut Stream,
        last: bool,
    ) -> Progress {
        loop {
            if self.state == State::Open && self.poll_flush(cx, target).is_pending() {
                // Nobody reads the source meanwhile, so only this notices that it has gone.
                self.source_aborted |= !self.source_ended && source.poll_reset(cx).is_ready();
                return Progress::Waiting;
            }
            if self.source_ended {
                if self.state == State::Open && last {
                    self.state = State::Done;
                } else if self.state == State::Open {
                    match target.poll_finish(cx) {
                        Poll::Ready(Ok(())) => self.state = State::Done,
                        Poll::Ready(Err(_)) => self.refuse(false),
                        Poll::Pending => {}
                    }
                }
                return Progress::Waiting;
            }
            let read = buffer::with(|buffer| {
                let read = source.poll_read(cx, buffer);
                if let (Poll::Ready(Ok(bytes)), State::Open) = (&read, self.state)
                    && let Some(fresh) = buffer.get(..*bytes)
                {
                    self.write_through(cx, target, fresh);
                }
                read
            });
            match read {
                Poll::Pending => return Progress::Waiting,
                Poll::Ready(Ok(0)) if source_is_gone || self.source_aborted => return Progress::SourceAborted,
                Poll::Ready(Ok(0)) => self.source_ended = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Progress::SourceAborted,
            }
        }
    }

    /// Writes fresh bytes straight from the shared buffer and keeps what the target does not take.
    fn write_through(&mut self, cx: &mut Context<'_>, target: &Stream, mut fresh: &[u8]) {
        while !fresh.is_empty() {
            match target.poll_write(cx, fresh) {
                Poll::Ready(Ok(bytes)) => {
                    self.bytes += bytes as u64;
                    fresh = fresh.get(bytes..).unwrap_or_default();
                }
                Poll::Ready(Err(error)) => return self.refuse(error.kind() == io::ErrorKind::ConnectionReset),
                Poll::Pending => {
                    self.pending = fresh.to_vec();
                    self.taken = 0;
                    return;
                }
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, target: &Stream) -> Poll<()> {
        while let Some(rest @ [_, ..]) = self.pending.get(self.taken..) {
            match std::task::ready!(target.poll_write(cx, rest)) {
                Ok(bytes) => {
                    self.bytes += bytes as u64;
                    self.taken += bytes;
                }
                Err(error) => {
                    self.refuse(error.kind() == io::ErrorKind::ConnectionReset);
                    return Poll::Ready(());
                }
            }
        }
        if self.pending.capacity() > 0 {
            self.pending = Vec::new();
            self.taken = 0;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests;
