//! Limits on connections, obeyed and violated, and what happens when descriptors run out.

use std::time::{Duration, Instant};

use crate::support::config::{all_to_with, to};
use crate::support::process::Signal;
use crate::support::{Backend, Portsplit, Socket, assert_took, eventually, eventually_within, report, tools};

/// Opens a connection that is relayed to an echo backend, and proves that it is.
#[track_caller]
fn echoed(socket: Socket) -> Socket {
    socket.send(">");
    assert_eq!(socket.receive(1), b">");
    socket
}

/// Whether a connection from `source` is served.
fn is_served(portsplit: &Portsplit, source: &str) -> bool {
    use std::io::{Read, Write};
    let socket = Socket::connect_from(source, portsplit.address());
    let sent = (&mut &socket).write_all(b">").is_ok();
    sent && (&mut &socket).read_exact(&mut [0]).is_ok()
}

#[test]
fn max_connections_are_open_at_once_and_no_more() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to_with("max_connections = 5\ntimeout = \"60s\"", &backend));
    let mut open: Vec<Socket> = (0..5).map(|_| echoed(portsplit.client())).collect();
    for _ in 0..20 {
        let refused = portsplit.client();
        assert!(refused.assert_closed_without_a_byte() < Duration::from_secs(1));
    }
    for client in &open {
        client.send("still here");
        assert_eq!(client.receive(10), b"still here");
    }
    // One place becomes free, and exactly one.
    drop(open.pop());
    eventually("a place is free again", || is_served(&portsplit, "127.0.0.1"));
    assert_eq!(open.len(), 4);
    // Many more come and go: a count that drifts would show here.
    for _ in 0..50 {
        eventually("a connection is served", || is_served(&portsplit, "127.0.0.1"));
    }
    assert!(open.iter().all(Socket::is_quiet));
    let limits = portsplit.log().count(|line| line.text().contains("limit"));
    assert!((1..=10).contains(&limits), "{limits} lines about the limit");
}

#[test]
fn max_undecided_connections_wait_at_once_and_no_more() {
    let backend = Backend::echo();
    let globals = "max_connections = 100\nmax_undecided = 3\ntimeout = \"60s\"";
    let portsplit = Portsplit::start(&all_to_with(globals, &backend));
    // Decided connections do not count.
    let decided: Vec<Socket> = (0..10).map(|_| echoed(portsplit.client())).collect();
    let sockets = portsplit.process().sockets();
    let mut waiting: Vec<Socket> = (0..3).map(|_| portsplit.client()).collect();
    eventually("the three are accepted", || portsplit.process().sockets() == sockets + 3);
    let refused = portsplit.client();
    assert!(refused.assert_closed_without_a_byte() < Duration::from_secs(1));
    assert!(waiting.iter().all(Socket::is_quiet), "those within the limit wait on");
    // A decision frees a place as an end does.
    let first = echoed(waiting.remove(0));
    let again = portsplit.client();
    assert!(again.is_quiet(), "and the next one waits");
    drop(echoed(again));
    drop(waiting.pop());
    eventually("a place is free again", || is_served(&portsplit, "127.0.0.1"));
    drop((first, decided));
}

#[test]
fn max_connections_per_source_count_each_source_for_itself() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to_with("max_connections_per_source = 2\ntimeout = \"60s\"", &backend));
    let from = |source: &str| Socket::connect_from(source, portsplit.address());
    let open: Vec<Socket> = ["127.0.0.2", "127.0.0.2", "127.0.0.3"].map(|source| echoed(from(source))).into();
    for _ in 0..10 {
        assert!(from("127.0.0.2").assert_closed_without_a_byte() < Duration::from_secs(1));
    }
    let second = echoed(from("127.0.0.3"));
    assert!(from("127.0.0.3").assert_closed_without_a_byte() < Duration::from_secs(1));
    assert!(is_served(&portsplit, "127.0.0.4"), "other sources are not affected");
    drop(second);
    eventually("the place of 127.0.0.3 is free again", || is_served(&portsplit, "127.0.0.3"));
    assert!(from("127.0.0.2").assert_closed_without_a_byte() < Duration::from_secs(1), "and only that one");
    drop(open);
    eventually("all places are free again", || is_served(&portsplit, "127.0.0.2"));
}

#[test]
fn undecided_connections_count_for_their_source_too() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to_with("max_connections_per_source = 2\ntimeout = \"60s\"", &backend));
    let sockets = portsplit.process().sockets();
    let _silent = [0; 2].map(|_| Socket::connect_from("127.0.0.5", portsplit.address()));
    eventually("both are accepted", || portsplit.process().sockets() == sockets + 2);
    Socket::connect_from("127.0.0.5", portsplit.address()).assert_closed_without_a_byte();
    assert!(is_served(&portsplit, "127.0.0.6"));
}

