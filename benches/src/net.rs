//! Non-blocking sockets and epoll, as little of them as the backend and the loads need.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll;
pub(crate) use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};

/// A loopback address with a port that nobody uses at the moment.
///
/// # Errors
/// Whatever the kernel reports.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Names the congestion control of connections over loopback, which the route may set apart from the system.
///
/// # Errors
/// Whatever the kernel reports.
pub(crate) fn congestion_control() -> io::Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let socket = std::net::TcpStream::connect(listener.local_addr()?)?;
    Ok(sockopt::tcp_congestion(&socket)?)
}

/// Listens on a free loopback port.
///
/// # Errors
/// Whatever the kernel reports.
pub(crate) fn listen() -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = new_socket()?;
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
    rustix::net::listen(&socket, 4096)?;
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket)?).map_err(|_| Errno::AFNOSUPPORT)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok((socket, address))
}

/// Accepts one connection, if there is one.
///
/// # Errors
/// Whatever the kernel reports.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    would_block(rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC))
}

/// Begins to connect.
///
/// # Errors
/// Whatever the kernel reports.
pub(crate) fn connect(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = new_socket()?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

/// Reads what is there; `Some(0)` is the end.
///
/// # Errors
/// Whatever the kernel reports.
pub(crate) fn read(socket: impl AsFd, buf: &mut [u8]) -> io::Result<Option<usize>> {
    would_block(rustix::io::read(socket, buf))
}

/// Sends what fits.
///
/// # Errors
/// Whatever the kernel reports.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    would_block(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL))
}

/// Makes closing the socket an abort.
pub(crate) fn abort_on_close(socket: impl AsFd) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

fn would_block<T>(result: Result<T, Errno>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // A socket that is not connected yet says "not connected" or "try again", depending on the call.
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The descriptors that one thread waits for, each under a number of the caller's choice.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poll {
    /// # Errors
    /// Fails if there is no descriptor left.
    pub(crate) fn new() -> io::Result<Poll> {
        Ok(Poll { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    /// # Errors
    /// Whatever the kernel reports.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize, interest: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(number as u64), interest)?)
    }

    /// # Errors
    /// Whatever the kernel reports.
    pub(crate) fn change(&self, socket: impl AsFd, number: usize, interest: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, epoll::EventData::new_u64(number as u64), interest)?)
    }

    /// Waits until something happens or `until`, and fills `ready` with the numbers of what is ready.
    ///
    /// # Errors
    /// Whatever the kernel reports.
    pub(crate) fn wait(&mut self, until: Option<Instant>, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        // Rounded up to a millisecond, so that the last one is not spent spinning.
        let timeout = until.map(|until| {
            let left = until.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
            let whole = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(1000));
            rustix::event::Timespec {
                tv_sec: i64::try_from(whole.as_secs()).unwrap_or(1),
                tv_nsec: i64::from(whole.subsec_nanos()),
            }
        });
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().filter_map(|event| usize::try_from({ event.data }.u64()).ok()));
        Ok(())
    }
}
