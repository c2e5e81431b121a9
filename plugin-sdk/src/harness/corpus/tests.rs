#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

/// A plugin that matches what begins with a letter and a 1, and rejects everything else.
pub(crate) fn letter(name: &str, protocols: &[&str], first: u8) -> Plugin {
    let protocols = protocols.iter().map(|protocol| format!("\\\"{protocol}\\\"")).collect::<Vec<String>>().join(",");
    let manifest = format!(
        "{{\\\"name\\\":\\\"{name}\\\",\\\"version\\\":\\\"1\\\",\\\"abi\\\":\\\"1.0\\\",\\\"protocols\\\":[{protocols}]}}"
    );
    let text = format!(
        r#"(module
            (@custom "portsplit.manifest" "{manifest}")
            (memory (export "memory") 1)
            (func (export "portsplit_abi_1"))
            (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 1024))
            (func (export "portsplit_classify") (param $len i32) (param i32) (result i64)
                (if (i32.eqz (local.get $len)) (then (return (i64.const 0x2_0000_0001))))
                (if (i32.ne (i32.load8_u (i32.const 1024)) (i32.const {first})) (then (return (i64.const 0))))
                (if (i32.lt_u (local.get $len) (i32.const 2)) (then (return (i64.const 0x2_0000_0002))))
                (select (i64.const 0x1_0000_0000) (i64.const 0)
                    (i32.eq (i32.load8_u (i32.const 1025)) (i32.const 49)))))"#
    );
    Plugin::wasm(wat::parse_str(text).unwrap()).load().unwrap()
}

/// A sample as a line of a corpus.
pub(crate) fn line(label: &str, flow: usize, segments: &[&str], more: &str) -> String {
    let segments: Vec<String> =
        segments.iter().map(|text| text.bytes().map(|byte| format!("{byte:02x}")).collect()).collect();
    format!(
        r#"{{"repo":"r","file":"f","flow":"{flow}","transport":"tcp","label":"{label}","segments":{segments:?}{more}}}"#
    )
}

/// Labels of every class.
pub(crate) const LABELS: &str = r#"{
    "udp": { "a": { "class": "client-first" } },
    "tcp": {
        "a1": { "canonical": "a/1", "class": "client-first", "reliable": true, "measurable": true, "usable": 7 },
        "a-again": { "canonical": "a/1", "class": "client-first", "reliable": true, "measurable": false },
        "b": { "canonical": "b", "class": "client-first", "reliable": true, "measurable": true, "note": "of no use" },
        "doubtful": { "canonical": null, "class": "client-first", "reliable": false },
        "greeter": { "canonical": "greeter", "class": "server-first", "reliable": true },
        "noise": { "canonical": null, "class": "other", "reliable": false, "samples": 3 },
        "odd": { "class": "sideways", "reliable": true }
    }
}"#;

fn corpus(lines: &[String]) -> Corpus {
    Corpus::parse(&lines.join("\n"), LABELS).unwrap()
}

