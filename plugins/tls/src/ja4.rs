//! JA4, the fingerprint of what a TLS client offers (FoxIO, "JA4: TLS Client Fingerprinting", in its repository ja4 the
//! file technical_details/JA4.md).
//!
//! `t`, the version, whether a name is asked for, how many cipher suites and extensions, two letters of the first
//! protocol; then 48 bits of the hash of the sorted suites, and of the sorted extensions with the signature algorithms
//! in the client's order. Values of GREASE (RFC 8701) do not count anywhere.

use core::cell::Cell;

use portsplit_plugin_sdk::prelude::*;

use crate::Records;
use crate::sha256::Text;

/// The most suites, extensions and signature algorithms in all, and the most extensions among them; a hello with more
/// has no fingerprint. Today's clients send 40 to 100, of which 10 to 20 are extensions. With these limits the hashing
/// of the worst hello stays within the host's usual budget for a call.
const MAX_VALUES: usize = 108;
const MAX_EXTENSIONS: usize = 32;

/// The longest text that is hashed: five bytes for each value, and what SHA-256 adds.
const MAX_TEXT_BYTES: usize = (5 * MAX_VALUES + 9).next_multiple_of(64);

/// What a part has that is the hash of nothing.
const NOTHING: &[u8; 12] = b"000000000000";

/// The extensions whose number is left out of the hash: their effect is in the first part.
const SERVER_NAME: u16 = 0;
const PROTOCOLS: u16 = 16;

/// Values of two bytes, without GREASE, in the client's order.
pub(crate) struct Values {
    list: [u16; MAX_VALUES],
    /// How many there are; `None` if they are too many for the list or nobody wants them.
    count: Option<usize>,
}

impl Values {
    pub(crate) fn new(are_wanted: bool) -> Values {
        Values { list: [0; MAX_VALUES], count: are_wanted.then_some(0) }
    }

    pub(crate) fn push(&mut self, value: u16) {
        let Some(count) = self.count.filter(|_| !is_grease(value)) else { return };
        self.count = self.list.get_mut(count).map(|place| {
            *place = value;
            count + 1
        });
    }

    /// Reads values of `bytes` bytes in all, or passes over them if they are too many or not wanted.
    pub(crate) fn read(&mut self, c: &mut Cursor<'_, Records<'_>>, bytes: usize) -> Result<(), Stop> {
        let mut buffer = [0; 2 * MAX_VALUES];
        let Some(raw) = buffer.get_mut(..bytes).filter(|_| self.count.is_some()) else {
            self.count = None;
            return c.skip(bytes);
        };
        c.copy_to(raw)?;
        for pair in raw.chunks_exact(2) {
            if let [high, low] = pair {
                self.push(u16::from_be_bytes([*high, *low]));
            }
        }
        Ok(())
    }

    pub(crate) fn used(&mut self) -> &mut [u16] {
        self.list.get_mut(..self.count.unwrap_or(0)).unwrap_or_default()
    }
}

/// What of a hello goes into its fingerprint.
pub(crate) struct Offer {
    /// The highest version, whether it exists or not.
    pub(crate) version: u16,
    pub(crate) suites: Values,
    pub(crate) extensions: Values,
    pub(crate) signatures: Values,
    /// The two letters of the first protocol.
    pub(crate) protocol: [u8; 2],
}

impl Offer {
    /// Has nothing yet; unless the fingerprint `is_wanted` it keeps it so.
    pub(crate) fn new(is_wanted: bool) -> Offer {
        Offer {
            version: 0,
            suites: Values::new(is_wanted),
            extensions: Values::new(is_wanted),
            signatures: Values::new(is_wanted),
            protocol: *b"00",
        }
    }

