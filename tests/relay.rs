//! The relay on real sockets: random half-close and pause schedules, backpressure, and the two time limits.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::backend::{discard, pattern};
use crate::support::config::{all_to, all_to_with, service};
use crate::support::rng::Rng;
use crate::support::{Backend, Portsplit, Socket, assert_took, eventually, report};

/// What one side of a connection does: it writes while it reads, each at its own pace.
#[derive(Clone)]
struct Side {
    rng: Rng,
    bytes: Vec<u8>,
    /// Whether this side waits for the other's end before it sends anything.
    answers_last: bool,
    /// Whether this side reads with pauses.
    reads_slowly: bool,
}

/// Both sides of one random connection, known to both from the connection's number.
struct Schedule {
    client: Side,
    server: Side,
}

const HEADER: usize = 9;

impl Schedule {
    /// Schedule number `id` of the run that began with `seed`.
    fn new(seed: u64, id: u32) -> Schedule {
        let mut rng = Rng::new(seed ^ (u64::from(id) << 32));
        let mut side = || {
            let len = match rng.below(10) {
                0 => 0,
                1 | 2 => rng.below(3),
                3..=6 => rng.below(20_000),
                7 | 8 => rng.below(200_000),
                _ => rng.below(1_048_577),
            };
            let mut own = Rng::new(rng.word());
            Side { bytes: own.bytes(len), answers_last: rng.one_in(4), reads_slowly: rng.one_in(4), rng: own }
        };
        let (mut client, server) = (side(), side());
        client.bytes.splice(0..0, format!(">{id:08x}").into_bytes());
        client.answers_last = false;
        Schedule { client, server }
    }
}

impl Side {
    /// Plays this side on `socket`: sends its bytes and its end, and returns what came until the other's end.
    fn play(mut self, socket: &Socket, already: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut reading = self.rng.clone();
        std::thread::scope(|scope| {
            if self.answers_last {
                let got = read_all(socket, already, self.reads_slowly, &mut reading)?;
                self.write_all(socket)?;
                return Ok(got);
            }
            let slowly = self.reads_slowly;
            let reader = scope.spawn(move || read_all(socket, already, slowly, &mut reading));
            let sent = self.write_all(socket);
            let got = reader.join().map_err(|_| "the reader panicked".to_owned())?;
            sent.and(got)
        })
    }

    fn write_all(&mut self, socket: &Socket) -> Result<(), String> {
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let most = 1 << self.rng.below(18);
            let len = (1 + self.rng.below(most)).min(rest.len());
            let (slice, after) = rest.split_at(len);
            (&mut &*socket).write_all(slice).map_err(|error| format!("cannot send: {error}"))?;
            rest = after;
            if self.rng.one_in(8) {
                std::thread::sleep(Duration::from_millis(self.rng.below(4) as u64));
            }
        }
        socket.finish();
        Ok(())
    }
}

fn read_all(socket: &Socket, already: Vec<u8>, slowly: bool, rng: &mut Rng) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let mut got = already;
    let mut buf = vec![0; 32 * 1024];
    let mut pauses = 0;
    loop {
        let most = if slowly { 1 + rng.below(8 * 1024) } else { buf.len() };
        match (&mut &*socket).read(&mut buf[..most]) {
            Ok(0) => return Ok(got),
            Ok(len) => got.extend_from_slice(&buf[..len]),
            Err(error) => return Err(format!("cannot receive after {} bytes: {error}", got.len())),
        }
        if slowly && pauses < 20 && rng.one_in(4) {
            pauses += 1;
            std::thread::sleep(Duration::from_millis(rng.below(5) as u64));
        }
    }
}

type Results = Arc<Mutex<HashMap<u32, Result<Vec<u8>, String>>>>;

/// A handler that learns from the first bytes which schedule it is to play, plays it, and notes what it received.
fn player(seed: u64, results: Results) -> impl Fn(Socket) + Send + Sync + 'static {
    move |socket| {
        let header = socket.receive(HEADER);
        let id = u32::from_str_radix(&String::from_utf8_lossy(&header[1..]), 16).expect("the header holds a number");
        let result = Schedule::new(seed, id).server.play(&socket, header);
        results.lock().unwrap().insert(id, result);
    }
}

/// Plays `count` schedules between listener `address` and a backend that notes its side in `results`.
fn play_all(seed: u64, address: &str, ids: std::ops::Range<u32>, results: &Results) -> Vec<String> {
    let failures = Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicU32::new(ids.start);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let id = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if id >= ids.end {
                        return;
                    }
                    let schedule = Schedule::new(seed, id);
                    let socket = Socket::connect(address);
                    let result = schedule.client.clone().play(&socket, Vec::new());
                    let mut failures = failures.lock().unwrap();
                    check(id, "client", result, &schedule.server.bytes, &mut failures);
                }
            });
        }
    });
    eventually("the backend has noted every schedule", || results.lock().unwrap().len() == ids.len());
    let mut failures = failures.into_inner().unwrap();
    for (id, result) in results.lock().unwrap().drain() {
        check(id, "backend", result, &Schedule::new(seed, id).client.bytes, &mut failures);
    }
    failures
}

fn check(id: u32, side: &str, result: Result<Vec<u8>, String>, expected: &[u8], failures: &mut Vec<String>) {
    match result {
        Err(error) => failures.push(format!("schedule {id}: {side}: {error}")),
        Ok(got) if got != expected => {
            let same = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
            let (got, expected) = (got.len(), expected.len());
            failures.push(format!("schedule {id}: {side}: {got} bytes for {expected}, equal up to {same}"));
        }
        Ok(_) => {}
    }
}

#[test]
fn a_thousand_random_schedules_are_byte_exact_and_leave_nothing_behind() {
    let (seed, _) = Rng::from_env("a_thousand_random_schedules");
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let results = Results::default();
    let backends = [Backend::tcp(player(seed, results.clone())), Backend::unix(player(seed, results.clone()))];
    for (index, backend) in backends.iter().enumerate() {
        let socket = dir.path().join(format!("{index}.sock"));
        let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}\"]\n", socket.display());
        let all = service("all", "prefix = '>'", &format!("connect = \"{}\"", backend.address()));
        let portsplit = Portsplit::start(&format!("{listen}{all}"));
        for listener in 0..2 {
            let name = format!("{} to {}", portsplit.nth_address(listener), backend.address());
            let warm_up = play_all(seed, portsplit.nth_address(listener), 0..1, &results);
            eventually("the warm-up is over", || {
                portsplit.log().count(|line| line.message() == "connection") == listener * 251 + 1
            });
            let baseline = portsplit.process().fds();
            let failures = play_all(seed, portsplit.nth_address(listener), 0..250, &results);
            assert!(warm_up.is_empty() && failures.is_empty(), "{name}, SEED={seed}: {failures:#?}");
            portsplit.assert_back_to(baseline);
            assert_eq!(portsplit.log().count(|line| line.message() == "connection"), (listener + 1) * 251, "{name}");
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
fn wait_until_blocked(portsplit: &Portsplit, clients: &[Socket]) {
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
