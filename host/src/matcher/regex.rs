//! A byte-wise regular expression as a table of states that knows exactly when it cannot match any more.
//!
//! regex-automata builds the DFA; this file walks all its states once and keeps a flat table in which every state that
//! no continuation leads to a match from is one state, `REJECT`, and every state in which the pattern has matched is
//! one state, `MATCH`. Stepping over a byte is then one look-up, and both verdicts fall at the earliest byte.

use std::collections::HashMap;

use regex_automata::dfa::{Automaton, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::{Hir, HirKind, Look};
use thiserror::Error;

use super::Standing;

/// States a pattern may have. One state costs 4 bytes for each class of bytes that the pattern tells apart, so the
/// largest pattern takes 10 MiB; useful ones have tens of states.
const MAX_STATES: usize = 10_000;

/// Bytes that the intermediate DFA and its construction may take, each.
const MAX_BUILD_BYTES: usize = 16 << 20;

const REJECT: u32 = 0;
const MATCH: u32 = 1;

/// A compiled pattern.
#[derive(Clone)]
pub struct Regex {
    pattern: String,
    /// Which column of the table a byte belongs to.
    classes: Box<[u8; 256]>,
    columns: usize,
    /// Rows of `columns` successors; the first two rows are `REJECT` and `MATCH`.
    table: Box<[u32]>,
    /// Whether the pattern matches if no byte follows, for every state.
    matches_at_end: Box<[bool]>,
    start: u32,
    can_reject: bool,
}

/// Why a pattern was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RegexError {
    /// The pattern is not written correctly.
    #[error("{message}")]
    Syntax {
        /// What is wrong, in the words of the regex parser.
        message: String,
        /// Where in the pattern, in bytes.
        offset: usize,
    },
    /// The pattern needs more states than a pattern may have.
    #[error(
        "the pattern needs more than {MAX_STATES} states to be matched in linear time; shorten its counted \
         repetitions such as `{{100}}`, anchor it with `^`, or use a plugin"
    )]
    TooLarge,
    /// The pattern uses something that a table of states cannot express.
    #[error("{0}")]
    Unsupported(String),
}

impl Regex {
    /// Compiles `pattern`, in which `.` and classes stand for bytes, and which may match anywhere unless it says `^`.
    ///
    /// # Errors
    /// [`RegexError::Syntax`] for a malformed pattern, [`RegexError::TooLarge`] past the limit of 10,000 states, and
    /// [`RegexError::Unsupported`] for what has no table, such as a Unicode word boundary.
    pub fn new(pattern: &str) -> Result<Regex, RegexError> {
        let hir =
            regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).map_err(|error| {
                let (message, offset) = match &error {
                    regex_syntax::Error::Parse(e) => (e.kind().to_string(), e.span().start.offset),
                    regex_syntax::Error::Translate(e) => (e.kind().to_string(), e.span().start.offset),
                    other => (other.to_string(), 0),
                };
                RegexError::Syntax { message, offset }
            })?;
        let early_hir = without_end_anchors(&hir);
        let looks_ahead = early_hir.properties().look_set().iter().any(looks_ahead);
        let walk = Walk { early: build(&early_hir)?, full: build(&hir)?, looks_ahead };
        walk.flatten(pattern)
    }

    /// Returns the pattern as it was written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Tells whether no first flight at all can match.
    pub fn never_matches(&self) -> bool {
        self.start == REJECT
    }

    /// Tells whether the pattern can wait for ever: no byte ever makes it reject.
    pub fn never_rejects(&self) -> bool {
        !self.can_reject
    }

    /// Returns the state before the first byte.
    pub(crate) fn start(&self) -> Standing {
        standing(self.start, 0)
    }

    /// Judges `flight`, of which the first `seen` bytes led to `state`.
    pub(crate) fn step(&self, flight: &[u8], seen: usize, mut state: u32) -> Standing {
        for (at, byte) in flight.iter().enumerate().skip(seen) {
            let column = self.classes.get(usize::from(*byte)).copied().unwrap_or_default();
            let entry = state as usize * self.columns + usize::from(column);
            state = self.table.get(entry).copied().unwrap_or(REJECT);
            if state <= MATCH {
                return standing(state, at + 1);
            }
        }
        Standing::Open(state)
    }

    /// Tells whether the pattern matches in `state` if no byte follows.
    pub(crate) fn matches_at_end(&self, state: u32) -> bool {
        self.matches_at_end.get(state as usize).copied().unwrap_or(false)
    }
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Regex").field("pattern", &self.pattern).field("states", &self.matches_at_end.len()).finish()
    }
}

