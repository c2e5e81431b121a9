//! The rules of deciding: which service of one listener gets a first flight.
//!
//! Services are asked in file order, and the first that matches wins; while an earlier one still needs more bytes, no
//! later one can win, so a decision never depends on how the bytes were cut. This file is pure: it reads no socket and
//! no clock, and is told when bytes end (`End`).

mod first_byte;

use std::sync::Arc;

use self::first_byte::FirstByteIndex;
use crate::decision::{Decision, End, Outcome, Reason, Verdict};
use crate::matcher::{Answer, Classifier, Fact, Matcher, Standing};

/// The services of one listener in priority order.
#[derive(Debug, Default)]
pub struct Router {
    rules: Vec<Rule>,
    classifiers: Vec<Arc<dyn Classifier>>,
    by_first_byte: FirstByteIndex,
    at_once: Option<Decision>,
}

/// A service and the ways to recognise it.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The service's number in the configuration.
    pub service: usize,
    /// It matches if one of these does, and rejects if all do.
    pub matchers: Vec<Matcher>,
}

/// How far deciding has come for one connection.
#[derive(Debug, Default)]
pub struct Deciding {
    /// The rule that is being asked; all rules before it have rejected.
    rule: usize,
    /// Where the matchers of that rule stand; empty until it is first asked.
    standings: Vec<Standing>,
    /// How many bytes the matchers have stepped over.
    seen: usize,
    /// Bytes it took for the rules before to reject, at most.
    floor: usize,
    /// What each classifier answered last; empty until one is asked.
    answers: Vec<Option<Answer>>,
}

/// How one rule stands after being asked.
enum Ruling {
    Matched(usize),
    Rejected(usize),
    Open,
    Failed,
}

impl Deciding {
    /// Goes on to the rule with this index.
    fn begin(&mut self, rule: usize) {
        self.rule = rule;
        self.standings.clear();
        self.seen = 0;
    }

    /// Goes on to the rule with this index, if it is another one, over rules that the first byte has rejected.
    fn pass_to(&mut self, rule: usize) {
        if rule != self.rule {
            self.begin(rule);
            self.floor = self.floor.max(1);
        }
    }
}

impl Router {
    /// Makes a router that asks `rules` in this order; their classifier slots index `classifiers`.
    pub fn new(rules: Vec<Rule>, classifiers: Vec<Arc<dyn Classifier>>) -> Router {
        let by_first_byte = FirstByteIndex::of(&rules);
        let mut router = Router { rules, classifiers, by_first_byte, at_once: None };
        router.at_once = router.decide(&mut Deciding::default(), b"");
        router
    }

    /// Returns the decision that needs no byte at all, if there is one, as when no service has to be told apart.
    pub fn at_once(&self) -> Option<Decision> {
        self.at_once
    }

    /// Returns the rules in the order in which they are asked.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the classifier that a matcher's slot stands for.
    pub fn classifier(&self, slot: usize) -> Option<&dyn Classifier> {
        self.classifiers.get(slot).map(|classifier| &**classifier)
    }

    /// Decides about `flight`, all bytes of the first flight so far, or returns `None` if it needs more.
    ///
    /// `deciding` starts as its default and goes from call to call; `flight` only ever grows.
    pub fn decide(&self, deciding: &mut Deciding, flight: &[u8]) -> Option<Decision> {
        self.ask_in_order(deciding, flight, None)
    }

    /// Decides about `flight` now that no byte will follow.
    pub fn finish(&self, deciding: &mut Deciding, flight: &[u8], end: End) -> Decision {
        let outcome = match end {
            End::HalfClose | End::Full => Outcome::Fallback,
            End::Timeout => Outcome::Timeout,
        };
        let decision = self.ask_in_order(deciding, flight, Some(end));
        match decision {
            Some(Decision { outcome: decided @ (Outcome::Service(_) | Outcome::Close), .. }) => {
                Decision { outcome: decided, reason: end.reason(), deciding_bytes: flight.len() }
            }
            _ => Decision { outcome, reason: end.reason(), deciding_bytes: flight.len() },
        }
    }

