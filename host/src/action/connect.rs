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
    /// The target that answered.
    pub target: Target,
}

/// Tries `targets` in order, each for `patience` at most, and begins to write `first_flight` to the one that answers.
///
/// # Errors
/// Returns what every target failed with, if none answered.
pub async fn connect(targets: &[Target], first_flight: &[u8], patience: Duration) -> Result<Connected, Vec<String>> {
    let mut failed = Vec::new();
    for target in targets {
        let attempt = match target {
            Target::Tcp(address) => connect_tcp(*address, first_flight, Instant::now() + patience).await,
            // These are boxed because a connection's task is as large as the largest thing it may ever wait for.
            Target::Unix(path) => Box::pin(connect_unix(path, Instant::now() + patience)).await,
            Target::Host(name, port) => {
                Box::pin(connect_host(name, *port, first_flight, Instant::now() + patience)).await
            }
        };
        match attempt {
            Ok((stream, written)) => return Ok(Connected { stream, written, failed, target: target.clone() }),
            Err(error) => failed.push(format!("{target}: {error}")),
        }
    }
    Err(failed)
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
        match connect_tcp(*address, first_flight, share).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects and writes `first_flight`, of which it returns how much was taken.
///
/// Most connections are established by the time the first flight is written, and the write then says so: only a slow or
/// refused one has to be waited for.
async fn connect_tcp(address: SocketAddr, first_flight: &[u8], deadline: Instant) -> io::Result<(Stream, usize)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = new_socket(family)?;
    // Interactive protocols must not wait for an acknowledgement of their last small write.
    sockopt::set_tcp_nodelay(&socket, true)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let written = match rustix::io::write(&socket, first_flight) {
        Ok(written) if written > 0 => return Ok((Stream::tcp(Watched::new_empty(socket)), written)),
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => 0,
        Err(error) => return Err(error.into()),
    };
    let socket = Watched::new(socket);
    timeout_at(deadline, poll_fn(|cx| socket.poll_connected(cx)))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))??;
    Ok((Stream::tcp(socket), written))
}

async fn connect_unix(path: &Path, deadline: Instant) -> io::Result<(Stream, usize)> {
    let address = SocketAddrUnix::new(path)?;
    loop {
        let socket = new_socket(AddressFamily::UNIX)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok((Stream::unix(Watched::new(socket)), 0)),
            // The accept queue is full, which only a new attempt can find changed.
            Err(Errno::AGAIN) if Instant::now() < deadline => sleep(FULL_QUEUE_PAUSE).await,
            Err(Errno::AGAIN) => return Err(io::Error::new(io::ErrorKind::TimedOut, "its accept queue stayed full")),
            Err(error) => return Err(error.into()),
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
