//! A listener between a real client and the program, which knows the bytes that the client sent and those that came
//! back. The client itself gets none of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{Socket, eventually};

/// How long a connected client and the program may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the tap waits for one side before it looks at the other.
const TURN: Duration = Duration::from_millis(5);

/// A listener that a client connects to.
pub struct Tap(TcpListener);

/// What went through a tap.
#[derive(Default)]
pub struct Passed {
    /// What the client sent.
    pub sent: Vec<u8>,
    /// What the program sent back, a tagging backend's line with its name and what it sends back.
    pub back: Vec<u8>,
}

impl Tap {
    pub fn new() -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Tap(listener)
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Waits for a client that sends something and passes it on to `gate`, until its tag and all bytes came back.
    /// `None` if no client came while `waits` held.
    pub fn pass(&self, gate: &str, mut waits: impl FnMut() -> bool) -> Option<Passed> {
        loop {
            match self.0.accept() {
                Ok((client, _)) => {
                    let passed = carry(&client, gate);
                    // Some clients look first whether somebody listens.
                    if !passed.sent.is_empty() {
                        return Some(passed);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !waits() {
                        return None;
                    }
                    std::thread::sleep(TURN);
                }
                Err(error) => panic!("the tap cannot accept: {error}"),
            }
        }
    }
}

/// Sends `bytes` to `gate`, each in a segment of its own.
pub fn replay(bytes: &[u8], gate: &str) -> Passed {
    let socket = Socket::connect(gate);
    for byte in bytes {
        if (&mut &socket).write_all(&[*byte]).is_err() {
            break;
        }
        eventually("the byte is acknowledged", || socket.unacknowledged() == 0);
    }
    let mut passed = Passed { sent: bytes.to_owned(), back: Vec::new() };
    let mut buffer = [0; 4096];
    while !passed.is_complete() {
        match (&mut &socket).read(&mut buffer) {
            Ok(len) if len > 0 => passed.back.extend_from_slice(&buffer[..len]),
            _ => break,
        }
    }
    passed
}

fn carry(client: &TcpStream, gate: &str) -> Passed {
    let server = TcpStream::connect(gate).unwrap();
    for side in [client, &server] {
        side.set_nonblocking(false).unwrap();
        side.set_read_timeout(Some(TURN)).unwrap();
    }
    let mut passed = Passed::default();
    let deadline = Instant::now() + PATIENCE;
    let mut open = true;
    while Instant::now() < deadline && !passed.is_complete() {
        if open {
            let before = passed.sent.len();
            open = read_turn(client, &mut passed.sent);
            let _ = (&server).write_all(&passed.sent[before..]);
            if !open {
                let _ = server.shutdown(Shutdown::Write);
            }
        }
        if !read_turn(&server, &mut passed.back) || !open && passed.sent.is_empty() {
            break;
        }
    }
    passed
}

/// Reads what has come or comes in a turn; false at the end of the stream.
fn read_turn(mut from: &TcpStream, into: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 16 << 10];
    match from.read(&mut buffer) {
        Ok(len) => {
            into.extend_from_slice(&buffer[..len]);
            len > 0
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
    }
}

impl Passed {
    /// The tag of the backend that was reached, if the line is there.
    pub fn tag(&self) -> Option<&str> {
        let end = self.back.iter().position(|byte| *byte == b'\n')?;
        std::str::from_utf8(&self.back[..end]).ok()
    }

    /// Whether what the client sent came back behind the tag.
    pub fn is_complete(&self) -> bool {
        let rest = self.tag().map(|tag| &self.back[tag.len() + 1..]);
        !self.sent.is_empty() && rest == Some(&self.sent)
    }
}
