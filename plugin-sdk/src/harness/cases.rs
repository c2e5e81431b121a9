//! Cases as data: inputs and what a plugin must say about them, in a file that authors in any language write.
//!
//! [`Cases::parse`] reads the file strictly; [`Case::check`] runs one case. A case is checked at every prefix of its
//! bytes, so it holds however they are cut, and for the laws that one input can break.

mod check;
mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use portsplit_runtime::{Example, ExampleVerdict, Manifest};
use serde_json::Value;

pub use self::check::{CaseOutcome, CasesOutcome};
use super::text::bytes_as_toml;

/// The cases of one file, or of a manifest.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::{Cases, Plugin};
///
/// let cases = Cases::parse(r#"
///     [[case]]
///     name = "a letter to two"
///     text = 'POST\x01\x02ab'        # or hex = "...", or file = "letter.bin"
///     expect = "match"               # or "reject", or "need-more"
///     decided_at = 8                 # or "<=8"
///     need_more = { 0 = 1, 4 = 6 }   # with 4 bytes, the answer cannot change before there are 6
///     facts = { to = "ab" }          # or a list, for a fact that occurs more than once
///
///     [[case]]
///     name = "the strict take only kind 1"
///     config = { strict = 1 }
///     text = 'POST\x02\x02'
///     expect = "reject"
///
///     [[case]]
///     name = "a client that gives up"
///     text = 'POST'
///     half_close = true
///     expect = "reject"
///     decided_at = 4
/// "#, ".")?;
/// # let wasm = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// let outcome = cases.check(&Plugin::wasm(wasm).load()?);
/// assert!(outcome.passed(), "{outcome}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cases {
    /// The cases in the order of the file.
    pub list: Vec<Case>,
}

/// An input and what a plugin must say about it.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::{Cases, Expected};
/// let cases = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
/// let case = cases.list.first().expect("there is one");
/// assert_eq!((case.bytes.as_slice(), case.expect), (&b"GET"[..], Expected::Reject));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What the case is about, unique in its file.
    pub name: String,
    /// The line its table begins at, from 1; 0 if it comes from no file.
    pub line: usize,
    /// The first bytes of a connection.
    pub bytes: Vec<u8>,
    /// The plugin's configuration; `None` leaves it unconfigured.
    pub config: Option<Value>,
    /// The verdict once all the bytes are there.
    pub expect: Expected,
    /// When a match or reject must first be known.
    pub decided_at: Option<DecidedAt>,
    /// By number of bytes, the hint of need-more there must be.
    pub need_more: BTreeMap<usize, usize>,
    /// Facts that must be learnt, each with its values in order; others may be learnt too.
    pub facts: BTreeMap<String, Vec<String>>,
    /// Whether the client half-closes after the bytes.
    pub half_close: bool,
    /// Other plugins that match these bytes too, by name, each with the reason why that cannot be helped.
    pub overlaps: BTreeMap<String, String>,
}

/// The verdict a case expects.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::Expected;
/// assert_eq!(Expected::NeedMore.to_string(), "need-more");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// The bytes are the plugin's protocol.
    Match,
    /// They are not.
    Reject,
    /// They leave it open.
    NeedMore,
}

/// When a verdict must first be known.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::{Cases, DecidedAt};
/// let text = "[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'\ndecided_at = '<=2'";
/// let cases = Cases::parse(text, ".")?;
/// assert_eq!(cases.list.first().and_then(|case| case.decided_at), Some(DecidedAt::AtMost(2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedAt {
    /// With exactly this many bytes.
    Exactly(usize),
    /// With this many bytes or fewer.
    AtMost(usize),
}

/// What is wrong with a file of cases.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::Cases;
/// let error = Cases::parse("[[case]]\nname = 'a'\nexpekt = 'match'", ".").unwrap_err();
/// assert!(error.to_string().contains("expekt"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{reason}", place(.line), about(.case))]
pub struct CaseError {
    /// The line, from 1; 0 if none is to blame.
    pub line: usize,
    /// The case, by its name or, before it has one, its number.
    pub case: Option<String>,
    /// What is wrong and what would be right.
    pub reason: String,
}

fn place(line: &usize) -> String {
    if *line == 0 { String::new() } else { format!("line {line}: ") }
}

fn about(case: &Option<String>) -> String {
    case.as_ref().map(|case| format!("case {case}: ")).unwrap_or_default()
}

