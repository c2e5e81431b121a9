//! Makes new inputs of old ones.

use super::dictionary::Dictionary;
use super::random::Random;

/// What a mutation may draw on.
pub(crate) struct Material<'a> {
    pub(crate) dictionary: &'a Dictionary,
    /// Another input, to be joined with.
    pub(crate) other: &'a [u8],
    /// Lengths at which something happens: hints the plugin gave.
    pub(crate) edges: &'a [usize],
    /// The longest input worth making.
    pub(crate) cap: usize,
}

/// Changes `base` in one to four ways.
pub(crate) fn mutate(random: &mut Random, base: &[u8], material: &Material<'_>) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for _ in 0..=random.below(4) {
        step(random, &mut bytes, material);
        bytes.truncate(material.cap);
    }
    bytes
}

fn step(random: &mut Random, bytes: &mut Vec<u8>, material: &Material<'_>) {
    let at = random.below(bytes.len());
    match random.below(13) {
        0 => {
            let bit = 1 << random.below(8);
            set(bytes, at, |byte| byte ^ bit);
        }
        1 => {
            let new = random.byte();
            set(bytes, at, |_| new);
        }
        2 | 3 => {
            let new = random.pick(&material.dictionary.bytes).copied().unwrap_or_default();
            set(bytes, at, |_| new);
        }
        4 => {
            let token = random.pick(&material.dictionary.tokens).cloned().unwrap_or_default();
            let end = (at + token.len()).min(bytes.len());
            bytes.splice(at..end, token);
        }
        5 => {
            let token = random.pick(&material.dictionary.tokens).cloned().unwrap_or_default();
            bytes.splice(at..at, token);
        }
        6 => {
            let end = (at + 1 + random.below(8)).min(bytes.len());
            bytes.drain(at..end);
        }
        7 => {
            let end = (at + 1 + random.below(16)).min(bytes.len());
            let piece = bytes.get(at..end).unwrap_or_default().to_vec();
            bytes.splice(at..at, piece);
        }
        8 => bytes.truncate(at),
        9 => grow(random, bytes, material),
        10 => number(random, bytes, at, material),
        11 => {
            let from = random.below(material.other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(material.other.get(from..).unwrap_or_default());
        }
        _ => {
            // Another value near the one there: off-by-one is where bugs live.
            let by = [1, 255, 2, 254, 16, 240].get(random.below(6)).copied().unwrap_or(1);
            set(bytes, at, |byte| byte.wrapping_add(by));
        }
    }
}

fn set(bytes: &mut [u8], at: usize, change: impl Fn(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = change(*byte);
    }
}

/// Makes the input longer: to a length where something happens, one byte beside it, or any.
fn grow(random: &mut Random, bytes: &mut Vec<u8>, material: &Material<'_>) {
    let length = match random.below(4) {
        0 => random.pick(material.edges).copied(),
        1 => random.pick(&material.dictionary.lengths).copied(),
        2 => Some(bytes.len() + 1 + random.below(64)),
        _ => Some(bytes.len() + random.below(material.cap)).filter(|_| random.one_in(8)),
    };
    let length = (length.unwrap_or(bytes.len()) + random.below(3)).saturating_sub(1).min(material.cap);
    let fill = match random.below(4) {
        0 => random.byte(),
        1 => bytes.last().copied().unwrap_or(b'a'),
        _ => random.pick(&material.dictionary.bytes).copied().unwrap_or(0),
    };
    let noisy = random.one_in(4);
    while bytes.len() < length {
        let next = if noisy { random.byte() } else { fill };
        bytes.push(next);
    }
}

/// Writes a number over two, three or four bytes, in either order.
fn number(random: &mut Random, bytes: &mut [u8], at: usize, material: &Material<'_>) {
    let value = match random.below(3) {
        0 => bytes.len().saturating_sub(at),
        1 => random.pick(&material.dictionary.lengths).copied().unwrap_or(0),
        _ => random.below(1 << 16),
    };
    let width = 2 + random.below(3);
    let big = random.one_in(2);
    for i in 0..width {
        let shift = 8 * if big { width - 1 - i } else { i };
        set(bytes, at + i, |_| (value >> shift) as u8);
    }
}
