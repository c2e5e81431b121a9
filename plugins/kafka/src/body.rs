//! What stands behind the header of the requests that a connection can begin with.

use portsplit_plugin_sdk::prelude::*;

/// The version since which ApiVersions says what software the client is, and its fields are of the compact form.
const FLEXIBLE_API_VERSIONS: u16 = 3;

/// The same of Metadata.
pub(crate) const FLEXIBLE_METADATA: u16 = 9;

/// The most tagged fields: none exist in these requests yet.
const MAX_TAGS: u64 = 8;

/// The longest tagged field.
const MAX_TAG_BYTES: u64 = 64;

/// The most bytes of a varint for numbers of 32 bits.
const VARINT_BYTES: usize = 5;

/// The longest name or version of software.
const MAX_SOFTWARE_BYTES: u64 = 128;

/// The longest name of a topic.
const MAX_TOPIC_BYTES: u16 = 249;

/// The longest name of a SASL mechanism (RFC 4422, section 3.1).
const MAX_MECHANISM_BYTES: u16 = 20;

/// The most topics in a request for metadata.
const MAX_TOPICS: u32 = 1 << 20;

/// Reads a string with a length of two bytes; it is empty if the length is -1, which stands for none.
pub(crate) fn nullable<'a>(c: &mut Cursor<'a>, max: u16, allowed: impl Fn(u8) -> bool) -> Result<&'a [u8], Stop> {
    if c.peek()? == 0xff {
        return c.tag(b"\xff\xff").map(|()| &b""[..]);
    }
    let len = c.u16_be_in(0..=max)?.into();
    c.part(len, |c| c.take_while(len, allowed))
}

/// Nothing in the older versions; since 3 tags, the name and version of the software, and tags.
pub(crate) fn api_versions(c: &mut Cursor<'_>, version: u16, facts: &mut Facts) -> Result<(), Stop> {
    if version < FLEXIBLE_API_VERSIONS {
        return c.end();
    }
    tags(c)?;
    let software = compact(c)?;
    compact(c)?;
    tags(c)?;
    c.end()?;
    if !software.is_empty() {
        facts.add("software", software);
    }
    Ok(())
}

/// The name of a mechanism.
pub(crate) fn sasl_handshake(c: &mut Cursor<'_>) -> Result<(), Stop> {
    let len = c.u16_be_in(1..=MAX_MECHANISM_BYTES)?.into();
    c.part(len, |c| c.take_while(len, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_".contains(&b)))?;
    c.end()
}

/// The topics to tell about, and some flags in later versions: no topic means all, or since version 1 none if the list
/// is there.
pub(crate) fn metadata(c: &mut Cursor<'_>, version: u16) -> Result<(), Stop> {
    let flags = match version {
        0..=3 => 0,
        4..=7 => 1,
        _ => 3,
    };
    let none = version > 0 && c.peek()? == 0xff;
    let count = if none { c.tag(b"\xff\xff\xff\xff").map(|()| 0)? } else { c.u32_be_in(0..=MAX_TOPICS)? };
    if count == 0 {
        for _ in 0..flags {
            c.u8_in(0..=1)?;
        }
        return c.end();
    }
    let len = c.u16_be_in(1..=MAX_TOPIC_BYTES)?.into();
    c.part(len, |c| c.take_while(len, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b)))?;
    Ok(())
}

fn tags(c: &mut Cursor<'_>) -> Result<(), Stop> {
    let count = c.varint(VARINT_BYTES)?;
    ensure(count <= MAX_TAGS)?;
    for _ in 0..count {
        c.varint(VARINT_BYTES)?;
        let len = c.varint(VARINT_BYTES)?;
        ensure(len <= MAX_TAG_BYTES)?;
        c.skip(len as usize)?;
    }
    Ok(())
}

/// Reads a string of the compact form: a varint of its length and one, so that 0 stands for none.
fn compact<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    let len = c.varint(VARINT_BYTES)?.saturating_sub(1);
    ensure(len <= MAX_SOFTWARE_BYTES)?;
    c.part(len as usize, |c| c.take_while(len as usize, |b| matches!(b, b' '..=b'~')))
}