impl Cases {
    /// Reads a file of cases; its `file` keys are relative to it.
    ///
    /// # Errors
    ///
    /// [`CaseError`] naming the line and the case.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::harness::Cases;
    /// assert!(Cases::read("no/such/cases.toml").is_err());
    /// ```
    pub fn read(path: impl AsRef<Path>) -> Result<Cases, CaseError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|e| CaseError {
            line: 0,
            case: None,
            reason: format!("cannot read `{}`: {e}", path.display()),
        })?;
        Cases::parse(&text, path.parent().unwrap_or(Path::new(".")))
    }

    /// Reads the text of a file of cases whose `file` keys are relative to `folder`.
    ///
    /// # Errors
    ///
    /// [`CaseError`] naming the line and the case.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::harness::Cases;
    /// let cases = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
    /// assert_eq!(cases.list.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn parse(text: &str, folder: impl AsRef<Path>) -> Result<Cases, CaseError> {
        read::cases(text, folder.as_ref()).map(|list| Cases { list })
    }

    /// The examples of a manifest as cases.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Cases;
    /// let manifest = plugin.manifest().expect("it has one");
    /// Cases::of_manifest(manifest).check(&plugin).assert_passed();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_manifest(manifest: &Manifest) -> Cases {
        let examples = manifest.examples.iter().enumerate();
        Cases { list: examples.filter_map(|(i, example)| Case::of_example(i, example)).collect() }
    }

    /// Adds the cases of another list.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::harness::Cases;
    /// let one = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
    /// assert_eq!(one.clone().and(one).list.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn and(mut self, other: Cases) -> Cases {
        self.list.extend(other.list);
        self
    }
}

impl Case {
    fn of_example(i: usize, example: &Example) -> Option<Case> {
        let facts = example.facts.iter().map(|(name, values)| (name.clone(), values.values().to_vec()));
        Some(Case {
            name: example.name.clone().unwrap_or_else(|| format!("example {} of the manifest", i + 1)),
            line: 0,
            bytes: example.bytes().ok()?,
            config: example.config.clone(),
            expect: match example.verdict {
                ExampleVerdict::Match => Expected::Match,
                ExampleVerdict::Reject => Expected::Reject,
                ExampleVerdict::NeedMore => Expected::NeedMore,
            },
            decided_at: example.at.map(DecidedAt::Exactly),
            need_more: BTreeMap::new(),
            facts: facts.collect(),
            half_close: false,
            overlaps: BTreeMap::new(),
        })
    }
}

impl fmt::Display for Case {
    /// The case as a block of `cases.toml`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[case]]\nname = {}", toml_string(&self.name))?;
        if let Some(config) = self.config.as_ref().filter(|config| !config.is_null()) {
            writeln!(f, "config = {}", toml_value(config))?;
        }
        writeln!(f, "{}", bytes_as_toml(&self.bytes))?;
        if self.half_close {
            writeln!(f, "half_close = true")?;
        }
        writeln!(f, "expect = \"{}\"", self.expect)?;
        match self.decided_at {
            Some(DecidedAt::Exactly(at)) => writeln!(f, "decided_at = {at}")?,
            Some(DecidedAt::AtMost(at)) => writeln!(f, "decided_at = \"<={at}\"")?,
            None => {}
        }
        if !self.need_more.is_empty() {
            let hints: Vec<String> = self.need_more.iter().map(|(n, total)| format!("{n} = {total}")).collect();
            writeln!(f, "need_more = {{ {} }}", hints.join(", "))?;
        }
        if !self.facts.is_empty() {
            let fact = |(name, values): (&String, &Vec<String>)| {
                let values: Vec<String> = values.iter().map(|value| toml_string(value)).collect();
                let single = values.first().filter(|_| values.len() == 1);
                let value = single.cloned().unwrap_or_else(|| format!("[{}]", values.join(", ")));
                format!("{} = {value}", toml_key(name))
            };
            let facts: Vec<String> = self.facts.iter().map(fact).collect();
            writeln!(f, "facts = {{ {} }}", facts.join(", "))?;
        }
        if !self.overlaps.is_empty() {
            let overlap = |(name, reason): (&String, &String)| format!("{} = {}", toml_key(name), toml_string(reason));
            let overlaps: Vec<String> = self.overlaps.iter().map(overlap).collect();
            writeln!(f, "overlaps = {{ {} }}", overlaps.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Expected::Match => "match",
            Expected::Reject => "reject",
            Expected::NeedMore => "need-more",
        })
    }
}

fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn toml_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { key.to_owned() } else { toml_string(key) }
}

/// A JSON value in TOML; keys that are null are left out, for TOML has no null.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Null => "{}".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => toml_string(text),
        Value::Array(items) => format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let keys = map.iter().filter(|(_, value)| !value.is_null());
            let keys: Vec<String> =
                keys.map(|(key, value)| format!("{} = {}", toml_key(key), toml_value(value))).collect();
            format!("{{ {} }}", keys.join(", "))
        }
    }
}

#[cfg(test)]
mod tests;
