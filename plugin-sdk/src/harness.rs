//! Tests for plugins, in any language.
mod cases;
mod explore;
mod feed;
mod judgement;
mod laws;
mod plugin;
mod reuse;
mod text;
mod trace;

pub use portsplit_runtime::{Fact, Flags, Manifest, PluginOptions};

pub use self::cases::{Case, CaseError, CaseOutcome, Cases, CasesOutcome, DecidedAt, Expected};
pub use self::feed::Fed;
pub use self::judgement::{Answer, Fault, FaultKind, Judgement};
pub use self::laws::{Law, LawReport, Laws, Report, Violation};
pub use self::plugin::{Builder, LoadFailure, Plugin};
pub use self::text::hexdump;
pub use self::trace::Trace;
