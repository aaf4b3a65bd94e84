//! What the communities' commands print.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use community::duties::Done;
use community::row::Row;
use community::simulate::{Cost, trend};

/// Billionths in a unit of the currency.
const UNIT: f64 = 1e9;

/// What the duties of a phase came to, in one line.
pub(super) fn done(done: &Done) -> String {
    let Done {
        ceremony,
        phase,
        population,
        paid,
        endorsees,
        newbies,
        registered,
        neurons,
        attestations,
        weights,
        benign,
        unpaid,
    } = done;
    format!(
        "ceremony {ceremony} {phase}: {population} accounts ({endorsees} endorsed, {newbies} newbies came), {paid} incomes paid, {registered} \
         registered ({neurons} on the ledger), {attestations} attested, {weights} set weights; {benign} benign refusals, {unpaid} could not pay"
    )
}

/// A ceremony as it ends, in one line.
pub(super) fn ceremony(row: &Row, cost: &Cost) -> String {
    let memory = cost
        .resident
        .map_or_else(|| "?".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
    format!(
        "ceremony {}: {} attended, {:.2} s, {memory}\n",
        row.ceremony, row.attended, cost.seconds
    )
}

/// How time and memory of a ceremony changed over the run, in one line; nothing of a short one.
pub(super) fn trends(costs: &[Cost]) -> String {
    let seconds = trend(costs, |cost| Some(cost.cpu_seconds));
    let memory = trend(costs, |cost| cost.resident.map(|bytes| bytes as f64));
    match (seconds, memory) {
        (Some(seconds), Some(memory)) => {
            format!(
                "the last third of the ceremonies took {seconds:.2} times the processor time and {memory:.2} times the memory of the first\n"
            )
        }
        _ => String::new(),
    }
}

/// The ceremonies as a table, and the roles of the last one as another.
pub(super) fn rows(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut table = table(&[
        "ceremony",
        "population",
        "supply",
        "registered",
        "seated",
        "newbies",
        "meetups",
        "attended",
        "unpaid",
        "found p50 ms",
    ]);
    for row in rows {
        table.add_row([
            row.ceremony.to_string(),
            row.population.to_string(),
            format!("{:.1}", row.supply as f64 / UNIT),
            row.registered.sum().to_string(),
            row.seated.sum().to_string(),
            row.seated.newbies.to_string(),
            row.meetups.to_string(),
            row.attended.to_string(),
            row.unpaid.to_string(),
            milliseconds(row.detection.map(|(median, _)| median)),
        ]);
    }
    right(&mut table);
    let _written = writeln!(text, "{table}");
    if let Some(row) = rows.last().filter(|row| !row.roles.is_empty()) {
        let _written = writeln!(text, "\nminers of ceremony {}", row.ceremony);
        let mut table = self::table(&[
            "role",
            "miners",
            "asked",
            "answered",
            "right",
            "violations",
            "found",
            "L99 ms",
            "attended",
            "incentive: least",
            "mean",
            "most",
        ]);
        for (role, seen) in &row.roles {
            let spread = |of: fn(&community::row::Spread) -> f64| {
                seen.incentive
                    .as_ref()
                    .map_or_else(String::new, |spread| of(spread).to_string())
            };
            table.add_row([
                role.to_string(),
                seen.miners.to_string(),
                seen.asked.to_string(),
                seen.answered.to_string(),
                seen.correct.to_string(),
                seen.violating.to_string(),
                seen.found.to_string(),
                milliseconds(seen.l99),
                seen.attended.to_string(),
                spread(|spread| spread.least.into()),
                spread(|spread| spread.mean),
                spread(|spread| spread.most.into()),
            ]);
        }
        right(&mut table);
        let _written = writeln!(text, "{table}");
    }
    text
}

fn milliseconds(micros: Option<u64>) -> String {
    micros.map_or_else(String::new, |micros| format!("{:.1}", micros as f64 / 1e3))
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_BORDERS_ONLY_CONDENSED)
        .set_header(header);
    table
}

/// All columns but the first to the right.
fn right(table: &mut Table) {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
