//! Services that run a program: pipes and pty, half-close, what the child sees, and that it never outlives its client.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::backend::pattern;
use crate::support::config::{LISTEN, service};
use crate::support::process::{Proc, Signal};
use crate::support::{Portsplit, Socket, eventually};

/// One service that runs `command` (a TOML array, with further keys behind it) for clients that begin with `>`.
#[track_caller]
fn run(command: &str) -> Portsplit {
    run_with("", command)
}

#[track_caller]
fn run_with(globals: &str, command: &str) -> Portsplit {
    Portsplit::start(&format!("{globals}\n{LISTEN}{}", service("run", "prefix = '>'", &format!("exec = {command}"))))
}

fn shell(script: &str) -> String {
    format!("[\"/bin/sh\", \"-c\", '''{script}''']")
}

#[test]
fn half_close_reaches_the_programs_stdin() {
    let portsplit = run("[\"wc\", \"-c\"]");
    let client = portsplit.client_sending(">");
    client.send(vec![b'x'; 99_999]);
    client.finish();
    assert_eq!(client.answer().trim(), "100000");
}

#[test]
fn a_program_by_pty_has_a_terminal() {
    let portsplit = run("[\"tty\"]\npty = true");
    let client = portsplit.client_sending(">");
    let answer = client.answer();
    assert!(answer.trim().starts_with("/dev/pts/"), "tty said {answer:?}");
    let portsplit = run("[\"tty\"]");
    assert_eq!(portsplit.client_sending(">").answer().trim(), "not a tty");
}

#[test]
fn a_pty_is_the_controlling_terminal_has_a_size_and_does_not_echo() {
    let portsplit = run(&format!("{}\npty = true", shell("read line; stty size </dev/tty; echo \"got $line\"")));
    let client = portsplit.client_sending(">hello\n");
    let answer = client.answer();
    let lines: Vec<&str> = answer.lines().map(str::trim).collect();
    let [size, got] = lines[..] else { panic!("expected two lines, no echo: {answer:?}") };
    let numbers: Vec<u32> = size.split(' ').map(|number| number.parse().unwrap_or(0)).collect();
    assert!(numbers.len() == 2 && numbers.iter().all(|number| *number > 0), "the window size is {size:?}");
    assert_eq!(got, "got >hello");
}

#[test]
fn all_output_is_delivered_although_the_program_is_gone() {
    let len = 1_048_576;
    let portsplit = run(&shell("head -c 1048576 /dev/zero | tr '\\0' y; exit 3"));
    for _ in 0..5 {
        assert_eq!(portsplit.client_sending(">").receive_to_end().len(), len, "by pipes");
    }
    let portsplit = run(&format!("{}\npty = true", shell("head -c 1048576 /dev/zero | tr '\\0' y")));
    for _ in 0..5 {
        assert_eq!(portsplit.client_sending(">").receive_to_end().len(), len, "by pty");
    }
}

#[test]
fn bytes_pass_through_a_program_unchanged() {
    let portsplit = run("[\"cat\"]");
    let client = portsplit.client_sending(">");
    let sent = pattern(2_000_000);
    let returned = std::thread::scope(|scope| {
        let reader = scope.spawn(|| client.receive_to_end());
        client.send(&sent);
        client.finish();
        reader.join().unwrap()
    });
    assert_eq!(returned.len(), sent.len() + 1);
    assert!(returned[1..] == sent[..], "cat changed the bytes");
}

#[test]
fn the_program_sees_three_descriptors_its_own_session_and_default_signals() {
    let services = [
        service("fds", "prefix = 'f'", "exec = [\"ls\", \"/proc/self/fd\"]"),
        service("signals", "prefix = 's'", "exec = [\"grep\", \"-E\", \"^Sig(Blk|Ign)\", \"/proc/self/status\"]"),
        service("stat", "prefix = 'p'", "exec = [\"cat\", \"/proc/self/stat\"]"),
    ];
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", services.concat()));
    // Some open connections, so that there is something to inherit by mistake.
    let _others: Vec<Socket> = (0..5).map(|_| portsplit.client()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    // The fourth is the folder that ls reads.
                    assert_eq!(portsplit.client_sending("f").answer(), "0\n1\n2\n3\n");
                }
            });
        }
    });
    let masks = portsplit.client_sending("s").answer();
    assert_eq!(masks, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    let stat = portsplit.client_sending("p").answer();
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!(fields[0], fields[5], "the program leads a session of its own: {stat}");
}

