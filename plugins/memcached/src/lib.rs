//! The classifier for memcached: the first request of a client, as text (memcached's doc/protocol.txt) or binary
//! (protocol_binary.txt in doc/ of versions before 1.6, BinaryProtocolRevamped in the wiki).
//!
//! A text request is a line that begins with a command in lower case and has the words this command takes, which is
//! read to its end. A binary one has a header of 24 bytes that begins with 80; the lengths of key, extras and body must
//! agree with each other and with the operation.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod binary;
mod text;

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: a line of the longest keys as far as it is read.
const MAX_BYTES: usize = 4096;

/// The longest key (doc/protocol.txt, "Keys").
const MAX_KEY_BYTES: u16 = 250;

/// Recognises memcached clients; it has nothing to configure.
pub struct Memcached;

impl Classifier for Memcached {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Memcached)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        if c.peek()? == 0x80 {
            binary::request(&mut c)?;
            facts.add("protocol", "binary");
        } else {
            text::request(&mut c)?;
            facts.add("protocol", "text");
        }
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Memcached,
    name: "memcached",
    description: "memcached clients over TCP, by their first request in the text or the binary protocol.",
    protocols: ["memcached"],
    max_bytes: MAX_BYTES,
    facts: {
        "protocol": "`text` (meta commands included) or `binary`",
    },
    cannot_see: [
        "Redis commands typed in lower case are taken for memcached's where they have the same form (`get x`)",
        "beanstalkd's `stats` and Gearman's `version`, the same lines as memcached's, are taken for them",
        "`quit`, `shutdown`, `watch` and the commands for tuning a server, when a client begins with them",
    ],
    examples: [
        Example::text("get user:1\r\n").matches(12).fact("protocol", "text"),
        Example::text("set user:1 0 3600 5\r\nalice\r\n").matches(21).fact("protocol", "text"),
        Example::text("version\r\n").matches(9).fact("protocol", "text"),
        Example::bytes(b"\x80\x0b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").matches(12).fact("protocol", "binary"),
        Example::text("set user:1 0 36").undecided(),
        Example::text("set user:1 x").rejects(12),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
