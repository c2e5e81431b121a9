//! The classifier for TLS and SSL: the ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2), and the hello
//! of SSL 2 that old clients wrap theirs in (RFC 5246, appendix E.2).
//!
//! This file has the plugin itself and the way from bytes to records; `hello` reads the ClientHello out of them and
//! `ssl2` the other form; `ja4` makes a fingerprint of what the client offers. It decrypts nothing and does not judge
//! what a client offers.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod hello;
mod ja4;
mod sha256;
mod ssl2;

use core::cell::Cell;

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at. Hellos have some hundred bytes, about two thousand with post-quantum keys.
const MAX_BYTES: usize = 16 << 10;

config! {
    /// What to learn of a client.
    pub struct Settings {
        /// Learns `ja4`, which takes most of a call. If left out, portsplit sets it by whether a `where` asks for `ja4`.
        ja4: bool = true,
    }
}

/// Recognises TLS clients.
pub struct Tls {
    settings: Settings,
}

impl Classifier for Tls {
    type Config = Settings;

    fn new(settings: Settings) -> Result<Self, ConfigError> {
        Ok(Tls { settings })
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let c = input.cursor();
        if input.bytes.first().ok_or(NeedMore(1))? & 0x80 != 0 {
            return ssl2::hello(c.framed(Records::None), facts);
        }
        hello::hello(c, input.is_last(), &self.settings, facts)
    }
}

/// The most records of one hello that are looked at. A stack that cuts on purpose makes a handful; the limit bounds the
/// work.
const MAX_RECORDS: u16 = 32;

/// What a hello's bytes come in. One type for both forms, so that the module has each read once.
#[derive(Clone, Copy)]
enum Records<'a> {
    /// SSL 2's hello comes in nothing that has to be looked at.
    None,
    /// TLS records (RFC 8446, section 5.1): type handshake, version 3 and any minor (it means nothing), a length.
    Tls {
        left: u16,
        /// Set where one more than may be looked at begins.
        spent: &'a Cell<bool>,
    },
}

impl Framing for Records<'_> {
    fn header(&mut self, c: &mut Cursor<'_>) -> Result<usize, Stop> {
        let Records::Tls { left, spent } = self else { return Ok(usize::MAX) };
        c.tag(b"\x16\x03")?;
        c.u8()?;
        if *left == 0 {
            spent.set(true);
            return Err(Reject);
        }
        *left -= 1;
        let high = c.u8_in(0..=(MAX_RECORD_BYTES >> 8) as u8)?;
        // Handshake records without a byte are forbidden.
        let len = |low| u16::from_be_bytes([high, low]);
        c.u8_where(|low| (1..=MAX_RECORD_BYTES).contains(&len(low))).map(|low| len(low).into())
    }
}

/// The most bytes a record has.
const MAX_RECORD_BYTES: u16 = 1 << 14;

/// The name of a protocol version in the fact `version`.
fn version_name(version: u16) -> &'static str {
    match version {
        0x0002 => "ssl2",
        0x0300 => "ssl3",
        0x0301 => "1.0",
        0x0302 => "1.1",
        0x0303 => "1.2",
        _ => "1.3",
    }
}

portsplit_plugin_sdk::export! {
    classifier: Tls,
    name: "tls",
    description: "TLS and SSL clients, by their ClientHello.",
    protocols: ["tls"],
    max_bytes: MAX_BYTES,
    facts: {
        "sni": "the server's name the client asks for, in lower case and without a final dot",
        "alpn": "each protocol the client offers for the connection, such as `h2`; of the first 8 those of at most 32 bytes",
        "version": "the highest version offered: `1.3`, `1.2`, `1.1`, `1.0`, `ssl3` or `ssl2`",
        "ja4": "the JA4 fingerprint of the client, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`; not for SSL 2's hello",
        "ech": "`outer` if the hello carries Encrypted Client Hello (or pretends to): `sni` is then the public name",
    },
    cannot_see: [
        "the name inside Encrypted Client Hello",
        "protocols that start in clear text and switch to TLS later (STARTTLS)",
        "the fingerprint of a hello with more than 32 extensions, or 108 suites, extensions and signature algorithms in all",
        "what stands behind the first 16 KiB, 32 records or 64 extensions of a hello, which matches without it",
        "the fingerprint, and what has not come, of a hello that is cut behind its cipher suites: it matches when the \
         client has finished or the time is up",
    ],
    examples: [
        Example::bytes(
            b"\x16\x03\x01\x00W\x01\x00\x00S\
              \x03\x03\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\
              \xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\x00\x00\x02\x13\x01\x01\x00\
              \x00(\
              \x00\x00\x00\x14\x00\x12\x00\x00\x0fwww.example.org\
              \x00\x10\x00\x05\x00\x03\x02h2\x00+\x00\x03\x02\x03\x04",
        )
        .matches(92).fact("sni", "www.example.org").fact("alpn", "h2").fact("version", "1.3"),
        Example::bytes(b"\x80\x2b\x01\x03\x01\x00\x12\x00\x00\x00\x10").matches(11).fact("version", "1.0"),
        Example::bytes(b"\x16\x03\x01\x00").undecided(),
        Example::bytes(b"\x16\x03\x01\x02\x00\x02").rejects(6),
        Example::bytes(b"\x16\xfe\xff").rejects(2),
    ],
}

#[cfg(test)]
mod tests;
