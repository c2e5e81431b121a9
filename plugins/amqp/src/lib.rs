//! The classifier for AMQP: the protocol header, eight bytes that a client begins with (AMQP 0-9-1, section 4.2.2; AMQP
//! 1.0, part 2, section 2.2, and part 5, sections 5.2.1 and 5.3.2).
//!
//! `AMQP`, a protocol number, and three bytes of version. The older versions put the numbers in several orders, which
//! RabbitMQ and Qpid sort out as is done here.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The length of the header.
const HEADER_BYTES: usize = 8;

/// What stands behind `AMQP`, with the version and the layer it means.
const HEADERS: [(&[u8; 4], &str, &str); 9] = [
    (b"\x00\x00\x09\x01", "0-9-1", "amqp"),
    (b"\x00\x01\x00\x00", "1.0", "amqp"),
    (b"\x03\x01\x00\x00", "1.0", "sasl"),
    (b"\x02\x01\x00\x00", "1.0", "tls"),
    (b"\x01\x01\x00\x09", "0-9", "amqp"),
    (b"\x01\x01\x00\x0a", "0-10", "amqp"),
    // What the text of 0-8 means, what most of its clients send, and what py-amqplib does.
    (b"\x01\x01\x00\x08", "0-8", "amqp"),
    (b"\x01\x01\x08\x00", "0-8", "amqp"),
    (b"\x01\x01\x09\x01", "0-8", "amqp"),
];

/// Recognises AMQP clients; it has nothing to configure.
pub struct Amqp;

impl Classifier for Amqp {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Amqp)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"AMQP")?;
        let tags = HEADERS.map(|(tag, _, _)| tag.as_slice());
        let index = c.one_of(&tags)?;
        if let Some((_, version, layer)) = HEADERS.get(index) {
            facts.add("version", version);
            facts.add("layer", layer);
        }
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Amqp,
    name: "amqp",
    description: "AMQP clients of versions 0-8 to 1.0, by their protocol header.",
    protocols: ["amqp"],
    max_bytes: HEADER_BYTES,
    facts: {
        "version": "`0-9-1` (RabbitMQ), `1.0`, or the older `0-8`, `0-9` and `0-10`",
        "layer": "`amqp`, or in 1.0 also `sasl` (the client logs in first) or `tls` (it asks for TLS)",
    },
    cannot_see: ["user, virtual host and container, which come only after the server's answer"],
    examples: [
        Example::bytes(b"AMQP\0\0\x09\x01").matches(8).fact("version", "0-9-1").fact("layer", "amqp"),
        Example::bytes(b"AMQP\x03\x01\0\0").matches(8).fact("version", "1.0").fact("layer", "sasl"),
        Example::bytes(b"AMQP\0").undecided(),
        Example::bytes(b"AMQP\0\0\x09\x02").rejects(8),
        Example::text("AMQS").rejects(4),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
