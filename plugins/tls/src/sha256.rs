//! SHA-256 (FIPS 180-4), for fingerprints: one byte at a time, small before fast.

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (section 4.2.2).
const ROUNDS: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
    0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
    0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
    0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
];

/// The same of the square roots of the first eight (section 5.3.3).
const START: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// The text that is hashed, padded in place.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) fn new() -> Text<N> {
        Text { bytes: [0; N], len: 0 }
    }

    pub(crate) fn push<const M: usize>(&mut self, bytes: [u8; M]) {
        let free = self.bytes.get_mut(self.len..).unwrap_or_default();
        if let Some(place) = free.first_chunk_mut() {
            *place = bytes;
            self.len += M;
        }
    }

    /// Takes the last byte away; `None` if there is none.
    pub(crate) fn pop(&mut self) -> Option<()> {
        self.len = self.len.checked_sub(1)?;
        Some(())
    }

    /// Pads the text (section 5.1.1), for which there must be nine bytes, and gives the first eight of its hash.
    pub(crate) fn hash(&mut self) -> [u8; 8] {
        let bits = (self.len as u64 * 8).to_be_bytes();
        self.push([0x80]);
        self.len = self.len.next_multiple_of(64).max(self.len + 8).next_multiple_of(64) - 8;
        self.push(bits);
        let mut state = START;
        for block in self.bytes.get(..self.len).unwrap_or_default().chunks_exact(64) {
            compress(&mut state, block);
        }
        let [a, b, ..] = state;
        (u64::from(a) << 32 | u64::from(b)).to_be_bytes()
    }
}

/// Section 6.2.2.
fn compress(state: &mut [u32; 8], block: &[u8]) {
    let mut schedule = [0; 64];
    for (word, bytes) in schedule.iter_mut().zip(block.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    #[allow(clippy::indexing_slicing, reason = "the indices are 0 to 63")]
    for t in 16..64 {
        let (early, late) = (schedule[t - 15], schedule[t - 2]);
        let early = early.rotate_right(7) ^ early.rotate_right(18) ^ early >> 3;
        let late = late.rotate_right(17) ^ late.rotate_right(19) ^ late >> 10;
        schedule[t] = schedule[t - 16].wrapping_add(early).wrapping_add(schedule[t - 7]).wrapping_add(late);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    // Four rounds change all eight words, so that none has to be moved in between.
    for (k, w) in ROUNDS.chunks_exact(4).zip(schedule.chunks_exact(4)) {
        let ([k0, k1, k2, k3], [w0, w1, w2, w3]) = (k, w) else { return };
        (d, h) = round([a, b, c, d, e, f, g, h], k0.wrapping_add(*w0));
        (c, g) = round([h, a, b, c, d, e, f, g], k1.wrapping_add(*w1));
        (b, f) = round([g, h, a, b, c, d, e, f], k2.wrapping_add(*w2));
        (a, e) = round([f, g, h, a, b, c, d, e], k3.wrapping_add(*w3));
        (a, b, c, d, e, f, g, h) = (e, f, g, h, a, b, c, d);
    }
    for (word, round) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(round);
    }
}

/// A round, which gives the new values of the fourth and the last word.
#[inline(always)]
fn round([a, b, c, d, e, f, g, h]: [u32; 8], k_and_w: u32) -> (u32, u32) {
    let mix = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
    let first = h.wrapping_add(mix).wrapping_add(g ^ e & (f ^ g)).wrapping_add(k_and_w);
    let mix = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
    (d.wrapping_add(first), first.wrapping_add(mix).wrapping_add(a & b | c & (a | b)))
}
