//! The configurations in `config/` do what their comments say. Addresses and missing programs are replaced, nothing else.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::portsplit::free_port;
use crate::support::servers::{NGINX_TOOLS, Nginx};
use crate::support::{Backend, Portsplit, Socket, assert_took, tools};

/// The text of `config/NAME` with each of `changes` made; every one of them has to be possible.
#[track_caller]
fn shipped(name: &str, changes: &[(&str, String)]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = root.join("config").join(name);
    let mut text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    for (from, to) in changes {
        assert!(text.contains(from), "{name} does not contain {from}");
        text = text.replace(from, to);
    }
    text
}

/// What a client that sends `bytes` and finishes is told at the demonstration's `address`.
#[track_caller]
fn told(address: &str, bytes: &str) -> String {
    let client = Socket::connect(address);
    client.send(bytes);
    client.finish();
    client.answer().trim().to_owned()
}

#[test]
fn the_demonstration_says_who_answers() {
    let port = free_port().to_string();
    let portsplit = Portsplit::start(&shipped("demo.toml", &[("4430", port.clone())]));
    for host in ["127.0.0.1", "[::1]"] {
        let address = format!("{host}:{port}");
        for (sent, service) in [("SSH-2.0-demo\r\n", "ssh"), ("tty\n", "terminal"), ("hello\n", "fallback")] {
            let answer = told(&address, sent);
            assert!(answer.contains(&format!("the service {service}")), "{sent:?} at {address}: {answer}");
        }
        let started = Instant::now();
        let silent = Socket::connect(&address);
        assert!(silent.receive_line().contains("the service timeout"));
        assert_took("the timeout service", started.elapsed(), 2990, 4000);
        if tools::have(&["curl"]) {
            let url = format!("http://{address}/");
            let answer = tools::run("curl", &["-sS", "--noproxy", "*", &url]).text();
            assert!(answer.contains("the service http"), "{answer}");
        }
    }
    portsplit.stop();
}

#[test]
fn the_originals_example_splits_its_five_services() {
    if !tools::have(NGINX_TOOLS) || !tools::have(&["curl"]) {
        return;
    }
    let (nginx, openvpn) = (Nginx::start(), Backend::tag("openvpn"));
    let port = free_port().to_string();
    let changes = [
        ("4430", port.clone()),
        ("127.0.0.1:80\"", format!("{}\"", nginx.http())),
        ("127.0.0.1:1194", openvpn.address().to_owned()),
        ("127.0.0.1:443\"", format!("{}\"", nginx.tls())),
        // A pppd would need a device; what matters is a program on a terminal.
        (r#"["/usr/sbin/pppd", "noauth", "notty"]"#, r#"["tty"]"#.to_owned()),
        ("\"5s\"", "\"700ms\"".to_owned()),
    ];
    let portsplit = Portsplit::start(&shipped("original.toml", &changes));
    for host in ["127.0.0.1", "[::1]"] {
        let address = format!("{host}:{port}");
        for method in ["GET", "POST", "HEAD"] {
            let url = format!("http://{address}/");
            let args = ["-sS", "--noproxy", "*", "-o", "-", "-X", method, "-m", "10", &url];
            let args = if method == "HEAD" { vec!["-sS", "--noproxy", "*", "-I", &url] } else { args.to_vec() };
            let answer = tools::run("curl", &args).text();
            assert!(answer == Nginx::BODY || answer.starts_with("HTTP/1.1 200"), "{method} at {address}: {answer}");
        }
        let trace = told(&address, "TRACE / HTTP/1.0\r\n\r\n");
        assert!(trace.starts_with("HTTP/1.1 405"), "nginx refuses TRACE: {trace}");
        let (url, certificate) = (format!("https://{address}/"), nginx.certificate());
        for version in ["--tlsv1.2", "--tlsv1.3"] {
            let args = ["-sS", "--noproxy", "*", version, "--cacert", &certificate, &url];
            assert_eq!(tools::run("curl", &args).text(), Nginx::BODY, "{version} at {address}");
        }
        let client = Socket::connect(&address);
        client.send(b"\x00\x0e\x38\x01\x02");
        assert_eq!(client.receive_line(), "openvpn");
        assert_eq!(client.receive(5), b"\x00\x0e\x38\x01\x02");
        let terminal = told(&address, "~ what ppp sends");
        assert!(terminal.starts_with("/dev/pts/"), "the fallback has no terminal: {terminal}");
        let started = Instant::now();
        let silent = Socket::connect(&address);
        silent.send("G");
        assert_eq!(silent.receive(1), b"G", "the timeout service is cat, and gets what was sent so far");
        assert!(started.elapsed() >= Duration::from_millis(690));
        silent.send("more");
        assert_eq!(silent.receive(4), b"more");
    }
    portsplit.stop();
}

#[test]
fn every_pattern_of_the_originals_example_leads_to_its_service() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("config/original.toml");
    let patterns = [
        ("http", &["474554", "504f5354", "5452414345", "48454144"][..]),
        ("openvpn", &["000e38"]),
        ("ssl", &["160300", "160301", "160302", "160303"]),
        ("fallback", &["160304", "000e39", "474558", "7e"]),
    ];
    for (service, flights) in patterns {
        for hex in flights {
            let output =
                crate::support::portsplit::run(&["explain", "-c", file.to_str().unwrap(), "--hex", hex, "--json"]);
            let told: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.stderr));
            assert_eq!(
                (&told["service"], &told["deciding_bytes"]),
                (&service.into(), &(hex.len() / 2).into()),
                "{hex}"
            );
        }
    }
}

#[test]
fn every_shipped_configuration_passes_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("config");
    let mut checked = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let output = crate::support::portsplit::run(&["check", "-c", path.to_str().unwrap()]);
            assert_eq!(output.code, Some(0), "{}: {}{}", path.display(), output.text(), output.stderr);
            checked += 1;
        }
    }
    assert!(checked >= 4, "only {checked} configurations are shipped");
}
