//! Resets and early closes: an error in one direction eats no byte of the other, and a reset stays a reset.

use std::io::Read;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use crate::support::backend::{discard, pattern};
use crate::support::client::End;
use crate::support::config::all_to;
use crate::support::{Backend, Portsplit, Socket, eventually};

const TWO_MB: usize = 2_000_000;

/// A backend that tells the test how each of its connections ended for the reader.
fn backend_reporting_the_end() -> (Backend, mpsc::Receiver<(usize, End)>) {
    let (ends, receiver) = mpsc::channel();
    let ends = Mutex::new(ends);
    let backend = Backend::tcp(move |socket| {
        let mut socket = &socket;
        let (mut total, mut buf) = (0, [0; 4096]);
        let end = loop {
            match socket.read(&mut buf) {
                Ok(0) => break End::Eof,
                Ok(len) => total += len,
                Err(_) => break End::Reset,
            }
        };
        let _ = ends.lock().unwrap().send((total, end));
    });
    (backend, receiver)
}

#[test]
fn a_clients_reset_reaches_the_upstream_as_a_reset() {
    let (backend, ends) = backend_reporting_the_end();
    let portsplit = Portsplit::start(&all_to(&backend));
    let baseline = portsplit.process().fds();
    for round in 0..100 {
        let client = portsplit.client_sending(">hello");
        eventually("the backend has the connection", || backend.accepted() == round + 1);
        client.abort();
        let (_, end) = ends.recv_timeout(crate::support::PATIENCE).expect("the backend's connection ends");
        assert_eq!(end, End::Reset, "round {round}: the backend took a cut connection for a finished one");
    }
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_clients_orderly_end_reaches_the_upstream_as_an_end() {
    let (backend, ends) = backend_reporting_the_end();
    let portsplit = Portsplit::start(&all_to(&backend));
    for _ in 0..100 {
        let client = portsplit.client_sending(">hello");
        client.finish();
        assert_eq!(ends.recv_timeout(crate::support::PATIENCE), Ok((6, End::Eof)));
        client.receive_to_end();
    }
}

#[test]
fn an_upstreams_reset_reaches_the_client_as_a_reset() {
    let backend = Backend::tcp(|socket| {
        socket.receive(1);
        socket.send(pattern(1000));
        // The client says when it has everything, so that only the kind of end is in question.
        socket.receive(1);
        socket.abort();
    });
    let portsplit = Portsplit::start(&all_to(&backend));
    let baseline = portsplit.process().fds();
    for round in 0..100 {
        let client = portsplit.client_sending(">");
        assert_eq!(client.receive(1000), pattern(1000));
        client.send("!");
        assert_eq!(client.drain(), (Vec::new(), End::Reset), "round {round}: a truncated answer looks complete");
        let line = portsplit.connection_of(&client.local());
        assert!(line.field("end").contains("reset"), "{}", line.text());
    }
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_reset_in_the_middle_of_a_transfer_never_looks_like_its_end() {
    let backend = Backend::tcp(|socket| {
        socket.receive(1);
        socket.send(pattern(300_000));
        socket.abort();
    });
    let portsplit = Portsplit::start(&all_to(&backend));
    for round in 0..100 {
        let client = portsplit.client_sending(">");
        let (bytes, end) = client.drain();
        assert_eq!(end, End::Reset, "round {round}: after {} bytes", bytes.len());
        assert!(pattern(300_000).starts_with(&bytes), "round {round}: the bytes differ");
    }
}

fn tcp_of(socket: &Socket) -> &std::net::TcpStream {
    let Socket::Tcp(tcp) = socket else { panic!("it is TCP") };
    tcp
}

/// A backend that sends 2 MB, waits until portsplit's kernel has all of them, closes, and says so.
fn backend_that_closes_after_two_mb() -> (Backend, mpsc::Receiver<()>) {
    let (closed, receiver) = mpsc::channel();
    let closed = Mutex::new(closed);
    let bytes = Arc::new(pattern(TWO_MB));
    let backend = Backend::tcp(move |socket| {
        socket.receive(1);
        socket.send(&*bytes);
        eventually("the bytes are acknowledged", || socket.unacknowledged() == 0);
        drop(socket);
        let _ = closed.lock().unwrap().send(());
    });
    (backend, receiver)
}

#[test]
fn a_byte_to_a_closed_upstream_does_not_eat_the_answer() {
    let (backend, closed) = backend_that_closes_after_two_mb();
    let portsplit = Portsplit::start(&all_to(&backend));
    for round in 0..100 {
        let client = portsplit.client_sending(">");
        let mut got = Vec::new();
        // Reads until the backend has closed, then sends what makes the backend's kernel answer with a reset.
        while closed.try_recv().is_err() && got.len() < TWO_MB {
            got.extend(client.receive(1000));
        }
        client.send("late");
        let (rest, _) = client.drain();
        got.extend(rest);
        assert!(got == pattern(TWO_MB), "round {round}: {} of {TWO_MB} bytes", got.len());
    }
}

#[test]
fn the_answer_is_complete_although_the_client_keeps_sending() {
    let backend = Backend::tcp(|socket| {
        socket.receive(1);
        std::thread::scope(|scope| {
            scope.spawn(|| discard(&socket));
            socket.send(pattern(TWO_MB));
            socket.finish();
        });
    });
    let portsplit = Portsplit::start(&all_to(&backend));
    for round in 0..50 {
        let client = portsplit.client_sending(">");
        let (got, end) = receive_while_sending(&client);
        assert!(got == pattern(TWO_MB), "round {round}: {} of {TWO_MB} bytes, then {end:?}", got.len());
        assert_eq!(end, End::Eof, "round {round}");
    }
}

#[test]
fn the_answer_is_complete_although_the_upstream_closes_on_a_client_that_keeps_sending() {
    let (backend, _closed) = backend_that_closes_after_two_mb();
    let portsplit = Portsplit::start(&all_to(&backend));
    for round in 0..50 {
        let client = portsplit.client_sending(">");
        let (got, end) = receive_while_sending(&client);
        // The backend closes with unread input, which is a reset; the bytes it sent before are all acknowledged.
        assert!(got == pattern(TWO_MB), "round {round}: {} of {TWO_MB} bytes, then {end:?}", got.len());
    }
}

/// Sends as fast as the relay takes it until the answer has ended; returns the answer and its end.
fn receive_while_sending(client: &Socket) -> (Vec<u8>, End) {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let chunk = [b'x'; 8192];
            while !done.load(Ordering::SeqCst) {
                if (&mut &*client).write_all(&chunk).is_err() {
                    break;
                }
            }
            client.finish();
        });
        let result = client.drain();
        done.store(true, Ordering::SeqCst);
        // Whatever the sender is blocked in ends now.
        if let Socket::Tcp(tcp) = client {
            let _ = tcp.shutdown(std::net::Shutdown::Both);
        }
        result
    })
}

