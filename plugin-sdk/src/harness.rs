//! Tests for plugins in any language: assertions, cases as data, laws with counter-examples, a fuzzer.
//!
//! A plugin under test is a [`Plugin`], loaded from wasm by the host's own runtime or from native code by the SDK. What
//! the harness says about it therefore holds in the host. The files in reading order: `plugin` loads and calls, and
//! gives a `judgement`; `trace` is the answers at each length; `feed` asserts about one input; `cases` are inputs as
//! data; `laws` are what holds for every input; `explore` makes inputs; `differential` compares two builds; `confusion`
//! asks all plugins about the cases of each; `corpus` are captured samples, and `measure` what plugins make of them.
//! Nothing here prints or reads the command line; `portsplit plugin test`, `fuzz` and `run` do that on top of it.
//!
//! ```toml
//! [dev-dependencies]
//! portsplit-plugin-sdk = { version = "0.1", features = ["harness"] }
//! ```
//!
//! # The tests of a detector
//!
//! ```
//! use portsplit_plugin_sdk::prelude::*;
//!
//! config! {
//!     pub struct Settings {
//!         /// Take only letters of kind 1.
//!         strict: bool = false,
//!     }
//! }
//!
//! /// `POST`, a kind, a length and as many lower-case letters.
//! struct Letter {
//!     settings: Settings,
//! }
//!
//! impl Classifier for Letter {
//!     type Config = Settings;
//!
//!     fn new(settings: Settings) -> Result<Self, ConfigError> {
//!         Ok(Letter { settings })
//!     }
//!
//!     fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
//!         let mut c = input.cursor();
//!         c.tag(b"POST")?;
//!         let len = if self.settings.strict {
//!             c.tag(b"\x01")?;
//!             c.u8()?
//!         } else {
//!             c.take(2)?[1]
//!         };
//!         ensure((1..=32).contains(&len))?;
//!         let mut name = [0; 32];
//!         for place in name.iter_mut().take(len.into()) {
//!             *place = c.u8_where(|byte| byte.is_ascii_lowercase())?;
//!         }
//!         facts.add("to", &name[..len.into()]);
//!         Ok(Match)
//!     }
//! }
//!
//! export! {
//!     classifier: Letter,
//!     name: "letter",
//!     description: "A letter to somebody.",
//!     protocols: ["letter"],
//!     max_bytes: 64,
//!     facts: { "to": "whom it is for" },
//!     examples: [Example::bytes(b"POST\x01\x02ab").matches(8).fact("to", "ab")],
//! }
//!
//! // In `#[cfg(test)] mod tests`, each block a test:
//! use portsplit_plugin_sdk::harness::{Cases, Laws, Plugin, differential};
//!
//! // What it says about bytes, when, and at what cost.
//! let letter = Plugin::native(portsplit_plugin()).load()?;
//! letter.feed(b"POST\x01\x02ab").expect_match().decided_at(8).fact("to", "ab");
//! letter.feed(b"GET / HTTP/1.1\r\n").expect_reject().decided_at(1).no_facts();
//! letter.feed(b"POST").expect_undecided().then(b"\x01\x01a").expect_match();
//! letter.feed(b"POST\x01").expect_need_more(6).then_half_close().expect_reject();
//! letter.feed_segments(&[b"PO", b"ST\x01\x02", b"ab"]).expect_match();
//!
//! // What it takes as configuration.
//! let strict = letter.with_config(&serde_json::json!({ "strict": true }))?;
//! strict.feed(b"POST\x02\x02ab").expect_reject().decided_at(5);
//! assert!(letter.with_config(&serde_json::json!({ "strickt": true })).is_err());
//!
//! // The cases, in a file that needs no Rust: see `Cases`.
//! let cases = Cases::parse(r#"
//!     [[case]]
//!     name = "a name in capitals"
//!     text = 'POST\x01\x02AB'
//!     expect = "reject"
//!     decided_at = 7
//! "#, ".")?;
//! cases.check(&letter).assert_passed();
//!
//! // What must hold for every input: see `Law`.
//! Laws::all().over(&cases).random(2_000).check(&letter).assert_kept();
//!
//! // The same as wasm, if it has been built: `Plugin::wasm_file("target/.../letter.wasm")`.
//! # let wasm = wat::parse_str(include_str!("../../tests/bad-plugins/good.wat"))?;
//! let wasm = Plugin::wasm(wasm).load()?;
//! cases.check(&wasm).assert_passed();
//! wasm.feed(b"POST\x01\x02ab").expect_match().fuel_below(1_000);
//! assert!(differential(&letter, &wasm, &cases, 1_000).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Fuzzing
//!
//! [`Laws`] is the fuzzer too: [`Laws::for_time`] makes inputs as long as told, [`Laws::stop_at_first`] ends with the
//! first counter-example, shrunk and ready to paste into `cases.toml`. Inputs are made from the cases and the manifest's
//! examples, from the constants and texts in the module, and from inputs that took a new path, which shows in the fuel.
//! Native code has no fuel, so fuzz the wasm.
//!
//! ```
//! use std::time::Duration;
//! use portsplit_plugin_sdk::harness::{Law, Laws, Plugin};
//!
//! # let wasm = wat::parse_str(include_str!("../../tests/bad-plugins/total.wat"))?;
//! let plugin = Plugin::wasm(wasm).load()?;
//! let report = Laws::all().for_time(Duration::from_secs(60)).stop_at_first().seed(7).check(&plugin);
//! let violation = report.violation(Law::Total).expect("this one traps");
//! println!("{violation}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod judgement;
mod plugin;
mod reuse;
mod text;
mod trace;

mod feed;

mod cases;

mod explore;
mod laws;

mod differential;

mod confusion;
mod corpus;
mod measure;

pub use portsplit_runtime::{Fact, Flags, Manifest, PluginOptions};

pub use self::cases::{Case, CaseError, CaseOutcome, Cases, CasesOutcome, DecidedAt, Expected};
pub use self::confusion::{Confusion, ConfusionRow, Overlap, WrongCell};
pub use self::corpus::{Corpus, CorpusError, Exception, Exceptions, Negative, Origin, Role, Sample};
pub use self::differential::{Difference, differential};
pub use self::feed::Fed;
pub use self::judgement::{Answer, Fault, FaultKind, Judgement};
pub use self::laws::{Law, LawReport, Laws, Report, Violation};
pub use self::measure::{
    Claimed, Disagreement, Failure, LeftOut, Measurement, Missed, Overall, Protocol, Spread, Wrong, measure,
};
pub use self::plugin::{Builder, LoadFailure, Plugin};
pub use self::text::hexdump;
pub use self::trace::Trace;
