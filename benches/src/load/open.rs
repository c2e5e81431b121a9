//! Opens connections that stay open and echo, one after the other.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::{Job, Outcome};
use crate::wire::{ANSWER_BYTES, Protocol, Want};

const PATIENCE: Duration = Duration::from_secs(2);

/// After this many failures in a row there is no hope: the proxy has reached a limit.
const GIVE_UP_AFTER: usize = 3;

/// Opens the connections of a job; `done` is how many are open and answered right.
pub(super) fn open(job: &Job) -> (Outcome, Vec<OwnedFd>) {
    let mut outcome = Outcome::default();
    let mut open = Vec::new();
    let mut failed_in_a_row = 0;
    for number in 0..job.clients {
        match open_one(job, job.protocol(number)) {
            Ok(socket) => {
                failed_in_a_row = 0;
                outcome.done += 1;
                outcome.bytes += ANSWER_BYTES as u64;
                open.push(socket);
            }
            Err(error) => {
                outcome.error(error);
                failed_in_a_row += 1;
                if failed_in_a_row == GIVE_UP_AFTER {
                    break;
                }
            }
        }
    }
    (outcome, open)
}

fn open_one(job: &Job, protocol: Protocol) -> io::Result<OwnedFd> {
    let mut socket = TcpStream::connect_timeout(&job.targets.of(protocol), PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(&protocol.first_flight(Want::Echo))?;
    let mut answer = [0; ANSWER_BYTES];
    socket.read_exact(&mut answer)?;
    if answer != protocol.answer() {
        return Err(io::Error::other("wrong answer"));
    }
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
