//! Assertions about one input, as a chain of expectations that explains itself when one does not hold.

#![allow(clippy::panic)] // Assertions fail by panicking.

use portsplit_runtime::Flags;

use super::judgement::Judgement;
use super::plugin::Plugin;
use super::text::{hexdump, verdict_text};
use super::trace::Trace;
use crate::Verdict;

/// Bytes that were shown to a plugin, and what it said. [`Plugin::feed`] and [`Plugin::feed_segments`] make one.
///
/// Every expectation returns the same value, so that they chain, and panics with the bytes, the configuration and the
/// answer at each length if it does not hold.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::Plugin;
///
/// # let wasm = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// let plugin = Plugin::wasm(wasm).load()?;
/// plugin.feed(b"POST\x01\x02ab").expect_match().decided_at(8).fact("to", "ab").fuel_below(1_000);
/// plugin.feed(b"PUT").expect_reject().decided_at(2).no_facts();
/// plugin.feed(b"POST").expect_need_more(6).then(b"\x01\x01a").expect_match().decided_at(7);
/// plugin.feed(b"POST").expect_undecided().then_half_close().expect_reject();
/// plugin.feed_segments(&[b"PO", b"ST\x01", b"\x01a"]).expect_match();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "say what you expect"]
#[derive(Debug)]
pub struct Fed<'p> {
    plugin: &'p Plugin,
    bytes: Vec<u8>,
    /// Set by `then_half_close` and its like: the flags of a last call with all the bytes.
    flags: Flags,
    trace: Trace,
    /// The answer the expectations are about.
    answer: Judgement,
    decided_at: Option<usize>,
}

impl Plugin {
    /// Shows the bytes in every way they can be cut: each prefix once, in rising length.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST\x01\x02ab").expect_match().decided_at(8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn feed(&self, bytes: impl AsRef<[u8]>) -> Fed<'_> {
        let bytes = bytes.as_ref();
        Fed::new(self, bytes.to_vec(), Trace::of_every_prefix(self, bytes))
    }

    /// Shows the bytes as the host does when they arrive in these segments, so that a need-more hint saves calls.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed_segments(&[b"PO", b"ST\x01\x02", b"ab"]).expect_match();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn feed_segments(&self, segments: &[&[u8]]) -> Fed<'_> {
        let mut ends = Vec::with_capacity(segments.len());
        let mut len = 0;
        for segment in segments {
            len += segment.len();
            ends.push(len);
        }
        let bytes = segments.concat();
        let trace = Trace::in_segments(self, &bytes, &ends);
        Fed::new(self, bytes, trace)
    }
}

impl<'p> Fed<'p> {
    fn new(plugin: &'p Plugin, bytes: Vec<u8>, trace: Trace) -> Fed<'p> {
        let answer = trace.conclusion().cloned().unwrap_or_else(|| plugin.classify(&bytes, Flags::NONE));
        let decided_at = trace.decided_at();
        Fed { plugin, bytes, flags: Flags::NONE, trace, answer, decided_at }
    }

    /// Expects a match.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST\x01\x02ab").expect_match();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn expect_match(self) -> Self {
        self.expect(Verdict::Match)
    }

