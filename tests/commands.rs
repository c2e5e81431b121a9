//! The commands that print something: exit codes, what goes to which stream, JSON, and exact texts.
//!
//! They are started as a user starts them; nothing here listens. What they print for every kind of verdict is tested
//! beside the code.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const SERVICES: &str = r#"
listen = ["127.0.0.1:4430", { address = "127.0.0.1:4431", services = ["web"] }]
[[service]]
name = "ssh"
prefix = 'SSH-'
connect = "127.0.0.1:22"
[[service]]
name = "web"
regex = '^(GET|POST) '
connect = "127.0.0.1:80"
"#;

/// What a command left behind.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn portsplit(args: &[&str], input: &[u8]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portsplit"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its input is gone before all of it is written.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A folder with a configuration.
struct Folder(TempDir);

impl Folder {
    fn new(config: &str) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write("x.toml", config.as_bytes());
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, command: &str, args: &[&str]) -> Ran {
        let path = self.0.path().join("x.toml").display().to_string();
        portsplit(&[&["-c", &path, command][..], args].concat(), b"")
    }

    #[track_caller]
    fn json(&self, command: &str, args: &[&str]) -> Value {
        let ran = self.run(command, &[args, &["--json"][..]].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
    }
}

#[test]
fn without_a_configuration_every_command_that_needs_one_says_how_to_name_it() {
    for args in [&[][..], &["check"], &["explain", "--text", "x"]] {
        let ran = portsplit(args, b"");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.contains("`--config FILE`"), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn check_accepts_every_configuration_that_is_shipped() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let files: Vec<&PathBuf> = files.iter().filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let ran = portsplit(&["check", "-c", file.to_str().unwrap()], b"");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stdout.contains(": can be used, "), "{}", ran.stdout);
    }
}

#[test]
fn check_prints_the_summary_and_nothing_else_for_a_good_file() {
    let folder = Folder::new(SERVICES);
    let ran = folder.run("check", &[]);
    let path = folder.0.path().join("x.toml").display().to_string();
    let want = format!(
        "{path}: can be used, no warnings\n\
         \x20 listener  127.0.0.1:4430\n\
         \x20 listener  127.0.0.1:4431  for web\n\
         \x20 service  ssh       connect to 127.0.0.1:22\n\
         \x20 service  web       connect to 127.0.0.1:80\n\
         \x20 service  fallback  close\n\
         \x20 service  timeout   close\n"
    );
    assert_eq!((ran.code, ran.stdout, ran.stderr.as_str()), (Some(0), want, ""));
    let json = folder.json("check", &["--strict"]);
    assert_eq!(json, serde_json::json!({ "ok": true, "errors": [], "warnings": [] }));
}

