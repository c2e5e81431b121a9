//! `portsplit explain`: which service would get some bytes, and why.
//!
//! `cli::input` and `capture` find the bytes, `account` asks the router about them, `text` and `json` show the answer. No
//! socket is opened, and nothing is connected to or started.

mod capture;

mod account;
mod json;
mod text;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use self::account::Account;
use self::capture::Capture;
use super::describe::{count, printable};
use super::input::{self, Bytes, Cuts};
use super::{EXIT_FAILED, Failure, named, print, print_json, say};
use crate::config::{Address, Config, Listener, Log, LogFormat};
use crate::log;
use crate::router::Router;

const EXAMPLES: &str = "\
Examples:
  portsplit explain -c x.toml --text 'GET / HTTP/1.1\\r\\n'
  portsplit explain -c x.toml --hex '16 03 01 02 00' --listener '[::]:443'
  printf 'SSH-2.0-x' | portsplit explain -c x.toml -
  portsplit explain -c x.toml --text 'SSH-2.0-x' --byte-by-byte
  portsplit explain -c x.toml --pcap traffic.pcapng              one line for each TCP connection
  portsplit explain -c x.toml --pcap traffic.pcapng --flow 3     one of them in detail

Exit codes: 0 done, whoever gets the bytes; 1 the bytes cannot be read; 2 wrong usage or a wrong configuration.";

/// Tell which service would get some bytes, and why.
///
/// Shows every service's verdict with the number of bytes at which it was known, and the decision with what would be
/// done. Nothing is connected to or started.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    source: Source,
    /// Explain for the listener with this address; without it for all, where they have different services.
    #[arg(long, value_name = "ADDRESS")]
    listener: Option<String>,
    /// Feed the bytes in pieces that end after these byte counts, such as 1,3,7.
    #[arg(long, value_name = "COUNTS", value_parser = input::cuts, conflicts_with = "byte_by_byte")]
    split: Option<Cuts>,
    /// Feed the bytes one by one; rows that say the same are shown as one.
    #[arg(long)]
    byte_by_byte: bool,
    /// Show this connection of a capture in detail, counted from 1.
    #[arg(long, value_name = "NUMBER")]
    flow: Option<usize>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Where the bytes come from.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// Bytes as hex digits; spaces, colons, commas and 0x are ignored.
    #[arg(long, value_name = "HEX", value_parser = input::hex)]
    hex: Option<Bytes>,
    /// Bytes as text with the escapes of the configuration: \r \n \t \0 \\ \xNN.
    #[arg(long, value_name = "TEXT", value_parser = input::text, allow_hyphen_values = true)]
    text: Option<Bytes>,
    /// A file that holds the bytes.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A capture of packets, pcap or pcapng; what each client sent first is explained.
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Standard input holds the bytes.
    #[arg(value_name = "-", value_parser = ["-"])]
    stdin: Option<String>,
}

/// Listeners that lead to the same services, and so decide alike.
#[derive(Debug)]
struct Side<'a> {
    addresses: Vec<&'a Address>,
    router: &'a Router,
}

/// What is explained: the bytes, and how they were come by.
#[derive(Debug)]
struct Subject {
    flight: Vec<u8>,
    /// Whether there were more bytes than a first flight may have.
    cut: bool,
}

impl Subject {
    fn new(mut bytes: Vec<u8>, most: usize) -> Subject {
        let cut = bytes.len() > most;
        bytes.truncate(most);
        Subject { flight: bytes, cut }
    }
}

pub(super) fn run(path: Option<&Path>, args: &Args) -> Result<ExitCode, Failure> {
    if args.flow.is_some() && args.source.pcap.is_none() {
        return Err(Failure::Usage("`--flow` is a connection of a capture; name the capture with `--pcap`".to_owned()));
    }
    let config = Config::load(named(path)?)?;
    // A plugin that fails says why in the log.
    let _flush = log::start(Log { level: Some(tracing::Level::WARN), format: LogFormat::Text });
    let sides = sides(&config, args.listener.as_deref())?;
    let most = config.max_first_flight_bytes;
    let bytes = match &args.source {
        Source { hex: Some(Bytes(bytes)), .. } | Source { text: Some(Bytes(bytes)), .. } => bytes.clone(),
        Source { file: Some(path), .. } => {
            let shown = || format!("cannot read `{}`", printable(&path.to_string_lossy()));
            let file = File::open(path).with_context(shown)?;
            input::read(file, most.saturating_add(1)).with_context(shown)?
        }
        Source { pcap: Some(path), .. } => return explain_capture(&config, &sides, path, args),
        Source { .. } => {
            input::read(io::stdin().lock(), most.saturating_add(1)).context("cannot read standard input")?
        }
    };
    explain(&config, &sides, &Subject::new(bytes, most), None, args)
}

