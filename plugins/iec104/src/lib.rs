//! The classifier for IEC 60870-5-104, the telecontrol protocol of power grids: the first frame of a station that
//! connects (IEC 60870-5-104, section 5).
//!
//! A frame is the byte 68, a length and four bytes of control. A station begins with STARTDT, or tests the connection
//! with TESTFR: six fixed bytes, as are their confirmations, which come first from one that was asked first. One that
//! sends information at once, without being allowed to, is recognised by it: the size of each type's objects is known, so
//! that type, number of objects and length have to agree.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod types;

use portsplit_plugin_sdk::prelude::*;

/// A frame up to the cause of the information in it; nothing behind it is looked at.
const MAX_BYTES: usize = 2 + 4 + 3;

/// What the length counts of a frame: control, and at most 249 bytes of information.
const CONTROL: u8 = 4;
const MAX_LEN: u8 = 253;

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
        let len = c.u8_where(|len| len == CONTROL || (CONTROL + types::MIN_BYTES..=MAX_LEN).contains(&len))?;
        if len > CONTROL {
            return information(c, len - CONTROL, facts);
        }
        let name = match c.u8()? {
            0x01 => "supervisory",
            0x07 | 0x0b => "startdt",
            0x13 | 0x23 => "stopdt",
            0x43 | 0x83 => "testfr",
            _ => return Err(Reject),
        };
        c.tag(b"\x00")?;
        if name == "supervisory" {
            c.u8_where(is_even)?; // how many frames were received
            c.skip(1)?;
        } else {
            c.tag(b"\x00\x00")?;
        }
        facts.add("frame", name);
        Ok(Match)
    }
}

/// Reads a frame with information: how many frames were sent and received, whose lowest bits are 0, then `len` bytes of
/// information (IEC 60870-5-101, section 7). The numbers are 0 at first, but fix nothing where a connection goes on.
fn information(mut c: Cursor<'_>, len: u8, facts: &mut Facts) -> Answer {
    for _ in 0..2 {
        c.u8_where(is_even)?;
        c.skip(1)?;
    }
    let kind = c.u8_where(|kind| types::element_bytes(kind).is_some() || kind == types::SEGMENT)?;
    c.u8_where(|objects| match types::bytes(kind, objects) {
        Some(bytes) => bytes == u16::from(len) && (objects == 1 || !types::is_command(kind)),
        None => kind == types::SEGMENT && objects == 1,
    })?;
    // The upper bit marks a test, the next a refusal.
    c.u8_where(|cause| (1..=47).contains(&(cause & 0x3f)))?;
    facts.add("frame", "information");
    facts.add_number("type", kind.into());
    Ok(Match)
}

fn is_even(byte: u8) -> bool {
    byte & 1 == 0
}

portsplit_plugin_sdk::export! {
    classifier: Iec104,
    name: "iec104",
    description: "IEC 60870-5-104 stations that connect, by their first frame: STARTDT, TESTFR or information.",
    protocols: ["iec104"],
    max_bytes: MAX_BYTES,
    facts: {
        "frame": "the frame: `startdt`, `testfr`, `stopdt`, `supervisory` or `information`",
        "type": "the type of information, such as `100` for a general interrogation",
    },
    cannot_see: [
        "which station is meant, which STARTDT does not say",
        "information of private types (128 and above), and with other widths of cause and addresses, unless STARTDT comes \
         first, as it has to",
    ],
    examples: [
        Example::bytes(b"\x68\x04\x07\x00\x00\x00").matches(6).fact("frame", "startdt"),
        Example::bytes(b"\x68\x0e\x00\x00\x00\x00\x64\x01\x06\x00\x01\x00\x00\x00\x00\x14")
            .matches(9).fact("frame", "information").fact("type", "100"),
        Example::bytes(b"\x68\x04\x47\x00\x00\x00").rejects(3),
        Example::bytes(b"\x68\x04\x07").undecided(),
        Example::text("hello\r\n").rejects(5),
    ],
}
