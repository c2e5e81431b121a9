//! What a check of the laws found: a line per law, and for each broken one the counter-example in hex and as a case.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use portsplit_runtime::Flags;
use serde_json::Value;

use super::Law;
use crate::Verdict;
use crate::harness::cases::{Case, DecidedAt, Expected};
use crate::harness::plugin::Plugin;
use crate::harness::text::hexdump;
use crate::harness::trace::Trace;

/// What a check found.
///
/// # Examples
///
/// ```
/// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
/// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
/// use portsplit_plugin_sdk::harness::Laws;
/// let report = Laws::all().random(100).check(&plugin);
/// println!("{report}"); // a line for each law
/// assert_eq!(report.plugin, "good");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    /// The plugin's name.
    pub plugin: String,
    /// The seed: give it to [`Laws::seed`](super::Laws::seed) to repeat the check.
    pub seed: u64,
    /// Inputs judged.
    pub inputs: u64,
    /// Inputs that each showed something new.
    pub corpus: usize,
    /// How long the check took.
    pub elapsed: Duration,
    /// One for each law, in the order of [`Law::ALL`].
    pub laws: Vec<LawReport>,
}

/// What was found about one law.
///
/// # Examples
///
/// ```
/// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
/// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
/// use portsplit_plugin_sdk::harness::Laws;
/// let report = Laws::all().random(100).check(&plugin);
/// assert!(report.laws.iter().all(|law| law.checked && law.violation.is_none()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LawReport {
    /// The law.
    pub law: Law,
    /// Whether it was checked.
    pub checked: bool,
    /// Why it was waived, if it was.
    pub waived: Option<String>,
    /// The counter-example, if there is one.
    pub violation: Option<Violation>,
}

/// A law that is broken, with the smallest input found that breaks it.
///
/// # Examples
///
/// ```
/// # let liar = wat::parse_str(include_str!("../../../../tests/bad-plugins/sound-hint.wat"))?;
/// use portsplit_plugin_sdk::harness::{Law, Laws, Plugin};
/// let report = Laws::all().random(2_000).check(&Plugin::wasm(liar).load()?);
/// let violation = report.violation(Law::SoundHint).expect("it lies");
/// println!("{}", violation.case); // for cases.toml
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// What the plugin did, in a sentence.
    pub message: String,
    /// The counter-example; empty for [`Law::Config`], where the configuration is.
    pub bytes: Vec<u8>,
    /// The plugin's configuration.
    pub config: Value,
    /// The counter-example as a case that fails as long as the law is broken where cases can show it. What it expects is
    /// the best guess; the author knows the protocol.
    pub case: Case,
}

impl Report {
    pub(super) fn new(seed: u64, plugin: &Plugin, laws: &BTreeSet<Law>, waived: &BTreeMap<Law, String>) -> Report {
        let law = |law: Law| LawReport {
            law,
            checked: laws.contains(&law),
            waived: waived.get(&law).cloned(),
            violation: None,
        };
        Report {
            plugin: plugin.name().to_owned(),
            seed,
            inputs: 0,
            corpus: 0,
            elapsed: Duration::ZERO,
            laws: Law::ALL.into_iter().map(law).collect(),
        }
    }

    pub(super) fn note(&mut self, violation: Violation) {
        if let Some(report) = self.laws.iter_mut().find(|report| report.law == violation.law) {
            report.violation.get_or_insert(violation);
        }
    }

