#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::future::pending;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::watched::Watched;

mod splice;

const MEGABYTE: usize = 1 << 20;

/// The far ends of a running relay, and its report once it has ended.
struct Running<C, U> {
    client: C,
    upstream: U,
    report: mpsc::Receiver<Report>,
}

impl<C, U> Running<C, U> {
    fn report(&self) -> Report {
        self.report.recv_timeout(Duration::from_secs(30)).expect("the relay does not end")
    }
}

/// Every way of moving bytes, which all have to look the same from outside.
const WAYS: [Splice; 3] = [Splice::Auto, Splice::Always, Splice::Never];

const LONG: Patience = Patience { idle: Some(Duration::from_secs(60)), half_closed: Some(Duration::from_secs(60)) };

/// Runs a relay between the near ends on a thread of its own.
fn run(
    make: impl FnOnce() -> (Stream, Stream) + Send + 'static,
    first_flight: &[u8],
    patience: Patience,
    splice: Splice,
    upstream_ended: impl Future<Output = ()> + Send + 'static,
) -> mpsc::Receiver<Report> {
    let (done, report) = mpsc::channel();
    let first_flight = FirstFlight { rest: first_flight.to_vec(), written: 0 };
    thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (client, upstream) = make();
            let mut relay = Relay::new(client, upstream, first_flight, splice, Instant::now());
            let report = relay.run(patience, pin!(upstream_ended)).await;
            let _ = done.send(report);
        });
    });
    report
}

fn tcp_pair() -> (TcpStream, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let near = listener.accept().unwrap().0;
    near.set_nonblocking(true).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    far.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    (far, near.into())
}

fn over_tcp(first_flight: &[u8], patience: Patience, splice: Splice) -> Running<TcpStream, TcpStream> {
    let (client, near_client) = tcp_pair();
    let (upstream, near_upstream) = tcp_pair();
    let make = || (Stream::tcp(Watched::new(near_client)), Stream::tcp(Watched::new(near_upstream)));
    let report = run(make, first_flight, patience, splice, pending());
    Running { client, upstream, report }
}

fn over_unix(first_flight: &[u8], splice: Splice) -> Running<UnixStream, UnixStream> {
    let (client, near_client) = UnixStream::pair().unwrap();
    let (upstream, near_upstream) = UnixStream::pair().unwrap();
    for near in [&near_client, &near_upstream] {
        near.set_nonblocking(true).unwrap();
    }
    for far in [&client, &upstream] {
        far.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        far.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    }
    let make = || (Stream::unix(Watched::new(near_client.into())), Stream::unix(Watched::new(near_upstream.into())));
    let report = run(make, first_flight, LONG, splice, pending());
    Running { client, upstream, report }
}

