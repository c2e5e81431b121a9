//! The life of the process: bind, give up privileges, start workers, re-read the configuration, drain and stop.
//!
//! One control thread does all of this and waits for signals; it never touches a connection. Workers accept and serve
//! (`worker`). What a reload changes reaches them as commands; connections keep the configuration they came in with.

mod pid_file;
pub(crate) mod worker;

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use rustix::fs::{Access, access};
use rustix::process::{Resource, Rlimit, getegid, geteuid, getgid, getrlimit, getuid, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;

use self::pid_file::PidFile;
use self::worker::{Command, Worker};
use crate::config::{Action, Address, Config, Identity, Listener, Problem};
use crate::connection::Plan;
use crate::limits::Counters;
use crate::listener::{self, BindError, Bound, SocketFile};
use crate::{sockets, sys};

/// Open files without which nothing can be served: what one worker with one listener takes, and some connections.
const LEAST_OPEN_FILES: u64 = 32;

/// The control thread's reactor, which catches SIGHUP.
#[derive(Debug)]
pub struct Control {
    reactor: tokio::runtime::Runtime,
    hangup: Signal,
}

impl Control {
    /// Catches SIGHUP from now on: one that comes while the configuration is read, which takes seconds where large plugins
    /// have to be compiled, is a reload once the server is ready, and not its end.
    ///
    /// # Errors
    /// Fails if the system refuses a reactor or the signal, or allows so few open files that it would.
    pub fn start() -> io::Result<Control> {
        let most = getrlimit(Resource::Nofile).maximum;
        if let Some(most) = most.filter(|most| *most < LEAST_OPEN_FILES) {
            let text =
                format!("{most} open files are allowed; raise LimitNOFILE or ulimit -Hn to {LEAST_OPEN_FILES} or more");
            return Err(io::Error::other(text));
        }
        let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let hangup = reactor.block_on(async { signal(SignalKind::hangup()) })?;
        sys::unblock_signals();
        Ok(Control { reactor, hangup })
    }
}

/// Serves `config` until a signal ends it, and re-reads its file at SIGHUP.
///
/// # Errors
/// Fails if an address cannot be bound, the pid file belongs to a running process, or privileges cannot be given up.
/// Once it serves, it only ends by a signal.
pub fn run(config: Config, control: Control) -> Result<()> {
    report_panics();
    raise_open_files_limit(&config);
    let Control { reactor, hangup } = control;
    // Handled from here on, a signal that comes while addresses are bound waits for its turn and leaves nothing behind.
    let stop = reactor.block_on(async { Stop::handle() })?;
    let signals = Signals { hangup, stop };
    let config = Arc::new(config);
    let bound = config
        .listeners
        .iter()
        .map(|listener| listener::bind(listener, config.workers))
        .collect::<Result<Vec<Bound>, BindError>>()?;
    let _pid_file = config
        .pid_file
        .as_ref()
        .map(|path| {
            PidFile::create(path)
                .with_context(|| format!("cannot write the pid file {}", path.to_string_lossy().escape_debug()))
        })
        .transpose()?;
    give_up_privileges(&config.identity)?;
    try_socket_options(&config)?;
    warn_of_unreadable(&config);

    let counters = Arc::new(Counters::default());
    let workers = (0..config.workers)
        .map(|number| Worker::start(number).context("cannot start a worker thread"))
        .collect::<Result<Vec<_>>>()?;
    let mut server = Server { config: Arc::clone(&config), counters, workers, listeners: Vec::new(), next_id: 0 };
    for (number, bound) in bound.into_iter().enumerate() {
        server.open(&config, number, bound);
    }
    reactor.block_on(server.control(signals))
}

/// Everything the control thread holds.
struct Server {
    config: Arc<Config>,
    counters: Arc<Counters>,
    workers: Vec<Worker>,
    listeners: Vec<Open>,
    next_id: u64,
}

/// A listener that the workers accept from.
struct Open {
    id: u64,
    /// The address as the file says it, by which a reload recognises the listener.
    configured: Address,
    /// The address with the real port.
    actual: Address,
    file: Option<SocketFile>,
    /// What was asked for at binding, which a reload does not change.
    mode: u32,
    backlog: u32,
}

impl Open {
    /// Tells whether this can go on as `listener` of a new configuration: a socket file that somebody has removed leads
    /// nobody here any more.
    fn can_be(&self, listener: &Listener) -> bool {
        self.configured == listener.address && self.file.as_ref().is_none_or(SocketFile::is_in_place)
    }
}

impl Server {
    async fn control(mut self, signals: Signals) -> Result<()> {
        let Signals { mut hangup, mut stop } = signals;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workers = self.workers.len(),
            services = self.config.services.len(),
            "ready"
        );
        loop {
            tokio::select! {
                _ = hangup.recv() => self.reload(),
                () = stop.requested() => break,
            }
        }
        self.drain(&mut stop).await;
        for worker in self.workers.drain(..) {
            worker.stop();
        }
        tracing::info!(
            accepted = self.counters.accepted.load(Ordering::Relaxed),
            refused = self.counters.refused.load(Ordering::Relaxed),
            upstream_failures = self.counters.upstream_failures.load(Ordering::Relaxed),
            "stopped"
        );
        Ok(())
    }

    /// Hands a bound address to the workers.
    fn open(&mut self, config: &Arc<Config>, number: usize, bound: Bound) {
        let Some(plan) = self.plan(config, number, &bound.address) else { return };
        let Some(listener) = config.listeners.get(number) else { return };
        tracing::info!(address = %bound.address, "listening");
        let id = self.next_id;
        self.next_id += 1;
        for (worker, socket) in self.workers.iter().zip(bound.sockets) {
            worker.send(Command::Listen { id, socket, plan: Arc::clone(&plan) });
        }
        self.listeners.push(Open {
            id,
            configured: listener.address.clone(),
            actual: bound.address,
            file: bound.file,
            mode: listener.mode,
            backlog: listener.backlog,
        });
    }

    fn plan(&self, config: &Arc<Config>, number: usize, actual: &Address) -> Option<Arc<Plan>> {
        let listener = config.listeners.get(number)?;
        Some(Arc::new(Plan {
            config: Arc::clone(config),
            router: Arc::clone(&listener.router),
            listener: actual.to_string(),
            counters: Arc::clone(&self.counters),
        }))
    }

    /// Applies the configuration file as it is now, or changes nothing and says why.
    fn reload(&mut self) {
        match self.try_reload() {
            Ok(()) => {
                tracing::info!(listeners = self.listeners.len(), services = self.config.services.len(), "reloaded")
            }
            Err(error) => tracing::error!(%error, "reload failed; nothing has changed"),
        }
    }

    fn try_reload(&mut self) -> Result<()> {
        let (config, warnings) = read_again(&self.config.path)?;
        log_warnings(&warnings);
        try_socket_options(&config)?;
        let config = Arc::new(config);
        let kept = self.kept(&config.listeners);
        let mut bound = Vec::new();
        for ((number, listener), kept) in config.listeners.iter().enumerate().zip(&kept) {
            if kept.is_none() {
                bound.push((number, listener::bind(listener, self.workers.len()).map_err(|error| self.own(error))?));
            }
        }
        // Nothing below can fail.
        self.warn_of_restarts(&config, &kept);
        for (at, open) in std::mem::take(&mut self.listeners).into_iter().enumerate() {
            let Some(number) = kept.iter().position(|kept| *kept == Some(at)) else {
                self.tell_workers(|| Command::Close { id: open.id });
                tracing::info!(address = %open.actual, "closed");
                continue;
            };
            if let Some(plan) = self.plan(&config, number, &open.actual) {
                self.tell_workers(|| Command::Replace { id: open.id, plan: Arc::clone(&plan) });
            }
            self.listeners.push(open);
        }
        for (number, bound) in bound {
            self.open(&config, number, bound);
        }
        self.config = config;
        Ok(())
    }

    /// Finds for each of `listeners` the open one that goes on as it; of several on port 0 each has its own.
    fn kept(&self, listeners: &[Listener]) -> Vec<Option<usize>> {
        let mut kept: Vec<Option<usize>> = Vec::new();
        for listener in listeners {
            let mut open = self.listeners.iter().enumerate();
            let found = open.find(|(at, open)| open.can_be(listener) && !kept.contains(&Some(*at)));
            kept.push(found.map(|(at, _)| at));
        }
        kept
    }

    /// Adds to an error of binding that it is one of our own listeners that is in the way.
    fn own(&self, mut error: BindError) -> BindError {
        let port = |address: &Address| match address {
            Address::Tcp(address) => Some((address.is_ipv4(), address.port())),
            Address::Unix(_) => None,
        };
        let ours = self
            .listeners
            .iter()
            .find(|open| port(&error.address).is_some() && port(&open.actual) == port(&error.address));
        if let Some(open) = ours {
            error.reason =
                format!("{}; it may be this process on {}, and a restart changes that", error.reason, open.actual);
        }
        error
    }

    fn warn_of_restarts(&self, new: &Config, kept: &[Option<usize>]) {
        let old = &self.config;
        let differs = |differs: fn(&Open, &Listener) -> bool| {
            let mut pairs = new.listeners.iter().zip(kept);
            pairs.any(|(listener, at)| {
                at.and_then(|at| self.listeners.get(at)).is_some_and(|open| differs(open, listener))
            })
        };
        let sockets_differ = |listener: &Listener| {
            old.listeners.iter().any(|before| before.address == listener.address && before.socket != listener.socket)
        };
        for (key, changed) in [
            ("workers", old.workers != new.workers),
            ("pid_file", old.pid_file != new.pid_file),
            ("user/group", old.identity != new.identity),
            ("log", old.log != new.log),
            ("mode", differs(|open, listener| open.mode != listener.mode)),
            ("backlog", differs(|open, listener| open.backlog != listener.backlog)),
            ("socket", new.listeners.iter().any(sockets_differ)),
        ] {
            if changed {
                tracing::warn!(key, "this key takes effect at the next start only");
            }
        }
    }

    /// Stops accepting and lets open connections end, until patience or a second signal ends them.
    async fn drain(&mut self, stop: &mut Stop) {
        self.listeners.clear();
        let (obeyed, mut all_obeyed) = mpsc::channel(1);
        self.tell_workers(|| Command::Drain { obeyed: obeyed.clone() });
        drop(obeyed);
        tracing::info!(open = self.counters.open(), "draining");
        let none_open = async {
            // What a worker accepts before it obeys is served like all others, so it has to be counted first.
            let _ = all_obeyed.recv().await;
            while self.counters.open() > 0 {
                self.counters.none_open.notified().await;
            }
        };
        tokio::select! {
            () = none_open => {}
            () = sleep(self.config.drain_timeout) => {
                tracing::warn!(open = self.counters.open(), "drain_timeout is over; open connections are cut");
            }
            () = stop.requested() => {
                tracing::warn!(open = self.counters.open(), "second signal; open connections are cut");
            }
        }
    }

    fn tell_workers(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            worker.send(command());
        }
    }
}

