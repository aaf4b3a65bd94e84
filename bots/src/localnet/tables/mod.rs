//! The report for people: tables, and a closing paragraph that needs no knowledge of the network.

mod closing;

use std::fmt::Write;

use alloy::primitives::U256;
use comfy_table::{Cell, CellAlignment, Table, presets};

pub use closing::closing;

use crate::localnet::report::{Incident, Live, Miner, Reading, Report};

/// Values above this are shown in hex: nobody reads forty digits.
const DECIMAL_DIGITS: usize = 24;
/// Columns of the incidents' table.
const INCIDENTS_WIDTH: u16 = 140;

/// The whole report as text.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for (title, table) in [
        ("Transactions", totals(report)),
        ("Incidents", incidents(report)),
        ("Miners", miners(report)),
        ("Validators", validators(report)),
        ("Processes", processes(report)),
    ] {
        let _infallible = writeln!(text, "\n{title}\n{table}");
    }
    if let Some(live) = &report.live {
        let _infallible = writeln!(text, "\nThe living chain\n{}\n{}", chain(live), feed(live));
    }
    let _infallible = writeln!(text, "\n{}", closing(report));
    text
}

/// What was sent to a living chain, and what became of it.
fn chain(live: &Live) -> Table {
    let mut table = table(&[
        "blocks",
        "sent",
        "by type",
        "refused",
        "replaced",
        "included",
        "waiting",
        "judged",
        "lost",
        "as planned",
        "same gas",
    ]);
    let types: Vec<String> = live
        .sent_by_type
        .iter()
        .map(|(kind, count)| format!("{kind}: {count}"))
        .collect();
    table.add_row(vec![
        right(live.blocks),
        right(live.sent),
        Cell::new(types.join(", ")),
        right(live.refused),
        right(live.replaced),
        right(live.included),
        right(live.waiting),
        right(live.judged),
        right(live.lost),
        right(format!("{} of {}", live.as_planned, live.included)),
        right(format!("{} of {}", live.same_gas, live.same_gas + live.other_gas)),
    ]);
    table
}

/// What the platform says of its feed.
fn feed(live: &Live) -> Table {
    let mut table = table(&[
        "feed: replaced",
        "dropped",
        "included",
        "carried over",
        "judged anew",
        "without state",
        "orphaned heads",
        "gaps",
        "missed heads",
    ]);
    let counts = &live.feed;
    table.add_row(vec![
        right(counts.replaced),
        right(counts.dropped),
        right(counts.included),
        right(counts.carried_over),
        right(counts.rejudged),
        right(counts.without_prestate),
        right(counts.orphaned),
        right(counts.gaps),
        right(counts.missed_heads),
    ]);
    table
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).force_no_tty();
    table.set_header(header.iter().map(Cell::new).collect::<Vec<_>>());
    table
}

fn right(value: impl ToString) -> Cell {
    Cell::new(value).set_alignment(CellAlignment::Right)
}

fn totals(report: &Report) -> Table {
    let mut table = table(&[
        "seen",
        "judged",
        "executed",
        "holds",
        "violated",
        "undecided",
        "challenges",
        "agreement",
        "tx/s",
        "gas",
    ]);
    table.add_row(vec![
        right(report.transactions),
        right(report.judged),
        right(report.executed),
        right(report.verdicts.holds),
        right(report.verdicts.violated),
        right(report.verdicts.undecided),
        right(report.challenges),
        right(format!("{:.1} %", 100.0 * report.agreement)),
        right(format!("{:.1}", report.tx_per_s)),
        right(format!("{} of {} differ", report.gas_mismatches, report.gas_compared)),
    ]);
    table
}

/// A value, or of an expression those of its terms that the transaction changes.
fn told(incident: &Incident, said: fn(&Reading) -> &String, number: U256) -> String {
    let changed = || incident.readings.iter().filter(|reading| reading.pre != reading.post);
    let told: Vec<String> = match changed().count() {
        0 => return value(number),
        1 => changed().map(|reading| said(reading).clone()).collect(),
        _ => changed()
            .map(|reading| format!("{} {}", reading.what, said(reading)))
            .collect(),
    };
    told.join("\n")
}

fn incidents(report: &Report) -> Table {
    let mut table = table(&[
        "invariant",
        "transaction",
        "before",
        "after",
        "confirmed in",
        "before its block",
        "by",
    ]);
    table
        .set_width(INCIDENTS_WIDTH)
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    for incident in &report.incidents {
        table.add_row(vec![
            Cell::new(&incident.invariant),
            Cell::new(incident.tx),
            right(told(incident, |reading| &reading.pre, incident.pre)),
            right(told(incident, |reading| &reading.post, incident.post)),
            right(format!("{:.1} ms", incident.seen_to_confirmed_ms)),
            right(
                incident
                    .ms_before_inclusion
                    .map_or_else(|| "not included".to_owned(), |ms| format!("{ms} ms")),
            ),
            right(incident.confirmations),
        ]);
    }
    if report.incidents.is_empty() {
        table.add_row(vec!["none"]);
    }
    table
}

fn miners(report: &Report) -> Table {
    let mut table = table(&[
        "uid",
        "role",
        "asked",
        "answered",
        "accuracy",
        "p50 ms",
        "p99 ms",
        "score",
        "weight",
        "incentive",
    ]);
    let mut ranked: Vec<&Miner> = report.miners.iter().collect();
    ranked.sort_by(|a, b| b.incentive.total_cmp(&a.incentive).then(a.uid.cmp(&b.uid)));
    for miner in ranked {
        table.add_row(vec![
            right(miner.uid),
            Cell::new(miner.role),
            right(miner.asked),
            right(miner.answered),
            right(format!("{:.1} %", 100.0 * miner.accuracy)),
            right(format!("{:.1}", miner.p50_ms)),
            right(format!("{:.1}", miner.p99_ms)),
            right(format!("{:.4}", miner.score)),
            right(format!("{:.4}", miner.weight)),
            right(format!("{:.4}", miner.incentive)),
        ]);
    }
    table
}

fn validators(report: &Report) -> Table {
    let mut table = table(&["uid", "stake TAO", "judged", "arbitrated", "repeated", "weights set"]);
    for validator in &report.validators {
        table.add_row(vec![
            right(validator.uid),
            right(format!(
                "{:.1}",
                validator.stake as f64 / crate::localnet::plan::RAO_PER_TAO as f64
            )),
            right(validator.judged),
            right(validator.arbitrated),
            right(validator.repeated),
            right(validator.weights_set),
        ]);
    }
    table
}

fn processes(report: &Report) -> Table {
    let mut table = table(&["process", "of", "restarts", "what it did"]);
    for service in &report.services {
        table.add_row(vec![
            Cell::new(&service.process),
            Cell::new(&service.of),
            right(service.restarts),
            Cell::new(service.deeds()),
        ]);
    }
    table
}

/// A 256-bit value as people read it.
fn value(value: U256) -> String {
    let decimal = value.to_string();
    if decimal.len() <= DECIMAL_DIGITS {
        decimal
    } else {
        format!("{value:#x}")
    }
}

#[cfg(test)]
mod tests;
