//! The program with a service for each shipped detector, in any order.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::config::{LISTEN, service};
use crate::support::portsplit::program;
use crate::support::{Backend, Portsplit, process};

/// How long compiling all modules may take on a busy machine, the first time.
const COMPILING: Duration = Duration::from_secs(180);

/// The names of all shipped detectors, sorted: the folders of `plugins` that have a crate.
pub fn detectors() -> Vec<String> {
    let plugins = root().join("plugins");
    let folders = std::fs::read_dir(plugins).unwrap().map(|entry| entry.unwrap().path());
    let crates = folders.filter(|folder| folder.join("Cargo.toml").is_file());
    let mut names: Vec<String> =
        crates.map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// The folder of the whole project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Starts the program with these services, each a detector's name and where it connects, in this order.
#[track_caller]
pub fn start(services: &[(String, String)]) -> Portsplit {
    let mut config = String::new();
    if let Some(folder) = std::env::var_os("PLUGINS").map(PathBuf::from) {
        config = format!("plugin_path = [{:?}]\n", folder.canonicalize().unwrap());
    }
    config += LISTEN;
    for (name, address) in services {
        config += &service(name, &format!("plugin = \"{name}\""), &format!("connect = \"{address}\""));
    }
    // Compiled modules are kept, so that starting does not have to wait for it.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("portsplit.toml");
    std::fs::write(&file, &config).unwrap();
    let mut check = std::process::Command::new(program());
    check.arg("check").arg("--config").arg(&file);
    let output = process::run(check, b"", COMPILING, "portsplit check");
    assert_eq!(output.code, Some(0), "{}{}", output.text(), output.stderr);
    Portsplit::start(&config)
}

/// A backend for every detector, each of which tells its name and sends everything back.
pub struct Backends(Vec<(String, Backend)>);

impl Backends {
    /// Starts one for each of `names`.
    pub fn start(names: &[String]) -> Backends {
        let tagged = |name: &String| (name.clone(), Backend::tag(String::leak(name.clone())));
        Backends(names.iter().map(tagged).collect())
    }

    /// The services that lead to them.
    pub fn services(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, backend)| (name.clone(), backend.address().to_owned())).collect()
    }
}
