//! `portsplit plugin`: everything an author of plugins needs, without a server and without the network.
//!
//! Each verb has a file; `module` finds and loads what they are about, `project` reads `plugin.toml`. What a plugin says
//! is escaped before it is printed.

mod new;
mod project;

mod build;
mod pack;

mod check;
mod inspect;
mod list;
mod run;

mod fuzz;
mod matrix;
mod subject;
mod test;

mod bench;

mod feed;
mod module;
mod progress;

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;

const EXAMPLES: &str = "\
Examples:
  portsplit plugin new my-protocol --lang rust      a folder that builds and passes its tests at once
  portsplit plugin build my-protocol                compile it and add its manifest
  portsplit plugin test my-protocol                 cases.toml, the manifest's examples and the laws
  printf 'SSH-2.0-x\\r\\n' | portsplit plugin run ssh verdict, deciding byte, facts, fuel and time
  portsplit plugin check my.wasm                    whether a module can be used, and what it needs
  portsplit plugin inspect tls --toml               the lines that use it, for the configuration

A FILE is the path of a module, or the name of a shipped plugin (`portsplit plugin list`).
Exit codes: 0 done, 1 it failed, 2 wrong usage.";

/// Write, build, test and look at plugins.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    New(new::Args),
    Build(build::Args),
    Pack(pack::Args),
    Check(check::Args),
    Inspect(inspect::Args),
    Run(run::Args),
    Test(test::Args),
    Fuzz(fuzz::Args),
    Bench(bench::Args),
    List(list::Args),
}

/// Runs a verb; `config` is the configuration file, where the verb takes one.
pub(super) fn run(config: Option<&Path>, args: &Args) -> Result<ExitCode, Failure> {
    match &args.verb {
        Verb::New(args) => new::run(args),
        Verb::Build(args) => build::run(args),
        Verb::Pack(args) => pack::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Inspect(args) => inspect::run(args),
        Verb::Run(args) => run::run(args),
        Verb::Test(args) => test::run(args),
        Verb::Fuzz(args) => fuzz::run(args),
        Verb::Bench(args) => bench::run(args),
        Verb::List(args) => list::run(config, args),
    }
}
