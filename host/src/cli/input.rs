//! Bytes a command is asked about: written on the command line, in a file, from standard input, and places to cut them.

use std::io::{self, Read};

use crate::config::unescape;

/// Bytes as they were written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

/// Places to cut a first flight: ascending byte counts, each greater than 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cuts(pub(super) Vec<usize>);

/// Reads hex digits; spaces, colons, commas and `0x` are for the reader's eye.
pub(super) fn hex(text: &str) -> Result<Bytes, String> {
    let mut digits: Vec<u8> = Vec::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',')) {
        let word = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
        for character in word.chars() {
            match character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()) {
                Some(digit) => digits.push(digit),
                None => return Err(format!("`{}` is not a hex digit", character.escape_debug())),
            }
        }
        if digits.len() % 2 == 1 {
            return Err(format!("`{}` has an odd number of hex digits; a byte takes two", word.escape_debug()));
        }
    }
    Ok(Bytes(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()))
}

/// Reads text with the escapes of the configuration's prefixes.
pub(super) fn text(text: &str) -> Result<Bytes, String> {
    unescape(text).map(Bytes).map_err(|error| format!("{}; {}", error.message, error.help))
}

/// Reads places to cut, such as `1,3,7`.
pub(super) fn cuts(text: &str) -> Result<Cuts, String> {
    let mut cuts = Vec::new();
    for word in text.split(',') {
        match word.trim().parse::<usize>() {
            Ok(0) => return Err("a cut before the first byte cuts nothing off; cuts start at 1".to_owned()),
            Ok(cut) if cuts.last().is_some_and(|last| *last >= cut) => {
                return Err(format!("the cut `{cut}` is not behind the one before it; write them in rising order"));
            }
            Ok(cut) => cuts.push(cut),
            Err(_) => return Err(format!("`{}` is not a number of bytes", word.escape_debug())),
        }
    }
    Ok(Cuts(cuts))
}

/// Reads at most `most` bytes.
pub(super) fn read(reader: impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
