//! Addresses: families side by side, subsets of services, unix sockets and their files, and what cannot be bound.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::config::{service, to};
use crate::support::portsplit::{free_port, run_config};
use crate::support::{Backend, Portsplit, Socket};

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn answer(address: &str, sent: &str) -> String {
    let client = Socket::connect(address);
    client.send(sent);
    client.finish();
    client.answer()
}

#[test]
fn wildcards_of_both_families_bind_the_same_port() {
    let backend = Backend::tag("web");
    let port = free_port();
    let listen = format!("listen = [\"0.0.0.0:{port}\", \"[::]:{port}\"]\n");
    let portsplit = Portsplit::start(&format!("{listen}{}", to(&backend, "web", "prefix = 'GET '")));
    for host in ["127.0.0.1", "127.0.0.9", "[::1]"] {
        assert_eq!(answer(&format!("{host}:{port}"), "GET /"), "web\nGET /", "by {host}");
    }
    let peer = {
        let client = Socket::connect(&format!("[::1]:{port}"));
        client.send("GET /");
        client.finish();
        client.receive_to_end();
        client.local()
    };
    let line = portsplit.connection_of(&peer);
    assert!(line.field("listener").contains("[::]"), "the IPv6 listener took it: {}", line.text());
    portsplit.stop();
}

#[test]
fn each_listener_offers_only_its_own_services() {
    let (ssh, web, rest) = (Backend::tag("ssh"), Backend::tag("web"), Backend::tag("fallback"));
    let listen = r#"
        [[listen]]
        address = "127.0.0.1:0"
        services = ["web", "ssh"]
        [[listen]]
        address = "127.0.0.1:0"
        services = ["web"]
        [[listen]]
        address = "127.0.0.1:0"
    "#;
    let services = [to(&ssh, "ssh", "prefix = 'SSH-'"), to(&web, "web", "prefix = 'GET '"), to(&rest, "fallback", "")];
    let portsplit = Portsplit::start(&format!("{listen}{}", services.concat()));
    for (listener, for_ssh) in [(0, "ssh"), (1, "fallback"), (2, "ssh")] {
        for (sent, expected) in [("SSH-2", for_ssh), ("GET /", "web"), ("other", "fallback")] {
            let answer = answer(portsplit.nth_address(listener), sent);
            assert_eq!(answer, format!("{expected}\n{sent}"), "{sent} at listener {listener}");
        }
    }
}

#[test]
fn an_address_in_use_ends_the_start_and_is_named_with_the_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = format!("listen = [\"127.0.0.1:0\", \"{address}\"]\n{}", service("x", "prefix = 'x'", "close = true"));
    let output = run_config(&config);
    assert!(matches!(output.code, Some(1 | 2)), "exit {:?}: {}", output.code, output.stderr);
    let error = output.stderr.to_lowercase();
    assert!(error.contains(&address) && error.contains("in use"), "{}", output.stderr);
}

#[test]
fn an_address_of_another_machine_ends_the_start_and_is_named() {
    let config = format!("listen = [\"203.0.113.7:9\"]\n{}", service("x", "prefix = 'x'", "close = true"));
    let output = run_config(&config);
    assert!(matches!(output.code, Some(1 | 2)), "exit {:?}: {}", output.code, output.stderr);
    assert!(output.stderr.contains("203.0.113.7:9"), "{}", output.stderr);
}

#[test]
fn a_unix_listener_makes_its_socket_and_removes_it_at_exit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("listen.sock");
    let backend = Backend::tag("web");
    let listen = format!("listen = [\"unix:{}\"]\n", path.display());
    let portsplit = Portsplit::start(&format!("{listen}{}", to(&backend, "web", "prefix = 'GET '")));
    assert!(is_socket(&path));
    assert_eq!(portsplit.address(), format!("unix:{}", path.display()));
    assert_eq!(answer(portsplit.address(), "GET /"), "web\nGET /");
    portsplit.stop();
    assert!(!path.exists(), "the socket is removed at exit");
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("listen.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(is_socket(&path), "a closed listener leaves its file behind");
    let backend = Backend::tag("web");
    let listen = format!("listen = [\"unix:{}\"]\n", path.display());
    let portsplit = Portsplit::start(&format!("{listen}{}", to(&backend, "web", "prefix = 'GET '")));
    assert_eq!(answer(portsplit.address(), "GET /"), "web\nGET /");
}

#[test]
fn a_live_unix_socket_is_refused_and_keeps_working() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("listen.sock");
    let live = UnixListener::bind(&path).unwrap();
    let inode = std::fs::metadata(&path).unwrap().ino();
    let listen = format!("listen = [\"unix:{}\"]\n", path.display());
    let output = run_config(&format!("{listen}{}", service("x", "prefix = 'x'", "close = true")));
    assert!(matches!(output.code, Some(1 | 2)), "exit {:?}: {}", output.code, output.stderr);
    assert!(output.stderr.contains(&path.display().to_string()), "{}", output.stderr);
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode, "the live socket's file is untouched");
    live.set_nonblocking(true).unwrap();
    while live.accept().is_ok() {}
    Socket::connect(&format!("unix:{}", path.display()));
    assert!(live.accept().is_ok(), "the other server still accepts");
}

