//! Processes: running one to its end with a deadline, and reading a running one's state from `/proc`.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{PidfdFlags, PidfdGetfdFlags};

use super::tools::Output;
use super::{eventually, tools};

/// Runs `command` to its end with `stdin` as its input; kills it and fails the test after `limit`.
#[track_caller]
pub fn run(mut command: Command, stdin: &[u8], limit: Duration, what: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
    let mut input = child.stdin.take().expect("stdin is a pipe");
    let mut out = child.stdout.take().expect("stdout is a pipe");
    let mut err = child.stderr.take().expect("stderr is a pipe");
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(stdin));
        let stdout = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = out.read_to_end(&mut bytes);
            bytes
        });
        let stderr = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = err.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let status = wait_within(&mut child, limit);
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let stdout = stdout.join().expect("the stdout reader does not panic");
        let stderr = stderr.join().expect("the stderr reader does not panic");
        let Some(status) = status else {
            panic!("{what} did not end within {limit:?}; stderr: {stderr}");
        };
        Output { code: status.code(), stdout, stderr }
    })
}

/// Waits for `child` to end, for at most `limit`.
pub fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("the child can be waited for") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends `signal` (a name such as `HUP`) to the process `pid`.
pub fn signal(pid: u32, signal: Signal) {
    let raw = i32::try_from(pid).expect("a process id fits in an i32");
    let pid = rustix::process::Pid::from_raw(raw).expect("a process id is not zero");
    let _ = rustix::process::kill_process(pid, signal);
}

pub use rustix::process::Signal;

/// A running process seen from outside.
#[derive(Clone, Copy)]
pub struct Proc(pub u32);

impl Proc {
    /// Whether the process exists (a zombie does).
    pub fn exists(self) -> bool {
        std::path::Path::new(&format!("/proc/{}", self.0)).exists()
    }

    /// Its threads, each seen like a process.
    pub fn threads(self) -> Vec<Proc> {
        let entries = std::fs::read_dir(format!("/proc/{}/task", self.0)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok().map(Proc)).collect()
    }

    /// How many file descriptors it has open, without the pipes of which it has both ends: those are its own means of
    /// moving bytes, see [`Proc::own_pipes`].
    pub fn fds(self) -> usize {
        self.targets().len() - 2 * self.own_pipes()
    }

    /// Limits its open files to `limit` and returns how many more it can open.
    pub fn limit_nofile(self, limit: usize) -> usize {
        tools::run("prlimit", &["--pid", &self.0.to_string(), &format!("--nofile={limit}:{limit}")]);
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.0)).expect("the process has descriptors");
        let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse::<usize>().ok());
        // The limit is on numbers, and one that was inherited may be above it.
        limit - numbers.filter(|number| *number < limit).count()
    }

    /// How many pipes it has both ends of; of a program's pipes it has one end each.
    pub fn own_pipes(self) -> usize {
        let mut pipes = self.targets();
        pipes.retain(|target| target.starts_with("pipe:"));
        pipes.sort();
        pipes.windows(2).filter(|pair| pair[0] == pair[1]).count()
    }

    /// Another descriptor for what its descriptor `number` refers to, while it is open.
    pub fn descriptor(self, number: i32) -> Option<OwnedFd> {
        let raw = i32::try_from(self.0).expect("a process id fits in an i32");
        let pid = rustix::process::Pid::from_raw(raw).expect("a process id is not zero");
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("the process can be watched");
        rustix::process::pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()
    }

    /// Another descriptor for that one of its sockets of which `wanted` holds.
    pub fn socket(self, wanted: impl Fn(&OwnedFd) -> bool) -> Option<OwnedFd> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.0)).expect("the process has descriptors");
        entries.flatten().find_map(|entry| {
            let link = std::fs::read_link(entry.path()).ok()?;
            let number = entry.file_name().to_string_lossy().parse().ok()?;
            let is_socket = link.to_string_lossy().starts_with("socket:");
            is_socket.then(|| self.descriptor(number)).flatten().filter(&wanted)
        })
    }

    /// What its file descriptors refer to.
    fn targets(self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{}/fd", self.0)) else { return Vec::new() };
        let link = |entry: std::fs::DirEntry| std::fs::read_link(entry.path()).unwrap_or_default();
        entries.flatten().map(|entry| link(entry).display().to_string()).collect()
    }

    /// How many of its file descriptors are sockets.
    pub fn sockets(self) -> usize {
        let Ok(dir) = std::fs::read_dir(format!("/proc/{}/fd", self.0)) else {
            return 0;
        };
        let links = dir.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }

    /// The process ids of its children, zombies included.
    pub fn children(self) -> Vec<u32> {
        let pids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| Proc(*pid).stat_fields().get(1).is_some_and(|parent| *parent == self.0.to_string())).collect()
    }

    /// Its resident memory in KiB.
    pub fn rss_kib(self) -> u64 {
        let line = self.status("VmRSS");
        line.trim_end_matches("kB").trim().parse().unwrap_or(0)
    }

    /// The processor time it has used, user and system together; the resolution is 10 ms.
    pub fn cpu(self) -> Duration {
        let fields = self.stat_fields();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        // Fields 14 and 15 of proc(5), counted here from the state, which is field 3; 100 ticks a second.
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }

    /// The value of `key` in `/proc/PID/status`, trimmed; empty when there is none.
    pub fn status(self, key: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    /// The soft limit on open files.
    pub fn nofile(self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/limits", self.0)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    /// The fields of `/proc/PID/stat` behind the command's name: state, parent, ...
    fn stat_fields(self) -> Vec<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().map(str::to_owned).collect()
    }
}

/// A tracer that makes system calls of a running program fail, until this is dropped.
pub struct Tracer(Child);

impl Tracer {
    /// Attaches to all threads of `process` and does what `inject` says, in the words of strace.
    #[track_caller]
    pub fn attach(process: Proc, inject: &str) -> Tracer {
        let call = inject.split(':').next().unwrap();
        let mut command = tools::quiet("strace");
        command.args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={inject}"), "-p", &process.0.to_string()]);
        let tracer = Tracer(command.spawn().unwrap());
        eventually("every thread is traced", || {
            process.threads().into_iter().all(|thread| !["", "0"].contains(&&*thread.status("TracerPid")))
        });
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        signal(self.0.id(), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Raises this test process's own limit on open files to the hard limit, and returns it.
pub fn raise_own_nofile() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
