//! Measures portsplit next to HAProxy and sslh, in one run and under the same loads, and prints what came out.
//!
//! The program starts everything itself and on loopback only: the proxies, with equivalent rules (`peer`), a backend
//! (`backend`) and the loads (`load`), the last two being children of its own with words of their own (`wire`). The
//! `suite` goes through the loads round by round, peer by peer, so that a machine that changes its speed hits all of them
//! alike; `usage` reads what a proxy used; `stats`, `report` and `plot` turn it into medians, a table and a picture, and
//! `goals` holds it against what was aimed at. `syscalls` and `profile` show where the time goes.

mod backend;
mod child;
mod goals;
mod load;
mod net;
mod options;
mod peer;
mod plot;
mod profile;
mod report;
mod stats;
mod suite;
mod syscalls;
mod usage;
mod wire;

use std::io;
use std::process::ExitCode;

use crate::options::{Options, Task};
use crate::report::Part;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let result = match arguments.next().as_ref().and_then(|first| first.to_str()) {
        Some("become") => child::end_with_parent().and_then(|()| Err(child::become_program(arguments))),
        Some("backend") => child::end_with_parent().and_then(|()| backend::run()),
        Some("load") => {
            let arguments: Vec<String> = arguments.map(|word| word.to_string_lossy().into_owned()).collect();
            child::end_with_parent().and_then(|()| load::run(&arguments))
        }
        _ => measure(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portsplit-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> io::Result<()> {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return child::say(options::HELP),
        Err(error) => return Err(io::Error::other(format!("{error}; see --help"))),
    };
    child::raise_open_files_limit();
    let folder = Folder::new()?;
    let (part, text, run) = match options.task {
        Task::SystemCalls => (Part::SystemCalls, syscalls::run(&options, &folder.0)?, None),
        Task::Profile => (Part::Profile, profile::run(&options, &folder.0)?, None),
        Task::Loads => {
            let run = suite::run(&options, &folder.0)?;
            (Part::Figures, report::markdown(&run), Some(run))
        }
    };
    child::say(&text)?;
    if let Some(out) = &options.out {
        report::write(part, &text, out)?;
        if let Some(run) = &run {
            std::fs::write(out.join("performance.svg"), plot::svg(run))?;
        }
    }
    match run.map(|run| run.failures()).unwrap_or_default() {
        failures if failures.is_empty() => Ok(()),
        failures => Err(io::Error::other(failures.join("\n"))),
    }
}

/// A temporary folder; dropping it removes it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> io::Result<Folder> {
        let folder = std::env::temp_dir().join(format!("portsplit-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
