//! SIGHUP: a broken file changes nothing and says why, a good one keeps every unchanged socket and open connection.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::config::{LISTEN, all_to, to};
use crate::support::portsplit::{free_port, is_failed_reload};
use crate::support::process::Signal;
use crate::support::{Backend, Portsplit, Socket, eventually, report};

fn on_port(port: u16, services: &str) -> String {
    format!("listen = [\"127.0.0.1:{port}\"]\n{services}")
}

#[test]
fn a_broken_file_changes_nothing_and_says_why() {
    let backend = Backend::tag("old");
    let portsplit = Portsplit::start(&all_to(&backend));
    let open = portsplit.client_sending(">");
    assert_eq!(open.receive_line(), "old");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy_port = busy.local_addr().unwrap().port();
    let broken = [
        ("this is not TOML".to_owned(), ""),
        (format!("{LISTEN}[[service]]\nname = \"x\"\nprefx = 'x'\nclose = true\n"), "prefx"),
        (format!("{LISTEN}[[service]]\nname = \"x\"\nregex = '('\nclose = true\n"), "regex"),
        (on_port(busy_port, &to(&backend, "all", "prefix = '>'")), "in use"),
    ];
    for (config, reason) in broken {
        let line = portsplit.reload(&config);
        assert!(is_failed_reload(&line), "{}", line.text());
        assert!(line.text().to_lowercase().contains(reason), "expected `{reason}` in {}", line.text());
        assert_eq!(portsplit.client_sending(">").receive_line(), "old", "the old configuration serves on");
        open.send("x");
        assert!(!open.receive(1).is_empty());
    }
    assert_eq!(portsplit.reload(&all_to(&backend)).message(), "reloaded", "and a good one is still taken");
}

#[test]
fn a_missing_file_changes_nothing() {
    let backend = Backend::tag("old");
    let portsplit = Portsplit::start(&all_to(&backend));
    let kept = std::fs::read_to_string(portsplit.config_file()).unwrap();
    std::fs::remove_file(portsplit.config_file()).unwrap();
    portsplit.signal(Signal::HUP);
    portsplit.wait_for_line("the reload failed", is_failed_reload);
    assert_eq!(portsplit.client_sending(">").receive_line(), "old");
    std::fs::write(portsplit.config_file(), kept).unwrap();
}

#[test]
fn new_connections_use_the_new_services_and_open_ones_stay() {
    let (old, new) = (Backend::tag("old"), Backend::tag("new"));
    let port = free_port();
    let portsplit = Portsplit::start(&on_port(port, &to(&old, "all", "prefix = '>'")));
    let open = portsplit.client_sending(">a");
    assert_eq!(open.receive_line(), "old");
    assert_eq!(open.receive(2), b">a");
    // Undecided at the moment of the reload: it finishes on the services it started with.
    let undecided = portsplit.client();
    eventually("the undecided one is accepted", || portsplit.process().sockets() >= 4);
    let line = portsplit.reload(&on_port(port, &to(&new, "renamed", "prefix = '>'")));
    assert_eq!(line.message(), "reloaded", "{}", line.text());
    assert_eq!(portsplit.client_sending(">").receive_line(), "new");
    open.send("b");
    assert_eq!(open.receive(1), b"b");
    undecided.send(">");
    assert!(["old", "new"].contains(&undecided.receive_line().as_str()));
    open.finish();
    assert!(open.receive_to_end().is_empty(), "the open connection ends in order");
}

#[test]
fn a_listener_that_is_removed_closes_and_one_that_is_added_works() {
    let backend = Backend::tag("web");
    let all = to(&backend, "all", "prefix = '>'");
    let (kept, removed, added) = (free_port(), free_port(), free_port());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("added.sock");
    let listen = |ports: [u16; 2]| format!("\"127.0.0.1:{}\", \"127.0.0.1:{}\"", ports[0], ports[1]);
    let portsplit = Portsplit::start(&format!("listen = [{}]\n{all}", listen([kept, removed])));
    let open = Socket::connect(&format!("127.0.0.1:{removed}"));
    open.send(">");
    assert_eq!(open.receive_line(), "web");
    let unix = format!("unix:{}", socket.display());
    let line = portsplit.reload(&format!("listen = [{}, \"{unix}\"]\n{all}", listen([kept, added])));
    assert_eq!(line.message(), "reloaded", "{}", line.text());
    for address in [format!("127.0.0.1:{kept}"), format!("127.0.0.1:{added}"), unix] {
        let client = Socket::connect(&address);
        client.send(">");
        assert_eq!(client.receive_line(), "web", "at {address}");
    }
    eventually("the removed listener is closed", || Socket::try_connect(&format!("127.0.0.1:{removed}")).is_err());
    assert_eq!(open.receive(1), b">", "its open connection stays");
    drop(open);
    let line = portsplit.reload(&format!("listen = [{}]\n{all}", listen([kept, added])));
    assert_eq!(line.message(), "reloaded", "{}", line.text());
    eventually("the removed unix socket's file is gone", || !socket.exists());
    portsplit.stop();
}

