//! Binds addresses and accepts from them; what is accepted goes to `connection`.
//!
//! Every worker has a listening socket of its own for a TCP address, and the kernel spreads connections over them; a
//! unix address has one queue that all workers accept from. Binding happens on the control thread, accepting on the
//! workers.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use thiserror::Error;

use crate::action::connect::internet_address;
use crate::config::{Address, Listener, SocketOptions};
use crate::log;
use crate::pipe;
use crate::sockets::{self, OptionError, Role};
use crate::watched::Watched;

/// How long accepting pauses when the process has run out of something: short enough to recover unnoticed, long enough
/// to cost nothing.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Connections accepted before other work of the worker gets a turn.
const ACCEPT_BATCH: usize = 64;

/// An address that is listened on.
#[derive(Debug)]
pub struct Bound {
    /// The address with the real port.
    pub address: Address,
    /// One listening socket for each worker.
    pub sockets: Vec<OwnedFd>,
    /// The socket file to remove in the end.
    pub file: Option<SocketFile>,
}

/// An address that could not be bound.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    /// The address as configured.
    pub address: Address,
    /// What went wrong and what to do about it.
    pub reason: String,
}

/// Binds the address of `listener` once for each of `workers`.
///
/// # Errors
/// Names the address and says what is in the way.
pub fn bind(listener: &Listener, workers: usize) -> Result<Bound, BindError> {
    let backlog = i32::try_from(listener.backlog).unwrap_or(i32::MAX);
    let result = match &listener.address {
        Address::Tcp(address) => bind_tcp(*address, &listener.socket, backlog, workers).map_err(|error| match error {
            Unbound::System(error) => explain(&error.into(), *address),
            Unbound::Option(error) => error.to_string(),
        }),
        Address::Unix(path) => bind_unix(path, listener.mode, backlog, workers),
    };
    result.map_err(|reason| BindError { address: listener.address.clone(), reason })
}

fn explain(error: &io::Error, address: SocketAddr) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => format!("; `ss -ltnp 'sport = :{}'` shows who has it", address.port()),
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "; ports below 1024 need root or CAP_NET_BIND_SERVICE".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has this address".to_owned(),
        _ => String::new(),
    };
    format!("{error}{hint}")
}

/// Why a TCP address could not be bound.
#[derive(Debug)]
enum Unbound {
    System(Errno),
    Option(OptionError),
}

impl From<Errno> for Unbound {
    fn from(error: Errno) -> Unbound {
        Unbound::System(error)
    }
}

impl From<OptionError> for Unbound {
    fn from(error: OptionError) -> Unbound {
        Unbound::Option(error)
    }
}

fn bind_tcp(address: SocketAddr, options: &SocketOptions, backlog: i32, workers: usize) -> Result<Bound, Unbound> {
    // The first socket binds without SO_REUSEPORT, so that an address that any other process listens on is an error
    // even if that process would share it. Sharing starts afterwards, among our own.
    let first = new_tcp_socket(address, options)?;
    rustix::net::bind(&first, &address)?;
    sockopt::set_socket_reuseport(&first, true)?;
    let name = rustix::net::getsockname(&first)?;
    let actual = SocketAddr::try_from(name).unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..workers {
        let socket = new_tcp_socket(actual, options)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        rustix::net::bind(&socket, &actual)?;
        sockets.push(socket);
    }
    for socket in &sockets {
        rustix::net::listen(socket, backlog)?;
    }
    Ok(Bound { address: Address::Tcp(actual), sockets, file: None })
}

fn new_tcp_socket(address: SocketAddr, options: &SocketOptions) -> Result<OwnedFd, Unbound> {
    let socket = sockets::new(address)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockets::set_up(&socket, Role::Listening, options)?;
    Ok(socket)
}

