//! The cache of compiled plugins: private, used at the second start, and never trusted when it was tampered with.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::config::{LISTEN, service, to};
use crate::support::{Backend, Portsplit, report};

/// What begins `SSH-` to `backend`, by the shipped plugin; a second service loads another one. Neither is configured, so
/// that each is compiled once.
fn shipped(backend: &Backend) -> String {
    format!("{LISTEN}{}{}", to(backend, "ssh", "plugin = \"ssh\""), service("rdp", "plugin = \"rdp\"", "close = true"))
}

/// Starts with `variable` as the cache, asks once, and returns how long it took to be ready.
#[track_caller]
fn ready_after(variable: &str, home: &Path, backend: &Backend) -> Duration {
    let variables =
        ["XDG_CACHE_HOME=", "CACHE_DIRECTORY=", &format!("HOME={}", home.display()), variable].map(str::to_owned);
    let mut wrapper = vec!["env"];
    wrapper.extend(variables.iter().map(String::as_str));
    let started = Instant::now();
    let portsplit = Portsplit::start_under(&wrapper, &shipped(backend));
    let took = started.elapsed();
    assert_eq!(portsplit.client_sending("SSH-2.0-test\r\n").receive_line(), "ssh");
    portsplit.stop();
    took
}

/// Every file below `dir`, checked to be open to its owner only, as every folder is.
#[track_caller]
fn private_files(dir: &Path) -> Vec<PathBuf> {
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(dir), 0o700, "{}", dir.display());
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        assert!(file.is_file(), "{}", file.display());
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    files
}

#[test]
fn compiled_plugins_are_kept_for_the_user_only_and_make_a_start_faster() {
    let backend = Backend::tag("ssh");
    let home = tempfile::tempdir().unwrap();
    let places = [
        (String::new(), home.path().join(".cache/portsplit")),
        (format!("XDG_CACHE_HOME={}", home.path().join("xdg").display()), home.path().join("xdg/portsplit")),
        (format!("CACHE_DIRECTORY={0}:{0}-2", home.path().join("manager").display()), home.path().join("manager")),
    ];
    for (variable, place) in places {
        // `env` takes no empty argument; a repeated one does no harm.
        let variable = if variable.is_empty() { format!("HOME={}", home.path().display()) } else { variable };
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent).unwrap();
        }
        let cold = ready_after(&variable, home.path(), &backend);
        let files = private_files(&place);
        assert_eq!(files.len(), 2, "one for each plugin: {files:?}");
        let warm = (0..5).map(|_| ready_after(&variable, home.path(), &backend)).min().unwrap();
        assert_eq!(private_files(&place), files, "nothing is compiled again");
        report(&format!("ready with two shipped plugins: {cold:?} compiled, {warm:?} from the cache ({variable})"));
        assert!(warm < cold, "the cache saves nothing: {cold:?} without, {warm:?} with it");
    }
}

#[test]
fn a_cache_that_was_tampered_with_or_is_open_to_others_is_not_believed() {
    let backend = Backend::tag("ssh");
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("portsplit");
    let variable = format!("XDG_CACHE_HOME={}", home.path().display());
    ready_after(&variable, home.path(), &backend);
    for file in private_files(&place) {
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        for byte in &mut bytes[middle..middle + 64] {
            *byte ^= 0x5a;
        }
        std::fs::write(&file, bytes).unwrap();
    }
    ready_after(&variable, home.path(), &backend);
    for file in private_files(&place) {
        std::fs::write(&file, b"short").unwrap();
    }
    ready_after(&variable, home.path(), &backend);
    for file in private_files(&place) {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    }
    ready_after(&variable, home.path(), &backend);
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777)).unwrap();
    ready_after(&variable, home.path(), &backend);
}
