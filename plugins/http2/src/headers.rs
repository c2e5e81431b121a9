//! Finds the first HEADERS frame behind the preface (RFC 9113, sections 4.1 and 6.2) and learns facts from it.
//!
//! The preface has said that this is HTTP/2, so nothing here judges: [`Stop::Reject`] means that nothing more can be
//! learnt.

use portsplit_plugin_sdk::prelude::*;

use crate::hpack::{self, Name};

/// The most frames in front of HEADERS: clients send SETTINGS and WINDOW_UPDATE, old Firefox six of PRIORITY.
const MAX_FRAMES: usize = 16;

/// The largest frame a client may send before the server's SETTINGS allow more.
const MAX_FRAME_BYTES: u32 = 16 << 10;

/// The most pseudo-fields: five exist, and two changes of the table's size can precede them.
const MAX_PSEUDO_FIELDS: usize = 8;

/// The longest method, host and path that become facts. They bound what decoding costs.
const MAX_METHOD_BYTES: usize = 32;
const MAX_HOST_BYTES: usize = 255;
const MAX_PATH_BYTES: usize = 512;

/// Reads frames up to the pseudo-fields of the first request.
pub(crate) fn request(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    const HEADERS: u8 = 1;
    for _ in 0..MAX_FRAMES {
        let len = c.u24_be_in(0..=MAX_FRAME_BYTES)? as usize;
        let kind = c.u8()?;
        let flags = c.u8()?;
        c.skip(4)?; // the stream
        if kind == HEADERS {
            return c.part(len, |c| pseudo_fields(c, flags, facts));
        }
        c.skip(len)?;
    }
    Ok(())
}

fn pseudo_fields(c: &mut Cursor<'_>, flags: u8, facts: &mut Facts) -> Result<(), Stop> {
    const PADDED: u8 = 0x08;
    const PRIORITY: u8 = 0x20;
    if flags & PADDED != 0 {
        c.u8()?;
    }
    if flags & PRIORITY != 0 {
        c.skip(5)?;
    }
    let mut seen = 0u8;
    for _ in 0..MAX_PSEUDO_FIELDS {
        let (name, known) = hpack::name(c)?;
        let bit = match name {
            Name::Method => 1,
            Name::Authority => 2,
            Name::Path => 4,
            Name::Other => 0,
        };
        ensure(seen & bit == 0)?;
        seen |= bit;
        let mut buffer = [0; MAX_PATH_BYTES];
        let max = match name {
            Name::Method => MAX_METHOD_BYTES,
            Name::Authority => MAX_HOST_BYTES,
            Name::Path => MAX_PATH_BYTES,
            Name::Other => 0,
        };
        let value = match known {
            Some(value) => Some(value),
            None => hpack::string(c, buffer.get_mut(..max).unwrap_or_default())?,
        };
        if let Some(value) = value {
            add(name, value, facts);
        }
    }
    Ok(())
}

fn add(name: Name, value: &[u8], facts: &mut Facts) {
    match name {
        Name::Method => facts.add("method", value),
        Name::Authority => {
            facts.add_host("host", value);
        }
        Name::Path => {
            let end = value.iter().position(|b| *b == b'?').unwrap_or(value.len());
            facts.add("path", value.get(..end).unwrap_or(value));
        }
        Name::Other => {}
    }
}
