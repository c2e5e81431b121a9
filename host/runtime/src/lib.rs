//! Loads portsplit's WebAssembly classifiers and calls them.
//!
//! A plugin is a core module that keeps to ABI version 1: it exports a buffer and a function that gives the verdict of
//! the bytes in it. [`Runtime::load`] checks, prepares and compiles one; [`Plugin::classify`] runs it on a
//! connection's first bytes, in an instance that is made for the call and gone after it, so that nothing one client
//! sent can reach another. Whatever a module does, loading it or calling it ends with a value of [`LoadError`] or
//! [`CallError`] at worst.
//!
//! This crate is the only one that names the engine, and it opens no socket and reads no file but its own cache. Who
//! calls it decides what a verdict means for a connection.
//!
//! In reading order: [`inspect`] reads a module, `prepare` runs what runs once, `cache` keeps compiled code, `runtime`
//! puts these together, `plugin` makes a call, `guest` and `wasi` are what a plugin may import, `engine` and `ticker`
//! hold the limits.
//!
//! ```
//! use portsplit_runtime::{Flags, PluginOptions, Runtime, RuntimeOptions, Verdict};
//!
//! let wasm = wat::parse_str(r#"(module
//!     (memory (export "memory") 1)
//!     (func (export "portsplit_abi_1"))
//!     (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 16))
//!     (func (export "portsplit_classify") (param i32 i32) (result i64)
//!         (select (i64.const 0x1_0000_0000) (i64.const 0)
//!             (i32.eq (i32.load8_u (i32.const 16)) (i32.const 83)))))"#)?;
//! let runtime = Runtime::new(RuntimeOptions::default())?;
//! let plugin = runtime.load(&wasm, &PluginOptions::default())?;
//! assert_eq!(plugin.classify(b"SSH-2.0", Flags::NONE)?.verdict, Verdict::Match);
//! assert_eq!(plugin.classify(b"GET /", Flags::NONE)?.verdict, Verdict::Reject);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod inspect;
mod manifest;
mod pack;

mod cache;
mod engine;
mod prepare;
mod runtime;
mod ticker;

mod guest;
mod log_gate;
mod outcome;
mod plugin;
mod text;
mod wasi;

mod error;
mod options;

pub use crate::error::{CallError, ContractError, LoadError};
pub use crate::inspect::{ModuleInfo, inspect};
pub use crate::manifest::{Example, ExampleVerdict, FactSpec, Manifest, ManifestError, OneOrMany, SECTION};
pub use crate::options::{PluginOptions, RuntimeOptions};
pub use crate::outcome::{CallStats, Fact, Flags, LogLevel, LogLine, Outcome, Verdict};
pub use crate::pack::{manifest_bytes, pack};
pub use crate::plugin::{Plugin, PluginInfo};
pub use crate::prepare::Preparation;
pub use crate::runtime::Runtime;
