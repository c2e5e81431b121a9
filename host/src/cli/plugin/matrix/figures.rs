//! What a corpus measured, as text for a person.

use std::path::Path;
use std::time::UNIX_EPOCH;

use portsplit_plugin_sdk::harness::{Corpus, Exception, Measurement, Negative, Origin, Overall, Protocol, Spread};

use crate::cli::describe::{count, excerpt, printable};
use crate::cli::table::Table;

/// Bytes of a sample that are shown on request.
const SHOWN_BYTES: usize = 64;

/// The figures of each protocol and of all, and the samples that were missed or matched wrongly.
pub(super) fn text(measured: &Measurement, corpus: &Corpus, idle: &[&Exception], show_bytes: bool) -> String {
    let bytes = |number: usize| {
        let flight = corpus.samples.get(number).map(|sample| sample.bytes()).unwrap_or_default();
        if show_bytes { format!("\n  {}", excerpt(&flight, SHOWN_BYTES)) } else { String::new() }
    };
    let mut text = format!("{}\n{}", table(measured), overall(measured));
    for missed in &measured.missed {
        let at = missed.decided_at.map(|at| format!(" at byte {at}")).unwrap_or_default();
        let (label, plugins) = (printable(&missed.label), printable(&missed.plugins.join(", ")));
        let of = count(missed.bytes, "byte");
        let said = format!("{plugins}: {}{at} of {of}", missed.verdict);
        text.push_str(&format!("\nmissed: {label}, {said}, {}{}", origin(&missed.origin), bytes(missed.number)));
    }
    for wrong in &measured.wrong {
        let at = wrong.decided_at.map(|at| format!(" at byte {at}")).unwrap_or_default();
        let (label, plugin) = (printable(&wrong.label), printable(&wrong.plugin));
        let said = format!("{plugin}: match{at} of {}", count(wrong.bytes, "byte"));
        text.push_str(&format!("\nclaimed: {label}, {said}, {}{}", origin(&wrong.origin), bytes(wrong.number)));
    }
    for found in &measured.disagreements {
        let (label, plugin) = (printable(&found.label), printable(&found.plugin));
        let said = format!("{} in segments, {} byte by byte", found.segments, found.byte_by_byte);
        let said = printable(&said);
        text.push_str(&format!("\nDISAGREES: {label}, {plugin}: {said}, {}", origin(&found.origin)));
        text.push_str(&bytes(found.number));
    }
    for failure in &measured.failures {
        let (label, plugin) = (printable(&failure.label), printable(&failure.plugin));
        let message = printable(&failure.message);
        text.push_str(&format!("\nFAILED: {label}, {plugin}: {message}, {}", origin(&failure.origin)));
        text.push_str(&bytes(failure.number));
    }
    for left in &measured.left_out_by_name {
        let (label, reason) = (printable(&left.label), printable(&left.reason));
        text.push_str(&format!("\nleft out: {label}, {}: {reason}", origin(&left.origin)));
    }
    for exception in idle {
        let (label, flow) = (printable(&exception.label), printable(&exception.flow));
        text.push_str(&format!("\nno such sample to leave out: {label}, {flow}"));
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn origin(origin: &Origin) -> String {
    printable(&format!("{} {} {}", origin.repo, origin.file, origin.flow))
}

fn table(measured: &Measurement) -> String {
    let mut table = Table::default();
    table.push(["label", "plugin", "samples", "matched", "recall", "precision", "undecided"].into_iter().chain([
        "byte",
        "max",
        "fuel",
        "max",
        "wrong",
        "negatives",
        "open",
    ]));
    for protocol in &measured.protocols {
        table.push(row(protocol));
    }
    table.render()
}

fn row(protocol: &Protocol) -> Vec<String> {
    let (byte, byte_max) = spread(protocol.decided_at);
    let (fuel, fuel_max) = spread(protocol.fuel);
    vec![
        protocol.label.as_deref().map_or_else(|| "-".to_owned(), printable),
        printable(&protocol.plugins.join(" ")),
        protocol.samples.to_string(),
        protocol.matched.to_string(),
        rate(protocol.recall),
        rate(protocol.precision),
        protocol.undecided.to_string(),
        byte,
        byte_max,
        fuel,
        fuel_max,
        protocol.wrong_claims.to_string(),
        protocol.claimed.map_or_else(|| "-".to_owned(), |part| format!("{:.1} %", part * 100.0)),
        protocol.left_open.to_string(),
    ]
}

fn overall(measured: &Measurement) -> String {
    let all = &measured.overall;
    let mut table = Table::default();
    let mut row = |what: &str, found: String| table.push([what.to_owned(), found]);
    row("recall", format!("{}: {} of {} samples of measurable labels", rate(all.recall), all.matched, all.samples));
    row("matched at the end", format!("{} of these, when the time was up", all.matched_at_end));
    row("precision", format!("{}: {} wrong", rate(all.precision), count(all.wrong_claims, "claim")));
    row("undecided", format!("{} of the {} that were missed", all.undecided, all.samples - all.matched));
    row("negatives", negatives(all));
    row("too few for rates", format!("{} of {} samples matched", all.unmeasured_matched, all.unmeasured));
    row("server spoke first", format!("{} of {} samples matched, none had to", all.excused_matched, all.excused));
    row("waited for", format!("{}, for which some plugin needed more to the end", count(all.waited_for, "sample")));
    row("fuel", format!("{} in the dearest of {}", all.most_fuel, count(all.calls, "call")));
    let alike = match measured.disagreements.len() {
        0 => "the same answers as byte by byte".to_owned(),
        changed => format!("{} CHANGED by feeding byte by byte", count(changed, "answer")),
    };
    row("segments", alike);
    if !measured.failures.is_empty() {
        row("failures", format!("{} without a verdict", count(measured.failures.len(), "call")));
    }
    if !measured.without_detector.is_empty() {
        row("no plugin for", printable(&measured.without_detector.join(" ")));
    }
    for (reason, samples) in &measured.left_out {
        row("left out", format!("{}: {reason}", count(*samples, "sample")));
    }
    if let Some(with) = &measured.with_all {
        let samples = count(measured.left_out_by_name.len(), "sample");
        row(
            "left out",
            format!("{samples} by name; with {} it would be", if samples == "1 sample" { "it" } else { "them" }),
        );
        row("  recall", format!("{}: {} of {}", rate(with.recall), with.matched, with.samples));
        row("  precision", format!("{}: {} wrong", rate(with.precision), count(with.wrong_claims, "claim")));
        row("  negatives", negatives(with));
    }
    table.render()
}

fn negatives(all: &Overall) -> String {
    let kinds = all.negatives_by_kind.iter().map(|(kind, found)| {
        let name = match kind {
            Negative::Other => "of no known protocol",
            Negative::NoDetector => "of protocols without a plugin",
            Negative::ServerFirst => "of protocols in which servers speak first",
        };
        format!("{} of {} {name}", found.claimed, found.samples)
    });
    let kinds = kinds.collect::<Vec<String>>().join(", ");
    format!("{}: {} of {} claimed ({kinds})", rate(all.claimed), all.negatives_claimed, all.negatives)
}

fn rate(part: Option<f64>) -> String {
    part.map_or_else(|| "-".to_owned(), |part| format!("{part:.4}"))
}

fn spread(found: Option<Spread>) -> (String, String) {
    found.map_or_else(|| ("-".to_owned(), "-".to_owned()), |found| (found.median.to_string(), found.max.to_string()))
}

/// The day a file was last written, as `2026-01-31` in UTC.
pub(super) fn date_of(path: &Path) -> Option<String> {
    let written = path.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(date(written.as_secs() / 86_400))
}

/// The date so many days after 1 January 1970, by the calendar's period of 400 years.
fn date(days: u64) -> String {
    // Years begin in March here, so that a leap day is the last day of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, text) in [(0, "1970-01-01"), (58, "1970-02-28"), (59, "1970-03-01"), (11_016, "2000-02-29")] {
            assert_eq!(date(days), text);
        }
        assert_eq!(date(20_784), "2026-11-27");
        assert_eq!(date(47_540), "2100-02-28");
        assert_eq!(date(47_541), "2100-03-01");
    }
}
