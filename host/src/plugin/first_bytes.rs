//! What a plugin is known to say about each first byte, so that it need not be run to hear it again.
//!
//! Most connections are not a plugin's protocol, and most plugins know that from the first byte. A verdict is final and a
//! plugin is pure, so a reject of one byte without flags holds for every connection that begins with that byte. Only
//! such rejects are kept: a need-more says nothing about what follows, and a match has facts that may still grow.

use std::sync::atomic::{AtomicU8, Ordering};

/// Nobody has asked.
const UNKNOWN: u8 = 0;
/// Whoever begins with this byte has to be asked about, each time.
const OPEN: u8 = 1;
/// Rejected, whatever follows.
const REJECTED: u8 = 2;

/// A plugin's answers to each first byte alone. May be asked from any number of threads at once.
#[derive(Debug)]
pub(super) struct FirstBytes([AtomicU8; 256]);

impl FirstBytes {
    /// Knows nothing yet.
    pub(super) const fn new() -> FirstBytes {
        FirstBytes([const { AtomicU8::new(UNKNOWN) }; 256])
    }

    /// Tells whether every connection that begins with `first` is rejected.
    ///
    /// `ask` is called by the first thread that wants to know, once in all for each byte, and says whether the byte
    /// alone is rejected. Until it has answered, and for good if it never does, the byte counts as open to the others.
    pub(super) fn rejects(&self, first: u8, ask: impl FnOnce() -> bool) -> bool {
        let Some(known) = self.0.get(usize::from(first)) else { return false };
        // Each byte stands for itself and no other memory hangs on it, so no order has to be kept.
        match known.load(Ordering::Relaxed) {
            REJECTED => return true,
            OPEN => return false,
            _ => {}
        }
        if known.compare_exchange(UNKNOWN, OPEN, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return known.load(Ordering::Relaxed) == REJECTED;
        }
        let rejected = ask();
        if rejected {
            known.store(REJECTED, Ordering::Relaxed);
        }
        rejected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn each_byte_is_asked_about_once_whoever_asks_at_the_same_time() {
        const THREADS: usize = 8;
        let (bytes, asked, together) = (FirstBytes::new(), AtomicUsize::new(0), Barrier::new(THREADS));
        let is_rejected = |byte: u8| !byte.is_multiple_of(3);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for byte in 0..=255 {
                        together.wait();
                        let rejects = bytes.rejects(byte, || {
                            asked.fetch_add(1, Ordering::Relaxed);
                            std::thread::yield_now();
                            is_rejected(byte)
                        });
                        assert!(!rejects || is_rejected(byte), "{byte} is not rejected");
                    }
                });
            }
        });
        assert_eq!(asked.load(Ordering::Relaxed), 256);
        for byte in 0..=255 {
            assert_eq!(bytes.rejects(byte, || unreachable!("known")), is_rejected(byte), "{byte}");
        }
    }

    #[test]
    fn a_question_that_is_never_answered_leaves_the_byte_open() {
        let bytes = FirstBytes::new();
        let asking = std::panic::catch_unwind(|| bytes.rejects(7, || std::panic::resume_unwind(Box::new(()))));
        assert!(asking.is_err());
        assert!(!bytes.rejects(7, || true));
    }
}