    /// Whether no law is broken.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// let report = Laws::all().random(100).check(&plugin);
    /// assert!(report.kept());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn kept(&self) -> bool {
        self.violations().next().is_none()
    }

    /// The counter-example of a law, if it is broken.
    ///
    /// # Examples
    ///
    /// ```
    /// # let liar = wat::parse_str(include_str!("../../../../tests/bad-plugins/sound-hint.wat"))?;
    /// use portsplit_plugin_sdk::harness::{Law, Laws, Plugin};
    /// let report = Laws::all().random(2_000).check(&Plugin::wasm(liar).load()?);
    /// assert!(report.violation(Law::SoundHint).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn violation(&self, law: Law) -> Option<&Violation> {
        self.violations().find(|violation| violation.law == law)
    }

    /// The counter-examples.
    ///
    /// # Examples
    ///
    /// ```
    /// # let liar = wat::parse_str(include_str!("../../../../tests/bad-plugins/sound-hint.wat"))?;
    /// use portsplit_plugin_sdk::harness::{Law, Laws, Plugin};
    /// let report = Laws::all().random(2_000).check(&Plugin::wasm(liar).load()?);
    /// assert!(report.violations().all(|violation| violation.law == Law::SoundHint));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        self.laws.iter().filter_map(|report| report.violation.as_ref())
    }

    /// Panics with every counter-example.
    ///
    /// # Panics
    ///
    /// If a law is broken.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// let report = Laws::all().random(100).check(&plugin);
    /// report.assert_kept();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(self.kept(), "{self}");
    }
}

impl Violation {
    pub(super) fn new(law: Law, message: String, bytes: Vec<u8>, config: Value) -> Violation {
        let case = Case {
            name: format!("{law}: {}", message.chars().take(80).collect::<String>()),
            line: 0,
            bytes: bytes.clone(),
            config: Some(config.clone()).filter(|config| !config.is_null()),
            expect: if law == Law::Modest && bytes.is_empty() { Expected::NeedMore } else { Expected::Reject },
            decided_at: None,
            need_more: BTreeMap::new(),
            facts: BTreeMap::new(),
            half_close: law == Law::Final,
            overlaps: BTreeMap::new(),
        };
        Violation { law, message, bytes, config, case }
    }

    /// Fills in what the plugin itself says first, for the laws where it contradicts itself later.
    pub(super) fn with_first_answer(mut self, plugin: &Plugin) -> Violation {
        let contradicts = [Law::Monotone, Law::Segmentation, Law::SoundHint, Law::Facts, Law::Pure];
        if !contradicts.contains(&self.law) {
            return self;
        }
        let trace = Trace::of_every_prefix(plugin, &self.bytes);
        match trace.decision() {
            Some((at, judgement)) => {
                let is_match = judgement.verdict() == Some(Verdict::Match);
                self.case.expect = if is_match { Expected::Match } else { Expected::Reject };
                self.case.decided_at = Some(DecidedAt::Exactly(at));
            }
            None if plugin.classify(&self.bytes, Flags::NONE).verdict().is_some() => {
                self.case.expect = Expected::NeedMore;
            }
            None => {}
        }
        self
    }
}

impl fmt::Display for Report {
    /// A line for each law, then the counter-examples.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "plugin `{}`: {} inputs, a corpus of {}, seed {}, {:.1?}",
            self.plugin, self.inputs, self.corpus, self.seed, self.elapsed
        )?;
        for report in &self.laws {
            let result = match report {
                LawReport { violation: Some(violation), .. } => format!("broken: {}", violation.message),
                LawReport { waived: Some(reason), .. } => format!("waived: {reason}"),
                LawReport { checked: false, .. } => "not checked".to_owned(),
                _ => "kept".to_owned(),
            };
            writeln!(f, "  {:<13} {result}", report.law.name())?;
        }
        for violation in self.violations() {
            write!(f, "\n{violation}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    /// The law, what happened, the bytes in hex and the block for `cases.toml`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.law, self.law.statement())?;
        writeln!(f, "  {}", self.message)?;
        if !self.config.is_null() {
            writeln!(f, "  configured with {}", self.config)?;
        }
        if self.law == Law::Config {
            return Ok(());
        }
        write!(f, "  {} bytes:\n{}\n{}", self.bytes.len(), hexdump(&self.bytes), self.case)
    }
}
