//! The classifier for DNS over TCP (RFC 1035, section 4.2.2; RFC 7766): a length of two bytes, the header of a request
//! and its one question.
//!
//! Queries (IXFR of RFC 1995, AXFR of RFC 5936 and TKEY of RFC 2930 among them), NOTIFY (RFC 1996), UPDATE (RFC 2136),
//! the query without a question that asks for a cookie (RFC 7873, section 5.4), DNS Stateful Operations (RFC 8490), and
//! STATUS, which scanners send as a header alone.
//! The header alone fixes some 70 bits: what a request must leave zero, one question, few records, and a length that
//! fits. The records behind the question are not read.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod name;

use core::ops::RangeInclusive;

use portsplit_plugin_sdk::prelude::*;

/// The length of two bytes, the header, a question with the longest name.
const MAX_BYTES: usize = 2 + HEADER_BYTES + name::MAX_BYTES + 4;

const HEADER_BYTES: usize = 12;

/// The least message that is more than a header: a value of a stateful operation.
const MIN_BYTES: u16 = HEADER_BYTES as u16 + 4;

/// A root name, type, class, time to live and no data.
const MIN_RECORD_BYTES: usize = 11;

/// The least that must be behind a question's label: the root's, type and class.
const AFTER_LABEL_BYTES: usize = 1 + 4;

/// How long a query without a question is: the header and an OPT record with a cookie (RFC 7873, section 4), and up to
/// what fits into UDP without any extension. More would be all zeros of something else.
const COOKIE_QUERY_BYTES: RangeInclusive<u16> = (HEADER_BYTES + MIN_RECORD_BYTES) as u16 + MIN_COOKIE_BYTES..=512;

/// The least OPT record's data with a cookie: its number, its length and the client's part.
const MIN_COOKIE_BYTES: u16 = 2 + 2 + 8;

/// The most records behind a query: OPT, TSIG or SIG(0), TKEY, and one to spare.
const MAX_ADDITIONAL: u16 = 4;

/// The record types this file has to know.
const SOA: u16 = 6;
const OPT: u16 = 41;
const TKEY: u16 = 249;
const IXFR: u16 = 251;

/// Recognises DNS clients; it has nothing to configure.
pub struct Dns;

impl Classifier for Dns {
    type Config = ();

    fn new(_: ()) -> Result<Self, ConfigError> {
        Ok(Dns)
    }

    fn classify(&self, input: Input<'_>, facts: &mut Facts) -> Answer {
        let mut c = input.cursor();
        let len = c.u16_be_in(HEADER_BYTES as u16..=u16::MAX)?;
        let end = c.position() + usize::from(len);
        c.skip(2)?; // id
        // Neither an answer (upper bit) nor truncated (second lowest); the other flags do not matter.
        let operation = (c.u8_where(|b| b & 0x82 == 0)? >> 3) & 15;
        // STATUS, to which nobody ever gave a meaning, has nothing behind the header.
        ensure(if operation == 2 { len == HEADER_BYTES as u16 } else { len >= MIN_BYTES })?;
        // The reserved bit and the result are zero in every request.
        c.u8_where(|b| b & 0x4f == 0)?;
        match operation {
            0 => query(&mut c, len, end, facts)?,
            2 => {
                c.tag(&[0; 8])?;
                facts.add("opcode", "status");
            }
            4 => notify(&mut c, end, facts)?,
            5 => update(&mut c, end, facts)?,
            6 => stateful(&mut c, end)?,
            _ => return Err(Reject),
        }
        Ok(Match)
    }
}

fn query(c: &mut Cursor<'_>, len: u16, end: usize, facts: &mut Facts) -> Result<(), Stop> {
    let least = if COOKIE_QUERY_BYTES.contains(&len) { 0 } else { 1 };
    let questions = c.u16_be_in(least..=1)?;
    // Only TKEY may have an answer, the key; only IXFR has an authority, the version there is.
    let answers = c.u16_be_in(0..=questions)?;
    let authorities = c.u16_be_in(0..=questions)?;
    let additional = c.u16_be_in(1 - questions..=MAX_ADDITIONAL)?;
    if questions == 0 {
        return cookie_query(c, end);
    }
    let allowed = |kind| (answers == 0 || kind == TKEY) && (authorities == 0 || kind == IXFR);
    question(c, end, usize::from(answers + authorities + additional), &allowed, facts)?;
    facts.add("opcode", "query");
    Ok(())
}

/// One OPT record: root, type, payload size, flags of which the version is 0, and the length of the options.
fn cookie_query(c: &mut Cursor<'_>, end: usize) -> Result<(), Stop> {
    let room = end.saturating_sub(c.position() + MIN_RECORD_BYTES);
    c.tag(&[0, 0, OPT as u8])?;
    c.skip(2)?;
    c.tag(b"\0\0")?;
    c.skip(2)?;
    c.u16_be_in(MIN_COOKIE_BYTES..=room as u16)?;
    Ok(())
}