#[test]
fn changed_timeouts_apply_to_new_connections() {
    let backend = Backend::tag("web");
    let port = free_port();
    let services = to(&backend, "all", "prefix = '>'") + &to(&backend, "timeout", "");
    let portsplit = Portsplit::start(&format!("timeout = \"60s\"\n{}", on_port(port, &services)));
    let line = portsplit.reload(&format!("timeout = \"300ms\"\n{}", on_port(port, &services)));
    assert_eq!(line.message(), "reloaded", "{}", line.text());
    assert_eq!(portsplit.client().receive_line(), "web");
}

#[test]
fn a_hundred_reloads_refuse_no_connection_and_lose_no_byte() {
    let backend = Backend::tag("web");
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("listen = [\"127.0.0.1:{port}\", \"unix:{}/listen.sock\"]\n", dir.path().display());
    let configs = ["a", "b"].map(|name| format!("{listen}{}", to(&backend, name, "prefix = '>'")));
    let portsplit = Portsplit::start(&configs[0]);
    let open = portsplit.client_sending(">");
    assert_eq!(open.receive_line(), "web");
    assert_eq!(open.receive(1), b">");
    let baseline = portsplit.process().fds();
    let rss = portsplit.process().rss_kib();
    let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for listener in 0..2 {
            let address = portsplit.nth_address(listener);
            let (done, served) = (&done, &served);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let client = Socket::connect(address);
                    client.send(">abc");
                    client.finish();
                    assert_eq!(client.answer(), "web\n>abc", "at {address}");
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let stop = StopOnDrop(&done);
        for round in 0..100 {
            let config = if round % 10 == 9 { "broken" } else { &configs[round % 2] };
            let line = portsplit.reload(config);
            assert_eq!(is_failed_reload(&line), config == "broken", "{}", line.text());
            open.send("x");
            assert_eq!(open.receive(1), b"x", "the open connection is not affected");
            let before = served.load(Ordering::SeqCst);
            eventually("clients are served by what is in force now", || served.load(Ordering::SeqCst) >= before + 5);
        }
        drop(stop);
    });
    let served = served.into_inner();
    report(&format!("100 reloads while {served} connections came and went"));
    portsplit.assert_back_to(baseline);
    let grown = portsplit.process().rss_kib().saturating_sub(rss);
    assert!(grown <= 5 * 1024, "a hundred reloads left {grown} KiB behind");
}

