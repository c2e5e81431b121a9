//! What is allowed but hardly meant: patterns that cannot win, cannot match or cannot reject, and targets that loop.
//!
//! Every warning is certain, not a guess about style: where it cannot be decided exactly (one regex that covers
//! another), nothing is said.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::{Reporter, printable};
use super::escape::escape;
use super::listeners::PlacedListener;
use super::services::{PlacedAction, PlacedMatcher, PlacedService, Services};
use super::units::show_size;
use super::{Action, Address, Target};
use crate::decision::Verdict;
use crate::matcher::{Condition, Matcher, Regex};
use crate::router::{Router, Rule};

/// Reports warnings about a configuration without errors.
pub(super) fn lint(
    services: &Services,
    listeners: &[PlacedListener],
    max_first_flight_bytes: usize,
    reporter: &mut Reporter,
) {
    for (number, service) in services.ordinary.iter().enumerate() {
        for (position, pattern) in service.matchers.iter().enumerate() {
            let shadowed = shadow(services, listeners, number, position, reporter);
            if !shadowed {
                lint_pattern(pattern, max_first_flight_bytes, reporter);
            }
        }
        if !listeners.iter().any(|listener| listener.services.contains(&number)) {
            let message = format!("no listener leads to the service `{}`", service.name);
            reporter.warning(service.span.clone(), message).help_with("name it in the `services` of a [[listen]]");
        }
    }
    let ordinary = services.ordinary.iter().map(|service| &service.action);
    for placed in ordinary.chain(&services.fallback).chain(&services.timeout) {
        match &placed.action {
            Action::Connect(connect) => lint_targets(placed, &connect.targets, listeners, reporter),
            Action::Exec(program) => lint_program(placed, program.argv.first(), reporter),
            Action::Close => {}
        }
    }
}

/// Warns if everybody may rewrite the file: it names programs to run.
pub(super) fn lint_permissions(path: &Path, reporter: &mut Reporter) {
    /// The permission bit for writing by others.
    const OTHERS_WRITE: u32 = 0o002;
    let Ok(metadata) = std::fs::metadata(path) else { return };
    if metadata.is_file() && metadata.permissions().mode() & OTHERS_WRITE != 0 {
        reporter
            .warning_in_file("every user of this machine can change this file, and with it the programs that are run")
            .help_with("run `chmod o-w` on it");
    }
}

/// Warns if an earlier pattern always wins over this one, and tells whether it does.
fn shadow(
    services: &Services,
    listeners: &[PlacedListener],
    number: usize,
    position: usize,
    reporter: &mut Reporter,
) -> bool {
    let Some(service) = services.ordinary.get(number) else { return false };
    let Some(pattern) = service.matchers.get(position) else { return false };
    let always_before = |earlier: usize| {
        let mut reached = listeners.iter().filter(|listener| listener.services.contains(&number)).peekable();
        reached.peek().is_some() && reached.all(|listener| listener.services.contains(&earlier))
    };
    for (earlier, other) in services.ordinary.iter().enumerate().take(number) {
        let winner = other.matchers.iter().find(|winner| covers(winner, pattern));
        if let Some(winner) = winner.filter(|_| always_before(earlier)) {
            report_shadow(service, pattern, other, winner, reporter);
            return true;
        }
    }
    let mut same_service = service.matchers.iter().enumerate().filter(|(at, _)| *at != position);
    // Of two equal patterns only the second is reported.
    let winner =
        same_service.find(|(at, winner)| covers(winner, pattern) && (*at < position || !covers(pattern, winner)));
    if let Some((_, winner)) = winner {
        let message = format!("this {} adds nothing to {}", kind(pattern), shown(winner));
        let warning = reporter.warning(pattern.span.clone(), message);
        warning.help_with("remove it").related_to(winner.span.clone(), "matches first");
        return true;
    }
    false
}

fn report_shadow(
    service: &PlacedService,
    pattern: &PlacedMatcher,
    other: &PlacedService,
    winner: &PlacedMatcher,
    reporter: &mut Reporter,
) {
    let message = format!(
        "this {} of `{}` can never win: the service `{}` comes first with {}",
        kind(pattern),
        service.name,
        other.name,
        shown(winner)
    );
    let help = if covers(pattern, winner) {
        "remove one of the two".to_owned()
    } else {
        format!("move the service `{}` above `{}`", service.name, other.name)
    };
    reporter.warning(pattern.span.clone(), message).help_with(help).related_to(winner.span.clone(), "matches first");
}

/// Returns the pattern bound to the first byte, if it can reject then.
fn anchored(pattern: &str) -> Option<String> {
    let anchored = if pattern.contains('|') { format!("^(?:{pattern})") } else { format!("^{pattern}") };
    Regex::new(&anchored).is_ok_and(|regex| !regex.never_rejects()).then_some(anchored)
}

/// Tells whether whatever `pattern` matches has been matched by `winner` before, or at the same byte.
fn covers(winner: &PlacedMatcher, pattern: &PlacedMatcher) -> bool {
    match (&winner.matcher, &pattern.matcher) {
        (Matcher::Classifier { slot, condition }, Matcher::Classifier { slot: other_slot, condition: other }) => {
            slot == other_slot && demands_less(condition, other)
        }
        (Matcher::Prefix(winner), Matcher::Prefix(prefix)) => prefix.bytes().starts_with(winner.bytes()),
        (Matcher::Prefix(_), _) => false,
        (_, Matcher::Prefix(prefix)) => matches(&winner.matcher, prefix.bytes()),
        (Matcher::Regex(winner), Matcher::Regex(pattern)) => winner.pattern() == pattern.pattern(),
        // A pattern that matches without a byte matches whatever the other one does.
        (winner, _) => matches(winner, b""),
    }
}