#[test]
fn the_environment_tells_the_peer_and_hides_the_rest() {
    let portsplit = run("[\"env\"]");
    let client = portsplit.client_sending(">");
    let answer = client.answer();
    let vars: BTreeMap<&str, &str> = answer.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(vars.get("PORTSPLIT_SERVICE").copied(), Some("run"), "{answer}");
    assert_eq!(vars.get("PORTSPLIT_PEER").copied(), Some(client.local().as_str()), "{answer}");
    assert_eq!(vars.get("PORTSPLIT_LOCAL").copied(), Some(portsplit.address()), "{answer}");
    assert!(vars.contains_key("PATH"), "{answer}");
    let foreign: Vec<&&str> = vars.keys().filter(|name| name.starts_with("CARGO")).collect();
    assert!(foreign.is_empty(), "the program inherits {foreign:?}");
}

#[test]
fn stderr_goes_to_the_log_and_not_to_the_client() {
    let portsplit = run(&shell("echo for the client; printf 'for\\033[31m the log\\n' >&2"));
    let client = portsplit.client_sending(">");
    assert_eq!(client.answer(), "for the client\n");
    portsplit.wait_for_line("the program's stderr", |line| {
        let text = line.text();
        text.contains("the log") && !line.raw.contains(&0x1b)
    });
}

#[test]
fn a_program_that_cannot_be_started_sends_nothing_and_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "not a program").unwrap();
    for program in ["/nonexistent/program".to_owned(), plain.display().to_string()] {
        let portsplit = run(&format!("[\"{program}\"]"));
        let baseline = portsplit.process().fds();
        for _ in 0..20 {
            portsplit.client_sending(">hello").assert_closed_without_a_byte();
        }
        portsplit
            .wait_for_line("the reason why", |line| line.text().contains(&program) && line.message() != "connection");
        portsplit.assert_back_to(baseline);
    }
}

#[test]
fn a_program_that_never_reads_ends_with_its_client() {
    let portsplit = run(&shell("sleep 1000 & exec sleep 1000"));
    let baseline = portsplit.process().fds();
    let client = portsplit.client_sending(">");
    eventually("the program runs", || !portsplit.process().children().is_empty());
    let child = portsplit.process().children()[0];
    let mut grandchild = Vec::new();
    eventually("its background job runs", || {
        grandchild = Proc(child).children();
        !grandchild.is_empty()
    });
    client.abort();
    eventually("the program and its background job are gone", || {
        !Proc(child).exists() && !grandchild.iter().any(|pid| Proc(*pid).exists())
    });
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_program_that_ignores_the_polite_signals_is_killed() {
    let portsplit = run(&shell("trap '' HUP TERM INT; echo ready; while :; do sleep 1000; done"));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive_line(), "ready");
    let child = portsplit.process().children()[0];
    client.abort();
    eventually("the program is killed", || !Proc(child).exists());
}

#[test]
fn a_program_gets_hangup_before_anything_worse() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("signals");
    let trap = format!("trap 'echo HUP >>{0}; exit' HUP; echo ready; while :; do sleep 0.1; done", file.display());
    let portsplit = run(&shell(&trap));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive_line(), "ready");
    client.abort();
    eventually("the program notes the hangup", || std::fs::read_to_string(&file).is_ok_and(|text| text == "HUP\n"));
    eventually("it is reaped", || portsplit.process().children().is_empty());
}

#[test]
fn a_client_that_only_half_closed_still_gets_the_late_answer() {
    let portsplit = run(&shell("cat >/dev/null; sleep 0.3; echo late answer"));
    let client = portsplit.client_sending(">");
    client.finish();
    assert_eq!(client.answer(), "late answer\n");
}

#[test]
fn hundreds_of_programs_leave_no_zombie_and_no_descriptor() {
    let portsplit = run("[\"cat\"]");
    portsplit.client_sending(">").finish();
    eventually("the first is done", || portsplit.log().count(|line| line.message() == "connection") == 1);
    let baseline = portsplit.process().fds();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let portsplit = &portsplit;
            scope.spawn(move || {
                for round in 0..75 {
                    let client = portsplit.client_sending(">x");
                    match (worker + round) % 3 {
                        0 => client.abort(),
                        1 => drop(client),
                        _ => {
                            client.finish();
                            assert_eq!(client.receive_to_end(), b">x");
                        }
                    }
                }
            });
        }
    });
    eventually("every connection is logged", || portsplit.log().count(|line| line.message() == "connection") == 301);
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_fallback_and_a_timeout_can_run_programs() {
    let services = [
        service("ssh", "prefix = 'SSH-'", "close = true"),
        service("fallback", "", "exec = [\"/bin/sh\", \"-c\", \"echo $PORTSPLIT_SERVICE; cat\"]"),
        service("timeout", "", "exec = [\"/bin/sh\", \"-c\", \"echo $PORTSPLIT_SERVICE; cat\"]"),
    ];
    let portsplit = Portsplit::start(&format!("timeout = \"300ms\"\n{LISTEN}{}", services.concat()));
    let client = portsplit.client_sending("who are you?");
    client.finish();
    assert_eq!(client.answer(), "fallback\nwho are you?");
    let client = portsplit.client_sending("SS");
    assert_eq!(client.receive_line(), "timeout");
    client.finish();
    assert_eq!(client.answer(), "SS");
}

