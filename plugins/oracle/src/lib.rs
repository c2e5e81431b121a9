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
const MAX_DATA_BYTES: u16 = 1024;

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
        let is_inside = len <= packet - offset;
        let start = if is_inside { offset } else { packet };
        let text = match c.skip(usize::from(start) - c.position()) {
            Ok(()) if is_inside => c.take(len.into()),
            Ok(()) => data(&mut c, len),
            Err(stop) => Err(stop),
        };
        match text {
            Ok(text) => name(text, facts),
            Err(Reject) => {} // another packet than expected; this one is Oracle's all the same
            Err(NeedMore(_)) if input.is_last() => {} // and so it is where its data never come
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

/// Adds the first service and the first SID that the connect data name as facts.
///
/// One pass, in which each byte is looked at a few times at most, so that the worst data stay well below what the host
/// allows a call.
fn name(text: &[u8], facts: &mut Facts) {
    let (mut service, mut sid) = (None, None);
    let mut rest = text;
    for _ in 0..MAX_PAIRS {
        let Some(at) = rest.iter().position(|b| *b == b'(') else { break };
        rest = rest.get(at + 1..).unwrap_or_default().trim_ascii_start();
        service = service.or_else(|| value_of(b"SERVICE_NAME", rest));
        sid = sid.or_else(|| value_of(b"SID", rest));
    }
    for (fact, value) in [("service", service), ("sid", sid)] {
        if let Some(value) = value {
            facts.add(fact, value);
        }
    }
}

/// The most parentheses that are looked behind. A list of twenty addresses has a hundred.
const MAX_PAIRS: usize = 256;

/// The most bytes of a value that becomes a fact.
const MAX_VALUE_BYTES: usize = 256;

/// The value of `key=value)`, whatever case the key is in and however much space is around it.
fn value_of<'a>(key: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    let (name, rest) = text.split_at_checked(key.len())?;
    if !name.eq_ignore_ascii_case(key) {
        return None;
    }
    let rest = rest.trim_ascii_start().strip_prefix(b"=")?;
    let end = rest.iter().position(|b| matches!(b, b'(' | b')'))?;
    let value = rest.get(..end)?.trim_ascii();
    (1..=MAX_VALUE_BYTES).contains(&value.len()).then_some(value)
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
        "service and SID in connect data of more than 1024 bytes",
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