/// Waits until the peer's kernel has everything that was sent, which for a relay is when it has it or can read it.
fn wait_until_taken(socket: &TcpStream) {
    while crate::sys::unacknowledged_bytes(socket.as_fd()) > 0 {
        thread::yield_now();
    }
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn abort(socket: TcpStream) {
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn the_first_flight_comes_first_and_half_closes_go_both_ways() {
    for way in WAYS {
        let mut running = over_tcp(b"hello ", LONG, way);
        running.client.write_all(b"world").unwrap();
        running.client.shutdown(Shutdown::Write).unwrap();
        let mut received = String::new();
        running.upstream.read_to_string(&mut received).unwrap();
        assert_eq!(received, "hello world", "{way:?}");
        running.upstream.write_all(b"late answer").unwrap();
        running.upstream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        running.client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "late answer", "{way:?}");
        assert_eq!(running.report(), Report { bytes_in: 11, bytes_out: 11, ending: Ending::Done }, "{way:?}");
    }
}

#[test]
fn a_slow_reader_gets_everything_and_stops_the_sender() {
    for way in WAYS {
        let running = over_tcp(b"", LONG, way);
        let sent = pattern(32 * MEGABYTE);
        let mut upstream = running.upstream.try_clone().unwrap();
        let expected = sent.clone();
        let sender = thread::spawn(move || {
            upstream.write_all(&sent).unwrap();
            upstream.shutdown(Shutdown::Write).unwrap();
        });
        let mut client = running.client.try_clone().unwrap();
        let mut received = Vec::new();
        let mut chunk = vec![0; 100_000];
        loop {
            let bytes = client.read(&mut chunk).unwrap();
            if bytes == 0 {
                break;
            }
            received.extend_from_slice(&chunk[..bytes]);
        }
        sender.join().unwrap();
        assert!(received == expected, "{way:?}");
        client.shutdown(Shutdown::Write).unwrap();
        let report = running.report();
        assert_eq!((report.ending, report.bytes_out), (Ending::Done, expected.len() as u64), "{way:?}");
    }
}

#[test]
fn an_abort_arrives_as_an_abort_after_the_bytes_before_it() {
    for (way, from_upstream) in WAYS.into_iter().flat_map(|way| [(way, true), (way, false)]) {
        let running = over_tcp(b"", LONG, way);
        let (mut sender, mut receiver) = match from_upstream {
            true => (running.upstream.try_clone().unwrap(), running.client.try_clone().unwrap()),
            false => (running.client.try_clone().unwrap(), running.upstream.try_clone().unwrap()),
        };
        let sent = pattern(MEGABYTE);
        let mut received = vec![0; sent.len()];
        let to_send = sent.clone();
        let sending = thread::spawn(move || sender.write_all(&to_send).unwrap());
        receiver.read_exact(&mut received).unwrap();
        sending.join().unwrap();
        assert!(received == sent, "{way:?}");
        let Running { client, upstream, report } = running;
        let (aborting, staying) = if from_upstream { (upstream, client) } else { (client, upstream) };
        abort(aborting);
        drop(receiver);
        let error = (&staying).read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{way:?}");
        let want = if from_upstream { Ending::UpstreamReset } else { Ending::ClientReset };
        assert_eq!(report.recv_timeout(Duration::from_secs(30)).unwrap().ending, want, "{way:?}");
    }
}

#[test]
fn an_abort_does_not_overtake_bytes_that_wait() {
    for way in WAYS {
        let running = over_tcp(b"", LONG, way);
        let sent = pattern(200_000);
        (&running.upstream).write_all(&sent).unwrap();
        let Running { mut client, upstream, report } = running;
        // Not before the relay has taken all bytes over can the abort not destroy them in our own queue.
        wait_until_taken(&upstream);
        abort(upstream);
        let mut received = vec![0; sent.len()];
        client.read_exact(&mut received).unwrap();
        assert!(received == sent, "{way:?}");
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{way:?}");
        assert_eq!(report.recv_timeout(Duration::from_secs(30)).unwrap().ending, Ending::UpstreamReset, "{way:?}");
    }
}

#[test]
fn an_upstream_that_closes_early_still_delivers_everything_to_a_client_that_keeps_sending() {
    for way in WAYS.into_iter().flat_map(|way| [way; 10]) {
        let Running { mut client, mut upstream, report } = over_tcp(b"request", LONG, way);
        let mut request = [0; 7];
        upstream.read_exact(&mut request).unwrap();
        let answer = pattern(2_000_000);
        let to_send = answer.clone();
        let answering = thread::spawn(move || {
            upstream.write_all(&to_send).unwrap();
            upstream.shutdown(Shutdown::Write).unwrap();
            // Once the relay has it all, closing with unread input answers every further byte with an abort.
            wait_until_taken(&upstream);
        });
        let mut chatty = client.try_clone().unwrap();
        let chatting = thread::spawn(move || while chatty.write_all(b"more").is_ok() {});
        let mut received = vec![0; answer.len()];
        client.read_exact(&mut received).unwrap();
        assert!(received == answer, "{way:?}");
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "{way:?}: the end is not an abort");
        client.shutdown(Shutdown::Both).unwrap();
        answering.join().unwrap();
        chatting.join().unwrap();
        drop(client);
        report.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}

#[test]
fn silence_ends_a_relay_when_patience_does() {
    for way in WAYS {
        let short = Some(Duration::from_millis(300));
        let idle = over_tcp(b"", Patience { idle: short, half_closed: None }, way);
        assert_eq!(idle.report().ending, Ending::Idle, "{way:?}");
        let mut half = over_tcp(b"", Patience { idle: None, half_closed: short }, way);
        half.client.shutdown(Shutdown::Write).unwrap();
        let began = std::time::Instant::now();
        // A byte on the way back is progress.
        thread::sleep(Duration::from_millis(200));
        half.upstream.write_all(b"x").unwrap();
        assert_eq!(half.report().ending, Ending::HalfClosed, "{way:?}");
        assert!(began.elapsed() >= Duration::from_millis(450), "{way:?}: {:?}", began.elapsed());
    }
}

#[test]
fn unix_sockets_are_relayed_like_tcp() {
    for way in WAYS {
        let mut running = over_unix(b"first ", way);
        running.client.write_all(b"second").unwrap();
        running.client.shutdown(Shutdown::Write).unwrap();
        let mut received = String::new();
        running.upstream.read_to_string(&mut received).unwrap();
        assert_eq!(received, "first second", "{way:?}");
        let answer = pattern(MEGABYTE);
        let to_send = answer.clone();
        let Running { mut client, mut upstream, report } = running;
        let answering = thread::spawn(move || upstream.write_all(&to_send).unwrap());
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        answering.join().unwrap();
        assert!(back == answer, "{way:?}");
        let report = report.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(report, Report { bytes_in: 12, bytes_out: answer.len() as u64, ending: Ending::Done }, "{way:?}");
    }
}

#[test]
fn output_that_something_holds_open_after_the_program_ended_is_given_up() {
    let (mut client, near_client) = tcp_pair();
    let (input_reader, input) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    let (output, mut held_open) = std::io::pipe().unwrap();
    let output: OwnedFd = output.into();
    rustix::io::ioctl_fionbio(&output, true).unwrap();
    let make = || (Stream::tcp(Watched::new(near_client)), Stream::pipes(input, output));
    held_open.write_all(b"tail").unwrap();
    let report = run(make, b"", LONG, Splice::Auto, std::future::ready(()));
    let mut received = String::new();
    client.read_to_string(&mut received).unwrap();
    assert_eq!(received, "tail");
    assert_eq!(report.recv_timeout(Duration::from_secs(30)).unwrap().ending, Ending::Done);
    drop(input_reader);
}
