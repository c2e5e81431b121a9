//! The classifier for tinc: the ID request that opens a connection between two nodes (the tinc manual, section "The
//! meta-protocol"; `send_id` and `id_h` in `protocol_auth.c` of its sources).
//!
//! One line: `0`, the node's name, and the protocol's version, which has been 17 since tinc 1.0; tinc 1.1 adds `.` and
//! a minor version, and has a form for nodes that were invited, with `?` and a key in place of the name.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// A name is that of a file in `hosts`, and those have at most this many bytes.
const MAX_NAME_BYTES: usize = 255;

/// A minor version has one digit today, and is at most 255.
const MAX_MINOR_BYTES: usize = 3;

/// The most bytes looked at: `0 `, `?`, name, ` 17.`, minor version and the line's end.
const MAX_BYTES: usize = 2 + 1 + MAX_NAME_BYTES + 4 + MAX_MINOR_BYTES + 1;

/// Recognises tinc's nodes; it has nothing to configure.
pub struct Tinc;

impl Classifier for Tinc {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Tinc)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(b"0 ")?;
        if c.peek()? == b'?' {
            c.u8()?;
            // The invited node's key in the alphabet of URLs (RFC 4648, section 5), which is no name.
            word(&mut c, |b| b.is_ascii_alphanumeric() || b"-_+/".contains(&b))?;
        } else {
            facts.add("name", word(&mut c, |b| b.is_ascii_alphanumeric() || b == b'_')?);
        }
        c.tag(b"17")?;
        if c.peek()? == b'.' {
            c.u8()?;
            ensure(c.peek()?.is_ascii_digit())?;
            c.take_while(MAX_MINOR_BYTES, |b| b.is_ascii_digit())?;
        }
        c.tag(b"\n")?;
        Ok(Match)
    }
}

/// Reads a word of one byte or more and the space behind it.
fn word<'a>(c: &mut Cursor<'a>, allowed: impl Fn(u8) -> bool) -> Result<&'a [u8], Stop> {
    ensure(allowed(c.peek()?))?;
    c.take_until_where(b' ', MAX_NAME_BYTES, allowed)
}

portsplit_plugin_sdk::export! {
    classifier: Tinc,
    name: "tinc",
    description: "Nodes of a tinc network (1.0 and 1.1) that connect to another one.",
    protocols: ["tinc"],
    max_bytes: MAX_BYTES,
    facts: {
        "name": "the name of the node that connects; not from a node that was invited and has none yet",
    },
    cannot_see: [
        "the name of the network, and tinc's packets over UDP",
        "`tinc` as it talks to its own daemon over a loopback address",
    ],
    examples: [
        Example::text("0 alice 17\n").matches(11).fact("name", "alice"),
        Example::text("0 alice 17.7\n").matches(13).fact("name", "alice"),
        Example::text("0 alice 17").undecided(),
        Example::text("0 alice 18\n").rejects(10),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
