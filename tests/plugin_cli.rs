//! `portsplit plugin`: every verb from outside, with the shipped plugins and with modules made here.
//!
//! Each verb's exit codes and what it prints, on which stream. What needs a compiler of another language is skipped with
//! a visible line where there is none; with PORTSPLIT_TOOLCHAINS=1, for where `plugins/examples/install` has run, that is
//! a failure.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What has more to be tested than fits here; [`Folder`] and [`MANIFEST`] are shared.
mod plugin_cli {
    mod bench;
    mod building;
    mod guide;
    mod matrix;
    mod page;
}

/// What a command left behind.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    /// Fails the test unless it ended with `code`.
    #[track_caller]
    fn exits_with(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn says(self, parts: &[&str]) -> Ran {
        let said = format!("{}{}", self.stdout, self.stderr);
        for part in parts {
            assert!(said.contains(part), "`{part}` is not in:\n{said}");
        }
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }
}

/// A folder in which portsplit is run, with a cache of its own.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn plugin(&self, args: &[&str]) -> Ran {
        self.plugin_with_input(args, b"")
    }

    fn plugin_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portsplit"));
        command.arg("plugin").args(args).current_dir(self.path());
        command.env("XDG_CACHE_HOME", self.path().join("cache")).env_remove("CACHE_DIRECTORY");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that does not read its input is gone before all of it is written.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A module with `imports` whose `classify` is `body`.
fn module(imports: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module {imports}
            (memory (export "memory") 1)
            (func (export "portsplit_abi_1"))
            (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 1024))
            (func (export "portsplit_classify") (param $len i32) (param $flags i32) (result i64) {body}))"#
    );
    wat::parse_str(text).unwrap()
}

/// A module that matches what begins with `A` and needs a byte to say so.
fn letter_a() -> Vec<u8> {
    module(
        "",
        "(if (result i64) (i32.eqz (local.get $len)) (then (i64.const 0x2_0000_0001)) (else
            (select (i64.const 0x1_0000_0000) (i64.const 0)
                (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 65)))))",
    )
}

const MANIFEST: &str = r#"
name = "letter-a"
version = "1.2.3"
description = "What begins with A."
[[examples]]
text = "Abc"
verdict = "match"
at = 1
"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn wrong_usage_exits_with_2_and_help_with_0() {
    let folder = Folder::new();
    let verbs = ["new", "build", "test", "fuzz", "pack", "check", "inspect", "run", "bench", "list"];
    for args in
        [&[][..], &["chekc"], &["check"], &["run"], &["new", "x"], &["new", "A!", "--lang", "wat"], &["pack", "x"]]
    {
        let ran = folder.plugin(args).exits_with(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{args:?}: {ran:?}");
    }
    folder.plugin(&["run", "ssh", "--text", "S", "--config", "{"]).exits_with(2).says(&["not JSON"]);
    folder.plugin(&["new", "x", "--lang", "cobol"]).exits_with(2).says(&["assemblyscript, c, go, rust, wat, zig"]);
    for verb in verbs {
        folder.plugin(&[verb, "--help"]).exits_with(0).says(&[
            "Examples:\n  ",
            &format!("portsplit plugin {verb}"),
            "Exit codes:",
        ]);
    }
}

#[test]
fn run_tells_verdict_deciding_byte_facts_and_cost() {
    let folder = Folder::new();
    let ran = folder.plugin_with_input(&["run", "ssh"], b"SSH-2.0-OpenSSH_9.6\r\n").exits_with(0);
    ran.says(&[
        "verdict  match, known at",
        "fact     version=2.0",
        "fact     software=OpenSSH_9.6",
        "fuel",
        "of 200000",
        "µs",
    ]);
    folder.plugin(&["run", "ssh", "--text", "GET /"]).exits_with(0).says(&["verdict  reject, known at 1 byte\n"]);
    folder
        .plugin(&["run", "ssh", "--hex", "53 53 48"])
        .exits_with(0)
        .says(&["verdict  need-more, 4 bytes in all at least"]);
    let file = folder.write("first.bin", b"SSH-2.0-x\r\n");
    let json = folder.plugin(&["run", "ssh", "--file", file.to_str().unwrap(), "--json"]).exits_with(0).json();
    assert_eq!((&json["verdict"], &json["plugin"]), (&Value::from("match"), &Value::from("ssh")), "{json}");
    assert!(json["fuel"].as_u64().unwrap() > 0 && json["fuel_budget"] == 200_000, "{json}");
    assert!(
        json["facts"].as_array().unwrap().iter().any(|fact| fact["name"] == "version" && fact["value"] == "2.0"),
        "{json}"
    );
}

