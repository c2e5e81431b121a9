//! `[[service]]`: its name, what it recognises and what it does.
//!
//! A service that is wrong in one respect is still checked in all others, and its name stays known to listeners.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;

use super::error::{Reporter, Span, harmless, printable};
use super::plugins::Plugins;
use super::raw::{RawConfig, RawService};
use super::schema::closest;
use super::{Action, Connect, Program, Pty, Target, address, escape, socket};
use crate::matcher::{Classifier, Matcher, Prefix, Regex, RegexError};

/// The longest name of a service in characters: it stands in log lines and metric labels.
const NAME_MAX: usize = 64;

/// Names of services that take no matcher: the decision is theirs for other reasons.
pub(super) const SPECIAL: [&str; 2] = ["fallback", "timeout"];

/// All services of a file.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// Those with matchers, in file order.
    pub(super) ordinary: Vec<PlacedService>,
    pub(super) fallback: Option<PlacedAction>,
    pub(super) timeout: Option<PlacedAction>,
    /// What the slots of classifier matchers refer to.
    pub(super) classifiers: Vec<Arc<dyn Classifier>>,
}

/// A service with matchers, and where it stands.
#[derive(Debug)]
pub(super) struct PlacedService {
    pub(super) name: Arc<str>,
    /// The name, or the header if it has none.
    pub(super) span: Span,
    pub(super) matchers: Vec<PlacedMatcher>,
    pub(super) action: PlacedAction,
}

/// A matcher and where its pattern stands.
#[derive(Debug)]
pub(super) struct PlacedMatcher {
    pub(super) matcher: Matcher,
    pub(super) span: Span,
}

/// An action and where its parts stand: one place for each target, or one for the program.
#[derive(Debug)]
pub(super) struct PlacedAction {
    pub(super) action: Action,
    pub(super) spans: Vec<Span>,
}

impl PlacedAction {
    fn close() -> Self {
        Self { action: Action::Close, spans: Vec::new() }
    }
}

impl Services {
    /// Checks all services of a file; relative paths start in `folder`.
    pub(super) fn resolve(raw: &RawConfig, folder: &Path, reporter: &mut Reporter) -> Self {
        let mut services = Self::default();
        let mut plugins = Plugins::new(raw, folder);
        let mut names: Vec<(&str, Span)> = Vec::new();
        if raw.services.is_empty() && raw.services_complete && !reporter.has_errors() {
            reporter
                .error_in_file("there is no [[service]]")
                .help_with("add one, with `name`, `prefix`, `regex` or `plugin`, and `connect`, `exec` or `close`");
        }
        for service in &raw.services {
            let name = service.name.as_ref();
            check_name(service, &names, reporter);
            if let Some(name) = name {
                names.push((name.get_ref(), name.span()));
            }
            let action = action(service, folder, reporter);
            match name.map(|name| name.get_ref().as_str()) {
                Some(special @ ("fallback" | "timeout")) => {
                    for (key, span) in &service.matcher_keys {
                        reporter
                            .error(span.clone(), format!("`{key}` is not for the service `{special}`"))
                            .help_with(special_help(special));
                    }
                    let slot = if special == "fallback" { &mut services.fallback } else { &mut services.timeout };
                    slot.get_or_insert(action);
                }
                other => {
                    let span = name.map_or_else(|| service.span.clone(), Spanned::span);
                    let mut matchers = matchers(service, reporter);
                    let classifier = plugins.matcher(service, reporter);
                    matchers.extend(classifier.map(|(matcher, span)| PlacedMatcher { matcher, span }));
                    services.ordinary.push(PlacedService { name: other.unwrap_or("").into(), span, matchers, action });
                }
            }
        }
        plugins.load_the_rest(reporter);
        services.classifiers = plugins.into_classifiers();
        services
    }

    /// Returns the number of the service with matchers that has this name.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.ordinary.iter().position(|service| *service.name == *name)
    }
}

fn special_help(name: &str) -> &'static str {
    if name == "fallback" {
        "it gets what every other service rejects; remove the key, or rename the service"
    } else {
        "it gets what stays undecided for too long; remove the key, or rename the service"
    }
}

