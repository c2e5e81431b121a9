//! The relay on real sockets: random half-close and pause schedules, backpressure, and the two time limits.

use std::time::{Duration, Instant};

use crate::support::backend::{discard, pattern};
use crate::support::config::{all_to, all_to_with, service};
use crate::support::process::Signal;
use crate::support::rng::Rng;
use crate::support::schedule::{Tally, play, player};
use crate::support::{Backend, Portsplit, Socket, assert_took, eventually, report};

#[test]
fn a_thousand_random_schedules_are_byte_exact_and_leave_nothing_behind() {
    let (seed, _) = Rng::from_env("a_thousand_random_schedules");
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let tally = Tally::default();
    let backends = [Backend::tcp(player(seed, tally.clone())), Backend::unix(player(seed, tally.clone()))];
    for (index, backend) in backends.iter().enumerate() {
        let socket = dir.path().join(format!("{index}.sock"));
        let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\n", socket.display());
        let all = service("all", "prefix = '>'", &format!("connect = \"{}\"", backend.address()));
        let portsplit = Portsplit::start(&format!("{listen}{all}"));
        for listener in 0..2 {
            let address = portsplit.nth_address(listener);
            play(seed, address, '>', 0, |id| id < 1, &tally);
            eventually("the warm-up is over", || {
                portsplit.log().count(|line| line.message() == "connection") == listener * 251 + 1
            });
            let baseline = portsplit.process().fds();
            play(seed, address, '>', 0, |id| id < 250, &tally);
            let run = index * 2 + listener + 1;
            eventually("the backend has noted every schedule", || tally.played() == 2 * 251 * run);
            let failures = tally.failures();
            assert!(failures.is_empty(), "{address} to {}, SEED={seed}: {failures:#?}", backend.address());
            portsplit.assert_back_to(baseline);
            assert_eq!(portsplit.log().count(|line| line.message() == "connection"), (listener + 1) * 251, "{address}");
        }
        portsplit.stop();
    }
    report(&format!("1,000 schedules: {:.1} s", started.elapsed().as_secs_f64()));
}

#[test]
fn the_log_counts_the_bytes_of_both_directions() {
    let backend = Backend::source(123_456);
    let portsplit = Portsplit::start(&all_to(&backend));
    let client = portsplit.client_sending(">");
    client.send(pattern(7_654));
    client.finish();
    assert_eq!(client.receive_to_end().len(), 123_456);
    let line = portsplit.connection_of(&client.local());
    assert_eq!((line.number("bytes_in"), line.number("bytes_out")), (7_655, 123_456), "{}", line.text());
}

#[test]
fn both_directions_flow_at_the_same_time() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to(&backend));
    let client = portsplit.client_sending(">");
    let sent = pattern(16_000_000);
    let got = std::thread::scope(|scope| {
        let reader = scope.spawn(|| client.receive_to_end());
        client.send(&sent);
        client.finish();
        reader.join().unwrap()
    });
    assert!(got[1..] == sent[..], "{} bytes came back for {}", got.len(), sent.len());
}

/// Lets `backend` push until it is blocked, for every one of `clients`, none of which reads.
pub fn wait_until_blocked(portsplit: &Portsplit, clients: &[Socket]) {
    // The client's receive queue no longer grows and the program is idle: everything between is full.
    let mut last = Duration::MAX;
    eventually("the flow is blocked", || {
        let cpu = portsplit.process().cpu();
        let idle = cpu == last;
        last = cpu;
        std::thread::sleep(Duration::from_millis(250));
        idle && !clients.is_empty()
    });
}

#[test]
fn a_slow_reader_holds_no_memory_and_loses_no_byte() {
    let len = 64_000_000;
    let backend = Backend::source(len);
    let portsplit = Portsplit::start(&all_to(&backend));
    portsplit.client_sending(">").abort();
    eventually("the warm-up is over", || backend.open() == 0);
    let before = portsplit.process().rss_kib();
    let client = portsplit.client_sending(">");
    wait_until_blocked(&portsplit, std::slice::from_ref(&client));
    let grown = portsplit.process().rss_kib().saturating_sub(before);
    assert!(grown <= 1024, "one blocked connection holds {grown} KiB");
    client.finish();
    assert!(client.receive_to_end() == pattern(len), "the bytes differ");
}

