//! Turns bytes a plugin hands over into text that is safe to print.

/// Longest text kept from one log line, failure message or fact value, in bytes: more than any line a person reads.
pub(crate) const MAX_TEXT_BYTES: usize = 1024;

/// Whether `name` is `[a-z][a-z0-9_.-]{0,31}`.
pub(crate) fn is_fact_name(name: &[u8]) -> bool {
    let rest = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
    matches!(name.split_first(), Some((first, tail)) if first.is_ascii_lowercase() && tail.len() < 32 && tail.iter().all(rest))
}

/// Printable UTF-8 as it is; anything else with control characters, characters that change how a line is displayed,
/// and bytes outside UTF-8 as `\xNN` or `\u{N}`, and with backslashes doubled so that the text stays unambiguous.
pub(crate) fn printable(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.chars().any(is_hostile)
    {
        return text.to_owned();
    }
    let mut out = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if is_hostile(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            out.push_str(&format!("\\x{b:02x}"));
        }
    }
    out
}

/// Control characters of either set, line and paragraph separators, and the marks that reorder or hide text.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn plain_text_is_kept_and_the_rest_is_escaped() {
        assert_eq!(printable("exämple.org".as_bytes()), "exämple.org");
        assert_eq!(printable(br"a\b"), r"a\b");
        assert_eq!(printable(b"a\\\n\x1b[31m\xff"), r"a\\\x0a\x1b[31m\xff");
        assert_eq!(printable("a\u{202e}b\u{85}".as_bytes()), r"a\u{202e}b\u{85}");
        for b in 0..=255u8 {
            assert!(!printable(&[b]).chars().any(|c| c.is_control()), "{b:#x}");
        }
    }

    #[test]
    fn fact_names_have_one_form() {
        for good in ["a", "sni", "tls.version-2_x", &"a".repeat(32)] {
            assert!(is_fact_name(good.as_bytes()), "{good}");
        }
        for bad in ["", "1a", "A", "a b", "ä", "a\n", &"a".repeat(33)] {
            assert!(!is_fact_name(bad.as_bytes()), "{bad}");
        }
    }
}
