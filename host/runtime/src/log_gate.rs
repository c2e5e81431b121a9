//! Passes a plugin's log lines on, with its name, and no more of them than a person could read.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::outcome::{LogLevel, LogLine};

/// Lines that may come at once.
const BURST: f64 = 20.0;

/// Lines a second in the long run: a plugin that logs at every connection must not fill a disk.
const PER_SECOND: f64 = 5.0;

/// One plugin's allowance.
pub(crate) struct LogGate {
    bucket: Mutex<Bucket>,
}

struct Bucket {
    lines: f64,
    refilled: Instant,
    suppressed: u64,
}

impl LogGate {
    pub(crate) fn new() -> LogGate {
        LogGate { bucket: Mutex::new(Bucket { lines: BURST, refilled: Instant::now(), suppressed: 0 }) }
    }

    /// Logs `lines` as far as the allowance goes; the next line that passes says how many did not.
    pub(crate) fn pass(&self, plugin: &str, lines: &[LogLine], dropped: u32) {
        if lines.is_empty() {
            return;
        }
        let now = Instant::now();
        for line in lines {
            if let Some(suppressed) = self.take(now) {
                emit(plugin, line, suppressed);
            }
        }
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).suppressed += u64::from(dropped);
    }

    /// Takes one line's worth; gives the number of lines suppressed since the last that passed.
    fn take(&self, now: Instant) -> Option<u64> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.refilled).as_secs_f64();
        bucket.lines = (bucket.lines + passed * PER_SECOND).min(BURST);
        bucket.refilled = now;
        if bucket.lines < 1.0 {
            bucket.suppressed += 1;
            return None;
        }
        bucket.lines -= 1.0;
        Some(std::mem::take(&mut bucket.suppressed))
    }
}

fn emit(plugin: &str, line: &LogLine, suppressed: u64) {
    let message = line.message.as_str();
    match line.level {
        LogLevel::Error => {
            tracing::error!(target: "portsplit::plugin", plugin, line = message, suppressed, "plugin log")
        }
        LogLevel::Warn => tracing::warn!(target: "portsplit::plugin", plugin, line = message, suppressed, "plugin log"),
        LogLevel::Info => tracing::info!(target: "portsplit::plugin", plugin, line = message, suppressed, "plugin log"),
        LogLevel::Debug => {
            tracing::debug!(target: "portsplit::plugin", plugin, line = message, suppressed, "plugin log")
        }
        LogLevel::Trace => {
            tracing::trace!(target: "portsplit::plugin", plugin, line = message, suppressed, "plugin log")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_the_rest_is_counted() {
        let gate = LogGate::new();
        let start = Instant::now();
        let passed = (0..100).filter(|_| gate.take(start).is_some()).count();
        assert_eq!(passed, BURST as usize);
        let later = start + Duration::from_secs(1);
        assert_eq!(gate.take(later), Some(100 - BURST as u64));
        let passed = (0..100).filter(|_| gate.take(later).is_some()).count();
        assert_eq!(passed, PER_SECOND as usize - 1);
    }
}
