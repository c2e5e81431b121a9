//! A non-blocking descriptor that is watched by the reactor only once somebody has to wait for it.
//!
//! Many connections find their bytes there and their peer ready, so asking the kernel first saves the registration, or
//! at least the wait for its first event.

use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;

use crate::pipe::Pipe;
use crate::reactor::{Ready, Watch};

/// What says that no input follows what is there.
const INPUT_ENDS: Ready = Ready::RDHUP.union(Ready::HUP).union(Ready::ERR);

/// What says that no output is taken any more.
const OUTPUT_ENDS: Ready = Ready::ERR.union(Ready::HUP);

/// An open, non-blocking descriptor, and what the reactor knows of it once it is asked.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Goes before the descriptor when both are dropped.
    watch: OnceCell<Watch>,
    fd: OwnedFd,
    /// Whether the last read is known to have left nothing behind, so that asking again at once is in vain.
    drained: Cell<bool>,
}

impl Watched {
    /// Takes a descriptor that may have bytes to read already.
    pub(crate) fn new(fd: OwnedFd) -> Watched {
        Watched { watch: OnceCell::new(), fd, drained: Cell::new(false) }
    }

    /// Takes a descriptor that has nothing to read yet.
    pub(crate) fn new_empty(fd: OwnedFd) -> Watched {
        Watched { drained: Cell::new(true), ..Watched::new(fd) }
    }

    /// Reads what is there, at most `buf.len()` bytes; 0 is the end. `takes_all` says that a read of this kind of
    /// descriptor leaves nothing behind that fits, urgent data aside.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8], takes_all: bool) -> Poll<io::Result<usize>> {
        // A short read has emptied the queue then: wait for the next event instead of asking again. The end of the stream
        // is not lost by this, since the reactor keeps it apart.
        let most = buf.len();
        let emptied = |bytes: &usize| takes_all && 0 < *bytes && *bytes < most;
        let read = self.poll_input(cx, |fd| rustix::io::read(fd, &mut *buf), emptied);
        read.map(|read| read.or_else(end_if_again).map_err(Into::into))
    }

    /// Moves what is there into an empty pipe, as [`Pipe::fill`].
    ///
    /// # Errors
    /// As [`Pipe::fill`].
    pub(crate) fn poll_fill(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<Result<usize, Errno>> {
        let fill = |fd: BorrowedFd<'_>| match pipe.fill(fd) {
            // Splicing does not get past urgent data, and says of a queue that begins with it that it is empty.
            Err(Errno::AGAIN) if self.has_urgent_data() => Ok(0),
            filled => filled,
        };
        // However little came, the pipe may have run out of room for it, so nothing is known about the queue.
        self.poll_input(cx, fill, |_| false).map(|filled| filled.or_else(end_if_again))
    }

    /// Takes input by `attempt` once there is any; `emptied` tells of a result whether it has left nothing behind.
    ///
    /// # Errors
    /// Those of `attempt`; `AGAIN` only if nothing is there and nothing will come.
    pub(crate) fn poll_input<T>(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> Result<T, Errno>,
        emptied: impl Fn(&T) -> bool,
    ) -> Poll<Result<T, Errno>> {
        loop {
            if self.drained.get() {
                ready!(self.watch(false)?.poll_ready(cx, Ready::IN | INPUT_ENDS));
                self.drained.set(false);
            }
            match attempt(self.fd.as_fd()) {
                Ok(taken) => {
                    // Reading stops at urgent data, so the queue may have more behind it.
                    if emptied(&taken) && self.watch.get().is_none_or(|watch| watch.clear_unless(Ready::IN, Ready::PRI))
                    {
                        self.drained.set(true);
                    }
                    return Poll::Ready(Ok(taken));
                }
                Err(Errno::INTR) => {}
                // A terminal that somebody has opened again after its end has nothing to read, and the reactor would
                // report its end for ever.
                Err(Errno::AGAIN) if self.was_reported(INPUT_ENDS) => return Poll::Ready(Err(Errno::AGAIN)),
                Err(Errno::AGAIN) => {
                    self.drained.set(true);
                    if let Some(watch) = self.watch.get() {
                        watch.clear(Ready::IN);
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes as much of `buf` as fits now, at least one byte.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_output(cx, |fd| rustix::io::write(fd, buf)).map_err(Into::into)
    }

    /// Moves what fits now, at least one byte, out of a pipe that is not empty, as [`Pipe::drain`].
    ///
    /// # Errors
    /// As [`Pipe::drain`].
    pub(crate) fn poll_drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<Result<usize, Errno>> {
        self.poll_output(cx, |fd| pipe.drain(fd))
    }

    /// Gives output away by `attempt` once there is room for some.
    fn poll_output(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Poll<Result<usize, Errno>> {
        loop {
            // There is nearly always room, so ask the kernel before the reactor.
            match attempt(self.fd.as_fd()) {
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) if self.was_reported(OUTPUT_ENDS) => return Poll::Ready(Err(Errno::PIPE)),
                Err(Errno::AGAIN) => {}
                given => return Poll::Ready(given),
            }
            let watch = self.watch(true)?;
            watch.clear(Ready::OUT);
            // What became ready since the attempt is reported by this.
            watch.want_output(self.fd.as_fd())?;
            ready!(watch.poll_ready(cx, Ready::OUT | OUTPUT_ENDS));
        }
    }

    /// Resolves when a socket that is being connected has been, or has failed to.
    ///
    /// # Errors
    /// Whatever connecting failed with.
    pub(crate) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.watch(true)?.poll_ready(cx, Ready::OUT | OUTPUT_ENDS));
        Poll::Ready(rustix::net::sockopt::socket_error(&self.fd)?.map_err(Into::into))
    }

    /// Resolves when the peer of a socket has aborted the connection or vanished before it had finished, whether or not
    /// there are bytes to read first.
    ///
    /// # Errors
    /// Fails if the reactor cannot watch another descriptor.
    pub(crate) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.watch(false)?.poll_ready(cx, OUTPUT_ENDS));
        // A connection that both sides have finished looks the same, but has no error, and the abort of a peer that had
        // finished is said to be a broken pipe. Nothing can follow.
        match rustix::net::sockopt::socket_error(&self.fd)? {
            Ok(()) | Err(Errno::PIPE) => Poll::Pending,
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    /// Resolves when neither input nor output is possible any more.
    ///
    /// # Errors
    /// Fails if the reactor cannot watch another descriptor.
    pub(crate) fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(false)?.poll_ready(cx, Ready::HUP).map(|_| Ok(()))
    }

    fn has_urgent_data(&self) -> bool {
        self.was_reported(Ready::PRI)
    }

    fn was_reported(&self, any: Ready) -> bool {
        self.watch.get().is_some_and(|watch| !watch.ready(any).is_empty())
    }

    /// Returns what the reactor knows, after asking it to watch if nobody has yet.
    fn watch(&self, output: bool) -> Result<&Watch, Errno> {
        if let Some(watch) = self.watch.get() {
            return Ok(watch);
        }
        let watch = Watch::new(self.fd.as_fd(), output)?;
        Ok(self.watch.get_or_init(|| watch))
    }
}

/// Takes "nothing is there and nothing will come" for the end.
fn end_if_again(error: Errno) -> Result<usize, Errno> {
    if error == Errno::AGAIN { Ok(0) } else { Err(error) }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
