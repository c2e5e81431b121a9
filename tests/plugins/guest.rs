//! Modules for the tests, assembled from WAT, and the program started with a cache of compiled plugins of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::Portsplit;
use crate::support::tools::Output;

/// The two halves of what most guests share; a body with the parameters `$len` and `$flags` comes between them. The
/// first flight is at 1024, and what a guest may write to is from 24576 on.
const HEAD: &str = r#"(module
    (import "portsplit" "fact" (func $fact (param i32 i32 i32 i32) (result i32)))
    (import "portsplit" "log" (func $log (param i32 i32 i32)))
    (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
    (type $nothing (func))
    (memory (export "memory") 1)
    (table 2 funcref)
    (global $memory (mut i32) (i32.const 0))
    (data (i32.const 0) "aBad Name\00seen\00leaked\00fresh\00line of a plugin")
    (func (export "portsplit_abi_1"))
    (func $overflow (param i64) (result i64)
        (i64.add (call $overflow (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
    (func (export "portsplit_buffer") (param $len i32) (result i32)
"#;

/// Makes a module whose `portsplit_classify` has the body `classify`; the first byte is at address 1024.
#[track_caller]
pub fn classifier(classify: &str) -> Vec<u8> {
    with_buffer("(i32.const 1024)", classify)
}

/// Like [`classifier`], with a body for `portsplit_buffer` as well.
#[track_caller]
pub fn with_buffer(buffer: &str, classify: &str) -> Vec<u8> {
    assemble(&format!(
        "{HEAD}{buffer})\n(func (export \"portsplit_classify\") (param $len i32) (param $flags i32) (result i64)\n\
         {classify}))\n"
    ))
}

/// Assembles a module.
#[track_caller]
pub fn assemble(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"))
}

/// Assembles `tests/guests/NAME.wat`.
#[track_caller]
pub fn from_file(name: &str) -> Vec<u8> {
    let path = root().join("tests/guests").join(name).with_extension("wat");
    wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// The folder of the whole project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A folder of modules.
pub struct Modules(TempDir);

impl Modules {
    /// Makes an empty one.
    pub fn new() -> Modules {
        Modules(tempfile::tempdir().expect("a temporary folder can be made"))
    }

    /// Makes one with the module `NAME.wasm`.
    pub fn with(name: &str, wasm: &[u8]) -> Modules {
        let modules = Modules::new();
        modules.add(name, wasm);
        modules
    }

    /// Writes `NAME.wasm` and returns its path.
    pub fn add(&self, name: &str, wasm: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, wasm).expect("a module can be written");
        path
    }

    /// Where `NAME.wasm` is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name).with_extension("wasm")
    }

    /// The key that makes the program find them by name.
    pub fn key(&self) -> String {
        format!("plugin_path = [\"{}\"]\n", self.0.path().display())
    }
}

/// Where the program keeps compiled plugins: the tests' folder, not the user's cache.
const CACHE: &str = env!("CARGO_TARGET_TMPDIR");

/// Starts the program with `config`.
#[track_caller]
pub fn start(config: &str) -> Portsplit {
    Portsplit::start_under(&["env", &format!("XDG_CACHE_HOME={CACHE}")], config)
}

/// Compiles the plugins of `config`, so that [`start`] finds them compiled: Go's take longer than a start may on a machine
/// that is busy.
#[track_caller]
pub fn compile(config: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("compile.toml");
    std::fs::write(&file, config).expect("the configuration can be written");
    let mut command = std::process::Command::new(crate::support::portsplit::program());
    command.arg("check").arg("-c").arg(&file).env("XDG_CACHE_HOME", CACHE);
    let output = crate::support::process::run(command, b"", Duration::from_secs(300), "check");
    assert_eq!(output.code, Some(0), "{}", said(&output));
}

/// What the program says about a refused file, on both of its outputs.
pub fn said(output: &Output) -> String {
    format!("{}{}", output.text(), output.stderr)
}
