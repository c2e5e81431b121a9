//! The command line: what the user types, and the exit code that comes back.
//!
//! 0 is done, 1 is failed, 2 is wrong usage or a wrong configuration. Results go to standard output, everything else to
//! standard error. The subcommands have files of their own; without one, this file starts the server.

mod check;
mod explain;
mod plugin;

mod describe;
mod input;
mod table;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{Config, ConfigErrors, stderr_takes_colour};
use crate::{log, server};

const EXIT_FAILED: u8 = 1;
const EXIT_USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  portsplit --config portsplit.toml             run until SIGTERM; SIGHUP reads the file again
  portsplit check -c portsplit.toml             tell what is wrong with the file, without running
  portsplit explain -c portsplit.toml --text 'GET / HTTP/1.1\\r\\n'
                                                tell which service would get these bytes, and why
  portsplit plugin new my-protocol --lang rust  begin a plugin of your own; `portsplit plugin --help` has more

Exit codes: 0 done, 1 it failed, 2 wrong usage or a wrong configuration.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  portsplit completions bash > /usr/share/bash-completion/completions/portsplit
  portsplit completions fish > ~/.config/fish/completions/portsplit.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  portsplit man > /usr/local/share/man/man1/portsplit.1
  portsplit man explain | man -l -";

/// One TCP port, many services: decides by a connection's first bytes who gets it.
#[derive(Debug, Parser)]
#[command(name = "portsplit", version, after_help = EXAMPLES)]
struct Args {
    /// The configuration file.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Args),
    Explain(explain::Args),
    Plugin(plugin::Args),
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print a manual page in roff.
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// The subcommand it is about; without one, the page of the program.
        command: Option<String>,
    },
}

/// Why a command ended without success; each has its exit code.
#[derive(Debug)]
enum Failure {
    /// The user asked for something that makes no sense.
    Usage(String),
    /// The configuration is wrong.
    Config(ConfigErrors),
    /// It went wrong.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(error)
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Failure {
        Failure::Config(errors)
    }
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(told) => return tell(told),
    };
    let result = match args.command {
        None => run(args.config.as_deref()),
        Some(Command::Check(check)) => check::run(args.config.as_deref(), &check),
        Some(Command::Explain(explain)) => explain::run(args.config.as_deref(), &explain),
        Some(Command::Plugin(plugin)) => plugin::run(args.config.as_deref(), &plugin),
        Some(Command::Completions { shell }) => completions(shell),
        Some(Command::Man { command }) => man(command.as_deref()),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Usage(message)) => {
            say(&format!("portsplit: {message}"));
            ExitCode::from(EXIT_USAGE)
        }
        Err(Failure::Config(errors)) => {
            say(&errors.render(stderr_takes_colour()));
            ExitCode::from(EXIT_USAGE)
        }
        Err(Failure::Failed(error)) => {
            say(&format!("portsplit: {error:#}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Shows what clap has to say: help, the version, or what is wrong with the arguments.
fn tell(mut told: clap::Error) -> ExitCode {
    let text = |kind| match told.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    // The original program takes its file as it is, and sslh after -F.
    let word = match told.kind() {
        ErrorKind::InvalidSubcommand => text(ContextKind::InvalidSubcommand),
        ErrorKind::UnknownArgument => text(ContextKind::InvalidArg),
        ErrorKind::InvalidValue => text(ContextKind::InvalidValue),
        _ => None,
    };
    let hint = word.and_then(|word| match word.as_str() {
        "-f" | "-F" => Some("FILE".to_owned()),
        path => Path::new(path).is_file().then_some(word),
    });
    if let Some(file) = hint {
        let hint = format!("the configuration is named with '--config {file}'");
        told.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    let code = u8::try_from(told.exit_code()).unwrap_or(EXIT_USAGE);
    match told.print() {
        Err(error) if code == 0 && error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("portsplit: cannot write to standard output: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
        _ => ExitCode::from(code),
    }
}

fn run(path: Option<&Path>) -> Result<ExitCode, Failure> {
    let path = named(path)?;
    let control = server::Control::start().context("cannot start")?;
    let (config, warnings) = Config::load_with_warnings(path)?;
    let flush = log::start(config.log);
    server::log_warnings(&warnings);
    let result = server::run(config, control);
    drop(flush);
    result?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the configuration file, which every command but a few needs.
fn named(path: Option<&Path>) -> Result<&Path, Failure> {
    path.ok_or_else(|| {
        Failure::Usage(
            "no configuration file is named; name one with `--config FILE`, such as `--config portsplit.toml`\n\
             `portsplit --help` shows what there is besides"
                .to_owned(),
        )
    })
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "portsplit", &mut script);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn man(subcommand: Option<&str>) -> Result<ExitCode, Failure> {
    let mut program = Args::command();
    program.build();
    let command = match subcommand {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).ok_or_else(|| {
                let known: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
                Failure::Usage(format!("there is no command `{}`; there are {}", name.escape_debug(), known.join(", ")))
            })?;
            found.clone()
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).context("cannot make the manual page")?;
    print(&page)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a result to standard output; a reader that has seen enough is no failure.
fn print(result: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(result).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(anyhow::Error::new(error).context("cannot write to standard output")))
        }
        _ => Ok(()),
    }
}

fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(format!("{value:#}\n").as_bytes())
}

/// Writes a message for a person to standard error, if somebody still reads there.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}

#[cfg(test)]
mod tests;
