//! Start to end: draining, the second signal, the pid file, and giving up privileges.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::backend::pattern;
use crate::support::config::{LISTEN, all_to, all_to_with};
use crate::support::portsplit::run_config;
use crate::support::process::{Signal, Tracer};
use crate::support::{Backend, Portsplit, Socket, assert_took, eventually, tools};

/// A backend that sends half of its answer, waits for the test's word, and sends the rest.
fn backend_in_two_parts(len: usize) -> (Backend, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let backend = Backend::tcp(move |socket| {
        let bytes = pattern(len);
        let (first, second) = bytes.split_at(len / 2);
        socket.receive(1);
        socket.send(first);
        let _ = wait.lock().unwrap().recv_timeout(crate::support::PATIENCE);
        socket.send(second);
    });
    (backend, go)
}

fn refuses(address: &str) -> bool {
    Socket::try_connect(address).is_err()
}

#[test]
fn both_signals_drain_a_running_transfer_to_its_last_byte() {
    for signal in [Signal::TERM, Signal::INT] {
        let (backend, go) = backend_in_two_parts(4_000_000);
        let mut portsplit = Portsplit::start(&all_to(&backend));
        let address = portsplit.address().to_owned();
        let client = portsplit.client_sending(">");
        assert_eq!(client.receive(1000), pattern(1000));
        portsplit.signal(signal);
        eventually("new connections are refused", || refuses(&address));
        assert!(portsplit.runs(), "it waits for the open connection");
        go.send(()).unwrap();
        client.finish();
        assert!(client.receive_to_end() == pattern(4_000_000)[1000..], "the transfer is complete");
        let ended = Instant::now();
        assert_eq!(portsplit.wait_within(Duration::from_secs(10)).code(), Some(0));
        assert!(ended.elapsed() < Duration::from_secs(3), "it ends with the last connection: {:?}", ended.elapsed());
    }
}

#[test]
fn without_connections_a_signal_ends_it_at_once() {
    let backend = Backend::echo();
    let mut portsplit = Portsplit::start(&all_to(&backend));
    let started = Instant::now();
    portsplit.signal(Signal::TERM);
    assert_eq!(portsplit.wait_within(Duration::from_secs(10)).code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(2), "it took {:?}", started.elapsed());
}

#[test]
fn undecided_connections_do_not_hold_up_the_end_for_long() {
    let backend = Backend::echo();
    let mut portsplit = Portsplit::start(&all_to_with("timeout = \"1s\"", &backend));
    let silent: Vec<Socket> = (0..100).map(|_| portsplit.client()).collect();
    eventually("all are accepted", || portsplit.process().sockets() > 100);
    portsplit.signal(Signal::TERM);
    assert_eq!(portsplit.wait_within(Duration::from_secs(5)).code(), Some(0));
    drop(silent);
}

#[test]
fn drain_timeout_cuts_what_does_not_end() {
    let backend = Backend::echo();
    let mut portsplit = Portsplit::start(&all_to_with("drain_timeout = \"700ms\"", &backend));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive(1), b">");
    let started = Instant::now();
    portsplit.signal(Signal::TERM);
    let peer = client.local();
    client.drain();
    assert_took("the cut", started.elapsed(), 650, 2500);
    portsplit.wait_within(Duration::from_secs(5));
    let line = portsplit.connection_of(&peer);
    assert_eq!((line.number("bytes_in"), line.number("bytes_out")), (1, 1), "{}", line.text());
    assert_eq!(line.field("end"), "cut-off");
    portsplit.wait_for_line("the counts", |line| line.message() == "stopped");
    let lines = portsplit.log().lines();
    assert_eq!(lines.last().map(|line| line.message()), Some("stopped"), "the counts come last");
}

#[test]
fn a_second_signal_stops_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)] {
        let backend = Backend::echo();
        let mut portsplit = Portsplit::start(&all_to_with("drain_timeout = \"60s\"", &backend));
        let address = portsplit.address().to_owned();
        let client = portsplit.client_sending(">");
        assert_eq!(client.receive(1), b">");
        portsplit.signal(first);
        eventually("it drains", || refuses(&address));
        assert!(portsplit.runs());
        let started = Instant::now();
        portsplit.signal(second);
        portsplit.wait_within(Duration::from_secs(5));
        assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
    }
}

#[test]
fn the_pid_file_is_written_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portsplit.pid");
    let backend = Backend::echo();
    let globals = format!("pid_file = \"{}\"", file.display());
    let portsplit = Portsplit::start(&all_to_with(&globals, &backend));
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.trim(), portsplit.process().0.to_string());
    portsplit.stop();
    assert!(!file.exists());
}

