//! The classifier for Cassandra and ScyllaDB: the OPTIONS or STARTUP frame of CQL's binary protocol that a client
//! begins with (Apache Cassandra, native_protocol_v1.spec to native_protocol_v5.spec, sections 2 and 4.1).
//!
//! Version, flags, stream, operation, length. OPTIONS has nothing behind them and is recognised there. STARTUP has a
//! map of strings whose lengths must fill the frame, `CQL_VERSION` among them. Version 5 begins in the frames of
//! version 4, too.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: the longest frame and its header. Drivers send one or two hundred bytes.
const MAX_BYTES: usize = 9 + MAX_BODY_BYTES as usize;

/// The longest body of STARTUP.
const MAX_BODY_BYTES: u32 = 4096;

/// The shortest: one entry, `CQL_VERSION` with a version such as `3.0.0`.
const MIN_BODY_BYTES: u32 = 2 + 2 + 11 + 2 + 5;

/// The most entries of the map: the specification has four, drivers and DataStax add some.
const MAX_ENTRIES: u16 = 32;

/// The longest key and value.
const MAX_KEY_BYTES: u16 = 64;
const MAX_VALUE_BYTES: u16 = 1024;

/// The only flag of a first frame: the client accepts a version that is not finished.
const USE_BETA: u8 = 0x10;

/// Version bytes and their names; those with 4. are DataStax Enterprise's own.
const VERSIONS: [(u8, &str); 8] =
    [(1, "1"), (2, "2"), (3, "3"), (4, "4"), (5, "5"), (6, "6"), (0x41, "dse1"), (0x42, "dse2")];

/// Recognises CQL clients; it has nothing to configure.
pub struct Cassandra;

impl Classifier for Cassandra {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Cassandra)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let version = c.u8()?;
        let (_, name) = VERSIONS.iter().find(|(byte, _)| *byte == version).ok_or(Reject)?;
        facts.add("version", name);
        c.u8_where(|flags| flags == 0 || flags == USE_BETA)?;
        // Streams below zero are the server's.
        if version < 3 {
            c.u8_in(0..=0x7f)?;
        } else {
            c.u16_be_in(0..=0x7fff)?;
        }
        if c.u8_where(|operation| matches!(operation, 1 | 5))? == 5 {
            c.tag(b"\0\0\0\0")?;
            facts.add("kind", "options");
            return Ok(Match);
        }
        let len = c.u32_be_in(MIN_BODY_BYTES..=MAX_BODY_BYTES)?;
        c.part(len as usize, |c| startup(c, facts))?;
        facts.add("kind", "startup");
        Ok(Match)
    }
}

/// Reads the map of strings. A key that is there twice counts as in Java's maps, the last time.
fn startup(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    let mut learnt =
        [("CQL_VERSION", "cql_version", None), ("DRIVER_NAME", "driver", None), ("APPLICATION_NAME", "app", None)];
    let count = c.u16_be_in(1..=MAX_ENTRIES)?;
    for _ in 0..count {
        let len = c.u16_be_in(1..=MAX_KEY_BYTES)?.into();
        let key = c.part(len, |c| c.take_while(len, |b| b.is_ascii_graphic()))?;
        let len = c.u16_be_in(0..=MAX_VALUE_BYTES)?.into();
        let value = c.part(len, |c| c.take_while(len, |b| b >= b' ' && b != 0x7f))?;
        if let Some((_, _, known)) = learnt.iter_mut().find(|(name, _, _)| name.as_bytes() == key) {
            *known = Some(value);
        }
    }
    for (index, (_, fact, value)) in learnt.into_iter().enumerate() {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => facts.add(fact, value),
            None => ensure(index > 0)?, // the version has to be there
        }
    }
    Ok(())
}

portsplit_plugin_sdk::export! {
    classifier: Cassandra,
    name: "cassandra",
    description: "Clients of Cassandra and ScyllaDB, by the OPTIONS or STARTUP frame of CQL's binary protocol.",
    protocols: ["cassandra"],
    max_bytes: MAX_BYTES,
    facts: {
        "version": "the protocol's version the client tries first: `1` to `6`, or DataStax's `dse1` and `dse2`",
        "kind": "`options` or `startup`",
        "cql_version": "the version of the language CQL, in a STARTUP frame",
        "driver": "the driver's name, in a STARTUP frame that has one",
        "app": "the application's name, in a STARTUP frame that has one",
    },
    cannot_see: [
        "the user name, which comes only after the server's answer",
        "OPTIONS of version 3 is the same nine bytes as the beginning of an RTMP handshake at certain times of its clock",
        "a STARTUP frame of more than 4 KiB, which is rejected",
        "Cassandra's older Thrift interface, and the traffic between the nodes of a cluster",
    ],
    examples: [
        Example::bytes(b"\x04\0\0\0\x05\0\0\0\0").matches(9).fact("version", "4").fact("kind", "options"),
        Example::bytes(b"\x04\0\0\x01\x01\0\0\0\x16\0\x01\0\x0bCQL_VERSION\0\x053.0.0")
            .matches(31).fact("version", "4").fact("kind", "startup").fact("cql_version", "3.0.0"),
        Example::bytes(b"\x02\0\0\x05\0\0\0\0").matches(8).fact("version", "2"),
        Example::bytes(b"\x04\0\0\0\x05\0\0").undecided(),
        Example::bytes(b"\x04\0\0\0\x05\0\0\0\x01").rejects(9),
        Example::bytes(b"\x84\0\0\0\x06").rejects(1),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