/// Reads the configuration file once more.
fn read_again(path: &Path) -> Result<(Config, Vec<Problem>)> {
    // Opening a pipe, such as that of a shell's `<(...)`, waits for a writer, and no signal would be heard meanwhile.
    if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo()) {
        anyhow::bail!("{} is a pipe, which cannot be read again", path.to_string_lossy().escape_debug());
    }
    Config::load_with_warnings(path).map_err(|errors| anyhow::anyhow!(errors.summary()))
}

/// Makes sure that connections can be opened as the configuration says, which depends on who we are by now.
fn try_socket_options(config: &Config) -> Result<()> {
    let services = config.services.iter().map(|service| (&*service.name, &service.action));
    for (name, action) in services.chain([("fallback", &config.fallback), ("timeout", &config.timeout)]) {
        if let Action::Connect(to) = action {
            sockets::try_connecting(&to.socket)
                .map_err(|error| anyhow::anyhow!("cannot connect for the service `{name}`: {error}"))?;
        }
    }
    Ok(())
}

/// Logs what is allowed in a configuration but hardly meant.
pub(crate) fn log_warnings(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!("{}", warning.headline());
    }
}

/// All signals that mean something.
struct Signals {
    hangup: Signal,
    stop: Stop,
}

/// The signals that end the process.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn handle() -> io::Result<Stop> {
        Ok(Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Makes a panic, which ends one connection and nothing else, visible in the log.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("without a message");
        tracing::error!(place, panic = message, "a defect of portsplit ended a connection; please report it");
    }));
}

