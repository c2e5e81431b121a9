//! The module a verb is about: finding it, loading it as the server would, and explaining why it cannot be used.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use portsplit_runtime::{
    CallError, ContractError, LoadError, ModuleInfo, Plugin, PluginOptions, Runtime, RuntimeOptions,
};
use serde_json::{Value, json};

use super::progress::announced;
use crate::cli::Failure;
use crate::cli::describe::{printable, printable_lines};
use crate::plugin::{SHIPPED, cache_dir, shipped};

/// A module and how it was named.
#[derive(Debug)]
pub(super) struct Module {
    /// As the user wrote it, safe to print.
    pub(super) name: String,
    /// Where it lies; `None` for a shipped plugin.
    pub(super) path: Option<PathBuf>,
    pub(super) wasm: Vec<u8>,
}

/// The plugin's own configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Configured {
    /// The plugin's configuration as JSON, such as '{"version": 2}'.
    // The same type as the program's own `--config`, which this takes the place of.
    #[arg(long, value_name = "JSON")]
    config: Option<PathBuf>,
}

impl Configured {
    /// Returns the configuration; null if there is none.
    pub(super) fn value(&self) -> Result<Value, Failure> {
        let Some(text) = &self.config else { return Ok(Value::Null) };
        let text = text.to_string_lossy();
        serde_json::from_str(&text).map_err(|error| {
            let shown = printable(&text);
            Failure::Usage(format!("`--config {shown}` is not JSON: {error}; write it like '{{\"version\": 2}}'"))
        })
    }
}

impl Module {
    /// Finds a module by its path, or among the shipped plugins.
    pub(super) fn find(named: &Path) -> Result<Module, Failure> {
        let name = printable(&named.to_string_lossy());
        if !named.exists()
            && let Some(wasm) = named.to_str().and_then(shipped)
        {
            return Ok(Module { name, path: None, wasm: wasm.to_vec() });
        }
        let wasm = read(named).map_err(|error| {
            let known: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
            Failure::Failed(error.context(format!(
                "`{name}` is neither a module that can be read nor a shipped plugin ({})",
                known.join(", ")
            )))
        })?;
        Ok(Module { name, path: Some(named.to_path_buf()), wasm })
    }

    /// Reads the module without running any of it.
    pub(super) fn inspect(&self) -> Result<ModuleInfo, Failure> {
        portsplit_runtime::inspect(&self.wasm).map_err(|error| refused(&self.name, &error))
    }

    /// Loads it as the server would, with its limits and `config`.
    pub(super) fn load(&self, runtime: &Runtime, config: Value) -> Result<Plugin, LoadError> {
        let options = PluginOptions { config, ..PluginOptions::default() };
        announced(&format!("compiling {}", self.name), || runtime.load(&self.wasm, &options))
    }
}

/// Makes a runtime for a tool: a trap shows the plugin's own call stack.
pub(super) fn runtime(cached: bool) -> Result<Runtime, Failure> {
    let cache_dir = if cached { cache_dir() } else { None };
    let options = RuntimeOptions { cache_dir, backtrace: true, ..RuntimeOptions::default() };
    Runtime::new(options).map_err(|error| Failure::Failed(anyhow!(error)))
}

/// Reads a module's file; WebAssembly text is assembled.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = printable(&path.to_string_lossy());
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot open `{shown}`"))?;
    // One byte past the largest module, so that the runtime says that it is too large.
    let most = PluginOptions::SIZE_CEILING_BYTES as u64 + 1;
    file.take(most).read_to_end(&mut bytes).with_context(|| format!("cannot read `{shown}`"))?;
    if path.extension().is_some_and(|extension| extension == "wat") { assemble(path, &bytes) } else { Ok(bytes) }
}

/// Assembles WebAssembly text.
pub(super) fn assemble(path: &Path, text: &[u8]) -> anyhow::Result<Vec<u8>> {
    wat::parse_bytes(text).map(|wasm| wasm.into_owned()).map_err(|mut error| {
        error.set_path(path);
        anyhow!("cannot assemble it: {error}")
    })
}

