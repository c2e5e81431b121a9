//! The login packets: of TDS 7 (MS-TDS, section 2.2.6.4) and of TDS 4 and 5, which have no packet before them.

use portsplit_plugin_sdk::prelude::*;

/// The fixed part of a login 7, and the packet header.
pub(crate) const MIN_PACKET_BYTES: u16 = 8 + 86;

/// A login of TDS 4 or 5 has more than 512 bytes, and so its first packet has exactly those.
pub(crate) const OLD_PACKET_BYTES: u16 = 512;

/// The longest login 7 (MS-TDS, section 2.2.6.4).
const MAX_LOGIN_BYTES: u32 = 128 << 10;

pub(crate) fn read(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    c.u32_le_in(86..=MAX_LOGIN_BYTES)?;
    c.skip(3)?; // the version's lower digits, and its builds
    let version = match c.u8()? {
        0x70 => "7.0",
        0x71 => "7.1",
        0x72 => "7.2",
        0x73 => "7.3",
        0x74 => "7.4",
        _ => return Err(Reject),
    };
    facts.add("message", "login7");
    facts.add("version", version);
    Ok(Match)
}

/// The bytes of a name in a login of TDS 4 or 5, without the byte behind it that counts those in use.
const NAME: usize = 30;

pub(crate) fn read_old(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    // Host, user, password, process.
    for _ in 0..4 {
        field(&mut c, NAME)?;
    }
    c.skip(9 + 4 + 3)?; // how the client writes numbers, its buffer, spare bytes
    field(&mut c, NAME)?; // application
    field(&mut c, NAME)?; // server
    c.skip(255 + 1)?; // passwords for other servers
    let (major, minor) = (c.u8_in(4..=5)?, c.u8_in(0..=9)?);
    c.tag(b"\x00\x00")?;
    facts.add("message", "login");
    facts.add("version", [b'0' + major, b'.', b'0' + minor]);
    Ok(Match)
}

fn field(c: &mut Cursor<'_>, len: usize) -> Result<(), Stop> {
    c.skip(len)?;
    c.u8_in(0..=len as u8)?;
    Ok(())
}
