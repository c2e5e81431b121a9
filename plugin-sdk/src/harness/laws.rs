//! The laws every plugin must keep, each a named check with a smallest counter-example.
//!
//! [`Laws`] says which laws to check, over which inputs and how many random ones; [`Report`] says what came out. What
//! each law means stands at [`Law`]; how one input is judged is in `judge`, how inputs are made in `explore`.

mod config;
pub(crate) mod judge;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use portsplit_runtime::Flags;
use serde_json::Value;

use self::judge::{Look, judge};
pub use self::report::{LawReport, Report, Violation};
use super::cases::Cases;
use super::explore::{Explorer, Found, Random, shrink};
use super::plugin::Plugin;
use crate::Verdict;

/// A law.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::Law;
/// assert_eq!(Law::ALL.len(), 10);
/// assert_eq!("sound-hint".parse(), Ok(Law::SoundHint));
/// println!("{}: {}", Law::SoundHint, Law::SoundHint.statement());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// Every call gives a verdict, whatever the bytes: no trap, no abort, no unknown result.
    Total,
    /// The same configuration, bytes and flags give the same answer, also in an instance that was called before.
    Pure,
    /// The facts of a match are the same however the bytes were cut.
    Segmentation,
    /// A verdict is final: with more bytes it is the same.
    Monotone,
    /// With fewer bytes than a need-more hint asks for, the answer is need-more; the hint asks for more than there is,
    /// and for no more than `max_bytes`.
    SoundHint,
    /// The last call (half-closed, buffer full, time up) is not answered by need-more, and a verdict that was known
    /// before it stays.
    Final,
    /// Every call stays within its fuel, and fuel does not grow faster than the bytes.
    Bounded,
    /// No byte is undecided; 64 zeros, 64 bytes of ff and random bytes never match.
    Modest,
    /// Facts are declared in the manifest, well-formed and within the host's limits.
    Facts,
    /// The default configuration is accepted; an unknown key, and what the manifest's schema does not allow, is refused
    /// with a reason.
    Config,
}

impl Law {
    /// Every law.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::harness::Law;
    /// assert!(Law::ALL.contains(&Law::Final));
    /// ```
    pub const ALL: [Law; 10] = [
        Law::Total,
        Law::Pure,
        Law::Segmentation,
        Law::Monotone,
        Law::SoundHint,
        Law::Final,
        Law::Bounded,
        Law::Modest,
        Law::Facts,
        Law::Config,
    ];

    /// The name, such as `sound-hint`.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::harness::Law;
    /// assert_eq!(Law::SoundHint.name(), "sound-hint");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Law::Total => "total",
            Law::Pure => "pure",
            Law::Segmentation => "segmentation",
            Law::Monotone => "monotone",
            Law::SoundHint => "sound-hint",
            Law::Final => "final",
            Law::Bounded => "bounded",
            Law::Modest => "modest",
            Law::Facts => "facts",
            Law::Config => "config",
        }
    }

    /// The law in a sentence.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::harness::Law;
    /// assert_eq!(Law::Monotone.statement(), "a verdict stays the same with more bytes");
    /// ```
    pub fn statement(self) -> &'static str {
        match self {
            Law::Total => "every call gives a verdict, whatever the bytes",
            Law::Pure => "the same configuration, bytes and flags give the same answer",
            Law::Segmentation => "the facts of a match are the same however the bytes were cut",
            Law::Monotone => "a verdict stays the same with more bytes",
            Law::SoundHint => "the answer does not change before there are as many bytes as need-more asks for",
            Law::Final => "the last call is not answered by need-more",
            Law::Bounded => "every call stays within its fuel, which does not grow faster than the bytes",
            Law::Modest => "no bytes are undecided; zeros, ff and random bytes never match",
            Law::Facts => "facts are declared, well-formed and within limits",
            Law::Config => "the default configuration is accepted, wrong ones are refused with a reason",
        }
    }
}

impl std::fmt::Display for Law {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Law {
    type Err = String;

    fn from_str(name: &str) -> Result<Law, String> {
        Law::ALL.into_iter().find(|law| law.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Law::ALL.iter().map(|law| law.name()).collect();
            format!("there is no law `{name}`; the laws are {}", names.join(", "))
        })
    }
}

/// Which laws to check, and on what.
///
/// # Examples
///
/// ```
/// use portsplit_plugin_sdk::harness::{Law, Laws, Plugin};
///
/// # let wasm = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
/// let plugin = Plugin::wasm(wasm).load()?;
/// Laws::all().random(2_000).check(&plugin).assert_kept();
///
/// # let wasm = wat::parse_str(include_str!("../../../tests/bad-plugins/sound-hint.wat"))?;
/// let liar = Plugin::wasm(wasm).load()?;
/// let report = Laws::all().random(2_000).check(&liar);
/// let violation = report.violation(Law::SoundHint).expect("it lies");
/// println!("{violation}"); // what, in hex, and as a block for cases.toml
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Laws {
    laws: BTreeSet<Law>,
    waived: BTreeMap<Law, String>,
    samples: Vec<(Value, Vec<u8>)>,
    random: u64,
    time: Option<Duration>,
    stop_at_first: bool,
    seed: u64,
}

