//! `docs/detectors.md` is what `plugin list --markdown` writes, and that command takes what it is given.

use std::process::Command;

use crate::{Folder, root};

#[test]
fn the_page_about_the_detectors_is_what_the_command_writes() {
    let folder = Folder::new();
    let page = std::fs::read_to_string(root().join("docs/detectors.md")).unwrap();
    let first = page.lines().find(|line| line.starts_with("<!-- Written by `portsplit ")).unwrap();
    let command = first.split('`').nth(1).unwrap().split(' ').skip(1);
    // The page's own command, in the folder it is meant for.
    let mut program = Command::new(env!("CARGO_BIN_EXE_portsplit"));
    program.args(command).current_dir(root()).env("XDG_CACHE_HOME", folder.path()).env_remove("CACHE_DIRECTORY");
    let output = program.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = String::from_utf8(output.stdout).unwrap();
    let differing = written.lines().zip(page.lines()).find(|(new, old)| new != old);
    assert!(
        written == page,
        "docs/detectors.md is out of date; its first comment says how it is written: {differing:?}"
    );
}

#[test]
fn a_page_without_figures_has_the_shipped_plugins_all_the_same() {
    let folder = Folder::new();
    let ran = folder.plugin(&["list", "--markdown"]).exits_with(0);
    ran.says(&["| [`ssh`](#ssh) | ", "### tls\n", "| smtp | ", "— | — |"]);
    folder.write("figures.json", "{}");
    folder
        .plugin(&["list", "--markdown", "--measured", "figures.json"])
        .exits_with(1)
        .says(&["figures.json", "--corpus"]);
    folder.plugin(&["list", "--cases", "."]).exits_with(2).says(&["--markdown"]);
    folder.plugin(&["list", "--markdown", "--json"]).exits_with(2);
}
