//! The classifier for AJP, versions 1.3 and its relatives: what a web server sends to a servlet container (Apache
//! Tomcat Connectors, "AJPv13 Reference").
//!
//! Each packet has a magic number of two bytes and a length. The first one is a forwarded request, which names HTTP's
//! version in the next fields, or a ping of one byte. Of a request the strings up to the server's name are read.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: the largest packet unless both sides are configured for more.
const MAX_BYTES: usize = 8 << 10;

/// The longest name of HTTP's version: `HTTP/1.1` is usual.
const MAX_PROTOCOL_BYTES: u16 = 16;

/// The most bytes of a path that become a fact.
const MAX_PATH_BYTES: usize = 512;

/// A longer name of a server is none, and looking for its end would take more fuel than there is.
const MAX_HOST_BYTES: usize = 512;

/// Recognises AJP clients; it has nothing to configure.
pub struct Ajp;

impl Classifier for Ajp {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Ajp)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        const FORWARD_REQUEST: u8 = 2;
        const CPING: u8 = 10;
        let mut c = input.cursor();
        c.tag(b"\x12\x34")?;
        let len = c.u16_be_in(1..=u16::MAX)?;
        if len == 1 {
            c.tag(&[CPING])?;
            facts.add("kind", "ping");
            return Ok(Match);
        }
        c.tag(&[FORWARD_REQUEST])?;
        let method = c.u8_where(|b| (1..=METHODS.len()).contains(&usize::from(b)) || b == STORED_METHOD)?;
        let mut left = len - 2;
        protocol(&mut c, &mut left)?;
        facts.add("kind", "request");
        if let Some(name) = METHODS.get(usize::from(method) - 1) {
            facts.add("method", name);
        }
        match strings(&mut c, &mut left, facts) {
            // It is AJP all the same if its path is longer than what is looked at.
            Err(NeedMore(total)) if total > MAX_BYTES => Ok(Match),
            answer => answer.map(|()| Match),
        }
    }
}

/// The methods that have a number, from 1 on.
const METHODS: [&str; 27] = [
    "OPTIONS",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "ACL",
    "REPORT",
    "VERSION-CONTROL",
    "CHECKIN",
    "CHECKOUT",
    "UNCHECKOUT",
    "SEARCH",
    "MKWORKSPACE",
    "UPDATE",
    "LABEL",
    "MERGE",
    "BASELINE-CONTROL",
    "MKACTIVITY",
];

/// Says that the method has no number; its name comes far behind.
const STORED_METHOD: u8 = 0xff;

/// The version of HTTP, as a string.
fn protocol(c: &mut Cursor<'_>, left: &mut u16) -> Result<(), Stop> {
    let len = c.u16_be_in(b"HTTP/".len() as u16..=MAX_PROTOCOL_BYTES.min(left.saturating_sub(3)))?;
    *left -= len + 3;
    c.tag(b"HTTP/")?;
    for _ in b"HTTP/".len()..len.into() {
        c.u8_where(|b| b.is_ascii_graphic())?;
    }
    c.tag(b"\0")
}

/// The path, the client's address and name, and the server's name.
fn strings(c: &mut Cursor<'_>, left: &mut u16, facts: &mut Facts) -> Result<(), Stop> {
    let path = string(c, left)?;
    string(c, left)?;
    string(c, left)?;
    let host = string(c, left)?;
    if host.len() <= MAX_HOST_BYTES {
        facts.add_host("host", host);
    }
    if !path.is_empty() {
        facts.add("path", path.get(..MAX_PATH_BYTES).unwrap_or(path));
    }
    Ok(())
}

/// Reads a string: a length of two bytes, that many bytes, and a zero. The length `ff ff` says that there is none.
/// `left` is what the packet has left.
fn string<'a>(c: &mut Cursor<'a>, left: &mut u16) -> Result<&'a [u8], Stop> {
    if c.peek()? == 0xff {
        *left = left.checked_sub(2).ok_or(Reject)?;
        c.tag(b"\xff\xff")?;
        return Ok(b"");
    }
    let most = left.checked_sub(3).ok_or(Reject)?;
    let len = c.u16_be_in(0..=most)?;
    *left = most - len;
    let string = c.take(len.into())?;
    c.tag(b"\0")?;
    Ok(string)
}

portsplit_plugin_sdk::export! {
    classifier: Ajp,
    name: "ajp",
    description: "AJP 1.3, with which web servers hand requests to servlet containers such as Tomcat.",
    protocols: ["ajp"],
    max_bytes: MAX_BYTES,
    facts: {
        "kind": "`request`, or `ping` where the web server first asks whether the container is there",
        "method": "the method, such as `GET`; none if it is one that has no number in AJP",
        "host": "the name the request is for, in lower case and without a final dot",
        "path": "the request's path, at most its first 512 bytes",
    },
    cannot_see: [
        "the request behind a ping, which comes when the ping was answered",
        "host and path of a request whose path does not fit into 8 KiB",
    ],
    examples: [
        Example::bytes(
            b"\x12\x34\0\x43\x02\x02\0\x08HTTP/1.1\0\0\x02/a\0\0\x09127.0.0.1\0\xff\xff\0\x0bexample.org\0\0\x50\0\0\0",
        )
        .matches(50).fact("kind", "request").fact("method", "GET").fact("path", "/a").fact("host", "example.org"),
        Example::bytes(b"\x12\x34\0\x01\x0a").matches(5).fact("kind", "ping"),
        Example::bytes(b"\x12\x34\0\x43\x02\x02\0\x08HTTP/").undecided(),
        Example::bytes(b"\x12\x34\0\0").rejects(4),
        Example::bytes(b"\x12\x01\0\x2f").rejects(2),
    ],
}
