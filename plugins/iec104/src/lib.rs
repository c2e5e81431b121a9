//! The classifier for IEC 60870-5-104, the telecontrol protocol of power grids: the first frame of a controlling station
//! (IEC 60870-5-104, section 5).
//!
//! A frame is the byte 68, a length and four bytes of control. A station begins with STARTDT, or tests the connection
//! with TESTFR: six fixed bytes. One that sends a command at once, without being allowed to, is recognised by it: the
//! types of the controlling direction have one information object of a size that is known, so that the length has to
//! agree with the type.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// A whole frame of any length is as long as the longest command here.
const MAX_BYTES: usize = 2 + 4 + HEADER as usize + 16;

/// What a command has before its information element: type, count, cause, originator, two bytes of address of the
/// station and three of the object.
const HEADER: u8 = 1 + 1 + 1 + 1 + 2 + 3;

/// Recognises controlling stations; it has nothing to configure.
pub struct Iec104;

impl Classifier for Iec104 {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Iec104)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"\x68")?;
        let len = c.u8_where(|len| len == 4 || command_len(len))?;
        if len > 4 {
            return command(c, len, facts);
        }
        let frames: [(&[u8], &str); 3] = [(b"\x07", "startdt"), (b"\x43", "testfr"), (b"\x13", "stopdt")];
        let index = c.one_of(&frames.map(|(control, _)| control))?;
        c.tag(b"\x00\x00\x00")?;
        if let Some((_, name)) = frames.get(index) {
            facts.add("frame", name);
        }
        Ok(Match)
    }
}

/// Reads a frame with a command in it (IEC 60870-5-101, section 7): numbers of frames sent and received, whose lowest
/// bits are 0, then the command.
fn command(mut c: Cursor<'_>, len: u8, facts: &mut Facts) -> Answer {
    let is_even = |byte: u8| byte & 1 == 0;
    c.u8_where(is_even)?;
    c.skip(1)?;
    c.u8_where(is_even)?;
    c.skip(1)?;
    let kind = c.u8_where(|kind| element_bytes(kind).is_some_and(|element| len == 4 + HEADER + element))?;
    c.tag(b"\x01")?; // one object
    // Request, activation, deactivation or file transfer; the upper bit marks a test, the next a refusal.
    c.u8_where(|cause| matches!(cause & 0x7f, 5 | 6 | 8 | 13))?;
    facts.add("frame", "command");
    facts.add_number("type", kind.into());
    Ok(Match)
}

/// Whether any command makes a frame of this length.
fn command_len(len: u8) -> bool {
    (1..=127).any(|kind| element_bytes(kind).is_some_and(|element| len == 4 + HEADER + element))
}

/// The bytes of the information element of a type in the controlling direction; `None` for every other type.
fn element_bytes(kind: u8) -> Option<u8> {
    Some(match kind {
        // Single and double commands, regulating steps; set points in three forms; a string of bits.
        45..=47 => 1,
        48 | 49 => 3,
        50 => 5,
        51 => 4,
        // The same with a time of seven bytes.
        58..=60 => 1 + 7,
        61 | 62 => 3 + 7,
        63 => 5 + 7,
        64 => 4 + 7,
        // Interrogations, reset, activation of a parameter; read; clock; test and delay; test with the time.
        100 | 101 | 105 | 113 => 1,
        102 => 0,
        103 => 7,
        104 | 106 => 2,
        107 => 2 + 7,
        // Parameters of measured values.
        110 | 111 => 3,
        112 => 5,
        // Files: ready, section ready, call or acknowledge, last section, query a log.
        120 => 6,
        121 => 7,
        122 | 124 => 4,
        123 => 5,
        127 => 2 + 7 + 7,
        _ => return None,
    })
}

portsplit_plugin_sdk::export! {
    classifier: Iec104,
    name: "iec104",
    description: "IEC 60870-5-104 controlling stations, by their first frame: STARTDT, TESTFR or a command.",
    protocols: ["iec104"],
    max_bytes: MAX_BYTES,
    facts: {
        "frame": "the frame: `startdt`, `testfr`, `stopdt` or `command`",
        "type": "the type of a command, such as `100` for a general interrogation",
    },
    cannot_see: [
        "which station is addressed, unless the first frame is a command",
        "commands of private types (128 and above) and of stations that use other widths of cause and addresses, unless \
         STARTDT comes first, as it has to",
    ],
    examples: [
        Example::bytes(b"\x68\x04\x07\x00\x00\x00").matches(6).fact("frame", "startdt"),
        Example::bytes(b"\x68\x0e\x00\x00\x00\x00\x64\x01\x06\x00\x01\x00\x00\x00\x00\x14")
            .matches(9).fact("frame", "command").fact("type", "100"),
        Example::bytes(b"\x68\x04\x0b\x00\x00\x00").rejects(3),
        Example::bytes(b"\x68\x04\x07").undecided(),
        Example::text("hello\r\n").rejects(2),
    ],
}
