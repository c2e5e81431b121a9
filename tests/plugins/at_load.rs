//! What is not a sound plugin is refused before anything listens, by `check` and at start, with the reason.

use super::guest::{Modules, assemble, classifier, said};
use crate::support::config::{LISTEN, service};
use crate::support::portsplit::{run, run_config};
use crate::support::tools;

const BUFFER: &str = r#"(func (export "portsplit_buffer") (param i32) (result i32) (i32.const 64))"#;
const CLASSIFY: &str = r#"(func (export "portsplit_classify") (param i32 i32) (result i64) (i64.const 0))"#;
const MARKER: &str = r#"(func (export "portsplit_abi_1"))"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;

/// A module of the parts that are given.
fn parts(parts: &[&str]) -> Vec<u8> {
    assemble(&format!("(module {})", parts.concat()))
}

/// A whole module with `first` and `last` around its parts.
fn whole_with(first: &str, last: &str) -> Vec<u8> {
    parts(&[first, MEMORY, MARKER, BUFFER, CLASSIFY, last])
}

/// A whole module of at least `len` bytes.
fn large(len: usize) -> Vec<u8> {
    whole_with("", &format!("(@custom \"filler\" \"{}\")", "x".repeat(len)))
}

/// Module and the words that must be in the message.
fn refused() -> Vec<(&'static str, Vec<u8>, Vec<&'static str>)> {
    let tls = super::guest::root().join("plugins/dist/tls.wasm");
    let tls = std::fs::read(tls).expect("the shipped plugin can be read");
    let forever = "(func $forever (loop $more (br $more)))";
    let configure = r#"(import "portsplit" "fail" (func $fail (param i32 i32)))"#;
    let refuse = r#"(data (i32.const 0) "no such colour") (func (export "portsplit_configure") (param i32) (result i32)
        (call $fail (i32.const 0) (i32.const 14)) (i32.const 1))"#;
    vec![
        ("import", whole_with(r#"(import "env" "system" (func (param i32) (result i32)))"#, ""), vec!["env.system"]),
        (
            "wasi",
            whole_with(r#"(import "wasi_snapshot_preview2" "fd_open" (func))"#, ""),
            vec!["wasi_snapshot_preview2"],
        ),
        ("start", whole_with("", &format!("{forever}(start $forever)")), vec!["start", "fuel"]),
        (
            "initialize",
            whole_with("", r#"(func (export "_initialize") unreachable)"#),
            vec!["_initialize", "unreachable"],
        ),
        ("functions", whole_with("", &"(func)".repeat(50_000)), vec!["functions", "10000"]),
        ("large", large(4 << 20), vec!["max_size", "4194304"]),
        ("text", b"#!/bin/sh\necho no wasm\n".to_vec(), vec!["not a WebAssembly module"]),
        ("empty", Vec::new(), vec!["not a WebAssembly module"]),
        ("truncated", tls[..tls.len() / 2].to_vec(), vec!["truncated or malformed"]),
        ("component", b"\0asm\x0d\0\x01\0".to_vec(), vec!["component"]),
        ("no-classify", parts(&[MEMORY, MARKER, BUFFER]), vec!["missing export", "portsplit_classify"]),
        ("no-buffer", parts(&[MEMORY, MARKER, CLASSIFY]), vec!["missing export", "portsplit_buffer"]),
        ("no-memory", parts(&[MARKER, BUFFER, CLASSIFY]), vec!["missing export", "memory"]),
        ("no-marker", parts(&[MEMORY, BUFFER, CLASSIFY]), vec!["portsplit_abi_1"]),
        (
            "type",
            parts(&[MEMORY, MARKER, BUFFER, &CLASSIFY.replace("i32 i32", "i32")]),
            vec!["portsplit_classify", "type"],
        ),
        ("memory", parts(&[r#"(memory (export "memory") 65)"#, MARKER, BUFFER, CLASSIFY]), vec!["memory", "4194304"]),
        ("configure", whole_with(configure, refuse), vec!["config", "no such colour"]),
    ]
}

#[test]
fn check_and_start_refuse_an_unsound_module_and_say_why() {
    let modules = Modules::new();
    for (name, wasm, words) in refused() {
        let path = modules.add(name, &wasm);
        let (table, config) =
            (format!("[plugins.guest]\nwasm = \"{}\"\n", path.display()), "config = { colour = 1 }\n");
        let table = if name == "configure" { table + config } else { table };
        let text = format!("{LISTEN}{table}{}", service("guest", "plugin = \"guest\"", "close = true"));
        let file = path.with_extension("toml");
        std::fs::write(&file, &text).unwrap();
        let checked = run(&["check", "-c", file.to_str().unwrap()]);
        for (how, output) in [("check", checked), ("start", run_config(&text))] {
            let said = said(&output);
            assert_eq!(output.code, Some(2), "{how} of {name}: {said}");
            // A message may be broken into lines to fit the terminal.
            let unbroken = said.split_whitespace().collect::<Vec<_>>().join(" ");
            for word in &words {
                assert!(unbroken.contains(word), "{how} of {name} does not say `{word}`: {said}");
            }
            assert!(!said.contains("panicked"), "{how} of {name}: {said}");
        }
    }
}

#[test]
fn a_raised_limit_admits_a_larger_module() {
    let modules = Modules::new();
    let path = modules.add("large", &large(4 << 20));
    let file = path.with_extension("toml");
    for (limit, code) in [("5MiB", 0), ("3MiB", 2)] {
        let table = format!("[plugins.guest]\nwasm = \"{}\"\nmax_size = \"{limit}\"\n", path.display());
        let text = format!("{LISTEN}{table}{}", service("guest", "plugin = \"guest\"", "close = true"));
        std::fs::write(&file, text).unwrap();
        let output = run(&["check", "-c", file.to_str().unwrap()]);
        assert_eq!(output.code, Some(code), "max_size = {limit}: {}", said(&output));
    }
}

#[test]
fn few_addresses_are_enough_for_small_and_large_plugins() {
    if !tools::have(&["prlimit"]) {
        return;
    }
    let modules = Modules::new();
    modules.add("small", &classifier("(i64.const 0)"));
    let large = parts(&[r#"(memory (export "memory") 17)"#, MARKER, BUFFER, CLASSIFY]);
    let file = modules.add("large", &large).with_extension("toml");
    let services = ["small", "large"].map(|name| service(name, &format!("plugin = \"{name}\""), "close = true"));
    std::fs::write(&file, format!("{}{LISTEN}{}", modules.key(), services.concat())).unwrap();
    // Room for one pool of 64 slots with 4 MiB each, not for two.
    let program = env!("CARGO_BIN_EXE_portsplit");
    let args = ["--as=520000000", program, "check", "-c", file.to_str().unwrap()];
    let output = tools::run("prlimit", &args);
    assert_eq!(output.code, Some(0), "{}", said(&output));
}

#[test]
fn a_missing_module_is_named() {
    let text = format!("{LISTEN}{}", service("guest", "plugin = \"nowhere.wasm\"", "close = true"));
    let output = run_config(&text);
    assert_eq!(output.code, Some(2), "{}", said(&output));
    assert!(said(&output).contains("nowhere.wasm"), "{}", said(&output));
}

#[test]
fn a_pipe_in_place_of_a_module_is_not_waited_for() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let modules = Modules::new();
    let path = modules.path("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let file = path.with_extension("toml");
    let plugin = format!("plugin = \"{}\"", path.display());
    std::fs::write(&file, format!("{LISTEN}{}", service("guest", &plugin, "close = true"))).unwrap();
    let output = run(&["check", "-c", file.to_str().unwrap()]);
    assert_eq!(output.code, Some(2), "{}", said(&output));
    assert!(said(&output).contains("not a regular file"), "{}", said(&output));
}

#[test]
fn check_accepts_a_sound_module() {
    let modules = Modules::new();
    let path = modules.add("sound", &classifier("(i64.const 0)"));
    let file = path.with_extension("toml");
    let plugin = format!("plugin = \"{}\"", path.display());
    std::fs::write(&file, format!("{LISTEN}{}", service("guest", &plugin, "close = true"))).unwrap();
    let output = run(&["check", "-c", file.to_str().unwrap()]);
    assert_eq!(output.code, Some(0), "{}", said(&output));
}
