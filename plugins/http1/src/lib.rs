//! The classifier for HTTP/1: a request line (RFC 9112, section 3) and the header fields behind it (section 5).
//!
//! A method of any name, a target and `HTTP/1.x` at the end of the first line are more than enough: no other protocol
//! has such a line, and RTSP, SIP and ICAP name themselves where HTTP does. `GET /path` alone is HTTP/0.9 (RFC 1945,
//! section 4.1). The fields are read for facts only, so whatever they are, an unusual request stays one. The match falls at
//! the empty line behind them, for until then a fact can still come, or at [`MAX_BYTES`].
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: what servers accept for a request line or a field, and enough for `Host` and `Upgrade`,
/// which browsers send before long cookies.
const MAX_BYTES: usize = 8 << 10;

/// The longest method. The longest registered one has 17 letters.
const MAX_METHOD_BYTES: usize = 32;

/// The most bytes of a target that facts come from: a host and a path of the lengths below.
const MAX_TARGET_BYTES: usize = 1024;

/// The most fields looked at. Servers accept about a hundred.
const MAX_FIELDS: usize = 128;

/// The most bytes of a field's value that are looked at: a host has at most 255.
const MAX_VALUE_BYTES: usize = 512;

/// The most bytes of a path that become a fact.
const MAX_PATH_BYTES: usize = 512;

/// The most protocols to upgrade to that become facts; clients name one.
const MAX_UPGRADES: usize = 4;

/// Recognises HTTP/1 clients; it has nothing to configure.
pub struct Http1;

impl Classifier for Http1 {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Http1)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let method = c.take_until_where(b' ', MAX_METHOD_BYTES, is_token)?;
        ensure(!method.is_empty())?;
        let (target, version) = if c.peek()? == b'/' { path_form(&mut c)? } else { other_form(&mut c)? };
        c.one_of(&[b"\n", b"\r\n"])?;
        let target = target.get(..MAX_TARGET_BYTES).unwrap_or(target);
        if version == Version::Http09 {
            ensure(method == b"GET" && !target.contains(&b' '))?;
            facts.add("method", method);
            add_path(target, facts);
            return Ok(Match);
        }
        let mut fields = Fields::default();
        if !fields.read(c.arrived(), facts) && input.bytes.len() < MAX_BYTES && !input.is_last() {
            return Err(NeedMore(input.bytes.len() + 1));
        }
        let (authority, path) = if method == b"CONNECT" { (Some(target), None) } else { parts(target) };
        facts.add("method", method);
        if let Some(authority) = authority.or(fields.host()) {
            facts.add_host("host", authority);
        }
        if let Some(path) = path {
            add_path(path, facts);
        }
        Ok(Match)
    }
}

#[derive(PartialEq)]
enum Version {
    Http09,
    Http1,
}

/// Reads a target that begins with `/` and the version behind it, up to the end of the line. It may have spaces: it must
/// not, but such requests are common, and it is for the server to refuse them.
fn path_form<'a>(c: &mut Cursor<'a>) -> Result<(&'a [u8], Version), Stop> {
    let line = c.take_while(MAX_BYTES, |b| b >= b' ' || b == b'\t')?;
    if let Some((target, version)) = line.split_last_chunk::<9>()
        && let Some([minor]) = version.strip_prefix(b" HTTP/1.")
        && minor.is_ascii_digit()
    {
        return Ok((target, Version::Http1));
    }
    // RFC 1945, section 4.1: a simple request is `GET`, a path and the end of the line.
    ensure(line.len() <= MAX_TARGET_BYTES)?;
    Ok((line, Version::Http09))
}

/// Reads a target that is a URI, a host with a port, or `*`, and the version behind it.
fn other_form<'a>(c: &mut Cursor<'a>) -> Result<(&'a [u8], Version), Stop> {
    let target = c.take_until_where(b' ', MAX_BYTES, |b| b > b' ')?;
    ensure(!target.is_empty())?;
    c.tag(b"HTTP/1.")?;
    c.u8_where(|b| b.is_ascii_digit())?;
    Ok((target, Version::Http1))
}

/// What the header fields say that matters here.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    hosts: usize,
    upgrades: usize,
}

impl<'a> Fields<'a> {
    /// Reads the whole lines there are and says whether no later one can matter.
    fn read(&mut self, mut lines: &'a [u8], facts: &mut Facts) -> bool {
        for _ in 0..MAX_FIELDS {
            let Some(end) = line_end(lines) else { return false };
            let (line, rest) = lines.split_at_checked(end).unwrap_or_default();
            lines = rest.get(1..).unwrap_or_default();
            if matches!(line, b"" | b"\r") {
                return true;
            }
            if let Some(host) = value(line, b"host:") {
                self.host = Some(host);
                self.hosts += 1;
            } else if let Some(list) = value(line, b"upgrade:") {
                self.add_upgrades(list, facts);
            }
        }
        true
    }

