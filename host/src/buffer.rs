//! The buffer that all connections of a worker read into; what must be kept is copied out of it.

use std::cell::RefCell;

/// Bytes read at once, and so the most that one direction of a relay holds: large enough that a bulk transfer spends
/// its time in copying rather than in system calls, small enough that 10,000 stuck connections fit into 640 MiB.
const BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BYTES].into());
}

/// Lends the worker's buffer to `use_it`, which must not ask for it again.
pub(crate) fn with<R>(use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| use_it(buffer))
}