#[test]
fn an_ipv6_source_and_a_unix_listener_have_limits_that_fit_them() {
    let backend = Backend::echo();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("listen.sock");
    let globals = format!(
        "max_connections_per_source = 2\ntimeout = \"60s\"\nlisten = [\"[::1]:0\", \"unix:{}\"]\n",
        socket.display()
    );
    let portsplit = Portsplit::start(&format!("{globals}{}", to(&backend, "all", "prefix = '>'")));
    let _open: Vec<Socket> = (0..2).map(|_| echoed(portsplit.client())).collect();
    portsplit.client().assert_closed_without_a_byte();
    // Clients of a unix socket have no address to count by.
    let _unix: Vec<Socket> = (0..5).map(|_| echoed(Socket::connect(portsplit.nth_address(1)))).collect();
}

#[test]
fn no_limit_per_source_means_none() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to_with("max_connections_per_source = 0", &backend));
    let open: Vec<Socket> = (0..200).map(|_| echoed(portsplit.client())).collect();
    assert_eq!(open.len(), 200);
}

#[test]
fn the_soft_limit_on_open_files_is_raised_to_the_hard_one() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start_under(&["prlimit", "--nofile=256:5000"], &all_to_with("", &backend));
    assert_eq!(portsplit.process().nofile(), 5000);
    let open: Vec<Socket> = (0..300).map(|_| echoed(portsplit.client())).collect();
    assert_eq!(open.len(), 300);
}

#[test]
fn running_out_of_descriptors_neither_spins_nor_ends_the_listener() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to_with("timeout = \"60s\"\nmax_connections = 2000", &backend));
    let kept = echoed(portsplit.client());
    let process = portsplit.process();
    process.limit_nofile(64);
    let waiting: Vec<Socket> = (0..300).map(|_| portsplit.client()).collect();
    eventually("descriptors have run out", || process.fds() >= 60);
    let (cpu, lines, window) = (process.cpu(), portsplit.log().len(), Duration::from_secs(4));
    let started = Instant::now();
    while started.elapsed() < window {
        kept.send("alive");
        assert_eq!(kept.receive(5), b"alive", "open connections are not affected");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (used, logged) = (process.cpu() - cpu, portsplit.log().len() - lines);
    report(&format!("out of descriptors for {window:?}: {used:?} of processor time, {logged} log lines"));
    assert!(used <= window / 10, "it used {used:?} in {window:?}");
    assert!(logged <= 40, "{logged} log lines in {window:?}");
    drop(waiting);
    eventually_within(Duration::from_secs(5), "it accepts again", || is_served(&portsplit, "127.0.0.1"));
    assert_eq!(portsplit.process().nofile(), 64);
}

#[test]
fn pipes_that_nobody_uses_make_room_for_connections() {
    let (bulk, echo) = (Backend::source(8 << 20), Backend::echo());
    let program = crate::support::config::service("program", "prefix = 'p'", "exec = [\"cat\"]");
    let services = [to(&bulk, "bulk", "prefix = 'd'"), to(&echo, "echo", "prefix = '>'"), program].concat();
    let globals = format!("workers = 1\ntimeout = \"60s\"\nsplice = \"always\"\n{}", crate::support::config::LISTEN);
    let portsplit = Portsplit::start(&format!("{globals}{services}"));
    let process = portsplit.process();
    let sockets = process.sockets();
    // Each has a pipe of its own while its client does not read.
    let stuck: Vec<Socket> = (0..8).map(|_| portsplit.client_sending("d")).collect();
    eventually("bytes are stuck in eight pipes", || process.own_pipes() >= 8);
    for client in stuck {
        client.finish();
        assert_eq!(client.receive_to_end().len(), 8 << 20);
    }
    eventually("only the pipes are left", || process.sockets() == sockets);
    let pipes = process.own_pipes();
    assert!(pipes >= 8, "they wait for others that need them");
    let room = process.limit_nofile(64) - 4;
    let silent: Vec<Socket> = (0..room).map(|_| portsplit.client()).collect();
    eventually("four descriptors are left", || process.sockets() == sockets + room);
    // A program takes more than four for a moment.
    let served = portsplit.client_sending("p");
    assert_eq!(served.receive(1), b"p");
    drop(served);
    eventually("the program has ended", || process.sockets() == sockets + room && process.children().is_empty());
    // Two connections fit as it is, and as many more as there were pipes.
    let open: Vec<Socket> = (0..pipes).map(|_| echoed(portsplit.client())).collect();
    assert!(open.iter().chain(&silent).all(Socket::is_quiet));
}

#[test]
fn exactly_at_the_limit_on_open_files_nobody_is_told_that_accepting_fails() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to_with("workers = 1\ntimeout = \"60s\"", &backend));
    let process = portsplit.process();
    let sockets = process.sockets();
    let room = process.limit_nofile(64);
    let mut silent: Vec<Socket> = (0..room).map(|_| portsplit.client()).collect();
    eventually("the last descriptor is taken", || process.sockets() == sockets + room);
    std::thread::sleep(Duration::from_millis(300));
    let complaints = || portsplit.log().count(|line| line.message() == "cannot accept for now");
    assert_eq!(complaints(), 0, "nobody waits");
    let late = portsplit.client_sending(">");
    eventually("somebody waits", || complaints() > 0);
    assert!(portsplit.log().text().contains("raise the limit on open files"));
    // Both of them end at once, since one connection takes two.
    portsplit.pause();
    silent.truncate(room - 2);
    portsplit.signal(Signal::CONT);
    assert_eq!(late.receive(1), b">");
}

