//! The classifier for MongoDB: the first message of a client (MongoDB Wire Protocol; MongoDB Handshake specification;
//! BSON 1.1).
//!
//! A header of four little-endian integers (length, request, response to, operation) and a message of that operation:
//! OP_MSG, or OP_QUERY, in which drivers still say hello to a server they do not know, or one of the older operations.
//! Length, operation and "response to nothing" are 80 bits or nearly so, and the lengths inside have to fit. A command
//! other than the handshake is recognised at its name, the handshake when its document has been read, because the
//! client's name stands in it; where no byte will follow, a message that is cut behind its header is one as well.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod bson;

use portsplit_plugin_sdk::prelude::*;

/// The most bytes looked at: handshakes have some hundred bytes, at most 512 of them for what the client says of
/// itself.
const MAX_BYTES: usize = 4096;

/// The longest first message. Later ones have up to 48,000,000 bytes (`maxMessageSizeBytes`), but every driver in use
/// begins with a handshake of some hundred; with two zero bytes in the length, little else is taken for the beginning of
/// one.
const MAX_MESSAGE_BYTES: u32 = 0xffff;

/// The longest message that can be compressed into one.
const MAX_UNCOMPRESSED_BYTES: u32 = 48_000_000;

/// The shortest message: an OP_COMPRESSED around nothing.
const MIN_MESSAGE_BYTES: u32 = 16 + 9;

/// The first bytes of the operations 2001 to 2013; the others are the same.
const OP_UPDATE: u8 = 0xd1;
const OP_INSERT: u8 = 0xd2;
const OP_QUERY: u8 = 0xd4;
const OP_DELETE: u8 = 0xd6;
const OP_COMPRESSED: u8 = 0xdc;
const OP_MSG: u8 = 0xdd;

/// Recognises MongoDB clients; it has nothing to configure.
pub struct Mongodb;

impl Classifier for Mongodb {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Mongodb)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let len = c.u32_le_in(MIN_MESSAGE_BYTES..=MAX_MESSAGE_BYTES)?;
        c.limit(len as usize - c.position())?;
        c.skip(4)?; // request
        // It responds to nothing, for which old shells and servers write -1.
        let responds = c.u8_where(|b| b == 0 || b == 0xff)?;
        c.tag(&[responds; 3])?;
        let operation = operation(&mut c)?;
        match body(operation, &mut c, facts) {
            Err(NeedMore(_)) if input.is_last() => Ok(Match),
            read => read.map(|()| Match),
        }
    }
}

fn body(kind: u8, c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    match kind {
        OP_MSG => message(c, facts),
        OP_QUERY => query(c, facts),
        // Inside is another operation, its size, and one of four compressors. No client begins with it unless it knows
        // the server already.
        OP_COMPRESSED => {
            ensure(operation(c)? != OP_COMPRESSED)?;
            c.u32_le_in(0..=MAX_UNCOMPRESSED_BYTES)?;
            c.u8_in(0..=3).map(|_| ())
        }
        // The older operations name a collection behind four bytes of which at most one bit is set.
        _ => {
            c.u8_in(0..=1)?;
            collection(c).map(|_| ())
        }
    }
}

fn operation(c: &mut Cursor<'_>) -> Result<u8, Stop> {
    let operation =
        c.u8_where(|b| matches!(b, OP_UPDATE | OP_INSERT | OP_QUERY..=OP_DELETE | OP_COMPRESSED | OP_MSG))?;
    c.tag(b"\x07\0\0")?;
    Ok(operation)
}

/// OP_MSG: flags, sections, and a checksum if the first flag says so.
fn message(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    let flags = c.u8_in(0..=3)?;
    c.tag(b"\0")?; // what is set in this half must be known to the server, which knows two
    c.skip(2)?;
    let checksum = if flags & 1 == 0 { 0 } else { 4 };
    if c.u8_in(0..=1)? == 0 {
        return bson::command(c, checksum, facts);
    }
    let most = bson::left(c).saturating_sub(checksum);
    c.u32_le_in(4 + 2..=most)?;
    ensure(c.peek()? != 0)?;
    bson::name(c).map(|_| ())
}

/// OP_QUERY: flags, the collection, two numbers and the query. A query of `$cmd` is a command.
fn query(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    c.u8_where(|flags| flags & 1 == 0)?;
    let collection = collection(c)?;
    c.skip(8)?; // how many documents to skip and to return
    if collection == b".$cmd" {
        return bson::command(c, 0, facts);
    }
    c.u32_le_in(bson::MIN_DOCUMENT_BYTES..=bson::left(c)).map(|_| ())
}

/// Reads the zeros that end four bytes of flags, and the database and the collection behind them; returns the latter
/// with the dot before it.
fn collection<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    c.tag(b"\0\0\0")?;
    ensure(c.peek()? != b'.')?;
    let name = bson::name(c)?;
    let dot = name.iter().position(|b| *b == b'.').ok_or(Reject)?;
    Ok(name.get(dot..).unwrap_or_default())
}

portsplit_plugin_sdk::export! {
    classifier: Mongodb,
    name: "mongodb",
    description: "MongoDB clients, by their first message, of OP_MSG or of the older operations.",
    protocols: ["mongodb"],
    max_bytes: MAX_BYTES,
    facts: {
        "command": "the command's name, such as `hello`, `isMaster` or `find`, if the client begins with one",
        "app": "the application's name (`appName`), in a handshake that has one",
        "driver": "the driver's name, such as `PyMongo`, in a handshake",
    },
    cannot_see: [
        "user and database, which come after the server's answer to the handshake",
        "which of the servers that speak this protocol is meant",
        "two or three bytes can nearly always begin a length, so services whose clients send no more and wait, such as \
         SOCKS, belong before it",
        "a first message of 64 KiB or more, which is rejected",
    ],
    examples: [
        Example::bytes(b"\x2b\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x16\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\0")
            .matches(31).fact("command", "ping"),
        Example::bytes(
            b"\x3a\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0\0\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff\
              \x13\0\0\0\x10isMaster\0\x01\0\0\0\0",
        )
        .matches(58).fact("command", "isMaster"),
        Example::bytes(b"\x2b\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07").undecided(),
        Example::bytes(b"\x2b\0\0\0\x01\0\0\0\0\0\0\0\xde\x07\0\0").rejects(13),
        Example::bytes(b"\x2b\0\0\0\x01\0\0\0\x07").rejects(9),
        Example::text("GET / HTTP/1.1\r\n").rejects(3),
    ],
}
