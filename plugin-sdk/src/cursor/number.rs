//! Integers: of a fixed width in either byte order, within a range that rejects at the first byte that leaves it, and
//! of variable width.

use core::ops::RangeInclusive;

use super::{Cursor, Framing};
use crate::Stop;

/// Which byte of an integer comes first.
#[derive(Clone, Copy)]
pub(super) enum Order {
    Big,
    Little,
}

impl Order {
    #[inline]
    fn value(self, bytes: &[u8]) -> u64 {
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self {
            Order::Big => bytes.iter().fold(0, join),
            Order::Little => bytes.iter().rev().fold(0, join),
        }
    }
}

macro_rules! fixed_width {
    ($($read:ident $read_in:ident $type:ident $width:literal $order:ident $bytes:literal $what:literal;)*) => {$(
        #[doc = concat!("Reads ", $what, ".")]
        ///
        /// # Errors
        ///
        /// [`Stop::Reject`] at once if the part has fewer bytes left, [`Stop::NeedMore`] if they have not all arrived.
        ///
        /// # Examples
        ///
        /// ```
        /// use portsplit_plugin_sdk::Cursor;
        #[doc = concat!("assert_eq!(Cursor::new(", $bytes, ").", stringify!($read), "(), Ok(1));")]
        /// ```
        pub fn $read(&mut self) -> Result<$type, Stop> {
            if let Some(bytes) = self.near($width) {
                return Ok(Order::$order.value(bytes) as $type);
            }
            let mut raw = [0; $width];
            self.copy_to(&mut raw)?;
            Ok(Order::$order.value(&raw) as $type)
        }

        #[doc = concat!("Reads ", $what, " and rejects unless it lies in `range`, as soon as the bytes that have")]
        /// arrived rule that out.
        ///
        /// # Errors
        ///
        /// [`Stop::Reject`] if no value in `range` begins with the bytes there are, [`Stop::NeedMore`] with one byte
        /// more than there are while some are missing.
        ///
        /// # Examples
        ///
        /// ```
        /// use portsplit_plugin_sdk::prelude::*;
        #[doc = concat!("assert_eq!(Cursor::new(", $bytes, ").", stringify!($read_in), "(1..=2), Ok(1));")]
        #[doc = concat!("assert_eq!(Cursor::new(", $bytes, ").", stringify!($read_in), "(2..=3), Err(Reject));")]
        /// ```
        pub fn $read_in(&mut self, range: RangeInclusive<$type>) -> Result<$type, Stop> {
            let (low, high) = (u64::from(*range.start()), u64::from(*range.end()));
            Ok(self.fixed_in::<$width>(Order::$order, low, high)? as $type)
        }
    )*};
}

impl<F: Framing> Cursor<'_, F> {
    fixed_width! {
        u16_be u16_be_in u16 2 Big "b\"\\0\\x01\"" "an integer of two bytes, most significant first";
        u16_le u16_le_in u16 2 Little "b\"\\x01\\0\"" "an integer of two bytes, least significant first";
        u24_be u24_be_in u32 3 Big "b\"\\0\\0\\x01\"" "an integer of three bytes, most significant first";
        u24_le u24_le_in u32 3 Little "b\"\\x01\\0\\0\"" "an integer of three bytes, least significant first";
        u32_be u32_be_in u32 4 Big "b\"\\0\\0\\0\\x01\"" "an integer of four bytes, most significant first";
        u32_le u32_le_in u32 4 Little "b\"\\x01\\0\\0\\0\"" "an integer of four bytes, least significant first";
    }

    /// Reads one byte and rejects unless it lies in `range`.
    ///
    /// # Errors
    ///
    /// As [`u8`](Cursor::u8), and [`Stop::Reject`] for a byte outside `range`.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// assert_eq!(Cursor::new(&[4]).u8_in(3..=5), Ok(4));
    /// assert_eq!(Cursor::new(&[6]).u8_in(3..=5), Err(Reject));
    /// ```
    pub fn u8_in(&mut self, range: RangeInclusive<u8>) -> Result<u8, Stop> {
        self.u8_where(|byte| range.contains(&byte))
    }

    /// Reads an integer of seven bits a byte, least significant first, of at most `max_bytes` bytes (1 to 9; more
    /// counts as 9): the upper bit of a byte says that another follows. MQTT's remaining length (4) and Minecraft's
    /// and Protocol Buffers' varints are of this kind.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] if the last byte allowed says that another follows, or the part ends before it;
    /// [`Stop::NeedMore`] while it has not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// assert_eq!(Cursor::new(b"\xac\x02").varint(4), Ok(300));
    /// assert_eq!(Cursor::new(b"\xac").varint(4), Err(NeedMore(2)));
    /// assert_eq!(Cursor::new(b"\xff\xff").varint(2), Err(Reject));
    /// ```
    pub fn varint(&mut self, max_bytes: usize) -> Result<u64, Stop> {
        let mut value = 0;
        for index in 0..max_bytes.min(9) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Stop::Reject)
    }

    /// Reads an integer of 1, 2, 4 or 8 bytes, most significant first, whose upper two bits say how many, as in QUIC
    /// (RFC 9000, section 16).
    ///
    /// # Errors
    ///
    /// As [`u8`](Cursor::u8).
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// assert_eq!(Cursor::new(b"\x25").varint_quic(), Ok(37));
    /// assert_eq!(Cursor::new(b"\x7b\xbd").varint_quic(), Ok(15_293));
    /// assert_eq!(Cursor::new(b"\x7b").varint_quic(), Err(NeedMore(2)));
    /// ```
    pub fn varint_quic(&mut self) -> Result<u64, Stop> {
        let width = 1usize << (self.peek()? >> 6);
        let mut raw = [0; 8];
        let used = raw.get_mut(..width).unwrap_or_default();
        self.copy_to(used)?;
        let flags = 0b11u64 << (8 * width - 2);
        Ok(Order::Big.value(used) & !flags)
    }

    /// Reads `W` bytes while a value from `low` to `high` can still begin with what was read.
    pub(super) fn fixed_in<const W: usize>(&mut self, order: Order, low: u64, high: u64) -> Result<u64, Stop> {
        self.fits(W)?;
        crate::ensure(low <= high)?; // no value at all lies in an empty range
        if let Some(bytes) = self.near(W) {
            let value = order.value(bytes);
            return crate::ensure((low..=high).contains(&value)).map(|()| value);
        }
        let mut value = 0;
        for index in 0..W {
            let byte = u64::from(self.u8()?);
            let possible = match order {
                Order::Big => {
                    value = value << 8 | byte;
                    // The bytes to come can be all zeros or all ones.
                    let open = 8 * (W - 1 - index);
                    value << open <= high && low <= (value << open | ((1 << open) - 1))
                }
                Order::Little => {
                    value |= byte << (8 * index);
                    // The least number from `low` on that ends in the bytes so far.
                    let mask = (1u64 << (8 * (index + 1))) - 1;
                    low + (value.wrapping_sub(low) & mask) <= high
                }
            };
            crate::ensure(possible)?;
        }
        Ok(value)
    }
}