fn new_unix_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn bind_unix(path: &Path, mode: u32, backlog: i32, workers: usize) -> Result<Bound, String> {
    let address =
        SocketAddrUnix::new(path).map_err(|_| "the path is longer than a socket address can be".to_owned())?;
    let failed = |error: Errno| io::Error::from(error).to_string();
    let socket = new_unix_socket().map_err(failed)?;
    match rustix::net::bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path, &address)?;
            rustix::net::bind(&socket, &address).map_err(failed)?;
        }
        bound => bound.map_err(failed)?,
    }
    let file = SocketFile::of(path).map_err(|error| error.to_string())?;
    // Nobody can connect before `listen`, so there is no moment at which the mode is too wide.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(|error| error.to_string())?;
    rustix::net::listen(&socket, backlog).map_err(failed)?;
    let mut sockets = Vec::new();
    for _ in 1..workers {
        sockets.push(socket.try_clone().map_err(|error| error.to_string())?);
    }
    sockets.push(socket);
    Ok(Bound { address: Address::Unix(path.to_owned()), sockets, file: Some(file) })
}

/// Removes a socket file that no process listens on; anything else stays.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), String> {
    let metadata = std::fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !metadata.file_type().is_socket() {
        return Err("there is a file with this name that is not a socket; remove it or choose another path".to_owned());
    }
    let probe = new_unix_socket().map_err(|error| io::Error::from(error).to_string())?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path).map_err(|error| error.to_string()),
        Ok(()) | Err(Errno::AGAIN) => Err("another process listens on this socket".to_owned()),
        Err(Errno::PROTOTYPE) => Err("another process has a socket of another kind there".to_owned()),
        Err(error) => Err(io::Error::from(error).to_string()),
    }
}

/// A socket file that we made; dropping it removes it, unless the name belongs to another file by now.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Tells whether the name still leads to the file that we made.
    pub fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }

    fn of(path: &Path) -> io::Result<SocketFile> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(SocketFile { path: std::path::absolute(path)?, identity: (metadata.dev(), metadata.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_in_place() {
            // A folder that we may not write to any more, after giving up root, keeps the file: the next start finds
            // it stale and replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An internet address.
    Tcp(SocketAddr),
    /// Somebody on this machine.
    Unix,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix:"),
        }
    }
}

/// Accepts from `socket` for ever and hands every connection to `serve`.
///
/// No error ends it: what concerns one connection is skipped, and when the process has run out of descriptors or memory
/// it pauses and tries again.
pub async fn accept(socket: OwnedFd, name: &str, mut serve: impl FnMut(OwnedFd, Peer)) {
    let listener = Watched::new(socket);
    let mut warned: Option<tokio::time::Instant> = None;
    let mut batch = 0;
    loop {
        match poll_fn(|cx| listener.poll_input(cx, accept_one, |_| false)).await {
            Ok((socket, peer)) => serve(socket, peer),
            // These say that the one connection at hand has failed before it was accepted.
            Err(
                Errno::CONNABORTED
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
                | Errno::PERM
                | Errno::TIMEDOUT,
            ) => {}
            Err(error) => {
                let now = tokio::time::Instant::now();
                if warned.is_none_or(|at| now.duration_since(at) >= Duration::from_secs(1)) {
                    warned = Some(now);
                    let error = log::explained(&error.into());
                    tracing::warn!(listener = name, error, "cannot accept for now");
                }
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
        batch += 1;
        if batch == ACCEPT_BATCH {
            batch = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Tells whether a listening socket has a connection to accept; if the kernel does not say, it may have.
fn somebody_waits(listener: BorrowedFd<'_>) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut [PollFd::from_borrowed_fd(listener, PollFlags::IN)], Some(&at_once)) != Ok(0)
}

fn accept_one(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Peer), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, address) = pipe::or_close_kept(|| match rustix::net::acceptfrom_with(listener, flags) {
        // The kernel asks for a descriptor before it looks whether somebody waits.
        Err(Errno::MFILE | Errno::NFILE) if !somebody_waits(listener) => Err(Errno::AGAIN),
        accepted => accepted,
    })?;
    Ok((socket, address.and_then(internet_address).map_or(Peer::Unix, Peer::Tcp)))
}
