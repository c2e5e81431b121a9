//! The command line: what the user types, and the exit code that comes back.
//!
//! 0 is done, 1 is failed, 2 is wrong usage or a wrong configuration.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::config::Config;
use crate::{log, server};

const EXIT_USAGE: u8 = 2;

/// One TCP port, many services: decides by a connection's first bytes who gets it.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let Some(path) = args.config else {
        eprintln!("portsplit: no configuration; name one with `--config FILE`");
        return ExitCode::from(EXIT_USAGE);
    };
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let flush = log::start(config.log);
    let result = server::run(config);
    drop(flush);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portsplit: {error:#}");
            ExitCode::FAILURE
        }
    }
}
