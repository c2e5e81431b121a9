//! The cursor: reads a first flight from its start and stops with the one exact answer where it cannot go on.
//!
//! This file has the position and the reads that fit every framing; [`number`] has integers, [`lengths`] ASN.1's lengths,
//! [`text`] the reads that borrow bytes. It never looks at flags and never decides that something is a match.

mod framing;
mod lengths;
mod number;
#[cfg(test)]
mod tests;
mod text;

pub use self::framing::{Contiguous, Framing};

use crate::Stop;

/// Reads bytes in order. Every read either gives a value, or stops with [`Stop::Reject`] at the first byte that rules
/// the format out, or with [`Stop::NeedMore`] and the number of bytes at which the answer can change at the earliest.
///
/// A parser that is a straight line of reads with `?` is therefore exact, and gives the same answer however the bytes
/// were cut into segments. Two habits keep it so:
///
/// - Check a value by the read itself where there is such a read ([`tag`](Cursor::tag), [`u16_be_in`](Cursor::u16_be_in),
///   [`u8_where`](Cursor::u8_where)): it then rejects at the first wrong byte, not after the last byte of the value.
/// - Put everything that a length field covers into [`part`](Cursor::part): a value that would cross the end of its part
///   rejects at once, and nothing inside can read what follows.
///
/// The second parameter is how the bytes are framed: [`Contiguous`] unless [`framed`](Cursor::framed) says otherwise.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// // A length of two bytes, then that many bytes: a kind (1 or 2) and a name.
/// fn hello(bytes: &[u8]) -> Result<u8, Stop> {
///     let mut c = Cursor::new(bytes);
///     let len = c.u16_be_in(2..=64)?;
///     c.part(len.into(), |c| {
///         let kind = c.u8_in(1..=2)?;
///         c.skip_rest()?;
///         Ok(kind)
///     })
/// }
/// assert_eq!(hello(b""), Err(NeedMore(1)));
/// assert_eq!(hello(b"\x10"), Err(Reject)); // 0x10.. is more than 64 whatever follows
/// assert_eq!(hello(b"\x00\x04\x02"), Err(NeedMore(6)));
/// assert_eq!(hello(b"\x00\x04\x02abc"), Ok(2));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a, F = Contiguous> {
    bytes: &'a [u8],
    /// Position of the next byte, counted from the connection's first one.
    pos: usize,
    /// Where the current chunk ends, on the same scale; `usize::MAX` where there are no chunks.
    chunk_end: usize,
    /// How many bytes the part that is read may still have; `None` outside any part.
    left: Option<usize>,
    framing: F,
}

impl<'a> Cursor<'a> {
    /// Starts at the first of `bytes`.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Cursor;
    /// assert_eq!(Cursor::new(b"x").u8(), Ok(b'x'));
    /// ```
    pub const fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, pos: 0, chunk_end: usize::MAX, left: None, framing: Contiguous }
    }

    /// Reads what follows as the payload of chunks, each with a header that `framing` reads.
    ///
    /// All reads of the result see the payloads as one run of bytes, while their numbers still count every byte of the
    /// connection, headers included.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    ///
    /// /// Chunks of one length byte and 1 to 9 bytes.
    /// #[derive(Clone, Copy)]
    /// struct Chunks;
    /// impl Framing for Chunks {
    ///     fn header(&mut self, c: &mut Cursor<'_>) -> Result<usize, Stop> {
    ///         Ok(c.u8_in(1..=9)?.into())
    ///     }
    /// }
    ///
    /// let mut c = Cursor::new(b"\x02SS\x01H\x05-2.0").framed(Chunks);
    /// assert_eq!(c.tag(b"SSH-"), Ok(()));
    /// assert_eq!(c.skip(4), Err(NeedMore(11))); // one byte of this chunk is missing
    /// ```
    pub fn framed<F: Framing>(self, framing: F) -> Cursor<'a, F> {
        Cursor { bytes: self.bytes, pos: self.pos, chunk_end: self.pos, left: self.left, framing }
    }
}

