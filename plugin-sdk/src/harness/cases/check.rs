//! Runs cases: each at every prefix of its bytes, with its own configuration, and says what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use portsplit_runtime::{Fact, Flags};
use serde_json::Value;

use super::{Case, Cases, DecidedAt, Expected};
use crate::Verdict;
use crate::harness::judgement::Judgement;
use crate::harness::laws::Law;
use crate::harness::laws::judge::{Look, judge};
use crate::harness::plugin::Plugin;
use crate::harness::text::hexdump;
use crate::harness::trace::Trace;

/// How the cases of a list went.
///
/// # Examples
///
/// ```
/// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
/// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
/// use portsplit_plugin_sdk::harness::Cases;
/// let cases = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
/// assert_eq!(cases.check(&plugin).list.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CasesOutcome {
    /// One for each case, in order.
    pub list: Vec<CaseOutcome>,
}

/// How one case went.
///
/// # Examples
///
/// ```
/// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
/// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
/// use portsplit_plugin_sdk::harness::Cases;
/// let cases = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
/// let outcome = cases.check(&plugin);
/// let first = outcome.list.first().expect("there is one case");
/// assert_eq!((first.name.as_str(), first.decided_at), ("a", Some(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CaseOutcome {
    /// The case's name.
    pub name: String,
    /// Where it stands in its file, from 1; 0 if it comes from none.
    pub line: usize,
    /// What differs, a sentence each; empty if nothing does.
    pub failures: Vec<String>,
    /// The plugin's answer in the end; `None` if it refused the configuration.
    pub answer: Option<Judgement>,
    /// The number of bytes at which a verdict was first known.
    pub decided_at: Option<usize>,
    /// The fuel of the most expensive call; `None` for native code.
    pub fuel: Option<u64>,
    /// The bytes, for the reader of a failure.
    pub bytes: Vec<u8>,
}

impl CasesOutcome {
    /// Whether every case passed.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Cases;
    /// let cases = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
    /// assert!(cases.check(&plugin).passed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn passed(&self) -> bool {
        self.list.iter().all(CaseOutcome::passed)
    }

    /// Panics with a description of every case that failed.
    ///
    /// # Panics
    ///
    /// If a case failed, or if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Cases;
    /// let cases = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
    /// cases.check(&plugin).assert_passed();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn assert_passed(&self) {
        assert!(!self.list.is_empty(), "there are no cases");
        assert!(self.passed(), "{self}");
    }
}

impl CaseOutcome {
    /// Whether the case passed.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Cases;
    /// let cases = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
    /// assert!(cases.check(&plugin).list.iter().all(|case| case.passed()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl Cases {
    /// Runs every case, with the plugin's own configuration replaced by the case's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Cases;
    /// let cases = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
    /// assert!(cases.check(&plugin).passed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self, plugin: &Plugin) -> CasesOutcome {
        let mut configured: BTreeMap<String, Result<Plugin, String>> = BTreeMap::new();
        let mut list = Vec::with_capacity(self.list.len());
        for case in &self.list {
            let config = case.config.clone().unwrap_or(Value::Null);
            if config == plugin.options().config {
                list.push(case.check_configured(plugin));
                continue;
            }
            let load = || plugin.with_config(&config).map_err(|e| e.to_string());
            list.push(match configured.entry(config.to_string()).or_insert_with(load) {
                Ok(plugin) => case.check_configured(plugin),
                Err(reason) => case.not_run(reason.clone()),
            });
        }
        CasesOutcome { list }
    }
}

