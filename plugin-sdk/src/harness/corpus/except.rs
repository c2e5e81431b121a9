//! Samples that a measurement leaves out by name, as data: which ones, and why.
//!
//! A corpus may have samples that are not what its labels say. Those are named in a file, each with its reason, so that
//! everyone can judge it; the figures with all samples stay beside the others.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Corpus, CorpusError, Sample};

/// A file of samples to leave out.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::Exceptions;
///
/// let exceptions = Exceptions::parse(r#"
///     [[except]]
///     flow = "593eb0936cb7e833"
///     label = "kerberos"
///     reason = "it is a negotiation of SMB"
/// "#)?;
/// assert_eq!(exceptions.list.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions {
    /// The entries in the order of the file.
    pub list: Vec<Exception>,
}

/// Which samples are left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The samples' flow.
    pub flow: String,
    /// Their label: one flow can have samples of several.
    pub label: String,
    /// Why they say nothing about a plugin, in words.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    except: Vec<Exception>,
}

impl Exceptions {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`CorpusError`] naming the file or what is wrong in it.
    pub fn read(path: impl AsRef<Path>) -> Result<Exceptions, CorpusError> {
        Exceptions::parse(&super::text(path.as_ref())?)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// [`CorpusError`] saying what is wrong: an unknown or missing key, no reason, an entry that is there twice.
    pub fn parse(text: &str) -> Result<Exceptions, CorpusError> {
        let wrong = |reason: String| CorpusError::Exceptions { reason };
        let raw: RawFile = toml::from_str(text).map_err(|error| wrong(error.message().trim().replace('\n', "; ")))?;
        for (number, exception) in raw.except.iter().enumerate() {
            let (flow, label) = (&exception.flow, &exception.label);
            if exception.reason.trim().is_empty() {
                return Err(wrong(format!("the flow `{flow}` has no reason")));
            }
            if raw.except.iter().take(number).any(|other| (&other.flow, &other.label) == (flow, label)) {
                return Err(wrong(format!("the flow `{flow}` with the label `{label}` is there twice")));
            }
        }
        Ok(Exceptions { list: raw.except })
    }
}

impl Exception {
    fn is_about(&self, sample: &Sample) -> bool {
        self.flow == sample.origin.flow && self.label == sample.label
    }
}

impl Corpus {
    /// Leaves out what `exceptions` name, and returns those of them that name no sample here.
    pub fn leave_out<'e>(&mut self, exceptions: &'e Exceptions) -> Vec<&'e Exception> {
        let mut idle = Vec::new();
        for exception in &exceptions.list {
            let about = self.samples.iter().enumerate().filter(|(_, sample)| exception.is_about(sample));
            let numbers: Vec<usize> = about.map(|(number, _)| number).collect();
            if numbers.is_empty() {
                idle.push(exception);
            }
            self.left_out.extend(numbers.into_iter().map(|number| (number, exception.reason.clone())));
        }
        idle
    }
}
