#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

const FULL: &str = r#"{
  "name": "ssh", "version": "0.1.0", "abi": "1.0", "description": "SSH", "protocols": ["ssh"], "max_bytes": 255,
  "facts": [{"name": "software", "description": "what it calls itself"}, "version"],
  "config_schema": {"type": "object"},
  "examples": [
    {"text": "SSH-2.0-x\r\n", "verdict": "match", "at": 8, "facts": {"version": "2.0", "software": ["x"]}},
    {"hex": "16 03 01", "verdict": "reject", "config": {"strict": true}}
  ]
}"#;

#[test]
fn a_full_manifest_is_read() {
    let manifest = Manifest::parse(FULL.as_bytes()).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.abi_minor(), manifest.max_bytes), ("ssh", 0, Some(255)));
    assert_eq!(manifest.facts[1], FactSpec { name: "version".into(), description: String::new() });
    assert_eq!(manifest.examples[0].bytes().unwrap(), b"SSH-2.0-x\r\n");
    assert_eq!(manifest.examples[1].bytes().unwrap(), [0x16, 3, 1]);
    assert_eq!(manifest.examples[0].facts["software"].values(), ["x"]);
    assert!(manifest.unknown.is_empty());
}

#[test]
fn facts_may_be_a_table_and_unknown_keys_are_kept() {
    let text = r#"{"name":"x","version":"1","abi":"1.3","facts":{"sni":"server name"},"homepage":"h"}"#;
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    assert_eq!(manifest.facts, [FactSpec { name: "sni".into(), description: "server name".into() }]);
    assert_eq!(manifest.abi_minor(), 3);
    assert_eq!(manifest.unknown.keys().collect::<Vec<_>>(), ["homepage"]);
}

#[test]
fn each_mistake_names_its_place() {
    let cases = [
        ("{", "line 1, column 1"),
        (r#"{"version":"1","abi":"1.0"}"#, "missing field `name`"),
        (r#"{"name":"X","version":"1","abi":"1.0"}"#, "`name`: `X` is not"),
        (r#"{"name":"x","version":"","abi":"1.0"}"#, "`version`"),
        (r#"{"name":"x","version":"1","abi":"one"}"#, "`abi`: `one` is not"),
        (r#"{"name":"x","version":"1","abi":"1.0","max_bytes":0}"#, "`max_bytes`"),
        (r#"{"name":"x","version":"1","abi":"1.0","max_bytes":"9"}"#, "invalid type"),
        (r#"{"name":"x","version":"1","abi":"1.0","facts":["SNI"]}"#, "`facts[0]`: `SNI`"),
        (r#"{"name":"x","version":"1","abi":"1.0","facts":["a","a"]}"#, "listed twice"),
        (r#"{"name":"x","version":"1","abi":"1.0","facts":7}"#, "list of names"),
        (r#"{"name":"x","version":"1","abi":"1.0","examples":[{"verdict":"match"}]}"#, "neither `text` nor `hex`"),
        (r#"{"name":"x","version":"1","abi":"1.0","examples":[{"hex":"0","verdict":"match"}]}"#, "odd number"),
        (r#"{"name":"x","version":"1","abi":"1.0","examples":[{"hex":"0g","verdict":"match"}]}"#, "`g`"),
        (r#"{"name":"x","version":"1","abi":"1.0","examples":[{"text":"a","verdict":"yes"}]}"#, "unknown variant"),
        (
            r#"{"name":"x","version":"1","abi":"1.0","examples":[{"text":"a","verdict":"match","at":2}]}"#,
            "only 1 bytes",
        ),
        (
            r#"{"name":"x","version":"1","abi":"1.0","examples":[{"text":"a","verdict":"reject","facts":{"a":"b"}}]}"#,
            "only by `match`",
        ),
    ];
    for (json, expected) in cases {
        let error = Manifest::parse(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}\n  gave   {error}\n  wanted {expected}");
    }
}

#[test]
fn a_huge_manifest_is_refused() {
    let json = vec![b' '; MAX_BYTES + 1];
    assert_eq!(Manifest::parse(&json), Err(ManifestError::TooLarge { len: MAX_BYTES + 1 }));
}
