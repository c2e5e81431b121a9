//! `portsplit plugin check`: whether a module can be used, and what it takes.

use std::path::PathBuf;
use std::process::ExitCode;

use portsplit_runtime::{Flags, Plugin, PluginOptions, Preparation};
use serde_json::{Value, json};

use super::module::{Configured, Module, call_help, refused, refused_json, runtime};
use crate::cli::describe::{count, printable, printable_lines, size};
use crate::cli::table::Table;
use crate::cli::{EXIT_FAILED, Failure, print, print_json, say};

const EXAMPLES: &str = "\
Examples:
  portsplit plugin check my.wasm
  portsplit plugin check my.wasm --config '{\"version\": 2}'   with a configuration, which it may refuse
  portsplit plugin check tls --json

Exit codes: 0 it can be used, 1 it cannot, 2 wrong usage.";

/// Tell whether a module can be used as a plugin, and what it takes.
///
/// Loads it as the server does, with the default limits: exports, imports, sizes, manifest, what runs once at load, one
/// call without a byte, and one with as many zeros as it may be shown.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The module, or the name of a shipped plugin.
    file: PathBuf,
    #[command(flatten)]
    config: Configured,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// The most bytes that a plugin is shown unless the configuration says otherwise.
const FIRST_FLIGHT: usize = 16 << 10;

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let config = args.config.value()?;
    let module = Module::find(&args.file)?;
    // Without the cache, so that everything is done and measured.
    let loaded = module.load(&runtime(false)?, config);
    let plugin = match loaded {
        Ok(plugin) => plugin,
        Err(error) if args.json => {
            print_json(&json!({ "ok": false, "file": module.name, "errors": [refused_json(&error)] }))?;
            return Ok(ExitCode::from(EXIT_FAILED));
        }
        Err(error) => return Err(refused(&module.name, &error)),
    };
    let (called, stats) = plugin.classify_measured(b"", Flags::NONE);
    let most = plugin.manifest().and_then(|manifest| manifest.max_bytes).map_or(FIRST_FLIGHT, |most| most as usize);
    let zeros = vec![0; most.min(FIRST_FLIGHT)];
    let asked = [(0, called), (zeros.len(), plugin.classify(&zeros, Flags::NONE))];
    let failed = asked.iter().find_map(|(bytes, called)| Some((bytes, called.as_ref().err()?)));
    if args.json {
        let errors: Vec<Value> = failed
            .iter()
            .map(|(_, error)| json!({ "code": error.kind(), "message": error.to_string(), "help": call_help(error) }))
            .collect();
        let mut found = facts(&plugin);
        if let Value::Object(found) = &mut found {
            found.insert("ok".to_owned(), errors.is_empty().into());
            found.insert("file".to_owned(), module.name.into());
            found.insert("errors".to_owned(), errors.into());
            found.insert("call_fuel".to_owned(), stats.fuel.into());
        }
        print_json(&found)?;
    } else if let Some((bytes, error)) = failed {
        let (message, bytes) = (printable_lines(&error.to_string()), count(*bytes, "byte"));
        say(&format!("portsplit: {}: called with {bytes}, {message}\n  help: {}", module.name, call_help(error)));
    } else {
        for warning in &plugin.info().module.warnings {
            say(&format!("warning: {}", printable(warning)));
        }
        print(summary(&module, &plugin, stats.memory_bytes).as_bytes())?;
    }
    Ok(ExitCode::from(if failed.is_some() { EXIT_FAILED } else { 0 }))
}

fn summary(module: &Module, plugin: &Plugin, memory_bytes: usize) -> String {
    let (info, limits) = (plugin.info(), plugin.options());
    let most = |bytes: usize| size(bytes as u64);
    let warnings = match info.module.warnings.len() {
        0 => "no warnings".to_owned(),
        some => count(some, "warning"),
    };
    let mut table = Table::default();
    let mut row = |what: &str, found: String| table.push([format!("  {what}"), found]);
    row("module", format!("{} of at most {}", count(info.module.size_bytes, "byte"), most(limits.max_size_bytes)));
    row("imports", listed(&info.module.imports));
    row("memory", format!("{} after a call, of at most {}", most(memory_bytes), most(limits.memory_bytes)));
    let init = match info.preparation {
        Preparation::Nothing => "nothing has to run at load".to_owned(),
        Preparation::Snapshot => format!("ran once, {} fuel; calls start from its result", info.init_fuel),
        Preparation::EveryCall => format!("runs in every call, {} fuel, besides the call's own", info.init_fuel),
    };
    row("start", init);
    let config = match (info.module.takes_config, limits.config.is_null()) {
        (false, _) => "it takes none".to_owned(),
        (true, true) => "it takes one, and works without".to_owned(),
        (true, false) => format!("accepted: {}", printable(&limits.config.to_string())),
    };
    row("config", config);
    row("manifest", manifest(plugin));
    let compiled = info.compile_time.as_secs_f64() * 1e3;
    row("compiled", format!("{} of code in {compiled:.1} ms", most(info.code_bytes)));
    format!("{}: can be used, {warnings}\n{}", module.name, table.render())
}

fn manifest(plugin: &Plugin) -> String {
    let Some(manifest) = plugin.manifest() else { return "none: its facts cannot be checked in `where`".to_owned() };
    let (name, version) = (&manifest.name, printable(&manifest.version));
    let (facts, examples) = (count(manifest.facts.len(), "fact"), count(manifest.examples.len(), "example"));
    format!("{name} {version}, ABI {}, {facts}, {examples}", manifest.abi)
}

pub(super) fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { printable(&names.join(", ")) }
}

fn facts(plugin: &Plugin) -> Value {
    let (info, limits) = (plugin.info(), plugin.options());
    let preparation = match info.preparation {
        Preparation::Nothing => "nothing",
        Preparation::Snapshot => "once",
        Preparation::EveryCall => "every-call",
    };
    json!({
        "name": plugin.name(),
        "version": plugin.manifest().map(|manifest| &manifest.version),
        "abi": plugin.manifest().map_or("1.0", |manifest| &manifest.abi),
        "imports": info.module.imports,
        "takes_config": info.module.takes_config,
        "size_bytes": info.module.size_bytes,
        "memory_bytes": info.module.memory_bytes,
        "preparation": preparation,
        "init_fuel": info.init_fuel,
        "code_bytes": info.code_bytes,
        "prepare_ms": info.prepare_time.as_secs_f64() * 1e3,
        "compile_ms": info.compile_time.as_secs_f64() * 1e3,
        "limits": {
            "fuel": limits.fuel,
            "memory_bytes": limits.memory_bytes,
            "max_size_bytes": limits.max_size_bytes.min(PluginOptions::SIZE_CEILING_BYTES),
        },
        "warnings": info.module.warnings,
    })
}
