//! Runs real programs and looks at them from both sides. This file holds what the tests share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod ending;
mod output;
mod starting;
mod terminal;

use std::future::Future;
use std::path::Path;
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal};
use tokio::io::Interest;
use tokio::time::{Duration, timeout};

use super::*;

/// Every wait in these tests ends in far less, or the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

const CONTEXT: ExecContext<'static> = ExecContext { service: "demo", peer: "[::1]:5000", local: "127.0.0.1:443" };

/// Graces for programs that leave when asked.
const QUICK: EndPolicy = EndPolicy { hangup: Duration::from_millis(200), terminate: Duration::from_millis(200) };

/// Graces for tests that do not look at them.
const BRISK: EndPolicy = EndPolicy { hangup: Duration::from_millis(20), terminate: Duration::from_millis(5) };

/// Runs on what a worker thread has.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, future).await.expect("the test hangs") })
}

fn program(argv: &[&str]) -> Program {
    Program { argv: argv.iter().map(|&argument| argument.to_owned()).collect(), pty: None }
}

fn shell(script: &str) -> Program {
    program(&["sh", "-c", script])
}

fn shell_on_pty(script: &str) -> Program {
    Program { pty: Some(Pty { echo: false }), ..shell(script) }
}

/// Separates our ends: to write to and to read from. Both are the master on a pty.
fn ends(io: ProgramIo) -> (Option<OwnedFd>, OwnedFd) {
    match io {
        ProgramIo::Pipes { stdin, stdout } => (Some(stdin), stdout),
        ProgramIo::Pty { master } => (None, master),
    }
}

async fn read_to_end(fd: &OwnedFd) -> Vec<u8> {
    let fd = crate::sys::register(fd.try_clone().unwrap(), Interest::READABLE).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let mut ready = fd.readable().await.unwrap();
        match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?)) {
            Ok(Ok(0)) => return bytes,
            Ok(Ok(count)) => bytes.extend_from_slice(&buffer[..count]),
            Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return bytes,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {}
        }
    }
}

/// Reads until a line has ended, so that the program is known to have come that far.
async fn read_line(fd: &OwnedFd) -> String {
    let fd = crate::sys::register(fd.try_clone().unwrap(), Interest::READABLE).unwrap();
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        let mut ready = fd.readable().await.unwrap();
        match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut byte)?)) {
            Ok(Ok(1)) if byte[0] == b'\n' => return String::from_utf8(line).unwrap().trim_end().to_owned(),
            Ok(Ok(1)) => line.push(byte[0]),
            Ok(end) => panic!("ended after {line:?}: {end:?}"),
            Err(_) => {}
        }
    }
}

async fn write_all(fd: &OwnedFd, mut bytes: &[u8]) {
    let fd = crate::sys::register(fd.try_clone().unwrap(), Interest::WRITABLE).unwrap();
    while !bytes.is_empty() {
        let mut ready = fd.writable().await.unwrap();
        if let Ok(written) = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
            bytes = &bytes[written.unwrap()..];
        }
    }
}

/// Closes a program's input, and returns what it wrote and how it ended.
async fn finish(running: Running) -> (String, String) {
    let Running { io, mut child } = running;
    let (stdin, stdout) = ends(io);
    drop(stdin);
    let output = read_to_end(&stdout).await;
    let status = child.exited().await.unwrap();
    (String::from_utf8(output).unwrap(), status.to_string())
}

async fn output_of(program: &Program) -> String {
    let (output, status) = finish(spawn(program, &CONTEXT).unwrap()).await;
    assert_eq!(status, "exit status: 0", "{output}");
    output
}

fn exists(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// Asks until the answer is yes, or fails.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The same on a runtime whose tasks have to go on meanwhile; `run` limits it.
async fn wait_for(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until a process is dead. Process 1 may take its time to reap it where it was an orphan.
fn assert_dies(pid: &str) {
    let stat = format!("/proc/{pid}/stat");
    wait_until(|| std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
}

/// Runs the calling test alone in a process of its own, in which this returns true.
fn is_alone(test: &str) -> bool {
    const MARK: &str = "PORTSPLIT_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("action::exec::tests::{test}"), "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    false
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Ids of all children of this process, zombies included.
fn children() -> String {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default()).collect()
}

/// Waits for the reaper to have collected everything.
fn wait_for_no_children() {
    wait_until(|| children().is_empty());
}