#[test]
fn fields_that_are_not_known_are_passed_over() {
    let corpus = corpus(&[
        line("a1", 1, &["A", "1x", ""], r#","check":true,"server_first":true,"tls":{"sni":"x"},"syn":null"#),
        String::new(),
        line("b", 2, &[], "").replace("tcp", "udp"),
        r#"{"transport":"tcp","label":"b"}"#.to_owned(),
        r#"{}"#.to_owned(),
    ]);
    assert_eq!((corpus.samples.len(), corpus.other_transports), (2, 2));
    let sample = &corpus.samples[0];
    assert_eq!((sample.check, sample.server_first, sample.bytes()), (Some(true), true, b"A1x".to_vec()));
    assert_eq!((sample.ends(), sample.len_bytes(), sample.origin.flow.as_str()), (vec![1, 3], 3, "1"));
    assert_eq!((corpus.samples[1].check, corpus.samples[1].ends()), (None, vec![]));
}

#[test]
fn errors_name_the_line() {
    let error = |lines: &[&str]| Corpus::parse(&lines.join("\n"), LABELS).unwrap_err().to_string();
    assert!(error(&["{}", "", "{"]).starts_with("line 3: "));
    let sample = r#"{"transport":"tcp","segments":["0"]}"#;
    assert_eq!(error(&[sample]), "line 1: `segments`: `hex` has an odd number of digits");
    assert!(error(&[r#"{"transport":"tcp","segments":"00"}"#]).starts_with("line 1: "));
    assert!(Corpus::parse("", "7").unwrap_err().to_string().starts_with("the labels: "));
}

#[test]
fn exceptions_are_read_strictly() {
    let entry = |reason: &str| format!("[[except]]\nflow = 'f'\nlabel = 'l'\nreason = '{reason}'\n");
    assert_eq!(Exceptions::parse("").unwrap().list, []);
    assert_eq!(Exceptions::parse(&entry("r")).unwrap().list[0].reason, "r");
    let error = |text: &str| Exceptions::parse(text).unwrap_err().to_string();
    assert_eq!(error(&entry(" ")), "the exceptions: the flow `f` has no reason");
    assert_eq!(error(&entry("r").repeat(2)), "the exceptions: the flow `f` with the label `l` is there twice");
    for wrong in ["[[except]]\nflow = 'f'\nlabel = 'l'\n", "[[accept]]\n", "except = 1\n"] {
        assert!(error(wrong).starts_with("the exceptions: "), "{wrong}");
    }
}

#[test]
fn labels_are_read_from_the_file_beside() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flights.jsonl");
    std::fs::write(&file, line("a1", 1, &["A1"], "")).unwrap();
    assert!(Corpus::read(&file).unwrap_err().to_string().contains("labels.json"));
    std::fs::write(folder.path().join("labels.json"), LABELS).unwrap();
    let read = Corpus::read(&file).unwrap();
    assert!(read.is_measurable("a1") && !read.is_measurable("a-again") && !read.is_measurable("never heard of"));
    let both = read.clone().and(read);
    assert_eq!(both.samples.len(), 2);
}

#[test]
fn a_plugin_knows_all_labels_of_its_protocols_however_they_are_spelt() {
    let corpus = corpus(&[]);
    let by_name = letter("a1", &[], b'A');
    let by_protocol = letter("x", &["B"], b'B');
    let by_canonical = letter("y", &["z", "A/1"], b'C');
    let stranger = letter("stranger", &["strange", "doubtful-too"], b'D');
    let known = corpus.known(&[&by_name, &by_protocol, &by_canonical, &stranger]);
    assert_eq!((known.of("a1"), known.of("a-again"), known.of("b")), (&[0, 2][..], &[0, 2][..], &[1][..]));
    for label in ["doubtful", "greeter", "noise", "odd", "never heard of"] {
        assert_eq!(known.of(label), &[] as &[usize], "{label}");
    }
}

#[test]
fn what_a_sample_is_depends_on_its_label_and_on_who_knows_it() {
    let plugin = letter("a1", &["greeter", "noise"], b'A');
    for (label, more, wanted) in [
        ("a1", "", Role::Positive),
        ("a1", r#","check":null"#, Role::Positive),
        ("a1", r#","check":false"#, Role::LeftOut("the label failed its check")),
        ("a1", r#","check":true,"server_first":true"#, Role::Excused),
        ("a-again", "", Role::Positive),
        ("b", "", Role::Negative(Negative::NoDetector)),
        ("b", r#","server_first":true"#, Role::Negative(Negative::NoDetector)),
        ("doubtful", "", Role::LeftOut("the label is not reliable")),
        ("greeter", r#","server_first":true"#, Role::Negative(Negative::ServerFirst)),
        ("greeter", r#","server_first":false"#, Role::Negative(Negative::ServerFirst)),
        ("noise", "", Role::Negative(Negative::Other)),
        ("odd", "", Role::LeftOut("the class of the label is not known")),
        ("never heard of", "", Role::LeftOut("the label is not known")),
    ] {
        let corpus = corpus(&[line(label, 1, &["A1"], more)]);
        assert_eq!(corpus.role(&corpus.samples[0], &corpus.known(&[&plugin])), wanted, "{label}{more}");
    }
}