/// Says why a module is refused and what to do.
pub(super) fn refused(name: &str, error: &LoadError) -> Failure {
    Failure::Failed(anyhow!("{name}: {}\n  help: {}", printable_lines(&error.to_string()), help(error)))
}

/// The same as JSON.
pub(super) fn refused_json(error: &LoadError) -> Value {
    json!({ "code": code(error), "message": error.to_string(), "help": help(error) })
}

/// A word for each kind of refusal, for programs.
fn code(error: &LoadError) -> &'static str {
    match error {
        LoadError::Limit { .. } => "limit",
        LoadError::TooLarge { .. } => "too-large",
        LoadError::NotWasm { .. } => "not-wasm",
        LoadError::Component => "component",
        LoadError::Malformed { .. } => "malformed",
        LoadError::MissingExport { .. } => "missing-export",
        LoadError::Abi { .. } => "abi",
        LoadError::WrongType { .. } => "wrong-type",
        LoadError::Import { .. } => "import",
        LoadError::TooComplex { .. } => "too-complex",
        LoadError::Memory { .. } => "memory",
        LoadError::Compile { .. } => "compile",
        LoadError::Init { .. } => "init",
        LoadError::ConfigUnsupported => "config-unsupported",
        LoadError::ConfigRefused { .. } => "config-refused",
        LoadError::Configure(_) => "configure",
        LoadError::Manifest(_) => "manifest",
        _ => "other",
    }
}

/// What to do about a refusal.
fn help(error: &LoadError) -> &'static str {
    match error {
        LoadError::TooLarge { .. } => {
            "compile with -Os or -Oz and strip it, or raise `max_size` in its [plugins] table"
        }
        LoadError::NotWasm { .. } | LoadError::Component => {
            "give the core module that your compiler writes, a file that ends in `.wasm`"
        }
        LoadError::Malformed { .. } => "build the module again; the file may have been cut when it was copied",
        LoadError::MissingExport { .. } | LoadError::WrongType { .. } | LoadError::Abi { .. } => {
            "`portsplit plugin new NAME --lang LANGUAGE` writes a plugin with all exports to start from"
        }
        LoadError::Import { .. } => {
            "leave out what needs this import; the guide, docs/plugins.md, lists those that plugins may use"
        }
        LoadError::TooComplex { .. } => "split large functions, or leave out libraries that are not needed",
        LoadError::Memory { .. } => {
            "make the stack or the static data smaller, or raise `memory` in its [plugins] table"
        }
        LoadError::Compile { .. } => "the module is not valid WebAssembly, or uses an extension that is not supported",
        LoadError::Init { .. } | LoadError::Configure(_) => {
            "mend what runs at load: the start function, `_initialize` and `portsplit_configure`"
        }
        LoadError::ConfigUnsupported => "leave out the configuration, or export `portsplit_configure`",
        LoadError::ConfigRefused { .. } => {
            "give another configuration; `portsplit plugin inspect` shows what the plugin takes"
        }
        LoadError::Manifest(_) => "mend the manifest's source and pack it again with `portsplit plugin pack`",
        _ => "run it again with another limit, or on a machine that grants more memory",
    }
}

/// What to do about a call that failed.
pub(super) fn call_help(error: &CallError) -> &'static str {
    match error {
        CallError::Trap { .. } => {
            "an instruction failed, such as an index out of bounds; build with names to see where"
        }
        CallError::OutOfFuel { .. } | CallError::Deadline { .. } => {
            "look for a loop that does not end, or raise `fuel` in its [plugins] table"
        }
        CallError::Abort { .. } => "the plugin itself gave up; a classifier has an answer for every input",
        CallError::Contract(ContractError::BufferRefused { .. }) => {
            "make the buffer larger, or say in the manifest how many bytes it decides by: `max_bytes`"
        }
        CallError::Contract(_) => "the guide of the ABI, docs/plugins.md, says what is expected",
        _ => "try again",
    }
}
