//! The one unsafe step of the runtime: turning bytes of the cache into executable code.

use wasmtime::{Engine, Module};

/// Loads code that `Module::serialize` made; `None` if the engine finds that it was made by another version, for other
/// settings or for another processor.
#[allow(unsafe_code, reason = "the engine's way to load compiled code is unsafe, because the code is trusted")]
pub(super) fn load(engine: &Engine, bytes: &[u8]) -> Option<Module> {
    // SAFETY: the bytes must be what `Module::serialize` returned. They were read into our own memory, so they cannot
    // change any more; they come from a file in a directory that only this user can enter, that belongs to this user
    // and is not open to others, and their checksum is the one stored with them by `Cache::store`, the only writer.
    // Whoever could replace them has this user's rights already.
    let module = unsafe { Module::deserialize(engine, bytes) };
    match module {
        Ok(module) => Some(module),
        Err(error) => {
            tracing::debug!(error = %format!("{error:#}"), "cached plugin does not fit this engine");
            None
        }
    }
}
