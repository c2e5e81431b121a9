//! The two ends of a relay: a socket, a program's pipes or its terminal, read and written without blocking.
//!
//! All of them are plain file descriptors registered with the worker's reactor. This file knows how each kind says
//! "no more bytes" and "aborted"; what to do about it is the relay's business.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};

use crate::action::exec::pty_end_of_input;
use crate::pipe::Pipe;
use crate::sys;
use crate::watched::Watched;

/// Tells whether an error of writing says that the other side has aborted or vanished, and not only that it takes no more.
pub(crate) fn is_abort(error: &io::Error) -> bool {
    // A terminal that no program has open any more reports an I/O error.
    error.kind() != io::ErrorKind::BrokenPipe && error.raw_os_error() != Some(Errno::IO.raw_os_error())
}

/// One end of a relay.
#[derive(Debug)]
pub struct Stream {
    kind: Kind,
    /// Makes dropping the stream visible to the peer as an abort, so that cut-off data never looks complete.
    reset_on_drop: bool,
    /// Whether the next write is to be preceded by the option that sends small writes at once.
    nodelay_due: Cell<bool>,
}

#[derive(Debug)]
enum Kind {
    Tcp(Watched),
    Unix(Watched),
    // Boxed so that sockets, of which there are many, need no room for them.
    Pipes(Box<Pipes>),
    Terminal(Box<Terminal>),
}

/// Our ends of a program's standard input, until that is finished, and output.
#[derive(Debug)]
struct Pipes {
    input: Option<Watched>,
    output: Watched,
}

/// Our side of a terminal, and what it takes to end its input.
#[derive(Debug)]
struct Terminal {
    master: Watched,
    /// The last byte written to it, on which the way to end its input depends.
    last: Cell<Option<u8>>,
    /// What is left to write to end its input, once that has begun.
    ending: Option<Vec<u8>>,
}

impl Stream {
    /// Takes a connected, non-blocking TCP socket.
    pub(crate) fn tcp(socket: Watched) -> Stream {
        Stream::new(Kind::Tcp(socket))
    }

    /// Takes a connected, non-blocking TCP socket to which at most one write was made. With `nodelay` no write will wait
    /// for an acknowledgement of the one before; until there is a second one none does, so connections of one write are
    /// spared the call.
    pub(crate) fn tcp_once_written(socket: Watched, nodelay: bool) -> Stream {
        let stream = Stream::tcp(socket);
        stream.nodelay_due.set(nodelay);
        stream
    }

    /// Takes a connected, non-blocking unix stream socket.
    pub(crate) fn unix(socket: Watched) -> Stream {
        Stream::new(Kind::Unix(socket))
    }

    /// Takes our ends, which must not block, of a program's standard input and output.
    pub fn pipes(input: OwnedFd, output: OwnedFd) -> Stream {
        let pipes = Pipes { input: Some(Watched::new(input)), output: Watched::new_empty(output) };
        Stream::new(Kind::Pipes(Box::new(pipes)))
    }

    /// Takes our side, which must not block, of a program's terminal.
    pub fn terminal(master: OwnedFd) -> Stream {
        let master = Watched::new_empty(master);
        Stream::new(Kind::Terminal(Box::new(Terminal { master, last: Cell::new(None), ending: None })))
    }

    fn new(kind: Kind) -> Stream {
        Stream { kind, reset_on_drop: false, nodelay_due: Cell::new(false) }
    }

