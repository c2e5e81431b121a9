//! The classifier for FIX: the header of a message (FIX session layer, "Standard message header"; FIX 4.2, chapter 4).
//!
//! A message is a list of fields `tag=value`, each with a byte 01 behind it. The first three have to be the version,
//! the length of what follows, and the type, in this order, which is enough. The fields behind them are read for the
//! names of both sides, which every message has in its header; one that is not as it should be ends that.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: headers have some hundred.
const MAX_BYTES: usize = 2 << 10;

/// The longest value of a field of the header; names of both sides are much shorter.
const MAX_VALUE_BYTES: usize = 128;

/// The most fields looked at for both names. The header of any version has fewer.
const MAX_FIELDS: usize = 32;

/// What ends a field.
const SOH: u8 = 1;

/// Recognises FIX clients; it has nothing to configure.
pub struct Fix;

impl Classifier for Fix {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Fix)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"8=")?;
        let start = c.position();
        c.tag(b"FIX")?;
        c.one_of(&[b".", b"T."])?;
        c.u8_where(|b| b.is_ascii_digit())?;
        c.tag(b".")?;
        c.u8_where(|b| b.is_ascii_digit())?;
        let version = input.bytes.get(start..c.position()).unwrap_or_default();
        c.tag(&[SOH])?;
        c.tag(b"9=")?;
        let len = number(&mut c, SOH)?;
        facts.add("version", version);
        let mut known = false;
        match c.part(len, |c| body(c, facts, &mut known)) {
            // The body needs not be read to its end, nor be right.
            Err(Reject) if known => Ok(Match),
            Err(NeedMore(total)) if known && total > MAX_BYTES => Ok(Match),
            answer => answer.map(|()| Match),
        }
    }
}

/// The longest type of a message.
const MAX_TYPE_BYTES: usize = 4;

/// Reads the type, and fields until both names are known; at most to the end of the body.
fn body(c: &mut Cursor<'_>, facts: &mut Facts, known: &mut bool) -> Result<(), Stop> {
    const SENDER: usize = 49;
    const TARGET: usize = 56;
    c.tag(b"35=")?;
    let kind = c.take_until_where(SOH, MAX_TYPE_BYTES, |b| b.is_ascii_alphanumeric())?;
    ensure(!kind.is_empty())?;
    facts.add("type", kind);
    *known = true;
    let (mut sender, mut target) = (false, false);
    for _ in 0..MAX_FIELDS {
        if c.at_end() {
            return Ok(());
        }
        let tag = number(c, b'=')?;
        let value = c.take_until_where(SOH, MAX_VALUE_BYTES, |b| b >= b' ')?;
        for (name, wanted, found) in [("sender", SENDER, &mut sender), ("target", TARGET, &mut target)] {
            if tag == wanted && !*found && !value.is_empty() {
                facts.add(name, value);
                *found = true;
            }
        }
        if sender && target {
            break;
        }
    }
    Ok(())
}

/// Reads a number of one to six digits and the byte behind it.
fn number(c: &mut Cursor<'_>, end: u8) -> Result<usize, Stop> {
    let digits = c.take_until_where(end, MAX_DIGITS, |b| b.is_ascii_digit())?;
    ensure(!digits.is_empty())?;
    Ok(digits.iter().fold(0, |value, digit| 10 * value + usize::from(digit - b'0')))
}

/// More digits than tags and the lengths of messages have.
const MAX_DIGITS: usize = 6;

portsplit_plugin_sdk::export! {
    classifier: Fix,
    name: "fix",
    description: "FIX sessions of trading systems, in the form of tags and values, by the header of the first message.",
    protocols: ["fix"],
    max_bytes: MAX_BYTES,
    facts: {
        "version": "the session's version, such as `FIX.4.4` or `FIXT.1.1`",
        "type": "the type of the first message: `A`, a logon, unless the client breaks the rules",
        "sender": "the name the client gives itself (SenderCompID)",
        "target": "the name of the side it wants (TargetCompID)",
    },
    cannot_see: [
        "FIX in its binary forms (FAST, SBE) or as XML",
        "names behind a value that has control characters or more than 128 bytes, or behind 2 KiB",
    ],
    examples: [
        Example::text("8=FIX.4.2\x019=57\x0135=A\x0149=ALICE\x0156=BROKER\x0134=1\x01").matches(39)
            .fact("version", "FIX.4.2").fact("type", "A").fact("sender", "ALICE").fact("target", "BROKER"),
        Example::text("8=FIXT.1.1\x019=70\x0135=A\x01").undecided(),
        Example::text("8=FIX.4.2\x0135=A\x01").rejects(11),
        Example::text("8=FIX 4").rejects(6),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
