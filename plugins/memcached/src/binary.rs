//! The binary protocol: what a request's header says of its lengths.

use core::ops::RangeInclusive;

use portsplit_plugin_sdk::prelude::*;

use crate::MAX_KEY_BYTES;

/// The longest value: servers are set to as much as 128 MiB, 1 MiB unless told.
const MAX_VALUE_BYTES: u32 = 128 << 20;

const NONE: RangeInclusive<u16> = 0..=0;
const SOME: RangeInclusive<u16> = 1..=MAX_KEY_BYTES;
const ANY: RangeInclusive<u16> = 0..=MAX_KEY_BYTES;

/// What an operation has behind its header: a key, extras, and maybe a value.
struct Layout {
    key: RangeInclusive<u16>,
    extras: u8,
    value: bool,
}

const fn layout(key: RangeInclusive<u16>, extras: u8, value: bool) -> Option<Layout> {
    Some(Layout { key, extras, value })
}

impl Layout {
    fn of(operation: u8) -> Option<Layout> {
        match operation {
            0x00 | 0x09 | 0x0c | 0x0d => layout(SOME, 0, false),  // get
            0x01..=0x03 | 0x11..=0x13 => layout(SOME, 8, true),   // set, add, replace
            0x04 | 0x14 => layout(SOME, 0, false),                // delete
            0x05 | 0x06 | 0x15 | 0x16 => layout(SOME, 20, false), // increment, decrement
            0x07 | 0x17 | 0x0a | 0x0b => layout(NONE, 0, false),  // quit, no operation, version
            0x08 | 0x18 | 0x1b => layout(NONE, 4, false),         // flush, verbosity
            0x0e | 0x0f | 0x19 | 0x1a => layout(SOME, 0, true),   // append, prepend
            0x10 => layout(ANY, 0, false),                        // stat
            0x1c..=0x1e | 0x23 | 0x24 => layout(SOME, 4, false),  // touch, get and touch
            0x1f => layout(ANY, 0, true),                         // Couchbase's hello
            0x20 => layout(NONE, 0, false),                       // mechanisms of SASL
            0x21 | 0x22 => layout(SOME, 0, true),                 // logging in with SASL
            _ => None,
        }
    }
}

/// Reads a header as far as its lengths; opaque and version number, which end it, can have any value.
pub(crate) fn request(c: &mut Cursor<'_>) -> Result<(), Stop> {
    c.tag(b"\x80")?;
    let operation = c.u8()?;
    let layout = Layout::of(operation).ok_or(Reject)?;
    let key = c.u16_be_in(layout.key)?;
    // The time of a flush can be left out.
    let flush = matches!(operation, 0x08 | 0x18);
    let extras = c.u8_where(|extras| extras == layout.extras || flush && extras == 0)?;
    c.tag(b"\0")?; // data type
    c.skip(2)?; // bucket
    let least = u32::from(key) + u32::from(extras);
    c.u32_be_in(least..=if layout.value { least + MAX_VALUE_BYTES } else { least })?;
    Ok(())
}