impl<'a, F: Framing> Cursor<'a, F> {
    /// The number of bytes read so far, counted from the connection's first byte, headers of chunks included.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Cursor;
    /// let mut c = Cursor::new(b"abc");
    /// c.skip(2)?;
    /// assert_eq!(c.position(), 2);
    /// # Ok::<(), portsplit_plugin_sdk::Stop>(())
    /// ```
    pub fn position(&self) -> usize {
        self.pos
    }

    /// How many bytes the current [`part`](Cursor::part) still has, whether they have arrived or not; `None` outside
    /// any part.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Cursor;
    /// let mut c = Cursor::new(b"ab");
    /// assert_eq!(c.left(), None);
    /// c.part(2, |c| {
    ///     c.u8()?;
    ///     assert_eq!(c.left(), Some(1));
    ///     c.u8()
    /// })?;
    /// # Ok::<(), portsplit_plugin_sdk::Stop>(())
    /// ```
    pub fn left(&self) -> Option<usize> {
        self.left
    }

    /// Whether the current part has been read to its end. Always false outside a part, where nobody knows the end.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Cursor;
    /// // A list of numbers of two bytes in a part of four.
    /// let mut sum = 0;
    /// Cursor::new(b"\x00\x01\x00\x02").part(4, |c| {
    ///     while !c.at_end() {
    ///         sum += c.u16_be()?;
    ///     }
    ///     Ok(())
    /// })?;
    /// assert_eq!(sum, 3);
    /// # Ok::<(), portsplit_plugin_sdk::Stop>(())
    /// ```
    pub fn at_end(&self) -> bool {
        self.left == Some(0)
    }

    /// Reads one byte.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] at the end of a part, [`Stop::NeedMore`] if the byte has not arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let mut c = Cursor::new(b"a");
    /// assert_eq!(c.u8(), Ok(b'a'));
    /// assert_eq!(c.u8(), Err(NeedMore(2)));
    /// ```
    pub fn u8(&mut self) -> Result<u8, Stop> {
        let byte = self.peek()?;
        self.advance();
        Ok(byte)
    }

    /// Looks at the next byte without reading it.
    ///
    /// # Errors
    ///
    /// As [`u8`](Cursor::u8).
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Cursor;
    /// let mut c = Cursor::new(b"ab");
    /// assert_eq!(c.peek(), Ok(b'a'));
    /// assert_eq!(c.position(), 0);
    /// ```
    pub fn peek(&mut self) -> Result<u8, Stop> {
        if self.at_end() {
            return Err(Stop::Reject);
        }
        self.open_chunk()?;
        self.bytes.get(self.pos).copied().ok_or(Stop::NeedMore(self.pos.saturating_add(1)))
    }

    /// Reads one byte and rejects unless `allowed` holds for it.
    ///
    /// # Errors
    ///
    /// As [`u8`](Cursor::u8), and [`Stop::Reject`] for a byte that is not allowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// assert_eq!(Cursor::new(b"7").u8_where(|b| b.is_ascii_digit()), Ok(b'7'));
    /// assert_eq!(Cursor::new(b"x").u8_where(|b| b.is_ascii_digit()), Err(Reject));
    /// ```
    pub fn u8_where(&mut self, allowed: impl FnOnce(u8) -> bool) -> Result<u8, Stop> {
        let byte = self.u8()?;
        crate::ensure(allowed(byte))?;
        Ok(byte)
    }

    /// Reads exactly these bytes.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] at the first byte that differs, even if later ones have not arrived, and at once where the part
    /// is too short for the tag; [`Stop::NeedMore`] with one byte more than there are, for each next byte can differ.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// assert_eq!(Cursor::new(b"SSH-2").tag(b"SSH-"), Ok(()));
    /// assert_eq!(Cursor::new(b"SX").tag(b"SSH-"), Err(Reject));
    /// assert_eq!(Cursor::new(b"SSH").tag(b"SSH-"), Err(NeedMore(4)));
    /// ```
    pub fn tag(&mut self, tag: &[u8]) -> Result<(), Stop> {
        self.tag_where(tag, |a, b| a == b)
    }

