//! The classifier for the Android Debug Bridge between a host and a device over TCP: the CONNECT message that the host
//! sends first (`protocol.txt` in adb's sources, "A_CNXN").
//!
//! Six integers of four bytes, least significant first: the command `CNXN`, the protocol's version, the most bytes the
//! host takes, the length of the identity, its checksum, and the command's complement; then the identity, `host:` and
//! more. They fix 130 bits. The messages AUTH and STLS, with which a device answers, never come first.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: an empty message, the header, the beginning of the identity.
const MAX_BYTES: usize = HEADER_BYTES + HEADER_BYTES + HOST.len();

const HEADER_BYTES: usize = 24;

/// How the identity of a host begins; that of a device begins with `device:` or `bootloader:`.
const HOST: &[u8] = b"host:";

/// Every peer takes this many bytes, and no more may be sent before it has said how many (`MAX_PAYLOAD_V1`).
const PAYLOAD_BYTES: u32 = 4096;

/// The most a host says that it takes: sixteen times what any version of adb says today.
const MAX_PAYLOAD_BYTES: u32 = 16 << 20;

/// A message without command or contents, which some hosts send to wake the device's side.
const EMPTY: &[u8; HEADER_BYTES] = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff";

/// Recognises hosts that connect to a device; it has nothing to configure.
pub struct Adb;

impl Classifier for Adb {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Adb)
    }

    fn classify(&self, input: Input<'_>, _: &mut Facts) -> Answer {
        let mut c = input.cursor();
        if c.peek()? == 0 {
            c.tag(EMPTY)?;
        }
        c.tag(b"CNXN")?;
        // 0x01000000, or 0x01000001 of hosts that leave out checksums; the lower half is the minor version.
        c.skip(2)?;
        c.tag(b"\0\x01")?;
        c.u32_le_in(PAYLOAD_BYTES..=MAX_PAYLOAD_BYTES)?;
        c.u32_le_in(HOST.len() as u32..=PAYLOAD_BYTES)?;
        c.skip(4)?; // the sum of the identity's bytes, or 0
        c.tag(&[!b'C', !b'N', !b'X', !b'N'])?;
        c.tag(HOST)?;
        Ok(Match)
    }
}

portsplit_plugin_sdk::export! {
    classifier: Adb,
    name: "adb",
    description: "The Android Debug Bridge, where a host connects to a device over TCP.",
    protocols: ["adb"],
    max_bytes: MAX_BYTES,
    cannot_see: [
        "clients of the adb server on port 5037, which speak another protocol",
        "which device or service is meant: the host says so only when the device has answered",
        "wireless debugging that has begun with TLS already",
    ],
    examples: [
        Example::bytes(b"CNXN\x01\0\0\x01\0\0\x10\0\x07\0\0\0\x32\x02\0\0\xbc\xb1\xa7\xb1host::\0").matches(29),
        Example::bytes(b"CNXN\x01\0\0\x01\0\0\x10\0").undecided(),
        Example::bytes(b"CNXN\x01\0\0\x01\0\0\x10\0\x07\0\0\0\x32\x02\0\0\xbc\xb1\xa7\xb0host::\0").rejects(24),
        Example::bytes(b"AUTH\x01\0\0\0").rejects(1),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
