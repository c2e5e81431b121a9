//! Starting, watching and stopping the program under test.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::log::{Line, Log};
use super::process::{self, Proc, Signal};
use super::tools::Output;
use super::{PATIENCE, Socket, eventually};

/// The program under test: the one cargo built, or the one that the environment's `PORTSPLIT` names.
pub fn program() -> String {
    std::env::var("PORTSPLIT").unwrap_or_else(|_| env!("CARGO_BIN_EXE_portsplit").to_owned())
}

/// A running portsplit with a configuration file of its own.
pub struct Portsplit {
    child: Child,
    dir: TempDir,
    log: Log,
    addresses: Vec<String>,
}

impl Portsplit {
    /// Writes `config` (with a JSON log added) to a file, starts the program and waits until it is ready.
    #[track_caller]
    pub fn start(config: &str) -> Portsplit {
        Portsplit::start_by(&[], config, "json", "debug")
    }

    /// Like [`Portsplit::start`], as the arguments of the command `wrapper` (such as `prlimit --nofile=64`).
    #[track_caller]
    pub fn start_under(wrapper: &[&str], config: &str) -> Portsplit {
        Portsplit::start_by(wrapper, config, "json", "debug")
    }

    /// Like [`Portsplit::start`], logging in `format` from `level` on.
    #[track_caller]
    pub fn start_logging(format: &str, level: &str, config: &str) -> Portsplit {
        Portsplit::start_by(&[], config, format, level)
    }

    #[track_caller]
    fn start_by(wrapper: &[&str], config: &str, format: &str, level: &str) -> Portsplit {
        process::raise_own_nofile();
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let file = dir.path().join("portsplit.toml");
        let config = format!("{config}\n[log]\nformat = \"{format}\"\nlevel = \"{level}\"\n");
        std::fs::write(&file, config).expect("the configuration can be written");
        let mut command = match wrapper {
            [] => Command::new(program()),
            [wrapper, args @ ..] => {
                let mut command = Command::new(wrapper);
                command.args(args).arg(program());
                command
            }
        };
        command.arg("--config").arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let log = Log::follow(child.stderr.take().expect("stderr is a pipe"));
        let mut program = Portsplit { child, dir, log, addresses: Vec::new() };
        program.wait_until_ready(format);
        program
    }

    #[track_caller]
    fn wait_until_ready(&mut self, format: &str) {
        if format != "json" {
            self.wait_for_line("the text log says it is ready", |line| line.text().contains("ready"));
            return;
        }
        self.wait_for_line("it is ready", |line| line.message() == "ready");
        let lines = self.log.lines();
        let listening = lines.iter().filter(|line| line.message() == "listening");
        self.addresses = listening.map(|line| line.field("address")).collect();
        assert!(!self.addresses.is_empty(), "it is ready but listens nowhere; {}", self.log.text());
    }

    /// The address of its first listener.
    pub fn address(&self) -> &str {
        self.nth_address(0)
    }

    /// The address of its listener number `index`, in the order of the file.
    pub fn nth_address(&self, index: usize) -> &str {
        self.addresses.get(index).map_or_else(|| panic!("there is no listener {index}"), String::as_str)
    }

    /// The port of its first listener.
    pub fn port(&self) -> u16 {
        self.address().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("the first listener is TCP")
    }

    /// Connects to its first listener.
    #[track_caller]
    pub fn client(&self) -> Socket {
        Socket::connect(self.address())
    }

    /// Connects to its first listener and sends `bytes`.
    #[track_caller]
    pub fn client_sending(&self, bytes: impl AsRef<[u8]>) -> Socket {
        let client = self.client();
        client.send(bytes);
        client
    }

    /// Its process.
    pub fn process(&self) -> Proc {
        Proc(self.child.id())
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join("portsplit.toml")
    }

    /// Its log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Waits for a line that satisfies `wanted`, from the log's start on; fails with the whole log otherwise.
    #[track_caller]
    pub fn wait_for_line(&self, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        self.wait_for_line_after(0, what, wanted)
    }

