//! A literal beginning of a first flight.

use super::Standing;

/// Bytes that a first flight has to start with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    bytes: Box<[u8]>,
}

impl Prefix {
    /// Makes a matcher for first flights that start with `bytes`.
    pub fn new(bytes: Vec<u8>) -> Prefix {
        Prefix { bytes: bytes.into() }
    }

    /// Returns the bytes it stands for.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Judges `flight`, of which the first `seen` bytes are known to agree.
    pub(crate) fn step(&self, flight: &[u8], seen: usize) -> Standing {
        let agreeing = self.bytes.iter().zip(flight).skip(seen).take_while(|(want, have)| want == have).count() + seen;
        if agreeing == self.bytes.len() {
            Standing::Matched(agreeing)
        } else if agreeing < flight.len() {
            Standing::Rejected(agreeing + 1)
        } else {
            Standing::Open(u32::try_from(agreeing).unwrap_or(u32::MAX))
        }
    }
}
