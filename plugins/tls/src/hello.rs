//! Reads a ClientHello out of the handshake bytes of any number of records.
//!
//! Every length must agree with the one around it, to the byte; what the lengths enclose is read only where it becomes
//! a fact. A hello that breaks a rule every server enforces is rejected, so that it goes to no TLS service. One that ends
//! too early or goes on too long is still a hello, from its cipher suites on.

use core::cell::Cell;

use portsplit_plugin_sdk::prelude::*;

use crate::ja4::{self, Offer, Values};
use crate::{MAX_BYTES, MAX_RECORDS, Records, Settings, version_name};

type Handshake<'a> = Cursor<'a, Records<'a>>;

/// The least a hello has: version, random, no session, one cipher suite, one compression method, no extensions.
const MIN_HELLO_BYTES: u16 = 2 + 32 + 1 + 4 + 2;

/// The most a hello has: all the lists in it as long as their lengths can say, which OpenSSL takes for its limit too.
const MAX_HELLO_BYTES: u32 = 2 + 32 + (1 + 32) + (2 + 0xfffe) + (1 + 0xff) + (2 + 0xffff);

/// The most extensions that are looked at: clients send about 20. With the limits below it keeps the worst hello within
/// the host's usual budget for a call.
pub(crate) const MAX_EXTENSIONS: usize = 64;

/// The most protocols in ALPN that are looked at: clients offer two or three, and one of GREASE. With the other facts
/// they stay below the host's 16.
const MAX_PROTOCOLS: usize = 8;

/// The most versions that are looked at, or none is: five exist, and clients add one of GREASE and some years' drafts.
const MAX_VERSIONS: u16 = 32;

/// The longest protocol that becomes a fact: registered ones have at most 22 bytes.
const MAX_ALPN_BYTES: u8 = 32;

/// What has been read of a hello.
struct Read<'a> {
    offer: Offer,
    /// The cipher suites are whole: whatever is missing behind them, this is a hello.
    is_certain: bool,
    /// The hello's own version.
    field: u16,
    /// The highest version in the extension for it.
    version: Option<u16>,
    /// A limit has been reached: what follows is not looked at.
    spent: &'a Cell<bool>,
}

/// Recognises a hello; `is_last` says that no more of it will come.
pub(crate) fn hello(c: Cursor<'_>, is_last: bool, settings: &Settings, facts: &mut Facts) -> Answer {
    let spent = Cell::new(false);
    let mut c = c.framed(Records::Tls { left: MAX_RECORDS, spent: &spent });
    c.tag(b"\x01")?;
    let len = length_of_hello(&mut c)?;
    let offer = Offer::new(settings.ja4);
    let mut read = Read { offer, is_certain: false, field: 0, version: None, spent: &spent };
    let whole = match c.part(len, |c| body(c, &mut read, facts)) {
        Ok(()) => true,
        Err(NeedMore(total)) if read.is_certain && (is_last || total > MAX_BYTES) => false,
        Err(Reject) if read.is_certain && spent.get() => false,
        Err(stop) => return Err(stop),
    };
    // In what is cut the extension may be missing, and the field means little without it.
    let field = Some(read.field.min(0x0303)).filter(|_| whole);
    if let Some(version) = read.version.or(field) {
        facts.add("version", version_name(version));
    }
    if let Some(fingerprint) = whole.then(|| read.offer.ja4()).flatten() {
        facts.add("ja4", fingerprint);
    }
    Ok(Match)
}

/// Reads the length of three bytes.
fn length_of_hello(c: &mut Handshake<'_>) -> Result<usize, Stop> {
    const MOST_HIGH: u8 = (MAX_HELLO_BYTES >> 16) as u8;
    let high = c.u8_in(0..=MOST_HIGH)?;
    let least = if high == 0 { MIN_HELLO_BYTES } else { 0 };
    let most = if high == MOST_HIGH { MAX_HELLO_BYTES as u16 } else { u16::MAX };
    let low = c.u16_be_in(least..=most)?;
    Ok(usize::from(high) << 16 | usize::from(low))
}

fn body(c: &mut Handshake<'_>, read: &mut Read<'_>, facts: &mut Facts) -> Result<(), Stop> {
    c.tag(b"\x03")?;
    // Above 1.2 this field means nothing; later versions are offered in an extension.
    read.field = 0x0300 | u16::from(c.u8()?);
    read.offer.version = read.field;
    c.skip(32)?; // random
    let session = c.u8_in(0..=32)?;
    c.skip(session.into())?;
    let suites = length(c, 2, 2)?;
    ensure(suites % 2 == 0)?;
    read.offer.suites.read(c, suites)?;
    read.is_certain = true;
    let methods = c.u8()?;
    let most = usize::from(methods) + 2 + usize::from(u16::MAX);
    ensure(c.left().is_some_and(|left| left <= most))?;
    let mut buffer = [0; 255];
    let methods = buffer.get_mut(..methods.into()).unwrap_or_default();
    c.copy_to(methods)?;
    // Every client has to offer no compression.
    ensure(methods.iter().fold(false, |null, method| null | (*method == 0)))?;
    if c.at_end() {
        return Ok(());
    }
    length_of_rest(c)?;
    extensions(c, read, facts)
}

