//! The laws that one input can break, each as a function of the plugin's answers.

use std::collections::BTreeSet;

use portsplit_runtime::Flags;

use super::Law;
use crate::Verdict;
use crate::harness::judgement::{FaultKind, Judgement};
use crate::harness::plugin::Plugin;
use crate::harness::text::verdict_text;
use crate::harness::trace::Trace;

/// The last calls a host can make.
const LAST: [(Flags, &str); 3] = [
    (Flags::HALF_CLOSED, "the client half-closed"),
    (Flags::BUFFER_FULL, "the buffer is full"),
    (Flags::TIME_UP, "the time is up"),
];

/// Below this much fuel nothing is called super-linear: a constant part hides what grows.
const MEASURABLE_FUEL: u64 = 4_000;

/// A law one input broke.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) law: Law,
    pub(crate) message: String,
}

/// How closely to look at an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Every prefix.
    Whole,
    /// The prefixes where something is likely to differ.
    Quick,
}

/// Checks one input against `laws`. `other` is shown before it for [`Law::Pure`].
pub(crate) fn judge(plugin: &Plugin, laws: &BTreeSet<Law>, bytes: &[u8], other: &[u8], look: Look) -> Vec<Broken> {
    let mut broken = Vec::new();
    let lens =
        if look == Look::Whole && bytes.len() <= 2_048 { (0..=bytes.len()).collect() } else { chosen(plugin, bytes) };
    let trace = Trace::at(plugin, bytes, lens);
    let mut note = |law: Law, found: Option<String>| {
        if let Some(message) = found.filter(|_| laws.contains(&law)) {
            broken.push(Broken { law, message });
        }
    };
    note(Law::Total, fault(&trace, FaultKind::Broken));
    note(Law::Bounded, fault(&trace, FaultKind::Costly).or_else(|| super_linear(&trace, bytes.len())));
    note(Law::Facts, fault(&trace, FaultKind::Fact).or_else(|| undeclared(plugin, &trace)));
    // With `max_bytes` or more, the plugin is told that it is the last call, which is another law's business.
    let open = plugin.max_bytes().unwrap_or(usize::MAX);
    note(Law::Monotone, turned(&trace, open));
    note(Law::Segmentation, cut_dependent(&trace, open));
    note(Law::SoundHint, lying_hint(plugin, &trace));
    if laws.contains(&Law::Final) {
        note(Law::Final, open_end(plugin, bytes, &trace));
    }
    if laws.contains(&Law::Pure) {
        note(Law::Pure, impure(plugin, bytes, other));
    }
    broken
}

/// The lengths where something is likely to differ: the ends, both sides of every hint, and the halves.
fn chosen(plugin: &Plugin, bytes: &[u8]) -> Vec<usize> {
    let n = bytes.len();
    let mut lens: BTreeSet<usize> =
        [0, 1, 2, 3, 4, n / 16, n / 8, n / 4, n / 2, n * 3 / 4, n.saturating_sub(1), n].into();
    let mut at = 0;
    for _ in 0..12 {
        let Some(shown) = bytes.get(..at) else { break };
        match plugin.classify(shown, Flags::NONE).verdict() {
            Some(Verdict::NeedMore(total)) => {
                lens.extend([at, at + 1, (at + total) / 2, total.saturating_sub(1), total, total + 1]);
                at = total;
            }
            Some(_) => {
                lens.extend([at.saturating_sub(1), at, at + 1, at + 2, (at + n) / 2]);
                break;
            }
            None => break,
        }
    }
    lens.into_iter().filter(|len| *len <= n).collect()
}

fn fault(trace: &Trace, kind: FaultKind) -> Option<String> {
    trace.steps().find_map(|(len, judgement)| {
        let fault = judgement.fault().filter(|fault| fault.kind == kind)?;
        Some(format!("with {len} bytes: {}", fault.message))
    })
}

/// Whether fuel per byte grows by half or more with each of four doublings of the length: with fewer, cheap bytes in front
/// of dear ones look like it.
fn super_linear(trace: &Trace, n: usize) -> Option<String> {
    let fuel = |len: usize| trace.at_len(len).and_then(|judgement| judgement.fuel);
    let empty = fuel(0)?;
    let lens = [n / 16, n / 8, n / 4, n / 2, n];
    let costs: Vec<u64> =
        lens.iter().map(|&len| fuel(len).map(|fuel| fuel.saturating_sub(empty))).collect::<Option<_>>()?;
    let last = *costs.last()?;
    let grows = costs.windows(2).all(|pair| matches!(pair, [half, whole] if *half > 0 && *whole > *half * 3));
    (n >= 128 && grows && last > MEASURABLE_FUEL).then(|| {
        let steps: Vec<String> = lens.iter().zip(&costs).map(|(len, cost)| format!("{len} bytes: {cost}")).collect();
        format!("fuel grows faster than the bytes ({})", steps.join(", "))
    })
}

