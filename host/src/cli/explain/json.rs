//! An explanation as JSON. The keys are an interface: they are only ever added to.

use serde_json::{Map, Value, json};

use super::account::{Account, Ending, Row};
use super::capture::{Capture, Flow};
use super::{Side, Subject};
use crate::cli::describe::{action_json, action_of, name_of};
use crate::config::Config;
use crate::decision::{Decision, Outcome, Verdict};

/// Shows the accounts of one first flight: the first side's at the top, those of the others as `other_listeners`.
pub(super) fn explanation(
    config: &Config,
    sides: &[Side<'_>],
    subject: &Subject,
    flow: Option<(usize, &Flow)>,
    accounts: &[Account],
) -> Value {
    let mut explained = sides.iter().zip(accounts).map(|(side, account)| account_json(config, side, account));
    let mut result = Map::new();
    if let Some((number, flow)) = flow {
        result.insert("flow".to_owned(), flow_json(number, flow).into());
    }
    result.insert("bytes".to_owned(), subject.flight.len().into());
    result.insert("cut".to_owned(), subject.cut.into());
    result.extend(explained.next().unwrap_or_default());
    let others: Vec<Value> = explained.map(Value::Object).collect();
    if !others.is_empty() {
        result.insert("other_listeners".to_owned(), others.into());
    }
    Value::Object(result)
}

/// Shows the connections of a capture.
pub(super) fn overview(config: &Config, side: &Side<'_>, capture: &Capture, accounts: &[Account]) -> Value {
    let flows = (1..).zip(&capture.flows).zip(accounts).map(|((number, flow), account)| {
        let mut one = flow_json(number, flow);
        one.extend(decision_json(config, account.decision));
        one.extend(ends_json(config, account));
        Value::Object(one)
    });
    json!({
        "listeners": addresses(side),
        "flows": flows.collect::<Vec<Value>>(),
        "left_out_packets": {
            "past_limit": capture.left_out.past_limit,
            "without_tcp": capture.left_out.without_tcp,
        },
    })
}

fn account_json(config: &Config, side: &Side<'_>, account: &Account) -> Map<String, Value> {
    let mut result = Map::new();
    result.insert("listeners".to_owned(), addresses(side).into());
    result.extend(decision_json(config, account.decision));
    result.extend(ends_json(config, account));
    let rows: Vec<Value> = account.rows.iter().map(|row| row_json(config, row)).collect();
    result.insert("services".to_owned(), rows.into());
    if !account.steps.is_empty() {
        let steps = account.steps.iter().map(|step| {
            let verdicts: Vec<&str> = step.verdicts.iter().map(|verdict| word(*verdict)).collect();
            let service = step.decision.and_then(|decision| name_of(config, decision.outcome));
            json!({ "bytes": step.bytes, "verdicts": verdicts, "decided": step.decision.is_some(), "service": service })
        });
        result.insert("steps".to_owned(), steps.collect::<Vec<Value>>().into());
        result.insert("pieces_agree".to_owned(), account.pieces_agree(side.router).into());
    }
    result
}

fn decision_json(config: &Config, decision: Option<Decision>) -> Map<String, Value> {
    let mut result = Map::new();
    let (service, reason) = (
        decision.and_then(|decision| name_of(config, decision.outcome)),
        decision.map(|decision| decision.reason.to_string()),
    );
    result.insert("decided".to_owned(), decision.is_some().into());
    result.insert("service".to_owned(), service.into());
    result.insert("reason".to_owned(), reason.into());
    result.insert("deciding_bytes".to_owned(), decision.map(|decision| decision.deciding_bytes).into());
    let action = decision.map_or(Value::Null, |decision| action_json(action_of(config, decision.outcome)));
    result.insert("action".to_owned(), action);
    result
}

/// What each end would decide, by its name; nothing where bytes have decided.
fn ends_json(config: &Config, account: &Account) -> Map<String, Value> {
    let mut ends = Map::new();
    for (end, ending) in &account.ends {
        match ending {
            Ending::Decided(decision) => {
                ends.insert(end.reason().to_string(), decision_json(config, Some(*decision)).into());
            }
            Ending::Silent => {
                let nobody = json!({ "service": null, "reason": "silent", "action": { "close": true } });
                ends.insert(end.reason().to_string(), nobody);
            }
            Ending::Impossible => {}
        }
    }
    if ends.is_empty() { Map::new() } else { Map::from_iter([("ends".to_owned(), Value::Object(ends))]) }
}

fn row_json(config: &Config, row: &Row) -> Value {
    let facts = row.facts.iter().map(|fact| json!({ "name": &*fact.name, "value": &*fact.value }));
    json!({
        "name": name_of(config, Outcome::Service(row.service)),
        "verdict": word(row.verdict),
        "known_at": row.known_at,
        "facts": facts.collect::<Vec<Value>>(),
    })
}

fn flow_json(number: usize, flow: &Flow) -> Map<String, Value> {
    let described = json!({
        "flow": number,
        "client": flow.client.to_string(),
        "server": flow.server.to_string(),
        "bytes": flow.flight.len(),
        "from_start": flow.from_start,
        "incomplete": flow.incomplete,
        "half_closed": flow.half_closed,
        "server_spoke_after": flow.server_spoke_after,
    });
    match described {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn addresses(side: &Side<'_>) -> Vec<String> {
    side.addresses.iter().map(|address| address.to_string()).collect()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Match => "match",
        Verdict::Reject => "reject",
        Verdict::NeedMore { .. } => "need-more",
    }
}
