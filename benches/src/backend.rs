//! The server behind every proxy: answers, echoes, sends and checks streams; a child process with one thread.
//!
//! It has one port for each protocol and closes a connection whose first flight is not of that protocol, so that a proxy
//! that picks the wrong service or damages a byte shows as an error at the client.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::child;
use crate::net::{self, EventFlags, Poll};
use crate::wire::{ACK, ACK_EVERY, Flight, PATTERN_BYTES, Pattern, Protocol, Want};

/// Numbers below this one are the listeners, in the order of [`Protocol::ALL`].
const FIRST_CONNECTION: usize = 3;

/// Serves until the parent ends it; prints the three addresses first.
///
/// # Errors
/// Fails if it cannot listen or poll; errors of one connection end that one.
pub(crate) fn run() -> io::Result<()> {
    let mut backend = Backend::new()?;
    let mut ready = Vec::new();
    loop {
        backend.poll.wait(None, &mut ready)?;
        for number in &ready {
            backend.serve(*number)?;
        }
    }
}

struct Backend {
    poll: Poll,
    listeners: Vec<OwnedFd>,
    connections: HashMap<usize, Connection>,
    next: usize,
    pattern: Pattern,
    buffer: Vec<u8>,
}

struct Connection {
    socket: OwnedFd,
    protocol: Protocol,
    /// The first flight as far as it is here.
    flight: Vec<u8>,
    want: Option<Want>,
    /// How much of the stream was sent or received.
    position: u64,
    /// Bytes that did not fit.
    unsent: Vec<u8>,
    /// Waiting for room, since there are such bytes.
    full: bool,
}

impl Backend {
    fn new() -> io::Result<Backend> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        let mut line = String::from("addresses");
        for (number, protocol) in Protocol::ALL.into_iter().enumerate() {
            let (socket, address) = net::listen()?;
            poll.add(&socket, number, EventFlags::IN)?;
            listeners.push(socket);
            line += &format!(" {}={address}", protocol.name());
        }
        child::say(&line)?;
        Ok(Backend {
            poll,
            listeners,
            connections: HashMap::new(),
            next: FIRST_CONNECTION,
            pattern: Pattern::new(),
            buffer: vec![0; PATTERN_BYTES],
        })
    }

    fn serve(&mut self, number: usize) -> io::Result<()> {
        if let (Some(listener), Some(protocol)) = (self.listeners.get(number), Protocol::ALL.get(number)) {
            while let Some(socket) = net::accept(listener.as_fd())? {
                self.poll.add(&socket, self.next, EventFlags::IN)?;
                let connection = Connection {
                    socket,
                    protocol: *protocol,
                    flight: Vec::new(),
                    want: None,
                    position: 0,
                    unsent: Vec::new(),
                    full: false,
                };
                self.connections.insert(self.next, connection);
                self.next += 1;
            }
            return Ok(());
        }
        if let Some(connection) = self.connections.get_mut(&number) {
            let going_on = connection.step(&self.poll, number, &self.pattern, &mut self.buffer);
            if !matches!(going_on, Ok(true)) {
                self.connections.remove(&number);
            }
        }
        Ok(())
    }
}

impl Connection {
    /// Does what can be done now; `false` when the connection is over.
    fn step(&mut self, poll: &Poll, number: usize, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<bool> {
        if self.want == Some(Want::Source) {
            return self.send_stream(pattern);
        }
        if !self.unsent.is_empty() {
            let bytes = std::mem::take(&mut self.unsent);
            return self.send(poll, number, &bytes).map(|()| true);
        }
        let Some(bytes) = net::read(&self.socket, buffer)? else { return Ok(true) };
        let read = buffer.get(..bytes).unwrap_or_default();
        if read.is_empty() {
            return Ok(false);
        }
        match self.want {
            Some(want) => self.take(want, poll, number, pattern, read),
            None => {
                self.flight.extend_from_slice(read);
                match self.protocol.wanted(&self.flight) {
                    Flight::Incomplete => Ok(true),
                    Flight::Foreign => Ok(false),
                    Flight::Wants { want, length } => {
                        self.want = Some(want);
                        self.send(poll, number, &self.protocol.answer())?;
                        let rest = std::mem::take(&mut self.flight);
                        if want == Want::Source {
                            poll.change(&self.socket, number, EventFlags::OUT)?;
                        }
                        self.take(want, poll, number, pattern, rest.get(length..).unwrap_or_default())
                    }
                }
            }
        }
    }

    fn take(&mut self, want: Want, poll: &Poll, number: usize, pattern: &Pattern, bytes: &[u8]) -> io::Result<bool> {
        match want {
            _ if bytes.is_empty() => Ok(true),
            Want::Answer | Want::Source => Ok(false),
            Want::Echo => self.send(poll, number, bytes).map(|()| true),
            Want::Sink => {
                if pattern.at(self.position, bytes.len()) != bytes {
                    return Ok(false);
                }
                let before = self.position / ACK_EVERY;
                self.position += bytes.len() as u64;
                let acks = usize::try_from(self.position / ACK_EVERY - before).unwrap_or(0);
                if acks > 0 {
                    self.send(poll, number, &vec![ACK; acks])?;
                }
                Ok(true)
            }
        }
    }

    /// Sends what fits and waits with the rest, reading nothing meanwhile.
    fn send(&mut self, poll: &Poll, number: usize, bytes: &[u8]) -> io::Result<()> {
        let sent = net::send(&self.socket, bytes)?.unwrap_or(0);
        self.unsent = bytes.get(sent..).unwrap_or_default().to_vec();
        let full = !self.unsent.is_empty();
        if full != self.full {
            self.full = full;
            poll.change(&self.socket, number, if full { EventFlags::OUT } else { EventFlags::IN })?;
        }
        Ok(())
    }

    fn send_stream(&mut self, pattern: &Pattern) -> io::Result<bool> {
        while let Some(sent) = net::send(&self.socket, pattern.at(self.position, PATTERN_BYTES))? {
            self.position += sent as u64;
        }
        Ok(true)
    }
}