    /// Returns the facts that classifiers learnt, with the slot they come from.
    pub fn facts<'a>(&self, deciding: &'a Deciding) -> impl Iterator<Item = &'a Fact> {
        deciding.answers.iter().flatten().flat_map(|answer| match answer {
            Answer::Match(facts) => facts.as_slice(),
            _ => &[],
        })
    }

    /// Judges one rule by itself over all of `flight`: its verdict and the byte count at which it was known.
    pub fn judge(&self, rule: &Rule, flight: &[u8], end: Option<End>) -> (Verdict, usize) {
        self.judge_further(rule, &mut Deciding::default(), flight, end)
    }

    /// Judges one rule by itself, from where `alone` stands: as [`Router::judge`], without stepping over bytes again.
    ///
    /// `alone` starts as its default, belongs to this rule alone and goes from call to call; `flight` only ever grows.
    /// Afterwards [`Router::facts`] tells what the classifiers of this rule learnt.
    pub fn judge_further(
        &self,
        rule: &Rule,
        alone: &mut Deciding,
        flight: &[u8],
        end: Option<End>,
    ) -> (Verdict, usize) {
        match self.ask(rule, alone, flight, end) {
            Ruling::Matched(bytes) => (Verdict::Match, bytes),
            Ruling::Rejected(bytes) => (Verdict::Reject, bytes),
            Ruling::Failed => (Verdict::Reject, flight.len()),
            Ruling::Open => (Verdict::NeedMore { total_bytes: flight.len() + 1 }, flight.len()),
        }
    }

    fn ask_in_order(&self, deciding: &mut Deciding, flight: &[u8], end: Option<End>) -> Option<Decision> {
        loop {
            if let Some(&byte) = flight.first() {
                deciding.pass_to(self.by_first_byte.next(byte, deciding.rule).unwrap_or(self.rules.len()));
            }
            let Some(rule) = self.rules.get(deciding.rule) else { break };
            match self.ask(rule, deciding, flight, end) {
                Ruling::Matched(bytes) => {
                    return Some(Decision {
                        outcome: Outcome::Service(rule.service),
                        reason: Reason::Match,
                        deciding_bytes: bytes.max(deciding.floor),
                    });
                }
                Ruling::Failed => {
                    return Some(Decision {
                        outcome: Outcome::Close,
                        reason: Reason::PluginError,
                        deciding_bytes: flight.len(),
                    });
                }
                Ruling::Open => return None,
                Ruling::Rejected(bytes) => {
                    deciding.floor = deciding.floor.max(bytes);
                    deciding.begin(deciding.rule + 1);
                }
            }
        }
        Some(Decision { outcome: Outcome::Fallback, reason: Reason::NoMatch, deciding_bytes: deciding.floor })
    }

    /// Steps the matchers of `rule` over the bytes that they have not seen.
    fn ask(&self, rule: &Rule, deciding: &mut Deciding, flight: &[u8], end: Option<End>) -> Ruling {
        if deciding.standings.is_empty() {
            deciding.standings.extend(rule.matchers.iter().map(|matcher| match matcher {
                Matcher::Regex(regex) => regex.start(),
                Matcher::Prefix(_) | Matcher::Classifier { .. } => Standing::Open(0),
            }));
        }
        let (mut matched, mut rejected, mut open) = (None, 0, false);
        for (index, matcher) in rule.matchers.iter().enumerate() {
            let Some(mut standing) = deciding.standings.get(index).copied() else { break };
            if let Standing::Open(state) = standing {
                standing = match matcher {
                    Matcher::Prefix(prefix) => prefix.step(flight, state as usize),
                    Matcher::Regex(regex) => regex.step(flight, deciding.seen, state),
                    Matcher::Classifier { slot, condition } => {
                        match self.consult(*slot, &mut deciding.answers, flight, end) {
                            Some(Answer::Match(facts)) if condition.holds(facts) => Standing::Matched(flight.len()),
                            Some(Answer::Match(_) | Answer::Reject) => Standing::Rejected(flight.len()),
                            Some(Answer::NeedMore(_)) => Standing::Open(0),
                            Some(Answer::Fail) | None => return Ruling::Failed,
                        }
                    }
                };
            }
            if let (Some(end), Standing::Open(state)) = (end, standing) {
                standing = match matcher {
                    Matcher::Regex(regex) if end == End::HalfClose && regex.matches_at_end(state) => {
                        Standing::Matched(flight.len())
                    }
                    _ => Standing::Rejected(flight.len()),
                };
            }
            if let Some(slot) = deciding.standings.get_mut(index) {
                *slot = standing;
            }
            match standing {
                Standing::Matched(bytes) => matched = Some(matched.map_or(bytes, |other: usize| other.min(bytes))),
                Standing::Rejected(bytes) => rejected = rejected.max(bytes),
                Standing::Open(_) => open = true,
            }
        }
        deciding.seen = flight.len();
        match matched {
            Some(bytes) => Ruling::Matched(bytes),
            None if open => Ruling::Open,
            None => Ruling::Rejected(rejected),
        }
    }

    /// Asks a classifier unless its last answer still holds: a verdict is final, and a hint says how long to wait.
    fn consult<'a>(
        &self,
        slot: usize,
        answers: &'a mut Vec<Option<Answer>>,
        flight: &[u8],
        end: Option<End>,
    ) -> Option<&'a Answer> {
        if answers.len() < self.classifiers.len() {
            answers.resize(self.classifiers.len(), None);
        }
        let known = answers.get_mut(slot)?;
        let stands = match known {
            Some(Answer::NeedMore(total)) => end.is_none() && flight.len() < *total,
            Some(_) => true,
            // Nothing can be told from no byte.
            None if flight.is_empty() && end.is_none() => {
                *known = Some(Answer::NeedMore(1));
                true
            }
            None => false,
        };
        if !stands {
            *known = Some(self.classifiers.get(slot)?.classify(flight, end));
        }
        known.as_ref()
    }
}

#[cfg(test)]
mod tests;
