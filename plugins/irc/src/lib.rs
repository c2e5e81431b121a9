//! The classifier for IRC: the commands a client registers with (RFC 2812, section 3.1; IRCv3, "Capability
//! negotiation" and "tls"; IRCX, section 4), and those that servers link with.
//!
//! `NICK`, `CAP` with a subcommand and `WEBIRC` are IRC's own. `USER` and `PASS` are also words of FTP and POP3: `USER`
//! counts with the four parameters it has only here, and `PASS` only if one of the others follows it. `STARTTLS` is a
//! word of protocols, too, in which the server speaks first, and of Network UPS Tools, whose lines end in LF alone. A
//! client that goes on where it was, in a channel, is recognised too.
#![cfg_attr(target_arch = "wasm32", no_std)]

use portsplit_plugin_sdk::prelude::*;

/// The longest line, its end included (RFC 2812, section 2.3).
const MAX_LINE_BYTES: usize = 512;

/// The most bytes looked at: a password and the line behind it.
const MAX_BYTES: usize = 2 * MAX_LINE_BYTES;

/// The longest nick; servers allow 9 to 64 bytes.
const MAX_NICK_BYTES: usize = 64;

/// The longest parameter of `USER`: names of users and hosts.
const MAX_PARAMETER_BYTES: usize = 255;

/// Recognises IRC clients; it has nothing to configure.
pub struct Irc;

impl Classifier for Irc {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Irc)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let mut first = command(&mut c, FIRST)?;
        if first == PASS {
            let password = c.line_where(MAX_LINE_BYTES, |b| b >= b' ')?;
            ensure(!password.is_empty())?;
            first = command(&mut c, BEHIND_PASSWORD)?;
        }
        match first {
            0 => nick(&mut c, facts)?,
            1 => user(&mut c)?,
            2 => capabilities(&mut c)?,
            JOIN => channel(&mut c)?,
            _ => {}
        }
        Ok(Match)
    }
}

/// The commands that can come first. Those that take no word have the end of their line.
const FIRST: &[&[u8]] = &[
    b"NICK ",
    b"USER ",
    b"CAP ",
    b"PASS ",
    b"JOIN ",
    b"PRIVMSG ",
    b"WEBIRC ",
    b"CAPAB ",
    b"PROTOCTL ",
    b"STARTTLS\r\n",
    b"MODE ISIRCX\r\n",
    b"IRCX\r\n",
];

/// Where these two are in that list.
const PASS: usize = 3;
const JOIN: usize = 4;

/// The commands that can follow a password; the first three are in the same places as above.
const BEHIND_PASSWORD: &[&[u8]] = &[b"NICK ", b"USER ", b"CAP ", b"SERVER ", b"WEBIRC ", b"CAPAB ", b"PROTOCTL "];

/// The most spaces in a row, of which there may be any number (RFC 1459, section 2.3.1).
const MAX_SPACES: usize = 8;

/// Passes over the spaces that follow the first one between two words.
fn spaces(c: &mut Cursor<'_>) -> Result<(), Stop> {
    c.take_while(MAX_SPACES, |b| b == b' ').map(|_| ())
}

/// Reads one of several commands, in letters of either case, and says which.
fn command(c: &mut Cursor<'_>, commands: &[&[u8]]) -> Result<usize, Stop> {
    for (index, command) in commands.iter().enumerate() {
        let mut attempt = *c;
        match attempt.tag_ignore_case(command) {
            Err(Reject) => {}
            Err(stop) => return Err(stop),
            Ok(()) => {
                *c = attempt;
                return Ok(index);
            }
        }
    }
    Err(Reject)
}

/// One parameter, in old versions of the protocol a second.
fn nick(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    spaces(c)?;
    if c.peek()? == b':' {
        c.u8()?;
    }
    let nick = c.take_while(MAX_NICK_BYTES, |b| b > b' ' && b != 0x7f)?;
    ensure(!nick.is_empty())?;
    c.line_where(MAX_LINE_BYTES, |b| b >= b' ')?;
    facts.add("nick", nick);
    Ok(())
}

/// User, mode or host, a word nobody needs, and the real name, which has begun.
fn user(c: &mut Cursor<'_>) -> Result<(), Stop> {
    spaces(c)?;
    for _ in 0..3 {
        let parameter = c.take_until_where(b' ', MAX_PARAMETER_BYTES, |b| b > b' ' && b != 0x7f)?;
        ensure(!parameter.is_empty())?;
        spaces(c)?;
    }
    c.u8_where(|b| b > b' ')?;
    Ok(())
}

/// The beginning of a channel's name.
fn channel(c: &mut Cursor<'_>) -> Result<(), Stop> {
    spaces(c)?;
    c.u8_where(|b| matches!(b, b'#' | b'&')).map(|_| ())
}

/// The subcommands a client can begin with, each with what ends a word.
fn capabilities(c: &mut Cursor<'_>) -> Result<(), Stop> {
    spaces(c)?;
    command(c, &[b"LS", b"LIST", b"REQ", b"END"])?;
    c.u8_where(|b| matches!(b, b' ' | b'\r' | b'\n'))?;
    Ok(())
}

portsplit_plugin_sdk::export! {
    classifier: Irc,
    name: "irc",
    description: "IRC clients, and servers that link to another, by the commands they register with.",
    protocols: ["irc"],
    max_bytes: MAX_BYTES,
    facts: { "nick": "the nick, if it is in the first line or in the one behind the password" },
    cannot_see: [
        "the nick of clients that first ask for capabilities, as most do: it comes later, and may wait for the server",
        "clients that wait for the server's notice before they send anything",
        "STARTTLS of NNTP and Sieve, the same line, from a client that does not wait for its server to speak first",
    ],
    examples: [
        Example::text("NICK alice\r\nUSER alice 0 * :Alice\r\n").matches(12).fact("nick", "alice"),
        Example::text("CAP LS 302\r\n").matches(7),
        Example::text("PASS secret\r\nNICK alice\r\n").matches(25).fact("nick", "alice"),
        Example::text("USER alice 0 * :Alice\r\n").matches(16),
        Example::text("USER alice\r\n").rejects(11),
        Example::text("STARTTLS\r\n").matches(10),
        Example::text("PASS secret\r\n").undecided(),
        Example::text("PASS secret\r\nLIST\r\n").rejects(14),
        Example::text("CAPA\r\n").rejects(5),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
