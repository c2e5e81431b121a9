//! The classifier for OPC UA over TCP: the Hello message a client sends first, or the ReverseHello of a server that
//! connects to its client (OPC 10000-6, section 7.1.2).
//!
//! `HELF`, the message's size, five numbers, and the endpoint's URL, which fills the message; or `RHEF`, the size, the
//! server's URI and the URL. All numbers are little endian. It is recognised when the URL is complete.
//!
//! A client that goes on with a connection sends messages of its secure channel (section 6.7.2), which begin as clearly.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes of a URL or URI (OPC 10000-6, sections 7.1.2.3 and 7.1.2.6: fewer than 4096).
const MAX_TEXT_BYTES: u32 = 4096;

/// The longest URL that is waited for and becomes a fact.
const MAX_URL_BYTES: u32 = 1024;

/// Headers, one text that is passed over, and the URL.
const MAX_BYTES: usize = 32 + (MAX_TEXT_BYTES + MAX_URL_BYTES) as usize;

/// The size of a message of a channel: at least type and size, the channel's number, one for the key, and two that
/// count; and what no buffer has.
const MIN_CHANNEL_BYTES: u32 = 8 + 4 + 4 + 8;
const MAX_CHANNEL_BYTES: u32 = 16 << 20;

/// A text that is not there has this length.
const NO_TEXT: u32 = u32::MAX;

/// Recognises OPC UA clients, and servers that connect in reverse; it has nothing to configure.
pub struct OpcUa;

impl Classifier for OpcUa {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(OpcUa)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let kind = c.one_of(&[b"HELF", b"RHEF", b"OPNF", b"MSGF", b"MSGC", b"CLOF"])?;
        if kind > 1 {
            c.u32_le_in(MIN_CHANNEL_BYTES..=MAX_CHANNEL_BYTES)?;
            facts.add("message", "channel");
            return Ok(Match);
        }
        let reverse = kind == 1;
        if reverse {
            let size = c.u32_le_in(8 + 4 + 4..=8 + 2 * (4 + MAX_TEXT_BYTES))?;
            c.limit(size as usize - 8)?;
            let server = text_len(&mut c, 4)?;
            c.skip(server as usize)?;
        } else {
            let size = c.u32_le_in(8 + 20 + 4..=8 + 20 + 4 + MAX_TEXT_BYTES)?;
            c.limit(size as usize - 8)?;
            c.skip(20)?; // version, sizes of buffers and messages, number of chunks
        }
        facts.add("message", if reverse { "reverse-hello" } else { "hello" });
        let url = text_len(&mut c, 0)?;
        ensure(c.left() == Some(url as usize))?;
        if (1..=MAX_URL_BYTES).contains(&url) {
            facts.add("endpoint", c.take(url as usize)?);
        }
        Ok(Match)
    }
}

/// Reads the length of a text behind which at least `after` bytes of the message follow.
fn text_len(c: &mut Cursor<'_>, after: u32) -> Result<u32, Stop> {
    let len = c.u32_le()?;
    if len == NO_TEXT {
        return Ok(0);
    }
    let left = c.left().and_then(|left| u32::try_from(left).ok()).unwrap_or_default();
    ensure(len <= MAX_TEXT_BYTES && left.checked_sub(len).is_some_and(|rest| rest >= after))?;
    Ok(len)
}

portsplit_plugin_sdk::export! {
    classifier: OpcUa,
    name: "opcua",
    description: "OPC UA clients over TCP, by their Hello, and servers that connect in reverse.",
    protocols: ["opcua"],
    max_bytes: MAX_BYTES,
    facts: {
        "endpoint": "the URL the client connects to, such as `opc.tcp://example.org:4840/line1`; missing if it has more \
                     than 1024 bytes",
        "message": "`hello` from a client, `reverse-hello` from a server, `channel` from a client that goes on with a \
                    connection",
    },
    cannot_see: [
        "OPC UA over HTTPS or WebSockets, which are TLS or HTTP",
        "sessions, users and nodes, which come later",
    ],
    examples: [
        Example::bytes(b"HELF\x33\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\x13\0\0\0opc.tcp://127.0.0.1")
            .matches(51).fact("message", "hello").fact("endpoint", "opc.tcp://127.0.0.1"),
        Example::bytes(b"HELF\x33\0\0\0").undecided(),
        Example::text("HELO example.org\r\n").rejects(4),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
