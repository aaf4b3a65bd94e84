//! Every process of the network, as the report tells it: its part, how often it was started again, and what it did.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

use super::{KillRecord, Report};
use crate::localnet::chaos::Blow;
use crate::localnet::plan::Member;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, as `keeper-2`.
    pub process: String,
    /// Its part: `ledger`, `platform`, `validator`, `miner`, `keeper`, `audit` or `billing`.
    pub role: String,
    /// What it looks after, where that is not its name: the audited process, the protocol; else empty.
    pub of: String,
    /// How often it was killed and started again.
    pub restarts: u64,
    /// Counts of what it did, by name; `docs/report.md` lists them.
    pub did: BTreeMap<String, u64>,
}

/// What auditors say of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Audited {
    /// Their verdicts about it that count.
    pub audits: u64,
    /// Intervals that these call it down, all together.
    pub intervals_down: u64,
}

/// A pause of the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The keeper's process that executed it, or the validator's where no keeper was there in time.
    pub by: String,
    /// Hash of the transaction.
    pub tx: B256,
    /// Its block.
    pub block: u64,
    /// It stands before the attack, in an earlier block or in the attack's own.
    pub ahead: bool,
}

impl Service {
    /// What a process did, in counts.
    pub fn new(member: Member, of: impl Into<String>, did: &[(&str, u64)]) -> Self {
        Self {
            process: member.to_string(),
            role: member.room().to_owned(),
            of: of.into(),
            restarts: 0,
            did: did.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect(),
        }
    }

    /// What it did, in words: `asked 60, answered 58`.
    pub fn deeds(&self) -> String {
        let deed = |(what, count): (&String, &u64)| match what.strip_suffix("_s") {
            Some(what) => format!("{what} {count} s"),
            None => format!("{} {count}", what.replace('_', " ")),
        };
        self.did.iter().map(deed).collect::<Vec<_>>().join(", ")
    }
}

/// Every process: those that every network has, by what the report says of them, and the `others`.
pub(super) fn all(report: &Report, others: Vec<Service>, audited: &BTreeMap<String, Audited>) -> Vec<Service> {
    let ledger = Service::new(
        Member::Ledger,
        "",
        &[("blocks", report.ledger_block), ("epochs", report.ledger_epochs)],
    );
    let platform = Service::new(
        Member::Platform,
        "",
        &[("logged", report.transactions), ("judged", report.judged)],
    );
    let validators = report.validators.iter().map(|one| {
        let did = [("judged", one.judged), ("weights_set", one.weights_set)];
        Service::new(Member::Validator(one.uid), "", &did)
    });
    let miners = report.miners.iter().map(|one| {
        let did = [("asked", one.asked), ("answered", one.answered)];
        Service::new(Member::Miner(one.uid), "", &did)
    });
    let all = [ledger, platform]
        .into_iter()
        .chain(validators)
        .chain(miners)
        .chain(others);
    all.map(|mut service| {
        let killed = |kill: &&KillRecord| kill.process == service.process && kill.blow == Blow::Killed;
        service.restarts = report.kills.iter().filter(killed).count() as u64;
        if let Some(audited) = audited.get(&service.process) {
            let said = [("audits", audited.audits), ("intervals_down", audited.intervals_down)];
            service.did.extend(said.map(|(what, count)| (what.to_owned(), count)));
        }
        service
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{network, observed};
    use super::*;

    #[test]
    fn every_process_has_a_line_with_what_it_did_and_how_often_it_was_started_again() {
        let mut seen = observed();
        let kill = |process: &str, blow| KillRecord {
            process: process.to_owned(),
            at_judged: 1,
            blow,
            down_ms: 9,
        };
        seen.kills = vec![
            kill("keeper-1", Blow::Killed),
            kill("keeper-1", Blow::Frozen),
            kill("validator-2", Blow::Killed),
        ];
        seen.services = vec![Service::new(Member::Keeper(1), "", &[("executions", 3)])];
        let audited = Audited {
            audits: 2,
            intervals_down: 7,
        };
        seen.audited = BTreeMap::from([("keeper-1".to_owned(), audited)]);
        let report = Report::new(&network(), seen).unwrap();
        let restarts: Vec<(&str, u64)> = report
            .services
            .iter()
            .map(|one| (one.process.as_str(), one.restarts))
            .collect();
        assert_eq!(
            restarts,
            [
                ("ledger", 0),
                ("platform", 0),
                ("validator-1", 0),
                ("validator-2", 1),
                ("miner-3", 0),
                ("miner-4", 0),
                ("miner-5", 0),
                ("miner-6", 0),
                ("keeper-1", 1)
            ]
        );
        let keeper = report.services.last().unwrap();
        assert_eq!(
            (keeper.role.as_str(), keeper.deeds().as_str()),
            ("keeper", "audits 2, executions 3, intervals down 7")
        );
        assert_eq!(report.services[2].deeds(), "judged 50, weights set 3");
        let monitor = Service::new(Member::Monitor(1), "vault", &[("billed_s", 40), ("paid", 1)]);
        assert_eq!(monitor.deeds(), "billed 40 s, paid 1");
    }
}