    /// The fingerprint, unless there are too many values for it or it is not wanted.
    pub(crate) fn ja4(&mut self) -> Option<[u8; 36]> {
        let (suites, extensions, signatures) = (self.suites.count?, self.extensions.count?, self.signatures.count?);
        if suites + extensions + signatures > MAX_VALUES || extensions > MAX_EXTENSIONS {
            return None;
        }
        let mut text = Line { text: [0; 36], len: 0 };
        text.put(b"t");
        text.put(version(self.version));
        text.put(if self.extensions.used().contains(&SERVER_NAME) { b"d" } else { b"i" });
        text.put(&two_digits(suites));
        text.put(&two_digits(extensions));
        text.put(&self.protocol);
        text.put(b"_");
        text.put(&hash(sorted(self.suites.used()), &[], &[]));
        text.put(b"_");
        text.put(&hash(sorted(self.extensions.used()), &[SERVER_NAME, PROTOCOLS], self.signatures.used()));
        Some(text.text)
    }
}

/// A fingerprint that is being written.
struct Line {
    text: [u8; 36],
    len: usize,
}

impl Line {
    #[inline(never)] // for the module's size
    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.text.get_mut(self.len) {
                *place = *byte;
                self.len += 1;
            }
        }
    }
}

fn version(version: u16) -> &'static [u8; 2] {
    match version {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        _ => b"00",
    }
}

fn two_digits(len: usize) -> [u8; 2] {
    let len = len.min(99) as u8;
    [b'0' + len / 10, b'0' + len % 10]
}

/// The first twelve digits of the hash of the values that are not left out, with commas, and of those behind them.
#[inline(never)] // for the module's size
fn hash(values: &[u16], left_out: &[u16], behind: &[u16]) -> [u8; 12] {
    let mut text = Text::<MAX_TEXT_BYTES>::new();
    list(&mut text, values, left_out);
    let mut out = *NOTHING;
    if text.pop().is_none() {
        return out;
    }
    text.push([b'_']);
    list(&mut text, behind, &[]);
    text.pop();
    let hash = text.hash();
    for (place, pair) in out.chunks_exact_mut(4).zip(hash.chunks_exact(2)) {
        if let [high, low] = pair {
            place.copy_from_slice(&four_digits(u16::from_be_bytes([*high, *low])));
        }
    }
    out
}

/// Appends the values that are not left out, each with a comma.
#[inline(never)]
fn list(text: &mut Text<MAX_TEXT_BYTES>, values: &[u16], left_out: &[u16]) {
    for value in values.iter().filter(|value| !left_out.contains(value)) {
        let [a, b, c, d] = four_digits(*value);
        text.push([a, b, c, d, b',']);
    }
}

fn four_digits(value: u16) -> [u8; 4] {
    [12, 8, 4, 0].map(|shift| digit((value >> shift) as u8 & 15))
}

fn digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' - 10 + value }
}

/// The letters that stand for a protocol: its first and last one if both are letters or digits, else the first and last
/// digit of its bytes in hexadecimal.
pub(crate) fn protocol(name: &[u8]) -> [u8; 2] {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return *b"00" };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [*first, *last];
    }
    [digit(first >> 4), digit(last & 15)]
}

/// Whether a suite, extension, version or signature algorithm is one of GREASE: two equal bytes `?a`.
fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Shell's sort, with gaps that suit a hundred values: it is small, and a bad order takes at most twice as long.
fn sorted(values: &mut [u16]) -> &[u16] {
    for gap in [25, 8, 3, 1] {
        sort_with_gap(values, gap);
    }
    values
}

#[inline(never)] // for the module's size
fn sort_with_gap(values: &mut [u16], gap: usize) {
    let cells = Cell::from_mut(values).as_slice_of_cells();
    for end in gap..cells.len() {
        let mut at = end;
        while let Some(below) = at.checked_sub(gap)
            && let (Some(low), Some(high)) = (cells.get(below), cells.get(at))
            && low.get() > high.get()
        {
            low.set(high.replace(low.get()));
            at = below;
        }
    }
}
