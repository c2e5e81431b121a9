//! What is not TOML, said in the words of somebody who edits a configuration.

use toml::de::Error as TomlError;

use super::error::{Reporter, Span, harmless, printable};

/// Reports the errors of the TOML parser and tells whether the rest of the file is worth checking: after a value
/// without quotes it is, after a bracket that is never closed it is not.
pub(super) fn report(errors: &[TomlError], reporter: &mut Reporter) -> bool {
    let mut broken = false;
    let mut last_line = 0;
    for error in errors {
        let span = error.span().unwrap_or_default();
        let line = reporter.line(&span);
        // What follows on a line is mostly an echo of its first error.
        if line == last_line {
            continue;
        }
        last_line = line;
        let message = error.message();
        let written = printable(reporter.snippet(&span));
        if message.starts_with("string values must be quoted") {
            report_bare_word(span, &written, reporter);
            continue;
        }
        broken = true;
        if let Some(word) = bare_word(message, &span, reporter) {
            let written = printable(reporter.snippet(&word));
            report_bare_word(word, &written, reporter);
            continue;
        }
        if message.starts_with("duplicate key") {
            report_duplicate(span, &written, reporter);
            if written == "service" {
                return true;
            }
            continue;
        }
        if message.starts_with("missing escaped value") {
            reporter
                .error(span.start.saturating_sub(1)..span.end + 1, "this escape does not exist in double quotes")
                .help_with("write the text in single quotes, '...': prefixes and regexes have escapes of their own");
            continue;
        }
        let shown = reporter.error(span, format!("this is not TOML: {}", harmless(message)));
        if message.starts_with("missing comma between array elements") {
            shown.help_with("put a comma between the elements of a list, and `]` at its end");
        }
        // Once a list or a string swallows the lines after it, what is said about them is noise.
        if ["array", "inline table", "multi-line"].iter().any(|word| message.contains(word)) {
            return true;
        }
    }
    broken
}

/// Returns the place of a text without quotes that the parser took for something else: `info` begins like `inf`, and
/// `127.0.0.1:22` like a number.
fn bare_word(message: &str, span: &Span, reporter: &Reporter) -> Option<Span> {
    const GUESSES: [&str; 4] = ["invalid float", "invalid boolean", "invalid integer", "invalid datetime"];
    if !GUESSES.iter().any(|guess| message.starts_with(guess)) {
        return None;
    }
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}' | '=' | '#' | '"' | '\'');
    let text = reporter.text();
    let start = text.get(..span.start)?.rfind(ends).map_or(0, |before| before + 1);
    let end = span.start + text.get(span.start..)?.find(ends)?;
    let word = text.get(start..end)?;
    (word.contains(char::is_alphabetic) || word.contains(':') || word.matches('.').count() > 1).then_some(start..end)
}

fn report_bare_word(span: Span, written: &str, reporter: &mut Reporter) {
    let lower = written.to_ascii_lowercase();
    if matches!(lower.as_str(), "true" | "false") {
        reporter.error(span, format!("`{written}` is not a value")).help_with(format!("write {lower}, in lower case"));
        return;
    }
    // Double quotes have escapes of their own, which are hardly the ones that are meant.
    let quote = if written.contains('\\') { '\'' } else { '"' };
    reporter.error(span, format!("`{written}` has no quotes")).help_with(format!("write {quote}{written}{quote}"));
}

fn report_duplicate(span: Span, written: &str, reporter: &mut Reporter) {
    let help = match written {
        "service" => "write `[[service]]`, with two brackets, for each service",
        "listen" => "write either `listen = [...]` or `[[listen]]` tables",
        _ => "keep one of the two",
    };
    reporter.error(span, format!("`{written}` is set twice")).help_with(help);
}
