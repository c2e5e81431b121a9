//! What deciding ends in: plain values that say who gets a connection and why.

use std::fmt;

/// What one matcher or service thinks of a first flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// These bytes are for it, whatever follows.
    Match,
    /// No continuation of these bytes can be for it.
    Reject,
    /// More bytes are needed; at least `total_bytes` of them in all, counted from the first.
    NeedMore {
        /// Bytes of first flight before which the answer cannot change; at least one more than were given.
        total_bytes: usize,
    },
}

/// Who gets the connection, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who gets it.
    pub outcome: Outcome,
    /// What settled it.
    pub reason: Reason,
    /// How many bytes of the first flight were needed to know; where a plugin had a say, how many it was shown, which
    /// may be more than it would have needed.
    pub deciding_bytes: usize,
}

/// Who gets a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service of this number in the configuration.
    Service(usize),
    /// The special service for connections that no service can match any more.
    Fallback,
    /// The special service for connections that are undecided when time is up.
    Timeout,
    /// Nobody: a classifier failed and its configuration says to close.
    Close,
}

/// What settled a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A service matched and every service before it had rejected.
    Match,
    /// Every service rejected.
    NoMatch,
    /// The client half-closed before its bytes decided.
    HalfClose,
    /// The first flight reached its size limit before it decided.
    Full,
    /// Time was up before the bytes decided.
    Timeout,
    /// A classifier failed.
    PluginError,
}

/// Why deciding has to end although bytes alone have not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client half-closed: no byte will follow.
    HalfClose,
    /// The first flight is as long as it may get.
    Full,
    /// Time is up.
    Timeout,
}

impl End {
    /// Names this end as the reason of a decision.
    pub fn reason(self) -> Reason {
        match self {
            End::HalfClose => Reason::HalfClose,
            End::Full => Reason::Full,
            End::Timeout => Reason::Timeout,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Match => "match",
            Reason::NoMatch => "no-match",
            Reason::HalfClose => "half-close",
            Reason::Full => "full",
            Reason::Timeout => "timeout",
            Reason::PluginError => "plugin-error",
        })
    }
}