fn extensions(c: &mut Handshake<'_>, read: &mut Read<'_>, facts: &mut Facts) -> Result<(), Stop> {
    // One bit for each of the extensions below: none may come twice, or two readers could disagree on its value.
    let mut seen = 0u8;
    for _ in 0..MAX_EXTENSIONS {
        if c.at_end() {
            return Ok(());
        }
        let kind = c.u16_be()?;
        let bit = match kind {
            0 => 1,
            16 => 2,
            43 => 4,
            0xfe0d => 8,
            13 => 16,
            _ => 0,
        };
        ensure(seen & bit == 0)?;
        seen |= bit;
        read.offer.extensions.push(kind);
        let len = length(c, 0, 0)?;
        c.part(len, |c| match kind {
            0 => server_name(c, facts),
            13 => signatures(c, &mut read.offer),
            16 => protocols(c, &mut read.offer, facts),
            43 => versions(c, read),
            0xfe0d => encrypted_hello(c, facts),
            _ => c.skip_rest(),
        })?;
    }
    read.spent.set(!c.at_end());
    c.end()
}

/// RFC 6066, section 3: a list of one name, of type host name.
fn server_name(c: &mut Handshake<'_>, facts: &mut Facts) -> Result<(), Stop> {
    length_of_rest(c)?;
    c.tag(b"\0")?;
    ensure((1..=255).contains(&rest_after_length(c, 2)))?;
    let len = length_of_rest(c)?;
    let mut buffer = [0; 255];
    let name = buffer.get_mut(..len).unwrap_or_default();
    c.copy_to(name)?;
    let mut printable = true;
    for byte in name.iter_mut() {
        printable &= byte.is_ascii_graphic();
        byte.make_ascii_lowercase();
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    if printable && !name.is_empty() {
        facts.add("sni", name);
    }
    Ok(())
}

/// RFC 7301, section 3.1: a list of names of 1 to 255 bytes.
fn protocols(c: &mut Handshake<'_>, offer: &mut Offer, facts: &mut Facts) -> Result<(), Stop> {
    ensure(length_of_rest(c)? >= 2)?;
    let mut first = true;
    for _ in 0..MAX_PROTOCOLS {
        if c.at_end() {
            return Ok(());
        }
        let most = rest_after_length(c, 1).min(255) as u8;
        let len = c.u8_in(1..=most)?;
        // The first one is in the fingerprint, however long it is.
        if len > MAX_ALPN_BYTES && !first {
            c.skip(len.into())?;
            continue;
        }
        let mut buffer = [0; 255];
        let name = buffer.get_mut(..len.into()).unwrap_or_default();
        c.copy_to(name)?;
        if is_grease(name) {
            continue;
        }
        if first {
            offer.protocol = ja4::protocol(name);
            first = false;
        }
        if len <= MAX_ALPN_BYTES && is_printable(name) {
            facts.add("alpn", name);
        }
    }
    c.skip_rest()
}

/// RFC 8446, section 4.2.3: a list of algorithms.
fn signatures(c: &mut Handshake<'_>, offer: &mut Offer) -> Result<(), Stop> {
    let len = length_of_rest(c)?;
    ensure(len >= 2 && len.is_multiple_of(2))?;
    offer.signatures.read(c, len)
}

/// RFC 8446, section 4.2.1: a list of versions. What is not one of those there are, such as GREASE, does not count.
fn versions(c: &mut Handshake<'_>, read: &mut Read<'_>) -> Result<(), Stop> {
    let rest = rest_after_length(c, 1);
    ensure((2..=0xfe).contains(&rest) && rest.is_multiple_of(2))?;
    c.tag(&[rest as u8])?;
    if rest > 2 * MAX_VERSIONS {
        return c.skip_rest();
    }
    let mut list = Values::new(true);
    list.read(c, rest.into())?;
    let mut highest_of_any = None;
    for version in list.used() {
        highest_of_any = highest_of_any.max(Some(*version));
        if (0x0300..=0x0304).contains(version) {
            read.version = read.version.max(Some(*version));
        }
    }
    read.offer.version = highest_of_any.unwrap_or(read.offer.version);
    Ok(())
}

/// RFC 9849: type 0 is the outer hello, which encloses the real one encrypted.
fn encrypted_hello(c: &mut Handshake<'_>, facts: &mut Facts) -> Result<(), Stop> {
    if c.u8()? == 0 {
        facts.add("ech", "outer");
    }
    c.skip_rest()
}

/// Whether a name can be a fact. No way out of the loop at the first byte that cannot makes the longest name cheaper.
fn is_printable(name: &[u8]) -> bool {
    name.iter().fold(true, |all, byte| all & byte.is_ascii_graphic())
}

/// Whether a name is one of those that clients send to keep servers tolerant (RFC 8701): two equal bytes `?a`.
fn is_grease(name: &[u8]) -> bool {
    matches!(name, [a, b] if a == b && a & 0x0f == 0x0a)
}

/// Reads a length of two bytes that is at least `least` and leaves at least `after` bytes of the part behind what it
/// counts.
fn length(c: &mut Handshake<'_>, least: u16, after: usize) -> Result<usize, Stop> {
    let most = rest_after_length(c, 2 + after);
    Ok(c.u16_be_in(least..=most)?.into())
}

/// Reads a length of two bytes that counts what the part has behind it.
#[inline(never)] // for the module's size
fn length_of_rest(c: &mut Handshake<'_>) -> Result<usize, Stop> {
    let rest = rest_after_length(c, 2);
    Ok(c.u16_be_in(rest..=rest)?.into())
}

/// What the part has left when `taken` more of its bytes are gone.
fn rest_after_length(c: &Handshake<'_>, taken: usize) -> u16 {
    let left = c.left().unwrap_or(0).saturating_sub(taken);
    u16::try_from(left).unwrap_or(u16::MAX)
}
