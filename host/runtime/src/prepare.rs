//! Runs what a plugin wants run once, at load, and turns the state that leaves into a new module, so that an instance
//! of that module starts ready.
//!
//! The order is: start function, `_initialize`, `portsplit_configure`. wasmtime-wizer exports a module's hidden state
//! and writes it back as initial values. What it cannot write back (a plugin that changes its tables while it runs, or
//! keeps references in variables) makes the plugin run all three in every instance instead: slower, and the same.

use wasmtime::{Instance, Module, ModuleExport, Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;
use wasmtime_wizer::{WasmtimeWizer, Wizer};

use crate::cache::Cache;
use crate::engine::EngineSet;
use crate::error::{CallError, ContractError, LoadError};
use crate::guest::{CallState, Stop, arm};
use crate::inspect::ModuleInfo;
use crate::options::PluginOptions;
use crate::outcome::LogLine;
use crate::pack::{strip, without_passive_segments};
use crate::text::printable;
use crate::ticker::Ticker;

/// Fuel for everything that runs once. Go's runtime needs a million to start; this ends a loop in about 0.1 s.
pub(crate) const INIT_FUEL: u64 = 50_000_000;

/// CPU time for the same.
pub(crate) const INIT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(1);

/// Data segments a module may have for wizer to add its own.
const MAX_SEGMENTS_TO_SNAPSHOT: u64 = 60_000;

/// How a plugin's instances get ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preparation {
    /// There is nothing to run before the first call.
    Nothing,
    /// It ran once, at load, and every instance starts from the state it left.
    Snapshot,
    /// It runs in every instance, because its state cannot be written back into a module.
    EveryCall,
}

/// A module ready to compile.
pub(crate) struct Prepared {
    pub(crate) wasm: Vec<u8>,
    pub(crate) how: Preparation,
    /// Fuel the preparation took.
    pub(crate) fuel: u64,
    /// What the plugin logged meanwhile.
    pub(crate) logs: Vec<LogLine>,
}

/// Polls a future whose awaits are all ready at once.
///
/// Plugins are called on the caller's thread, and nothing they may import waits; a future that does is dropped, which
/// unwinds the plugin, and `None` is returned.
pub(crate) fn block_once<F: Future>(future: F) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// The exports of a compiled plugin, looked up once.
pub(crate) struct Exports {
    pub(crate) memory: ModuleExport,
    pub(crate) buffer: ModuleExport,
    pub(crate) classify: ModuleExport,
    initialize: Option<ModuleExport>,
    configure: Option<ModuleExport>,
}

impl Exports {
    /// `None` where a required export is missing, which `inspect` has ruled out.
    pub(crate) fn of(module: &Module) -> Option<Exports> {
        Some(Exports {
            memory: module.get_export_index("memory")?,
            buffer: module.get_export_index("portsplit_buffer")?,
            classify: module.get_export_index("portsplit_classify")?,
            initialize: module.get_export_index("_initialize"),
            configure: module.get_export_index("portsplit_configure"),
        })
    }
}

/// A store's instance and how to call it.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    pub(crate) instance: Instance,
    /// Whether its imports are asynchronous, so that calls must be too.
    pub(crate) is_async: bool,
}

impl Live {
    /// Calls an export of the contract.
    pub(crate) async fn call<P, R>(
        self,
        store: &mut Store<CallState>,
        export: &ModuleExport,
        params: P,
    ) -> wasmtime::Result<R>
    where
        P: wasmtime::WasmParams + Sync,
        R: wasmtime::WasmResults + Sync,
    {
        let func = self.instance.get_module_export(&mut *store, export).and_then(wasmtime::Extern::into_func);
        let func = func.ok_or_else(|| wasmtime::Error::msg("the export is not a function"))?;
        let func = func.typed::<P, R>(&*store)?;
        if self.is_async { func.call_async(store, params).await } else { func.call(store, params) }
    }

