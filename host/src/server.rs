//! The life of the process: bind, give up privileges, start workers, re-read the configuration, drain and stop.
//!
//! One control thread does all of this and waits for signals; it never touches a connection. Workers accept and serve
//! (`worker`). What a reload changes reaches them as commands; connections keep the configuration they came in with.

mod pid_file;
pub(crate) mod worker;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use self::pid_file::PidFile;
use self::worker::{Command, Worker};
use crate::config::{Action, Address, Config, Identity, Listener, Problem};
use crate::connection::Plan;
use crate::limits::Counters;
use crate::listener::{self, BindError, Bound, SocketFile};
use crate::{sockets, sys};

/// Serves `config` until a signal ends it, and re-reads its file at SIGHUP.
///
/// # Errors
/// Fails if an address cannot be bound, the pid file belongs to a running process, or privileges cannot be given up.
/// Once it serves, it only ends by a signal.
pub fn run(config: Config) -> Result<()> {
    report_panics();
    raise_open_files_limit();
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Handled from here on, a signal that comes while addresses are bound waits for its turn and leaves nothing behind.
    let signals = control.block_on(async { Signals::handle() })?;
    let config = Arc::new(config);
    let bound = config
        .listeners
        .iter()
        .map(|listener| listener::bind(listener, config.workers))
        .collect::<Result<Vec<Bound>, BindError>>()?;
    let _pid_file = config
        .pid_file
        .as_ref()
        .map(|path| PidFile::create(path).with_context(|| format!("cannot write the pid file {}", path.display())))
        .transpose()?;
    give_up_privileges(&config.identity)?;
    try_socket_options(&config)?;

    let counters = Arc::new(Counters::default());
    let workers = (0..config.workers)
        .map(|number| Worker::start(number).context("cannot start a worker thread"))
        .collect::<Result<Vec<_>>>()?;
    let mut server = Server { config: Arc::clone(&config), counters, workers, listeners: Vec::new(), next_id: 0 };
    for (number, bound) in bound.into_iter().enumerate() {
        server.open(&config, number, bound);
    }
    control.block_on(server.control(signals))
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
    _file: Option<SocketFile>,
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
        tracing::info!(
            accepted = self.counters.accepted.load(Ordering::Relaxed),
            refused = self.counters.refused.load(Ordering::Relaxed),
            upstream_failures = self.counters.upstream_failures.load(Ordering::Relaxed),
            "stopped"
        );
        for worker in self.workers.drain(..) {
            worker.stop();
        }
        Ok(())
    }

    /// Hands a bound address to the workers.
    fn open(&mut self, config: &Arc<Config>, number: usize, bound: Bound) {
        let Some(plan) = self.plan(config, number, &bound.address) else { return };
        tracing::info!(address = %bound.address, "listening");
        let id = self.next_id;
        self.next_id += 1;
        for (worker, socket) in self.workers.iter().zip(bound.sockets) {
            worker.send(Command::Listen { id, socket, plan: Arc::clone(&plan) });
        }
        let configured =
            config.listeners.get(number).map_or(bound.address.clone(), |listener| listener.address.clone());
        self.listeners.push(Open { id, configured, actual: bound.address, _file: bound.file });
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
        let (config, warnings) =
            Config::load_with_warnings(&self.config.path).map_err(|errors| anyhow::anyhow!(errors.summary()))?;
        log_warnings(&warnings);
        try_socket_options(&config)?;
        let config = Arc::new(config);
        let is_open = |address: &Address| self.listeners.iter().any(|open| open.configured == *address);
        let mut bound = Vec::new();
        for (number, listener) in config.listeners.iter().enumerate() {
            if !is_open(&listener.address) {
                bound.push((number, listener::bind(listener, self.workers.len())?));
            }
        }
        // Nothing below can fail.
        self.warn_of_restarts(&config);
        let (kept, closed) = std::mem::take(&mut self.listeners)
            .into_iter()
            .partition(|open| config.listeners.iter().any(|listener| listener.address == open.configured));
        self.listeners = kept;
        let closed: Vec<Open> = closed;
        for open in closed {
            self.tell_workers(|| Command::Close { id: open.id });
            tracing::info!(address = %open.actual, "closed");
        }
        for open in &self.listeners {
            let number = config.listeners.iter().position(|listener| listener.address == open.configured);
            if let Some(plan) = number.and_then(|number| self.plan(&config, number, &open.actual)) {
                self.tell_workers(|| Command::Replace { id: open.id, plan: Arc::clone(&plan) });
            }
        }
        for (number, bound) in bound {
            self.open(&config, number, bound);
        }
        self.config = config;
        Ok(())
    }

    fn warn_of_restarts(&self, new: &Config) {
        let old = &self.config;
        for (key, changed) in [
            ("workers", old.workers != new.workers),
            ("pid_file", old.pid_file != new.pid_file),
            ("user/group", old.identity != new.identity),
            ("log", old.log != new.log),
        ] {
            if changed {
                tracing::warn!(key, "this key takes effect at the next start only");
            }
        }
        for listener in &new.listeners {
            let before = old.listeners.iter().find(|before| before.address == listener.address);
            let set_up = |of: &Listener| (of.mode, of.backlog, of.socket.clone());
            if before.is_some_and(|before| set_up(before) != set_up(listener)) {
                let address = &listener.address;
                tracing::warn!(%address, "`mode`, `backlog` and `socket` of a listener that stays take effect at the next start only");
            }
        }
    }

    /// Stops accepting and lets open connections end, until patience or a second signal ends them.
    async fn drain(&mut self, stop: &mut Stop) {
        self.listeners.clear();
        self.tell_workers(|| Command::Drain);
        tracing::info!(open = self.counters.open(), "draining");
        let none_open = async {
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

impl Signals {
    fn handle() -> io::Result<Signals> {
        let stop = Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Signals { hangup: signal(SignalKind::hangup())?, stop })
    }
}

/// The signals that end the process.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
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
fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %io::Error::from(error), "cannot raise the limit on open files");
    }
}

fn give_up_privileges(identity: &Identity) -> Result<()> {
    let name = |of: &Option<(String, u32)>| of.as_ref().map_or("-".to_owned(), |(name, _)| name.clone());
    let id = |of: &Option<(String, u32)>| of.as_ref().map(|(_, id)| *id);
    sys::become_identity(id(&identity.user), id(&identity.group)).with_context(|| {
        format!("cannot become user {}, group {}; start as root", name(&identity.user), name(&identity.group))
    })
}