#[test]
fn somebody_elses_file_or_folder_at_a_unix_path_is_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    for path in [&file, &link, &folder] {
        let listen = format!("listen = [\"unix:{}\"]\n", path.display());
        let output = run_config(&format!("{listen}{}", service("x", "prefix = 'x'", "close = true")));
        assert!(matches!(output.code, Some(1 | 2)), "{path:?}: exit {:?}: {}", output.code, output.stderr);
        assert!(output.stderr.contains(&path.display().to_string()), "{}", output.stderr);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    assert!(std::fs::symlink_metadata(&link).unwrap().file_type().is_symlink());
    assert!(folder.is_dir());
}

#[test]
fn a_socket_that_somebody_put_in_its_place_survives_its_exit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("listen.sock");
    let listen = format!("listen = [\"unix:{}\"]\n", path.display());
    let portsplit = Portsplit::start(&format!("{listen}{}", service("x", "prefix = 'x'", "close = true")));
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    portsplit.stop();
    assert!(is_socket(&path), "only its own socket is removed at exit");
}

#[test]
fn a_failed_start_leaves_no_socket_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("listen.sock");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen = [\"unix:{}\", \"{}\"]\n", path.display(), taken.local_addr().unwrap());
    let output = run_config(&format!("{listen}{}", service("x", "prefix = 'x'", "close = true")));
    assert!(matches!(output.code, Some(1 | 2)), "exit {:?}: {}", output.code, output.stderr);
    assert!(!path.exists());
}

#[test]
fn many_listeners_serve_side_by_side() {
    let backend = Backend::tag("web");
    let addresses = vec!["\"127.0.0.1:0\""; 40].join(", ");
    let config = format!("listen = [{addresses}]\n{}", to(&backend, "web", "prefix = 'GET '"));
    let portsplit = Portsplit::start(&config);
    for listener in 0..40 {
        assert_eq!(answer(portsplit.nth_address(listener), "GET /"), "web\nGET /");
    }
}

#[test]
fn a_second_instance_cannot_share_the_port_of_the_first() {
    let backend = Backend::tag("web");
    let port = free_port();
    let config = format!("listen = [\"127.0.0.1:{port}\"]\n{}", to(&backend, "web", "prefix = 'GET '"));
    let portsplit = Portsplit::start(&config);
    let output = run_config(&config);
    assert!(matches!(output.code, Some(1 | 2)), "exit {:?}: {}", output.code, output.stderr);
    assert!(output.stderr.contains(&port.to_string()), "{}", output.stderr);
    assert_eq!(answer(portsplit.address(), "GET /"), "web\nGET /");
}

#[test]
fn a_port_can_be_bound_again_right_after_a_restart() {
    let backend = Backend::tag("web");
    let port = free_port();
    let config = format!("listen = [\"127.0.0.1:{port}\"]\n{}", to(&backend, "web", "prefix = 'GET '"));
    for _ in 0..3 {
        let portsplit = Portsplit::start(&config);
        // The server's side closes first, which leaves its port in TIME_WAIT.
        let client = portsplit.client_sending("no such service");
        client.drain();
        assert_eq!(answer(portsplit.address(), "GET /"), "web\nGET /");
        portsplit.stop();
    }
}

#[test]
fn a_unix_listener_has_the_mode_that_is_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let close = service("x", "prefix = 'x'", "close = true");
    for (option, expected) in [("", 0o600), ("mode = \"0666\"", 0o666), ("mode = \"0660\"", 0o660)] {
        let path = dir.path().join("listen.sock");
        let portsplit =
            Portsplit::start(&format!("[[listen]]\naddress = \"unix:{}\"\n{option}\n{close}", path.display()));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, expected, "{mode:o} with `{option}`");
        portsplit.stop();
    }
}

#[test]
fn a_relative_unix_path_starts_at_the_configurations_folder() {
    let backend = Backend::tag("web");
    let config = format!("listen = [\"unix:here.sock\"]\n{}", to(&backend, "web", "prefix = 'GET '"));
    let portsplit = Portsplit::start(&config);
    let path = portsplit.config_file().with_file_name("here.sock");
    assert!(is_socket(&path), "listening at {}", portsplit.address());
    assert_eq!(answer(&format!("unix:{}", path.display()), "GET /"), "web\nGET /");
    portsplit.stop();
    assert!(!path.exists());
}

#[test]
fn a_socket_of_another_kind_is_refused_while_it_lives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("listen.sock");
    let _live = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let listen = format!("listen = [\"unix:{}\"]\n", path.display());
    let output = run_config(&format!("{listen}{}", service("x", "prefix = 'x'", "close = true")));
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("a socket of another kind"), "{}", output.stderr);
    assert!(is_socket(&path));
}
