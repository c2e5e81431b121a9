//! The classifier for DNP3 over TCP: the first link frame (IEEE 1815-2012, clauses 9 and 13).
//!
//! Two fixed bytes, a length, control, destination and source, and a checksum over these eight bytes, which is enough:
//! stations are tried with functions that do not exist and with data where none belong, and one that goes on with a
//! connection may answer first.
//!
//! A station discards a frame with a wrong checksum and looks for the next start (clause 9.2.4), and so does this: a few
//! such frames may come first.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// What every frame begins with.
const START: [u8; 2] = [0x05, 0x64];

/// A header with its checksum.
const HEADER_BYTES: usize = 10;

/// What the length counts of the header: control, destination, source.
const MIN_LEN: u8 = 5;

/// The longest frame: the header, and 250 bytes in blocks of 16 with a checksum each.
const MAX_FRAME_BYTES: usize = HEADER_BYTES + 250 + 2 * 16;

/// The most frames that are discarded. One is an accident and two are a test; a line that is worse has no use.
const MAX_DISCARDED: usize = 2;

/// Those frames, and the header of one that is right.
const MAX_BYTES: usize = MAX_DISCARDED * MAX_FRAME_BYTES + HEADER_BYTES;

/// Recognises DNP3 masters, and outstations that report without being asked; it has nothing to configure.
pub struct Dnp3;

/// What a header says.
struct Header {
    control: u8,
    destination: u16,
    source: u16,
    /// Whether the checksum is right.
    is_sound: bool,
}

impl Classifier for Dnp3 {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Dnp3)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(&START)?;
        let mut found = header(c)?;
        for _ in 0..MAX_DISCARDED {
            if found.is_sound {
                break;
            }
            next_start(&mut c)?;
            found = match header(c) {
                // The two bytes were no start.
                Err(Reject) => continue,
                header => header?,
            };
        }
        ensure(found.is_sound)?;
        facts.add("from", if found.control & 0x80 != 0 { "master" } else { "outstation" });
        facts.add_number("destination", found.destination.into());
        facts.add_number("source", found.source.into());
        Ok(Match)
    }
}

/// Reads what follows the start.
fn header(mut c: Cursor<'_>) -> Result<Header, Stop> {
    let len = c.u8_in(MIN_LEN..=u8::MAX)?;
    let control = c.u8()?;
    let destination = c.u16_le()?;
    let source = c.u16_le()?;
    let ([d0, d1], [s0, s1], [start0, start1]) = (destination.to_le_bytes(), source.to_le_bytes(), START);
    let sum = checksum(&[start0, start1, len, control, d0, d1, s0, s1]);
    Ok(Header { control, destination, source, is_sound: c.u16_le()? == sum })
}

/// Goes from behind one start to behind the next, which must come within the longest frame or right after it.
fn next_start(c: &mut Cursor<'_>) -> Result<(), Stop> {
    let mut before = c.u8()?;
    for _ in START.len()..MAX_FRAME_BYTES + 1 {
        let byte = c.u8()?;
        if [before, byte] == START {
            return Ok(());
        }
        before = byte;
    }
    Err(Reject)
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
    max_bytes: MAX_BYTES,
    facts: {
        "from": "which side connects: `master`, or `outstation` for one that reports by itself",
        "destination": "the link address the frame is for, 0 to 65535",
        "source": "the sender's link address",
    },
    cannot_see: [
        "what is asked: functions and objects lie in the blocks behind the header",
        "DNP3 inside TLS",
        "a client whose first three frames have a wrong checksum",
    ],
    examples: [
        Example::bytes(b"\x05\x64\x05\xc0\x01\x00\x00\x04\xe9\x21")
            .matches(10).fact("from", "master").fact("destination", "1").fact("source", "1024"),
        Example::bytes(b"\x05\x64\x05\xc0\x01\x00\x00\x04\xe9\x20\x05\x64\x05\xc0\x01\x00\x00\x04\xe9\x21").matches(20),
        Example::bytes(b"\x05\x64\x05\xc0\x01\x00").undecided(),
        Example::bytes(b"\x05\x64\x04").rejects(3),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
