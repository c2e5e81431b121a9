//! The dialects a negotiation offers: names in SMB 1, numbers in SMB 2 and 3. Only the newest family becomes a fact.

use portsplit_plugin_sdk::prelude::*;

/// The most bytes of a list of names that are read; about twelve names exist, together of some 200 bytes.
pub(crate) const MAX_LIST_BYTES: usize = 512;

/// The longest name that is read, without the byte before and after it; `MICROSOFT NETWORKS 1.03` is the longest there is.
const MAX_NAME_BYTES: usize = 64;

/// The most numbers that are read; five exist.
const MAX_NUMBERS: u16 = 16;

/// Reads the list of names that fills `c`: each the byte 02, the name and a zero.
pub(crate) fn of_smb1(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    let mut newest = "smb1";
    let start = c.position();
    while !c.at_end() && c.position() - start < MAX_LIST_BYTES - MAX_NAME_BYTES {
        c.tag(b"\x02")?;
        let name = c.take_until_where(0, MAX_NAME_BYTES, |b| (b' '..0x7f).contains(&b))?;
        if name.starts_with(b"SMB 2.") {
            newest = "smb2";
        }
    }
    facts.add("dialect", newest);
    Ok(Match)
}

/// Reads `count` numbers: 0x0202 and 0x0210 are SMB 2, from 0x0300 on it is SMB 3.
pub(crate) fn of_smb2(mut c: Cursor<'_>, count: u16, facts: &mut Facts) -> Answer {
    let mut newest = 0;
    for _ in 0..count.min(MAX_NUMBERS) {
        newest = c.u16_le_in(0x0200..=0x0fff)?.max(newest);
    }
    facts.add("dialect", if newest < 0x0300 { "smb2" } else { "smb3" });
    Ok(Match)
}
