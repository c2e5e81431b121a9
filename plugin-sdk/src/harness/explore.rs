//! Makes inputs and judges each: the engine below the laws' check and the fuzzer, which differ in when they stop.
//!
//! An input whose call shows something new (another verdict, hint, fact or amount of fuel) joins the corpus that further
//! inputs are made of. Fuel counts instructions, so it tells branches apart without instrumenting the module.

mod dictionary;
mod mutate;
mod random;
mod shrink;

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use portsplit_runtime::Flags;

pub(crate) use self::dictionary::Dictionary;
use self::mutate::{Material, mutate};
pub(crate) use self::random::Random;
pub(crate) use self::shrink::shrink;
use super::judgement::Judgement;
use super::laws::Law;
use super::laws::judge::{Broken, Look, judge};
use super::plugin::Plugin;
use crate::Verdict;

/// The longest input made for a plugin that does not say how much it looks at: the host's buffer.
const DEFAULT_CAP: usize = 16 << 10;
/// Inputs kept to make others of.
const MAX_CORPUS: usize = 4_096;

/// An input that broke laws.
pub(crate) struct Found {
    pub(crate) bytes: Vec<u8>,
    /// What was shown before it, where that mattered.
    pub(crate) other: Vec<u8>,
    pub(crate) broken: Vec<Broken>,
}

pub(crate) struct Explorer<'p> {
    plugin: &'p Plugin,
    laws: BTreeSet<Law>,
    random: Random,
    dictionary: Dictionary,
    corpus: Vec<Vec<u8>>,
    edges: Vec<usize>,
    seen: HashSet<u64>,
    cap: usize,
    pub(crate) inputs: u64,
}

