//! Which rules the first byte of a connection leaves, so that deciding costs the same with one service as with hundreds.
//!
//! Prefixes and regexes are asked about each of the 256 bytes once, when a router is made; a classifier may still match
//! whatever the byte. This only saves asking rules that would reject: it never changes a decision.

use super::Rule;
use crate::matcher::{Matcher, Standing};

/// For each first byte the rules that it does not reject, in order.
#[derive(Debug, Default)]
pub(super) struct FirstByteIndex {
    /// The rules of all bytes, those of byte 0 first.
    rules: Vec<u32>,
    /// Where the rules of each byte end.
    ends: Vec<u32>,
}

impl FirstByteIndex {
    pub(super) fn of(rules: &[Rule]) -> FirstByteIndex {
        let mut index = FirstByteIndex::default();
        for byte in 0..=u8::MAX {
            let left =
                (0u32..).zip(rules).filter(|(_, rule)| rule.matchers.iter().any(|matcher| allows(matcher, byte)));
            index.rules.extend(left.map(|(number, _)| number));
            index.ends.push(u32::try_from(index.rules.len()).unwrap_or(u32::MAX));
        }
        index
    }

    /// Returns the first rule from `from` on that a flight beginning with `byte` leaves.
    pub(super) fn next(&self, byte: u8, from: usize) -> Option<usize> {
        let byte = usize::from(byte);
        let end = |byte: usize| self.ends.get(byte).copied().unwrap_or(0) as usize;
        let rules = self.rules.get(byte.checked_sub(1).map_or(0, end)..end(byte))?;
        let at = rules.partition_point(|&rule| (rule as usize) < from);
        rules.get(at).map(|&rule| rule as usize)
    }
}

/// Whether a first flight that begins with `byte` can match.
fn allows(matcher: &Matcher, byte: u8) -> bool {
    let standing = match matcher {
        Matcher::Prefix(prefix) => prefix.step(&[byte], 0),
        Matcher::Regex(regex) => match regex.start() {
            Standing::Open(state) => regex.step(&[byte], 0, state),
            standing => standing,
        },
        Matcher::Classifier { .. } => return true,
    };
    !matches!(standing, Standing::Rejected(_))
}
