#![allow(clippy::unwrap_used, clippy::panic)]

use std::string::ToString;

use crate::prelude::*;
use crate::{JsonText, Manifest, manifest_json};

config! {
    /// What the test accepts.
    struct Settings {
        /// A required
        /// "number".
        key: u16,
        strict: bool = false,
        names: List<Text<8>, 2> = List::new(),
        offset: i8 = -1,
        label: Option<Text<4>> = None,
        limits: Limits = Limits { most: 9 },
    }
}

config! {
    struct Limits { most: u32 = 9 }
}

#[track_caller]
fn refused(json: &str) -> std::string::String {
    from_json::<Settings>(json).unwrap_err().to_string()
}

#[test]
fn every_kind_of_value_is_read() {
    let json = r#" { "key" : 443 , "strict":true,"names":["a\"b","\u00e4\ud83d\ude00"], "offset":-128,
        "label": "ab", "limits": {"most": 4294967295} } "#;
    let s: Settings = from_json(json).unwrap();
    assert_eq!((s.key, s.strict, s.offset, s.limits.most), (443, true, -128, u32::MAX));
    assert_eq!(s.names.iter().map(Text::as_str).collect::<std::vec::Vec<_>>(), ["a\"b", "ä😀"]);
    assert_eq!(s.label.unwrap(), "ab");
}

