//! The proxies that are compared: how each is configured for the same rules, started, and known to be ready.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::{Process, Talking};
use crate::load::Targets;
use crate::net;
use crate::wire::Protocol;

/// How long a proxy may take to listen: enough to compile every plugin first.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How often a proxy that starts is asked whether it listens, which is how exactly its start-up time is known.
const ASKED_EVERY: Duration = Duration::from_micros(500);

/// Connections that every proxy allows, where that is a setting: each takes two descriptors, of which systems often allow
/// a process 20,000 only.
const MAX_CONNECTIONS: usize = 9_300;

/// Threads of every proxy that can have more than one.
const THREADS: usize = 2;

/// The kinds of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No proxy at all: what the load and the backend can do.
    Direct,
    Portsplit,
    Haproxy,
    SslhSelect,
    SslhEv,
    Nginx,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] =
        [Kind::Direct, Kind::Portsplit, Kind::Haproxy, Kind::SslhSelect, Kind::SslhEv, Kind::Nginx];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Portsplit => "portsplit",
            Kind::Haproxy => "haproxy",
            Kind::SslhSelect => "sslh-select",
            Kind::SslhEv => "sslh-ev",
            Kind::Nginx => "nginx",
        }
    }

    /// Connections that it can relay at once: `select` numbers descriptors below 1024 only.
    pub(crate) fn max_open(self) -> usize {
        match self {
            Kind::SslhSelect => 480,
            _ => MAX_CONNECTIONS,
        }
    }

    /// Tells whether all its connections have to be HTTP: nginx can tell TLS from the rest, and no more.
    pub(crate) fn only_http(self) -> bool {
        self == Kind::Nginx
    }

    /// Tells whether it takes rules besides the three built-in protocols.
    pub(crate) fn has_rules(self) -> bool {
        matches!(self, Kind::Portsplit | Kind::Haproxy)
    }
}

/// The module of nginx that relays what is no HTTP.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A program to compare with.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) kind: Kind,
    pub(crate) path: PathBuf,
    /// What it says about its version.
    pub(crate) version: String,
}

impl Program {
    /// Takes the program at `path`, if it can be executed.
    pub(crate) fn at(kind: Kind, path: &Path) -> Option<Program> {
        if kind == Kind::Direct {
            return Some(Program { kind, path: PathBuf::new(), version: String::new() });
        }
        // Debian packs it apart from nginx.
        if kind == Kind::Nginx && !Path::new(NGINX_STREAM).exists() {
            return None;
        }
        let argument = match kind {
            Kind::Haproxy | Kind::Nginx => "-v",
            Kind::SslhSelect | Kind::SslhEv => "-V",
            Kind::Portsplit | Kind::Direct => "--version",
        };
        let output = Command::new(path).arg(argument).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let version = text.lines().next().unwrap_or("").split(" - ").next().unwrap_or("").to_owned();
        Some(Program { kind, path: path.to_owned(), version })
    }
}

/// Who is behind the proxy, and what it decides besides the three protocols.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) backend: Targets,
    /// Services with a prefix that no connection has, before the three protocols.
    pub(crate) unmatched: usize,
    /// Plugins, in this order, before the prefixes of the protocols that none of them decides.
    pub(crate) plugins: Vec<Asked>,
    /// All connections are to be HTTP instead of each protocol in turn, and there are no services for the others.
    pub(crate) http_only: bool,
}

/// A plugin that a service of portsplit asks.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) file: PathBuf,
    pub(crate) part: Part,
}

/// What a plugin is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// It decides this protocol.
    Decides(Protocol),
    /// It rejects; if it should match, the connection is closed, which is an error.
    Rejects,
    /// A copy of one that decides, whose facts are never what the service wants.
    Copy,
}

impl Rules {
    fn prefix(number: usize) -> String {
        let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
        format!("{letter}{number:03}~")
    }
}

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    process: Option<Process>,
    pub(crate) targets: Targets,
    /// How long it took until it accepted connections.
    pub(crate) start_up: Duration,
}

