#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::matcher::{Condition, Prefix, Regex};

fn prefix(text: &str) -> Matcher {
    Matcher::Prefix(Prefix::new(text.as_bytes().to_vec()))
}

fn regex(pattern: &str) -> Matcher {
    Matcher::Regex(Arc::new(Regex::new(pattern).unwrap()))
}

fn router(services: Vec<Vec<Matcher>>) -> Router {
    let rules = services.into_iter().enumerate().map(|(service, matchers)| Rule { service, matchers }).collect();
    Router::new(rules, Vec::new())
}

/// Feeds `flight` in segments that end at `cuts` and then, if it is still undecided, the end.
fn run(router: &Router, flight: &[u8], cuts: &[usize], end: End) -> Decision {
    let mut deciding = Deciding::default();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (flight.len() + 1)).collect();
    ends.extend([0, flight.len()]);
    ends.sort_unstable();
    for &cut in &ends {
        if let Some(decision) = router.decide(&mut deciding, &flight[..cut]) {
            return decision;
        }
    }
    router.finish(&mut deciding, flight, end)
}

fn decision(outcome: Outcome, reason: Reason, deciding_bytes: usize) -> Decision {
    Decision { outcome, reason, deciding_bytes }
}

#[test]
fn the_first_service_in_file_order_wins_although_a_later_one_matches_sooner() {
    let router = router(vec![vec![prefix("GETX")], vec![prefix("GE")]]);
    for cuts in [vec![], vec![1, 2, 3, 4], vec![2]] {
        let won = run(&router, b"GETX/", &cuts, End::Timeout);
        assert_eq!(won, decision(Outcome::Service(0), Reason::Match, 4), "{cuts:?}");
        let lost = run(&router, b"GETY", &cuts, End::Timeout);
        assert_eq!(lost, decision(Outcome::Service(1), Reason::Match, 4), "{cuts:?}");
    }
}

#[test]
fn fallback_comes_with_the_byte_that_rules_the_last_service_out() {
    let router = router(vec![vec![prefix("GET"), prefix("GEX")], vec![regex("^SSH-")]]);
    assert_eq!(run(&router, b"GY", &[], End::Timeout), decision(Outcome::Fallback, Reason::NoMatch, 2));
    assert_eq!(run(&router, b"x", &[], End::Timeout), decision(Outcome::Fallback, Reason::NoMatch, 1));
    assert_eq!(run(&self::router(vec![]), b"", &[], End::Timeout), decision(Outcome::Fallback, Reason::NoMatch, 0));
}

#[test]
fn a_service_that_waited_for_an_earlier_one_wins_when_bytes_end() {
    let router = router(vec![vec![prefix("GETX")], vec![prefix("GE")]]);
    for (end, reason) in
        [(End::Timeout, Reason::Timeout), (End::HalfClose, Reason::HalfClose), (End::Full, Reason::Full)]
    {
        assert_eq!(run(&router, b"GET", &[], end), decision(Outcome::Service(1), reason, 3));
    }
    assert_eq!(run(&router, b"G", &[], End::Timeout), decision(Outcome::Timeout, Reason::Timeout, 1));
    assert_eq!(run(&router, b"G", &[], End::HalfClose), decision(Outcome::Fallback, Reason::HalfClose, 1));
    assert_eq!(run(&router, b"G", &[], End::Full), decision(Outcome::Fallback, Reason::Full, 1));
}

#[test]
fn an_end_anchor_matches_at_half_close_only() {
    let router = router(vec![vec![regex("^bye$")]]);
    assert_eq!(run(&router, b"bye", &[], End::HalfClose), decision(Outcome::Service(0), Reason::HalfClose, 3));
    assert_eq!(run(&router, b"bye", &[], End::Timeout), decision(Outcome::Timeout, Reason::Timeout, 3));
    assert_eq!(run(&router, b"bye", &[], End::Full), decision(Outcome::Fallback, Reason::Full, 3));
}

/// Wants a length byte and as many bytes after it; counts its calls.
#[derive(Debug, Default)]
struct Counting {
    calls: AtomicUsize,
}

impl Classifier for Counting {
    fn classify(&self, flight: &[u8], end: Option<End>) -> Answer {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match flight.first() {
            None => Answer::NeedMore(1),
            Some(&length) if length > 9 => Answer::Reject,
            Some(&length) if flight.len() > usize::from(length) => {
                Answer::Match(vec![Fact { name: "kind".into(), value: "short".into() }])
            }
            Some(_) if end.is_some() => Answer::Reject,
            Some(&length) => Answer::NeedMore(usize::from(length) + 1),
        }
    }
}

