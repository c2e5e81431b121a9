//! Counts what plugins said of samples and makes figures of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Asked, Disagreement, Failure, LeftOut, Measurement, Missed, Overall, Protocol, Spread, Wrong};
use crate::harness::corpus::{Corpus, Known, Negative, Role, Sample};
use crate::harness::plugin::Plugin;

/// The counts so far.
pub(super) struct Tally<'c> {
    corpus: &'c Corpus,
    known: Known,
    names: Vec<String>,
    /// By label.
    rows: BTreeMap<&'c str, Row>,
    /// By plugin.
    strangers: Vec<Strangers>,
    without_detector: BTreeSet<&'c str>,
    result: Measurement,
}

/// The counts of one label.
#[derive(Default)]
struct Row {
    samples: usize,
    matched: usize,
    undecided: usize,
    decided_at: Vec<u64>,
    fuel: Vec<u64>,
}

/// What a plugin did with samples it does not know.
#[derive(Clone, Copy, Default)]
struct Strangers {
    /// Matched ones that nobody may match.
    negatives: usize,
    /// All matched ones.
    claimed: usize,
    /// Those that were undecided in the end.
    open: usize,
}

impl<'c> Tally<'c> {
    pub(super) fn new(plugins: &[&Plugin], corpus: &'c Corpus) -> Tally<'c> {
        Tally {
            corpus,
            known: corpus.known(plugins),
            names: plugins.iter().map(|plugin| plugin.name().to_owned()).collect(),
            rows: BTreeMap::new(),
            strangers: vec![Strangers::default(); plugins.len()],
            without_detector: BTreeSet::new(),
            result: Measurement {
                samples: corpus.samples.len(),
                overall: Overall::default(),
                protocols: Vec::new(),
                without_detector: Vec::new(),
                missed: Vec::new(),
                wrong: Vec::new(),
                disagreements: Vec::new(),
                failures: Vec::new(),
                left_out: BTreeMap::new(),
                left_out_by_name: Vec::new(),
                with_all: None,
            },
        }
    }

    /// Notes a sample that is left out by name. Its answers must be sound all the same.
    pub(super) fn leave_out(&mut self, number: usize, sample: &'c Sample, asked: &[Asked], reason: &str) {
        self.faults(number, sample, asked);
        let (origin, label) = (sample.origin.clone(), sample.label.clone());
        self.result.left_out_by_name.push(LeftOut { origin, label, reason: reason.to_owned() });
    }

    /// Counts what the plugins said of a sample, in the order of the plugins.
    pub(super) fn add(&mut self, number: usize, sample: &'c Sample, asked: &[Asked]) {
        self.faults(number, sample, asked);
        let overall = &mut self.result.overall;
        overall.calls += asked.iter().map(|asked| asked.calls).sum::<usize>();
        overall.most_fuel = asked.iter().map(|asked| asked.most_fuel).max().unwrap_or_default().max(overall.most_fuel);
        let role = self.corpus.role(sample, &self.known);
        if let Role::LeftOut(reason) = role {
            *self.result.left_out.entry(reason.to_owned()).or_default() += 1;
            return;
        }
        overall.waited_for += usize::from(asked.iter().any(Asked::undecided));
        let owners = self.known.of(&sample.label).to_vec();
        let own: Vec<&Asked> = owners.iter().filter_map(|number| asked.get(*number)).collect();
        match role {
            Role::Positive => self.positive(number, sample, &own, &owners),
            Role::Excused => {
                overall.excused += 1;
                overall.excused_matched += usize::from(own.iter().any(|asked| asked.matched()));
            }
            Role::Negative(kind) => self.negative(kind, sample, asked),
            Role::LeftOut(_) => {}
        }
        // In protocols where servers speak first nobody may match, whatever a manifest lists.
        let is_own = |plugin: usize| !matches!(role, Role::Negative(_)) && owners.contains(&plugin);
        for (plugin, asked) in asked.iter().enumerate().filter(|(plugin, _)| !is_own(*plugin)) {
            let Some(strangers) = self.strangers.get_mut(plugin) else { continue };
            strangers.open += usize::from(asked.undecided());
            if !asked.matched() {
                continue;
            }
            strangers.claimed += 1;
            strangers.negatives += usize::from(matches!(role, Role::Negative(_)));
            self.result.overall.wrong_claims += 1;
            self.result.wrong.push(Wrong {
                origin: sample.origin.clone(),
                label: sample.label.clone(),
                plugin: self.names.get(plugin).cloned().unwrap_or_default(),
                decided_at: asked.decided_at,
                bytes: sample.len_bytes(),
                number,
            });
        }
    }

    fn positive(&mut self, number: usize, sample: &'c Sample, own: &[&Asked], owners: &[usize]) {
        let measurable = self.corpus.is_measurable(&sample.label);
        let first = own.iter().filter(|asked| asked.matched()).min_by_key(|asked| asked.decided_at);
        let undecided = first.is_none() && own.iter().any(|asked| asked.undecided());
        let row = self.rows.entry(&sample.label).or_default();
        row.samples += 1;
        row.undecided += usize::from(undecided);
        row.fuel.extend(own.iter().flat_map(|asked| &asked.fuel));
        let overall = &mut self.result.overall;
        let (samples, matched) = if measurable {
            overall.undecided += usize::from(undecided);
            overall.matched_at_end += usize::from(first.is_some_and(|asked| asked.matches_at_end));
            (&mut overall.samples, &mut overall.matched)
        } else {
            (&mut overall.unmeasured, &mut overall.unmeasured_matched)
        };
        *samples += 1;
        if let Some(first) = first {
            *matched += 1;
            row.matched += 1;
            row.decided_at.extend(first.decided_at.map(|at| at as u64));
            return;
        }
        let verdicts: Vec<String> = own.iter().map(|asked| asked.told()).collect();
        self.result.missed.push(Missed {
            origin: sample.origin.clone(),
            label: sample.label.clone(),
            plugins: owners.iter().filter_map(|owner| self.names.get(*owner).cloned()).collect(),
            verdict: verdicts.join(", "),
            decided_at: own.iter().filter_map(|asked| asked.decided_at).max(),
            bytes: sample.len_bytes(),
            number,
        });
    }

    fn negative(&mut self, kind: Negative, sample: &'c Sample, asked: &[Asked]) {
        if kind == Negative::NoDetector {
            self.without_detector.insert(&sample.label);
        }
        let claimed = usize::from(asked.iter().any(Asked::matched));
        let overall = &mut self.result.overall;
        overall.negatives += 1;
        overall.negatives_claimed += claimed;
        let of_kind = overall.negatives_by_kind.entry(kind).or_default();
        of_kind.samples += 1;
        of_kind.claimed += claimed;
    }

    /// Notes what must not happen on any sample, whatever its label is worth.
    fn faults(&mut self, number: usize, sample: &Sample, asked: &[Asked]) {
        for (name, asked) in self.names.iter().zip(asked) {
            let (origin, label, plugin) = (sample.origin.clone(), sample.label.clone(), name.clone());
            if let Some(message) = &asked.failure {
                let message = message.clone();
                self.result.failures.push(Failure { origin, label, plugin, message, number });
            } else if let Some((segments, byte_by_byte)) = asked.disagreement.clone() {
                let found = Disagreement { origin, label, plugin, segments, byte_by_byte, number };
                self.result.disagreements.push(found);
            }
        }
    }

    /// Makes rates of the counts.
    pub(super) fn finish(mut self) -> Measurement {
        let overall = &mut self.result.overall;
        overall.recall = share(overall.matched, overall.samples);
        overall.precision = share(overall.matched, overall.matched + overall.wrong_claims);
        overall.claimed = share(overall.negatives_claimed, overall.negatives);
        let negatives = overall.negatives;
        let mut listed = BTreeSet::new();
        for (label, row) in std::mem::take(&mut self.rows) {
            let owners = self.known.of(label).to_vec();
            listed.extend(owners.iter().copied());
            self.result.protocols.push(self.protocol(Some(label), &owners, row, negatives));
        }
        for plugin in (0..self.names.len()).filter(|plugin| !listed.contains(plugin)) {
            self.result.protocols.push(self.protocol(None, &[plugin], Row::default(), negatives));
        }
        self.result.without_detector = self.without_detector.iter().map(|label| (*label).to_owned()).collect();
        self.result
    }

    fn protocol(&self, label: Option<&str>, owners: &[usize], row: Row, negatives: usize) -> Protocol {
        let strangers: Vec<Strangers> = owners.iter().filter_map(|owner| self.strangers.get(*owner).copied()).collect();
        let wrong_claims = strangers.iter().map(|plugin| plugin.claimed).sum();
        let negatives_claimed = strangers.iter().map(|plugin| plugin.negatives).sum();
        let measurable = label.is_some_and(|label| self.corpus.is_measurable(label));
        let rate = |hits: usize, of: usize| share(hits, of).filter(|_| measurable);
        Protocol {
            label: label.map(str::to_owned),
            plugins: owners.iter().filter_map(|owner| self.names.get(*owner).cloned()).collect(),
            measurable,
            samples: row.samples,
            matched: row.matched,
            undecided: row.undecided,
            recall: rate(row.matched, row.samples),
            wrong_claims,
            precision: rate(row.matched, row.matched + wrong_claims),
            decided_at: Spread::of(row.decided_at),
            fuel: Spread::of(row.fuel),
            negatives_claimed,
            claimed: share(negatives_claimed, negatives),
            left_open: strangers.iter().map(|plugin| plugin.open).sum(),
        }
    }
}

impl Spread {
    fn of(mut numbers: Vec<u64>) -> Option<Spread> {
        numbers.sort_unstable();
        Some(Spread { median: *numbers.get(numbers.len() / 2)?, max: *numbers.last()? })
    }
}

/// A part of a whole; `None` of nothing.
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
