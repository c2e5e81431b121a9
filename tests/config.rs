//! Configurations as files: those that are refused, with the text that is shown, those that are accepted, and those that
//! are shipped.
//!
//! `tests/config/invalid/*.toml` have their errors beside them in `.err`, and `tests/config/warning/*.toml` their
//! warnings. `BLESS=1` writes these files anew; look at the difference before you commit it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portsplit::config::{Action, Address, Config, ConfigErrors, Problem, SocketOptions, Splice, Target, render_all};
use proptest::prelude::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Lists the `.toml` files of a folder of the repository, sorted; there is at least one.
fn toml_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(!files.is_empty(), "{folder} has no .toml files");
    files
}

fn file_name(path: &Path) -> PathBuf {
    PathBuf::from(path.file_name().unwrap())
}

/// Checks a file under its bare name, so that the texts are the same on every machine.
fn parse(path: &Path) -> Result<(Config, Vec<Problem>), ConfigErrors> {
    let bytes = fs::read(path).unwrap();
    match String::from_utf8(bytes) {
        Ok(text) => Config::parse(&file_name(path), &text),
        // Only `load` can be given such a file.
        Err(_) => Config::load_with_warnings(path),
    }
}

/// Compares with the file beside `path`, or writes it if `BLESS` is set; returns what differs.
fn compare(path: &Path, shown: &str) -> Option<String> {
    let golden = path.with_extension("err");
    let shown = format!("{shown}\n");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, shown).unwrap();
        return None;
    }
    let wanted = fs::read_to_string(&golden).unwrap_or_default();
    (shown != wanted).then(|| format!("--- {}\nwanted:\n{wanted}\nshown:\n{shown}", golden.display()))
}

