//! Real clients reach real servers, all through one port on IPv4 and IPv6 and through a unix socket.

use std::time::Duration;

use tempfile::TempDir;

use crate::support::portsplit::free_port;
use crate::support::servers::{NGINX_TOOLS, Nginx, SSH_TOOLS, Sshd};
use crate::support::{Backend, Portsplit, Socket, report, rng::Rng, tools};

const HOSTS: [&str; 2] = ["127.0.0.1", "[::1]"];

/// OpenSSH and nginx behind one port of both address families and behind one unix socket.
struct Everything {
    portsplit: Portsplit,
    sshd: Sshd,
    nginx: Nginx,
    fallback: Backend,
    _dir: TempDir,
}

impl Everything {
    /// Starts all of it; `None` when a program is missing, which has then been reported.
    #[track_caller]
    fn start() -> Option<Everything> {
        if !tools::have(SSH_TOOLS) || !tools::have(NGINX_TOOLS) || !tools::have(&["curl"]) {
            return None;
        }
        let (sshd, nginx, fallback) = (Sshd::start(), Nginx::start(), Backend::tag("fallback"));
        let port = free_port();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("everything.sock");
        let portsplit = Portsplit::start(&format!(
            r#"
            listen = ["127.0.0.1:{port}", "[::1]:{port}", "unix:{socket}"]
            timeout = "4s"
            [[service]]
            name = "ssh"
            prefix = 'SSH-'
            connect = "{ssh}"
            [[service]]
            name = "http"
            regex = '^(GET|HEAD|POST|PUT|OPTIONS) '
            connect = "{http}"
            [[service]]
            name = "tls"
            prefix = ['\x16\x03\x00', '\x16\x03\x01', '\x16\x03\x02', '\x16\x03\x03']
            connect = "{tls}"
            [[service]]
            name = "count"
            prefix = 'COUNT'
            exec = ["wc", "-c"]
            [[service]]
            name = "terminal"
            prefix = 'TTY'
            exec = ["tty"]
            pty = true
            [[service]]
            name = "peer"
            prefix = 'WHO'
            exec = ["sh", "-c", "echo $PORTSPLIT_PEER at $PORTSPLIT_LOCAL"]
            [[service]]
            name = "fallback"
            connect = "{fallback}"
            [[service]]
            name = "timeout"
            exec = ["cat"]
            "#,
            socket = socket.display(),
            ssh = sshd.address(),
            http = nginx.http(),
            tls = nginx.tls(),
            fallback = fallback.address(),
        ));
        Some(Everything { portsplit, sshd, nginx, fallback, _dir: dir })
    }

    fn port(&self) -> String {
        self.portsplit.port().to_string()
    }

    /// The path of the unix listener.
    fn socket(&self) -> &str {
        self.portsplit.nth_address(2).strip_prefix("unix:").expect("the third listener is a unix socket")
    }

    #[track_caller]
    fn assert_ssh_works(&self, host: &str) {
        let mut args = self.sshd.options();
        let host = host.trim_matches(['[', ']']);
        args.extend(["-p".into(), self.port(), user_at(host), "echo from ssh; exit 7".into()]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = tools::run_within(Duration::from_secs(60), "ssh", &args, b"");
        assert_eq!((output.text().as_str(), output.code), ("from ssh\n", Some(7)), "{}", output.stderr);
    }

    #[track_caller]
    fn assert_http_works(&self, host: &str) {
        let url = format!("http://{host}:{}/", self.port());
        assert_eq!(tools::run("curl", &["-sS", "--noproxy", "*", &url]).text(), Nginx::BODY);
    }

    #[track_caller]
    fn assert_https_works(&self, host: &str) {
        let url = format!("https://{host}:{}/", self.port());
        let certificate = self.nginx.certificate();
        let output = tools::run("curl", &["-sS", "--noproxy", "*", "--cacert", &certificate, &url]);
        assert_eq!(output.text(), Nginx::BODY);
    }

    #[track_caller]
    fn assert_s_client_works(&self, host: &str) {
        let (target, certificate) = (format!("{host}:{}", self.port()), self.nginx.certificate());
        let args = ["s_client", "-quiet", "-ign_eof", "-verify_return_error", "-CAfile", &certificate, "-connect"];
        let args: Vec<&str> = args.into_iter().chain([target.as_str()]).collect();
        let request = b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n";
        let output = tools::run_within(Duration::from_secs(60), "openssl", &args, request);
        assert!(output.text().ends_with(Nginx::BODY), "openssl: {} {}", output.text(), output.stderr);
    }

    /// Copies a file of `len` bytes to the ssh server and back, and compares all three.
    #[track_caller]
    fn assert_scp_works(&self, host: &str, len: usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("sent"), Rng::new(1).bytes(len)).unwrap();
        let remote = format!("{}:{}", user_at(host), path("stored"));
        for (from, to) in [(path("sent"), remote.clone()), (remote, path("returned"))] {
            let mut args = self.sshd.options();
            args.extend(["-q".into(), "-P".into(), self.port(), from, to]);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let output = tools::run_within(Duration::from_secs(180), "scp", &args, b"");
            assert_eq!(output.code, Some(0), "scp: {}", output.stderr);
        }
        let sent = tools::run("sha256sum", &[&path("sent")]).text();
        for copy in ["stored", "returned"] {
            let sum = tools::run("sha256sum", &[&path(copy)]).text();
            assert_eq!(sum.split(' ').next(), sent.split(' ').next(), "the {copy} file differs");
        }
    }
}

