//! The configuration after validation: a `Config` cannot be invalid, so nothing later checks it again.
//!
//! `raw` mirrors the TOML file without logic; `resolve` turns it into the types of this file and reports everything
//! that is wrong at once, with file, line and column (`error`). Nothing here opens a socket or reads a clock.

mod raw;
mod syntax;

mod fields;
mod schema;

mod resolve;

mod address;
mod escape;
mod identity;
mod listeners;
mod plugins;
mod services;
mod settings;
mod socket;
mod units;

mod lint;

mod error;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::error::{ConfigErrors, Problem, Severity, render_all, stderr_takes_colour};
pub use self::escape::escape;
pub(crate) use self::escape::unescape;
use crate::router::Router;

/// Everything one configuration file says, checked and compiled.
#[derive(Debug)]
pub struct Config {
    /// The file this was read from, as the user named it.
    pub path: PathBuf,
    /// Where connections come from, in file order.
    pub listeners: Vec<Listener>,
    /// Services with matchers, in file order, which is their priority.
    pub services: Vec<Service>,
    /// What the service `fallback` does; closes where the file has none.
    pub fallback: Action,
    /// What the service `timeout` does; closes where the file has none.
    pub timeout: Action,
    /// How long a connection may stay undecided, from accept.
    pub decide_timeout: Duration,
    /// How many bytes of a first flight are kept at most; 1 B to 1 MiB.
    pub max_first_flight_bytes: usize,
    /// How many connections may be open, and to whom.
    pub limits: Limits,
    /// How long connecting to one target may take.
    pub connect_timeout: Duration,
    /// How long a relay may live without a byte in either direction; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a relay may live without a byte after one side has finished; `None` is for ever.
    pub half_close_timeout: Option<Duration>,
    /// Whether bytes between sockets go through pipes instead of a buffer.
    pub splice: Splice,
    /// How long open connections may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// How many worker threads to start; at least 1, already resolved from `0`.
    pub workers: usize,
    /// Where the process id is written.
    pub pid_file: Option<PathBuf>,
    /// Who to become after binding.
    pub identity: Identity,
    /// What is logged, and how.
    pub log: Log,
}

/// Names to resolve into ids when privileges are dropped; checked to exist when the file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User id to change to, with the name it came from.
    pub user: Option<(String, u32)>,
    /// Group id to change to: `group`, else the primary group of `user`.
    pub group: Option<(String, u32)>,
}

/// One address to listen on and what is reachable through it.
#[derive(Debug)]
pub struct Listener {
    /// The address as a socket needs it.
    pub address: Address,
    /// Permission bits of a unix socket's file; without meaning for other addresses.
    pub mode: u32,
    /// How many connections the kernel keeps until they are accepted; 1 to 65535.
    pub backlog: u32,
    /// How its TCP sockets, and those accepted from them, are set up.
    pub socket: SocketOptions,
    /// Decides among the services of this listener; service numbers index [`Config::services`].
    pub router: Arc<Router>,
}

/// A place a listener binds to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IPv4 or IPv6 address and port; IPv6 sockets never take IPv4 traffic.
    Tcp(SocketAddr),
    /// A unix stream socket in the file system.
    Unix(PathBuf),
}

/// One service that is chosen by the first bytes.
#[derive(Debug)]
pub struct Service {
    /// Its unique name.
    pub name: Arc<str>,
    /// What happens to a connection that it gets.
    pub action: Action,
}

/// What happens to a decided connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connects to the first target that answers and relays.
    Connect(Arc<Connect>),
    /// Starts a program and relays to it.
    Exec(Arc<Program>),
    /// Closes the connection.
    Close,
}

/// Where connections are passed on to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Tried in this order; never empty.
    pub targets: Vec<Target>,
    /// How TCP sockets to them are set up.
    pub socket: SocketOptions,
}

/// How TCP sockets are set up; what is `None` or `false`, but for `nodelay`, is left to the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Sends small writes at once instead of waiting for the acknowledgement of the one before.
    pub nodelay: bool,
    /// Silence after which the peer is asked whether it is still there, in whole seconds; a sixth of that later it is
    /// asked again, and after six questions without answer it is gone.
    pub keepalive: Option<Duration>,
    /// Name of the congestion control.
    pub congestion: Option<Arc<str>>,
    /// How long sent data may stay unacknowledged.
    pub user_timeout: Option<Duration>,
    /// Takes or sends data in the first packet of a connection.
    pub fast_open: bool,
    /// Mark for routing and packet filters.
    pub mark: Option<u32>,
    /// Name of the only interface that is used.
    pub device: Option<Arc<str>>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: None,
            congestion: None,
            user_timeout: None,
            fast_open: false,
            mark: None,
            device: None,
        }
    }
}

/// A server that a connection can be passed on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A fixed address.
    Tcp(SocketAddr),
    /// A name that is looked up for every connection; all its addresses are tried.
    Host(String, u16),
    /// A unix stream socket.
    Unix(PathBuf),
}

/// A local program to run for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Program and arguments; never empty. A program without `/` is looked for in `PATH`.
    pub argv: Vec<String>,
    /// Runs on a terminal of its own instead of pipes.
    pub pty: Option<Pty>,
}

/// How the terminal of a program is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pty {
    /// Whether the terminal echoes what the client sends.
    pub echo: bool,
}

/// Limits on connections, over all listeners and workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open at once; past it a connection is accepted and closed.
    pub max_connections: usize,
    /// Undecided at once; past it a connection is accepted and closed.
    pub max_undecided: usize,
    /// Open at once from one IPv4 address or one IPv6 /64; `None` is unlimited.
    pub max_connections_per_source: Option<usize>,
}

/// Whether bytes between two sockets are spliced through a pipe of the kernel instead of copied through a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Splice {
    /// Once a direction is seen to move bulk.
    #[default]
    Auto,
    /// From the first byte behind the first flight.
    Always,
    /// Not at all.
    Never,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The most detailed level that is written; `None` writes nothing.
    pub level: Option<tracing::Level>,
    /// The shape of a line.
    pub format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads a duration as the file has them, such as `90s`.
///
/// # Errors
/// What is wrong with it, and how to write it.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|error| format!("it {}; {}", error.reason, error.help()))
}

/// Shows the address as the file would have it, on one line and without what a terminal would obey.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", error::printable(&path.to_string_lossy())),
        }
    }
}

/// Shows the target as the file would have it, on one line and without what a terminal would obey.
impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Tcp(address) => address.fmt(f),
            Target::Host(name, port) => write!(f, "{name}:{port}"),
            Target::Unix(path) => write!(f, "unix:{}", error::printable(&path.to_string_lossy())),
        }
    }
}
