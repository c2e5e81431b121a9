//! `portsplit check`: what can be known about a configuration without running it.
//!
//! The configuration finds the problems itself (`config`); this file only shows them and chooses the exit code.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::describe::{action, count, name_of, printable};
use super::table::Table;
use super::{EXIT_FAILED, EXIT_USAGE, Failure, named, print, print_json, say};
use crate::config::{Config, Problem, render_all, stderr_takes_colour};
use crate::decision::Outcome;

const EXAMPLES: &str = "\
Examples:
  portsplit check -c portsplit.toml             show every error and warning with its line
  portsplit check -c portsplit.toml --strict    fail on warnings too, such as before a deployment
  portsplit check -c portsplit.toml --json      {\"ok\": ..., \"errors\": [...], \"warnings\": [...]}

Exit codes: 0 the file can be used, 1 --strict and there are warnings, 2 the file is wrong.";

/// Tell what is wrong with a configuration, without running it.
///
/// Errors make the file unusable. Warnings are about what works but is hardly meant: a pattern that can never win, never
/// match or never reject, a target that leads back to portsplit, a program that is not there.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Exit with 1 if there are warnings.
    #[arg(long)]
    strict: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(path: Option<&Path>, args: &Args) -> Result<ExitCode, Failure> {
    let loaded = Config::load_with_warnings(named(path)?);
    if args.json {
        let (errors, warnings) = match &loaded {
            Ok((_, warnings)) => (&[][..], warnings.as_slice()),
            Err(errors) => (errors.problems(), &[][..]),
        };
        let ok = errors.is_empty() && (warnings.is_empty() || !args.strict);
        print_json(&json!({ "ok": ok, "errors": as_json(errors), "warnings": as_json(warnings) }))?;
    }
    let (config, warnings) = match loaded {
        Ok(checked) => checked,
        Err(_) if args.json => return Ok(ExitCode::from(EXIT_USAGE)),
        Err(errors) => {
            say(&errors.render(stderr_takes_colour()));
            if errors.problems().len() > 1 {
                say(&format!("\n{}", count(errors.problems().len(), "error")));
            }
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    if !args.json {
        if !warnings.is_empty() {
            say(&format!("{}\n", render_all(&warnings, stderr_takes_colour())));
        }
        print(summary(&config, warnings.len()).as_bytes())?;
    }
    let failed = args.strict && !warnings.is_empty();
    Ok(ExitCode::from(if failed { EXIT_FAILED } else { 0 }))
}

/// Says in a few lines what the file sets up.
fn summary(config: &Config, warnings: usize) -> String {
    let found = match warnings {
        0 => "no warnings".to_owned(),
        some => count(some, "warning"),
    };
    let (mut listeners, mut services) = (Table::default(), Table::default());
    for listener in &config.listeners {
        let rules = listener.router.rules().iter();
        let reached: Vec<String> =
            rules.map(|rule| name_of(config, Outcome::Service(rule.service))).map(name).collect();
        let all = reached.len() == config.services.len();
        let reached = if all { String::new() } else { format!("for {}", reached.join(", ")) };
        listeners.push(["  listener".to_owned(), printable(&listener.address.to_string()), reached]);
    }
    let special = [("fallback", &config.fallback), ("timeout", &config.timeout)];
    let ordinary = config.services.iter().map(|service| (&*service.name, &service.action));
    for (name, what) in ordinary.chain(special) {
        services.push(["  service".to_owned(), printable(name), action(what)]);
    }
    let path = printable(&config.path.to_string_lossy());
    format!("{path}: can be used, {found}\n{}{}", listeners.render(), services.render())
}

fn name(of: Option<&str>) -> String {
    printable(of.unwrap_or_default())
}

fn as_json(problems: &[Problem]) -> Vec<Value> {
    let one = |problem: &Problem| {
        json!({
            "file": problem.file(),
            "line": problem.line(),
            "column": problem.column(),
            "message": problem.message(),
            "help": problem.help(),
        })
    };
    problems.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
