//! The few system calls that no safe wrapper has.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Returns how many bytes of a socket's output the peer has not acknowledged yet; 0 where the kernel cannot tell.
pub(crate) fn unacknowledged_bytes(socket: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for the length of the borrow, and TIOCOUTQ writes one int to the given address.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Lets the signals that mean something through to this thread, whatever mask the process was started with.
pub(crate) fn unblock_signals() {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that the other calls change and read; the null pointer says that the
    // mask before is not wanted. None of them can fail with these arguments.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
    }
}

/// Gives up the group and user of the whole process, for good; `user` last, since it takes the right to do the rest.
///
/// # Errors
/// Whatever the kernel reports, such as `PermissionDenied` without the right to become somebody else.
pub(crate) fn become_identity(user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let check = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    if let Some(group) = group {
        // SAFETY: `setgroups` reads one group id from the given address; the C library applies it to all threads.
        check(unsafe { libc::setgroups(1, &raw const group) })?;
        // SAFETY: takes three integers.
        check(unsafe { libc::setresgid(group, group, group) })?;
    }
    if let Some(user) = user {
        // SAFETY: takes three integers.
        check(unsafe { libc::setresuid(user, user, user) })?;
    }
    Ok(())
}

/// Registers a descriptor with the runtime of this thread.
///
/// # Panics
/// There is no runtime.
pub(crate) fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, and nothing can replace it inside.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    Ok(registered?)
}

/// Lets a listening socket take data with the first packet of a connection; `queue` connections of this kind may be
/// incomplete.
///
/// # Errors
/// Whatever the kernel reports.
pub(crate) fn accept_fast_open(socket: BorrowedFd<'_>, queue: libc::c_int) -> io::Result<()> {
    set_tcp_option(socket, libc::TCP_FASTOPEN, queue)
}

/// Lets a socket that is not connected yet send its first bytes with the first packet: `connect` waits for them.
///
/// # Errors
/// Whatever the kernel reports, such as `Unsupported` where the system does not allow it.
pub(crate) fn connect_fast_open(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_tcp_option(socket, libc::TCP_FASTOPEN_CONNECT, 1)
}

fn set_tcp_option(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the length of the borrow, and the call reads one int of the given length.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