#[test]
fn run_applies_an_end_to_bytes_that_need_more() {
    let folder = Folder::new();
    for end in ["--half-close", "--full", "--time-up"] {
        let json = folder.plugin(&["run", "ssh", "--text", "SSH-", end, "--json"]).exits_with(0).json();
        assert_eq!((&json["verdict"], &json["known_at"]), (&Value::from("reject"), &Value::from(4)), "{end}: {json}");
    }
}

#[test]
fn run_traces_the_calls_the_server_would_make() {
    let folder = Folder::new();
    let whole = folder.plugin(&["run", "ssh", "--text", "SSH-2.0-x\\r\\n", "--json"]).exits_with(0).json();
    for pieces in [&["--byte-by-byte"][..], &["--split", "1,5"]] {
        let mut args = vec!["run", "ssh", "--text", "SSH-2.0-x\\r\\n", "--json"];
        args.extend(pieces);
        let json = folder.plugin(&args).exits_with(0).json();
        for key in ["verdict", "known_at", "facts"] {
            assert_eq!(json[key], whole[key], "{pieces:?} {key}");
        }
        assert!(json["calls"].as_array().unwrap().len() > 1, "{json}");
    }
    let ran = folder.plugin(&["run", "ssh", "--text", "SSH-2.0-x\\r\\n", "--split", "1,5", "--trace"]).exits_with(0);
    ran.says(&["call  bytes  verdict    needs", "1     1      need-more"]);
}

#[test]
fn run_fails_when_the_call_fails_or_the_plugin_contradicts_itself() {
    let folder = Folder::new();
    folder.write("trap.wasm", module("", "unreachable"));
    let ran = folder.plugin(&["run", "trap.wasm", "--text", "x"]).exits_with(1).says(&["trapped", "help:"]);
    assert!(
        ran.stderr.contains("\n    0: ") && !ran.stderr.contains("\\n"),
        "the call stack is a list: {}",
        ran.stderr
    );
    // A match at an even length, a reject at an odd one: byte by byte it is decided at 0.
    let parity = "(select (i64.const 0) (i64.const 0x1_0000_0000) (i32.and (local.get $len) (i32.const 1)))";
    folder.write("parity.wasm", module("", parity));
    folder.plugin(&["run", "parity.wasm", "--text", "x"]).exits_with(1).says(&[
        "contradicts itself",
        "`reject`",
        "`match`",
    ]);
    folder.plugin(&["run", "nosuch", "--text", "x"]).exits_with(1).says(&["nosuch", "ssh", "tls"]);
}

#[test]
fn check_tells_what_was_checked() {
    let folder = Folder::new();
    for shipped in ["ssh", "tls"] {
        let ran = folder.plugin(&["check", shipped]).exits_with(0);
        ran.says(&[": can be used, ", "imports", "portsplit.fact", "memory", "manifest", "ABI 1.0"]);
        let json = folder.plugin(&["check", shipped, "--json"]).exits_with(0).json();
        assert_eq!((&json["ok"], &json["name"]), (&Value::from(true), &Value::from(shipped)), "{json}");
    }
    folder.write("plain.wasm", letter_a());
    folder.plugin(&["check", "plain.wasm"]).exits_with(0).says(&["it takes none"]);
}

