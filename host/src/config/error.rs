//! What is wrong with a configuration file, and how it is shown: the place, the line itself, and what to do.
//!
//! Nothing here knows what a key means; `raw` and `resolve` report into a [`Reporter`], which turns byte ranges of the
//! file into lines and columns. Problems are collected, so one run shows all of them.

use std::fmt;
use std::io::IsTerminal;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// A range of bytes of the file.
pub(super) type Span = Range<usize>;

/// Everything that makes one configuration file unusable; never empty.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// Lists the errors in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns one line for a log: the first error, and how many more there are.
    #[must_use]
    pub fn summary(&self) -> String {
        let more = self.problems.len().saturating_sub(1);
        match self.problems.first() {
            Some(first) if more > 0 => format!("{} (and {more} more)", first.headline()),
            Some(first) => first.headline(),
            None => String::new(),
        }
    }

    /// Returns the text for a person: every error with its line, coloured if `colour`.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        render_all(&self.problems, colour)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}

/// Renders several problems, one after the other with an empty line between them, without a final newline.
#[must_use]
pub fn render_all(problems: &[Problem], colour: bool) -> String {
    let rendered: Vec<String> = problems.iter().map(|problem| problem.render(colour)).collect();
    rendered.join("\n\n")
}

/// Tells whether standard error takes colours: it is a terminal and `NO_COLOR` is not set.
#[must_use]
pub fn stderr_takes_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file works, but probably not as meant.
    Warning,
}

impl Severity {
    /// Returns the word that is shown: `error` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong at one place of the file.
#[derive(Clone, Debug)]
pub struct Problem {
    severity: Severity,
    source: Arc<Source>,
    span: Option<Span>,
    message: String,
    help: Option<String>,
    related: Option<(Span, String)>,
}

impl Problem {
    /// Tells an error from a warning.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Returns the file, as the user named it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.source.path
    }

    /// Returns the line, from 1; 1 for a problem of the file as a whole.
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.place(self.span.as_ref().map_or(0, |span| span.start)).0
    }

    /// Returns the column in characters, from 1; 1 for a problem of the file as a whole.
    #[must_use]
    pub fn column(&self) -> usize {
        self.source.place(self.span.as_ref().map_or(0, |span| span.start)).1
    }

    /// Returns what is wrong, without place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns what to do about it, where that is known.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Returns `file:line:column: error: message`.
    #[must_use]
    pub fn headline(&self) -> String {
        self.coloured_headline("", "")
    }

    /// Returns `file:line:column: error: message`, then the line itself with a mark under the place, then the help.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let (before, after) = match (colour, self.severity) {
            (false, _) => ("", ""),
            (true, Severity::Error) => ("\x1b[1;31m", "\x1b[0m"),
            (true, Severity::Warning) => ("\x1b[1;33m", "\x1b[0m"),
        };
        let headline = self.coloured_headline(before, after);
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_level(level);
        if let Some(span) = &self.span {
            group = group.element(self.source.snippet(span, self.related.as_ref()));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        if group.is_empty() {
            return headline;
        }
        format!("{headline}\n{}", renderer.render(&[group]))
    }

    fn coloured_headline(&self, before: &str, after: &str) -> String {
        let (line, column, severity) = (self.line(), self.column(), self.severity.as_str());
        format!("{}:{line}:{column}: {before}{severity}{after}: {}", self.file(), self.message)
    }

    /// Adds what to do about it.
    pub(super) fn help_with(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place that explains the first.
    pub(super) fn related_to(&mut self, span: Span, label: impl Into<String>) -> &mut Self {
        self.related = Some((span, label.into()));
        self
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Problem", 6)?;
        fields.serialize_field("severity", self.severity.as_str())?;
        fields.serialize_field("file", self.file())?;
        fields.serialize_field("line", &self.line())?;
        fields.serialize_field("column", &self.column())?;
        fields.serialize_field("message", self.message())?;
        fields.serialize_field("help", &self.help())?;
        fields.end()
    }
}

/// The text of a file and the name that the user gave it.
#[derive(Debug)]
struct Source {
    path: String,
    text: String,
    /// Where each line starts; a file can have as many problems as lines.
    line_starts: Vec<usize>,
}

impl Source {
    fn new(path: String, text: String) -> Self {
        let starts = text.match_indices('\n').map(|(newline, _)| newline + 1);
        let line_starts = std::iter::once(0).chain(starts).collect();
        Self { path, text, line_starts }
    }

    /// Returns line and column, both from 1, of a byte offset; the column counts characters.
    fn place(&self, offset: usize) -> (usize, usize) {
        let offset = self.boundary(offset);
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let before = self.text.get(self.line_start(line)..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// Returns where a line, counted from 1, starts; past the last line it is the end of the text.
    fn line_start(&self, line: usize) -> usize {
        self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len())
    }

    /// Cuts a range at the end of its first line, so that a mark stays readable.
    fn within_line(&self, span: &Span) -> Span {
        let start = self.boundary(span.start);
        let line = self.place(start).0;
        let rest = self.text.get(start..self.line_start(line + 1)).unwrap_or_default();
        let line_end = start + rest.find(['\n', '\r']).unwrap_or(rest.len());
        start..self.boundary(span.end).clamp(start, line_end)
    }

    /// Makes a snippet of the lines from the first to the last place, with the first one marked.
    fn snippet<'a>(&'a self, place: &Span, related: Option<&'a (Span, String)>) -> Snippet<'a, Annotation<'a>> {
        let marked = self.within_line(place);
        let explained = related.map(|(span, label)| (self.within_line(span), label));
        let other = explained.as_ref().map_or(&marked, |(span, _)| span);
        let first = self.place(marked.start.min(other.start)).0;
        let last = self.place(marked.end.max(other.end)).0;
        let start = self.line_start(first);
        let text = self.text.get(start..self.line_start(last + 1)).unwrap_or_default();
        let shifted = |span: &Span| span.start.saturating_sub(start)..span.end.saturating_sub(start);
        let mut snippet = Snippet::source(text).line_start(first);
        snippet = snippet.annotation(AnnotationKind::Primary.span(shifted(&marked)));
        if let Some((span, label)) = &explained {
            snippet = snippet.annotation(AnnotationKind::Context.span(shifted(span)).label(label.as_str()));
        }
        snippet
    }

