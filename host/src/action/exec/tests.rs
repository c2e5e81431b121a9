//! Runs real programs and looks at them from both sides.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::future::Future;
use std::path::Path;
use std::time::Instant;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Duration, timeout};

use super::*;

/// Every wait in these tests ends in far less, or the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

const CONTEXT: ExecContext<'static> = ExecContext { service: "demo", peer: "[::1]:5000", local: "127.0.0.1:443" };

/// Graces for programs that leave when asked.
const QUICK: EndPolicy = EndPolicy { hangup: Duration::from_millis(200), terminate: Duration::from_millis(200) };

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
    let fd = AsyncFd::register_with_interest(fd.try_clone().unwrap(), Interest::READABLE).unwrap();
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
    let fd = AsyncFd::register_with_interest(fd.try_clone().unwrap(), Interest::READABLE).unwrap();
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
    let fd = AsyncFd::register_with_interest(fd.try_clone().unwrap(), Interest::WRITABLE).unwrap();
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

/// Waits until no process has this id: one that was killed but is not ours to reap takes a moment.
fn assert_vanishes(pid: &str) {
    let start = Instant::now();
    while exists(pid) {
        assert!(start.elapsed() < PATIENCE, "process {pid} is still there");
        std::thread::yield_now();
    }
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

#[test]
fn a_program_has_descriptors_0_to_2_and_no_other_from_four_threads_at_once() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(|| {
                run(async {
                    // A descriptor that is not close-on-exec, as whoever starts us may leave behind.
                    let leaked = rustix::io::dup(rustix::stdio::stdin()).unwrap();
                    for _ in 0..50 {
                        // `ls` itself opens the directory as the lowest free number.
                        assert_eq!(output_of(&program(&["ls", "/proc/self/fd"])).await, "0\n1\n2\n3\n");
                    }
                    for _ in 0..5 {
                        let seen = output_of(&shell_on_pty("ls /proc/self/fd")).await;
                        assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
                    }
                    drop(leaked);
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_program_is_told_whom_it_serves() {
    run(async {
        let seen = output_of(&program(&["env"])).await;
        let seen: Vec<&str> = seen.lines().collect();
        for expected in ["PORTSPLIT_SERVICE=demo", "PORTSPLIT_PEER=[::1]:5000", "PORTSPLIT_LOCAL=127.0.0.1:443"] {
            assert!(seen.contains(&expected), "{seen:?}");
        }
        // cargo sets many of its own.
        assert!(std::env::vars_os().any(|(name, _)| name.as_encoded_bytes().starts_with(b"CARGO_")));
        assert!(!seen.iter().any(|line| line.starts_with("CARGO_") || line.starts_with("TERM=")), "{seen:?}");
        assert!(output_of(&shell_on_pty("echo term=$TERM")).await.len() > "term=\r\n".len());
    });
}

#[test]
fn the_environment_is_an_allow_list() {
    let ours = [
        ("HOME", "/home/me"), ("LC_TIME", "C"), ("TERM", "vt100"), ("NOTIFY_SOCKET", "/run/notify"),
        ("LISTEN_FDS", "2"), ("API_TOKEN", "secret"), ("LD_PRELOAD", "x.so"), ("PORTSPLIT_PEER", "stale"),
    ];
    let with = |on_terminal| {
        let ours = ours.iter().map(|&(name, value)| (name.into(), value.into()));
        let mut variables: Vec<String> = environment(ours, &CONTEXT, on_terminal)
            .into_iter()
            .map(|(name, value)| format!("{}={}", name.to_str().unwrap(), value.to_str().unwrap()))
            .collect();
        variables.sort();
        variables
    };
    let path = format!("PATH={DEFAULT_PATH}");
    let expected = [
        "HOME=/home/me", "LC_TIME=C", path.as_str(), "PORTSPLIT_LOCAL=127.0.0.1:443", "PORTSPLIT_PEER=[::1]:5000",
        "PORTSPLIT_SERVICE=demo",
    ];
    assert_eq!(with(false), expected);
    assert_eq!(with(true), [&expected[..], &["TERM=vt100"]].concat());
}

#[test]
fn a_program_starts_with_default_signals_whatever_we_inherited() {
    if !is_alone("a_program_starts_with_default_signals_whatever_we_inherited") {
        return;
    }
    sys::ignore_and_block(libc::SIGHUP, libc::SIGTERM);
    sys::ignore_and_block(libc::SIGCHLD, libc::SIGUSR1);
    let ours = std::fs::read_to_string("/proc/self/status").unwrap();
    assert!(!ours.contains("SigIgn:\t0000000000000000"), "{ours}");
    run(async {
        for script in [shell("exec cat /proc/self/status"), shell_on_pty("exec cat /proc/self/status")] {
            let status = output_of(&script).await;
            for field in ["SigBlk", "SigIgn", "SigCgt"] {
                assert!(status.contains(&format!("{field}:\t0000000000000000")), "{status}");
            }
        }
        let (output, status) = finish(spawn(&shell("yes | head -n 1"), &CONTEXT).unwrap()).await;
        assert_eq!((output.as_str(), status.as_str()), ("y\n", "exit status: 0"));
        assert!(output_of(&shell("ulimit -Sn")).await.trim().parse::<u64>().unwrap() <= 1024);
    });
}

#[test]
fn half_close_reaches_a_program_on_pipes() {
    run(async {
        let Running { io, mut child } = spawn(&program(&["wc", "-c"]), &CONTEXT).unwrap();
        let (stdin, stdout) = ends(io);
        let stdin = stdin.unwrap();
        write_all(&stdin, &[b'x'; 100_000]).await;
        drop(stdin);
        assert_eq!(read_to_end(&stdout).await, b"100000\n");
        assert!(child.exited().await.unwrap().success());
    });
}

#[test]
fn half_close_reaches_a_program_on_a_pty_also_after_half_a_line() {
    run(async {
        for (sent, counted) in [("", "0"), ("one\n", "4"), ("one\ntwo", "7"), ("one\r", "4")] {
            let Running { io, mut child } = spawn(&shell_on_pty("wc -c"), &CONTEXT).unwrap();
            let (_, master) = ends(io);
            write_all(&master, sent.as_bytes()).await;
            write_all(&master, &pty_end_of_input(&master, sent.bytes().last())).await;
            let output = read_to_end(&master).await;
            assert_eq!(String::from_utf8(output).unwrap(), format!("{counted}\r\n"), "{sent:?}");
            assert!(child.exited().await.unwrap().success());
        }
    });
}

#[test]
fn end_of_input_adds_nothing_in_raw_mode() {
    run(async {
        let running = spawn(&shell_on_pty("stty raw; echo ready; exec cat"), &CONTEXT).unwrap();
        let (_, master) = ends(running.io);
        assert_eq!(read_line(&master).await, "ready");
        assert_eq!(pty_end_of_input(&master, Some(b'x')), []);
        assert_eq!(pty_end_of_input(&master, None), []);
        drop(master);
        running.child.end_with(QUICK).await.unwrap();
    });
}

#[test]
fn every_byte_survives_a_terminal_in_raw_mode() {
    run(async {
        let running = spawn(&shell_on_pty("stty raw; echo ready; exec head -c 256"), &CONTEXT).unwrap();
        let (_, master) = ends(running.io);
        assert_eq!(read_line(&master).await, "ready");
        let all: Vec<u8> = (0..=255).collect();
        write_all(&master, &all).await;
        assert_eq!(read_to_end(&master).await, all);
    });
}

#[test]
fn output_is_complete_to_the_last_byte_after_the_program_has_gone() {
    run(async {
        let script = "seq 1 200000 | tr '\\n' , | head -c 1048576";
        let expected: String = (1..=200_000).map(|number| format!("{number},")).collect();
        for program in [shell(script), shell_on_pty(script)] {
            for _ in 0..10 {
                let output = output_of(&program).await;
                assert_eq!(output.len(), 1_048_576);
                assert!(output == expected[..1_048_576]);
            }
        }
        // Read only when the program is known to be dead.
        for program in [shell("printf last"), shell_on_pty("printf last")] {
            let Running { io, mut child } = spawn(&program, &CONTEXT).unwrap();
            child.exited().await.unwrap();
            assert_eq!(read_to_end(&ends(io).1).await, b"last");
        }
    });
}

#[test]
fn a_program_that_cannot_be_started_is_an_error_that_names_it() {
    run(async {
        let missing = program(&["/nowhere/at-all"]);
        let error = spawn(&missing, &CONTEXT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let reason = "there is no such program, or the interpreter it names is missing";
        assert_eq!(error.to_string(), format!("cannot start `/nowhere/at-all`: {reason}"));
        let on_pty = Program { pty: Some(Pty::default()), ..missing };
        assert_eq!(spawn(&on_pty, &CONTEXT).unwrap_err().to_string(), error.to_string());

        let error = spawn(&program(&["/etc/passwd", "x"]), &CONTEXT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().starts_with("cannot start `/etc/passwd`: "), "{error}");
        assert!(spawn(&program(&["sh", "a\0b"]), &CONTEXT).is_err());
        assert!(spawn(&program(&[]), &CONTEXT).is_err());
    });
    let error = spawn(&program(&["sleep", "1000"]), &CONTEXT).unwrap_err();
    assert!(error.to_string().starts_with("cannot start `sleep`: "), "without a runtime: {error}");
}

#[test]
fn failing_to_start_leaves_nothing_behind() {
    if !is_alone("failing_to_start_leaves_nothing_behind") {
        return;
    }
    run(async {
        let missing = program(&["/nowhere/at-all"]);
        let missing_on_pty = Program { pty: Some(Pty::default()), ..missing.clone() };
        assert!(spawn(&missing, &CONTEXT).is_err());
        let before = open_descriptors();
        for _ in 0..100 {
            assert!(spawn(&missing, &CONTEXT).is_err());
            assert!(spawn(&missing_on_pty, &CONTEXT).is_err());
        }
        assert_eq!((open_descriptors(), children().as_str()), (before, ""));

        // Let descriptors run out at every step of starting, one after the other.
        let files = rustix::process::getrlimit(Resource::Nofile);
        let set = |current| {
            rustix::process::setrlimit(Resource::Nofile, Rlimit { current, maximum: files.maximum }).unwrap();
        };
        for program in [program(&["sleep", "1000"]), shell_on_pty("sleep 1000")] {
            let mut failures = 0;
            for free in 0..24 {
                set(Some(before as u64 + free));
                let started = spawn(&program, &CONTEXT);
                set(files.current);
                failures += u32::from(started.is_err());
                drop(started);
                tokio::task::yield_now().await;
            }
            assert!((3..24).contains(&failures), "{failures}");
        }
        wait_for_no_children();
        assert_eq!(open_descriptors(), before);
    });
}

/// Waits for the reaper to have collected everything.
fn wait_for_no_children() {
    let start = Instant::now();
    while !children().is_empty() {
        assert!(start.elapsed() < PATIENCE, "left: {}", children());
        std::thread::yield_now();
    }
}

#[test]
fn hundreds_of_programs_ended_in_every_way_leave_no_zombie_and_no_descriptor() {
    if !is_alone("hundreds_of_programs_ended_in_every_way_leave_no_zombie_and_no_descriptor") {
        return;
    }
    let round = async |index: usize| {
        let program = match index % 3 {
            0 => program(&["cat"]),
            1 => shell("sleep 1000 & exec sleep 1000"),
            _ => shell_on_pty("cat"),
        };
        let Running { io, child } = spawn(&program, &CONTEXT).unwrap();
        drop(io);
        if index % 2 == 0 {
            child.end().await.unwrap();
        } else {
            drop(child);
        }
    };
    run(async {
        round(1).await;
        wait_for_no_children();
        tokio::task::yield_now().await;
        let before = open_descriptors();
        for index in 0..240 {
            round(index).await;
        }
        wait_for_no_children();
        while open_descriptors() > before {
            // The tasks that log stderr have yet to see that their programs ended.
            tokio::task::yield_now().await;
        }
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_program_that_leaves_when_asked_is_not_waited_for() {
    run(async {
        let running = spawn(&program(&["sleep", "1000"]), &CONTEXT).unwrap();
        drop(running.io);
        let start = Instant::now();
        let status = running.child.end().await.unwrap();
        assert_eq!(status.to_string(), "signal: 1 (SIGHUP)");
        assert!(start.elapsed() < EndPolicy::default().hangup);
    });
}

#[test]
fn signals_escalate_from_hangup_to_terminate_to_kill_and_reach_the_whole_group() {
    run(async {
        let script = "sleep 1000 & echo $!; wait";
        for (trap, expected) in [
            ("", "signal: 1 (SIGHUP)"),
            ("trap '' HUP;", "signal: 15 (SIGTERM)"),
            ("trap '' HUP TERM;", "signal: 9 (SIGKILL)"),
        ] {
            for program in [shell(&format!("{trap} {script}")), shell_on_pty(&format!("{trap} {script}"))] {
                let Running { io, child } = spawn(&program, &CONTEXT).unwrap();
                let (stdin, stdout) = ends(io);
                let descendant = read_line(&stdout).await;
                let leader = child.id().to_string();
                assert!(exists(&leader) && exists(&descendant));
                let start = Instant::now();
                let status = child.end_with(QUICK).await.unwrap();
                assert_eq!(status.to_string(), expected);
                let graces = u32::from(expected.contains("TERM")) + 2 * u32::from(expected.contains("KILL"));
                assert!(start.elapsed() >= QUICK.hangup * graces);
                assert!(!exists(&leader));
                assert_vanishes(&descendant);
                drop((stdin, stdout));
            }
        }
    });
}

#[test]
fn what_a_program_leaves_in_the_background_is_ended_with_its_group() {
    run(async {
        let script = "(trap '' HUP TERM; exec sleep 1000) & echo $!; exit 7";
        let Running { io, mut child } = spawn(&shell(script), &CONTEXT).unwrap();
        let (_stdin, stdout) = ends(io);
        let background = read_line(&stdout).await;
        assert_eq!(child.exited().await.unwrap().code(), Some(7));
        assert_eq!(child.exited().await.unwrap().code(), Some(7), "asked again");
        // It holds stdout open: reading to the end would never return.
        assert!(exists(&background));
        assert_eq!(child.end_with(QUICK).await.unwrap().code(), Some(7));
        assert_vanishes(&background);
        assert_eq!(read_to_end(&stdout).await, b"");
    });
}

#[test]
fn a_stopped_program_can_be_ended() {
    run(async {
        let Running { io, child } = spawn(&shell("echo ready; kill -STOP $$"), &CONTEXT).unwrap();
        let (_stdin, stdout) = ends(io);
        assert_eq!(read_line(&stdout).await, "ready");
        let stat = format!("/proc/{}/stat", child.id());
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            tokio::task::yield_now().await;
        }
        assert_eq!(child.end().await.unwrap().to_string(), "signal: 1 (SIGHUP)");
    });
}

#[test]
fn waiting_for_the_exit_can_be_cancelled_and_resumed() {
    run(async {
        let Running { io, mut child } = spawn(&shell("read line; exit 3"), &CONTEXT).unwrap();
        for _ in 0..3 {
            assert!(timeout(Duration::from_millis(1), child.exited()).await.is_err());
        }
        drop(io);
        assert_eq!(child.exited().await.unwrap().code(), Some(3));
    });
}

#[test]
fn dropping_kills_the_group_even_when_the_runtime_is_gone() {
    let script = "trap '' HUP TERM; sleep 1000 & echo $!; wait";
    let (child, stdout, descendant) = run(async {
        let Running { io, child } = spawn(&shell(script), &CONTEXT).unwrap();
        let (_, stdout) = ends(io);
        let descendant = read_line(&stdout).await;
        (child, stdout, descendant)
    });
    let leader = child.id().to_string();
    drop(child);
    assert_vanishes(&leader);
    assert_vanishes(&descendant);
    assert_eq!(run(read_to_end(&stdout)), b"");
}

#[test]
fn a_program_dies_with_the_thread_that_started_it() {
    let (child, stdout) = std::thread::spawn(|| {
        run(async {
            let Running { io, child } = spawn(&shell("trap '' HUP TERM; echo ready; exec sleep 1000"), &CONTEXT).unwrap();
            let (stdin, stdout) = ends(io);
            assert_eq!(read_line(&stdout).await, "ready");
            // Kept open, so that only the kernel's signal can end the program.
            std::mem::forget(stdin);
            (child, stdout)
        })
    })
    .join()
    .unwrap();
    assert_eq!(run(read_to_end(&stdout)), b"");
    assert_vanishes_or_zombie(child.id());
}

/// Waits until a process that is not reaped yet is dead.
fn assert_vanishes_or_zombie(pid: u32) {
    let start = Instant::now();
    while std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(start.elapsed() < PATIENCE, "process {pid} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn a_terminal_is_controlling_has_a_size_and_is_silent() {
    run(async {
        let script = "tty; stty size; exec 3</dev/tty && echo controlling; stty -a; echo error >&2; ps -o tty= $$";
        let output = output_of(&shell_on_pty(script)).await;
        let mut lines = output.lines();
        let name = lines.next().unwrap();
        assert!(name.starts_with("/dev/pts/"), "{output}");
        assert_eq!(lines.next(), Some("24 80"));
        assert_eq!(lines.next(), Some("controlling"));
        assert!(output.contains(" -echo ") && output.contains(" icanon ") && output.contains(" isig "), "{output}");
        // stderr is the terminal too.
        assert!(output.contains("error\r\n"), "{output}");
        assert!(output.trim_end().ends_with(name.strip_prefix("/dev/").unwrap()), "{output}");
    });
}

#[test]
fn a_terminal_echoes_only_if_asked() {
    run(async {
        for echo in [false, true] {
            let running = spawn(&Program { pty: Some(Pty { echo }), ..shell("read line; echo got $line") }, &CONTEXT);
            let Running { io, mut child } = running.unwrap();
            let (_, master) = ends(io);
            write_all(&master, b"hello\n").await;
            let expected = if echo { "hello\r\ngot hello\r\n" } else { "got hello\r\n" };
            assert_eq!(String::from_utf8(read_to_end(&master).await).unwrap(), expected);
            assert!(child.exited().await.unwrap().success());
        }
    });
}

#[test]
fn a_program_on_pipes_has_a_session_of_its_own_and_no_terminal() {
    run(async {
        let output = output_of(&shell("ps -o pid=,pgid=,sid=,tty= $$; (exec 3</dev/tty) 2>/dev/null || echo none")).await;
        let words: Vec<&str> = output.split_whitespace().collect();
        assert_eq!(words[0], words[1]);
        assert_eq!(words[0], words[2]);
        assert_eq!(words[3..], ["?", "none"]);
    });
}

#[test]
fn our_ends_do_not_block_and_are_close_on_exec() {
    run(async {
        let check = |fd: &OwnedFd| {
            let status = rustix::fs::fcntl_getfl(fd).unwrap();
            assert!(status.contains(rustix::fs::OFlags::NONBLOCK));
            assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        };
        for program in [shell("cat"), shell_on_pty("cat")] {
            let Running { io, child } = spawn(&program, &CONTEXT).unwrap();
            match &io {
                ProgramIo::Pipes { stdin, stdout } => [stdin, stdout].map(check),
                ProgramIo::Pty { master } => [check(master), ()],
            };
            drop(child);
        }
    });
}

#[test]
fn stderr_goes_to_the_log_and_neither_blocks_nor_reaches_the_client() {
    let log = SharedLog::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    run(async {
        // Far more than a pipe holds: it would stop the program if nobody read it.
        let script = "printf 'odd \\033[2J line\\n' >&2; seq 1 100000 >&2; printf done";
        let Running { io, mut child } = spawn(&shell(script), &CONTEXT).unwrap();
        let pid = child.id();
        assert_eq!(read_to_end(&ends(io).1).await, b"done");
        child.exited().await.unwrap();
        drop(child);
        while !log.text().contains("wrote more") {
            tokio::task::yield_now().await;
        }
        let text = log.text();
        let first = text.lines().next().unwrap();
        assert!(first.contains(r#"the program wrote to stderr service="demo""#), "{first}");
        assert!(first.contains(&format!("pid={pid}")) && first.contains(r"u{1b}[2J line"), "{first}");
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().count() < 100, "{}", text.lines().count());
    });
}

#[test]
fn a_background_process_that_holds_stderr_does_not_keep_the_log_task() {
    run(async {
        let Running { io, mut child } = spawn(&shell("setsid sleep 1000 & echo $!"), &CONTEXT).unwrap();
        let (_stdin, stdout) = ends(io);
        let escaped: i32 = read_line(&stdout).await.parse().unwrap();
        child.exited().await.unwrap();
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        assert_eq!(tasks(), 1);
        child.end_with(QUICK).await.unwrap();
        while tasks() > 0 {
            tokio::task::yield_now().await;
        }
        rustix::process::kill_process(Pid::from_raw(escaped).unwrap(), Signal::KILL).unwrap();
    });
}

#[derive(Clone, Default)]
struct SharedLog(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl SharedLog {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for SharedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for SharedLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