#[test]
fn check_shows_all_errors_and_exits_with_2() {
    let folder = Folder::new(
        "listen = [\"127.0.0.1:0\"]\ntimout = \"5s\"\n[[service]]\nname = \"a\"\nprefxi = 'x'\nclose = true\n",
    );
    let ran = folder.run("check", &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    for part in ["x.toml:2:1: error", "x.toml:5:1: error", "timeout", "2 errors"] {
        assert!(ran.stderr.contains(part), "`{part}` is not in:\n{}", ran.stderr);
    }
    let json = folder.json("check", &[]);
    assert_eq!((&json["ok"], json["errors"].as_array().unwrap().len()), (&Value::Bool(false), 2));
    assert_eq!((&json["errors"][0]["line"], &json["errors"][0]["column"]), (&2.into(), &1.into()));
    assert_eq!(folder.run("check", &["--json"]).code, Some(2));
}

#[test]
fn warnings_fail_only_a_strict_check() {
    let folder = Folder::new(&SERVICES.replace("'^(GET|POST) '", "'GET '"));
    for args in [&[][..], &["--json"]] {
        assert_eq!(folder.run("check", args).code, Some(0), "{args:?}");
        assert_eq!(folder.run("check", &[args, &["--strict"]].concat()).code, Some(1), "{args:?}");
    }
    let ran = folder.run("check", &[]);
    assert!(ran.stderr.contains("x.toml:9:9: warning: ") && ran.stderr.contains("never reject"), "{}", ran.stderr);
    assert!(ran.stdout.contains("can be used, 1 warning\n"), "{}", ran.stdout);
    assert_eq!(folder.json("check", &[])["ok"], true);
    assert_eq!(folder.json("check", &["--strict"])["ok"], false);
}

#[test]
fn explain_tells_each_listener_that_decides_differently() {
    let folder = Folder::new(SERVICES);
    let ran = folder.run("explain", &["--text", "SSH-2.0-x\\r\\n"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (
            Some(0),
            "\
bytes     11: SSH-2.0-x\\r\\n
listener  127.0.0.1:4430

service  verdict  known at  because of
ssh      match    4 bytes   prefix 'SSH-'
web      reject   1 byte

decision  ssh: it matches (match, known at 4 bytes)
action    connect to 127.0.0.1:22

listener  127.0.0.1:4431

service  verdict  known at  because of
web      reject   1 byte

decision  fallback: every service has rejected (no-match, known at 1 byte)
action    close
",
            ""
        )
    );
    let json = folder.json("explain", &["--text", "SSH-2.0-x"]);
    assert_eq!((&json["service"], &json["other_listeners"][0]["service"]), (&"ssh".into(), &"fallback".into()));
    let one = folder.json("explain", &["--text", "SSH-2.0-x", "--listener", "127.0.0.1:4431"]);
    assert_eq!((&one["service"], one.get("other_listeners")), (&"fallback".into(), None));
    assert_eq!(folder.run("explain", &["--text", "x", "--listener", "127.0.0.1:1"]).code, Some(2));
}

#[test]
fn explain_takes_the_same_bytes_from_everywhere() {
    let folder = Folder::new(SERVICES);
    let by_text = folder.json("explain", &["--text", "GET /\\r\\n"]);
    assert_eq!(by_text["deciding_bytes"], 4);
    let file = folder.write("bytes", b"GET /\r\n");
    assert_eq!(folder.json("explain", &["--hex", "47 45:54 20 0x2f 0d0a"]), by_text);
    assert_eq!(folder.json("explain", &["--file", file.to_str().unwrap()]), by_text);
    let config = folder.0.path().join("x.toml").display().to_string();
    let by_stdin = portsplit(&["explain", "-c", &config, "--json", "-"], b"GET /\r\n");
    assert_eq!(serde_json::from_str::<Value>(&by_stdin.stdout).unwrap(), by_text);
}

#[test]
fn explain_reads_no_more_than_a_first_flight_may_have() {
    let folder = Folder::new(&format!("max_first_flight = \"8B\"\n{SERVICES}"));
    let file = folder.write("bytes", &[b'S'; 100_000]);
    let json = folder.json("explain", &["--file", file.to_str().unwrap()]);
    assert_eq!((&json["bytes"], &json["cut"]), (&8.into(), &true.into()));
}

#[test]
fn explain_refuses_what_it_cannot_understand_with_2_and_what_it_cannot_read_with_1() {
    let folder = Folder::new(SERVICES);
    for args in [
        &[][..],
        &["--hex", "4"],
        &["--hex", "xy"],
        &["--text", r"\q"],
        &["--text", "a", "--hex", "41"],
        &["--text", "a", "--split", "2,1"],
        &["--text", "a", "--split", "1", "--byte-by-byte"],
        &["--text", "a", "--flow", "1"],
        &["+"],
    ] {
        let ran = folder.run("explain", args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty(), "{args:?}");
    }
    let no_capture = folder.write("none", b"GET / HTTP/1.1\r\nHost: example.org\r\n");
    for (args, part) in [
        (["--file", "/nonexistent"], "`/nonexistent`"),
        (["--pcap", "/nonexistent"], "`/nonexistent`"),
        (["--pcap", no_capture.to_str().unwrap()], "neither pcap nor pcapng"),
    ] {
        let ran = folder.run("explain", &args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{args:?}");
        assert!(ran.stderr.starts_with("portsplit: ") && ran.stderr.contains(part), "{args:?}: {}", ran.stderr);
    }
    let broken = Folder::new("listen = 1\n");
    let ran = broken.run("explain", &["--text", "a"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("x.toml:1:"), "{}", ran.stderr);
}

/// A pcap file of raw IPv4: for each client port, the bytes that it sends.
fn capture(clients: &[(u16, &[u8])]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0];
    for (port, payload) in clients {
        for (number, flags, payload) in [(99_u32, 2, &b""[..]), (100, 16, payload)] {
            let length = u16::try_from(40 + payload.len()).unwrap();
            let mut packet = vec![0x45, 0];
            packet.extend(length.to_be_bytes());
            packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
            packet.extend(port.to_be_bytes());
            packet.extend(443_u16.to_be_bytes());
            packet.extend(number.to_be_bytes());
            packet.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            packet.extend(payload);
            file.extend([0; 8]);
            file.extend(u32::from(length).to_le_bytes());
            file.extend(u32::from(length).to_le_bytes());
            file.extend(packet);
        }
    }
    file
}

#[test]
fn explain_tells_the_connections_of_a_capture_and_one_of_them_in_detail() {
    let folder = Folder::new(SERVICES);
    let path = folder.write("x.pcap", &capture(&[(50_000, b"SSH-2.0-x"), (50_001, b"\x16\x03\x01")]));
    let pcap = path.to_str().unwrap();
    let ran = folder.run("explain", &["--pcap", pcap]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (
            Some(0),
            "\
listener  127.0.0.1:4430

flow  client           server         bytes  decision
1     192.0.2.1:50000  192.0.2.2:443  9      ssh (match, 4 bytes)
2     192.0.2.1:50001  192.0.2.2:443  3      fallback (no-match, 1 byte)
"
        ),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("--listener"), "{}", ran.stderr);
    let json = folder.json("explain", &["--pcap", pcap]);
    assert_eq!(
        (&json["flows"][1]["service"], &json["flows"][1]["client"]),
        (&"fallback".into(), &"192.0.2.1:50001".into())
    );
    let ran = folder.run("explain", &["--pcap", pcap, "--flow", "2", "--byte-by-byte"]);
    assert!(
        ran.stdout.starts_with("flow      2: 192.0.2.1:50001 to 192.0.2.2:443\nbytes     3: \\x16\\x03\\x01\n"),
        "{}",
        ran.stdout
    );
    for args in [&["--flow", "0"][..], &["--flow", "3"], &["--byte-by-byte"]] {
        let ran = folder.run("explain", &[&["--pcap", pcap], args].concat());
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
    }
    let one = folder.write("one.pcap", &capture(&[(50_000, b"SSH-2.0-x")]));
    assert_eq!(folder.json("explain", &["--pcap", one.to_str().unwrap()])["flow"]["bytes"], 9, "one is told in detail");
}

#[test]
fn completions_and_manual_pages_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = portsplit(&["completions", shell], b"");
        assert_eq!(ran.code, Some(0), "{shell}: {}", ran.stderr);
        assert!(ran.stdout.contains("explain") && ran.stdout.contains("byte-by-byte"), "{shell}");
    }
    assert_eq!(portsplit(&["completions", "cmd"], b"").code, Some(2));
    let page = portsplit(&["man"], b"");
    assert_eq!(page.code, Some(0));
    assert!(page.stdout.contains(".TH portsplit 1") && page.stdout.contains("check"), "{}", page.stdout);
    let page = portsplit(&["man", "explain"], b"");
    assert!(page.stdout.contains(".TH portsplit-explain 1") && page.stdout.contains("split"), "{}", page.stdout);
    let ran = portsplit(&["man", "chekc"], b"");
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("`chekc`") && ran.stderr.contains("explain"), "{}", ran.stderr);
}

