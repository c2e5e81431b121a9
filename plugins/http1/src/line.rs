//! Reads the request line (RFC 9112, section 3) and takes the target apart.
//!
//! It is read as servers are allowed to read it: with more white space than one space before, between and behind its
//! words, tabs and a CR at its end among it. What such a line names, and its version where nothing else can be meant, is
//! for the server to accept or to refuse.

use portsplit_plugin_sdk::prelude::*;

use crate::MAX_BYTES;

/// The longest method. The longest registered one has 17 letters.
const MAX_METHOD_BYTES: usize = 32;

/// The most bytes of a target that facts come from: a host of 255 and a path of 512, and what stands around them.
const MAX_TARGET_BYTES: usize = 768;

/// The most white space in one place.
const MAX_SPACE_BYTES: usize = 8;

/// How a target begins that is a path or a URI of HTTP's. What begins with a method and one of these is HTTP or RTSP.
const BEGINNINGS: [&[u8]; 3] = [b"/", b"http://", b"https://"];

/// A request line.
pub(crate) struct Line<'a> {
    pub(crate) method: &'a [u8],
    /// At most its first [`MAX_TARGET_BYTES`]; empty if it was left out.
    pub(crate) target: &'a [u8],
    /// HTTP/0.9: a path or, to a proxy, a URI, and no version (RFC 1945, section 4.1). No fields follow.
    pub(crate) is_simple: bool,
}

impl<'a> Line<'a> {
    /// Reads a line and its end. One empty line may come before it (RFC 9112, section 2.2).
    pub(crate) fn read(c: &mut Cursor<'a>) -> Result<Line<'a>, Stop> {
        if matches!(c.peek()?, b'\r' | b'\n') {
            end(c)?;
        }
        if is_space(c.peek()?) {
            space(c)?;
        }
        let method = c.take_while(MAX_METHOD_BYTES, is_token)?;
        ensure(!method.is_empty())?;
        c.u8_where(is_space)?;
        space(c)?;
        let (target, is_simple) = if is_usual(*c)? { usual(c)? } else { (other(c)?, false) };
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

/// The methods of RFC 9110, section 9, with a target that is a path, PATCH (RFC 5789), and those of WebDAV that ask with
/// long targets.
const METHODS: [&[u8]; 10] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"PROPFIND", b"SEARCH"];

/// The method of a line that is cut somewhere behind the beginning of its target. Nothing else begins like that; of
/// other methods and targets that cannot be said.
pub(crate) fn method_of_cut(bytes: &[u8]) -> Option<&'static [u8]> {
    METHODS.into_iter().find(|method| {
        let rest = bytes.strip_prefix(*method).and_then(|rest| rest.strip_prefix(b" "));
        rest.is_some_and(|rest| BEGINNINGS.iter().any(|beginning| rest.starts_with(beginning)))
    })
}

/// Whether a target follows that begins as one of [`BEGINNINGS`].
fn is_usual(mut c: Cursor<'_>) -> Result<bool, Stop> {
    if c.peek()? == b'/' {
        return Ok(true);
    }
    match c.one_of(&BEGINNINGS) {
        Err(Reject) => Ok(false),
        read => read.map(|_| true),
    }
}

/// Reads a target that begins as one of [`BEGINNINGS`] and the version behind it, and says whether there is none. The
/// target may have spaces: it must not, but such requests are common.
fn usual<'a>(c: &mut Cursor<'a>) -> Result<(&'a [u8], bool), Stop> {
    let line = trim_end(c.take_while(MAX_BYTES, |b| b >= b' ' || b == b'\t')?);
    if let Some((before, version)) = line.split_last_chunk::<VERSION_BYTES>()
        && is_version(version)
        && before.ends_with(b" ")
    {
        return Ok((trim_end(before), false));
    }
    // The same in general, which costs more.
    if let Some(from_end) = line.iter().rev().take(MAX_VERSION_BYTES + 1).position(|b| is_space(*b))
        && let Some((target, [_, version @ ..])) = line.split_at_checked(line.len() - 1 - from_end)
        && is_any_version(version)
    {
        return Ok((trim_end(target), false));
    }
    ensure(line.len() <= MAX_TARGET_BYTES && line.iter().all(|b| *b > b' '))?;
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
    c.take_while(MAX_SPACE_BYTES, is_space).map(<[u8]>::len)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Passes over the end of a line. More than one CR is what a program writes that has its line ends translated once too
/// often.
#[inline(never)]
fn end(c: &mut Cursor<'_>) -> Result<(), Stop> {
    for _ in 0..MAX_SPACE_BYTES {
        if c.u8_where(|b| matches!(b, b'\r' | b'\n'))? == b'\n' {
            return Ok(());
        }
    }
    Err(Reject)
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

/// The longest version that is one of any kind.
const MAX_VERSION_BYTES: usize = 16;

/// Whether a word is a version of any kind, such as `http/1.1` or `HTTP/2.0`.
fn is_any_version(word: &[u8]) -> bool {
    word.split_at_checked(5).is_some_and(|(name, number)| {
        name.eq_ignore_ascii_case(b"HTTP/")
            && number.first().is_some_and(u8::is_ascii_digit)
            && number.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'.')
    })
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
