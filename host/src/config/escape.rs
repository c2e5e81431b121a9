//! Byte escapes in prefixes: `\xNN \r \n \t \0 \\`; all other text stands for its UTF-8 bytes.
//!
//! An escape that does not exist is an error, never taken literally: a pattern that silently means other bytes is a
//! service that silently never matches.

use std::fmt::Write;

/// A place in a prefix that is not an escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EscapeError {
    /// Where the escape starts and how long it is, in bytes of the text.
    pub(crate) offset: usize,
    pub(crate) len: usize,
    /// What is wrong.
    pub(crate) message: String,
    /// What to write.
    pub(crate) help: String,
}

/// Turns a prefix as written into its bytes.
///
/// # Errors
/// A backslash that does not start one of the escapes, or a `\0` followed by a hex digit, which other languages read
/// as an octal or hexadecimal number.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, EscapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(backslash) = rest.find('\\') {
        let (plain, escape) = rest.split_at(backslash);
        bytes.extend_from_slice(plain.as_bytes());
        let offset = text.len() - escape.len();
        let (byte, len) = one_escape(escape).map_err(|refused| EscapeError { offset, ..refused })?;
        bytes.push(byte);
        rest = escape.get(len..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// Writes bytes so that `unescape` gives them back: printable ASCII as it is, the rest escaped.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => {
                // Writing to a `String` cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

/// Reads the escape at the start of `text` and returns its byte and its length.
fn one_escape(text: &str) -> Result<(u8, usize), EscapeError> {
    let refuse = |len: usize, message: String, help: String| Err(EscapeError { offset: 0, len, message, help });
    let mut characters = text.chars().skip(1);
    let Some(letter) = characters.next() else {
        return refuse(1, "a backslash ends the prefix".to_owned(), r"write `\\` for one backslash".to_owned());
    };
    match letter {
        'r' => Ok((b'\r', 2)),
        'n' => Ok((b'\n', 2)),
        't' => Ok((b'\t', 2)),
        '\\' => Ok((b'\\', 2)),
        '0' => match characters.next().filter(char::is_ascii_hexdigit) {
            None => Ok((0, 2)),
            Some(digit) => refuse(
                3,
                format!(r"`\0{digit}` can be read in two ways"),
                format!(r"write `\x0{digit}` for one byte, or `\x00{digit}` for a zero byte and `{digit}`"),
            ),
        },
        'x' => {
            let digits: String = characters.take(2).take_while(char::is_ascii_hexdigit).collect();
            match u8::from_str_radix(&digits, 16) {
                Ok(byte) if digits.len() == 2 => Ok((byte, 4)),
                _ => {
                    let help = match digits.as_str() {
                        "" => r"write two hex digits after `\x`, and `\\` for one backslash".to_owned(),
                        _ => format!(r"write `\x{digits:0>2}`, always with two digits"),
                    };
                    refuse(2 + digits.len(), format!(r"`\x{digits}` has too few hex digits"), help)
                }
            }
        }
        other => {
            let known = r"the escapes are `\xNN`, `\r`, `\n`, `\t`, `\0` and `\\`";
            let next = characters.next().filter(char::is_ascii_hexdigit);
            let help = match (other, next) {
                ('X', _) => r"write the `x` of `\xNN` in lower case".to_owned(),
                (first, Some(second)) if first.is_ascii_hexdigit() => format!(r"write `\x{first}{second}` for a byte"),
                _ => known.to_owned(),
            };
            let shown = super::error::printable(&other.to_string());
            refuse(1 + other.len_utf8(), format!(r"unknown escape `\{shown}`"), help)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_escape_is_its_byte() {
        let bytes = unescape(r"a\x00\xfF\r\n\t\0\\xä").unwrap();
        assert_eq!(bytes, b"a\x00\xff\r\n\t\0\\x\xc3\xa4");
    }

    #[test]
    fn an_unknown_escape_is_refused_at_its_place() {
        let refused = unescape(r"SSH\-2").unwrap_err();
        assert_eq!((refused.offset, refused.len), (3, 2));
        let refused = unescape(r"\x16\x3").unwrap_err();
        assert_eq!((refused.offset, refused.len), (4, 3));
        assert_eq!(refused.help, r"write `\x03`, always with two digits");
        let refused = unescape(r"\16\03").unwrap_err();
        assert_eq!(refused.help, r"write `\x16` for a byte");
        assert_eq!(unescape(r"ab\").unwrap_err().offset, 2);
        assert_eq!(unescape("\\ä").unwrap_err().len, 3);
    }

    #[test]
    fn a_zero_before_a_hex_digit_is_refused_as_ambiguous() {
        assert!(unescape(r"\00\0E\38").unwrap_err().message.contains("two ways"));
        assert_eq!(unescape(r"\0\0g").unwrap(), b"\0\0g");
    }

    proptest! {
        #[test]
        fn escaped_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escape(&bytes);
            prop_assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert_eq!(unescape(&text), Ok(bytes));
        }

        #[test]
        fn any_text_is_read_or_refused_inside_itself(text in r"[\\x0-9a-fnrtß]{0,12}") {
            if let Err(refused) = unescape(&text) {
                prop_assert!(text.get(refused.offset..refused.offset + refused.len).is_some());
            }
        }
    }
}
