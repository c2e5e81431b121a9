//! What can go wrong only, or easily, while bytes are spliced.

use std::fs::{File, OpenOptions};

use super::*;
use crate::pipe::{self, Pipe};

/// Both ways of splicing, and copying to compare with.
const SPLICED: [Splice; 2] = [Splice::Auto, Splice::Always];

/// Relays without a first flight.
async fn started(client: Stream, upstream: Stream, splice: Splice) -> Report {
    Relay::new(client, upstream, FirstFlight::default(), splice, Instant::now()).run(LONG, pin!(pending())).await
}

/// Runs `over_tcp` on the current thread instead of one of its own, after `prepare`, and plays `far` against it.
fn beside<T: Send>(
    splice: Splice,
    prepare: impl FnOnce(),
    far: impl FnOnce(TcpStream, TcpStream) -> T + Send,
) -> (T, Report) {
    let (client, near_client) = tcp_pair();
    let (upstream, near_upstream) = tcp_pair();
    prepare();
    thread::scope(|scope| {
        let far = scope.spawn(|| far(client, upstream));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let report = runtime.block_on(async {
            let (client, upstream) = (Watched::new(near_client), Watched::new(near_upstream));
            started(Stream::tcp(client), Stream::tcp(upstream), splice).await
        });
        (far.join().unwrap(), report)
    })
}

/// Sends `bytes` through the relay, ends both sides in order, and returns what arrived.
fn through(bytes: usize) -> impl FnOnce(TcpStream, TcpStream) -> bool + Send {
    move |client, upstream| {
        let sent = pattern(bytes);
        let mut received = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                (&client).write_all(&sent).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            (&upstream).read_to_end(&mut received).unwrap();
            upstream.shutdown(Shutdown::Write).unwrap();
        });
        received == sent
    }
}

#[test]
fn bulk_is_spliced_and_small_amounts_are_not() {
    for (way, bytes, expected) in [
        (Splice::Auto, 16 * MEGABYTE, true),
        (Splice::Auto, 100_000, false),
        (Splice::Always, 10, true),
        (Splice::Never, 16 * MEGABYTE, false),
    ] {
        let before = pipe::spliced_bytes();
        let (exact, report) = beside(way, || (), through(bytes));
        assert!(exact);
        assert_eq!(report, Report { bytes_in: bytes as u64, bytes_out: 0, ending: Ending::Done });
        let spliced = pipe::spliced_bytes() - before;
        assert_eq!(spliced > 0, expected, "{way:?}: {spliced} of {bytes} bytes were spliced");
    }
}

#[test]
fn a_pipe_goes_back_empty_and_is_used_again() {
    for _ in 0..50 {
        beside(Splice::Always, || (), through(MEGABYTE));
    }
    let (open, kept) = pipe::count();
    assert!((1..=2).contains(&open), "{open} pipes are open");
    assert_eq!(open, kept, "no relay runs, so every pipe waits for one");
}

#[test]
fn without_a_pipe_bytes_are_copied() {
    let taken: Vec<Pipe> = std::iter::from_fn(Pipe::take).collect();
    assert!(!taken.is_empty() && Pipe::take().is_none(), "a worker has a limited number of pipes");
    let before = pipe::spliced_bytes();
    for way in SPLICED {
        assert!(beside(way, || (), through(16 * MEGABYTE)).0, "{way:?}");
    }
    assert_eq!(pipe::spliced_bytes(), before, "nothing was spliced");
    drop(taken);
    assert_eq!(pipe::count(), (0, 0));
}

#[test]
fn a_pipe_that_is_full_of_tiny_pieces_is_not_taken_for_an_empty_source() {
    const PIECES: usize = 3_000;
    for way in SPLICED {
        let (exact, _) = beside(
            way,
            || (),
            |client, upstream| {
                client.set_nodelay(true).unwrap();
                // A piece takes one of the 64 places of a pipe, however small it is, unless it lies behind the one before
                // in memory; pieces of another connection in between see to that.
                let (decoy, near_decoy) = tcp_pair();
                decoy.set_nodelay(true).unwrap();
                // Large pieces first, so that splicing has begun, and more of them than are taken without a reader.
                let start = pattern(16 * MEGABYTE);
                let mut received = vec![0; start.len() + PIECES];
                let (relayed, reading) = mpsc::channel();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        (&client).write_all(&start).unwrap();
                        for piece in 0..PIECES {
                            (&client).write_all(&[u8::try_from(piece % 256).unwrap()]).unwrap();
                            (&decoy).write_all(b"x").unwrap();
                            assert_eq!(rustix::io::read(&near_decoy, &mut [0; 8]), Ok(1));
                        }
                        relayed.send(()).unwrap();
                    });
                    (&upstream).read_exact(&mut received[..start.len() / 2]).unwrap();
                    // Neither the end of the stream nor another byte wakes the relay for the last of them.
                    let _ = reading.recv_timeout(Duration::from_millis(500));
                    (&upstream).read_exact(&mut received[start.len() / 2..]).unwrap();
                });
                let pieces = received.split_off(start.len());
                received == start && pieces.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 256)
            },
        );
        assert!(exact, "{way:?}");
    }
}

