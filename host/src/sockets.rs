//! Sets TCP sockets up as the configuration says, for listeners and for connections to upstreams.
//!
//! Sockets accepted from a listener inherit all of it. Whatever the kernel refuses is an error that names the key, its
//! value and, where that is known, the way out; nothing is left out silently.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use socket2::SockRef;
use thiserror::Error;

use crate::config::SocketOptions;
use crate::pipe;
use crate::sys;

/// Questions to a silent peer without an answer after which it is gone, and by which the keepalive is divided to get the
/// time between two of them: it is gone after twice the keepalive.
const PROBES: u32 = 6;

/// Handshakes with data that may wait for their last packet, as many as a listener usually has waiting.
const FAST_OPEN_QUEUE: i32 = 256;

/// A socket option that the kernel refuses.
#[derive(Debug, Error)]
#[error("the system refuses `{key} = {value}`: {error}{hint}")]
pub struct OptionError {
    key: &'static str,
    value: String,
    error: io::Error,
    hint: &'static str,
}

/// Which end of connections a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts them.
    Listening,
    /// Opens one.
    Connecting,
}

/// Makes a non-blocking TCP socket for addresses such as `address`.
///
/// # Errors
/// Fails if the process has run out of descriptors or the system has no such addresses.
pub fn new(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    pipe::or_close_kept(|| rustix::net::socket_with(family, SocketType::STREAM, flags, None))
}

/// Applies `options`, but for two things of connecting sockets: `nodelay`, which is not needed before a second write, and
/// `fast_open`, see [`open_fast`].
///
/// # Errors
/// Names the first option that is refused.
pub fn set_up(socket: &OwnedFd, role: Role, options: &SocketOptions) -> Result<(), OptionError> {
    let fd = socket.as_fd();
    if role == Role::Listening {
        refused("nodelay", &options.nodelay, sockopt::set_tcp_nodelay(fd, options.nodelay))?;
    }
    // Urgent data stays in its place among the other bytes, since the relay passes on bytes and nothing beside them.
    refused("urgent data in line", &true, sockopt::set_socket_oobinline(fd, true))?;
    if let Some(keepalive) = options.keepalive {
        refused("keepalive", &keepalive.as_secs(), set_keepalive(fd, keepalive))?;
    }
    if let Some(name) = &options.congestion {
        refused("congestion", name, sockopt::set_tcp_congestion(fd, name))?;
    }
    if let Some(timeout) = options.user_timeout {
        let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        refused("user_timeout", &timeout.as_secs(), sockopt::set_tcp_user_timeout(fd, millis))?;
    }
    if let Some(mark) = options.mark {
        refused_io("mark", &mark, SockRef::from(socket).set_mark(mark))?;
    }
    if let Some(device) = &options.device {
        refused_io("device", device, SockRef::from(socket).bind_device(Some(device.as_bytes())))?;
    }
    if role == Role::Listening && options.fast_open {
        refused_io("fast_open", &true, sys::accept_fast_open(fd, FAST_OPEN_QUEUE))?;
    }
    Ok(())
}

/// Lets `connect` wait for the first write, whose bytes go along.
///
/// # Errors
/// The system does not allow it.
pub fn open_fast(socket: &OwnedFd) -> Result<(), OptionError> {
    refused_io("fast_open", &true, sys::connect_fast_open(socket.as_fd()))
}

/// Finds out whether connecting with these options would be refused by the system as it is now.
///
/// # Errors
/// Names the option that is.
pub fn try_connecting(options: &SocketOptions) -> Result<(), OptionError> {
    if *options == SocketOptions::default() {
        return Ok(());
    }
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    // Without a socket nothing can be said; that is reported where one is needed.
    let Ok(socket) = new(address) else { return Ok(()) };
    set_up(&socket, Role::Connecting, options)?;
    if options.fast_open { open_fast(&socket) } else { Ok(()) }
}

fn set_keepalive(fd: BorrowedFd<'_>, keepalive: Duration) -> Result<(), Errno> {
    let between = Duration::from_secs((keepalive.as_secs() / u64::from(PROBES)).max(1));
    sockopt::set_socket_keepalive(fd, true)?;
    sockopt::set_tcp_keepidle(fd, keepalive)?;
    sockopt::set_tcp_keepintvl(fd, between)?;
    sockopt::set_tcp_keepcnt(fd, PROBES)
}

fn refused(key: &'static str, value: &impl ToString, result: Result<(), Errno>) -> Result<(), OptionError> {
    refused_io(key, value, result.map_err(Into::into))
}

fn refused_io(key: &'static str, value: &impl ToString, result: io::Result<()>) -> Result<(), OptionError> {
    result.map_err(|error| {
        let hint = match (key, error.kind()) {
            ("congestion", io::ErrorKind::NotFound) => {
                "; `sysctl net.ipv4.tcp_available_congestion_control` lists what there is"
            }
            ("congestion", io::ErrorKind::PermissionDenied) => {
                "; without CAP_NET_ADMIN, only those of `sysctl net.ipv4.tcp_allowed_congestion_control` can be chosen"
            }
            ("mark", io::ErrorKind::PermissionDenied) => "; it takes CAP_NET_ADMIN, which `user` gives up",
            ("device", io::ErrorKind::PermissionDenied) => "; it takes CAP_NET_RAW, which `user` gives up",
            ("device", _) => "; `ip link` lists the interfaces there are",
            ("fast_open", _) => "; `sysctl -w net.ipv4.tcp_fastopen=3` allows it",
            _ => "",
        };
        OptionError { key, value: value.to_string(), error, hint }
    })
}