#[test]
fn drain_ends_programs_that_do_not_end_by_themselves() {
    let mut portsplit = run_with("drain_timeout = \"500ms\"", &shell("echo ready; sleep 1000"));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive_line(), "ready");
    let child = portsplit.process().children()[0];
    portsplit.signal(crate::support::process::Signal::TERM);
    portsplit.wait_within(Duration::from_secs(10));
    eventually("the program is gone", || !Proc(child).exists());
}

#[test]
fn a_program_that_reads_nothing_ends_with_a_client_that_sent_more_than_fits() {
    let portsplit = run("[\"sleep\", \"1000\"]");
    let baseline = portsplit.process().fds();
    let client = portsplit.client_sending(">");
    eventually("the program runs", || !portsplit.process().children().is_empty());
    client.fill();
    client.abort();
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_program_that_has_closed_its_output_gets_all_input_and_finishes_its_work() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("upload");
    for script in ["exec cat >$1", "exec >&-; sleep 0.3; cat >$1"] {
        let portsplit = run(&shell(&script.replace("$1", &file.display().to_string())));
        let sent = [b">", &pattern(50_000)[..]].concat();
        let client = portsplit.client_sending(&sent);
        client.finish();
        client.assert_closed_without_a_byte();
        let line = portsplit.connection_of(&client.local());
        assert_eq!(line.field("exit"), "", "{script}: it did not end by itself");
        assert!(std::fs::read(&file).unwrap() == sent, "{script}: the bytes differ");
    }
}

#[test]
fn a_program_that_has_closed_its_output_and_does_not_end_is_ended() {
    let portsplit = run_with("half_close_timeout = \"500ms\"", &shell("exec >&-; exec sleep 1000"));
    let client = portsplit.client_sending(">");
    eventually("the program runs", || !portsplit.process().children().is_empty());
    client.finish();
    client.assert_closed_without_a_byte();
    eventually("the program is gone", || portsplit.process().children().is_empty());
}

#[test]
fn packets_of_a_program_are_not_left_in_its_pipe() {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let wait = format!("echo ready; until [ -e {} ]; do sleep 0.01; done", go.display());
    let portsplit = run(&shell(&format!("{wait}; echo one; echo two; echo three; read line")));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive_line(), "ready");
    // Each write is a packet then, and each read takes one.
    let output = Proc(portsplit.process().children()[0]).descriptor(1).unwrap();
    fcntl_setfl(&output, fcntl_getfl(&output).unwrap() | OFlags::DIRECT).unwrap();
    portsplit.pause();
    std::fs::write(&go, "").unwrap();
    eventually("the program has written everything", || rustix::io::ioctl_fionread(&output).unwrap() == 14);
    portsplit.signal(Signal::CONT);
    assert_eq!(client.receive(14), b"one\ntwo\nthree\n");
}

#[test]
fn a_program_that_closes_its_stdin_can_still_answer() {
    let portsplit = run(&shell("exec 0<&-; sleep 0.3; echo late answer"));
    for _ in 0..5 {
        let client = portsplit.client_sending(">");
        client.send(vec![b'x'; 300_000]);
        assert_eq!(client.receive_line(), "late answer");
    }
}

#[test]
fn a_background_job_that_holds_the_output_does_not_hold_the_connection() {
    for pty in ["", "\npty = true"] {
        let portsplit = run(&format!("{}{pty}", shell("trap '' HUP; sleep 1000 & echo done $!")));
        let baseline = portsplit.process().fds();
        let started = Instant::now();
        let client = portsplit.client_sending(">");
        let line = client.receive_line();
        let job: u32 = line.strip_prefix("done ").and_then(|pid| pid.parse().ok()).expect("it names its job");
        client.drain();
        assert!(started.elapsed() < Duration::from_secs(9), "the job held the connection for {:?}", started.elapsed());
        eventually("the job is ended too", || !Proc(job).exists());
        drop(client);
        portsplit.assert_back_to(baseline);
    }
}

