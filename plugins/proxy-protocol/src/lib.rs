//! The classifier for the PROXY protocol, versions 1 and 2, as HAProxy's `proxy-protocol.txt` (sections 2.1 and 2.2)
//! has it: what a load balancer sends first, before the client's own bytes.
//!
//! Version 1 is a line that begins with `PROXY`, version 2 a block that begins with twelve bytes chosen so that nothing
//! else does. Both match where the addresses end; extensions (TLVs) and what the client says are not looked at.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod address;

use portsplit_plugin_sdk::prelude::*;

/// The longest line of version 1, its end included, which the specification gives. Version 2 is decided earlier.
const MAX_BYTES: usize = 107;

/// Recognises senders of the PROXY protocol; it has nothing to configure.
pub struct ProxyProtocol;

impl Classifier for ProxyProtocol {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(ProxyProtocol)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        match c.one_of(&[b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"])? {
            0 => line(&mut c, facts)?,
            _ => block(&mut c, facts)?,
        }
        Ok(Match)
    }
}

/// Version 1: the family, both addresses and both ports, each after one space, and CR LF.
fn line(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    facts.add("version", "1");
    let (is_address, max): (fn(u8) -> bool, usize) = match c.one_of(&[b"TCP4 ", b"TCP6 ", b"UNKNOWN"])? {
        0 => (|b| b.is_ascii_digit() || b == b'.', "255.255.255.255".len()),
        1 => (|b| b.is_ascii_hexdigit() || b == b':' || b == b'.', address::MAX_TEXT_BYTES),
        _ => {
            // Whatever follows on the line is to be ignored.
            ensure(matches!(c.peek()?, b' ' | b'\r'))?;
            let max = MAX_BYTES.saturating_sub(c.position() + 2);
            c.take_until_where(b'\r', max, |b| (b' '..0x7f).contains(&b))?;
            return c.tag(b"\n");
        }
    };
    let source = c.take_until_where(b' ', max, is_address)?;
    ensure(!source.is_empty())?;
    let destination = c.take_until_where(b' ', max, is_address)?;
    ensure(!destination.is_empty())?;
    let source_port = c.take_until_where(b' ', MAX_PORT_BYTES, |b| b.is_ascii_digit())?;
    ensure(!source_port.is_empty())?;
    let destination_port = c.take_until_where(b'\r', MAX_PORT_BYTES, |b| b.is_ascii_digit())?;
    ensure(!destination_port.is_empty())?;
    c.tag(b"\n")?;
    facts.add_lower("source", source);
    facts.add("source_port", source_port);
    facts.add_lower("destination", destination);
    facts.add("destination_port", destination_port);
    Ok(())
}

/// The longest port in decimal digits.
const MAX_PORT_BYTES: usize = 5;

/// Version 2: command, family and transport, the length of the rest, then addresses of a size that the family gives.
fn block(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    facts.add("version", "2");
    if c.u8_in(LOCAL..=PROXY)? == LOCAL {
        // The sender speaks for itself: what it says about addresses is to be ignored.
        return c.skip(3);
    }
    let (address_len, ports_len): (u16, u16) = match c.u8()? {
        0x00 => (0, 0),
        0x11 | 0x12 => (4, 2),
        0x21 | 0x22 => (16, 2),
        0x31 | 0x32 => (108, 0), // sockets of Unix, whose names become no facts
        _ => return Err(Reject),
    };
    c.u16_be_in(2 * (address_len + ports_len)..=u16::MAX)?;
    if ports_len == 0 {
        return Ok(());
    }
    let source = c.take(address_len.into())?;
    let destination = c.take(address_len.into())?;
    let source_port = c.u16_be()?;
    let destination_port = c.u16_be()?;
    address::add("source", source, facts);
    address::add_port("source_port", source_port, facts);
    address::add("destination", destination, facts);
    address::add_port("destination_port", destination_port, facts);
    Ok(())
}

portsplit_plugin_sdk::export! {
    classifier: ProxyProtocol,
    name: "proxy-protocol",
    description: "The PROXY protocol, versions 1 and 2, with which a load balancer says whom it speaks for.",
    protocols: ["proxy-protocol"],
    max_bytes: MAX_BYTES,
    facts: {
        "version": "`1` or `2`",
        "source": "the client's address, such as `192.0.2.1` or `2001:db8::1`",
        "source_port": "the client's port",
        "destination": "the address the client connected to",
        "destination_port": "the port it connected to",
    },
    cannot_see: [
        "what the client says behind the header",
        "the extensions of version 2, such as the host name of a TLS connection that the sender has ended",
        "addresses of UNKNOWN and LOCAL, which mean nothing, and of Unix sockets",
    ],
    examples: [
        Example::text("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n").matches(45)
            .fact("version", "1").fact("source", "192.0.2.1").fact("destination_port", "443"),
        Example::text("PROXY UNKNOWN\r\n").matches(15),
        Example::bytes(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb").matches(28)
            .fact("version", "2").fact("source", "192.0.2.1").fact("source_port", "56324"),
        Example::bytes(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").matches(16).fact("version", "2"),
        Example::text("PROXY TCP4 192.0.2.1 ").undecided(),
        Example::text("PROXY / HTTP/1.1\r\n").rejects(7),
        Example::text("\r\n\r\nGET /").rejects(5),
        Example::text("POST / HTTP/1.1\r\n").rejects(2),
    ],
}