    /// Like [`Portsplit::wait_for_line`], from position `from` of the log on.
    #[track_caller]
    pub fn wait_for_line_after(&self, from: usize, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        let found = self.log.find_within(PATIENCE, from, wanted);
        found.unwrap_or_else(|| panic!("no log line: {what}; {}", self.log.text()))
    }

    /// Waits for the line that tells how the connection of the client at `peer` ended.
    #[track_caller]
    pub fn connection_of(&self, peer: &str) -> Line {
        self.wait_for_line(&format!("the connection of {peer} ended"), |line| {
            line.message() == "connection" && line.field("peer") == peer
        })
    }

    /// Replaces its configuration file (a JSON log is added) and sends SIGHUP; returns the log line that answers.
    #[track_caller]
    pub fn reload(&self, config: &str) -> Line {
        let config = format!("{config}\n[log]\nformat = \"json\"\nlevel = \"debug\"\n");
        std::fs::write(self.config_file(), config).expect("the configuration can be replaced");
        let from = self.log.len();
        self.signal(Signal::HUP);
        self.wait_for_line_after(from, "the reload is answered", |line| {
            line.message() == "reloaded" || is_failed_reload(line)
        })
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.child.id(), signal);
    }

    /// Stops all of its threads until [`Signal::CONT`]; the signal alone takes a while to reach them.
    #[track_caller]
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        eventually("all threads have stopped", || {
            self.process().threads().into_iter().all(|thread| thread.status("State").starts_with('T'))
        });
    }

    /// Waits for it to end, for at most `limit`.
    #[track_caller]
    pub fn wait_within(&mut self, limit: Duration) -> ExitStatus {
        let status = process::wait_within(&mut self.child, limit);
        status.unwrap_or_else(|| panic!("it did not end within {limit:?}; {}", self.log.text()))
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until its open descriptors are back to `baseline` and it has no child.
    #[track_caller]
    pub fn assert_back_to(&self, baseline: usize) {
        let process = self.process();
        let started = Instant::now();
        while process.fds() > baseline || !process.children().is_empty() {
            let (fds, children) = (process.fds(), process.children());
            let log = self.log.text();
            assert!(
                started.elapsed() < PATIENCE,
                "{fds} descriptors open, {baseline} before; children: {children:?}; {log}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it with SIGTERM and asserts that it exits with 0 and leaves no child.
    #[track_caller]
    pub fn stop(mut self) {
        let children = self.process().children();
        self.signal(Signal::TERM);
        let status = self.wait_within(PATIENCE);
        assert_eq!(status.code(), Some(0), "it did not end well; {}", self.log.text());
        for child in children {
            eventually("its children are gone", || !Proc(child).exists());
        }
    }
}

impl Drop for Portsplit {
    fn drop(&mut self) {
        if self.runs() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log.text());
        }
    }
}

/// Whether `line` says that a reload was refused.
pub fn is_failed_reload(line: &Line) -> bool {
    line.message().starts_with("reload failed")
}

/// Runs the program with `args` to its end.
#[track_caller]
pub fn run(args: &[&str]) -> Output {
    run_with_input(args, b"")
}

/// Runs the program with `args` and `stdin` to its end.
#[track_caller]
pub fn run_with_input(args: &[&str], stdin: &[u8]) -> Output {
    let mut command = Command::new(program());
    command.args(args);
    process::run(command, stdin, PATIENCE, "portsplit")
}

/// Writes `config` to a file and runs the program with it although it is expected to end at once.
#[track_caller]
pub fn run_config(config: &str) -> Output {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let file = dir.path().join("portsplit.toml");
    std::fs::write(&file, config).expect("the configuration can be written");
    run(&["--config", file.to_str().expect("the path is text")])
}

/// A TCP port that is free on all addresses, from below the range that outgoing connections use, so that none of them
/// takes it before its user binds it.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = (std::process::id() % 150) as u16 * 100;
    for _ in 0..2000 {
        let port = 12_000 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 18_000;
        let v4 = std::net::TcpListener::bind(("0.0.0.0", port));
        let v6 = std::net::TcpListener::bind(("::1", port));
        if v4.is_ok() && v6.is_ok() {
            return port;
        }
    }
    panic!("no free port in 2000 attempts");
}
