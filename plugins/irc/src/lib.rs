//! The classifier for IRC: the commands a client registers with (RFC 2812, section 3.1; IRCv3, "Capability
//! negotiation"), and those that servers link with.
//!
//! `NICK`, `CAP` with a subcommand and `WEBIRC` are IRC's own. `USER` and `PASS` are also words of FTP and POP3: `USER`
//! counts with the four parameters it has only here, and `PASS` only if one of the others follows it.
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
        let mut first = command(&mut c, &[b"NICK ", b"USER ", b"CAP ", b"PASS ", b"WEBIRC ", b"CAPAB ", b"PROTOCTL "])?;
        if first == PASS {
            let password = c.line_where(MAX_LINE_BYTES, |b| b >= b' ')?;
            ensure(!password.is_empty())?;
            first = command(&mut c, &[b"NICK ", b"USER ", b"CAP ", b"SERVER ", b"WEBIRC ", b"CAPAB ", b"PROTOCTL "])?;
        }
        match first {
            0 => nick(&mut c, facts)?,
            1 => user(&mut c)?,
            2 => capabilities(&mut c)?,
            _ => {}
        }
        Ok(Match)
    }
}

/// Where `PASS` is in the list of commands that can come first.
const PASS: usize = 3;

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
    for _ in 0..3 {
        let parameter = c.take_until_where(b' ', MAX_PARAMETER_BYTES, |b| b > b' ' && b != 0x7f)?;
        ensure(!parameter.is_empty())?;
    }
    c.u8_where(|b| b > b' ')?;
    Ok(())
}

/// The subcommands a client can begin with, each with what ends a word.
fn capabilities(c: &mut Cursor<'_>) -> Result<(), Stop> {
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
        "clients that begin with STARTTLS, which those of NNTP and Sieve send in the same way",
    ],
    examples: [
        Example::text("NICK alice\r\nUSER alice 0 * :Alice\r\n").matches(12).fact("nick", "alice"),
        Example::text("CAP LS 302\r\n").matches(7),
        Example::text("PASS secret\r\nNICK alice\r\n").matches(25).fact("nick", "alice"),
        Example::text("USER alice 0 * :Alice\r\n").matches(16),
        Example::text("USER alice\r\n").rejects(11),
        Example::text("PASS secret\r\n").undecided(),
        Example::text("PASS secret\r\nLIST\r\n").rejects(14),
        Example::text("CAPA\r\n").rejects(5),
        Example::text("GET / HTTP/1.1\r\n").rejects(1),
    ],
}
