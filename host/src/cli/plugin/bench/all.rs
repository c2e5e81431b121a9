//! `portsplit plugin bench --all`: what deciding costs when every shipped plugin is a service.
//!
//! The service that gets the bytes is the last in the file, so every other one is asked before it: the dearest order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portsplit_runtime::{PluginOptions, inspect};
use serde_json::{Value, json};

use super::micros;
use crate::cli::plugin::module::refused;
use crate::cli::plugin::progress::announced;
use crate::cli::table::Table;
use crate::cli::{Failure, print, print_json};
use crate::decision::Outcome;
use crate::matcher::{Classifier, Condition, Matcher};
use crate::plugin::{Guest, OnError, SHIPPED, want_facts};
use crate::router::{Deciding, Router, Rule};

/// Recorded first flights and the plugin that knows each.
const FLIGHTS: [(&str, &str, &[u8]); 3] = [
    ("SSH", "ssh", include_bytes!("../../../../../plugins/ssh/flights/openssh.bin")),
    ("TLS", "tls", include_bytes!("../../../../../plugins/tls/flights/openssl.bin")),
    ("HTTP", "http1", include_bytes!("../../../../../plugins/http1/flights/curl-get.bin")),
];

/// Services in the configuration, besides all of them.
const COUNTS: [usize; 3] = [1, 10, 25];

/// Time for the decisions of one flight with one number of services.
const TIME_PER_ROW: Duration = Duration::from_millis(300);

/// A plugin that is loaded as the server would.
struct Loaded {
    name: &'static str,
    guest: Arc<Guest>,
}

/// What deciding about one flight cost with so many services.
struct Row {
    flight: &'static str,
    bytes: usize,
    services: usize,
    /// Who got it; `None` if it stayed undecided.
    decision: Option<String>,
    decisions: usize,
    median: Duration,
    p99: Duration,
}

pub(super) fn run(most_decisions: u32, as_json: bool) -> Result<(), Failure> {
    let loaded = announced("loading the shipped plugins", || {
        SHIPPED
            .iter()
            .map(|(name, wasm)| {
                let mut options = PluginOptions { name: (*name).to_owned(), ..PluginOptions::default() };
                if let Some(manifest) = inspect(wasm).ok().and_then(|info| info.manifest) {
                    want_facts(&mut options.config, &manifest, |_| false); // as where no service asks for one
                }
                let guest = Guest::load(wasm, &options, OnError::Reject).map_err(|error| refused(name, &error))?;
                Ok(Loaded { name, guest: Arc::new(guest) })
            })
            .collect::<Result<Vec<Loaded>, Failure>>()
    })?;
    let mut rows = Vec::new();
    for (flight, knows, bytes) in FLIGHTS {
        for services in counts(loaded.len()) {
            let asked = in_order(&loaded, knows, services);
            let row = announced("measuring decisions", || measure(flight, bytes, &asked, most_decisions));
            rows.push(row);
        }
    }
    if as_json {
        return print_json(
            &json!({ "plugins": loaded.len(), "rows": rows.iter().map(row_json).collect::<Vec<Value>>() }),
        );
    }
    let mut table = Table::default();
    table.push(["flight", "bytes", "services", "decision", "median µs", "p99 µs", "decisions"]);
    for row in &rows {
        table.push([
            row.flight.to_owned(),
            row.bytes.to_string(),
            row.services.to_string(),
            row.decision.clone().unwrap_or_else(|| "UNDECIDED".to_owned()),
            format!("{:.1}", micros(row.median)),
            format!("{:.1}", micros(row.p99)),
            row.decisions.to_string(),
        ]);
    }
    print(table.render().as_bytes())
}

/// The numbers of services to measure, each once.
fn counts(all: usize) -> Vec<usize> {
    COUNTS.into_iter().filter(|count| *count < all).chain([all]).collect()
}

/// So many plugins, the one that knows the flight last; the others are the first by name.
fn in_order<'l>(loaded: &'l [Loaded], knows: &str, services: usize) -> Vec<&'l Loaded> {
    let own = loaded.iter().find(|plugin| plugin.name == knows);
    let others = loaded.iter().filter(|plugin| plugin.name != knows);
    others.take(services - usize::from(own.is_some())).chain(own).collect()
}

fn measure(flight: &'static str, bytes: &[u8], asked: &[&Loaded], most_decisions: u32) -> Row {
    let rule = |slot| Rule {
        service: slot,
        matchers: vec![Matcher::Classifier { slot, condition: Arc::new(Condition::default()) }],
    };
    let classifiers = asked.iter().map(|plugin| -> Arc<dyn Classifier> { plugin.guest.clone() });
    let router = Router::new((0..asked.len()).map(rule).collect(), classifiers.collect());
    let decide = || router.decide(&mut Deciding::default(), bytes);
    let decision = decide().map(|decision| match decision.outcome {
        Outcome::Service(number) => asked.get(number).map_or("", |plugin| plugin.name).to_owned(),
        _ => "fallback".to_owned(),
    });
    let start = Instant::now();
    let mut times = Vec::new();
    for _ in 0..most_decisions.max(1) {
        let before = Instant::now();
        std::hint::black_box(decide());
        times.push(before.elapsed());
        if start.elapsed() > TIME_PER_ROW {
            break;
        }
    }
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).or(times.last()).copied().unwrap_or_default();
    Row {
        flight,
        bytes: bytes.len(),
        services: asked.len(),
        decision,
        decisions: times.len(),
        median: at(0.5),
        p99: at(0.99),
    }
}

fn row_json(row: &Row) -> Value {
    json!({
        "flight": row.flight,
        "bytes": row.bytes,
        "services": row.services,
        "decision": row.decision,
        "decisions": row.decisions,
        "median_us": micros(row.median),
        "p99_us": micros(row.p99),
    })
}
