//! What a program starts with, and what happens if it cannot start.

use super::*;

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
        for line in &seen {
            let name = line.split('=').next().unwrap();
            assert!(INHERITED.contains(&name) || name.starts_with("LC_") || name.starts_with("PORTSPLIT_"), "{line}");
        }
        assert!(output_of(&shell_on_pty("echo term=$TERM")).await.len() > "term=\r\n".len());
    });
}

#[test]
fn the_environment_is_an_allow_list() {
    let ours = [
        ("HOME", "/home/me"),
        ("LC_TIME", "C"),
        ("TERM", "vt100"),
        ("NOTIFY_SOCKET", "/run/notify"),
        ("LISTEN_FDS", "2"),
        ("API_TOKEN", "secret"),
        ("LD_PRELOAD", "x.so"),
        ("PORTSPLIT_PEER", "stale"),
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
        "HOME=/home/me",
        "LC_TIME=C",
        path.as_str(),
        "PORTSPLIT_LOCAL=127.0.0.1:443",
        "PORTSPLIT_PEER=[::1]:5000",
        "PORTSPLIT_SERVICE=demo",
    ];
    assert_eq!(with(false), expected);
    assert_eq!(with(true), [&expected[..], &["TERM=vt100"]].concat());
}

#[test]
fn a_program_starts_with_default_signals_whatever_we_inherited() {
    if !is_alone("starting::a_program_starts_with_default_signals_whatever_we_inherited") {
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
    if !is_alone("starting::failing_to_start_leaves_nothing_behind") {
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
            for limit in 0..64 {
                set(Some(limit));
                let started = spawn(&program, &CONTEXT);
                set(files.current);
                failures += u32::from(started.is_err());
                drop(started);
                tokio::task::yield_now().await;
            }
            assert!((3..64).contains(&failures), "{failures}");
        }
        wait_for_no_children();
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_program_on_pipes_has_a_session_of_its_own_and_no_terminal() {
    run(async {
        let output =
            output_of(&shell("ps -o pid=,pgid=,sid=,tty= $$; (exec 3</dev/tty) 2>/dev/null || echo none")).await;
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
