//! Measures plugins on a corpus: recall, precision, deciding bytes, fuel, and what is claimed wrongly.
//!
//! Every plugin is asked about every sample twice, with the segments as captured and byte by byte, as the host would; both
//! must agree. At the end of a sample the client waits, and the clock runs out: a plugin that needs more is asked once
//! again, told so, and unless it matches then it has missed the sample.

mod tally;

use std::collections::BTreeMap;

use portsplit_runtime::Flags;
use serde::{Deserialize, Serialize};

use self::tally::Tally;
use super::corpus::{Corpus, Negative, Origin, Sample};
use super::judgement::Judgement;
use super::plugin::Plugin;
use super::text::verdict_text;
use super::trace::Trace;
use crate::Verdict;

/// What plugins did with a corpus. Nothing in it depends on the machine or the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// TCP samples in the corpus.
    pub samples: usize,
    /// The figures of all plugins together.
    pub overall: Overall,
    /// A row for each label that a plugin knows, and one for each plugin that knows none.
    pub protocols: Vec<Protocol>,
    /// Reliable labels that no plugin knows.
    pub without_detector: Vec<String>,
    /// Samples that no plugin which knows their label matched.
    pub missed: Vec<Missed>,
    /// Samples that a plugin matched without knowing their label.
    pub wrong: Vec<Wrong>,
    /// Samples on which a plugin's answer depended on how the bytes were cut.
    pub disagreements: Vec<Disagreement>,
    /// Calls that gave no verdict.
    pub failures: Vec<Failure>,
    /// Samples that nothing is concluded from, by the reason.
    pub left_out: BTreeMap<String, usize>,
    /// Samples that were left out by name.
    #[serde(default)]
    pub left_out_by_name: Vec<LeftOut>,
    /// The figures of all plugins together with those samples left in; `None` if there are none.
    #[serde(default)]
    pub with_all: Option<Overall>,
}

/// The figures of all plugins together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overall {
    /// Samples of measurable labels that a plugin knows.
    pub samples: usize,
    /// How many of these were matched by a plugin that knows them.
    pub matched: usize,
    /// How many of these no such plugin had rejected or matched in the end: they go to `timeout`.
    pub undecided: usize,
    /// How many were matched only when the time was up.
    pub matched_at_end: usize,
    /// Matched of samples.
    pub recall: Option<f64>,
    /// Matches of a sample by a plugin that does not know its label.
    pub wrong_claims: usize,
    /// Matched, of matched and wrong claims.
    pub precision: Option<f64>,
    /// Samples of labels that a plugin knows but that are too few to take rates of.
    pub unmeasured: usize,
    /// How many of these were matched by a plugin that knows them.
    pub unmeasured_matched: usize,
    /// Samples of known labels in which the server spoke first.
    pub excused: usize,
    /// How many of these were matched all the same.
    pub excused_matched: usize,
    /// Samples that no plugin may match.
    pub negatives: usize,
    /// How many of these a plugin matched.
    pub negatives_claimed: usize,
    /// Claimed of negatives.
    pub claimed: Option<f64>,
    /// Negatives by why they are.
    pub negatives_by_kind: BTreeMap<Negative, Claimed>,
    /// Samples of any kind for which some plugin still needed more when all bytes had come.
    pub waited_for: usize,
    /// The most fuel that any call on any sample took.
    pub most_fuel: u64,
    /// Calls made.
    pub calls: usize,
}

/// How many samples were claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// Samples there are.
    pub samples: usize,
    /// Samples that a plugin matched.
    pub claimed: usize,
}

/// The figures of one label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Protocol {
    /// The label; `None` for a plugin that knows no label of the corpus.
    pub label: Option<String>,
    /// The plugins that know it.
    pub plugins: Vec<String>,
    /// Whether there is enough of it to take rates of.
    pub measurable: bool,
    /// Samples that had to be matched.
    pub samples: usize,
    /// Samples that were.
    pub matched: usize,
    /// Samples that none of the plugins had decided in the end; they count as missed.
    pub undecided: usize,
    /// Matched of samples, if measurable.
    pub recall: Option<f64>,
    /// Matches of these plugins on samples of labels they do not know.
    pub wrong_claims: usize,
    /// Matched, of matched and wrong claims, if measurable.
    pub precision: Option<f64>,
    /// The number of bytes at which matches were known.
    pub decided_at: Option<Spread>,
    /// The fuel of each call on the label's samples, segmented as captured.
    pub fuel: Option<Spread>,
    /// Negatives that these plugins matched.
    pub negatives_claimed: usize,
    /// These of all negatives.
    pub claimed: Option<f64>,
    /// Samples of labels they do not know that these plugins had not decided in the end: services behind them wait.
    pub left_open: usize,
}

/// The middle and the largest of some numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one, the larger of the two in an even number of them.
    pub median: u64,
    /// The largest.
    pub max: u64,
}

/// A sample that had to be matched and was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Its label.
    pub label: String,
    /// The plugins that know the label.
    pub plugins: Vec<String>,
    /// What they said in the end: `reject` or, if not even the end of time decided it, `need-more(n)`.
    pub verdict: String,
    /// The number of bytes at which that was known, if it was.
    pub decided_at: Option<usize>,
    /// Bytes there are.
    pub bytes: usize,
    /// Which sample of the corpus.
    #[serde(skip)]
    pub number: usize,
}

/// A sample that was matched and should not have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Its label.
    pub label: String,
    /// The plugin that matched.
    pub plugin: String,
    /// The number of bytes at which it did.
    pub decided_at: Option<usize>,
    /// Bytes there are.
    pub bytes: usize,
    /// Which sample of the corpus.
    #[serde(skip)]
    pub number: usize,
}

