//! `keeper status` and `keeper jobs`: how a keeper stands, for people and for scripts.

use std::collections::HashSet;

use alloy::primitives::utils::{format_ether, format_units};
use alloy::primitives::{Address, B256, U256};
use comfy_table::Table;
use eyre::eyre;
use node::exit::Failure;
use serde::Serialize;

use crate::config::Config;
use crate::job::{Job, Keeper, Source, Terms};
use crate::run::{connect, unreachable};
use crate::touched::Touched;

/// How one keeper, or all of them, stand.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// EIP-155.
    pub chain_id: u64,
    /// The contract.
    pub agent: Address,
    /// Number of the block that this is of.
    pub block: u64,
    /// Its time, Unix seconds.
    pub timestamp: u64,
    /// The stake token.
    pub token: Address,
    /// Its decimals.
    pub decimals: u8,
    /// The Agent's parameters.
    pub terms: Terms,
    /// Keepers.
    pub keepers: Vec<Keeper>,
}

impl Status {
    /// Reads it; only the configured keeper where there is one.
    ///
    /// # Errors
    /// Exit code 2 or 3.
    pub async fn read(config: &Config) -> Result<Self, Failure> {
        let place = connect(config).await?;
        let snapshot = place.reader.head();
        let at = snapshot.hash();
        let standing = place
            .agent
            .standing(config.keeper.unwrap_or(0), at)
            .await
            .map_err(unreachable)?;
        let purse = place.agent.purse(config.agent, at).await.map_err(unreachable)?;
        let mut keepers = place.agent.keepers(at).await.map_err(unreachable)?;
        if let Some(id) = config.keeper {
            keepers.retain(|keeper| keeper.id == id);
        }
        Ok(Self {
            chain_id: place.reader.chain_id(),
            agent: config.agent,
            block: snapshot.head().number,
            timestamp: snapshot.head().timestamp,
            token: place.agent.token(),
            decimals: purse.decimals,
            terms: standing.terms,
            keepers,
        })
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.set_header([
            "keeper",
            "state",
            "stake",
            "jobs",
            "earned (ether)",
            "leaving",
            "worker",
            "admin",
        ]);
        for keeper in &self.keepers {
            let units = |units: U256| format_units(units, self.decimals).unwrap_or_else(|_| units.to_string());
            let state = match (keeper.active, keeper.activation_at) {
                (true, _) => "active".to_owned(),
                (false, 0) => "inactive".to_owned(),
                (false, at) if at <= self.timestamp => "may be activated".to_owned(),
                (false, at) => format!("activation in {} s", at - self.timestamp),
            };
            table.add_row([
                keeper.id.to_string(),
                state,
                units(keeper.stake),
                keeper.assigned_jobs.to_string(),
                format_ether(keeper.compensation),
                units(keeper.pending_withdrawal),
                keeper.worker.to_string(),
                keeper.admin.to_string(),
            ]);
        }
        format!(
            "Agent {} on chain {}, block {}; least stake {}\n{table}",
            self.agent,
            self.chain_id,
            self.block,
            format_units(self.terms.min_stake, self.decimals).unwrap_or_default()
        )
    }
}

/// All jobs at the head, by the Agent's events.
///
/// # Errors
/// Exit code 2 or 3.
pub async fn jobs(config: &Config, mine: bool) -> Result<Vec<Job>, Failure> {
    if mine && config.keeper.is_none() {
        return Err(Failure::configuration(eyre!(
            "--mine: whose? name the keeper by --keeper"
        )));
    }
    let place = connect(config).await?;
    let snapshot = place.reader.head();
    let to = snapshot.head().number;
    let mut touched = Touched::default();
    let mut at = config.deployed_at.min(to);
    while at <= to {
        let end = at.saturating_add(config.rpc.log_range - 1).min(to);
        for log in place.agent.logs(at, end).await.map_err(unreachable)? {
            touched.add(&log, log.block_number.unwrap_or(end));
        }
        at = end + 1;
    }
    let mut seen = HashSet::new();
    let keys: Vec<B256> = touched
        .registered
        .iter()
        .map(|(key, _)| *key)
        .filter(|key| seen.insert(*key))
        .collect();
    let read = place.agent.jobs(&keys, snapshot.hash()).await.map_err(unreachable)?;
    let jobs = read.into_iter().filter_map(|(_, job)| job);
    Ok(jobs.filter(|job| !mine || Some(job.keeper) == config.keeper).collect())
}

/// Jobs for people.
#[must_use]
pub fn table(jobs: &[Job]) -> String {
    let mut table = Table::new();
    table.set_header([
        "job",
        "target",
        "when",
        "keeper",
        "credits (ether)",
        "failures",
        "state",
    ]);
    for job in jobs {
        let when = match (job.source, job.is_defence()) {
            (Source::Resolver, true) => "resolver, defence".to_owned(),
            (Source::Resolver, false) => "resolver".to_owned(),
            (Source::Selector | Source::PreDefined, _) => format!("every {} s", job.interval),
        };
        let state = match (job.is_active(), job.eligible) {
            (false, _) => "inactive",
            (true, false) => "short of credits",
            (true, true) => "eligible",
        };
        table.add_row([
            job.key.to_string(),
            job.target.to_string(),
            when,
            if job.keeper == 0 {
                "-".to_owned()
            } else {
                job.keeper.to_string()
            },
            format_ether(job.credits),
            job.failures.to_string(),
            state.to_owned(),
        ]);
    }
    table.to_string()
}
