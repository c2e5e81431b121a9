#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::harness::Plugin;

fn good() -> Plugin {
    let wasm = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat")).unwrap();
    Plugin::wasm(wasm).load().unwrap()
}

fn error(text: &str) -> String {
    Cases::parse(text, ".").unwrap_err().to_string()
}

#[test]
fn every_key_is_read() {
    let cases = Cases::parse(
        "[[case]]\nname = 'a'\nhex = \"50 4f\"\nexpect = \"need-more\"\nneed_more = { 0 = 1, 2 = 3 }\n\n\
         [[case]]\nname = 'b'\nconfig = { strict = 1, list = [1, 'x'] }\ntext = 'x\\x00y'\nexpect = \"match\"\n\
         decided_at = \"<=3\"\nfacts = { to = 'ab', alpn = ['h2', 'x'] }\nhalf_close = true\n",
        ".",
    )
    .unwrap();
    let [a, b] = cases.list.as_slice() else { panic!("{cases:?}") };
    assert_eq!((a.name.as_str(), a.line, a.bytes.as_slice()), ("a", 1, &b"PO"[..]));
    assert_eq!(a.need_more, BTreeMap::from([(0, 1), (2, 3)]));
    assert_eq!((b.line, b.decided_at, b.half_close), (7, Some(DecidedAt::AtMost(3)), true));
    assert_eq!(b.bytes, b"x\0y");
    assert_eq!(b.config, Some(serde_json::json!({ "strict": 1, "list": [1, "x"] })));
    assert_eq!(b.facts["alpn"], ["h2", "x"]);
    assert_eq!(b.facts["to"], ["ab"]);
}

#[test]
fn a_case_prints_as_a_block_that_reads_back() {
    let text = "[[case]]\nname = \"a \\\"b\\\"\"\nconfig = { deep = { \"a b\" = [true] }, strict = 1 }\n\
                text = 'POST\\r\\n'\nhalf_close = true\nexpect = \"match\"\ndecided_at = 4\nneed_more = { 0 = 1 }\n\
                facts = { to = \"ab\", x = [\"1\", \"2\"] }\n";
    let cases = Cases::parse(text, ".").unwrap();
    assert_eq!(cases.list[0].to_string(), text);
}

#[test]
fn errors_name_the_case_and_the_line() {
    let head = "[[case]]\nname = 'first'\ntext = 'x'\nexpect = 'match'\n[[case]]\n";
    let start = "name = 'second'\n";
    for (rest, wanted) in [
        ("name = 'second'\ntxt = 'x'\nexpect = 'match'", "line 7: case `second`: unknown field `txt`"),
        ("name = 'second'\ntext = 'x'\nexpect = 'maybe'", "line 8: case `second`: unknown variant `maybe`"),
        ("text = 'x'\nexpect = 'match'", "line 5: case number 2: missing field `name`"),
        ("name = 'first'\ntext = 'x'\nexpect = 'match'", "line 5: case `first`: an earlier case has the same name"),
        ("name = 'second'\nexpect = 'match'", "line 5: case `second`: has none of `text`, `hex` and `file`"),
        ("name = 'second'\ntext = ''\nhex = ''\nexpect = 'match'", "has more than one of"),
        ("name = 'second'\nhex = '5'\nexpect = 'match'", "line 5: case `second`: `hex` has an odd number"),
        ("name = 'second'\ntext = 'x'\nexpect = 'match'\ndecided_at = 2", "`decided_at` is 2, but there are only 1"),
        ("name = 'second'\ntext = 'x'\nexpect = 'match'\ndecided_at = '>=1'", "must be a number of bytes, or"),
        ("name = 'second'\ntext = 'x'\nexpect = 'need-more'\ndecided_at = 1", "need-more is no decision"),
        ("name = 'second'\ntext = 'x'\nexpect = 'reject'\nfacts = { a = 'b' }", "only by a match"),
        ("name = 'second'\ntext = 'x'\nexpect = 'need-more'\nneed_more = { 2 = 3 }", "only 1"),
        ("name = 'second'\ntext = 'x'\nexpect = 'need-more'\nneed_more = { 1 = 1 }", "must be the larger"),
        ("name = 'second'\ntext = 'x'\nexpect = 'need-more'\nneed_more = { a = 1 }", "the key `a`"),
        ("name = 'second'\nfile = 'no-such-file'\nexpect = 'match'", "`file = \"no-such-file\"`: "),
    ] {
        let got = error(&format!("{head}{rest}\n"));
        assert!(got.contains(wanted), "{rest}\n got: {got}\n not: {wanted}");
        assert!(!rest.starts_with(start) || got.contains("`second`"), "{got}");
    }
    assert!(error("").contains("there is no `[[case]]`"));
    assert!(error("[[case]\n").starts_with("line 1: "));
}

#[test]
fn a_file_is_found_beside_the_cases() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hello.bin"), b"POST").unwrap();
    let cases = "[[case]]\nname = 'x'\nfile = 'hello.bin'\nexpect = 'need-more'\n";
    std::fs::write(folder.path().join("cases.toml"), cases).unwrap();
    let cases = Cases::read(folder.path().join("cases.toml")).unwrap();
    assert_eq!(cases.list[0].bytes, b"POST");
    assert!(Cases::read(folder.path().join("none.toml")).unwrap_err().to_string().contains("none.toml"));
}

#[test]
fn each_expectation_can_fail() {
    let plugin = good();
    let letter = "text = 'POST\\x01\\x02ab'\nexpect = 'match'\n";
    for (body, wanted) in [
        (
            "text = 'POST\\x01\\x02ab'\nexpect = 'reject'",
            "expected reject, got match with to = \"ab\" (decided at byte 8)",
        ),
        (&format!("{letter}decided_at = 7")[..], "expected match to be known at byte 7, it was at byte 8"),
        (&format!("{letter}decided_at = '<=7'"), "expected match to be known at byte 7 or before, it was at byte 8"),
        (&format!("{letter}facts = {{ to = 'b' }}"), "expected the fact to = [\"b\"], got [\"ab\"]"),
        (&format!("{letter}need_more = {{ 4 = 5 }}"), "expected need-more(5) with 4 bytes, got need-more(6)"),
        ("text = 'POST'\nexpect = 'reject'", "expected reject, got need-more(6)"),
        ("config = { strict = 2 }\ntext = ''\nexpect = 'need-more'", "refuses its `config`: must be {}"),
    ] {
        let cases = Cases::parse(&format!("[[case]]\nname = 'x'\n{body}\n"), ".").unwrap();
        let outcome = cases.check(&plugin);
        assert!(!outcome.passed());
        assert!(outcome.to_string().contains(wanted), "{outcome}\nnot: {wanted}");
    }
    let half_closed = "[[case]]\nname = 'x'\ntext = 'POST'\nhalf_close = true\nexpect = 'reject'\ndecided_at = 4\n";
    Cases::parse(half_closed, ".").unwrap().check(&plugin).assert_passed();
}

#[test]
fn the_examples_of_a_manifest_are_cases() {
    let plugin = good();
    let cases = Cases::of_manifest(plugin.manifest().unwrap());
    assert_eq!(cases.list.len(), 2);
    cases.check(&plugin).assert_passed();
}
