//! The pre-login packet (MS-TDS, section 2.2.6.5): a table of options, each a token, an offset and a length, up to the
//! token FF; then their data.

use portsplit_plugin_sdk::prelude::*;

/// The header, the option that has to be there, the end of the table, the option's data.
pub(crate) const MIN_PACKET_BYTES: u16 = 8 + 5 + 1 + 6;

/// The most options that are read; eight exist.
const MAX_OPTIONS: usize = 32;

/// The farthest that the byte of the option for encryption is waited for; it is among the first.
const MAX_OFFSET: usize = 512;

/// Reads the table, and the option for encryption unless `is_last` says that it will not come.
pub(crate) fn read(mut c: Cursor<'_>, is_last: bool, facts: &mut Facts) -> Answer {
    let start = c;
    let packet = c.left().unwrap_or_default();
    let mut encryption = None;
    for index in 0..MAX_OPTIONS {
        let token = if index == 0 { c.tag(b"\x00").map(|()| 0)? } else { c.u8()? };
        if token == 0xff {
            break;
        }
        // Data lie behind the table, of which there are this offset and length, and the end.
        let least = (c.position() - start.position() + 2 + 2 + 1) as u16;
        let offset = c.u16_be_in(least..=packet as u16)?;
        let len = match token {
            0 => c.u16_be_in(6..=6)?,
            1 => c.u16_be_in(1..=1)?,
            _ => c.u16_be()?,
        };
        ensure(usize::from(offset) + usize::from(len) <= packet)?;
        if token == 1 {
            encryption = Some(usize::from(offset));
        }
    }
    facts.add("message", "prelogin");
    if let Some(offset) = encryption.filter(|offset| *offset <= MAX_OFFSET) {
        let mut c = start;
        match c.skip(offset).and_then(|()| c.u8()) {
            Ok(0) => facts.add("encryption", "off"),
            Ok(1) => facts.add("encryption", "on"),
            Ok(2) => facts.add("encryption", "unsupported"),
            Ok(3) => facts.add("encryption", "required"),
            Ok(0x80..=0x83) => facts.add("encryption", "client-certificate"),
            Err(stop) if !is_last => return Err(stop),
            _ => {}
        }
    }
    Ok(Match)
}
