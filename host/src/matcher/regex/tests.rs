#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;
use regex_automata::dfa::regex::Regex as Oracle;
use regex_automata::util::syntax;

use super::*;

/// Steps over `text` byte by byte and says how it stands at the end.
fn stand(regex: &Regex, text: &[u8]) -> Standing {
    let mut standing = regex.start();
    for end in 1..=text.len() {
        if let Standing::Open(state) = standing {
            standing = regex.step(&text[..end], end - 1, state);
        }
    }
    standing
}

fn verdicts(pattern: &str, text: &str) -> String {
    let regex = Regex::new(pattern).unwrap();
    let at_start = regex.start();
    (0..=text.len())
        .map(|end| match at_start {
            Standing::Open(state) => regex.step(&text.as_bytes()[..end], 0, state),
            decided => decided,
        })
        .map(|standing| match standing {
            Standing::Matched(_) => 'm',
            Standing::Rejected(_) => 'r',
            Standing::Open(_) => '.',
        })
        .collect()
}

#[test]
fn verdicts_fall_at_the_earliest_byte() {
    for (pattern, text, want) in [
        ("^SSH-", "SSH-2", "....mm"),
        ("^SSH-", "SSX", "...r"),
        ("^(GET|POST|HEAD) /", "GET /", ".....m"),
        ("^(GET|POST|HEAD) /", "PUT", "..rr"),
        ("SSH-", "xxSSH-", "......m"),
        ("^a*b", "aab", "...m"),
        (r"^\x16\x03[\x00-\x04]", "\x16\x03\x05", "...r"),
        ("", "x", "mm"),
        (".*", "x", "mm"),
        ("^[^\\x00-\\xff]", "x", "rr"),
        ("^ab$c", "abc", "rrrr"),
    ] {
        assert_eq!(verdicts(pattern, text), want, "{pattern} on {text:?}");
    }
}

#[test]
fn end_anchors_match_only_at_the_end_of_input() {
    for (pattern, text, at_end) in [
        ("^foo$", "foo", true),
        ("^foo$", "fo", false),
        (r"^foo\z", "foo", true),
        ("^a*$", "", true),
        ("^b", "", false),
    ] {
        match stand(&Regex::new(pattern).unwrap(), text.as_bytes()) {
            Standing::Open(state) => {
                assert_eq!(Regex::new(pattern).unwrap().matches_at_end(state), at_end, "{pattern} on {text:?}");
            }
            other => panic!("{pattern} on {text:?} is {other:?}, not open"),
        }
    }
    assert_eq!(stand(&Regex::new("^foo$").unwrap(), b"foox"), Standing::Rejected(4));
    // An end anchor in one branch does not delay the other one.
    assert_eq!(stand(&Regex::new("^(SSH-|foo$)").unwrap(), b"SSH-"), Standing::Matched(4));
}

#[test]
fn assertions_about_the_next_byte_wait_for_it() {
    assert_eq!(verdicts(r"^foo\b", "foo "), "....m");
    assert_eq!(verdicts(r"^foo\b", "foox"), "....r");
    assert_eq!(verdicts(r"(?m)^foo$", "foo\n"), "....m");
}

#[test]
fn anchored_patterns_can_reject_and_others_cannot() {
    assert!(!Regex::new("^SSH-").unwrap().never_rejects());
    assert!(Regex::new("SSH-").unwrap().never_rejects());
    assert!(!Regex::new(r"\ASSH-").unwrap().never_rejects());
    assert!(Regex::new("^[^\\x00-\\xff]").unwrap().never_matches());
    assert!(!Regex::new("^a").unwrap().never_matches());
}

#[test]
fn malformed_and_oversized_patterns_are_refused_with_a_reason() {
    match Regex::new("^(abc").unwrap_err() {
        RegexError::Syntax { message, offset } => {
            assert_eq!(offset, 1);
            assert!(message.contains("unclosed group"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(Regex::new("[ab]*a[ab]{20}").unwrap_err(), RegexError::TooLarge);
    assert_eq!(Regex::new("^(a{1000}){1000}").unwrap_err(), RegexError::TooLarge);
    assert!(Regex::new("^a{9000}").is_ok());
}

fn pattern() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec!["a", "b", "ab", "[ab]", "c", ".", "^a", "b$", "(?:)"]).prop_map(str::to_owned);
    let tree = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left}{right}")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("(?:{left}|{right})")),
            inner.clone().prop_map(|sub| format!("(?:{sub})?")),
            inner.prop_map(|sub| format!("(?:{sub}){{0,2}}")),
        ]
    });
    (any::<bool>(), tree).prop_map(|(anchored, tree)| if anchored { format!("^(?:{tree})") } else { tree })
}

/// Whether the whole of `text`, known to be complete, contains a match.
fn contains(oracle: &Oracle, text: &[u8]) -> bool {
    oracle.is_match(text)
}

/// All texts over the alphabet of the patterns and one foreign byte, up to `length` bytes.
fn continuations(length: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..length {
        last =
            last.iter().flat_map(|text| b"abcx".iter().map(move |&byte| [text.as_slice(), &[byte]].concat())).collect();
        all.extend(last.iter().cloned());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A match means that every continuation contains one; a rejection, that none does; open, that both are possible.
    #[test]
    fn verdicts_agree_with_a_search_over_all_continuations(pattern in pattern(), text in "[abcx]{0,6}") {
        let oracle = Oracle::builder().syntax(syntax::Config::new().unicode(false).utf8(false)).build(&pattern).unwrap();
        let regex = Regex::new(&pattern).unwrap();
        let full = |tail: &[u8]| [text.as_bytes(), tail].concat();
        let tails = continuations(5);
        match stand(&regex, text.as_bytes()) {
            Standing::Matched(at) => {
                for tail in &tails {
                    prop_assert!(contains(&oracle, &full(tail)), "{} matched {:?} at {}", pattern, text, at);
                }
            }
            Standing::Rejected(at) => {
                for tail in &tails {
                    prop_assert!(!contains(&oracle, &full(tail)), "{} rejected {:?} at {}", pattern, text, at);
                }
            }
            Standing::Open(state) => {
                prop_assert_eq!(regex.matches_at_end(state), contains(&oracle, text.as_bytes()));
                if pattern.starts_with('^') {
                    prop_assert!(
                        tails.iter().any(|tail| contains(&oracle, &full(tail))),
                        "{} waits on {:?} for nothing", pattern, text
                    );
                }
            }
        }
    }
}
