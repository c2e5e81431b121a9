//! `portsplit plugin build`: runs the language's own command, then adds the manifest and checks the result.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, anyhow};

use super::module::{assemble, read};
use super::pack::{packed, report};
use super::project::{Build, Project, write};
use crate::cli::Failure;
use crate::cli::describe::printable;

const EXAMPLES: &str = "\
Examples:
  portsplit plugin build                  the plugin of this folder, to target/NAME.wasm
  portsplit plugin build my-protocol

Exit codes: 0 done, 1 it failed, 2 wrong usage.";

/// What Rust's compiler calls the target of plugins.
const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// What clang links modules with.
const WASM_LINKER: &str = "wasm-ld";

/// Compile a plugin and add its manifest.
///
/// Runs the command in [build] of plugin.toml, adds the manifest to the module that it makes, checks it, and writes
/// target/NAME.wasm. WebAssembly text is assembled without any command.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The plugin's folder, where plugin.toml is.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let project = Project::of_folder(&args.dir)?;
    let Some(build) = &project.build else {
        return Err(Failure::Failed(anyhow!(
            "plugin.toml has no [build]; add `command`, which compiles, and `output`, the module it makes"
        )));
    };
    let target = args.dir.join("target");
    fs::create_dir_all(&target).with_context(|| format!("cannot make `{}`", printable(&target.to_string_lossy())))?;
    let wasm = match &build.wat {
        Some(wat) => assembled(&args.dir.join(wat))?,
        None => compiled(&args.dir, build)?,
    };
    let shown = printable(&args.dir.join(&build.output).to_string_lossy());
    let (module, plugin) = packed(shown, &wasm, project.manifest.as_ref())?;
    let file = plugin
        .manifest()
        .map(|manifest| manifest.name.clone())
        .ok_or_else(|| anyhow!("the module has no manifest; add `name` and `version` to plugin.toml"))?;
    let path = target.join(format!("{file}.wasm"));
    write(&path, &module.wasm)?;
    let module = super::module::Module { name: printable(&path.to_string_lossy()), ..module };
    report(&module, &plugin, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn assembled(path: &Path) -> anyhow::Result<Vec<u8>> {
    let text = fs::read(path).with_context(|| format!("cannot read `{}`", printable(&path.to_string_lossy())))?;
    assemble(path, &text)
}

/// Runs the command in the plugin's folder and reads what it made.
fn compiled(folder: &Path, build: &Build) -> anyhow::Result<Vec<u8>> {
    let Some((program, arguments)) = build.command.split_first() else {
        return Err(anyhow!("`command` in [build] is empty"));
    };
    if let Some(missing) = missing(program, build) {
        return Err(anyhow!(
            "{missing}{}",
            if build.install.is_empty() { String::new() } else { format!("; {}", build.install) }
        ));
    }
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).envs(&build.env).stdin(Stdio::null());
    // The module is looked for in the folder, whatever the caller's own builds use.
    command.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR").env_remove("CARGO_BUILD_TARGET");
    // Standard output is for the result of this command.
    command.stdout(io::stderr());
    let status = command.status().with_context(|| format!("cannot run `{}`", printable(program)))?;
    if !status.success() {
        let shown = printable(&build.command.join(" "));
        return Err(anyhow!("the build failed, {status}: `{shown}` in `{}`", printable(&folder.to_string_lossy())));
    }
    read(&folder.join(&build.output)).context("the build made no module where `output` in [build] says")
}

/// Says what keeps this machine from building, if anything does.
fn missing(program: &str, build: &Build) -> Option<String> {
    if program.contains('/') {
        return None;
    }
    let Some(path) = in_path(program) else {
        return Some(format!("`{}` is not installed", printable(program)));
    };
    // Programs that need another one, whose own words for its absence are several lines or none that help.
    if let Some(interpreter) = interpreter(&path).filter(|interpreter| in_path(interpreter).is_none()) {
        return Some(format!("`{}`, which runs `{}`, is not installed", printable(&interpreter), printable(program)));
    }
    if program == "clang" && !clang_has_linker() {
        return Some(format!("`{WASM_LINKER}`, which links for `clang`, is not installed"));
    }
    let for_rust = program == "cargo" && build.command.iter().any(|argument| argument == RUST_TARGET);
    if for_rust && !has_rust_target() {
        return Some(format!("Rust has no target {RUST_TARGET}"));
    }
    None
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What the first line of a script says has to be found to run it: `node` in `#!/usr/bin/env node`.
fn interpreter(script: &Path) -> Option<String> {
    let mut start = [0; 128];
    let length = fs::File::open(script).and_then(|mut file| file.read(&mut start)).ok()?;
    let line = start.get(..length)?.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
    let is_env = Path::new(words.next()?).file_name().is_some_and(|name| name == "env");
    words.next().filter(|name| is_env && !name.starts_with('-')).map(str::to_owned)
}

/// Tells whether clang finds its linker, in a place of its own or in the path; one that cannot be asked gets to speak for
/// itself.
fn clang_has_linker() -> bool {
    let asked = Command::new("clang").arg(format!("--print-prog-name={WASM_LINKER}")).output();
    let Some(output) = asked.ok().filter(|output| output.status.success()) else { return true };
    let named = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if named.is_absolute() { named.is_file() } else { in_path(WASM_LINKER).is_some() }
}

/// Tells whether the compiler has the target's libraries; a compiler that cannot be asked gets to speak for itself.
fn has_rust_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", RUST_TARGET]).output();
    let Some(output) = asked.ok().filter(|output| output.status.success()) else { return true };
    let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    fs::read_dir(folder).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-")))
    })
}
