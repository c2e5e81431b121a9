//! `portsplit plugin pack`: puts a manifest into a module of any language, if the result can be used.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use portsplit_runtime::Plugin;
use serde_json::{Value, json};

use super::module::{Module, read, refused, runtime};
use super::project::{Project, write};
use crate::cli::describe::{count, printable};
use crate::cli::{Failure, print, print_json, say};

const EXAMPLES: &str = "\
Examples:
  portsplit plugin pack module.wasm -m plugin.toml -o my-protocol.wasm
  portsplit plugin pack module.wasm -m manifest.json -o my-protocol.wasm

Exit codes: 0 done, 1 the result could not be used and nothing was written, 2 wrong usage.";

/// Put a manifest into a module.
///
/// The manifest is everything in plugin.toml but [build]. What `plugin check` rejects is not written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The module; a manifest it has is replaced.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The manifest, as plugin.toml or as JSON.
    #[arg(short, long, value_name = "FILE")]
    manifest: PathBuf,
    /// The module to write.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let wasm = read(&args.input)?;
    let Some(manifest) = Project::read(&args.manifest)?.manifest else {
        let shown = printable(&args.manifest.to_string_lossy());
        return Err(Failure::Failed(anyhow!("`{shown}` has no manifest: it needs at least `name` and `version`")));
    };
    let name = printable(&args.input.to_string_lossy());
    let (module, plugin) = packed(name, &wasm, Some(&manifest))?;
    write(&args.output, &module.wasm)?;
    let module = Module { name: printable(&args.output.to_string_lossy()), ..module };
    report(&module, &plugin, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Puts a manifest into a module, if there is one, and loads the result as the server would.
pub(super) fn packed(name: String, wasm: &[u8], manifest: Option<&Value>) -> Result<(Module, Plugin), Failure> {
    let wasm = match manifest {
        Some(manifest) => portsplit_runtime::pack(wasm, manifest.to_string().as_bytes()),
        None => Ok(wasm.to_vec()),
    };
    let wasm = wasm.map_err(|error| refused(&name, &error))?;
    let module = Module { name, path: None, wasm };
    let plugin = module.load(&runtime(false)?, Value::Null).map_err(|error| refused(&module.name, &error))?;
    Ok((module, plugin))
}

/// Says what was written, and what its author should know.
pub(super) fn report(module: &Module, plugin: &Plugin, json: bool) -> Result<(), Failure> {
    for warning in &plugin.info().module.warnings {
        say(&format!("warning: {}: {}", module.name, printable(warning)));
    }
    let (version, size) = (plugin.manifest().map_or("", |manifest| &manifest.version), module.wasm.len());
    if json {
        let sha256 = plugin.info().module.sha256_hex();
        return print_json(&json!({
            "file": module.name, "name": plugin.name(), "version": version, "size_bytes": size, "sha256": sha256,
            "warnings": plugin.info().module.warnings,
        }));
    }
    let (plugin, version) = (printable(plugin.name()), printable(version));
    print(format!("{}: {plugin} {version}, {}\n", module.name, count(size, "byte")).as_bytes())
}
