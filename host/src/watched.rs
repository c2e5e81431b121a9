//! A non-blocking descriptor that is registered with the reactor only once somebody has to wait for it.
//!
//! Many connections find their bytes there and their peer ready, so asking the kernel first saves the registration, or
//! at least the wait for its first event.
#![allow(unsafe_code)]

use std::cell::{Cell, OnceCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use crate::pipe::Pipe;

/// What the reactor is asked to tell of a descriptor.
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);

/// An open, non-blocking descriptor and its registration, if there is one.
#[derive(Debug)]
pub(crate) struct Watched {
    /// Goes before the descriptor when both are dropped.
    registration: OnceCell<AsyncFd<RawFd>>,
    fd: OwnedFd,
    /// Whether the last read is known to have left nothing behind, so that asking again at once is in vain.
    drained: Cell<bool>,
}

impl Watched {
    /// Takes a descriptor that may have bytes to read already.
    pub(crate) fn new(fd: OwnedFd) -> Watched {
        Watched { registration: OnceCell::new(), fd, drained: Cell::new(false) }
    }

    /// Takes a descriptor that has nothing to read yet.
    pub(crate) fn new_empty(fd: OwnedFd) -> Watched {
        Watched { drained: Cell::new(true), ..Watched::new(fd) }
    }

    /// Returns the registration, making it if there is none.
    ///
    /// # Errors
    /// Fails if the reactor cannot take another descriptor.
    pub(crate) fn registration(&self) -> io::Result<&AsyncFd<RawFd>> {
        if let Some(registration) = self.registration.get() {
            return Ok(registration);
        }
        // SAFETY: the descriptor is owned by `self` and never replaced; it is closed after the registration is gone,
        // since fields are dropped in the order in which they are declared.
        let registration = unsafe { AsyncFd::register_with_interest(self.fd.as_raw_fd(), INTEREST) }?;
        Ok(self.registration.get_or_init(|| registration))
    }

    /// Reads what is there, at most `buf.len()` bytes; 0 is the end.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // A short read has emptied the queue: wait for the next event instead of asking again. The end of the stream is
        // not lost by this, since the reactor keeps it apart from readiness.
        let most = buf.len();
        let read = self.poll_input(cx, |fd| rustix::io::read(fd, &mut *buf), |bytes| 0 < bytes && bytes < most);
        read.map_err(Into::into)
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
        self.poll_input(cx, fill, |_| false)
    }

    /// Takes input by `attempt` once there is any; `emptied` tells of a result whether it has left nothing behind.
    fn poll_input(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
        emptied: impl Fn(usize) -> bool,
    ) -> Poll<Result<usize, Errno>> {
        loop {
            let mut guard = match self.registration.get() {
                None if !self.drained.get() => None,
                None => Some(ready!(self.registration().map_err(errno)?.poll_read_ready(cx)).map_err(errno)?),
                Some(registration) => Some(ready!(registration.poll_read_ready(cx)).map_err(errno)?),
            };
            match attempt(self.fd.as_fd()) {
                Ok(bytes) => {
                    // Reading stops at urgent data, so the queue may have more behind it.
                    self.drained.set(emptied(bytes) && !self.has_urgent_data());
                    if let (true, Some(guard)) = (self.drained.get(), &mut guard) {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(bytes));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.drained.set(true);
                    if let Some(guard) = &mut guard {
                        // A terminal that somebody has opened again after its end has nothing to read, and the reactor
                        // would report its end for ever.
                        if guard.ready().is_read_closed() {
                            return Poll::Ready(Ok(0));
                        }
                        guard.clear_ready();
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Tells whether urgent data was announced at any time.
    fn has_urgent_data(&self) -> bool {
        self.registration.get().is_some_and(|registration| registration.try_io(Interest::PRIORITY, |_| Ok(())).is_ok())
    }

    /// Resolves when the peer of a socket has aborted the connection, whether or not there are bytes to read first.
    ///
    /// # Errors
    /// Fails if the reactor cannot take another descriptor.
    pub(crate) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.registration()?.poll_write_ready(cx))?;
            if guard.ready().is_write_closed() {
                // A connection that both sides have finished looks the same, but has no error. Nothing can follow.
                return match rustix::net::sockopt::socket_error(&self.fd) {
                    Ok(Err(Errno::CONNRESET)) => Poll::Ready(Ok(())),
                    _ => Poll::Pending,
                };
            }
            // Writing asks the kernel first, so it does not miss the readiness that is cleared here.
            guard.clear_ready();
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
        let mut guard: Option<AsyncFdReadyGuard<'_, RawFd>> = None;
        loop {
            // There is nearly always room, so ask the kernel before the reactor.
            match attempt(self.fd.as_fd()) {
                Ok(bytes) => return Poll::Ready(Ok(bytes)),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Some(mut guard) = guard.take() {
                guard.clear_ready();
            }
            guard = Some(ready!(self.registration().map_err(errno)?.poll_write_ready(cx)).map_err(errno)?);
        }
    }
}

/// Returns what the reactor failed with, which is a system call of its own.
fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
