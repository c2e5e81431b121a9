//! How programs end, and that nothing of them is left.

use super::*;

#[test]
fn hundreds_of_programs_ended_in_every_way_leave_no_zombie_and_no_descriptor() {
    if !is_alone("ending::hundreds_of_programs_ended_in_every_way_leave_no_zombie_and_no_descriptor") {
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
        if index.is_multiple_of(2) {
            child.end_with(BRISK).await.unwrap();
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
        // The tasks that log stderr have yet to see that their programs ended.
        wait_for(|| open_descriptors() == before).await;
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
                assert_dies(&descendant);
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
        assert_dies(&background);
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
        wait_for(|| std::fs::read_to_string(&stat).unwrap().contains(") T ")).await;
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
    wait_until(|| !exists(&leader));
    assert_dies(&descendant);
    assert_eq!(run(read_to_end(&stdout)), b"");
}

#[test]
fn a_program_dies_with_the_thread_that_started_it() {
    let (child, stdout) = std::thread::spawn(|| {
        run(async {
            let Running { io, child } =
                spawn(&shell("trap '' HUP TERM; echo ready; exec sleep 1000"), &CONTEXT).unwrap();
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
    assert_dies(&child.id().to_string());
}
