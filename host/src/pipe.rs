//! Pipes, through which bulk transfers go from socket to socket without being copied; every worker keeps a few.
//!
//! A pipe is filled only while it is empty. So "would block" while filling says that the source has nothing, never that
//! the pipe is full, and bytes in a pipe always belong to one direction of one relay: a pipe goes back to the others
//! empty or not at all.

use std::cell::{Cell, RefCell};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags};

/// Bytes that a pipe is to hold, the first of these that the system allows. What a side has sent is taken in one piece
/// then: of 256 KiB bulk costs 1.5 times as much CPU, of the kernel's usual 64 KiB twice as much.
const WANTED_BYTES: [usize; 2] = [1 << 20, 256 << 10];

/// A pipe that holds less is not worth its descriptors: copying through a buffer of this size costs as much. The kernel
/// gives less to a user that has many pipes.
const LEAST_BYTES: usize = 64 << 10;

/// Pipes that a worker has at once: each takes two descriptors, which connections need too, and up to 1 MiB of the
/// kernel's memory. A direction holds one only while it has bytes that its target has not taken.
const MOST: usize = 128;

/// Empty pipes that a worker keeps: as many directions as can be under way at the same moment, and some to spare.
const MOST_KEPT: usize = 16;

thread_local! {
    static KEPT: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// A pipe that one direction of a relay has to itself.
#[derive(Debug)]
pub(crate) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    capacity_bytes: u32,
    held_bytes: u32,
    _counted: Counted,
}

/// Counts a pipe of this worker for as long as it is open.
#[derive(Debug)]
struct Counted;

impl Counted {
    fn new() -> Option<Counted> {
        let count = COUNT.get();
        (count < MOST).then(|| {
            COUNT.set(count + 1);
            Counted
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNT.set(COUNT.get().saturating_sub(1));
    }
}

impl Pipe {
    /// Returns an empty pipe; `None` if this worker has enough of them or the system gives no good one.
    pub(crate) fn take() -> Option<Pipe> {
        KEPT.with_borrow_mut(Vec::pop).or_else(Pipe::open)
    }

    fn open() -> Option<Pipe> {
        let counted = Counted::new()?;
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let resized = WANTED_BYTES.iter().find_map(|bytes| rustix::pipe::fcntl_setpipe_size(&writer, *bytes).ok());
        let capacity = resized.or_else(|| rustix::pipe::fcntl_getpipe_size(&writer).ok())?;
        let capacity_bytes = u32::try_from(capacity).ok().filter(|_| capacity >= LEAST_BYTES)?;
        Some(Pipe { reader, writer, capacity_bytes, held_bytes: 0, _counted: counted })
    }

    /// Gives the pipe to whoever needs one next, or closes it if it is not empty or enough others wait.
    pub(crate) fn give_back(self) {
        if self.is_empty() {
            KEPT.with_borrow_mut(|kept| {
                if kept.len() < MOST_KEPT {
                    kept.push(self);
                }
            });
        }
    }

    /// Tells whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.held_bytes == 0
    }

    /// Moves what `source` has, as much as fits, into the empty pipe, and returns how many bytes that were.
    ///
    /// 0 is either the end of the source or something that only reading can tell, such as urgent data at its head.
    ///
    /// # Errors
    /// `AGAIN` if the source has nothing, an error for which [`is_refusal`] holds if it cannot be spliced, and else
    /// what reading reports.
    pub(crate) fn fill(&mut self, source: BorrowedFd<'_>) -> Result<usize, Errno> {
        debug_assert!(self.is_empty(), "a pipe is filled only while it is empty");
        let most = self.capacity_bytes as usize;
        let bytes = rustix::pipe::splice(source, None, &self.writer, None, most, SpliceFlags::NONBLOCK)?;
        #[cfg(test)]
        SPLICED.set(SPLICED.get() + bytes);
        self.held_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Ok(bytes)
    }

    /// Moves as many bytes as `target` takes out of the pipe and returns how many, at least one.
    ///
    /// # Errors
    /// As [`Pipe::fill`], with the target.
    pub(crate) fn drain(&mut self, target: BorrowedFd<'_>) -> Result<usize, Errno> {
        // That more is to come is left unsaid: the last bytes of a burst would wait for it.
        let held = self.held_bytes as usize;
        let bytes = rustix::pipe::splice(&self.reader, None, target, None, held, SpliceFlags::NONBLOCK)?;
        self.taken(bytes);
        // A pipe that has bytes has no end, so that nothing came out of it is no progress.
        if bytes == 0 { Err(Errno::INVAL) } else { Ok(bytes) }
    }

    /// Copies bytes out of the pipe, for a target that takes them in no other way.
    ///
    /// # Errors
    /// None is to be expected while the pipe has bytes.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        let bytes = rustix::io::read(&self.reader, buf)?;
        self.taken(bytes);
        Ok(bytes)
    }

    fn taken(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }
}

/// Opens a descriptor by `open`. If the process has no more of them, but this worker keeps pipes that nobody uses, these
/// are closed and it tries once more.
///
/// # Errors
/// As `open`.
pub(crate) fn or_close_kept<T>(open: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
    match open() {
        Err(Errno::MFILE | Errno::NFILE) if close_kept() => open(),
        opened => opened,
    }
}

/// Closes the pipes that this worker keeps and nobody uses, and says whether there were any.
pub(crate) fn close_kept() -> bool {
    !KEPT.take().is_empty()
}

/// Tells whether an error of splicing says that these descriptors, this kernel or its rules do not splice, so that
/// copying may well work, and not that a peer has gone.
pub(crate) fn is_refusal(error: Errno) -> bool {
    matches!(
        error,
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::NOMEM | Errno::BADF
    )
}

#[cfg(test)]
thread_local! {
    static SPLICED: Cell<usize> = const { Cell::new(0) };
}

/// Returns how many bytes this thread has moved into pipes.
#[cfg(test)]
pub(crate) fn spliced_bytes() -> usize {
    SPLICED.get()
}

/// Returns how many pipes this thread has, and how many of them wait to be used.
#[cfg(test)]
pub(crate) fn count() -> (usize, usize) {
    (COUNT.get(), KEPT.with_borrow(Vec::len))
}
