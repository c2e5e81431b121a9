//! Counts the system calls of a short connection, with `strace` attached to a running proxy.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::child::{Process, Talking};
use crate::load::{Job, Kind as LoadKind};
use crate::options::Options;
use crate::peer::{Backend, Kind, Peer, Program, Rules};
use crate::usage;

/// Connections to count over: enough that starting and stopping do not show.
const CONNECTIONS: usize = 2000;

/// Clients at once; `strace` makes a proxy so slow that more would change how much is done at a time.
const CLIENTS: usize = 8;

const TRACED_WITHIN: Duration = Duration::from_secs(60);

/// Counts for every proxy that is there and returns a table in Markdown.
///
/// # Errors
/// Fails if a proxy or a child of ours does not start.
pub(crate) fn run(options: &Options, folder: &Path) -> io::Result<String> {
    let mut text = String::from("System calls for each short connection, closed by the client (`strace -c -f`):\n\n");
    if !Path::new("/usr/bin/strace").exists() {
        return Ok("skipped: strace is not installed".to_owned());
    }
    text += "| proxy | all | of them failed | by name |\n|---|---:|---:|---|\n";
    for program in options.programs.iter().filter(|program| program.kind != Kind::Direct) {
        let (counts, errors) = match count(program, folder) {
            Ok(counted) => counted,
            Err(error) if program.kind == Kind::Portsplit => return Err(error),
            Err(error) => {
                let words = error.to_string().replace(['\n', '|'], " ");
                let _ = writeln!(text, "| {} | – | – | skipped: {words} |", program.kind.name());
                continue;
            }
        };
        let all: f64 = counts.values().map(|(calls, _)| calls).sum();
        let failed: f64 = counts.values().map(|(_, failed)| failed).sum();
        let mut by_name: Vec<_> = counts.iter().filter(|(_, (calls, _))| *calls >= 0.05).collect();
        by_name.sort_by(|(_, (one, _)), (_, (other, _))| other.total_cmp(one));
        let mut list = String::new();
        for (name, (calls, failed)) in by_name {
            let _ = write!(list, "{name} {calls:.1}");
            list += if *failed >= 0.05 { " (" } else { "" };
            if *failed >= 0.05 {
                let _ = write!(list, "{failed:.1} failed)");
            }
            list += ", ";
        }
        let list = list.trim_end_matches(", ");
        let note = if errors > 0 { format!("; **{errors} errors**") } else { String::new() };
        let _ = writeln!(text, "| {} | {all:.1} | {failed:.1} | {list}{note} |", program.kind.name());
    }
    Ok(text)
}

type Counts = BTreeMap<String, (f64, f64)>;

/// Returns calls and failed calls per connection by name, and the errors that clients had.
fn count(program: &Program, folder: &Path) -> io::Result<(Counts, u64)> {
    let backend = Backend::start()?;
    let rules = Rules { backend: backend.targets, unmatched: 0, plugins: Vec::new(), http_only: false };
    let peer = Peer::start(program, &rules, folder, program.kind.name())?;
    let Some(id) = peer.id() else { return Ok((Counts::new(), 0)) };
    let job = |limit| Job {
        kind: LoadKind::Short,
        targets: peer.targets,
        clients: CLIENTS,
        time: TRACED_WITHIN,
        limit,
        http_only: program.kind.only_http(),
    };
    load(&job(200))?;
    let (table, log) = (folder.join("strace.table"), folder.join("strace.log"));
    let mut command: Vec<OsString> = ["strace", "-c", "-f", "-o"].map(OsString::from).to_vec();
    command.push(table.clone().into());
    let ids = usage::tree(id);
    for id in &ids {
        command.extend(["-p".into(), id.to_string().into()]);
    }
    let tracer = Process::start(&command, &log)?;
    let began = Instant::now();
    while fs::read_to_string(&log).unwrap_or_default().matches("attached").count() < ids.len() {
        if began.elapsed() > Duration::from_secs(5) {
            let words = fs::read_to_string(&log).unwrap_or_default();
            return Err(io::Error::other(format!("strace does not attach: {words}")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let (done, errors) = load(&job(CONNECTIONS))?;
    tracer.interrupt()?;
    let counts = parse(&fs::read_to_string(&table)?);
    let each = done.max(1.0);
    Ok((counts.into_iter().map(|(name, (calls, failed))| (name, (calls / each, failed / each))).collect(), errors))
}

/// Returns how many connections were served, and how many were not.
fn load(job: &Job) -> io::Result<(f64, u64)> {
    let mut load = Talking::start(&job.arguments())?;
    load.hear("ready")?;
    load.go()?;
    let result = load.hear("result")?;
    Ok((result.value("done")?, result.value("errors")?))
}

/// Reads the table of `strace -c`: share, seconds, µs a call, calls, errors if any, name.
fn parse(table: &str) -> Counts {
    let mut counts = Counts::new();
    for line in table.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (calls, failed, name) = match words.as_slice() {
            [_, _, _, calls, failed, name] => (calls, failed.parse().unwrap_or(0.0), name),
            [_, _, _, calls, name] => (calls, 0.0, name),
            _ => continue,
        };
        if let (Ok(calls), false) = (calls.parse::<f64>(), *name == "total") {
            counts.insert((*name).to_owned(), (calls, failed));
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read_without_its_sum() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            60.00    0.000300           3       100        25 recvfrom\n \
            40.00    0.000200           2       100           close\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000500           2       200        25 total\n";
        let expected = [("close".to_owned(), (100.0, 0.0)), ("recvfrom".to_owned(), (100.0, 25.0))];
        assert_eq!(parse(table), expected.into());
    }
}
