//! The classifier for connections over ISO transport on TCP: S7comm of Siemens' controllers, MMS (IEC 61850), X.400 and
//! the like begin with the same packet, the Connection Request of COTP (X.224, section 13.3) behind a TPKT header (RFC
//! 1006, section 6).
//!
//! The two lengths have to agree, the destination is not known yet, and the parameters, each a code with the upper bit
//! set, a length and a value, have to end where the header ends; the size of packets or an access point (TSAP) is among
//! them. A request without any is RDP's, and so is one with RDP's cookie or negotiation, whose first byte is below 80.
//!
//! A client that goes on with a connection sends data (X.224, section 13.7). With S7's number in it this is certain, too.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// TPKT's header and the length byte of COTP, which COTP's own length leaves out.
const OUTSIDE: u16 = 4 + 1;

/// What COTP's length counts of the fixed part, and of the shortest parameter that has to be there.
const FIXED: u16 = 6;
const MIN_PARAMETERS: u16 = 2;

/// COTP's length is one byte, and 255 is reserved.
const MAX_HEADER: u16 = 254;

/// The most bytes of user data behind the header (X.224, section 13.3.5).
const MAX_USER_DATA: u16 = 32;

const MAX_BYTES: usize = (OUTSIDE + MAX_HEADER) as usize;

/// The longest access point that becomes a fact. S7 has 2 bytes, others up to 32.
const MAX_TSAP_BYTES: usize = 64;

/// Recognises clients of ISO transport; it has nothing to configure.
pub struct S7comm;

impl Classifier for S7comm {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(S7comm)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"\x03\x00")?;
        let least = OUTSIDE + FIXED + MIN_PARAMETERS;
        let inside = c.u16_be_in(least..=OUTSIDE + MAX_HEADER + MAX_USER_DATA)? - OUTSIDE;
        if c.peek()? == 2 {
            return data(c);
        }
        let least = inside.saturating_sub(MAX_USER_DATA).max(FIXED + MIN_PARAMETERS);
        let header = c.u8_in(least as u8..=inside.min(MAX_HEADER) as u8)?;
        c.part(header.into(), |c| {
            c.u8_where(|code| code & 0xf0 == 0xe0)?; // with the credit of the classes above 1
            c.tag(b"\x00\x00")?;
            c.skip(2)?; // the client's reference
            c.u8_in(0..=0x4f)?; // class 0 to 4 and its options
            parameters(c, facts)
        })?;
        Ok(Match)
    }
}

/// Reads the header of data, and S7's number with the kind of message, of the older controllers or of the newer ones.
fn data(mut c: Cursor<'_>) -> Answer {
    c.tag(b"\x02\xf0")?;
    c.u8_where(|number| number & 0x7f == 0)?; // whether it is the last of several
    if c.u8_where(|protocol| matches!(protocol, 0x32 | 0x72))? == 0x32 {
        c.u8_where(|kind| matches!(kind, 1..=3 | 7))?;
        c.tag(b"\x00\x00")?;
    } else {
        c.u8_where(|kind| matches!(kind, 1..=3 | 0xfe))?;
    }
    Ok(Match)
}

fn parameters(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    let mut known = [false; 3];
    while !c.at_end() {
        let code = c.u8_where(|code| code & 0x80 != 0)?;
        let len = c.u8()?;
        let value = c.take(len.into())?;
        let Some(seen) = known.get_mut(usize::from(code.wrapping_sub(0xc0))) else { continue };
        let first = !core::mem::replace(seen, true);
        match code {
            0xc1 if first => add_hex("src", value, facts),
            0xc2 if first => add_hex("dst", value, facts),
            _ => {}
        }
    }
    ensure(known.contains(&true))
}

/// Adds a fact with the bytes in hexadecimal digits. Access points are text with some and numbers with others, and the
/// same bytes must not look different.
fn add_hex(name: &str, bytes: &[u8], facts: &mut Facts) {
    let mut text = [0; 2 * MAX_TSAP_BYTES];
    let mut places = text.iter_mut();
    for byte in bytes.iter().take(MAX_TSAP_BYTES) {
        for (digit, place) in [byte >> 4, byte & 0x0f].into_iter().zip(&mut places) {
            *place = if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
        }
    }
    let len = 2 * bytes.len().min(MAX_TSAP_BYTES);
    facts.add(name, text.get(..len).unwrap_or_default());
}

portsplit_plugin_sdk::export! {
    classifier: S7comm,
    name: "s7comm",
    description: "Clients of ISO transport over TCP: S7comm (Siemens), MMS (IEC 61850) and others, by their connect request.",
    protocols: ["s7comm", "tpkt-cotp"],
    max_bytes: MAX_BYTES,
    facts: {
        "src": "the access point (TSAP) the client names for itself, in hexadecimal, at most 64 bytes of it",
        "dst": "the access point the client wants: with S7, `0102` is rack 0, slot 2 of a programming device's connection",
    },
    cannot_see: [
        "which protocol follows the connect request, S7comm, MMS or another: they wait for the answer",
        "RDP, which uses the same transport without access points; it has a detector of its own",
    ],
    examples: [
        Example::bytes(b"\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x01\x00\xc0\x01\x0a\xc1\x02\x01\x00\xc2\x02\x01\x02")
            .matches(22).fact("src", "0100").fact("dst", "0102"),
        Example::bytes(b"\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x01\x00\xc0\x01\x0a\xc1\x02\x01").undecided(),
        Example::bytes(b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01").rejects(12),
        Example::bytes(b"\x03\x00\x00\x0b").rejects(4),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
