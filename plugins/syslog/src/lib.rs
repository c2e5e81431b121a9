//! The classifier for syslog over TCP (RFC 6587): messages of RFC 5424, or of the older kinds that RFC 3164 describes.
//!
//! An octet count and a space, or nothing where a line end closes each message; `<`, the priority from 0 to 191, `>`;
//! then text. No other protocol starts with a number in angle brackets, so this is enough; what follows is read only
//! for the facts. Devices write so many headers that one of another form is no reason to reject: the facts then end
//! where it begins. `header` reads them.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod header;

use portsplit_plugin_sdk::prelude::*;

/// The highest octet count: rsyslog takes messages of up to 200,000 bytes.
const MAX_COUNT: usize = 999_999;

/// The most bytes looked at: count, space, priority and the longest header.
const MAX_BYTES: usize = 6 + 1 + 5 + header::MAX_BYTES;

/// Recognises senders of syslog messages; it has nothing to configure.
pub struct Syslog;

impl Classifier for Syslog {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Syslog)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let mut recognised = false;
        let read = if c.peek()? == b'<' {
            message(&mut c, facts, &mut recognised)
        } else {
            ensure(c.peek()? != b'0')?;
            let count = number(&mut c, MAX_COUNT, b' ')?;
            c.part(count, |c| message(c, facts, &mut recognised))
        };
        match read {
            // A message that ends with the connection can be shorter than a header.
            Err(stop @ NeedMore(_)) if !recognised || !input.is_last() => Err(stop),
            _ => ensure(recognised).map(|()| Match),
        }
    }
}

/// Reads a message as far as its facts go, and says in `recognised` whether it is one.
fn message(c: &mut Cursor<'_>, facts: &mut Facts, recognised: &mut bool) -> Result<(), Stop> {
    priority(c, facts)?;
    *recognised = true;
    header::read(c, facts)
}

/// RFC 5424, section 6.2.1: eight times the facility, plus the severity.
fn priority(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    c.tag(b"<")?;
    let value = number(c, 191, b'>')?;
    let facility = FACILITIES.get(value / 8).ok_or(Reject)?;
    let severity = SEVERITIES.get(value % 8).ok_or(Reject)?;
    // A message has at least one character, in ASCII or UTF-8.
    let first = c.peek()?;
    ensure(first == b'\t' || first >= b' ' && first != 0x7f)?;
    facts.add("facility", facility);
    facts.add("severity", severity);
    Ok(())
}

/// Reads a decimal number of at most `most`, without leading zeros, and the byte behind it.
fn number(c: &mut Cursor<'_>, most: usize, close: u8) -> Result<usize, Stop> {
    let digit = |c: &mut Cursor<'_>| c.u8_where(|b| b.is_ascii_digit()).map(|b| usize::from(b - b'0'));
    let mut value = digit(c)?;
    while c.peek()? != close {
        ensure(value > 0)?;
        value = 10 * value + digit(c)?;
        ensure(value <= most)?;
    }
    c.tag(&[close])?;
    Ok(value)
}

/// As syslog.conf names them; 12 to 15 have no common names.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

portsplit_plugin_sdk::export! {
    classifier: Syslog,
    name: "syslog",
    description: "Senders of syslog messages over TCP, with octet counts or line ends, in the new and the old format.",
    protocols: ["syslog"],
    max_bytes: MAX_BYTES,
    facts: {
        "facility": "the first message's facility, such as `kern`, `daemon`, `authpriv`, `local7`; 12 to 15 are `ntp`, `audit`, `alert` and `clock`",
        "severity": "the first message's severity: `emerg`, `alert`, `crit`, `err`, `warning`, `notice`, `info` or `debug`",
        "hostname": "the host the first message names as its origin, where its header has the usual form",
        "app": "the application of the first message: its APP-NAME or tag, without process id",
    },
    cannot_see: [
        "syslog over TLS, and messages without a priority",
        "RELP, which is another protocol",
        "host and application of messages whose header has neither the form of RFC 5424 nor that of RFC 3164",
    ],
    examples: [
        Example::text("<34>1 2026-10-11T22:14:15.003Z mail.example.org su - ID47 - failed\n").matches(51)
            .fact("facility", "auth").fact("severity", "crit").fact("hostname", "mail.example.org").fact("app", "su"),
        Example::text("70 <13>Oct  1 22:14:15 alpha cron[42]: it runs").matches(34)
            .fact("facility", "user").fact("severity", "notice").fact("hostname", "alpha").fact("app", "cron"),
        Example::text("<191>hello\n").matches(6).fact("facility", "local7").fact("severity", "debug"),
        Example::text("<13>Oct  1").undecided(),
        Example::text("<192>1 ").rejects(4),
        Example::text("<13x").rejects(4),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
