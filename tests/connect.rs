//! Opening the upstream: lists of targets, names, unix sockets, targets that refuse or never answer.

use std::time::{Duration, Instant};

use crate::support::backend::{Blackhole, Refused};
use crate::support::config::{LISTEN, service, to};
use crate::support::{Backend, Portsplit, assert_took, eventually};

fn to_list(targets: &[&str]) -> String {
    service("all", "prefix = '>'", &format!("connect = {targets:?}"))
}

#[test]
fn the_first_target_that_answers_is_used() {
    let (first, second) = (Backend::tag("first"), Backend::tag("second"));
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to_list(&[first.address(), second.address()])));
    for _ in 0..10 {
        assert_eq!(portsplit.client_sending(">").receive_line(), "first");
    }
    assert_eq!(second.accepted(), 0);
}

#[test]
fn a_target_that_refuses_is_passed_over_at_once() {
    let (refused, unix) = (Refused::new(), tempfile::tempdir().unwrap());
    let missing = format!("unix:{}", unix.path().join("missing").display());
    let second = Backend::tag("second");
    let portsplit =
        Portsplit::start(&format!("{LISTEN}{}", to_list(&[&refused.address(), &missing, second.address()])));
    let started = Instant::now();
    let client = portsplit.client_sending(">abc");
    assert_eq!(client.receive_line(), "second");
    assert!(started.elapsed() < Duration::from_secs(1), "it took {:?}", started.elapsed());
    assert_eq!(client.receive(4), b">abc", "the first flight survives the failed attempts");
    let peer = client.local();
    drop(client);
    let line = portsplit.connection_of(&peer);
    assert!(line.field("upstream").contains(second.address()), "{}", line.text());
}

#[test]
fn every_address_of_a_name_is_tried() {
    // The backend is on 127.0.0.1 only, while localhost may well begin with ::1.
    let backend = Backend::tag("local");
    let target = format!("localhost:{}", backend.port());
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to_list(&[&target])));
    assert_eq!(portsplit.client_sending(">").receive_line(), "local");
}

#[test]
fn a_target_may_be_an_ipv6_address() {
    let backend = Backend::tcp_on("[::1]:0", |socket| socket.send("six\n"));
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to_list(&[backend.address()])));
    assert_eq!(portsplit.client_sending(">").receive_line(), "six");
}

#[test]
fn a_target_may_be_a_unix_socket() {
    let backend = Backend::tag_unix("unix");
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to(&backend, "all", "prefix = '>'")));
    let client = portsplit.client_sending(">abc");
    client.finish();
    assert_eq!(client.answer(), "unix\n>abc");
}

#[test]
fn when_all_targets_are_down_the_client_is_closed_and_the_log_says_so() {
    let refused = [Refused::new(), Refused::new()];
    let targets = refused.each_ref().map(Refused::address);
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to_list(&[&targets[0], &targets[1]])));
    let baseline = portsplit.process().fds();
    let client = portsplit.client_sending(">");
    assert!(client.assert_closed_without_a_byte() < Duration::from_secs(2));
    let line = portsplit.connection_of(&client.local());
    assert_eq!((line.field("service").as_str(), line.field("reason").as_str()), ("all", "match"));
    assert!(!line.field("end").is_empty(), "{}", line.text());
    portsplit.wait_for_line("the failed target is named", |line| line.text().contains(&targets[1]));
    drop(client);
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_name_that_does_not_exist_closes_the_client() {
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to_list(&["no-such-host.invalid:80"])));
    let client = portsplit.client_sending(">");
    client.assert_closed_without_a_byte();
    portsplit.wait_for_line("the name is logged", |line| line.text().contains("no-such-host.invalid"));
}

#[test]
fn a_target_that_never_answers_is_left_at_the_connect_timeout() {
    let hole = Blackhole::new();
    let second = Backend::tag("second");
    let targets = to_list(&[&hole.address(), second.address()]);
    let portsplit = Portsplit::start(&format!("connect_timeout = \"500ms\"\n{LISTEN}{targets}"));
    let started = Instant::now();
    assert_eq!(portsplit.client_sending(">").receive_line(), "second");
    assert_took("the second target", started.elapsed(), 450, 1500);
    let alone = to_list(&[&hole.address()]);
    let portsplit = Portsplit::start(&format!("connect_timeout = \"500ms\"\n{LISTEN}{alone}"));
    let baseline = portsplit.process().fds();
    let client = portsplit.client_sending(">");
    assert_took("the close", client.assert_closed_without_a_byte(), 450, 1500);
    drop(client);
    portsplit.assert_back_to(baseline);
}

#[test]
fn clients_that_leave_while_the_upstream_does_not_answer_leave_nothing_behind() {
    let hole = Blackhole::new();
    let targets = to_list(&[&hole.address()]);
    let portsplit = Portsplit::start(&format!("connect_timeout = \"1s\"\n{LISTEN}{targets}"));
    let baseline = portsplit.process().fds();
    for _ in 0..100 {
        portsplit.client_sending(">").abort();
    }
    portsplit.assert_back_to(baseline);
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    let port = crate::support::portsplit::free_port();
    let address = format!("127.0.0.1:{port}");
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to_list(&[&address])));
    portsplit.client_sending(">").assert_closed_without_a_byte();
    let backend = Backend::tcp_on(&address, |socket| socket.send("back\n"));
    assert_eq!(portsplit.client_sending(">").receive_line(), "back");
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_unix_upstream_with_a_short_queue_serves_a_burst() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("slow.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(1).unwrap();
    let accepting = std::thread::spawn(move || {
        for _ in 0..30 {
            let (client, _) = socket.accept().unwrap();
            // A server that is slow to accept: the queue is full most of the time, which connect reports as EAGAIN.
            std::thread::sleep(Duration::from_millis(20));
            client.send(b"served\n").unwrap();
        }
    });
    let portsplit = Portsplit::start(&format!("{LISTEN}{}", to_list(&[&format!("unix:{}", path.display())])));
    std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| assert_eq!(portsplit.client_sending(">").receive_line(), "served"));
        }
    });
    accepting.join().unwrap();
}

#[test]
fn one_service_whose_upstream_is_dead_does_not_hurt_the_others() {
    let hole = Blackhole::new();
    let alive = Backend::tag("alive");
    let dead = service("dead", "prefix = 'd'", &format!("connect = \"{}\"", hole.address()));
    let config = format!("{LISTEN}{dead}{}", to(&alive, "alive", "prefix = 'a'"));
    let portsplit = Portsplit::start(&config);
    let waiting: Vec<_> = (0..50).map(|_| portsplit.client_sending("d")).collect();
    for _ in 0..20 {
        let started = Instant::now();
        assert_eq!(portsplit.client_sending("a").receive_line(), "alive");
        assert!(started.elapsed() < Duration::from_millis(500), "it took {:?}", started.elapsed());
    }
    drop(waiting);
    eventually("the backend's connections end", || alive.open() == 0);
}
