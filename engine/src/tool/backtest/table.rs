//! The report for a terminal.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use super::report::{InvariantRow, Report};
use crate::tool::text::grouped;

/// Violations, warnings and mismatches that are told one by one.
const TOLD: usize = 20;
/// Rows of the table of invariants; beyond, those that nothing happened to are left out.
const ROWS: usize = 60;
const WIDTH: u16 = 160;
const NAME: usize = 60;

/// The whole report as text.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    let _infallible = write(&mut text, report);
    text
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "{}", invariants(report))?;
    for violation in report.violations.iter().take(TOLD) {
        let value = |value: &Option<String>| value.as_deref().map_or_else(|| "?".to_owned(), grouped);
        writeln!(out, "VIOLATED  {}", violation.invariant)?;
        writeln!(
            out,
            "  block    {} ({}), transaction {}",
            violation.at.block, violation.at.case, violation.at.index
        )?;
        writeln!(out, "  tx       {} from {}", violation.at.tx, violation.at.sender)?;
        if violation.pre.is_some() || violation.post.is_some() {
            writeln!(
                out,
                "  value    {} -> {}",
                value(&violation.pre),
                value(&violation.post)
            )?;
        } else {
            for reading in &violation.witness.readings {
                writeln!(
                    out,
                    "  read     {}: {} -> {}",
                    reading.label,
                    value(&reading.pre),
                    value(&reading.post)
                )?;
            }
        }
        if violation.margin.is_some() {
            writeln!(
                out,
                "  margin   {} -> {}",
                value(&violation.margin_before),
                value(&violation.margin)
            )?;
        }
        writeln!(out, "  witness  {}", violation.witness.digest)?;
    }
    more(out, "violations", report.violation_count)?;
    for warning in report.warnings.iter().take(TOLD) {
        writeln!(
            out,
            "warning: transaction {} of block {} would have violated {} before it reverted ({} -> {})",
            warning.at.index,
            warning.at.block,
            warning.invariant,
            grouped(&warning.attempt.pre),
            grouped(&warning.attempt.at_revert)
        )?;
    }
    more(out, "warnings", report.warning_count)?;
    for mismatch in report.gas.mismatches.iter().take(TOLD) {
        writeln!(
            out,
            "not as recorded: transaction {} of {}: {}, gas {} instead of {}",
            mismatch.at.index, mismatch.at.case, mismatch.status, mismatch.gas_used, mismatch.recorded_gas
        )?;
    }
    more(out, "transactions not as recorded", report.gas.mismatched)?;
    for (reason, times) in &report.undecided_reasons {
        writeln!(out, "undecided {times} times: {reason}")?;
    }
    for unfinished in &report.unfinished {
        writeln!(out, "not judged to its end: {}: {}", unfinished.case, unfinished.why)?;
    }
    summary(out, report)
}

fn more(out: &mut String, what: &str, number: u64) -> std::fmt::Result {
    match number.saturating_sub(TOLD as u64) {
        0 => Ok(()),
        rest => writeln!(out, ".. and {rest} more {what}; --json and --html tell more of them"),
    }
}

fn summary(out: &mut String, report: &Report) -> std::fmt::Result {
    let timing = &report.timing;
    let latency = |name: &str| {
        timing
            .latency_us
            .get(name)
            .map_or_else(|| "-".to_owned(), |us| format!("{us:.1}"))
    };
    writeln!(
        out,
        "\n{} cases, blocks {} to {}, {} transactions in {:.1} s on {} threads ({:.0} a second)",
        report.cases,
        report.first_block.unwrap_or_default(),
        report.last_block.unwrap_or_default(),
        report.transactions,
        timing.seconds,
        timing.threads,
        timing.transactions_per_second
    )?;
    writeln!(
        out,
        "judging one: p50 {} us, p90 {} us, p99 {} us, p99.9 {} us, max {} us",
        latency("p50"),
        latency("p90"),
        latency("p99"),
        latency("p99.9"),
        latency("max")
    )?;
    let gas = &report.gas;
    writeln!(
        out,
        "execution: {} compared with the record, {} differ",
        gas.compared, gas.mismatched
    )?;
    let undecided: u64 = report.invariants.iter().map(|row| row.undecided).sum();
    writeln!(
        out,
        "{}: {} violations, {} undecided, {} warnings",
        report.verdict.to_uppercase(),
        report.violation_count,
        undecided,
        report.warning_count
    )
}

fn invariants(report: &Report) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .force_no_tty()
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH);
    table.set_header([
        "invariant",
        "evaluated",
        "violated",
        "undecided",
        "least margin",
        "greatest margin",
        "last margin",
    ]);
    let happened = |row: &&InvariantRow| row.evaluations + row.undecided > 0;
    let rows: Vec<&InvariantRow> = match report.invariants.len() {
        0..=ROWS => report.invariants.iter().collect(),
        _ => report.invariants.iter().filter(happened).collect(),
    };
    for row in rows.iter().take(ROWS) {
        let margin = |of: fn(&super::report::MarginRow) -> &String| {
            right(
                row.margin
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |margin| short(of(margin))),
            )
        };
        let name: String = row.name.chars().take(NAME).collect();
        table.add_row(vec![
            Cell::new(name),
            right(row.evaluations),
            right(row.violations),
            right(row.undecided),
            margin(|margin| &margin.min),
            margin(|margin| &margin.max),
            margin(|margin| &margin.last),
        ]);
    }
    let hidden = report.invariants.len() - rows.len().min(ROWS);
    if hidden > 0 {
        table.add_row(vec![Cell::new(format!(".. and {hidden} more"))]);
    }
    table
}

fn right(value: impl ToString) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

/// Long numbers by their first digits and their magnitude.
pub(super) fn short(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    if digits.len() <= 15 {
        return grouped(number);
    }
    let (first, rest) = digits.split_at(1);
    let decimals: String = rest.chars().take(4).collect();
    format!("{sign}{first}.{decimals}e{}", rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_shortened() {
        assert_eq!(short("-123456789012345"), "-123_456_789_012_345");
        assert_eq!(short("1234567890123456"), "1.2345e15");
        assert_eq!(short("-10000000000000000"), "-1.0000e16");
    }
}