fn check_name(service: &RawService, earlier: &[(&str, Span)], reporter: &mut Reporter) {
    let Some(name) = &service.name else {
        if !service.name_attempted {
            let error = reporter.error(service.span.clone(), "this [[service]] has no `name`");
            error.help_with("add one, such as `name = \"ssh\"`");
        }
        return;
    };
    let text = name.get_ref();
    let shown = printable(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() {
        reporter.error(name.span(), "`name` is empty").help_with("write one, such as \"ssh\"");
    } else if let Some(wrong) = text.chars().find(|c| !allowed(*c)) {
        let wrong = printable(&wrong.to_string());
        reporter
            .error(name.span(), format!("the name `{shown}` has `{wrong}` in it"))
            .help_with("names consist of the letters A to Z and a to z, digits, `.`, `_` and `-`");
    } else if text.len() > NAME_MAX {
        let message = format!("this name has {} characters, and the most is {NAME_MAX}", text.len());
        reporter.error(name.span(), message).help_with("choose a shorter name");
    }
    if let Some((_, first)) = earlier.iter().find(|(other, _)| other == text) {
        let line = reporter.line(first);
        reporter
            .error(name.span(), format!("the name `{shown}` is taken by the service on line {line}"))
            .help_with("give each service a name of its own; one service can have many patterns and targets")
            .related_to(first.clone(), "first here");
    }
}

fn matchers(service: &RawService, reporter: &mut Reporter) -> Vec<PlacedMatcher> {
    let mut matchers = Vec::new();
    for (key, list) in [("prefix", &service.prefix), ("regex", &service.regex)] {
        let Some(list) = list else { continue };
        for pattern in list.get_ref() {
            if is_two_byte_escape(key, pattern, reporter) {
                continue;
            }
            let matcher = if key == "prefix" { prefix(pattern, reporter) } else { regex(pattern, reporter) };
            matchers.extend(matcher.map(|matcher| PlacedMatcher { matcher, span: pattern.span() }));
        }
    }
    if service.matcher_keys.is_empty() && !service.matcher_attempted && service.name.is_some() {
        let name = service.name.as_ref().map(|name| name.get_ref().as_str()).unwrap_or_default();
        let span = service.name.as_ref().map_or_else(|| service.span.clone(), Spanned::span);
        let help = match closest(name, &SPECIAL) {
            Some(special) => {
                format!("did you mean `{special}`? All other services need a `prefix`, a `regex` or a `plugin`")
            }
            None => "add a `prefix`, a `regex` or a `plugin`; only `fallback` and `timeout` go without".to_owned(),
        };
        let message = format!("the service `{}` has nothing to recognise connections by", printable(name));
        reporter.error(span, message).help_with(help);
    }
    matchers
}

fn prefix(pattern: &Spanned<String>, reporter: &mut Reporter) -> Option<Matcher> {
    if pattern.get_ref().is_empty() {
        reporter
            .error(pattern.span(), "this prefix is empty, so it would match every connection")
            .help_with("write the bytes that the client sends first, or name the service `fallback`");
        return None;
    }
    match escape::unescape(pattern.get_ref()) {
        Ok(bytes) => Some(Matcher::Prefix(Prefix::new(bytes))),
        Err(refused) => {
            let span = inside(pattern, refused.offset, refused.len, reporter);
            reporter.error(span, refused.message).help_with(refused.help);
            None
        }
    }
}

fn regex(pattern: &Spanned<String>, reporter: &mut Reporter) -> Option<Matcher> {
    if pattern.get_ref().is_empty() {
        reporter
            .error(pattern.span(), "this regex is empty, so it would match every connection")
            .help_with("write what the client sends first, or name the service `fallback`");
        return None;
    }
    match Regex::new(pattern.get_ref()) {
        Ok(regex) => Some(Matcher::Regex(Arc::new(regex))),
        Err(RegexError::Syntax { message, offset }) => {
            let span = inside(pattern, offset, 1, reporter);
            reporter.error(span, format!("this regex cannot be read: {}", harmless(&message)));
            None
        }
        Err(other) => {
            let message = harmless(&other.to_string());
            // Our own texts say what to do after a semicolon.
            let (reason, advice) = message.split_once("; ").unwrap_or((&message, ""));
            let error = reporter.error(pattern.span(), format!("this regex cannot be used: {reason}"));
            if !advice.is_empty() {
                error.help_with(advice);
            }
            None
        }
    }
}

/// Refuses `"\xff"`: in double quotes TOML reads it as a character, whose UTF-8 form has two bytes.
fn is_two_byte_escape(key: &str, pattern: &Spanned<String>, reporter: &mut Reporter) -> bool {
    let span = pattern.span();
    let written = reporter.snippet(&span);
    if !written.starts_with('"') {
        return false;
    }
    let mut at = 0;
    let mut found = None;
    while let Some(rest) = written.get(at..).and_then(|rest| rest.find('\\')) {
        at += rest;
        let next = |step: usize| written.as_bytes().get(at + step).copied().unwrap_or_default();
        if next(1) == b'x' && matches!(next(2), b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F') {
            found = Some((at, written.get(at..at + 4).unwrap_or_default().to_owned()));
            break;
        }
        at += 2;
    }
    let Some((at, escape)) = found else { return false };
    let start = span.start + at;
    reporter
        .error(start..start + escape.len(), format!("in double quotes `{escape}` is a character of two bytes"))
        .help_with(format!("put the {key} in single quotes, '...', where `{escape}` is one byte"));
    true
}

/// Returns the place of a part of a string, or of the whole string where escapes of TOML hide it.
fn inside(string: &Spanned<String>, offset: usize, len: usize, reporter: &Reporter) -> Span {
    let span = string.span();
    match reporter.snippet(&span).find(string.get_ref().as_str()) {
        Some(start) => {
            let start = span.start + start + offset.min(string.get_ref().len());
            start..start + len
        }
        None => span,
    }
}

fn action(service: &RawService, folder: &Path, reporter: &mut Reporter) -> PlacedAction {
    match service.action_keys.as_slice() {
        [] if !service.action_attempted => {
            let (subject, span) = match &service.name {
                Some(name) => (format!("the service `{}`", printable(name.get_ref())), name.span()),
                None => ("this [[service]]".to_owned(), service.span.clone()),
            };
            reporter
                .error(span, format!("{subject} does nothing"))
                .help_with("add `connect = \"host:port\"`, `exec = [\"program\"]` or `close = true`");
        }
        [(first, at), rest @ ..] => {
            for (key, span) in rest {
                reporter
                    .error(span.clone(), format!("this service has `{key}` and `{first}`"))
                    .help_with("keep one of `connect`, `exec` and `close`")
                    .related_to(at.clone(), "and this");
            }
        }
        [] => {}
    }
    check_terminal(service, reporter);
    if service.connect.is_none() {
        check_socket(service, &[], reporter);
    }
    let connect = service.connect.as_ref().map(|targets| connect(service, targets, folder, reporter));
    let exec = service.exec.as_ref().map(|argv| exec(service, argv, folder, reporter));
    if let Some(close) = service.close.as_ref().filter(|close| !close.get_ref()) {
        reporter
            .error(close.span(), "`close` can only be true")
            .help_with("remove it if the service does something else");
    }
    connect.or(exec).flatten().unwrap_or_else(PlacedAction::close)
}

fn check_terminal(service: &RawService, reporter: &mut Reporter) {
    let runs = service.action_keys.iter().any(|(key, _)| *key == "exec");
    if let Some(pty) = &service.pty
        && !runs
        && !service.action_keys.is_empty()
    {
        reporter.error(pty.span(), "`pty` is only for services with `exec`").help_with("remove it");
    }
    let on_terminal = service.pty.as_ref().map_or(service.pty_attempted, |pty| *pty.get_ref());
    if let Some(echo) = &service.echo
        && !on_terminal
    {
        reporter
            .error(echo.span(), "`echo` is only for services with `pty = true`")
            .help_with("add `pty = true`, or remove `echo`");
    }
}

/// Checks `socket`, which is only for connections over TCP.
fn check_socket(service: &RawService, targets: &[Target], reporter: &mut Reporter) {
    let Some(raw) = &service.socket else { return };
    let connects = service.action_keys.is_empty() || service.action_keys.iter().any(|(key, _)| *key == "connect");
    if !connects {
        socket::refuse(raw.span(), "is only for services with `connect`", reporter);
    } else if !targets.is_empty() && targets.iter().all(|target| matches!(target, Target::Unix(_))) {
        socket::refuse(raw.span(), "is only for TCP, and no target is", reporter);
    } else {
        socket::lint(raw.get_ref(), false, reporter);
    }
}

fn connect(
    service: &RawService,
    targets: &Spanned<Vec<Spanned<String>>>,
    folder: &Path,
    reporter: &mut Reporter,
) -> Option<PlacedAction> {
    let (mut found, mut spans) = (Vec::new(), Vec::new());
    for text in targets.get_ref() {
        match address::target(text.get_ref(), folder) {
            Ok(target) if found.contains(&target) => {
                let message = format!("the target `{}` is listed twice", printable(text.get_ref()));
                reporter.error(text.span(), message).help_with("remove one of the two");
            }
            Ok(target) => {
                found.push(target);
                spans.push(text.span());
            }
            Err(refused) => {
                reporter.error(text.span(), refused.message).help_with(refused.help);
            }
        }
    }
    check_socket(service, &found, reporter);
    let raw = service.socket.as_ref().map(Spanned::get_ref);
    let socket = socket::resolve(raw, socket::UPSTREAM_KEEPALIVE, reporter);
    let targets = found;
    (!targets.is_empty()).then(|| PlacedAction { action: Action::Connect(Connect { targets, socket }.into()), spans })
}

fn exec(
    service: &RawService,
    argv: &Spanned<Vec<Spanned<String>>>,
    folder: &Path,
    reporter: &mut Reporter,
) -> Option<PlacedAction> {
    let program = argv.get_ref().first()?;
    if program.get_ref().is_empty() {
        reporter.error(program.span(), "the program of `exec` is empty").help_with("write its name or its path");
    }
    for word in argv.get_ref().iter().filter(|word| word.get_ref().contains('\0')) {
        reporter.error(word.span(), "a zero byte cannot be passed to a program").help_with("remove it");
    }
    let mut words: Vec<String> = argv.get_ref().iter().map(|word| word.get_ref().clone()).collect();
    if let Some(first) = words.first_mut()
        && first.contains('/')
    {
        match address::absolute(first, folder).into_os_string().into_string() {
            Ok(path) => *first = path,
            Err(_) => {
                reporter
                    .error(program.span(), "the folder of this file has a name that is not UTF-8")
                    .help_with("write the whole path of the program");
            }
        }
    }
    let echo = service.echo.as_ref().is_some_and(|echo| *echo.get_ref());
    let pty = service.pty.as_ref().is_some_and(|pty| *pty.get_ref()).then_some(Pty { echo });
    let program_span = program.span();
    Some(PlacedAction { action: Action::Exec(Arc::new(Program { argv: words, pty })), spans: vec![program_span] })
}
