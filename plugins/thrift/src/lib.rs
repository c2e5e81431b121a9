//! The classifier for Thrift: the beginning of the first call (Apache Thrift, doc/specs/thrift-binary-protocol.md,
//! thrift-compact-protocol.md, HeaderFormat.md, and "Framed vs. unframed transport" in thrift-rpc.md), or the SASL
//! negotiation in front of it (thrift-sasl-spec.txt), as Hive and Impala have.
//!
//! A message has a version, a type (call or oneway), the method's name, and a number. It comes as it is, in a frame
//! with a length of four bytes, or in a frame with a header (THeader). The binary protocol's version and name's length
//! are 56 bits; the compact protocol is shorter, so there the first argument has to fit, too.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: a header and a name.
const MAX_BYTES: usize = 2048;

/// The longest frame that servers take unless told (`DEFAULT_MAX_FRAME_SIZE`); its first byte is zero, which few other
/// protocols begin with.
const MAX_FRAME_BYTES: u32 = 16_384_000;

/// The shortest frame: a compact message with a name of one letter and no arguments.
const MIN_FRAME_BYTES: u32 = 6;

/// The longest name, with a service and a colon in front of it if several are multiplexed.
const MAX_NAME_BYTES: u32 = 255;

/// The longest header that is read, four bytes a word; behind a longer one the method is not looked for.
const MAX_HEADER_WORDS: u16 = 256;

/// The most transforms: there are three.
const MAX_TRANSFORMS: u64 = 4;

/// The most bytes of a varint for numbers of 32 bits.
const VARINT_BYTES: usize = 5;

/// Recognises Thrift clients; it has nothing to configure.
pub struct Thrift;

impl Classifier for Thrift {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Thrift)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        if c.peek()? & 0x80 != 0 {
            facts.add("transport", "unframed");
            return message(&mut c, facts);
        }
        if c.peek()? == SASL_START {
            facts.add("transport", "sasl");
            return sasl(&mut c);
        }
        let len = c.u32_be_in(MIN_FRAME_BYTES..=MAX_FRAME_BYTES)?;
        c.limit(len as usize)?;
        if c.peek()? == 0x0f {
            facts.add("transport", "header");
            return header(&mut c, facts);
        }
        facts.add("transport", "framed");
        message(&mut c, facts)
    }
}

/// The status that starts a negotiation, and those of a response: another one is expected, or it was the last. A frame
/// that begins with the same byte would have 16 MB.
const SASL_START: u8 = 1;
const SASL_RESPONSES: [u8; 2] = [2, 5];

/// The longest name of a mechanism (RFC 4422, section 3.1).
const MAX_MECHANISM_BYTES: u32 = 20;

/// Status, length and mechanism, and the status of the response, which clients send at once.
fn sasl(c: &mut Cursor<'_>) -> Answer {
    c.u8()?;
    let len = c.u32_be_in(1..=MAX_MECHANISM_BYTES)?;
    for _ in 0..len {
        c.u8_where(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'_')?;
    }
    c.u8_where(|status| SASL_RESPONSES.contains(&status))?;
    Ok(Match)
}

/// A call in one of the two protocols, which differ in their first byte.
fn message(c: &mut Cursor<'_>, facts: &mut Facts) -> Answer {
    let name = if c.peek()? == 0x80 {
        c.tag(b"\x80\x01\x00")?;
        c.u8_where(|kind| kind == 1 || kind == 4)?; // call, oneway
        facts.add("protocol", "binary");
        let len = c.u32_be_in(1..=MAX_NAME_BYTES)?;
        method(c, len)?
    } else {
        c.tag(b"\x82")?;
        c.u8_where(|kind| kind == 0x21 || kind == 0x81)?; // version 1 and the type
        facts.add("protocol", "compact");
        c.varint(VARINT_BYTES)?; // number
        let len = c.varint(2)?;
        ensure((1..=MAX_NAME_BYTES.into()).contains(&len))?;
        let name = method(c, len as u32)?;
        c.u8_where(|field| field == 0 || (1..=13).contains(&(field & 0x0f)))?; // no arguments, or the type of the first
        name
    };
    facts.add("method", name);
    Ok(Match)
}

fn method<'a>(c: &mut Cursor<'a>, len: u32) -> Result<&'a [u8], Stop> {
    let len = len as usize;
    c.part(len, |c| {
        ensure(matches!(c.peek()?, b'A'..=b'Z' | b'a'..=b'z' | b'_'))?;
        c.take_while(len, |b| b.is_ascii_alphanumeric() || b"_.:-/$".contains(&b))
    })
}

/// THeader: its magic number, flags, a sequence number, its own length, the protocol, and how the message is
/// transformed.
fn header(c: &mut Cursor<'_>, facts: &mut Facts) -> Answer {
    c.tag(b"\x0f\xff")?;
    c.skip(2 + 4)?;
    let most = c.left().map_or(0, |left| left.saturating_sub(2) / 4);
    let words = c.u16_be_in(1..=u16::try_from(most).unwrap_or(u16::MAX))?;
    let mut message_at = *c;
    c.limit(4 * usize::from(words))?;
    let protocol = c.u8_where(|protocol| protocol == 0 || protocol == 2)?;
    let transforms = c.varint(VARINT_BYTES)?;
    ensure(transforms <= MAX_TRANSFORMS)?;
    for _ in 0..transforms {
        c.u8_in(1..=5)?;
    }
    if transforms == 0 && words <= MAX_HEADER_WORDS {
        message_at.skip(4 * usize::from(words))?;
        ensure((message_at.peek()? == 0x80) == (protocol == 0))?;
        return message(&mut message_at, facts);
    }
    facts.add("protocol", if protocol == 0 { "binary" } else { "compact" });
    Ok(Match)
}

portsplit_plugin_sdk::export! {
    classifier: Thrift,
    name: "thrift",
    description: "Thrift clients over TCP, by their first call in the binary or the compact protocol, framed or not.",
    protocols: ["thrift"],
    max_bytes: MAX_BYTES,
    facts: {
        "method": "the method that is called, `service:method` if several services are multiplexed",
        "protocol": "`binary` or `compact`",
        "transport": "`framed`, `unframed`, `header` (THeader; the message may be compressed: no `method` then) or `sasl` \
                      (neither `method` nor `protocol`)",
    },
    cannot_see: [
        "the old binary protocol without a version (non-strict), which is only a length and a name",
        "calls in JSON, over HTTP, behind SASL's negotiation, and fbthrift's Rocket",
    ],
    examples: [
        Example::bytes(b"\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x01\0")
            .matches(12).fact("method", "ping").fact("protocol", "binary").fact("transport", "unframed"),
        Example::bytes(b"\0\0\0\x11\x80\x01\0\x01\0\0\0\x04ping\0\0\0\x01\0").matches(16).fact("transport", "framed"),
        Example::bytes(b"\x82\x21\x01\x04ping\0").matches(9).fact("method", "ping").fact("protocol", "compact"),
        Example::bytes(b"\x80\x01\0\x01\0\0\0\x04pi").undecided(),
        Example::bytes(b"\x80\x01\0\x02").rejects(4),
        Example::bytes(b"\0\0\0\x11\x80\x00").rejects(6),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