#[test]
fn a_background_job_that_goes_on_writing_does_not_hold_the_connection() {
    let portsplit = run(&shell("trap '' HUP; echo done; while :; do echo more; sleep 0.01; done &"));
    let baseline = portsplit.process().fds();
    let started = Instant::now();
    let client = portsplit.client_sending(">");
    assert!(client.receive_to_end().starts_with(b"done\n"));
    assert!(started.elapsed() < Duration::from_secs(9), "the job held the connection for {:?}", started.elapsed());
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_client_that_reads_late_gets_all_output_of_a_program_that_has_ended() {
    // From what fits into the sockets to what makes the program wait: for some of these a part is left in the pipe and
    // in the relay when the program ends.
    let lens: Vec<usize> = (100_000..=400_000).step_by(20_000).collect();
    let dir = tempfile::tempdir().unwrap();
    let services = lens.iter().map(|len| {
        service(
            &len.to_string(),
            &format!("prefix = '{len}>'"),
            &format!("exec = [\"head\", \"-c\", \"{len}\", \"/dev/zero\"]"),
        )
    });
    let listen = format!("listen = [\"unix:{}/s\"]\n", dir.path().display());
    let portsplit = Portsplit::start(&format!("{listen}{}", services.collect::<String>()));
    let clients: Vec<Socket> = lens.iter().map(|len| portsplit.client_sending(format!("{len}>"))).collect();
    eventually("some programs have ended and others wait", || {
        (1..lens.len()).contains(&portsplit.process().children().len())
    });
    // Longer than the output of a program may be held open by others.
    std::thread::sleep(Duration::from_millis(5_500));
    for (client, len) in clients.iter().zip(lens) {
        let (got, end) = client.drain();
        assert_eq!((got.len(), end), (len, crate::support::client::End::Eof));
    }
}

#[test]
fn a_client_that_reads_late_gets_what_an_enlarged_pipe_holds() {
    let dir = tempfile::tempdir().unwrap();
    let len = 1 << 20;
    let (listen, go) = (dir.path().join("s"), dir.path().join("go"));
    let wait = format!("echo ready; until [ -e {} ]; do sleep 0.01; done", go.display());
    let script = format!("{wait}; exec head -c {len} /dev/zero");
    let run = service("run", "prefix = '>'", &format!("exec = {}", shell(&script)));
    let portsplit = Portsplit::start(&format!("listen = [\"unix:{}\"]\n{run}", listen.display()));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive_line(), "ready");
    let output = Proc(portsplit.process().children()[0]).descriptor(1).unwrap();
    rustix::pipe::fcntl_setpipe_size(&output, len).unwrap();
    drop(output);
    std::fs::write(&go, "").unwrap();
    eventually("the program has ended", || portsplit.process().children().is_empty());
    // Longer than the output of a program may be held open by others.
    std::thread::sleep(Duration::from_millis(5_500));
    assert_eq!(client.receive_to_end().len(), len);
}

#[test]
fn bytes_pass_through_a_pty_with_the_terminals_own_line_ends() {
    let portsplit = run("[\"cat\"]\npty = true");
    let client = portsplit.client_sending(">one\ntwo\n");
    assert_eq!((client.receive_line(), client.receive_line()), (">one".to_owned(), "two".to_owned()));
}

#[test]
fn a_slow_client_gets_a_programs_output_complete_and_holds_no_memory() {
    let portsplit = run(&shell("head -c 50000000 /dev/zero"));
    assert_eq!(portsplit.client_sending(">").receive_to_end().len(), 50_000_000);
    let before = portsplit.process().rss_kib();
    let clients: Vec<Socket> = (0..10).map(|_| portsplit.client_sending(">")).collect();
    eventually("all programs run and wait", || portsplit.process().children().len() == 10);
    let grown = portsplit.process().rss_kib().saturating_sub(before);
    assert!(grown < 4096, "ten waiting programs hold {grown} KiB");
    for client in clients {
        client.finish();
        assert_eq!(client.receive_to_end().len(), 50_000_000);
    }
}

#[test]
fn programs_run_as_the_user_that_the_server_became() {
    if !crate::support::tools::are_root() {
        return;
    }
    let portsplit = run_with("user = \"nobody\"", "[\"id\", \"-un\"]");
    assert_eq!(portsplit.client_sending(">").answer(), "nobody\n");
    portsplit.stop();
}

#[test]
fn a_killed_server_leaves_no_program_behind() {
    let mut portsplit = run(&shell("trap '' HUP; echo ready; exec sleep 1000"));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive_line(), "ready");
    let child = portsplit.process().children()[0];
    portsplit.signal(crate::support::process::Signal::KILL);
    portsplit.wait_within(Duration::from_secs(5));
    // Process 1 reaps it, or, in a container without a good one, it stays as a zombie: it runs no more either way.
    eventually("the program is gone", || !Proc(child).exists() || Proc(child).status("State").starts_with('Z'));
}

#[test]
fn a_terminal_echoes_when_asked_to() {
    let portsplit = run("[\"cat\"]\npty = true\necho = true");
    let client = portsplit.client_sending(">hello\n");
    assert_eq!((client.receive_line(), client.receive_line()), (">hello".to_owned(), ">hello".to_owned()));
}
