//! A plugin's answer at each length of some bytes, and the decision they come to.
//!
//! A connection's bytes can be cut anywhere, but whatever the cuts, a plugin is only ever shown prefixes. So the answers
//! at all prefixes are the answers under every segmentation, byte by byte included.

use portsplit_runtime::Flags;

use super::judgement::Judgement;
use super::plugin::Plugin;
use crate::Verdict;

/// A plugin's answers at rising lengths of the same bytes, without flags.
///
/// # Examples
///
/// ```
/// # use portsplit_plugin_sdk::harness::{Plugin, Trace};
/// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// let plugin = Plugin::wasm(good).load()?;
/// let trace = Trace::of_every_prefix(&plugin, b"POST\x01\x02ab");
/// assert_eq!(trace.decided_at(), Some(8));
/// for (len, judgement) in trace.steps() {
///     println!("{len}: {judgement}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Trace {
    steps: Vec<(usize, Judgement)>,
}

impl Trace {
    /// Shows every prefix, from no byte to all of them. Past the plugin's `max_bytes` nothing changes, so there only the
    /// whole is shown.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// let trace = Trace::of_every_prefix(&plugin, b"POST\x01\x02ab");
    /// assert_eq!(trace.steps().count(), 9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of_every_prefix(plugin: &Plugin, bytes: &[u8]) -> Trace {
        let last = plugin.max_bytes().map_or(bytes.len(), |max| max.min(bytes.len()));
        let lens = (0..=last).chain((last < bytes.len()).then_some(bytes.len()));
        Trace::at(plugin, bytes, lens)
    }

    /// Shows the prefixes of these lengths, which must rise; lengths past the end are left out.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// assert_eq!(Trace::at(&plugin, b"POST\x01\x02ab", [0, 4, 99]).steps().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at(plugin: &Plugin, bytes: &[u8], lens: impl IntoIterator<Item = usize>) -> Trace {
        let call = |len| bytes.get(..len).map(|shown| (len, plugin.classify(shown, Flags::NONE)));
        Trace { steps: lens.into_iter().filter_map(call).collect() }
    }

    /// Shows the bytes as the host does when they arrive in pieces that end at these lengths: calls that a need-more
    /// hint makes useless are left out, and there are none after a final verdict.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// let trace = Trace::in_segments(&plugin, b"POST\x01\x02ab", &[4, 5, 8]);
    /// assert_eq!(trace.steps().map(|(len, _)| len).collect::<Vec<_>>(), [4, 8]); // with 4 bytes it needs 6
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_segments(plugin: &Plugin, bytes: &[u8], ends: &[usize]) -> Trace {
        let mut steps: Vec<(usize, Judgement)> = Vec::new();
        let mut wanted = 0;
        for &len in ends {
            let Some(shown) = bytes.get(..len).filter(|shown| shown.len() >= wanted) else { continue };
            let judgement = plugin.classify(shown, Flags::NONE);
            let verdict = judgement.verdict();
            steps.push((len, judgement));
            match verdict {
                Some(Verdict::NeedMore(total)) => wanted = total,
                _ => break,
            }
        }
        Trace { steps }
    }

    /// The lengths shown and the answers.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// let trace = Trace::of_every_prefix(&plugin, b"POST\x01\x02ab");
    /// assert!(trace.steps().all(|(_, judgement)| judgement.fault().is_none()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = (usize, &Judgement)> {
        self.steps.iter().map(|(len, judgement)| (*len, judgement))
    }

    /// The answer at a length, if it was shown.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// let trace = Trace::of_every_prefix(&plugin, b"POST\x01\x02ab");
    /// assert!(trace.at_len(4).is_some_and(|judgement| !judgement.is_final()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn at_len(&self, len: usize) -> Option<&Judgement> {
        let i = self.steps.binary_search_by_key(&len, |(len, _)| *len).ok()?;
        self.steps.get(i).map(|(_, judgement)| judgement)
    }

    /// The first final verdict and the length at which it was given.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// let trace = Trace::of_every_prefix(&plugin, b"POST\x01\x02ab");
    /// assert!(trace.decision().is_some_and(|(len, judgement)| len == 8 && judgement.is_final()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decision(&self) -> Option<(usize, &Judgement)> {
        self.steps().find(|(_, judgement)| judgement.is_final())
    }

    /// The first length with a final verdict.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// let trace = Trace::of_every_prefix(&plugin, b"POST\x01\x02ab");
    /// assert_eq!(trace.decided_at(), Some(8));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decided_at(&self) -> Option<usize> {
        self.decision().map(|(len, _)| len)
    }

    /// The decision, or the last answer where there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// let trace = Trace::of_every_prefix(&plugin, b"POST");
    /// assert!(trace.conclusion().is_some_and(|judgement| !judgement.is_final()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn conclusion(&self) -> Option<&Judgement> {
        self.decision().or_else(|| self.steps().next_back()).map(|(_, judgement)| judgement)
    }

    /// The fuel of the most expensive call; `None` for native code.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// let trace = Trace::of_every_prefix(&plugin, b"POST\x01\x02ab");
    /// assert!(trace.most_fuel().is_some_and(|fuel| fuel < 1_000));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn most_fuel(&self) -> Option<u64> {
        self.steps.iter().filter_map(|(_, judgement)| judgement.fuel).max()
    }

    /// The fuel of all the calls the host would make if the bytes came one by one; `None` for native code.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Trace;
    /// let trace = Trace::of_every_prefix(&plugin, b"POST\x01\x02ab");
    /// assert!(trace.drip_fuel() > trace.most_fuel());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drip_fuel(&self) -> Option<u64> {
        let mut sum = None;
        let mut wanted = 0;
        for (len, judgement) in self.steps().filter(|(len, _)| *len > 0) {
            if len < wanted {
                continue;
            }
            if let Some(fuel) = judgement.fuel {
                sum = Some(sum.unwrap_or(0) + fuel);
            }
            match judgement.verdict() {
                Some(Verdict::NeedMore(total)) => wanted = total,
                _ => break,
            }
        }
        sum
    }
}