impl Laws {
    /// Every law, on the manifest's examples and 10,000 inputs made of them.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// Laws::all().random(1_000).check(&plugin).assert_kept();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn all() -> Laws {
        Laws::only(Law::ALL)
    }

    /// These laws.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::{Law, Laws};
    /// Laws::only([Law::Total, Law::Bounded]).random(1_000).check(&plugin).assert_kept();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn only(laws: impl IntoIterator<Item = Law>) -> Laws {
        Laws {
            laws: laws.into_iter().collect(),
            waived: BTreeMap::new(),
            samples: Vec::new(),
            random: 10_000,
            time: None,
            stop_at_first: false,
            seed: 1,
        }
    }

    /// Leaves a law out; the report shows the reason.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::{Law, Laws};
    /// let report = Laws::all().waive(Law::Modest, "its opening is one byte").random(100).check(&plugin);
    /// assert!(report.to_string().contains("waived: its opening is one byte"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn waive(mut self, law: Law, reason: impl Into<String>) -> Laws {
        self.laws.remove(&law);
        self.waived.insert(law, reason.into());
        self
    }

    /// Adds the inputs of cases, with their configurations.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// let cases = portsplit_plugin_sdk::harness::Cases::of_manifest(plugin.manifest().expect("it has one"));
    /// Laws::all().over(&cases).random(100).check(&plugin).assert_kept();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn over(mut self, cases: &Cases) -> Laws {
        let sample = |case: &super::Case| (case.config.clone().unwrap_or(Value::Null), case.bytes.clone());
        self.samples.extend(cases.list.iter().map(sample));
        self
    }

    /// Adds an input.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// Laws::all().sample(b"POST\x01\x02ab").random(100).check(&plugin).assert_kept();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sample(mut self, bytes: impl Into<Vec<u8>>) -> Laws {
        self.samples.push((Value::Null, bytes.into()));
        self
    }

    /// How many inputs to make besides those given.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// Laws::all().random(2_000).check(&plugin).assert_kept();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn random(mut self, inputs: u64) -> Laws {
        self.random = inputs;
        self
    }

    /// Makes inputs for this long instead of a number of them.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// use std::time::Duration;
    /// Laws::all().for_time(Duration::from_millis(50)).check(&plugin).assert_kept();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_time(mut self, time: Duration) -> Laws {
        self.time = Some(time);
        self
    }

    /// Stops at the first law that is broken.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// assert!(Laws::all().random(100).stop_at_first().check(&plugin).kept());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stop_at_first(mut self) -> Laws {
        self.stop_at_first = true;
        self
    }

    /// The seed of all that is random: the same seed makes the same inputs. 1 unless set.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// assert_eq!(Laws::all().random(100).seed(7).check(&plugin).seed, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Laws {
        self.seed = seed;
        self
    }

    /// Checks the laws.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// assert!(Laws::all().random(100).check(&plugin).inputs >= 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check(&self, plugin: &Plugin) -> Report {
        self.check_with(plugin, |_, _| {})
    }

    /// Checks the laws, and calls `progress` now and then with the inputs made and the corpus's size.
    ///
    /// # Examples
    ///
    /// ```
    /// # let good = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// # let plugin = portsplit_plugin_sdk::harness::Plugin::wasm(good).load()?;
    /// use portsplit_plugin_sdk::harness::Laws;
    /// let report = Laws::all().random(5_000).check_with(&plugin, |inputs, corpus| println!("{inputs} {corpus}"));
    /// report.assert_kept();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_with(&self, plugin: &Plugin, mut progress: impl FnMut(u64, usize)) -> Report {
        let start = Instant::now();
        let mut report = Report::new(self.seed, plugin, &self.laws, &self.waived);
        if self.laws.contains(&Law::Config)
            && let Some((config, message)) = config::check(plugin)
        {
            report.note(Violation::new(Law::Config, message, Vec::new(), config));
        }
        let mut samples = self.samples.clone();
        let examples = plugin.manifest().map(Cases::of_manifest).unwrap_or_default();
        samples.extend(examples.list.into_iter().map(|case| (case.config.unwrap_or(Value::Null), case.bytes)));
        let mut configs = vec![plugin.options().config.clone()];
        for (config, _) in &samples {
            if !configs.contains(config) {
                configs.push(config.clone());
            }
        }
        let bytes: Vec<Vec<u8>> = samples.into_iter().map(|(_, bytes)| bytes).collect();
        let share = Share { inputs: self.random / configs.len() as u64, until: None };
        for (i, config) in configs.iter().enumerate() {
            if self.stop_at_first && report.violations().next().is_some() {
                break;
            }
            // A case may have a configuration that is refused; the case itself says so.
            let other = (i > 0).then(|| plugin.with_config(config));
            let Ok(plugin) = other.as_ref().map_or(Ok(plugin), Result::as_ref) else { continue };
            let until = self.time.map(|time| start + time.mul_f64((i + 1) as f64 / configs.len() as f64));
            self.explore(plugin, &bytes, &mut report, Share { until, ..share }, &mut progress);
        }
        report.elapsed = start.elapsed();
        report
    }

    fn explore(
        &self,
        plugin: &Plugin,
        samples: &[Vec<u8>],
        report: &mut Report,
        share: Share,
        progress: &mut impl FnMut(u64, usize),
    ) {
        let laws: BTreeSet<Law> = self.laws.iter().copied().filter(|law| report.violation(*law).is_none()).collect();
        if laws.contains(&Law::Modest)
            && let Some((bytes, message)) = immodest(plugin, self.seed)
        {
            let bytes = shrink(&bytes, |bytes| !bytes.is_empty() && claims(plugin, bytes));
            report.note(Violation::new(Law::Modest, message, bytes, plugin.options().config.clone()));
        }
        let mut explorer = Explorer::new(plugin, laws, self.seed, samples);
        let before = report.inputs;
        let stop = |report: &Report| self.stop_at_first && report.violations().next().is_some();
        for sample in samples {
            if let Some(found) = explorer.judge_whole(sample) {
                take(plugin, &mut explorer, report, found);
            }
        }
        let mut made = 0;
        while !stop(report) && share.goes_on(made) {
            if let Some(found) = explorer.step() {
                report.inputs = before + explorer.inputs;
                take(plugin, &mut explorer, report, found);
            }
            made += 1;
            if made % 1_024 == 0 {
                progress(before + explorer.inputs, explorer.corpus_len());
            }
        }
        report.inputs = before + explorer.inputs;
        report.corpus += explorer.corpus_len();
    }
}

