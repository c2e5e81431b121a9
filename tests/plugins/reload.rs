//! SIGHUP with plugins: new ones serve the next connection, broken ones change nothing, open connections live on.

use std::io::{BufRead, BufReader};

use super::guest::{Modules, classifier, start};
use crate::support::config::{LISTEN, service, to};
use crate::support::portsplit::is_failed_reload;
use crate::support::{Backend, Portsplit, eventually, process};

#[test]
fn a_reload_adds_changes_and_removes_plugins() {
    let (ssh, rest) = (Backend::tag("ssh"), Backend::tag("rest"));
    let without = format!("{LISTEN}{}", to(&rest, "rest", "prefix = ['SSH-', 'x']"));
    let with = format!("{LISTEN}{}{}", to(&ssh, "ssh", "plugin = \"ssh\""), to(&rest, "rest", "prefix = 'x'"));
    let portsplit = Portsplit::start(&without);
    let hello = "SSH-2.0-test\r\n";
    let open = portsplit.client_sending(hello);
    assert_eq!(open.receive_line(), "rest");
    assert_eq!(portsplit.reload(&with).message(), "reloaded");
    let new = portsplit.client_sending(hello);
    assert_eq!(new.receive_line(), "ssh");
    assert_eq!(portsplit.client_sending("x").receive_line(), "rest");
    assert_eq!(portsplit.reload(&without).message(), "reloaded");
    assert_eq!(portsplit.client_sending(hello).receive_line(), "rest");
    for client in [open, new] {
        client.send("still here");
        client.finish();
        assert_eq!(client.receive_to_end(), format!("{hello}still here").as_bytes());
    }
}

#[test]
fn a_reload_reads_a_changed_module_again() {
    let modules = Modules::with("guest", &classifier("(i64.const 0)"));
    let (guest, rest) = (Backend::tag("guest"), Backend::tag("rest"));
    let config = format!(
        "{}{LISTEN}{}{}",
        modules.key(),
        to(&guest, "guest", "plugin = \"guest\""),
        to(&rest, "rest", "prefix = 'x'")
    );
    let portsplit = start(&config);
    assert_eq!(portsplit.client_sending("x").receive_line(), "rest");
    modules.add("guest", &classifier("(i64.const 0x100000000)"));
    assert_eq!(portsplit.client_sending("x").receive_line(), "rest", "a changed file alone changes nothing");
    assert_eq!(portsplit.reload(&config).message(), "reloaded");
    assert_eq!(portsplit.client_sending("x").receive_line(), "guest");
}

#[test]
fn a_reload_with_a_broken_plugin_changes_nothing_and_says_why() {
    let modules = Modules::with("guest", &classifier("(i64.const 0x100000000)"));
    let guest = Backend::tag("guest");
    let config =
        |name: &str| format!("{}{LISTEN}{}", modules.key(), to(&guest, "guest", &format!("plugin = \"{name}\"")));
    let portsplit = start(&config("guest"));
    let open = portsplit.client_sending("x");
    assert_eq!(open.receive_line(), "guest");
    let spins = "(module (memory (export \"memory\") 1) (func $f (loop $l (br $l))) (start $f)
        (func (export \"portsplit_abi_1\"))
        (func (export \"portsplit_buffer\") (param i32) (result i32) (i32.const 64))
        (func (export \"portsplit_classify\") (param i32 i32) (result i64) (i64.const 0)))";
    modules.add("text", b"no wasm at all");
    modules.add("spins", &super::guest::assemble(spins));
    modules.add("hollow", b"\0asm\x01\0\0\0");
    for (name, reason) in
        [("text", "not a WebAssembly module"), ("spins", "fuel"), ("hollow", "export"), ("absent", "absent")]
    {
        let from = portsplit.log().len();
        let line = portsplit.reload(&config(name));
        assert!(is_failed_reload(&line), "{name}: {}", line.text());
        let why = portsplit.log().lines()[from..].iter().any(|line| line.text().contains(reason));
        assert!(why, "{name}: nothing says `{reason}`; {}", portsplit.log().text());
        let client = portsplit.client_sending("y");
        assert_eq!(client.receive_line(), "guest", "the old plugin serves on");
        open.send("z");
    }
    open.finish();
    assert_eq!(open.receive_to_end(), b"xzzzz");
    let idle = service("other", "prefix = 'x'", "close = true");
    assert_eq!(portsplit.reload(&format!("{LISTEN}{idle}")).message(), "reloaded", "a good one is still taken");
}

/// A module that takes a second or more to compile.
fn slow_to_compile() -> Vec<u8> {
    let function = |i: usize| format!("(func (param i32) (result i32) (i32.add (local.get 0) (i32.const {i})))");
    let functions: String = (0..9_000).map(function).collect();
    super::guest::assemble(&format!(
        "(module (memory (export \"memory\") 1) {functions} (func (export \"portsplit_abi_1\"))
        (func (export \"portsplit_buffer\") (param i32) (result i32) (i32.const 64))
        (func (export \"portsplit_classify\") (param i32 i32) (result i64) (i64.const 0x100000000)))"
    ))
}

#[test]
fn a_hangup_while_plugins_compile_reloads_once_they_have() {
    let modules = Modules::with("slow", &slow_to_compile());
    let config = format!("{}{LISTEN}[[service]]\nname = \"slow\"\nplugin = \"slow\"\nclose = true\n", modules.key());
    let file = modules.path("slow").with_extension("toml");
    std::fs::write(&file, config).unwrap();
    let mut command = std::process::Command::new(crate::support::portsplit::program());
    // A cache of its own, so that it is compiled.
    command.arg("-c").arg(&file).env("XDG_CACHE_HOME", file.with_extension("cache"));
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let threads = format!("/proc/{}/task", child.id());
    eventually("the engine is there", || {
        let tasks = std::fs::read_dir(&threads).unwrap().flatten();
        let mut names = tasks.map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
        names.any(|name| name.trim() == "plugin-ticker")
    });
    process::signal(child.id(), process::Signal::HUP);
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        said += &format!("{line}\n");
        if line.contains("reloaded") {
            process::signal(child.id(), process::Signal::TERM);
        }
    }
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("ready") && said.contains("reloaded"), "{said}");
}
