//! The classifier for LDAP: the first message of a client (RFC 4511, section 4.1.1), whatever it asks for.
//!
//! A message is a BER sequence of an identifier, an operation and sometimes controls. Every operation but the two that
//! are a single value begins with fields of a fixed type, so that at least six tags and the lengths around them have to
//! agree. Lengths may be in the long form with zeros in front, as Windows writes all of them.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod operation;

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: a name of the longest kind that becomes a fact, and the headers around it.
const MAX_BYTES: usize = operation::MAX_NAME_BYTES as usize + 128;

/// The least message: an identifier of one byte, and an unbind request.
const MIN_MESSAGE_BYTES: u32 = 3 + 2;

/// Recognises LDAP clients; it has nothing to configure.
pub struct Ldap;

impl Classifier for Ldap {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Ldap)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"\x30")?;
        let len = c.ber_len_in(MIN_MESSAGE_BYTES..=i32::MAX as u32)?;
        c.limit(len as usize)?;
        c.tag(b"\x02")?;
        let len = c.ber_len_in(1..=4)?;
        c.u8_in(0..=0x7f)?; // identifiers are not negative
        c.skip(len as usize - 1)?;
        operation::read(c, facts)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Ldap,
    name: "ldap",
    description: "LDAP clients, by their first request: bind, search, StartTLS or any other.",
    protocols: ["ldap"],
    max_bytes: MAX_BYTES,
    facts: {
        "operation": "what is asked for: `bind`, `unbind`, `search`, `modify`, `add`, `delete`, `rename`, `compare`, \
                      `abandon` or `extended`",
        "name": "the name to bind as, or the object that a search, change or comparison is about; missing if it has more \
                 than 1024 bytes",
        "auth": "how a bind request authenticates: `simple`, `sasl`, `kerberos` (of LDAP 2) or `sicily` (Windows)",
        "oid": "which extended operation, such as `1.3.6.1.4.1.1466.20037` for StartTLS",
    },
    cannot_see: [
        "LDAP inside TLS (ldaps), which is TLS; and what follows StartTLS",
        "the base of the tree behind a bind without a name",
    ],
    examples: [
        Example::bytes(b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00")
            .matches(13).fact("operation", "bind").fact("auth", "simple").fact("name", ""),
        Example::bytes(b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037")
            .matches(31).fact("operation", "extended").fact("oid", "1.3.6.1.4.1.1466.20037"),
        Example::bytes(b"\x30\x84\x00\x00\x00\x2d\x02\x01\x01").undecided(),
        Example::bytes(b"\x30\x26\x02\x01\x01\x04\x06public").rejects(6),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
