//! The clients of `clients.toml`: how each is started, in a folder of its own, and ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tempfile::TempDir;

use crate::support::portsplit::free_port;
use crate::support::process::wait_within;
use crate::support::tools;

/// How long a client may take to connect, which includes making its keys, and to end if it does so by itself.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    client: Vec<Client>,
}

/// A real client: a command with arguments, or a program for the Python of `tests/install`. In all texts `{port}` is
/// the port to connect to, `{spare}` a free one, `{dir}` the client's folder.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub name: String,
    /// The detector that is to recognise it.
    pub plugin: String,
    /// The programs it needs, besides the command itself.
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    run: Vec<String>,
    #[serde(default)]
    python: String,
    /// Files made in its folder.
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// It ends by itself, and has to, for it leaves something running otherwise.
    #[serde(default)]
    ends: bool,
}

/// All clients of the list, or those that the environment's `CLIENTS` names.
pub fn all() -> Vec<Client> {
    let list: List = toml::from_str(include_str!("clients.toml")).unwrap_or_else(|error| panic!("{error}"));
    let Ok(only) = std::env::var("CLIENTS") else { return list.client };
    list.client.into_iter().filter(|client| only.split(',').any(|name| name == client.name)).collect()
}

/// The Python that has the clients from PyPI.
fn python() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join("portsplit-clients/bin/python")
}

impl Client {
    /// Whether what it needs is installed; otherwise a line says that it is skipped.
    #[track_caller]
    pub fn is_installed(&self) -> bool {
        let command = self.run.first().filter(|command| *command != "sh").into_iter();
        let names: Vec<&str> = self.needs.iter().chain(command).map(String::as_str).collect();
        if !tools::have(&names) {
            return false;
        }
        let installed = self.python.is_empty() || python().is_file();
        if !installed {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{} is missing", python().display());
            tools::skip(&format!("{}: the clients from PyPI are not installed (tests/install does it)", self.name));
        }
        installed
    }

    /// Starts it, to connect to `port`.
    pub fn start(&self, port: u16) -> Running {
        let dir = tempfile::tempdir().unwrap();
        let (folder, spare) = (dir.path().to_str().unwrap().to_owned(), free_port().to_string());
        let fill =
            |text: &str| text.replace("{port}", &port.to_string()).replace("{spare}", &spare).replace("{dir}", &folder);
        for (name, text) in &self.files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, fill(text)).unwrap();
        }
        let (program, args) = match self.run.split_first() {
            Some((program, args)) => (tools::find(program).unwrap(), args.iter().map(|arg| fill(arg)).collect()),
            None => (python(), vec!["-c".to_owned(), fill(&self.python)]),
        };
        let output = File::create(dir.path().join("output")).unwrap();
        let mut command = Command::new(program);
        command.args(args).current_dir(&dir).env("HOME", &folder).env("LC_ALL", "C.UTF-8");
        command.envs(self.env.iter().map(|(key, value)| (key, fill(value))));
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", self.name));
        Running { child, dir, ends: self.ends, started: Instant::now() }
    }
}

/// A client that was started. Dropping it ends it and what it started.
pub struct Running {
    child: Child,
    dir: TempDir,
    ends: bool,
    started: Instant,
}

impl Running {
    /// Whether it may still connect.
    pub fn may_connect(&mut self) -> bool {
        self.started.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None))
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("output")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ends {
            wait_within(&mut self.child, PATIENCE);
        }
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
