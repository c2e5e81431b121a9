//! The SDK that the program carries, without its harness: a crate that needs no other and so builds without a network.

/// The folder it is written to, in the plugin's own.
pub(super) const FOLDER: &str = "sdk";

/// Its sources, below `src`.
static SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// The file that says what it is, with what the workspace gives it in the checkout.
const MANIFEST: &str = concat!(
    r#"# The SDK of portsplit "#,
    env!("CARGO_PKG_VERSION"),
    r#", without the tests of plugins: `portsplit plugin test` has these.
[package]
name = "portsplit-plugin-sdk"
description = "Write classifiers for portsplit: a three-valued cursor, facts, typed configuration"
version = ""#,
    env!("CARGO_PKG_VERSION"),
    r#""
edition = "2024"
rust-version = ""#,
    env!("CARGO_PKG_RUST_VERSION"),
    r#""
license = ""#,
    env!("CARGO_PKG_LICENSE"),
    r#""
publish = false

[features]
# Leaves the panic handler in wasm to std, for plugins that use std there.
std = []

[lints.rust]
unexpected_cfgs = { level = "warn", check-cfg = ['cfg(feature, values("harness"))'] }
"#
);

/// The files of the crate: name and text.
pub(super) fn files() -> impl Iterator<Item = (String, &'static str)> {
    let sources = SOURCES.iter().map(|(name, text)| (format!("src/{name}"), *text));
    std::iter::once(("Cargo.toml".to_owned(), MANIFEST)).chain(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_whole_and_has_no_harness() {
        let names: Vec<String> = files().map(|(name, _)| name).collect();
        for wanted in ["Cargo.toml", "src/lib.rs", "src/cursor.rs", "src/cursor/text.rs", "src/wasm.rs"] {
            assert!(names.iter().any(|name| name == wanted), "no {wanted} in {names:?}");
        }
        assert!(!names.iter().any(|name| name.contains("harness")), "{names:?}");
    }
}
