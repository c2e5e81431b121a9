//! Inline commands: a line of words, as people type it into a terminal program and scripts send it.
//!
//! A line is the weakest sign there is, so this takes only names of Redis's own, with as many words behind them as the
//! command can have, and no name that begins a line of another protocol.

use portsplit_plugin_sdk::prelude::*;

/// The longest word that is read to its end; a longer one is not waited for.
const MAX_WORD_BYTES: usize = 200;

/// A command that can be recognised in a line.
struct Command {
    /// In upper case, with the subcommand where there is one.
    name: &'static [u8],
    /// Whether the name is also taken in lower case, as the server does. Not where lower case is another protocol's or
    /// ordinary English.
    any_case: bool,
    /// The least words behind the name.
    least: usize,
    /// The most; `None` where there is no limit, so that a line need not be read to its end.
    most: Option<usize>,
    /// Whether the line may end without a CR, as the server lets it.
    bare_lf: bool,
    /// Whether the name is a method of SIP or UPnP, or a command of another service that takes a path, so that the first
    /// word must not look like one of their URIs or like that path.
    method: bool,
}

const fn fixed(name: &'static str, words: usize) -> Command {
    Command { name: name.as_bytes(), any_case: true, least: words, most: Some(words), bare_lf: true, method: false }
}

const fn open(name: &'static str, least: usize) -> Command {
    Command { name: name.as_bytes(), any_case: true, least, most: None, bare_lf: true, method: false }
}

impl Command {
    const fn only_upper(self) -> Command {
        Command { any_case: false, ..self }
    }

    const fn also_method(self) -> Command {
        Command { any_case: false, method: true, ..self }
    }

    /// Whether this byte can end the line.
    fn ends_with(&self, byte: u8) -> bool {
        byte == b'\r' || byte == b'\n' && self.bare_lf
    }
}

/// Where one name is the beginning of another, what follows it tells them apart.
const COMMANDS: &[Command] = &[
    // ClamAV's clients say `PING` and an LF.
    Command { bare_lf: false, ..fixed("PING", 0) },
    fixed("INFO", 0),
    fixed("INFO ALL", 0),
    fixed("INFO SERVER", 0),
    fixed("INFO CLIENTS", 0),
    fixed("INFO MEMORY", 0),
    fixed("INFO STATS", 0),
    fixed("INFO KEYSPACE", 0),
    fixed("INFO PERSISTENCE", 0),
    fixed("INFO REPLICATION", 0),
    fixed("INFO COMMANDSTATS", 0),
    open("CONFIG GET", 1),
    open("CONFIG SET", 2),
    fixed("CONFIG REWRITE", 0),
    open("CLIENT LIST", 0),
    fixed("CLIENT SETNAME", 1),
    fixed("CLIENT GETNAME", 0),
    fixed("CLIENT ID", 0),
    fixed("CLIENT INFO", 0),
    fixed("CLIENT REPLY", 1),
    open("CLIENT KILL", 1),
    open("CLIENT TRACKING", 1),
    open("CLUSTER NODES", 0),
    open("CLUSTER INFO", 0),
    open("CLUSTER SLOTS", 0),
    open("CLUSTER MEET", 2),
    open("HELLO 2", 0),
    open("HELLO 3", 0),
    fixed("COMMAND", 0),
    fixed("MODULE LIST", 0),
    open("MODULE LOAD", 1),
    open("SCRIPT LOAD", 1),
    fixed("SENTINEL MASTERS", 0),
    open("SENTINEL GET-MASTER-ADDR-BY-NAME", 1),
    open("SLOWLOG GET", 0),
    fixed("DBSIZE", 0),
    fixed("FLUSHALL", 0),
    fixed("FLUSHDB", 0),
    fixed("BGSAVE", 0),
    fixed("BGREWRITEAOF", 0),
    fixed("LASTSAVE", 0),
    fixed("SLAVEOF", 2),
    fixed("REPLICAOF", 2),
    fixed("PSYNC", 2),
    open("REPLCONF", 2),
    fixed("SYNC", 0).only_upper(),
    fixed("MONITOR", 0).only_upper(),
    fixed("KEYS", 1).only_upper(),
    open("EXISTS", 1).only_upper(),
    open("DEL", 1).only_upper(),
    open("SET", 2).only_upper(),
    open("PUBLISH", 2).also_method(),
    open("SUBSCRIBE", 1).also_method(),
    fixed("INCR", 1).only_upper(),
    fixed("DECR", 1).only_upper(),
    fixed("INCRBY", 2),
    fixed("DECRBY", 2),
    fixed("SELECT", 1).only_upper(),
    fixed("MULTI", 0).only_upper(),
    open("EXPIRE", 2),
    open("PEXPIRE", 2),
    fixed("PERSIST", 1),
    fixed("STRLEN", 1),
    fixed("RANDOMKEY", 0),
    open("SCAN", 1).also_method(),
    open("PSUBSCRIBE", 1),
    open("MGET", 1),
    open("MSET", 2),
    open("SETEX", 3),
    open("SETNX", 2),
    fixed("HGET", 2),
    fixed("HGETALL", 1),
    open("HSET", 3),
    open("HMSET", 3),
    open("HMGET", 2),
    open("HDEL", 2),
    fixed("HKEYS", 1),
    fixed("HINCRBY", 3),
    open("LPUSH", 2),
    open("RPUSH", 2),
    open("LPOP", 1),
    open("RPOP", 1),
    open("BLPOP", 2),
    open("BRPOP", 2),
    fixed("LLEN", 1),
    fixed("LRANGE", 3),
    open("SADD", 2),
    open("SREM", 2),
    fixed("SCARD", 1),
    fixed("SISMEMBER", 2),
    fixed("SMEMBERS", 1),
    open("ZADD", 3),
    open("ZREM", 2),
    fixed("ZCARD", 1),
    fixed("ZSCORE", 2),
    open("ZRANGE", 3),
    open("ZRANGEBYSCORE", 3),
    open("XADD", 4),
    fixed("XLEN", 1),
    open("XRANGE", 3),
    open("XREAD", 3),
    open("EVAL", 2),
    open("EVALSHA", 2),
];

