//! The classifier for EtherNet/IP (CIP): the encapsulation header of a request that needs no session (CIP volume 2,
//! section 2-3).
//!
//! 24 bytes, little endian: command, length, session, status, eight bytes of the sender's, options. A client asks who is
//! there (ListServices, ListIdentity, ListInterfaces, without data) or registers a session (with version and options);
//! status and options are zero in all of them.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The header, and the data of a registration.
const MAX_BYTES: usize = 24 + 4;

/// Recognises EtherNet/IP clients; it has nothing to configure.
pub struct Enip;

impl Classifier for Enip {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Enip)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        // Each with the length of its data.
        let requests: [(&[u8], &str); 4] = [
            (b"\x65\x00\x04\x00", "register-session"),
            (b"\x63\x00\x00\x00", "list-identity"),
            (b"\x04\x00\x00\x00", "list-services"),
            (b"\x64\x00\x00\x00", "list-interfaces"),
        ];
        let index = c.one_of(&requests.map(|(head, _)| head))?;
        c.skip(4)?; // the session, which there is none of
        c.tag(b"\x00\x00\x00\x00")?;
        c.skip(8)?; // the sender's own
        c.tag(b"\x00\x00\x00\x00")?;
        if index == 0 {
            c.u16_le_in(1..=0xff)?; // the version: 1, and nothing else so far
            c.tag(b"\x00\x00")?;
        }
        if let Some((_, name)) = requests.get(index) {
            facts.add("command", name);
        }
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Enip,
    name: "enip",
    description: "EtherNet/IP (CIP) clients, by their first request: a session or a list.",
    protocols: ["enip"],
    max_bytes: MAX_BYTES,
    facts: {
        "command": "the request: `register-session`, `list-identity`, `list-services` or `list-interfaces`",
    },
    cannot_see: [
        "which device or tag is meant, which comes inside the session",
        "a client whose first command is NOP, which is nearly all zeros",
    ],
    examples: [
        Example::bytes(b"\x65\x00\x04\x00\0\0\0\0\0\0\0\0alice-01\0\0\0\0\x01\x00\0\0")
            .matches(28).fact("command", "register-session"),
        Example::bytes(b"\x63\x00\x00\x00\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").matches(24).fact("command", "list-identity"),
        Example::bytes(b"\x65\x00\x04\x00\0\0\0\0\0\0\0\0").undecided(),
        Example::bytes(b"\x6f\x00").rejects(1),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
