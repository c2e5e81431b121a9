#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::harness::corpus::tests::{LABELS, letter, line};

fn measured(plugins: &[&Plugin], lines: &[String]) -> Measurement {
    measure(plugins, &Corpus::parse(&lines.join("\n"), LABELS).unwrap(), |_, _| {})
}

/// A plugin with this body of `classify`.
fn guest(body: &str) -> Plugin {
    let text = format!(
        r#"(module (memory (export "memory") 1) (func (export "portsplit_abi_1"))
            (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 1024))
            (func (export "portsplit_classify") (param $len i32) (param $flags i32) (result i64) {body}))"#
    );
    Plugin::wasm(wat::parse_str(text).unwrap()).load().unwrap()
}

#[test]
fn hits_misses_and_wrong_claims_are_counted_where_they_belong() {
    let (a, b) = (letter("a1", &[], b'A'), letter("b", &[], b'B'));
    let found = measured(
        &[&a, &b],
        &[
            line("a1", 0, &["A1 and more"], ""),
            line("a1", 1, &["A", "1"], ""),
            line("a1", 2, &["A"], ""),  // the client waits: missed
            line("a1", 3, &["A2"], ""), // rejected: missed
            line("a1", 4, &["B1"], ""), // missed by a, claimed by b
            line("a-again", 5, &["A1"], ""),
            line("b", 6, &["B1"], ""),
            line("noise", 7, &["A1"], ""),
            line("noise", 8, &["xx"], ""),
            line("greeter", 9, &["B1"], ""),
            line("greeter", 10, &["B"], ""),
            line("a1", 11, &["A1"], r#","server_first":true"#),
            line("a1", 12, &["A1"], r#","check":false"#),
        ],
    );
    let all = &found.overall;
    assert_eq!((all.samples, all.matched, all.undecided, all.wrong_claims), (6, 3, 1, 3));
    assert_eq!((all.recall, all.precision), (Some(0.5), Some(0.5)));
    assert_eq!((all.unmeasured, all.unmeasured_matched, all.excused, all.excused_matched), (1, 1, 1, 1));
    assert_eq!((all.negatives, all.negatives_claimed, all.claimed), (4, 2, Some(0.5)));
    assert_eq!(all.negatives_by_kind[&Negative::ServerFirst], Claimed { samples: 2, claimed: 1 });
    assert_eq!(all.waited_for, 2, "a half-sent letter of each plugin");
    assert_eq!(found.left_out, BTreeMap::from([("the label failed its check".to_owned(), 1)]));

    let missed: Vec<_> = found.missed.iter().map(|missed| (missed.number, missed.verdict.as_str())).collect();
    assert_eq!(missed, [(2, "need-more(2)"), (3, "reject"), (4, "reject")]);
    assert_eq!(found.missed[2].origin.flow, "4");
    let wrong: Vec<_> = found.wrong.iter().map(|wrong| (wrong.number, wrong.plugin.as_str())).collect();
    assert_eq!(wrong, [(4, "b"), (7, "a1"), (9, "b")]);
    assert!(found.is_sound());

    let rows: Vec<_> = found.protocols.iter().map(|row| (row.label.as_deref().unwrap(), row.recall)).collect();
    assert_eq!(rows, [("a-again", None), ("a1", Some(0.4)), ("b", Some(1.0))]);
    let row = &found.protocols[1];
    assert_eq!((row.samples, row.matched, row.undecided, row.wrong_claims), (5, 2, 1, 1));
    assert_eq!((row.negatives_claimed, row.precision, row.left_open), (1, Some(2.0 / 3.0), 0));
    assert_eq!(found.protocols[2].left_open, 1, "half a letter of the greeter");
    assert_eq!(row.decided_at, Some(Spread { median: 2, max: 2 }));
    assert!(row.fuel.is_some_and(|fuel| 0 < fuel.median && fuel.max <= all.most_fuel), "{row:?}");
}

#[test]
fn a_label_without_a_plugin_is_a_negative_and_a_plugin_without_a_label_has_a_row() {
    let found = measured(&[&letter("stranger", &[], b'A')], &[line("a1", 0, &["A1"], ""), line("b", 1, &["B"], "")]);
    assert_eq!(found.without_detector, ["a1", "b"]);
    assert_eq!((found.overall.recall, found.overall.precision), (None, Some(0.0)));
    assert_eq!(found.overall.claimed, Some(0.5));
    let [row] = found.protocols.as_slice() else { panic!("{found:?}") };
    assert_eq!((&row.label, row.wrong_claims, row.plugins.as_slice()), (&None, 1, &["stranger".to_owned()][..]));
}

#[test]
fn one_of_two_plugins_that_know_a_label_is_enough() {
    let (old, new) = (letter("old", &["a1"], b'A'), letter("new", &["a1"], b'B'));
    let found = measured(&[&old, &new], &[line("a1", 0, &["A1"], ""), line("a1", 1, &["B1"], "")]);
    assert_eq!((found.overall.recall, found.overall.precision), (Some(1.0), Some(1.0)));
    assert!(found.missed.is_empty() && found.wrong.is_empty());
}

#[test]
fn an_answer_that_depends_on_the_cuts_is_found() {
    // A match of two bytes or more, but one byte alone is rejected for good.
    let flaky = guest("(select (i64.const 0) (i64.const 0x1_0000_0000) (i32.eq (local.get $len) (i32.const 1)))");
    let found = measured(&[&flaky], &[line("noise", 0, &["ab"], ""), line("noise", 1, &["a", "b"], "")]);
    assert!(!found.is_sound());
    let [only] = found.disagreements.as_slice() else { panic!("{found:?}") };
    assert_eq!((only.number, only.segments.as_str()), (0, "match (at byte 2)"));
    assert_eq!(only.byte_by_byte, "reject (at byte 1)");
}

#[test]
fn what_matches_when_the_time_is_up_is_a_match_that_others_waited_for() {
    // Needs more for ever, and matches what begins with A when it is told that the time is up.
    let patient = guest(
        "(if (result i64) (i32.eqz (local.get $flags)) (then (i64.const 0x2_0000_0000))
            (else (select (i64.const 0x1_0000_0000) (i64.const 0)
                (i32.and (i32.eq (local.get $flags) (i32.const 4)) (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 65))))))",
    );
    let a = letter("a1", &[], b'A');
    let lines = [line("a1", 0, &["A", "2"], ""), line("noise", 1, &["A1"], ""), line("noise", 2, &["B"], "")];
    let found = measured(&[&a, &patient], &lines);
    assert!(found.is_sound(), "{found:?}");
    let wrong: Vec<_> = found.wrong.iter().map(|wrong| (wrong.number, wrong.decided_at)).collect();
    assert_eq!(wrong, [(0, Some(2)), (1, Some(2)), (1, Some(2))]);
    assert_eq!((found.overall.waited_for, found.protocols[1].left_open), (3, 3));

    let own = Plugin::wasm(
        portsplit_runtime::pack(patient.module().unwrap(), br#"{"name":"a1","version":"1","abi":"1.0"}"#).unwrap(),
    )
    .load()
    .unwrap();
    let found = measured(&[&own], &lines);
    let all = &found.overall;
    assert_eq!((all.samples, all.matched, all.matched_at_end, all.undecided, all.claimed), (1, 1, 1, 0, Some(0.5)));
}

#[test]
fn what_is_left_out_by_name_is_listed_and_counts_in_the_second_figures_only() {
    let a = letter("a1", &[], b'A');
    let lines = [line("a1", 0, &["A1"], ""), line("a1", 1, &["x"], ""), line("noise", 2, &["A1"], "")];
    let mut corpus = Corpus::parse(&lines.join("\n"), LABELS).unwrap();
    let entry =
        |flow: &str, label: &str| format!("[[except]]\nflow = '{flow}'\nlabel = '{label}'\nreason = 'no {flow}'\n");
    let exceptions = [entry("1", "a1"), entry("2", "noise"), entry("2", "a1")].concat();
    let exceptions = crate::harness::Exceptions::parse(&exceptions).unwrap();
    let idle: Vec<_> = corpus.leave_out(&exceptions).into_iter().map(|entry| entry.label.as_str()).collect();
    assert_eq!(idle, ["a1"]);
    let found = measure(&[&a], &corpus, |_, _| {});
    let (all, with_all) = (&found.overall, found.with_all.as_ref().unwrap());
    assert_eq!((all.recall, all.precision, all.claimed, all.samples), (Some(1.0), Some(1.0), None, 1));
    assert_eq!((with_all.recall, with_all.precision, with_all.claimed), (Some(0.5), Some(0.5), Some(1.0)));
    assert!(found.missed.is_empty() && found.wrong.is_empty());
    let named: Vec<_> = found.left_out_by_name.iter().map(|left| (left.label.as_str(), left.reason.as_str())).collect();
    assert_eq!(named, [("a1", "no 1"), ("noise", "no 2")]);
    // A second corpus behind the first does not move them.
    let both = corpus.clone().and(corpus);
    assert_eq!(both.left_out.keys().copied().collect::<Vec<_>>(), [1, 2, 4, 5]);
}

#[test]
fn a_call_that_fails_is_reported_and_is_no_match() {
    let found = measured(&[&guest("unreachable")], &[line("a1", 0, &["A1"], "")]);
    assert!(!found.is_sound() && found.wrong.is_empty());
    assert!(found.failures[0].message.contains("trap"), "{found:?}");
}

#[test]
fn figures_come_back_from_json() {
    let found = measured(&[&letter("a1", &[], b'A')], &[line("a1", 0, &["A1"], ""), line("a1", 0, &["x"], "")]);
    let json = serde_json::to_string(&found).unwrap();
    let mut read: Measurement = serde_json::from_str(&json).unwrap();
    read.missed[0].number = 1; // which line it was is not written
    assert_eq!(read, found);
}
