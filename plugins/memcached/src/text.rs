//! The text protocol: a line of a command and its words.

use portsplit_plugin_sdk::prelude::*;

use crate::MAX_KEY_BYTES;

/// The most spaces in a row: libmemcached writes two in places.
const MAX_SPACES: usize = 4;

/// The longest number: 64 bits in decimal.
const MAX_DIGITS: usize = 20;

/// The most words of a list, such as the keys of `get`, that are read; the line is not waited for behind them.
const MAX_WORDS: usize = 8;

/// What a command takes.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    Key,
    /// A number without sign.
    Number,
    /// A number that can be negative.
    Time,
    /// A number that can be left out.
    OptionalTime,
    /// `noreply`, which can be left out.
    NoReply,
    /// Any number of words, none included: further keys, flags of the meta commands, or what `stats` is asked for.
    Rest,
}

use Word::{Key, NoReply, Number, OptionalTime, Rest, Time};

const STORE: &[Word] = &[Key, Number, Time, Number, NoReply];
const COUNT: &[Word] = &[Key, Number, NoReply];

/// The commands that data is read and written with, the harmless ones to look at a server, and the one with which
/// clients ask Amazon's ElastiCache for its servers.
const COMMANDS: &[(&[u8], &[Word])] = &[
    (b"get", &[Key, Rest]),
    (b"gets", &[Key, Rest]),
    (b"gat", &[Time, Key, Rest]),
    (b"gats", &[Time, Key, Rest]),
    (b"set", STORE),
    (b"add", STORE),
    (b"replace", STORE),
    (b"append", STORE),
    (b"prepend", STORE),
    (b"cas", &[Key, Number, Time, Number, Number, NoReply]),
    (b"delete", &[Key, OptionalTime, NoReply]),
    (b"incr", COUNT),
    (b"decr", COUNT),
    (b"touch", &[Key, Time, NoReply]),
    (b"mg", &[Key, Rest]),
    (b"ms", &[Key, Number, Rest]),
    (b"md", &[Key, Rest]),
    (b"ma", &[Key, Rest]),
    (b"me", &[Key, Rest]),
    (b"mn", &[]),
    (b"stats", &[Rest]),
    (b"version", &[]),
    (b"flush_all", &[OptionalTime, NoReply]),
    (b"verbosity", &[Number, NoReply]),
    (b"config get cluster", &[]),
];

pub(crate) fn request(c: &mut Cursor<'_>) -> Result<(), Stop> {
    for (name, words) in COMMANDS {
        let mut attempt = *c;
        match command(&mut attempt, name) {
            Err(Reject) => {}
            Err(stop) => return Err(stop),
            Ok(()) => return line(&mut attempt, words),
        }
    }
    Err(Reject)
}

/// Reads a name, behind which something else than a letter has to come.
fn command(c: &mut Cursor<'_>, name: &[u8]) -> Result<(), Stop> {
    c.tag(name)?;
    ensure(matches!(c.peek()?, b' ' | b'\r' | b'\n'))
}

/// Reads what is behind the name, to the end of the line or of what is looked at.
fn line(c: &mut Cursor<'_>, words: &[Word]) -> Result<(), Stop> {
    for (index, word) in words.iter().enumerate() {
        let rest = words.get(index..).unwrap_or_default();
        let optional = rest.iter().all(|word| matches!(word, OptionalTime | NoReply | Rest));
        if !next(c, optional, true)? {
            return Ok(());
        }
        match word {
            Key => key(c)?,
            Number => number(c)?,
            Time => time(c)?,
            // Where this is left out, what comes next may still be there.
            OptionalTime if c.peek()? == b'n' && rest.contains(&NoReply) => return no_reply(c),
            OptionalTime => time(c)?,
            NoReply => return no_reply(c),
            Rest => return list(c),
        }
    }
    next(c, true, false).map(|_| ())
}

fn list(c: &mut Cursor<'_>) -> Result<(), Stop> {
    for _ in 0..MAX_WORDS {
        // A key could be this, but `get / HTTP/1.0` is a request of HTTP's.
        c.either(|c| c.tag(b"HTTP/").map(|()| true), |_| Ok(false)).and_then(|is_http| ensure(!is_http))?;
        key(c)?;
        if !next(c, true, true)? {
            break;
        }
    }
    Ok(())
}

fn no_reply(c: &mut Cursor<'_>) -> Result<(), Stop> {
    c.tag(b"noreply")?;
    next(c, true, false).map(|_| ())
}

/// Passes over spaces to the next word or over the end of the line, where it is false. Rejects at the first byte that
/// shows one of the two where it may not be.
fn next(c: &mut Cursor<'_>, may_end: bool, may_go_on: bool) -> Result<bool, Stop> {
    for spaces in 0..=MAX_SPACES {
        match c.peek()? {
            b' ' => c.skip(1)?,
            b'\r' | b'\n' => {
                ensure(may_end)?;
                c.one_of(&[b"\n", b"\r\n"])?;
                return Ok(false);
            }
            _ => return ensure(may_go_on && spaces > 0).map(|()| true),
        }
    }
    Err(Reject)
}

fn key(c: &mut Cursor<'_>) -> Result<(), Stop> {
    let key = c.take_while(MAX_KEY_BYTES.into(), |b| b > b' ' && b != 0x7f)?;
    ensure(!key.is_empty())
}

fn number(c: &mut Cursor<'_>) -> Result<(), Stop> {
    let digits = c.take_while(MAX_DIGITS, |b| b.is_ascii_digit())?;
    ensure(!digits.is_empty())
}

fn time(c: &mut Cursor<'_>) -> Result<(), Stop> {
    if c.peek()? == b'-' {
        c.skip(1)?;
    }
    number(c)
}
