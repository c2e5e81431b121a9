//! The classifier for Redis, and what speaks its protocol: the first command (Redis documentation, "Redis serialization
//! protocol specification", sections "Sending commands to a Redis server" and "Inline commands").
//!
//! Clients send a command as an array of bulk strings, `*` count CR LF `$` length CR LF name CR LF, which is recognised
//! at the name's end whatever the name. People and scripts send it as a line; that is recognised only if it begins with
//! a command of the table in `inline`.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod inline;

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: more than a name in an array, or the words of the longest line that is read to its end.
const MAX_BYTES: usize = 1024;

/// The most elements of an array: the server's own limit.
const MAX_ELEMENTS: u32 = i32::MAX as u32;

/// The longest name. Redis's own have up to 20 bytes, those of modules somewhat more, renamed ones the 40 to 64 digits
/// of a hash.
const MAX_NAME_BYTES: usize = 64;

/// Recognises Redis clients; it has nothing to configure.
pub struct Redis;

impl Classifier for Redis {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Redis)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let name = if c.peek()? == b'*' { array(&mut c)? } else { inline::command(&mut c)? };
        let mut buffer = [0; MAX_NAME_BYTES];
        let upper = buffer.get_mut(..name.len()).unwrap_or_default();
        for (to, byte) in upper.iter_mut().zip(name) {
            *to = byte.to_ascii_uppercase();
        }
        facts.add("command", upper);
        Ok(Match)
    }
}

/// Reads the beginning of an array of bulk strings and returns its first one.
fn array<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    c.tag(b"*")?;
    number(c, MAX_ELEMENTS)?;
    c.tag(b"$")?;
    let len = number(c, MAX_NAME_BYTES as u32)? as usize;
    ensure(c.peek()?.is_ascii_alphanumeric())?;
    let name = c.part(len, |c| c.take_while(len, |b| b.is_ascii_alphanumeric() || b"_-.|:".contains(&b)))?;
    c.tag(b"\r\n")?;
    Ok(name)
}

/// Reads a number from 1 to `most` and the CR LF behind it. The server takes no zeros in front.
fn number(c: &mut Cursor<'_>, most: u32) -> Result<u32, Stop> {
    let mut value = u32::from(c.u8_in(b'1'..=b'9')? - b'0');
    loop {
        let byte = c.u8_where(|b| b.is_ascii_digit() || b == b'\r')?;
        if byte == b'\r' {
            c.tag(b"\n")?;
            return Ok(value);
        }
        value = value.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
        ensure(value <= most)?;
    }
}

portsplit_plugin_sdk::export! {
    classifier: Redis,
    name: "redis",
    description: "Redis clients (and those of Valkey, KeyDB, Sentinel and the like), by their first command.",
    protocols: ["redis"],
    max_bytes: MAX_BYTES,
    facts: {
        "command": "the first command's name in upper case, such as `HELLO`, `AUTH` or `PING`",
    },
    cannot_see: [
        "inline commands that are lines of another protocol too, such as lower-case `get` and `set` (memcached), \
         `AUTH` and `QUIT` (mail), `GET` (HTTP), `TYPE` (FTP), `PING` with an argument or without a CR, and \
         `config get cluster` (memcached)",
        "inline commands that are not in this detector's table, those of modules among them",
        "which of the servers that speak this protocol is meant",
    ],
    examples: [
        Example::text("*1\r\n$4\r\nPING\r\n").matches(14).fact("command", "PING"),
        Example::text("*2\r\n$5\r\nhello\r\n$1\r\n3\r\n").matches(15).fact("command", "HELLO"),
        Example::text("PING\r\n").matches(6).fact("command", "PING"),
        Example::text("info replication\r\n").matches(18).fact("command", "INFO"),
        Example::text("*3\r\n$3\r\nSE").undecided(),
        Example::text("*3\r\n+OK\r\n").rejects(5),
        Example::text("PING :irc.example.org\r\n").rejects(5),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