#[test]
fn a_hundred_slow_readers_hold_little_memory() {
    let backend = Backend::source(16_000_000);
    let portsplit = Portsplit::start(&all_to(&backend));
    portsplit.client_sending(">").abort();
    eventually("the warm-up is over", || backend.open() == 0);
    let before = portsplit.process().rss_kib();
    let clients: Vec<Socket> = (0..100).map(|_| portsplit.client_sending(">")).collect();
    wait_until_blocked(&portsplit, &clients);
    let grown = portsplit.process().rss_kib().saturating_sub(before);
    report(&format!("a relayed connection whose reader is stuck: {} KiB", grown / 100));
    assert!(grown <= 100 * 64 + 1024, "100 blocked connections hold {grown} KiB");
}

#[test]
fn an_idle_connection_is_ended_and_a_busy_one_is_not() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to_with("idle_timeout = \"800ms\"", &backend));
    let idle = portsplit.client_sending(">");
    assert_eq!(idle.receive(1), b">");
    let started = Instant::now();
    let busy = portsplit.client_sending(">");
    assert_eq!(busy.receive(1), b">");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            idle.assert_closed_without_a_byte();
            assert_took("the end of the idle connection", started.elapsed(), 700, 2000);
        });
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(200));
            busy.send("x");
            assert_eq!(busy.receive(1), b"x");
        }
    });
    let line = portsplit.connection_of(&idle.local());
    assert!(line.field("end").contains("idle"), "{}", line.text());
    eventually("the idle connection's upstream is closed too", || backend.open() == 1);
}

#[test]
fn a_half_closed_connection_without_progress_is_ended() {
    let backend = Backend::tcp(|socket| {
        discard(&socket);
        // Neither an answer nor an end, for longer than the limit.
        std::thread::sleep(Duration::from_secs(4));
    });
    let portsplit = Portsplit::start(&all_to_with("half_close_timeout = \"800ms\"", &backend));
    let baseline = portsplit.process().fds();
    let started = Instant::now();
    let client = portsplit.client_sending(">");
    client.finish();
    client.assert_closed_without_a_byte();
    assert_took("the end", started.elapsed(), 700, 2000);
    let line = portsplit.connection_of(&client.local());
    assert!(line.field("end").contains("half"), "{}", line.text());
    drop(client);
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_half_closed_connection_with_progress_is_kept() {
    let backend = Backend::tcp(|socket| {
        discard(&socket);
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(200));
            socket.send("x");
        }
    });
    let portsplit = Portsplit::start(&all_to_with("half_close_timeout = \"800ms\"", &backend));
    let client = portsplit.client_sending(">");
    client.finish();
    assert_eq!(client.receive_to_end(), b"xxxxxxxxxx");
}

#[test]
fn a_slow_reader_is_not_cut_while_it_takes_what_the_kernel_holds_for_it() {
    let len = 2_000_000;
    let backend = Backend::source(len);
    let portsplit = Portsplit::start(&all_to_with("half_close_timeout = \"500ms\"", &backend));
    let client = portsplit.client();
    client.small_receive_buffer();
    client.send(">");
    let mut got = Vec::new();
    while got.len() < len {
        got.extend(client.receive((len - got.len()).min(20_000)));
        std::thread::sleep(Duration::from_millis(30));
    }
    assert!(got == pattern(len), "the bytes differ");
}

#[test]
fn a_flow_in_one_direction_only_is_not_idle() {
    let backend = Backend::tcp(|socket| {
        socket.receive(1);
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(200));
            socket.send("x");
        }
        socket.finish();
        discard(&socket);
    });
    let portsplit = Portsplit::start(&all_to_with("idle_timeout = \"800ms\"", &backend));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive(10), b"xxxxxxxxxx");
}

#[test]
fn bytes_behind_passed_descriptors_are_not_left_behind() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsFd;
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::echo();
    let listen = format!("listen = [\"unix:{}/s\"]\n", dir.path().display());
    let all = service("all", "prefix = '>'", &format!("connect = \"{}\"", backend.address()));
    let portsplit = Portsplit::start(&format!("{listen}{all}"));
    let client = portsplit.client_sending(">");
    assert_eq!(client.receive(1), b">");
    let Socket::Unix(unix) = &client else { panic!("the client is a unix socket") };
    // All of it is there when it is read, and one event tells of all of it.
    portsplit.pause();
    let passed = std::io::stderr();
    let descriptors = [passed.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(unix, &[std::io::IoSlice::new(b"with")], &mut control, SendFlags::empty()).unwrap();
    client.send("behind");
    portsplit.signal(Signal::CONT);
    assert_eq!(client.receive(10), b"withbehind");
}
