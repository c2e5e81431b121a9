//! Loads plugins: check, prepare, compile or fetch from the cache, and tie to an engine.
//!
//! Loading blocks for as long as compiling takes (milliseconds for most, seconds for a Go program the first time) and
//! happens on the caller's thread, which must not be one that serves connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use wasmtime::Module;

use crate::cache::Cache;
use crate::engine::{EngineSet, Pool};
use crate::error::LoadError;
use crate::inspect::{ModuleInfo, check_compile_cost, inspect};
use crate::log_gate::LogGate;
use crate::options::{PluginOptions, RuntimeOptions};
use crate::plugin::{Inner, Plugin, PluginInfo};
use crate::prepare::{Exports, Preparation, Prepared, Workshop, prepare, reason};
use crate::ticker::Ticker;

/// Everything plugins share. A process needs one; clones are the same one, and plugins keep it alive.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    options: RuntimeOptions,
    pub(crate) ticker: Ticker,
    cache: Option<Cache>,
    /// Made when the first plugin has something to prepare.
    preparing: Mutex<Option<Arc<EngineSet>>>,
    /// By the kind of pool their instances come from.
    calling: Mutex<BTreeMap<Pool, Arc<EngineSet>>>,
}

/// Code for the calling engine, wherever it came from.
struct Compiled {
    module: Module,
    how: Preparation,
    init_fuel: u64,
    from_cache: bool,
    prepare_time: Duration,
    compile_time: Duration,
    logs: Vec<crate::LogLine>,
}

impl Runtime {
    /// Sets up the engine with slots for plugins of the default memory size, and starts the deadline's clock.
    ///
    /// # Errors
    ///
    /// [`LoadError::Engine`] where the system refuses the address space or the thread.
    pub fn new(options: RuntimeOptions) -> Result<Runtime, LoadError> {
        let ticker = Ticker::start().map_err(|e| LoadError::Engine { reason: e.to_string() })?;
        let shared = Shared {
            cache: options.cache_dir.clone().map(Cache::new),
            options: RuntimeOptions { slots: options.slots.max(1), ..options },
            ticker,
            preparing: Mutex::new(None),
            calling: Mutex::new(BTreeMap::new()),
        };
        shared.calling_set(Pool::of(PluginOptions::DEFAULT_MEMORY_BYTES, 0))?;
        Ok(Runtime { shared: Arc::new(shared) })
    }

    /// Loads a plugin from the bytes of its `.wasm` file.
    ///
    /// # Errors
    ///
    /// [`LoadError`] saying what keeps the module from being a plugin, or from accepting its configuration.
    pub fn load(&self, wasm: &[u8], options: &PluginOptions) -> Result<Plugin, LoadError> {
        let start = Instant::now();
        options.validate()?;
        if wasm.len() > options.max_size_bytes {
            return Err(LoadError::TooLarge { size_bytes: wasm.len(), limit_bytes: options.max_size_bytes });
        }
        let module = inspect(wasm)?;
        if module.memory_bytes > options.memory_bytes as u64 {
            return Err(LoadError::Memory {
                needed_bytes: module.memory_bytes,
                limit_bytes: options.memory_bytes,
                advice: "link it with a smaller stack (`-zstack-size=16384`), or raise `memory`",
            });
        }
        let config = config_json(&options.config)?;
        if config.is_some() && !module.takes_config {
            return Err(LoadError::ConfigUnsupported);
        }
        let manifest_name = || module.manifest.as_ref().map(|manifest| manifest.name.clone());
        let asked_for = Some(options.name.clone()).filter(|name| !name.is_empty());
        let name = asked_for.or_else(manifest_name).unwrap_or_else(|| "plugin".to_owned());

        let set = self.shared.calling_set(Pool::of(options.memory_bytes, module.memory_bytes))?;
        let compiled = self.compile(&set, wasm, &module, config.as_deref(), options)?;
        let gate = LogGate::new();
        gate.pass(&name, &compiled.logs, 0);
        let engine_refuses = |e: &wasmtime::Error| LoadError::Compile { reason: reason(e) };
        let pre = set.linker(module.uses_wasi).instantiate_pre(&compiled.module).map_err(|e| engine_refuses(&e))?;
        let exports = Exports::of(&compiled.module)
            .ok_or_else(|| LoadError::Compile { reason: "an export is missing".to_owned() })?;
        let info = PluginInfo {
            name,
            from_cache: compiled.from_cache,
            preparation: compiled.how,
            init_fuel: compiled.init_fuel,
            code_bytes: compiled.module.text().len(),
            prepare_time: compiled.prepare_time,
            compile_time: compiled.compile_time,
            load_time: start.elapsed(),
            module,
        };
        let shared = Arc::clone(&self.shared);
        let plugin = Plugin::new(Inner { pre, exports, options: options.clone(), config, info, gate, set, shared });
        plugin.try_out().map_err(|cause| LoadError::Init { stage: "instantiation", cause })?;
        Ok(plugin)
    }

