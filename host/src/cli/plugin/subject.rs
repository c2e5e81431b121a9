//! What `test` and `fuzz` examine: built modules with the cases that belong to them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use portsplit_plugin_sdk::harness::{Cases, LoadFailure, Plugin};
use portsplit_runtime::Runtime;
use serde_json::Value;

use super::module::{Module, read, refused};
use super::progress::announced;
use super::project::Project;
use crate::cli::Failure;
use crate::cli::describe::printable;

/// A loaded plugin and its cases.
pub(super) struct Subject {
    /// As the user named it, safe to print.
    pub(super) name: String,
    pub(super) plugin: Plugin,
    /// The file's cases, without the manifest's examples; `None` if there is no file.
    pub(super) cases: Option<(PathBuf, Cases)>,
}

impl Subject {
    /// Finds what a folder, a module's path or a shipped plugin's name leads to, and loads it.
    ///
    /// Cases are those of `cases`, which is a file or a folder with `NAME/cases.toml`, else of `cases.toml` in the folder; a
    /// module in a folder `target` belongs to the folder that is in, and `NAME.wasm` in a folder `dist` to `NAME` beside it.
    pub(super) fn find(
        named: &Path,
        cases: Option<&Path>,
        runtime: &Runtime,
        config: Value,
    ) -> Result<Subject, Failure> {
        let (file, folder) = if named.is_dir() {
            (built(named)?, Some(named.to_path_buf()))
        } else {
            (named.to_path_buf(), home(named))
        };
        let module = Module::find(&file)?;
        let cases = match cases {
            Some(all) if all.is_dir() => Some(all.join(stem(&file)).join("cases.toml")).filter(|path| path.exists()),
            Some(path) => Some(path.to_path_buf()),
            // A shipped plugin is tested with its examples, whatever lies in this folder.
            None if module.path.is_none() => None,
            None => folder.map(|folder| folder.join("cases.toml")).filter(|path| path.exists()),
        };
        let cases = cases.map(|path| read_cases(&path).map(|cases| (path, cases))).transpose()?;
        let builder = Plugin::wasm(module.wasm).runtime(runtime).config(config);
        let plugin = announced(&format!("compiling {}", module.name), || builder.load());
        let plugin = plugin.map_err(|error| match &error {
            LoadFailure::Wasm(error) => refused(&module.name, error),
            _ => Failure::Failed(anyhow!("{}: {}", module.name, printable(&error.to_string()))),
        })?;
        Ok(Subject { name: module.name, plugin, cases })
    }

    /// All cases: the file's, then the manifest's examples.
    pub(super) fn all_cases(&self) -> Cases {
        let examples = self.plugin.manifest().map(Cases::of_manifest).unwrap_or_default();
        self.cases.as_ref().map(|(_, cases)| cases.clone()).unwrap_or_default().and(examples)
    }
}

/// The name a module's file gives it; that of a shipped plugin is its name.
fn stem(file: &Path) -> &Path {
    file.file_stem().map_or(file, Path::new)
}

fn read_cases(path: &Path) -> Result<Cases, Failure> {
    let shown = printable(&path.to_string_lossy());
    let cases = Cases::read(path).map_err(|error| anyhow!("{}", printable(&error.to_string()))).context(shown)?;
    Ok(cases)
}

/// The folder a module belongs to.
fn home(module: &Path) -> Option<PathBuf> {
    let folder = module.parent()?;
    let or_here = |folder: &Path| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_path_buf() };
    if folder.join("cases.toml").exists() {
        return Some(or_here(folder));
    }
    match (folder.file_name().and_then(OsStr::to_str), folder.parent()) {
        (Some("target"), above) => above.map(or_here),
        (Some("dist"), Some(above)) => Some(above.join(stem(module))),
        _ => Some(or_here(folder)),
    }
}

/// The module that `plugin build` made in a folder.
fn built(folder: &Path) -> Result<PathBuf, Failure> {
    let project = Project::of_folder(folder)?;
    let in_target = |name: &str| folder.join("target").join(format!("{name}.wasm"));
    let file = match (project.name(), &project.build) {
        (Some(name), _) => Some(in_target(name)),
        // The module brings its own manifest, and with it the name.
        (None, Some(build)) => {
            let module = read(&folder.join(&build.output)).ok();
            let info = module.and_then(|wasm| portsplit_runtime::inspect(&wasm).ok());
            info.and_then(|info| info.manifest).map(|manifest| in_target(&manifest.name))
        }
        (None, None) => None,
    };
    let shown = printable(&folder.to_string_lossy());
    let file = file.filter(|file| file.is_file());
    file.ok_or_else(|| Failure::Failed(anyhow!("`{shown}` is not built yet; run `portsplit plugin build {shown}`")))
}
