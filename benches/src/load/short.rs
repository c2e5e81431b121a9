//! Short connections: connect, send a first flight, read one answer, close; the next one at once.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::{Job, Kind, Outcome};
use crate::net::{self, EventFlags, Poll};
use crate::wire::{ANSWER_BYTES, Protocol, Want};

/// How long connections that are open when the time is over may take to finish; what takes longer has stalled.
const STALLED_AFTER: Duration = Duration::from_secs(2);

/// Errors after which a run ends early.
const TOO_MANY_ERRORS: u64 = 1000;

struct Connection {
    socket: OwnedFd,
    protocol: Protocol,
    sent: usize,
    received: usize,
    started: Instant,
}

struct Short<'a> {
    job: &'a Job,
    poll: Poll,
    flights: [Vec<u8>; 3],
    slots: Vec<Option<Connection>>,
    started: usize,
    end: Instant,
    outcome: Outcome,
}

/// Runs short connections for the time of the job.
pub(super) fn run(job: &Job) -> io::Result<Outcome> {
    let began = Instant::now();
    let mut short = Short {
        job,
        poll: Poll::new()?,
        flights: Protocol::ALL.map(|protocol| protocol.first_flight(Want::Answer)),
        slots: Vec::new(),
        started: 0,
        end: began + job.time,
        outcome: Outcome::default(),
    };
    short.slots.resize_with(job.clients, || None);
    for slot in 0..job.clients {
        short.start(slot);
    }
    let mut ready = Vec::new();
    let mut buffer = vec![0; ANSWER_BYTES * 2];
    while short.slots.iter().any(Option::is_some) {
        short.poll.wait(Some(short.end + STALLED_AFTER), &mut ready)?;
        if ready.is_empty() && Instant::now() >= short.end + STALLED_AFTER {
            let stalled = short.slots.iter().flatten().count();
            for _ in 0..stalled {
                short.outcome.error("stalled: no answer");
            }
            break;
        }
        for slot in &ready {
            short.step(*slot, &mut buffer);
        }
    }
    short.outcome.elapsed = began.elapsed();
    Ok(short.outcome)
}

impl Short<'_> {
    /// Starts the next connection in a slot, if there is time for one.
    fn start(&mut self, slot: usize) {
        let enough = self.job.limit > 0 && self.started >= self.job.limit;
        let now = Instant::now();
        if enough || now >= self.end || self.outcome.errors > TOO_MANY_ERRORS {
            return;
        }
        let protocol = self.job.protocol(self.started);
        self.started += 1;
        let opened = net::connect(self.job.targets.of(protocol)).and_then(|socket| {
            let mut connection = Connection { socket, protocol, sent: 0, received: 0, started: now };
            let interest = if self.send(&mut connection)? { EventFlags::IN } else { EventFlags::OUT };
            self.poll.add(&connection.socket, slot, interest)?;
            Ok(connection)
        });
        match opened {
            Ok(connection) => {
                if let Some(place) = self.slots.get_mut(slot) {
                    *place = Some(connection);
                }
            }
            Err(error) => self.outcome.error(error),
        }
    }

    /// Sends the first flight; `true` once all of it is sent.
    fn send(&self, connection: &mut Connection) -> io::Result<bool> {
        let flight = self.flight(connection.protocol);
        let rest = flight.get(connection.sent..).unwrap_or_default();
        connection.sent += net::send(&connection.socket, rest)?.unwrap_or(0);
        Ok(connection.sent == flight.len())
    }

    fn step(&mut self, slot: usize, buffer: &mut [u8]) {
        let Some(mut connection) = self.slots.get_mut(slot).and_then(Option::take) else { return };
        match self.go_on(&mut connection, slot, buffer) {
            Ok(false) => {
                if let Some(place) = self.slots.get_mut(slot) {
                    *place = Some(connection);
                }
                return;
            }
            Ok(true) => {
                self.outcome.done += 1;
                self.outcome.bytes += ANSWER_BYTES as u64;
                self.outcome.latency(connection.started, Instant::now());
            }
            Err(error) => self.outcome.error(error),
        }
        if self.job.kind == Kind::Abort {
            net::abort_on_close(&connection.socket);
        }
        drop(connection);
        self.start(slot);
    }

    /// Does what can be done now; `true` once the answer is complete and right.
    fn go_on(&self, connection: &mut Connection, slot: usize, buffer: &mut [u8]) -> io::Result<bool> {
        if connection.sent < self.flight(connection.protocol).len() {
            if self.send(connection)? {
                self.poll.change(&connection.socket, slot, EventFlags::IN)?;
            }
            return Ok(false);
        }
        let Some(bytes) = net::read(&connection.socket, buffer)? else { return Ok(false) };
        if bytes == 0 {
            return Err(io::Error::other(format!("closed after {} bytes of the answer", connection.received)));
        }
        let expected = connection.protocol.answer();
        let expected = expected.get(connection.received..connection.received + bytes);
        if expected != buffer.get(..bytes) {
            return Err(io::Error::other("wrong answer"));
        }
        connection.received += bytes;
        Ok(connection.received == ANSWER_BYTES)
    }

    fn flight(&self, protocol: Protocol) -> &[u8] {
        let [ssh, http, tls] = &self.flights;
        match protocol {
            Protocol::Ssh => ssh,
            Protocol::Http => http,
            Protocol::Tls => tls,
        }
    }
}
