//! The classifier for TDS, the protocol of SQL Server and Sybase: what a client sends first in each version.
//!
//! TDS 7.1 and later begin with a pre-login packet (MS-TDS, section 2.2.6.5), 7.0 with its login packet (2.2.6.4), TDS 4
//! and 5 with theirs (TDS 5.0 specification, section "Login"). All have the packet header of eight bytes; behind it a
//! pre-login has a table of options whose offsets and lengths have to lie in the packet, a login 7 its own length and
//! version, a login 4 or 5 fields of 30 bytes, each with the number of bytes in use.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod login;
mod prelogin;

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: TDS 4 and 5 name their version in byte 470, pre-login options lie nearer.
const MAX_BYTES: usize = 1024;

/// The packet header: type, status, length, channel, number, window.
const HEADER: usize = 8;

/// The largest packet that can be asked for (MS-TDS, section 2.2.6.4). What comes first is smaller.
const MAX_PACKET_BYTES: u16 = 0x7fff;

/// Recognises TDS clients; it has nothing to configure.
pub struct Tds;

impl Classifier for Tds {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Tds)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let kind = c.one_of(&[b"\x12", b"\x10", b"\x02"])?;
        c.u8_in(0..=1)?; // whether this packet is the message's last
        let (least, most) = match kind {
            0 => (prelogin::MIN_PACKET_BYTES, MAX_PACKET_BYTES),
            1 => (login::MIN_PACKET_BYTES, MAX_PACKET_BYTES),
            _ => (login::OLD_PACKET_BYTES, login::OLD_PACKET_BYTES),
        };
        let len = c.u16_be_in(least..=most)?;
        c.tag(b"\x00\x00")?; // the server's process, which is not known yet
        c.u8()?; // numbers begin with 0 or 1, or with anything
        c.tag(b"\x00")?;
        c.limit(usize::from(len) - HEADER)?;
        match kind {
            0 => prelogin::read(c, input.is_last(), facts),
            1 => login::read(c, facts),
            _ => login::read_old(c, facts),
        }
    }
}

portsplit_plugin_sdk::export! {
    classifier: Tds,
    name: "tds",
    description: "TDS clients of SQL Server and Sybase: pre-login, or the login packet of TDS 4, 5 and 7.",
    protocols: ["tds"],
    max_bytes: MAX_BYTES,
    facts: {
        "message": "`prelogin`, `login7`, or `login` for TDS 4 and 5",
        "version": "the protocol version of a login packet, such as `7.0`, `5.0` or `4.2`",
        "encryption": "what a pre-login says of encryption: `off` (only the login), `on`, `unsupported`, `required`, or \
                       `client-certificate`",
    },
    cannot_see: [
        "TDS 8, which begins with TLS (ALPN `tds/8.0`)",
        "server, database and user: they come after the pre-login",
    ],
    examples: [
        Example::bytes(b"\x12\x01\x00\x1a\0\0\x01\0\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x09\0\0\0\0\0\x02")
            .matches(26).fact("message", "prelogin").fact("encryption", "unsupported"),
        Example::bytes(b"\x10\x01\x00\x90\0\0\x01\0\x88\0\0\0\0\0\0\x70").matches(16).fact("version", "7.0"),
        Example::bytes(b"\x12\x01\x00\x1a\0\0\x01\0\x01").rejects(9),
        Example::bytes(b"\x02\x00\x02\x00\0\0\0\0").undecided(),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
