//! Services that ask the same plugin share its answer, and who has no plugin pays for none.

use super::guest::{Modules, classifier, start};
use crate::support::config::{LISTEN, service, to};
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
