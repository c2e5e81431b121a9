//! Shows bytes to a plugin the way the server does, call by call.

use portsplit_runtime::{CallError, CallStats, Fact, Flags, Outcome, Plugin, Verdict};

/// One call.
#[derive(Debug)]
pub(super) struct Step {
    /// How many bytes were shown.
    pub(super) bytes: usize,
    pub(super) flags: Flags,
    pub(super) result: Result<Outcome, CallError>,
    pub(super) stats: CallStats,
}

impl Step {
    /// The verdict; under flags need-more counts as reject. `None` if the call failed.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.result.as_ref().ok().map(|outcome| outcome.verdict.settled(self.flags))
    }

    pub(super) fn facts(&self) -> &[Fact] {
        self.result.as_ref().map(|outcome| outcome.facts.as_slice()).unwrap_or_default()
    }

    /// Whether nothing more is asked after this call.
    fn is_last(&self) -> bool {
        !matches!(self.verdict(), Some(Verdict::NeedMore(_)))
    }
}

/// Shows the bytes in pieces that end at `ends`, which rise.
///
/// Calls that a need-more hint rules out are left out, and there are none after a verdict or a failure. If there is no
/// verdict in the end and `last` says why no byte will follow, all bytes are shown once more with that.
pub(super) fn feed(plugin: &Plugin, flight: &[u8], ends: impl IntoIterator<Item = usize>, last: Flags) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut wanted = 0;
    for end in ends {
        let Some(shown) = flight.get(..end).filter(|shown| shown.len() >= wanted) else { continue };
        let step = call(plugin, shown, Flags::NONE);
        if let Some(Verdict::NeedMore(total)) = step.verdict() {
            wanted = total;
        }
        let is_last = step.is_last();
        steps.push(step);
        if is_last {
            return steps;
        }
    }
    if last.is_last() {
        steps.push(call(plugin, flight, last));
    }
    steps
}

fn call(plugin: &Plugin, shown: &[u8], flags: Flags) -> Step {
    let (result, stats) = plugin.classify_measured(shown, flags);
    Step { bytes: shown.len(), flags, result, stats }
}
