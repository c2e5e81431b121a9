//! The classifier for EtherNet/IP (CIP): the encapsulation header of a client's request (CIP volume 2,
//! section 2-3).
//!
//! 24 bytes, little endian: command, length, session, status, eight bytes of the sender's, options. A client asks who is
//! there (ListServices, ListIdentity, ListInterfaces, without data) or registers a session (with version and options);
//! status and options are zero in all of them. So are they, and nearly all else, in the commands 1 and 2, which are
//! reserved for what there was before; and in the requests of a client that goes on with a session it has, or ends it.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The header, and the first four bytes of its data.
const MAX_BYTES: usize = 24 + 4;

/// The least data of a request in a session: interface, timeout, and a list of two items without a byte.
const MIN_DATA_BYTES: u16 = 4 + 2 + 2 + 4 + 4;

/// What a request for options in version 4 of CQL has where ListServices has a session. A client that only asks who is
/// there has none and sends 0; nothing forbids another number, but this one would be a strange choice.
const CQL_OPTIONS: u32 = 5;

/// Recognises EtherNet/IP clients; it has nothing to configure.
pub struct Enip;

impl Classifier for Enip {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Enip)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let command = c.u8_where(|command| matches!(command, 0x01 | 0x02 | 0x04 | 0x63..=0x66 | 0x6f | 0x70))?;
        c.tag(b"\x00")?;
        let (name, len, session) = match command {
            0x01 | 0x02 => ("legacy", 0..=0, 0..=0),
            0x04 => ("list-services", 0..=0, 0..=u32::MAX),
            0x63 => ("list-identity", 0..=0, 0..=u32::MAX),
            0x64 => ("list-interfaces", 0..=0, 0..=u32::MAX),
            0x65 => ("register-session", 4..=4, 0..=u32::MAX),
            0x66 => ("unregister-session", 0..=0, 1..=u32::MAX),
            0x6f => ("send-rr-data", MIN_DATA_BYTES..=u16::MAX, 1..=u32::MAX),
            _ => ("send-unit-data", MIN_DATA_BYTES..=u16::MAX, 1..=u32::MAX),
        };
        c.u16_le_in(len)?;
        let session = c.u32_le_in(session)?;
        ensure(command != 0x04 || session != CQL_OPTIONS)?;
        c.tag(b"\x00\x00\x00\x00")?; // status
        c.skip(8)?; // the sender's own
        c.tag(b"\x00\x00\x00\x00")?; // options
        match command {
            0x65 => {
                c.u16_le_in(1..=0xff)?; // the version: 1, and nothing else so far
                c.tag(b"\x00\x00")?;
            }
            0x6f | 0x70 => c.tag(b"\x00\x00\x00\x00")?, // the interface: CIP
            _ => {}
        }
        facts.add("command", name);
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Enip,
    name: "enip",
    description: "EtherNet/IP (CIP) clients, by their first request.",
    protocols: ["enip"],
    max_bytes: MAX_BYTES,
    facts: {
        "command": "the request: `register-session`, `list-identity`, `list-services`, `list-interfaces`; `legacy` for the \
                    commands 1 and 2; `send-rr-data`, `send-unit-data` or `unregister-session` in a session that the \
                    server does not know",
    },
    cannot_see: [
        "which device or tag is meant, which comes inside the session",
        "a client whose first command is NOP, which is nearly all zeros, or the reserved command 3, which looks like RTMP",
        "a client that asks for services with the session 5, which is how a client of Cassandra begins",
    ],
    examples: [
        Example::bytes(b"\x65\x00\x04\x00\0\0\0\0\0\0\0\0alice-01\0\0\0\0\x01\x00\0\0")
            .matches(28).fact("command", "register-session"),
        Example::bytes(b"\x63\x00\x00\x00\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").matches(24).fact("command", "list-identity"),
        Example::bytes(b"\x65\x00\x04\x00\0\0\0\0\0\0\0\0").undecided(),
        Example::bytes(b"\x67\x00").rejects(1),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
