//! Reads `cases.toml`: what the file may say, and errors that name the case and the line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use portsplit_runtime::OneOrMany;
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use super::{Case, CaseError, DecidedAt, Expected};
use crate::harness::text::{unescape, unhex};

/// Largest file of bytes a case may name: more than any plugin is shown.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    case: Vec<Spanned<RawCase>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    text: Option<String>,
    hex: Option<String>,
    file: Option<String>,
    config: Option<Value>,
    expect: Expected,
    decided_at: Option<RawDecidedAt>,
    #[serde(default)]
    need_more: BTreeMap<String, usize>,
    #[serde(default)]
    facts: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    half_close: bool,
    #[serde(default)]
    overlaps: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`decided_at` must be a number of bytes, or such a number after `<=` in quotes")]
enum RawDecidedAt {
    Exactly(usize),
    Text(String),
}

pub(super) fn cases(text: &str, folder: &Path) -> Result<Vec<Case>, CaseError> {
    let raw: RawFile = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(0, |span| line_of(text, span.start));
        CaseError { line, case: case_around(text, line), reason: e.message().trim().replace('\n', "; ") }
    })?;
    if raw.case.is_empty() {
        return Err(CaseError { line: 0, case: None, reason: "there is no `[[case]]`".to_owned() });
    }
    let mut names = BTreeSet::new();
    let mut list = Vec::with_capacity(raw.case.len());
    for raw in raw.case {
        let line = line_of(text, raw.span().start);
        let raw = raw.into_inner();
        let name = raw.name.clone();
        let wrong = |reason| CaseError { line, case: Some(format!("`{name}`")), reason };
        if name.is_empty() {
            return Err(wrong("`name` is empty".to_owned()));
        }
        if !names.insert(name.clone()) {
            return Err(wrong("an earlier case has the same name".to_owned()));
        }
        list.push(raw.into_case(line, folder).map_err(wrong)?);
    }
    Ok(list)
}

impl RawCase {
    fn into_case(self, line: usize, folder: &Path) -> Result<Case, String> {
        let bytes = match (&self.text, &self.hex, &self.file) {
            (Some(text), None, None) => unescape(text)?,
            (None, Some(hex), None) => unhex(hex)?,
            (None, None, Some(file)) => {
                read_file(&folder.join(file)).map_err(|e| format!("`file = \"{file}\"`: {e}"))?
            }
            (None, None, None) => return Err("has none of `text`, `hex` and `file`; give one".to_owned()),
            _ => return Err("has more than one of `text`, `hex` and `file`; give one".to_owned()),
        };
        let decided_at = self.decided_at.map(RawDecidedAt::parse).transpose()?;
        let (DecidedAt::Exactly(at) | DecidedAt::AtMost(at)) = decided_at.unwrap_or(DecidedAt::Exactly(0));
        if at > bytes.len() {
            return Err(format!("`decided_at` is {at}, but there are only {} bytes", bytes.len()));
        }
        if self.expect == Expected::NeedMore && decided_at.is_some() {
            return Err("`decided_at` goes with match and reject; need-more is no decision".to_owned());
        }
        if self.expect != Expected::Match && !self.facts.is_empty() {
            return Err("`facts` are learnt only by a match".to_owned());
        }
        if self.expect != Expected::Match && !self.overlaps.is_empty() {
            return Err("`overlaps` are about bytes that this plugin matches".to_owned());
        }
        if let Some((name, _)) = self.overlaps.iter().find(|(_, reason)| reason.trim().is_empty()) {
            return Err(format!("`overlaps` gives no reason for `{name}`"));
        }
        let mut need_more = BTreeMap::new();
        for (n, total) in &self.need_more {
            let len =
                n.parse::<usize>().map_err(|_| format!("`need_more` has the key `{n}`, not a number of bytes"))?;
            if len > bytes.len() {
                return Err(format!("`need_more` asks about {len} bytes, but there are only {}", bytes.len()));
            }
            if *total <= len {
                return Err(format!("`need_more = {{ {len} = {total} }}`: the second number must be the larger one"));
            }
            need_more.insert(len, *total);
        }
        let facts = self.facts.into_iter().map(|(name, values)| (name, values.values().to_vec())).collect();
        Ok(Case {
            name: self.name,
            line,
            bytes,
            config: self.config,
            expect: self.expect,
            decided_at,
            need_more,
            facts,
            half_close: self.half_close,
            overlaps: self.overlaps,
        })
    }
}

impl RawDecidedAt {
    fn parse(self) -> Result<DecidedAt, String> {
        match self {
            RawDecidedAt::Exactly(at) => Ok(DecidedAt::Exactly(at)),
            RawDecidedAt::Text(text) => {
                let at = text.strip_prefix("<=").and_then(|at| at.trim().parse().ok());
                at.map(DecidedAt::AtMost)
                    .ok_or_else(|| format!("`decided_at = \"{text}\"` must be a number of bytes, or `\"<=12\"`"))
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let len = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if len > MAX_FILE_BYTES {
        return Err(format!("it has {len} bytes, more than {MAX_FILE_BYTES}"));
    }
    std::fs::read(path).map_err(|e| e.to_string())
}

/// The line of a place in the text, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// The case a line belongs to, by its name if the text has one there, else by its number.
fn case_around(text: &str, line: usize) -> Option<String> {
    let is_head = |text: &str| text.trim_start().starts_with("[[case]]");
    let lines: Vec<&str> = text.lines().collect();
    let number = lines.iter().take(line).filter(|text| is_head(text)).count();
    let head = lines.iter().take(line).rposition(|text| is_head(text))?;
    let own = lines.iter().skip(head + 1).take_while(|text| !is_head(text));
    let name = own.filter_map(|text| text.trim_start().strip_prefix("name")?.trim_start().strip_prefix('=')).next();
    let name = name.map(|name| name.trim().trim_matches(['"', '\'']));
    Some(name.map_or_else(|| format!("number {number}"), |name| format!("`{name}`")))
}
