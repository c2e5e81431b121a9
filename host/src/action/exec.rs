//! Runs a service's program for one connection, on pipes or on a terminal of its own.
//!
//! This file starts the program and says what it inherits; `child` waits for it and ends it, `reaper` collects what
//! nobody waits for any more, `terminal` and `diagnostics` look after the pty and stderr, and `sys` holds the raw
//! calls. Moving bytes between the client and [`ProgramIo`] is the relay's work, and so is deciding when a program
//! has to go.
//!
//! # What a program gets
//! - A session, and so a process group, of its own. On a pty the terminal is its controlling terminal.
//! - Descriptors 0, 1 and 2 and no other, whatever this process has open or was itself started with.
//! - No signal blocked, every signal at its default, and a soft limit of 1024 open files (`select` cannot handle
//!   more, and some programs close every possible descriptor at start); the hard limit is ours.
//! - From our environment `PATH`, `HOME`, `USER`, `LOGNAME`, `SHELL`, `TZ`, `LANG`, `LANGUAGE` and `LC_*`, on a pty
//!   `TERM` too (`xterm` if we have none), and then `PORTSPLIT_SERVICE`, `PORTSPLIT_PEER` and `PORTSPLIT_LOCAL`.
//!   Nothing else: what a service manager tells us (`NOTIFY_SOCKET`, `LISTEN_FDS`) and secrets stay here. `HOME` and
//!   `USER` are those of whoever started us, also after privileges were dropped.
//! - Our working directory, so that a relative path in a configuration means what it means in a shell.
//! - Our user, groups and umask.
//!
//! # stderr
//! With pipes, stderr goes to our log: line by line, escaped, cut and rate limited (see `diagnostics`), never to the
//! client. On a pty it is the terminal, as on every other terminal: shells write their prompt there.
//!
//! # How a program ends
//! By itself, or through [`Child::end`], or when its [`Child`] is dropped; in every case its whole process group is
//! gone and it is reaped afterwards. SIGKILL to portsplit kills the program too (parent-death signal of the kernel),
//! unless it is setuid or has file capabilities: the kernel then takes the signal away. What is *not* hunted: a
//! descendant that starts a session of its own (`setsid`, a daemon, a job of an interactive shell that ignores
//! SIGHUP). It never holds one of our descriptors, only the program's; a service manager that kills by control group
//! (systemd's default) gets it when portsplit is stopped.

mod child;
mod diagnostics;
mod reaper;
mod sys;
mod terminal;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::process::Pid;

pub use self::child::{Child, EndPolicy};
pub use self::terminal::pty_end_of_input;
use crate::config::{Program, Pty};
use crate::{log, pipe};

/// Whom a program serves; becomes part of its environment.
#[derive(Clone, Copy, Debug)]
pub struct ExecContext<'a> {
    /// Name of the service, `PORTSPLIT_SERVICE`.
    pub service: &'a str,
    /// Address of the client, `PORTSPLIT_PEER`: `127.0.0.1:5000`, `[::1]:5000`, or `unix:`.
    pub peer: &'a str,
    /// Address the client connected to, `PORTSPLIT_LOCAL`, written the same way.
    pub local: &'a str,
}

/// A program that has been started.
#[derive(Debug)]
pub struct Running {
    /// What the relay reads and writes. Drop it before [`Child::end`], so that the program sees its client leave.
    pub io: ProgramIo,
    /// The process.
    pub child: Child,
}

/// Our ends of a program's input and output; non-blocking and close-on-exec.
#[derive(Debug)]
pub enum ProgramIo {
    /// Two pipes. Closing `stdin` is how the program learns of the client's half-close.
    Pipes {
        /// Write here what the program reads. A program that closed its stdin makes writes fail with EPIPE.
        stdin: OwnedFd,
        /// Read here what the program writes, until 0.
        stdout: OwnedFd,
    },
    /// The master side of the program's terminal, both directions.
    ///
    /// Read until EIO, which means that nobody has the terminal open any more; poll reports a hang-up earlier, when
    /// output may still be waiting. A half-close cannot be told by closing: write [`pty_end_of_input`].
    Pty {
        /// The master side.
        master: OwnedFd,
    },
}

/// Where programs are looked for when we have no `PATH` ourselves.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Inherited if we have them; `LC_*` comes in addition.
const INHERITED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "LANG", "LANGUAGE"];

