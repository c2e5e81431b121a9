//! An explanation as text for a person. What a peer sent is always escaped.

use super::account::{Account, Ending, Row, Step};
use super::capture::{Capture, Flow};
use super::{Side, Subject};
use crate::cli::describe::{action, action_of, count, excerpt, name_of, printable, shortened};
use crate::cli::table::Table;
use crate::config::{Config, escape};
use crate::decision::{Decision, End, Outcome, Reason, Verdict};
use crate::matcher::{Fact, Matcher};
use crate::router::Router;

/// Bytes of a first flight that are shown.
const SHOWN_BYTES: usize = 64;

/// Bytes of a pattern or the value of a fact that are shown.
const SHOWN_VALUE_BYTES: usize = 48;

/// Matchers that are named in a row.
const SHOWN_MATCHERS: usize = 3;

/// Shows the accounts of one first flight, one for each side.
pub(super) fn explanation(
    config: &Config,
    sides: &[Side<'_>],
    subject: &Subject,
    flow: Option<(usize, &Flow)>,
    accounts: &[Account],
) -> String {
    let mut text = String::new();
    if let Some((number, flow)) = flow {
        text.push_str(&format!("flow      {number}: {} to {}{}\n", flow.client, flow.server, remarks(flow)));
    }
    let shown = match subject.flight.as_slice() {
        [] => String::new(),
        flight => format!(": {}", excerpt(flight, SHOWN_BYTES)),
    };
    text.push_str(&format!("bytes     {}{shown}\n", subject.flight.len()));
    if subject.cut {
        let most = count(config.max_first_flight_bytes, "byte");
        text.push_str(&format!("          the bytes after the first {most} are left out: `max_first_flight`\n"));
    }
    for (side, account) in sides.iter().zip(accounts) {
        text.push_str(&format!("listener  {}\n\n", side.names()));
        text.push_str(&rows(config, side, account));
        if !account.steps.is_empty() {
            text.push('\n');
            text.push_str(&steps(config, account));
            if account.pieces_agree(side.router) {
                text.push_str("the whole is decided the same way\n");
            } else {
                text.push_str("THE WHOLE IS DECIDED DIFFERENTLY\n");
            }
        }
        text.push('\n');
        text.push_str(&verdict(config, subject, account));
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// Shows one line for each connection of a capture.
pub(super) fn overview(config: &Config, side: &Side<'_>, capture: &Capture, accounts: &[Account]) -> String {
    let mut text = format!("listener  {}\n\n", side.names());
    let mut table = Table::default();
    table.push(["flow", "client", "server", "bytes", "decision"]);
    for ((number, flow), account) in (1..).zip(&capture.flows).zip(accounts) {
        let decision = match account.decision {
            Some(decision) => summary(config, decision),
            None => undecided(config, flow, account),
        };
        let ends = [flow.client.to_string(), flow.server.to_string(), flow.flight.len().to_string()];
        let [client, server, bytes] = ends;
        table.push([number.to_string(), client, server, bytes, format!("{decision}{}", remarks(flow))]);
    }
    if capture.flows.is_empty() {
        text = "the capture has no TCP connection\n".to_owned();
    } else {
        text.push_str(&table.render());
    }
    let left_out =
        [(capture.left_out.past_limit, "of connections past the limit"), (capture.left_out.without_tcp, "without TCP")];
    for (packets, why) in left_out.into_iter().filter(|(packets, _)| *packets > 0) {
        text.push_str(&format!("left out: {} {why}\n", count(packets, "packet")));
    }
    text
}

/// What is notable about a connection of a capture.
fn remarks(flow: &Flow) -> String {
    let mut remarks = Vec::new();
    if !flow.from_start {
        remarks.push("its start was not captured".to_owned());
    }
    if flow.incomplete {
        remarks.push("bytes are missing after these".to_owned());
    }
    match flow.server_spoke_after {
        Some(0) if flow.flight.is_empty() => remarks.push("only the server spoke".to_owned()),
        Some(0) => remarks.push("the server spoke first".to_owned()),
        _ => {}
    }
    if flow.half_closed {
        remarks.push("then the client half-closed".to_owned());
    }
    remarks.iter().map(|remark| format!("; {remark}")).collect()
}

fn undecided(config: &Config, flow: &Flow, account: &Account) -> String {
    let end = if flow.half_closed { End::HalfClose } else { End::Timeout };
    let ending = account.ends.iter().find(|(candidate, _)| *candidate == end).map(|(_, ending)| *ending);
    match ending {
        Some(Ending::Decided(decision)) if flow.half_closed => summary(config, decision),
        Some(Ending::Decided(decision)) => format!("undecided, later {}", who(config, decision.outcome)),
        _ => "closed: it sent nothing".to_owned(),
    }
}

fn rows(config: &Config, side: &Side<'_>, account: &Account) -> String {
    let has_facts = account.rows.iter().any(|row| !row.facts.is_empty());
    let mut table = Table::default();
    let heading = ["service", "verdict", "known at", "because of", "facts"];
    table.push(heading.into_iter().take(if has_facts { 5 } else { 4 }));
    for (row, rule) in account.rows.iter().zip(side.router.rules()) {
        let known_at = row.known_at.map_or_else(|| "-".to_owned(), |bytes| count(bytes, "byte"));
        let facts: Vec<String> = row.facts.iter().map(fact).collect();
        table.push([
            who(config, Outcome::Service(row.service)),
            word(row.verdict).to_owned(),
            known_at,
            because(side.router, row, &rule.matchers),
            facts.join(" "),
        ]);
    }
    if account.rows.is_empty() {
        return "no service has to be told apart\n".to_owned();
    }
    table.render()
}

fn because(router: &Router, row: &Row, matchers: &[Matcher]) -> String {
    let of_row = row.matchers.iter().filter_map(|at| matchers.get(*at));
    let named: Vec<String> = of_row.map(|matcher| shown_matcher(router, matcher)).collect();
    let shown = named.iter().take(SHOWN_MATCHERS).cloned().collect::<Vec<String>>().join(", ");
    match named.len().saturating_sub(SHOWN_MATCHERS) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn shown_matcher(router: &Router, matcher: &Matcher) -> String {
    match matcher {
        Matcher::Prefix(prefix) => format!("prefix '{}'", excerpt(prefix.bytes(), SHOWN_VALUE_BYTES)),
        Matcher::Regex(regex) => format!("regex '{}'", shortened(&printable(regex.pattern()), SHOWN_VALUE_BYTES)),
        Matcher::Classifier { slot, .. } => {
            let name = router.classifier(*slot).map(|classifier| printable(classifier.name())).unwrap_or_default();
            format!("plugin '{name}'")
        }
    }
}

/// A fact's value is what the peer said, so it is escaped as its bytes are.
fn fact(fact: &Fact) -> String {
    format!("{}={}", escape(fact.name.as_bytes()), excerpt(fact.value.as_bytes(), SHOWN_VALUE_BYTES))
}

/// Shows the pieces; neighbours that say the same are one line.
fn steps(config: &Config, account: &Account) -> String {
    let mut table = Table::default();
    table.push(["after", "match", "need-more", "decision"]);
    let mut from = 0;
    for (at, step) in account.steps.iter().enumerate() {
        let next = account.steps.get(at + 1);
        if next.is_some_and(|next| same_words(next, step)) {
            continue;
        }
        let first = account.steps.get(from).map_or(step.bytes, |first| first.bytes);
        from = at + 1;
        let range = if first == step.bytes { step.bytes.to_string() } else { format!("{first} to {}", step.bytes) };
        let names = |wanted: fn(Verdict) -> bool| names_of(config, account, step, wanted);
        table.push([
            range,
            names(|verdict| verdict == Verdict::Match),
            names(|verdict| matches!(verdict, Verdict::NeedMore { .. })),
            step.decision.map_or_else(|| "-".to_owned(), |decision| summary(config, decision)),
        ]);
    }
    table.render()
}

fn same_words(one: &Step, other: &Step) -> bool {
    let words = |step: &Step| step.verdicts.iter().map(|verdict| word(*verdict)).collect::<Vec<&str>>();
    words(one) == words(other) && one.decision == other.decision
}

fn names_of(config: &Config, account: &Account, step: &Step, wanted: fn(Verdict) -> bool) -> String {
    let named = account.rows.iter().zip(&step.verdicts).filter(|(_, verdict)| wanted(**verdict));
    let names: Vec<String> = named.map(|(row, _)| who(config, Outcome::Service(row.service))).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(" ") }
}

/// Says who gets the bytes, why, and what is done.
fn verdict(config: &Config, subject: &Subject, account: &Account) -> String {
    if let Some(decision) = account.decision {
        let done = action(action_of(config, decision.outcome));
        let (who, why) = (who(config, decision.outcome), why(account, decision));
        return format!("decision  {who}: {why}\naction    {done}\n");
    }
    let after = count(subject.flight.len(), "byte");
    let mut table = Table::default();
    for &(end, ending) in &account.ends {
        let when = match end {
            End::HalfClose => "if the client half-closes now".to_owned(),
            End::Full => format!("if it stays so up to {}", count(config.max_first_flight_bytes, "byte")),
            End::Timeout => format!("if it stays so for {:?}", config.decide_timeout),
        };
        let what = match ending {
            Ending::Decided(decision) => {
                let done = action(action_of(config, decision.outcome));
                format!("{} ({}): {done}", who(config, decision.outcome), decision.reason)
            }
            Ending::Silent => "nobody: a client that leaves without a byte is closed".to_owned(),
            Ending::Impossible => continue,
        };
        table.push([format!("  {when}"), what]);
    }
    let open = account.rows.iter().find(|row| matches!(row.verdict, Verdict::NeedMore { .. }));
    let waited_for = match open.map(|row| Outcome::Service(row.service)) {
        Some(service) => format!(": {} needs more", who(config, service)),
        None => String::new(),
    };
    format!("undecided after {after}{waited_for}\n{}", table.render())
}

fn why(account: &Account, decision: Decision) -> String {
    let after = count(decision.deciding_bytes, "byte");
    let why = match decision.reason {
        Reason::Match => {
            let first = account.rows.first().map(|row| Outcome::Service(row.service)) == Some(decision.outcome);
            if first { "it matches" } else { "it matches, and every service before it has rejected" }
        }
        Reason::NoMatch => "every service has rejected",
        Reason::HalfClose => "the client half-closed",
        Reason::Full => "the first flight is full, and what needs more counts as rejected",
        Reason::Timeout => "time is up",
        Reason::PluginError => "a plugin failed, and its `on_error` says to close",
    };
    format!("{why} ({}, known at {after})", decision.reason)
}

fn summary(config: &Config, decision: Decision) -> String {
    format!("{} ({}, {})", who(config, decision.outcome), decision.reason, count(decision.deciding_bytes, "byte"))
}

fn who(config: &Config, outcome: Outcome) -> String {
    name_of(config, outcome).map_or_else(|| "nobody".to_owned(), printable)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Match => "match",
        Verdict::Reject => "reject",
        Verdict::NeedMore { .. } => "need-more",
    }
}

#[cfg(test)]
mod tests;