#[test]
fn wrong_configurations_are_refused_with_the_expected_text() {
    let files = toml_files("tests/config/invalid");
    assert!(files.len() >= 40, "only {} wrong configurations", files.len());
    let mut differences = Vec::new();
    for path in &files {
        let Err(errors) = parse(path) else { panic!("{} is accepted", path.display()) };
        assert!(!errors.problems().is_empty());
        let shown = errors.to_string().replace(&format!("{}/", path.parent().unwrap().display()), "");
        differences.extend(compare(path, &shown));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_error_is_one_line_with_file_line_and_column() {
    for path in toml_files("tests/config/invalid") {
        let errors = parse(&path).unwrap_err();
        let text = fs::read(&path).unwrap();
        let lines = text.split(|byte| *byte == b'\n').count();
        for problem in errors.problems() {
            let place = format!(":{}:{}: error: ", problem.line(), problem.column());
            assert!(problem.headline().contains(&place), "{}", problem.headline());
            assert!((1..=lines).contains(&problem.line()), "{}", problem.headline());
            assert!(!problem.message().contains('\n'), "{}", problem.headline());
            assert!(!problem.message().ends_with('.'), "{}", problem.headline());
        }
    }
}

#[test]
fn doubtful_configurations_are_accepted_with_the_expected_warnings() {
    let mut differences = Vec::new();
    for path in toml_files("tests/config/warning") {
        let (_, warnings) = parse(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(!warnings.is_empty(), "{} has no warning", path.display());
        differences.extend(compare(&path, &render_all(&warnings, false)));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn good_configurations_are_accepted_without_warnings() {
    for path in toml_files("tests/config/valid") {
        let (_, warnings) = parse(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(warnings.is_empty(), "{}", render_all(&warnings, false));
    }
}

#[test]
fn shipped_configurations_are_accepted_and_patterns_in_them_are_sound() {
    for path in toml_files("config") {
        let (config, warnings) = Config::load_with_warnings(&path).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(!config.listeners.is_empty() && config.path == path);
        // A program may be missing and a checkout may have any permissions; all else has to be right.
        let doubtful: Vec<&Problem> =
            warnings.iter().filter(|warning| !warning.message().contains("program")).collect();
        assert!(doubtful.is_empty(), "{}", render_all(&warnings, false));
    }
}

#[test]
fn the_full_configuration_means_what_it_says() {
    let config = Config::load(&root().join("config/full.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.decide_timeout, Duration::from_secs(3));
    assert_eq!(config.max_first_flight_bytes, 32 << 10);
    assert_eq!(config.limits.max_connections, 20_000);
    assert_eq!(config.limits.max_undecided, 4_000);
    assert_eq!(config.limits.max_connections_per_source, Some(500));
    assert_eq!(config.connect_timeout, Duration::from_secs(2));
    assert_eq!(config.idle_timeout, Some(Duration::from_secs(1800)));
    assert_eq!(config.half_close_timeout, Some(Duration::from_secs(120)));
    assert_eq!(config.splice, Splice::Never);
    assert_eq!(config.drain_timeout, Duration::from_secs(10));
    assert_eq!(config.workers, 2);
    assert_eq!(config.pid_file, Some(root().join("config/portsplit.pid")));
    assert_eq!(config.identity.user.as_ref().unwrap().0, "nobody");
    assert_eq!(config.identity.group.as_ref().unwrap().0, "daemon");
    assert_eq!(config.log.level, Some(tracing::Level::DEBUG));
    let [tcp, unix] = config.listeners.as_slice() else { panic!("two listeners") };
    assert_eq!((tcp.backlog, tcp.router.rules().len()), (1024, 4));
    assert_eq!(unix.address, Address::Unix(root().join("config/portsplit.sock")));
    assert_eq!((unix.mode, unix.router.rules().len()), (0o660, 3));
    let names: Vec<&str> = config.services.iter().map(|service| &*service.name).collect();
    assert_eq!(names, ["ssh", "http", "web", "shell"]);
    assert!(matches!(&config.services[1].action, Action::Connect(to)
        if to.targets == [Target::Host("localhost".into(), 8080)] && to.socket == SocketOptions::default()));
    let accepted = SocketOptions {
        nodelay: false,
        keepalive: Some(Duration::from_secs(120)),
        congestion: Some("reno".into()),
        user_timeout: Some(Duration::from_secs(30)),
        fast_open: false,
        mark: Some(7),
        device: Some("lo".into()),
    };
    assert_eq!(tcp.socket, accepted);
    let Action::Connect(ssh) = &config.services[0].action else { panic!("ssh connects") };
    assert_eq!(ssh.socket, SocketOptions { fast_open: true, ..SocketOptions::default() });
    assert!(matches!(&config.services[3].action, Action::Exec(program)
        if program.argv == ["/bin/sh", "-i"] && program.pty.unwrap().echo));
    assert_eq!(config.fallback, Action::Close);
    assert!(matches!(config.timeout, Action::Exec(_)));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let text = "listen = '127.0.0.1:0'\n[[service]]\nname = 'fallback'\nclose = true\n";
    let (config, warnings) = Config::parse(Path::new("x.toml"), text).unwrap();
    assert!(warnings.is_empty());
    assert_eq!(config.decide_timeout, Duration::from_secs(5));
    assert_eq!(config.max_first_flight_bytes, 16 << 10);
    assert_eq!(config.limits.max_connections, 10_000);
    assert_eq!(config.limits.max_undecided, 2_500);
    assert_eq!(config.limits.max_connections_per_source, None);
    assert_eq!(config.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(config.half_close_timeout, Some(Duration::from_secs(60)));
    assert_eq!(config.splice, Splice::Auto);
    assert_eq!(config.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.workers, std::thread::available_parallelism().unwrap().get());
    assert_eq!((config.pid_file, config.identity.user, config.identity.group), (None, None, None));
    assert_eq!((config.listeners[0].mode, config.listeners[0].backlog), (0o600, 4096));
    let keepalive = Some(Duration::from_secs(300));
    assert_eq!(config.listeners[0].socket, SocketOptions { keepalive, ..SocketOptions::default() });
}

/// A key of a file: where it stands and what it is called.
struct Key {
    line: usize,
    start: usize,
    name: String,
}

/// Finds every key and table header of a file whose lines all look like `key = value`, `[table]` or `[[table]]`.
fn keys_of(text: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut start_of_line = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let mut found = |offset, name: &str| {
            keys.push(Key { line: number + 1, start: start_of_line + offset, name: name.to_owned() });
        };
        match line.trim_end() {
            header if header.starts_with('[') => {
                let mut offset = header.rfind('[').unwrap() + 1;
                for key in header.trim_matches(['[', ']']).split('.') {
                    found(offset, key);
                    if key == "plugins" {
                        // A name that the user chooses follows.
                        break;
                    }
                    offset += key.len() + 1;
                }
            }
            pair if pair.starts_with(|c: char| c.is_ascii_lowercase()) => {
                let mut offset = 0;
                for key in pair.split_once(" = ").into_iter().flat_map(|(key, _)| key.split('.')) {
                    found(offset, key);
                    offset += key.len() + 1;
                }
            }
            _ => {}
        }
        start_of_line += line.len();
    }
    keys
}

/// Returns `word` with one typing error of each kind at each place.
fn mistyped(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut variants = Vec::new();
    for at in 0..letters.len() {
        let mut deleted = letters.clone();
        deleted.remove(at);
        let mut doubled = letters.clone();
        doubled.insert(at, letters[at]);
        let mut swapped = letters.clone();
        if at + 1 < swapped.len() {
            swapped.swap(at, at + 1);
        }
        let mut replaced = letters.clone();
        replaced[at] = if letters[at] == 'x' { 'y' } else { 'x' };
        let mut upper = letters.clone();
        upper[at] = letters[at].to_ascii_uppercase();
        variants.extend([deleted, doubled, swapped, replaced, upper].map(|letters| letters.into_iter().collect()));
    }
    for last in ['s', 'z', '_', '1'] {
        variants.push(format!("{word}{last}"));
    }
    variants.retain(|variant: &String| variant != word && !variant.is_empty());
    variants
}

#[test]
fn every_key_of_the_full_configuration_is_refused_on_its_line_when_mistyped() {
    let text = fs::read_to_string(root().join("config/full.toml")).unwrap();
    let keys = keys_of(&text);
    let names: std::collections::BTreeSet<&str> = keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names.len(), 49, "{names:?}");
    let (mut tried, mut failures) = (0, String::new());
    for key in &keys {
        for wrong in mistyped(&key.name) {
            tried += 1;
            let mut changed = text.clone();
            changed.replace_range(key.start..key.start + key.name.len(), &wrong);
            let Err(errors) = Config::parse(Path::new("full.toml"), &changed) else {
                writeln!(failures, "{}:{}: `{wrong}` is accepted", key.line, key.name).unwrap();
                continue;
            };
            let told = errors.problems().iter().find(|problem| problem.line() == key.line);
            let suggested = told.and_then(Problem::help).is_some_and(|help| help.contains(&format!("`{}`", key.name)));
            if !suggested || errors.problems().len() != 1 {
                writeln!(failures, "{}: `{}` as `{wrong}`:\n{errors}", key.line, key.name).unwrap();
            }
        }
    }
    assert!(tried > 1_000, "only {tried} typing errors tried");
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_key_that_exists_is_in_the_full_configuration() {
    let text = fs::read_to_string(root().join("config/full.toml")).unwrap();
    let places = ["[zzz]", "[[listen]]\nzzz = 1", "[log]\nzzz = 1", "[plugins.a]\nzzz = 1", "[[service]]\nzzz = 1"];
    for place in places.into_iter().chain(["[[listen]]\n[listen.socket]\nzzz = 1"]) {
        let errors = Config::parse(Path::new("x.toml"), &format!("{place}\n")).unwrap_err();
        let help =
            errors.problems().iter().find_map(|problem| problem.help().filter(|help| help.contains("the keys of")));
        let help = help.unwrap_or_else(|| panic!("{errors}"));
        let keys: Vec<&str> = help.split('`').skip(1).step_by(2).collect();
        assert!(keys.len() >= 2, "{help}");
        for key in keys {
            let found = keys_of(&text).iter().any(|known| known.name == key);
            assert!(found, "`{key}` is missing in config/full.toml");
        }
    }
}

#[test]
fn all_errors_of_a_file_are_reported_at_once_and_in_order() {
    let text =
        "listen = [':443']\ntimout = '5s'\nworkers = 'two'\n[[service]]\nname = 'a'\nprefix = '\\q'\nconnect = 'x'\n";
    let errors = Config::parse(Path::new("x.toml"), text).unwrap_err();
    let lines: Vec<usize> = errors.problems().iter().map(Problem::line).collect();
    assert_eq!(lines, [1, 2, 3, 6, 7], "{errors}");
    assert!(errors.summary().starts_with("x.toml:1:11: error: `:443` has no address"), "{}", errors.summary());
    assert!(errors.summary().ends_with("(and 4 more)"), "{}", errors.summary());
}

#[test]
fn a_file_with_an_error_on_every_line_is_refused_soon_and_with_few_of_them() {
    for line in ["2026-11-24T03:53:12 INFO listening\n", "key = 1\n", "[[service]]\nprefix = '\\q'\n", "= ]\n"] {
        let started = std::time::Instant::now();
        let errors = Config::parse(Path::new("x.toml"), &line.repeat(20_000)).unwrap_err();
        let shown = errors.to_string();
        assert!((1..=101).contains(&errors.problems().len()), "{line}: {}", errors.problems().len());
        assert!(errors.problems().len() == 1 || shown.ends_with("more like these are not shown"), "{line}");
        assert!(started.elapsed() < Duration::from_secs(20), "{line}: {:?}", started.elapsed());
    }
}

#[test]
fn colour_appears_only_when_it_is_asked_for() {
    let errors = Config::parse(Path::new("x.toml"), "a = 1\n").unwrap_err();
    assert!(!errors.render(false).contains('\x1b'));
    assert!(errors.render(true).contains('\x1b'));
}

#[test]
fn control_characters_of_a_file_are_never_shown_raw() {
    let text = "listen = \"\\u001b[31m\"\n\"\\u001b]0;x\\u0007\" = 1\n\x1b = 2\n";
    let errors = Config::parse(Path::new("a\x1bb.toml"), text).unwrap_err();
    assert!(!errors.to_string().contains('\x1b'), "{errors}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("absent.toml"), folder.path().to_path_buf()] {
        let errors = Config::load(&path).unwrap_err();
        assert!(errors.to_string().starts_with(&format!("{}:1:1: error: this file", path.display())), "{errors}");
    }
    let endless = Config::load(Path::new("/dev/zero")).unwrap_err();
    assert!(endless.to_string().contains("more than"), "{endless}");
}

#[test]
fn a_file_that_everybody_may_change_is_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    fs::write(&path, "listen = '127.0.0.1:0'\n[[service]]\nname = 'fallback'\nclose = true\n").unwrap();
    for (mode, warned) in [(0o644, false), (0o664, false), (0o666, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let (_, warnings) = Config::load_with_warnings(&path).unwrap();
        assert_eq!(warnings.iter().any(|warning| warning.message().contains("every user")), warned, "{mode:o}");
    }
}

#[test]
fn relative_paths_start_in_the_folder_of_the_file() {
    let text =
        "listen = 'unix:a.sock'\npid_file = 'run/pid'\n[[service]]\nname = 'fallback'\nexec = ['./a.sh', './b']\n";
    let (config, _) = Config::parse(Path::new("/etc/portsplit/x.toml"), text).unwrap();
    assert_eq!(config.listeners[0].address, Address::Unix("/etc/portsplit/a.sock".into()));
    assert_eq!(config.pid_file, Some("/etc/portsplit/run/pid".into()));
    let Action::Exec(program) = &config.fallback else { panic!("{:?}", config.fallback) };
    assert_eq!(program.argv, ["/etc/portsplit/a.sh", "./b"]);
}

/// Files that are nearly right: a shipped one with pieces cut out, doubled or replaced.
fn damaged() -> impl Strategy<Value = String> {
    let texts: Vec<String> = toml_files("config").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let damage = (any::<prop::sample::Index>(), 0usize..40, r#"[\[\]='"{}\\,.#a-z0-9\n \x00ß]{0,12}"#);
    (prop::sample::select(texts), prop::collection::vec(damage, 1..6)).prop_map(|(mut text, damages)| {
        for (at, length, replacement) in damages {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, &replacement);
        }
        text
    })
}

/// Every error has a place inside the text and can be rendered.
fn assert_sound(text: &str) {
    match Config::parse(Path::new("x.toml"), text) {
        Ok((_, warnings)) => drop(render_all(&warnings, true)),
        Err(errors) => {
            assert!(!errors.problems().is_empty());
            for problem in errors.problems() {
                assert!(problem.line() <= text.matches('\n').count() + 1);
                assert!(problem.headline().contains("error: "));
            }
            assert!(errors.render(true).contains(errors.problems()[0].message()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_accepted_or_refused_without_panic(text in any::<String>()) {
        assert_sound(&text);
    }

    #[test]
    fn any_text_of_toml_pieces_is_accepted_or_refused_without_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "listen", "timeout", "service", "name", "prefix", "regex", "exec", "close", "log", " = ", "\n", "[", "]", "[[",
            "]]", "'", "\"", "'''", "\\", "5s", "\"x\"", "'a'", "true", "1", "0x", "-", ".", ",", "{", "}", "#", "\r", "é",
        ]), 0..60)
    ) {
        assert_sound(&pieces.concat());
    }

    #[test]
    fn damaged_files_are_accepted_or_refused_without_panic(text in damaged()) {
        assert_sound(&text);
    }
}
