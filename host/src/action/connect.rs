//! Connects to the first target that answers: every address of a name, every target of a list, in order.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Target;
use crate::stream::Stream;
use crate::watched::Watched;

/// How often a unix socket whose accept queue is full is tried again; the kernel offers no event for it.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// A connection to a target, and what is worth logging about it.
#[derive(Debug)]
pub struct Connected {
    /// The open connection.
    pub stream: Stream,
    /// How many bytes of the first flight it has taken.
    pub written: usize,
    /// Targets that failed before, each with the reason.
    pub failed: Vec<String>,
    /// The number of the target that answered.
    pub target: usize,
}

/// What has come of connecting to a target without waiting for anything.
#[derive(Debug)]
pub enum Attempt {
    /// It has answered, and has taken so many bytes of the first flight.
    Connected(Stream, usize),
    /// It has not answered yet.
    Asked(Asked),
    /// This cannot be known without waiting.
    Waits,
    /// It has refused.
    Failed(io::Error),
}

/// A TCP socket that is being connected.
#[derive(Debug)]
pub struct Asked(Watched);

/// Begins to connect to `target` and, if that is done at once, to write `first_flight`.
///
/// Most connections are established by the time the first flight is written, and the write then says so: only a slow or
/// refused one has to be waited for.
pub fn attempt(target: &Target, first_flight: &[u8]) -> Attempt {
    let attempted = match target {
        Target::Tcp(address) => attempt_tcp(*address, first_flight),
        Target::Unix(path) => attempt_unix(path),
        Target::Host(..) => Ok(Attempt::Waits),
    };
    attempted.unwrap_or_else(Attempt::Failed)
}

/// Tries `targets` in order, each for `patience` at most, and begins to write `first_flight` to the one that answers.
/// `first` is what has come of the first target already.
///
/// # Errors
/// Returns what every target failed with, if none answered.
pub async fn connect(
    targets: &[Target],
    mut first: Option<Attempt>,
    first_flight: &[u8],
    patience: Duration,
) -> Result<Connected, Vec<String>> {
    let mut failed = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let deadline = Instant::now() + patience;
        let connected = match first.take().unwrap_or_else(|| attempt(target, first_flight)) {
            Attempt::Connected(stream, written) => Ok((stream, written)),
            Attempt::Asked(asked) => asked.answered(deadline).await.map(|stream| (stream, 0)),
            Attempt::Waits => match target {
                Target::Host(name, port) => connect_host(name, *port, first_flight, deadline).await,
                Target::Unix(path) => connect_unix(path, deadline).await.map(|stream| (stream, 0)),
                Target::Tcp(_) => Err(io::ErrorKind::NotConnected.into()),
            },
            Attempt::Failed(error) => Err(error),
        };
        match connected {
            Ok((stream, written)) => return Ok(Connected { stream, written, failed, target: number }),
            Err(error) => failed.push(format!("{target}: {error}")),
        }
    }
    Err(failed)
}

impl Asked {
    async fn answered(self, deadline: Instant) -> io::Result<Stream> {
        let Asked(socket) = self;
        timeout_at(deadline, poll_fn(|cx| socket.poll_connected(cx)))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))??;
        Ok(Stream::tcp(socket))
    }
}

async fn connect_host(name: &str, port: u16, first_flight: &[u8], deadline: Instant) -> io::Result<(Stream, usize)> {
    let addresses = timeout_at(deadline, tokio::net::lookup_host((name, port)))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "name lookup took too long"))??;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        // Leave time for the addresses that are still to come.
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
        let connected = match attempt_tcp(*address, first_flight) {
            Ok(Attempt::Connected(stream, written)) => Ok((stream, written)),
            Ok(Attempt::Asked(asked)) => asked.answered(share).await.map(|stream| (stream, 0)),
            Ok(Attempt::Failed(error)) | Err(error) => Err(error),
            Ok(Attempt::Waits) => Err(io::ErrorKind::NotConnected.into()),
        };
        match connected {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn attempt_tcp(address: SocketAddr, first_flight: &[u8]) -> io::Result<Attempt> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = new_socket(family)?;
    // Interactive protocols must not wait for an acknowledgement of their last small write.
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    match rustix::io::write(&socket, first_flight) {
        Ok(written) if written > 0 => Ok(Attempt::Connected(Stream::tcp(Watched::new_empty(socket)), written)),
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(Attempt::Asked(Asked(Watched::new(socket)))),
        Err(error) => Err(error.into()),
    }
}

fn attempt_unix(path: &Path) -> io::Result<Attempt> {
    let address = SocketAddrUnix::new(path)?;
    let socket = new_socket(AddressFamily::UNIX)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(Attempt::Connected(Stream::unix(Watched::new(socket)), 0)),
        // The accept queue is full, which only a new attempt can find changed.
        Err(Errno::AGAIN) => Ok(Attempt::Waits),
        Err(error) => Err(error.into()),
    }
}

async fn connect_unix(path: &Path, deadline: Instant) -> io::Result<Stream> {
    loop {
        match attempt_unix(path)? {
            Attempt::Connected(stream, _) => return Ok(stream),
            _ if Instant::now() < deadline => sleep(FULL_QUEUE_PAUSE).await,
            _ => return Err(io::Error::new(io::ErrorKind::TimedOut, "its accept queue stayed full")),
        }
    }
}

fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}

/// Turns an address of the kernel into one of the standard library, if it is an internet address.
pub(crate) fn internet_address(address: SocketAddrAny) -> Option<SocketAddr> {
    SocketAddr::try_from(address).ok().map(|address| match address.ip() {
        IpAddr::V6(ip) => SocketAddr::new(ip.to_canonical(), address.port()),
        IpAddr::V4(_) => address,
    })
}
