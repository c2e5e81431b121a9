//! The classifier for RTSP: the first line of a request (RFC 2326, section 6.1; RFC 7826, section 7.1).
//!
//! A method of any name, a target and `RTSP/1.0` or `RTSP/2.0`: only this protocol names itself so. The target is a URI,
//! of `rtsp` or of HTTP's schemes, for any is allowed, or `*`, or, from AirPlay's clients, a path. All facts are in the
//! line, so it matches where the line ends.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: a line with a URI of the length that players and cameras take.
const MAX_BYTES: usize = 4 << 10;

/// The longest method. The longest registered one has 13 letters, and AirPlay has one of 18.
const MAX_METHOD_BYTES: usize = 32;

/// The most bytes of a path that become a fact.
const MAX_PATH_BYTES: usize = 512;

/// Recognises RTSP clients; it has nothing to configure.
pub struct Rtsp;

impl Classifier for Rtsp {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Rtsp)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let method =
            c.take_until_where(b' ', MAX_METHOD_BYTES, |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))?;
        ensure(!method.is_empty())?;
        match c.peek()? {
            b'*' | b'/' => {
                let path = c.take_until_where(b' ', MAX_BYTES, |b| b > b' ')?;
                ensure(path.starts_with(b"/") || path == b"*")?;
                c.tag(b"RTSP/")?;
                c.u8_in(b'1'..=b'2')?;
                c.tag(b".0")?;
                ensure(matches!(c.peek()?, b'\r' | b'\n'))?;
                add_path(path, facts);
            }
            _ => uri(&mut c, facts)?,
        }
        facts.add("method", method);
        Ok(Match)
    }
}

/// Reads a URI and the version behind it, up to the end of the line. The URI may have spaces: it must not, but players
/// send what their users typed.
fn uri(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    c.either(|c| c.tag_ignore_case(b"rtsp"), |c| c.tag_ignore_case(b"http"))?;
    // `rtsps` is in TLS, `rtspu` over UDP; proxies may see both.
    if matches!(c.peek()?.to_ascii_lowercase(), b's' | b'u') {
        c.u8()?;
    }
    c.tag(b"://")?;
    let line = c.take_while(MAX_BYTES, |b| b >= b' ')?;
    ensure(matches!(c.peek()?, b'\r' | b'\n'))?;
    let line = line.trim_ascii_end();
    let rest = line.strip_suffix(b" RTSP/1.0").or(line.strip_suffix(b" RTSP/2.0")).ok_or(Reject)?;
    let end = rest.iter().take(MAX_PATH_BYTES).position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
    facts.add_host("host", authority);
    add_path(if path.starts_with(b"/") { path } else { b"/" }, facts);
    Ok(())
}

/// Adds a target's path, without a query.
fn add_path(path: &[u8], facts: &mut Facts) {
    let path = path.get(..MAX_PATH_BYTES).unwrap_or(path);
    let end = path.iter().position(|b| *b == b'?').unwrap_or(path.len());
    facts.add("path", path.get(..end).unwrap_or(path));
}

portsplit_plugin_sdk::export! {
    classifier: Rtsp,
    name: "rtsp",
    description: "RTSP requests of players, cameras and AirPlay, versions 1 and 2.",
    protocols: ["rtsp"],
    max_bytes: MAX_BYTES,
    facts: {
        "method": "the method as sent, such as `DESCRIBE`",
        "host": "the host of the target, in lower case, without port and final dot; none where the target is only a path",
        "path": "the target's path without query, at most its first 512 bytes; `*` where it is that",
    },
    cannot_see: [
        "RTSP that is tunnelled in HTTP, which is HTTP",
        "a first line of more than 4 KiB, which is rejected",
    ],
    examples: [
        Example::text("OPTIONS rtsp://Example.org:554/live?a RTSP/1.0\r\nCSeq: 1\r\n\r\n").matches(47)
            .fact("method", "OPTIONS").fact("host", "example.org").fact("path", "/live"),
        Example::text("OPTIONS * RTSP/1.0\r\n").matches(19).fact("path", "*"),
        Example::text("DESCRIBE rtsp://example.org/").undecided(),
        Example::text("GET / HTTP/1.1\r\n").rejects(7),
        Example::text("GET http://example.org/ HTTP/1.1\r\n").rejects(33),
        Example::text("REGISTER sip:example.org SIP/2.0\r\n").rejects(10),
    ],
}
