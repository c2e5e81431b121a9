//! A corpus of first flights that others captured: reading it, and what each sample is to a set of plugins.
//!
//! `first-flights.jsonl` has a sample a line; `labels.json` beside it says how far each label can be trusted. Fields and
//! labels that are not known are passed over. This file runs no plugin; `measure` does.

mod except;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::except::{Exception, Exceptions};

use super::plugin::Plugin;
use super::text::unhex;

/// Largest corpus read, in bytes: a hundred times what there is.
const MAX_CORPUS_BYTES: u64 = 256 << 20;

/// The samples of one or more files, with their labels.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::{Corpus, Plugin, measure};
///
/// let labels = r#"{ "tcp": { "letter": { "canonical": "good", "class": "client-first",
///                                        "reliable": true, "measurable": true } } }"#;
/// let samples = r#"{ "repo": "r", "file": "f", "flow": "1", "transport": "tcp", "label": "letter", "check": true,
///     "server_first": false, "segments": ["504f5354", "01026162"] }"#;
/// let corpus = Corpus::parse(&samples.replace('\n', " "), labels)?;
/// # let wasm = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// # let plugin = Plugin::wasm(wasm).load()?;
/// // The plugin is called "good"; a name among the `protocols` of its manifest would do as well.
/// let measured = measure(&[&plugin], &corpus, |_, _| {});
/// assert_eq!(measured.overall.recall, Some(1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    /// The TCP samples in the order of the files.
    pub samples: Vec<Sample>,
    /// Samples of other transports, which are not read.
    pub other_transports: usize,
    /// Samples to leave out, by their number in the list, with the reason.
    pub left_out: BTreeMap<usize, String>,
    labels: BTreeMap<String, Label>,
}

/// What one client sent first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Where it was captured.
    pub origin: Origin,
    /// The protocol it is said to be.
    pub label: String,
    /// Whether a structural check confirmed the label; `None` if there is no check.
    pub check: Option<bool>,
    /// Whether the server spoke before the client.
    pub server_first: bool,
    /// The bytes by TCP segment.
    pub segments: Vec<Vec<u8>>,
}

/// Where a sample was captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The repository of the capture.
    #[serde(default)]
    pub repo: String,
    /// The file in it.
    #[serde(default)]
    pub file: String,
    /// Which connection of the file.
    #[serde(default)]
    pub flow: String,
}

/// How far a label can be trusted.
#[derive(Clone, Debug, Default, Deserialize)]
struct Label {
    #[serde(default)]
    canonical: Option<String>,
    #[serde(default)]
    class: String,
    #[serde(default)]
    reliable: bool,
    #[serde(default)]
    measurable: bool,
}

#[derive(Deserialize)]
struct RawLabels {
    #[serde(default)]
    tcp: BTreeMap<String, Label>,
}

#[derive(Deserialize)]
struct RawSample {
    #[serde(flatten)]
    origin: Origin,
    #[serde(default)]
    transport: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    check: Option<bool>,
    #[serde(default)]
    server_first: Option<bool>,
    #[serde(default)]
    segments: Vec<String>,
}

/// What is wrong with a corpus.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CorpusError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The file of labels is not what it should be.
    #[error("the labels: {0}")]
    Labels(String),
    /// A file of samples to leave out is not what it should be.
    #[error("the exceptions: {reason}")]
    Exceptions {
        /// What is wrong with it.
        reason: String,
    },
    /// A line is not a sample.
    #[error("line {line}: {reason}")]
    Sample {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a sample is to the plugins that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// One of the plugins knows this protocol and must match.
    Positive,
    /// One of the plugins knows this protocol, but the server spoke first: its match is right, and none is asked for.
    Excused,
    /// No plugin may match.
    Negative(Negative),
    /// Nothing is concluded from it.
    LeftOut(&'static str),
}

/// Why no plugin may match a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Negative {
    /// It is none of the protocols with reliable labels.
    Other,
    /// Its protocol is one that no plugin knows.
    NoDetector,
    /// Its protocol is one in which servers speak first.
    ServerFirst,
}

/// Which labels a set of plugins knows: indices into the set, by label.
pub(crate) struct Known(BTreeMap<String, Vec<usize>>);

impl Corpus {
    /// Reads a file of samples and the `labels.json` beside it.
    ///
    /// # Errors
    ///
    /// [`CorpusError`] naming the file, and the line where there is one.
    pub fn read(path: impl AsRef<Path>) -> Result<Corpus, CorpusError> {
        let path = path.as_ref();
        let labels = path.parent().map_or_else(|| PathBuf::from("labels.json"), |folder| folder.join("labels.json"));
        Corpus::parse(&text(path)?, &text(&labels)?)
    }

