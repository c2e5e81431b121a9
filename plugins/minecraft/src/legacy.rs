//! The server list ping of versions before 1.7: the byte fe, since 1.4 followed by 01, and since 1.6 by a plugin
//! message with the host name in UTF-16.

use portsplit_plugin_sdk::prelude::*;

use crate::{MAX_HOST_BYTES, add_host};

/// All that a client of 1.4 or 1.5 sends, and what programs send that ask servers of 1.6 but have no host name to tell.
pub(crate) const SHORT_PINGS: [&[u8]; 2] = [b"\xfe\x01", b"\xfe\x01\xfa"];

/// The bytes behind the message's length besides the host name: a version, the name's length, and the port.
const FIXED_BYTES: u16 = 1 + 2 + 4;

pub(crate) fn ping(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    c.tag(b"\xfe\x01\xfa\0\x0b\0M\0C\0|\0P\0i\0n\0g\0H\0o\0s\0t")?;
    let len = c.u16_be_in(FIXED_BYTES + 2..=FIXED_BYTES + 2 * MAX_HOST_BYTES as u16)?;
    ensure(len % 2 == 1)?;
    c.part(len.into(), |c| {
        let version = c.u8()?;
        let chars = (len - FIXED_BYTES) / 2;
        c.u16_be_in(chars..=chars)?;
        let mut buffer = [0; MAX_HOST_BYTES];
        let host = buffer.get_mut(..chars.into()).unwrap_or_default();
        for to in host.iter_mut() {
            // What is not ASCII is no host name of the DNS.
            *to = u8::try_from(c.u16_be()?).ok().filter(u8::is_ascii_graphic).unwrap_or(b'?');
        }
        let port = c.u32_be_in(0..=0xffff)?;
        add_host(host, facts);
        facts.add_number("port", port);
        facts.add_number("protocol", version.into());
        facts.add("next", "status");
        Ok(())
    })?;
    Ok(Match)
}
