//! The classifier for BitTorrent's peer protocol: the handshake a connecting peer sends (BEP 3, "peer protocol").
//!
//! The byte 19, `BitTorrent protocol`, eight bytes of extension bits, the info hash and the peer's id. The first 20
//! bytes are certain; the eight and the hash are waited for because the hash is a fact. A client may hold back its id
//! behind it.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// SHA-1, or the first bytes of SHA-256 for torrents of version 2 (BEP 52).
const HASH_BYTES: usize = 20;

/// All but the peer's id.
const MAX_BYTES: usize = 1 + 19 + 8 + HASH_BYTES;

/// Recognises BitTorrent peers; it has nothing to configure.
pub struct BitTorrent;

impl Classifier for BitTorrent {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(BitTorrent)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"\x13BitTorrent protocol")?;
        c.skip(8)?;
        let mut text = [0; 2 * HASH_BYTES];
        let digits = c.take(HASH_BYTES)?.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (place, digit) in text.iter_mut().zip(digits) {
            *place = if digit < 10 { b'0' + digit } else { b'a' - 10 + digit };
        }
        facts.add("info_hash", text);
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: BitTorrent,
    name: "bittorrent",
    description: "BitTorrent peers that open a connection without encryption.",
    protocols: ["bittorrent"],
    max_bytes: MAX_BYTES,
    facts: {
        "info_hash": "the hash of the torrent they want, as 40 hexadecimal digits in lower case",
    },
    cannot_see: [
        "peers that encrypt the handshake (Message Stream Encryption), whose bytes look random; most do so at first",
        "peers over uTP, which is UDP; trackers and web seeds, which are HTTP",
    ],
    examples: [
        Example::bytes(b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67")
            .matches(48).fact("info_hash", "0123456789abcdef0123456789abcdef01234567"),
        Example::bytes(b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05").undecided(),
        Example::bytes(b"\x13BitTorrent protokol").rejects(18),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