/// Ends the client loops also when an assertion fails, so that the test fails instead of hanging.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_flood_of_signals_ends_in_an_orderly_exit() {
    let backend = Backend::echo();
    let mut portsplit = Portsplit::start(&all_to(&backend));
    for _ in 0..200 {
        portsplit.signal(Signal::HUP);
    }
    portsplit.wait_for_line("a reload is answered", |line| line.message() == "reloaded");
    assert_eq!(portsplit.client_sending(">").receive(1), b">");
    portsplit.signal(Signal::HUP);
    portsplit.signal(Signal::TERM);
    assert_eq!(portsplit.wait_within(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn addresses_are_bound_all_or_none() {
    let backend = Backend::tag("web");
    let all = to(&backend, "all", "prefix = '>'");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (kept, fresh, busy_port) = (free_port(), free_port(), busy.local_addr().unwrap().port());
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("new.sock");
    let portsplit = Portsplit::start(&on_port(kept, &all));
    let baseline = portsplit.process().fds();
    let wanted =
        format!("listen = [\"127.0.0.1:{fresh}\", \"unix:{}\", \"127.0.0.1:{busy_port}\"]\n{all}", socket.display());
    let line = portsplit.reload(&wanted);
    assert!(is_failed_reload(&line), "{}", line.text());
    assert!(line.text().contains(&busy_port.to_string()), "{}", line.text());
    assert!(Socket::try_connect(&format!("127.0.0.1:{fresh}")).is_err() && !socket.exists(), "nothing is left bound");
    assert_eq!(portsplit.client_sending(">").receive_line(), "web", "the old address serves on");
    portsplit.assert_back_to(baseline);
    drop(busy);
    let line = portsplit.reload(&wanted);
    assert_eq!(line.message(), "reloaded", "{}", line.text());
    for address in [format!("127.0.0.1:{fresh}"), format!("unix:{}", socket.display())] {
        let client = Socket::connect(&address);
        client.send(">");
        assert_eq!(client.receive_line(), "web", "at {address}");
    }
}

#[test]
fn a_port_that_the_system_chose_is_kept() {
    let (old, new) = (Backend::tag("old"), Backend::tag("new"));
    let portsplit = Portsplit::start(&all_to(&old));
    assert_eq!(portsplit.reload(&all_to(&new)).message(), "reloaded");
    assert_eq!(portsplit.client_sending(">").receive_line(), "new");
}

#[test]
fn a_program_of_a_removed_service_runs_on() {
    let service = crate::support::config::service("run", "prefix = '>'", "exec = [\"cat\"]");
    let portsplit = Portsplit::start(&format!("{LISTEN}{service}"));
    let client = portsplit.client_sending(">a");
    assert_eq!(client.receive(2), b">a");
    let backend = Backend::tag("web");
    assert_eq!(portsplit.reload(&all_to(&backend)).message(), "reloaded");
    client.send("b");
    client.finish();
    assert_eq!(client.receive_to_end(), b"b");
}

#[test]
fn listeners_on_port_0_keep_their_own_services_over_reloads() {
    let (first, second) = (Backend::tag("first"), Backend::tag("second"));
    let services = to(&first, "first", "prefix = '>'") + &to(&second, "second", "prefix = '>'");
    let table = |service: &str| format!("[[listen]]\naddress = \"127.0.0.1:0\"\nservices = [\"{service}\"]\n");
    let both = format!("{}{}{services}", table("first"), table("second"));
    let portsplit = Portsplit::start(&both);
    let addresses = [portsplit.nth_address(0), portsplit.nth_address(1)];
    let told = |address: &str| {
        let client = Socket::connect(address);
        client.send(">");
        client.receive_line()
    };
    assert_eq!(addresses.map(told), ["first", "second"]);
    assert_eq!(portsplit.reload(&both).message(), "reloaded");
    assert_eq!(addresses.map(told), ["first", "second"], "after a reload of the same file");
    assert_eq!(portsplit.reload(&format!("{}{services}", table("second"))).number("listeners"), 1);
    eventually("one of them is closed", || addresses.iter().filter(|at| Socket::try_connect(at).is_err()).count() == 1);
    assert_eq!(portsplit.reload(&format!("{both}{}", table("first"))).number("listeners"), 3, "and two are added");
}

#[test]
fn a_listener_whose_socket_file_somebody_removed_is_bound_again() {
    let backend = Backend::tag("web");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("listen.sock");
    let config = format!("listen = [\"unix:{}\"]\n{}", socket.display(), to(&backend, "all", "prefix = '>'"));
    let portsplit = Portsplit::start(&config);
    std::fs::remove_file(&socket).unwrap();
    assert_eq!(portsplit.reload(&config).message(), "reloaded");
    assert_eq!(portsplit.client_sending(">").receive_line(), "web");
    portsplit.stop();
    assert!(!socket.exists());
}

#[test]
fn a_file_that_has_become_a_pipe_is_refused_and_signals_are_still_heard() {
    let backend = Backend::tag("web");
    let portsplit = Portsplit::start(&all_to(&backend));
    std::fs::remove_file(portsplit.config_file()).unwrap();
    crate::support::tools::run("mkfifo", &[portsplit.config_file().to_str().unwrap()]);
    portsplit.signal(Signal::HUP);
    let line = portsplit.wait_for_line("the reload is refused", is_failed_reload);
    assert!(line.text().contains("pipe"), "{}", line.text());
    assert_eq!(portsplit.client_sending(">").receive_line(), "web");
    portsplit.stop();
}

#[test]
fn what_only_a_restart_changes_is_warned_about() {
    let backend = Backend::tag("web");
    let dir = tempfile::tempdir().unwrap();
    let config = |workers: u8, mode: &str, backlog: u16| {
        format!(
            "workers = {workers}\n[[listen]]\naddress = \"unix:{}/s\"\nmode = \"{mode}\"\nbacklog = {backlog}\n{}",
            dir.path().display(),
            to(&backend, "all", "prefix = '>'")
        )
    };
    let portsplit = Portsplit::start(&config(1, "0600", 10));
    let warned = |from: usize| -> Vec<String> {
        let lines = portsplit.log().lines().split_off(from);
        lines.iter().filter(|line| line.message().contains("next start")).map(|line| line.field("key")).collect()
    };
    assert_eq!(portsplit.reload(&config(1, "0600", 10)).message(), "reloaded");
    assert_eq!(warned(0), Vec::<String>::new());
    let from = portsplit.log().len();
    assert_eq!(portsplit.reload(&config(2, "0660", 20)).message(), "reloaded");
    assert_eq!(warned(from), ["workers", "mode", "backlog"]);
}

#[test]
fn an_address_that_one_of_its_own_listeners_covers_is_explained() {
    let backend = Backend::tag("web");
    let (all, port) = (to(&backend, "all", "prefix = '>'"), free_port());
    let portsplit = Portsplit::start(&format!("listen = [\"0.0.0.0:{port}\"]\n{all}"));
    let line = portsplit.reload(&on_port(port, &all));
    assert!(is_failed_reload(&line), "{}", line.text());
    assert!(line.text().contains(&format!("this process on 0.0.0.0:{port}")), "{}", line.text());
    let client = Socket::connect(&format!("127.0.0.1:{port}"));
    client.send(">");
    assert_eq!(client.receive_line(), "web");
}