/// What memcached's clients ask Amazon's ElastiCache for its servers with.
const DISCOVERY: &[u8] = b"config get cluster\r";

/// Reads a line as far as it takes to know that it is a command, and returns its first word.
pub(crate) fn command<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    not(c, &[DISCOVERY])?;
    for command in COMMANDS {
        let mut attempt = *c;
        match name(&mut attempt, command) {
            Err(Reject) => {}
            Err(stop) => return Err(stop),
            Ok(()) => {
                // The delimiter is already there.
                let first = c.take_while(MAX_WORD_BYTES, |b| b.is_ascii_graphic())?;
                words(&mut attempt, command)?;
                return Ok(first);
            }
        }
    }
    Err(Reject)
}

/// Reads a command's name, and rejects if the byte behind it shows that the command is another.
fn name(c: &mut Cursor<'_>, command: &Command) -> Result<(), Stop> {
    if command.any_case {
        c.tag_ignore_case(command.name)?;
    } else {
        c.tag(command.name)?;
    }
    let next = c.peek()?;
    ensure(if next == b' ' { command.most != Some(0) } else { command.least == 0 && command.ends_with(next) })
}

/// Reads the words behind a name, to the end of the line or until there are enough.
fn words(c: &mut Cursor<'_>, command: &Command) -> Result<(), Stop> {
    let mut count = 0;
    while count < command.least || command.most.is_some() {
        let next = c.u8_where(|b| match b {
            b' ' => command.most.is_none_or(|most| count < most),
            _ => count >= command.least && command.ends_with(b),
        })?;
        match next {
            b' ' if count == 0 && command.method => not(c, URIS)?,
            b' ' => {}
            b'\r' => return c.tag(b"\n"),
            _ => return Ok(()),
        }
        if !word(c)? {
            return Ok(());
        }
        count += 1;
    }
    Ok(())
}

/// How the URIs of SIP and UPnP begin.
const URIS: &[&[u8]] = &[b"/", b"http:", b"sip:", b"sips:", b"tel:", b"im:", b"pres:"];

/// Rejects if one of these comes next, in letters of either case.
fn not(c: &Cursor<'_>, beginnings: &[&[u8]]) -> Result<(), Stop> {
    for beginning in beginnings {
        let mut attempt = *c;
        match attempt.tag_ignore_case(beginning) {
            Err(Reject) => {}
            answer => return answer.and(Err(Reject)),
        }
    }
    Ok(())
}

/// Passes over a word, up to the space or line end behind it; false if it is too long to be read to its end.
fn word(c: &mut Cursor<'_>) -> Result<bool, Stop> {
    c.u8_where(is_word)?;
    for _ in 1..MAX_WORD_BYTES {
        if matches!(c.peek()?, b' ' | b'\r' | b'\n') {
            return Ok(true);
        }
        c.u8_where(is_word)?;
    }
    Ok(false)
}

/// Whether a byte can be in a word: anything but spaces and control characters; values may be of any encoding.
fn is_word(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}
