//! The classifier for STOMP: the CONNECT or STOMP frame that a client begins with (STOMP 1.0; 1.1 and 1.2, sections
//! "STOMP Frames" and "CONNECT or STOMP Frame").
//!
//! A line with the command and nothing else, lines of a name, a colon and a value, and an empty line. It is recognised
//! at the empty line, because host and version can stand in any of the lines before it.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::MAX_FACT_BYTES;
use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at, and the most headers that are read: clients send three to six short ones. Behind them
/// nothing is waited for.
const MAX_BYTES: usize = 4096;
const MAX_HEADERS: usize = 32;

/// The longest name of a header; `content-length` and `accept-version` are the longest of the specification's.
const MAX_NAME_BYTES: usize = 64;

/// The longest value that is read to its end. A passcode can be a token of a thousand bytes.
const MAX_VALUE_BYTES: usize = 1536;

/// The longest header, its colon and line end included.
const MAX_HEADER_BYTES: usize = MAX_NAME_BYTES + 1 + MAX_VALUE_BYTES + 2;

/// The most versions that become facts, and the longest: there are three, such as `1.2`.
const MAX_VERSIONS: usize = 4;
const MAX_VERSION_BYTES: usize = 8;

/// Recognises STOMP clients; it has nothing to configure.
pub struct Stomp;

impl Classifier for Stomp {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Stomp)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        c.one_of(&[b"CONNECT", b"STOMP"])?;
        c.one_of(&[b"\n", b"\r\n"])?;
        headers(&mut c)?.teach(facts);
        Ok(Match)
    }
}

/// What the headers say. Of one that is repeated the first counts (1.2, section "Repeated Header Entries").
#[derive(Default)]
struct Headers<'a> {
    host: Option<&'a [u8]>,
    versions: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
}

impl Headers<'_> {
    fn teach(&self, facts: &mut Facts) {
        for (name, value) in [("host", self.host), ("user", self.user)] {
            if let Some(value) = value.filter(|value| (1..=MAX_FACT_BYTES).contains(&value.len())) {
                facts.add(name, value);
            }
        }
        // Who names no version speaks the first.
        let versions = self.versions.unwrap_or(b"1.0").split(|b| *b == b',').map(<[u8]>::trim_ascii);
        for version in versions.filter(|version| (1..=MAX_VERSION_BYTES).contains(&version.len())).take(MAX_VERSIONS) {
            facts.add("version", version);
        }
    }
}

fn headers<'a>(c: &mut Cursor<'a>) -> Result<Headers<'a>, Stop> {
    let mut headers = Headers::default();
    for _ in 0..MAX_HEADERS {
        if matches!(c.peek()?, b'\r' | b'\n') {
            c.one_of(&[b"\n", b"\r\n"])?;
            break;
        }
        let name = c.take_until_where(b':', MAX_NAME_BYTES, is_text)?;
        ensure(!name.is_empty())?;
        let Some(value) = value(c)? else { break };
        match name {
            b"host" => headers.host = headers.host.or(Some(value)),
            b"accept-version" => headers.versions = headers.versions.or(Some(value)),
            b"login" => headers.user = headers.user.or(Some(value)),
            _ => {}
        }
        if c.position() + MAX_HEADER_BYTES > MAX_BYTES {
            break;
        }
    }
    Ok(headers)
}

/// Reads a header's value and the line's end; `None` if it is too long.
fn value<'a>(c: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Stop> {
    let Some(value) = c.take_short(MAX_VALUE_BYTES, is_text)? else { return Ok(None) };
    c.one_of(&[b"\n", b"\r\n"])?;
    // Clients of 1.0 put a space behind the colon.
    Ok(Some(value.trim_ascii()))
}

fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}

portsplit_plugin_sdk::export! {
    classifier: Stomp,
    name: "stomp",
    description: "STOMP clients of versions 1.0 to 1.2, by their CONNECT or STOMP frame.",
    protocols: ["stomp"],
    max_bytes: MAX_BYTES,
    facts: {
        "host": "the virtual host the client asks for",
        "version": "each version the client accepts: `1.0`, `1.1`, `1.2`",
        "user": "the user name (`login`), if there is one",
    },
    cannot_see: [
        "STOMP over WebSocket, which is HTTP",
        "clients that send an empty line before the frame",
        "headers behind the first 32, the first 2 KiB, or one of more than 1536 bytes",
    ],
    examples: [
        Example::text("CONNECT\naccept-version:1.1,1.2\nhost:example.org\n\n\0")
            .matches(49).fact("host", "example.org").fact("version", "1.1").fact("version", "1.2"),
        Example::text("STOMP\r\nhost:example.org\r\nlogin:alice\r\n\r\n\0")
            .matches(40).fact("user", "alice").fact("version", "1.0"),
        Example::text("CONNECT\naccept-version:1.2\nhost:exam").undecided(),
        Example::text("CONNECT example.org:443 HTTP/1.1\r\n").rejects(8),
        Example::text("CONNECT\nhost\n").rejects(13),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
