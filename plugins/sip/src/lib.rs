//! The classifier for SIP over TCP: the first line of a request (RFC 3261, section 7.1).
//!
//! A method of any name, a URI and `SIP/2.0`: only this protocol names itself so. Empty lines in front of it are
//! allowed (section 7.5), and clients send them to keep a connection open (RFC 5626, section 3.5.1). All facts are in
//! the line, so it matches where the version ends.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at; URIs of SIP stay far below.
const MAX_BYTES: usize = 2 << 10;

/// The most empty lines in front: two pings of two lines.
const MAX_EMPTY_LINES: usize = 4;

/// The longest method. The longest registered one has 9 letters.
const MAX_METHOD_BYTES: usize = 32;

/// The longest name of a kind of URI, and more.
const MAX_SCHEME_BYTES: usize = 16;

/// Recognises SIP clients; it has nothing to configure.
pub struct Sip;

impl Classifier for Sip {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Sip)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        for _ in 0..MAX_EMPTY_LINES {
            if c.peek()? != b'\r' {
                break;
            }
            c.tag(b"\r\n")?;
        }
        let method = c.take_until_where(b' ', MAX_METHOD_BYTES, is_token)?;
        ensure(!method.is_empty())?;
        let scheme = c.take_until_where(b':', MAX_SCHEME_BYTES, is_scheme)?;
        ensure(!scheme.is_empty())?;
        let rest = c.take_until_where(b' ', MAX_BYTES, |b| b > b' ')?;
        ensure(!rest.is_empty())?;
        c.tag_ignore_case(b"SIP/")?;
        c.tag(b"2.0")?;
        facts.add("method", method);
        add_uri(scheme, rest, facts);
        Ok(Match)
    }
}

/// Adds what a URI names: `sip:user:password@host:port;parameters?headers`, or `tel:number;parameters`. A user, too,
/// can have parameters (RFC 3261, section 19.1.1).
fn add_uri(scheme: &[u8], rest: &[u8], facts: &mut Facts) {
    let before = |bytes: &[u8], ends: &[u8]| bytes.iter().position(|b| ends.contains(b)).unwrap_or(bytes.len());
    let (user, host) = if scheme.eq_ignore_ascii_case(b"sip") || scheme.eq_ignore_ascii_case(b"sips") {
        match rest.iter().rposition(|b| *b == b'@') {
            Some(at) => (rest.get(..at), rest.get(at + 1..)),
            None => (None, Some(rest)),
        }
    } else if scheme.eq_ignore_ascii_case(b"tel") {
        (Some(rest), None)
    } else {
        return;
    };
    if let Some(user) = user.and_then(|user| user.get(..before(user, b":;")))
        && (1..=MAX_USER_BYTES).contains(&user.len())
    {
        facts.add("user", user);
    }
    if let Some(host) = host.and_then(|host| host.get(..before(host, b";?"))) {
        facts.add_host("host", host);
    }
}

/// The longest user that becomes a fact.
const MAX_USER_BYTES: usize = 255;

/// Whether a byte may be in a method (RFC 3261, section 25.1).
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

/// Whether a byte may be in the name of a kind of URI (RFC 3986, section 3.1).
fn is_scheme(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"+-.".contains(&b)
}

portsplit_plugin_sdk::export! {
    classifier: Sip,
    name: "sip",
    description: "SIP requests over TCP, such as those of telephones that register or call.",
    protocols: ["sip"],
    max_bytes: MAX_BYTES,
    facts: {
        "method": "the method as sent, such as `REGISTER` or `INVITE`",
        "host": "the host of the request's URI, in lower case, without port and final dot",
        "user": "the user or the telephone number of the URI; a REGISTER has none",
    },
    cannot_see: [
        "a first line of more than 2 KiB, which is rejected",
        "a connection that begins with an answer, as a proxy may open to return one",
    ],
    examples: [
        Example::text("REGISTER sip:Example.org SIP/2.0\r\n").matches(32).fact("method", "REGISTER").fact("host", "example.org"),
        Example::text("INVITE sip:bob@example.org:5060;transport=tcp SIP/2.0\r\n").matches(53).fact("user", "bob"),
        Example::text("INVITE tel:+1-201-555-0123 SIP/2.0\r\n").matches(34).fact("user", "+1-201-555-0123"),
        Example::text("\r\n\r\nOPTIONS sip:").undecided(),
        Example::text("OPTIONS * HTTP/1.1\r\n").rejects(9),
        Example::text("GET http://example.org/ HTTP/1.1\r\n").rejects(25),
        Example::text("OPTIONS rtsp://example.org/ RTSP/1.0\r\n").rejects(29),
        Example::text("MAIL FROM:<alice@example.org>\r\n").rejects(30),
    ],
}
