//! How the bytes a cursor reads are cut into chunks by the protocol itself (not by TCP).

use super::Cursor;
use crate::Stop;

/// The header in front of each chunk of a stream that a protocol cuts into chunks, such as TLS records.
///
/// Give it to [`Cursor::framed`].
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// /// A zero byte and a length of two bytes before each chunk.
/// #[derive(Clone, Copy)]
/// struct Frames;
///
/// impl Framing for Frames {
///     fn header(&mut self, c: &mut Cursor<'_>) -> Result<usize, Stop> {
///         c.tag(b"\0")?;
///         Ok(c.u16_be_in(1..=1024)?.into())
///     }
/// }
///
/// let mut c = Cursor::new(b"\0\0\x01a\0\0\x01b").framed(Frames);
/// assert_eq!((c.u8(), c.u8()), (Ok(b'a'), Ok(b'b')));
/// assert_eq!(c.u8(), Err(NeedMore(9)));
/// ```
pub trait Framing: Copy {
    /// Reads one header and returns the number of bytes in the chunk that follows it.
    ///
    /// # Errors
    ///
    /// [`Stop`] where the header is not complete or not allowed.
    fn header(&mut self, header: &mut Cursor<'_>) -> Result<usize, Stop>;
}

/// No chunks: the bytes follow one another. What a [`Cursor`] reads unless it is told otherwise.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{Contiguous, Cursor};
/// let c: Cursor<'_, Contiguous> = Cursor::new(b"abc");
/// assert_eq!(c.position(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contiguous;

impl Framing for Contiguous {
    /// Never called in practice: the one chunk there is ends nowhere.
    fn header(&mut self, _: &mut Cursor<'_>) -> Result<usize, Stop> {
        Err(Stop::Reject)
    }
}