#[test]
fn a_stale_pid_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portsplit.pid");
    // The process id of a program that has ended: as after a crash.
    let mut ended = tools::quiet("true").spawn().unwrap();
    ended.wait().unwrap();
    std::fs::write(&file, format!("{}\n", ended.id())).unwrap();
    let backend = Backend::echo();
    let globals = format!("pid_file = \"{}\"", file.display());
    let portsplit = Portsplit::start(&all_to_with(&globals, &backend));
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), portsplit.process().0.to_string());
    portsplit.stop();
}

#[test]
fn a_killed_instance_does_not_keep_the_next_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let (file, socket) = (dir.path().join("portsplit.pid"), dir.path().join("listen.sock"));
    let backend = Backend::tag("web");
    let globals = format!("pid_file = \"{}\"\nlisten = [\"unix:{}\"]\n", file.display(), socket.display());
    let config = format!("{globals}{}", crate::support::config::to(&backend, "web", "prefix = '>'"));
    let mut first = Portsplit::start(&config);
    first.signal(Signal::KILL);
    first.wait_within(Duration::from_secs(5));
    assert!(file.exists() && socket.exists(), "a killed process cleans nothing up");
    let second = Portsplit::start(&config);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), second.process().0.to_string());
    assert_eq!(second.client_sending(">").receive_line(), "web");
    second.stop();
    assert!(!file.exists() && !socket.exists());
}

#[test]
fn the_pid_file_of_a_running_instance_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portsplit.pid");
    let backend = Backend::echo();
    let config = all_to_with(&format!("pid_file = \"{}\"", file.display()), &backend);
    let portsplit = Portsplit::start(&config);
    let output = run_config(&config);
    assert!(matches!(output.code, Some(1 | 2)), "exit {:?}: {}", output.code, output.stderr);
    assert!(output.stderr.contains(&file.display().to_string()), "{}", output.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), portsplit.process().0.to_string());
}

#[test]
fn a_link_at_the_pid_files_path_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("precious"), dir.path().join("portsplit.pid"));
    std::fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let backend = Backend::echo();
    let output_or_run = all_to_with(&format!("pid_file = \"{}\"", link.display()), &backend);
    let output = run_config(&output_or_run);
    assert!(matches!(output.code, Some(1 | 2)), "exit {:?}: {}", output.code, output.stderr);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn user_and_group_are_given_up_after_binding() {
    if !tools::are_root() {
        return;
    }
    let backend = Backend::tag("web");
    let nobody = tools::run("id", &["-u", "nobody"]).text();
    let nobody = nobody.trim();
    let group = tools::run("id", &["-g", "nobody"]).text();
    let portsplit = Portsplit::start(&all_to_with("user = \"nobody\"", &backend));
    let process = portsplit.process();
    assert_eq!(process.status("Uid").split('\t').collect::<Vec<_>>(), [nobody; 4]);
    assert_eq!(process.status("Gid").split('\t').collect::<Vec<_>>(), [group.trim(); 4]);
    assert!(["", group.trim()].contains(&process.status("Groups").trim()), "groups: {}", process.status("Groups"));
    assert_eq!(portsplit.client_sending(">").receive_line(), "web");
    portsplit.stop();

    let daemon = tools::run("id", &["-g", "daemon"]).text();
    let portsplit = Portsplit::start(&all_to_with("user = \"nobody\"\ngroup = \"daemon\"", &backend));
    assert_eq!(portsplit.process().status("Gid").split('\t').collect::<Vec<_>>(), [daemon.trim(); 4]);
    // Every thread, not only the first.
    let tasks = std::fs::read_dir(format!("/proc/{}/task", portsplit.process().0)).unwrap();
    for task in tasks.flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap();
        assert!(uid.starts_with(nobody), "thread {:?} runs as {uid}", task.file_name());
    }
}

#[test]
fn an_unknown_user_is_a_configuration_error() {
    let config = format!(
        "user = \"no-such-user\"\n{LISTEN}{}",
        crate::support::config::service("x", "prefix = 'x'", "close = true")
    );
    let output = run_config(&config);
    assert!(matches!(output.code, Some(1 | 2)), "exit {:?}: {}", output.code, output.stderr);
    assert!(output.stderr.contains("no-such-user"), "{}", output.stderr);
}