#[test]
fn absent_keys_take_their_default() {
    let s: Settings = from_json(r#"{"key": 0, "label": null}"#).unwrap();
    assert_eq!((s.key, s.strict, s.offset, s.limits.most), (0, false, -1, 9));
    assert!(s.names.is_empty() && s.label.is_none());
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(refused("{}"), "`key` is missing");
    assert_eq!(refused(r#"{"key": 1, "kei": 2}"#), "`kei` is not a known key");
    assert_eq!(refused(r#"{"key": 1, "key": 2}"#), "`key` is there twice");
    for value in ["65536", "-1", "1.0", "1e2", "007", "\"1\"", "null", "18446744073709551616", "-"] {
        let json = std::format!(r#"{{"key": {value}}}"#);
        assert_eq!(refused(&json), "`key` must be a whole number from 0 to 65535", "{value}");
    }
    assert_eq!(refused(r#"{"key": 1, "strict": 1}"#), "`strict` must be true or false");
    assert_eq!(refused(r#"{"key": 1, "names": "a"}"#), "`names` must be a list");
    assert_eq!(refused(r#"{"key": 1, "names": ["a","b","c"]}"#), "`names` has too many items");
    assert_eq!(refused(r#"{"key": 1, "names": ["123456789"]}"#), "`names` is too long, it begins with `12345678`");
    assert_eq!(
        refused(r#"{"key": 1, "limits": {"most": -1}}"#),
        "`limits.most` must be a whole number from 0 to 4294967295"
    );
    assert_eq!(refused(r#"{"key": 1, "limits": {"least": 1}}"#), "`limits.least` is not a known key");
    assert_eq!(
        refused(r#"{"a_key_that_is_much_longer_than_any_key_can_be": 1}"#),
        "`a_key_that_is_much_longer_than_any_key_c…` is not a known key"
    );
    assert_eq!(from_json::<()>(r#"{"a": 1}"#).unwrap_err().to_string(), "`a` is not a known key");
    assert!(from_json::<()>(" { } ").is_ok());
    for (wrong, said) in [
        ("[]", "must be a table"),
        ("{} {}", "is not JSON"),
        ("{1}", "is not JSON"),
        (r#"{"a"#, "is not JSON"),
        (r#"{"ä"}"#, "is not JSON"),
        (r#"{"ä": 1}"#, "`ä` is not a known key"),
        (r#"{"a\"b": 1}"#, r#"`a\"b` is not a known key"#),
        ("{\"a\nb\": 1}", "is not JSON"),
        (r#"{"a\"#, "is not JSON"),
    ] {
        assert_eq!(from_json::<()>(wrong).unwrap_err().to_string(), said, "{wrong}");
    }
}

#[test]
fn what_is_not_json_is_refused_and_nothing_panics() {
    let good = r#"{"key":1,"names":["\u00e4\ud83d\ude00\n"],"strict":true}"#;
    assert!(from_json::<Settings>(good).is_ok());
    for end in 0..good.len() {
        assert!(from_json::<Settings>(&good[..end]).is_err(), "{}", &good[..end]);
    }
    for bad in ["", "[]", "{\"key\":1}x", "{\"key\":1,}", "{\"key\" 1}", "{key:1}", "{'key':1}", "nul"] {
        assert!(from_json::<Settings>(bad).is_err(), "{bad}");
    }
    for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx\ude00""#, r#""\x""#, r#""\u12g4""#, "\"\n\"", "\"a"] {
        assert!(from_json::<Text<8>>(text).is_err(), "{text}");
    }
}

#[test]
fn integers_have_their_exact_range() {
    assert_eq!(from_json::<u64>("18446744073709551615"), Ok(u64::MAX));
    assert_eq!(from_json::<i64>("-9223372036854775808"), Ok(i64::MIN));
    assert_eq!(from_json::<i64>("9223372036854775807"), Ok(i64::MAX));
    assert!(from_json::<i64>("9223372036854775808").is_err());
    assert!(from_json::<i64>("-9223372036854775809").is_err());
    assert!(from_json::<i8>("-129").is_err() && from_json::<i8>("128").is_err());
    assert_eq!(from_json::<u8>("-0"), Ok(0));
}

const EXAMPLES: &[Example] = &[
    Example::text("a\"\\\n\u{7f}").matches(3).fact("alpn", "h2").fact("sni", "x").fact("alpn", "h3"),
    Example::bytes(b"\x16\xff").config(r#"{"key":1}"#).rejects(1),
    Example::text("").undecided(),
];

const MANIFEST: Manifest = Manifest {
    name: "test",
    version: "1.2.3",
    description: "Says \"ä\".",
    protocols: &["a", "b"],
    max_bytes: 1024,
    facts: &[crate::FactSpec { name: "sni", description: "a name" }],
    cannot_see: &["the rest"],
    config: Settings::SCHEMA,
    examples: EXAMPLES,
};

#[test]
fn the_manifest_is_the_json_that_was_meant() {
    const LEN: usize = manifest_json::<0>(&MANIFEST).len();
    const JSON: JsonText<LEN> = manifest_json(&MANIFEST);
    let expected = concat!(
        r#"{"name":"test","version":"1.2.3","abi":"1.0","description":"Says \"ä\".","protocols":["a","b"],"#,
        r#""max_bytes":1024,"facts":[{"name":"sni","description":"a name"}],"cannot_see":["the rest"],"#,
        r#""config_schema":{"type":"object","properties":{"#,
        r#""key":{"type":"integer","minimum":0,"maximum":65535,"description":"A required \"number\"."},"#,
        r#""strict":{"type":"boolean"},"#,
        r#""names":{"type":"array","items":{"type":"string","maxLength":8},"maxItems":2},"#,
        r#""offset":{"type":"integer","minimum":-128,"maximum":127},"#,
        r#""label":{"type":"string","maxLength":4},"#,
        r#""limits":{"type":"object","properties":{"most":{"type":"integer","minimum":0,"maximum":4294967295}},"#,
        r#""required":[],"additionalProperties":false}},"#,
        r#""required":["key"],"additionalProperties":false},"#,
        r#""examples":[{"text":"a\"\\\n\u007f","verdict":"match","at":3,"facts":{"alpn":["h2","h3"],"sni":"x"}},"#,
        r#"{"hex":"16ff","verdict":"reject","at":1,"config":{"key":1}},"#,
        r#"{"text":"","verdict":"need-more"}]}"#,
    );
    assert_eq!(JSON.as_str(), expected);
}