    /// Reads what is there, at most `buf.len()` bytes; 0 is the end.
    ///
    /// # Errors
    /// Whatever the kernel reports, such as `ConnectionReset`.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &self.kind {
            Kind::Tcp(fd) => fd.poll_read(cx, buf, true),
            // Reading stops behind bytes that came with descriptors, and between the packets of a pipe that has them.
            Kind::Unix(fd) => fd.poll_read(cx, buf, false),
            Kind::Pipes(pipes) => pipes.output.poll_read(cx, buf, false),
            Kind::Terminal(terminal) => match terminal.master.poll_read(cx, buf, true) {
                // A terminal whose program side is closed by all reports an I/O error, which is its end.
                Poll::Ready(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Poll::Ready(Ok(0)),
                read => read,
            },
        }
    }

    /// Tells whether bytes can be spliced from and to it: to and from sockets, as far as the kernel goes along.
    pub(crate) fn is_socket(&self) -> bool {
        matches!(self.kind, Kind::Tcp(_) | Kind::Unix(_))
    }

    /// Moves what is there into an empty pipe, as [`Pipe::fill`].
    ///
    /// # Errors
    /// As [`Pipe::fill`].
    pub(crate) fn poll_fill(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<Result<usize, Errno>> {
        match &self.kind {
            Kind::Tcp(fd) | Kind::Unix(fd) => fd.poll_fill(cx, pipe),
            Kind::Pipes(_) | Kind::Terminal(_) => Poll::Ready(Err(Errno::INVAL)),
        }
    }

    /// Moves what fits now out of a pipe that is not empty, as [`Pipe::drain`].
    ///
    /// # Errors
    /// As [`Pipe::drain`].
    pub(crate) fn poll_drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<Result<usize, Errno>> {
        self.send_small_writes_at_once();
        match &self.kind {
            Kind::Tcp(fd) | Kind::Unix(fd) => fd.poll_drain(cx, pipe),
            Kind::Pipes(_) | Kind::Terminal(_) => Poll::Ready(Err(Errno::INVAL)),
        }
    }

    /// Resolves when the peer has aborted or vanished, even if bytes from before are still to be read; only TCP can tell.
    pub fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.kind {
            Kind::Tcp(fd) => fd.poll_reset(cx).map(|_| ()),
            Kind::Unix(_) | Kind::Pipes(_) | Kind::Terminal(_) => Poll::Pending,
        }
    }

    /// Resolves when nothing more can be exchanged with a peer that has not been told of an end; only TCP can tell.
    pub fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.kind {
            Kind::Tcp(fd) => fd.poll_hangup(cx).map(|_| ()),
            Kind::Unix(_) | Kind::Pipes(_) | Kind::Terminal(_) => Poll::Pending,
        }
    }

    /// Returns how many bytes wait to be read; only a program's pipe is asked.
    pub fn waiting_bytes(&self) -> u64 {
        match &self.kind {
            Kind::Pipes(pipes) => rustix::io::ioctl_fionread(pipes.output.as_fd()).unwrap_or(0),
            Kind::Tcp(_) | Kind::Unix(_) | Kind::Terminal(_) => 0,
        }
    }

    /// Writes as much of `buf` as fits now, at least one byte.
    ///
    /// # Errors
    /// Whatever the kernel reports, such as `BrokenPipe`.
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.send_small_writes_at_once();
        match &self.kind {
            Kind::Tcp(fd) | Kind::Unix(fd) => fd.poll_write(cx, buf),
            Kind::Pipes(pipes) => match &pipes.input {
                Some(input) => input.poll_write(cx, buf),
                None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
            Kind::Terminal(terminal) => {
                let written = terminal.master.poll_write(cx, buf);
                if let Poll::Ready(Ok(bytes)) = &written {
                    terminal.last.set(bytes.checked_sub(1).and_then(|last| buf.get(last)).copied());
                }
                written
            }
        }
    }

    fn send_small_writes_at_once(&self) {
        if let (true, Kind::Tcp(fd)) = (self.nodelay_due.replace(false), &self.kind) {
            // A socket that refuses this is slower, no less right.
            let _ = sockopt::set_tcp_nodelay(fd.as_fd(), true);
        }
    }

    /// Says that no more bytes will be written: half-closes a socket, closes a pipe, ends a terminal's input.
    ///
    /// # Errors
    /// Whatever the kernel reports; a peer that is gone already is none.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Tcp(fd) | Kind::Unix(fd) => match rustix::net::shutdown(fd.as_fd(), Shutdown::Write) {
                Err(Errno::NOTCONN) | Ok(()) => Poll::Ready(Ok(())),
                Err(error) => Poll::Ready(Err(error.into())),
            },
            Kind::Pipes(pipes) => {
                pipes.input = None;
                Poll::Ready(Ok(()))
            }
            Kind::Terminal(terminal) => {
                let mut ending =
                    terminal.ending.take().unwrap_or_else(|| pty_end_of_input(&terminal.master, terminal.last.get()));
                while !ending.is_empty() {
                    match self.poll_write(cx, &ending) {
                        Poll::Ready(Ok(bytes)) => drop(ending.drain(..bytes.min(ending.len()))),
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => {
                            if let Kind::Terminal(terminal) = &mut self.kind {
                                terminal.ending = Some(ending);
                            }
                            return Poll::Pending;
                        }
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Returns how many bytes the peer has not acknowledged yet; only TCP can tell.
    pub fn unacknowledged_bytes(&self) -> usize {
        match &self.kind {
            Kind::Tcp(fd) => sys::unacknowledged_bytes(fd.as_fd()),
            Kind::Unix(_) | Kind::Pipes(_) | Kind::Terminal(_) => 0,
        }
    }

    /// Chooses whether dropping the stream aborts it (TCP: RST) or closes it.
    pub fn reset_on_drop(&mut self, reset: bool) {
        self.reset_on_drop = reset;
    }

    /// Returns the socket, if it is one.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            Kind::Tcp(fd) | Kind::Unix(fd) => Some(fd.as_fd()),
            Kind::Pipes(_) | Kind::Terminal(_) => None,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let (true, Kind::Tcp(fd)) = (self.reset_on_drop, &self.kind) {
            // A socket that cannot be told to abort is closed all the same.
            let _ = sockopt::set_socket_linger(fd.as_fd(), Some(Duration::ZERO));
        }
    }
}
