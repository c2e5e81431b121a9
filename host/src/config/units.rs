//! Durations (`ms s m h`) and sizes (`B KiB MiB`) as they are written in a configuration.
//!
//! A value is one whole number and one unit. Nothing is guessed: a wrong spelling is refused, with the right one where
//! it can be told.

use std::time::Duration;

/// Why a value is not a duration or a size, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnitError {
    /// The reason, to follow the value.
    pub(super) reason: String,
    /// What to write, if it can be told.
    pub(super) suggestion: Option<String>,
}

/// Units of time with their length in milliseconds.
const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
/// Units of size with their length in bytes.
const SIZE_UNITS: [(&str, u64); 3] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)];

/// Spellings that people use, and the unit that is meant with how many of it.
const TIME_ALIASES: [(&str, u64, &str); 17] = [
    ("msec", 1, "ms"),
    ("millis", 1, "ms"),
    ("milliseconds", 1, "ms"),
    ("sec", 1, "s"),
    ("secs", 1, "s"),
    ("second", 1, "s"),
    ("seconds", 1, "s"),
    ("min", 1, "m"),
    ("mins", 1, "m"),
    ("minute", 1, "m"),
    ("minutes", 1, "m"),
    ("hr", 1, "h"),
    ("hour", 1, "h"),
    ("hours", 1, "h"),
    ("d", 24, "h"),
    ("day", 24, "h"),
    ("days", 24, "h"),
];
/// As [`TIME_ALIASES`], for sizes. `KB` may have meant 1000 bytes; the user decides when the suggestion is shown.
const SIZE_ALIASES: [(&str, u64, &str); 9] = [
    ("byte", 1, "B"),
    ("bytes", 1, "B"),
    ("k", 1, "KiB"),
    ("kb", 1, "KiB"),
    ("ki", 1, "KiB"),
    ("m", 1, "MiB"),
    ("mb", 1, "MiB"),
    ("mi", 1, "MiB"),
    ("gib", 1024, "MiB"),
];

/// Reads a duration such as `250ms` or `5s`.
///
/// # Errors
/// Anything but one whole number followed by `ms`, `s`, `m` or `h`, or more milliseconds than a `u64` holds.
pub(super) fn duration(text: &str) -> Result<Duration, UnitError> {
    let parsed = quantity(text, &TIME_UNITS, &TIME_ALIASES, "5s", "one of `ms`, `s`, `m`, `h`");
    parsed.map_err(|error| compound(text).unwrap_or(error)).map(Duration::from_millis)
}

/// Reads a size such as `512B` or `16KiB` into bytes.
///
/// # Errors
/// Anything but one whole number followed by `B`, `KiB` or `MiB`, or more bytes than a `u64` holds.
pub(super) fn size(text: &str) -> Result<u64, UnitError> {
    quantity(text, &SIZE_UNITS, &SIZE_ALIASES, "16KiB", "one of `B`, `KiB`, `MiB`")
}

/// Writes a duration in the largest unit that is exact.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(millis, &TIME_UNITS, "s")
}

/// Writes a size in the largest unit that is exact.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZE_UNITS, "B")
}

fn show(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    if value == 0 {
        return format!("0{zero}");
    }
    let exact = units.iter().rev().find(|(_, factor)| value.is_multiple_of(*factor));
    exact.map_or_else(|| value.to_string(), |(unit, factor)| format!("{}{unit}", value / factor))
}

fn quantity(
    text: &str,
    units: &[(&str, u64)],
    aliases: &[(&str, u64, &str)],
    example: &str,
    choice: &str,
) -> Result<u64, UnitError> {
    let refuse = |reason: &str, suggestion: Option<String>| {
        let suggestion = Some(suggestion.unwrap_or_else(|| example.to_owned()));
        Err(UnitError { reason: reason.to_owned(), suggestion })
    };
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    if text.trim().is_empty() {
        return refuse("is empty", None);
    }
    if digits.is_empty() {
        let reason = if text.starts_with('-') { "is negative" } else { "does not start with a number" };
        return refuse(reason, None);
    }
    let Ok(number) = digits.parse::<u64>() else {
        return refuse("is too large a number", None);
    };
    if let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) {
        return number.checked_mul(*factor).map_or_else(|| refuse("is too large a number", None), Ok);
    }
    let default_unit = if example.ends_with('s') { "s" } else { "B" };
    if unit.trim().is_empty() {
        return refuse("has no unit", Some(format!("{number}{default_unit}")));
    }
    if unit.starts_with(['.', ',']) {
        return refuse("is not a whole number", None);
    }
    let meant = unit.trim();
    let exact = units.iter().find(|(name, _)| *name == meant).map(|(name, _)| (1, *name));
    let folded = || units.iter().find(|(name, _)| name.eq_ignore_ascii_case(meant)).map(|(name, _)| (1, *name));
    let alias = || {
        let found = aliases.iter().find(|(name, ..)| name.eq_ignore_ascii_case(meant));
        found.map(|(_, factor, name)| (*factor, *name))
    };
    let suggestion = exact.or_else(alias).or_else(folded);
    let suggestion = suggestion.and_then(|(factor, name)| Some(format!("{}{name}", number.checked_mul(factor)?)));
    let reason =
        if exact.is_some() { "has a space in it".to_owned() } else { format!("has no unit that exists ({choice})") };
    refuse(&reason, suggestion)
}

/// Explains `1h30m`: what it is in one unit.
fn compound(text: &str) -> Option<UnitError> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits_end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (digits, after) = rest.split_at(digits_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        parts += 1;
        rest = after;
    }
    (parts > 1).then(|| UnitError {
        reason: "has more than one unit".to_owned(),
        suggestion: Some(show_duration(Duration::from_millis(total))),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_is_read() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(size("7B"), Ok(7));
        assert_eq!(size("16KiB"), Ok(16384));
        assert_eq!(size("1MiB"), Ok(1 << 20));
    }

    #[test]
    fn a_wrong_spelling_is_refused_with_the_right_one() {
        let told = |text: &str| duration(text).unwrap_err().suggestion.unwrap();
        assert_eq!(told("5"), "5s");
        assert_eq!(told("5 s"), "5s");
        assert_eq!(told("5sec"), "5s");
        assert_eq!(told("5S"), "5s");
        assert_eq!(told("2d"), "48h");
        assert_eq!(told("1h30m"), "90m");
        assert_eq!(told("1m500ms"), "60500ms");
        assert_eq!(told("fast"), "5s");
        let told = |text: &str| size(text).unwrap_err().suggestion.unwrap();
        assert_eq!(told("16K"), "16KiB");
        assert_eq!(told("16kb"), "16KiB");
        assert_eq!(told("16 KiB"), "16KiB");
        assert_eq!(told("16384"), "16384B");
        assert_eq!(told("1GiB"), "1024MiB");
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        for text in ["99999999999999999999s", "18446744073709551615h", "-5s", "", " ", "1.5s", "5ß", "٣s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(size("18446744073709551615MiB").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0u64..u64::MAX / 2) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(value)), Ok(value));
            prop_assert_eq!(size(&show_size(millis)), Ok(millis));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = duration(&text);
            let _ = size(&text);
        }

        #[test]
        fn almost_right_text_is_read_or_refused(text in "[0-9]{0,25}[a-zA-Z. ]{0,4}([0-9]{0,21}[smh]{0,2}){0,3}") {
            if let Err(error) = duration(&text) {
                prop_assert!(duration(&error.suggestion.unwrap()).is_ok());
            }
            if let Err(error) = size(&text) {
                prop_assert!(size(&error.suggestion.unwrap()).is_ok());
            }
        }
    }
}
