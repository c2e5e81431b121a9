//! Connects to the first target that answers: every address of a name, every target of a list, in order.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::{Connect, SocketOptions, Target};
use crate::log;
use crate::pipe;
use crate::sockets::{self, Role};
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

/// A TCP socket that is being connected, and how many bytes of the first flight have gone along.
#[derive(Debug)]
pub struct Asked {
    socket: Watched,
    written: usize,
    nodelay: bool,
}

/// Begins to connect to `target` and, if that is done at once, to write `first_flight`.
///
/// Most connections are established by the time the first flight is written, and the write then says so: only a slow or
/// refused one has to be waited for.
pub fn attempt(target: &Target, options: &SocketOptions, first_flight: &[u8]) -> Attempt {
    let attempted = match target {
        Target::Tcp(address) => attempt_tcp(*address, options, first_flight),
        Target::Unix(path) => attempt_unix(path),
        Target::Host(..) => Ok(Attempt::Waits),
    };
    attempted.unwrap_or_else(Attempt::Failed)
}

/// Tries targets in order, each for `patience` at most, and begins to write `first_flight` to the one that answers.
/// `first` is what has come of the first target already.
///
/// # Errors
/// Returns what every target failed with, if none answered.
pub async fn connect(
    to: &Connect,
    mut first: Option<Attempt>,
    first_flight: &[u8],
    patience: Duration,
) -> Result<Connected, Vec<String>> {
    let mut failed = Vec::new();
    for (number, target) in to.targets.iter().enumerate() {
        let deadline = Instant::now() + patience;
        let connected = match first.take().unwrap_or_else(|| attempt(target, &to.socket, first_flight)) {
            Attempt::Connected(stream, written) => Ok((stream, written)),
            Attempt::Asked(asked) => asked.answered(deadline).await,
            Attempt::Waits => match target {
                Target::Host(name, port) => connect_host(name, *port, &to.socket, first_flight, deadline).await,
                Target::Unix(path) => connect_unix(path, deadline).await.map(|stream| (stream, 0)),
                Target::Tcp(_) => Err(io::ErrorKind::NotConnected.into()),
            },
            Attempt::Failed(error) => Err(error),
        };
        match connected {
            Ok((stream, written)) => return Ok(Connected { stream, written, failed, target: number }),
            Err(error) => failed.push(format!("{target}: {}", log::explained(&error))),
        }
    }
    Err(failed)
}

impl Asked {
    async fn answered(self, deadline: Instant) -> io::Result<(Stream, usize)> {
        let Asked { socket, written, nodelay } = self;
        timeout_at(deadline, poll_fn(|cx| socket.poll_connected(cx)))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))??;
        Ok((Stream::tcp_once_written(socket, nodelay), written))
    }
}

async fn connect_host(
    name: &str,
    port: u16,
    options: &SocketOptions,
    first_flight: &[u8],
    deadline: Instant,
) -> io::Result<(Stream, usize)> {
    let addresses = timeout_at(deadline, tokio::net::lookup_host((name, port)))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "name lookup took too long"))??;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        // Leave time for the addresses that are still to come.
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
        let connected = match attempt_tcp(*address, options, first_flight) {
            Ok(Attempt::Connected(stream, written)) => Ok((stream, written)),
            Ok(Attempt::Asked(asked)) => asked.answered(share).await,
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

fn attempt_tcp(address: SocketAddr, options: &SocketOptions, first_flight: &[u8]) -> io::Result<Attempt> {
    let socket = sockets::new(address)?;
    sockets::set_up(&socket, Role::Connecting, options).map_err(io::Error::other)?;
    // Without a byte to go along there would be no first packet.
    let fast = options.fast_open && !first_flight.is_empty();
    if fast {
        sockets::open_fast(&socket).map_err(io::Error::other)?;
    }
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let written = match rustix::io::write(&socket, first_flight) {
        Ok(written) => written,
        Err(Errno::AGAIN | Errno::INTR | Errno::INPROGRESS) => 0,
        Err(error) => return Err(error.into()),
    };
    if written == 0 || fast {
        let asked = Asked { socket: Watched::new(socket), written, nodelay: options.nodelay };
        return Ok(Attempt::Asked(asked));
    }
    let stream = Stream::tcp_once_written(Watched::new_empty(socket), options.nodelay);
    Ok(Attempt::Connected(stream, written))
}

fn attempt_unix(path: &Path) -> io::Result<Attempt> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket =
        pipe::or_close_kept(|| rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None))?;
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

/// Turns an address of the kernel into one of the standard library, if it is an internet address.
pub(crate) fn internet_address(address: SocketAddrAny) -> Option<SocketAddr> {
    SocketAddr::try_from(address).ok().map(|address| match address.ip() {
        IpAddr::V6(ip) => SocketAddr::new(ip.to_canonical(), address.port()),
        IpAddr::V4(_) => address,
    })
}
