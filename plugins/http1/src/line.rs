//! Reads the request line (RFC 9112, section 3) and takes the target apart.
//!
//! It is read as servers are allowed to read it, with more white space than one space between its words and behind
//! them. What such a line names is for the server to accept or to refuse.

use portsplit_plugin_sdk::prelude::*;

use crate::MAX_BYTES;

/// The longest method. The longest registered one has 17 letters.
const MAX_METHOD_BYTES: usize = 32;

/// The most bytes of a target that facts come from: a host of 255 and a path of 512, and what stands around them.
const MAX_TARGET_BYTES: usize = 768;

/// The most white space in one place.
const MAX_SPACE_BYTES: usize = 8;

/// A request line.
pub(crate) struct Line<'a> {
    pub(crate) method: &'a [u8],
    /// At most its first [`MAX_TARGET_BYTES`]; empty if it was left out.
    pub(crate) target: &'a [u8],
    /// HTTP/0.9: a path and no version (RFC 1945, section 4.1). No fields follow.
    pub(crate) is_simple: bool,
}

impl<'a> Line<'a> {
    /// Reads a line and its end. One empty line may come before it (RFC 9112, section 2.2).
    pub(crate) fn read(c: &mut Cursor<'a>) -> Result<Line<'a>, Stop> {
        if matches!(c.peek()?, b'\r' | b'\n') {
            end(c)?;
        }
        let method = c.take_until_where(b' ', MAX_METHOD_BYTES, is_token)?;
        ensure(!method.is_empty())?;
        space(c)?;
        let (target, is_simple) = if c.peek()? == b'/' { path(c)? } else { (other(c)?, false) };
        end(c)?;
        ensure(!is_simple || method == b"GET")?;
        Ok(Line { method, target: target.get(..MAX_TARGET_BYTES).unwrap_or(target), is_simple })
    }

    /// The authority and the path of the target (RFC 9112, section 3.2).
    pub(crate) fn parts(&self) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        let target = Some(self.target).filter(|target| !target.is_empty());
        if self.method == b"CONNECT" {
            return (target, None);
        }
        let Some(rest) = after_scheme(self.target) else { return (None, target) };
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
        (Some(authority), Some(if path.starts_with(b"/") { path } else { b"/" }))
    }
}

/// The methods of RFC 9110, section 9, with a target that is a path, and PATCH (RFC 5789).
const METHODS: [&[u8]; 8] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH"];

/// The method of a line that is cut somewhere behind the `/` of its path. Nothing else begins like that; of other
/// methods and targets that cannot be said.
pub(crate) fn method_of_cut(bytes: &[u8]) -> Option<&'static [u8]> {
    METHODS.into_iter().find(|method| bytes.strip_prefix(*method).is_some_and(|rest| rest.starts_with(b" /")))
}

/// Reads a target that begins with `/` and the version behind it, and says whether there is none. The target may have
/// spaces: it must not, but such requests are common.
fn path<'a>(c: &mut Cursor<'a>) -> Result<(&'a [u8], bool), Stop> {
    let line = trim_end(c.take_while(MAX_BYTES, |b| b >= b' ' || b == b'\t')?);
    if let Some((before, version)) = line.split_last_chunk::<VERSION_BYTES>()
        && is_version(version)
        && before.ends_with(b" ")
    {
        return Ok((trim_end(before), false));
    }
    ensure(line.len() <= MAX_TARGET_BYTES && !line.contains(&b' '))?;
    Ok((line, true))
}

/// Reads a target that is a URI, a host with a port, or `*`, and the version behind it; or only the version.
fn other<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Stop> {
    let word = c.take_while(MAX_BYTES, |b| b > b' ')?;
    ensure(!word.is_empty())?;
    let spaces = space(c)?;
    if matches!(c.peek()?, b'\r' | b'\n') {
        return ensure(is_version(word)).map(|()| &b""[..]);
    }
    ensure(spaces > 0)?;
    c.tag(b"HTTP/")?;
    c.u8_in(b'0'..=b'1')?;
    c.tag(b".")?;
    c.u8_where(|b| b.is_ascii_digit())?;
    space(c)?;
    Ok(word)
}

/// Passes over white space and says how much there was.
#[inline(never)]
fn space(c: &mut Cursor<'_>) -> Result<usize, Stop> {
    c.take_while(MAX_SPACE_BYTES, |b| matches!(b, b' ' | b'\t')).map(<[u8]>::len)
}

/// Passes over the end of a line.
#[inline(never)]
fn end(c: &mut Cursor<'_>) -> Result<(), Stop> {
    c.one_of(&[b"\n", b"\r\n"]).map(|_| ())
}

/// Takes white space off the end, as much as there may be.
fn trim_end(mut line: &[u8]) -> &[u8] {
    for _ in 0..MAX_SPACE_BYTES {
        match line {
            [rest @ .., b' ' | b'\t'] => line = rest,
            _ => break,
        }
    }
    line
}

/// The length of a version, such as `HTTP/1.1`.
const VERSION_BYTES: usize = 8;

fn is_version(word: &[u8]) -> bool {
    matches!(word, [b'H', b'T', b'T', b'P', b'/', b'0' | b'1', b'.', b'0'..=b'9'])
}

/// More than the longest scheme has.
const MAX_SCHEME_BYTES: usize = 32;

/// What follows `scheme://`, if the target begins so.
fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let colon = target.iter().take(MAX_SCHEME_BYTES).position(|b| !is_scheme(b)).filter(|len| *len > 0)?;
    target.get(colon..)?.strip_prefix(b"://")
}

/// Whether a byte may be in a method (RFC 9110, section 5.6.2).
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}
