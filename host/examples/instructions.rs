//! What `benches/instructions` counts the instructions of: one scenario, repeated, inside a function that the profiler
//! recognises by its name.
//!
//!     instructions                    prints the scenarios
//!     instructions SCENARIO TIMES
//!
//! A scenario is deciding as a connection does it, from the configuration's text to the decision, without any socket.
//! Everything that happens once (parsing, building tables, compiling plugins) lies outside of what is counted.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

use portsplit::config::Config;
use portsplit::router::{Deciding, Router};

const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.6\r\n";
const HTTP: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: example.org\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n";

/// A name, the services of the configuration and the first flight to decide.
type Scenario = (&'static str, fn() -> String, &'static [u8]);

/// Names with the services of the configuration and the first flight to decide.
const SCENARIOS: [Scenario; 6] = [
    ("prefixes-10", || prefixes("P", 10), HTTP),
    ("prefixes-500", || prefixes("P", 500), HTTP),
    // The first byte rules none of these out.
    ("alike-100", || prefixes("GET ", 100), HTTP),
    ("regexes-10", || regexes(10), HTTP),
    ("plugin-rejects", || plugin("tls"), SSH),
    ("plugin-matches", || plugin("ssh"), SSH),
];

/// `count` services that do not match, with prefixes that all begin with `start`, and one that does.
fn prefixes(start: &str, count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let _ = writeln!(text, "[[service]]\nname = 's{number}'\nprefix = '{start}{number:03} '\nclose = true");
    }
    text + "[[service]]\nname = 'http'\nprefix = 'GET '\nclose = true\n"
}

fn regexes(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        let _ = writeln!(text, "[[service]]\nname = 's{number}'\nregex = '^[A-Z]+ /{number}/'\nclose = true");
    }
    text + "[[service]]\nname = 'http'\nregex = '^[A-Z]+ [^ ]+ HTTP/1'\nclose = true\n"
}

fn plugin(name: &str) -> String {
    format!("[[service]]\nname = 's'\nplugin = '{name}'\nclose = true\n")
}

/// The function whose instructions are counted.
#[inline(never)]
fn measured(router: &Router, flight: &[u8], times: u32) {
    for _ in 0..times {
        let decision = router.decide(&mut Deciding::default(), black_box(flight));
        black_box(decision);
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(scenario) = arguments.next() else {
        SCENARIOS.iter().for_each(|(name, ..)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let times = arguments.next().and_then(|times| times.parse().ok());
    let found = SCENARIOS.iter().find(|(name, ..)| *name == scenario);
    let (Some((_, services, flight)), Some(times)) = (found, times) else {
        eprintln!("usage: instructions SCENARIO TIMES; without arguments it prints the scenarios");
        return ExitCode::from(2);
    };
    let text = format!("listen = '127.0.0.1:0'\n{}", services());
    let config = match Config::parse(Path::new("instructions.toml"), &text) {
        Ok((config, _)) => config,
        Err(error) => {
            eprintln!("{error:?}");
            return ExitCode::FAILURE;
        }
    };
    let Some(listener) = config.listeners.first() else { return ExitCode::FAILURE };
    // Whatever is done once per byte or per thread is done here.
    router_is_warm(&listener.router, flight);
    measured(&listener.router, flight, times);
    ExitCode::SUCCESS
}

/// Decides a few times outside of what is counted.
#[inline(never)]
fn router_is_warm(router: &Router, flight: &[u8]) {
    for _ in 0..10 {
        black_box(router.decide(&mut Deciding::default(), flight));
    }
}
