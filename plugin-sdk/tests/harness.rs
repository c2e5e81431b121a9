//! Who tests the tester: each plugin of `tests/bad-plugins` breaks exactly the law its file is named after, and the
//! harness must say so, by that law and no other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portsplit_plugin_sdk::harness::{Cases, Law, Laws, Plugin, Report};

/// Inputs made for each plugin in one check.
const INPUTS: u64 = 10_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/bad-plugins")
}

fn load(name: &str) -> Plugin {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    let wasm = wat::parse_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    Plugin::wasm(wasm).load().unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The files and the law each is named after: `law.wat` or `law.what.wat`.
fn bad_plugins() -> Vec<(String, Law)> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names.retain(|name| name.ends_with(".wat") && name != "good.wat");
    names.into_iter().map(|name| (name.clone(), name.split('.').next().unwrap().parse().unwrap())).collect()
}

#[test]
fn every_law_has_a_plugin_that_breaks_it() {
    let named: Vec<Law> = bad_plugins().into_iter().map(|(_, law)| law).collect();
    for law in Law::ALL {
        assert!(named.contains(&law), "no plugin breaks `{law}`");
    }
}

/// Checks with one seed after the other until a law is broken, and no more than the bug needs.
fn check_until_broken(plugin: &Plugin) -> Report {
    let mut checks = (1..=20).map(|seed| Laws::all().random(INPUTS).seed(seed).check(plugin));
    checks.find(|report| !report.kept()).expect("the bug is not found")
}

#[test]
fn a_bad_plugin_breaks_its_law_and_no_other() {
    for (name, law) in bad_plugins() {
        let report = check_until_broken(&load(&name));
        let broken: Vec<Law> = report.violations().map(|violation| violation.law).collect();
        assert_eq!(broken, [law], "{name}\n{report}");
        println!("{name}: {report}");
    }
}

#[test]
fn a_good_plugin_keeps_every_law() {
    for seed in 1..=3 {
        Laws::all().random(INPUTS).seed(seed).check(&load("good.wat")).assert_kept();
    }
}

#[test]
fn the_fuzzer_finds_each_bug_from_nothing_but_the_module() {
    for (name, law) in bad_plugins() {
        let plugin = load(&name);
        let start = Instant::now();
        let report = Laws::all().seed(7).for_time(Duration::from_secs(60)).stop_at_first().check(&plugin);
        assert!(report.violation(law).is_some(), "{name}\n{report}");
        println!("{name}: {:.2?}, {} inputs", start.elapsed(), report.inputs);
    }
}

#[test]
fn a_counter_example_is_small_and_pastes_as_a_case_that_fails() {
    for (name, law) in bad_plugins() {
        let plugin = load(&name);
        let report = check_until_broken(&plugin);
        let violation = report.violation(law).unwrap();
        assert!(violation.bytes.len() <= 192, "{name}: {violation}");
        if law == Law::Config {
            continue;
        }
        let cases = Cases::parse(&violation.case.to_string(), ".").unwrap();
        assert_eq!(cases.list[0].bytes, violation.bytes, "{name}");
        // What only shows in a second call of one instance is not something a case can say.
        assert!(law == Law::Pure || !cases.check(&plugin).passed(), "{name}: the case passes\n{violation}");
    }
}

#[test]
fn the_same_seed_finds_the_same() {
    let plugin = load("monotone.wat");
    let run = || Laws::all().seed(5).random(20_000).check(&plugin).violation(Law::Monotone).unwrap().to_string();
    assert_eq!(run(), run());
}

#[test]
fn a_waived_law_is_not_checked_and_says_why() {
    let report = Laws::all().waive(Law::Monotone, "known").random(5_000).check(&load("monotone.wat"));
    assert!(report.kept(), "{report}");
    assert!(report.to_string().contains("waived: known"), "{report}");
}

#[test]
fn the_shipped_plugins_pass_their_examples_and_keep_every_law() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/dist");
    let mut found = 0;
    for entry in std::fs::read_dir(dist).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        found += 1;
        let plugin = Plugin::wasm_file(&path).load().unwrap();
        Cases::of_manifest(plugin.manifest().unwrap()).check(&plugin).assert_passed();
        Laws::all().random(5_000).check(&plugin).assert_kept();
    }
    assert!(found > 0);
}

#[test]
fn the_example_in_wat_passes_its_cases_and_keeps_every_law() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/examples/wat");
    let mut manifest: serde_json::Value =
        toml::from_str(&std::fs::read_to_string(folder.join("plugin.toml")).unwrap()).unwrap();
    let table = manifest.as_object_mut().unwrap();
    table.remove("build");
    table.entry("abi").or_insert_with(|| "1.0".into());
    let wasm = wat::parse_file(folder.join("plugin.wat")).unwrap();
    let wasm = portsplit_runtime::pack(&wasm, manifest.to_string().as_bytes()).unwrap();
    let plugin = Plugin::wasm(wasm).load().unwrap();
    let cases = Cases::read(folder.join("cases.toml")).unwrap();
    cases.check(&plugin).assert_passed();
    Laws::all().over(&cases).random(5_000).check(&plugin).assert_kept();
}
