//! The settings that are one number, one size or one duration: meaning, unit, range, default and why.
//!
//! Every range ends where a value stops making sense, so that a slip of the finger (`5000s`) is noticed at load.

use std::time::Duration;

use toml::Spanned;

use super::error::{Reporter, printable};
use super::fields::listed;
use super::raw::RawConfig;
use super::schema::closest;
use super::units;
use super::{Limits, Log, LogFormat, Splice};

/// A duration's key, default and range.
pub(super) struct DurationRule {
    pub(super) key: &'static str,
    pub(super) default: Duration,
    pub(super) max: Duration,
    /// What a zero means; if nothing, why not.
    pub(super) zero: Zero,
}

/// Whether a setting can be zero.
#[derive(Clone, Copy)]
pub(super) enum Zero {
    /// Zero has a meaning of its own, which this advice to who wrote too much tells.
    Allowed(&'static str),
    /// Zero is refused with this advice.
    Refused(&'static str),
}

/// What zero means to most.
const FOR_EVER: Zero = Zero::Allowed("write \"0s\" to wait for ever");

const HOUR: Duration = Duration::from_secs(3600);

/// From accept to a decision. An hour is longer than anybody waits; for ever would let silent clients pile up.
const TIMEOUT: DurationRule = DurationRule {
    key: "timeout",
    default: Duration::from_secs(5),
    max: HOUR,
    zero: Zero::Refused("a connection cannot stay undecided for ever; write up to \"1h\""),
};
/// One attempt to connect to one target address. The system itself gives up after about two minutes.
const CONNECT_TIMEOUT: DurationRule = DurationRule {
    key: "connect_timeout",
    default: Duration::from_secs(5),
    max: HOUR,
    zero: Zero::Refused("a target needs some time to answer; write up to \"1h\""),
};
/// A relay without a byte in either direction; zero waits for ever. Thirty days is past every keepalive.
const IDLE_TIMEOUT: DurationRule =
    DurationRule { key: "idle_timeout", default: HOUR, max: Duration::from_secs(30 * 24 * 3600), zero: FOR_EVER };
/// A relay without a byte after one side has finished; zero waits for ever. A minute outlasts a slow last answer.
const HALF_CLOSE_TIMEOUT: DurationRule = DurationRule {
    key: "half_close_timeout",
    default: Duration::from_secs(60),
    max: Duration::from_secs(30 * 24 * 3600),
    zero: FOR_EVER,
};
/// Open connections after SIGTERM; zero closes them at once. A day is longer than any service manager waits.
const DRAIN_TIMEOUT: DurationRule = DurationRule {
    key: "drain_timeout",
    default: Duration::from_secs(30),
    max: Duration::from_secs(24 * 3600),
    zero: Zero::Allowed(""),
};

/// Bytes kept of a first flight. 16 KiB holds the largest TLS ClientHello in use; above 1 MiB memory would be at risk.
const FIRST_FLIGHT_DEFAULT: u64 = 16 << 10;
const FIRST_FLIGHT_MAX: u64 = 1 << 20;

/// Connections open at once. Each takes two or more file descriptors, of which the kernel gives about a million.
const CONNECTIONS_DEFAULT: i64 = 10_000;
const CONNECTIONS_MAX: i64 = 1_000_000;

/// Threads. No machine has more cores, and more threads than cores only cost memory.
const WORKERS_MAX: i64 = 1024;

/// The words for `level`, loudest last.
const LEVELS: [(&str, Option<tracing::Level>); 6] = [
    ("off", None),
    ("error", Some(tracing::Level::ERROR)),
    ("warn", Some(tracing::Level::WARN)),
    ("info", Some(tracing::Level::INFO)),
    ("debug", Some(tracing::Level::DEBUG)),
    ("trace", Some(tracing::Level::TRACE)),
];

/// The words for `format`.
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// The words for `splice`.
const SPLICE: [(&str, Splice); 3] = [("auto", Splice::Auto), ("always", Splice::Always), ("never", Splice::Never)];

/// All settings of a file that stand for themselves.
pub(super) struct Settings {
    pub(super) decide_timeout: Duration,
    pub(super) max_first_flight_bytes: usize,
    pub(super) limits: Limits,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) half_close_timeout: Option<Duration>,
    pub(super) splice: Splice,
    pub(super) drain_timeout: Duration,
    pub(super) workers: usize,
    pub(super) log: Log,
}

impl Settings {
    /// Reads and checks all of them; a refused one is reported and takes its default for the rest of the check.
    pub(super) fn resolve(raw: &RawConfig, reporter: &mut Reporter) -> Self {
        let off = |duration: Duration| (!duration.is_zero()).then_some(duration);
        Self {
            decide_timeout: TIMEOUT.resolve(raw.timeout.as_ref(), reporter),
            max_first_flight_bytes: first_flight(raw.max_first_flight.as_ref(), reporter),
            limits: limits(raw, reporter),
            connect_timeout: CONNECT_TIMEOUT.resolve(raw.connect_timeout.as_ref(), reporter),
            idle_timeout: off(IDLE_TIMEOUT.resolve(raw.idle_timeout.as_ref(), reporter)),
            half_close_timeout: off(HALF_CLOSE_TIMEOUT.resolve(raw.half_close_timeout.as_ref(), reporter)),
            splice: word("splice", raw.splice.as_ref(), &SPLICE, reporter).unwrap_or_default(),
            drain_timeout: DRAIN_TIMEOUT.resolve(raw.drain_timeout.as_ref(), reporter),
            workers: workers(raw.workers.as_ref(), reporter),
            log: log(raw, reporter),
        }
    }
}

impl DurationRule {
    /// Reads a value; a refused one is reported and takes the default.
    pub(super) fn resolve(&self, raw: Option<&Spanned<String>>, reporter: &mut Reporter) -> Duration {
        let Some(raw) = raw else { return self.default };
        let key = self.key;
        let shown = printable(raw.get_ref());
        let duration = match units::duration(raw.get_ref()) {
            Ok(duration) => duration,
            Err(error) => {
                let message = format!("`{key}` is `{shown}`, which {}", error.reason);
                reporter.error(raw.span(), message).help_with(error.help());
                return self.default;
            }
        };
        if let (true, Zero::Refused(advice)) = (duration.is_zero(), self.zero) {
            reporter.error(raw.span(), format!("`{key}` is zero")).help_with(advice);
            return self.default;
        }
        if duration > self.max {
            let max = units::show_duration(self.max);
            let error = reporter.error(raw.span(), format!("`{key}` is `{shown}`, and the most it can be is `{max}`"));
            if let Zero::Allowed(advice) = self.zero
                && !advice.is_empty()
            {
                error.help_with(advice);
            }
            return self.default;
        }
        duration
    }
}

fn first_flight(raw: Option<&Spanned<String>>, reporter: &mut Reporter) -> usize {
    let bytes = raw.and_then(|raw| {
        let shown = printable(raw.get_ref());
        match units::size(raw.get_ref()) {
            Ok(bytes) if (1..=FIRST_FLIGHT_MAX).contains(&bytes) => Some(bytes),
            Ok(_) => {
                let max = units::show_size(FIRST_FLIGHT_MAX);
                let message = format!("`max_first_flight` is `{shown}`, and it has to be from `1B` to `{max}`");
                reporter.error(raw.span(), message);
                None
            }
            Err(error) => {
                let message = format!("`max_first_flight` is `{shown}`, which {}", error.reason);
                reporter.error(raw.span(), message).help_with(error.help());
                None
            }
        }
    });
    usize::try_from(bytes.unwrap_or(FIRST_FLIGHT_DEFAULT)).unwrap_or(usize::MAX)
}

fn limits(raw: &RawConfig, reporter: &mut Reporter) -> Limits {
    let open = raw.max_connections.as_ref();
    let max_connections =
        within("max_connections", open, 1, CONNECTIONS_MAX, reporter).unwrap_or(to_usize(CONNECTIONS_DEFAULT));
    let undecided = raw.max_undecided.as_ref();
    let max_undecided = within("max_undecided", undecided, 1, CONNECTIONS_MAX, reporter);
    if let (Some(most), Some(place)) = (max_undecided, undecided)
        && most > max_connections
    {
        let message = format!("`max_undecided` is {most}, more than `max_connections`, which is {max_connections}");
        let error = reporter.error(place.span(), message);
        error.help_with("undecided connections are open ones too; lower it, or leave it out for a quarter");
        if let Some(open) = open {
            error.related_to(open.span(), "all open connections");
        }
    }
    let source = raw.max_connections_per_source.as_ref();
    let per_source = within("max_connections_per_source", source, 0, CONNECTIONS_MAX, reporter);
    Limits {
        max_connections,
        max_undecided: max_undecided.unwrap_or((max_connections / 4).max(1)),
        max_connections_per_source: per_source.filter(|&most| most > 0),
    }
}

fn workers(raw: Option<&Spanned<i64>>, reporter: &mut Reporter) -> usize {
    let workers = within("workers", raw, 0, WORKERS_MAX, reporter);
    workers
        .filter(|&workers| workers > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
}

fn log(raw: &RawConfig, reporter: &mut Reporter) -> Log {
    let level = word("level", raw.log.level.as_ref(), &LEVELS, reporter);
    let format = word("format", raw.log.format.as_ref(), &FORMATS, reporter);
    Log { level: level.unwrap_or(Some(tracing::Level::INFO)), format: format.unwrap_or_default() }
}

/// Checks a number against its range, ends included.
pub(super) fn within(
    key: &str,
    raw: Option<&Spanned<i64>>,
    min: i64,
    max: i64,
    reporter: &mut Reporter,
) -> Option<usize> {
    let raw = raw?;
    let number = *raw.get_ref();
    if (min..=max).contains(&number) {
        return Some(to_usize(number));
    }
    let shown = printable(reporter.snippet(&raw.span()));
    reporter.error(raw.span(), format!("`{key}` is {shown}, and it has to be from {min} to {max}"));
    None
}

/// Chooses one of a few words.
fn word<T: Copy>(
    key: &str,
    raw: Option<&Spanned<String>>,
    words: &[(&'static str, T)],
    reporter: &mut Reporter,
) -> Option<T> {
    let raw = raw?;
    let written = raw.get_ref();
    if let Some((_, value)) = words.iter().find(|(word, _)| word == written) {
        return Some(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let error = reporter.error(raw.span(), format!("`{key}` cannot be `{}`", printable(written)));
    error.help_with(match closest(written, &known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("it is one of {}", listed(&known)),
    });
    None
}

fn to_usize(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}
