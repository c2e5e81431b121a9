//! The host's side of a running plugin: the state one instance has, and the functions it may import.
//!
//! Everything a plugin passes is a number of its own choosing; each pointer is checked against its memory, each length
//! against a limit, and the host's own work is paid for with the plugin's fuel.

use std::time::Duration;

use wasmtime::{
    Caller, Extern, Linker, Memory, StoreContextMut, StoreLimits, StoreLimitsBuilder, Trap, UpdateDeadline,
};

use crate::error::ContractError;
use crate::inspect::MAX_TABLE_ELEMENTS;
use crate::outcome::{Fact, LogLevel, LogLine};
use crate::text::{MAX_TEXT_BYTES, is_fact_name, printable};
use crate::ticker::TICK;
use crate::wasi::Wasi;

/// Facts one call may give: a TLS hello has three kinds, a few of them repeated.
const MAX_FACTS: usize = 16;

/// Bytes a fact's value may have: four times the longest host name.
const MAX_FACT_BYTES: u32 = 1024;

/// Lines kept of one call.
const MAX_LOG_LINES: usize = 16;

/// Fuel an import costs besides one unit per byte handed over: about what the host's work takes in time.
const IMPORT_FUEL: u64 = 100;

/// Ticks until the deadline is looked at for the first time.
const FIRST_TICKS: u64 = 2;

/// What one instance has on the host's side.
pub(crate) struct CallState {
    limits: StoreLimits,
    /// The plugin's memory, once instantiated.
    pub(crate) memory: Option<Memory>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) logs: Vec<LogLine>,
    /// Lines that were not kept.
    pub(crate) logs_dropped: u32,
    /// What the plugin passed to `portsplit.fail`.
    pub(crate) failure: Option<String>,
    /// Made at the first WASI call.
    pub(crate) wasi: Option<Box<Wasi>>,
    deadline: Deadline,
}

/// How long the instance may keep a processor.
struct Deadline {
    /// CPU time allowed after the first look.
    after_first: Duration,
    /// This thread's CPU time at the first look.
    first: Option<Duration>,
    /// Looks since then.
    looks: u32,
}

/// Ends a call from within an import; found again in the error the call returns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("{0}")]
    Contract(ContractError),
    #[error("{0}")]
    Abort(String),
}

impl CallState {
    pub(crate) fn new(memory_bytes: usize) -> CallState {
        let limits = StoreLimitsBuilder::new()
            .memory_size(memory_bytes)
            .table_elements(MAX_TABLE_ELEMENTS as usize)
            .instances(1)
            .memories(1)
            .tables(1)
            .build();
        CallState {
            limits,
            memory: None,
            facts: Vec::new(),
            logs: Vec::new(),
            logs_dropped: 0,
            failure: None,
            wasi: None,
            deadline: Deadline { after_first: Duration::ZERO, first: None, looks: 0 },
        }
    }

    fn log(&mut self, level: LogLevel, bytes: &[u8]) {
        if self.logs.len() < MAX_LOG_LINES {
            let kept = bytes.get(..MAX_TEXT_BYTES).unwrap_or(bytes);
            self.logs.push(LogLine { level, message: printable(kept) });
        } else {
            self.logs_dropped += 1;
        }
    }

    /// What the plugin said before it failed: its `portsplit.fail` message, else what it wrote through WASI.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        let output = || {
            let output = self.wasi.as_ref()?.output();
            let start = output.len().saturating_sub(MAX_TEXT_BYTES);
            output.get(start..).filter(|tail| !tail.is_empty()).map(|tail| printable(tail.trim_ascii()))
        };
        self.failure.take().or_else(output)
    }

    /// Moves what was written to WASI's standard output and error into the log, line by line.
    pub(crate) fn take_wasi_output(&mut self) {
        let Some(wasi) = &self.wasi else { return };
        let output = wasi.output();
        for line in output.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            self.log(LogLevel::Info, line);
        }
    }
}

/// Puts the limits on a store, and starts a stage with this much fuel and CPU time.
pub(crate) fn arm(store: &mut wasmtime::Store<CallState>, fuel: u64, deadline: Duration) -> wasmtime::Result<()> {
    store.limiter(|state| &mut state.limits);
    store.set_fuel(fuel)?;
    store.data_mut().deadline =
        Deadline { after_first: deadline.saturating_sub(TICK * FIRST_TICKS as u32), first: None, looks: 0 };
    store.set_epoch_deadline(FIRST_TICKS);
    store.epoch_deadline_callback(at_deadline);
    Ok(())
}

/// Decides, each tick from the second on, whether the plugin may go on.
///
/// What counts is the CPU time of this thread, not the clock on the wall: a call that the kernel sets aside for another
/// process must not end differently from one that it does not. On a virtual machine CPU time also passes while the host
/// runs somebody else, so the plugin must have been seen at as many ticks, too.
fn at_deadline(mut store: StoreContextMut<'_, CallState>) -> wasmtime::Result<UpdateDeadline> {
    let now = thread_cpu_time();
    let deadline = &mut store.data_mut().deadline;
    let Some(first) = deadline.first else {
        deadline.first = Some(now);
        return Ok(UpdateDeadline::Continue(1));
    };
    deadline.looks += 1;
    let spent = now.saturating_sub(first) >= deadline.after_first && TICK * deadline.looks >= deadline.after_first;
    Ok(if spent { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(1) })
}

