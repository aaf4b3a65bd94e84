//! What happened, in sentences for people who know nothing of the network.

use crate::localnet::chaos::Blow;
use crate::localnet::report::{Incident, Live, Report, Service};

/// Incidents that are told one by one.
const TOLD: usize = 3;

/// What happened, in sentences.
pub fn closing(report: &Report) -> String {
    let mut sentences: Vec<String> = attacks(report);
    sentences.extend(report.live.as_ref().map(on_chain));
    sentences.push(work(report));
    sentences.extend(pay(report));
    sentences.extend(services(report));
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
                (Some(_), true) if live.pause.is_some() => ", AND ROBBED THE VAULT: the pause came too late",
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
    let pause = live.pause.as_ref().map_or_else(String::new, |pause| {
        let before = if pause.ahead {
            "ahead of the attack"
        } else {
            "BEHIND THE ATTACK"
        };
        format!(" {} paused the vault in block {}, {before}.", pause.by, pause.block)
    });
    format!("{sent}; {attack}.{pause}")
}

/// What those did whom only a living chain has, one sentence for each part.
fn services(report: &Report) -> Vec<String> {
    let of = |role: &str| {
        report
            .services
            .iter()
            .filter(move |service| service.role == role)
            .collect::<Vec<_>>()
    };
    let sum = |services: &[&Service], what: &str| {
        let counts = services.iter().filter_map(|service| service.did.get(what));
        counts.sum::<u64>()
    };
    let mut sentences = Vec::new();
    let auditors = of("audit");
    if !auditors.is_empty() {
        sentences.push(format!(
            "{} auditors sent {} verdicts that count and claimed {} bounties ({} tokens).",
            auditors.len(),
            sum(&auditors, "verdicts"),
            sum(&auditors, "payouts"),
            sum(&auditors, "bounty_tokens"),
        ));
    }
    for service in of("billing") {
        sentences.push(match service.did.get("paid") {
            Some(1) => format!(
                "The {} paid for its protection, {} s so far.",
                service.of,
                service.did.get("billed_s").copied().unwrap_or_default()
            ),
            _ => format!(
                "Nobody paid for the {}: the gate holds that protection back.",
                service.of
            ),
        });
    }
    sentences
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
