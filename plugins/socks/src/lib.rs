//! The classifier for SOCKS: version 4 and its extension 4a (the documents of NEC and of Ying-Da Lee that define them)
//! and version 5 (RFC 1928, section 3).
//!
//! A client of version 4 says everything at once: command, port, address, user, and in 4a a host. A client of version 5
//! only offers ways to authenticate and waits; where it wants to go comes after the server's answer. That message is
//! short, so each byte is held to what the registry allows: as many methods as it says, no two the same, and among them
//! one of the three that RFC 1928 names.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The longest user name and the longest host; longer ones are rejected.
const MAX_TEXT_BYTES: usize = 255;

/// The longest request: version 4a with both.
const MAX_BYTES: usize = 8 + MAX_TEXT_BYTES + 1 + MAX_TEXT_BYTES + 1;

/// The most methods of version 5: ten are registered, and clients with private ones offer a few.
const MAX_METHODS: u8 = 16;

/// Recognises SOCKS clients; it has nothing to configure.
pub struct Socks;

impl Classifier for Socks {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Socks)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        match c.u8_in(4..=5)? {
            4 => version_4(&mut c, facts)?,
            _ => version_5(&mut c, facts)?,
        }
        Ok(Match)
    }
}

/// What Tor adds (its socks-extensions, section 2): the address of a host is asked for.
const RESOLVE: u8 = 0xf0;

/// Command, port, address, user name and a zero byte. The address 0.0.0.x says that a host follows (4a).
fn version_4(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    let (command, least_port) = match c.u8()? {
        1 => ("connect", 1),
        2 => ("bind", 1),
        RESOLVE => ("resolve", 0),
        _ => return Err(Reject),
    };
    c.u16_be_in(least_port..=u16::MAX)?;
    let named = c.peek()? == 0 || command == "resolve";
    if named {
        c.tag(b"\0\0\0")?;
        c.u8_in(1..=255)?;
    } else {
        c.u8_in(1..=223)?; // what is above are groups and no hosts
        c.skip(3)?;
    }
    c.take_until_where(0, MAX_TEXT_BYTES, |b| b >= b' ' && b != 0x7f)?;
    if named {
        let host = c.take_until_where(0, MAX_TEXT_BYTES, |b| b.is_ascii_graphic())?;
        ensure(!host.is_empty())?;
        facts.add_host("host", host);
    }
    facts.add("version", if named { "4a" } else { "4" });
    facts.add("command", command);
    Ok(())
}

/// The number of methods, then one byte for each.
fn version_5(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    let count = c.u8_in(1..=MAX_METHODS)?;
    // One bit for each method that was offered.
    let mut offered = [0u64; 4];
    for _ in 0..count {
        // 0 to 9 are registered, from 80 on they are private, and ff is the server's word for none.
        let method = c.u8_where(|b| matches!(b, 0..=9 | 0x80..=0xfe))?;
        let word = offered.get_mut(usize::from(method >> 6)).ok_or(Reject)?;
        let bit = 1 << (method & 63);
        ensure(*word & bit == 0)?;
        *word |= bit;
    }
    facts.add("version", "5");
    let [low, ..] = offered;
    ensure(low & 0b111 != 0)?;
    for (bit, name) in [(1, "none"), (2, "gssapi"), (4, "password")] {
        if low & bit != 0 {
            facts.add("auth", name);
        }
    }
    Ok(())
}

portsplit_plugin_sdk::export! {
    classifier: Socks,
    name: "socks",
    description: "SOCKS proxy clients of versions 4, 4a and 5.",
    protocols: ["socks4", "socks5"],
    max_bytes: MAX_BYTES,
    facts: {
        "version": "`4`, `4a` or `5`",
        "command": "`connect`, `bind` or Tor's `resolve`; only 4 and 4a say so at once",
        "host": "the host to connect to or to resolve, in lower case and without a final dot; only in 4a",
        "auth": "each way to authenticate that a client of version 5 offers: `none`, `gssapi`, `password`",
    },
    cannot_see: [
        "the command and the destination of version 5, which come after the server's first answer",
        "a client of version 5 that offers none of `none`, `gssapi` and `password`, or more than 16 methods",
        "a short message of another protocol that has the same first three bytes as version 5, such as `05 01 00`",
    ],
    examples: [
        Example::bytes(b"\x05\x02\x00\x02").matches(4).fact("version", "5").fact("auth", "none").fact("auth", "password"),
        Example::bytes(b"\x04\x01\x00\x50\xc0\x00\x02\x01alice\0").matches(14).fact("version", "4").fact("command", "connect"),
        Example::bytes(b"\x04\x01\x01\xbb\0\0\0\x01\0example.org\0").matches(21)
            .fact("version", "4a").fact("host", "example.org"),
        Example::bytes(b"\x05\x02\x00").undecided(),
        Example::bytes(b"\x05\x00").rejects(2),
        Example::bytes(b"\x05\x64\x05\xc0").rejects(2),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