#[test]
fn the_end_of_the_source_waits_for_the_bytes_in_the_pipe() {
    for way in SPLICED {
        let (exact, report) = beside(
            way,
            || (),
            |client, upstream| {
                let sent = pattern(16 * MEGABYTE);
                thread::scope(|scope| {
                    scope.spawn(|| {
                        (&client).write_all(&sent).unwrap();
                        client.shutdown(Shutdown::Write).unwrap();
                    });
                    // Read so slowly that the end is there long before its bytes are taken.
                    let mut received = Vec::new();
                    let mut chunk = vec![0; 300_000];
                    loop {
                        match (&upstream).read(&mut chunk).unwrap() {
                            0 => break,
                            bytes => received.extend_from_slice(&chunk[..bytes]),
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                    upstream.shutdown(Shutdown::Write).unwrap();
                    received == sent
                })
            },
        );
        assert!(exact, "{way:?}");
        assert_eq!((report.ending, report.bytes_in), (Ending::Done, 16 * MEGABYTE as u64), "{way:?}");
    }
}

#[test]
fn an_abort_waits_for_the_bytes_in_the_pipe() {
    for way in WAYS {
        let Running { client, upstream, report } = over_tcp(b"", LONG, way);
        // More than both socket buffers take, so that the last of it is held by the relay while nobody reads.
        upstream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        let mut quiet = 0;
        let source = pattern(64 * MEGABYTE);
        while quiet < 20 {
            match (&upstream).write(&source[sent..]) {
                Ok(bytes) => (sent, quiet) = (sent + bytes, 0),
                Err(_) => {
                    thread::sleep(Duration::from_millis(5));
                    quiet += 1;
                }
            }
        }
        let mut reader = client.try_clone().unwrap();
        let mut received = vec![0; sent];
        // Until nothing is on its way to the relay any more, so that the abort destroys nothing in our own queue.
        let reading = thread::spawn(move || {
            reader.read_exact(&mut received).unwrap();
            received
        });
        wait_until_taken(&upstream);
        abort(upstream);
        assert!(reading.join().unwrap() == source[..sent], "{way:?}");
        assert_eq!((&client).read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{way:?}");
        let report = report.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!((report.ending, report.bytes_out), (Ending::UpstreamReset, sent as u64), "{way:?}");
    }
}

#[test]
fn a_direction_that_waits_for_room_does_not_stop_the_other() {
    for way in WAYS {
        let Running { client, upstream, report } = over_tcp(b"", LONG, way);
        let flood = pattern(32 * MEGABYTE);
        thread::scope(|scope| {
            scope.spawn(|| (&upstream).write_all(&flood).unwrap());
            thread::sleep(Duration::from_millis(200));
            // The client takes nothing, so its side waits for room; what it sends still arrives, again and again.
            let mut echo = [0; 5];
            for round in 0_u8..50 {
                let sent = [round; 5];
                (&client).write_all(&sent).unwrap();
                (&upstream).read_exact(&mut echo).unwrap();
                assert_eq!(echo, sent, "{way:?}");
            }
            let mut received = vec![0; flood.len()];
            (&client).read_exact(&mut received).unwrap();
            assert!(received == flood, "{way:?}");
        });
        client.shutdown(Shutdown::Write).unwrap();
        upstream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(report.recv_timeout(Duration::from_secs(30)).unwrap().ending, Ending::Done, "{way:?}");
    }
}

#[test]
fn both_directions_are_spliced_at_once() {
    for way in WAYS {
        let Running { client, upstream, report } = over_tcp(b"", LONG, way);
        let (there, back) = (pattern(16 * MEGABYTE), pattern(15 * MEGABYTE));
        let read = |mut socket: &TcpStream| {
            let mut received = Vec::new();
            socket.read_to_end(&mut received).unwrap();
            received
        };
        let exact = thread::scope(|scope| {
            for (socket, bytes) in [(&client, &there), (&upstream, &back)] {
                scope.spawn(move || {
                    (&mut &*socket).write_all(bytes).unwrap();
                    socket.shutdown(Shutdown::Write).unwrap();
                });
            }
            let at_upstream = scope.spawn(|| read(&upstream));
            read(&client) == back && at_upstream.join().unwrap() == there
        });
        assert!(exact, "{way:?}");
        let expected = Report { bytes_in: 16 << 20, bytes_out: 15 << 20, ending: Ending::Done };
        assert_eq!(report.recv_timeout(Duration::from_secs(30)).unwrap(), expected, "{way:?}");
    }
}

#[test]
fn urgent_data_is_not_taken_for_the_end() {
    for way in WAYS {
        let (exact, _) = beside(
            way,
            || (),
            |client, upstream| {
                let sent = pattern(4 * MEGABYTE);
                let mut received = vec![0; sent.len()];
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let (before, after) = sent.split_at(sent.len() / 2);
                        (&client).write_all(before).unwrap();
                        // The urgent byte itself is lost in every relay that does not know of it.
                        rustix::net::send(&client, b"!", rustix::net::SendFlags::OOB).unwrap();
                        (&client).write_all(after).unwrap();
                    });
                    (&upstream).read_exact(&mut received).unwrap();
                });
                received == sent
            },
        );
        assert!(exact, "{way:?}");
    }
}

