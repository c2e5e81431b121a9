//! Where portsplit's CPU time goes, by `perf` sampling a running process: user or kernel, system call, kernel function.
//!
//! It samples by the kernel's timer, so it works without hardware counters. The rest is counting stacks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child::Talking;
use crate::load::{Job, Kind as LoadKind};
use crate::options::Options;
use crate::peer::{Backend, Kind, Peer, Program, Rules};
use crate::suite::CLIENTS;

/// Samples a second of each thread: not a divisor of the kernel's timer, so that the two do not march in step.
const FREQUENCY: &str = "1999";

/// Rows of each list.
const LONGEST: usize = 10;

/// How long the load goes on before and after what is sampled.
const MARGIN: Duration = Duration::from_millis(500);

/// Beginnings of the kernel functions that system calls enter by; what follows is the name of the call.
const ENTRIES: [&str; 5] = ["__x64_sys_", "__arm64_sys_", "__se_sys_", "ksys_", "__sys_"];

/// Samples short connections and round trips through portsplit and returns tables in Markdown.
///
/// # Errors
/// Fails if portsplit, a child of ours or `perf` does not start.
pub(crate) fn run(options: &Options, folder: &Path) -> io::Result<String> {
    let Some(program) = options.programs.iter().find(|program| program.kind == Kind::Portsplit) else {
        return Err(io::Error::other("there is no portsplit"));
    };
    if Command::new("perf").arg("--version").output().is_err() {
        return Ok("skipped: perf is not installed".to_owned());
    }
    let time = options.time * u32::try_from(options.rounds).unwrap_or(1);
    let mut text = format!(
        "Samples of `cpu-clock` over {} s in all threads of portsplit, with {CLIENTS} clients (`benches/profile`).\n",
        time.as_secs_f64()
    );
    for (title, kind) in [("Short connections", LoadKind::Short), ("Round trips", LoadKind::RoundTrip)] {
        eprintln!("{title}: sampling for {} s", time.as_secs_f64());
        let shares = Shares::of(&sample(program, kind, time, folder)?);
        let _ = write!(text, "\n### {title}: where the time goes\n\n");
        shares.write(&mut text);
    }
    Ok(text)
}

/// Returns what `perf script` says about a load.
fn sample(program: &Program, kind: LoadKind, time: Duration, folder: &Path) -> io::Result<String> {
    let backend = Backend::start()?;
    let rules = Rules { backend: backend.targets, unmatched: 0, plugins: Vec::new(), http_only: false };
    let peer = Peer::start(program, &rules, folder, program.kind.name())?;
    let id = peer.id().ok_or_else(|| io::Error::other("no process"))?;
    let job =
        Job { kind, targets: peer.targets, clients: CLIENTS, time: time + 4 * MARGIN, limit: 0, http_only: false };
    let mut load = Talking::start(&job.arguments())?;
    load.hear("ready")?;
    load.go()?;
    std::thread::sleep(MARGIN);
    let data = folder.join("perf.data");
    perf(&[
        "record".into(),
        "--event=cpu-clock".into(),
        "--call-graph=fp".into(),
        format!("--freq={FREQUENCY}").into(),
        format!("--pid={id}").into(),
        format!("--output={}", data.display()).into(),
        "--".into(),
        "sleep".into(),
        time.as_secs_f64().to_string().into(),
    ])?;
    load.hear("result")?;
    perf(&["script".into(), "--no-inline".into(), "--fields=comm,ip,sym,dso".into(), "--input".into(), data.into()])
}

