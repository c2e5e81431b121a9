//! One protocol detected by a plugin of every language: each is built from its source and routes by its fact.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::guest::{compile, root, start};
use crate::support::config::{LISTEN, service, to};
use crate::support::{Backend, process, report, tools};

const LANGUAGES: [&str; 6] = ["assemblyscript", "c", "go", "rust", "wat", "zig"];

/// The module of a language's example, built now; `None` if its compiler is missing, which has then been reported.
#[track_caller]
fn built(language: &str) -> Option<Vec<u8>> {
    let folder = root().join("plugins/examples").join(language);
    if language == "wat" {
        return Some(wat::parse_file(folder.join("plugin.wat")).unwrap_or_else(|error| panic!("{error}")));
    }
    let mut command = Command::new("bash");
    // The compilers that plugins/examples/install put into its cache, and the Rust that plugins/wasm-rust made.
    command.args(["-c", "eval \"$select\"; exec \"$0\" \"$1\""]);
    command.arg(root().join("plugins/examples/build")).arg(language);
    command.env("select", select()).env_remove("CI").env_remove("PORTSPLIT");
    // What cargo sets for this test would change what another cargo builds.
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    let output = process::run(command, b"", Duration::from_secs(300), "plugins/examples/build");
    if let Some(line) = output.text().lines().find(|line| line.starts_with("skipped: ")) {
        let all = std::env::var("PORTSPLIT_TOOLCHAINS").as_deref() == Ok("1");
        assert!(!all, "PORTSPLIT_TOOLCHAINS=1, but {line}");
        tools::skip(line.trim_start_matches("skipped: "));
        return None;
    }
    assert_eq!(output.code, Some(0), "{language}: {}{}", output.text(), output.stderr);
    Some(std::fs::read(folder.join("target/knock.wasm")).expect("the module has been built"))
}

/// The shell line that puts the installed compilers to use.
fn select() -> String {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = home("XDG_CACHE_HOME").or_else(|| Some(home("HOME")?.join(".cache"))).unwrap_or_default();
    let rustc = cache.join("portsplit-wasm-rust/bin/rustc");
    let mut line = format!("PATH={}:$PATH", cache.join("portsplit-toolchains/bin").display());
    if rustc.is_file() && !has_wasm_target() {
        line += &format!("; export RUSTC={}", rustc.display());
    }
    line
}

/// Whether the active Rust compiler can build for wasm by itself.
fn has_wasm_target() -> bool {
    let output = tools::run("rustc", &["--print", "target-libdir", "--target", "wasm32-unknown-unknown"]);
    Path::new(output.text().trim()).is_dir()
}

#[test]
fn a_plugin_in_each_language_routes_by_its_fact() {
    let (alice, bob, rest) = (Backend::tag("alice"), Backend::tag("bob"), Backend::tag("rest"));
    let mut tested = Vec::new();
    for language in LANGUAGES {
        let Some(wasm) = built(language) else {
            continue;
        };
        let modules = super::guest::Modules::with(language, &wasm);
        let named = |name: &str, backend: &Backend| {
            to(backend, name, &format!("plugin = \"{language}\"\nwhere = {{ name = \"{name}\" }}"))
        };
        let config = format!(
            "{}{LISTEN}{}{}{}",
            modules.key(),
            named("alice", &alice),
            named("bob", &bob),
            service("fallback", "", &format!("connect = \"{}\"", rest.address())),
        );
        compile(&config);
        let portsplit = start(&config);
        let clients: [(&[u8], &str); 5] = [
            (b"KNK\x01\x05alice", "alice"),
            (b"KNK\x02\x00\x00\x00\x01\x03bobhello", "bob"),
            (b"KNK\x01\x05clara", "rest"),
            (b"KNK\x03\x05alice", "rest"),
            (b"SSH-2.0-test\r\n", "rest"),
        ];
        for (bytes, service) in clients {
            for byte_by_byte in [false, true] {
                let client = portsplit.client();
                if byte_by_byte {
                    client.send_byte_by_byte(bytes);
                } else {
                    client.send(bytes);
                }
                assert_eq!(client.receive_line(), service, "{language}: {}", bytes.escape_ascii());
                assert_eq!(client.receive(bytes.len()), bytes, "{language}");
            }
        }
        let failures = portsplit.log().count(|line| line.message() == "a plugin has failed");
        assert_eq!(failures, 0, "{language}: {}", portsplit.log().text());
        portsplit.stop();
        tested.push(language);
    }
    report(&format!("plugins that routed by their fact: {}", tested.join(", ")));
    assert!(tested.contains(&"wat"), "the one that needs no compiler");
}