    /// Reads these bytes, taking ASCII letters of either case for the same.
    ///
    /// # Errors
    ///
    /// As [`tag`](Cursor::tag).
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// assert_eq!(Cursor::new(b"get /").tag_ignore_case(b"GET "), Ok(()));
    /// ```
    pub fn tag_ignore_case(&mut self, tag: &[u8]) -> Result<(), Stop> {
        self.tag_where(tag, |a, b| a.eq_ignore_ascii_case(&b))
    }

    fn tag_where(&mut self, tag: &[u8], same: impl Fn(u8, u8) -> bool) -> Result<(), Stop> {
        self.fits(tag.len())?;
        for expected in tag {
            self.u8_where(|byte| same(byte, *expected))?;
        }
        Ok(())
    }

    /// Reads one of several tags and says which, as its index in `tags`. Where one tag is the beginning of another,
    /// the one listed first is preferred.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] as soon as no tag is possible, [`Stop::NeedMore`] while one that would be preferred still is.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let methods: [&[u8]; 3] = [b"GET ", b"POST ", b"PUT "];
    /// assert_eq!(Cursor::new(b"PUT /x").one_of(&methods), Ok(2));
    /// assert_eq!(Cursor::new(b"P").one_of(&methods), Err(NeedMore(2)));
    /// assert_eq!(Cursor::new(b"PA").one_of(&methods), Err(Reject));
    /// ```
    pub fn one_of(&mut self, tags: &[&[u8]]) -> Result<usize, Stop> {
        for (index, tag) in tags.iter().enumerate() {
            let mut attempt = *self;
            match attempt.tag(tag) {
                Err(Stop::Reject) => {}
                Err(stop) => return Err(stop),
                Ok(()) => {
                    *self = attempt;
                    return Ok(index);
                }
            }
        }
        Err(Stop::Reject)
    }

    /// Tries `first`, and `second` from the same place if `first` rejects.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] if both reject. While `first` needs more, so does this, whatever `second` would say: the value
    /// is then the same for every segmentation.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let mut c = Cursor::new(b"*3\r\n");
    /// let array = c.either(|c| c.tag(b"PING").map(|()| false), |c| c.tag(b"*").map(|()| true));
    /// assert_eq!(array, Ok(true));
    /// ```
    pub fn either<T>(
        &mut self,
        first: impl FnOnce(&mut Self) -> Result<T, Stop>,
        second: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let start = *self;
        match first(self) {
            Err(Stop::Reject) => {
                *self = start;
                second(self)
            }
            answer => answer,
        }
    }

    /// Passes over `len` bytes of any value.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] at once if the part has fewer, [`Stop::NeedMore`] if they have not all arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// assert_eq!(Cursor::new(b"ab").skip(5), Err(NeedMore(5)));
    /// ```
    pub fn skip(&mut self, len: usize) -> Result<(), Stop> {
        if self.near(len).is_some() {
            return Ok(());
        }
        self.fits(len)?;
        let mut rest = len;
        while rest > 0 {
            self.open_chunk()?;
            let here = rest.min(self.chunk_end - self.pos);
            let end = self.pos.saturating_add(here);
            if end > self.bytes.len() {
                // Past this chunk comes a header, and its first byte can rule the format out.
                return Err(Stop::NeedMore(end.saturating_add(usize::from(here < rest))));
            }
            self.pos = end;
            rest -= here;
        }
        self.left = self.left.map(|left| left - len);
        Ok(())
    }

    /// Passes over what the current part still has; nothing outside a part.
    ///
    /// # Errors
    ///
    /// [`Stop::NeedMore`] if it has not all arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Cursor;
    /// let mut c = Cursor::new(b"abc|");
    /// c.part(3, |c| { c.u8()?; c.skip_rest() })?;
    /// assert_eq!(c.u8(), Ok(b'|'));
    /// # Ok::<(), portsplit_plugin_sdk::Stop>(())
    /// ```
    pub fn skip_rest(&mut self) -> Result<(), Stop> {
        self.skip(self.left.unwrap_or(0))
    }