/// `user@host`, the user being the one who runs the tests.
fn user_at(host: &str) -> String {
    let user = tools::run("id", &["-un"]).text();
    format!("{}@{host}", user.trim())
}

#[test]
fn ssh_http_and_tls_share_one_port_of_both_families_at_once() {
    let Some(all) = Everything::start() else {
        return;
    };
    let all = &all;
    std::thread::scope(|scope| {
        for host in HOSTS {
            scope.spawn(move || all.assert_ssh_works(host));
            scope.spawn(move || all.assert_http_works(host));
            scope.spawn(move || all.assert_https_works(host));
            scope.spawn(move || all.assert_s_client_works(host));
        }
    });
    let log = all.portsplit.log();
    for (service, connections) in [("ssh", 2), ("http", 2), ("tls", 4)] {
        crate::support::eventually("every connection is logged", || {
            log.count(|line| {
                line.message() == "connection" && line.field("service") == service && line.field("reason") == "match"
            }) == connections
        });
    }
    assert_eq!(all.fallback.accepted(), 0, "nothing reached the fallback");
}

#[test]
fn programs_fallback_and_timeout_are_behind_the_same_port_of_both_families() {
    let Some(all) = Everything::start() else {
        return;
    };
    let all = &all;
    std::thread::scope(|scope| {
        for host in HOSTS {
            scope.spawn(move || {
                let address = format!("{host}:{}", all.port());
                let silent = Socket::connect(&address);
                silent.send("C");
                let answer = |sent: &str| {
                    let client = Socket::connect(&address);
                    client.send(sent);
                    client.finish();
                    (client.answer().trim().to_owned(), client.local())
                };
                assert_eq!(answer(&format!("COUNT{}", "x".repeat(99_995))).0, "100000");
                let terminal = answer("TTY").0;
                assert!(terminal.starts_with("/dev/pts/"), "tty said {terminal:?}");
                let (who, peer) = answer("WHO");
                assert_eq!(who, format!("{peer} at {address}"));
                assert_eq!(answer("what is this?").0, "fallback\nwhat is this?");
                let started = std::time::Instant::now();
                assert_eq!(silent.receive(1), b"C", "the timeout service gets what was sent so far");
                assert!(started.elapsed() < Duration::from_secs(8), "after {:?}", started.elapsed());
            });
        }
    });
}

#[test]
fn scp_moves_100_mb_both_ways_unchanged() {
    let Some(all) = Everything::start() else {
        return;
    };
    let started = std::time::Instant::now();
    all.assert_scp_works(HOSTS[0], 100_000_000);
    report(&format!("scp of 100 MB there and back: {:.1} s", started.elapsed().as_secs_f64()));
}

#[test]
fn scp_works_over_ipv6() {
    let Some(all) = Everything::start() else {
        return;
    };
    all.assert_scp_works(HOSTS[1], 3_000_000);
}

#[test]
fn curl_reaches_the_http_server_through_the_unix_socket() {
    let Some(all) = Everything::start() else {
        return;
    };
    let output = tools::run("curl", &["-sS", "--noproxy", "*", "--unix-socket", all.socket(), "http://localhost/"]);
    assert_eq!(output.text(), Nginx::BODY);
    let certificate = all.nginx.certificate();
    let socket = all.socket();
    let args = ["-sS", "--noproxy", "*", "--cacert", &certificate, "--unix-socket", socket, "https://localhost/"];
    assert_eq!(tools::run("curl", &args).text(), Nginx::BODY);
}

#[test]
fn a_get_by_netcat_that_half_closes_at_once_is_answered_in_full() {
    if !tools::have(&["nc"]) {
        return;
    }
    let Some(all) = Everything::start() else {
        return;
    };
    for _ in 0..20 {
        let port = all.port();
        let request = b"GET / HTTP/1.0\r\n\r\n";
        let output = tools::run_within(Duration::from_secs(20), "nc", &["-N", "127.0.0.1", &port], request);
        assert!(output.text().ends_with(Nginx::BODY), "{:?} {}", output.text(), output.stderr);
    }
}