/// Runs a relay from a TCP socket to something that is no socket but claims to be one.
fn into_file(file: File, bytes: usize) -> Report {
    let (mut client, near_client) = tcp_pair();
    let make = move || (Stream::tcp(Watched::new(near_client)), Stream::unix(Watched::new(file.into())));
    let report = run(make, b"first ", LONG, Splice::Always, pending());
    client.write_all(&pattern(bytes)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    report.recv_timeout(Duration::from_secs(30)).unwrap()
}

#[test]
fn a_target_that_refuses_splicing_gets_a_copy_of_what_was_in_the_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("target");
    // The kernel splices into no file that is open for appending.
    let file = OpenOptions::new().create(true).append(true).read(true).open(&path).unwrap();
    let report = into_file(file, MEGABYTE);
    assert_eq!(report.bytes_in, 6 + MEGABYTE as u64);
    let written = std::fs::read(&path).unwrap();
    assert!(written == [&b"first "[..], &pattern(MEGABYTE)].concat(), "{} bytes", written.len());
}

#[test]
fn a_source_that_refuses_splicing_is_read() {
    // The kernel splices from no event counter; reading one returns its count in eight bytes.
    let counter = rustix::event::eventfd(7, rustix::event::EventfdFlags::NONBLOCK).unwrap();
    let (mut client, near_client) = tcp_pair();
    let make = move || (Stream::tcp(Watched::new(near_client)), Stream::unix(Watched::new(counter)));
    let _report = run(make, b"", LONG, Splice::Always, pending());
    let mut received = [0; 8];
    client.read_exact(&mut received).unwrap();
    assert_eq!(u64::from_ne_bytes(received), 7);
}

#[test]
fn one_bulk_transfer_leaves_room_for_others() {
    // Two relays on one thread: while one moves bulk as fast as it can, the other answers.
    for way in WAYS {
        let pairs = [tcp_pair(), tcp_pair(), tcp_pair(), tcp_pair()];
        let [(bulk_client, a), (bulk_upstream, b), (client, c), (upstream, d)] = pairs;
        let (done, ended) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let start = |client, upstream| {
                    started(Stream::tcp(Watched::new(client)), Stream::tcp(Watched::new(upstream)), way)
                };
                let _ = done.send(tokio::join!(start(a, b), start(c, d)));
            });
        });
        let stop = std::sync::atomic::AtomicBool::new(false);
        let (stop, chunk) = (&stop, &pattern(MEGABYTE));
        thread::scope(|scope| {
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    (&bulk_client).write_all(chunk).unwrap();
                }
            });
            scope.spawn(move || {
                let mut sink = vec![0; MEGABYTE];
                while (&bulk_upstream).read(&mut sink).unwrap() > 0 {}
            });
            thread::sleep(Duration::from_millis(100));
            for round in 0_u8..100 {
                (&client).write_all(&[round]).unwrap();
                let mut byte = [0];
                (&upstream).read_exact(&mut byte).unwrap();
                assert_eq!(byte, [round], "{way:?}");
            }
            stop.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        drop((client, upstream));
        let (bulk, small) = ended.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!((bulk.ending, small.bytes_in), (Ending::Done, 100), "{way:?}");
    }
}