impl Peer {
    /// Starts `program` with `rules` and waits until it listens; its files go to `folder` under the name `label`.
    ///
    /// # Errors
    /// Fails with the program's own words if it ends or does not listen in time.
    pub(crate) fn start(program: &Program, rules: &Rules, folder: &Path, label: &str) -> io::Result<Peer> {
        let kind = program.kind;
        if kind == Kind::Direct {
            return Ok(Peer { kind, process: None, targets: rules.backend, start_up: Duration::ZERO });
        }
        let address = net::free_address()?;
        let file = folder.join(format!("{label}.conf"));
        let log = folder.join(format!("{label}.log"));
        let command = command(program, rules, address, &file)?;
        let began = Instant::now();
        let mut process = Process::start(&command, &log)?;
        while TcpStream::connect(address).is_err() {
            if process.has_ended() || began.elapsed() > START_WITHIN {
                let words = fs::read_to_string(&log).unwrap_or_default();
                let words = words.lines().take(12).collect::<Vec<_>>().join("\n");
                return Err(io::Error::other(format!("{} does not start:\n{words}", program.kind.name())));
            }
            std::thread::sleep(ASKED_EVERY);
        }
        let start_up = began.elapsed();
        Ok(Peer { kind, process: Some(process), targets: Targets::all(address), start_up })
    }

    /// Returns the number of its process, if it has one.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }
}

fn command(program: &Program, rules: &Rules, address: SocketAddr, file: &Path) -> io::Result<Vec<OsString>> {
    let mut words: Vec<OsString> = vec![program.path.clone().into()];
    match program.kind {
        Kind::Portsplit => {
            fs::write(file, portsplit(rules, address))?;
            words.extend(["--config".into(), file.into()]);
        }
        Kind::Haproxy => {
            fs::write(file, haproxy(rules, address))?;
            words.extend(["-db".into(), "-f".into(), file.into()]);
        }
        Kind::Nginx => {
            fs::write(file, nginx(rules, address, file))?;
            words.extend(["-e".into(), "stderr".into(), "-c".into(), file.into()]);
        }
        Kind::Direct | Kind::SslhSelect | Kind::SslhEv => {
            fs::write(file, sslh(rules, address))?;
            words.extend(["-f".into(), "-n".into(), format!("--config={}", file.display()).into()]);
            // Version 2 logs every connection unless told otherwise; version 1 has no such setting.
            if !program.version.contains(" 1.") {
                words.push("--verbose-connections=0".into());
            }
        }
    }
    Ok(words)
}

/// Writes portsplit's configuration: as a user would, with a limit that the largest load stays below, and without a log
/// line for every connection, which none of the others writes either.
pub(crate) fn portsplit(rules: &Rules, address: SocketAddr) -> String {
    let mut text = format!("listen = [\"{address}\"]\nworkers = {THREADS}\nmax_connections = {MAX_CONNECTIONS}\n");
    let _ = write!(text, "max_undecided = {MAX_CONNECTIONS}\n[log]\nlevel = \"warn\"\n");
    let mut service = |name: &str, matcher: &str, action: &str| {
        let _ = write!(text, "[[service]]\nname = \"{name}\"\n{matcher}\n{action}\n");
    };
    let connect = |protocol: Protocol| format!("connect = \"{}\"", rules.backend.of(protocol));
    for Asked { file, part } in &rules.plugins {
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let plugin = format!("plugin = '{}'", file.display());
        let (matcher, action) = match part {
            Part::Decides(protocol) => (plugin, connect(*protocol)),
            Part::Rejects => (plugin, "close = true".to_owned()),
            Part::Copy => (format!("{plugin}\nwhere = {{ version = \"no such version\" }}"), "close = true".to_owned()),
        };
        service(&format!("plugin-{name}"), &matcher, &action);
    }
    for number in 0..rules.unmatched {
        service(
            &format!("unmatched-{number}"),
            &format!("prefix = '{}'", Rules::prefix(number)),
            &connect(Protocol::Http),
        );
    }
    for protocol in Protocol::ALL {
        let wanted = !rules.http_only || protocol == Protocol::Http;
        if wanted && rules.plugins.iter().all(|asked| asked.part != Part::Decides(protocol)) {
            let prefix = match protocol {
                Protocol::Ssh => "'SSH-'",
                Protocol::Http => "['GET ', 'POST ']",
                Protocol::Tls => r"'\x16\x03\x01'",
            };
            service(protocol.name(), &format!("prefix = {prefix}"), &connect(protocol));
        }
    }
    text
}

