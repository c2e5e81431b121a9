//! Bulk: as many bytes as go through, from the backend or to it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use super::{Job, Kind, Outcome};
use crate::net::{self, EventFlags, Poll};
use crate::wire::{ACK, ACK_EVERY, ANSWER_BYTES, PATTERN_BYTES, Pattern, Protocol, Want};

/// How often one connection is read or written before the others get a turn.
const TURNS: usize = 4;

struct Connection {
    socket: OwnedFd,
    protocol: Protocol,
    answered: usize,
    /// How much of the stream was sent or received.
    position: u64,
    /// Bytes that the other end has confirmed, or that are here.
    done: u64,
}

/// Moves bytes for the time of the job; the connections are still open when it returns.
pub(super) fn run(job: &Job) -> io::Result<(Outcome, Vec<OwnedFd>)> {
    let pattern = Pattern::new();
    let mut poll = Poll::new()?;
    let mut outcome = Outcome::default();
    let want = if job.kind == Kind::Pull { Want::Source } else { Want::Sink };
    let interest = if job.kind == Kind::Pull { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT };
    let began = Instant::now();
    let end = began + job.time;
    let mut connections = Vec::new();
    for number in 0..job.clients {
        let protocol = job.protocol(number);
        match open(job, protocol, want).and_then(|socket| poll.add(&socket, number, interest).map(|()| socket)) {
            Ok(socket) => connections.push(Some(Connection { socket, protocol, answered: 0, position: 0, done: 0 })),
            Err(error) => {
                connections.push(None);
                outcome.error(error);
            }
        }
    }
    let mut ready = Vec::new();
    let mut buffer = vec![0; PATTERN_BYTES];
    let mut gone = 0;
    while Instant::now() < end && connections.iter().any(Option::is_some) {
        poll.wait(Some(end), &mut ready)?;
        for number in &ready {
            let Some(place) = connections.get_mut(*number) else { continue };
            let Some(connection) = place else { continue };
            if let Err(error) = connection.step(job.kind, &pattern, &mut buffer) {
                outcome.error(error);
                gone += connection.done;
                *place = None;
            }
        }
    }
    outcome.elapsed = began.elapsed();
    outcome.bytes = gone + connections.iter().flatten().map(|connection| connection.done).sum::<u64>();
    Ok((outcome, connections.into_iter().flatten().map(|connection| connection.socket).collect()))
}

fn open(job: &Job, protocol: Protocol, want: Want) -> io::Result<OwnedFd> {
    let socket = std::net::TcpStream::connect(job.targets.of(protocol))?;
    socket.set_nodelay(true)?;
    io::Write::write_all(&mut &socket, &protocol.first_flight(want))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Connection {
    fn step(&mut self, kind: Kind, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..TURNS {
            let room = if self.answered < ANSWER_BYTES { ANSWER_BYTES - self.answered } else { buffer.len() };
            let Some(bytes) = net::read(&self.socket, buffer.get_mut(..room).unwrap_or_default())? else { break };
            let read = buffer.get(..bytes).unwrap_or_default();
            if read.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.check(kind, pattern, read)?;
        }
        if kind == Kind::Push && self.answered == ANSWER_BYTES {
            for _ in 0..TURNS {
                let Some(sent) = net::send(&self.socket, pattern.at(self.position, PATTERN_BYTES))? else { break };
                self.position += sent as u64;
            }
        }
        Ok(())
    }

    fn check(&mut self, kind: Kind, pattern: &Pattern, read: &[u8]) -> io::Result<()> {
        if self.answered < ANSWER_BYTES {
            let expected = self.protocol.answer();
            if expected.get(self.answered..self.answered + read.len()) != Some(read) {
                return Err(io::Error::other("wrong answer"));
            }
            self.answered += read.len();
        } else if kind == Kind::Pull {
            if pattern.at(self.position, read.len()) != read {
                return Err(io::Error::other(format!("wrong bytes after {}", self.position)));
            }
            self.position += read.len() as u64;
            self.done = self.position;
        } else {
            self.done += ACK_EVERY * read.len() as u64;
            if read.iter().any(|byte| *byte != ACK) || self.done > self.position {
                return Err(io::Error::other("wrong acknowledgement"));
            }
        }
        Ok(())
    }
}