fn standing(state: u32, bytes: usize) -> Standing {
    match state {
        REJECT => Standing::Rejected(bytes),
        MATCH => Standing::Matched(bytes),
        open => Standing::Open(open),
    }
}

/// Replaces `$` and `\z` by something that never matches: what is left are the matches that need no end of input.
fn without_end_anchors(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Look(Look::End) => Hir::fail(),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => hir.clone(),
        HirKind::Repetition(repetition) => Hir::repetition(repetition.with(without_end_anchors(&repetition.sub))),
        HirKind::Capture(capture) => without_end_anchors(&capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.iter().map(without_end_anchors).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(without_end_anchors).collect()),
    }
}

/// Tells whether an assertion has to see the byte behind it, so that a match shows one byte late.
fn looks_ahead(look: Look) -> bool {
    !matches!(look, Look::Start | Look::StartLF)
}

fn build(hir: &Hir) -> Result<dense::DFA<Vec<u32>>, RegexError> {
    let nfa = thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .utf8(false)
                .nfa_size_limit(Some(MAX_BUILD_BYTES))
                .which_captures(thompson::WhichCaptures::None),
        )
        .build_from_hir(hir)
        .map_err(|error| {
            if error.size_limit().is_some() { RegexError::TooLarge } else { RegexError::Unsupported(error.to_string()) }
        })?;
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .match_kind(MatchKind::All)
                .dfa_size_limit(Some(MAX_BUILD_BYTES))
                .determinize_size_limit(Some(MAX_BUILD_BYTES)),
        )
        .build_from_nfa(&nfa)
        .map_err(|error| {
            if error.is_size_limit_exceeded() {
                RegexError::TooLarge
            } else {
                RegexError::Unsupported(error.to_string())
            }
        })
}

/// The walk over both DFAs side by side: `early` knows what matches while bytes may follow, `full` what can still match.
struct Walk {
    early: dense::DFA<Vec<u32>>,
    full: dense::DFA<Vec<u32>>,
    looks_ahead: bool,
}

type Pair = (StateID, StateID);

impl Walk {
    /// Tells whether the pattern has matched in this state, whatever follows.
    fn has_matched(&self, early: StateID) -> bool {
        // A DFA of regex-automata reports a match one byte late. Asking what the end of input would report shows it at
        // once, which is right unless an assertion wants to see the next byte.
        self.early.is_match_state(early)
            || (!self.looks_ahead && self.early.is_match_state(self.early.next_eoi_state(early)))
    }

    fn start_of(dfa: &dense::DFA<Vec<u32>>) -> Result<StateID, RegexError> {
        dfa.start_state(&start::Config::new().anchored(Anchored::No))
            .map_err(|error| RegexError::Unsupported(error.to_string()))
    }

    fn flatten(&self, pattern: &str) -> Result<Regex, RegexError> {
        let mut states: Vec<Pair> = Vec::new();
        let mut numbers: HashMap<Pair, u32> = HashMap::new();
        let mut rows: Vec<[u32; 256]> = Vec::new();
        let start =
            self.number((Self::start_of(&self.early)?, Self::start_of(&self.full)?), &mut states, &mut numbers)?;
        while let Some(&(early, full)) = states.get(rows.len()) {
            let mut row = [REJECT; 256];
            for (byte, entry) in (0..=u8::MAX).zip(row.iter_mut()) {
                let next = (self.early.next_state(early, byte), self.full.next_state(full, byte));
                *entry = self.number(next, &mut states, &mut numbers)?;
            }
            rows.push(row);
        }
        let at_end: Vec<bool> =
            states.iter().map(|&(_, full)| self.full.is_match_state(self.full.next_eoi_state(full))).collect();
        Ok(finish(pattern, start, rows, &at_end))
    }

