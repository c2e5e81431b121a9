//! The types of information (IEC 60870-5-101, section 7.3; IEC 60870-5-104, section 8) and how long each is.

/// Before the objects: type, their number, cause, originator, and the station's address of two bytes.
const HEADER: u16 = 1 + 1 + 1 + 1 + 2;

/// The address of an object.
const ADDRESS: u16 = 3;

/// The type of a file's segment, which says itself how long it is.
pub(crate) const SEGMENT: u8 = 125;

/// The least information: one object without an element.
pub(crate) const MIN_BYTES: u8 = (HEADER + ADDRESS) as u8;

/// The bytes of information of a type; `objects` is the byte that says how many there are, its upper bit whether they
/// have one address together. `None` for no object and for a type that has no fixed size.
pub(crate) fn bytes(kind: u8, objects: u8) -> Option<u16> {
    let element = u16::from(element_bytes(kind)?);
    let count = u16::from(objects & 0x7f);
    match objects & 0x80 {
        _ if count == 0 => None,
        0 => Some(HEADER + count * (ADDRESS + element)),
        _ => Some(HEADER + ADDRESS + count * element),
    }
}

/// Whether a type is of the controlling direction, with one object only.
pub(crate) fn is_command(kind: u8) -> bool {
    matches!(kind, 45..=64 | 100..=113 | 120..=124 | 127)
}

/// The bytes of an element of a type; `None` for a type that does not exist or has no fixed size.
pub(crate) fn element_bytes(kind: u8) -> Option<u8> {
    // Times have three bytes in the older types and seven in the newer.
    Some(match kind {
        // Measured: single and double points, steps, strings of bits, values in three forms, totals, protection.
        1 | 3 => 1,
        2 | 4 => 1 + 3,
        5 => 2,
        6 => 2 + 3,
        7 | 13 | 15 | 20 => 5,
        8 | 14 | 16 => 5 + 3,
        9 | 11 => 3,
        10 | 12 => 3 + 3,
        17 => 3 + 3,
        18 | 19 => 4 + 3,
        21 => 2,
        30 | 31 => 1 + 7,
        32 => 2 + 7,
        33 | 36 | 37 => 5 + 7,
        34 | 35 => 3 + 7,
        38 => 3 + 7,
        39 | 40 => 4 + 7,
        // Single and double commands, regulating steps; set points in three forms; a string of bits.
        45..=47 => 1,
        48 | 49 => 3,
        50 => 5,
        51 => 4,
        58..=60 => 1 + 7,
        61 | 62 => 3 + 7,
        63 => 5 + 7,
        64 => 4 + 7,
        // End of initialisation; interrogations, reset, activation of a parameter; read; clock; test and delay.
        70 | 100 | 101 | 105 | 113 => 1,
        102 => 0,
        103 => 7,
        104 | 106 => 2,
        107 => 2 + 7,
        // Parameters of measured values.
        110 | 111 => 3,
        112 => 5,
        // Files: ready, section ready, call or acknowledge, last section, directory, query a log.
        120 => 6,
        121 => 7,
        122 | 124 => 4,
        123 => 5,
        126 => 6 + 7,
        127 => 2 + 7 + 7,
        _ => return None,
    })
}
