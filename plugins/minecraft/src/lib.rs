//! The classifier for Minecraft (Java Edition): the handshake that clients send since 1.7 (Minecraft Wiki, "Java
//! Edition protocol", section "Handshaking"), and the server list ping of 1.6 and 1.4 ("Server List Ping").
//!
//! The handshake is a packet of number 0 with a version, the host name the player typed, the port and what comes next;
//! its two lengths have to agree to the byte. What Forge and proxies put behind the host name, after a zero byte, is
//! not part of the fact `host`.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod legacy;

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at. A handshake has about 30, but proxies of the BungeeCord kind hand on a player's skin in
/// it.
const MAX_BYTES: usize = 4096;

/// The longest and the shortest packet behind its length.
const MAX_PACKET_BYTES: u64 = MAX_BYTES as u64 - MAX_LENGTH_BYTES as u64;
const MIN_PACKET_BYTES: u64 = 1 + 1 + 1 + 1 + 2 + 1;

/// The most bytes of a packet's length, and of any other number.
const MAX_LENGTH_BYTES: usize = 3;
const MAX_VARINT_BYTES: usize = 5;

/// The longest host name: the protocol's own limit, in characters.
const MAX_HOST_BYTES: usize = 255;

/// Recognises Minecraft clients; it has nothing to configure.
pub struct Minecraft;

impl Classifier for Minecraft {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Minecraft)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        // It takes the end of the bytes to tell these from longer ones.
        if input.is_last() && legacy::SHORT_PINGS.contains(&input.bytes) {
            facts.add("next", "status");
            return Ok(Match);
        }
        // The long form of the old ping begins like a handshake of 254 bytes, and is another one from the third byte
        // on.
        match legacy::ping(input.cursor(), facts) {
            Err(Reject) => handshake(input.cursor(), facts),
            answer => answer,
        }
    }
}

/// Reads the packet that a connection begins with since 1.7.
fn handshake(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    let len = c.varint(MAX_LENGTH_BYTES)?;
    ensure((MIN_PACKET_BYTES..=MAX_PACKET_BYTES).contains(&len))?;
    c.part(len as usize, |c| {
        c.tag(b"\0")?;
        let version = c.varint(MAX_VARINT_BYTES)? as u32;
        let len = c.varint(MAX_LENGTH_BYTES)?.min(MAX_PACKET_BYTES) as usize;
        ensure(c.left() == Some(len + 2 + 1))?;
        c.part(len, |c| address(c, facts))?;
        let port = c.u16_be()?;
        let next = c.u8_in(1..=3)?;
        // Versions below zero are those of a ping that knows none.
        if version <= i32::MAX as u32 {
            facts.add_number("protocol", version);
        }
        facts.add_number("port", port.into());
        facts.add("next", next_name(next));
        Ok(())
    })?;
    Ok(Match)
}

/// The host name, and behind a zero byte what Forge or a proxy adds.
fn address(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    let host = c.take_while(MAX_HOST_BYTES, |b| b > b' ' && b != 0x7f)?;
    ensure(!host.is_empty())?;
    add_host(host, facts);
    if c.at_end() {
        return Ok(());
    }
    c.tag(b"\0")?;
    let added = c.take(c.left().unwrap_or(0))?;
    let marker = added.split(|b| *b == 0).next().unwrap_or_default();
    if [&b"FML"[..], b"FML2", b"FML3", b"FORGE"].contains(&marker) {
        facts.add("forge", marker);
    }
    Ok(())
}

/// Teaches the host name in lower case and without a final dot, which clients add that looked up a service record.
fn add_host(host: &[u8], facts: &mut Facts) {
    let mut buffer = [0; MAX_HOST_BYTES];
    let lower = buffer.get_mut(..host.len()).unwrap_or_default();
    for (to, byte) in lower.iter_mut().zip(host) {
        *to = byte.to_ascii_lowercase();
    }
    facts.add("host", lower.strip_suffix(b".").unwrap_or(lower));
}

fn next_name(next: u8) -> &'static str {
    match next {
        1 => "status",
        2 => "login",
        _ => "transfer",
    }
}

portsplit_plugin_sdk::export! {
    classifier: Minecraft,
    name: "minecraft",
    description: "Minecraft clients (Java Edition): the handshake since 1.7 and the ping of 1.4 to 1.6.",
    protocols: ["minecraft"],
    max_bytes: MAX_BYTES,
    facts: {
        "host": "the host name the player typed, in lower case and without a final dot",
        "port": "the port the player typed",
        "next": "what comes next: `status` (the server list), `login` or `transfer`",
        "protocol": "the number of the client's protocol, such as `767` for 1.21",
        "forge": "what Forge's clients add to the host name: `FML`, `FML2`, `FML3` or `FORGE`",
    },
    cannot_see: [
        "the player's name, which comes in the next packet",
        "a handshake of more than 4 KiB, which is rejected",
        "the ping of clients before 1.4, which is the byte fe alone; that of 1.4 and 1.5, two or three bytes, is known \
         only when the time to decide is up or the client has half-closed",
        "logging in with a version before 1.7, and a handshake without a host name",
        "Bedrock Edition, which is UDP",
    ],
    examples: [
        Example::bytes(b"\x13\0\xff\x05\x0cExample.org.\x63\xdd\x01")
            .matches(20).fact("host", "example.org").fact("next", "status"),
        Example::bytes(b"\x12\0\xff\x05\x0bexample.org\x63\xdd\x02")
            .matches(19)
            .fact("host", "example.org").fact("port", "25565").fact("next", "login").fact("protocol", "767"),
        Example::bytes(b"\x12\0\xff\x05\x0bexample").undecided(),
        Example::bytes(b"\x12\0\xff\x05\x0c").rejects(5),
        Example::bytes(b"\x12\x01").rejects(2),
        Example::text("GET / HTTP/1.1\r\n").rejects(2),
    ],
}
