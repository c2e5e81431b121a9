//! Makes a counter-example smaller while it stays one.

/// Calls of the test one shrink may make.
const BUDGET: u32 = 4_000;

/// The smallest bytes found that still pass `fails`: shorter first, then plainer.
pub(crate) fn shrink(bytes: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut best = bytes.to_vec();
    let mut left = BUDGET;
    let mut test = |candidate: &[u8]| {
        left = left.saturating_sub(1);
        left > 0 && fails(candidate)
    };
    loop {
        let before = best.clone();
        shorten(&mut best, &mut test);
        plainer(&mut best, &mut test);
        if best == before {
            return best;
        }
    }
}

/// Takes out ever smaller pieces, from the end to the beginning.
fn shorten(best: &mut Vec<u8>, test: &mut impl FnMut(&[u8]) -> bool) {
    let mut size = best.len().next_power_of_two();
    while size > 0 {
        let mut end = best.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let mut candidate = best.clone();
            candidate.drain(start..end.min(candidate.len()));
            if candidate.len() < best.len() && test(&candidate) {
                *best = candidate;
            }
            end = start.min(best.len());
        }
        size /= 2;
    }
}

/// Makes bytes zero, or `a`.
fn plainer(best: &mut Vec<u8>, test: &mut impl FnMut(&[u8]) -> bool) {
    for i in 0..best.len().min(512) {
        for plain in [0, b'a'] {
            let Some(&byte) = best.get(i) else { return };
            if byte == 0 || byte == plain {
                break;
            }
            let mut candidate = best.clone();
            if let Some(place) = candidate.get_mut(i) {
                *place = plain;
            }
            if test(&candidate) {
                *best = candidate;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_goes() {
        let fails = |bytes: &[u8]| bytes.len() > 9 && bytes.get(7) == Some(&0x7f);
        let mut input: Vec<u8> = (0..200).collect();
        if let Some(byte) = input.get_mut(7) {
            *byte = 0x7f;
        }
        let shrunk = shrink(&input, fails);
        assert_eq!(shrunk, [0, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0]);
    }
}
