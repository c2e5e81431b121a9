//! The raw calls behind `exec`: what a new process does between fork and exec, and signals to a group.
//!
//! All unsafe code of `exec` is here. Nothing decides here.
#![allow(unsafe_code, reason = "code between fork and exec, and calls that no safe library offers")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::Once;

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::process::{Pid, Resource, Rlimit, Signal};

/// Soft limit of open files for a program: all that `select` can handle.
const OPEN_FILES: u64 = 1024;

/// Highest signal number of Linux.
const LAST_SIGNAL: libc::c_int = 64;

/// Makes the process that `command` starts a session leader with nothing of ours but descriptors 0, 1 and 2.
///
/// With `on_terminal`, descriptor 0 must be a terminal, and becomes the controlling one.
pub(super) fn set_up_child(command: &mut Command, on_terminal: bool) {
    let parent = rustix::process::getpid();
    let set_up = move || {
        rustix::process::setsid()?;
        if on_terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // If the parent died before that call, no signal will come.
        if rustix::process::getppid() != Some(parent) {
            return Err(rustix::io::Errno::SRCH.into());
        }
        close_on_exec_from_3()?;
        let files = rustix::process::getrlimit(Resource::Nofile);
        let current = Some(files.current.map_or(OPEN_FILES, |current| current.min(OPEN_FILES)));
        rustix::process::setrlimit(Resource::Nofile, Rlimit { current, maximum: files.maximum })?;
        reset_signals()
    };
    // SAFETY: the closure runs in the forked child, where only async-signal-safe calls are allowed. It makes system
    // calls through rustix and libc only, allocates nothing, takes no lock, and turns errors into `io::Error` from a
    // bare number, which does not allocate either.
    unsafe {
        command.pre_exec(set_up);
    }
}

/// Marks every descriptor above 2 to be closed by exec. They stay open until then, because the standard library
/// reports a failing exec through one of them.
fn close_on_exec_from_3() -> io::Result<()> {
    let first: libc::c_uint = 3;
    // SAFETY: the call takes three integers and touches no memory.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 {
        return Ok(());
    }
    // Linux before 5.11, or a filter that does not know the call: one by one, as /proc lists them.
    let list = rustix::fs::open(c"/proc/self/fd", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&list, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse::<libc::c_int>().ok());
        if let Some(fd @ 3..) = number {
            // SAFETY: the call takes integers; a descriptor that is not open is refused with EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Gives every signal its default effect and unblocks all of them.
fn reset_signals() -> io::Result<()> {
    // All zero is the kernel's `sigaction` for SIG_DFL, no flags, empty mask; no architecture's is larger than this.
    let default = [0_u64; 8];
    let set_bytes = size_of::<u64>();
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: `default` outlives the call and is at least as large as what the kernel reads. The libc wrapper is
        // avoided because it refuses the two signals that it uses itself, and those can be inherited as ignored too.
        // SIGKILL and SIGSTOP are refused, which changes nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null::<u64>(), set_bytes) };
    }
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that `sigprocmask` reads; both pointers are valid.
    let result = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes sure that exited children wait to be reaped.
///
/// They do not where SIGCHLD is ignored, and that may be inherited from whoever started us. The process id of a child
/// could then be given to somebody else while we still mean to signal it.
pub(super) fn keep_exit_statuses() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut action = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: with a null second argument the call only writes the current action to `action`.
        if unsafe { libc::sigaction(libc::SIGCHLD, ptr::null(), action.as_mut_ptr()) } != 0 {
            return;
        }
        // SAFETY: the call succeeded, so `action` is initialised.
        let action = unsafe { action.assume_init() };
        if action.sa_sigaction == libc::SIG_IGN || action.sa_flags & libc::SA_NOCLDWAIT != 0 {
            // SAFETY: SIG_DFL is a valid action and installs no handler.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        }
    });
}

/// Sends `signal` (0: only checks) to every process of the group whose leader is or was `pid`, known by `pidfd`.
///
/// # Errors
/// ESRCH: the group is empty. EPERM: none of its processes may be signalled.
pub(super) fn signal_group(pidfd: impl AsFd, pid: Pid, signal: libc::c_int) -> io::Result<()> {
    let pidfd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the call, and the null pointer asks for default signal information.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd,
            signal,
            ptr::null::<libc::siginfo_t>(),
            libc::PIDFD_SIGNAL_PROCESS_GROUP,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) {
        return Err(error);
    }
    // Linux before 6.9 cannot signal a group by pidfd.
    // SAFETY: the call takes two integers. `pid` is above 1, so its negative names one group and not everybody.
    let result = unsafe { libc::kill(-pid.as_raw_nonzero().get(), signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether nobody is left in the group.
pub(super) fn group_is_empty(pidfd: impl AsFd, pid: Pid) -> bool {
    signal_group(pidfd, pid, 0).is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

/// Ignores one signal in this process and blocks another in this thread, as whoever starts us may have done.
#[cfg(test)]
pub(super) fn ignore_and_block(ignored: libc::c_int, blocked: libc::c_int) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: SIG_IGN installs no handler; the set is initialised before it is read.
    unsafe {
        libc::signal(ignored, libc::SIG_IGN);
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), blocked);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
    }
}
