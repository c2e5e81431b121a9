//! The clock behind the deadline: an OS thread that advances the engines' epoch once a millisecond while any plugin
//! runs, and sleeps otherwise, so that an idle process stays idle.
//!
//! It is a thread of its own because a task of an async runtime would never run while every worker is inside a plugin.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// Length of a tick: short enough to stop a runaway within 5 ms, long enough to cost nothing.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a call after which the thread sleeps until the next one.
const IDLE_TICKS: u32 = 64;

/// Advances the epoch of every engine registered with it.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
}

struct Shared {
    engines: Mutex<Vec<EngineWeak>>,
    /// Calls under way.
    running: AtomicUsize,
    /// Set while the thread sleeps for want of calls.
    parked: AtomicBool,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
}

/// Says that a plugin runs; dropping it says that it no longer does.
pub(crate) struct Running<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The operating system's, when it refuses a thread.
    pub(crate) fn start() -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            engines: Mutex::new(Vec::new()),
            running: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: OnceLock::new(),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("plugin-ticker".to_owned())
            .spawn(move || for_thread.run())?
            .thread()
            .clone();
        // A call that comes before this is set finds the thread ticking, not parked.
        let _ = shared.thread.set(thread);
        Ok(Ticker { shared })
    }

    /// Advances `engine`'s epoch too, as long as it lives.
    pub(crate) fn add(&self, engine: &Engine) {
        self.shared.engines.lock().unwrap_or_else(PoisonError::into_inner).push(engine.weak());
    }

    /// Makes sure that time passes until the returned guard is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        // Both sides use sequential consistency: either this call sees the thread parked and wakes it, or the thread
        // sees this call after it announced that it parks, and does not.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.parked.load(Ordering::SeqCst)
            && let Some(thread) = self.shared.thread.get()
        {
            thread.unpark();
        }
        Running(&self.shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.shared.thread.get() {
            thread.unpark();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut idle = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            std::thread::sleep(TICK);
            self.engines.lock().unwrap_or_else(PoisonError::into_inner).retain(|engine| match engine.upgrade() {
                Some(engine) => {
                    engine.increment_epoch();
                    true
                }
                None => false,
            });
            idle = if self.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle >= IDLE_TICKS && self.thread.get().is_some() {
                self.parked.store(true, Ordering::SeqCst);
                while self.running.load(Ordering::SeqCst) == 0 && !self.stopped.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                self.parked.store(false, Ordering::SeqCst);
                idle = 0;
            }
        }
    }
}
