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
    /// The same value as it has to be written, if it can be told.
    suggestion: Option<String>,
    example: &'static str,
}

impl UnitError {
    /// Returns what to do.
    pub(super) fn help(&self) -> String {
        match &self.suggestion {
            Some(suggestion) => format!("write \"{suggestion}\""),
            None => format!("write it like \"{}\"", self.example),
        }
    }
}

/// How quantities of one kind are written.
struct Notation {
    /// Units with their length in the smallest one, ascending.
    units: &'static [(&'static str, u64)],
    /// Spellings that people use: how many of which unit each of them means.
    aliases: &'static [(&'static str, u64, &'static str)],
    /// The unit that a number without one probably has.
    usual_unit: &'static str,
    example: &'static str,
    choice: &'static str,
}

const TIME: Notation = Notation {
    units: &TIME_UNITS,
    aliases: &TIME_ALIASES,
    usual_unit: "s",
    example: "5s",
    choice: "one of `ms`, `s`, `m`, `h`",
};

const SIZE: Notation = Notation {
    units: &SIZE_UNITS,
    aliases: &SIZE_ALIASES,
    usual_unit: "B",
    example: "16KiB",
    choice: "one of `B`, `KiB`, `MiB`",
};

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
    let parsed = TIME.read(text);
    parsed.map_err(|error| compound(text).unwrap_or(error)).map(Duration::from_millis)
}

/// Reads a size such as `512B` or `16KiB` into bytes.
///
/// # Errors
/// Anything but one whole number followed by `B`, `KiB` or `MiB`, or more bytes than a `u64` holds.
pub(super) fn size(text: &str) -> Result<u64, UnitError> {
    SIZE.read(text)
}

/// Writes a duration in the largest unit that is exact.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    TIME.show(millis)
}

/// Writes a size in the largest unit that is exact.
pub(super) fn show_size(bytes: u64) -> String {
    SIZE.show(bytes)
}

impl Notation {
    fn show(&self, value: u64) -> String {
        let exact = self.units.iter().rev().find(|(_, factor)| value.is_multiple_of(*factor));
        match exact {
            Some((unit, factor)) if value > 0 => format!("{}{unit}", value / factor),
            _ => format!("{value}{}", self.usual_unit),
        }
    }

    fn refuse<T>(&self, reason: impl Into<String>, suggestion: Option<String>) -> Result<T, UnitError> {
        let suggestion = suggestion.filter(|text| self.read(text).is_ok());
        Err(UnitError { reason: reason.into(), suggestion, example: self.example })
    }

    /// Reads a value into the smallest unit.
    fn read(&self, text: &str) -> Result<u64, UnitError> {
        let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        if text.trim().is_empty() {
            return self.refuse("is empty", None);
        }
        if digits.is_empty() {
            let reason = if text.starts_with('-') { "is negative" } else { "does not start with a number" };
            return self.refuse(reason, None);
        }
        let Ok(number) = digits.parse::<u64>() else {
            return self.refuse("is too large a number", None);
        };
        if let Some((_, factor)) = self.units.iter().find(|(name, _)| *name == unit) {
            return number.checked_mul(*factor).map_or_else(|| self.refuse("is too large a number", None), Ok);
        }
        if unit.trim().is_empty() {
            return self.refuse("has no unit", Some(format!("{number}{}", self.usual_unit)));
        }
        if let Some(decimals) = unit.strip_prefix(['.', ',']) {
            return self.refuse("is not a whole number", self.whole(number, decimals));
        }
        let meant = unit.trim();
        if self.units.iter().any(|(name, _)| *name == meant) {
            return self.refuse("has a space in it", Some(format!("{number}{meant}")));
        }
        let alias = self.aliases.iter().find(|(alias, ..)| alias.eq_ignore_ascii_case(meant));
        let alias = alias.map(|(_, factor, name)| (*factor, *name));
        let folded =
            || self.units.iter().find(|(name, _)| name.eq_ignore_ascii_case(meant)).map(|(name, _)| (1, *name));
        let suggestion = alias.or_else(folded).and_then(|(factor, name)| {
            let value = number.checked_mul(factor)?;
            Some(format!("{value}{name}"))
        });
        self.refuse(format!("has no unit that exists ({})", self.choice), suggestion)
    }

    /// Writes `number.decimals` without decimals, where a smaller unit is exact.
    fn whole(&self, number: u64, decimals: &str) -> Option<String> {
        let digits_end = decimals.find(|c: char| !c.is_ascii_digit())?;
        let (digits, unit) = decimals.split_at(digits_end);
        let (_, factor) = self.units.iter().find(|(name, _)| *name == unit)?;
        let scale = 10u64.checked_pow(u32::try_from(digits.len()).ok()?)?;
        let tenths = number.checked_mul(scale)?.checked_add(digits.parse().ok()?)?.checked_mul(*factor)?;
        tenths.is_multiple_of(scale).then(|| self.show(tenths / scale))
    }
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
        suggestion: Some(TIME.show(total)),
        example: TIME.example,
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
        assert_eq!(told("1.5s"), "1500ms");
        assert_eq!(told("0.25h"), "15m");
        assert_eq!(duration("fast").unwrap_err().help(), "write it like \"5s\"");
        let told = |text: &str| size(text).unwrap_err().suggestion.unwrap();
        assert_eq!(told("16K"), "16KiB");
        assert_eq!(told("16kb"), "16KiB");
        assert_eq!(told("16 KiB"), "16KiB");
        assert_eq!(told("16384"), "16384B");
        assert_eq!(told("1GiB"), "1024MiB");
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        assert_eq!(duration("1.0001s").unwrap_err().suggestion, None);
        assert_eq!(duration("19000000000000000").unwrap_err().suggestion, None, "too many milliseconds");
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
        fn almost_right_text_is_read_or_refused(text in "[0-9]{0,22}[a-zA-Z. ]{0,4}([0-9]{0,21}[smh]{0,2}){0,3}") {
            if let Err(UnitError { suggestion: Some(suggestion), .. }) = duration(&text) {
                prop_assert!(duration(&suggestion).is_ok(), "{}", suggestion);
            }
            if let Err(UnitError { suggestion: Some(suggestion), .. }) = size(&text) {
                prop_assert!(size(&suggestion).is_ok(), "{}", suggestion);
            }
        }
    }
}
