//! `plugin new` and `plugin build`: from nothing to a tested plugin in each language, and what a missing compiler looks
//! like.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::{Folder, MANIFEST, root};

#[test]
fn a_new_plugin_in_wat_builds_and_passes_its_tests_at_once() {
    let folder = Folder::new();
    folder.plugin(&["new", "my-protocol", "--lang", "wat"]).exits_with(0).says(&["plugin build my-protocol"]);
    folder.plugin(&["test", "my-protocol"]).exits_with(1).says(&["not built yet"]);
    builds_and_passes(&folder, "my-protocol");
    // The module alone finds the same cases.
    let ran = folder.plugin(&["test", "my-protocol/target/my-protocol.wasm", "--inputs", "500"]).exits_with(0);
    ran.says(&["my-protocol/cases.toml", "all passed"]);
    folder.plugin(&["new", "my-protocol", "--lang", "wat"]).exits_with(1).says(&["exists already"]);
    let json = folder.plugin(&["new", "other", "--lang", "wat", "--json"]).exits_with(0).json();
    assert!(json["files"].as_array().unwrap().iter().any(|file| file == "plugin.wat"), "{json}");
    for wrong in ["../up", "a/b", "/tmp/x", "..", "-x", ""] {
        folder.plugin(&["new", "--lang", "wat", "--", wrong]).exits_with(2);
    }

    // A case that expects the wrong answer fails with its bytes.
    let cases = folder.path().join("my-protocol/cases.toml");
    let broken =
        std::fs::read_to_string(&cases).unwrap() + "\n[[case]]\nname = \"wrong\"\ntext = 'GET'\nexpect = \"match\"\n";
    std::fs::write(&cases, broken).unwrap();
    folder.plugin(&["test", "my-protocol"]).exits_with(1).says(&["wrong", "1 FAILED", "47 45 54"]);
    let json = folder.plugin(&["test", "my-protocol", "--filter", "wrong", "--json"]).exits_with(1).json();
    let cases = json["plugins"][0]["cases"].as_array().unwrap();
    assert_eq!((cases.len(), &cases[0]["hex"], &json["ok"]), (1, &Value::from("474554"), &Value::from(false)));
    folder.plugin(&["test", "my-protocol", "--filter", "no such thing"]).exits_with(1).says(&["no such thing"]);

    folder.write("my-protocol/plugin.wat", "(module (func");
    folder.plugin(&["build", "my-protocol"]).exits_with(1).says(&["plugin.wat", "cannot assemble"]);
    folder.plugin(&["build", "cache"]).exits_with(1).says(&["plugin new"]);
}

/// Builds and tests a new plugin, and runs it on a client that it knows.
#[track_caller]
fn builds_and_passes(folder: &Folder, name: &str) {
    let wasm = format!("{name}/target/{name}.wasm");
    folder.plugin(&["build", name]).exits_with(0).says(&[&wasm, "0.1.0"]);
    let ran =
        folder.plugin(&["test", name, "--inputs", "2000"]).exits_with(0).says(&["all passed", "segmentation", "kept"]);
    assert!(!ran.stdout.contains("broken"), "{}", ran.stdout);
    let ran = folder.plugin_with_input(&["run", &wasm], b"KNK\x01\x05alice").exits_with(0);
    ran.says(&[name, "match, known at 10 bytes", "name=alice"]);
}

#[test]
fn a_missing_compiler_is_one_line_that_says_what_to_install() {
    let folder = Folder::new();
    let build = "[build]\ncommand = [\"no-such-compiler\"]\noutput = \"o.wasm\"\ninstall = \"install it from there\"\n";
    folder.write("p/plugin.toml", format!("{MANIFEST}\n{build}"));
    let ran = folder.plugin(&["build", "p"]).exits_with(1);
    assert_eq!(ran.stderr, "portsplit: `no-such-compiler` is not installed; install it from there\n");
    needs_another_program(&folder);
    let build = "[build]\ncommand = [\"sh\", \"-c\", \"echo the compiler speaks; exit 3\"]\noutput = \"o.wasm\"\n";
    folder.write("p/plugin.toml", format!("{MANIFEST}\n{build}"));
    let ran = folder.plugin(&["build", "p"]).exits_with(1).says(&["the compiler speaks\n", "exit status: 3"]);
    assert!(ran.stdout.is_empty(), "what the compiler prints is not this command's result");
}

