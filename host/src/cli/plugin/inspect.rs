//! `portsplit plugin inspect`: what a module says about itself, without running any of it.

use std::path::PathBuf;
use std::process::ExitCode;

use portsplit_runtime::{Example, ExampleVerdict, Manifest, ModuleInfo};
use serde_json::{Value, json};

use super::check::listed;
use super::module::Module;
use crate::cli::describe::{count, excerpt, printable, size};
use crate::cli::table::Table;
use crate::cli::{Failure, print, print_json};

const EXAMPLES: &str = "\
Examples:
  portsplit plugin inspect tls
  portsplit plugin inspect my.wasm --toml >> portsplit.toml   the lines that use it
  portsplit plugin inspect my.wasm --json

Exit codes: 0 done, 1 it is not a plugin, 2 wrong usage.";

/// Bytes of an example that are shown.
const SHOWN_BYTES: usize = 24;

/// Show what a plugin says about itself, and what it may do.
///
/// Nothing of the module runs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The module, or the name of a shipped plugin.
    file: PathBuf,
    /// Print a [[service]] block, and a [plugins] table if it takes configuration, for the configuration file.
    #[arg(long, conflicts_with = "json")]
    toml: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let module = Module::find(&args.file)?;
    let info = module.inspect()?;
    if args.json {
        print_json(&as_json(&module, &info))?;
    } else if args.toml {
        print(as_toml(&module, &info).as_bytes())?;
    } else {
        print(as_text(&info).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn as_text(info: &ModuleInfo) -> String {
    let mut table = Table::default();
    let mut row = |what: &str, found: String| table.push([what.to_owned(), found]);
    match &info.manifest {
        Some(manifest) => about(manifest, &mut row),
        None => row("manifest", "none".to_owned()),
    }
    row("config", if takes_config(info) { "it takes one".to_owned() } else { "it takes none".to_owned() });
    row("imports", listed(&info.imports));
    row("exports", listed(&info.exports));
    let pages = usize::try_from(info.memory_bytes / 65_536).unwrap_or(usize::MAX);
    row("memory", format!("{} ({}) at the start", size(info.memory_bytes), count(pages, "page")));
    row("functions", info.functions.to_string());
    row("size", count(info.size_bytes, "byte"));
    row("sha256", info.sha256_hex());
    for warning in &info.warnings {
        row("warning", printable(warning));
    }
    let mut text = table.render();
    let Some(manifest) = &info.manifest else { return text };
    if !manifest.facts.is_empty() {
        let mut facts = Table::default();
        for fact in &manifest.facts {
            facts.push([format!("  {}", fact.name), printable(&fact.description)]);
        }
        text.push_str(&format!("\nfacts\n{}", facts.render()));
    }
    if let Some(schema) = manifest.config_schema.as_ref().filter(|_| takes_config(info)) {
        text.push_str(&format!("\nconfig schema\n{}\n", indented(&format!("{schema:#}"))));
    }
    if !manifest.examples.is_empty() {
        let mut examples = Table::default();
        for example in &manifest.examples {
            examples.push(example_row(example));
        }
        text.push_str(&format!("\nexamples\n{}", examples.render()));
    }
    text
}

/// Tells whether there is anything to configure: a plugin may take a configuration that has no keys.
fn takes_config(info: &ModuleInfo) -> bool {
    let schema = info.manifest.as_ref().and_then(|manifest| manifest.config_schema.as_ref());
    let keys = schema.and_then(|schema| schema.get("properties")?.as_object());
    info.takes_config && keys.is_none_or(|keys| !keys.is_empty())
}

fn about(manifest: &Manifest, row: &mut impl FnMut(&str, String)) {
    row("name", format!("{} {}", manifest.name, printable(&manifest.version)));
    if !manifest.description.is_empty() {
        row("description", printable(&manifest.description));
    }
    if !manifest.protocols.is_empty() {
        row("protocols", printable(&manifest.protocols.join(", ")));
    }
    row("abi", manifest.abi.clone());
    if let Some(most) = manifest.max_bytes {
        row("max_bytes", format!("{most}: it decides within these"));
    }
}

fn example_row(example: &Example) -> [String; 4] {
    let bytes = example.bytes().unwrap_or_default();
    let verdict = match example.verdict {
        ExampleVerdict::Match => "match",
        ExampleVerdict::Reject => "reject",
        ExampleVerdict::NeedMore => "need-more",
    };
    let at = example.at.map(|at| format!("at {}", count(at, "byte"))).unwrap_or_default();
    let mut remarks: Vec<String> =
        example.facts.iter().map(|(name, value)| printable(&format!("{name}={}", value.values().join(",")))).collect();
    if let Some(config) = &example.config {
        remarks.push(printable(&format!("configured with {config}")));
    }
    [format!("  {verdict}"), at, remarks.join(" "), excerpt(&bytes, SHOWN_BYTES)]
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {}", printable(line))).collect::<Vec<String>>().join("\n")
}

/// Writes the tables that use the plugin, ready for a configuration file.
fn as_toml(module: &Module, info: &ModuleInfo) -> String {
    let stem =
        || module.path.as_ref().and_then(|path| path.file_stem()).map(|stem| stem.to_string_lossy().into_owned());
    let name = info.manifest.as_ref().map(|manifest| manifest.name.clone()).or_else(stem);
    let name = name.unwrap_or_else(|| "plugin".to_owned());
    // A JSON string is a TOML string.
    let quoted = |text: &str| Value::from(text).to_string();
    let wasm = module.path.as_ref().map_or_else(|| module.name.clone(), |path| path.to_string_lossy().into_owned());
    let mut text = String::new();
    let mut plugin = quoted(&wasm);
    if takes_config(info) {
        let key = if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) {
            name.clone()
        } else {
            quoted(&name)
        };
        text.push_str(&format!("[plugins.{key}]\nwasm = {plugin}\n"));
        let properties =
            info.manifest.as_ref().and_then(|manifest| manifest.config_schema.as_ref()?.get("properties")?.as_object());
        text.push_str("config = {}\n");
        for (key, schema) in properties.into_iter().flatten() {
            let said =
                |what: &str| schema.get(what).map(|said| said.as_str().map_or_else(|| said.to_string(), str::to_owned));
            let about: Vec<String> = [said("type"), said("description")].into_iter().flatten().collect();
            text.push_str(&format!("# {}: {}\n", printable(key), printable(&about.join(", "))));
        }
        text.push('\n');
        plugin = quoted(&name);
    }
    text.push_str(&format!("[[service]]\nname = {}\nplugin = {plugin}\n", quoted(&name)));
    let facts = info.manifest.as_ref().map(|manifest| manifest.facts.as_slice()).unwrap_or_default();
    for fact in facts {
        let about =
            if fact.description.is_empty() { String::new() } else { format!("  # {}", printable(&fact.description)) };
        text.push_str(&format!("# where = {{ {} = \"*\" }}{about}\n", quoted(&fact.name)));
    }
    text.push_str("connect = \"127.0.0.1:7000\"\n");
    text
}

fn as_json(module: &Module, info: &ModuleInfo) -> Value {
    json!({
        "file": module.name,
        "shipped": module.path.is_none(),
        "manifest": info.manifest,
        "takes_config": info.takes_config,
        "imports": info.imports,
        "exports": info.exports,
        "functions": info.functions,
        "has_init": info.has_init,
        "uses_wasi": info.uses_wasi,
        "memory_pages": info.memory_bytes / 65_536,
        "size_bytes": info.size_bytes,
        "sha256": info.sha256_hex(),
        "warnings": info.warnings,
    })
}
