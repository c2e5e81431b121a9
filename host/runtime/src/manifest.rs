//! The manifest a plugin carries in its custom section `portsplit.manifest`: what it is, what facts it can learn, and
//! examples that tools run as tests.
//!
//! This file reads and checks the JSON; [`crate::pack`] writes it into a module. Nothing is executed here.

mod example;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::example::{Example, ExampleVerdict, OneOrMany};

/// Name of the custom section.
pub const SECTION: &str = "portsplit.manifest";

/// Largest manifest accepted, in bytes; a page of examples is a few KiB.
const MAX_BYTES: usize = 256 << 10;

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `[a-z][a-z0-9_-]{0,31}`.
    pub name: String,
    /// The plugin's own version, such as `0.1.0`.
    pub version: String,
    /// `1.m`: the ABI's major version and the newest minor it makes use of.
    pub abi: String,
    /// One sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The protocols it recognises.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<String>,
    /// The plugin decides within this many bytes. It is never shown more, and at this length it is told that the
    /// buffer is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u32>,
    /// The facts it can learn.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "fact_specs")]
    pub facts: Vec<FactSpec>,
    /// What it cannot recognise or tell apart, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cannot_see: Vec<String>,
    /// A JSON Schema for its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Value>,
    /// Inputs with the verdict each must get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// Keys this version does not know; they are kept, so that packing a newer manifest loses nothing.
    #[serde(flatten)]
    pub unknown: serde_json::Map<String, Value>,
}

/// A fact a plugin can learn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactSpec {
    /// The name, `[a-z][a-z0-9_.-]{0,31}`.
    pub name: String,
    /// One sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// What is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is longer than 256 KiB.
    #[error("it has {len} bytes, more than {MAX_BYTES}")]
    TooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// It is not JSON, or a key is missing or of the wrong type.
    #[error("line {line}, column {column}: {reason}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1; 0 where the whole document is meant.
        column: usize,
        /// What the reader met.
        reason: String,
    },
    /// A value has the right type but not a right value.
    #[error("`{key}`: {reason}")]
    Value {
        /// The key, with its place in a list.
        key: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The module has the section twice.
    #[error("the module has the section twice; pack it once")]
    Twice,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    ///
    /// [`ManifestError`] with the line and column of what is not understood, or the key of what is not allowed.
    pub fn parse(json: &[u8]) -> Result<Manifest, ManifestError> {
        if json.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge { len: json.len() });
        }
        let manifest: Manifest = serde_json::from_slice(json).map_err(|e| {
            let text = e.to_string();
            // The position is reported in its own fields, so it is cut from the text.
            let reason = text.split(" at line ").next().unwrap_or(&text).to_owned();
            ManifestError::Json { line: e.line(), column: e.column(), reason }
        })?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The minor version of the ABI it asks for.
    pub fn abi_minor(&self) -> u32 {
        self.abi.split_once('.').and_then(|(_, minor)| minor.parse().ok()).unwrap_or(0)
    }

    fn validate(&self) -> Result<(), ManifestError> {
        let wrong = |key: &str, reason: String| Err(ManifestError::Value { key: key.to_owned(), reason });
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        let starts = self.name.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || self.name.len() > 32 || !self.name.chars().all(plain) {
            return wrong(
                "name",
                format!("`{}` is not of the form [a-z][a-z0-9_-]{{0,31}}", self.name.escape_default()),
            );
        }
        if self.version.is_empty() || self.version.len() > 64 || self.version.chars().any(char::is_control) {
            return wrong("version", "must have 1 to 64 printable characters, such as `0.1.0`".to_owned());
        }
        let (major, minor) = self.abi.split_once('.').unwrap_or((&self.abi, ""));
        if major.parse::<u32>().is_err() || minor.parse::<u32>().is_err() {
            return wrong("abi", format!("`{}` is not of the form `1.0`", self.abi.escape_default()));
        }
        if self.max_bytes == Some(0) {
            return wrong("max_bytes", "must be at least 1".to_owned());
        }
        let mut seen = std::collections::BTreeSet::new();
        for (i, fact) in self.facts.iter().enumerate() {
            if !crate::text::is_fact_name(fact.name.as_bytes()) {
                let name = fact.name.escape_default();
                return wrong(&format!("facts[{i}]"), format!("`{name}` is not of the form [a-z][a-z0-9_.-]{{0,31}}"));
            }
            if !seen.insert(&fact.name) {
                return wrong(&format!("facts[{i}]"), format!("`{}` is listed twice", fact.name));
            }
        }
        for (i, example) in self.examples.iter().enumerate() {
            if let Err(reason) = example.validate() {
                return wrong(&format!("examples[{i}]"), reason);
            }
        }
        Ok(())
    }
}

/// Accepts `["sni"]`, `[{"name": "sni", "description": "…"}]` and `{"sni": "…"}`.
fn fact_specs<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<FactSpec>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`facts` must be a list of names, or of tables with `name` and `description`")]
    enum Item {
        Name(String),
        Spec(FactSpec),
    }
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`facts` must be a list of names, or of tables with `name` and `description`")]
    enum Facts {
        List(Vec<Item>),
        Map(serde_json::Map<String, Value>),
    }
    let described = |name: String, value: Value| match value {
        Value::String(description) => Ok(FactSpec { name, description }),
        _ => Err(serde::de::Error::custom(format!("the description of the fact `{name}` must be a string"))),
    };
    match Facts::deserialize(deserializer)? {
        Facts::List(items) => Ok(items
            .into_iter()
            .map(|item| match item {
                Item::Name(name) => FactSpec { name, description: String::new() },
                Item::Spec(spec) => spec,
            })
            .collect()),
        Facts::Map(map) => map.into_iter().map(|(name, value)| described(name, value)).collect(),
    }
}

#[cfg(test)]
mod tests;