fn notify(c: &mut Cursor<'_>, end: usize, facts: &mut Facts) -> Result<(), Stop> {
    c.tag(b"\0\x01")?;
    let counts = [c.u16_be_in(0..=1)?, c.u16_be_in(0..=1)?, c.u16_be_in(0..=MAX_ADDITIONAL)?];
    question(c, end, counts.into_iter().map(usize::from).sum(), &|_| true, facts)?;
    facts.add("opcode", "notify");
    Ok(())
}

/// The question of an update is its zone, of type SOA; there may be as many records as fit.
fn update(c: &mut Cursor<'_>, end: usize, facts: &mut Facts) -> Result<(), Stop> {
    c.tag(b"\0\x01")?;
    let mut records = 0;
    for _ in 0..3 {
        let least = c.position() + 2 + AFTER_LABEL_BYTES + records * MIN_RECORD_BYTES;
        let most = end.saturating_sub(least) / MIN_RECORD_BYTES;
        records += usize::from(c.u16_be_in(0..=most as u16)?);
    }
    question(c, end, records, &|kind| kind == SOA, facts)?;
    facts.add("opcode", "update");
    Ok(())
}

/// No questions or records, then a first value: keep-alive (1) or one of push notifications' (RFC 8765, section 6).
fn stateful(c: &mut Cursor<'_>, end: usize) -> Result<(), Stop> {
    c.tag(&[0; 8])?;
    c.one_of(&[b"\0\x01", b"\0\x40", b"\0\x41", b"\0\x42", b"\0\x43"])?;
    let room = end.saturating_sub(c.position() + 2);
    c.u16_be_in(0..=room as u16)?;
    Ok(())
}

/// Reads the question, which `records` records follow up to `end`.
fn question(
    c: &mut Cursor<'_>,
    end: usize,
    records: usize,
    allowed: &dyn Fn(u16) -> bool,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let end = end.checked_sub(records * MIN_RECORD_BYTES).ok_or(Reject)?;
    ensure(records > 0 || end <= MAX_BYTES)?;
    let mut name = name::Name::new();
    loop {
        // What may be left for the label when its length byte is read.
        let room = end.checked_sub(c.position() + 1 + 4).ok_or(Reject)?;
        let len = match records {
            // Nothing follows the question, so its name ends where the length says, and not before.
            0 if room == 0 => c.u8_in(0..=0)?,
            0 => c.u8_in(1..=label_room(room, &name))?,
            _ => c.u8_in(0..=label_room(room, &name))?,
        };
        if len == 0 {
            break;
        }
        name.push(c.take(len.into())?);
    }
    let kind = c.u16_be_in(1..=u16::MAX)?;
    ensure(allowed(kind))?;
    c.tag(b"\0")?;
    c.u8_where(is_class)?;
    facts.add("name", name.as_bytes());
    facts.add("type", name::Type::new(kind).as_bytes());
    Ok(())
}

/// The longest label if `room` bytes are left for it and the root's, which it may not use up.
fn label_room(room: usize, name: &name::Name) -> u8 {
    room.saturating_sub(1).min(name.room()).min(63) as u8
}

/// Internet, its three peers, NONE and ANY.
fn is_class(class: u8) -> bool {
    const KNOWN: [RangeInclusive<u8>; 2] = [1..=4, 254..=255];
    KNOWN.iter().any(|range| range.contains(&class))
}

portsplit_plugin_sdk::export! {
    classifier: Dns,
    name: "dns",
    description: "DNS over TCP: queries, zone transfers, NOTIFY, UPDATE and stateful operations.",
    protocols: ["dns"],
    max_bytes: MAX_BYTES,
    facts: {
        "name": "the name asked for, or the zone, in lower case, without a final dot, escaped as in zone files; `.` is the root",
        "type": "the type asked for: `A`, `AAAA`, `AXFR`, or `TYPE65280` where it has no name",
        "opcode": "`query`, `notify`, `update` or `status`",
    },
    cannot_see: [
        "DNS over TLS and over HTTPS, which are TLS and HTTP",
        "queries of a class other than 1 to 4, NONE and ANY, which are rejected",
        "name and type of stateful operations (RFC 8490) and of queries without a question (RFC 7873)",
    ],
    examples: [
        Example::bytes(b"\0\x1d\xab\xcd\x01\x20\0\x01\0\0\0\0\0\0\x07Example\x03org\0\0\x01\0\x01")
            .matches(31).fact("name", "example.org").fact("type", "A").fact("opcode", "query"),
        Example::bytes(b"\0\x1d\xab\xcd\x01\x20\0\x01\0\0\0\0").undecided(),
        Example::bytes(b"\0\x1d\xab\xcd\x81\x80\0\x01").rejects(5),
        Example::bytes(b"\0\0\0\xa0\x6a").rejects(2),
        Example::text("GET / HTTP/1.1\r\n").rejects(5),
    ],
}
