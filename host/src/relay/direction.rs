//! One way through a relay: takes bytes from a source and gives them to a target, by copying or by splicing.
//!
//! Whatever was taken is given away before more is taken. Small amounts are copied through the worker's buffer, since
//! a pipe has to be had and costs two system calls a piece as well; bulk is spliced.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;

use super::FirstFlight;
use crate::buffer;
use crate::config::Splice;
use crate::pipe::{Pipe, is_refusal};
use crate::stream::{Stream, is_abort};

/// Bytes that go by in large pieces before a direction is spliced.
const SPLICE_AFTER_BYTES: u32 = 128 << 10;

/// What a large piece is: below it, splicing saves less than it costs.
const LARGE_BYTES: usize = 16 << 10;

/// Pieces that are moved before other connections of the worker have their turn: a quarter of a MiB if they are copied, at
/// most 4 MiB if they are spliced, which takes one or two milliseconds.
const TURN: usize = 4;

#[derive(Debug)]
pub(super) struct Direction {
    /// Bytes that the target has not taken yet, from `taken` on; they go before those in `pipe`.
    pending: Vec<u8>,
    taken: usize,
    /// Where spliced bytes are on their way; held only while there are some or more may come at once.
    pipe: Option<Pipe>,
    splice: Splice,
    /// Bytes that have come in large pieces since the last small one.
    run_bytes: u32,
    pub(super) source_ended: bool,
    /// Its turn was over before the source was found empty.
    pub(super) has_more: bool,
    /// The source is known to have aborted, although bytes from before may still wait to be moved.
    pub(super) source_aborted: bool,
    pub(super) state: State,
    /// Bytes that the target has taken.
    pub(super) bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// All bytes are delivered and the target knows that no more will come.
    Done,
    /// The target takes no more bytes; what comes is thrown away. `aborted` if it ended without finishing first.
    Refused {
        aborted: bool,
    },
}

/// What a direction can do at the moment.
pub(super) enum Progress {
    Waiting,
    /// The source aborted, and all bytes before that are delivered.
    SourceAborted,
}

impl Direction {
    pub(super) fn new(first_flight: FirstFlight, splice: Splice) -> Direction {
        let FirstFlight { rest, written } = first_flight;
        Direction {
            pending: rest,
            taken: 0,
            pipe: None,
            splice,
            run_bytes: 0,
            source_ended: false,
            has_more: false,
            source_aborted: false,
            state: State::Open,
            bytes: written as u64,
        }
    }

    /// Tells whether bytes were taken from the source that the target has not taken yet.
    pub(super) fn holds_bytes(&self) -> bool {
        self.taken < self.pending.len() || self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    /// Returns how many bytes the target still has to acknowledge; none if it takes no more.
    pub(super) fn unacknowledged_bytes(&self, target: &Stream) -> usize {
        if let State::Refused { .. } = self.state { 0 } else { target.unacknowledged_bytes() }
    }

    pub(super) fn refuse(&mut self, aborted: bool) {
        self.state = State::Refused { aborted };
        self.pending = Vec::new();
        self.taken = 0;
        self.pipe = None;
    }

    /// Moves what can be moved now.
    ///
    /// `source_is_gone` says that writing to the source has failed with its abort. The kernel reports an abort once:
    /// what reads as the end afterwards is none. `last` says that the other direction is done, so that the target will
    /// be closed next and need not be told of the end before.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        source_is_gone: bool,
        target: &mut Stream,
        last: bool,
    ) -> Progress {
        self.has_more = false;
        for _ in 0..TURN {
            if self.state == State::Open && self.poll_flush(cx, target).is_pending() {
                // Nobody reads the source meanwhile, so only this notices that it has gone.
                self.source_aborted |= !self.source_ended && (source_is_gone || source.poll_reset(cx).is_ready());
                return Progress::Waiting;
            }
            if self.source_ended {
                self.finish(cx, target, last);
                return Progress::Waiting;
            }
            let moved = self.poll_splice(cx, source).unwrap_or_else(|| self.poll_copy(cx, source, target));
            match moved {
                Poll::Pending => return Progress::Waiting,
                Poll::Ready(Ok(0)) if source_is_gone || self.source_aborted => return Progress::SourceAborted,
                Poll::Ready(Ok(0)) => self.source_ended = true,
                Poll::Ready(Ok(bytes)) if bytes < LARGE_BYTES => self.run_bytes = 0,
                Poll::Ready(Ok(bytes)) => {
                    self.run_bytes = self.run_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
                }
                Poll::Ready(Err(_)) => return Progress::SourceAborted,
            }
        }
        self.has_more = true;
        cx.waker().wake_by_ref();
        Progress::Waiting
    }

