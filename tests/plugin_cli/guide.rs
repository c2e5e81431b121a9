//! docs/plugins.md tells the truth: what it shows builds, passes and is accepted as it stands there.

use std::process::Command;

use crate::plugin_cli::building::{is_installed, rust_is_missing, skip};
use crate::{Folder, root};

/// The block of code in `language` that has `words` in it; there is exactly one.
#[track_caller]
fn block(language: &str, words: &str) -> String {
    let guide = std::fs::read_to_string(root().join("docs/plugins.md")).unwrap();
    let fence = format!("```{language}\n");
    let blocks = guide.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next());
    let found: Vec<&str> = blocks.filter(|block| block.contains(words)).collect();
    assert_eq!(found.len(), 1, "blocks of {language} with `{words}`: {found:?}");
    format!("{}\n", found[0])
}

/// Builds and tests the plugin in `folder`, and lets it be used as the guide shows.
#[track_caller]
fn builds_passes_and_is_used(folder: &Folder) {
    folder.plugin(&["build", "knock"]).exits_with(0).says(&["knock/target/knock.wasm: knock 0.1.0"]);
    folder.plugin(&["test", "knock", "--inputs", "1000"]).exits_with(0).says(&["all passed"]);
    std::fs::copy(folder.path().join("knock/target/knock.wasm"), folder.path().join("knock.wasm")).unwrap();
    let listen = "listen = [\"127.0.0.1:0\"]\n".to_owned();
    let config = listen + &block("toml", "[plugins.knock-2]") + &block("toml", "where = { name = \"alice\" }");
    let config = folder.write("x.toml", config);
    let checked = Command::new(env!("CARGO_BIN_EXE_portsplit")).arg("check").arg("-c").arg(config).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_guides_plugin_in_c_with_its_files_builds_and_passes() {
    if let Some(missing) = ["clang", "wasm-ld"].into_iter().find(|program| !is_installed(program)) {
        return skip("c", &format!("{missing} is not installed"));
    }
    let folder = Folder::new();
    folder.plugin(&["new", "knock", "--lang", "c"]).exits_with(0);
    let template = std::fs::read_to_string(folder.path().join("knock/plugin.c")).unwrap();
    let (before, _) = template.split_once("PORTSPLIT_EXPORT(portsplit_classify)").unwrap();
    folder.write("knock/plugin.c", format!("{before}{}", block("c", "portsplit_classify")));
    folder.write("knock/plugin.toml", block("toml", "[build]"));
    // The case asks for its configuration and a half-close; a match is known before either counts.
    folder.write("knock/cases.toml", block("toml", "[[case]]"));
    builds_passes_and_is_used(&folder);
}

#[test]
fn the_guides_plugin_in_rust_builds_and_passes() {
    if let Some(missing) = rust_is_missing() {
        return skip("rust", missing);
    }
    let folder = Folder::new();
    folder.plugin(&["new", "knock", "--lang", "rust"]).exits_with(0);
    let source = format!(
        "#![cfg_attr(target_arch = \"wasm32\", no_std)]\nuse portsplit_plugin_sdk::prelude::*;\n{}
        pub struct Detector;
        impl Classifier for Detector {{
            type Config = ();
            fn new(_: ()) -> Result<Self, ConfigError> {{
                from_json::<Settings>(\"{{}}\").map(|_| Detector)
            }}
            {}
        }}
        fn in_name(byte: u8) -> bool {{ byte.is_ascii_lowercase() }}\n{}",
        block("rust", "config! {"),
        block("rust", "fn classify"),
        block("rust", "export! {"),
    );
    folder.write("knock/src/lib.rs", source);
    folder.write("knock/cases.toml", block("toml", "[[case]]").replace("config = { version = 2 }", ""));
    folder.plugin(&["build", "knock"]).exits_with(0);
    folder.plugin(&["test", "knock", "--inputs", "1000"]).exits_with(0).says(&["all passed"]);
}
