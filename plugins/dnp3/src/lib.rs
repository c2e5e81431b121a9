//! The classifier for DNP3 over TCP: the first link frame (IEEE 1815-2012, clauses 9 and 13).
//!
//! Two fixed bytes, a length, control, destination and source, and a checksum over these eight bytes. The control byte
//! of a first frame has the bit of the primary station, with one of its six functions, and those without user data have
//! the least length. User data may be of no byte: stations are tried with such frames.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The header with its checksum; nothing behind it is looked at.
const HEADER: usize = 10;

/// What the length counts of the header: control, destination, source.
const MIN_LEN: u8 = 5;

/// Recognises DNP3 masters, and outstations that report without being asked; it has nothing to configure.
pub struct Dnp3;

impl Classifier for Dnp3 {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Dnp3)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let mut header = c;
        c.tag(b"\x05\x64")?;
        let len = c.u8_in(MIN_LEN..=u8::MAX)?;
        let control = c.u8_where(|control| match control & 0x4f {
            0x40 | 0x41 | 0x42 | 0x49 => len == MIN_LEN, // resets, test, request of the link's state
            0x43 | 0x44 => true,                         // user data, confirmed or not
            _ => false,
        })?;
        let destination = c.u16_le()?;
        let source = c.u16_le()?;
        let sum = checksum(header.take(HEADER - 2)?);
        c.u16_le_in(sum..=sum)?;
        facts.add("from", if control & 0x80 != 0 { "master" } else { "outstation" });
        facts.add_number("destination", destination.into());
        facts.add_number("source", source.into());
        Ok(Match)
    }
}

/// CRC-16/DNP: the polynomial 0x3d65, bits reflected, inverted in the end.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u16;
    for byte in bytes {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xa6bc } else { sum >> 1 };
        }
    }
    !sum
}

portsplit_plugin_sdk::export! {
    classifier: Dnp3,
    name: "dnp3",
    description: "DNP3 masters and outstations over TCP, by the checksum of their first link frame.",
    protocols: ["dnp3"],
    max_bytes: HEADER,
    facts: {
        "from": "which side connects: `master`, or `outstation` for one that reports by itself",
        "destination": "the link address the frame is for, 0 to 65535",
        "source": "the sender's link address",
    },
    cannot_see: [
        "what is asked: functions and objects lie in the blocks behind the header",
        "DNP3 inside TLS",
    ],
    examples: [
        Example::bytes(b"\x05\x64\x05\xc0\x01\x00\x00\x04\xe9\x21")
            .matches(10).fact("from", "master").fact("destination", "1").fact("source", "1024"),
        Example::bytes(b"\x05\x64\x05\x80").rejects(4),
        Example::bytes(b"\x05\x64\x05\xc0\x01\x00").undecided(),
        Example::bytes(b"\x05\x64\x04").rejects(3),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
