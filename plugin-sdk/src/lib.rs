//! Write a classifier for portsplit in Rust: code that is shown the first bytes of a connection and says whether they
//! are its protocol.
//!
//! This crate owns what an author types: [`Classifier`], the [`Cursor`] that reads bytes, [`Facts`], typed
//! configuration ([`config!`]) and the macro that makes a plugin of it ([`export!`]). It does not load or run plugins.
//! It needs neither `std` nor an allocator nor any other crate, and it builds for `wasm32-unknown-unknown`, where it
//! becomes a small module without WASI, and for the machine it is written on, where the same detector is tested and
//! debugged as an ordinary library.
//!
//! # A complete detector
//!
//! MQTT clients begin with a CONNECT packet: the byte `10`, the length of the rest, the protocol's name and level,
//! flags, a timeout, and the client's identifier. This detector recognises it, teaches `client` and `level`, and takes
//! the levels to accept as configuration.
//!
//! ```
//! #![cfg_attr(target_arch = "wasm32", no_std)]
//! use portsplit_plugin_sdk::prelude::*;
//!
//! config! {
//!     /// What this detector accepts.
//!     pub struct Settings {
//!         /// The lowest protocol level: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.
//!         least_level: u8 = 3,
//!     }
//! }
//!
//! struct Mqtt {
//!     settings: Settings,
//! }
//!
//! impl Classifier for Mqtt {
//!     type Config = Settings;
//!
//!     fn new(settings: Settings) -> Result<Self, ConfigError> {
//!         if settings.least_level > 5 {
//!             return Err(ConfigError::new("must be at most 5").at("least_level"));
//!         }
//!         Ok(Mqtt { settings })
//!     }
//!
//!     fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
//!         let mut c = input.cursor();
//!         c.tag(b"\x10")?;
//!         let len = c.varint(4)?;
//!         c.part(len as usize, |c| {
//!             // "MQTT" since 3.1.1, "MQIsdp" in 3.1, each with its length before it.
//!             c.one_of(&[b"\x00\x04MQTT", b"\x00\x06MQIsdp"])?;
//!             let level = c.u8_in(self.settings.least_level..=5)?;
//!             c.u8_where(|flags| flags & 1 == 0)?; // the lowest flag is reserved
//!             c.skip(2)?; // keep-alive
//!             if level == 5 {
//!                 let len = c.varint(4)?;
//!                 c.skip(len as usize)?; // properties
//!             }
//!             let len = c.u16_be_in(0..=256)?;
//!             facts.add("client", c.take(len.into())?);
//!             facts.add("level", [b'0' + level]);
//!             c.skip_rest() // will, user name, password
//!         })?;
//!         Ok(Match)
//!     }
//! }
//!
//! export! {
//!     classifier: Mqtt,
//!     name: "mqtt",
//!     description: "MQTT 3.1, 3.1.1 and 5: the client's CONNECT packet.",
//!     protocols: ["mqtt"],
//!     max_bytes: 4096,
//!     facts: { "client": "the client identifier", "level": "3, 4 or 5" },
//!     cannot_see: ["a CONNECT packet of more than 4096 bytes is rejected"],
//!     examples: [
//!         Example::bytes(b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02ab").matches(16).fact("client", "ab"),
//!         Example::text("GET / HTTP/1.1\r\n").rejects(1),
//!     ],
//! }
//!
//! // In a test module of the same crate, natively, without any wasm toolchain:
//! let connect = b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02ab";
//! let mqtt = portsplit_plugin().configure("{}")?;
//! let decided = mqtt.decide(connect);
//! assert_eq!((decided.verdict, decided.at), (Verdict::Match, 16));
//! assert_eq!(decided.fact("client").as_deref(), Some("ab"));
//!
//! assert_eq!(mqtt.decide(b"\x10\x0e\0\x04MQTX").at, 8); // rejected at the X
//! assert_eq!(mqtt.classify(Input::new(b"\x10\x0e")).verdict, Verdict::NeedMore(3));
//!
//! let only_5 = portsplit_plugin().configure(r#"{"least_level": 5}"#)?;
//! assert_eq!(only_5.decide(connect).verdict, Verdict::Reject);
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! `Cargo.toml` needs this, and `cargo build --release --target wasm32-unknown-unknown` makes the plugin:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"]      # the plugin, and the library that tests use
//!
//! [dependencies]
//! portsplit-plugin-sdk = "0.1"
//!
//! [profile.release]
//! opt-level = "z"
//! lto = true
//! codegen-units = 1
//! panic = "abort"
//! strip = true
//! ```
//!
//! Give the linker `-zstack-size=16384` (`RUSTFLAGS=-Clink-arg=-zstack-size=16384`): the usual stack of 1 MiB would make
//! every instance bigger than it need be, and the host makes one for every call.
//!
//! # What a classifier promises
//!
//! - **Three answers.** `Ok(Match)` and `Err(Reject)` are final. `Err(NeedMore(n))` says that the answer cannot change
//!   before there are `n` bytes in all. The host always shows the bytes from the first one on.
//! - **Reject at once.** Another service may be waiting for this answer. As soon as no continuation can be the
//!   protocol, reject; the cursor's reads do so if values are checked by the read
//!   ([`u16_be_in`](Cursor::u16_be_in) rather than [`u16_be`](Cursor::u16_be) and an `if`).
//! - **Match when everything is known.** The first match is the last call, and the facts of that call are the ones that
//!   count. If a fact can still grow with the next byte, ask for more.
//! - **Pure.** The same configuration, bytes and flags give the same answer. Each call runs in a fresh copy of the
//!   configured plugin, so nothing can be remembered.
//! - **Bounded.** Every loop reads bytes of the input or has a limit; the host counts instructions.
//!
//! A parser that is a straight line of cursor reads with `?`, that does not ask how many bytes there are, keeps the
//! first four. [`Cursor::either`] and [`Cursor::one_of`] are for formats with alternatives, [`Cursor::part`] for what a
//! length covers, [`Cursor::framed`] for messages cut into records.
//!
//! # Configuration
//!
//! `[plugins.NAME] config = { … }` in portsplit's configuration arrives as the struct that [`config!`] declares. Unknown
//! keys, values of a wrong type and missing required keys are refused by name before [`Classifier::new`] is called,
//! which refuses combinations that make no sense. The manifest carries the schema. Write `type Config = ();` for none.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `harness` | `harness`: tests for this plugin, native and as wasm; for `[dev-dependencies]` |
//! | `std` | nothing but leaves the panic handler to `std`, for plugins that use it in wasm |
#![cfg_attr(not(feature = "harness"), no_std)]

#[cfg(not(target_arch = "wasm32"))]
extern crate std;

mod classifier;
mod config;
mod cursor;
mod export;
mod facts;
#[cfg(all(feature = "harness", not(target_arch = "wasm32")))]
pub mod harness;
mod input;
mod log;
mod manifest;
#[cfg(not(target_arch = "wasm32"))]
pub mod native;
pub mod prelude;
mod verdict;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wasm;

pub use self::classifier::Classifier;
pub use self::config::{Config, ConfigError, Key, List, Schema, Text, from_json, json};
pub use self::cursor::{Contiguous, Cursor, Framing};
pub use self::facts::{Facts, MAX_FACT_BYTES, MAX_FACTS};
pub use self::input::Input;
pub use self::log::{Level, log};
pub use self::manifest::{Example, FactSpec, JsonText, Manifest, manifest_json};
pub use self::verdict::{Answer, Match, Stop, Verdict, ensure};
