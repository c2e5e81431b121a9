//! Reads the header fields (RFC 9112, section 5) for the two that become facts. Lines that are no fields change
//! nothing.

use portsplit_plugin_sdk::prelude::*;

/// The most fields looked at. Servers accept about a hundred.
const MAX_FIELDS: usize = 128;

/// The most bytes of a field's value that are looked at: a host has at most 255.
const MAX_VALUE_BYTES: usize = 512;

/// The most protocols to upgrade to that become facts; clients name one.
const MAX_UPGRADES: usize = 4;

/// What the header fields say that matters here.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    host: Option<&'a [u8]>,
    hosts: usize,
    upgrades: usize,
}

impl<'a> Fields<'a> {
    /// Reads the whole lines there are and says whether no later one can matter.
    pub(crate) fn read(&mut self, mut lines: &'a [u8], facts: &mut Facts) -> bool {
        for _ in 0..MAX_FIELDS {
            let Some(end) = line_end(lines) else { return false };
            let (line, rest) = lines.split_at_checked(end).unwrap_or_default();
            lines = rest.get(1..).unwrap_or_default();
            if matches!(line, b"" | b"\r") {
                return true;
            }
            if let Some(host) = value(line, b"host:") {
                self.host = Some(host);
                self.hosts += 1;
            } else if let Some(list) = value(line, b"upgrade:") {
                self.add_upgrades(list, facts);
            }
        }
        true
    }

    /// The host that the fields name. A request with two is one that servers must refuse (RFC 9112, section 3.2), and
    /// readers could disagree on which of them counts: it has none.
    pub(crate) fn host(&self) -> Option<&'a [u8]> {
        self.host.filter(|_| self.hosts == 1)
    }

    fn add_upgrades(&mut self, list: &[u8], facts: &mut Facts) {
        for protocol in list.split(|b| *b == b',').take(MAX_UPGRADES - self.upgrades) {
            self.upgrades += 1;
            facts.add_lower("upgrade", protocol.trim_ascii());
        }
    }
}

/// Where the first LF is. Long fields are most of a request, so this looks at eight bytes in one step: subtracting one
/// from each sets the upper bit of those that were zero, and the lowest bit set is right.
fn line_end(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let (eights, rest) = bytes.as_chunks::<8>();
    for (index, eight) in eights.iter().enumerate() {
        let zero_if_lf = u64::from_le_bytes(*eight) ^ (ONES * b'\n' as u64);
        let found = zero_if_lf.wrapping_sub(ONES) & !zero_if_lf & (ONES * 0x80);
        if found != 0 {
            return Some(8 * index + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|b| *b == b'\n').map(|index| 8 * eights.len() + index)
}

/// The value of a field if `name`, with its colon, is how `line` begins. Letters of either case are the same.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, value) = line.split_at_checked(name.len())?;
    let same = head.first()? | 0x20 == *name.first()? && head.eq_ignore_ascii_case(name);
    same.then(|| value.get(..MAX_VALUE_BYTES).unwrap_or(value).trim_ascii())
}
