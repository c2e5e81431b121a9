//! The committed modules of the shipped plugins answer as their sources do, run natively.

#![allow(clippy::panic)]

use std::path::Path;

use portsplit_plugin_sdk::harness::{Cases, Plugin, differential};
use portsplit_plugin_sdk::native::NativePlugin;

/// Inputs besides the examples of the manifests, at every prefix and with every flag.
const INPUTS: u64 = 20_000;

#[track_caller]
fn alike(name: &str, native: NativePlugin) {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist");
    let wasm = Plugin::wasm_file(dist.join(name).with_extension("wasm")).load();
    let wasm = wasm.unwrap_or_else(|error| panic!("{name}: {error}"));
    let native = Plugin::native(native).load().unwrap_or_else(|error| panic!("{name}: {error}"));
    if let Some(difference) = differential(&native, &wasm, &Cases::default(), INPUTS) {
        panic!("{name}: {difference}\nplugins/build makes the modules anew");
    }
}

#[test]
fn ssh_is_what_its_source_says() {
    alike("ssh", portsplit_plugin_ssh::portsplit_plugin());
}

#[test]
fn tls_is_what_its_source_says() {
    alike("tls", portsplit_plugin_tls::portsplit_plugin());
}