impl<'p> Explorer<'p> {
    pub(crate) fn new(plugin: &'p Plugin, laws: BTreeSet<Law>, seed: u64, samples: &[Vec<u8>]) -> Explorer<'p> {
        let mut dictionary = plugin.module().map(Dictionary::of_module).unwrap_or_default();
        for sample in samples {
            dictionary.add_input(sample);
        }
        let cap = plugin.max_bytes().map_or(DEFAULT_CAP, |max| max.saturating_add(16).min(DEFAULT_CAP));
        let mut explorer = Explorer {
            plugin,
            laws,
            random: Random::new(seed),
            dictionary,
            corpus: Vec::new(),
            edges: vec![cap, cap / 2, 64],
            seen: HashSet::new(),
            cap,
            inputs: 0,
        };
        for sample in samples {
            explorer.remember(sample);
        }
        for start in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 64]] {
            explorer.remember(start);
        }
        explorer
    }

    /// Inputs that each showed something new.
    pub(crate) fn corpus_len(&self) -> usize {
        self.corpus.len()
    }

    /// Stops looking for a law.
    pub(crate) fn drop_law(&mut self, law: Law) {
        self.laws.remove(&law);
    }

    /// Judges every prefix of an input.
    pub(crate) fn judge_whole(&mut self, bytes: &[u8]) -> Option<Found> {
        self.inputs += 1;
        let other = self.random.pick(&self.corpus).cloned().unwrap_or_default();
        let broken = judge(self.plugin, &self.laws, bytes, &other, Look::Whole);
        (!broken.is_empty()).then(|| Found { bytes: bytes.to_vec(), other, broken })
    }

    /// Makes one input and calls the plugin with it.
    pub(crate) fn input(&mut self) -> Vec<u8> {
        self.try_one().0
    }

    fn try_one(&mut self) -> (Vec<u8>, Judgement, bool) {
        self.inputs += 1;
        let bytes = self.make();
        let judgement = self.plugin.classify(&bytes, Flags::NONE);
        let new = self.note(&bytes, &judgement);
        (bytes, judgement, new)
    }

    /// Makes one input, and judges it if it is new or chance says so.
    pub(crate) fn step(&mut self) -> Option<Found> {
        let (bytes, judgement, new) = self.try_one();
        if !new && judgement.fault().is_none() && !self.random.one_in(16) {
            return None;
        }
        let other = self.random.pick(&self.corpus).cloned().unwrap_or_default();
        let broken = judge(self.plugin, &self.laws, &bytes, &other, Look::Quick);
        (!broken.is_empty()).then_some(Found { bytes, other, broken })
    }

    fn make(&mut self) -> Vec<u8> {
        // Half of the inputs come from the newest ones, where there is most left to find.
        let recent = self.corpus.len().saturating_sub(16);
        let from = if self.random.one_in(2) { recent } else { 0 };
        let at = from + self.random.below(self.corpus.len() - from);
        let base = self.corpus.get(at).cloned().unwrap_or_default();
        let other = self.random.pick(&self.corpus).cloned().unwrap_or_default();
        if self.random.one_in(64) {
            return self.stretch(&base);
        }
        if self.random.one_in(24) {
            return self.walk(&base);
        }
        let material = Material { dictionary: &self.dictionary, other: &other, edges: &self.edges, cap: self.cap };
        mutate(&mut self.random, &base, &material)
    }

    /// Goes on where an input is undecided, byte by byte, taking back what is rejected: so it gets through lengths and
    /// alphabets that chance would not.
    fn walk(&mut self, base: &[u8]) -> Vec<u8> {
        let mut bytes = base.get(..self.random.below(base.len() + 1)).unwrap_or_default().to_vec();
        let mut patience = 48;
        while patience > 0 && bytes.len() < self.cap {
            patience -= 1;
            match self.plugin.classify(&bytes, Flags::NONE).verdict() {
                Some(Verdict::NeedMore(total)) => {
                    let next = match self.random.below(4) {
                        0 => self.random.byte(),
                        1 => b'a' + self.random.below(26) as u8,
                        _ => self.random.pick(&self.dictionary.bytes).copied().unwrap_or_default(),
                    };
                    let missing = total.saturating_sub(bytes.len()).min(self.cap - bytes.len());
                    bytes.extend(std::iter::repeat_n(next, missing));
                }
                Some(Verdict::Reject) if !bytes.is_empty() => {
                    bytes.pop();
                }
                _ => break,
            }
        }
        bytes
    }

    /// Repeats a piece of an input up to the cap: what costs more per byte the longer it gets shows here.
    fn stretch(&mut self, base: &[u8]) -> Vec<u8> {
        let start = self.random.below(base.len());
        let end = (start + 1 + self.random.below(16)).min(base.len());
        let piece = base.get(start..end).filter(|piece| !piece.is_empty()).unwrap_or(b"a");
        let mut bytes = base.get(..end).unwrap_or_default().to_vec();
        while bytes.len() < self.cap {
            bytes.extend_from_slice(piece);
        }
        bytes.truncate(self.cap);
        bytes
    }

    fn remember(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(..self.cap).unwrap_or(bytes);
        let judgement = self.plugin.classify(bytes, Flags::NONE);
        if !self.note(bytes, &judgement) {
            self.corpus.push(bytes.to_vec());
        }
    }

    /// Keeps an input that shows something new.
    fn note(&mut self, bytes: &[u8], judgement: &Judgement) -> bool {
        let mut hasher = DefaultHasher::new();
        judgement.fuel.hash(&mut hasher);
        let verdict = judgement.verdict();
        std::mem::discriminant(&verdict).hash(&mut hasher);
        verdict.as_ref().map(std::mem::discriminant).hash(&mut hasher);
        if let Some(Verdict::NeedMore(total)) = verdict {
            total.hash(&mut hasher);
            if !self.edges.contains(&total) && self.edges.len() < 256 {
                self.edges.push(total);
            }
        }
        for fact in judgement.facts() {
            fact.name.hash(&mut hasher);
        }
        // Native code has no fuel to tell branches by; its length and class of bytes do a little.
        if judgement.fuel.is_none() {
            (bytes.len().min(64), bytes.first().map(|byte| byte >> 4)).hash(&mut hasher);
        }
        let new = self.seen.insert(hasher.finish());
        if new {
            if self.corpus.len() >= MAX_CORPUS {
                let at = self.random.below(MAX_CORPUS);
                self.corpus.swap_remove(at);
            }
            self.corpus.push(bytes.to_vec());
        }
        new
    }
}