/// Starts `program` for one connection.
///
/// Blocks the thread until the program has been executed, a few hundred microseconds. Call it on a thread that lives
/// at least as long as the program may run: the kernel kills the program when the thread that started it ends.
///
/// # Errors
/// The program does not exist or is not executable, processes or descriptors have run out, no terminal can be opened,
/// the kernel has no pidfd (Linux before 5.3), or there is no tokio runtime with I/O on this thread. The message names
/// the program. Nothing is left running then, and no descriptor stays open.
pub fn spawn(program: &Program, context: &ExecContext<'_>) -> io::Result<Running> {
    let Some((name, arguments)) = program.argv.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"));
    };
    let start = || {
        let mut command = Command::new(name);
        command.args(arguments);
        command.env_clear().envs(environment(std::env::vars_os(), context, program.pty.is_some()));
        match program.pty {
            None => start_on_pipes(command, context.service),
            Some(pty) => start_on_terminal(command, pty),
        }
    };
    let started = match start() {
        Err(error) if lacks_descriptors(&error) && pipe::close_kept() => start(),
        started => started,
    };
    started.map_err(|error| {
        let reason = log::explained(&error);
        io::Error::new(error.kind(), format!("cannot start `{}`: {reason}", name.escape_debug()))
    })
}

fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

fn start_on_pipes(mut command: Command, service: &str) -> io::Result<Running> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut streams, mut child) = start(command, false)?;
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (streams.stdin.take(), streams.stdout.take(), streams.stderr.take())
    else {
        return Err(io::Error::other("a pipe is missing"));
    };
    let (stdin, stdout, stderr) = (OwnedFd::from(stdin), OwnedFd::from(stdout), OwnedFd::from(stderr));
    for fd in [&stdin, &stdout, &stderr] {
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    child.keep_diagnostics(diagnostics::log(stderr, service, child.id())?);
    Ok(Running { io: ProgramIo::Pipes { stdin, stdout }, child })
}

fn start_on_terminal(mut command: Command, pty: Pty) -> io::Result<Running> {
    let (master, slave) = terminal::open(pty).map_err(|error| match error {
        error if lacks_descriptors(&error) => error,
        error => io::Error::new(error.kind(), format!("no terminal can be opened: {error}")),
    })?;
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    // `start` consumes the command and with it our copies of the slave side: only then can the master report EIO.
    let (_, child) = start(command, true)?;
    Ok(Running { io: ProgramIo::Pty { master }, child })
}

/// Executes a complete command and takes charge of the process.
fn start(mut command: Command, on_terminal: bool) -> io::Result<(std::process::Child, Child)> {
    sys::keep_exit_statuses();
    sys::set_up_child(&mut command, on_terminal);
    let streams = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(error.kind(), "there is no such program, or the interpreter it names is missing")
        }
        _ => error,
    })?;
    // A process id fits, and it is not 0 or 1: the kernel numbers our children.
    let pid = i32::try_from(streams.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the process id is out of range"))?;
    // The standard library's handle neither kills nor reaps when it is dropped; `Child` does, from here on.
    Ok((streams, Child::adopt(pid)?))
}

/// Chooses what a program's environment consists of.
fn environment(
    ours: impl Iterator<Item = (OsString, OsString)>,
    context: &ExecContext<'_>,
    on_terminal: bool,
) -> Vec<(OsString, OsString)> {
    let inherited = |name: &OsStr| {
        INHERITED.iter().any(|allowed| name == OsStr::new(allowed))
            || name.as_encoded_bytes().starts_with(b"LC_")
            || (on_terminal && name == OsStr::new("TERM"))
    };
    let mut variables: Vec<(OsString, OsString)> = ours.filter(|(name, _)| inherited(name)).collect();
    let mut default = |name: &str, value: &str| {
        if !variables.iter().any(|(present, _)| present == OsStr::new(name)) {
            variables.push((name.into(), value.into()));
        }
    };
    default("PATH", DEFAULT_PATH);
    if on_terminal {
        default("TERM", "xterm");
    }
    variables.push(("PORTSPLIT_SERVICE".into(), context.service.into()));
    variables.push(("PORTSPLIT_PEER".into(), context.peer.into()));
    variables.push(("PORTSPLIT_LOCAL".into(), context.local.into()));
    variables
}
