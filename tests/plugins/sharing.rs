//! Services that ask the same plugin share its answer, and who has no plugin pays for none.

use super::guest::{Modules, assemble, classifier, start};
use crate::support::config::{LISTEN, service, to};
use crate::support::portsplit::run;
use crate::support::{Backend, Portsplit, eventually};

/// Logs one line for each call and matches with the fact `seen = "fresh"`.
fn talkative() -> Vec<u8> {
    classifier(
        "(call $log (i32.const 2) (i32.const 28) (i32.const 16))
         (drop (call $fact (i32.const 10) (i32.const 4) (i32.const 22) (i32.const 5)))
         (i64.const 0x100000000)",
    )
}

#[test]
fn services_with_the_same_plugin_share_one_call_for_each_connection() {
    let modules = Modules::with("talkative", &talkative());
    let backend = Backend::tag("fourth");
    let mut config = format!("{}{LISTEN}", modules.key());
    for (name, wanted) in [("first", "red"), ("second", "green"), ("third", "blue")] {
        config += &service(name, &format!("plugin = \"talkative\"\nwhere = {{ seen = \"{wanted}\" }}"), "close = true");
    }
    config += &to(&backend, "fourth", "plugin = \"talkative\"\nwhere = { seen = \"fresh\" }");
    let portsplit = start(&config);
    for connection in 1..=10 {
        let client = portsplit.client_sending("x");
        assert_eq!(client.receive_line(), "fourth");
        client.finish();
        client.receive_to_end();
        portsplit.connection_of(&client.local());
        // The log is in order: the call came before the end of the connection.
        let calls = portsplit.log().count(|line| line.message() == "plugin log");
        assert_eq!(calls, connection, "{}", portsplit.log().text());
    }
    let line = portsplit.wait_for_line("the plugin's line", |line| line.message() == "plugin log");
    assert!(line.text().contains("line of a plugin") && line.field("plugin").contains("talkative"), "{}", line.text());
}

#[test]
fn the_same_plugin_with_another_configuration_is_another_call() {
    let modules = Modules::with("talkative", &talkative());
    let backend = Backend::tag("second");
    let table =
        |name: &str, fuel: u32| format!("[plugins.{name}]\nwasm = {:?}\nfuel = {fuel}\n", modules.path("talkative"));
    let portsplit = start(&format!(
        "{LISTEN}{}{}{}{}",
        table("one", 100_000),
        table("two", 200_000),
        service("first", "plugin = \"one\"\nwhere = { seen = \"red\" }", "close = true"),
        to(&backend, "second", "plugin = \"two\"\nwhere = { seen = \"fresh\" }"),
    ));
    assert_eq!(portsplit.client_sending("x").receive_line(), "second");
    eventually("both have logged", || portsplit.log().count(|line| line.message() == "plugin log") == 2);
}

/// Matches everything, with its configuration as the fact `config`. It says that it can also learn `dear`, which a key of
/// that name switches, and `plain`, whose key is no switch.
fn telling() -> Vec<u8> {
    let manifest = r#"{"name": "telling", "version": "1", "abi": "1.0", "facts": ["config", "dear", "plain"],
        "config_schema": {"type": "object", "properties": {"dear": {"type": "boolean"}, "strict": {"type": "boolean"},
        "plain": {"type": "string"}}}}"#;
    let manifest = manifest.replace('\n', " ").replace('"', "\\\"");
    assemble(&format!(
        r#"(module (@custom "portsplit.manifest" "{manifest}")
            (import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1) (data (i32.const 0) "config") (global $len (mut i32) (i32.const 0))
            (func (export "portsplit_abi_1"))
            (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 1024))
            (func (export "portsplit_configure") (param $len i32) (result i32)
                (memory.copy (i32.const 8192) (i32.const 1024) (local.get $len))
                (global.set $len (local.get $len))
                (i32.const 0))
            (func (export "portsplit_classify") (param i32 i32) (result i64)
                (drop (call $fact (i32.const 0) (i32.const 6) (i32.const 8192) (global.get $len)))
                (i64.const 0x100000000)))"#
    ))
}

#[test]
fn a_plugin_is_told_which_of_its_facts_some_service_asks_for() {
    let modules = Modules::with("telling", &telling());
    let told = |text: &str| {
        let file = modules.path("telling").with_extension("toml");
        std::fs::write(&file, format!("{}{LISTEN}{text}", modules.key())).unwrap();
        let output = run(&["explain", "-c", file.to_str().unwrap(), "--text", "x", "--json"]);
        let account: serde_json::Value =
            serde_json::from_str(&output.text()).unwrap_or_else(|_| panic!("{}", super::guest::said(&output)));
        let rows = account["services"].as_array().unwrap();
        rows.iter().map(|row| row["facts"][0]["value"].as_str().unwrap().to_owned()).collect::<Vec<String>>()
    };
    let plain = service("plain", "plugin = \"telling\"\nwhere = { config = \"*\", plain = \"x\" }", "close = true");
    let dear = service("dear", "plugin = \"telling\"\nwhere = { dear = [\"x\", \"y\"] }", "close = true");
    assert_eq!(told(&plain), [r#"{"dear":false}"#]);
    // The plugin and its configuration are shared, so both services see the same, whichever comes first.
    assert_eq!(told(&format!("{plain}{dear}")), [r#"{"dear":true}"#, r#"{"dear":true}"#]);
    assert_eq!(told(&format!("{dear}{plain}")), [r#"{"dear":true}"#, r#"{"dear":true}"#]);
    // With another configuration it is another plugin; and a key that is set stays.
    let other = service("other", "plugin = \"strict\"", "close = true");
    let table = |config: &str| format!("[plugins.strict]\nwasm = \"telling\"\nconfig = {{ {config} }}\n");
    assert_eq!(
        told(&format!("{}{dear}{other}", table("strict = true"))),
        [r#"{"dear":true}"#, r#"{"strict":true,"dear":false}"#]
    );
    assert_eq!(told(&format!("{}{other}", table("dear = true"))), [r#"{"dear":true}"#]);
    // A table that sets nothing is the same as none.
    let bare = "[plugins.strict]\nwasm = \"telling\"\n";
    assert_eq!(told(&format!("{bare}{other}{dear}")), [r#"{"dear":true}"#, r#"{"dear":true}"#]);
}

/// The names of its threads.
fn threads(portsplit: &Portsplit) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", portsplit.process().0)).unwrap();
    let names = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
    names.map(|name| name.trim().to_owned()).collect()
}

#[test]
fn a_configuration_without_plugins_starts_no_engine() {
    let backend = Backend::tag("all");
    let plain = Portsplit::start(&format!("{LISTEN}{}", to(&backend, "all", "prefix = 'SSH-'")));
    let with_plugin = start(&format!("{LISTEN}{}", to(&backend, "all", "plugin = \"ssh\"")));
    for portsplit in [&plain, &with_plugin] {
        assert_eq!(portsplit.client_sending("SSH-2.0-test\r\n").receive_line(), "all");
    }
    // The clock of the engine is a thread that is easily seen; who has it has the engine.
    let has_clock = |portsplit: &Portsplit| threads(portsplit).iter().any(|name| name == "plugin-ticker");
    assert!(has_clock(&with_plugin), "{:?}", threads(&with_plugin));
    assert!(!has_clock(&plain), "{:?}", threads(&plain));
    let (less, more) = (plain.process().rss_kib(), with_plugin.process().rss_kib());
    crate::support::report(&format!("resident memory: {less} KiB without plugins, {more} KiB with one"));
    assert!(less < more, "{less} KiB without plugins, {more} KiB with one");
}
