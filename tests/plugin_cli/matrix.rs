//! `plugin test --matrix`: plugins against each other's cases, and on corpora made here. No captured sample is used.

use serde_json::{Value, json};

use crate::{Folder, Ran, letter_a, module};

/// A module that matches every first byte.
fn greedy() -> Vec<u8> {
    module("", "(select (i64.const 0x1_0000_0000) (i64.const 0x2_0000_0001) (local.get $len))")
}

/// Writes `NAME.wasm` with a manifest.
fn packed(folder: &Folder, name: &str, wasm: Vec<u8>, more: &str) {
    folder.write("in.wasm", wasm);
    folder.write("plugin.toml", format!("name = \"{name}\"\nversion = \"1\"\n{more}"));
    folder.plugin(&["pack", "in.wasm", "-m", "plugin.toml", "-o", &format!("{name}.wasm")]).exits_with(0);
}

const EXAMPLE: &str = "[[examples]]\ntext = \"Abc\"\nverdict = \"match\"\nat = 1\n";

fn line(label: &str, flow: &str, segments: &[&str]) -> String {
    let hex = |text: &&str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let segments: Vec<String> = segments.iter().map(hex).collect();
    let sample = json!({ "repo": "made", "file": "up.pcap", "flow": flow, "transport": "tcp", "label": label, "check": true,
        "server_first": false, "segments": segments, "a field from the future": [1] });
    format!("{sample}\n")
}

/// A corpus of `lines` with labels for what begins with A, for SSH and for noise.
fn corpus(folder: &Folder, lines: &[String]) {
    let label = |canonical: &str, class: &str, reliable: bool| json!({ "canonical": canonical, "class": class, "reliable": reliable, "measurable": reliable });
    let labels = json!({ "tcp": {
        "letters": label("letter-a", "client-first", true),
        "ssh": label("ssh", "client-first", true),
        "noise": label("", "other", false),
    } });
    folder.write("labels.json", labels.to_string());
    folder.write("flights.jsonl", lines.concat());
}

fn measure(folder: &Folder, args: &[&str]) -> Ran {
    folder.plugin(&[&["test", "--matrix", "--corpus", "flights.jsonl"], args].concat())
}

#[test]
fn shipped_plugins_leave_each_other_alone() {
    let folder = Folder::new();
    folder.plugin(&["test", "--matrix"]).exits_with(0).says(&["ssh", "tls", "none wrong"]);
    let json = folder.plugin(&["test", "--matrix", "--json", "ssh", "tls"]).exits_with(0).json();
    assert_eq!((&json["ok"], &json["wrong"]), (&Value::from(true), &json!([])), "{json}");
    let rows = json["rows"].as_array().unwrap();
    assert!(rows[0]["matched"][0] == rows[0]["cases"] && rows[0]["matched"][1] == 0, "{json}");
}

#[test]
fn a_plugin_that_takes_the_bytes_of_another_is_shown_with_the_case() {
    let folder = Folder::new();
    packed(&folder, "letter-a", letter_a(), EXAMPLE);
    packed(&folder, "greedy", greedy(), "");
    let args = ["test", "--matrix", "letter-a.wasm", "greedy.wasm"];
    folder.plugin(&args).exits_with(1).says(&["1 WRONG", "WRONG: letter-a, case `example 1 of the manifest`: greedy"]);
    let json = folder.plugin(&[&args[..], &["--json"]].concat()).exits_with(1).json();
    assert_eq!((&json["ok"], &json["wrong"][0]["by"]), (&Value::from(false), &Value::from("greedy")), "{json}");

    // Cases of several plugins lie in a folder of folders; what is declared there is shown with its reason.
    let case = "[[case]]\nname = \"x\"\ntext = 'Abc'\nexpect = \"match\"\noverlaps = { greedy = \"it takes all\" }\n";
    folder.write("cases/letter-a/cases.toml", case);
    packed(&folder, "letter-a", letter_a(), "");
    let ran = folder.plugin(&[&args[..], &["--cases", "cases"]].concat()).exits_with(0);
    ran.says(&["none wrong, 1 overlap declared", "overlap: letter-a, case `x`: greedy matches too: it takes all"]);
}

