//! Connects to the first target that answers: every address of a name, every target of a list, in order.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Target;
use crate::stream::Stream;
use crate::sys;

/// How often a unix socket whose accept queue is full is tried again; the kernel offers no event for it.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// A connection to a target, and what is worth logging about it.
#[derive(Debug)]
pub struct Connected {
    /// The open connection.
    pub stream: Stream,
    /// Targets that failed before, each with the reason.
    pub failed: Vec<String>,
    /// The address that answered.
    pub address: String,
}

/// Tries `targets` in order, each for `patience` at most.
///
/// # Errors
/// Returns what every target failed with, if none answered.
pub async fn connect(targets: &[Target], patience: Duration) -> Result<Connected, Vec<String>> {
    let mut failed = Vec::new();
    for target in targets {
        let attempt = match target {
            Target::Tcp(address) => connect_tcp(*address, Instant::now() + patience).await,
            Target::Unix(path) => connect_unix(path, Instant::now() + patience).await,
            Target::Host(name, port) => connect_host(name, *port, Instant::now() + patience).await,
        };
        match attempt {
            Ok((stream, address)) => return Ok(Connected { stream, failed, address }),
            Err(error) => failed.push(format!("{target}: {error}")),
        }
    }
    Err(failed)
}

async fn connect_host(name: &str, port: u16, deadline: Instant) -> io::Result<(Stream, String)> {
    let addresses = timeout_at(deadline, tokio::net::lookup_host((name, port)))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "name lookup took too long"))??;
    let addresses: Vec<SocketAddr> = addresses.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        // Leave time for the addresses that are still to come.
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let share = Instant::now() + deadline.saturating_duration_since(Instant::now()) / left;
        match connect_tcp(*address, share).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn connect_tcp(address: SocketAddr, deadline: Instant) -> io::Result<(Stream, String)> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = new_socket(family)?;
    let started = rustix::net::connect(&socket, &address);
    // Interactive protocols must not wait for an acknowledgement of their last small write.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    match started {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            let socket = sys::watch(socket)?;
            let mut ready = timeout_at(deadline, socket.writable())
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))??;
            ready.retain_ready();
            drop(ready);
            sockopt::socket_error(socket.get_ref().as_fd())??;
            return Ok((Stream::tcp(socket.into_inner())?, address.to_string()));
        }
        Err(error) => return Err(error.into()),
    }
    Ok((Stream::tcp(socket)?, address.to_string()))
}

async fn connect_unix(path: &Path, deadline: Instant) -> io::Result<(Stream, String)> {
    let address = SocketAddrUnix::new(path)?;
    loop {
        let socket = new_socket(AddressFamily::UNIX)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => return Ok((Stream::unix(socket)?, format!("unix:{}", path.display()))),
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
