//! The classifier for HTTP/1: a request line (RFC 9112, section 3) and the header fields behind it (section 5).
//!
//! A method of any name, a target and `HTTP/1.x` at the end of the first line are more than enough: no other protocol
//! has such a line, and RTSP, SIP and ICAP name themselves where HTTP does. `GET /path` alone is HTTP/0.9 (RFC 1945,
//! section 4.1). The fields are read for facts only, so whatever they are, an unusual request stays one. The match
//! falls at the empty line behind them, for until then a fact can still come, or at `MAX_BYTES`. Where no byte will
//! follow, a line that has come as far as the path is one as well, if its method is a usual one.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod fields;
mod line;

use portsplit_plugin_sdk::prelude::*;

use self::fields::Fields;
use self::line::Line;

/// The most bytes looked at: what servers accept for a request line or a field, and enough for `Host` and `Upgrade`,
/// which browsers send before long cookies.
const MAX_BYTES: usize = 8 << 10;

/// The most bytes of a path that become a fact.
const MAX_PATH_BYTES: usize = 512;

/// The most bytes of an authority that is looked at: a host of 255, and a user and a port around it.
const MAX_AUTHORITY_BYTES: usize = 384;

/// Recognises HTTP/1 clients; it has nothing to configure.
pub struct Http1;

impl Classifier for Http1 {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Http1)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let line = match Line::read(&mut c) {
            Err(NeedMore(_)) if input.is_last() => {
                facts.add("method", line::method_of_cut(input.bytes).ok_or(Reject)?);
                return Ok(Match);
            }
            line => line?,
        };
        let mut fields = Fields::default();
        if !line.is_simple && !fields.read(c.arrived(), facts) && input.bytes.len() < MAX_BYTES && !input.is_last() {
            return Err(NeedMore(input.bytes.len() + 1));
        }
        let (authority, path) = line.parts();
        facts.add("method", line.method);
        // The target's counts more than the field's (RFC 9112, section 3.2.2).
        if let Some(authority) = authority.or(fields.host())
            && authority.len() <= MAX_AUTHORITY_BYTES
        {
            facts.add_host("host", authority);
        }
        if let Some(path) = path {
            let path = path.get(..MAX_PATH_BYTES).unwrap_or(path);
            let end = path.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path.len());
            facts.add("path", path.get(..end).unwrap_or(path));
        }
        Ok(Match)
    }
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
        "the path in a request line that is cut or has more than 8 KiB, and fields after the first 8 KiB; such a line is \
         rejected unless its method is a usual one and its target a path or a URI",
        "requests of HTTP/0.9 (no version, no fields) for more than 768 bytes, which are rejected",
        "whether `GET /key` alone is HTTP/0.9 or a command someone types for Redis",
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
