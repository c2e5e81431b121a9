//! Reads the header fields of a request as HPACK encodes them (RFC 7541), as far as the pseudo-fields at its beginning
//! need: the first seven entries of the static table, literals, and Huffman's code. The dynamic table is empty when a
//! connection begins, and no pseudo-field occurs twice, so there is nothing to remember.

use portsplit_plugin_sdk::prelude::*;

/// A pseudo-field of a request (RFC 9113, section 8.3.1), or what may stand between them.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Name {
    Method,
    Authority,
    Path,
    /// One of no interest, such as `:scheme`.
    Other,
}

/// The longest name of a pseudo-field, and more.
const MAX_NAME_BYTES: usize = 16;

/// Reads the beginning of a field: its name, and its value if the two are encoded as one. [`Stop::Reject`] says that it
/// is no pseudo-field.
pub(crate) fn name(c: &mut Cursor<'_>) -> Result<(Name, Option<&'static [u8]>), Stop> {
    let first = c.peek()?;
    if first & 0x80 != 0 {
        // Both are in the static table (appendix A).
        return Ok(match integer(c, 7)? {
            1 => (Name::Authority, Some(b"")),
            2 => (Name::Method, Some(b"GET")),
            3 => (Name::Method, Some(b"POST")),
            4 => (Name::Path, Some(b"/")),
            5 => (Name::Path, Some(b"/index.html")),
            6 | 7 => (Name::Other, Some(b"")),
            _ => return Err(Reject),
        });
    }
    if first & 0xe0 == 0x20 {
        integer(c, 5)?; // the dynamic table's size
        return Ok((Name::Other, Some(b"")));
    }
    let index = integer(c, if first & 0x40 != 0 { 6 } else { 4 })?;
    let name = match index {
        0 => {
            let mut buffer = [0; MAX_NAME_BYTES];
            match string(c, &mut buffer)? {
                Some(b":method") => Name::Method,
                Some(b":authority") => Name::Authority,
                Some(b":path") => Name::Path,
                Some([b':', ..]) => Name::Other,
                _ => return Err(Reject),
            }
        }
        1 => Name::Authority,
        2 | 3 => Name::Method,
        4 | 5 => Name::Path,
        6 | 7 => Name::Other,
        _ => return Err(Reject),
    };
    Ok((name, None))
}

/// Reads an integer that begins in the lower `bits` of a byte (RFC 7541, section 5.1).
fn integer(c: &mut Cursor<'_>, bits: u32) -> Result<usize, Stop> {
    let most = (1 << bits) - 1;
    let value = c.u8()? & most;
    if value < most { Ok(value.into()) } else { Ok(usize::from(most) + c.varint(4)? as usize) }
}

/// Reads a string (section 5.2) and decodes as much of it as comes from and fits into `buffer.len()` bytes. `None` if
/// its code is wrong.
pub(crate) fn string<'a>(c: &mut Cursor<'_>, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, Stop> {
    let coded = c.peek()? & 0x80 != 0;
    let len = integer(c, 7)?;
    let bytes = c.take(len)?;
    let bytes = bytes.get(..buffer.len()).unwrap_or(bytes);
    let len = if coded { huffman(bytes, buffer) } else { Some(copy(bytes, buffer)) };
    Ok(len.and_then(|len| buffer.get(..len)))
}

fn copy(bytes: &[u8], into: &mut [u8]) -> usize {
    for (to, from) in into.iter_mut().zip(bytes) {
        *to = *from;
    }
    bytes.len()
}

/// For each length of a code in bits how many symbols have one. The codes (appendix B) are numbered by length and then
/// by symbol, so this and the order of the symbols is all there is to know.
#[rustfmt::skip]
const COUNTS: [(u32, u32); 21] = [
    (5, 10), (6, 26), (7, 32), (8, 6), (10, 5), (11, 3), (12, 2), (13, 6), (14, 2), (15, 3), (19, 3),
    (20, 8), (21, 13), (22, 26), (23, 29), (24, 12), (25, 4), (26, 15), (27, 19), (28, 29), (30, 3),
];

/// The symbols in the order of their codes. The 257th, which may not occur, is left out.
#[rustfmt::skip]
const SYMBOLS: [u8; 256] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65,
    95, 98, 100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76,
    77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119, 120, 121, 122, 38, 42, 44, 59,
    88, 90, 33, 34, 40, 41, 63, 39, 43, 124, 35, 62, 0, 36, 64, 91, 93, 126, 94, 125, 60, 96, 123, 92,
    195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129,
    132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232,
    233, 1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182,
    183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193,
    200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245,
    246, 247, 248, 250, 251, 252, 253, 254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20,
    21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249, 10, 13, 22,
];

/// Decodes Huffman's code and returns the number of bytes it gave.
fn huffman(bytes: &[u8], into: &mut [u8]) -> Option<usize> {
    let mut bytes = bytes.iter();
    // The next `ready` bits, from the uppermost one on.
    let (mut bits, mut ready) = (0u64, 0);
    for (len, to) in into.iter_mut().enumerate() {
        while ready <= 56
            && let Some(byte) = bytes.next()
        {
            bits |= u64::from(*byte) << (56 - ready);
            ready += 8;
        }
        let (symbol, used) = symbol((bits >> 32) as u32)?;
        if used > ready {
            return Some(len); // the last byte is filled up with ones
        }
        *to = symbol;
        bits <<= used;
        ready -= used;
    }
    Some(into.len())
}

/// The symbol whose code `bits` begins with, and the length of that code.
fn symbol(bits: u32) -> Option<(u8, u32)> {
    let codes = CODES.iter().find(|codes| bits < codes.end)?;
    let index = (bits >> (32 - codes.bits)).wrapping_add(codes.offset);
    Some((*SYMBOLS.get(index as usize)?, codes.bits))
}

/// The codes of one length.
#[derive(Clone, Copy)]
struct Codes {
    /// Where the longer ones begin, as the upper bits of 32.
    end: u32,
    /// What makes a code's value the index of its symbol.
    offset: u32,
    bits: u32,
}

const CODES: [Codes; COUNTS.len()] = codes();

#[allow(clippy::indexing_slicing)] // Evaluated by the compiler, where leaving the array is an error.
const fn codes() -> [Codes; COUNTS.len()] {
    let mut codes = [Codes { end: 0, offset: 0, bits: 0 }; COUNTS.len()];
    let (mut first, mut shorter, mut row) = (0u32, 0u32, 0);
    while row < COUNTS.len() {
        let (bits, count) = COUNTS[row];
        let offset = shorter.wrapping_sub(first >> (32 - bits));
        first += count << (32 - bits);
        shorter += count;
        codes[row] = Codes { end: first, offset, bits };
        row += 1;
    }
    codes
}
