//! The processes that a run consists of: how they are started, talk to the run, and end with it.
//!
//! Every child asks the kernel for SIGTERM when its parent dies, so a run that is cut off leaves nothing behind; programs
//! that are not ours are started by a child of ours that asks first and then becomes them. A program may start processes of
//! its own, so each has a process group and ends as a group. Only processes that were started here are ever signalled.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, kill_process_group, setrlimit};

/// A running child, which leads a process group; dropping it kills the group and waits for the child's end.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` (a program and its arguments) with its output going to the file `log`, and what it caches to the
    /// folder of that file.
    ///
    /// # Errors
    /// Fails if the log cannot be written or no process can be started.
    pub(crate) fn start(command: &[OsString], log: &Path) -> io::Result<Process> {
        let output = File::create(log)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("become")
            .args(command)
            .env_remove("CACHE_DIRECTORY")
            .env("XDG_CACHE_HOME", log.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()?;
        Ok(Process { child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Interrupts the process as Ctrl-C does, and waits for its end.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub(crate) fn interrupt(mut self) -> io::Result<()> {
        if let Some(id) = self.pid() {
            kill_process(id, Signal::INT)?;
        }
        self.child.wait().map(|_| ())
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has been waited for has no number any more.
        if !self.has_ended()
            && let Some(id) = self.pid()
        {
            let _ = kill_process_group(id, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// What a child says in one line: a word, and values with names.
#[derive(Debug, Default)]
pub(crate) struct Line(BTreeMap<String, String>);

impl Line {
    /// Takes the values out of words of the form `name=value`.
    pub(crate) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Line {
        let values = words.filter_map(|word| word.split_once('='));
        Line(values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Returns a value.
    ///
    /// # Errors
    /// Fails if it is missing or not of the type.
    pub(crate) fn value<T: std::str::FromStr>(&self, name: &str) -> io::Result<T> {
        let value = self.0.get(name).and_then(|value| value.parse().ok());
        value.ok_or_else(|| io::Error::other(format!("no usable `{name}` in {self:?}")))
    }
}

/// A child of this program that is told what to do, line by line.
#[derive(Debug)]
pub(crate) struct Talking {
    /// Held for its end.
    _process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talking {
    /// Starts this program again with `arguments`.
    ///
    /// # Errors
    /// Fails if no process can be started.
    pub(crate) fn start(arguments: &[String]) -> io::Result<Talking> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let process = Process { child };
        let missing = || io::Error::other("a child without pipes");
        Ok(Talking {
            _process: process,
            input: input.ok_or_else(missing)?,
            output: BufReader::new(output.ok_or_else(missing)?),
        })
    }

    /// Lets the child go on.
    ///
    /// # Errors
    /// Fails if the child is gone.
    pub(crate) fn go(&mut self) -> io::Result<()> {
        self.input.write_all(b"go\n")
    }

    /// Waits for the line that begins with `word`.
    ///
    /// # Errors
    /// Fails if the child says something else or ends.
    pub(crate) fn hear(&mut self, word: &str) -> io::Result<Line> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        if words.next() == Some(word) {
            Ok(Line::parse(words))
        } else {
            Err(io::Error::other(format!("expected `{word}` of a child, got {line:?}")))
        }
    }
}

/// Says a line to the parent.
///
/// # Errors
/// Fails if the parent is gone.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

/// Waits until the parent lets us go on; `false` if it is gone or wants no more.
pub(crate) fn wait_for_go() -> bool {
    let mut line = String::new();
    matches!(io::stdin().read_line(&mut line), Ok(bytes) if bytes > 0)
}

/// Makes this process end with its parent, in a way that lets it end its own children.
///
/// # Errors
/// Whatever the kernel reports.
pub(crate) fn end_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?)
}

/// Becomes another program; returns only if that fails.
pub(crate) fn become_program(mut command: impl Iterator<Item = OsString>) -> io::Error {
    match command.next() {
        None => io::Error::other("no program to become"),
        Some(program) => Command::new(program).args(command).exec(),
    }
}

/// Raises the limit on open files to what the system allows; children inherit it.
pub(crate) fn raise_open_files_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
