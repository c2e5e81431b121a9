//! One example of a manifest: bytes, and what the plugin must say about them. Tools execute these; this file only
//! reads them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An input and the verdict it must get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The bytes as text; exactly one of `text` and `hex` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes as hex digits; white space between bytes is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// What the plugin must say.
    pub verdict: ExampleVerdict,
    /// The number of bytes at which the verdict must be known first; 0 is "before the first byte".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<usize>,
    /// Facts that must be learnt; others may be too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, OneOrMany>,
    /// The configuration for this example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// A few words for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The verdict of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExampleVerdict {
    /// [`crate::Verdict::Match`]
    Match,
    /// [`crate::Verdict::Reject`]
    Reject,
    /// [`crate::Verdict::NeedMore`]
    NeedMore,
}

/// A fact's value, or its values in order where it occurs more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a fact's value must be a string or a list of strings")]
pub enum OneOrMany {
    /// The fact occurs once.
    One(String),
    /// The fact occurs this often.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The values in order.
    pub fn values(&self) -> &[String] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
        }
    }
}

impl Example {
    /// The bytes of the example.
    ///
    /// # Errors
    ///
    /// A sentence about `text` and `hex` where not exactly one is given, or `hex` is not hex.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        match (&self.text, &self.hex) {
            (Some(text), None) => Ok(text.as_bytes().to_vec()),
            (None, Some(hex)) => decode_hex(hex),
            (Some(_), Some(_)) => Err("has both `text` and `hex`; give one".to_owned()),
            (None, None) => Err("has neither `text` nor `hex`; give one".to_owned()),
        }
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        let bytes = self.bytes()?;
        if let Some(at) = self.at
            && at > bytes.len()
        {
            return Err(format!("`at` is {at}, but there are only {} bytes", bytes.len()));
        }
        if self.verdict != ExampleVerdict::Match && !self.facts.is_empty() {
            return Err("`facts` are learnt only by `match`".to_owned());
        }
        Ok(())
    }
}

fn decode_hex(hex: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = hex
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).ok_or_else(|| format!("`hex` has `{}`, which is not a hex digit", c.escape_default())))
        .collect::<Result<_, _>>()?;
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Ok((high * 16 + low) as u8),
            _ => Err("`hex` has an odd number of digits".to_owned()),
        })
        .collect()
}