/// Writes HAProxy's configuration: payload rules in the cheapest form, decided as soon as four bytes are there, and
/// splicing through pipes of the size that is fastest here.
fn haproxy(rules: &Rules, address: SocketAddr) -> String {
    let mut text =
        format!("global\n  nbthread {THREADS}\n  maxconn {MAX_CONNECTIONS}\n  maxpipes 400\n  tune.pipesize 1048576\n");
    text +=
        "defaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n";
    let _ = write!(text, "frontend bench\n  bind {address}\n  tcp-request inspect-delay 5s\n");
    let length = if rules.unmatched > 0 { 5 } else { 4 };
    let _ = writeln!(text, "  tcp-request content accept if {{ req.len ge {length} }}");
    for number in 0..rules.unmatched {
        let prefix = Rules::prefix(number).bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        let _ = writeln!(text, "  use_backend http if {{ req.payload(0,5) -m bin {prefix} }}");
    }
    let protocols: &[(&str, usize, &str)] =
        &[("ssh", 4, "5353482d"), ("http", 4, "47455420"), ("http", 4, "504f5354"), ("tls", 3, "160301")];
    for (name, length, prefix) in protocols.iter().filter(|(name, ..)| !rules.http_only || *name == "http") {
        let _ = writeln!(text, "  use_backend {name} if {{ req.payload(0,{length}) -m bin {prefix} }}");
    }
    let Targets { ssh, http, tls } = rules.backend;
    for (name, target) in [("ssh", ssh), ("http", http), ("tls", tls)] {
        let _ = write!(text, "backend {name}\n  server one {target}\n");
    }
    text
}

/// Writes sslh's configuration: no process for each SSH connection, which is what it does unless told otherwise.
fn sslh(rules: &Rules, address: SocketAddr) -> String {
    let place = |address: SocketAddr| format!("host: \"{}\"; port: \"{}\";", address.ip(), address.port());
    let Targets { ssh, http, tls } = rules.backend;
    let protocols = [("ssh", ssh), ("http", http), ("tls", tls)]
        .map(|(name, target)| format!("  {{ name: \"{name}\"; {} fork: false; }}", place(target)));
    format!("listen: ( {{ {} }} );\nprotocols: (\n{}\n);\n", place(address), protocols.join(",\n"))
}

/// Writes nginx's configuration: its stream module, which reads the first bytes and tells TLS from the rest.
fn nginx(rules: &Rules, address: SocketAddr, file: &Path) -> String {
    let Targets { http, tls, .. } = rules.backend;
    let pid = file.with_extension("pid");
    format!(
        "load_module {NGINX_STREAM};\n\
         daemon off;\nworker_processes {THREADS};\nworker_rlimit_nofile 20000;\npid {};\n\
         events {{ worker_connections 19900; }}\n\
         stream {{\n  map $ssl_preread_protocol $to {{ \"\" {http}; default {tls}; }}\n\
         server {{ listen {address} reuseport backlog=4096; ssl_preread on; proxy_timeout 1h; proxy_pass $to; }}\n}}\n",
        pid.display()
    )
}

/// A running backend.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) targets: Targets,
    _process: Talking,
}

impl Backend {
    /// Starts a backend.
    ///
    /// # Errors
    /// Fails if it cannot listen.
    pub(crate) fn start() -> io::Result<Backend> {
        let mut process = Talking::start(&["backend".to_owned()])?;
        let targets = Targets::parse(&process.hear("addresses")?)?;
        Ok(Backend { targets, _process: process })
    }
}
