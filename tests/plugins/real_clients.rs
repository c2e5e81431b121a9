//! curl and ssh on one port, told apart by what the shipped plugins learn.

use std::time::Duration;

use super::guest::start;
use crate::support::config::{LISTEN, service};
use crate::support::servers::{NGINX_TOOLS, Nginx, SSH_TOOLS, Sshd};
use crate::support::{Backend, Portsplit, eventually, tools};

/// Asks `host` at the port, over TLS and with `option`; returns curl's answer.
#[track_caller]
fn curl(portsplit: &Portsplit, host: &str, option: &str) -> tools::Output {
    let port = portsplit.port();
    let (url, resolve) = (format!("https://{host}:{port}/"), format!("{host}:{port}:127.0.0.1"));
    let args = ["-sS", "-k", "-m", "20", "--noproxy", "*", option, "--resolve", &resolve, "-w", "%{certs}", &url];
    tools::run_within(Duration::from_secs(30), "curl", &args, b"")
}

/// How many connections were logged with `service` and the reason of a match.
fn logged(portsplit: &Portsplit, service: &str, reason: &str) -> usize {
    portsplit.log().count(|line| {
        line.message() == "connection" && line.field("service") == service && line.field("reason") == reason
    })
}

#[test]
fn curl_by_host_name_and_ssh_share_one_port() {
    if !tools::have(NGINX_TOOLS) || !tools::have(SSH_TOOLS) || !tools::have(&["curl"]) {
        return;
    }
    let (first, second, sshd, rest) = (Nginx::start(), Nginx::start(), Sshd::start(), Backend::tag("rest"));
    let web = |name: &str, host: &str, nginx: &Nginx| {
        let matcher = format!("plugin = \"tls\"\nwhere = {{ sni = [{host}] }}");
        service(name, &matcher, &format!("connect = \"{}\"", nginx.tls()))
    };
    let portsplit = start(&format!(
        "{LISTEN}{}{}{}{}",
        web("first", "\"first.example\", \"*.first.example\"", &first),
        web("second", "\"second.example\"", &second),
        service("ssh", "plugin = \"ssh\"", &format!("connect = \"{}\"", sshd.address())),
        service("fallback", "", &format!("connect = \"{}\"", rest.address())),
    ));
    for host in ["first.example", "www.first.example", "second.example"] {
        let output = curl(&portsplit, host, "--http1.1");
        assert_eq!(output.code, Some(0), "{host}: {}", output.stderr);
        let nginx = if host == "second.example" { &second } else { &first };
        let text = output.text();
        assert!(text.starts_with(Nginx::BODY), "{host}: {text}");
        // Each server made a key of its own, so its certificate tells which of the two it was.
        let certificate = std::fs::read_to_string(nginx.certificate()).unwrap();
        assert!(text.contains(certificate.trim()), "{host} was served by the other server: {text}");
    }
    assert_ne!(curl(&portsplit, "third.example", "--http1.1").code, Some(0), "no service has this name");
    assert_eq!(rest.accepted(), 1, "so the fallback gets it");
    let user = tools::run("id", &["-un"]).text();
    let mut args = sshd.options();
    let target = format!("{}@127.0.0.1", user.trim());
    args.extend(["-p".into(), portsplit.port().to_string(), target, "echo from ssh; exit 7".into()]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = tools::run_within(Duration::from_secs(60), "ssh", &args, b"");
    assert_eq!((output.text().as_str(), output.code), ("from ssh\n", Some(7)), "{}", output.stderr);
    for (service, connections) in [("first", 2), ("second", 1), ("ssh", 1)] {
        eventually("every connection is logged with its reason", || {
            logged(&portsplit, service, "match") == connections
        });
    }
}

#[test]
fn http_2_and_http_1_go_to_different_servers_by_alpn() {
    if !tools::have(NGINX_TOOLS) || !tools::have(&["curl"]) {
        return;
    }
    let (modern, old) = (Nginx::start(), Nginx::start());
    let web = |name: &str, alpn: &str, nginx: &Nginx| {
        let matcher = format!("plugin = \"tls\"\nwhere = {{ sni = \"web.example\", alpn = \"{alpn}\" }}");
        service(name, &matcher, &format!("connect = \"{}\"", nginx.tls()))
    };
    let portsplit = start(&format!("{LISTEN}{}{}", web("modern", "h2", &modern), web("old", "http/1.1", &old)));
    for (option, nginx, service) in [("--http2", &modern, "modern"), ("--http1.1", &old, "old")] {
        let output = curl(&portsplit, "web.example", option);
        assert_eq!(output.code, Some(0), "{option}: {}", output.stderr);
        let certificate = std::fs::read_to_string(nginx.certificate()).unwrap();
        assert!(output.text().contains(certificate.trim()), "{option} was served by the other server");
        eventually("the connection is logged", || logged(&portsplit, service, "match") == 1);
    }
}
