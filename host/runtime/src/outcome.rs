//! What a call takes and gives, as plain values: flags in, verdict, facts, log lines and cost out.
//!
//! Nothing here names the engine; callers match on these types.

use std::fmt;
use std::ops::BitOr;
use std::time::Duration;

/// What the caller knows besides the bytes; the `flags` argument of `portsplit_classify`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

impl Flags {
    /// More bytes may come.
    pub const NONE: Flags = Flags(0);
    /// The client has half-closed: no more bytes will come.
    pub const HALF_CLOSED: Flags = Flags(1);
    /// The buffer is full: no more bytes will be shown.
    pub const BUFFER_FULL: Flags = Flags(2);
    /// The time to decide is up: this is the last call.
    pub const TIME_UP: Flags = Flags(4);

    /// The bits as the plugin sees them.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Flags from bits; bits without a meaning are dropped.
    pub fn from_bits(bits: u32) -> Flags {
        Flags(bits & 7)
    }

    /// Whether every flag of `other` is set.
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no more bytes will be shown, so that need-more can only mean reject.
    pub fn is_last(self) -> bool {
        self.0 != 0
    }
}

impl BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// What a plugin says about the bytes it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes are this plugin's protocol; final.
    Match,
    /// No continuation of the bytes can be this plugin's protocol; final.
    Reject,
    /// Undecided; the answer will not change before this many bytes in all. Always more than were shown: a plugin
    /// that asks for no more than it has, or that does not know (0), is taken to need one byte more.
    NeedMore(usize),
}

impl Verdict {
    /// The verdict once no more bytes will be shown: need-more becomes reject.
    ///
    /// The runtime itself hands on what the plugin said, so that tools can see a plugin that ignores the flags; who
    /// decides a connection calls this.
    pub fn settled(self, flags: Flags) -> Verdict {
        match self {
            Verdict::NeedMore(_) if flags.is_last() => Verdict::Reject,
            verdict => verdict,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Match => f.write_str("match"),
            Verdict::Reject => f.write_str("reject"),
            Verdict::NeedMore(total) => write!(f, "need-more({total})"),
        }
    }
}

/// A name and value the plugin learnt, such as `sni`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// `[a-z][a-z0-9_.-]{0,31}`; may occur more than once in an outcome.
    pub name: String,
    /// At most 1 KiB as given. UTF-8 without control characters is kept as it is; anything else has control
    /// characters and bytes outside UTF-8 written as `\xNN` and backslashes doubled, so it is always printable.
    pub value: String,
}

/// How serious a plugin says a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// 0: something the plugin's author should mend.
    Error,
    /// 1: unexpected, handled.
    Warn,
    /// 2: worth knowing; also what the plugin writes to WASI's standard output and error.
    Info,
    /// 3: for the author.
    Debug,
    /// 4 and above: every step.
    Trace,
}

impl LogLevel {
    /// The level for the number a plugin passed; what is not known is `Trace`.
    pub(crate) fn from_number(number: i32) -> LogLevel {
        match number {
            0 => LogLevel::Error,
            1 => LogLevel::Warn,
            2 => LogLevel::Info,
            3 => LogLevel::Debug,
            _ => LogLevel::Trace,
        }
    }

    /// The lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// One line a plugin logged during a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How serious the plugin says it is.
    pub level: LogLevel,
    /// The text, cut at 1 KiB, with control characters and bytes outside UTF-8 escaped as `\xNN`.
    pub message: String,
}

/// A call that ended as the contract asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the plugin said.
    pub verdict: Verdict,
    /// What it learnt, in the order it said so; empty unless the verdict is [`Verdict::Match`].
    pub facts: Vec<Fact>,
    /// What it logged, at most 16 lines.
    pub logs: Vec<LogLine>,
    /// The argument beside the tag as the plugin returned it: the hint of need-more, before it is made sense of.
    pub argument: u32,
}

/// What a call cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallStats {
    /// Fuel used, preparation not included.
    pub fuel: u64,
    /// Linear memory at the end of the call, in bytes.
    pub memory_bytes: usize,
    /// Wall time from the request to the end of the instance's life.
    pub duration: Duration,
    /// Lines logged, also by a call that failed; at most 16.
    pub logs: Vec<LogLine>,
}
