//! Log lines on standard error, and how often one may be repeated.
//!
//! Lines go through a bounded queue to a thread of their own: a reader that has stopped reading costs lines, never a
//! connection.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

use crate::config::{Log, LogFormat};

/// Lines that may wait for the log's reader; what comes on top is dropped.
const QUEUED_LINES: usize = 8_192;

/// Describes an error of the system, and says what to do if descriptors have run out.
pub(crate) fn explained(error: &io::Error) -> String {
    let advice = match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "; raise the limit on open files (LimitNOFILE, ulimit -n) or lower max_connections",
        Some(Errno::NFILE) => "; the whole system has no more of them, see fs.file-max",
        _ => "",
    };
    format!("{error}{advice}")
}

/// Starts logging; lines are flushed when the guard is dropped.
pub fn start(log: Log) -> WorkerGuard {
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(QUEUED_LINES).finish(std::io::stderr());
    let level = log.level.map_or(LevelFilter::OFF, LevelFilter::from_level);
    let registry = tracing_subscriber::registry().with(level);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(false);
    // A logger that is there already, as in a test process, stays.
    let _ = match log.format {
        LogFormat::Text => {
            registry.with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).try_init()
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_current_span(false)).try_init(),
    };
    guard
}

/// Lets one event in a period through and counts the others.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    /// Milliseconds after the process began when the next one may pass.
    next: AtomicU64,
    held_back: AtomicU64,
}

impl Throttle {
    /// Makes a throttle that lets one event pass in `period`.
    pub const fn new(period: Duration) -> Throttle {
        Throttle { period, next: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Returns how many events were held back since the last one that passed, if this one may pass.
    pub fn pass(&self) -> Option<u64> {
        static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(BEGAN.elapsed());
        let next = self.next.load(Ordering::Relaxed);
        let later = now.saturating_add(millis(self.period));
        if now >= next && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            Some(self.held_back.swap(0, Ordering::Relaxed))
        } else {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_passes_one_in_a_period_and_counts_the_rest() {
        let throttle = Throttle::new(Duration::from_secs(3600));
        assert_eq!(throttle.pass(), Some(0));
        assert_eq!((throttle.pass(), throttle.pass()), (None, None));
        let open = Throttle::new(Duration::ZERO);
        assert_eq!((open.pass(), open.pass()), (Some(0), Some(0)));
    }
}
