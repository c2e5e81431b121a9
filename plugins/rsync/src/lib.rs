//! The classifier for rsync's daemon protocol, `rsync://` and `host::module` (rsyncd.conf(5) has its use; it is defined
//! by rsync's `clientserver.c`): the greeting `@RSYNCD: 31.0`.
//!
//! Both sides send theirs at once, without waiting for the other, so clients can be recognised by it, as long as nobody
//! waits for the server on their behalf. It matches behind the version.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

const GREETING: &[u8] = b"@RSYNCD: ";

/// The most digits of either half of the version; protocols are counted, and there are 32.
const MAX_DIGITS: usize = 3;

/// Greeting, version, and the byte behind it.
const MAX_BYTES: usize = GREETING.len() + MAX_DIGITS + 1 + MAX_DIGITS + 1;

/// Recognises rsync clients; it has nothing to configure.
pub struct Rsync;

impl Classifier for Rsync {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Rsync)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.tag(GREETING)?;
        digits(&mut c)?;
        // Protocols before 30 have no second half.
        if c.peek()? == b'.' {
            c.u8()?;
            digits(&mut c)?;
        }
        let version = input.bytes.get(GREETING.len()..c.position()).unwrap_or_default();
        // The names of digests follow since version 3.2 of the program.
        c.u8_where(|b| matches!(b, b' ' | b'\r' | b'\n'))?;
        facts.add("version", version);
        Ok(Match)
    }
}

fn digits(c: &mut Cursor<'_>) -> Result<(), Stop> {
    ensure(!c.take_while(MAX_DIGITS, |b| b.is_ascii_digit())?.is_empty())
}

portsplit_plugin_sdk::export! {
    classifier: Rsync,
    name: "rsync",
    description: "rsync clients of a daemon (`rsync://`, `host::module`), which greet without waiting for it.",
    protocols: ["rsync"],
    max_bytes: MAX_BYTES,
    facts: { "version": "the protocol's version, such as `31.0`, or `29` from old clients" },
    cannot_see: [
        "the module, which a client names only when the server has greeted",
        "rsync over SSH, which is SSH",
    ],
    examples: [
        Example::text("@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n").matches(14).fact("version", "31.0"),
        Example::text("@RSYNCD: 29\n").matches(12).fact("version", "29"),
        Example::text("@RSYNCD: 31").undecided(),
        Example::text("@RSYNCD: OK\n").rejects(10),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