#[test]
fn check_says_why_a_module_cannot_be_used_and_what_to_do() {
    let folder = Folder::new();
    folder.write("text.wasm", "hello, world");
    folder.write("import.wasm", module(r#"(import "env" "fetch" (func))"#, "(i64.const 0)"));
    folder.write("empty.wasm", wat::parse_str("(module)").unwrap());
    folder.write("trap.wasm", module("", "unreachable"));
    for (file, code, said) in [
        ("text.wasm", "not-wasm", "not a WebAssembly module"),
        ("import.wasm", "import", "env.fetch"),
        ("empty.wasm", "missing-export", "missing export"),
        ("trap.wasm", "trap", "trapped"),
    ] {
        folder.plugin(&["check", file]).exits_with(1).says(&[file, said, "\n  help: "]);
        let json = folder.plugin(&["check", file, "--json"]).exits_with(1).json();
        assert_eq!((&json["ok"], &json["errors"][0]["code"]), (&Value::from(false), &Value::from(code)), "{json}");
        assert!(json["errors"][0]["help"].as_str().is_some_and(|help| !help.is_empty()), "{json}");
    }
    let ran = folder.plugin(&["check", "ssh", "--config", "{\"no_such_key\": 1}"]);
    ran.exits_with(1).says(&["help:"]);
    folder.plugin(&["check", "nosuch.wasm"]).exits_with(1).says(&["nosuch.wasm"]);
}

#[test]
fn check_notices_a_buffer_that_is_smaller_than_what_may_come() {
    let folder = Folder::new();
    let text = r#"(module (memory (export "memory") 1) (func (export "portsplit_abi_1"))
        (func (export "portsplit_buffer") (param i32) (result i32)
            (select (i32.const 64) (i32.const 0) (i32.le_u (local.get 0) (i32.const 100))))
        (func (export "portsplit_classify") (param i32 i32) (result i64) (i64.const 0)))"#;
    folder.write("small.wasm", wat::parse_str(text).unwrap());
    let ran = folder.plugin(&["check", "small.wasm"]).exits_with(1);
    ran.says(&["called with 16384 bytes", "refused 16384 bytes", "`max_bytes`"]);
    folder.write("plugin.toml", format!("max_bytes = 100\n{MANIFEST}"));
    folder.plugin(&["pack", "small.wasm", "-m", "plugin.toml", "-o", "packed.wasm"]).exits_with(0);
    folder.plugin(&["check", "packed.wasm"]).exits_with(0);
}

#[test]
fn inspect_shows_the_manifest_and_the_lines_to_paste() {
    let folder = Folder::new();
    folder.plugin(&["inspect", "tls"]).exits_with(0).says(&["sni", "alpn", "imports", "sha256", "examples", "1 page"]);
    let json = folder.plugin(&["inspect", "tls", "--json"]).exits_with(0).json();
    assert_eq!((&json["manifest"]["name"], &json["shipped"]), (&Value::from("tls"), &Value::from(true)), "{json}");
    assert_eq!(json["sha256"].as_str().unwrap().len(), 64);
    for shipped in ["ssh", "tls"] {
        let block = folder.plugin(&["inspect", shipped, "--toml"]).exits_with(0).stdout;
        assert!(block.contains("[[service]]"), "{block}");
        is_accepted(&folder, &block);
    }
    let sample = std::fs::read(root().join("tests/bad-plugins/good.wat")).unwrap();
    folder.write("good one.wasm", wat::parse_bytes(&sample).unwrap());
    let block = folder.plugin(&["inspect", "good one.wasm", "--toml"]).exits_with(0).stdout;
    assert!(block.contains("[plugins."), "it takes configuration: {block}");
    is_accepted(&folder, &block);
    let block = folder.plugin(&["inspect", "ssh", "--toml"]).exits_with(0).stdout;
    assert!(!block.contains("[plugins."), "it has nothing to configure: {block}");
    folder.write("text.wasm", "hello, world");
    folder.plugin(&["inspect", "text.wasm"]).exits_with(1).says(&["not a WebAssembly module"]);
}

/// Asserts that `check` accepts a configuration with this block.
#[track_caller]
fn is_accepted(folder: &Folder, block: &str) {
    let config = folder.write("x.toml", format!("listen = [\"127.0.0.1:0\"]\n{block}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_portsplit"));
    let output = command.arg("check").arg("-c").arg(config).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn list_shows_the_shipped_plugins_and_those_of_a_file() {
    let folder = Folder::new();
    folder.plugin(&["list"]).exits_with(0).says(&["plugin", "version", "ssh", "tls", "sni alpn", "KiB"]);
    let config =
        "listen = [\"127.0.0.1:0\"]\n[[service]]\nname = \"a\"\nplugin = \"ssh\"\nconnect = \"127.0.0.1:22\"\n";
    folder.write("x.toml", config);
    folder.plugin(&["list", "-c", "x.toml"]).exits_with(0).says(&["used by x.toml  services\nssh             a\n"]);
    let json = folder.plugin(&["list", "-c", "x.toml", "--json"]).exits_with(0).json();
    assert_eq!(json["used"][0]["services"][0], "a", "{json}");
    assert!(json["shipped"].as_array().unwrap().len() >= 2, "{json}");
    folder.write("x.toml", "listen = 1\n");
    folder.plugin(&["list", "-c", "x.toml"]).exits_with(2).says(&["x.toml"]);
}

#[test]
fn pack_adds_a_manifest_and_refuses_what_check_rejects() {
    let folder = Folder::new();
    folder.write("in.wasm", letter_a());
    folder.write("plugin.toml", MANIFEST);
    let pack = |input: &str, output: &str| folder.plugin(&["pack", input, "-m", "plugin.toml", "-o", output]);
    pack("in.wasm", "out.wasm").exits_with(0).says(&["out.wasm: letter-a 1.2.3"]);
    let json = folder.plugin(&["inspect", "out.wasm", "--json"]).exits_with(0).json();
    assert_eq!((&json["manifest"]["name"], &json["manifest"]["abi"]), (&Value::from("letter-a"), &Value::from("1.0")));
    pack("out.wasm", "again.wasm").exits_with(0);
    assert_eq!(
        std::fs::read(folder.path().join("out.wasm")).unwrap(),
        std::fs::read(folder.path().join("again.wasm")).unwrap()
    );

    folder.write("plugin.toml", format!("descripton = \"a slip\"\n{MANIFEST}"));
    let ran = pack("in.wasm", "slip.wasm").exits_with(0);
    assert_eq!(ran.stderr, "warning: slip.wasm: its manifest has the unknown key `descripton`\n");
    folder.write("plugin.toml", MANIFEST);

    folder.write("empty.wasm", wat::parse_str("(module)").unwrap());
    pack("empty.wasm", "no.wasm").exits_with(1).says(&["empty.wasm: missing export"]);
    folder.write("plugin.toml", "name = \"BAD\"\nversion = \"1\"\n");
    pack("in.wasm", "no.wasm").exits_with(1).says(&["`name`", "BAD"]);
    folder.write("plugin.toml", "name = ");
    pack("in.wasm", "no.wasm").exits_with(1).says(&["plugin.toml", "line 1"]);
    assert!(!folder.path().join("no.wasm").exists(), "something was written although it was refused");
}

#[test]
fn bench_measures_loading_calls_and_feeding_byte_by_byte() {
    let folder = Folder::new();
    let args = ["bench", "ssh", "--text", "SSH-2.0-OpenSSH_9.6\\r\\n", "--calls", "20"];
    folder.plugin(&args).exits_with(0).says(&["ms cold", "from the cache", "byte by byte", "median µs", "of budget"]);
    let json = folder.plugin(&[&args[..], &["--json"]].concat()).exits_with(0).json();
    let lengths: Vec<u64> =
        json["lengths"].as_array().unwrap().iter().map(|row| row["bytes"].as_u64().unwrap()).collect();
    assert_eq!(lengths, [0, 1, 2, 4, 8, 16, 21]);
    for key in ["load_cold_ms", "load_cached_ms"] {
        assert!(json[key].as_f64().unwrap() > 0.0, "{key}: {json}");
    }
    assert!(json["drip"]["fuel"].as_u64().unwrap() >= json["lengths"][6]["fuel"].as_u64().unwrap(), "{json}");
    folder.write("trap.wasm", module("", "unreachable"));
    folder.plugin(&["bench", "trap.wasm", "--calls", "1"]).exits_with(1).says(&["trapped", "help:"]);
}

#[test]
fn the_shipped_plugins_pass_their_tests() {
    let folder = Folder::new();
    let ran = folder.plugin(&["test", "ssh", "tls", "--inputs", "2000"]).exits_with(0);
    assert_eq!(ran.stdout.matches("all passed").count(), 2, "{}", ran.stdout);
}

#[test]
fn test_and_fuzz_find_a_broken_law_and_show_the_input() {
    let folder = Folder::new();
    let bad = root().join("tests/bad-plugins/monotone.wat");
    let bad = bad.to_str().unwrap();
    let ran = folder.plugin(&["test", bad]).exits_with(1);
    ran.says(&["monotone", "broken", "[[case]]", "hex = "]);
    let json = folder.plugin(&["test", bad, "--json", "--filter", "monotone"]).exits_with(1).json();
    let law = &json["plugins"][0]["laws"][0];
    assert_eq!((&law["name"], &law["kept"]), (&Value::from("monotone"), &Value::from(false)), "{json}");
    assert!(!law["violation"]["hex"].as_str().unwrap().is_empty(), "{json}");

    let ran = folder.plugin(&["fuzz", bad, "--time", "30s", "--seed", "3", "--law", "monotone"]).exits_with(1);
    let found: toml::Table = ran.stdout.parse().unwrap_or_else(|error| panic!("{error}: {}", ran.stdout));
    assert_eq!(found["case"].as_array().unwrap().len(), 1, "{}", ran.stdout);
    assert!(ran.stderr.contains("seed 3") && ran.stderr.contains("monotone"), "{}", ran.stderr);
}

#[test]
fn fuzz_ends_in_time_when_nothing_is_wrong() {
    let folder = Folder::new();
    let started = std::time::Instant::now();
    let ran = folder.plugin(&["fuzz", "ssh", "--time", "1s", "--seed", "1"]).exits_with(0).says(&["no law is broken"]);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    folder.plugin(&["fuzz", "ssh", "--time", "soon"]).exits_with(2);
    folder.plugin(&["fuzz", "ssh", "--law", "gravity"]).exits_with(2).says(&["monotone"]);
}