#[test]
fn one_backend_that_dies_does_not_disturb_transfers_of_another() {
    let good = Backend::source(4_000_000);
    let bad = Backend::tcp(|socket| {
        socket.receive(1);
        socket.send(pattern(500_000));
        socket.abort();
    });
    let config = format!(
        "{}{}{}",
        crate::support::config::LISTEN,
        crate::support::config::to(&good, "good", "prefix = 'g'"),
        crate::support::config::to(&bad, "bad", "prefix = 'b'"),
    );
    let portsplit = Portsplit::start(&config);
    let portsplit = &portsplit;
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(move || {
                let client = portsplit.client_sending("g");
                client.finish();
                assert!(client.receive_to_end() == pattern(4_000_000), "a good transfer lost bytes");
            });
            scope.spawn(move || assert_eq!(portsplit.client_sending("b").drain().1, End::Reset));
        }
    });
}

#[test]
fn a_storm_of_resets_leaves_nothing_behind() {
    let backend = Backend::echo();
    let portsplit = Portsplit::start(&all_to(&backend));
    assert_eq!(portsplit.client_sending(">").receive(1), b">");
    eventually("the warm-up is over", || backend.open() == 0);
    let baseline = portsplit.process().fds();
    for round in 0..3000 {
        let client = portsplit.client();
        if round % 2 == 0 {
            client.send(">x");
        }
        client.abort();
    }
    portsplit.assert_back_to(baseline);
    let client = portsplit.client_sending(">alive");
    assert_eq!(client.receive(6), b">alive");
}

#[test]
fn a_reset_is_noticed_although_the_upstream_takes_no_more_bytes() {
    let (stop, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::tcp(move |socket| {
        // Reads nothing until the test is over.
        let _ = wait.lock().unwrap().recv_timeout(crate::support::PATIENCE * 3);
        drop(socket);
    });
    let portsplit = Portsplit::start(&all_to(&backend));
    let baseline = portsplit.process().fds();
    let client = portsplit.client_sending(">");
    client.fill();
    client.abort();
    portsplit.assert_back_to(baseline);
    drop(stop);
}

#[test]
fn an_upstreams_reset_is_noticed_although_the_client_takes_no_more_bytes() {
    let backend = Backend::tcp(|socket| {
        socket.fill();
        socket.abort();
    });
    let portsplit = Portsplit::start(&all_to(&backend));
    let baseline = portsplit.process().fds();
    let client = portsplit.client_sending(">");
    eventually("the backend has reset", || backend.accepted() == 1 && backend.open() == 0);
    // The client reads nothing until now; what it gets must not look complete.
    assert_eq!(client.drain().1, End::Reset);
    drop(client);
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_reset_before_the_decision_reaches_nobody() {
    let backend = Backend::echo();
    let config = format!(
        "timeout = \"60s\"\n{}{}",
        crate::support::config::LISTEN,
        crate::support::config::to(&backend, "ssh", "prefix = 'SSH-'"),
    );
    let portsplit = Portsplit::start(&config);
    let baseline = portsplit.process().fds();
    for sent in ["", "S", "SSH"] {
        for _ in 0..20 {
            let client = portsplit.client_sending(sent);
            let peer = client.local();
            client.abort();
            let line = portsplit.connection_of(&peer);
            assert_eq!((line.field("service"), line.field("upstream")), (String::new(), String::new()));
        }
    }
    portsplit.assert_back_to(baseline);
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn thousands_of_short_connections_all_succeed_and_leave_no_memory_behind() {
    let backend = Backend::tag("web");
    let portsplit = Portsplit::start(&all_to(&backend));
    let portsplit = &portsplit;
    let serve = |count: usize| {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    for round in 0..count / 4 {
                        let client = portsplit.client_sending(">hello");
                        client.finish();
                        assert_eq!(client.answer(), "web\n>hello", "connection {round}");
                    }
                });
            }
        });
    };
    serve(1000);
    let (fds, rss) = (portsplit.process().fds(), portsplit.process().rss_kib());
    serve(6000);
    portsplit.assert_back_to(fds);
    let grown = portsplit.process().rss_kib().saturating_sub(rss);
    assert!(grown <= 1024, "6,000 connections left {grown} KiB behind");
}

