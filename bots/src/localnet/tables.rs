//! The report for people: tables, and a closing paragraph that needs no knowledge of the network.

use std::fmt::Write;

use alloy::primitives::U256;
use comfy_table::{Cell, CellAlignment, Table, presets};

use super::chaos::Blow;
use super::report::{Incident, Live, Miner, Report};

/// Values above this are shown in hex: nobody reads forty digits.
const DECIMAL_DIGITS: usize = 24;
/// Incidents that the closing paragraph tells one by one.
const TOLD: usize = 3;
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
            right(value(incident.pre)),
            right(value(incident.post)),
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
                validator.stake as f64 / super::plan::RAO_PER_TAO as f64
            )),
            right(validator.judged),
            right(validator.arbitrated),
            right(validator.repeated),
            right(validator.weights_set),
        ]);
    }
    table
}

/// What happened, in sentences.
pub fn closing(report: &Report) -> String {
    let mut sentences: Vec<String> = attacks(report);
    sentences.extend(report.live.as_ref().map(on_chain));
    sentences.push(work(report));
    sentences.extend(pay(report));
    for kill in &report.kills {
        let (blow, since) = match kill.blow {
            Blow::Killed => ("killed", "later"),
            Blow::Frozen => ("frozen", "after it could go on"),
        };
        sentences.push(format!(
            "{} was {blow} after {} judged transactions and served again {} ms {since}.",
            kill.process, kill.at_judged, kill.down_ms
        ));
    }
    sentences.join("\n")
}

/// The story from its sender's side.
fn on_chain(live: &Live) -> String {
    let sent = format!(
        "{} transactions were sent to the chain in {} blocks: {} replaced by a higher fee, {} included, {} lost to the network",
        live.sent, live.blocks, live.replaced, live.included, live.lost
    );
    let attack = match &live.attack {
        None => "the attack was not sent".to_owned(),
        Some(attack) => {
            let block = attack.included_in.map_or_else(
                || "included in no block".to_owned(),
                |block| format!("included in block {block}"),
            );
            let end = match (attack.included_in, attack.succeeded) {
                (Some(_), true) => ", and robbed the vault, since nobody paused it yet",
                (Some(_), false) => ", where it failed",
                (None, _) => "",
            };
            let found = if attack.confirmed {
                ""
            } else {
                "; THE NETWORK DID NOT FIND IT"
            };
            format!("the attack was sent on block {}, {block}{end}{found}", attack.sent_on)
        }
    };
    format!("{sent}; {attack}.")
}

/// The attacks: a transaction that breaks several invariants is one attack.
fn attacks(report: &Report) -> Vec<String> {
    let mut attacks: Vec<(&Incident, usize)> = Vec::new();
    for incident in &report.incidents {
        match attacks.iter_mut().find(|(first, _)| first.tx == incident.tx) {
            Some((_, broken)) => *broken += 1,
            None => attacks.push((incident, 1)),
        }
    }
    if attacks.is_empty() {
        return vec!["No transaction broke an invariant.".to_owned()];
    }
    let mut sentences: Vec<String> = attacks
        .iter()
        .take(TOLD)
        .map(|(incident, broken)| attack(incident, *broken, &report.pace))
        .collect();
    if attacks.len() > TOLD {
        sentences.push(format!("{} more attacks are in the table above.", attacks.len() - TOLD));
    }
    sentences
}

fn attack(incident: &Incident, broken: usize, pace: &str) -> String {
    let more = if broken > 1 {
        format!(" and {} more", broken - 1)
    } else {
        String::new()
    };
    let what = format!(
        "The attack {} on {} (it breaks \"{}\"{more})",
        incident.tx, incident.contract, incident.invariant
    );
    match incident.ms_before_inclusion {
        Some(ms) if ms > 0 => format!("{what} was confirmed {ms} ms before its block."),
        Some(ms) if pace == "max" => format!(
            "{what} was confirmed {} ms after its block: at the pace `max`, blocks wait for nobody.",
            ms.unsigned_abs()
        ),
        Some(ms) => format!(
            "{what} was confirmed {} ms too late: its block was there already.",
            ms.unsigned_abs()
        ),
        None => format!("{what} was confirmed, and it is not in any block yet."),
    }
}

fn work(report: &Report) -> String {
    let judged = if report.complete {
        let one_or_more = if report.transactions == 1 {
            "transaction"
        } else {
            "transactions"
        };
        match report.gave_way() {
            0 => format!("{} {one_or_more}, every one judged", report.transactions),
            replaced => format!(
                "{} {one_or_more}, every one judged but {replaced} replaced before their turn",
                report.transactions
            ),
        }
    } else {
        format!(
            "NOT FINISHED: {} of {} transactions judged, {} of {} assignments reported",
            report.judged, report.transactions, report.reported, report.assigned
        )
    };
    let gas = match (report.gas_compared, report.gas_mismatches) {
        (0, _) if report.live.is_some() => "their gas is compared with their blocks' in the table above".to_owned(),
        (0, _) => "the recording knows no gas to compare".to_owned(),
        (compared, 0) => format!("0 gas mismatches in {compared} compared"),
        (compared, wrong) => format!("{wrong} GAS MISMATCHES in {compared} compared"),
    };
    format!("{judged}; {gas}.")
}

