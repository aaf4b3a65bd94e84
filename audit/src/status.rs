//! `audit status`: how a node stands, in the contract and in its own database, for people and for scripts.

use alloy::primitives::{Address, U256, utils::format_units};
use comfy_table::Table;
use eyre::eyre;
use node::clock::date;
use node::exit::{Failure, OrConfiguration as _};
use sender::client;
use sender::keys::DEFAULT;
use serde::Serialize;

use crate::config::Config;
use crate::manager::Duty;
use crate::run::{connect, identify, unreachable};
use crate::store::{Report, Store};

/// How a node stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// EIP-155.
    pub chain_id: u64,
    /// The AuditManager.
    pub contract: Address,
    /// Number of the block that this is of.
    pub block: u64,
    /// Its time, Unix seconds.
    pub timestamp: u64,
    /// The node's id.
    pub node: u32,
    /// Its owner, who receives bounties.
    pub owner: Address,
    /// "active", "leaving" or "left".
    pub state: &'static str,
    /// Number of its running epoch.
    pub epoch: u32,
    /// The reward date, Unix seconds.
    pub next_reward: u64,
    /// Base units.
    pub stake: U256,
    /// Who audits it.
    pub group: Vec<u32>,
    /// How many should.
    pub group_wanted: usize,
    /// What a claim would give now.
    pub settlement: Forecast,
    /// Its own verdicts that were due since the last bounty, and those that counted.
    pub owed: u32,
    /// See `owed`.
    pub kept: u32,
    /// Whom it measures.
    pub duties: Vec<DutyStatus>,
    /// Decimals of the token.
    pub decimals: u8,
}

/// What a claim would give now.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// Base units.
    pub bounty: U256,
    /// Before any reduction.
    pub maximum: U256,
    /// Verdicts that count, of so many auditors.
    pub verdicts: u32,
    /// Whether they are enough.
    pub quorum: bool,
    /// Median downtime in intervals, with what a late claim adds.
    pub downtime: u64,
    /// Median latency, microseconds.
    pub latency_us: u32,
}

/// A peer that the node measures.
#[derive(Debug, Clone, Serialize)]
pub struct DutyStatus {
    /// The peer's id.
    pub peer: u32,
    /// What it does.
    pub kind: &'static str,
    /// Where it is measured.
    pub endpoint: String,
    /// Number of its running epoch.
    pub epoch: u32,
    /// When verdicts are accepted, Unix seconds.
    pub window: (u64, u64),
    /// Whether ours was consumed.
    pub sent: bool,
    /// Samples of this epoch in our database.
    pub samples: usize,
    /// Intervals known, and failed among them.
    pub known: u32,
    /// See `known`.
    pub failed: u32,
    /// The verdict, where it stands.
    pub report: Option<Report>,
}

impl Status {
    /// Reads it.
    ///
    /// # Errors
    /// Exit code 2 or 3.
    pub async fn read(config: &Config) -> Result<Self, Failure> {
        let manager = connect(config).await?;
        let operator = match (config.id, &config.operator) {
            (Some(_), _) => Address::ZERO,
            (None, Some(_)) => {
                let settings = config.clone();
                let keys = client::read_keys(move || settings.keys()).await?;
                keys.address(DEFAULT).unwrap_or_default()
            }
            (None, None) => return Err(Failure::configuration(eyre!("which node? give --id, or [operator]"))),
        };
        let Some(id) = identify(config, &manager, operator).await? else {
            return Err(Failure::configuration(eyre!(
                "{operator} is no node's operator at the AuditManager {}",
                config.contract
            )));
        };
        let head = manager.head().await.map_err(unreachable)?;
        let at = head.hash;
        let (member, terms, duties, settlement, decimals) = futures::try_join!(
            manager.member(id, at),
            manager.terms(at),
            manager.duties(id, at),
            manager.settlement(id, at),
            manager.decimals(at)
        )
        .map_err(unreachable)?;
        let store = match config.place().file() {
            Some(file) if !file.exists() => None,
            _ => Some(Store::open(config.place()).await.or_configuration()?),
        };
        let mut shown = Vec::with_capacity(duties.len());
        for duty in duties {
            shown.push(duty_status(&terms, duty, store.as_ref()).await?);
        }
        Ok(Self {
            chain_id: manager.node().chain_id(),
            contract: config.contract,
            block: head.number,
            timestamp: head.timestamp,
            node: id,
            owner: member.owner,
            state: member.life.name(),
            epoch: member.epoch,
            next_reward: member.next_reward,
            stake: U256::from(member.stake),
            group: member.group,
            group_wanted: member.group_wanted,
            settlement: Forecast {
                bounty: U256::from(settlement.bounty),
                maximum: U256::from(settlement.maximum),
                verdicts: settlement.verdicts,
                quorum: settlement.quorum,
                downtime: u64::from(settlement.downtime) + u64::from(settlement.late),
                latency_us: settlement.latency,
            },
            owed: member.duties.0,
            kept: member.duties.1,
            duties: shown,
            decimals,
        })
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let units = |units: U256| format_units(units, self.decimals).unwrap_or_else(|_| units.to_string());
        let mut table = Table::new();
        table.set_header([
            "peer", "kind", "endpoint", "epoch", "window", "samples", "known", "failed", "verdict",
        ]);
        for duty in &self.duties {
            let verdict = match (&duty.report, duty.sent) {
                (_, true) => "consumed",
                (Some(report), _) => report.state.name(),
                (None, _) => "",
            };
            table.add_row([
                duty.peer.to_string(),
                duty.kind.to_owned(),
                duty.endpoint.clone(),
                duty.epoch.to_string(),
                format!("{} to {}", date(duty.window.0), date(duty.window.1)),
                duty.samples.to_string(),
                duty.known.to_string(),
                duty.failed.to_string(),
                verdict.to_owned(),
            ]);
        }
        let forecast = &self.settlement;
        format!(
            "node {} at the AuditManager {} on chain {}: {}, epoch {}, stake {}\n\
             block {} of {}; reward date {}\n\
             audited by {} of {} wanted; {} verdicts{}, downtime {} intervals, latency {} us\n\
             a claim would give {} of {} (own verdicts: {} of {} counted)\n{table}",
            self.node,
            self.contract,
            self.chain_id,
            self.state,
            self.epoch,
            units(self.stake),
            self.block,
            date(self.timestamp),
            date(self.next_reward),
            self.group.len(),
            self.group_wanted,
            forecast.verdicts,
            if forecast.quorum { "" } else { " (too few)" },
            forecast.downtime,
            forecast.latency_us,
            units(forecast.bounty),
            units(forecast.maximum),
            self.kept,
            self.owed,
        )
    }
}

async fn duty_status(
    terms: &crate::rule::terms::Terms,
    duty: Duty,
    store: Option<&Store>,
) -> Result<DutyStatus, Failure> {
    let (samples, report) = match store {
        Some(store) => (
            store
                .samples(Some(duty.peer.id), duty.start, duty.window.start.saturating_sub(1))
                .await?,
            store.report(duty.peer.id, duty.epoch.into()).await?,
        ),
        None => (Vec::new(), None),
    };
    let measured = crate::rule::measure::aggregate(terms, duty.start, samples.iter().map(|sample| sample.row));
    Ok(DutyStatus {
        peer: duty.peer.id,
        kind: duty.peer.kind.map_or("unknown", crate::probe::Kind::name),
        endpoint: duty.peer.endpoint,
        epoch: duty.epoch,
        window: (duty.window.start, duty.window.end),
        sent: duty.sent,
        samples: samples.len(),
        known: measured.known,
        failed: measured.failed,
        report,
    })
}
