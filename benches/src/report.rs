//! The table in Markdown, and the files that it goes into.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use crate::peer::Kind;
use crate::plot;
use crate::stats::{Summary, ratio, summary};
use crate::suite::{Row, Run, Section};

const BEGIN: &str = "<!-- portsplit-bench: begin -->";
const END: &str = "<!-- portsplit-bench: end -->";

/// What a row can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// Another proxy in the same variant.
    Peer(Kind),
    /// The same proxy in its first variant.
    FirstVariant,
}

impl Baseline {
    fn title(self) -> String {
        match self {
            Baseline::Peer(kind) => format!("÷ {}", kind.name()),
            Baseline::FirstVariant => "÷ first".to_owned(),
        }
    }

    /// Returns the row that `row` is compared with.
    pub(crate) fn row<'a>(self, section: &'a Section, row: &Row) -> Option<&'a Row> {
        section.rows.iter().find(|other| match self {
            Baseline::Peer(kind) => other.kind == kind && other.variant == row.variant,
            Baseline::FirstVariant => other.kind == row.kind,
        })
    }

    /// Returns the comparisons that make sense in a section.
    fn of(section: &Section) -> Vec<Baseline> {
        let mut baselines = Vec::new();
        for kind in [Kind::Haproxy, Kind::SslhSelect] {
            if section.rows.iter().any(|row| row.kind == kind) {
                baselines.push(Baseline::Peer(kind));
            }
        }
        let first = section.rows.first().map(|row| &row.variant);
        if section.rows.iter().any(|row| Some(&row.variant) != first) {
            baselines.push(Baseline::FirstVariant);
        }
        baselines
    }
}

/// Returns the report of a run.
pub(crate) fn markdown(run: &Run) -> String {
    let mut text = String::new();
    if run.short {
        text += "**A short run: it shows that the loads work. Its figures mean nothing.**\n\n";
    }
    for fact in &run.facts {
        let _ = writeln!(text, "- {fact}");
    }
    let seconds = run.time.as_secs_f64();
    let _ = writeln!(
        text,
        "\nMedians of {} rounds of {seconds} s for each proxy in turn; in parentheses the least and the most. Ratios are \
         medians of the ratios within a round. Client, proxy and backend share the cores. CPU is that of the proxy, user \
         and kernel together.",
        run.rounds
    );
    for section in &run.sections {
        write_section(&mut text, section);
    }
    text
}

fn write_section(text: &mut String, section: &Section) {
    let _ = write!(text, "\n### {}\n\n{}\n", section.title, section.text);
    for note in &section.notes {
        let _ = write!(text, "\n{note}\n");
    }
    if section.rows.is_empty() {
        return;
    }
    let baselines = Baseline::of(section);
    let mut head = String::from("\n| proxy |");
    let mut line = String::from("|---|");
    for metric in section.metrics {
        let _ = write!(head, " {} |", metric.name);
        line += "---:|";
        for baseline in baselines.iter().filter(|_| metric.compared) {
            let _ = write!(head, " {} |", baseline.title());
            line += "---:|";
        }
    }
    let _ = write!(text, "{head}\n{line}\n");
    for row in &section.rows {
        let separator = if row.variant.is_empty() { "" } else { ", " };
        let _ = write!(text, "| {}{separator}{} |", row.kind.name(), row.variant);
        for (number, (metric, samples)) in section.metrics.iter().zip(&row.samples).enumerate() {
            let _ = write!(text, " {} |", shown(summary(samples), metric.digits));
            for baseline in baselines.iter().filter(|_| metric.compared) {
                let other = baseline.row(section, row).and_then(|other| other.samples.get(number));
                let ratio = other.and_then(|other| ratio(samples, other));
                let _ = match ratio {
                    Some(ratio) => write!(text, " {:.2} |", ratio.median),
                    None => write!(text, " – |"),
                };
            }
        }
        text.push('\n');
    }
    for row in section.rows.iter().filter(|row| row.errors > 0) {
        let _ = writeln!(
            text,
            "\n{} {}: **{} errors**; do not quote its figures.",
            row.kind.name(),
            row.variant,
            row.errors
        );
    }
}

fn shown(summary: Option<Summary>, digits: usize) -> String {
    match summary {
        None => "–".to_owned(),
        Some(Summary { median, least, most }) if (least - most).abs() < f64::EPSILON => format!("{median:.digits$}"),
        Some(Summary { median, least, most }) => format!("{median:.digits$} ({least:.digits$}–{most:.digits$})"),
    }
}

/// Writes the table into `performance.md` of a folder, between its markers, and the plot beside it.
///
/// # Errors
/// Fails if a file cannot be read or written, or has only one of the markers.
pub(crate) fn write(run: &Run, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let page = folder.join("performance.md");
    let old = match fs::read_to_string(&page) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("# Performance\n\n{BEGIN}\n{END}\n"),
        Err(error) => return Err(error),
    };
    let table = format!("![The loads, compared](performance.svg)\n\n{}", markdown(run));
    fs::write(&page, between_markers(&old, &table)?)?;
    fs::write(folder.join("performance.svg"), plot::svg(run))
}

fn between_markers(old: &str, new: &str) -> io::Result<String> {
    match (old.split_once(BEGIN), old.split_once(END)) {
        (Some((before, _)), Some((_, after))) => Ok(format!("{before}{BEGIN}\n\n{new}\n{END}{after}")),
        (None, None) => Ok(format!("{old}\n{BEGIN}\n\n{new}\n{END}\n")),
        _ => Err(io::Error::other("performance.md has only one of its two markers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let old = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = between_markers(&old, "new").unwrap_or_default();
        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n{END}\nafter\n"));
        assert_eq!(between_markers(&new, "new").unwrap_or_default(), new);
    }

    #[test]
    fn a_page_without_markers_gets_them_and_half_a_pair_is_refused() {
        assert!(between_markers("text", "new").is_ok_and(|page| page.starts_with("text\n") && page.contains(END)));
        assert!(between_markers(&format!("text {BEGIN}"), "new").is_err());
    }

    #[test]
    fn a_spread_is_shown_if_there_is_one() {
        let summary = |least, most| Some(Summary { median: 2.0, least, most });
        assert_eq!(shown(summary(1.0, 3.0), 1), "2.0 (1.0–3.0)");
        assert_eq!(shown(summary(2.0, 2.0), 0), "2");
        assert_eq!(shown(None, 0), "–");
    }
}
