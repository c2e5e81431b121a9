//! The classifier for MQTT: the CONNECT packet (MQTT 5.0 and 3.1.1, section 3.1; MQTT V3.1, section 3.1).
//!
//! The byte 10, the length of the rest, then the protocol's name with its length and its level: with the flags, whose
//! bits must agree with one another, more than 60 fixed bits. It is recognised at the client identifier, or at the user
//! name if there is one; nobody waits for the password, nor for a will or properties that are long. Where no byte will
//! follow, what is cut behind the flags is one as well.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::MAX_FACT_BYTES;
use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at. Wills are mostly some words, but the state of a device comes in them too.
const MAX_BYTES: usize = 8 << 10;

/// The name with its length, and the level; of a bridge between servers Mosquitto sets the upper bit of the level.
const PROTOCOLS: [(&[u8], &str); 5] = [
    (b"\x00\x04MQTT\x04", "3.1.1"),
    (b"\x00\x04MQTT\x05", "5"),
    (b"\x00\x06MQIsdp\x03", "3.1"),
    (b"\x00\x04MQTT\x84", "3.1.1"),
    (b"\x00\x06MQIsdp\x83", "3.1"),
];

/// The most bytes that a length of MQTT's can have (MQTT 5.0, section 1.5.5).
const MAX_LENGTH_BYTES: usize = 4;

const USER: u8 = 0x80;
const PASSWORD: u8 = 0x40;
const WILL_RETAIN: u8 = 0x20;
const WILL_QOS: u8 = 0x18;
const WILL: u8 = 0x04;
const RESERVED: u8 = 0x01;

/// Recognises MQTT clients; it has nothing to configure.
pub struct Mqtt;

impl Classifier for Mqtt {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Mqtt)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"\x10")?;
        let len = c.varint(MAX_LENGTH_BYTES)?;
        c.limit(len as usize)?;
        let protocol = c.one_of(&PROTOCOLS.map(|(tag, _)| tag))?;
        let version = PROTOCOLS.get(protocol).map_or("", |(_, version)| version);
        facts.add("version", version);
        let properties = version == "5";
        let flags = c.u8_where(|flags| are_flags(flags, properties))?;
        let keep_alive = c.skip(2);
        // `None` where something is too long to look behind it.
        match keep_alive.and_then(|()| payload(&mut c, flags, properties, facts)) {
            Ok(_) => Ok(Match),
            Err(NeedMore(_)) if input.is_last() => Ok(Match),
            Err(stop) => Err(stop),
        }
    }
}

/// Whether the flags agree with each other: a will that is not there has no quality and is not retained, quality 3 does
/// not exist, and before MQTT 5 nobody has a password without a user name.
fn are_flags(flags: u8, properties: bool) -> bool {
    let will = if flags & WILL == 0 { flags & (WILL_QOS | WILL_RETAIN) == 0 } else { flags & WILL_QOS != WILL_QOS };
    will && flags & RESERVED == 0 && (properties || flags & (USER | PASSWORD) != PASSWORD)
}

fn payload(c: &mut Cursor<'_>, flags: u8, properties: bool, facts: &mut Facts) -> Result<Option<()>, Stop> {
    if properties && pass_properties(c)?.is_none() {
        return Ok(None);
    }
    if identifier(c, "client", facts)?.is_none() || flags & USER == 0 {
        return Ok(None);
    }
    if flags & WILL != 0 {
        let passed = if properties { pass_properties(c)? } else { Some(()) };
        if passed.is_none() || pass_field(c)?.is_none() || pass_field(c)?.is_none() {
            return Ok(None);
        }
    }
    identifier(c, "user", facts)
}

/// Reads a string and makes a fact of it unless it is empty; `None` if it is too long for one.
fn identifier(c: &mut Cursor<'_>, fact: &str, facts: &mut Facts) -> Result<Option<()>, Stop> {
    let len = c.u16_be()?.into();
    if !is_near(c, len)? || len > MAX_FACT_BYTES {
        return Ok(None);
    }
    let value = c.take(len)?;
    if !value.is_empty() {
        facts.add(fact, value);
    }
    Ok(Some(()))
}

fn pass_properties(c: &mut Cursor<'_>) -> Result<Option<()>, Stop> {
    let len = c.varint(MAX_LENGTH_BYTES)?;
    pass(c, len as usize)
}

fn pass_field(c: &mut Cursor<'_>) -> Result<Option<()>, Stop> {
    let len = c.u16_be()?;
    pass(c, len.into())
}

/// Passes over `len` bytes; `None` if what follows them is too far away to be looked at.
fn pass(c: &mut Cursor<'_>, len: usize) -> Result<Option<()>, Stop> {
    if is_near(c, len)? { c.skip(len).map(Some) } else { Ok(None) }
}

/// Whether the next `len` bytes, and the length behind them, are among the bytes looked at. Rejects if the packet has
/// fewer.
fn is_near(c: &Cursor<'_>, len: usize) -> Result<bool, Stop> {
    ensure(c.left().is_none_or(|left| len <= left))?;
    Ok(c.position() + len + MAX_LENGTH_BYTES <= MAX_BYTES)
}

portsplit_plugin_sdk::export! {
    classifier: Mqtt,
    name: "mqtt",
    description: "MQTT clients of versions 3.1, 3.1.1 and 5, by their CONNECT packet.",
    protocols: ["mqtt"],
    max_bytes: MAX_BYTES,
    facts: {
        "version": "`3.1`, `3.1.1` or `5`",
        "client": "the client identifier, unless it is empty (the server then chooses one) or has more than 1024 bytes",
        "user": "the user name, if there is one and no will or properties of many kilobytes come before it",
    },
    cannot_see: ["MQTT over WebSocket, which is HTTP", "MQTT-SN, which is another protocol"],
    examples: [
        Example::bytes(b"\x10\x14\0\x04MQTT\x04\x02\0\x3c\0\x08sensor-1")
            .matches(22).fact("version", "3.1.1").fact("client", "sensor-1"),
        Example::bytes(b"\x10\x0d\0\x04MQTT\x05\x02\0\x3c\0\0\0").matches(15).fact("version", "5"),
        Example::bytes(b"\x10\x1a\0\x06MQIsdp\x03\x82\0\x3c\0\x05meter\0\x05alice")
            .matches(28).fact("version", "3.1").fact("client", "meter").fact("user", "alice"),
        Example::bytes(b"\x10\x14\0\x04MQ").undecided(),
        Example::bytes(b"\x10\x14\0\x04MQTT\x06").rejects(9),
        Example::bytes(b"\x10\x05\0\x04MQTT").rejects(2),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
