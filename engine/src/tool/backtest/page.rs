//! The report as one page: everything in one file, nothing loaded, no script.

use askama::Template;

use super::{
    picture,
    report::{InvariantRow, Report},
    table::short,
    worker::Latency,
};
use crate::tool::{evidence::Frame, exit::Failure, text};

/// Pictures drawn, worst invariants first; each has some 10 kB.
const PICTURES: usize = 200;
/// Violations, warnings and mismatches written out.
const TOLD: usize = 1000;
/// Rows of invariants written out.
const ROWS: usize = 5000;

#[derive(Template)]
#[template(path = "backtest.html")]
struct Page<'a> {
    report: &'a Report,
    rows: Vec<&'a InvariantRow>,
    hidden_rows: usize,
    undecided: u64,
    latency: Vec<(String, String)>,
    latency_picture: String,
    pictures: Vec<Picture<'a>>,
    hidden_pictures: usize,
    told: usize,
}

struct Picture<'a> {
    row: &'a InvariantRow,
    svg: String,
}

/// Draws the page.
pub(super) fn render(report: &Report, latency: &Latency) -> Result<String, Failure> {
    let drawn = |error: Box<dyn std::error::Error>| Failure::Machine(format!("a picture cannot be drawn: {error}"));
    let mut evaluated: Vec<&InvariantRow> = report.invariants.iter().filter(|row| !row.ranges.is_empty()).collect();
    evaluated.sort_by_key(|row| std::cmp::Reverse((row.violations, row.evaluations)));
    let mut pictures = Vec::new();
    for row in evaluated.iter().take(PICTURES) {
        let points: Vec<(u64, f64)> = row
            .ranges
            .iter()
            .map(|(block, range)| (*block, text::approximately(range.min)))
            .collect();
        let svg = picture::margins(&points).map_err(drawn)?;
        pictures.push(Picture { row, svg });
    }
    // Those that something happened to first.
    let mut rows: Vec<&InvariantRow> = report.invariants.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.violations, row.undecided, row.evaluations)));
    rows.truncate(ROWS);
    let order = ["p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"];
    let in_order = order.iter().filter_map(|name| {
        let us = report.timing.latency_us.get(*name)?;
        Some(((*name).to_owned(), format!("{us:.1}")))
    });
    let page = Page {
        report,
        hidden_rows: report.invariants.len() - rows.len(),
        rows,
        undecided: report.invariants.iter().map(|row| row.undecided).sum(),
        latency: in_order.collect(),
        latency_picture: picture::latency(latency).map_err(drawn)?,
        hidden_pictures: evaluated.len() - pictures.len(),
        pictures,
        told: TOLD,
    };
    page.render()
        .map_err(|error| Failure::Machine(format!("the page cannot be written: {error}")))
}

impl Page<'_> {
    /// A value, or a dash.
    fn shown(&self, value: &Option<String>) -> String {
        value.as_deref().map_or_else(|| "\u{2013}".to_owned(), text::grouped)
    }

    fn margin(&self, row: &InvariantRow, which: &str) -> String {
        let margin = row.margin.as_ref().map(|margin| match which {
            "min" => short(&margin.min),
            "max" => short(&margin.max),
            _ => short(&margin.last),
        });
        margin.unwrap_or_else(|| "\u{2013}".to_owned())
    }

    fn frame(&self, frame: &Frame) -> String {
        let indent = "  ".repeat(usize::from(frame.depth.min(40)));
        let selector = frame.selector.as_deref().unwrap_or_default();
        let code = if frame.code == frame.address {
            String::new()
        } else {
            format!(" (code of {})", frame.code)
        };
        format!("{indent}{} {} {selector}{code}", frame.kind, frame.address)
    }

    fn number(&self, number: &u64) -> String {
        text::grouped(&number.to_string()).replace('_', "\u{202f}")
    }
}
