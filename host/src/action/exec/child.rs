//! One started program: waits for its end, brings it about, and leaves nothing behind.
//!
//! A [`Child`] stands for the program *and* its process group. The process is watched through a pidfd, so there is no
//! SIGCHLD handler and no child of anybody else is ever collected. Group signals go through the pidfd as well where
//! the kernel can (Linux 6.9): they then cannot hit a stranger that was given the same number later. Older kernels get
//! a plain `kill`; the number is safe while the program is not reaped or its group is not empty, which is when it is
//! used, but for the moment between a check and the signal.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::diagnostics::Collector;
use super::{reaper, sys};

/// How much time a program gets to leave by itself, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndPolicy {
    /// From SIGHUP to SIGTERM.
    pub hangup: Duration,
    /// From SIGTERM to SIGKILL.
    pub terminate: Duration,
}

impl Default for EndPolicy {
    /// Five seconds together: enough to save a session, and nothing is left six seconds after its client.
    fn default() -> Self {
        Self { hangup: Duration::from_secs(3), terminate: Duration::from_secs(2) }
    }
}

/// How long to wait for a process that was sent SIGKILL. It dies at once unless it is stuck in the kernel or we have
/// no right to kill it (setuid); the reaper then takes over.
const KILL_WAIT: Duration = Duration::from_secs(1);

/// How often to look whether a group whose leader has gone is empty, at first; there is no event for that.
const GROUP_CHECK: Duration = Duration::from_millis(5);

/// How often at most: the check is doubled up to here.
const GROUP_CHECK_MAX: Duration = Duration::from_millis(200);

/// A running program with its process group.
///
/// Dropping it kills the group with SIGKILL; the process is reaped at once or, if it takes its time, by a background
/// thread. That needs no runtime. To be gentle, use [`Child::end`].
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
    leader: Leader,
    /// Set once nobody is left in the group. Its number may belong to strangers from then on.
    group_is_gone: bool,
    /// Its drop ends the task that logs stderr.
    diagnostics: Option<Collector>,
}

#[derive(Clone, Copy, Debug)]
enum Leader {
    Running,
    Exited(ExitStatus),
    /// Somebody else reaped it. Cannot happen unless code that waits for any child is linked in.
    Lost,
}

impl Child {
    /// Takes charge of a process that was just started as the leader of its group and is not reaped.
    ///
    /// # Errors
    /// No pidfd, or no runtime to watch it. The group has been killed then.
    pub(super) fn adopt(pid: Pid) -> io::Result<Self> {
        match watch(pid) {
            Ok(pidfd) => Ok(Self { pid, pidfd, leader: Leader::Running, group_is_gone: false, diagnostics: None }),
            Err(error) => {
                // Nothing to do if that fails: a group that is gone needs no signal.
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                reaper::adopt(pid);
                Err(error)
            }
        }
    }

    pub(super) fn keep_diagnostics(&mut self, collector: Collector) {
        self.diagnostics = Some(collector);
    }

    /// Returns the process id, which is also the id of its group and session.
    pub fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the program itself has exited, and reaps it. Later calls return the same status at once.
    ///
    /// Processes that it left in the background may live on and hold its stdout or terminal open: a relay that sees
    /// this finish should read on for a limited time and then [`Child::end`] what remains.
    ///
    /// # Errors
    /// The status is not known: the process was reaped by somebody else, or the runtime is shutting down.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn exited(&mut self) -> io::Result<ExitStatus> {
        loop {
            self.reap();
            match self.leader {
                Leader::Exited(status) => return Ok(status),
                Leader::Lost => return Err(io::Error::other("the exit status was taken by somebody else")),
                Leader::Running => {}
            }
            let mut ready = self.pidfd.readable().await?;
            // Readable means exited. If it were not, waiting again is right; if it is, the next turn returns.
            if is_running(self.pid) {
                ready.clear_ready();
            }
        }
    }

    /// Ends the program and its group as [`Child::end_with`] does, at the default pace.
    ///
    /// # Errors
    /// As [`Child::end_with`].
    pub async fn end(self) -> io::Result<ExitStatus> {
        self.end_with(EndPolicy::default()).await
    }

    /// Sends SIGHUP to the group, after a while SIGTERM, after another while SIGKILL, and reaps the program.
    ///
    /// Returns as soon as nobody is left, at once if nobody is. A stopped process is continued so that it can react.
    /// A dead process that was orphaned counts as long as process 1 has not reaped it, which a good one does at once.
    /// To give a program time to finish what it does after its client has left, wait for [`Child::exited`] first.
    ///
    /// # Errors
    /// The status is not known, or the program outlived SIGKILL for a second (it is stuck in the kernel, or runs as
    /// another user); the reaper has it then.
    ///
    /// # Cancel safety
    /// A dropped future kills the group with SIGKILL.
    pub async fn end_with(mut self, policy: EndPolicy) -> io::Result<ExitStatus> {
        self.reap();
        self.check_group();
        for (signal, grace) in [(Signal::HUP, policy.hangup), (Signal::TERM, policy.terminate)] {
            self.signal(signal);
            self.signal(Signal::CONT);
            if let Ok(status) = timeout(grace, self.gone()).await {
                return status;
            }
        }
        self.signal(Signal::KILL);
        // Nobody survives that, so the rest of the group is not waited for.
        self.group_is_gone = true;
        match timeout(KILL_WAIT, self.exited()).await {
            Ok(status) => status,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the program cannot be killed")),
        }
    }

    /// Waits until the program is reaped and its group is empty.
    async fn gone(&mut self) -> io::Result<ExitStatus> {
        let status = self.exited().await;
        let mut interval = GROUP_CHECK;
        while !self.group_is_gone {
            sleep(interval).await;
            interval = (interval * 2).min(GROUP_CHECK_MAX);
            self.check_group();
        }
        status
    }

    /// Collects the program if it has exited.
    fn reap(&mut self) {
        if !matches!(self.leader, Leader::Running) {
            return;
        }
        match rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::INTR) => return,
            Ok(Some((_, status))) => self.leader = Leader::Exited(ExitStatus::from_raw(status.as_raw())),
            Err(_) => self.leader = Leader::Lost,
        }
        self.check_group();
    }

    /// Notes whether the group is empty. Only a group without its leader can be.
    fn check_group(&mut self) {
        if self.group_is_gone || matches!(self.leader, Leader::Running) {
            return;
        }
        // Where we are process 1, orphans of the group are ours to collect.
        while let Ok(Some(_)) =
            rustix::process::waitid(WaitId::Pgid(Some(self.pid)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
        {
        }
        self.group_is_gone = sys::group_is_empty(self.pidfd.get_ref(), self.pid);
    }

    /// Signals everybody in the group. Failure means that nobody is there or may be signalled: waiting shows which.
    fn signal(&mut self, signal: Signal) {
        if !self.group_is_gone {
            let _ = sys::signal_group(self.pidfd.get_ref(), self.pid, signal.as_raw());
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.reap();
        self.signal(Signal::KILL);
        if matches!(self.leader, Leader::Running) {
            reaper::adopt(self.pid);
        }
    }
}

fn watch(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    // Registering panics without a runtime.
    tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| {
        let error = io::Error::from(errno);
        io::Error::new(error.kind(), format!("it cannot be watched, which takes a pidfd (Linux 5.3): {error}"))
    })?;
    crate::sys::register(pidfd, Interest::READABLE)
}

/// Whether our child `pid` has not exited yet; does not reap it.
fn is_running(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(rustix::process::waitid(WaitId::Pid(pid), options), Ok(None))
}