#[test]
fn a_reset_of_the_upstream_is_passed_on_after_the_client_has_finished() {
    let backend = Backend::tcp(|socket| {
        discard(&socket);
        socket.send(pattern(1000));
        eventually("the bytes are acknowledged", || socket.unacknowledged() == 0);
        socket.abort();
    });
    let portsplit = Portsplit::start(&all_to(&backend));
    for round in 0..50 {
        let client = portsplit.client_sending(">");
        client.finish();
        let (bytes, end) = client.drain();
        assert_eq!(end, End::Reset, "round {round}: a truncated answer looks complete");
        assert!(pattern(1000).starts_with(&bytes), "round {round}");
    }
}

#[test]
fn a_reset_of_the_client_is_passed_on_after_the_upstream_has_finished() {
    let (ends, receiver) = mpsc::channel();
    let ends = Mutex::new(ends);
    let backend = Backend::tcp(move |socket| {
        socket.send("answer");
        socket.finish();
        let end = socket.drain().1;
        let _ = ends.lock().unwrap().send(end);
    });
    let portsplit = Portsplit::start(&all_to(&backend));
    for round in 0..50 {
        let client = portsplit.client_sending(">");
        assert_eq!(client.receive_to_end(), b"answer");
        client.send("half of an upl");
        client.abort();
        let end = receiver.recv_timeout(crate::support::PATIENCE).expect("the backend's connection ends");
        assert_eq!(end, End::Reset, "round {round}: the backend took a cut upload for a finished one");
    }
}

#[test]
fn a_reset_that_a_write_notices_first_ends_a_stuck_upstream_too() {
    use crate::support::process::Signal;
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::tcp(move |socket| {
        // Takes nothing, and says something at the wrong moment.
        let wait = wait.lock().unwrap();
        let _ = wait.recv_timeout(crate::support::PATIENCE);
        socket.send("!");
        let _ = wait.recv_timeout(crate::support::PATIENCE * 3);
    });
    let portsplit = Portsplit::start(&all_to(&backend));
    let baseline = portsplit.process().fds();
    let client = portsplit.client_sending(">");
    client.fill();
    let peer = client.local();
    portsplit.pause();
    go.send(()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    client.abort();
    portsplit.signal(Signal::CONT);
    assert_eq!(portsplit.connection_of(&peer).field("end"), "client-reset");
    portsplit.assert_back_to(baseline);
}

#[test]
fn a_reset_of_a_client_that_has_finished_is_passed_on_although_the_upstream_is_silent() {
    let (ends, receiver) = mpsc::channel();
    let ends = Mutex::new(ends);
    let backend = Backend::tcp(move |socket| {
        discard(&socket);
        let ends = ends.lock().unwrap();
        let _ = ends.send(());
        // There is nothing to read after the end, so the error has to be asked for.
        eventually("the client's reset arrives", || rustix::net::sockopt::socket_error(tcp_of(&socket)) != Ok(Ok(())));
        let _ = ends.send(());
    });
    let portsplit = Portsplit::start(&all_to(&backend));
    let client = portsplit.client_sending(">");
    client.finish();
    receiver.recv_timeout(crate::support::PATIENCE).expect("the backend sees the end");
    client.abort();
    receiver.recv_timeout(crate::support::PATIENCE).expect("the backend sees the reset");
}

#[test]
fn a_slow_client_that_keeps_sending_gets_the_whole_answer() {
    use std::io::Write;
    let (backend, closed) = backend_that_closes_after_two_mb();
    let portsplit = Portsplit::start(&all_to(&backend));
    let client = portsplit.client();
    client.small_receive_buffer();
    client.send(">");
    let (mut got, mut is_closed) = (Vec::new(), false);
    // Takes longer than a client is given that takes nothing.
    while got.len() < TWO_MB {
        is_closed |= closed.try_recv().is_ok();
        if is_closed {
            let _ = (&mut &client).write(b"x");
        }
        got.extend(client.receive((TWO_MB - got.len()).min(10_000)));
        std::thread::sleep(std::time::Duration::from_millis(40));
    }
    assert!(is_closed && got == pattern(TWO_MB), "the bytes differ");
}