    /// Asks the plugin for a buffer and writes `bytes` to it.
    pub(crate) async fn write(
        self,
        store: &mut Store<CallState>,
        exports: &Exports,
        bytes: &[u8],
    ) -> wasmtime::Result<i32> {
        let too_long = ContractError::InputTooLong { len: bytes.len() };
        let len = i32::try_from(bytes.len()).map_err(|_| contract(too_long))?;
        let ptr: i32 = self.call(store, &exports.buffer, len).await?;
        if len == 0 {
            return Ok(0);
        }
        let ptr = ptr as u32;
        if ptr == 0 {
            return Err(contract(ContractError::BufferRefused { len: bytes.len() }));
        }
        let memory = store.data().memory.ok_or_else(|| wasmtime::Error::msg("the plugin has no memory"))?;
        memory.write(&mut *store, ptr as usize, bytes).map_err(|_| {
            let memory_bytes = memory.data_size(&*store);
            contract(ContractError::BufferOutOfBounds { ptr, len: bytes.len(), memory_bytes })
        })?;
        Ok(len)
    }
}

fn contract(error: ContractError) -> wasmtime::Error {
    wasmtime::Error::new(Stop::Contract(error))
}

/// Puts into our words why wasm did not return.
pub(crate) fn call_error(
    error: &wasmtime::Error,
    failure: Option<String>,
    fuel: u64,
    limit: std::time::Duration,
) -> CallError {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop.clone() {
            Stop::Contract(error) => CallError::Contract(error),
            Stop::Abort(message) => CallError::Abort { message },
        };
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return CallError::Abort { message: format!("it called proc_exit({})", exit.0) };
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return CallError::Busy;
    }
    let mut reason = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return CallError::OutOfFuel { budget: fuel },
        Some(Trap::Interrupt) => return CallError::Deadline { limit },
        Some(trap) => trap.to_string(),
        None => printable(error.root_cause().to_string().as_bytes()),
    };
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        for line in backtrace.to_string().lines() {
            reason.push('\n');
            reason.push_str(&printable(line.as_bytes()));
        }
    }
    CallError::Trap { reason, message: failure }
}

/// Runs `_initialize` and `portsplit_configure`, where there are any. The start function ran at instantiation.
pub(crate) async fn initialise(
    store: &mut Store<CallState>,
    live: Live,
    exports: &Exports,
    config: Option<&[u8]>,
) -> Result<(), LoadError> {
    if let Some(initialize) = &exports.initialize {
        let result = live.call::<(), ()>(store, initialize, ()).await;
        result.map_err(|e| LoadError::Init { stage: "`_initialize`", cause: init_error(&e, store) })?;
    }
    let Some(config) = config else { return Ok(()) };
    let configure = exports.configure.as_ref().ok_or(LoadError::ConfigUnsupported)?;
    let answer = async {
        let len = live.write(store, exports, config).await?;
        live.call::<i32, i32>(store, configure, len).await
    };
    match answer.await {
        Ok(0) => Ok(()),
        Ok(code) => {
            let reason = store.data_mut().failure.take();
            Err(LoadError::ConfigRefused {
                reason: reason.unwrap_or_else(|| format!("it gave no reason (code {code})")),
            })
        }
        // A plugin that says what is wrong with its configuration and then gives up has refused it all the same.
        Err(e) => match init_error(&e, store) {
            CallError::Trap { message: Some(reason), .. } => Err(LoadError::ConfigRefused { reason }),
            error => Err(LoadError::Configure(error)),
        },
    }
}

fn init_error(error: &wasmtime::Error, store: &mut Store<CallState>) -> CallError {
    call_error(error, store.data_mut().last_words(), INIT_FUEL, INIT_DEADLINE)
}

/// Where modules are prepared.
pub(crate) struct Workshop<'a> {
    /// An engine that is used for nothing else.
    pub(crate) set: &'a EngineSet,
    pub(crate) ticker: &'a Ticker,
    pub(crate) cache: Option<&'a Cache>,
}