    fn compile(
        &self,
        set: &EngineSet,
        wasm: &[u8],
        info: &ModuleInfo,
        config: Option<&[u8]>,
        options: &PluginOptions,
    ) -> Result<Compiled, LoadError> {
        let start = Instant::now();
        let key = Cache::key(&set.engine, &info.sha256, config, options.memory_bytes);
        if let Some(hit) = self.shared.cache.as_ref().and_then(|cache| cache.load(&set.engine, key)) {
            return Ok(Compiled {
                module: hit.module,
                how: hit.how,
                init_fuel: hit.fuel,
                from_cache: true,
                prepare_time: Duration::ZERO,
                compile_time: start.elapsed(),
                logs: Vec::new(),
            });
        }
        check_compile_cost(wasm)?;
        let prepared = if info.has_init || config.is_some() {
            let set = &*self.shared.preparing_set()?;
            let workshop = Workshop { set, ticker: &self.shared.ticker, cache: self.shared.cache.as_ref() };
            prepare(&workshop, wasm, info, config, options)?
        } else {
            let wasm = crate::pack::strip(wasm)?;
            Prepared { wasm, how: Preparation::Nothing, fuel: 0, logs: Vec::new() }
        };
        let prepare_time = start.elapsed();
        let (module, how) = compile_prepared(set, wasm, &prepared)?;
        if let Some(cache) = &self.shared.cache {
            cache.store(key, &module, how, prepared.fuel);
        }
        Ok(Compiled {
            module,
            how,
            init_fuel: prepared.fuel,
            from_cache: false,
            prepare_time,
            compile_time: start.elapsed().saturating_sub(prepare_time),
            logs: prepared.logs,
        })
    }
}

/// Compiles a prepared module; one that grew beyond what the engine takes when its state was written into it is
/// compiled as it came, and prepared in every instance.
fn compile_prepared(set: &EngineSet, wasm: &[u8], prepared: &Prepared) -> Result<(Module, Preparation), LoadError> {
    let compile = |wasm: &[u8]| Module::new(&set.engine, wasm);
    let result = match compile(&prepared.wasm) {
        Ok(module) => Ok((module, prepared.how)),
        Err(_) if prepared.how == Preparation::Snapshot => {
            crate::pack::strip(wasm).map(|wasm| compile(&wasm).map(|module| (module, Preparation::EveryCall)))?
        }
        Err(e) => Err(e),
    };
    result.map_err(|e| LoadError::Compile { reason: reason(&e) })
}

/// The configuration as the plugin gets it; `None` if there is none.
fn config_json(config: &Value) -> Result<Option<Vec<u8>>, LoadError> {
    if config.is_null() {
        return Ok(None);
    }
    let refused = |e: serde_json::Error| LoadError::ConfigRefused { reason: format!("it is not JSON: {e}") };
    serde_json::to_vec(config).map(Some).map_err(refused)
}

impl Shared {
    /// The engine that runs calls of plugins whose instances come from this kind of pool.
    fn calling_set(&self, pool: Pool) -> Result<Arc<EngineSet>, LoadError> {
        let mut calling = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = calling.get(&pool) {
            return Ok(Arc::clone(set));
        }
        let set = self.set_up(EngineSet::for_calls(pool, self.options.slots, self.options.backtrace));
        // Where addresses are too few for another pool, one of the same size serves as well, if not as fast.
        let set = set.or_else(|error| {
            let other = calling.iter().find(|(other, _)| other.holds_as_much_as(pool));
            other.map(|(_, set)| Arc::clone(set)).ok_or(error)
        })?;
        calling.insert(pool, Arc::clone(&set));
        Ok(set)
    }

    /// The engine that prepares modules.
    fn preparing_set(&self) -> Result<Arc<EngineSet>, LoadError> {
        let mut preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = &*preparing {
            return Ok(Arc::clone(set));
        }
        let set = self.set_up(EngineSet::for_preparing(self.options.backtrace))?;
        *preparing = Some(Arc::clone(&set));
        Ok(set)
    }

    fn set_up(&self, set: wasmtime::Result<EngineSet>) -> Result<Arc<EngineSet>, LoadError> {
        let set = set.map_err(|e| LoadError::Engine { reason: reason(&e) })?;
        self.ticker.add(&set.engine);
        Ok(Arc::new(set))
    }
}