/// A compiler that is there is of no use if what it needs is not.
#[track_caller]
fn needs_another_program(folder: &Folder) {
    let programs = folder.path().join("bin");
    let build = |program: &str, text: &str| {
        let file = folder.write(&format!("bin/{program}"), text);
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let build = format!("[build]\ncommand = [\"{program}\"]\noutput = \"o.wasm\"\ninstall = \"install both\"\n");
        folder.write("p/plugin.toml", format!("{MANIFEST}\n{build}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_portsplit"));
        command.args(["plugin", "build", "p"]).current_dir(folder.path()).env("PATH", &programs);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = build("asc", "#!/usr/bin/env node\n");
    assert_eq!(said, "portsplit: `node`, which runs `asc`, is not installed; install both\n");
    let said = build("clang", "#!/bin/sh\necho wasm-ld\n");
    assert_eq!(said, "portsplit: `wasm-ld`, which links for `clang`, is not installed; install both\n");
}

#[test]
fn a_new_plugin_in_c_builds_and_passes_its_tests_at_once() {
    new_builds_and_passes("c", &["clang", "wasm-ld"], &[]);
}

#[test]
fn a_new_plugin_in_zig_builds_and_passes_its_tests_at_once() {
    new_builds_and_passes("zig", &["zig"], &[]);
}

#[test]
fn a_new_plugin_in_go_builds_and_passes_its_tests_at_once() {
    new_builds_and_passes("go", &["go"], &[]);
}

#[test]
fn a_new_plugin_in_assemblyscript_builds_and_passes_its_tests_at_once() {
    new_builds_and_passes("assemblyscript", &["asc", "node"], &[]);
}

#[test]
fn a_new_plugin_in_rust_builds_and_passes_its_tests_at_once() {
    if let Some(missing) = rust_is_missing() {
        return skip("rust", missing);
    }
    new_builds_and_passes("rust", &["cargo"], &[]);
    let sdk = root().join("plugin-sdk");
    new_builds_and_passes("rust", &["cargo"], &["--sdk-path", sdk.to_str().unwrap()]);
}

/// What keeps Rust from building plugins, if anything does.
pub(super) fn rust_is_missing() -> Option<&'static str> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let target = ["--print", "target-libdir", "--target", "wasm32-unknown-unknown"];
    let output = Command::new(rustc).args(target).output().unwrap();
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let mut found = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    let has_core = found.any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"));
    (!has_core).then_some("Rust has no target wasm32-unknown-unknown")
}

pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[track_caller]
fn new_builds_and_passes(language: &str, programs: &[&str], args: &[&str]) {
    if let Some(missing) = programs.iter().find(|program| !is_installed(program)) {
        return skip(language, &format!("{missing} is not installed (plugins/examples/install installs it)"));
    }
    let folder = Folder::new();
    let name = format!("in-{language}");
    folder.plugin(&[&["new", &name, "--lang", language], args].concat()).exits_with(0);
    builds_and_passes(&folder, &name);
}

/// Says that a language is skipped, and fails where it must not be.
#[track_caller]
pub(super) fn skip(language: &str, reason: &str) {
    assert_ne!(std::env::var("PORTSPLIT_TOOLCHAINS").as_deref(), Ok("1"), "{language} would be skipped: {reason}");
    // Past the test runner, which keeps what passing tests print.
    let _ = std::io::stderr().write_all(format!("skipped: a new plugin in {language}: {reason}\n").as_bytes());
}
