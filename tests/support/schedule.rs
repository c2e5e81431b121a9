//! Random connections whose both sides know what to send and what to expect: sizes, pauses, half-closes.
//!
//! A connection begins with a letter, by which portsplit can tell services apart, and its number, from which both sides
//! draw everything else. Nothing is kept of a connection that went as it should.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Socket;
use super::rng::Rng;

/// Connections at once.
const AT_ONCE: usize = 16;

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
    /// Schedule number `id` of the run that began with `seed`, behind `letter`.
    fn new(seed: u64, letter: char, id: u32) -> Schedule {
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
        client.bytes.splice(0..0, format!("{letter}{id:08x}").into_bytes());
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

/// What has become of the connections of one run.
#[derive(Clone, Default)]
pub struct Tally(Arc<Counts>);

#[derive(Default)]
struct Counts {
    /// Sides of connections that have been played: two for each connection.
    played: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    /// How many sides, two for each connection, have been played to their end.
    pub fn played(&self) -> usize {
        self.0.played.load(Ordering::SeqCst)
    }

    /// What went wrong, a line each.
    pub fn failures(&self) -> Vec<String> {
        self.0.failures.lock().unwrap().clone()
    }

    fn note(&self, id: u32, side: &str, result: Result<Vec<u8>, String>, expected: &[u8]) {
        let failure = match result {
            Err(error) => Some(format!("schedule {id}: {side}: {error}")),
            Ok(got) if got != expected => {
                let same = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
                let (got, expected) = (got.len(), expected.len());
                Some(format!("schedule {id}: {side}: {got} bytes for {expected}, equal up to {same}"))
            }
            Ok(_) => None,
        };
        self.0.failures.lock().unwrap().extend(failure);
        self.0.played.fetch_add(1, Ordering::SeqCst);
    }
}

/// A handler that learns from the first bytes which connection it is to play, plays it, and notes what became of it.
pub fn player(seed: u64, tally: Tally) -> impl Fn(Socket) + Send + Sync + 'static {
    move |socket| {
        let header = socket.receive(HEADER);
        let text = String::from_utf8_lossy(&header).into_owned();
        let id = text.get(1..).and_then(|number| u32::from_str_radix(number, 16).ok());
        let (Some(letter), Some(id)) = (text.chars().next(), id) else {
            return tally.note(0, "backend", Err(format!("the header is {text:?}")), &[]);
        };
        let Schedule { client, server } = Schedule::new(seed, letter, id);
        tally.note(id, "backend", server.play(&socket, header), &client.bytes);
    }
}

/// Plays connections from number `first` on between the listener at `address` and a backend with a [`player`] of the
/// same tally, as long as `goes_on` says of the next number; returns how many those were.
pub fn play(
    seed: u64,
    address: &str,
    letter: char,
    first: u32,
    goes_on: impl Fn(u32) -> bool + Sync,
    tally: &Tally,
) -> u32 {
    let next = AtomicU32::new(first);
    let played = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let id = next.fetch_add(1, Ordering::SeqCst);
                    if !goes_on(id) {
                        return;
                    }
                    let Schedule { client, server } = Schedule::new(seed, letter, id);
                    let result = Socket::try_connect(address).map_err(|error| format!("cannot connect: {error}"));
                    let result = result.and_then(|socket| client.play(&socket, Vec::new()));
                    tally.note(id, "client", result, &server.bytes);
                    played.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    played.into_inner()
}
