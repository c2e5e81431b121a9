//! A loaded plugin and one call of it: a fresh instance, the bytes written to its buffer, the verdict read back, the
//! instance gone.
//!
//! A call is synchronous and stays on the caller's thread; it ends within the plugin's fuel and deadline, whatever the
//! plugin does.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{InstancePre, Store};

use crate::engine::EngineSet;
use crate::error::{CallError, ContractError, LoadError};
use crate::guest::{CallState, arm};
use crate::inspect::ModuleInfo;
use crate::log_gate::LogGate;
use crate::manifest::Manifest;
use crate::options::PluginOptions;
use crate::outcome::{CallStats, Flags, Outcome, Verdict};
use crate::prepare::{self, Exports, INIT_DEADLINE, INIT_FUEL, Live, Preparation, block_once, initialise, memory_of};
use crate::runtime::Shared;

/// How long a call waits for a free instance: far longer than any other call can keep one.
const PATIENCE: Duration = Duration::from_secs(5);

/// A loaded plugin. Clones are the same plugin; it may be called from any number of threads at once.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

/// What is known of a loaded plugin, for `inspect` and for logs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PluginInfo {
    /// The name it is called by: the one asked for, else the manifest's, else `plugin`.
    pub name: String,
    /// What the module itself says.
    pub module: ModuleInfo,
    /// Whether its code came from the cache.
    pub from_cache: bool,
    /// How its instances get ready.
    pub preparation: Preparation,
    /// Fuel that took at load.
    pub init_fuel: u64,
    /// Size of the compiled code in bytes.
    pub code_bytes: usize,
    /// Time to run what runs once, at a cold load.
    pub prepare_time: Duration,
    /// Time to compile, or to read the cache.
    pub compile_time: Duration,
    /// Time of the load in all.
    pub load_time: Duration,
}

pub(crate) struct Inner {
    pub(crate) pre: InstancePre<CallState>,
    pub(crate) exports: Exports,
    pub(crate) options: PluginOptions,
    /// The configuration as the plugin gets it.
    pub(crate) config: Option<Vec<u8>>,
    pub(crate) info: PluginInfo,
    pub(crate) gate: LogGate,
    pub(crate) set: Arc<EngineSet>,
    pub(crate) shared: Arc<Shared>,
}

/// What a call made of the bytes, before the flags are applied to it.
struct Answer {
    result: i64,
    shown: usize,
    /// The most bytes it is ever shown.
    max_bytes: usize,
}

impl Plugin {
    pub(crate) fn new(inner: Inner) -> Plugin {
        Plugin { inner: Arc::new(inner) }
    }

    /// The name it is called by.
    pub fn name(&self) -> &str {
        &self.inner.info.name
    }

    /// What the plugin says about itself, if it carries a manifest.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.inner.info.module.manifest.as_ref()
    }

    /// What is known of the module and of its loading.
    pub fn info(&self) -> &PluginInfo {
        &self.inner.info
    }

    /// The limits and configuration it was loaded with.
    pub fn options(&self) -> &PluginOptions {
        &self.inner.options
    }

    /// Asks the plugin for the verdict of a connection's first bytes.
    ///
    /// A plugin whose manifest gives `max_bytes` is shown at most that many, and with that many it is told that its
    /// buffer is full; need-more is then turned into reject, and before that it is never made to wait for more.
    /// Otherwise need-more is handed on even under flags: see [`Verdict::settled`].
    ///
    /// # Errors
    ///
    /// [`CallError`] when the plugin trapped, used up its fuel or time, gave up or broke the contract.
    pub fn classify(&self, bytes: &[u8], flags: Flags) -> Result<Outcome, CallError> {
        self.classify_measured(bytes, flags).0
    }

    /// Like [`Plugin::classify`], with what the call cost.
    pub fn classify_measured(&self, bytes: &[u8], flags: Flags) -> (Result<Outcome, CallError>, CallStats) {
        let start = Instant::now();
        let (result, mut stats) = loop {
            match self.call(bytes, flags) {
                // Every slot is in use by another thread for some microseconds.
                (Err(CallError::Busy), _) if start.elapsed() < PATIENCE => std::thread::yield_now(),
                other => break other,
            }
        };
        stats.duration = start.elapsed();
        (result, stats)
    }

    /// Makes one instance and drops it, to find out at load what would fail in every call.
    pub(crate) fn try_out(&self) -> Result<(), CallError> {
        let inner = &*self.inner;
        let start = Instant::now();
        loop {
            let _running = inner.shared.ticker.running();
            let mut store = Store::new(&inner.set.engine, CallState::new(inner.options.memory_bytes));
            let error = match block_once(inner.start(&mut store)) {
                Some(Ok(_)) => return Ok(()),
                Some(Err(Failed::Init(error))) => error,
                Some(Err(Failed::Call(error))) => {
                    prepare::call_error(&error, store.data_mut().last_words(), INIT_FUEL, INIT_DEADLINE)
                }
                None => return Ok(()),
            };
            if error != CallError::Busy || start.elapsed() >= PATIENCE {
                return Err(error);
            }
            std::thread::yield_now();
        }
    }

    fn call(&self, bytes: &[u8], flags: Flags) -> (Result<Outcome, CallError>, CallStats) {
        let inner = &*self.inner;
        let _running = inner.shared.ticker.running();
        let deadline = inner.options.deadline_or_default();
        let mut store = Store::new(&inner.set.engine, CallState::new(inner.options.memory_bytes));
        let answered = block_once(inner.answer(&mut store, bytes, flags));
        let answered = answered.unwrap_or_else(|| Err(wasmtime::Error::msg("the plugin waits for something").into()));

        let memory_bytes = store.data().memory.map_or(0, |memory| memory.data_size(&store));
        let fuel = inner.options.fuel.saturating_sub(store.get_fuel().unwrap_or(0));
        let state = store.data_mut();
        state.take_wasi_output();
        let logs = std::mem::take(&mut state.logs);
        inner.gate.pass(&inner.info.name, &logs, state.logs_dropped);
        let result = match answered {
            Ok(answer) => outcome(&answer, state, &logs),
            Err(Failed::Call(error)) => {
                Err(prepare::call_error(&error, state.last_words(), inner.options.fuel, deadline))
            }
            Err(Failed::Init(error)) => Err(error),
        };
        (result, CallStats { fuel, memory_bytes, duration: Duration::ZERO, logs })
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("info", self.info()).finish_non_exhaustive()
    }
}