impl Case {
    /// Runs the case, with the plugin's own configuration replaced by the case's.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Cases;
    /// let cases = Cases::parse("[[case]]\nname = 'a'\ntext = 'GET'\nexpect = 'reject'", ".")?;
    /// assert!(cases.list.iter().all(|case| case.check(&plugin).passed()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self, plugin: &Plugin) -> CaseOutcome {
        let config = self.config.clone().unwrap_or(Value::Null);
        if config == plugin.options().config {
            return self.check_configured(plugin);
        }
        match plugin.with_config(&config) {
            Ok(plugin) => self.check_configured(&plugin),
            Err(error) => self.not_run(error.to_string()),
        }
    }

    fn not_run(&self, failure: String) -> CaseOutcome {
        CaseOutcome {
            name: self.name.clone(),
            line: self.line,
            failures: vec![failure],
            answer: None,
            decided_at: None,
            fuel: None,
            bytes: self.bytes.clone(),
        }
    }

    fn check_configured(&self, plugin: &Plugin) -> CaseOutcome {
        let trace = Trace::of_every_prefix(plugin, &self.bytes);
        let last = self.half_close.then(|| plugin.classify(&self.bytes, Flags::HALF_CLOSED));
        let mut decided_at = trace.decided_at();
        let answer = match (&last, trace.conclusion()) {
            (Some(last), _) if decided_at.is_none() => {
                decided_at = last.is_final().then_some(self.bytes.len());
                Some(last.clone())
            }
            (_, conclusion) => conclusion.cloned(),
        };
        let mut failures = Vec::new();
        if let Some(answer) = &answer {
            self.compare(answer, decided_at, &mut failures);
        }
        self.compare_hints(&trace, &mut failures);
        failures.extend(broken_laws(plugin, &self.bytes));
        let fuel = trace.most_fuel();
        CaseOutcome { answer, decided_at, fuel, failures, ..self.not_run(String::new()) }
    }

    fn compare(&self, answer: &Judgement, decided_at: Option<usize>, failures: &mut Vec<String>) {
        let as_expected = matches!(
            (self.expect, answer.verdict()),
            (Expected::Match, Some(Verdict::Match))
                | (Expected::Reject, Some(Verdict::Reject))
                | (Expected::NeedMore, Some(Verdict::NeedMore(_)))
        );
        if !as_expected {
            let at = decided_at.map(|at| format!(" (decided at byte {at})")).unwrap_or_default();
            failures.push(format!("expected {}, got {answer}{at}", self.expect));
            return;
        }
        let on_time = match self.decided_at {
            None => true,
            Some(DecidedAt::Exactly(at)) => decided_at == Some(at),
            Some(DecidedAt::AtMost(at)) => decided_at.is_some_and(|decided| decided <= at),
        };
        if !on_time {
            let wanted = match self.decided_at {
                Some(DecidedAt::AtMost(at)) => format!("at byte {at} or before"),
                Some(DecidedAt::Exactly(at)) => format!("at byte {at}"),
                None => String::new(),
            };
            let got = decided_at.map_or("never".to_owned(), |at| format!("at byte {at}"));
            failures.push(format!("expected {} to be known {wanted}, it was {got}", self.expect));
        }
        for (name, wanted) in &self.facts {
            let got: Vec<&str> = values(answer.facts(), name);
            if got != *wanted {
                failures.push(format!("expected the fact {name} = {wanted:?}, got {got:?}"));
            }
        }
    }

    fn compare_hints(&self, trace: &Trace, failures: &mut Vec<String>) {
        for (&len, &total) in &self.need_more {
            let Some(judgement) = trace.at_len(len) else {
                failures.push(format!("expected need-more({total}) with {len} bytes, which are past `max_bytes`"));
                continue;
            };
            if judgement.verdict() != Some(Verdict::NeedMore(total)) {
                failures.push(format!("expected need-more({total}) with {len} bytes, got {judgement}"));
            }
        }
    }
}

fn values<'f>(facts: &'f [Fact], name: &str) -> Vec<&'f str> {
    facts.iter().filter(|fact| fact.name == name).map(|fact| fact.value.as_str()).collect()
}

/// What must hold for any bytes, however they are cut. [`Law::Pure`] is left to [`Laws`](crate::harness::Laws): it takes
/// a second load of the module.
const LAWS: [Law; 7] =
    [Law::Total, Law::Segmentation, Law::Monotone, Law::SoundHint, Law::Final, Law::Bounded, Law::Facts];

fn broken_laws(plugin: &Plugin, bytes: &[u8]) -> Vec<String> {
    let broken = judge(plugin, &BTreeSet::from(LAWS), bytes, b"", Look::Whole);
    broken.into_iter().map(|broken| format!("law `{}`: {}", broken.law, broken.message)).collect()
}

impl fmt::Display for CasesOutcome {
    /// The cases that failed, with their bytes, and a line that counts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in self.list.iter().filter(|case| !case.passed()) {
            writeln!(f, "{case}")?;
        }
        let failed = self.list.iter().filter(|case| !case.passed()).count();
        write!(f, "{} cases, {failed} failed", self.list.len())
    }
}

impl fmt::Display for CaseOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.line == 0 { String::new() } else { format!(" (line {})", self.line) };
        if self.passed() {
            return write!(f, "case `{}`{place}: passed", self.name);
        }
        writeln!(f, "case `{}`{place}:", self.name)?;
        for failure in &self.failures {
            writeln!(f, "  {failure}")?;
        }
        write!(f, "{}", hexdump(&self.bytes))
    }
}
