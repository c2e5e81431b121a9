//! Reading the program's log: a thread collects the lines of its stderr, tests wait for and query them.

use std::io::{BufRead, BufReader};
use std::process::ChildStderr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// The line as it was written, without its end.
    pub raw: Vec<u8>,
    /// The line as JSON; `Value::Null` when it is not JSON.
    pub json: Value,
}

impl Line {
    fn new(raw: Vec<u8>) -> Self {
        let json = serde_json::from_slice(&raw).unwrap_or(Value::Null);
        Line { raw, json }
    }

    /// The line as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// The event's constant text.
    pub fn message(&self) -> &str {
        self.value("message").and_then(Value::as_str).unwrap_or("")
    }

    /// The field `key` as text; empty when it is absent.
    pub fn field(&self, key: &str) -> String {
        match self.value(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        }
    }

    /// The field `key` as a number.
    #[track_caller]
    pub fn number(&self, key: &str) -> u64 {
        let text = self.field(key);
        text.parse().unwrap_or_else(|_| panic!("`{key}` is not a number in {}", self.text()))
    }

    /// How long the decision took, in milliseconds.
    #[track_caller]
    pub fn decide_ms(&self) -> u64 {
        if self.value("decide_us").is_some() { self.number("decide_us") / 1000 } else { self.number("decide_ms") }
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.json.get(key).or_else(|| self.json.get("fields")?.get(key))
    }
}

/// The log of one running program, complete from its start.
#[derive(Clone, Default)]
pub struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    grew: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<Line>,
    ended: bool,
}

impl Log {
    /// Collects `stderr` in a thread of its own until it ends.
    pub fn follow(stderr: ChildStderr) -> Self {
        let log = Log::default();
        let shared = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n') {
                let Ok(raw) = line else { break };
                shared.lock().lines.push(Line::new(raw));
                shared.0.grew.notify_all();
            }
            shared.lock().ended = true;
            shared.0.grew.notify_all();
        });
        log
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// How many lines there are so far: a position to search from.
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// How many lines so far satisfy `wanted`.
    pub fn count(&self, wanted: impl Fn(&Line) -> bool) -> usize {
        self.lock().lines.iter().filter(|line| wanted(line)).count()
    }

    /// The first line from position `from` on that satisfies `wanted`, waiting at most `limit` for it.
    pub fn find_within(&self, limit: Duration, from: usize, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
        let deadline = Instant::now() + limit;
        let mut next = from;
        let mut state = self.lock();
        loop {
            let fresh = state.lines.get(next..).unwrap_or_default();
            if let Some(line) = fresh.iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            next = state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended {
                return None;
            }
            state = self.0.grew.wait_timeout(state, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// The whole log as one text, for failure messages.
    pub fn text(&self) -> String {
        let lines = self.lines();
        let shown = lines.len().saturating_sub(200);
        let tail = lines.iter().skip(shown).map(|line| format!("  {}\n", line.text().replace("\u{1b}", "\\e")));
        format!("the last {} of {} lines of its log:\n{}", lines.len() - shown, lines.len(), tail.collect::<String>())
    }
}
