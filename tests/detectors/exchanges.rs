//! Real clients and real servers talk through one port, on which every other detector listens, too.

use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::gate::{Backends, detectors, start};
use crate::support::portsplit::free_port;
use crate::support::servers::{NGINX_TOOLS, Nginx, SSH_TOOLS, Server, Sshd};
use crate::support::{Portsplit, tools};

/// The program with all detectors, of which `name` leads to `address` and the others to backends that say their name.
struct Gate {
    portsplit: Portsplit,
    _others: Backends,
}

impl Gate {
    #[track_caller]
    fn to(servers: &[(&str, String)]) -> Gate {
        let mut names = detectors();
        names.retain(|name| servers.iter().all(|(server, _)| server != name));
        let others = Backends::start(&names);
        let mut services = others.services();
        services.extend(servers.iter().map(|(name, address)| ((*name).to_owned(), address.clone())));
        services.sort();
        Gate { portsplit: start(&services), _others: others }
    }

    fn port(&self) -> String {
        self.portsplit.port().to_string()
    }
}

/// Runs a client to its end, in `dir`, and returns what it wrote; fails the test unless it exits with 0.
#[track_caller]
fn client(dir: &TempDir, program: &str, args: &[&str]) -> String {
    let mut command = Command::new(tools::find(program).unwrap());
    command.args(args).current_dir(dir).env("HOME", dir.path()).env("LC_ALL", "C.UTF-8");
    let output = crate::support::process::run(command, b"", Duration::from_secs(60), program);
    assert_eq!(output.code, Some(0), "{program} {args:?}: {}{}", output.text(), output.stderr);
    output.text()
}

/// A server that `command` runs on `port`; the command and its folder are made by the caller.
fn server(name: &'static str, dir: TempDir, program: &str, args: &[&str], port: u16) -> Server {
    let mut command = Command::new(tools::find(program).unwrap());
    command.args(args).current_dir(&dir);
    Server::start(name, dir, command, &[port])
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[test]
fn redis_keeps_a_value() {
    if !tools::have(&["redis-server", "redis-cli"]) {
        return;
    }
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let text = port.to_string();
    let args = ["--port", &text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
    let _redis = server("redis-server", dir, "redis-server", &args, port);
    let (gate, dir) = (Gate::to(&[("redis", local(port))]), tempfile::tempdir().unwrap());
    assert_eq!(client(&dir, "redis-cli", &["-p", &gate.port(), "SET", "user:1", "alice"]), "OK\n");
    assert_eq!(client(&dir, "redis-cli", &["-p", &gate.port(), "GET", "user:1"]), "alice\n");
}

#[test]
fn mosquitto_hands_a_message_on() {
    if !tools::have(&["mosquitto", "mosquitto_pub", "mosquitto_sub"]) {
        return;
    }
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("conf"), format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
    let _mosquitto = server("mosquitto", dir, "mosquitto", &["-c", "conf"], port);
    let (gate, dir) = (Gate::to(&[("mqtt", local(port))]), tempfile::tempdir().unwrap());
    client(&dir, "mosquitto_pub", &["-p", &gate.port(), "-t", "a/b", "-m", "hello", "-q", "1", "-r"]);
    let heard = client(&dir, "mosquitto_sub", &["-p", &gate.port(), "-t", "a/#", "-C", "1", "-W", "30", "-V", "5"]);
    assert_eq!(heard, "hello\n");
}

#[test]
fn memcached_keeps_a_file() {
    if !tools::have(&["memcached", "memccp", "memccat"]) {
        return;
    }
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    let args = ["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0", "-u", "nobody"];
    let _memcached = server("memcached", dir, "memcached", &args, port);
    let (gate, dir) = (Gate::to(&[("memcached", local(port))]), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("user"), "alice").unwrap();
    let servers = format!("--servers=127.0.0.1:{}", gate.port());
    client(&dir, "memccp", &[&servers, "user"]);
    assert_eq!(client(&dir, "memccat", &[&servers, "user"]).trim_end(), "alice");
    assert_eq!(client(&dir, "memccat", &[&servers, "--binary", "user"]).trim_end(), "alice");
}

#[test]
fn nginx_answers_in_clear_and_over_tls() {
    if !tools::have(NGINX_TOOLS) || !tools::have(&["curl"]) {
        return;
    }
    let nginx = Nginx::start();
    let gate = Gate::to(&[("http1", nginx.http()), ("tls", nginx.tls())]);
    let dir = tempfile::tempdir().unwrap();
    for scheme in ["http", "https"] {
        let url = format!("{scheme}://127.0.0.1:{}/", gate.port());
        let answer = client(&dir, "curl", &["-sSk", "-m", "30", "--noproxy", "*", &url]);
        assert_eq!(answer, Nginx::BODY, "{scheme}");
    }
}

#[test]
fn sshd_runs_a_command() {
    if !tools::have(SSH_TOOLS) {
        return;
    }
    let sshd = Sshd::start();
    let gate = Gate::to(&[("ssh", sshd.address())]);
    let dir = tempfile::tempdir().unwrap();
    let target = format!("{}@127.0.0.1", tools::run("id", &["-un"]).text().trim());
    let mut args = sshd.options();
    args.extend(["-p".into(), gate.port(), target, "echo from ssh".into()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_eq!(client(&dir, "ssh", &args), "from ssh\n");
}

#[test]
fn git_clones_a_repository() {
    if !tools::have(&["git"]) {
        return;
    }
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    client(&dir, "git", &["init", "-q", "-b", "main", "project"]);
    let commit = ["-C", "project", "-c", "user.name=Alice", "-c", "user.email=alice@example.org", "commit", "-q"];
    client(&dir, "git", &[&commit[..], &["--allow-empty", "-m", "first"]].concat());
    let base = dir.path().display().to_string();
    let args =
        ["daemon", "--export-all", "--listen=127.0.0.1", &format!("--port={port}"), &format!("--base-path={base}")];
    let _daemon = server("git daemon", dir, "git", &args, port);
    let (gate, dir) = (Gate::to(&[("git", local(port))]), tempfile::tempdir().unwrap());
    client(&dir, "git", &["clone", "-q", &format!("git://127.0.0.1:{}/project", gate.port()), "copy"]);
    assert_eq!(client(&dir, "git", &["-C", "copy", "log", "--format=%s"]), "first\n");
}

#[test]
fn rsync_fetches_a_file() {
    if !tools::have(&["rsync"]) {
        return;
    }
    let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("file"), "fetched by rsync\n").unwrap();
    let path = dir.path().display().to_string();
    let config = format!("use chroot = no\n[module]\npath = {path}\nread only = yes\n");
    std::fs::write(dir.path().join("conf"), config).unwrap();
    let args = ["--daemon", "--no-detach", "--config=conf", "--address=127.0.0.1", &format!("--port={port}")];
    let _daemon = server("rsync", dir, "rsync", &args, port);
    let (gate, dir) = (Gate::to(&[("rsync", local(port))]), tempfile::tempdir().unwrap());
    client(&dir, "rsync", &[&format!("rsync://127.0.0.1:{}/module/file", gate.port()), "copy"]);
    assert_eq!(std::fs::read_to_string(dir.path().join("copy")).unwrap(), "fetched by rsync\n");
}
