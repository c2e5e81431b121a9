//! WASI preview 1 with nothing granted: no files, arguments, environment or sockets; clocks that stand still and
//! randomness that repeats; what is written to standard output and error goes to the log.
//!
//! The functions are wasmtime-wasi's, except `poll_oneoff`, which would really wait.

use wasmtime::{Caller, Linker, Memory};
use wasmtime_wasi::p1::{WasiP1Ctx, add_to_linker_async};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtxBuilder};

use crate::guest::{CallState, charge, memory_of};

/// Bytes a call may write to standard output and error together; more fails inside the plugin.
const OUTPUT_BYTES: usize = 4096;

/// Subscriptions one `poll_oneoff` may have.
const MAX_SUBSCRIPTIONS: u32 = 64;

/// One instance's WASI state.
pub(crate) struct Wasi {
    ctx: WasiP1Ctx,
    output: MemoryOutputPipe,
}

/// The only moment there is: one second after zero, because Go takes zero for a broken clock.
struct Standstill;

impl HostWallClock for Standstill {
    fn resolution(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(1)
    }

    fn now(&self) -> std::time::Duration {
        std::time::Duration::from_secs(1)
    }
}

impl HostMonotonicClock for Standstill {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        1_000_000_000
    }
}

impl Wasi {
    fn new() -> Wasi {
        let output = MemoryOutputPipe::new(OUTPUT_BYTES);
        let mut builder = WasiCtxBuilder::new();
        // Every source of difference between two runs is replaced; the rest of the builder's defaults grant nothing.
        builder
            .stdout(output.clone())
            .stderr(output.clone())
            .wall_clock(Standstill)
            .monotonic_clock(Standstill)
            .secure_random(Deterministic::new(RANDOM.to_vec()))
            .insecure_random(Deterministic::new(RANDOM.to_vec()))
            .insecure_random_seed(0)
            .max_random_size(64 << 10)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        Wasi { ctx: builder.build_p1(), output }
    }

    /// What the plugin wrote so far.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.output.contents().to_vec()
    }
}

/// What `random_get` repeats: sixteen bytes that look like none in particular.
const RANDOM: [u8; 16] =
    [0x9e, 0x37, 0x79, 0xb9, 0x7f, 0x4a, 0x7c, 0x15, 0xf3, 0x9c, 0xc0, 0x60, 0x5c, 0xed, 0xc8, 0x34];

/// Defines `wasi_snapshot_preview1`.
///
/// The asynchronous variant is used because the synchronous one would block on a runtime of its own, which panics on a
/// thread that already drives one. Nothing granted ever waits, so the futures are ready at once.
pub(crate) fn define_imports(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    add_to_linker_async(linker, |state: &mut CallState| {
        &mut state.wasi.get_or_insert_with(|| Box::new(Wasi::new())).ctx
    })?;
    linker.allow_shadowing(true);
    linker.func_wrap("wasi_snapshot_preview1", "poll_oneoff", poll_oneoff)?;
    linker.allow_shadowing(false);
    Ok(())
}

const ERRNO_SUCCESS: i32 = 0;
const ERRNO_FAULT: i32 = 21;
const ERRNO_INVAL: i32 = 28;
const ERRNO_NOTSUP: u16 = 58;

/// Answers every subscription at once: time does not pass here, so a clock has always come as far as it will, and there
/// is nothing else to wait for.
fn poll_oneoff(
    mut caller: Caller<'_, CallState>,
    subs: u32,
    events: u32,
    count: u32,
    nevents: u32,
) -> wasmtime::Result<i32> {
    charge(&mut caller, count.min(MAX_SUBSCRIPTIONS) * 32)?;
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Ok(ERRNO_INVAL);
    }
    let Some(memory) = memory_of(&mut caller) else { return Ok(ERRNO_FAULT) };
    match answer(&mut caller, memory, subs, events, count, nevents) {
        Some(()) => Ok(ERRNO_SUCCESS),
        None => Ok(ERRNO_FAULT),
    }
}

fn answer(
    caller: &mut Caller<'_, CallState>,
    memory: Memory,
    subs: u32,
    events: u32,
    count: u32,
    nevents: u32,
) -> Option<()> {
    const SUBSCRIPTION: usize = 48;
    const EVENT: usize = 32;
    const CLOCK: u8 = 0;
    for i in 0..count as usize {
        let mut subscription = [0; SUBSCRIPTION];
        memory.read(&mut *caller, subs as usize + i * SUBSCRIPTION, &mut subscription).ok()?;
        // Layout of both: user data (8 bytes), then here the kind, there an error number (2 bytes) and the kind.
        let (user_data, rest) = subscription.split_first_chunk::<8>()?;
        let kind = *rest.first()?;
        let errno = if kind == CLOCK { 0 } else { ERRNO_NOTSUP };
        let mut event = [0; EVENT];
        event.get_mut(..8)?.copy_from_slice(user_data);
        event.get_mut(8..10)?.copy_from_slice(&errno.to_le_bytes());
        *event.get_mut(10)? = kind;
        memory.write(&mut *caller, events as usize + i * EVENT, &event).ok()?;
    }
    memory.write(&mut *caller, nevents as usize, &count.to_le_bytes()).ok()
}
