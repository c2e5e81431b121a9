//! The classifier for OpenVPN over TCP: the packet that opens a session, which OpenVPN's protocol description (in its
//! sources `doc/doxygen/doc_protocol_overview.h` and `src/openvpn/ssl_pkt.h`, and for tls-crypt-v2
//! `doc/tls-crypt-v2.txt`) calls P_CONTROL_HARD_RESET_CLIENT_V1, V2 or V3.
//!
//! A length of two bytes, the opcode and the key id 0, a session id of eight arbitrary bytes, then one of
//!
//! - plain: no acknowledgements and packet 0, and the length is 14;
//! - tls-auth: an HMAC, the first replay id and a time, then as above; the length gives away the HMAC's;
//! - tls-crypt: the first replay id, a time, an HMAC of 32 bytes and five encrypted ones, and the length is 54; V3
//!   (tls-crypt-v2) puts the client's wrapped key behind it.
//!
//! Every way fixes 56 bits or more, except that tls-crypt-v2 fixes 40 and the range of its length.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The bytes of a packet without any wrapping: opcode, session, number of acknowledgements, packet id.
const PLAIN_BYTES: u16 = 1 + 8 + 1 + 4;

/// What tls-auth puts between session and acknowledgements besides the HMAC, and tls-crypt too: replay id and time.
const REPLAY_BYTES: u16 = 4 + 4;

/// tls-crypt's HMAC is always SHA-256.
const CRYPT_BYTES: u16 = PLAIN_BYTES + REPLAY_BYTES + 32;

/// Lengths of tls-auth's HMAC: MD5, SHA-1 or RIPEMD-160, SHA-224, SHA-256, SHA-384, SHA-512. That of SHA-256 is also
/// tls-crypt's.
const HMAC_BYTES: [u16; 6] = [16, 20, 28, 32, 48, 64];

/// A wrapped client key: HMAC, the encrypted key of 256 bytes, its own length; metadata makes it at most 1024 bytes.
const WRAPPED_KEY_BYTES: core::ops::RangeInclusive<u16> = 32 + 256 + 2..=1024;

/// The most bytes looked at: all of a packet with tls-auth and the longest HMAC.
const MAX_BYTES: usize = 2 + (PLAIN_BYTES + REPLAY_BYTES + 64) as usize;

/// The replay id of a session's first packet, and what a client puts there that can do without the server's memory.
const FIRST_IDS: [&[u8]; 2] = [b"\0\0\0\x01", b"\x0f\0\0\x01"];

/// Recognises OpenVPN clients; it has nothing to configure.
pub struct OpenVpn;

impl Classifier for OpenVpn {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(OpenVpn)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let len = c.u16_be_in(PLAIN_BYTES..=CRYPT_BYTES + WRAPPED_KEY_BYTES.end())?;
        let with_key = len.checked_sub(CRYPT_BYTES).is_some_and(|key| WRAPPED_KEY_BYTES.contains(&key));
        let hmac = len.checked_sub(PLAIN_BYTES + REPLAY_BYTES).filter(|hmac| HMAC_BYTES.contains(hmac));
        ensure(with_key || hmac.is_some() || len == PLAIN_BYTES)?;
        // Five bits of opcode, three of key id.
        let opcode = match c.u8()? {
            0x08 if !with_key => "V1",
            0x38 if !with_key => "V2",
            0x50 if with_key => "V3",
            _ => return Err(Reject),
        };
        c.skip(8)?; // session
        let wrapping = match hmac {
            _ if with_key => tls_crypt(&mut c, "tls-crypt-v2")?,
            Some(_) if len == CRYPT_BYTES => c.either(|c| tls_crypt(c, "tls-crypt"), |c| tls_auth(c, 32))?,
            Some(hmac) => tls_auth(&mut c, hmac)?,
            None => {
                c.tag(&[0; 5])?;
                "plain"
            }
        };
        facts.add("opcode", opcode);
        facts.add("wrapping", wrapping);
        Ok(Match)
    }
}

/// What follows is arbitrary: ciphertext, an HMAC, and a time, which a device without a clock counts from 1970.
fn tls_crypt(c: &mut Cursor<'_>, name: &'static str) -> Result<&'static str, Stop> {
    c.one_of(&FIRST_IDS)?;
    Ok(name)
}

fn tls_auth(c: &mut Cursor<'_>, hmac: u16) -> Result<&'static str, Stop> {
    c.skip(hmac.into())?;
    c.one_of(&FIRST_IDS)?;
    c.skip(4)?; // time
    c.tag(&[0; 5])?;
    Ok("tls-auth")
}

portsplit_plugin_sdk::export! {
    classifier: OpenVpn,
    name: "openvpn",
    description: "OpenVPN clients over TCP, with tls-auth, tls-crypt, tls-crypt-v2 or none of them.",
    protocols: ["openvpn"],
    max_bytes: MAX_BYTES,
    facts: {
        "opcode": "`V2` of today's clients, `V3` with tls-crypt-v2, `V1` of very old ones",
        "wrapping": "`plain`, `tls-auth`, `tls-crypt` or `tls-crypt-v2`",
    },
    cannot_see: [
        "OpenVPN with a static key (`--secret`), which sends nothing that is not encrypted",
        "traffic changed by an obfuscating patch, and OpenVPN over UDP",
        "whether the client has the right key: the host would have to know it",
    ],
    examples: [
        Example::bytes(b"\0\x0e\x38abcdefgh\0\0\0\0\0").matches(16).fact("opcode", "V2").fact("wrapping", "plain"),
        Example::bytes(b"\0\x36\x38abcdefgh\0\0\0\x01").matches(15).fact("wrapping", "tls-crypt"),
        Example::bytes(b"\0\x2a\x38abcdefghABCDEFGHIJKLMNOPQRST\0\0\0\x01timX").undecided(),
        Example::bytes(b"\0\x0e\x38abcdefgh\0\0\0\0\x01").rejects(16),
        Example::bytes(b"\0\x1d\xab\xcd").rejects(2),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