/// A sample that was left out by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Its label.
    pub label: String,
    /// Why it says nothing about a plugin.
    pub reason: String,
}

/// A sample whose verdict or facts depended on how it was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Its label.
    pub label: String,
    /// The plugin that contradicts itself.
    pub plugin: String,
    /// What it said of the segments as captured.
    pub segments: String,
    /// What it said byte by byte.
    pub byte_by_byte: String,
    /// Which sample of the corpus.
    #[serde(skip)]
    pub number: usize,
}

/// A call that gave no verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where the sample comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Its label.
    pub label: String,
    /// The plugin that failed.
    pub plugin: String,
    /// What happened.
    pub message: String,
    /// Which sample of the corpus.
    #[serde(skip)]
    pub number: usize,
}

impl Measurement {
    /// Whether no answer depended on how bytes were cut, and every call had one.
    pub fn is_sound(&self) -> bool {
        self.disagreements.is_empty() && self.failures.is_empty()
    }
}

/// Asks every plugin about every sample; `progress` is told how many samples are done, of how many.
pub fn measure(plugins: &[&Plugin], corpus: &Corpus, mut progress: impl FnMut(usize, usize)) -> Measurement {
    let mut tally = Tally::new(plugins, corpus);
    let mut with_all = (!corpus.left_out.is_empty()).then(|| Tally::new(plugins, corpus));
    for (number, sample) in corpus.samples.iter().enumerate() {
        progress(number, corpus.samples.len());
        let flight = sample.bytes();
        let asked: Vec<Asked> = plugins.iter().map(|plugin| Asked::about(plugin, sample, &flight)).collect();
        if let Some(with_all) = &mut with_all {
            with_all.add(number, sample, &asked);
        }
        match corpus.left_out.get(&number) {
            Some(reason) => tally.leave_out(number, sample, &asked, reason),
            None => tally.add(number, sample, &asked),
        }
    }
    Measurement { with_all: with_all.map(|tally| tally.finish().overall), ..tally.finish() }
}

/// What a plugin said of a sample.
struct Asked {
    /// The verdict when all bytes had come; `None` if a call failed or there are no bytes.
    verdict: Option<Verdict>,
    /// Whether it needed more then, and matches when the time is up.
    matches_at_end: bool,
    /// The number of bytes at which the verdict was known.
    decided_at: Option<usize>,
    /// Fuel of each call, segmented as captured.
    fuel: Vec<u64>,
    /// The most fuel of any call.
    most_fuel: u64,
    calls: usize,
    /// The answers with segments and byte by byte, where they differ.
    disagreement: Option<(String, String)>,
    failure: Option<String>,
}

impl Asked {
    fn about(plugin: &Plugin, sample: &Sample, flight: &[u8]) -> Asked {
        let ends = sample.ends();
        let every: Vec<usize> = (1..=flight.len()).collect();
        let segmented = Trace::in_segments(plugin, flight, &ends);
        let single = Trace::in_segments(plugin, flight, &every);
        let decided_at = single.decided_at();
        // The segment in which the deciding byte comes is the one to decide in.
        let due = decided_at.and_then(|at| ends.iter().find(|end| **end >= at).copied());
        let alike = segmented.decided_at() == due && same(segmented.conclusion(), single.conclusion());
        let verdict = single.conclusion().and_then(Judgement::verdict);
        let waits = matches!(verdict, Some(Verdict::NeedMore(_)));
        let last = waits.then(|| plugin.classify(flight, Flags::TIME_UP));
        let all = || segmented.steps().chain(single.steps()).map(|(_, judgement)| judgement).chain(&last);
        let matches_at_end = last.as_ref().and_then(Judgement::verdict) == Some(Verdict::Match);
        Asked {
            verdict,
            matches_at_end,
            decided_at: decided_at.or(matches_at_end.then_some(flight.len())),
            fuel: segmented.steps().filter_map(|(_, judgement)| judgement.fuel).collect(),
            most_fuel: all().filter_map(|judgement| judgement.fuel).max().unwrap_or_default(),
            calls: all().count(),
            disagreement: (!alike).then(|| (told(&segmented), told(&single))),
            failure: all().find_map(|judgement| judgement.fault().map(|fault| fault.message.clone())),
        }
    }

    fn matched(&self) -> bool {
        self.verdict == Some(Verdict::Match) || self.matches_at_end
    }

    /// Whether it needed more when all bytes had come.
    fn undecided(&self) -> bool {
        !matches!(self.verdict, Some(Verdict::Match | Verdict::Reject))
    }

    /// The verdict in words.
    fn told(&self) -> String {
        self.verdict.map_or_else(|| "no verdict".to_owned(), verdict_text)
    }
}

/// Whether two answers come to the same: hints of need-more may differ, for they were given at different lengths.
fn same(one: Option<&Judgement>, other: Option<&Judgement>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    match (one.verdict(), other.verdict()) {
        (Some(Verdict::NeedMore(_)), Some(Verdict::NeedMore(_))) => true,
        (verdict, with) => verdict == with && one.facts() == other.facts(),
    }
}

fn told(trace: &Trace) -> String {
    let answer = trace.conclusion().map_or_else(|| "nothing".to_owned(), Judgement::to_string);
    trace.decided_at().map_or_else(|| answer.clone(), |at| format!("{answer} (at byte {at})"))
}

#[cfg(test)]
mod tests;
