//! Parts of a configuration in words and as JSON, safe to print on a terminal.

use serde_json::{Value, json};

use crate::config::{Action, Config, Target, escape};
use crate::decision::Outcome;

/// Characters of an argument that are shown: a script is recognised by its beginning.
const SHOWN_ARGUMENT_CHARS: usize = 48;

/// Returns text that may hold anything as one line of printable characters.
///
/// Unlike the escapes of a first flight, letters of any script and backslashes stay as they are: this is for names and
/// paths.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The same for a text of several lines of our own, such as a plugin's call stack below what went wrong.
pub(super) fn printable_lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<String>>().join("\n")
}

/// Returns the start of `bytes`, escaped, with what is left out.
pub(super) fn excerpt(bytes: &[u8], shown: usize) -> String {
    match bytes.get(..shown) {
        Some(start) if bytes.len() > shown => format!("{}… ({} more)", escape(start), bytes.len() - shown),
        _ => escape(bytes),
    }
}

/// Says `1 byte` or `2 bytes`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Writes a size for a person, in the unit that keeps it short: `512 B`, `11.5 KiB`, `4 MiB`.
pub(super) fn size(bytes: u64) -> String {
    let (value, unit) = match bytes {
        0..1_024 => return format!("{bytes} B"),
        1_024..1_048_576 => (bytes as f64 / 1_024.0, "KiB"),
        _ => (bytes as f64 / 1_048_576.0, "MiB"),
    };
    let text = format!("{value:.1}");
    format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// Returns the name of who gets a connection, or `None` if it is closed.
pub(super) fn name_of(config: &Config, outcome: Outcome) -> Option<&str> {
    match outcome {
        Outcome::Service(number) => config.services.get(number).map(|service| &*service.name),
        Outcome::Fallback => Some("fallback"),
        Outcome::Timeout => Some("timeout"),
        Outcome::Close => None,
    }
}

/// Returns what is done with a connection.
pub(super) fn action_of(config: &Config, outcome: Outcome) -> &Action {
    match outcome {
        Outcome::Service(number) => config.services.get(number).map_or(&Action::Close, |service| &service.action),
        Outcome::Fallback => &config.fallback,
        Outcome::Timeout => &config.timeout,
        Outcome::Close => &Action::Close,
    }
}

/// Describes an action in words.
pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Connect(connect) => {
            let targets: Vec<String> = connect.targets.iter().map(|target| printable(&target.to_string())).collect();
            format!("connect to {}", targets.join(", else "))
        }
        Action::Exec(program) => {
            let argv: Vec<String> = program.argv.iter().map(|argument| quoted(argument)).collect();
            let pty = if program.pty.is_some() { " on a terminal" } else { "" };
            format!("exec {}{pty}", argv.join(" "))
        }
        Action::Close => "close".to_owned(),
    }
}

/// Describes an action with the keys of the configuration.
pub(super) fn action_json(action: &Action) -> Value {
    match action {
        Action::Connect(connect) => {
            json!({ "connect": connect.targets.iter().map(Target::to_string).collect::<Vec<String>>() })
        }
        Action::Exec(program) => json!({ "exec": program.argv, "pty": program.pty.is_some() }),
        Action::Close => json!({ "close": true }),
    }
}

/// Returns the start of a text that may be long.
pub(super) fn shortened(text: &str, shown: usize) -> String {
    match text.char_indices().nth(shown) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Returns an argument as a shell would want it, where that is simple, and the start of it where it is long.
fn quoted(argument: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !argument.is_empty() && argument.bytes().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", shortened(&printable(&argument.replace('\'', r"'\''")), SHOWN_ARGUMENT_CHARS))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Connect, Program, Pty, SocketOptions};

    #[test]
    fn actions_are_told_in_one_line_that_a_terminal_survives() {
        let targets = vec![Target::Host("db.example".to_owned(), 5432), Target::Unix("/run/\x1b[2J".into())];
        let connect = Connect { targets, socket: SocketOptions::default() };
        assert_eq!(action(&Action::Connect(connect.into())), r"connect to db.example:5432, else unix:/run/\u{1b}[2J");
        let argv = ["sh", "-c", "echo 'a'\n", ""].map(str::to_owned).to_vec();
        let program = Program { argv, pty: Some(Pty::default()) };
        assert_eq!(action(&Action::Exec(Arc::new(program))), r"exec sh -c 'echo '\''a'\''\n' '' on a terminal");
        assert_eq!(action(&Action::Close), "close");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (11_804, "11.5 KiB"), (65_536, "64 KiB"), (4 << 20, "4 MiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn an_excerpt_says_how_much_is_left_out() {
        assert_eq!(excerpt(b"ab\x00", 3), r"ab\x00");
        assert_eq!(excerpt(b"abcd", 3), "abc… (1 more)");
        assert_eq!(excerpt(b"", 3), "");
    }
}
