//! All shipped detectors, by their sources: `plugins/NAME/cases.toml`, the laws, each other's cases, size and completeness.
//!
//! The harness runs in this process, for a program started for each would take minutes.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

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
    let cases = Cases::read(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    cases.and(examples)
}

/// The runtime of these tests, with a cache: the laws load modules more than once.
fn runtime() -> Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let cache_dir = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("detectors"));
        Runtime::new(RuntimeOptions { cache_dir, backtrace: true, ..RuntimeOptions::default() }).unwrap()
    });
    RUNTIME.clone()
}

/// Loads a shipped detector, with its cases.
fn load(name: &str, wasm: &[u8]) -> (Plugin, Cases) {
    let plugin = Plugin::wasm(wasm).runtime(&runtime()).load().unwrap_or_else(|error| panic!("{name}: {error}"));
    let cases = cases(name, &plugin);
    (plugin, cases)
}

#[test]
fn every_shipped_detector_passes_its_cases_and_keeps_the_laws() {
    assert!(!SHIPPED.is_empty(), "nothing is shipped");
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let check = || {
        while let Some((name, wasm)) = SHIPPED.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (plugin, cases) = load(name, wasm);
            let outcome = cases.check(&plugin);
            let report = Laws::all().over(&cases).random(INPUTS).check(&plugin);
            if !outcome.passed() || !report.kept() {
                failed.lock().unwrap().push(format!("{name}: {outcome}\n{report}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(check);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn no_shipped_detector_matches_the_cases_of_another() {
    let loaded: Vec<(Plugin, Cases)> = SHIPPED.iter().map(|(name, wasm)| load(name, wasm)).collect();
    let plugins: Vec<(&Plugin, &Cases)> = loaded.iter().map(|(plugin, cases)| (plugin, cases)).collect();
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
