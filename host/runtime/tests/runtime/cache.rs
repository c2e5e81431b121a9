//! Compiled code on disk: used when it is ours and intact, replaced without a word when it is not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use portsplit_runtime::{Flags, Plugin, PluginOptions, Preparation, Runtime, RuntimeOptions, Verdict};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{wasm, with_body, with_parts};

const MATCH: &str = "(i64.const 0x1_0000_0000)";

struct Place {
    _base: TempDir,
    dir: PathBuf,
}

impl Place {
    fn new() -> Place {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("deep/cache");
        Place { _base: base, dir }
    }

    /// A runtime of its own each time, like a restarted process.
    fn load(&self, wat: &str, options: &PluginOptions) -> Plugin {
        let runtime = Runtime::new(RuntimeOptions { cache_dir: Some(self.dir.clone()), ..Default::default() }).unwrap();
        let plugin = runtime.load(&wasm(wat), options).unwrap();
        assert_eq!(plugin.classify(b"a", Flags::NONE).unwrap().verdict, Verdict::Match);
        plugin
    }

    fn hits(&self) -> bool {
        self.load(&with_body(MATCH), &PluginOptions::default()).info().from_cache
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    fn file(&self) -> PathBuf {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_second_load_comes_from_a_private_file() {
    let place = Place::new();
    assert!(!place.hits());
    assert!(place.hits());
    assert_eq!((mode(&place.dir), mode(&place.file())), (0o700, 0o600));
}

#[test]
fn module_configuration_and_memory_each_have_their_own_entry() {
    let place = Place::new();
    let text = with_parts("", MATCH, r#"(func (export "portsplit_configure") (param i32) (result i32) (i32.const 0))"#);
    let options = [
        PluginOptions::default(),
        PluginOptions { config: json!({}), ..PluginOptions::default() },
        PluginOptions { config: json!({"a": 1}), ..PluginOptions::default() },
        PluginOptions { memory_bytes: 8 << 20, ..PluginOptions::default() },
    ];
    for (i, options) in options.iter().enumerate() {
        assert!(!place.load(&text, options).info().from_cache, "{i}");
    }
    assert!(!place.hits());
    // And what prepares it, which is the same for each configuration.
    assert_eq!(place.files().len(), 6);
    let again = place.load(&text, &options[2]);
    assert_eq!((again.info().from_cache, again.info().preparation), (true, Preparation::Snapshot));
    // Fuel is not compiled in.
    assert!(place.load(&text, &PluginOptions { fuel: 5000, ..PluginOptions::default() }).info().from_cache);
}

#[test]
fn what_prepares_a_module_is_compiled_once_whatever_its_configuration() {
    let place = Place::new();
    let refuse = r#"(func (export "portsplit_configure") (param $len i32) (result i32)
        (i32.ne (local.get $len) (i32.const 7)))"#;
    let text = with_parts("", MATCH, refuse);
    let options = |config| PluginOptions { config, ..PluginOptions::default() };
    let runtime = Runtime::new(RuntimeOptions { cache_dir: Some(place.dir.clone()), ..Default::default() }).unwrap();
    for config in [json!({}), json!({"a": 10}), json!("x")] {
        assert!(runtime.load(&wasm(&text), &options(config)).is_err());
    }
    let prepares = place.file();
    let written = fs::metadata(&prepares).unwrap().modified().unwrap();
    assert!(!place.load(&text, &options(json!({"a": 1}))).info().from_cache);
    assert_eq!(place.files().len(), 2, "and the result of the configuration it accepts");
    assert_eq!(fs::metadata(&prepares).unwrap().modified().unwrap(), written, "it is not written again");
    // A damaged one is compiled anew.
    fs::write(&prepares, "damaged").unwrap();
    assert!(!place.load(&text, &options(json!({"a": 2}))).info().from_cache);
    assert!(fs::metadata(&prepares).unwrap().len() > 100);
}

#[test]
fn a_file_damaged_anywhere_is_compiled_anew_and_replaced() {
    let place = Place::new();
    place.hits();
    let intact = fs::read(place.file()).unwrap();
    let step = intact.len() / 16;
    let mut damaged: Vec<Vec<u8>> =
        vec![Vec::new(), intact[..40].to_vec(), intact[..intact.len() - 1].to_vec(), vec![7; 4096]];
    for at in (0..56).chain((56..intact.len()).step_by(step)) {
        let mut bytes = intact.clone();
        bytes[at] ^= 0x10;
        damaged.push(bytes);
    }
    for (i, bytes) in damaged.iter().enumerate() {
        fs::write(place.file(), bytes).unwrap();
        // The fuel of the preparation (bytes 16 to 23) is not code; a change there is believed.
        let believed = (4 + 16..4 + 24).contains(&i);
        assert_eq!(place.hits(), believed, "case {i}");
        assert!(place.hits(), "replaced, case {i}");
    }
}

#[test]
fn files_and_directories_open_to_others_are_not_trusted() {
    let place = Place::new();
    place.hits();
    for bad in [0o644, 0o620, 0o602, 0o666, 0o700 | 0o004] {
        chmod(&place.file(), bad);
        assert!(!place.hits(), "{bad:o}");
        assert_eq!(mode(&place.file()), 0o600, "replaced");
    }
    for bad in [0o755, 0o770, 0o701, 0o1777] {
        chmod(&place.dir, bad);
        assert!(!place.hits(), "{bad:o}");
        assert!(!place.hits(), "{bad:o} again");
    }
    chmod(&place.dir, 0o700);
    assert!(place.hits());
}

#[test]
fn symbolic_links_are_not_followed() {
    let place = Place::new();
    place.hits();
    let (file, elsewhere) = (place.file(), place.dir.with_extension("elsewhere"));
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    assert!(!place.hits());
    assert!(fs::symlink_metadata(&file).unwrap().is_file(), "the link is replaced");
    let real = place.dir.with_extension("real");
    fs::rename(&place.dir, &real).unwrap();
    symlink(&real, &place.dir).unwrap();
    assert!(!place.hits());
    assert_eq!(fs::read_dir(&real).unwrap().count(), 1);
}

#[test]
fn a_pipe_or_a_directory_in_place_of_a_file_does_not_stop_a_load() {
    let place = Place::new();
    place.hits();
    let file = place.file();
    fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(!place.hits());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(!place.hits());
    assert!(!place.hits());
}

#[test]
fn a_directory_that_cannot_be_made_is_done_without() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    for dir in [file.clone(), file.join("below"), PathBuf::from("/proc/nowhere/cache"), PathBuf::new()] {
        let runtime = Runtime::new(RuntimeOptions { cache_dir: Some(dir), ..Default::default() }).unwrap();
        assert!(runtime.load(&wasm(&with_body(MATCH)), &PluginOptions::default()).is_ok());
    }
}

#[test]
fn old_files_go_when_there_are_too_many() {
    let place = Place::new();
    place.hits();
    for i in 0..140 {
        let path = place.dir.join(format!("{i:064x}.code"));
        fs::write(&path, "old").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 + i);
        fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    }
    place.load(&with_parts("", MATCH, "(func)"), &PluginOptions::default());
    assert_eq!(place.files().len(), 128);
    assert!(place.hits(), "the newest stay");
}
