//! The classifier for XMPP: the beginning of a stream (RFC 6120, section 4.2).
//!
//! An optional XML declaration, then a start tag `stream` in the namespace of streams, whose name no other protocol
//! has. The attributes are read for that name and for facts, so it matches at the end of the tag. This is no parser of
//! XML, and needs to be none for what clients write.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: declaration and tag have some 200.
const MAX_BYTES: usize = 2 << 10;

/// The namespace of streams (section 4.8.1).
const STREAMS: &[u8] = b"http://etherx.jabber.org/streams";

/// The most bytes of an XML declaration.
const MAX_DECLARATION_BYTES: usize = 128;

/// The most white space in one place.
const MAX_SPACE_BYTES: usize = 64;

/// The longest name of a tag or an attribute, with its prefix.
const MAX_NAME_BYTES: usize = 64;

/// The longest value: an address has up to 1023 bytes on each side of its `@`.
const MAX_VALUE_BYTES: usize = 1023;

/// The most attributes: seven are defined, two of them for namespaces.
const MAX_ATTRIBUTES: usize = 16;

/// Recognises XMPP clients; it has nothing to configure.
pub struct Xmpp;

impl Classifier for Xmpp {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Xmpp)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        space(&mut c)?;
        c.tag(b"<")?;
        if c.peek()? == b'?' {
            c.tag(b"?xml")?;
            let rest = c.take_until_where(b'>', MAX_DECLARATION_BYTES, |b| b != b'<')?;
            ensure(rest.ends_with(b"?"))?;
            space(&mut c)?;
            c.tag(b"<")?;
        }
        // Nearly all write `stream:stream`, but the prefix means nothing.
        let name = name(&mut c)?;
        ensure(name.strip_suffix(b"stream").is_some_and(|prefix| prefix.is_empty() || prefix.ends_with(b":")))?;
        let mut stream = Stream::default();
        for _ in 0..MAX_ATTRIBUTES {
            let spaces = space(&mut c)?;
            if c.peek()? == b'>' {
                c.u8()?;
                ensure(stream.is_xmpp)?;
                stream.add_facts(facts);
                return Ok(Match);
            }
            ensure(spaces > 0)?;
            stream.attribute(&mut c)?;
        }
        Err(Reject)
    }
}

/// What the attributes say that matters here.
#[derive(Default)]
struct Stream<'a> {
    is_xmpp: bool,
    to: &'a [u8],
    content: &'a [u8],
}

impl<'a> Stream<'a> {
    /// Reads one attribute.
    fn attribute(&mut self, c: &mut Cursor<'a>) -> Result<(), Stop> {
        let name = name(c)?;
        ensure(!name.is_empty())?;
        space(c)?;
        c.tag(b"=")?;
        space(c)?;
        let quote = c.u8_where(|b| matches!(b, b'\'' | b'"'))?;
        let value = c.take_until_where(quote, MAX_VALUE_BYTES, |b| b >= b' ' && b != b'<')?;
        match name {
            b"to" => self.to = value,
            b"xmlns" => {
                self.content = value;
                self.is_xmpp |= value == STREAMS;
            }
            _ => self.is_xmpp |= name.starts_with(b"xmlns:") && value == STREAMS,
        }
        Ok(())
    }

    fn add_facts(&self, facts: &mut Facts) {
        // A name that is not ASCII has no lower case here.
        if !facts.add_host("to", self.to) && (1..=MAX_VALUE_BYTES).contains(&self.to.len()) {
            facts.add("to", self.to);
        }
        match self.content {
            b"jabber:client" => facts.add("kind", "client"),
            b"jabber:server" => facts.add("kind", "server"),
            b"jabber:component:accept" => facts.add("kind", "component"),
            _ => {}
        }
    }
}

/// Reads white space and says how much there was.
fn space(c: &mut Cursor<'_>) -> Result<usize, Stop> {
    Ok(c.take_while(MAX_SPACE_BYTES, |b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))?.len())
}

/// Reads a name, which may be empty.
fn name<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    c.take_while(MAX_NAME_BYTES, |b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
}

portsplit_plugin_sdk::export! {
    classifier: Xmpp,
    name: "xmpp",
    description: "XMPP (Jabber) streams of clients, servers and components.",
    protocols: ["xmpp"],
    max_bytes: MAX_BYTES,
    facts: {
        "to": "the domain the stream is for, in lower case and without a final dot",
        "kind": "`client`, `server` or `component`",
    },
    cannot_see: [
        "streams that begin in TLS at once, whose ALPN is `xmpp-client` or `xmpp-server`, and those over WebSocket and HTTP",
        "the user, who comes after the server's answer",
        "a prefix or attribute with letters that are not ASCII in its name, which is rejected",
    ],
    examples: [
        Example::text(
            "<?xml version='1.0'?><stream:stream to='Example.org' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
        )
        .matches(137).fact("to", "example.org").fact("kind", "client"),
        Example::text("<?xml version='1.0'?><stream:stream to='example.org'").undecided(),
        Example::text("<stream:stream to='example.org' version='1.0'>").rejects(46),
        Example::text("<policy-file-request/>").rejects(21),
        Example::text("<34>1 2003-10-11T22:14:15Z host app - - - text\n").rejects(4),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