#[test]
fn an_address_that_cannot_be_bound_is_told_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = Folder::new(&format!(
        "listen = [\"{address}\"]\n[log]\nlevel = \"off\"\n[[service]]\nname = \"a\"\nprefix = 'a'\nclose = true\n"
    ));
    let path = folder.0.path().join("x.toml").display().to_string();
    let ran = portsplit(&["-c", &path], b"");
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.starts_with(&format!("portsplit: cannot listen on {address}")), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portsplit"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_file_where_a_command_belongs_is_told_how_to_be_named() {
    let folder = Folder::new(SERVICES);
    let path = folder.0.path().join("x.toml").display().to_string();
    let named = format!("--config {path}");
    for (args, hint) in [
        (&[path.as_str()][..], named.as_str()),
        (&["check", &path], &named),
        (&["explain", "--text", "x", &path], &named),
        (&["-F", &path], "--config FILE"),
    ] {
        let ran = portsplit(args, b"");
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.contains(hint), "{args:?}: {}", ran.stderr);
    }
    // What is neither a file nor a command is only said to be unknown.
    assert!(!portsplit(&["no-such-file"], b"").stderr.contains("--config no"));
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let folder = Folder::new(SERVICES);
    let path = folder.0.path().join("x.toml").display().to_string();
    for args in
        [&["--help"][..], &["--version"], &["man"], &["-c", &path, "check"], &["-c", &path, "explain", "--text", "x"]]
    {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portsplit"));
        let output = command.args(args).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("cannot write to standard output"), "{args:?}: {said}");
    }
}
