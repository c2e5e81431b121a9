//! Plugins as the deciding code sees them: a wasm module behind the `Classifier` trait.
//!
//! Loading happens while a configuration is read, never on the path of a connection. What goes wrong in a call costs
//! that connection this plugin's verdict and nothing else. What a plugin rejects by the first byte alone is remembered
//! (`first_bytes`). `portsplit_runtime` does the rest.

mod first_bytes;

use std::env;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use portsplit_runtime::{
    CallError, Flags, LoadError, Manifest, Outcome, Plugin, PluginOptions, Runtime, RuntimeOptions, Verdict,
};
use serde_json::Value;

use self::first_bytes::FirstBytes;
use crate::decision::End;
use crate::log::Throttle;
use crate::matcher::{Answer, Classifier, Fact};

/// The shipped plugins: name and module.
pub static SHIPPED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// Returns the module of a shipped plugin.
pub fn shipped(name: &str) -> Option<&'static [u8]> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, wasm)| *wasm)
}

/// Returns the facts that a plugin learns only if a key of the same name, which is true or false, says so.
pub fn optional_facts(manifest: &Manifest) -> impl Iterator<Item = &str> {
    let properties = manifest.config_schema.as_ref().and_then(|schema| schema.get("properties"));
    let is_key = move |name: &str| {
        properties.and_then(|all| all.get(name)).and_then(|key| key.get("type")).is_some_and(|kind| kind == "boolean")
    };
    manifest.facts.iter().map(|fact| fact.name.as_str()).filter(move |name| is_key(name))
}

/// Sets in a plugin's configuration which of its optional facts are wanted, unless it says so itself.
pub fn want_facts(config: &mut Value, manifest: &Manifest, is_wanted: impl Fn(&str) -> bool) {
    for name in optional_facts(manifest) {
        if config.is_null() {
            *config = Value::Object(serde_json::Map::new());
        }
        if let Some(table) = config.as_object_mut().filter(|table| !table.contains_key(name)) {
            table.insert(name.to_owned(), Value::Bool(is_wanted(name)));
        }
    }
}

/// What a failing call means for its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The plugin does not match; other services and `fallback` still can.
    #[default]
    Reject,
    /// The connection is closed.
    Close,
}

/// A loaded plugin with its configuration.
#[derive(Debug)]
pub struct Guest {
    plugin: Plugin,
    on_error: OnError,
    first_bytes: FirstBytes,
    errors: AtomicU64,
    warnings: Throttle,
}

impl Guest {
    /// Loads a module, from the compile cache if it is there.
    ///
    /// # Errors
    /// Whatever the runtime refuses the module for.
    pub fn load(wasm: &[u8], options: &PluginOptions, on_error: OnError) -> Result<Guest, LoadError> {
        Ok(Guest::new(runtime()?.load(wasm, options)?, on_error))
    }

    fn new(plugin: Plugin, on_error: OnError) -> Guest {
        let warnings = Throttle::new(Duration::from_secs(1));
        Guest { plugin, on_error, first_bytes: FirstBytes::new(), errors: AtomicU64::new(0), warnings }
    }

    /// Returns the plugin itself.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Returns how many calls have failed.
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

impl Classifier for Guest {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    fn classify(&self, flight: &[u8], end: Option<End>) -> Answer {
        let flags = match end {
            None => Flags::NONE,
            Some(End::HalfClose) => Flags::HALF_CLOSED,
            Some(End::Full) => Flags::BUFFER_FULL,
            Some(End::Timeout) => Flags::TIME_UP,
        };
        let mut called = None;
        if let Some(first) = flight.first() {
            let alone = std::slice::from_ref(first);
            let rejected = self.first_bytes.rejects(*first, || {
                let called = called.insert(self.plugin.classify(alone, Flags::NONE));
                is_reject_without_a_word(called)
            });
            if rejected {
                return Answer::Reject;
            }
            // If that was all the question, it need not be asked again; else the answer was about other bytes.
            called = called.filter(|_| flight == alone && end.is_none());
        }
        self.answer(called.unwrap_or_else(|| self.plugin.classify(flight, flags)), end)
    }
}

/// Tells whether a call ended with a reject and left nothing that would be missed if it were not made: a plugin that
/// logs is asked each time.
fn is_reject_without_a_word(called: &Result<Outcome, CallError>) -> bool {
    called.as_ref().is_ok_and(|outcome| outcome.verdict == Verdict::Reject && outcome.logs.is_empty())
}

impl Guest {
    /// Says what a call means for its connection; counts and logs one that failed.
    fn answer(&self, called: Result<Outcome, CallError>, end: Option<End>) -> Answer {
        match called {
            Ok(outcome) => match outcome.verdict {
                Verdict::Match => Answer::Match(
                    outcome
                        .facts
                        .into_iter()
                        .map(|fact| Fact { name: fact.name.into(), value: fact.value.into() })
                        .collect(),
                ),
                Verdict::Reject => Answer::Reject,
                Verdict::NeedMore(_) if end.is_some() => Answer::Reject,
                Verdict::NeedMore(total) => Answer::NeedMore(total),
            },
            Err(error) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                if let Some(unlogged) = self.warnings.pass() {
                    tracing::warn!(plugin = self.plugin.name(), %error, unlogged, "a plugin has failed");
                }
                match self.on_error {
                    OnError::Reject => Answer::Reject,
                    OnError::Close => Answer::Fail,
                }
            }
        }
    }
}

/// Returns the process's runtime, made when the first plugin is loaded: who uses none pays for none.
///
/// # Errors
/// Fails if the system does not grant the address space or the thread it needs.
pub fn runtime() -> Result<Runtime, LoadError> {
    static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);
    let mut made = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*made {
        return Ok(runtime.clone());
    }
    let runtime = Runtime::new(RuntimeOptions { cache_dir: cache_dir(), ..RuntimeOptions::default() })?;
    Ok(made.insert(runtime).clone())
}

/// Where compiled plugins are kept: the first folder that a service manager gives us, else the user's cache.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let named = |name: &str| env::var_os(name).map(PathBuf::from).and_then(absolute);
    let given = env::var_os("CACHE_DIRECTORY").and_then(|list| env::split_paths(&list).next());
    given
        .and_then(absolute)
        .or_else(|| named("XDG_CACHE_HOME").map(|path| path.join("portsplit")))
        .or_else(|| named("HOME").map(|path| path.join(".cache/portsplit")))
}

#[cfg(test)]
mod tests;