    fn boundary(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset.min(self.text.len()))
    }
}

/// Collects the problems of one file.
#[derive(Debug)]
pub(super) struct Reporter {
    source: Arc<Source>,
    problems: Vec<Problem>,
}

impl Reporter {
    pub(super) fn new(path: &Path, text: String) -> Self {
        let path = printable(&path.to_string_lossy());
        Self { source: Arc::new(Source::new(path, text)), problems: Vec::new() }
    }

    /// Returns the text of the file.
    pub(super) fn text(&self) -> &str {
        &self.source.text
    }

    /// Returns the part of the file that a span covers.
    pub(super) fn snippet(&self, span: &Span) -> &str {
        self.source.text.get(span.clone()).unwrap_or_default()
    }

    /// Returns the line, from 1, on which a span starts.
    pub(super) fn line(&self, span: &Span) -> usize {
        self.source.place(span.start).0
    }

    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Error, Some(span), message.into())
    }

    /// Reports what is wrong with the file as a whole.
    pub(super) fn error_in_file(&mut self, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Error, None, message.into())
    }

    pub(super) fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Warning, Some(span), message.into())
    }

    /// Warns about the file as a whole.
    pub(super) fn warning_in_file(&mut self, message: impl Into<String>) -> &mut Problem {
        self.push(Severity::Warning, None, message.into())
    }

    pub(super) fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Returns the errors if there are any, else the warnings; both in the order of the file.
    pub(super) fn finish(mut self) -> Result<Vec<Problem>, ConfigErrors> {
        /// A file that is no configuration at all has an error on every line; nobody reads more than this.
        const MOST_SHOWN: usize = 100;
        let failed = self.has_errors();
        if failed {
            self.problems.retain(|problem| problem.severity == Severity::Error);
        }
        self.problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
        let hidden = self.problems.len().saturating_sub(MOST_SHOWN);
        if hidden > 0 {
            self.problems.truncate(MOST_SHOWN);
            let severity = if failed { Severity::Error } else { Severity::Warning };
            self.push(severity, None, format!("{hidden} more like these are not shown"));
        }
        if failed {
            return Err(ConfigErrors { problems: self.problems });
        }
        Ok(self.problems)
    }

    /// Returns the errors; used where there is at least one.
    pub(super) fn into_errors<T>(self) -> Result<T, ConfigErrors> {
        debug_assert!(self.has_errors(), "a failure without a reason");
        Err(ConfigErrors { problems: self.finish().unwrap_or_else(|errors| errors.problems) })
    }

    fn push(&mut self, severity: Severity, span: Option<Span>, message: String) -> &mut Problem {
        let source = Arc::clone(&self.source);
        let problem = Problem { severity, source, span, message, help: None, related: None };
        self.problems.push_mut(problem)
    }
}

/// Returns text in a form that is safe to print on a terminal, cut where it becomes too long to read.
pub(super) fn printable(text: &str) -> String {
    /// Longer values are cut: a message must stay one line.
    const SHOWN_CHARS: usize = 120;
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN_CHARS {
            shown.push('…');
            break;
        }
        if is_unsafe(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Tells whether a terminal obeys a character instead of showing it, or shows others in another order because of it.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Returns a message of a library on one line and without control characters.
pub(super) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => shown.push_str(", "),
            _ if is_unsafe(character) => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source::new(String::new(), "a\nßb = 1\n".to_owned());
        assert_eq!(source.place(0), (1, 1));
        assert_eq!(source.place(2), (2, 1));
        assert_eq!(source.place(4), (2, 2), "after a character of two bytes");
        assert_eq!(source.place(3), (2, 1), "within a character");
        assert_eq!(source.place(99), (3, 1));
    }

    #[test]
    fn a_span_is_marked_only_on_its_first_line() {
        let source = Source::new(String::new(), "ab\r\ncd".to_owned());
        assert_eq!(source.within_line(&(1..6)), 1..2);
        assert_eq!(source.within_line(&(2..2)), 2..2);
        assert_eq!(source.within_line(&(90..99)), 6..6);
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(printable("a\x1b[31m"), "a\\u{1b}[31m");
        assert_eq!(printable("a\u{202e}b\u{2028}"), "a\\u{202e}b\\u{2028}");
        assert_eq!(printable(&"x".repeat(500)).chars().count(), 121);
    }

    #[test]
    fn warnings_are_dropped_when_there_are_errors() {
        let mut reporter = Reporter::new(Path::new("x"), "one\ntwo\n".to_owned());
        reporter.warning(0..3, "first");
        reporter.error(4..7, "second").help_with("third");
        let errors = reporter.finish().unwrap_err();
        assert_eq!(errors.problems().len(), 1);
        let text = errors.to_string();
        assert!(text.starts_with("x:2:1: error: second\n"), "{text}");
        assert!(text.contains("two") && text.contains("^^^") && text.contains("help: third"), "{text}");
    }
}
