//! Round trips: 64 bytes to the backend and back on every open connection, again and again.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::{Job, Outcome};
use crate::net::{self, EventFlags, Poll};
use crate::wire::Pattern;

/// The length of a message.
const MESSAGE_BYTES: usize = 64;

/// How long messages that are on their way when the time is over may take.
const STALLED_AFTER: Duration = Duration::from_secs(2);

struct Connection {
    socket: OwnedFd,
    /// Where in the pattern the message begins.
    position: u64,
    received: usize,
    sent_at: Instant,
}

/// Sends messages on `open` for the time of the job and returns the connections still open.
pub(super) fn run(job: &Job, open: Vec<OwnedFd>) -> io::Result<(Outcome, Vec<OwnedFd>)> {
    let pattern = Pattern::new();
    let mut poll = Poll::new()?;
    let mut outcome = Outcome::default();
    let began = Instant::now();
    let end = began + job.time;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    for (number, socket) in open.into_iter().enumerate() {
        poll.add(&socket, number, EventFlags::IN)?;
        let mut connection = Connection { socket, position: number as u64 * 1009, received: 0, sent_at: began };
        match connection.send(&pattern) {
            Ok(()) => connections.push(Some(connection)),
            Err(error) => outcome.error(error),
        }
    }
    let mut under_way = connections.len();
    let mut ready = Vec::new();
    let mut buffer = vec![0; MESSAGE_BYTES * 2];
    while under_way > 0 {
        poll.wait(Some(end + STALLED_AFTER), &mut ready)?;
        let now = Instant::now();
        if ready.is_empty() && now >= end + STALLED_AFTER {
            outcome.error(format!("stalled: {under_way} messages have not come back"));
            break;
        }
        for number in &ready {
            let Some(place) = connections.get_mut(*number) else { continue };
            let Some(connection) = place else { continue };
            match connection.receive(&pattern, &mut buffer) {
                Ok(false) => {}
                Ok(true) => {
                    let now = Instant::now();
                    outcome.done += 1;
                    outcome.bytes += MESSAGE_BYTES as u64;
                    outcome.latency(connection.sent_at, now);
                    if now >= end {
                        under_way -= 1;
                    } else if let Err(error) = connection.send(&pattern) {
                        outcome.error(error);
                        *place = None;
                        under_way -= 1;
                    }
                }
                Err(error) => {
                    outcome.error(error);
                    *place = None;
                    under_way -= 1;
                }
            }
        }
    }
    outcome.elapsed = began.elapsed();
    Ok((outcome, connections.into_iter().flatten().map(|connection| connection.socket).collect()))
}

impl Connection {
    fn send(&mut self, pattern: &Pattern) -> io::Result<()> {
        self.received = 0;
        self.sent_at = Instant::now();
        match net::send(&self.socket, pattern.at(self.position, MESSAGE_BYTES))? {
            Some(MESSAGE_BYTES) => Ok(()),
            sent => Err(io::Error::other(format!("{sent:?} bytes of a message fitted into an empty socket"))),
        }
    }

    /// Reads what is there; `true` once the message is back.
    fn receive(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(bytes) = net::read(&self.socket, buffer)? else { return Ok(false) };
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let expected = pattern.at(self.position, MESSAGE_BYTES);
        if expected.get(self.received..self.received + bytes) != buffer.get(..bytes) {
            return Err(io::Error::other("wrong bytes came back"));
        }
        self.received += bytes;
        if self.received < MESSAGE_BYTES {
            return Ok(false);
        }
        self.position += MESSAGE_BYTES as u64;
        Ok(true)
    }
}
