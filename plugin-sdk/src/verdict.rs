//! The three answers a classifier can give, in the form `?` carries (`Result<Match, Stop>`) and in the form a host
//! reads ([`Verdict`]).
//!
//! How a verdict is packed into the number that crosses the wasm boundary is also here; who calls whom is not.

/// The bytes are this classifier's protocol. Final, whatever follows.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// fn ping(input: Input<'_>) -> Answer {
///     input.cursor().tag(b"PING")?;
///     Ok(Match)
/// }
/// assert_eq!(ping(Input::new(b"PING\r\n")), Ok(Match));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match;

/// Why a parser stopped before it could say [`Match`]. The error type of everything a [`Cursor`](crate::Cursor) reads,
/// so that `?` hands it on.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// assert_eq!(Input::new(b"GET").cursor().tag(b"SSH-"), Err(Reject));
/// assert_eq!(Input::new(b"SS").cursor().tag(b"SSH-"), Err(NeedMore(3)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// No continuation of the bytes can be this protocol. Final.
    Reject,
    /// Undecided. The answer cannot change before there are this many bytes in all, counted from the connection's
    /// first byte.
    NeedMore(usize),
}

/// What [`Classifier::classify`](crate::Classifier::classify) returns: `Ok(Match)`, `Err(Reject)` or
/// `Err(NeedMore(total_bytes))`.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// let answer: Answer = Err(NeedMore(5));
/// assert!(answer.is_err());
/// ```
pub type Answer = Result<Match, Stop>;

/// Goes on if `condition` holds and rejects if it does not.
///
/// # Errors
///
/// [`Stop::Reject`] if `condition` is false.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::prelude::*;
///
/// fn even(input: Input<'_>) -> Answer {
///     let byte = input.cursor().u8()?;
///     ensure(byte % 2 == 0)?;
///     Ok(Match)
/// }
/// assert_eq!(even(Input::new(&[4])), Ok(Match));
/// assert_eq!(even(Input::new(&[5])), Err(Reject));
/// ```
pub fn ensure(condition: bool) -> Result<(), Stop> {
    if condition { Ok(()) } else { Err(Stop::Reject) }
}

/// A verdict as the host sees it, after the flags and the classifier's `max_bytes` were taken into account.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::{Input, Match, Stop, Verdict};
///
/// let input = Input::new(b"SS");
/// assert_eq!(Verdict::settle(Ok(Match), input, 64), Verdict::Match);
/// assert_eq!(Verdict::settle(Err(Stop::NeedMore(4)), input, 64), Verdict::NeedMore(4));
/// // No more bytes will come, or more than the classifier ever looks at would be needed.
/// let last = Input { half_closed: true, ..input };
/// assert_eq!(Verdict::settle(Err(Stop::NeedMore(4)), last, 64), Verdict::Reject);
/// assert_eq!(Verdict::settle(Err(Stop::NeedMore(65)), input, 64), Verdict::Reject);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes are this protocol.
    Match,
    /// They cannot become this protocol.
    Reject,
    /// Undecided until there are at least this many bytes in all; always more than there are.
    NeedMore(usize),
}

impl Verdict {
    /// Turns an answer into the verdict for `input` by a classifier that looks at no more than `max_bytes` bytes.
    ///
    /// Need-more becomes [`Verdict::Reject`] where no more bytes will come, and where more than `max_bytes` would be
    /// needed. A number that is not more than there are bytes becomes one more than there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::prelude::*;
    ///
    /// let input = Input::new(b"SSH");
    /// assert_eq!(Verdict::settle(Err(NeedMore(4)), input, 64), Verdict::NeedMore(4));
    /// assert_eq!(Verdict::settle(Err(NeedMore(4)), Input::with_flags(b"SSH", 1), 64), Verdict::Reject);
    /// ```
    pub fn settle(answer: Answer, input: crate::Input<'_>, max_bytes: usize) -> Verdict {
        match answer {
            Ok(Match) => Verdict::Match,
            Err(Stop::Reject) => Verdict::Reject,
            Err(Stop::NeedMore(total)) => {
                let total = total.max(input.bytes.len().saturating_add(1));
                if input.is_last() || total > max_bytes { Verdict::Reject } else { Verdict::NeedMore(total) }
            }
        }
    }

    /// The number `portsplit_classify` returns for this verdict: the tag in the upper half, the argument in the lower.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::Verdict;
    ///
    /// assert_eq!(Verdict::Reject.to_abi(), 0);
    /// assert_eq!(Verdict::Match.to_abi(), 1 << 32);
    /// assert_eq!(Verdict::NeedMore(8).to_abi(), 2 << 32 | 8);
    /// ```
    pub fn to_abi(self) -> i64 {
        match self {
            Verdict::Reject => 0,
            Verdict::Match => 1 << 32,
            Verdict::NeedMore(total) => (2 << 32) | i64::from(u32::try_from(total).unwrap_or(0)),
        }
    }
}
