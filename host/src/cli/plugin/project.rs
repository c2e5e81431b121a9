//! An author's folder: `plugin.toml` with the manifest's values and the build command, and where things are built.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::Failure;
use crate::cli::describe::printable;

/// What a folder without `plugin.toml` needs.
const NO_PROJECT: &str =
    "a plugin's folder has a `plugin.toml`; `portsplit plugin new NAME --lang LANGUAGE` writes one";

/// A file such as `plugin.toml`, read.
#[derive(Debug)]
pub(super) struct Project {
    /// The manifest, if the file has more than `[build]`; else the module brings its own.
    pub(super) manifest: Option<Value>,
    pub(super) build: Option<Build>,
}

/// The table `[build]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Build {
    /// The program and arguments that compile.
    #[serde(default)]
    pub(super) command: Vec<String>,
    /// WebAssembly text to assemble instead.
    pub(super) wat: Option<PathBuf>,
    /// The module that comes of it, relative to the folder.
    pub(super) output: PathBuf,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// What to install if the program is missing.
    #[serde(default)]
    pub(super) install: String,
}

impl Project {
    /// Reads `plugin.toml` of a folder.
    pub(super) fn of_folder(folder: &Path) -> Result<Project, Failure> {
        let path = folder.join("plugin.toml");
        if !path.exists() {
            let folder = printable(&folder.to_string_lossy());
            return Err(Failure::Failed(anyhow!("there is no plugin in `{folder}`: {NO_PROJECT}")));
        }
        Project::read(&path)
    }

    /// Reads a file: TOML with an optional `[build]`, or a manifest in JSON.
    pub(super) fn read(path: &Path) -> Result<Project, Failure> {
        let shown = printable(&path.to_string_lossy());
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let values: Result<Map<String, Value>, String> = if is_json {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            toml::from_str(&text).map_err(|error| error.to_string())
        };
        let values = values.map_err(|error| anyhow!("{shown}: {}", error.trim_end()))?;
        Project::new(values).map_err(|error| Failure::Failed(error.context(shown)))
    }

    fn new(mut values: Map<String, Value>) -> anyhow::Result<Project> {
        let build = values.remove("build").map(serde_json::from_value::<Build>).transpose().context("[build]")?;
        if let Some(build) = &build
            && build.command.is_empty() == build.wat.is_none()
        {
            return Err(anyhow!(
                "[build] needs either `command`, the program and its arguments, or `wat`, a file of text"
            ));
        }
        if values.is_empty() {
            return Ok(Project { manifest: None, build });
        }
        // What a reader looks for comes first, and the ABI has only one version so far.
        let mut manifest = Map::new();
        for key in ["name", "version", "abi"] {
            match values.remove(key) {
                Some(value) => drop(manifest.insert(key.to_owned(), value)),
                None if key == "abi" => drop(manifest.insert(key.to_owned(), "1.0".into())),
                None => {}
            }
        }
        manifest.extend(values);
        Ok(Project { manifest: Some(Value::Object(manifest)), build })
    }

    /// The plugin's name, if the file has it.
    pub(super) fn name(&self) -> Option<&str> {
        self.manifest.as_ref()?.get("name")?.as_str()
    }
}

/// Writes a file as a whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let shown = || format!("cannot write `{}`", printable(&path.to_string_lossy()));
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.with_context(shown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    fn project(text: &str) -> anyhow::Result<Project> {
        Project::new(toml::from_str(text).unwrap())
    }

    #[test]
    fn the_manifest_is_everything_but_the_build() {
        let read =
            project("description = \"d\"\nname = \"a\"\nversion = \"1\"\n[build]\nwat = \"a.wat\"\noutput = \"o\"")
                .unwrap();
        let manifest = read.manifest.as_ref().unwrap();
        assert_eq!(manifest.to_string(), r#"{"name":"a","version":"1","abi":"1.0","description":"d"}"#);
        assert_eq!(read.name(), Some("a"));
        assert_eq!(read.build.unwrap().wat, Some("a.wat".into()));
    }

    #[test]
    fn a_file_with_only_a_build_has_no_manifest() {
        assert!(project("[build]\ncommand = [\"make\"]\noutput = \"o\"").unwrap().manifest.is_none());
    }

    #[test]
    fn a_build_names_one_way_to_build() {
        for wrong in ["output = \"o\"", "output = \"o\"\ncommand = [\"x\"]\nwat = \"y\""] {
            let error = project(&format!("[build]\n{wrong}")).unwrap_err().to_string();
            assert!(error.contains("either `command`"), "{error}");
        }
        let error = format!("{:#}", project("[build]\noutput = \"o\"\ncomand = [\"x\"]").unwrap_err());
        assert!(error.contains("comand"), "{error}");
    }
}