/// Tells whether facts that satisfy `other` always satisfy `condition`, as far as equal globs show it.
fn demands_less(condition: &Condition, other: &Condition) -> bool {
    condition.demands.iter().all(|(fact, accepted)| {
        let implied = |globs: &[String]| {
            globs.iter().all(|glob| accepted.contains(glob)) || accepted.iter().any(|glob| glob == "*")
        };
        other.demands.iter().any(|(name, globs)| name == fact && implied(globs))
    })
}

/// Tells whether a matcher matches these bytes, whatever follows them.
fn matches(matcher: &Matcher, bytes: &[u8]) -> bool {
    let rule = Rule { service: 0, matchers: vec![matcher.clone()] };
    matches!(Router::default().judge(&rule, bytes, None), (Verdict::Match, _))
}

fn kind(pattern: &PlacedMatcher) -> &'static str {
    match pattern.matcher {
        Matcher::Prefix(_) => "prefix",
        Matcher::Regex(_) => "regex",
        Matcher::Classifier { .. } => "plugin",
    }
}

fn shown(pattern: &PlacedMatcher) -> String {
    match &pattern.matcher {
        Matcher::Prefix(prefix) => format!("the prefix `{}`", printable(&escape(prefix.bytes()))),
        Matcher::Regex(regex) => format!("the regex `{}`", printable(regex.pattern())),
        Matcher::Classifier { .. } => "the same plugin".to_owned(),
    }
}

fn lint_pattern(pattern: &PlacedMatcher, max_first_flight_bytes: usize, reporter: &mut Reporter) {
    let span = pattern.span.clone();
    match &pattern.matcher {
        Matcher::Prefix(prefix) if prefix.bytes().len() > max_first_flight_bytes => {
            let length = prefix.bytes().len();
            let kept = show_size(max_first_flight_bytes as u64);
            reporter
                .warning(span, format!("this prefix can never match: it has {length} bytes, and {kept} are kept"))
                .help_with("raise `max_first_flight`, or shorten the prefix");
        }
        Matcher::Prefix(_) | Matcher::Classifier { .. } => {}
        Matcher::Regex(regex) if regex.never_matches() => {
            reporter.warning(span, "this regex can never match").help_with("correct it, or remove it");
        }
        matcher @ Matcher::Regex(_) if matches(matcher, b"") => {
            reporter
                .warning(span, "this regex matches every connection, before its first byte")
                .help_with("demand at least one byte, or name the service `fallback`");
        }
        Matcher::Regex(regex) if regex.never_rejects() => {
            let help = match anchored(regex.pattern()) {
                Some(anchored) => {
                    format!("write '{}' if it is about the first bytes", printable(&anchored))
                }
                None => "limit how far it looks, such as `.{0,64}` instead of `.*`".to_owned(),
            };
            reporter
                .warning(span, "this regex can never reject: later services and `fallback` wait until time is up")
                .help_with(help);
        }
        Matcher::Regex(_) => {}
    }
}

fn lint_targets(placed: &PlacedAction, targets: &[Target], listeners: &[PlacedListener], reporter: &mut Reporter) {
    for (target, span) in targets.iter().zip(&placed.spans) {
        if let Some(listener) = listeners.iter().find(|listener| leads_to(target, &listener.address)) {
            reporter
                .warning(span.clone(), "this target is a listener of this file: connections would go in circles")
                .help_with("name the server itself")
                .related_to(listener.span.clone(), "listened on here");
        }
    }
}

fn leads_to(target: &Target, listener: &Address) -> bool {
    match (target, listener) {
        (Target::Tcp(target), Address::Tcp(listener)) => {
            let any =
                listener.ip().is_unspecified() && listener.is_ipv4() == target.is_ipv4() && target.ip().is_loopback();
            target.port() == listener.port() && (any || target.ip() == listener.ip())
        }
        (Target::Host(host, port), Address::Tcp(listener)) => {
            let local = listener.ip().is_unspecified() || listener.ip().is_loopback();
            host == "localhost" && *port == listener.port() && local
        }
        (Target::Unix(target), Address::Unix(listener)) => target == listener,
        _ => false,
    }
}

/// Warns if a program is not there now; it may be by the time it is needed.
fn lint_program(placed: &PlacedAction, program: Option<&String>, reporter: &mut Reporter) {
    let (Some(program), Some(span)) = (program, placed.spans.first()) else { return };
    let shown = printable(program);
    let executable = |path: &Path| {
        /// The permission bits for running, of owner, group and others.
        const RUN: u32 = 0o111;
        std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & RUN != 0)
    };
    if program.contains('/') {
        let path = Path::new(program);
        if !path.exists() {
            let warning = reporter.warning(span.clone(), format!("there is no program `{shown}`"));
            warning.help_with("install it, or correct the path");
        } else if !executable(path) {
            let warning = reporter.warning(span.clone(), format!("`{shown}` is not a program that can be run"));
            warning.help_with("run `chmod +x` on it, or correct the path");
        }
        return;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| executable(&folder.join(program))) {
        let warning = reporter.warning(span.clone(), format!("there is no program `{shown}` in `PATH`"));
        warning.help_with("install it, or write its whole path");
    }
}