#[test]
fn too_few_open_files_are_refused_at_the_start() {
    for (most, enough) in [(7, false), (31, false), (32, true)] {
        let output = std::process::Command::new("prlimit")
            .args([&format!("--nofile={most}:{most}"), env!("CARGO_BIN_EXE_portsplit"), "--config", "no such file"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(if enough { 2 } else { 1 }), "{most}: {text}");
        assert_eq!(text.contains("open files are allowed; raise LimitNOFILE"), !enough, "{most}: {text}");
        assert_eq!(text.lines().count() == 1, !enough, "{most}: {text}");
    }
}

#[test]
fn a_flood_past_the_limit_does_not_touch_the_others() {
    let backend = Backend::echo();
    let globals = "max_connections = 2000\nmax_connections_per_source = 100\ntimeout = \"60s\"";
    let portsplit = Portsplit::start(&all_to_with(globals, &backend));
    let flood: Vec<Socket> = (0..1000).map(|_| Socket::connect_from("127.0.1.1", portsplit.address())).collect();
    for _ in 0..50 {
        let started = Instant::now();
        assert!(is_served(&portsplit, "127.0.2.1"));
        assert_took("a connection during the flood", started.elapsed(), 0, 500);
    }
    assert_eq!(flood.iter().filter(|client| client.is_quiet()).count(), 100, "exactly the limit is kept");
}

#[test]
fn a_quarter_of_max_connections_may_be_undecided_by_default() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to_with("max_connections = 12\ntimeout = \"60s\"", &backend));
    let sockets = portsplit.process().sockets();
    let waiting: Vec<Socket> = (0..3).map(|_| portsplit.client()).collect();
    eventually("the three are accepted", || portsplit.process().sockets() == sockets + 3);
    assert!(portsplit.client().assert_closed_without_a_byte() < Duration::from_secs(1));
    assert!(waiting.iter().all(Socket::is_quiet));
}

#[test]
fn errors_of_accept_do_not_stop_the_listener() {
    if !tools::have(&["strace"]) {
        return;
    }
    let errors =
        ["ECONNABORTED", "EPROTO", "ENETDOWN", "EHOSTDOWN", "EPERM", "ENOBUFS", "ENOMEM", "ENFILE", "EMFILE", "EINTR"];
    for error in errors {
        let backend = Backend::tag("web");
        // `-D` makes the tracer a child of the program instead of its parent. The first three accepts of a thread fail.
        let inject = format!("inject=accept,accept4:error={error}:when=1..3");
        let strace = ["strace", "-D", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=accept,accept4", "-e", &inject];
        let portsplit = Portsplit::start_under(&strace, &all_to_with("workers = 1", &backend));
        for _ in 0..5 {
            assert_eq!(portsplit.client_sending(">").receive_line(), "web", "after {error}");
        }
        portsplit.stop();
    }
}

#[test]
fn upstreams_that_find_no_descriptor_leave_nothing_behind() {
    use std::io::{Read, Write};
    let backend = Backend::echo();
    let first = Backend::tag("first");
    for exec in [false, true] {
        let action = if exec { "exec = [\"cat\"]".to_owned() } else { format!("connect = \"{}\"", backend.address()) };
        let all = crate::support::config::service("all", "prefix = '>'", &action);
        let list = format!("connect = [\"{}\", \"{}\"]", first.address(), backend.address());
        let other = crate::support::config::service("list", "prefix = 'l'", &list);
        let portsplit = Portsplit::start(&format!("{}{all}{other}", crate::support::config::LISTEN));
        let process = portsplit.process();
        drop(echoed(portsplit.client()));
        eventually("the first has ended", || portsplit.log().count(|line| line.message() == "connection") == 1);
        let baseline = process.fds();
        process.limit_nofile(64);
        for _ in 0..3 {
            let clients: Vec<Socket> = (0..150).map(|_| portsplit.client()).collect();
            for (number, client) in clients.iter().enumerate() {
                // Those that were closed already refuse the byte, which is one of the answers that are expected here.
                let _ = (&mut &*client).write(if number % 2 == 0 { b">" } else { b"l" });
            }
            for client in &clients {
                client.finish();
            }
            let served = clients.iter().filter(|client| matches!((&mut &**client).read(&mut [0]), Ok(1))).count();
            assert!(served > 0, "some fit at a time (exec: {exec})");
            drop(clients);
            portsplit.assert_back_to(baseline);
        }
        drop(echoed(portsplit.client()));
    }
}

#[test]
fn a_limit_that_the_open_files_do_not_allow_is_warned_about() {
    let backend = Backend::echo();
    for (max_connections, warned) in [(1000, false), (1001, true)] {
        let config = all_to_with(&format!("max_connections = {max_connections}"), &backend);
        let portsplit = Portsplit::start_under(&["prlimit", "--nofile=256:2000"], &config);
        let lines =
            portsplit.log().count(|line| line.message().contains("open files") && line.field("level") == "WARN");
        assert_eq!(lines > 0, warned, "{}", portsplit.log().text());
    }
}