/// Asked of the C library rather than of rustix, which looks for the kernel's clock in memory that valgrind keeps from the
/// programs it runs, and `benches/instructions` runs this one.
fn thread_cpu_time() -> Duration {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    nix::time::clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// Defines `portsplit.fact`, `portsplit.log`, `portsplit.fail` and `env.abort`.
pub(crate) fn define_imports(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.func_wrap("portsplit", "fact", fact)?;
    linker.func_wrap("portsplit", "log", log)?;
    linker.func_wrap("portsplit", "fail", fail)?;
    linker.func_wrap("env", "abort", abort)?;
    Ok(())
}

/// Takes fuel for the host's work, or ends the call as if the plugin had run out by itself.
pub(crate) fn charge(caller: &mut Caller<'_, CallState>, bytes: u32) -> wasmtime::Result<()> {
    let cost = IMPORT_FUEL + u64::from(bytes);
    match caller.get_fuel()?.checked_sub(cost) {
        Some(rest) => caller.set_fuel(rest),
        None => {
            caller.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

fn broken(error: ContractError) -> wasmtime::Error {
    wasmtime::Error::new(Stop::Contract(error))
}

/// The plugin's memory; before instantiation has ended it is looked up by name.
pub(crate) fn memory_of(caller: &mut Caller<'_, CallState>) -> Option<Memory> {
    caller.data().memory.or_else(|| caller.get_export("memory").and_then(Extern::into_memory))
}

fn read<'a>(
    caller: &'a mut Caller<'_, CallState>,
    import: &'static str,
    ptr: u32,
    len: u32,
) -> wasmtime::Result<(&'a [u8], &'a mut CallState)> {
    let outside = || broken(ContractError::PointerOutOfBounds { import, ptr, len });
    let memory = memory_of(caller).ok_or_else(outside)?;
    let (data, state) = memory.data_and_store_mut(caller);
    let bytes = (ptr as usize).checked_add(len as usize).and_then(|end| data.get(ptr as usize..end));
    Ok((bytes.ok_or_else(outside)?, state))
}

fn fact(mut caller: Caller<'_, CallState>, kptr: u32, klen: u32, vptr: u32, vlen: u32) -> wasmtime::Result<i32> {
    const IMPORT: &str = "portsplit.fact";
    charge(&mut caller, vlen.min(MAX_FACT_BYTES))?;
    if klen > 32 {
        let name = format!("{klen} bytes");
        return Err(broken(ContractError::FactName { name }));
    }
    let (key, state) = read(&mut caller, IMPORT, kptr, klen)?;
    if state.facts.len() >= MAX_FACTS {
        return Err(broken(ContractError::TooManyFacts));
    }
    let name = printable(key);
    if !is_fact_name(key) {
        return Err(broken(ContractError::FactName { name }));
    }
    if vlen > MAX_FACT_BYTES {
        return Err(broken(ContractError::FactTooLong { name, len: vlen }));
    }
    let (value, state) = read(&mut caller, IMPORT, vptr, vlen)?;
    let value = printable(value);
    state.facts.push(Fact { name, value });
    Ok(0)
}

fn log(mut caller: Caller<'_, CallState>, level: i32, ptr: u32, len: u32) -> wasmtime::Result<()> {
    charge(&mut caller, len.min(MAX_TEXT_BYTES as u32))?;
    let (bytes, state) = read(&mut caller, "portsplit.log", ptr, len)?;
    state.log(LogLevel::from_number(level), bytes);
    Ok(())
}

fn fail(mut caller: Caller<'_, CallState>, ptr: u32, len: u32) -> wasmtime::Result<()> {
    charge(&mut caller, len.min(MAX_TEXT_BYTES as u32))?;
    let (bytes, state) = read(&mut caller, "portsplit.fail", ptr, len)?;
    state.failure = Some(printable(bytes.get(..MAX_TEXT_BYTES).unwrap_or(bytes)));
    Ok(())
}

/// AssemblyScript's way to give up: pointers to a message and a file name, both UTF-16 with the length in bytes before
/// the text.
fn abort(mut caller: Caller<'_, CallState>, message: u32, file: u32, line: u32, column: u32) -> wasmtime::Result<()> {
    charge(&mut caller, 0)?;
    let message = utf16_string(&mut caller, message).unwrap_or_else(|| "without a message".to_owned());
    let place = utf16_string(&mut caller, file).map(|file| format!(" at {file}:{line}:{column}")).unwrap_or_default();
    Err(wasmtime::Error::new(Stop::Abort(printable(format!("{message}{place}").as_bytes()))))
}

/// Reads an AssemblyScript string, cut at 1 KiB; `None` for null or a pointer that makes no sense.
fn utf16_string(caller: &mut Caller<'_, CallState>, ptr: u32) -> Option<String> {
    let at = ptr.checked_sub(4)?;
    let (header, _) = read(caller, "env.abort", at, 4).ok()?;
    let len = u32::from_le_bytes(header.try_into().ok()?).min(MAX_TEXT_BYTES as u32) & !1;
    let (bytes, _) = read(caller, "env.abort", ptr, len).ok()?;
    let units: Vec<u16> = bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    Some(String::from_utf16_lossy(&units))
}