    /// Expects a reject.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"GET / HTTP/1.1\r\n").expect_reject();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn expect_reject(self) -> Self {
        self.expect(Verdict::Reject)
    }

    /// Expects that all the bytes leave it open, whatever the hint.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST").expect_undecided();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn expect_undecided(self) -> Self {
        if !matches!(self.answer.verdict(), Some(Verdict::NeedMore(_))) {
            self.fail("need-more", &self.answer.to_string());
        }
        self
    }

    /// Expects need-more with this hint: the number of bytes in all before which the answer cannot change.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST").expect_need_more(6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn expect_need_more(self, total: usize) -> Self {
        self.expect(Verdict::NeedMore(total))
    }

    /// Expects that the verdict was first known with this many bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"PUT").expect_reject().decided_at(2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn decided_at(self, len: usize) -> Self {
        if self.decided_at != Some(len) {
            let got = self.decided_at.map_or("never decided".to_owned(), |at| format!("decided at byte {at}"));
            self.fail(&format!("decided at byte {len}"), &got);
        }
        self
    }

    /// Expects that with this many bytes the answer was need-more with the hint `total`.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST\x01\x02ab").need_more_at(4, 6).need_more_at(6, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn need_more_at(self, len: usize, total: usize) -> Self {
        let judgement = match (self.trace.at_len(len), self.bytes.get(..len)) {
            (Some(judgement), _) => judgement.clone(),
            (None, Some(shown)) => self.plugin.classify(shown, Flags::NONE),
            (None, None) => self.fail(&format!("an answer at {len} bytes"), "fewer bytes were fed"),
        };
        if judgement.verdict() != Some(Verdict::NeedMore(total)) {
            self.fail(&format!("need-more({total}) at {len} bytes"), &judgement.to_string());
        }
        self
    }

    /// Expects a fact that occurs once, with this value. Values are as the host prints them: see
    /// [`Fact`](super::Fact).
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST\x01\x02ab").expect_match().fact("to", "ab");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn fact(self, name: &str, value: &str) -> Self {
        self.facts(name, &[value])
    }

    /// Expects a fact with exactly these values in this order.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST\x01\x02ab").expect_match().facts("to", &["ab"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn facts(self, name: &str, values: &[&str]) -> Self {
        let facts = self.answer.facts().iter().filter(|fact| fact.name == name);
        if !facts.map(|fact| fact.value.as_str()).eq(values.iter().copied()) {
            self.fail(&format!("the fact {name} = {values:?}"), &self.answer.to_string());
        }
        self
    }

    /// Expects that a fact was not learnt.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST\x01\x02ab").expect_match().no_fact("from");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn no_fact(self, name: &str) -> Self {
        self.facts(name, &[])
    }

    /// Expects that nothing was learnt.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"GET").expect_reject().no_facts();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn no_facts(self) -> Self {
        if !self.answer.facts().is_empty() {
            self.fail("no facts", &self.answer.to_string());
        }
        self
    }

    /// Expects every call to have used less than this much fuel. Native code is not measured and always passes.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST\x01\x02ab").expect_match().fuel_below(1_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn fuel_below(self, limit: u64) -> Self {
        let most = self.trace.most_fuel().max(self.answer.fuel);
        if let Some(most) = most.filter(|most| *most >= limit) {
            self.fail(&format!("less than {limit} fuel in every call"), &format!("{most} fuel in one call"));
        }
        self
    }

    /// Expects that the call failed: a trap, too much fuel, a broken contract. The message contains `words`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use portsplit_plugin_sdk::harness::Plugin;
    /// # let module = r#"(module (memory (export "memory") 1) (func (export "portsplit_abi_1"))
    /// #     (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 16))
    /// #     (func (export "portsplit_classify") (param i32 i32) (result i64) unreachable))"#;
    /// let traps = Plugin::wasm(wat::parse_str(module)?).load()?;
    /// traps.feed(b"x").expect_fault("unreachable");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn expect_fault(self, words: &str) -> Self {
        if !self.answer.fault().is_some_and(|fault| fault.message.contains(words)) {
            self.fail(&format!("a failed call that says {words:?}"), &self.answer.to_string());
        }
        self
    }

    /// Adds bytes that arrive later.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST").expect_undecided().then(b"\x01\x01a").expect_match();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn then(self, bytes: impl AsRef<[u8]>) -> Fed<'p> {
        let all = [&self.bytes, bytes.as_ref()].concat();
        self.plugin.feed(all)
    }

    /// The client finishes sending: the expectations that follow are about the call that tells the plugin.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST").expect_undecided().then_half_close().expect_reject();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn then_half_close(self) -> Fed<'p> {
        self.last_call(Flags::HALF_CLOSED)
    }

    /// No more bytes will be shown: the expectations that follow are about the call that tells the plugin.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST").expect_undecided().then_buffer_full().expect_reject();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn then_buffer_full(self) -> Fed<'p> {
        self.last_call(Flags::BUFFER_FULL)
    }

    /// The time to decide is up: the expectations that follow are about the call that tells the plugin.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// plugin.feed(b"POST").expect_undecided().then_time_up().expect_reject();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn then_time_up(self) -> Fed<'p> {
        self.last_call(Flags::TIME_UP)
    }

    /// What the plugin said, to look at in other ways.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// assert!(plugin.feed(b"POST\x01\x02ab").answer().is_final());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn answer(&self) -> &Judgement {
        &self.answer
    }

    /// What the plugin said at each length.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// assert_eq!(plugin.feed(b"POST\x01\x02ab").trace().decided_at(), Some(8));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    fn last_call(mut self, flags: Flags) -> Fed<'p> {
        self.flags = self.flags | flags;
        // A verdict that is known already is final, and the host makes no further call.
        if self.decided_at.is_none() {
            self.answer = self.plugin.classify(&self.bytes, self.flags);
            self.decided_at = self.answer.is_final().then_some(self.bytes.len());
        }
        self
    }

    #[track_caller]
    fn expect(self, verdict: Verdict) -> Self {
        if self.answer.verdict() != Some(verdict) {
            self.fail(&verdict_text(verdict), &self.answer.to_string());
        }
        self
    }

    #[track_caller]
    fn fail(&self, expected: &str, got: &str) -> ! {
        let last = match self.flags {
            Flags::NONE => "",
            Flags::HALF_CLOSED => " and a half-close",
            Flags::BUFFER_FULL => " and a full buffer",
            Flags::TIME_UP => " and the time up",
            _ => " and several flags",
        };
        let config = &self.plugin.options().config;
        let config = if config.is_null() { String::new() } else { format!(", configured with {config}") };
        panic!(
            "plugin `{}`{config}, after {} bytes{last}:\nexpected {expected}\n     got {got}\n\n{}\n{}",
            self.plugin.name(),
            self.bytes.len(),
            hexdump(&self.bytes),
            answers(&self.trace, &self.answer, self.flags),
        );
    }
}

/// The answers at each length, equal neighbours as one line.
fn answers(trace: &Trace, last: &Judgement, flags: Flags) -> String {
    let mut lines: Vec<(usize, usize, String)> = Vec::new();
    for (len, judgement) in trace.steps() {
        let text = judgement.to_string();
        match lines.last_mut() {
            Some((_, to, same)) if *same == text => *to = len,
            _ => lines.push((len, len, text)),
        }
    }
    let mut out = "bytes    answer\n".to_owned();
    for (from, to, text) in lines {
        let lens = if from == to { from.to_string() } else { format!("{from}-{to}") };
        out.push_str(&format!("{lens:<8} {text}\n"));
    }
    if flags != Flags::NONE {
        out.push_str(&format!("last     {last}\n"));
    }
    out
}

#[cfg(test)]
mod tests;
