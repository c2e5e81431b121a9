//! What was aimed at, and whether a run got there: shown, never judged.

use std::fmt::Write;

use crate::peer::Kind;
use crate::stats::{Summary, ratio, summary};
use crate::suite::{Row, Run, Section, title};

/// A figure of portsplit that was aimed at.
struct Goal {
    what: &'static str,
    section: &'static str,
    /// Beginning of the metric's name.
    metric: &'static str,
    /// Beginning of the name of portsplit's variant.
    variant: &'static str,
    to: To,
    bound: Bound,
}

/// What a figure is divided by.
#[derive(Clone, Copy)]
enum To {
    Nothing,
    /// The same figure of another proxy.
    Peer(Kind),
    /// The same figure of portsplit in the variant that begins so.
    Variant(&'static str),
}

#[derive(Clone, Copy)]
enum Bound {
    Most(f64),
    Least(f64),
}

const fn goal(what: &'static str, section: &'static str, metric: &'static str, to: To, bound: Bound) -> Goal {
    Goal { what, section, metric, variant: "", to, bound }
}

const fn of_variant(variant: &'static str, goal: Goal) -> Goal {
    Goal { variant, ..goal }
}

use Bound::{Least, Most};
use To::{Nothing, Peer, Variant};

#[rustfmt::skip]
const GOALS: &[Goal] = &[
    goal("CPU of a short connection", title::SHORT, "CPU", Peer(Kind::Haproxy), Most(0.80)),
    goal("CPU of a short connection", title::SHORT, "CPU", Peer(Kind::SslhSelect), Most(0.95)),
    goal("new connections a second", title::SHORT, "connections/s", Peer(Kind::Haproxy), Least(1.1)),
    goal("new connections a second", title::SHORT, "connections/s", Peer(Kind::SslhSelect), Least(1.1)),
    goal("CPU of a round trip", title::ROUND_TRIP, "CPU", Peer(Kind::Haproxy), Most(0.80)),
    goal("CPU of a round trip", title::ROUND_TRIP, "CPU", Peer(Kind::SslhEv), Most(1.0)),
    goal("p99 of a round trip", title::ROUND_TRIP, "p99", Peer(Kind::Haproxy), Most(1.0)),
    goal("CPU of a GiB from the backend", title::PULL, "CPU", Peer(Kind::Haproxy), Most(0.95)),
    goal("GiB a second from the backend", title::PULL, "GiB/s", Peer(Kind::Haproxy), Least(1.0)),
    goal("CPU of a GiB to the backend", title::PUSH, "CPU", Peer(Kind::Haproxy), Most(0.95)),
    goal("GiB a second to the backend", title::PUSH, "GiB/s", Peer(Kind::Haproxy), Least(1.0)),
    goal("KiB for an idle connection", title::IDLE, "memory", Nothing, Most(1.5)),
    goal("CPU while idle, ms a second", title::IDLE, "CPU", Nothing, Most(0.0)),
    of_variant("500 services", goal("start-up with 500 services, ms", title::START, "start-up", Nothing, Most(100.0))),
    of_variant("all", goal("start-up with all plugins, ms", title::START, "start-up", Nothing, Most(300.0))),
    of_variant("3 services", goal("memory at rest, MiB", title::START, "memory", Nothing, Most(25.0))),
    of_variant("all", goal("memory at rest with all plugins, MiB", title::START, "memory", Nothing, Most(25.0))),
    of_variant("10 plugins", goal("CPU of a short connection, 10 plugins", title::PLUGINS, "CPU", Variant("prefixes"), Most(1.6))),
    of_variant("500 services", goal("CPU with 500 services", title::SERVICES, "CPU", Variant("1 service"), Most(1.05))),
    of_variant("9000 open", goal("CPU with 9,000 open connections", title::CONNECTIONS, "CPU", Variant("10 open"), Most(1.05))),
];

impl Goal {
    /// Returns the figure, unless something is missing for it or one of the two had errors.
    fn measured(&self, section: &Section) -> Option<Summary> {
        let metric = section.metrics.iter().position(|metric| metric.name.starts_with(self.metric))?;
        let samples = |kind: Kind, variant: &str| {
            let is_it = |row: &&Row| row.kind == kind && row.variant.starts_with(variant);
            section.rows.iter().find(is_it).filter(|row| row.errors == 0)?.samples.get(metric)
        };
        let own = samples(Kind::Portsplit, self.variant)?;
        match self.to {
            Nothing => summary(own),
            Peer(kind) => ratio(own, samples(kind, self.variant)?),
            Variant(variant) => ratio(own, samples(Kind::Portsplit, variant)?),
        }
    }

    fn divisor(&self) -> &'static str {
        match self.to {
            Nothing => "",
            Peer(kind) => kind.name(),
            Variant(variant) => variant,
        }
    }
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        // As exact as it is shown.
        let value = (value * 100.0).round() / 100.0;
        match self {
            Most(most) => value <= most,
            Least(least) => value >= least,
        }
    }

    fn text(self) -> String {
        match self {
            Most(most) => format!("at most {most}"),
            Least(least) => format!("at least {least}"),
        }
    }
}

/// Returns the goals that a run has measured as a table in Markdown.
pub(crate) fn markdown(run: &Run) -> String {
    let mut text =
        String::from("\n### Goals\n\n| of portsplit | divided by | goal | measured | |\n|---|---|---:|---:|---|\n");
    for goal in GOALS {
        let Some(section) = run.sections.iter().find(|section| section.title == goal.section) else { continue };
        let (measured, verdict) = match goal.measured(section) {
            None => ("–".to_owned(), "not comparable"),
            Some(Summary { median, least, most }) => {
                let verdict = if goal.bound.holds(median) { "met" } else { "**missed**" };
                (format!("{median:.2} ({least:.2}–{most:.2})"), verdict)
            }
        };
        let _ =
            writeln!(text, "| {} | {} | {} | {measured} | {verdict} |", goal.what, goal.divisor(), goal.bound.text());
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::suite::Metric;

    fn run(own: f64, other: Option<f64>, errors: u64) -> Run {
        const METRICS: &[Metric] =
            &[Metric { name: "CPU, µs a connection", digits: 1, compared: true, plotted: true }];
        let row = |kind, sample| Row { kind, variant: String::new(), samples: vec![vec![sample]], bytes: 1, errors };
        let rows = vec![row(Kind::Haproxy, other), row(Kind::Portsplit, Some(own))];
        let section = Section { title: title::SHORT, text: "", metrics: METRICS, rows, notes: Vec::new() };
        Run { sections: vec![section], facts: Vec::new(), rounds: 1, time: Duration::ZERO, short: false }
    }

    #[test]
    fn a_goal_is_met_missed_or_not_comparable() {
        let line = |run: &Run| {
            let text = markdown(run);
            text.lines().find(|line| line.contains("| haproxy |")).unwrap_or_default().to_owned()
        };
        assert!(line(&run(8.0, Some(10.0), 0)).ends_with("| 0.80 (0.80–0.80) | met |"));
        assert!(line(&run(9.0, Some(10.0), 0)).ends_with("| 0.90 (0.90–0.90) | **missed** |"));
        assert!(line(&run(8.0, None, 0)).ends_with("| – | not comparable |"));
        assert!(line(&run(8.0, Some(10.0), 1)).ends_with("| – | not comparable |"));
    }

    #[test]
    fn loads_that_were_not_run_have_no_goals() {
        assert!(!markdown(&run(1.0, None, 0)).contains("GiB"));
    }
}
