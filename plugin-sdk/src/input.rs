//! What a classifier is shown: the first bytes of a connection and what the host knows besides them.

use crate::Cursor;

/// The first bytes of a connection, from its very first one, and whether more can come.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::Input;
///
/// let input = Input::new(b"SSH-2.0-");
/// assert!(!input.is_last());
/// assert!(Input { half_closed: true, ..input }.is_last());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input<'a> {
    /// Everything the client has sent so far, at most `max_bytes` of the manifest.
    pub bytes: &'a [u8],
    /// The client has finished sending: no more bytes will come.
    pub half_closed: bool,
    /// No more bytes will be shown, because as many as may be shown are here.
    pub full: bool,
    /// The time to decide is up: this is the last call for this connection.
    pub timed_out: bool,
}

impl<'a> Input<'a> {
    /// Takes bytes to which more may come.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Input;
    /// assert_eq!(Input::new(b"abc").bytes.len(), 3);
    /// ```
    pub const fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes, half_closed: false, full: false, timed_out: false }
    }

    /// Takes bytes with the `flags` of the ABI: 1 half-closed, 2 full, 4 timed out. Other bits mean nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Input;
    /// let input = Input::with_flags(b"abc", 1 | 4);
    /// assert!(input.half_closed && !input.full && input.timed_out);
    /// ```
    pub const fn with_flags(bytes: &'a [u8], flags: u32) -> Input<'a> {
        Input { bytes, half_closed: flags & 1 != 0, full: flags & 2 != 0, timed_out: flags & 4 != 0 }
    }

    /// Starts reading at the first byte.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Input;
    /// assert_eq!(Input::new(b"abc").cursor().u8(), Ok(b'a'));
    /// ```
    pub const fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.bytes)
    }

    /// Whether no further bytes will be shown, so that need-more can only mean reject. The SDK turns it into reject by
    /// itself; a classifier asks only where the end of the bytes means something.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Input;
    /// assert!(Input { full: true, ..Input::new(b"abc") }.is_last());
    /// ```
    pub const fn is_last(&self) -> bool {
        self.half_closed || self.full || self.timed_out
    }
}
