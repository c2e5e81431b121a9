//! Reaps killed processes that nobody waits for any more.
//!
//! `Child` hands over what it has killed in its drop and what is not dead yet. One background thread, started with the
//! first of them, asks again until they are; a drop must neither block a worker nor need a runtime.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, WaitOptions, waitpid};

/// How often the thread asks while there is anything to reap. A killed process is gone within a millisecond or so.
const ASK_INTERVAL: Duration = Duration::from_millis(10);

static REAPER: OnceLock<Option<Sender<Pid>>> = OnceLock::new();

/// Reaps our child `pid`, now or as soon as it is dead. The caller has made sure that it dies.
pub(super) fn adopt(pid: Pid) {
    if reap(pid) {
        return;
    }
    let given = REAPER.get_or_init(start).as_ref().is_some_and(|reaper| reaper.send(pid).is_ok());
    if !given {
        // No thread could be started. A killed process is worth a short wait; a zombie for ever is not.
        while let Err(rustix::io::Errno::INTR) = waitpid(Some(pid), WaitOptions::empty()) {}
    }
}

fn start() -> Option<Sender<Pid>> {
    let (sender, receiver) = channel();
    let thread = std::thread::Builder::new().name("exec-reaper".into()).spawn(move || run(&receiver));
    thread.ok().map(|_| sender)
}

fn run(receiver: &Receiver<Pid>) {
    let mut dying = Vec::new();
    loop {
        let next = if dying.is_empty() {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            receiver.recv_timeout(ASK_INTERVAL)
        };
        match next {
            Ok(pid) => dying.push(pid),
            Err(RecvTimeoutError::Timeout) => dying.retain(|pid| !reap(*pid)),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Whether `pid` needs no reaping any more.
fn reap(pid: Pid) -> bool {
    !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None) | Err(rustix::io::Errno::INTR))
}
