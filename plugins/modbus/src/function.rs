//! What each function fixes of its request (Modbus Application Protocol 1.1b3, section 6), the length first.
//!
//! Addresses, quantities and values are the server's to judge: it answers those that it does not take with an exception.
//! So it does with a function that it does not have.

use portsplit_plugin_sdk::prelude::*;

/// The most bytes behind the function's number that are looked at: the count in a request that reads and writes registers
/// at once.
pub(crate) const MAX_CHECKED_BYTES: usize = 9;

/// The most data of a request whose function fixes nothing: that of the simple functions, an address and a quantity. With
/// more of it another protocol could look so: a number, zeros, a length and its contents.
const MAX_UNKNOWN_BYTES: usize = 4;

/// Reads as much of the request as can say that it is one. `c` is limited to what the header's length leaves.
pub(crate) fn check(c: &mut Cursor<'_>, code: u8) -> Result<(), Stop> {
    let left = c.left().unwrap_or_default();
    match code {
        1..=6 => ensure(left == 4),
        7 | 11 | 12 | 17 => ensure(left == 0),
        // A diagnosis; only the one that is echoed has more than one value.
        8 => {
            ensure(left >= 4 && left.is_multiple_of(2))?;
            if left > 4 { c.tag(b"\x00\x00") } else { Ok(()) }
        }
        // The address, the quantity, and a count of bytes.
        15 | 16 => {
            c.skip(4)?;
            counted(c)
        }
        20 => records(c, 7),
        21 => records(c, 9),
        22 => ensure(left == 6),
        23 => {
            c.skip(8)?;
            counted(c)
        }
        24 => ensure(left == 2),
        // Encapsulated interfaces: the device's identification, whose two bytes some clients count as more, or CANopen.
        43 => match c.one_of(&[b"\x0e", b"\x0d"])? {
            0 => ensure(c.left() >= Some(2)),
            _ => Ok(()),
        },
        // For users; and UMAS of Schneider's controllers.
        65..=72 | 90 | 100..=110 => Ok(()),
        // HART-IP opens a session so.
        13 => Err(Reject),
        _ => ensure(left <= MAX_UNKNOWN_BYTES),
    }
}

/// A byte that counts exactly what is left, which is not nothing.
fn counted(c: &mut Cursor<'_>) -> Result<(), Stop> {
    let len = c.left().unwrap_or_default().saturating_sub(1);
    ensure(len > 0)?;
    c.tag(&[len as u8])
}

/// A byte that counts what is left, and references to files of at least `least` bytes, which begin with 06.
fn records(c: &mut Cursor<'_>, least: usize) -> Result<(), Stop> {
    ensure(c.left() > Some(least))?;
    counted(c)?;
    c.tag(b"\x06")
}
