//! The boundary between a plugin and its host in wasm: the imports, the buffer and the one instance. All unsafe code
//! of the SDK is here; [`export!`](crate::export!) uses it, nobody else should.
//!
//! A plugin instance has one thread and the host makes one call at a time, which is what every `SAFETY` comment below
//! rests on.
#![allow(unsafe_code)] // Linear memory is shared with the host by pointer and length, which Rust cannot check.

use core::cell::UnsafeCell;

use crate::{Classifier, ConfigError, Facts, Input, Level, Text, Verdict, from_json};

#[link(wasm_import_module = "portsplit")]
unsafe extern "C" {
    #[link_name = "fact"]
    fn host_fact(name: *const u8, name_len: usize, value: *const u8, value_len: usize) -> i32;
    #[link_name = "log"]
    fn host_log(level: i32, line: *const u8, len: usize);
    #[link_name = "fail"]
    fn host_fail(message: *const u8, len: usize);
}

pub(crate) fn fact(name: &str, value: &[u8]) {
    // SAFETY: both pointers and lengths come from slices that outlive the call, and the host only reads.
    let _ = unsafe { host_fact(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

pub(crate) fn log(level: Level, line: &str) {
    // SAFETY: the pointer and length come from a slice that outlives the call, and the host only reads.
    unsafe { host_log(level as i32, line.as_ptr(), line.len()) }
}

fn fail(message: &str) {
    // SAFETY: the pointer and length come from a slice that outlives the call, and the host only reads.
    unsafe { host_fail(message.as_ptr(), message.len()) }
}

/// Tells the host where the plugin panicked, and stops.
pub fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut message = Text::<160>::new();
    message.push_cut("panicked");
    if let Some(place) = info.location() {
        message.push_cut(" at ");
        message.push_cut(place.file());
        message.push_cut(":");
        push_number(&mut message, place.line());
    }
    if let Some(reason) = info.message().as_str() {
        message.push_cut(": ");
        message.push_cut(reason);
    }
    fail(&message);
    core::arch::wasm32::unreachable()
}

fn push_number<const N: usize>(text: &mut Text<N>, number: u32) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    let digit = [b'0' + (number % 10) as u8];
    text.push_cut(core::str::from_utf8(&digit).unwrap_or_default());
}

/// The memory the host writes to. Kept apart from [`Instance`] so that it is zero and takes no room in the module.
pub struct Buffer<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: an instance has one thread.
unsafe impl<const N: usize> Sync for Buffer<N> {}

impl<const N: usize> Buffer<N> {
    /// All zeros.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Buffer(UnsafeCell::new([0; N]))
    }

    /// `portsplit_buffer`: where to write `len` bytes, null if there is no room for them.
    pub fn reserve(&self, len: usize) -> *mut u8 {
        if len <= N { self.0.get().cast() } else { core::ptr::null_mut() }
    }

    fn bytes(&self, len: usize) -> &[u8] {
        // SAFETY: the host writes only between calls, so nothing changes while this reference lives, and the plugin
        // itself never writes here.
        let all: &[u8; N] = unsafe { &*self.0.get() };
        all.get(..len).unwrap_or(all)
    }
}

/// The configured classifier.
pub struct Instance<C>(UnsafeCell<Option<C>>);

// SAFETY: an instance has one thread.
unsafe impl<C> Sync for Instance<C> {}

impl<C: Classifier> Instance<C> {
    /// Not configured yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Instance(UnsafeCell::new(None))
    }

    /// `portsplit_configure`: 0 if the classifier accepts the JSON in the buffer.
    pub fn configure<const N: usize>(&self, buffer: &Buffer<N>, len: usize) -> i32 {
        let made = make(buffer.bytes(len));
        match made {
            Ok(classifier) => {
                // SAFETY: no other call is in progress, so there is no reference to what is replaced.
                unsafe { *self.0.get() = Some(classifier) };
                0
            }
            Err(error) => {
                refuse(&error);
                1
            }
        }
    }

    /// `portsplit_classify`: the verdict of the first `len` bytes of the buffer. Without a configuration the classifier
    /// gets the one of an empty table, and if it refuses that, this traps with its reason.
    pub fn classify<const N: usize>(&self, buffer: &Buffer<N>, len: usize, flags: u32, max_bytes: usize) -> i64 {
        // SAFETY: no other call is in progress, so nothing replaces the classifier while this reference lives.
        let configured = unsafe { &*self.0.get() };
        let input = Input::with_flags(buffer.bytes(len.min(max_bytes)), flags);
        let mut facts = Facts::new();
        // One call for both cases, or the whole classifier would be in the module twice.
        let unconfigured: C;
        let classifier = match configured {
            Some(classifier) => classifier,
            None => match make(b"{}") {
                Ok(classifier) => {
                    unconfigured = classifier;
                    &unconfigured
                }
                Err(error) => {
                    refuse(&error);
                    core::arch::wasm32::unreachable()
                }
            },
        };
        let answer = classifier.classify(input, &mut facts);
        Verdict::settle(answer, input, max_bytes).to_abi()
    }
}

#[inline(never)]
fn make<C: Classifier>(json: &[u8]) -> Result<C, ConfigError> {
    let json = core::str::from_utf8(json).map_err(|_| ConfigError::new("is not UTF-8"))?;
    from_json(json).and_then(C::new)
}

fn refuse(error: &ConfigError) {
    let mut message = Text::<240>::new();
    error.pieces(|piece| message.push_cut(piece));
    fail(&message);
}
