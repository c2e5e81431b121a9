//! Lines for the host's log, for an author's debugging. Natively they go to standard error.

/// How serious a line is, as the host understands the number.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{Level, log};
/// log(Level::Debug, "reached the extensions");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something the author should mend.
    Error = 0,
    /// Unexpected and handled.
    Warn = 1,
    /// Worth knowing.
    Info = 2,
    /// For the author.
    Debug = 3,
    /// Every step.
    Trace = 4,
}

/// Writes a line to the host's log, which names the plugin, limits the rate and cuts long lines.
///
/// The answer must not depend on it. A peer's bytes do not belong there above [`Level::Trace`].
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{Level, log};
/// log(Level::Trace, "a record of length zero");
/// ```
pub fn log(level: Level, line: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::wasm::log(level, line);
    #[cfg(not(target_arch = "wasm32"))]
    std::eprintln!("[{level:?}] {line}");
}
