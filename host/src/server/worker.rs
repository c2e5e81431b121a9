//! One thread that accepts connections and serves them to their end; a connection never leaves its thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::LocalOptions;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, spawn_local};

use crate::connection::{Connection, Plan, report_refusal};
use crate::listener::{self, Peer};
use crate::reactor;

/// Threads per worker for what blocks, which is looking up names: enough for the lookups of a second, few enough that a
/// dead resolver does not fill memory with stacks.
const BLOCKING_THREADS: usize = 16;

/// What the control thread asks of a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept from this socket too.
    Listen { id: u64, socket: OwnedFd, plan: Arc<Plan> },
    /// Serve what is accepted from now on by another plan.
    Replace { id: u64, plan: Arc<Plan> },
    /// Accept no more from this listener.
    Close { id: u64 },
    /// Accept no more at all and end what is undecided; what is given along is dropped when that is so.
    Drain { obeyed: mpsc::Sender<()> },
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct Worker {
    commands: mpsc::UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker thread.
    ///
    /// # Errors
    /// Fails if the system has no thread or no reactor left.
    pub(crate) fn start(number: usize) -> io::Result<Worker> {
        let (commands, received) = mpsc::unbounded_channel();
        let (started, outcome) = std::sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            // The runtime has to be made on the thread that it will never leave.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(BLOCKING_THREADS)
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    runtime.block_on(async {
                        let _ = started.send(reactor::start().map_err(Into::into));
                        obey(received).await;
                    });
                    // A lookup that hangs must not hold up the end.
                    runtime.shutdown_background();
                }
                Err(error) => drop(started.send(Err(error))),
            }
        })?;
        outcome.recv().map_err(io::Error::other)??;
        Ok(Worker { commands, thread })
    }

    /// Passes a command on; a worker that is gone has nothing to do any more.
    pub(crate) fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Cuts all connections of the worker and waits for its end.
    pub(crate) fn stop(self) {
        drop(self.commands);
        if self.thread.join().is_err() {
            tracing::error!("a worker thread has panicked");
        }
    }
}

/// Tells undecided connections that the server stops.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    left: Cell<bool>,
    notify: Notify,
}

impl Leaving {
    /// Resolves when the server stops.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub(crate) async fn wait(&self) {
        while !self.left.get() {
            self.notify.notified().await;
        }
    }

    fn leave(&self) {
        self.left.set(true);
        self.notify.notify_waiters();
    }
}

/// A listener that this worker accepts from.
struct Accepting {
    plan: Rc<RefCell<Rc<Plan>>>,
    task: AbortHandle,
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn obey(mut commands: mpsc::UnboundedReceiver<Command>) {
    let leaving = Rc::new(Leaving::default());
    let mut listeners: HashMap<u64, Accepting> = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen { id, socket, plan } => {
                listeners.insert(id, start_accepting(socket, &plan, Rc::clone(&leaving)));
            }
            Command::Replace { id, plan } => {
                if let Some(accepting) = listeners.get(&id) {
                    accepting.plan.replace(Rc::new(Plan::clone(&plan)));
                }
            }
            Command::Close { id } => {
                listeners.remove(&id);
            }
            Command::Drain { obeyed } => {
                listeners.clear();
                leaving.leave();
                drop(obeyed);
            }
        }
    }
}

fn start_accepting(socket: OwnedFd, plan: &Plan, leaving: Rc<Leaving>) -> Accepting {
    let name = plan.listener.clone();
    // A copy of this worker's own, so that connections do not count references together with other workers.
    let plan = Rc::new(RefCell::new(Rc::new(plan.clone())));
    let current = Rc::clone(&plan);
    let serve = move |socket: OwnedFd, peer: Peer| {
        let plan = Rc::clone(&current.borrow());
        let address = match peer {
            Peer::Tcp(address) => Some(address.ip()),
            Peer::Unix => None,
        };
        match plan.counters.admit(&plan.config.limits, address) {
            Ok(permit) => {
                spawn_local(Connection::new(socket, peer, plan, permit, Rc::clone(&leaving)));
            }
            Err(limit) => report_refusal(peer, &plan, limit),
        }
    };
    let task = spawn_local(async move { listener::accept(socket, &name, serve).await });
    Accepting { plan, task: task.abort_handle() }
}
