//! The command line: exit codes, help, `check` and `explain`.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::portsplit::{run, run_with_input};
use crate::support::tools::Output;

const SERVICES: &str = r#"
listen = ["127.0.0.1:0"]
[[service]]
name = "ssh"
prefix = 'SSH-'
connect = "127.0.0.1:22"
[[service]]
name = "web"
regex = '^(GET|POST) '
connect = "127.0.0.1:80"
[[service]]
name = "end"
regex = '^bye$'
close = true
[[service]]
name = "fallback"
close = true
[[service]]
name = "timeout"
close = true
"#;

/// A configuration in a file.
struct Config(TempDir);

impl Config {
    fn new(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.toml"), text).unwrap();
        Config(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("x.toml")
    }

    fn run(&self, command: &str, args: &[&str]) -> Output {
        self.run_with_input(command, args, b"")
    }

    fn run_with_input(&self, command: &str, args: &[&str], input: &[u8]) -> Output {
        let path = self.path().display().to_string();
        let args: Vec<&str> = [command, "-c", &path].into_iter().chain(args.iter().copied()).collect();
        run_with_input(&args, input)
    }

    /// What `explain` prints on stdout for `args`.
    #[track_caller]
    fn explain(&self, args: &[&str]) -> String {
        let output = self.run("explain", args);
        assert_eq!(output.code, Some(0), "explain {args:?}: {}", output.stderr);
        output.text()
    }

    /// What `explain --json` says about `args`.
    #[track_caller]
    fn explain_json(&self, args: &[&str]) -> serde_json::Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let text = self.explain(&args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }
}

#[test]
fn usage_errors_exit_with_2_and_name_the_mistake() {
    for args in [&["--confg", "x.toml"][..], &["chekc"], &["check"], &["explain", "--bogus"]] {
        let output = run(args);
        assert_eq!(output.code, Some(2), "{args:?}: {}", output.stderr);
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_exit_with_0() {
    let help = run(&["--help"]);
    assert_eq!(help.code, Some(0));
    let text = help.text().to_lowercase();
    for word in ["example", "check", "explain", "--config"] {
        assert!(text.contains(word), "`{word}` is not in the help:\n{text}");
    }
    for command in ["check", "explain"] {
        let help = run(&[command, "--help"]);
        assert_eq!(help.code, Some(0));
        assert!(help.text().to_lowercase().contains("example"), "no example:\n{}", help.text());
    }
    let version = run(&["--version"]);
    assert_eq!(version.code, Some(0));
    assert!(version.text().contains(env!("CARGO_PKG_VERSION")), "{}", version.text());
}

#[test]
fn a_file_that_is_missing_or_wrong_exits_with_2() {
    let missing = run(&["--config", "/nonexistent/x.toml"]);
    assert_eq!(missing.code, Some(2), "{}", missing.stderr);
    assert!(missing.stderr.contains("/nonexistent/x.toml"), "{}", missing.stderr);
    let config = Config::new("listen = [\"127.0.0.1:0\"]\ntimout = \"5s\"\n");
    for output in [config.run("check", &[]), run(&["--config", config.path().to_str().unwrap()])] {
        assert_eq!(output.code, Some(2), "{}", output.stderr);
        for part in ["x.toml:2:1", "timout", "timeout"] {
            assert!(output.stderr.contains(part), "`{part}` is not in:\n{}", output.stderr);
        }
    }
}

#[test]
fn check_accepts_a_good_file() {
    let output = Config::new(SERVICES).run("check", &[]);
    assert_eq!(output.code, Some(0), "{}{}", output.text(), output.stderr);
    let output = Config::new(SERVICES).run("check", &["--json"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("the result is JSON");
}

#[test]
fn check_warns_about_a_regex_that_can_never_reject() {
    let text = SERVICES.replace("'^(GET|POST) '", "'GET '");
    let output = Config::new(&text).run("check", &[]);
    let said = format!("{}{}", output.text(), output.stderr);
    assert!(said.contains("never reject"), "exit {:?}: {said}", output.code);
}

#[test]
fn explain_names_the_service_and_the_byte_where_it_was_known() {
    let config = Config::new(SERVICES);
    let text = config.explain(&["--text", "SSH-2.0-x"]);
    assert!(text.contains("ssh") && text.contains('4'), "{text}");
    let json = config.explain_json(&["--text", "SSH-2.0-x"]);
    assert_eq!((json["service"].as_str(), json["reason"].as_str()), (Some("ssh"), Some("match")), "{json}");
    let rows = json["services"].as_array().expect("a row per service");
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {json}"));
    assert_eq!(row("ssh")["verdict"], "match", "{json}");
    assert_eq!(row("web")["verdict"], "reject", "{json}");
}

#[test]
fn explain_reads_hex_text_and_stdin_alike() {
    let config = Config::new(SERVICES);
    let by_text = config.explain_json(&["--text", "GET / HTTP/1.0"]);
    let by_hex = config.explain_json(&["--hex", "474554202f20485454502f312e30"]);
    let by_stdin = config.run_with_input("explain", &["--json", "-"], b"GET / HTTP/1.0");
    let by_stdin: serde_json::Value = serde_json::from_slice(&by_stdin.stdout).expect("the result is JSON");
    assert_eq!(by_text["service"], "web", "{by_text}");
    assert_eq!((&by_hex, &by_stdin), (&by_text, &by_text));
    let odd = config.run("explain", &["--hex", "4g"]);
    assert_eq!(odd.code, Some(2), "{}", odd.stderr);
}

#[test]
fn explain_knows_fallback_and_what_needs_more() {
    let config = Config::new(SERVICES);
    let json = config.explain_json(&["--text", "hello"]);
    assert_eq!((json["service"].as_str(), json["reason"].as_str()), (Some("fallback"), Some("no-match")), "{json}");
    let undecided = config.explain(&["--text", "SS"]);
    assert!(undecided.contains("need"), "the bytes do not decide: {undecided}");
}

#[test]
fn explain_says_the_same_for_every_way_to_cut_the_bytes() {
    let config = Config::new(SERVICES);
    for text in ["SSH-2.0-x", "POST / HTTP/1.1", "hello"] {
        let whole = config.explain_json(&["--text", text]);
        for args in [&["--text", text, "--byte-by-byte"][..], &["--text", text, "--split", "3"]] {
            let cut = config.explain_json(args);
            assert_eq!((&cut["service"], &cut["reason"]), (&whole["service"], &whole["reason"]), "{args:?}");
        }
    }
}

#[test]
fn explain_foretells_what_the_server_does() {
    use crate::support::{Backend, Portsplit, config};
    let backend = Backend::echo();
    let services = [
        config::to(&backend, "ssh", "prefix = 'SSH-'"),
        config::to(&backend, "web", "regex = ['^(GET|POST) ', '^PRI \\*']"),
        config::to(&backend, "end", "regex = '^bye$'"),
        config::to(&backend, "fallback", ""),
    ];
    let text = format!("{}{}", config::LISTEN, services.concat());
    let (file, portsplit) = (Config::new(&text), Portsplit::start(&text));
    for sent in ["SSH-2.0-x", "SSH+", "GET / HTTP/1.0", "PRI * HTTP/2.0", "POS", "bye", "bye!", "\u{16}\u{3}"] {
        let hex: String = sent.bytes().map(|byte| format!("{byte:02x}")).collect();
        let told = file.explain_json(&["--hex", &hex]);
        // What the bytes leave open, the half-close decides.
        let told = if told["decided"] == true { &told } else { &told["ends"]["half-close"] };
        let client = portsplit.client_sending(sent);
        client.finish();
        client.answer();
        let line = portsplit.connection_of(&client.local());
        for key in ["service", "reason"] {
            assert_eq!(told[key].as_str().unwrap_or(""), line.field(key), "{key} of {sent:?}: {told}");
        }
        assert_eq!(told["deciding_bytes"].as_u64(), Some(line.number("deciding_bytes")), "{sent:?}: {told}");
    }
}
