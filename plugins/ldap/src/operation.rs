//! The operation of a message: which one, and its first fields (RFC 4511, sections 4.2 to 4.12).

use portsplit_plugin_sdk::prelude::*;

/// The longest name that is read, and becomes a fact. Longer ones are let be: the tags and lengths before are enough.
pub(crate) const MAX_NAME_BYTES: u32 = 1024;

/// The longest object identifier that is read; those of LDAP have some 25 bytes.
const MAX_OID_BYTES: u32 = 128;

/// Reads an operation, of which it does not know more than that it lies inside the message.
pub(crate) fn read(mut c: Cursor<'_>, facts: &mut Facts) -> Answer {
    let tag = c.u8()?;
    let (name, least) = match tag {
        0x60 => ("bind", 3 + 2 + 2),
        0x42 => ("unbind", 0),
        0x63 => ("search", 2 + 3 + 3 + 3 + 3 + 3 + 2 + 2),
        0x66 => ("modify", 2 + 2),
        0x68 => ("add", 2 + 2),
        0x4a => ("delete", 0),
        0x6c => ("rename", 2 + 2 + 3),
        0x6e => ("compare", 2 + 2),
        0x50 => ("abandon", 1),
        0x77 => ("extended", 2 + 1),
        _ => return Err(Reject),
    };
    facts.add("operation", name);
    let most = match tag {
        0x42 => 0,
        0x50 => 4,
        _ => u32::MAX,
    };
    let len = c.ber_len_in(least..=most)?;
    // Behind the operation there is nothing, or controls: a tag, a length and something.
    let behind = c.left().unwrap_or(0).saturating_sub(len as usize);
    ensure(behind == 0 || behind >= 2)?;
    match tag {
        0x42 => {}
        0x4a => object(&mut c, len, facts).map(|_| ())?,
        0x50 => c.u8_in(0..=0x7f).map(|_| ())?,
        _ => {
            c.limit(len as usize)?;
            fields(&mut c, tag, facts)?;
        }
    }
    Ok(Match)
}

/// Reads the first fields of an operation that is a sequence.
fn fields(c: &mut Cursor<'_>, tag: u8, facts: &mut Facts) -> Result<(), Stop> {
    match tag {
        0x60 => bind(c, facts),
        0x77 => {
            c.tag(b"\x80")?;
            let len = c.ber_len_in(1..=MAX_OID_BYTES)?;
            c.part(len as usize, |c| {
                let oid = c.take_while(MAX_OID_BYTES as usize, |b| b.is_ascii_digit() || b == b'.')?;
                facts.add("oid", oid);
                Ok(())
            })
        }
        _ => {
            c.tag(b"\x04")?;
            let len = c.ber_len_in(0..=u32::MAX)?;
            if !object(c, len, facts)? {
                return Ok(());
            }
            match tag {
                // Scope and treatment of aliases are enumerations.
                0x63 => c.tag(b"\x0a\x01").and_then(|()| c.u8_in(0..=3)).and_then(|_| c.tag(b"\x0a\x01")),
                0x6c => c.tag(b"\x04"),
                _ => c.tag(b"\x30"),
            }
        }
    }
}

fn bind(c: &mut Cursor<'_>, facts: &mut Facts) -> Result<(), Stop> {
    c.tag(b"\x02\x01")?;
    c.u8_in(1..=0x7f)?; // version
    c.tag(b"\x04")?;
    let len = c.ber_len_in(0..=u32::MAX)?;
    if !object(c, len, facts)? {
        return Ok(());
    }
    let auth = match c.u8()? {
        0x80 => "simple",
        0x81 | 0x82 => "kerberos", // RFC 1777, section 4.1
        0xa3 => "sasl",
        0x89..=0x8b => "sicily", // MS-ADTS, section 5.1.1.1.3
        _ => return Err(Reject),
    };
    facts.add("auth", auth);
    Ok(())
}

/// Reads a name of `len` bytes, unless it is too long to be a fact: then it is let be, and this says false. Names are
/// UTF-8 in version 3, any text in version 2.
fn object(c: &mut Cursor<'_>, len: u32, facts: &mut Facts) -> Result<bool, Stop> {
    if len > MAX_NAME_BYTES {
        return Ok(false);
    }
    facts.add("name", c.take(len as usize)?);
    Ok(true)
}