    /// Tells the target that no more will come.
    fn finish(&mut self, cx: &mut Context<'_>, target: &mut Stream, last: bool) {
        if self.state == State::Open && last {
            self.state = State::Done;
        } else if self.state == State::Open {
            match target.poll_finish(cx) {
                Poll::Ready(Ok(())) => self.state = State::Done,
                Poll::Ready(Err(_)) => self.refuse(false),
                Poll::Pending => {}
            }
        }
    }

    /// Reads from the source and writes as much as the target takes; nothing is pending before.
    fn poll_copy(&mut self, cx: &mut Context<'_>, source: &Stream, target: &Stream) -> Poll<io::Result<usize>> {
        buffer::with(|buffer| {
            let read = source.poll_read(cx, buffer);
            if let (Poll::Ready(Ok(bytes)), State::Open) = (&read, self.state)
                && let Some(fresh) = buffer.get(..*bytes)
            {
                self.write_through(cx, target, fresh);
            }
            read
        })
    }

    /// Moves bytes of the source into a pipe, or returns `None` if they are to be copied this time.
    fn poll_splice(&mut self, cx: &mut Context<'_>, source: &Stream) -> Option<Poll<io::Result<usize>>> {
        let wanted = match self.splice {
            Splice::Always => true,
            Splice::Auto => self.run_bytes >= SPLICE_AFTER_BYTES,
            Splice::Never => false,
        };
        if !wanted || self.state != State::Open {
            self.give_pipe_back();
            return None;
        }
        if self.pipe.is_none() {
            self.pipe = Pipe::take();
            // Where there is none now, there may be one after some more bytes.
            self.run_bytes = if self.pipe.is_none() { 0 } else { self.run_bytes };
        }
        match source.poll_fill(cx, self.pipe.as_mut()?) {
            // Only reading can tell what this is.
            Poll::Ready(Ok(0)) => self.give_pipe_back(),
            Poll::Ready(Ok(bytes)) => return Some(Poll::Ready(Ok(bytes))),
            Poll::Ready(Err(error)) if is_refusal(error) => {
                self.splice = Splice::Never;
                self.pipe = None;
            }
            Poll::Ready(Err(error)) => return Some(Poll::Ready(Err(error.into()))),
            Poll::Pending => {
                self.give_pipe_back();
                return Some(Poll::Pending);
            }
        }
        None
    }

    fn give_pipe_back(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            pipe.give_back();
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
                Poll::Ready(Err(error)) => return self.refuse(is_abort(&error)),
                Poll::Pending => {
                    self.pending = fresh.to_vec();
                    self.taken = 0;
                    return;
                }
            }
        }
    }

    /// Gives away all that is held, first from memory, then from the pipe; ready also if the target refuses it.
    fn poll_flush(&mut self, cx: &mut Context<'_>, target: &Stream) -> Poll<()> {
        loop {
            ready!(self.poll_flush_pending(cx, target));
            let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) else { return Poll::Ready(()) };
            if self.splice == Splice::Never {
                self.pending = buffer::with(|buffer| {
                    let bytes = pipe.read(buffer)?;
                    Ok(buffer.get(..bytes).unwrap_or_default().to_vec())
                })
                .unwrap_or_else(|_: Errno| Vec::new());
                if self.pending.is_empty() {
                    // Its bytes are lost, which must not look as if there had been none.
                    self.refuse(true);
                }
                continue;
            }
            match ready!(target.poll_drain(cx, pipe)) {
                Ok(bytes) => self.bytes += bytes as u64,
                Err(error) if is_refusal(error) => self.splice = Splice::Never,
                Err(error) => self.refuse(is_abort(&error.into())),
            }
        }
    }

    fn poll_flush_pending(&mut self, cx: &mut Context<'_>, target: &Stream) -> Poll<()> {
        while let Some(rest @ [_, ..]) = self.pending.get(self.taken..) {
            match ready!(target.poll_write(cx, rest)) {
                Ok(bytes) => {
                    self.bytes += bytes as u64;
                    self.taken += bytes;
                }
                Err(error) => {
                    self.refuse(is_abort(&error));
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
