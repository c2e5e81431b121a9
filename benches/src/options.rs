//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::peer::{Kind, Program};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Measures portsplit next to HAProxy, sslh and nginx and prints a table in Markdown.

Usage: portsplit-bench [OPTIONS]

      --binary PATH    portsplit to measure; default: next to this program
      --haproxy PATH   default: haproxy from PATH or /usr/sbin
      --sslh PATH      sslh-select; sslh-ev is looked for beside it; default: from PATH or /usr/sbin
      --nginx PATH     default: nginx from PATH or /usr/sbin
      --plugins DIR    where the .wasm files of the loads `plugins` and `start` are; default: plugins/dist
      --rounds N       rounds of each load; default 5
      --seconds S      length of one load; default 2
      --only LIST      some of: rate,roundtrip,bulk,idle,start,plugins,services,connections
      --out DIR        also write into DIR/performance.md (between markers), and DIR/performance.svg
      --short          a small run of about 20 seconds that proves that everything works; its figures mean nothing
      --syscalls       count system calls per short connection with strace instead
      --profile        show where portsplit's CPU time goes in short connections and round trips with perf instead";

/// The loads, by the names of `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Rate,
    RoundTrip,
    Bulk,
    Idle,
    Start,
    Plugins,
    Services,
    Connections,
}

impl Load {
    const ALL: [(Load, &str); 8] = [
        (Load::Rate, "rate"),
        (Load::RoundTrip, "roundtrip"),
        (Load::Bulk, "bulk"),
        (Load::Idle, "idle"),
        (Load::Start, "start"),
        (Load::Plugins, "plugins"),
        (Load::Services, "services"),
        (Load::Connections, "connections"),
    ];
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// The loads, all proxies compared.
    Loads,
    /// Counting system calls.
    SystemCalls,
    /// Sampling where portsplit's time goes.
    Profile,
}

/// What to measure, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    /// The programs that are there, in the order of the tables.
    pub(crate) programs: Vec<Program>,
    /// A line for each program that is not there.
    pub(crate) missing: Vec<String>,
    pub(crate) plugins: PathBuf,
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) loads: Vec<Load>,
    pub(crate) out: Option<PathBuf>,
    pub(crate) short: bool,
    pub(crate) task: Task,
}

/// Programs that the arguments name.
#[derive(Debug, Default)]
struct Named {
    binary: Option<PathBuf>,
    haproxy: Option<PathBuf>,
    sslh: Option<PathBuf>,
    nginx: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments and looks for the programs; `None` if help was asked for.
    ///
    /// # Errors
    /// Says what is wrong with the arguments, or that portsplit itself is not there.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
        let mut options = Options {
            programs: Vec::new(),
            missing: Vec::new(),
            plugins: PathBuf::from("plugins/dist"),
            rounds: 0,
            time: Duration::ZERO,
            loads: Load::ALL.map(|(load, _)| load).to_vec(),
            out: None,
            short: false,
            task: Task::Loads,
        };
        let mut named = Named::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let name = argument.to_string_lossy().into_owned();
            let mut value = || arguments.next().ok_or(format!("`{name}` needs a value"));
            match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--binary" => named.binary = Some(PathBuf::from(value()?)),
                "--haproxy" => named.haproxy = Some(PathBuf::from(value()?)),
                "--sslh" => named.sslh = Some(PathBuf::from(value()?)),
                "--nginx" => named.nginx = Some(PathBuf::from(value()?)),
                "--plugins" => options.plugins = PathBuf::from(value()?),
                "--rounds" => options.rounds = number(&value()?, &name, 1.0, 100.0)? as usize,
                "--seconds" => options.time = Duration::from_secs_f64(number(&value()?, &name, 0.1, 60.0)?),
                "--only" => options.loads = loads(&value()?.to_string_lossy())?,
                "--out" => options.out = Some(PathBuf::from(value()?)),
                "--short" => options.short = true,
                "--syscalls" => options.task = Task::SystemCalls,
                "--profile" => options.task = Task::Profile,
                _ => return Err(format!("unknown argument `{name}`")),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.short { 1 } else { 5 };
        }
        if options.time == Duration::ZERO {
            options.time = Duration::from_millis(if options.short { 250 } else { 2000 });
        }
        options.find_programs(named)?;
        Ok(Some(options))
    }

    fn find_programs(&mut self, named: Named) -> Result<(), String> {
        let Named { binary, haproxy, sslh, nginx } = named;
        let beside = std::env::current_exe().map(|program| program.with_file_name("portsplit")).unwrap_or_default();
        let ev = sslh.as_ref().map(|select| select.with_file_name("sslh-ev"));
        for kind in Kind::ALL {
            let named = match kind {
                Kind::Direct => Some(PathBuf::new()),
                Kind::Portsplit => Some(binary.clone().unwrap_or_else(|| beside.clone())),
                Kind::Haproxy => haproxy.clone(),
                Kind::SslhSelect => sslh.clone(),
                Kind::SslhEv => ev.clone().filter(|path| path.exists()),
                Kind::Nginx => nginx.clone(),
            };
            let found = match &named {
                Some(path) => Program::at(kind, path),
                None => [Path::new(kind.name()).to_owned(), Path::new("/usr/sbin").join(kind.name())]
                    .iter()
                    .find_map(|path| Program::at(kind, path)),
            };
            match found {
                Some(program) => self.programs.push(program),
                None if kind == Kind::Portsplit => {
                    let path = named.unwrap_or_default();
                    return Err(format!("cannot execute `{}`; build portsplit or name it by --binary", path.display()));
                }
                None => self.missing.push(format!("skipped: {} is not installed", kind.name())),
            }
        }
        Ok(())
    }
}

fn number(value: &OsString, name: &str, least: f64, most: f64) -> Result<f64, String> {
    let parsed = value.to_str().and_then(|value| value.parse::<f64>().ok());
    parsed
        .filter(|number| (least..=most).contains(number))
        .ok_or(format!("`{name}` takes a number from {least} to {most}, not `{}`", value.display()))
}

fn loads(list: &str) -> Result<Vec<Load>, String> {
    list.split(',')
        .map(|word| {
            let load = Load::ALL.into_iter().find(|(_, name)| *name == word).map(|(load, _)| load);
            load.ok_or(format!("there is no load `{word}`"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_named() {
        assert_eq!(loads("idle,rate"), Ok(vec![Load::Idle, Load::Rate]));
        assert_eq!(loads("rat"), Err("there is no load `rat`".to_owned()));
    }

    #[test]
    fn numbers_have_a_range() {
        assert_eq!(number(&"3".into(), "--rounds", 1.0, 100.0), Ok(3.0));
        assert!(number(&"0".into(), "--rounds", 1.0, 100.0).is_err());
        assert!(number(&"x".into(), "--rounds", 1.0, 100.0).is_err());
    }
}