    /// Reads the text of both files.
    ///
    /// # Errors
    ///
    /// [`CorpusError`] naming the line.
    pub fn parse(samples: &str, labels: &str) -> Result<Corpus, CorpusError> {
        let labels: RawLabels = serde_json::from_str(labels).map_err(|error| CorpusError::Labels(error.to_string()))?;
        let mut corpus = Corpus { labels: labels.tcp, ..Corpus::default() };
        for (line, text) in (1..).zip(samples.lines()).filter(|(_, text)| !text.trim().is_empty()) {
            let wrong = |reason: String| CorpusError::Sample { line, reason };
            let raw: RawSample = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
            if raw.transport != "tcp" {
                corpus.other_transports += 1;
                continue;
            }
            let segments: Result<Vec<Vec<u8>>, String> = raw.segments.iter().map(|segment| unhex(segment)).collect();
            corpus.samples.push(Sample {
                origin: raw.origin,
                label: raw.label,
                check: raw.check,
                server_first: raw.server_first.unwrap_or(false),
                segments: segments.map_err(|reason| wrong(format!("`segments`: {reason}")))?,
            });
        }
        Ok(corpus)
    }

    /// Adds the samples of another corpus; where both have a label, this one's is kept.
    pub fn and(mut self, other: Corpus) -> Corpus {
        let before = self.samples.len();
        self.samples.extend(other.samples);
        self.left_out.extend(other.left_out.into_iter().map(|(number, reason)| (before + number, reason)));
        self.other_transports += other.other_transports;
        for (name, label) in other.labels {
            self.labels.entry(name).or_insert(label);
        }
        self
    }

    /// The name that labels of one protocol share; the label itself where none is given.
    pub fn canonical<'c>(&'c self, label: &'c str) -> &'c str {
        self.labels.get(label).and_then(|known| known.canonical.as_deref()).unwrap_or(label)
    }

    /// Whether there is enough of a label to take rates of.
    pub fn is_measurable(&self, label: &str) -> bool {
        self.labels.get(label).is_some_and(|known| known.measurable && known.reliable)
    }

    /// Finds which plugin knows which label.
    ///
    /// A plugin knows a protocol if its name or one of its `protocols` is the label or its canonical name, and then every
    /// label with the same canonical name.
    pub(crate) fn known(&self, plugins: &[&Plugin]) -> Known {
        let mut known: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, plugin) in plugins.iter().enumerate() {
            let protocols = plugin.manifest().map(|manifest| manifest.protocols.as_slice()).unwrap_or_default();
            let names: BTreeSet<String> =
                protocols.iter().map(String::as_str).chain([plugin.name()]).map(plain).collect();
            let is_named = |label: &str| names.contains(&plain(label)) || names.contains(&plain(self.canonical(label)));
            let canonical: BTreeSet<&str> =
                self.labels.keys().filter(|label| is_named(label)).map(|label| self.canonical(label)).collect();
            for label in self.labels.keys().filter(|label| canonical.contains(self.canonical(label))) {
                known.entry(label.clone()).or_default().push(number);
            }
        }
        Known(known)
    }

    /// Says what a sample is to the plugins.
    pub(crate) fn role(&self, sample: &Sample, known: &Known) -> Role {
        let Some(label) = self.labels.get(&sample.label) else { return Role::LeftOut("the label is not known") };
        if sample.check == Some(false) {
            return Role::LeftOut("the label failed its check");
        }
        match label.class.as_str() {
            "other" => Role::Negative(Negative::Other),
            "client-first" | "server-first" if !label.reliable => Role::LeftOut("the label is not reliable"),
            "server-first" => Role::Negative(Negative::ServerFirst),
            "client-first" if known.of(&sample.label).is_empty() => Role::Negative(Negative::NoDetector),
            "client-first" if sample.server_first => Role::Excused,
            "client-first" => Role::Positive,
            _ => Role::LeftOut("the class of the label is not known"),
        }
    }
}

impl Known {
    /// The plugins that know a label.
    pub(crate) fn of(&self, label: &str) -> &[usize] {
        self.0.get(label).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Sample {
    /// All bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.segments.concat()
    }

    /// How many bytes there are.
    pub fn len_bytes(&self) -> usize {
        self.segments.iter().map(Vec::len).sum()
    }

    /// How many bytes there are after each segment.
    pub fn ends(&self) -> Vec<usize> {
        let mut end = 0;
        let ends = self.segments.iter().filter(|segment| !segment.is_empty());
        ends.map(|segment| {
            end += segment.len();
            end
        })
        .collect()
    }
}

/// A name without what spellings differ in: case and punctuation, as in `http/1` and `http1`.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn text(path: &Path) -> Result<String, CorpusError> {
    let failed = |reason: String| CorpusError::File { path: path.display().to_string(), reason };
    let len = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if len > MAX_CORPUS_BYTES {
        return Err(failed(format!("it has {len} bytes, more than {MAX_CORPUS_BYTES}")));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
pub(crate) mod tests;
