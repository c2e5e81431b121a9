//! The classifier for RTMP: the chunks C0 and C1 that clients begin with (Adobe's RTMP specification 1.0, sections
//! 5.2.2 and 5.2.3): a version byte, then 1536 bytes: a time, four bytes of zero, and random data.
//!
//! With the zeros it is known at once: 40 bits are fixed, and only CQL can look so. Clients that prove to be a Flash
//! player put that player's version in their place, as Flash itself did; fewer bits of it are fixed, so all of C1 has
//! to come as well. What such clients prove it with is a hash over C1, which would cost more than a call may.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// C0 and C1.
const MAX_BYTES: usize = 1 + 1536;

/// A request for options in version 3 of CQL is nine bytes long and would be a C0 and C1 with four zeros, if more came.
/// This byte, its opcode, gives it away.
const CQL_OPTIONS: u8 = 5;

/// Recognises RTMP clients; it has nothing to configure.
pub struct Rtmp;

impl Classifier for Rtmp {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Rtmp)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        // 3 is plain, 6 and 8 are encrypted (RTMPE).
        let plain = c.u8_where(|b| matches!(b, 3 | 6 | 8))? == 3;
        let time = c.take(4)?;
        if plain && c.peek()? == 0 {
            c.tag(b"\0\0\0\0")?;
            if time.ends_with(&[CQL_OPTIONS]) {
                c.skip(MAX_BYTES - c.position())?;
            }
        } else {
            // Flash 9 to 32, or the 128 that it also gave itself; then a small number, any, and nearly always 2.
            c.u8_where(|b| matches!(b, 9..=32 | 128))?;
            c.u8_in(0..=9)?;
            c.u8()?;
            c.u8_where(|b| matches!(b, 2 | 14))?;
            c.skip(MAX_BYTES - c.position())?;
        }
        facts.add("kind", if plain { "rtmp" } else { "rtmpe" });
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Rtmp,
    name: "rtmp",
    description: "RTMP clients that publish or play a stream, by the handshake they begin.",
    protocols: ["rtmp"],
    max_bytes: MAX_BYTES,
    facts: { "kind": "`rtmp`, or `rtmpe` if it is encrypted" },
    cannot_see: [
        "the application and the stream, which come after the server's part of the handshake",
        "whether the hash in a Flash player's handshake is right",
        "RTMPT, which is HTTP, and RTMPS, which is TLS",
    ],
    examples: [
        Example::bytes(b"\x03\0\x12\xd6\x87\0\0\0\0\x41").matches(9).fact("kind", "rtmp"),
        Example::bytes(b"\x03\0\0\0\0\x09\0\x7c\x02").undecided(),
        Example::bytes(b"\x03\0\0\x13\x0e\xe0\0\0").rejects(6),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
