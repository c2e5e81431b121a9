//! The classifier for Oracle Net: the TNS connect packet a client sends first. No specification is public; what is read
//! here is what Oracle's open-source driver writes (python-oracledb, `impl/thin/messages/connect.pyx`) and older ones wrote.
//!
//! The packet header is a length of two bytes, a checksum that nobody uses, the type 1, flags and another checksum. The
//! connect packet has two versions, sizes, the number 1 in the client's byte order, and where its connect data are: text
//! such as `(DESCRIPTION=(CONNECT_DATA=(SERVICE_NAME=orders)))`, at the packet's end, or at once in a data packet of its
//! own if there are more than some 230 bytes.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The packet header, and the fixed part of the oldest connect packets.
const HEADER: u16 = 8;
const MIN_PACKET_BYTES: u16 = HEADER + 26;

/// The versions of the protocol. Clients say 300 is the oldest they speak; 319 is the newest.
const VERSIONS: core::ops::RangeInclusive<u16> = 256..=511;

/// The most connect data that are waited for; they have some hundred bytes. Of more, service and SID stay unknown.
const MAX_DATA_BYTES: u16 = 2048;

/// The longest connect packet that is waited for.
const MAX_PACKET_BYTES: u16 = 128 + MAX_DATA_BYTES;

/// A connect packet of that length, and a data packet behind it.
const MAX_BYTES: usize = (MAX_PACKET_BYTES + HEADER + 2 + MAX_DATA_BYTES) as usize;

/// Recognises Oracle clients; it has nothing to configure.
pub struct Oracle;

impl Classifier for Oracle {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Oracle)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let packet = c.u16_be_in(MIN_PACKET_BYTES..=u16::MAX)?;
        c.tag(b"\x00\x00\x01")?;
        c.u8()?; // flags
        c.tag(b"\x00\x00")?;
        let version = c.u16_be_in(VERSIONS)?;
        c.u16_be_in(1..=version)?; // the oldest that the client can speak
        c.skip(2 + 2 + 2 + 2 + 2)?; // options, sizes of units, the network's properties, turnaround
        c.one_of(&[b"\x00\x01", b"\x01\x00"])?;
        let len = c.u16_be()?;
        let offset = c.u16_be_in(MIN_PACKET_BYTES..=packet)?;
        if len == 0 || len > MAX_DATA_BYTES || packet > MAX_PACKET_BYTES {
            return Ok(Match);
        }
        let text = if len <= packet - offset {
            c.skip(usize::from(offset) - c.position())?;
            c.take(len.into())
        } else {
            c.skip(usize::from(packet) - c.position())?;
            data(&mut c, len)
        };
        match text {
            Ok(text) => name(text, facts),
            Err(Reject) => {} // another packet than expected; this one is Oracle's all the same
            Err(needs_more) => return Err(needs_more),
        }
        Ok(Match)
    }
}

/// Reads a data packet that has `len` bytes, behind the header and two bytes of flags.
fn data<'a>(c: &mut Cursor<'a>, len: u16) -> Result<&'a [u8], Stop> {
    let least = HEADER + 2 + len;
    c.u16_be_in(least..=u16::MAX)?;
    c.tag(b"\x00\x00\x06")?;
    c.skip(1 + 2 + 2)?;
    c.take(len.into())
}

/// Adds what the connect data name as facts.
fn name(text: &[u8], facts: &mut Facts) {
    for (key, fact) in [(&b"SERVICE_NAME"[..], "service"), (b"SID", "sid")] {
        if let Some(value) = value_of(key, text) {
            facts.add(fact, value);
        }
    }
}

/// The most bytes of a value that becomes a fact.
const MAX_VALUE_BYTES: usize = 256;

/// The value of the first `(key=value)` in `text`, whatever case the key is in and however much space is around it.
fn value_of<'a>(key: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    text.split(|b| *b == b'(').find_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        let value = value.get(1..)?.split(|b| *b == b')').next()?.trim_ascii();
        let is_it = name.trim_ascii().eq_ignore_ascii_case(key);
        (is_it && !value.is_empty() && value.len() <= MAX_VALUE_BYTES).then_some(value)
    })
}

portsplit_plugin_sdk::export! {
    classifier: Oracle,
    name: "oracle",
    description: "Oracle database clients (Oracle Net), by their TNS connect packet.",
    protocols: ["oracle-tns"],
    max_bytes: MAX_BYTES,
    facts: {
        "service": "the `SERVICE_NAME` in the connect data, as the client wrote it",
        "sid": "the `SID` in the connect data of older clients",
    },
    cannot_see: [
        "service and SID in connect data of more than 2048 bytes",
        "Oracle Net inside TLS (TCPS), which is TLS",
    ],
    examples: [
        Example::bytes(b"\x00\x56\x00\x00\x01\x00\x00\x00\x01\x36\x01\x2c\x00\x00\x08\x00\x7f\xff\x7f\x08\x00\x00\x00\x01\
            \x00\x1c\x00\x3a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0(CONNECT_DATA=(SID=orders)) ")
            .matches(86).fact("sid", "orders"),
        Example::bytes(b"\x00\x57\x00\x00\x01\x00\x00\x00\x01\x36").undecided(),
        Example::bytes(b"\x00\x57\x00\x00\x06").rejects(5),
        Example::text("GET / HTTP/1.1\r\n").rejects(3),
    ],
}
