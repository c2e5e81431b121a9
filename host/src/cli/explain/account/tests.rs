#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::decision::{Outcome, Reason};
use crate::matcher::{Answer, Classifier, Condition, Prefix, Regex};

const MOST: usize = 64;

fn prefix(bytes: &[u8]) -> Matcher {
    Matcher::Prefix(Prefix::new(bytes.to_vec()))
}

fn regex(pattern: &str) -> Matcher {
    Matcher::Regex(Arc::new(Regex::new(pattern).unwrap()))
}

fn router(services: Vec<Vec<Matcher>>) -> Router {
    with_classifiers(services, Vec::new())
}

fn with_classifiers(services: Vec<Vec<Matcher>>, classifiers: Vec<Arc<dyn Classifier>>) -> Router {
    let rules = services.into_iter().enumerate().map(|(service, matchers)| Rule { service, matchers }).collect();
    Router::new(rules, classifiers)
}

/// Matches from the fifth byte on, with a fact, if the first byte is `x`.
#[derive(Debug)]
struct Fifth;

impl Classifier for Fifth {
    fn classify(&self, flight: &[u8], end: Option<End>) -> Answer {
        match flight {
            [b'x', rest @ ..] if rest.len() >= 4 => {
                Answer::Match(vec![Fact { name: "fifth".into(), value: char::from(rest[3]).to_string().into() }])
            }
            [] | [b'x', ..] if end.is_none() => Answer::NeedMore(flight.len() + 1),
            _ => Answer::Reject,
        }
    }
}

fn classifier() -> Matcher {
    Matcher::Classifier { slot: 0, condition: Arc::default() }
}

fn verdicts(account: &Account) -> Vec<(Verdict, Option<usize>)> {
    account.rows.iter().map(|row| (row.verdict, row.known_at)).collect()
}

#[test]
fn every_service_is_judged_by_itself_with_the_byte_where_it_was_known() {
    let router = router(vec![vec![prefix(b"GETX")], vec![prefix(b"GE"), regex("^G.*X")], vec![regex("^S")]]);
    let account = Account::new(&router, b"GET", MOST);
    assert_eq!(
        verdicts(&account),
        [(Verdict::NeedMore { total_bytes: 4 }, None), (Verdict::Match, Some(2)), (Verdict::Reject, Some(1))]
    );
    assert_eq!(account.rows[1].matchers, [0], "only the prefix has matched");
    assert_eq!(account.rows[0].matchers, [0]);
    assert!(account.rows[2].matchers.is_empty());
}

#[test]
fn an_undecided_first_flight_is_told_with_each_end() {
    let router = router(vec![vec![prefix(b"GETX")], vec![prefix(b"GE")], vec![regex("^GETTY$")]]);
    let account = Account::new(&router, b"GET", MOST);
    assert_eq!(account.decision, None);
    let decided = |reason| Ending::Decided(Decision { outcome: Outcome::Service(1), reason, deciding_bytes: 3 });
    assert_eq!(
        account.ends,
        [
            (End::HalfClose, decided(Reason::HalfClose)),
            (End::Full, decided(Reason::Full)),
            (End::Timeout, decided(Reason::Timeout))
        ]
    );
}

#[test]
fn no_byte_at_all_ends_silently_or_in_the_timeout() {
    let account = Account::new(&router(vec![vec![prefix(b"A")]]), b"", MOST);
    let timeout = Decision { outcome: Outcome::Timeout, reason: Reason::Timeout, deciding_bytes: 0 };
    assert_eq!(
        account.ends,
        [(End::HalfClose, Ending::Silent), (End::Full, Ending::Impossible), (End::Timeout, Ending::Decided(timeout))]
    );
}

#[test]
fn a_full_first_flight_is_decided() {
    let router = router(vec![vec![prefix(b"AAAA")]]);
    let full = Account::new(&router, b"AAA", 3);
    let fallback = Decision { outcome: Outcome::Fallback, reason: Reason::Full, deciding_bytes: 3 };
    assert_eq!((full.decision, full.ends.len()), (Some(fallback), 0));
    assert_eq!(Account::new(&router, b"AAA", 4).decision, None);
}

#[test]
fn a_router_that_needs_no_byte_decides_before_the_first() {
    let account = Account::new(&router(Vec::new()), b"abc", MOST);
    let fallback = Decision { outcome: Outcome::Fallback, reason: Reason::NoMatch, deciding_bytes: 0 };
    assert_eq!((account.decision, account.rows.len()), (Some(fallback), 0));
}