fn perf(arguments: &[OsString]) -> io::Result<String> {
    let output = Command::new("perf").args(arguments).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("perf: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Samples, counted by where they were taken.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shares {
    all: usize,
    user: usize,
    /// By system call, with all that happens inside.
    calls: BTreeMap<String, usize>,
    /// By the function itself, without what it calls.
    kernel_functions: BTreeMap<String, usize>,
    user_functions: BTreeMap<String, usize>,
}

impl Shares {
    /// Counts what `perf script` printed: for each sample a line about the thread and one for each frame, the innermost
    /// first, then an empty one.
    fn of(script: &str) -> Shares {
        let mut shares = Shares::default();
        for sample in script.split("\n\n") {
            let frames: Vec<Frame> = sample.lines().filter_map(Frame::parse).collect();
            let Some(innermost) = frames.first() else { continue };
            shares.all += 1;
            if innermost.in_kernel {
                *shares.kernel_functions.entry(innermost.function.to_owned()).or_default() += 1;
                let call = frames.iter().rev().filter(|frame| frame.in_kernel).find_map(Frame::system_call);
                *shares.calls.entry(call.unwrap_or("none: interrupts and faults").to_owned()).or_default() += 1;
            } else {
                shares.user += 1;
                *shares.user_functions.entry(innermost.function.to_owned()).or_default() += 1;
            }
        }
        shares
    }

    fn write(&self, text: &mut String) {
        let percent = |count: usize| count as f64 * 100.0 / self.all.max(1) as f64;
        let _ = writeln!(text, "{} samples, of them {:.1} % in user mode.\n", self.all, percent(self.user));
        let columns =
            [sorted(&self.calls), sorted(&self.kernel_functions), sorted(&self.user_functions)].map(|column| {
                let cells = column.into_iter().map(|(name, count)| format!("{} | {:.1}", shown(name), percent(count)));
                cells.collect::<Vec<String>>()
            });
        *text += "| system call, all inside | % | kernel function itself | % | function in user mode | % |\n";
        *text += "|---|---:|---|---:|---|---:|\n";
        for row in 0..LONGEST {
            let cells = columns.each_ref().map(|column| column.get(row).map_or("|", String::as_str));
            if cells.iter().any(|cell| *cell != "|") {
                let _ = writeln!(text, "| {} |", cells.join(" | "));
            }
        }
    }
}

/// Returns the names with the most samples, those first that have most.
fn sorted(counts: &BTreeMap<String, usize>) -> Vec<(&str, usize)> {
    let mut sorted: Vec<(&str, usize)> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted.truncate(LONGEST);
    sorted
}

/// Makes a function's name fit into a cell.
fn shown(name: &str) -> String {
    if name.starts_with("none") {
        return name.to_owned();
    }
    let name: String = name.chars().filter(|letter| *letter != '|' && *letter != '`').take(60).collect();
    format!("`{name}`")
}

/// One line of a stack.
#[derive(Debug)]
struct Frame<'a> {
    function: &'a str,
    in_kernel: bool,
}

impl<'a> Frame<'a> {
    /// Reads `  ffffffff815d2e74 tcp_sendmsg ([kernel.kallsyms])`.
    fn parse(line: &'a str) -> Option<Frame<'a>> {
        if !line.starts_with([' ', '\t']) {
            return None;
        }
        let (address, rest) = line.trim().split_once(' ')?;
        let address = u64::from_str_radix(address, 16).ok()?;
        let function = rest.rsplit_once(" (").map_or(rest, |(function, _)| function);
        // The upper half of the addresses is the kernel's.
        Some(Frame { function, in_kernel: address >> 63 == 1 })
    }

    fn system_call(&self) -> Option<&'a str> {
        ENTRIES.iter().find_map(|entry| self.function.strip_prefix(entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_by_mode_call_and_function() {
        let script = "\
portsplit-0 \n\
\tffffffff81000001 tcp_ack ([kernel.kallsyms])\n\
\tffffffff81000002 __sys_sendto ([kernel.kallsyms])\n\
\tffffffff81000003 __x64_sys_sendto ([kernel.kallsyms])\n\
\tffffffff81000004 do_syscall_64 ([kernel.kallsyms])\n\
\t    7f0000000001 send (/usr/lib/libc.so.6)\n\
\n\
portsplit-1 \n\
\t    560000000001 <portsplit::relay::Relay as core::future::Future>::poll (/usr/bin/portsplit)\n\
\n\
portsplit-1 \n\
\tffffffff81000005 handle_softirqs ([kernel.kallsyms])\n\
\t    560000000001 main (/usr/bin/portsplit)\n\n";
        let shares = Shares::of(script);
        assert_eq!((shares.all, shares.user), (3, 1));
        assert_eq!(sorted(&shares.calls), [("none: interrupts and faults", 1), ("sendto", 1)]);
        assert_eq!(sorted(&shares.kernel_functions), [("handle_softirqs", 1), ("tcp_ack", 1)]);
        assert_eq!(sorted(&shares.user_functions), [("<portsplit::relay::Relay as core::future::Future>::poll", 1)]);
    }

    #[test]
    fn a_table_has_a_share_of_all_samples() {
        let mut text = String::new();
        Shares::of("a\n\tffffffff81000001 f (k)\n\n").write(&mut text);
        assert!(text.contains("1 samples, of them 0.0 % in user mode"), "{text}");
        assert!(text.contains("| none: interrupts and faults | 100.0 | `f` | 100.0 | | |"), "{text}");
    }
}