/// Raises the limit on open files to what the system allows; every connection takes two.
fn raise_open_files_limit(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %io::Error::from(error), "cannot raise the limit on open files");
    }
    let max_connections = config.limits.max_connections;
    if let Some(open_files) = getrlimit(Resource::Nofile).current
        && usize::try_from(open_files).is_ok_and(|open_files| open_files / 2 < max_connections)
    {
        let text =
            "a connection takes two open files, and fewer are allowed; raise LimitNOFILE or lower max_connections";
        tracing::warn!(max_connections, open_files, "{text}");
    }
}

fn give_up_privileges(identity: &Identity) -> Result<()> {
    if is_already(identity) {
        return Ok(());
    }
    let name = |of: &Option<(String, u32)>| of.as_ref().map_or("-".to_owned(), |(name, _)| name.clone());
    let id = |of: &Option<(String, u32)>| of.as_ref().map(|(_, id)| *id);
    sys::become_identity(id(&identity.user), id(&identity.group)).with_context(|| {
        format!("cannot become user {}, group {}; start as root", name(&identity.user), name(&identity.group))
    })
}

/// Tells whether we were started as whom we are to become, by somebody who left us no right to change anything.
fn is_already(identity: &Identity) -> bool {
    let user = identity.user.as_ref().is_none_or(|(_, id)| [getuid(), geteuid()].iter().all(|uid| uid.as_raw() == *id));
    let group =
        identity.group.as_ref().is_none_or(|(_, id)| [getgid(), getegid()].iter().all(|gid| gid.as_raw() == *id));
    user && group && !geteuid().is_root()
}

/// Warns if the user that we have become cannot read the configuration, which is noticed at the next reload otherwise.
fn warn_of_unreadable(config: &Config) {
    if let (Some((user, _)), Err(error)) = (&config.identity.user, access(&config.path, Access::READ_OK)) {
        tracing::warn!(user, error = %io::Error::from(error), "this user cannot read the configuration: no reload will work");
    }
}
