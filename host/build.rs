//! Lists what the program carries: the shipped plugins, `plugins/dist/*.wasm`, the templates of `plugin new`, the
//! folders of `plugins/examples`, and the SDK that a plugin in Rust needs, `plugin-sdk`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What lies in an example's folder without being part of the template: what is built, and what pins the versions of a
/// checkout.
const NOT_TEMPLATE: [&str; 3] = ["target", "node_modules", "Cargo.lock"];

/// What of the SDK's sources is for tests of plugins and needs other crates.
const NOT_SDK: [&str; 2] = ["harness", "harness.rs"];

fn main() -> io::Result<()> {
    // Asked for now: checkouts that share a build folder share this program too.
    println!("cargo::rerun-if-env-changed=CARGO_MANIFEST_DIR");
    let plugins = folder_of_cargo("CARGO_MANIFEST_DIR")?.join("../plugins");
    let out = folder_of_cargo("OUT_DIR")?;
    fs::write(out.join("shipped.rs"), shipped(&plugins.join("dist"))?)?;
    fs::write(out.join("templates.rs"), templates(&plugins.join("examples"))?)?;
    let sdk = fs::canonicalize(plugins.join("../plugin-sdk/src"))?;
    println!("cargo::rerun-if-changed={}", sdk.display());
    fs::write(out.join("sdk.rs"), format!("&[\n{}]\n", texts(&sdk, &NOT_SDK)?))
}

fn folder_of_cargo(variable: &str) -> io::Result<PathBuf> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("cargo sets {variable}")))
}

fn shipped(folder: &Path) -> io::Result<String> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = entries(folder)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    let mut list = String::from("&[\n");
    for path in files {
        let path = fs::canonicalize(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        println!("cargo::rerun-if-changed={}", path.display());
        let _ = writeln!(list, "    ({name:?}, include_bytes!({path:?})),");
    }
    list.push_str("]\n");
    Ok(list)
}

/// A list of languages, each with its files: `&[("c", &[("plugin.c", "..."), ...]), ...]`.
fn templates(folder: &Path) -> io::Result<String> {
    let mut list = String::from("&[\n");
    for language in entries(folder)?.into_iter().filter(|path| path.join("plugin.toml").is_file()) {
        let language = fs::canonicalize(language)?;
        let name = language.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let _ = writeln!(list, "    ({name:?}, &[\n{}    ]),", texts(&language, &NOT_TEMPLATE)?);
    }
    list.push_str("]\n");
    Ok(list)
}

/// A line for each file below `folder` that has none of the names in `without`: its path and its text.
fn texts(folder: &Path, without: &[&str]) -> io::Result<String> {
    let mut list = String::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(inner) = folders.pop() {
        for path in entries(&inner)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if without.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            println!("cargo::rerun-if-changed={}", path.display());
            let relative = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            let _ = writeln!(list, "        ({relative:?}, include_str!({path:?})),");
        }
    }
    Ok(list)
}

/// Lists a folder in the order of names; one that does not exist is empty.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    paths.sort();
    Ok(paths)
}
