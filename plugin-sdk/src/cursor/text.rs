//! Reads that borrow the bytes they pass over: runs of a known length, up to a delimiter, and lines. They need the
//! bytes in one piece, so they exist for [`Contiguous`](super::Contiguous) cursors; on framed ones use
//! [`Cursor::copy_to`].

use super::Cursor;
use crate::Stop;

impl<'a> Cursor<'a> {
    /// Reads `len` bytes of any value.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] at once if the part has fewer, [`Stop::NeedMore`] if they have not all arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let mut c = Cursor::new(b"abc");
    /// assert_eq!(c.take(2), Ok(&b"ab"[..]));
    /// assert_eq!(c.take(2), Err(NeedMore(4)));
    /// ```
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Stop> {
        let start = self.pos;
        self.skip(len)?;
        Ok(self.bytes.get(start..self.pos).unwrap_or_default())
    }

    /// Reads bytes for which `allowed` holds, up to the first that it does not hold for, which is left unread. The run
    /// can be empty; `max` is the most bytes it may have.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] if the run is longer than `max`, [`Stop::NeedMore`] while its end has not arrived. The end of a
    /// part ends the run.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let digit = |b: u8| b.is_ascii_digit();
    /// assert_eq!(Cursor::new(b"42;").take_while(3, digit), Ok(&b"42"[..]));
    /// assert_eq!(Cursor::new(b"42").take_while(3, digit), Err(NeedMore(3)));
    /// assert_eq!(Cursor::new(b"4217").take_while(3, digit), Err(Reject));
    /// ```
    pub fn take_while(&mut self, max: usize, allowed: impl Fn(u8) -> bool) -> Result<&'a [u8], Stop> {
        let arrived = self.arrived();
        let in_reach = arrived.get(..max.saturating_add(1)).unwrap_or(arrived);
        if let Some(len) = in_reach.iter().position(|byte| !allowed(*byte)) {
            return self.take(len);
        }
        crate::ensure(arrived.len() <= max)?;
        if self.left == Some(arrived.len()) { self.take(arrived.len()) } else { Err(self.wants_one_more()) }
    }

    /// As [`take_while`](Cursor::take_while), but a run that is too long is no error: `None` as soon as `max` bytes of
    /// it are there, nothing read. For what a peer may make long and a parser does not wait for.
    ///
    /// # Errors
    ///
    /// [`Stop::NeedMore`] while the run's end has not arrived and it has fewer than `max` bytes. The end of a part ends
    /// the run.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let digit = |b: u8| b.is_ascii_digit();
    /// assert_eq!(Cursor::new(b"42;").take_short(3, digit), Ok(Some(&b"42"[..])));
    /// assert_eq!(Cursor::new(b"42").take_short(3, digit), Err(NeedMore(3)));
    /// assert_eq!(Cursor::new(b"421").take_short(3, digit), Ok(None));
    /// ```
    pub fn take_short(&mut self, max: usize, allowed: impl Fn(u8) -> bool) -> Result<Option<&'a [u8]>, Stop> {
        let arrived = self.arrived();
        let run = arrived.iter().take(max).position(|byte| !allowed(*byte));
        match run {
            Some(len) => self.take(len).map(Some),
            None if arrived.len() >= max => Ok(None),
            None if self.left == Some(arrived.len()) => self.take(arrived.len()).map(Some),
            None => Err(self.wants_one_more()),
        }
    }

    /// Reads up to and including `delimiter` and returns what came before it, at most `max` bytes.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] if more than `max` bytes, or the end of the part, come before it; [`Stop::NeedMore`] while it
    /// has not arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let mut c = Cursor::new(b"key=value");
    /// assert_eq!(c.take_until(b'=', 8), Ok(&b"key"[..]));
    /// assert_eq!(c.u8(), Ok(b'v'));
    /// assert_eq!(Cursor::new(b"key").take_until(b'=', 2), Err(Reject));
    /// ```
    pub fn take_until(&mut self, delimiter: u8, max: usize) -> Result<&'a [u8], Stop> {
        self.take_until_where(delimiter, max, |_| true)
    }

    /// As [`take_until`](Cursor::take_until), and rejects at the first byte before the delimiter for which `allowed`
    /// does not hold.
    ///
    /// # Errors
    ///
    /// As [`take_until`](Cursor::take_until), and [`Stop::Reject`] for a byte that is not allowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let lower = |b: u8| b.is_ascii_lowercase();
    /// assert_eq!(Cursor::new(b"key=").take_until_where(b'=', 8, lower), Ok(&b"key"[..]));
    /// assert_eq!(Cursor::new(b"kE").take_until_where(b'=', 8, lower), Err(Reject));
    /// ```
    pub fn take_until_where(
        &mut self,
        delimiter: u8,
        max: usize,
        allowed: impl Fn(u8) -> bool,
    ) -> Result<&'a [u8], Stop> {
        // One search without further conditions: this is the loop that a call's fuel goes into.
        let arrived = self.arrived();
        let in_reach = arrived.get(..max.saturating_add(1)).unwrap_or(arrived);
        let Some(len) = in_reach.iter().position(|byte| *byte == delimiter || !allowed(*byte)) else {
            crate::ensure(arrived.len() <= max)?;
            return Err(self.wants_one_more());
        };
        crate::ensure(arrived.get(len) == Some(&delimiter))?;
        let field = self.take(len)?;
        self.advance();
        Ok(field)
    }

    /// Reads a line that ends with LF and returns it without its end, LF or CR LF. The line, its end included, has at
    /// most `max` bytes.
    ///
    /// # Errors
    ///
    /// [`Stop::Reject`] if `max` bytes come without an LF, [`Stop::NeedMore`] while it has not arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let mut c = Cursor::new(b"one\r\ntwo\nth");
    /// assert_eq!(c.line(80), Ok(&b"one"[..]));
    /// assert_eq!(c.line(80), Ok(&b"two"[..]));
    /// assert_eq!(c.line(80), Err(NeedMore(12)));
    /// ```
    pub fn line(&mut self, max: usize) -> Result<&'a [u8], Stop> {
        self.line_where(max, |_| true)
    }

    /// As [`line`](Cursor::line), and rejects at the first byte of the line for which `allowed` does not hold. It is
    /// not asked about the LF nor about a CR in front of it; a CR elsewhere rejects unless it is allowed.
    ///
    /// # Errors
    ///
    /// As [`line`](Cursor::line), and [`Stop::Reject`] for a byte that is not allowed.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    /// let printable = |b: u8| (0x20..0x7f).contains(&b);
    /// assert_eq!(Cursor::new(b"one\r\n").line_where(80, printable), Ok(&b"one"[..]));
    /// assert_eq!(Cursor::new(b"o\0").line_where(80, printable), Err(Reject));
    /// assert_eq!(Cursor::new(b"o\re").line_where(80, printable), Err(Reject));
    /// ```
    pub fn line_where(&mut self, max: usize, allowed: impl Fn(u8) -> bool) -> Result<&'a [u8], Stop> {
        let mut after_cr = false;
        for (index, byte) in self.arrived().iter().enumerate() {
            if *byte == b'\n' {
                crate::ensure(index < max)?;
                let line = self.take(index)?;
                self.advance();
                return Ok(if after_cr { line.split_last().map_or(line, |(_, line)| line) } else { line });
            }
            // A CR that no LF follows was an ordinary byte; and the last byte there is room for has to be the LF.
            crate::ensure(!after_cr || allowed(b'\r'))?;
            crate::ensure(index + 1 < max)?;
            after_cr = *byte == b'\r';
            crate::ensure(after_cr || allowed(*byte))?;
        }
        Err(self.wants_one_more())
    }

    /// What has arrived and was not read yet, cut at the end of the part. It changes with every segment, so use it only
    /// where that cannot change the answer.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Cursor;
    /// let mut c = Cursor::new(b"abc");
    /// c.u8()?;
    /// assert_eq!(c.arrived(), b"bc");
    /// # Ok::<(), portsplit_plugin_sdk::Stop>(())
    /// ```
    pub fn arrived(&self) -> &'a [u8] {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        rest.get(..self.left.unwrap_or(rest.len()).min(rest.len())).unwrap_or_default()
    }

    /// What a read answers that went through everything that arrived: the next byte decides, if the part has one.
    fn wants_one_more(&self) -> Stop {
        let arrived = self.arrived().len();
        if self.left == Some(arrived) {
            return Stop::Reject;
        }
        Stop::NeedMore(self.pos.saturating_add(arrived).saturating_add(1))
    }
}
