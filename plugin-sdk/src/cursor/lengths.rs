//! Lengths: a limit for parsers that match before the end of what a length covers, and the lengths of ASN.1.

use core::ops::RangeInclusive;

use super::number::Order;
use super::{Cursor, Framing};
use crate::Stop;

impl<F: Framing> Cursor<'_, F> {
    /// Takes the next `len` bytes for all there is: everything read from here on is inside them, as in a
    /// [`part`](Cursor::part), but nothing has to read them to their end. For the last length that a parser enters, where
    /// it matches on the message's header and does not wait for the rest.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] at once if the part around it has fewer bytes left.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let mut c = Cursor::new(b"\x09hi");
    /// let len = c.u8()?;
    /// c.limit(len.into())?;
    /// assert_eq!(c.tag(b"hi"), Ok(())); // seven more bytes may follow, and nobody waits for them
    /// assert_eq!(c.skip(8), Err(Reject));
    /// # Ok::<(), Stop>(())
    /// ```
    pub fn limit(&mut self, len: usize) -> Result<(), Stop> {
        self.fits(len)?;
        self.left = Some(len);
        Ok(())
    }

    /// Reads a length in the form of ASN.1's BER and DER (X.690, section 8.1.3) and rejects unless it lies in `range`
    /// and the part has that many bytes left: one byte below 128, or a byte 81 to 84 and then as many bytes as its lower
    /// half says, most significant first. Zeros in front, which Windows writes, are no error.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] at the first byte that rules out every length in `range`, for the indefinite form and for more
    /// than four bytes; [`Stop::NeedMore`] if the length has not all arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// assert_eq!(Cursor::new(b"\x05").ber_len_in(1..=300), Ok(5));
    /// assert_eq!(Cursor::new(b"\x82\x01\x00").ber_len_in(1..=300), Ok(256));
    /// assert_eq!(Cursor::new(b"\x84\0\0\0\x05").ber_len_in(1..=300), Ok(5));
    /// assert_eq!(Cursor::new(b"\x84\x01").ber_len_in(1..=300), Err(Reject));
    /// assert_eq!(Cursor::new(b"\x80").ber_len_in(0..=300), Err(Reject));
    /// ```
    pub fn ber_len_in(&mut self, range: RangeInclusive<u32>) -> Result<u32, Stop> {
        self.ber_len(|left| {
            let most = left.map_or(u32::MAX, |left| u32::try_from(left).unwrap_or(u32::MAX));
            Some(*range.start()..=most.min(*range.end()))
        })
    }

    /// Reads a length as [`ber_len_in`](Cursor::ber_len_in) does, which must count exactly what the part has left behind
    /// it.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] at the first byte of another length, and outside a part; [`Stop::NeedMore`] if the length has not
    /// all arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// // A sequence that fills the part of four bytes it is in.
    /// let mut c = Cursor::new(b"\x30\x02ab");
    /// c.part(4, |c| {
    ///     c.tag(b"\x30")?;
    ///     assert_eq!(c.ber_len_to_end(), Ok(2));
    ///     c.skip_rest()
    /// })
    /// # ?; Ok::<(), Stop>(())
    /// ```
    pub fn ber_len_to_end(&mut self) -> Result<u32, Stop> {
        self.ber_len(|left| {
            let left = u32::try_from(left?).ok()?;
            Some(left..=left)
        })
    }

    /// Reads a length in the range that `allowed` gives for what the part has left behind it; `None` rejects.
    fn ber_len(&mut self, allowed: impl FnOnce(Option<usize>) -> Option<RangeInclusive<u32>>) -> Result<u32, Stop> {
        let first = self.u8()?;
        let width = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        self.fits(width)?;
        let range = allowed(self.left.map(|left| left - width)).ok_or(Stop::Reject)?;
        let (low, high) = (u64::from(*range.start()), u64::from(*range.end()));
        let len = match width {
            0 if first < 0x80 => u64::from(first),
            1..=4 if low >> (8 * width) > 0 => return Err(Stop::Reject),
            1 => self.fixed_in::<1>(Order::Big, low, high)?,
            2 => self.fixed_in::<2>(Order::Big, low, high)?,
            3 => self.fixed_in::<3>(Order::Big, low, high)?,
            4 => self.fixed_in::<4>(Order::Big, low, high)?,
            _ => return Err(Stop::Reject),
        };
        crate::ensure(range.contains(&(len as u32)))?;
        Ok(len as u32)
    }
}
