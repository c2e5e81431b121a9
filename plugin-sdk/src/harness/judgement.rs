//! What one call of a plugin gave, in one form for native code and for wasm.

use std::fmt;

use portsplit_runtime::{CallError, CallStats, ContractError, Fact, LogLine, Outcome};

use super::text::{printable, verdict_text};
use crate::{Verdict, native};

/// What one call gave and cost.
///
/// # Examples
///
/// ```
/// # use portsplit_plugin_sdk::{Verdict, harness::{Flags, Plugin}};
/// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// let plugin = Plugin::wasm(good).load()?;
/// let judgement = plugin.classify(b"POST", Flags::NONE);
/// assert_eq!(judgement.verdict(), Some(Verdict::NeedMore(6)));
/// assert!(judgement.fuel.is_some_and(|fuel| fuel < 1_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict and facts, or how the call failed.
    pub answer: Result<Answer, Fault>,
    /// Fuel used; `None` for native code, which is not measured.
    pub fuel: Option<u64>,
    /// Linear memory after the call in bytes; 0 for native code.
    pub memory_bytes: usize,
    /// What the plugin logged.
    pub logs: Vec<LogLine>,
}

/// A verdict and what came with it.
///
/// # Examples
///
/// ```
/// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
/// use portsplit_plugin_sdk::harness::Flags;
/// let answer = plugin.classify(b"POST\x01\x02ab", Flags::NONE).answer.expect("it does not fail");
/// assert_eq!(answer.facts.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The verdict; a need-more always asks for more than was shown.
    pub verdict: Verdict,
    /// The facts in the order they were added, values as the host prints them; empty unless the verdict is a match.
    pub facts: Vec<Fact>,
    /// The hint of need-more as the plugin returned it, 0 for "unknown".
    pub argument: u32,
}

/// A call that has no verdict.
///
/// # Examples
///
/// ```
/// # let module = r#"(module (memory (export "memory") 1) (func (export "portsplit_abi_1"))
/// #     (func (export "portsplit_buffer") (param i32) (result i32) (i32.const 16))
/// #     (func (export "portsplit_classify") (param i32 i32) (result i64) unreachable))"#;
/// use portsplit_plugin_sdk::harness::{FaultKind, Flags, Plugin};
/// let traps = Plugin::wasm(wat::parse_str(module)?).load()?;
/// let fault = traps.classify(b"x", Flags::NONE).answer.expect_err("it traps");
/// assert!(fault.message.contains("unreachable") && fault.kind == FaultKind::Broken);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of failure.
    pub kind: FaultKind,
    /// What happened, in a sentence.
    pub message: String,
}

/// Kinds of failure, as far as laws differ by them.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::FaultKind;
/// assert_ne!(FaultKind::Costly, FaultKind::Broken);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A trap, a panic, an abort, or a result that breaks the ABI.
    Broken,
    /// The call used up its fuel or its time.
    Costly,
    /// A fact the host does not take: a bad name, too long, too many, outside memory.
    Fact,
}

impl Judgement {
    /// The verdict, unless the call failed.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Flags;
    /// use portsplit_plugin_sdk::Verdict;
    /// assert_eq!(plugin.classify(b"GET", Flags::NONE).verdict(), Some(Verdict::Reject));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verdict(&self) -> Option<Verdict> {
        self.answer.as_ref().ok().map(|answer| answer.verdict)
    }

    /// The facts; empty unless the call matched.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Flags;
    /// let judgement = plugin.classify(b"POST\x01\x02ab", Flags::NONE);
    /// assert!(judgement.facts().iter().any(|fact| fact.name == "to" && fact.value == "ab"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn facts(&self) -> &[Fact] {
        self.answer.as_ref().map(|answer| answer.facts.as_slice()).unwrap_or_default()
    }

    /// The failure, if the call has one.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Flags;
    /// assert_eq!(plugin.classify(b"GET", Flags::NONE).fault(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fault(&self) -> Option<&Fault> {
        self.answer.as_ref().err()
    }

    /// Whether the verdict is match or reject.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Flags;
    /// assert!(plugin.classify(b"GET", Flags::NONE).is_final());
    /// assert!(!plugin.classify(b"POST", Flags::NONE).is_final());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_final(&self) -> bool {
        matches!(self.verdict(), Some(Verdict::Match | Verdict::Reject))
    }

    pub(crate) fn of_call(result: Result<Outcome, CallError>, stats: CallStats) -> Judgement {
        let answer = match result {
            Ok(outcome) => Ok(Answer {
                verdict: match outcome.verdict {
                    portsplit_runtime::Verdict::Match => Verdict::Match,
                    portsplit_runtime::Verdict::Reject => Verdict::Reject,
                    portsplit_runtime::Verdict::NeedMore(total) => Verdict::NeedMore(total),
                },
                facts: outcome.facts,
                argument: outcome.argument,
            }),
            Err(error) => Err(Fault::of(&error)),
        };
        Judgement { answer, fuel: Some(stats.fuel), memory_bytes: stats.memory_bytes, logs: stats.logs }
    }

    pub(crate) fn of_native(outcome: native::Outcome) -> Judgement {
        let argument = match outcome.verdict {
            Verdict::NeedMore(total) => u32::try_from(total).unwrap_or(0),
            _ => 0,
        };
        let value = |fact: native::Fact| Fact { name: fact.name, value: printable(&fact.value) };
        let facts = outcome.facts.into_iter().map(value).collect();
        let answer = Ok(Answer { verdict: outcome.verdict, facts, argument });
        Judgement { answer, fuel: None, memory_bytes: 0, logs: Vec::new() }
    }

    pub(crate) fn of_panic(message: String) -> Judgement {
        // The words of `Facts::add`, which panics natively where the host would refuse the fact.
        let about_fact = ["is not of the form [a-z]", "the fact `", "is one fact too many"];
        let about_fact = about_fact.iter().any(|words| message.contains(words));
        let kind = if about_fact { FaultKind::Fact } else { FaultKind::Broken };
        let fault = Fault { kind, message: format!("the classifier panicked: {message}") };
        Judgement { answer: Err(fault), fuel: None, memory_bytes: 0, logs: Vec::new() }
    }
}

impl Fault {
    fn of(error: &CallError) -> Fault {
        let kind = match error {
            CallError::OutOfFuel { .. } | CallError::Deadline { .. } => FaultKind::Costly,
            CallError::Contract(
                ContractError::FactName { .. } | ContractError::FactTooLong { .. } | ContractError::TooManyFacts,
            ) => FaultKind::Fact,
            CallError::Contract(ContractError::PointerOutOfBounds { import, .. }) if import.ends_with("fact") => {
                FaultKind::Fact
            }
            _ => FaultKind::Broken,
        };
        Fault { kind, message: error.to_string() }
    }
}

impl fmt::Display for Judgement {
    /// The verdict with its facts, or the failure.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Ok(answer) => {
                f.write_str(&verdict_text(answer.verdict))?;
                for (i, fact) in answer.facts.iter().enumerate() {
                    let before = if i == 0 { " with " } else { ", " };
                    write!(f, "{before}{} = {:?}", fact.name, fact.value)?;
                }
                Ok(())
            }
            Err(fault) => write!(f, "no verdict: {}", fault.message),
        }
    }
}
