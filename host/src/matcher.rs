//! The ways a service recognises its first flight: prefixes and regexes here, classifiers behind a trait.
//!
//! A matcher is pure: the same bytes give the same verdict. It is fed a growing first flight and steps over every byte
//! once. `router` combines the matchers of all services into a decision.

mod prefix;
mod regex;

use std::fmt;
use std::sync::Arc;

pub use self::prefix::Prefix;
pub use self::regex::{Regex, RegexError};
use crate::decision::End;

/// One way to recognise a service.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// The first flight starts with these bytes.
    Prefix(Prefix),
    /// A byte-wise regular expression matches in the first flight.
    Regex(Arc<Regex>),
    /// A classifier matches; the number is its slot in the router, shared by all matchers that ask the same.
    Classifier {
        /// Index into the router's classifiers.
        slot: usize,
        /// What its facts must say besides.
        condition: Arc<Condition>,
    },
}

/// Asks something outside this crate's pure matchers, such as a wasm plugin, about a first flight.
pub trait Classifier: fmt::Debug + Send + Sync {
    /// Judges `flight`; `end` says why no byte will follow, if so.
    fn classify(&self, flight: &[u8], end: Option<End>) -> Answer;

    /// Returns its name, for people.
    fn name(&self) -> &str {
        "plugin"
    }
}

/// A classifier's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is for the service if these facts satisfy the condition.
    Match(Vec<Fact>),
    /// No continuation can match.
    Reject,
    /// Undecided before this many bytes in all.
    NeedMore(usize),
    /// The classifier failed and asks for the connection to be closed.
    Fail,
}

/// A name and a value that a classifier learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Such as `sni`.
    pub name: Arc<str>,
    /// Such as `example.org`.
    pub value: Arc<str>,
}

/// What a service demands of a classifier's facts: every named fact has a value that one of its globs matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Fact names with the globs that are accepted, of which one has to match.
    pub demands: Vec<(String, Vec<String>)>,
}

impl Condition {
    /// Tells whether `facts` satisfy every demand.
    pub fn holds(&self, facts: &[Fact]) -> bool {
        self.demands.iter().all(|(name, globs)| {
            facts.iter().any(|fact| {
                *fact.name == **name && globs.iter().any(|glob| glob_matches(glob.as_bytes(), fact.value.as_bytes()))
            })
        })
    }
}

/// Matches `*` as any run of bytes; everything else stands for itself, ASCII case aside.
///
/// Runs in `glob.len() * text.len()` steps at worst: only the last star is ever retried.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (glob.get(at), text.get(pos)) {
            (Some(b'*'), _) => {
                retry = Some((at, pos));
                at += 1;
            }
            (Some(want), Some(have)) if want.eq_ignore_ascii_case(have) => {
                at += 1;
                pos += 1;
            }
            (None, None) => return true,
            _ => match retry {
                Some((star, from)) if from < text.len() => {
                    retry = Some((star, from + 1));
                    at = star + 1;
                    pos = from + 1;
                }
                _ => return false,
            },
        }
    }
}

/// Where a matcher stands in a first flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Matched once this many bytes were known.
    Matched(usize),
    /// Rejected once this many bytes were known.
    Rejected(usize),
    /// Undecided; the number is the matcher's own state.
    Open(u32),
}

#[cfg(test)]
mod tests {
    use super::glob_matches;

    #[test]
    fn globs_match_whole_values_without_regard_to_case() {
        for (glob, text, want) in [
            ("example.org", "example.org", true),
            ("example.org", "EXAMPLE.org", true),
            ("example.org", "example.orgx", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("", "x", false),
        ] {
            assert_eq!(glob_matches(glob.as_bytes(), text.as_bytes()), want, "{glob} against {text}");
        }
    }
}
