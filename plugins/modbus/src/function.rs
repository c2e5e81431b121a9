//! What each function fixes of its request (Modbus Application Protocol 1.1b3, section 6), the length first.

use portsplit_plugin_sdk::prelude::*;

/// The most bytes behind the function's number that are looked at: reading and writing registers at once.
pub(crate) const MAX_CHECKED_BYTES: usize = 9;

/// Reads as much of the request as can say that it is one. `c` is limited to what the header's length leaves.
pub(crate) fn check(c: &mut Cursor<'_>, code: u8) -> Result<(), Stop> {
    let left = c.left().unwrap_or_default();
    match code {
        1..=2 => read(c, 2000),
        3..=4 => read(c, 125),
        5 => {
            ensure(left == 4)?;
            c.skip(2)?;
            c.one_of(&[b"\x00\x00", b"\xff\x00"]).map(|_| ())
        }
        6 => ensure(left == 4),
        7 | 11 | 12 | 17 => ensure(left == 0),
        // A diagnosis; only the one that is echoed has more than one value.
        8 => {
            ensure(left >= 4 && left.is_multiple_of(2))?;
            c.u16_be_in(0..=if left == 4 { 21 } else { 0 }).map(|_| ())
        }
        15 => {
            c.skip(2)?;
            let coils = c.u16_be_in(1..=1968)?;
            counted(c, coils.div_ceil(8))
        }
        16 => {
            c.skip(2)?;
            let registers = c.u16_be_in(1..=123)?;
            counted(c, 2 * registers)
        }
        20 => records(c, 7),
        21 => records(c, 9),
        22 => ensure(left == 6),
        23 => {
            c.skip(2)?;
            c.u16_be_in(1..=125)?;
            c.skip(2)?;
            let registers = c.u16_be_in(1..=121)?;
            counted(c, 2 * registers)
        }
        24 => ensure(left == 2),
        43 => device(c),
        // For users; and reserved for what vendors had before (annex A), such as 90 for UMAS. 13 is reserved too, but a
        // session of HART-IP begins like a request of it.
        65..=72 | 100..=110 | 9 | 10 | 14 | 41 | 42 | 90 | 91 | 125..=127 => Ok(()),
        _ => Err(Reject),
    }
}

/// An address, and a quantity up to `most`.
fn read(c: &mut Cursor<'_>, most: u16) -> Result<(), Stop> {
    ensure(c.left() == Some(4))?;
    c.skip(2)?;
    c.u16_be_in(1..=most).map(|_| ())
}

/// A byte that counts exactly what is left, which has to be `len` bytes.
fn counted(c: &mut Cursor<'_>, len: u16) -> Result<(), Stop> {
    ensure(c.left() == Some(usize::from(len) + 1))?;
    c.tag(&[len as u8])
}

/// A byte that counts what is left, and references to files of at least `least` bytes, which begin with 06.
fn records(c: &mut Cursor<'_>, least: usize) -> Result<(), Stop> {
    let len = c.left().unwrap_or_default().saturating_sub(1);
    ensure(len >= least)?;
    c.tag(&[len as u8])?;
    c.tag(b"\x06")
}

/// Encapsulated interfaces: the device's identification, or CANopen.
fn device(c: &mut Cursor<'_>) -> Result<(), Stop> {
    match c.one_of(&[b"\x0e", b"\x0d"])? {
        0 => {
            // Two bytes follow. A client that counts more of them is no other protocol.
            ensure(c.left() >= Some(2))?;
            c.u8_in(1..=4).map(|_| ())
        }
        _ => Ok(()),
    }
}