#[test]
fn fifty_transfers_are_complete_after_a_drain() {
    let len = 3_000_000;
    let backend = Backend::source(len);
    let mut portsplit = Portsplit::start(&all_to(&backend));
    let clients: Vec<Socket> = (0..50).map(|_| portsplit.client_sending(">")).collect();
    eventually("all have an upstream", || backend.accepted() == 50);
    portsplit.signal(Signal::TERM);
    let expected = pattern(len);
    for client in &clients {
        client.finish();
        assert!(client.receive_to_end() == expected, "a transfer was cut");
    }
    assert_eq!(portsplit.wait_within(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn a_hangup_while_draining_changes_nothing() {
    let (backend, go) = backend_in_two_parts(100_000);
    let mut portsplit = Portsplit::start(&all_to(&backend));
    let address = portsplit.address().to_owned();
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive(1000), pattern(1000));
    portsplit.signal(Signal::TERM);
    eventually("it drains", || refuses(&address));
    portsplit.signal(Signal::HUP);
    go.send(()).unwrap();
    client.finish();
    assert!(client.receive_to_end() == pattern(100_000)[1000..]);
    assert!(refuses(&address), "it does not listen again");
    assert_eq!(portsplit.wait_within(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn every_number_of_workers_serves() {
    let backend = Backend::tag("web");
    for workers in [0, 1, 2, 5] {
        let portsplit = Portsplit::start(&all_to_with(&format!("workers = {workers}"), &backend));
        for _ in 0..20 {
            assert_eq!(portsplit.client_sending(">").receive_line(), "web", "with workers = {workers}");
        }
        portsplit.stop();
    }
}

#[test]
fn a_drain_timeout_of_zero_cuts_at_once() {
    let backend = Backend::echo();
    let mut portsplit = Portsplit::start(&all_to_with("drain_timeout = \"0s\"", &backend));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive(1), b">");
    let started = Instant::now();
    portsplit.signal(Signal::TERM);
    assert_eq!(portsplit.wait_within(Duration::from_secs(5)).code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(2), "it took {:?}", started.elapsed());
}

#[test]
fn signals_are_heard_although_they_were_blocked_at_the_start() {
    let backend = Backend::tag("web");
    let config = all_to(&backend);
    let portsplit = Portsplit::start_under(&["env", "--block-signal=HUP,INT,TERM"], &config);
    assert_eq!(portsplit.reload(&config).message(), "reloaded");
    portsplit.stop();
}

#[test]
fn a_user_that_cannot_read_the_configuration_is_warned_about() {
    if !tools::are_root() {
        return;
    }
    let backend = Backend::tag("web");
    // Makes the file one that only its owner can read, and becomes the program.
    let guarded = ["sh", "-c", r#"chmod 600 "$2" && exec "$0" "$@""#];
    for (user, warned) in [("nobody", true), ("root", false)] {
        let portsplit = Portsplit::start_under(&guarded, &all_to_with(&format!("user = \"{user}\""), &backend));
        let lines = portsplit.log().count(|line| line.message().contains("cannot read the configuration"));
        assert_eq!(lines, usize::from(warned), "{}", portsplit.log().text());
    }
}

#[test]
fn whoever_is_started_as_the_user_of_the_file_needs_no_right_to_become_it() {
    use std::os::unix::fs::PermissionsExt;
    if !tools::are_root() || !tools::have(&["setpriv"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (program, file) = (dir.path().join("portsplit"), dir.path().join("x.toml"));
    std::fs::copy(crate::support::portsplit::program(), &program).unwrap();
    let nobody = tools::run("id", &["-u", "nobody"]).text();
    let group = tools::run("id", &["-g", "nobody"]).text();
    let port = crate::support::portsplit::free_port();
    for (user, starts) in [("nobody", true), ("daemon", false)] {
        let close = crate::support::config::service("x", "prefix = 'x'", "close = true");
        std::fs::write(&file, format!("user = \"{user}\"\nlisten = [\"127.0.0.1:{port}\"]\n{close}")).unwrap();
        let mut command = tools::quiet("setpriv");
        command.args([&format!("--reuid={}", nobody.trim()), &format!("--regid={}", group.trim()), "--clear-groups"]);
        let mut child = command.arg(&program).arg("-c").arg(&file).spawn().unwrap();
        if starts {
            let address = format!("127.0.0.1:{port}");
            eventually("it listens", || Socket::try_connect(&address).is_ok());
            crate::support::process::signal(child.id(), Signal::TERM);
        }
        let ended = crate::support::process::wait_within(&mut child, crate::support::PATIENCE);
        assert_eq!(ended.and_then(|status| status.code()), Some(i32::from(!starts)), "as {user}");
    }
}

#[test]
fn a_connection_that_is_just_being_accepted_is_drained_too() {
    if !tools::have(&["strace"]) {
        return;
    }
    let backend = Backend::tag("web");
    let portsplit = Portsplit::start(&all_to_with("workers = 1", &backend));
    // The worker has the connection, and takes its time to say so.
    let _tracer = Tracer::attach(portsplit.process(), "accept4:delay_exit=500000:when=1");
    let sockets = portsplit.process().sockets();
    let client = portsplit.client_sending(">hello");
    eventually("the worker has the connection", || portsplit.process().sockets() > sockets);
    portsplit.signal(Signal::TERM);
    client.finish();
    assert_eq!(client.answer(), "web\n>hello");
    portsplit.stop();
}
