//! The session request of NetBIOS over TCP (RFC 1002, section 4.3.2): the name called and the name calling, each in the
//! first-level encoding of section 4.1 of RFC 1001, two letters `A` to `P` for each of 16 bytes.

use portsplit_plugin_sdk::prelude::*;

/// A name in its encoding: length, 32 letters, and a zero if no scope follows.
const NAME_BYTES: u16 = 1 + 32 + 1;

/// The longest domain name (RFC 1002 takes it from the DNS), which bounds a name with its scope.
const MAX_NAME_BYTES: u16 = 255;

/// The most labels of a scope that are read; the limit above allows no more than this.
const MAX_LABELS: usize = 127;

pub(crate) fn request(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    c.tag(b"\x00")?; // the lowest flag is the upper bit of the length, which never gets that long
    let len = c.u16_be_in(2 * NAME_BYTES..=2 * MAX_NAME_BYTES)?;
    c.part(len.into(), |c| {
        name(c, "called", NAME_BYTES, facts)?;
        name(c, "calling", 0, facts)
    })?;
    Ok(Match)
}

/// Reads a name behind which `after` bytes have to follow at least. What becomes a fact has lost its last byte, the kind
/// of service, and the blanks in front of that.
fn name(c: &mut Cursor<'_>, fact: &str, after: u16, facts: &mut Facts) -> Result<(), Stop> {
    c.tag(b"\x20")?;
    let mut name = [0; 16];
    for byte in &mut name {
        let high = c.u8_in(b'A'..=b'P')? - b'A';
        let low = c.u8_in(b'A'..=b'P')? - b'A';
        *byte = high << 4 | low;
    }
    for _ in 0..=MAX_LABELS {
        let label = c.u8_in(0..=63)?;
        if label == 0 {
            break;
        }
        let rest = usize::from(label) + 1 + usize::from(after);
        ensure(c.left() >= Some(rest))?;
        c.skip(label.into())?;
    }
    let [name @ .., _] = &name;
    let len = name.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last + 1);
    facts.add(fact, name.get(..len).unwrap_or_default());
    Ok(())
}
