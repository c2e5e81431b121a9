//! What has to be understood of BSON: the elements of a command's document, and the two names in a handshake's
//! `client`.

use portsplit_plugin_sdk::MAX_FACT_BYTES;
use portsplit_plugin_sdk::prelude::*;

/// An empty document: its length and the zero byte at its end.
pub(crate) const MIN_DOCUMENT_BYTES: u32 = 5;

/// A document with an element: a type, a name of one letter, and no value.
const MIN_COMMAND_BYTES: u32 = MIN_DOCUMENT_BYTES + 3;

/// The longest handshake that is read to its end, so that it ends before `max_bytes`; a longer one teaches no names.
const MAX_HANDSHAKE_BYTES: u32 = 3072;

/// The most elements that are read, those of inner documents included: handshakes have about thirty.
const MAX_ELEMENTS: usize = 128;

/// The longest name of an element in such a document, and of a collection: 255 bytes since MongoDB 4.4, 120 before.
const MAX_NAME_BYTES: usize = 255;

/// Reads the document of a command that has at least `after` more bytes of the message behind it.
pub(crate) fn command(c: &mut Cursor<'_>, after: u32, facts: &mut Facts) -> Result<(), Stop> {
    let len = c.u32_le_in(MIN_COMMAND_BYTES..=left(c).saturating_sub(after))?;
    let mut first = *c;
    first.limit(len as usize - 4)?;
    first.u8_where(|kind| kind != END && is_type(kind))?;
    ensure(first.peek()? != 0)?;
    let name = name(&mut first)?;
    facts.add("command", name);
    let says_hello = matches!(name, b"hello" | b"isMaster" | b"ismaster");
    if says_hello && len <= MAX_HANDSHAKE_BYTES {
        c.part(len as usize - 4, |c| handshake(c, facts))?;
    }
    Ok(())
}

/// The documents that are read, from the outermost one inwards.
#[derive(Clone, Copy)]
enum Document {
    Handshake,
    Client,
    Application,
    Driver,
}

/// What a handshake says about the client, empty where it says nothing, and how many elements were read for it.
#[derive(Default)]
struct Client<'a> {
    elements: usize,
    app: &'a [u8],
    driver: &'a [u8],
}

fn handshake(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    let mut client = Client::default();
    elements(c, Document::Handshake, &mut client)?;
    for (fact, value) in [("app", client.app), ("driver", client.driver)] {
        if (1..=MAX_FACT_BYTES).contains(&value.len()) {
            facts.add(fact, value);
        }
    }
    Ok(())
}

/// Reads the elements of a document whose length has been read, and the zero byte behind them.
fn elements<'a>(c: &mut Cursor<'a>, within: Document, client: &mut Client<'a>) -> Result<(), Stop> {
    while client.elements < MAX_ELEMENTS {
        client.elements += 1;
        let kind = c.u8_where(is_type)?;
        if kind == END {
            return Ok(());
        }
        let inner = match (within, kind, name(c)?) {
            (Document::Handshake, DOCUMENT, b"client") => Document::Client,
            (Document::Client, DOCUMENT, b"application") => Document::Application,
            (Document::Client, DOCUMENT, b"driver") => Document::Driver,
            (Document::Application, STRING, b"name") => {
                client.app = string(c)?;
                continue;
            }
            (Document::Driver, STRING, b"name") => {
                client.driver = string(c)?;
                continue;
            }
            _ => {
                pass(c, kind)?;
                continue;
            }
        };
        let len = document(c)?;
        c.part(len, |c| elements(c, inner, client))?;
    }
    c.skip_rest()
}

const END: u8 = 0;
const STRING: u8 = 2;
const DOCUMENT: u8 = 3;

fn is_type(kind: u8) -> bool {
    matches!(kind, END..=0x13 | 0x7f | 0xff)
}

/// Reads a name that ends in a zero byte.
pub(crate) fn name<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    c.take_until_where(0, MAX_NAME_BYTES, |b| b >= b' ' && b != 0x7f)
}

/// Passes over a value of this type.
fn pass(c: &mut Cursor<'_>, kind: u8) -> Result<(), Stop> {
    // What the value has besides what a length in front of it counts.
    let fixed = match kind {
        0x01 | 0x09 | 0x11 | 0x12 => 8, // double, date, timestamp, integer
        0x07 | 0x0c => 12,              // object identifier, and a pointer, which has a string before that
        0x10 => 4,                      // integer
        0x13 => 16,                     // decimal
        0x05 | 0x08 => 1,               // binary data, which has a subtype, and boolean
        _ => 0,                         // among them null, and the least and the greatest key
    };
    let counted = match kind {
        DOCUMENT | 0x04 | 0x0f => document(c)?, // also an array, and code with its scope
        STRING | 0x05 | 0x0c | 0x0d | 0x0e => c.u32_le_in(0..=left(c))? as usize, // also code and symbol
        0x0b => {
            // A regular expression and its options.
            name(c)?;
            name(c).map(|_| 0)?
        }
        _ => 0,
    };
    c.skip(fixed + counted)
}

/// Reads the length of a document and returns how much of it follows.
fn document(c: &mut Cursor<'_>) -> Result<usize, Stop> {
    Ok(c.u32_le_in(MIN_DOCUMENT_BYTES..=left(c))? as usize - 4)
}

/// Reads a string: its length, the zero byte at its end included, its bytes, and that zero byte.
fn string<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    let len = c.u32_le_in(1..=left(c).saturating_sub(4))?;
    let value = c.take(len as usize - 1)?;
    c.tag(b"\0")?;
    Ok(value)
}

/// How many bytes the part has left, its next length included.
pub(crate) fn left(c: &Cursor<'_>) -> u32 {
    c.left().map_or(u32::MAX, |left| u32::try_from(left).unwrap_or(u32::MAX))
}
