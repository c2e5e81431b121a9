//! Finding and running the real programs some tests need, and the visible count of tests that had to be skipped.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{process, report};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// The path of `name`, looked for in `PATH` and in the system's sbin folders.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Whether every program in `names` is installed. When one is missing the test is to return at once: a line
/// `skipped: NAME is not installed` has been printed, or, with `CI=true`, the test has failed.
#[track_caller]
pub fn have(names: &[&str]) -> bool {
    for name in names {
        if find(name).is_none() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{name} is not installed; run tests/install");
            skip(&format!("{name} is not installed (tests/install installs it)"));
            return false;
        }
    }
    true
}

/// Whether the tests run as root. When they do not, the test is to return at once; a line says that it is skipped.
pub fn are_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// Prints that the current test is skipped because of `reason`, with the count so far.
pub fn skip(reason: &str) {
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    report(&format!("skipped: {reason}: {test} ({count} skipped so far)"));
}

/// What a finished program left behind.
pub struct Output {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything it wrote to stdout.
    pub stdout: Vec<u8>,
    /// Everything it wrote to stderr, as text.
    pub stderr: String,
}

impl Output {
    /// Its stdout as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs `name` with `args`, `stdin` as its input, for at most `limit`.
#[track_caller]
pub fn run_within(limit: Duration, name: &str, args: &[&str], stdin: &[u8]) -> Output {
    let program = find(name).unwrap_or_else(|| panic!("{name} is not installed"));
    let mut command = Command::new(program);
    command.args(args);
    process::run(command, stdin, limit, name)
}

/// Runs `name` with `args` and no input, for at most a minute; fails the test unless it exits with 0.
#[track_caller]
pub fn run(name: &str, args: &[&str]) -> Output {
    let output = run_within(Duration::from_secs(60), name, args, b"");
    let text = output.text();
    assert_eq!(output.code, Some(0), "{name} {args:?} failed\nstdout: {text}\nstderr: {}", output.stderr);
    output
}

/// A command for `name` that reads nothing and writes nowhere, ready for options.
pub fn quiet(name: &str) -> Command {
    let mut command = Command::new(find(name).unwrap_or_else(|| panic!("{name} is not installed")));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
