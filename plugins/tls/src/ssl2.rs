//! The hello in SSL 2's format, from clients of that age and from those that wrapped a TLS offer in it.
//!
//! A length of two bytes with the upper bit set, type 1, a version, then the lengths of the cipher list, the session
//! and the challenge. The four lengths have to agree, so it is known at the last of them.

use portsplit_plugin_sdk::prelude::*;

use crate::{Records, version_name};

/// The bytes the message's length counts before the lists.
const FIXED: u16 = 9;

/// A challenge has 16 to 32 bytes, the session is empty or has 16, a cipher takes 3. The most ciphers is ours: more
/// than twice as many as clients of that age knew.
const LISTS: core::ops::RangeInclusive<u16> = 3 + 16..=3 * 128 + 16 + 32;

pub(crate) fn hello(mut c: Cursor<'_, Records<'_>>, facts: &mut Facts) -> Answer {
    let (least, most) = (FIXED + LISTS.start(), FIXED + LISTS.end());
    let lists = (c.u16_be_in(0x8000 | least..=0x8000 | most)? & 0x7fff) - FIXED;
    c.tag(b"\x01")?;
    let version = match c.u8()? {
        0 => c.tag(b"\x02").map(|()| 0x0002)?,
        3 => 0x0300 | u16::from(c.u8_in(0..=4)?),
        _ => return Err(Reject),
    };
    let ciphers = c.u16_be_in(lists.saturating_sub(16 + 32).max(3)..=lists - 16)?;
    ensure(ciphers % 3 == 0)?;
    let rest = lists - ciphers;
    c.tag(b"\0")?;
    let session = u16::from(c.u8_where(|len| len == 0 || len == 16)?);
    let challenge = rest.checked_sub(session).filter(|len| (16..=32).contains(len)).ok_or(Reject)?;
    c.u16_be_in(challenge..=challenge)?;
    facts.add("version", version_name(version));
    Ok(Match)
}