fn undeclared(plugin: &Plugin, trace: &Trace) -> Option<String> {
    let manifest = plugin.manifest()?;
    trace.steps().find_map(|(len, judgement)| {
        let declared = |name: &str| manifest.facts.iter().any(|fact| fact.name == name);
        let fact = judgement.facts().iter().find(|fact| !declared(&fact.name))?;
        Some(format!("with {len} bytes: the fact `{}` is not in the manifest's `facts`", fact.name))
    })
}

fn turned(trace: &Trace, open: usize) -> Option<String> {
    let (at, first) = trace.decision()?;
    let later = trace.steps().find(|(len, judgement)| {
        *len > at && *len < open && judgement.verdict().is_some_and(|verdict| Some(verdict) != first.verdict())
    });
    let (len, judgement) = later?;
    Some(format!("with {at} bytes: {first}; with {len} bytes: {judgement}"))
}

/// Verdicts that turn are [`Law::Monotone`]'s; what is left to depend on the cuts are the facts.
fn cut_dependent(trace: &Trace, open: usize) -> Option<String> {
    let (at, first) = trace.decision()?;
    let differs =
        |judgement: &Judgement| judgement.verdict() == Some(Verdict::Match) && judgement.facts() != first.facts();
    let later = trace.steps().find(|(len, judgement)| *len > at && *len < open && differs(judgement));
    let (len, judgement) = later.filter(|_| first.verdict() == Some(Verdict::Match))?;
    Some(format!("cut at {at} bytes: {first}; cut at {len} bytes: {judgement}"))
}

fn lying_hint(plugin: &Plugin, trace: &Trace) -> Option<String> {
    let decision = trace.decision();
    for (len, judgement) in trace.steps().take_while(|(len, _)| decision.is_none_or(|(at, _)| *len < at)) {
        let Ok(answer) = &judgement.answer else { continue };
        let Verdict::NeedMore(total) = answer.verdict else { continue };
        if answer.argument != 0 && answer.argument as usize <= len {
            return Some(format!("with {len} bytes it asks for {} in all, which it has", answer.argument));
        }
        // The runtime cuts such a hint down, so it shows only in what the plugin returned.
        if let Some(max) = plugin.max_bytes().filter(|max| answer.argument as usize > *max) {
            let asked = answer.argument;
            return Some(format!("with {len} bytes it asks for {asked}, more than `max_bytes` ({max}) lets it see"));
        }
        if let Some((at, decided)) = decision.filter(|(at, _)| *at < total) {
            return Some(format!("with {len} bytes it asks for {total} in all, but with {at} it says {decided}"));
        }
    }
    None
}

fn open_end(plugin: &Plugin, bytes: &[u8], trace: &Trace) -> Option<String> {
    let edges = trace.decided_at().into_iter().flat_map(|at| [at.saturating_sub(1), at]);
    let lens: BTreeSet<usize> = [0, bytes.len() / 2, bytes.len()].into_iter().chain(edges).collect();
    for len in lens {
        let shown = bytes.get(..len)?;
        let without = plugin.classify(shown, Flags::NONE);
        for (flags, why) in LAST {
            let with = plugin.classify(shown, flags);
            if let Some(verdict @ Verdict::NeedMore(_)) = with.verdict() {
                return Some(format!("with {len} bytes it says {} although {why}", verdict_text(verdict)));
            }
            let same = with.verdict() == without.verdict() && with.facts() == without.facts();
            if without.is_final() && with.fault().is_none() && !same {
                return Some(format!("with {len} bytes: {without}; when {why}: {with}"));
            }
        }
    }
    None
}

fn impure(plugin: &Plugin, bytes: &[u8], other: &[u8]) -> Option<String> {
    let first = plugin.classify(bytes, Flags::NONE);
    let again = plugin.classify(bytes, Flags::NONE);
    if first.answer != again.answer {
        return Some(format!("the same call twice: {first}; then {again}"));
    }
    let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
    for (before, what) in [(bytes, "the same bytes"), (half, "the first half of the bytes"), (other, "other bytes")] {
        if first.fault().is_some() {
            break;
        }
        let reused = plugin.classify_reused(before, bytes, Flags::NONE)?;
        // A plugin may run out of memory or facts in an instance that it was not made to be called in twice.
        let same = reused.verdict() == first.verdict() && reused.facts().ends_with(first.facts());
        if reused.fault().is_none() && !same {
            return Some(format!("in a fresh instance: {first}; in one that was shown {what} before: {reused}"));
        }
    }
    None
}