#[test]
fn a_corpus_measures_recall_precision_and_claims() {
    let folder = Folder::new();
    packed(&folder, "letter-a", letter_a(), "");
    corpus(
        &folder,
        &[
            line("letters", "f1", &["A", "bc"]),
            line("letters", "f2", &["xyz"]),
            line("ssh", "f3", &["SSH-2.0", "-x\r\n"]),
            line("noise", "f4", &["Ab"]),
            line("noise", "f5", &["??"]),
            line("unheard", "f6", &["?"]),
        ],
    );
    let ran = measure(&folder, &["letter-a.wasm", "ssh"]).exits_with(0);
    ran.says(&[
        "letters  letter-a",
        "missed: letters, letter-a: reject at byte 1 of 3 bytes, made up.pcap f2",
        "claimed: noise, letter-a: match at byte 1 of 2 bytes, made up.pcap f4",
        "the same answers as byte by byte",
        "1 sample: the label is not known",
    ]);
    let ran = measure(&folder, &["letter-a.wasm", "ssh", "--show-bytes"]).exits_with(0);
    ran.says(&["f2\n  xyz", "f4\n  Ab"]);
    let json = measure(&folder, &["letter-a.wasm", "ssh", "--json"]).exits_with(0).json();
    let overall = &json["measured"]["overall"];
    assert_eq!((&overall["samples"], &overall["matched"], &overall["wrong_claims"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!((&overall["claimed"], &json["measured"]["missed"][0]["flow"]), (&json!(0.5), &json!("f2")), "{json}");
    let ssh = &json["measured"]["protocols"][1];
    assert_eq!((&ssh["recall"], &ssh["decided_at"]["median"]), (&json!(1.0), &json!(11)), "{json}");
}

#[test]
fn cases_of_modules_in_dist_lie_in_folders_of_their_names() {
    let folder = Folder::new();
    packed(&folder, "letter-a", letter_a(), "");
    folder.write("dist/letter-a.wasm", std::fs::read(folder.path().join("letter-a.wasm")).unwrap());
    folder.write("letter-a/cases.toml", "[[case]]\nname = \"x\"\ntext = 'Abc'\nexpect = \"match\"\n");
    folder.plugin(&["test", "--matrix", "dist/letter-a.wasm"]).exits_with(0).says(&["1 plugin, 1 case, 1 answer"]);
    folder.plugin(&["test", "--matrix", "letter-a.wasm"]).exits_with(0).says(&["1 plugin, 0 cases"]);
}

#[test]
fn samples_left_out_by_name_are_listed_and_both_figures_shown() {
    let folder = Folder::new();
    packed(&folder, "letter-a", letter_a(), "");
    corpus(&folder, &[line("letters", "f1", &["A"]), line("letters", "f2", &["B"]), line("noise", "f3", &["A"])]);
    let entry = |flow: &str, label: &str| {
        format!("[[except]]\nflow = \"{flow}\"\nlabel = \"{label}\"\nreason = \"not what it says\"\n")
    };
    folder.write("but.toml", [entry("f2", "letters"), entry("f3", "noise"), entry("f9", "noise")].concat());
    let limits = ["--except", "but.toml", "--least-recall", "1", "--least-precision", "1"];
    measure(&folder, &[&["letter-a.wasm"], &limits[..]].concat()).exits_with(0).says(&[
        "1.0000: 1 of 1 samples",
        "2 samples by name; with them it would be",
        "0.5000: 1 of 2\n",
        "0.5000: 1 claim wrong",
        "1.0000: 1 of 1 claimed",
        "left out: letters, made up.pcap f2: not what it says",
        "no such sample to leave out: noise, f9",
    ]);
    let json = measure(&folder, &["letter-a.wasm", "--except", "but.toml", "--json"]).exits_with(0).json();
    assert_eq!(json["measured"]["with_all"]["recall"], json!(0.5), "{json}");
    assert_eq!(json["measured"]["left_out_by_name"][1]["flow"], "f3", "{json}");
    assert_eq!(json["exceptions_without_a_sample"][0]["flow"], "f9", "{json}");
    folder.write("but.toml", "[[except]]\nflow = \"f2\"\n");
    measure(&folder, &["letter-a.wasm", "--except", "but.toml"]).exits_with(1).says(&["but.toml: the exceptions: "]);
}

#[test]
fn limits_on_a_corpus_fail_the_command() {
    let folder = Folder::new();
    packed(&folder, "letter-a", letter_a(), "");
    corpus(&folder, &[line("letters", "1", &["A"]), line("letters", "2", &["B"]), line("noise", "3", &["A"])]);
    let kept = ["--least-recall", "0.5", "--least-precision", "0.5", "--most-claimed", "1"];
    measure(&folder, &[&["letter-a.wasm"], &kept[..]].concat())
        .exits_with(0)
        .says(&["recall of at least 0.5: 0.5000, kept"]);
    for missed in [["--least-recall", "0.6"], ["--least-precision", "0.6"], ["--most-claimed", "0.99"]] {
        measure(&folder, &[&["letter-a.wasm"], &missed[..]].concat()).exits_with(1).says(&["NOT KEPT"]);
    }
    // What nothing was measured of keeps no limit.
    corpus(&folder, &[line("noise", "3", &["B"])]);
    measure(&folder, &["letter-a.wasm", "--least-recall", "0"]).exits_with(1).says(&["nothing, NOT KEPT"]);
}

#[test]
fn a_plugin_that_contradicts_itself_on_a_corpus_fails_the_command() {
    let folder = Folder::new();
    let parity = "(select (i64.const 0) (i64.const 0x1_0000_0000) (i32.and (local.get $len) (i32.const 1)))";
    folder.write("parity.wasm", module("", parity));
    corpus(&folder, &[line("noise", "1", &["ab"])]);
    measure(&folder, &["parity.wasm"]).exits_with(1).says(&["DISAGREES: noise, plugin", "1 answer CHANGED"]);
    folder.write("trap.wasm", module("", "unreachable"));
    measure(&folder, &["trap.wasm"]).exits_with(1).says(&["FAILED: noise, plugin", "trapped"]);
}

#[test]
fn a_corpus_that_cannot_be_read_is_named_with_the_line() {
    let folder = Folder::new();
    measure(&folder, &["ssh"]).exits_with(1).says(&["flights.jsonl"]);
    corpus(&folder, &[line("ssh", "1", &["S"]), "{\"transport\":\"tcp\",\"segments\":[\"xy\"]}\n".to_owned()]);
    measure(&folder, &["ssh"]).exits_with(1).says(&["flights.jsonl: line 2: `segments`"]);
    folder.plugin(&["test", "--corpus", "flights.jsonl", "ssh"]).exits_with(2).says(&["--matrix"]);
    folder.plugin(&["test", "--matrix", "--least-recall", "0.9"]).exits_with(2).says(&["--corpus"]);
    measure(&folder, &["ssh", "--least-recall", "99"]).exits_with(2).says(&["between 0 and 1"]);
}
