//! Takes the fields of one TOML table apart, type by type, and reports what cannot be read.
//!
//! It works on the parsed document and not through serde, because serde stops at its first error and drops the places:
//! here one run reports every wrong key and type of a file. What the values mean is the business of `resolve`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Reporter, Span, printable};
use super::schema::{Schema, Unknown};

/// A table of a known kind.
pub(super) struct Fields<'a> {
    schema: &'static Schema,
    table: &'a DeTable<'a>,
    /// The keys that unknown keys were probably meant to be.
    meant: Vec<&'static str>,
}

/// What a value has to look like, for messages.
#[derive(Clone, Copy)]
enum Wanted {
    Text(&'static str),
    TextWithUnit { usual_unit: &'static str, example: &'static str },
    Number,
    Boolean,
}

impl<'a> Fields<'a> {
    /// Opens a table and reports every key that it may not have.
    pub(super) fn open(schema: &'static Schema, table: &'a DeTable<'a>, reporter: &mut Reporter) -> Self {
        let mut meant = Vec::new();
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !schema.keys.contains(&name) {
                meant.extend(report_unknown(schema, name, key.span(), reporter));
            }
        }
        Self { schema, table, meant }
    }

    /// Tells whether a key that has been reported was probably meant to be `key`.
    pub(super) fn is_mistyped(&self, key: &str) -> bool {
        self.meant.contains(&key)
    }

    /// Tells whether `key` is there, or was meant by a key that has been reported already.
    pub(super) fn is_attempted(&self, key: &str) -> bool {
        self.is_mistyped(key) || self.entry(key).is_some()
    }

    /// Returns where the key itself stands.
    pub(super) fn key_span(&self, key: &str) -> Option<Span> {
        self.entry(key).map(|(key, _)| key.span())
    }

    /// Reads a string; `example` shows how one looks.
    pub(super) fn text(
        &self,
        key: &'static str,
        example: &'static str,
        reporter: &mut Reporter,
    ) -> Option<Spanned<String>> {
        let (_, value) = self.entry(key)?;
        text(key, value, Wanted::Text(example), reporter)
    }

    /// Reads a string that is a number with a unit of time.
    pub(super) fn duration(&self, key: &'static str, reporter: &mut Reporter) -> Option<Spanned<String>> {
        let (_, value) = self.entry(key)?;
        text(key, value, Wanted::TextWithUnit { usual_unit: "s", example: "5s" }, reporter)
    }

    /// Reads a string that is a number with a unit of size.
    pub(super) fn size(&self, key: &'static str, reporter: &mut Reporter) -> Option<Spanned<String>> {
        let (_, value) = self.entry(key)?;
        text(key, value, Wanted::TextWithUnit { usual_unit: "B", example: "16KiB" }, reporter)
    }

    /// Reads one string or a list of strings. `None` is an absent or unreadable key.
    pub(super) fn texts(
        &self,
        key: &'static str,
        example: &'static str,
        reporter: &mut Reporter,
    ) -> Option<Spanned<Vec<Spanned<String>>>> {
        let (_, value) = self.entry(key)?;
        let wanted = Wanted::Text(example);
        let list = match value.get_ref() {
            DeValue::Array(list) if list.is_empty() => {
                let error = reporter.error(value.span(), format!("`{key}` is an empty list"));
                error.help_with(format!("write it like {example}, or remove the key"));
                return None;
            }
            DeValue::Array(list) => list.iter().filter_map(|item| text(key, item, wanted, reporter)).collect(),
            _ => vec![text(key, value, wanted, reporter)?],
        };
        Some(Spanned::new(value.span(), list))
    }

    /// Reads a whole number.
    pub(super) fn number(&self, key: &'static str, reporter: &mut Reporter) -> Option<Spanned<i64>> {
        let (_, value) = self.entry(key)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            report_type(key, value, Wanted::Number, reporter);
            return None;
        };
        // A number that does not fit is as good as the largest: every range ends long before.
        let digits = integer.as_str();
        let beyond = if digits.starts_with('-') { i64::MIN } else { i64::MAX };
        let number = i64::from_str_radix(digits, integer.radix()).unwrap_or(beyond);
        Some(Spanned::new(value.span(), number))
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(&self, key: &'static str, reporter: &mut Reporter) -> Option<Spanned<bool>> {
        let (_, value) = self.entry(key)?;
        let DeValue::Boolean(boolean) = value.get_ref() else {
            report_type(key, value, Wanted::Boolean, reporter);
            return None;
        };
        Some(Spanned::new(value.span(), *boolean))
    }

