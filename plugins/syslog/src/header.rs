//! The header behind the priority: time, host and application, as RFC 5424 (section 6.2), RFC 3164 (section 4.1) and
//! the programs that write an RFC 3339 time in the older format put them.
//!
//! A header of another form ends in reject, which here means: no more facts.

use portsplit_plugin_sdk::prelude::*;

/// The longest time has 32 bytes: that of RFC 5424 with microseconds and offset.
const MAX_TIME_BYTES: usize = 32;

/// A host's name, and an application's (RFC 5424, section 6).
const MAX_HOST_BYTES: usize = 255;
const MAX_APP_BYTES: usize = 48;

/// The longest header: three words of a time, the day filled up with a space, host and application.
pub(crate) const MAX_BYTES: usize = 3 * (MAX_TIME_BYTES + 1) + 1 + MAX_HOST_BYTES + 1 + MAX_APP_BYTES + 1;

const MONTHS: [&[u8]; 12] =
    [b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ", b"Nov ", b"Dec "];

pub(crate) fn read(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    if !c.peek()?.is_ascii_digit() {
        c.one_of(&MONTHS)?;
        if c.peek()? == b' ' {
            c.u8()?; // before a day of one digit
        }
        word(c, 2, |b| b.is_ascii_digit())?;
        word(c, MAX_TIME_BYTES, is_time)?;
        return host_and_tag(c, facts);
    }
    match word(c, MAX_TIME_BYTES, is_time)? {
        b"1" => new_format(c, facts),
        [_, _, _, _, b'-', _, _, b'-', ..] => host_and_tag(c, facts),
        _ => Err(Reject),
    }
}

/// The rest of a header of RFC 5424, where `-` stands for what is not known.
fn new_format(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    word(c, MAX_TIME_BYTES, is_time)?;
    for (fact, max) in [("hostname", MAX_HOST_BYTES), ("app", MAX_APP_BYTES)] {
        let value = word(c, max, |b| b.is_ascii_graphic())?;
        if value != b"-" {
            facts.add(fact, value);
        }
    }
    Ok(())
}

/// A host, which programs that write to their own host's daemon leave out, and a tag that `:` or `[` ends.
fn host_and_tag(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    let mut tag = *c;
    let host = word(c, MAX_HOST_BYTES, |b| b.is_ascii_graphic())?;
    if !host.ends_with(b":") && !host.contains(&b'[') {
        facts.add("hostname", host);
        tag = *c;
    }
    let app = tag.take_while(MAX_APP_BYTES, |b| b.is_ascii_graphic() && b != b':' && b != b'[')?;
    if !app.is_empty() && matches!(tag.peek()?, b':' | b'[') {
        facts.add("app", app);
    }
    Ok(())
}

fn is_time(byte: u8) -> bool {
    byte.is_ascii_digit() || b"-:.+TZtz".contains(&byte)
}

/// Reads a word of one byte or more and the space behind it.
fn word<'a>(c: &mut Cursor<'a>, max: usize, allowed: impl Fn(u8) -> bool) -> Result<&'a [u8], Stop> {
    ensure(allowed(c.peek()?))?;
    c.take_until_where(b' ', max, allowed)
}