/// How long to go on with one configuration.
#[derive(Clone, Copy)]
struct Share {
    inputs: u64,
    until: Option<Instant>,
}

impl Share {
    fn goes_on(&self, made: u64) -> bool {
        self.until.map_or(made < self.inputs, |until| Instant::now() < until)
    }
}

/// Shrinks what was found and reports it.
fn take(plugin: &Plugin, explorer: &mut Explorer<'_>, report: &mut Report, found: Found) {
    for broken in found.broken {
        if report.violation(broken.law).is_some() {
            continue;
        }
        let only = BTreeSet::from([broken.law]);
        let look = |bytes: &[u8]| if bytes.len() <= 128 { Look::Whole } else { Look::Quick };
        let again = |bytes: &[u8]| judge(plugin, &only, bytes, &found.other, look(bytes)).into_iter().next();
        let bytes = shrink(&found.bytes, |bytes| again(bytes).is_some());
        let message = again(&bytes).map_or(broken.message, |broken| broken.message);
        explorer.drop_law(broken.law);
        let violation = Violation::new(broken.law, message, bytes, plugin.options().config.clone());
        report.note(violation.with_first_answer(plugin));
    }
}

/// Random inputs that must not match.
const RANDOM_INPUTS: usize = 256;

fn claims(plugin: &Plugin, bytes: &[u8]) -> bool {
    plugin.classify(bytes, Flags::NONE).verdict() == Some(Verdict::Match)
}

fn immodest(plugin: &Plugin, seed: u64) -> Option<(Vec<u8>, String)> {
    let empty = plugin.classify(b"", Flags::NONE);
    if empty.is_final() {
        return Some((Vec::new(), format!("before the first byte it says {empty}")));
    }
    let mut random = Random::new(seed);
    let fixed = [vec![0; 64], vec![0xff; 64]].into_iter();
    let noise = std::iter::repeat_with(|| (0..64).map(|_| random.byte()).collect::<Vec<u8>>()).take(RANDOM_INPUTS);
    for bytes in fixed.chain(noise) {
        let lens = [64, 1, 2, 4, 8, 16, 32];
        if let Some(len) = lens.into_iter().find(|len| bytes.get(..*len).is_some_and(|shown| claims(plugin, shown))) {
            let bytes = bytes.get(..len).unwrap_or_default().to_vec();
            return Some((bytes, "bytes of no protocol are claimed as a match".to_owned()));
        }
    }
    None
}
