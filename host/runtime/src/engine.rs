//! The engines: how code is compiled, which WebAssembly is understood, and the pools instances come from.
//!
//! One engine prepares modules at load and is not pooled. The others run calls, one for each kind of pool in use
//! ([`Pool`]), so that a plugin with a raised `memory` does not make the slots of all others larger.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, Linker, OperatorCost, OptLevel, PoolingAllocationConfig,
    WasmFeatures,
};

use crate::guest::{self, CallState};
use crate::inspect::MAX_TABLE_ELEMENTS;
use crate::options::PluginOptions;
use crate::wasi;

/// Version of the cache's contents: raised whenever the same module would be prepared differently.
pub(crate) const SETTINGS_VERSION: u32 = 2;

/// Memory of an instance that is cleared in place instead of being given back to the kernel, where the kernel can tell
/// which pages were written (Linux 6.7). Enough for Go's working set.
const KEEP_RESIDENT_SCANNED: usize = 1 << 20;

/// The same where it cannot, or need not: up to this size it takes less time to clear everything than to ask, 1.5 µs
/// less for the one page that a detector in Rust or C has.
const KEEP_RESIDENT_CLEARED: usize = 128 << 10;

/// Stack a plugin may use. Rust and C keep their own stack in linear memory, so this holds only call frames.
const STACK_BYTES: usize = 256 << 10;

/// An engine and what modules are linked with.
pub(crate) struct EngineSet {
    pub(crate) engine: Engine,
    /// `portsplit` and `env`.
    pub(crate) plain: Linker<CallState>,
    /// The same and WASI; its functions are asynchronous.
    pub(crate) wasi: Linker<CallState>,
}

impl EngineSet {
    /// The engine that runs start functions, `_initialize` and `portsplit_configure` once.
    pub(crate) fn for_preparing(backtrace: bool) -> wasmtime::Result<EngineSet> {
        let mut config = config(backtrace);
        // The code runs once, so the time to compile it matters more than how fast it is.
        config.cranelift_opt_level(OptLevel::None);
        config.memory_reservation(64 << 20).memory_guard_size(64 << 10);
        EngineSet::link(Engine::new(&config)?)
    }

    /// An engine for calls whose instances come from a pool of this kind.
    pub(crate) fn for_calls(pool: Pool, slots: u32, backtrace: bool) -> wasmtime::Result<EngineSet> {
        let mut config = config(backtrace);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool.config(slots))).memory_init_cow(true);
        // The usual 4 GiB of address space a slot makes bounds checks unnecessary. Where addresses are limited
        // (`ulimit -v`, a container), a slot takes what it can use and the checks are compiled in.
        let engine = Engine::new(&config).or_else(|_| {
            config.memory_reservation(pool.memory_bytes as u64).memory_guard_size(64 << 10);
            Engine::new(&config)
        })?;
        EngineSet::link(engine)
    }

    fn link(engine: Engine) -> wasmtime::Result<EngineSet> {
        let mut plain = Linker::new(&engine);
        guest::define_imports(&mut plain)?;
        let mut wasi = Linker::new(&engine);
        guest::define_imports(&mut wasi)?;
        wasi::define_imports(&mut wasi)?;
        Ok(EngineSet { engine, plain, wasi })
    }

    pub(crate) fn linker(&self, uses_wasi: bool) -> &Linker<CallState> {
        if uses_wasi { &self.wasi } else { &self.plain }
    }
}

/// A kind of pool: what its slots have room for, and how they are made like new after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pool {
    /// The most memory of an instance: a power of two, at least the default limit.
    memory_bytes: usize,
    /// Whether the kernel is asked which pages were written, instead of clearing all of them.
    scans: bool,
}

impl Pool {
    /// The kind for a plugin that may have `limit` bytes of memory and starts with `initial`.
    pub(crate) fn of(limit: usize, initial: u64) -> Pool {
        let memory_bytes = limit.max(PluginOptions::DEFAULT_MEMORY_BYTES).next_power_of_two();
        let is_large = initial > KEEP_RESIDENT_CLEARED as u64;
        Pool { memory_bytes, scans: is_large && PoolingAllocationConfig::is_pagemap_scan_available() }
    }

    pub(crate) fn holds_as_much_as(self, other: Pool) -> bool {
        self.memory_bytes == other.memory_bytes
    }

    fn config(self, slots: u32) -> PoolingAllocationConfig {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_core_instances(slots)
            .total_memories(slots)
            .total_tables(slots)
            .total_stacks(slots)
            .total_component_instances(1)
            .max_memories_per_module(1)
            .max_tables_per_module(1)
            .max_memory_size(self.memory_bytes)
            .table_elements(MAX_TABLE_ELEMENTS as usize)
            .linear_memory_keep_resident(if self.scans { KEEP_RESIDENT_SCANNED } else { KEEP_RESIDENT_CLEARED })
            .table_keep_resident(16 << 10)
            .async_stack_keep_resident(16 << 10)
            .pagemap_scan(if self.scans { Enabled::Yes } else { Enabled::No })
            // A slot that keeps its module needs no new mapping when the same module comes again.
            .max_unused_warm_slots(slots);
        pool
    }
}

/// What all engines have in common: the same WebAssembly, the same counting of fuel, the same results.
fn config(backtrace: bool) -> Config {
    let mut config = Config::new();
    // A loop that only jumps to its start is the fastest way to use time without fuel: it pays for the checks as well.
    let mut fuel = OperatorCost::new();
    (fuel.Br, fuel.BrIf, fuel.BrTable) = (3, 2, 2);
    config
        .consume_fuel(true)
        .operator_cost(fuel)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(STACK_BYTES + (256 << 10))
        .wasm_backtrace_max_frames(if backtrace { NonZeroUsize::new(20) } else { None })
        // Two proposals with results that depend on the machine, and several that no compiler emits by default.
        .wasm_features(WasmFeatures::RELAXED_SIMD, false)
        .wasm_features(WasmFeatures::MEMORY64, false)
        .wasm_features(WasmFeatures::MULTI_MEMORY, false)
        .wasm_features(WasmFeatures::CUSTOM_PAGE_SIZES, false)
        .wasm_features(WasmFeatures::WIDE_ARITHMETIC, false);
    config
}
