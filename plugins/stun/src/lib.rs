//! The classifier for STUN and TURN over TCP: the header of a request or an indication (RFC 8489, section 5), with its
//! magic number, on the connection itself (section 6.2.2) or behind the length of two bytes that ICE puts there (RFC
//! 6544, section 10.1; RFC 4571).
//!
//! Type, length and magic number fix more than 40 bits, and with ICE both lengths have to agree. It matches at the
//! magic number; what the message asks for is in the type in front of it.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: the length of RFC 4571, type, length, magic number.
const MAX_BYTES: usize = 2 + 2 + 2 + 4;

/// What follows the two lengths and the type: the magic number and the transaction's.
const HEADER_BYTES: u16 = 20;

/// Recognises STUN clients; it has nothing to configure.
pub struct Stun;

impl Classifier for Stun {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Stun)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let (kind, framed) = c.either(|c| Ok((message(c, None)?, false)), |c| Ok((framed(c)?, true)))?;
        facts.add("method", name(kind));
        if framed {
            facts.add("framing", "ice");
        }
        Ok(Match)
    }
}

/// The names of the methods (RFC 8489, 8656 and 6062), by their numbers; empty where there is none.
const METHODS: [&str; 13] = [
    "",
    "binding",
    "shared-secret",
    "allocate",
    "refresh",
    "",
    "send",
    "data",
    "create-permission",
    "channel-bind",
    "connect",
    "connection-bind",
    "connection-attempt",
];

/// The name of the method in the lower byte of a type.
fn name(kind: u8) -> &'static str {
    METHODS.get(usize::from(kind & 0x0f)).copied().unwrap_or_default()
}

/// Reads a header up to the magic number and returns the lower byte of its type. The length it has to have is `len`.
fn message(c: &mut Cursor<'_>, len: Option<u16>) -> Result<u8, Stop> {
    c.tag(b"\0")?;
    // 0x is a request, 1x an indication; answers have other bits.
    let kind = c.u8_where(|b| b < 0x20 && !name(b).is_empty())?;
    match len {
        Some(len) => {
            c.u16_be_in(len..=len)?;
        }
        None => {
            c.u8()?;
            c.u8_where(|b| b % 4 == 0)?; // attributes are filled up to multiples of four
        }
    }
    c.tag(b"\x21\x12\xa4\x42")?;
    Ok(kind)
}

fn framed(c: &mut Cursor<'_>) -> Result<u8, Stop> {
    let len = c.u16_be_in(HEADER_BYTES..=u16::MAX)?;
    ensure(len.is_multiple_of(4))?;
    message(c, Some(len - HEADER_BYTES))
}

portsplit_plugin_sdk::export! {
    classifier: Stun,
    name: "stun",
    description: "STUN and TURN clients over TCP, those of ICE among them.",
    protocols: ["stun", "turn"],
    max_bytes: MAX_BYTES,
    facts: {
        "method": "what is asked for: `binding` (STUN), `allocate` or `connection-bind` (TURN), and others",
        "framing": "`ice` if each message has a length in front of it, as ICE over TCP has",
    },
    cannot_see: [
        "clients of RFC 3489, which have no magic number",
        "the user and the realm, which a client sends only when the server has asked for them",
        "TURN in Microsoft's framing",
    ],
    examples: [
        Example::bytes(b"\0\x01\0\0\x21\x12\xa4\x42\0\0\0\0\0\0\0\0\0\0\0\0").matches(8).fact("method", "binding"),
        Example::bytes(b"\0\x03\0\x08\x21\x12\xa4\x42").matches(8).fact("method", "allocate"),
        Example::bytes(b"\0\x5c\0\x01\0\x48\x21\x12\xa4\x42").matches(10).fact("method", "binding").fact("framing", "ice"),
        Example::bytes(b"\0\x01\0\x08\x21\x12").undecided(),
        Example::bytes(b"\0\x01\0\x02").rejects(4),
        Example::bytes(b"\x01\x01\0\0").rejects(2),
        Example::text("GET / HTTP/1.1\r\n").rejects(2),
    ],
}
