//! Why a first flight goes where it goes: every service's own verdict, the decision, and what an end would change.
//!
//! This file is pure. It asks the same router as a connection does, so what it tells is what would happen.

use crate::decision::{Decision, End, Verdict};
use crate::matcher::{Fact, Matcher};
use crate::router::{Deciding, Router, Rule};

/// The ways in which bytes can end before they have decided.
const ENDS: [End; 3] = [End::HalfClose, End::Full, End::Timeout];

/// What a router makes of one first flight.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Every service by itself, in the order in which they are asked.
    pub(super) rows: Vec<Row>,
    /// Who gets the connection.
    pub(super) decision: Option<Decision>,
    /// What each end would decide; empty once something is decided.
    pub(super) ends: Vec<(End, Ending)>,
    /// The same bytes in pieces; empty unless asked for.
    pub(super) steps: Vec<Step>,
}

/// One service's own view.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The service's number in the configuration.
    pub(super) service: usize,
    /// What it says.
    pub(super) verdict: Verdict,
    /// How many bytes it took to know; `None` while it needs more.
    pub(super) known_at: Option<usize>,
    /// Positions of its matchers that say the same; none for a reject, which takes all of them.
    pub(super) matchers: Vec<usize>,
    /// What its classifiers learnt.
    pub(super) facts: Vec<Fact>,
}

/// What happens at an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Somebody gets the connection.
    Decided(Decision),
    /// A client that leaves without a byte is closed.
    Silent,
    /// It cannot come to this end.
    Impossible,
}

/// The state after one more piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes so far.
    pub(super) bytes: usize,
    /// Verdicts in the order of the rows.
    pub(super) verdicts: Vec<Verdict>,
    /// Set at the last step only.
    pub(super) decision: Option<Decision>,
}

impl Account {
    /// Judges `flight`, which has at most `most` bytes: a flight of that size is full.
    pub(super) fn new(router: &Router, flight: &[u8], most: usize) -> Account {
        let rows = router.rules().iter().map(|rule| row(router, rule, flight)).collect();
        let decision = decide(router, flight, most);
        let ends = match decision {
            Some(_) => Vec::new(),
            None => ENDS.into_iter().map(|end| (end, ending(router, flight, end))).collect(),
        };
        Account { rows, decision, ends, steps: Vec::new() }
    }

    /// Feeds the same bytes in pieces that end at `cuts`, as far as it takes to decide.
    pub(super) fn walk(&mut self, router: &Router, flight: &[u8], most: usize, cuts: &[usize]) {
        let mut deciding = Deciding::default();
        let mut alone: Vec<Deciding> = router.rules().iter().map(|_| Deciding::default()).collect();
        let inner = cuts.iter().copied().filter(|cut| *cut < flight.len());
        for bytes in inner.chain([flight.len()]) {
            let so_far = flight.get(..bytes).unwrap_or(flight);
            let verdicts = router
                .rules()
                .iter()
                .zip(&mut alone)
                .map(|(rule, alone)| router.judge_further(rule, alone, so_far, None).0)
                .collect();
            let full = bytes >= most;
            let decision = router
                .at_once()
                .or_else(|| router.decide(&mut deciding, so_far))
                .or_else(|| full.then(|| router.finish(&mut deciding, so_far, End::Full)));
            self.steps.push(Step { bytes, verdicts, decision });
            if decision.is_some() {
                return;
            }
        }
    }

    /// Tells whether the pieces were decided as the whole was.
    pub(super) fn pieces_agree(&self, router: &Router) -> bool {
        let last = self.steps.last().and_then(|step| step.decision);
        // A classifier is asked after a piece, so the piece's end is the earliest byte at which its verdict shows.
        let asked_in_pieces = |rule: &Rule| rule.matchers.iter().any(|m| matches!(m, Matcher::Classifier { .. }));
        let exact = !router.rules().iter().any(asked_in_pieces);
        match (last, self.decision) {
            (Some(pieces), Some(whole)) => {
                let same_bytes = !exact || pieces.deciding_bytes == whole.deciding_bytes;
                pieces.outcome == whole.outcome && pieces.reason == whole.reason && same_bytes
            }
            (pieces, whole) => pieces == whole,
        }
    }
}

fn row(router: &Router, rule: &Rule, flight: &[u8]) -> Row {
    let mut alone = Deciding::default();
    let (verdict, _) = router.judge_further(rule, &mut alone, flight, None);
    let known_at = match verdict {
        Verdict::NeedMore { .. } => None,
        // A verdict is final, so the byte that brought it can be searched for; that is exact for classifiers as well.
        _ => Some(earliest(flight, |start| !matches!(router.judge(rule, start, None).0, Verdict::NeedMore { .. }))),
    };
    let agrees = |matcher: &Matcher| {
        let one = Rule { service: rule.service, matchers: vec![matcher.clone()] };
        router.judge(&one, flight, None).0 == verdict
    };
    let matchers = match verdict {
        Verdict::Reject => Vec::new(),
        _ => rule.matchers.iter().enumerate().filter(|(_, matcher)| agrees(matcher)).map(|(at, _)| at).collect(),
    };
    Row { service: rule.service, verdict, known_at, matchers, facts: router.facts(&alone).cloned().collect() }
}

/// Decides about all of `flight` with the byte count at which that was first possible.
fn decide(router: &Router, flight: &[u8], most: usize) -> Option<Decision> {
    if let Some(decision) = router.at_once() {
        return Some(decision);
    }
    let mut deciding = Deciding::default();
    match router.decide(&mut deciding, flight) {
        Some(decision) => {
            let bytes = earliest(flight, |start| router.decide(&mut Deciding::default(), start).is_some());
            Some(Decision { deciding_bytes: bytes, ..decision })
        }
        None if flight.len() >= most => Some(router.finish(&mut deciding, flight, End::Full)),
        None => None,
    }
}

fn ending(router: &Router, flight: &[u8], end: End) -> Ending {
    match (end, flight.is_empty()) {
        (End::HalfClose, true) => Ending::Silent,
        (End::Full, true) => Ending::Impossible,
        _ => {
            let mut deciding = Deciding::default();
            let _ = router.decide(&mut deciding, flight);
            Ending::Decided(router.finish(&mut deciding, flight, end))
        }
    }
}

/// Returns the length of the shortest start of `flight` for which `known` holds; it holds for all longer ones.
fn earliest(flight: &[u8], known: impl Fn(&[u8]) -> bool) -> usize {
    let (mut low, mut high) = (0, flight.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if known(flight.get(..middle).unwrap_or(flight)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests;
