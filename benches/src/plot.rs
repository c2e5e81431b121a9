//! The picture: a panel of bars for each figure that is compared, readable on a light and on a dark page.

use std::fmt::Write;

use crate::peer::Kind;
use crate::report::Baseline;
use crate::stats::{Summary, ratio, summary};
use crate::suite::{Metric, Row, Run, Section};

const WIDTH: usize = 760;
const LABEL_WIDTH: usize = 210;
const BAR_WIDTH: usize = 340;
const BAR_HEIGHT: usize = 16;
const PITCH: usize = 22;
const PANEL_HEAD: usize = 34;
const PANEL_GAP: usize = 18;

/// Returns the plot of a run as an SVG document, with a panel for each figure that is to be in it.
pub(crate) fn svg(run: &Run) -> String {
    let mut body = String::new();
    let mut y = 12;
    for section in &run.sections {
        for (number, metric) in section.metrics.iter().enumerate().filter(|(_, metric)| metric.plotted) {
            y = panel(&mut body, y, section, number, metric);
        }
    }
    // Grey text and middle tones stand out from white and from black.
    let style = "text{font:13px system-ui,sans-serif;fill:#808890}.h{font-weight:600}.s{font-size:11px}\
        .portsplit{fill:#2f8fd8}.haproxy{fill:#c98a2b}.sslh-select{fill:#5fa35f}.sslh-ev{fill:#8f78c8}\
        .nginx{fill:#b86a8a}\
        .direct{fill:#9aa0a6}.w{stroke:#808890;stroke-width:1.5}";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         role=\"img\" aria-label=\"portsplit and other proxies under the same loads\">\n<style>{style}</style>\n\
         {body}</svg>\n"
    )
}

/// Draws one panel from `y` down and returns where the next one begins.
fn panel(body: &mut String, y: usize, section: &Section, number: usize, metric: &Metric) -> usize {
    let rows: Vec<(&Row, Summary)> =
        section.rows.iter().filter_map(|row| Some((row, summary(row.samples.get(number)?)?))).collect();
    let most = rows.iter().map(|(_, summary)| summary.most).fold(0.0, f64::max);
    if most <= 0.0 {
        return y;
    }
    let better = if metric.more_is_better() { "more" } else { "less" };
    let head = format!("{}: {} ({better} is better)", section.title, metric.name);
    let _ = writeln!(body, "<text class=\"h\" x=\"8\" y=\"{}\">{}</text>", y + 16, escaped(&head));
    let scale = |value: f64| (value / most * BAR_WIDTH as f64).max(1.0);
    let mut top = y + PANEL_HEAD - 8;
    for (row, Summary { median, least, most }) in rows {
        let name = row.kind.name();
        let label = row.label();
        let middle = top + BAR_HEIGHT / 2;
        let (from, to) = (LABEL_WIDTH as f64 + scale(least), LABEL_WIDTH as f64 + scale(most));
        let digits = metric.digits;
        let compared = against_haproxy(section, row, number);
        let _ = writeln!(
            body,
            "<text{} x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{name}\" x=\"{LABEL_WIDTH}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" rx=\"2\"/>\
             <path class=\"w\" d=\"M{from:.1} {middle}H{to:.1}\"/>\
             <text class=\"s\" x=\"{}\" y=\"{}\">{median:.digits$}{compared}</text>",
            if row.kind == Kind::Portsplit { " class=\"h\"" } else { "" },
            LABEL_WIDTH - 8,
            top + 13,
            escaped(&label),
            scale(median),
            LABEL_WIDTH + BAR_WIDTH + 10,
            top + 13,
        );
        top += PITCH;
    }
    top + PANEL_GAP
}

fn against_haproxy(section: &Section, row: &Row, number: usize) -> String {
    if row.errors > 0 {
        return format!(" ({} errors)", row.errors);
    }
    let other = Baseline::Peer(Kind::Haproxy).row(section, row).filter(|other| other.kind != row.kind);
    let samples = other.and_then(|other| Some((row.samples.get(number)?, other.samples.get(number)?)));
    match samples.and_then(|(of, to)| ratio(of, to)) {
        Some(ratio) => format!(" ({:.2} × haproxy)", ratio.median),
        None => String::new(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_proxy_with_a_figure_has_a_bar() {
        const METRICS: &[Metric] = &[
            Metric { name: "a < b", digits: 1, compared: true, plotted: true },
            Metric { name: "c", digits: 1, compared: true, plotted: false },
        ];
        let row = |kind, sample| Row {
            kind,
            variant: String::new(),
            samples: vec![vec![sample], vec![Some(1.0)]],
            bytes: 1,
            errors: 0,
        };
        let rows = vec![row(Kind::Direct, None), row(Kind::Portsplit, Some(1.0)), row(Kind::Haproxy, Some(2.0))];
        let section = Section { title: "t", text: "", metrics: METRICS, rows, notes: Vec::new() };
        let run =
            Run { sections: vec![section], facts: Vec::new(), rounds: 1, time: Duration::from_secs(1), short: false };
        let svg = svg(&run);
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.contains("(0.50 × haproxy)"));
    }
}
