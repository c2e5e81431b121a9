//! Compares two builds of one plugin, such as native code and wasm: they must answer every input alike.

use std::fmt;

use portsplit_runtime::Flags;
use serde_json::Value;

use super::cases::Cases;
use super::explore::{Explorer, shrink};
use super::judgement::Judgement;
use super::plugin::Plugin;
use super::text::{bytes_as_toml, hexdump};

/// Where two builds of a plugin differ.
///
/// # Examples
///
/// ```
/// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
/// use portsplit_plugin_sdk::harness::{Cases, Plugin, differential};
/// # let other = wat::parse_str(include_str!("../../../tests/bad-plugins/monotone.wat"))?;
/// let other = Plugin::wasm(other).load()?;
/// let difference = differential(&plugin, &other, &Cases::default(), 20_000).expect("they differ");
/// assert_ne!(difference.first, difference.second);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Difference {
    /// The smallest input found; empty if they differ in taking a configuration.
    pub bytes: Vec<u8>,
    /// The flags of the call.
    pub flags: Flags,
    /// The configuration.
    pub config: Value,
    /// What the first one says.
    pub first: String,
    /// What the second one says.
    pub second: String,
}

/// Shows both plugins the same inputs: the cases' and the manifests' at every prefix and with every flag, and `random`
/// further ones made of them. `None` if they never differ in verdict, hint or facts.
///
/// Each case's configuration is given to both.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::{Cases, Plugin, differential};
///
/// # let wasm = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// # let other = wat::parse_str(include_str!("../../../tests/bad-plugins/monotone.wat"))?;
/// let one = Plugin::wasm(wasm).load()?;
/// assert!(differential(&one, &one, &Cases::default(), 1_000).is_none());
///
/// let other = Plugin::wasm(other).load()?;
/// let difference = differential(&one, &other, &Cases::default(), 20_000).expect("they differ");
/// println!("{difference}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn differential(first: &Plugin, second: &Plugin, cases: &Cases, random: u64) -> Option<Difference> {
    let examples = first.manifest().map(Cases::of_manifest).unwrap_or_default();
    let all = cases.clone().and(examples);
    let mut configs = vec![first.options().config.clone()];
    for case in &all.list {
        let config = case.config.clone().unwrap_or(Value::Null);
        if !configs.contains(&config) {
            configs.push(config);
        }
    }
    let samples: Vec<Vec<u8>> = all.list.into_iter().map(|case| case.bytes).collect();
    let share = random / configs.len() as u64;
    configs.iter().find_map(|config| match (first.with_config(config), second.with_config(config)) {
        (Ok(first), Ok(second)) => differ(&first, &second, &samples, share),
        (Err(_), Err(_)) => None,
        (one, other) => Some(Difference {
            bytes: Vec::new(),
            flags: Flags::NONE,
            config: config.clone(),
            first: loaded(one.map(|_| ())),
            second: loaded(other.map(|_| ())),
        }),
    })
}

fn loaded(result: Result<(), super::LoadFailure>) -> String {
    result.map_or_else(|error| error.to_string(), |()| "it is loaded".to_owned())
}

fn differ(first: &Plugin, second: &Plugin, samples: &[Vec<u8>], random: u64) -> Option<Difference> {
    let found = |bytes: &[u8], flags: Flags| {
        // The flags on the whole; its prefixes as they come.
        if !alike(&first.classify(bytes, flags), &second.classify(bytes, flags)) {
            let bytes = shrink(bytes, |bytes| !alike(&first.classify(bytes, flags), &second.classify(bytes, flags)));
            return Some(Difference {
                first: first.classify(&bytes, flags).to_string(),
                second: second.classify(&bytes, flags).to_string(),
                config: first.options().config.clone(),
                flags,
                bytes,
            });
        }
        None
    };
    let last = [Flags::HALF_CLOSED, Flags::BUFFER_FULL, Flags::TIME_UP];
    for sample in samples {
        for len in 0..=sample.len().min(4_096) {
            let shown = sample.get(..len).unwrap_or(sample);
            let flags = std::iter::once(Flags::NONE).chain(last);
            if let Some(difference) = flags.into_iter().find_map(|flags| found(shown, flags)) {
                return Some(difference);
            }
        }
    }
    // Wasm shows its branches by its fuel, so it leads where one of the two is wasm.
    let leader = if first.module().is_some() { first } else { second };
    let mut explorer = Explorer::new(leader, Default::default(), 1, samples);
    (0..random).find_map(|i| {
        let bytes = explorer.input();
        let flags = last.get(i as usize % 8).copied().unwrap_or(Flags::NONE);
        found(&bytes, flags)
    })
}

/// Equal in what the host acts on. A failed call equals any other failed call.
fn alike(one: &Judgement, other: &Judgement) -> bool {
    one.verdict() == other.verdict() && one.facts() == other.facts()
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "two builds differ:\n  first:  {}\n  second: {}", self.first, self.second)?;
        if !self.config.is_null() {
            writeln!(f, "  configured with {}", self.config)?;
        }
        if self.flags != Flags::NONE {
            writeln!(f, "  on a last call (flags {})", self.flags.bits())?;
        }
        write!(f, "{}{}", hexdump(&self.bytes), bytes_as_toml(&self.bytes))
    }
}
