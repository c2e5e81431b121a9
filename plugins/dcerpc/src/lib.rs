//! The classifier for DCE/RPC over TCP, Microsoft's included: the bind a client sends first (C706, section 12.6.4.3;
//! MS-RPCE, section 2.2.2).
//!
//! Version 5.0 or 5.1, the type, flags, the client's representation of data, which says how the numbers behind it are
//! written; then lengths, limits and a list of interfaces. It is recognised at the first interface, whose UUID is what a
//! server is chosen by. A client that goes on where it was, with a call or another context, is recognised too.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The least bind: the common header, its own fixed part and one interface with one transfer syntax.
const MIN_BIND_BYTES: u16 = 16 + 8 + 4 + 4 + 20 + 20;

/// The least call: the common header, a hint, the context and the operation.
const MIN_REQUEST_BYTES: u16 = 16 + 8;

/// Up to the end of the first interface's UUID.
const MAX_BYTES: usize = 16 + 8 + 4 + 4 + 16;

/// Recognises DCE/RPC clients; it has nothing to configure.
pub struct DceRpc;

impl Classifier for DceRpc {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(DceRpc)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        // Only a bind may be of version 5.1: 05 01 00 is what most clients of SOCKS begin with.
        let kind = c.one_of(&[b"\x05\x00\x0b", b"\x05\x01\x0b", b"\x05\x00\x0e", b"\x05\x00\x00"])?;
        let (message, least) = match kind {
            0 | 1 => ("bind", MIN_BIND_BYTES),
            2 => ("alter-context", MIN_BIND_BYTES),
            _ => ("request", MIN_REQUEST_BYTES),
        };
        c.u8()?; // flags
        // Integers little or big endian, characters ASCII or EBCDIC, one of four kinds of floating point.
        let little = c.u8_where(|order| order & !0x11 == 0)? & 0x10 != 0;
        c.u8_in(0..=3)?;
        c.tag(b"\x00\x00")?;
        let len = u16_in(&mut c, little, least, u16::MAX)?;
        u16_in(&mut c, little, 0, len - least)?; // of which for authentication
        facts.add("message", message);
        if least == MIN_REQUEST_BYTES {
            return Ok(Match);
        }
        c.limit(usize::from(len) - c.position())?;
        c.skip(4 + 2 + 2 + 4)?; // call, fragment sizes, group
        c.u8_in(1..=u8::MAX)?; // interfaces
        c.skip(3 + 2)?; // reserved, the interface's number
        c.u8_in(1..=u8::MAX)?; // transfer syntaxes
        c.skip(1)?;
        let mut uuid = [0; 16];
        c.copy_to(&mut uuid)?;
        facts.add("interface", uuid_text(uuid, little));
        Ok(Match)
    }
}

fn u16_in(c: &mut Cursor<'_>, little: bool, low: u16, high: u16) -> Result<u16, Stop> {
    if little { c.u16_le_in(low..=high) } else { c.u16_be_in(low..=high) }
}

/// Where the text of a UUID takes each byte from, if the first three groups are little endian; `0xff` is a hyphen.
const LITTLE: [u8; 20] = [3, 2, 1, 0, 0xff, 5, 4, 0xff, 7, 6, 0xff, 8, 9, 0xff, 10, 11, 12, 13, 14, 15];

/// The same if they are big endian.
const BIG: [u8; 20] = [0, 1, 2, 3, 0xff, 4, 5, 0xff, 6, 7, 0xff, 8, 9, 0xff, 10, 11, 12, 13, 14, 15];

/// A UUID as it is written, in lower case.
fn uuid_text(uuid: [u8; 16], little: bool) -> [u8; 36] {
    let mut text = [b'-'; 36];
    let mut places = text.iter_mut();
    for from in if little { LITTLE } else { BIG } {
        let Some(byte) = uuid.get(usize::from(from)) else {
            places.next();
            continue;
        };
        for digit in [byte >> 4, byte & 0x0f] {
            if let Some(place) = places.next() {
                *place = if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
            }
        }
    }
    text
}

portsplit_plugin_sdk::export! {
    classifier: DceRpc,
    name: "dcerpc",
    description: "DCE/RPC clients over TCP, such as Windows' (MSRPC), by their bind request.",
    protocols: ["dcerpc"],
    max_bytes: MAX_BYTES,
    facts: {
        "message": "`bind`; or `alter-context` or `request` from a client that goes on without one",
        "interface": "the UUID of the first interface that is bound, in lower case, such as \
                      `e1af8308-5d1f-11c9-91a4-08002b14a0fa` for the endpoint mapper",
    },
    cannot_see: [
        "RPC inside SMB pipes and RPC over HTTP",
        "the calls made, and interfaces after the first",
    ],
    examples: [
        Example::bytes(b"\x05\x00\x0b\x03\x10\0\0\0\x48\0\0\0\x01\0\0\0\xd0\x16\xd0\x16\0\0\0\0\x01\0\0\0\0\0\x01\0\
            \x08\x83\xaf\xe1\x1f\x5d\xc9\x11\x91\xa4\x08\x00\x2b\x14\xa0\xfa")
            .matches(48).fact("interface", "e1af8308-5d1f-11c9-91a4-08002b14a0fa"),
        Example::bytes(b"\x05\x00\x0b\x03\x10\0\0\0\x48\0\0\0\x01\0\0\0").undecided(),
        Example::bytes(b"\x05\x00\x0c\x03").rejects(3),
        Example::bytes(b"\x05\x02\x00\x02").rejects(2),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