#[test]
fn a_classifier_is_told_with_its_facts_and_its_exact_byte() {
    let router = with_classifiers(vec![vec![prefix(b"y")], vec![classifier()]], vec![Arc::new(Fifth)]);
    let account = Account::new(&router, b"xabcdefgh", MOST);
    assert_eq!(verdicts(&account), [(Verdict::Reject, Some(1)), (Verdict::Match, Some(5))]);
    let facts: Vec<String> = account.rows[1].facts.iter().map(|fact| format!("{}={}", fact.name, fact.value)).collect();
    assert_eq!(facts, ["fifth=d"]);
    let decision = Decision { outcome: Outcome::Service(1), reason: Reason::Match, deciding_bytes: 5 };
    assert_eq!(account.decision, Some(decision));
}

#[test]
fn facts_are_told_although_the_condition_refuses_them() {
    let condition = Condition { demands: vec![("fifth".to_owned(), vec!["z".to_owned()])] };
    let matcher = Matcher::Classifier { slot: 0, condition: Arc::new(condition) };
    let router = with_classifiers(vec![vec![matcher]], vec![Arc::new(Fifth)]);
    let account = Account::new(&router, b"xabcd", MOST);
    assert_eq!((verdicts(&account), account.rows[0].facts.len()), (vec![(Verdict::Reject, Some(5))], 1));
}

#[test]
fn pieces_stop_where_they_decide() {
    let router = router(vec![vec![prefix(b"abc")], vec![prefix(b"ab")]]);
    let mut account = Account::new(&router, b"abcdef", MOST);
    account.walk(&router, b"abcdef", MOST, &[1, 4, 5]);
    let steps: Vec<(usize, bool)> = account.steps.iter().map(|step| (step.bytes, step.decision.is_some())).collect();
    assert_eq!(steps, [(1, false), (4, true)]);
    assert_eq!(account.steps[1].verdicts, [Verdict::Match, Verdict::Match]);
    assert!(account.pieces_agree(&router));
}

#[test]
fn cuts_behind_the_end_are_no_pieces() {
    let router = router(vec![vec![prefix(b"abc")]]);
    let mut account = Account::new(&router, b"ab", MOST);
    account.walk(&router, b"ab", MOST, &[1, 2, 3, 99]);
    assert_eq!(account.steps.iter().map(|step| step.bytes).collect::<Vec<usize>>(), [1, 2]);
    assert!(account.pieces_agree(&router));
}

/// Says another thing when it is asked a second time, as no classifier may.
#[derive(Debug, Default)]
struct Moody(std::sync::atomic::AtomicUsize);

impl Classifier for Moody {
    fn classify(&self, flight: &[u8], _: Option<End>) -> Answer {
        match (flight.len(), self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            (1, _) => Answer::NeedMore(2),
            (_, 0..4) => Answer::Match(Vec::new()),
            _ => Answer::Reject,
        }
    }
}

#[test]
fn pieces_that_are_decided_differently_are_noticed() {
    let router = with_classifiers(vec![vec![classifier()]], vec![Arc::new(Moody::default())]);
    let mut account = Account::new(&router, b"ab", MOST);
    for _ in 0..4 {
        account.walk(&router, b"ab", MOST, &[1]);
    }
    assert!(!account.pieces_agree(&router), "{account:?}");
}

fn matchers() -> impl Strategy<Value = Vec<Vec<Matcher>>> {
    let matcher = prop_oneof![
        proptest::collection::vec(0..3u8, 1..5).prop_map(|bytes| prefix(&bytes)),
        prop_oneof![Just(r"^\x00\x01*\x02"), Just(r"\x01\x01"), Just(r"^(\x00|\x01\x02)$"), Just(r"^[^\x02]{3}")]
            .prop_map(regex),
    ];
    proptest::collection::vec(proptest::collection::vec(matcher, 1..3), 0..5)
}

proptest! {
    #[test]
    fn any_pieces_are_decided_as_the_whole(
        services in matchers(),
        flight in proptest::collection::vec(0..3u8, 0..12),
        cuts in proptest::collection::btree_set(1..12usize, 0..8),
        most in 6..14usize,
    ) {
        let router = router(services);
        let flight = &flight[..flight.len().min(most)];
        let mut account = Account::new(&router, flight, most);
        account.walk(&router, flight, most, &cuts.into_iter().collect::<Vec<usize>>());
        prop_assert!(account.pieces_agree(&router), "{account:?}");
        let last = account.steps.last().unwrap();
        for (row, verdict) in account.rows.iter().zip(&last.verdicts) {
            let known = row.known_at.is_some_and(|bytes| bytes <= last.bytes);
            let open = matches!(verdict, Verdict::NeedMore { .. });
            prop_assert_eq!(known, !open, "{:?} at {}", row, last.bytes);
        }
    }
}