/// Whether misbehaving pays; nothing is said where nobody misbehaves.
fn pay(report: &Report) -> Option<String> {
    let least = report.least_honest()?;
    let mut roles: Vec<String> = report
        .miners
        .iter()
        .filter(|miner| miner.role != least.role)
        .map(|miner| miner.role.to_string())
        .collect();
    roles.sort();
    roles.dedup();
    let (last, others) = roles.split_last()?;
    let unpunished = report.unpunished();
    if report.miners.iter().all(|miner| miner.incentive == 0.0) {
        return Some("No incentive was paid yet: no epoch has passed since the weights were set.".to_owned());
    }
    if let Some(worst) = unpunished.iter().max_by(|a, b| a.incentive.total_cmp(&b.incentive)) {
        return Some(format!(
            "MISBEHAVING PAYS: the {} miner {} earns {:.4} of the incentive, the honest miner {} only {:.4}.",
            worst.role, worst.uid, worst.incentive, least.uid, least.incentive
        ));
    }
    let who = if others.is_empty() {
        format!("The {last}")
    } else {
        format!("The {} and the {last}", others.join(", the "))
    };
    let verb = if roles.len() == 1 && report.miners.iter().filter(|miner| miner.role != least.role).count() == 1 {
        "earns"
    } else {
        "earn"
    };
    Some(format!("{who} {verb} less than every honest miner."))
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
mod tests {
    use super::*;
    use crate::localnet::plan::Role;
    use crate::localnet::report::tests::{attack, network, observed};

    fn report() -> Report {
        Report::new(&network(), observed()).unwrap()
    }

    #[test]
    fn the_closing_says_what_a_newcomer_wants_to_know() {
        let text = closing(&report());
        assert!(text.contains("was confirmed 640 ms before its block"), "{text}");
        assert!(
            text.contains("50 transactions, every one judged; 0 gas mismatches in 50 compared"),
            "{text}"
        );
        assert!(
            text.contains("The lazy and the liar earn less than every honest miner."),
            "{text}"
        );
    }

    #[test]
    fn an_attack_that_breaks_two_invariants_is_one_attack() {
        let mut seen = observed();
        seen.incidents.push(protos::v1::Incident {
            id: 2,
            invariant_id: 4,
            ..attack()
        });
        let text = closing(&Report::new(&network(), seen).unwrap());
        assert_eq!(text.matches("The attack").count(), 1);
        assert!(text.contains("and 1 more"), "{text}");
    }

    #[test]
    fn of_a_living_chain_it_is_told_what_was_sent_and_what_became_of_the_attack() {
        let mut live = report();
        let attack = crate::localnet::report::live::Attack {
            tx: live.incidents[0].tx,
            sent_on: 19,
            included_in: Some(20),
            succeeded: true,
            confirmed: true,
            ms_before_inclusion: Some(640),
            false_alarms: 0,
        };
        live.live = Some(Live {
            sent: 240,
            blocks: 12,
            replaced: 9,
            attack: Some(attack),
            ..Live::default()
        });
        let text = render(&live);
        assert!(
            text.contains("240 transactions were sent to the chain in 12 blocks: 9 replaced"),
            "{text}"
        );
        assert!(
            text.contains("the attack was sent on block 19, included in block 20, and robbed the vault"),
            "{text}"
        );
        assert!(text.contains("judged anew"), "{text}");
    }

    #[test]
    fn bad_news_is_not_hidden() {
        let mut bad = report();
        bad.complete = false;
        bad.judged = 49;
        bad.gas_mismatches = 2;
        bad.incidents[0].ms_before_inclusion = Some(-5);
        let honest = bad.least_honest().unwrap().incentive;
        let liar = bad.miners.iter_mut().find(|miner| miner.role == Role::Liar).unwrap();
        liar.incentive = honest + 0.1;
        let text = closing(&bad);
        for said in [
            "NOT FINISHED: 49 of 50",
            "2 GAS MISMATCHES",
            "5 ms too late",
            "MISBEHAVING PAYS: the liar",
        ] {
            assert!(text.contains(said), "{said} is missing in: {text}");
        }
    }

    #[test]
    fn a_block_that_did_not_wait_is_not_called_late() {
        let mut fast = report();
        fast.pace = "max".to_owned();
        fast.incidents[0].ms_before_inclusion = Some(-203);
        let text = closing(&fast);
        assert!(text.contains("203 ms after its block: at the pace `max`"), "{text}");
    }

    #[test]
    fn the_tables_have_a_row_for_everyone() {
        let text = render(&report());
        assert_eq!(
            text.lines().filter(|line| line.contains("honest")).count(),
            3,
            "two miners and the closing\n{text}"
        );
        assert!(
            text.contains("the vault holds what it owes") && text.contains("640 ms"),
            "{text}"
        );
    }

    #[test]
    fn small_values_are_decimal_and_huge_ones_hex() {
        assert_eq!(value(U256::from(1_500_000)), "1500000");
        assert!(value(U256::MAX).starts_with("0xffff"));
    }
}
