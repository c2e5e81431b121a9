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

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at. Hellos have some hundred bytes, about two thousand with post-quantum keys.
const MAX_BYTES: usize = 16 << 10;

/// Recognises TLS clients; it has nothing to configure.
pub struct Tls;

impl Classifier for Tls {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Tls)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        if c.peek()? & 0x80 != 0 {
            return ssl2::hello(c, facts);
        }
        hello::hello(c.framed(Records { left: MAX_RECORDS }), facts)
    }
}

/// The most records one hello may come in. A stack that cuts on purpose makes a handful; the limit bounds the work.
const MAX_RECORDS: u16 = 32;

/// TLS records (RFC 8446, section 5.1): type handshake, version 3 and any minor (it means nothing), a length.
#[derive(Clone, Copy)]
struct Records {
    left: u16,
}

impl Framing for Records {
    fn header(&mut self, c: &mut Cursor<'_>) -> Result<usize, Stop> {
        ensure(self.left > 0)?;
        self.left -= 1;
        c.tag(b"\x16\x03")?;
        c.u8()?;
        // Handshake records without a byte are forbidden.
        Ok(c.u16_be_in(1..=1 << 14)?.into())
    }
}

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
        "alpn": "each protocol the client offers for the connection, such as `h2`; at most 8 of at most 32 bytes",
        "version": "the highest version offered: `1.3`, `1.2`, `1.1`, `1.0`, `ssl3` or `ssl2`",
        "ja4": "the JA4 fingerprint of the client, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`; not for SSL 2's hello",
        "ech": "`outer` if the hello carries Encrypted Client Hello (or pretends to): `sni` is then the public name",
    },
    cannot_see: [
        "the name inside Encrypted Client Hello",
        "protocols that start in clear text and switch to TLS later (STARTTLS)",
        "the fingerprint of a hello with more than 32 extensions, or more than 108 cipher suites, extensions and signature algorithms in all",
        "a hello of more than 16 KiB, or in more than 32 records, which is rejected",
    ],
    examples: [
        Example::bytes(include_bytes!("../flights/openssl.bin"))
            .matches(include_bytes!("../flights/openssl.bin").len())
            .fact("sni", "www.example.org").fact("alpn", "h2").fact("alpn", "http/1.1").fact("version", "1.3"),
        Example::bytes(b"\x80\x2b\x01\x03\x01\x00\x12\x00\x00\x00\x10").matches(11).fact("version", "1.0"),
        Example::bytes(b"\x16\x03\x01\x00").undecided(),
        Example::bytes(b"\x16\x03\x01\x02\x00\x02").rejects(6),
        Example::bytes(b"\x16\xfe\xff").rejects(2),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}

#[cfg(test)]
mod tests;
