//! All shipped detectors, by their sources: `plugins/NAME/cases.toml`, the laws, each other's cases, size and completeness.
//!
//! The harness runs in this process, for a program started for each would take minutes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portsplit::plugin::SHIPPED;
use portsplit_plugin_sdk::harness::{Cases, Confusion, Laws, Plugin};
use portsplit_runtime::{Runtime, RuntimeOptions};

/// Inputs made for each detector: few, because there are many detectors; `plugin fuzz` is for more.
const INPUTS: u64 = 300;

/// No shipped module may be larger: each call copies what it writes to, and each start compiles it.
const MOST_BYTES: usize = 20 << 10;

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins")
}

/// The cases of a detector's folder, with its examples.
fn cases(name: &str, plugin: &Plugin) -> Cases {
    let file = plugins().join(name).join("cases.toml");
    let examples = Cases::of_manifest(plugin.manifest().unwrap_or_else(|| panic!("{name} has no manifest")));
    assert!(!examples.list.is_empty(), "the manifest of {name} has no examples");
    // Detectors whose cases are tests in Rust have no such file.
    if !file.exists() && plugins().join(name).join("src/tests.rs").exists() {
        return examples;
    }
    let cases = Cases::read(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    cases.and(examples)
}

fn load(runtime: &Runtime, name: &str, wasm: &[u8]) -> Plugin {
    Plugin::wasm(wasm).runtime(runtime).load().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn all() -> Vec<(&'static str, Plugin, Cases)> {
    let runtime = Runtime::new(RuntimeOptions { backtrace: true, ..RuntimeOptions::default() }).unwrap();
    let all = SHIPPED.iter().map(|(name, wasm)| {
        let plugin = load(&runtime, name, wasm);
        let cases = cases(name, &plugin);
        (*name, plugin, cases)
    });
    all.collect()
}

#[test]
fn every_shipped_detector_passes_its_cases_and_keeps_the_laws() {
    let all = all();
    assert!(!all.is_empty(), "nothing is shipped");
    let mut failed = Vec::new();
    for (name, plugin, cases) in &all {
        let outcome = cases.check(plugin);
        if !outcome.passed() {
            failed.push(format!("{name}: {outcome}"));
        }
        let report = Laws::all().over(cases).random(INPUTS).check(plugin);
        if !report.kept() {
            failed.push(format!("{name}: {report}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn no_shipped_detector_matches_the_cases_of_another() {
    let all = all();
    let plugins: Vec<(&Plugin, &Cases)> = all.iter().map(|(_, plugin, cases)| (plugin, cases)).collect();
    let confusion = Confusion::of(&plugins);
    assert!(confusion.rows.iter().all(|row| row.cases > 0), "a detector has no case that matches");
    assert!(confusion.wrong.is_empty(), "{:#?}", confusion.wrong);
}

#[test]
fn every_shipped_detector_is_small_and_has_its_name() {
    for (name, wasm) in SHIPPED {
        assert!(wasm.len() < MOST_BYTES, "{name} has {} bytes, {MOST_BYTES} are too many", wasm.len());
        let manifest = portsplit_runtime::inspect(wasm).unwrap().manifest.unwrap();
        assert_eq!(manifest.name, *name);
    }
}

#[test]
fn every_crate_of_a_detector_is_shipped_and_nothing_else() {
    let entries = std::fs::read_dir(plugins()).unwrap().map(|entry| entry.unwrap());
    let crates = entries.filter(|entry| entry.path().join("Cargo.toml").is_file());
    let crates: BTreeSet<String> = crates.map(|entry| entry.file_name().into_string().unwrap()).collect();
    let shipped: BTreeSet<String> = SHIPPED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let unbuilt: Vec<&String> = crates.difference(&shipped).collect();
    assert!(unbuilt.is_empty(), "not in plugins/dist: {unbuilt:?}; `plugins/build` builds them");
    let orphans: Vec<&String> = shipped.difference(&crates).collect();
    assert!(orphans.is_empty(), "in plugins/dist without a crate: {orphans:?}");
}