    /// The host that the fields name. A request with two is one that servers must refuse (RFC 9112, section 3.2), and
    /// readers could disagree on which of them counts: it has none.
    fn host(&self) -> Option<&'a [u8]> {
        self.host.filter(|_| self.hosts == 1)
    }

    fn add_upgrades(&mut self, list: &[u8], facts: &mut Facts) {
        for protocol in list.split(|b| *b == b',').take(MAX_UPGRADES - self.upgrades) {
            self.upgrades += 1;
            facts.add_lower("upgrade", protocol.trim_ascii());
        }
    }
}

/// Where the first LF is. Long fields are most of a request, so this looks at eight bytes in one step: subtracting one
/// from each sets the upper bit of those that were zero, and the lowest bit set is right.
fn line_end(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let (eights, rest) = bytes.as_chunks::<8>();
    for (index, eight) in eights.iter().enumerate() {
        let zero_if_lf = u64::from_le_bytes(*eight) ^ (ONES * b'\n' as u64);
        let found = zero_if_lf.wrapping_sub(ONES) & !zero_if_lf & (ONES * 0x80);
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|b| *b == b'\n').map(|index| 8 * eights.len() + index)
}

/// The value of a field if `name`, with its colon, is how `line` begins. Letters of either case are the same.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, value) = line.split_at_checked(name.len())?;
    let same = head.first()? | 0x20 == *name.first()? && head.eq_ignore_ascii_case(name);
    same.then(|| value.get(..MAX_VALUE_BYTES).unwrap_or(value).trim_ascii())
}

/// The authority and the path of a target (RFC 9112, section 3.2). An authority here counts more than a field (section
/// 3.2.2).
fn parts(target: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    let Some(rest) = after_scheme(target) else { return (None, Some(target)) };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
    (Some(authority), Some(if path.starts_with(b"/") { path } else { b"/" }))
}

/// More than the longest scheme has.
const MAX_SCHEME_BYTES: usize = 32;

/// What follows `scheme://`, if the target begins so.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let colon = target.iter().take(MAX_SCHEME_BYTES).position(|b| !is_scheme(b)).filter(|len| *len > 0)?;
    target.get(colon..)?.strip_prefix(b"://")
}

/// Adds a target's path, without a query.
fn add_path(path: &[u8], facts: &mut Facts) {
    let path = path.get(..MAX_PATH_BYTES).unwrap_or(path);
    let end = path.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path.len());
    facts.add("path", path.get(..end).unwrap_or(path));
}

/// Whether a byte may be in a method (RFC 9110, section 5.6.2).
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

portsplit_plugin_sdk::export! {
    classifier: Http1,
    name: "http1",
    description: "HTTP requests up to 1.1, WebSocket among them, whatever their method.",
    protocols: ["http"],
    max_bytes: MAX_BYTES,
    facts: {
        "method": "the method as sent, such as `GET`",
        "host": "the host of the target or else of the one `Host` field, in lower case, without port and final dot",
        "path": "the target's path without query, such as `/index.html`, at most its first 512 bytes; not for CONNECT",
        "upgrade": "each protocol of `Upgrade` in lower case: `websocket` for WebSocket, `h2c`; at most 4",
    },
    cannot_see: [
        "a request line of more than 8 KiB, which is rejected, and fields after the first 8 KiB",
        "requests of HTTP/0.9 (no version, no fields) for more than 1024 bytes, which are rejected",
        "a second request on the same connection, which can name another host",
        "protocols that tunnel in HTTP, unless method, path or upgrade give them away",
    ],
    examples: [
        Example::text("GET /a?b HTTP/1.1\r\nHost: Example.org:80\r\n\r\n").matches(43)
            .fact("method", "GET").fact("host", "example.org").fact("path", "/a"),
        Example::text("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n\r\n").matches(51).fact("upgrade", "websocket"),
        Example::text("CONNECT b.example:443 HTTP/1.1\r\n\r\n").matches(34).fact("host", "b.example"),
        Example::text("GET / HTTP/1.1\r\nHost: example.org\r\n").undecided(),
        Example::text("OPTIONS rtsp://example.org/ RTSP/1.0\r\n").rejects(29),
        Example::text("REGISTER sip:example.org SIP/2.0\r\n").rejects(26),
        Example::text("PRI * HTTP/2.0\r\n").rejects(12),
        Example::text("SSH-2.0-OpenSSH_9.6\r\n").rejects(20),
        Example::bytes(b"\x16\x03\x01").rejects(1),
    ],
}