/// Why there is no answer.
enum Failed {
    Call(wasmtime::Error),
    /// The preparation failed, in a plugin that has to repeat it.
    Init(CallError),
}

impl From<wasmtime::Error> for Failed {
    fn from(error: wasmtime::Error) -> Self {
        Failed::Call(error)
    }
}

impl Inner {
    /// Makes an instance that is ready to classify.
    async fn start(&self, store: &mut Store<CallState>) -> Result<Live, Failed> {
        let repeats = self.info.preparation == Preparation::EveryCall;
        let deadline = self.options.deadline_or_default();
        let (fuel, limit) = if repeats { (INIT_FUEL, INIT_DEADLINE) } else { (self.options.fuel, deadline) };
        arm(store, fuel, limit)?;
        let is_async = self.info.module.uses_wasi;
        let instance = if is_async {
            self.pre.instantiate_async(&mut *store).await?
        } else {
            self.pre.instantiate(&mut *store)?
        };
        store.data_mut().memory = memory_of(instance, store, &self.exports);
        let live = Live { instance, is_async };
        if repeats {
            initialise(store, live, &self.exports, self.config.as_deref()).await.map_err(|e| Failed::Init(cause(e)))?;
            let state = store.data_mut();
            state.facts.clear();
            state.logs.clear();
            arm(store, self.options.fuel, deadline)?;
        }
        Ok(live)
    }

    async fn answer(&self, store: &mut Store<CallState>, bytes: &[u8], flags: Flags) -> Result<Answer, Failed> {
        let live = self.start(store).await?;
        let max_bytes = self.info.module.manifest.as_ref().and_then(|m| m.max_bytes).map_or(usize::MAX, |n| n as usize);
        let capped = bytes.len() >= max_bytes;
        let flags = if capped { flags | Flags::BUFFER_FULL } else { flags };
        let shown = bytes.get(..max_bytes).unwrap_or(bytes);
        let len = live.write(store, &self.exports, shown).await?;
        let result = live.call(store, &self.exports.classify, (len, flags.bits() as i32)).await?;
        Ok(Answer { result, shown: shown.len(), max_bytes })
    }
}

/// The call error inside a load error: what worked at load fails now only by running out of time.
fn cause(error: LoadError) -> CallError {
    match error {
        LoadError::Init { cause, .. } | LoadError::Configure(cause) => cause,
        other => CallError::Trap { reason: other.to_string(), message: None },
    }
}

/// Reads `tag << 32 | argument`.
///
/// The argument of match and reject is reserved: it is not looked at.
fn outcome(answer: &Answer, state: &mut CallState, logs: &[crate::LogLine]) -> Result<Outcome, CallError> {
    let result = answer.result as u64;
    let (tag, argument) = ((result >> 32) as u32, result as u32);
    let verdict = match tag {
        0 => Verdict::Reject,
        1 => Verdict::Match,
        2 if answer.shown >= answer.max_bytes => Verdict::Reject,
        2 => Verdict::NeedMore((argument as usize).min(answer.max_bytes).max(answer.shown.saturating_add(1))),
        tag => return Err(ContractError::UnknownTag { tag }.into()),
    };
    let facts = if verdict == Verdict::Match { std::mem::take(&mut state.facts) } else { Vec::new() };
    Ok(Outcome { verdict, facts, logs: logs.to_vec(), argument })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn any_result_is_decoded_without_panic() {
        let mut numbers = vec![0i64, 1, -1, i64::MIN, i64::MAX, 1 << 32, 2 << 32, 3 << 32, (2 << 32) | 0xffff_ffff];
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..1_000_000 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            numbers.push(x as i64);
            numbers.push((x & 0x3_ffff_ffff) as i64);
        }
        let mut state = CallState::new(1 << 16);
        for result in numbers {
            for shown in [0, 5, usize::MAX - 1] {
                let answer = Answer { result, shown, max_bytes: usize::MAX };
                match outcome(&answer, &mut state, &[]) {
                    Ok(Outcome { verdict: Verdict::NeedMore(total), .. }) => {
                        assert!(total > shown);
                        assert_eq!((result as u64) >> 32, 2);
                    }
                    Ok(_) => assert!((result as u64) >> 32 < 2),
                    Err(e) => assert!(matches!(e, CallError::Contract(ContractError::UnknownTag { tag }) if tag > 2)),
                }
            }
        }
    }
}
