//! The classifier for ONC RPC (Sun RPC) over TCP, which NFS, the port mapper and NIS speak: a call (RFC 5531, section 9)
//! in the record marking of its section 11.
//!
//! A record comes in fragments, each with a length of four bytes whose upper bit says that it is the last; nearly always
//! there is one. A call begins with an identifier, the number 0, the version 2 of RPC, and the program, its version and
//! the procedure, which are the facts. They are in the first fragment: what is cut at all is cut at the size of a buffer,
//! never inside the 40 bytes that every call has.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The least call: six numbers, and credentials and verifier without a byte in them.
const MIN_CALL_BYTES: u32 = 4 * 6 + 8 + 8;

/// The longest fragment. NFS servers take calls of 1 MiB and a little.
const MAX_FRAGMENT_BYTES: u32 = 16 << 20;

/// The bit of a length that says that the fragment is the last.
const LAST: u32 = 1 << 31;

/// The mark of the first fragment, and the call up to the procedure.
const MAX_BYTES: usize = 4 + 4 * 6;

/// The highest version and procedure of a call whose first fragment is not its last: the mark fixes nothing there, and
/// SMPP, which is followed by text, begins in the same way. Programs have a handful of versions and some dozens of
/// procedures.
const MAX_NUMBER: u32 = 0xffff;

/// Recognises ONC RPC clients; it has nothing to configure.
pub struct SunRpc;

impl Classifier for SunRpc {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(SunRpc)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let last = if c.peek()? & 0x80 != 0 { LAST } else { 0 };
        let len = c.u32_be_in(last | MIN_CALL_BYTES..=last | MAX_FRAGMENT_BYTES)? & !LAST;
        // All of XDR comes in units of four bytes.
        ensure(last == 0 || len.is_multiple_of(4))?;
        c.skip(4)?; // the call's identifier
        c.tag(b"\x00\x00\x00\x00\x00\x00\x00\x02")?;
        let program = c.u32_be()?;
        // Who only wants to know whether there is RPC asks for versions that do not exist.
        let most = if last == 0 { MAX_NUMBER } else { u32::MAX };
        let version = c.u32_be_in(0..=most)?;
        let procedure = c.u32_be_in(0..=most)?;
        facts.add_number("program", program);
        facts.add_number("version", version);
        facts.add_number("procedure", procedure);
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: SunRpc,
    name: "sunrpc",
    description: "ONC RPC (Sun RPC) clients over TCP, such as those of NFS, the port mapper and NIS.",
    protocols: ["sunrpc"],
    max_bytes: MAX_BYTES,
    facts: {
        "program": "the number of the program called: 100000 is the port mapper, 100003 NFS, 100005 mount",
        "version": "the program's version",
        "procedure": "the number of the procedure, 0 for a call that only tries whether the program is there",
    },
    cannot_see: [
        "calls inside TLS (RFC 9289), whose first call in clear text asks for it and is seen",
        "files, users and mounts",
        "calls whose first fragment has fewer than 40 bytes, which no known client sends",
    ],
    examples: [
        Example::bytes(b"\x80\0\0\x28\x12\x34\x56\x78\0\0\0\0\0\0\0\x02\0\x01\x86\xa3\0\0\0\x03\0\0\0\0")
            .matches(28).fact("program", "100003").fact("version", "3").fact("procedure", "0"),
        Example::bytes(b"\x80\0\0\x28\x12\x34\x56\x78\0\0\0\x01").rejects(12),
        Example::bytes(b"\x80\0\0\x28\x12\x34\x56\x78\0\0\0\0").undecided(),
        Example::bytes(b"\x80\x2e\x01\x03\x01").rejects(4),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
