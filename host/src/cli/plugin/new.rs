//! `portsplit plugin new`: a folder that builds and tests at once, from the examples the program carries.

mod sdk;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::{Value, json};

use crate::cli::describe::printable;
use crate::cli::{Failure, print, print_json};

/// The languages, each with the files of its folder in `plugins/examples`.
static TEMPLATES: &[(&str, &[(&str, &str)])] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// What the plugin of the examples is called; it stands nowhere else in them.
const TEMPLATE_NAME: &str = "knock";

/// The line of Rust's `Cargo.toml` that names the SDK begins so.
const SDK: &str = "portsplit-plugin-sdk = ";

const EXAMPLES: &str = "\
Examples:
  portsplit plugin new my-protocol --lang rust
  portsplit plugin new my-protocol --lang c --dir plugins/my-protocol
  portsplit plugin new my-protocol --lang wat       needs nothing installed
  portsplit plugin new my-protocol --lang rust --sdk-path ../portsplit/plugin-sdk

Then: portsplit plugin build my-protocol && portsplit plugin test my-protocol

Exit codes: 0 done, 1 it failed, 2 wrong usage.";

/// Write a folder with a working plugin to start from.
///
/// It has the source, plugin.toml with the manifest and the build command, cases.toml with the answers it must give, and
/// a README that says what to install. Nothing is fetched: a plugin in Rust gets a copy of the SDK.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// What the plugin is called: a letter a-z, then up to 31 of a-z, 0-9, - and _.
    #[arg(value_parser = name)]
    name: String,
    /// The language it is written in.
    #[arg(long, value_parser = language)]
    lang: &'static str,
    /// The folder to write; its own name unless given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// For Rust: use the SDK in this folder of a checkout instead of a copy in the plugin's own folder.
    #[arg(long, value_name = "PATH")]
    sdk_path: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let fits =
        text.starts_with(|first: char| first.is_ascii_lowercase()) && text.len() <= 32 && text.bytes().all(plain);
    if fits { Ok(text.to_owned()) } else { Err("a name has the form [a-z][a-z0-9_-]{0,31}".to_owned()) }
}

fn language(text: &str) -> Result<&'static str, String> {
    let wanted = if text == "as" { "assemblyscript" } else { text };
    let found = TEMPLATES.iter().map(|(language, _)| *language).find(|language| *language == wanted);
    found.ok_or_else(|| {
        let known: Vec<&str> = TEMPLATES.iter().map(|(language, _)| *language).collect();
        format!("there is no template for it; there are {}", known.join(", "))
    })
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.sdk_path.is_some() && args.lang != "rust" {
        return Err(Failure::Usage("`--sdk-path` is for `--lang rust`; other languages need no SDK".to_owned()));
    }
    let sdk = args.sdk_path.as_deref().map(sdk_folder).transpose()?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let shown = printable(&folder.to_string_lossy());
    let taken = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
    if taken || folder.is_file() {
        return Err(Failure::Failed(anyhow!("`{shown}` exists already and is not empty; name another with `--dir`")));
    }
    let mut written: Vec<String> = Vec::new();
    let mut write = |name: String, text: &str| {
        let path = folder.join(&name);
        let cannot = || format!("cannot write `{}`", printable(&path.to_string_lossy()));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(cannot)?;
        }
        written.push(name);
        fs::write(&path, text).with_context(cannot)
    };
    let files = TEMPLATES.iter().find(|(language, _)| *language == args.lang).map(|(_, files)| *files);
    for (name, text) in files.unwrap_or_default() {
        let mut text = text.replace(TEMPLATE_NAME, &args.name);
        if *name == "Cargo.toml" {
            text = with_sdk(&text, sdk.as_deref().unwrap_or(sdk::FOLDER));
        }
        write((*name).to_owned(), &text)?;
    }
    if args.lang == "rust" && sdk.is_none() {
        for (name, text) in sdk::files() {
            write(format!("{}/{name}", sdk::FOLDER), text)?;
        }
    }
    if args.json {
        print_json(
            &json!({ "folder": folder.to_string_lossy(), "name": args.name, "language": args.lang, "files": written }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let next = format!(
        "{shown}: a plugin in {}\n\n  portsplit plugin build {shown}\n  portsplit plugin test {shown}\n\nREADME.md says what to install and what to change.\n",
        args.lang
    );
    print(next.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the path of a checkout's SDK absolute, so that it holds in the new folder.
fn sdk_folder(path: &Path) -> Result<String, Failure> {
    let shown = printable(&path.to_string_lossy());
    let found = fs::canonicalize(path).ok().filter(|path| path.join("Cargo.toml").is_file());
    let found = found.as_deref().and_then(Path::to_str).map(str::to_owned);
    found.ok_or_else(|| Failure::Failed(anyhow!("`{shown}` is not the folder of the SDK: it has no Cargo.toml")))
}

/// Makes the template depend on the SDK in `folder`.
fn with_sdk(cargo: &str, folder: &str) -> String {
    let mut text = String::with_capacity(cargo.len());
    for line in cargo.lines() {
        if line.starts_with(SDK) {
            // A JSON string is a TOML string.
            text.push_str(&format!("{SDK}{{ path = {} }}", Value::from(folder)));
        } else {
            text.push_str(line);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_has_what_an_author_needs() {
        let languages: Vec<&str> = TEMPLATES.iter().map(|(language, _)| *language).collect();
        assert_eq!(languages, ["assemblyscript", "c", "go", "rust", "wat", "zig"]);
        for (language, files) in TEMPLATES {
            for wanted in ["plugin.toml", "cases.toml", "README.md", ".gitignore"] {
                assert!(files.iter().any(|(name, _)| *name == wanted), "{language} has no {wanted}");
            }
            assert!(files.iter().any(|(_, text)| text.contains(TEMPLATE_NAME)), "{language} is called otherwise");
            assert!(!files.iter().any(|(name, _)| name.contains("target/")), "{language} has built files");
        }
    }

    #[test]
    fn the_sdk_is_a_folder() {
        let cargo = "[dependencies]\nportsplit-plugin-sdk = { version = \"0.1\", path = \"../..\" }\n[profile]\n";
        let sdk = "[dependencies]\nportsplit-plugin-sdk = { path = \"sdk\" }\n[profile]\n";
        assert_eq!(with_sdk(cargo, sdk::FOLDER), sdk);
        assert!(with_sdk(cargo, "/a \"b\"").contains(r#"= { path = "/a \"b\"" }"#));
    }

    #[test]
    fn names_have_one_form() {
        for good in ["a", "my-protocol", "a1_b", &"a".repeat(32)] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "A", "a b", "a/b", "../a", &"a".repeat(33)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