    /// Reads the next `len` bytes as a part of their own: `read` cannot read past them, and a read that would rejects
    /// at once. `read` must read all of it; [`skip_rest`](Cursor::skip_rest) passes over what is of no interest.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] at once if the part around it has fewer bytes left, and if `read` leaves some over; and what
    /// `read` stops with.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let mut c = Cursor::new(b"\x02hi!");
    /// let len = c.u8()?;
    /// c.part(len.into(), |c| c.tag(b"hi"))?;
    /// assert_eq!(c.u8(), Ok(b'!'));
    /// assert_eq!(Cursor::new(b"\x00").part(1, |c| c.u16_be()), Err(Reject));
    /// assert_eq!(Cursor::new(b"ab").part(2, |c| c.u8()), Err(Reject));
    /// # Ok::<(), Stop>(())
    /// ```
    pub fn part<T>(&mut self, len: usize, read: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        self.fits(len)?;
        let after = self.left.map(|left| left - len);
        self.left = Some(len);
        let value = read(self)?;
        self.end()?;
        self.left = after;
        Ok(value)
    }

    /// Rejects unless the current part has been read to its end.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] if there is more to read, or if this is not in a part.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// assert_eq!(Cursor::new(b"ab").part(2, |c| { c.u8()?; c.end() }), Err(Reject));
    /// ```
    pub fn end(&self) -> Result<(), Stop> {
        crate::ensure(self.at_end())
    }

    /// Copies the next `into.len()` bytes, which may come from several chunks.
    ///
    /// # Errors
    ///
    /// As [`skip`](Cursor::skip).
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Cursor;
    /// let mut name = [0; 2];
    /// Cursor::new(b"hi!").copy_to(&mut name)?;
    /// assert_eq!(&name, b"hi");
    /// # Ok::<(), portsplit_plugin_sdk::Stop>(())
    /// ```
    pub fn copy_to(&mut self, into: &mut [u8]) -> Result<(), Stop> {
        if let Some(bytes) = self.near(into.len()) {
            copy(into, bytes);
            return Ok(());
        }
        let mut from = *self;
        self.skip(into.len())?;
        let mut rest = into;
        while !rest.is_empty() {
            from.open_chunk()?;
            let here = rest.len().min(from.chunk_end - from.pos);
            let (head, tail) = rest.split_at_mut_checked(here).unwrap_or_default();
            let end = from.pos.saturating_add(here);
            copy(head, self.bytes.get(from.pos..end).unwrap_or_default());
            from.pos = end;
            rest = tail;
        }
        Ok(())
    }

    /// Rejects if the current part has fewer than `len` bytes left.
    fn fits(&self, len: usize) -> Result<(), Stop> {
        crate::ensure(self.left.is_none_or(|left| len <= left))
    }

    /// Takes the next `len` bytes if they are all here, in this chunk and in this part: the short way that most reads go.
    fn near(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.pos.checked_add(len).filter(|end| *end <= self.chunk_end)?;
        let bytes = self.bytes.get(self.pos..end)?;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(len)?;
        }
        self.pos = end;
        Some(bytes)
    }

    /// Reads headers until there is a chunk that has a byte to read, arrived or not.
    fn open_chunk(&mut self) -> Result<(), Stop> {
        while self.pos >= self.chunk_end {
            let mut raw = Cursor::new(self.bytes);
            raw.pos = self.pos;
            let len = self.framing.header(&mut raw)?;
            // A header and a chunk of no bytes at all would never end.
            crate::ensure(raw.pos > self.pos || len > 0)?;
            self.pos = raw.pos;
            self.chunk_end = raw.pos.saturating_add(len);
        }
        Ok(())
    }

    /// Moves past a byte that [`peek`](Cursor::peek) has shown.
    fn advance(&mut self) {
        self.pos += 1;
        self.left = self.left.map(|left| left - 1);
    }
}

/// Copies as many bytes as both have. `copy_from_slice` would bring its panic and all of its formatting into the module.
pub(crate) fn copy(into: &mut [u8], from: &[u8]) {
    for (to, byte) in into.iter_mut().zip(from) {
        *to = *byte;
    }
}