    /// Returns the value of a key that needs more than one type.
    pub(super) fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entry(key).map(|(_, value)| value)
    }

    fn entry(&self, key: &str) -> Option<(&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        debug_assert!(self.schema.keys.contains(&key), "`{key}` is read but not in the schema");
        self.table.iter().find(|(name, _)| name.get_ref() == key)
    }
}

/// Names the type of a value as a user would.
pub(super) fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Reports a key that a table does not take and returns the one that was probably meant.
fn report_unknown(schema: &Schema, key: &str, span: Span, reporter: &mut Reporter) -> Option<&'static str> {
    let shown = printable(key);
    let place = schema.place;
    match schema.explain(key) {
        Unknown::Unavailable => {
            reporter.error(span, format!("`{shown}` is not available in this version")).help_with("remove it");
            None
        }
        Unknown::Misplaced(home) => {
            let help = match home {
                "the top level" => format!("move `{shown}` above the first [table] of the file"),
                _ => format!("move `{shown}` into a {home} table"),
            };
            reporter.error(span, format!("`{shown}` is not a key of {place}")).help_with(help);
            None
        }
        Unknown::Mistyped(near) => {
            let error = reporter.error(span, format!("unknown key `{shown}` in {place}"));
            error.help_with(format!("did you mean `{near}`?"));
            Some(near)
        }
        Unknown::Nothing => {
            let error = reporter.error(span, format!("unknown key `{shown}` in {place}"));
            error.help_with(format!("the keys of {place} are {}", listed(schema.keys)));
            None
        }
    }
}

/// Writes words as "`a`, `b` and `c`".
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

fn text(
    key: &'static str,
    value: &Spanned<DeValue<'_>>,
    wanted: Wanted,
    reporter: &mut Reporter,
) -> Option<Spanned<String>> {
    let DeValue::String(string) = value.get_ref() else {
        report_type(key, value, wanted, reporter);
        return None;
    };
    Some(Spanned::new(value.span(), string.clone().into_owned()))
}

fn report_type(key: &str, value: &Spanned<DeValue<'_>>, wanted: Wanted, reporter: &mut Reporter) {
    let written = printable(reporter.snippet(&value.span()));
    let found = type_name(value.get_ref());
    let scalar = matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_));
    let unquoted = match value.get_ref() {
        DeValue::String(string) => Some(printable(string)),
        _ => None,
    };
    let (needs, help) = match wanted {
        Wanted::TextWithUnit { usual_unit, example } => {
            let help = match value.get_ref() {
                DeValue::Integer(integer) if integer.radix() == 10 && !written.starts_with('-') => {
                    format!("write \"{}{usual_unit}\"", integer.as_str())
                }
                _ => format!("write it like \"{example}\""),
            };
            ("a string with a unit", help)
        }
        // `mode = 600` has lost its leading zero.
        Wanted::Text(_) if scalar && key == "mode" => ("a string", format!("write \"{written:0>4}\"")),
        Wanted::Text(_) if scalar => ("a string", format!("write \"{written}\"")),
        Wanted::Text(example) => ("a string", format!("write it like {example}")),
        Wanted::Number => (
            "a whole number",
            match unquoted.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())) {
                Some(digits) => format!("write {digits} without quotes"),
                None => "write it like 100, without quotes or unit".to_owned(),
            },
        ),
        Wanted::Boolean => (
            "`true` or `false`",
            match unquoted.as_deref() {
                Some(word @ ("true" | "false")) => format!("write {word} without quotes"),
                _ => "write true or false, without quotes".to_owned(),
            },
        ),
    };
    reporter.error(value.span(), format!("`{key}` needs {needs}, not {found}")).help_with(help);
}
