//! Every limit a plugin lives under, with its default and why it has that value.
//!
//! These are plain values the caller fills in from the configuration; [`crate::Runtime`] reads them once at load.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::error::LoadError;

/// Settings of the one [`crate::Runtime`] a process needs.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Directory for compiled code, created with mode 0700 when missing; `None` compiles at every start.
    ///
    /// A directory that is a symlink, belongs to someone else or can be entered by others is not used, with a warning.
    pub cache_dir: Option<PathBuf>,
    /// Instances that may live at the same moment, for each memory size in use; a call holds one for its few
    /// microseconds, so this bounds the threads that classify at once. A call that finds none waits for its turn.
    pub slots: u32,
    /// Whether a trap's message lists the plugin's own call stack. It costs some microseconds per trap, so tools turn
    /// it on and the server leaves it off.
    pub backtrace: bool,
}

impl Default for RuntimeOptions {
    /// No cache directory, 64 slots, no backtraces.
    fn default() -> Self {
        RuntimeOptions { cache_dir: None, slots: 64, backtrace: false }
    }
}

/// Settings of one plugin: its configuration and its limits.
#[derive(Clone, Debug)]
pub struct PluginOptions {
    /// Name for logs and errors; empty takes the manifest's name.
    pub name: String,
    /// Handed to `portsplit_configure` as JSON, once, at load. `Null` means not configured: the export is not called.
    pub config: Value,
    /// Fuel for one call: one unit per WebAssembly instruction (up to three for a jump), one per byte of a bulk operation, and
    /// 100 plus one per byte for each fact and log line.
    pub fuel: u64,
    /// Most linear memory the plugin may have, in bytes; growing past it fails inside the plugin. At most 1 GiB.
    pub memory_bytes: usize,
    /// Largest module file accepted, in bytes. At most 64 MiB.
    pub max_size_bytes: usize,
    /// CPU time after which a call is stopped however much fuel it has left; `None` derives it from the fuel, see
    /// [`PluginOptions::deadline_or_default`].
    pub deadline: Option<Duration>,
}

impl PluginOptions {
    /// Fuel for one call. The shipped detectors need under 10,000 for 500 bytes, so 200,000 leaves room for heavy
    /// parsers and still ends a runaway loop in about 100 microseconds.
    pub const DEFAULT_FUEL: u64 = 200_000;
    /// Memory of one instance: 4 MiB holds Go's runtime (2.4 MiB) and bounds what one bulk operation can touch.
    pub const DEFAULT_MEMORY_BYTES: usize = 4 << 20;
    /// Module size: a Go detector is 1.9 MB, and this bounds compile time.
    pub const DEFAULT_MAX_SIZE_BYTES: usize = 4 << 20;
    /// CPU time that stops a call with the default fuel.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_millis(4);
    /// No plugin may be given more memory than this.
    pub const MEMORY_CEILING_BYTES: usize = 1 << 30;
    /// No module may be larger than this.
    pub const SIZE_CEILING_BYTES: usize = 64 << 20;

    /// The CPU time after which a call is stopped.
    ///
    /// Unless set, it is 4 ms, or 20 ns for each unit of fuel where that is more: slower than any code measured, so
    /// fuel stays the limit that is met first and the deadline only catches what fuel does not see.
    pub fn deadline_or_default(&self) -> Duration {
        self.deadline.unwrap_or_else(|| {
            let by_fuel = Duration::from_nanos(self.fuel.saturating_mul(20));
            by_fuel.clamp(Self::DEFAULT_DEADLINE, Duration::from_secs(1))
        })
    }

    /// Checks what can be known without a module.
    ///
    /// # Errors
    ///
    /// [`LoadError::Limit`] where a value is outside its range.
    pub(crate) fn validate(&self) -> Result<(), LoadError> {
        let limit = |key, value: u64, rule| Err(LoadError::Limit { key, value, rule });
        if self.fuel == 0 {
            return limit("fuel", self.fuel, "must be at least 1");
        }
        if self.memory_bytes < 64 << 10 || self.memory_bytes > Self::MEMORY_CEILING_BYTES {
            return limit("memory", self.memory_bytes as u64, "must be between 64KiB and 1024MiB");
        }
        if self.max_size_bytes > Self::SIZE_CEILING_BYTES {
            return limit("max_size", self.max_size_bytes as u64, "must be at most 64MiB");
        }
        Ok(())
    }
}

impl Default for PluginOptions {
    fn default() -> Self {
        PluginOptions {
            name: String::new(),
            config: Value::Null,
            fuel: Self::DEFAULT_FUEL,
            memory_bytes: Self::DEFAULT_MEMORY_BYTES,
            max_size_bytes: Self::DEFAULT_MAX_SIZE_BYTES,
            deadline: None,
        }
    }
}
