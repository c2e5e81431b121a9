//! The table in Markdown, and the files that it goes into.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use crate::goals;
use crate::peer::Kind;
use crate::stats::{Summary, ratio, summary};
use crate::suite::{Row, Run, Section};

/// A part of the page that the benchmark writes, between two markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Figures,
    SystemCalls,
    Profile,
}

impl Part {
    fn marker(self, end: &str) -> String {
        let name = match self {
            Part::Figures => "figures",
            Part::SystemCalls => "system calls",
            Part::Profile => "profile",
        };
        format!("<!-- portsplit-bench, {name}: {end} -->")
    }
}

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
    if !run.short {
        text += &goals::markdown(run);
    }
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
        let _ = write!(text, "| {} |", row.label());
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
        let _ = writeln!(text, "\n{}: **{} errors**; do not quote its figures.", row.label(), row.errors);
    }
}

fn shown(summary: Option<Summary>, digits: usize) -> String {
    match summary {
        None => "–".to_owned(),
        Some(Summary { median, least, most }) if (least - most).abs() < f64::EPSILON => format!("{median:.digits$}"),
        Some(Summary { median, least, most }) => format!("{median:.digits$} ({least:.digits$}–{most:.digits$})"),
    }
}

/// Writes a part into `performance.md` of a folder, between its markers.
///
/// # Errors
/// Fails if the file cannot be read or written, or has only one of the markers.
pub(crate) fn write(part: Part, text: &str, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let page = folder.join("performance.md");
    let old = match fs::read_to_string(&page) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "# Performance\n\n![The loads, compared](performance.svg)\n".to_owned()
        }
        Err(error) => return Err(error),
    };
    fs::write(&page, between_markers(part, &old, text)?)
}

fn between_markers(part: Part, old: &str, new: &str) -> io::Result<String> {
    let (begin, end) = (part.marker("begin"), part.marker("end"));
    let new = new.trim_end();
    match (old.split_once(&begin), old.split_once(&end)) {
        (Some((before, _)), Some((_, after))) => Ok(format!("{before}{begin}\n\n{new}\n\n{end}{after}")),
        (None, None) => Ok(format!("{old}\n{begin}\n\n{new}\n\n{end}\n")),
        _ => Err(io::Error::other(format!("performance.md has only one of `{begin}` and `{end}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_of_the_part_changes() {
        for part in [Part::Figures, Part::SystemCalls, Part::Profile] {
            let (begin, end) = (part.marker("begin"), part.marker("end"));
            let old = format!("before\n{begin}\nold\n{end}\nafter\n");
            let new = between_markers(part, &old, "new\n").unwrap_or_default();
            assert_eq!(new, format!("before\n{begin}\n\nnew\n\n{end}\nafter\n"));
            assert_eq!(between_markers(part, &new, "new").unwrap_or_default(), new);
        }
    }

    #[test]
    fn a_page_without_markers_gets_them_and_half_a_pair_is_refused() {
        let (begin, end) = (Part::Figures.marker("begin"), Part::Figures.marker("end"));
        let page = between_markers(Part::Figures, "text", "new").unwrap_or_default();
        assert!(page.starts_with("text\n") && page.contains(&begin) && page.contains(&end));
        assert!(between_markers(Part::Figures, &format!("text {begin}"), "new").is_err());
    }

    #[test]
    fn a_spread_is_shown_if_there_is_one() {
        let summary = |least, most| Some(Summary { median: 2.0, least, most });
        assert_eq!(shown(summary(1.0, 3.0), 1), "2.0 (1.0–3.0)");
        assert_eq!(shown(summary(2.0, 2.0), 0), "2");
        assert_eq!(shown(None, 0), "–");
    }
}