fn explain_capture(config: &Config, sides: &[Side<'_>], path: &Path, args: &Args) -> Result<ExitCode, Failure> {
    let shown = || format!("cannot read the capture `{}`", printable(&path.to_string_lossy()));
    let file = File::open(path).with_context(shown)?;
    let capture = Capture::read(file, config.max_first_flight_bytes).with_context(shown)?;
    let number = match (args.flow, capture.flows.len()) {
        (Some(number), _) => number,
        (None, 1) => 1,
        (None, _) => {
            let splits = args.split.is_some() || args.byte_by_byte;
            if splits {
                return Err(Failure::Usage(
                    "to feed a connection of a capture in pieces, name it with `--flow`".into(),
                ));
            }
            return overview(config, sides, &capture, args);
        }
    };
    let Some(flow) = number.checked_sub(1).and_then(|at| capture.flows.get(at)) else {
        let has = count(capture.flows.len(), "TCP connection");
        return Err(Failure::Usage(format!("there is no flow {number}: the capture has {has}, counted from 1")));
    };
    let subject = Subject::new(flow.flight.clone(), config.max_first_flight_bytes);
    explain(config, sides, &subject, Some((number, flow)), args)
}

fn overview(config: &Config, sides: &[Side<'_>], capture: &Capture, args: &Args) -> Result<ExitCode, Failure> {
    let Some((side, others)) = sides.split_first() else { return Ok(ExitCode::SUCCESS) };
    let most = config.max_first_flight_bytes;
    let accounts: Vec<Account> =
        capture.flows.iter().map(|flow| Account::new(side.router, &flow.flight, most)).collect();
    if args.json {
        print_json(&json::overview(config, side, capture, &accounts))?;
    } else {
        print(text::overview(config, side, capture, &accounts).as_bytes())?;
        if !others.is_empty() {
            say(&format!("explained for {}; name another listener with `--listener`", side.names()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(
    config: &Config,
    sides: &[Side<'_>],
    subject: &Subject,
    flow: Option<(usize, &capture::Flow)>,
    args: &Args,
) -> Result<ExitCode, Failure> {
    let most = config.max_first_flight_bytes;
    let cuts: Option<Vec<usize>> = match &args.split {
        Some(Cuts(cuts)) => Some(cuts.clone()),
        None => args.byte_by_byte.then(|| (1..=subject.flight.len()).collect()),
    };
    let mut agree = true;
    let mut accounts = Vec::new();
    for side in sides {
        let mut account = Account::new(side.router, &subject.flight, most);
        if let Some(cuts) = &cuts {
            account.walk(side.router, &subject.flight, most, cuts);
            agree &= account.pieces_agree(side.router);
        }
        accounts.push(account);
    }
    if args.json {
        print_json(&json::explanation(config, sides, subject, flow, &accounts))?;
    } else {
        print(text::explanation(config, sides, subject, flow, &accounts).as_bytes())?;
    }
    if agree {
        return Ok(ExitCode::SUCCESS);
    }
    say("portsplit: the pieces were decided differently from the whole; a plugin is not pure, or this is a defect");
    Ok(ExitCode::from(EXIT_FAILED))
}

impl Side<'_> {
    fn names(&self) -> String {
        let names: Vec<String> = self.addresses.iter().map(|address| printable(&address.to_string())).collect();
        names.join(", ")
    }
}

/// Groups the listeners that have the same services, or finds the one that is wanted.
fn sides<'a>(config: &'a Config, wanted: Option<&str>) -> Result<Vec<Side<'a>>, Failure> {
    let side = |listener: &'a Listener| Side { addresses: vec![&listener.address], router: &listener.router };
    if let Some(wanted) = wanted {
        let found = config.listeners.iter().find(|listener| is_named(&listener.address, wanted));
        return found.map(|listener| vec![side(listener)]).ok_or_else(|| {
            let known: Vec<String> = config.listeners.iter().map(|l| printable(&l.address.to_string())).collect();
            let wanted = printable(wanted);
            Failure::Usage(format!("there is no listener `{wanted}`; the file has {}", known.join(", ")))
        });
    }
    let services = |router: &Router| router.rules().iter().map(|rule| rule.service).collect::<Vec<usize>>();
    let mut sides: Vec<Side<'a>> = Vec::new();
    for listener in &config.listeners {
        match sides.iter_mut().find(|known| services(known.router) == services(&listener.router)) {
            Some(known) => known.addresses.push(&listener.address),
            None => sides.push(side(listener)),
        }
    }
    Ok(sides)
}

/// Tells whether an address is the one that is written; a port alone names every address with it.
fn is_named(address: &Address, written: &str) -> bool {
    match address {
        Address::Tcp(address) => {
            written.parse() == Ok(*address)
                || written.strip_prefix(':').unwrap_or(written).parse() == Ok(address.port())
        }
        Address::Unix(path) => Path::new(written.strip_prefix("unix:").unwrap_or(written)) == path,
    }
}

#[cfg(test)]
mod tests;
