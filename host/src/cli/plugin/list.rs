//! `portsplit plugin list`: the shipped plugins, and those of a configuration.

mod page;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::anyhow;
use serde_json::{Value, json};

use crate::cli::describe::{printable, size};
use crate::cli::table::Table;
use crate::cli::{Failure, print, print_json};
use crate::config::Config;
use crate::matcher::Matcher;
use crate::plugin::SHIPPED;

const EXAMPLES: &str = "\
Examples:
  portsplit plugin list
  portsplit plugin list -c portsplit.toml    and which plugins the services of a file use
  portsplit plugin list --json
  portsplit plugin list --markdown --cases plugins --measured docs/detectors.json > docs/detectors.md

Exit codes: 0 done, 1 it failed, 2 wrong usage or a wrong configuration.";

/// List the shipped plugins, and with a configuration the ones it uses.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Print the page about the shipped plugins in Markdown.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// A folder that has NAME/cases.toml for plugins, for the page.
    #[arg(long, value_name = "DIR", requires = "markdown")]
    cases: Option<PathBuf>,
    /// What `plugin test --matrix --corpus FILE --json` wrote, for the page.
    #[arg(long, value_name = "FILE", requires = "markdown")]
    measured: Option<PathBuf>,
}

pub(super) fn run(config: Option<&Path>, args: &Args) -> Result<ExitCode, Failure> {
    if args.markdown {
        print(page::page(args.cases.as_deref(), args.measured.as_deref())?.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::default();
    table.push(["plugin", "version", "size", "facts", "description"]);
    let mut list = Vec::new();
    for (name, wasm) in SHIPPED {
        let info = portsplit_runtime::inspect(wasm).map_err(|error| Failure::Failed(anyhow!("{name}: {error}")))?;
        let facts: Vec<&str> =
            info.manifest.iter().flat_map(|manifest| &manifest.facts).map(|fact| fact.name.as_str()).collect();
        let (version, description) =
            info.manifest.as_ref().map_or(("", ""), |manifest| (&manifest.version, &manifest.description));
        let cells = [*name, version, &size(info.size_bytes as u64), &facts.join(" "), description];
        table.push(cells.map(printable));
        list.push(json!({
            "name": name,
            "version": version,
            "description": description,
            "facts": facts,
            "size_bytes": info.size_bytes,
            "sha256": info.sha256_hex(),
        }));
    }
    let used = config.map(|path| Config::load(path).map(|config| used(&config))).transpose()?;
    if args.json {
        let used = used.map(|used| {
            used.into_iter()
                .map(|(plugin, services)| json!({ "plugin": plugin, "services": services }))
                .collect::<Vec<Value>>()
        });
        print_json(&json!({ "shipped": list, "used": used }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = table.render();
    if let (Some(used), Some(path)) = (used, config) {
        let path = printable(&path.to_string_lossy());
        if used.is_empty() {
            text.push_str(&format!("\nno service of {path} uses a plugin\n"));
        } else {
            let mut table = Table::default();
            table.push([format!("used by {path}"), "services".to_owned()]);
            for (plugin, services) in used {
                table.push([printable(&plugin), printable(&services.join(", "))]);
            }
            text.push_str(&format!("\n{}", table.render()));
        }
    }
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the plugins that services ask, by name, with the services.
fn used(config: &Config) -> BTreeMap<String, Vec<String>> {
    let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for listener in &config.listeners {
        for rule in listener.router.rules() {
            let Some(service) = config.services.get(rule.service).map(|service| service.name.to_string()) else {
                continue;
            };
            for matcher in &rule.matchers {
                let Matcher::Classifier { slot, .. } = matcher else { continue };
                let Some(classifier) = listener.router.classifier(*slot) else { continue };
                let services = used.entry(classifier.name().to_owned()).or_default();
                if !services.contains(&service) {
                    services.push(service.clone());
                }
            }
        }
    }
    used
}
