//! Who matches whose cases: every plugin is asked about the cases of all, and only its own may match.
//!
//! An overlap that cannot be helped is data: the case names the other plugin and the reason, and is wrong again once that
//! plugin does not match any more.

use portsplit_runtime::Flags;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cases::{Case, Cases, Expected};
use super::plugin::Plugin;
use super::text::verdict_text;
use crate::Verdict;

/// Who matches whose cases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// A row for each plugin's cases.
    pub rows: Vec<ConfusionRow>,
    /// What is not as it should be.
    pub wrong: Vec<WrongCell>,
    /// Matches by other plugins that cases declare.
    pub overlaps: Vec<Overlap>,
}

/// What all plugins say of the cases of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionRow {
    /// The plugin whose cases these are.
    pub plugin: String,
    /// Its cases that expect a match.
    pub cases: usize,
    /// For each plugin, in the order of the rows, how many of these it matches.
    pub matched: Vec<usize>,
    /// For each plugin, how many of these leave it undecided.
    pub undecided: Vec<usize>,
}

/// A case that a plugin does not judge as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongCell {
    /// The plugin whose case it is.
    pub plugin: String,
    /// The case.
    pub case: String,
    /// The plugin that was asked.
    pub by: String,
    /// What is wrong, in words.
    pub what: String,
}

/// A case that another plugin matches too, as its file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// The plugin whose case it is.
    pub plugin: String,
    /// The case.
    pub case: String,
    /// The other plugin.
    pub by: String,
    /// Why that cannot be helped.
    pub reason: String,
}

impl Confusion {
    /// Asks every plugin about the cases of all that expect a match. Cases with a configuration are shown to their own
    /// plugin with that, and to the others as they were loaded.
    ///
    /// # Examples
    ///
    /// ```
    /// use portsplit_plugin_sdk::harness::{Cases, Confusion, Plugin};
    ///
    /// # let wasm = wat::parse_str(include_str!("../../../tests/bad-plugins/good.wat"))?;
    /// let plugin = Plugin::wasm(wasm).load()?;
    /// let cases = Cases::parse("[[case]]\nname = 'a letter'\ntext = 'POST\\x01\\x02ab'\nexpect = 'match'\n", ".")?;
    /// let confusion = Confusion::of(&[(&plugin, &cases)]);
    /// assert!(confusion.wrong.is_empty());
    /// // A plugin that takes the same letters is confused with it.
    /// assert_eq!(Confusion::of(&[(&plugin, &cases), (&plugin, &Cases::default())]).wrong.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(plugins: &[(&Plugin, &Cases)]) -> Confusion {
        let mut confusion = Confusion::default();
        for (number, (plugin, cases)) in plugins.iter().enumerate() {
            let none = vec![0; plugins.len()];
            let mut row =
                ConfusionRow { plugin: plugin.name().to_owned(), cases: 0, matched: none.clone(), undecided: none };
            for case in cases.list.iter().filter(|case| case.expect == Expected::Match) {
                row.cases += 1;
                for (column, (other, _)) in plugins.iter().enumerate() {
                    let verdict = if column == number { own(case, plugin) } else { ask(case, other) };
                    let matched = row.matched.get_mut(column);
                    let undecided = row.undecided.get_mut(column);
                    if let (Some(matched), Some(undecided)) = (matched, undecided) {
                        *matched += usize::from(verdict == Ok(Verdict::Match));
                        *undecided += usize::from(matches!(verdict, Ok(Verdict::NeedMore(_))));
                    }
                    confusion.judge(plugin, case, (column != number).then_some(*other), &verdict);
                }
            }
            confusion.rows.push(row);
        }
        confusion
    }

    /// Notes what is wrong or declared; `other` is `None` for the case's own plugin.
    fn judge(&mut self, plugin: &Plugin, case: &Case, other: Option<&Plugin>, verdict: &Result<Verdict, String>) {
        let by = other.unwrap_or(plugin).name().to_owned();
        let (plugin, name) = (plugin.name().to_owned(), case.name.clone());
        let said = verdict.as_ref().map_or_else(|reason| format!("no verdict: {reason}"), |said| verdict_text(*said));
        let matched = *verdict == Ok(Verdict::Match);
        let reason = case.overlaps.get(&by).filter(|_| other.is_some());
        let what = match (matched, other, reason) {
            (true, Some(_), Some(reason)) => {
                self.overlaps.push(Overlap { plugin, case: name, by, reason: reason.clone() });
                return;
            }
            (true, None, _) | (false, Some(_), None) if verdict.is_ok() => return,
            (true, ..) => "matches the case of another plugin".to_owned(),
            (false, Some(_), Some(_)) => format!("is declared to match as well and says {said}"),
            (false, ..) => format!("says {said}"),
        };
        self.wrong.push(WrongCell { plugin, case: name, by, what });
    }
}

/// What a case's own plugin says, configured as the case has it.
fn own(case: &Case, plugin: &Plugin) -> Result<Verdict, String> {
    let config = case.config.clone().unwrap_or(Value::Null);
    if config == plugin.options().config {
        return ask(case, plugin);
    }
    ask(case, &plugin.with_config(&config).map_err(|error| error.to_string())?)
}

fn ask(case: &Case, plugin: &Plugin) -> Result<Verdict, String> {
    let told = |flags| plugin.classify(&case.bytes, flags).answer.map(|answer| answer.verdict);
    let verdict = match told(Flags::NONE) {
        Ok(Verdict::NeedMore(_)) if case.half_close => told(Flags::HALF_CLOSED),
        verdict => verdict,
    };
    verdict.map_err(|fault| fault.message)
}

#[cfg(test)]
mod tests;