fn asking(service: usize, demand: &str) -> Rule {
    let condition = Condition { demands: vec![("kind".into(), vec![demand.into()])] };
    Rule { service, matchers: vec![Matcher::Classifier { slot: 0, condition: Arc::new(condition) }] }
}

#[test]
fn services_share_one_call_and_hints_spare_calls() {
    let counting = Arc::new(Counting::default());
    let router = Router::new(vec![asking(0, "long"), asking(1, "sh*")], vec![counting.clone()]);
    let flight = [5, 1, 2, 3, 4, 5];
    let cuts: Vec<usize> = (0..=flight.len()).collect();
    assert_eq!(run(&router, &flight, &cuts, End::Timeout).outcome, Outcome::Service(1));
    // Asked with the length byte and once its hint was reached.
    assert_eq!(counting.calls.load(Ordering::Relaxed), 2);
    assert_eq!(run(&router, &[5, 1], &[], End::HalfClose).outcome, Outcome::Fallback);
}

#[derive(Debug)]
struct Failing;

impl Classifier for Failing {
    fn classify(&self, _: &[u8], _: Option<End>) -> Answer {
        Answer::Fail
    }
}

#[test]
fn a_failing_classifier_can_close_the_connection() {
    let router = Router::new(vec![asking(0, "*")], vec![Arc::new(Failing)]);
    assert_eq!(run(&router, b"x", &[], End::Timeout), decision(Outcome::Close, Reason::PluginError, 1));
}

fn matcher() -> impl Strategy<Value = Matcher> {
    prop_oneof![
        "[ab]{1,5}".prop_map(|text| prefix(&text)),
        prop::sample::select(vec![
            "^a*b",
            "^(a|b)c",
            "ab",
            "b$",
            "^a?b?$",
            "^[ab]{2,4}c",
            "a.*b",
            "^(ab)*$",
            r"^a\b",
            "(?m)a$",
            "^b.",
            "a{3}",
        ])
        .prop_map(regex),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// However the bytes are cut: the same decision, for the same reason, at the same byte.
    #[test]
    fn decisions_do_not_depend_on_segmentation(
        services in prop::collection::vec(prop::collection::vec(matcher(), 1..4), 0..6),
        flight in "[abcx\n]{0,10}",
        cuts in prop::collection::vec(0usize..64, 0..6),
        end in prop::sample::select(vec![End::HalfClose, End::Full, End::Timeout]),
    ) {
        let router = router(services);
        let flight = flight.as_bytes();
        let whole = run(&router, flight, &[], end);
        prop_assert_eq!(run(&router, flight, &cuts, end), whole);
        // A bit for each place between two bytes: all ways to cut.
        for places in 0..1_u32 << flight.len().saturating_sub(1) {
            let cuts: Vec<usize> = (1..flight.len()).filter(|at| places >> (at - 1) & 1 == 1).collect();
            prop_assert_eq!(run(&router, flight, &cuts, end), whole, "cut at {:?}", cuts);
        }
        // What the rules say one by one agrees with the decision.
        let verdicts: Vec<_> = router.rules().iter().map(|rule| router.judge(rule, flight, None).0).collect();
        let waiting = verdicts.iter().position(|verdict| matches!(verdict, Verdict::NeedMore { .. }));
        let winner = verdicts.iter().position(|verdict| *verdict == Verdict::Match);
        match (winner, waiting) {
            (Some(winner), Some(waiting)) if winner < waiting => {
                prop_assert_eq!(whole.outcome, Outcome::Service(winner));
            }
            (Some(winner), None) => prop_assert_eq!(whole.outcome, Outcome::Service(winner)),
            (None, None) => prop_assert_eq!((whole.outcome, whole.reason), (Outcome::Fallback, Reason::NoMatch)),
            _ => prop_assert_eq!(whole.reason, end.reason()),
        }
    }

    /// What follows the deciding byte changes nothing.
    #[test]
    fn decisions_are_final(
        services in prop::collection::vec(prop::collection::vec(matcher(), 1..4), 0..6),
        flight in "[abcx]{0,10}",
        tail in "[abcx]{0,6}",
    ) {
        let router = router(services);
        let first = router.decide(&mut Deciding::default(), flight.as_bytes());
        if let Some(decision) = first {
            let longer = format!("{flight}{tail}");
            prop_assert_eq!(router.decide(&mut Deciding::default(), longer.as_bytes()), Some(decision));
            let deciding = &flight.as_bytes()[..decision.deciding_bytes];
            prop_assert_eq!(router.decide(&mut Deciding::default(), deciding), Some(decision));
            if let Some(shorter) = deciding.len().checked_sub(1) {
                prop_assert_eq!(router.decide(&mut Deciding::default(), &deciding[..shorter]), None);
            }
        }
    }
}