impl Workshop<'_> {
    /// Compiles `code`, which is made of the module that `info` is about and of nothing else. Another configuration of
    /// the same module finds it in the cache: for a Go program that saves seconds.
    fn compile(&self, code: &[u8], info: &ModuleInfo) -> Result<Module, LoadError> {
        let engine = &self.set.engine;
        let key = Cache::key(engine, &info.sha256, None, 0);
        if let Some(hit) = self.cache.and_then(|cache| cache.load(engine, key)) {
            return Ok(hit.module);
        }
        let module = Module::new(engine, code).map_err(|e| LoadError::Compile { reason: reason(&e) })?;
        if let Some(cache) = self.cache {
            cache.store(key, &module, Preparation::Nothing, 0);
        }
        Ok(module)
    }
}

/// Runs what `wasm` wants run once.
pub(crate) fn prepare(
    workshop: &Workshop<'_>,
    wasm: &[u8],
    info: &ModuleInfo,
    config: Option<&[u8]>,
    options: &PluginOptions,
) -> Result<Prepared, LoadError> {
    let set = workshop.set;
    let stripped = strip(wasm)?;
    // Modules that wizer would not take apart correctly are not given to it.
    let eligible = info.data_segments <= MAX_SEGMENTS_TO_SNAPSHOT
        && !info.exports.iter().any(|name| name.starts_with("__wizer_") || name == "wizer-initialize");
    let mut wizer = Wizer::new();
    wizer.init_func("_initialize");
    let instrumented = if eligible { wizer.instrument(&stripped).ok() } else { None };
    let code = instrumented.as_ref().map_or(stripped.as_slice(), |(_, code)| code.as_slice());

    let module = workshop.compile(code, info)?;
    let linker = set.linker(info.uses_wasi);
    let pre = linker.instantiate_pre(&module).map_err(|e| LoadError::Compile { reason: reason(&e) })?;
    let exports =
        Exports::of(&module).ok_or_else(|| LoadError::Compile { reason: "an export is missing".to_owned() })?;

    let mut store = Store::new(&set.engine, CallState::new(options.memory_bytes));
    arm(&mut store, INIT_FUEL, INIT_DEADLINE).map_err(|e| LoadError::Engine { reason: reason(&e) })?;
    let running = workshop.ticker.running();
    let ran = block_once(async {
        let instance =
            if info.uses_wasi { pre.instantiate_async(&mut store).await } else { pre.instantiate(&mut store) };
        let stage = if info.start.is_some() { "the start function" } else { "instantiation" };
        let instance = instance.map_err(|e| LoadError::Init { stage, cause: init_error(&e, &mut store) })?;
        store.data_mut().memory = memory_of(instance, &mut store, &exports);
        let live = Live { instance, is_async: info.uses_wasi };
        initialise(&mut store, live, &exports, config).await?;
        Ok(instance)
    });
    drop(running);
    store.data_mut().take_wasi_output();
    let instance =
        ran.unwrap_or_else(|| Err(LoadError::Engine { reason: "the plugin waits for something".to_owned() }))?;
    let fuel = INIT_FUEL.saturating_sub(store.get_fuel().unwrap_or(0));
    let logs = std::mem::take(&mut store.data_mut().logs);
    let snapshot = match &instrumented {
        Some((context, _)) => {
            let mut state = WasmtimeWizer { store: &mut store, instance };
            block_once(wizer.snapshot(context, &mut state)).and_then(Result::ok)
        }
        None => None,
    };
    Ok(match snapshot {
        Some(wasm) => {
            let wasm = without_passive_segments(&wasm)?;
            Prepared { wasm, how: Preparation::Snapshot, fuel, logs }
        }
        None => Prepared { wasm: stripped, how: Preparation::EveryCall, fuel, logs },
    })
}

/// The exported memory of a fresh instance.
pub(crate) fn memory_of(
    instance: Instance,
    store: &mut Store<CallState>,
    exports: &Exports,
) -> Option<wasmtime::Memory> {
    instance.get_module_export(store, &exports.memory).and_then(wasmtime::Extern::into_memory)
}

/// An engine error on one printable line, outermost cause first.
pub(crate) fn reason(error: &wasmtime::Error) -> String {
    printable(format!("{error:#}").as_bytes())
}
