//! Bytes as people read them: hex beside text in messages, and the escapes of `cases.toml`, both ways.

use std::fmt::Write as _;

use crate::Verdict;

/// Bytes a message shows; a first flight of a usual size is a few lines.
const SHOWN_BYTES: usize = 256;

/// Writes bytes as lines of sixteen, in hex and as text, at most 256 of them.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::hexdump;
/// let dump = hexdump(b"SSH\r\n");
/// assert!(dump.starts_with("0000  53 53 48 0d 0a ") && dump.ends_with(" SSH..\n"));
/// ```
pub fn hexdump(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(no bytes)\n".to_owned();
    }
    let mut out = String::new();
    for (row, chunk) in bytes.chunks(16).take(SHOWN_BYTES / 16).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|b| format!("{b:02x}")).collect();
        let text: String =
            chunk.iter().map(|&b| if b == b' ' || b.is_ascii_graphic() { b as char } else { '.' }).collect();
        let _ = writeln!(out, "{:04x}  {:<47}    {text}", row * 16, hex.join(" "));
    }
    if bytes.len() > SHOWN_BYTES {
        let _ = writeln!(out, "... and {} more", bytes.len() - SHOWN_BYTES);
    }
    out
}

/// A verdict in the words of `cases.toml`, with the hint of need-more.
pub(crate) fn verdict_text(verdict: Verdict) -> String {
    match verdict {
        Verdict::Match => "match".to_owned(),
        Verdict::Reject => "reject".to_owned(),
        Verdict::NeedMore(total) => format!("need-more({total})"),
    }
}

/// Reads the escapes `\xNN \r \n \t \0 \\` in a case's text.
///
/// # Errors
///
/// A sentence naming the escape that is not one of these.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        out.push(match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                let digits = Some(digits).filter(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_hexdigit()));
                digits
                    .and_then(|d| u8::from_str_radix(&d, 16).ok())
                    .ok_or_else(|| "`text` has `\\x` without two hex digits after it".to_owned())?
            }
            Some(other) => {
                return Err(format!(
                    "`text` has the escape `\\{}`; there are \\xNN \\r \\n \\t \\0 \\\\",
                    other.escape_default()
                ));
            }
            None => return Err("`text` ends in a lone `\\`; write `\\\\`".to_owned()),
        });
    }
    Ok(out)
}

/// Reads hex digits; white space between bytes means nothing.
///
/// # Errors
///
/// A sentence naming what is not hex.
pub(crate) fn unhex(hex: &str) -> Result<Vec<u8>, String> {
    let mut digits = Vec::with_capacity(hex.len());
    for c in hex.chars().filter(|c| !c.is_whitespace()) {
        let digit = c.to_digit(16);
        digits.push(digit.ok_or_else(|| format!("`hex` has `{}`, which is not a hex digit", c.escape_default()))?);
    }
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Ok((high * 16 + low) as u8),
            _ => Err("`hex` has an odd number of digits".to_owned()),
        })
        .collect()
}

/// The bytes as a line of `cases.toml`: `text` where that reads well, else `hex`.
pub(crate) fn bytes_as_toml(bytes: &[u8]) -> String {
    let plain = |b: &u8| matches!(b, b' '..=b'~' | b'\r' | b'\n' | b'\t') && *b != b'\'';
    if !bytes.is_empty() && bytes.iter().all(plain) {
        let text: String = bytes
            .iter()
            .map(|&b| match b {
                b'\r' => "\\r".to_owned(),
                b'\n' => "\\n".to_owned(),
                b'\t' => "\\t".to_owned(),
                b'\\' => "\\\\".to_owned(),
                b => (b as char).to_string(),
            })
            .collect();
        return format!("text = '{text}'");
    }
    let hex: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("hex = \"{}\"", hex.join(" "))
}

/// A fact's value as the host shows it: printable UTF-8 as it is, anything else escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let hostile = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.chars().any(hostile)
    {
        return text.to_owned();
    }
    let mut out = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if hostile(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_and_hex_read_back_what_they_wrote() {
        for bytes in [&b"SSH-2.0-x\r\n"[..], b"a\\b\tc", b"it's", b"\x16\x03\x01\x00", b""] {
            let line = bytes_as_toml(bytes);
            let (key, value) = line.split_once(" = ").unwrap();
            let value = value.get(1..value.len() - 1).unwrap();
            let read = if key == "text" { unescape(value) } else { unhex(value) };
            assert_eq!(read.unwrap(), bytes, "{line}");
        }
    }

    #[test]
    fn escapes_that_do_not_exist_are_named() {
        assert!(unescape(r"\q").unwrap_err().contains(r"`\q`"));
        assert!(unescape(r"\x1").unwrap_err().contains("two hex digits"));
        assert!(unescape(r"\x+1").is_err());
        assert!(unescape("\\").is_err());
        assert!(unhex("1").is_err());
        assert!(unhex("zz").unwrap_err().contains("`z`"));
        assert_eq!(unescape(r"\xff\0é\\").unwrap(), b"\xff\0\xc3\xa9\\");
    }
}