    /// Gives a pair of states its number: `MATCH` once matched, `REJECT` where both are dead, else a row of its own.
    fn number(&self, pair: Pair, states: &mut Vec<Pair>, numbers: &mut HashMap<Pair, u32>) -> Result<u32, RegexError> {
        let (early, full) = pair;
        if self.early.is_quit_state(early) || self.full.is_quit_state(full) {
            return Err(RegexError::Unsupported("the pattern needs Unicode tables, which bytes do not have".into()));
        }
        if self.has_matched(early) {
            return Ok(MATCH);
        }
        if self.full.is_dead_state(full) {
            return Ok(REJECT);
        }
        if let Some(&number) = numbers.get(&pair) {
            return Ok(number);
        }
        if states.len() >= MAX_STATES {
            return Err(RegexError::TooLarge);
        }
        states.push(pair);
        // Two numbers are taken by `REJECT` and `MATCH`.
        let number = u32::try_from(states.len() + 1).map_err(|_| RegexError::TooLarge)?;
        numbers.insert(pair, number);
        Ok(number)
    }
}

/// Merges hopeless states into `REJECT`, groups equal columns and lays the table out flat.
fn finish(pattern: &str, start: u32, mut rows: Vec<[u32; 256]>, at_end: &[bool]) -> Regex {
    let hopeful = hopeful_states(&rows, at_end);
    let is_hopeless = |state: u32| state > MATCH && !hopeful.get(state as usize - 2).copied().unwrap_or(false);
    for entry in rows.iter_mut().flatten() {
        if is_hopeless(*entry) {
            *entry = REJECT;
        }
    }
    let start = if is_hopeless(start) { REJECT } else { start };

    let mut classes = Box::new([0; 256]);
    let mut representatives: Vec<u8> = Vec::new();
    for byte in 0..=u8::MAX {
        let column_of = |b: u8| rows.iter().map(move |row| row.get(usize::from(b)).copied());
        let class = representatives.iter().position(|&other| column_of(other).eq(column_of(byte)));
        let class = class.unwrap_or_else(|| {
            representatives.push(byte);
            representatives.len() - 1
        });
        if let Some(slot) = classes.get_mut(usize::from(byte)) {
            *slot = u8::try_from(class).unwrap_or(u8::MAX);
        }
    }
    let columns = representatives.len();
    let mut table = vec![REJECT; columns];
    table.extend(std::iter::repeat_n(MATCH, columns));
    for row in &rows {
        table.extend(representatives.iter().map(|&byte| row.get(usize::from(byte)).copied().unwrap_or(REJECT)));
    }
    let matches_at_end: Box<[bool]> = [false, true].into_iter().chain(at_end.iter().copied()).collect();
    let can_reject =
        start == REJECT || rows.iter().zip(&hopeful).any(|(row, hopeful)| *hopeful && row.contains(&REJECT));
    Regex { pattern: pattern.to_owned(), classes, columns, table: table.into(), matches_at_end, start, can_reject }
}

/// Finds the states from which some continuation, or the end of input, still matches.
fn hopeful_states(rows: &[[u32; 256]], at_end: &[bool]) -> Vec<bool> {
    let mut sources: Vec<Vec<u32>> = vec![Vec::new(); rows.len() + 2];
    for (source, row) in (2..).zip(rows) {
        let mut targets = row.to_vec();
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            if let Some(list) = sources.get_mut(target as usize) {
                list.push(source);
            }
        }
    }
    let mut hopeful = vec![false; rows.len()];
    let mut queue: Vec<u32> = vec![MATCH];
    queue.extend((2..).zip(at_end).filter(|(_, end)| **end).map(|(state, _)| state));
    let hope = |state: u32, hopeful: &mut Vec<bool>| match hopeful.get_mut((state as usize).wrapping_sub(2)) {
        Some(seen) if !*seen => {
            *seen = true;
            true
        }
        _ => false,
    };
    for &state in &queue {
        hope(state, &mut hopeful);
    }
    while let Some(state) = queue.pop() {
        for &source in sources.get(state as usize).into_iter().flatten() {
            if hope(source, &mut hopeful) {
                queue.push(source);
            }
        }
    }
    hopeful
}

#[cfg(test)]
mod tests;
