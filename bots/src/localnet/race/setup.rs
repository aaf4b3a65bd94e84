//! The race's network: processes, started one after the other, and what they are told.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::field::{Field, pause_calldata};
use super::gates::Gates;
use super::{ASK_EVERY, Race};
use crate::localnet::clients::{LedgerView, PlatformView};
use crate::localnet::error::LocalnetError;
use crate::localnet::live::Endpoint;
use crate::localnet::live::rpc::NodeClient;
use crate::localnet::members::{ANY_PORT, FeedWiring, Wiring};
use crate::localnet::plan::Member;
use crate::localnet::recording::write_invariants;
use crate::localnet::services::keepers::{self, key_file};

/// How long the network may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(90);

impl Race<'_> {
    /// Ledger, platform, miners, and one validator that may pause the vaults.
    pub(super) async fn start_network(
        &mut self,
        endpoint: &Endpoint,
        field: &Field,
        node: &NodeClient,
    ) -> Result<PlatformView, LocalnetError> {
        self.progress.phase("starting the network");
        let mut wiring = Wiring {
            folder: self.folder.clone(),
            feed: FeedWiring::Node(endpoint.clone()),
            ledger: None,
            platform: None,
            page: None,
            told: BTreeMap::new(),
        };
        self.start(&wiring, Member::Ledger, Vec::new())?;
        let ledger = self.fleet.ready(Member::Ledger).await?;
        wiring.ledger = Some(ledger);
        let ledger = LedgerView::new(ledger)?;
        self.fleet.guard(ledger.register(&self.plan, &self.folder)).await?;
        let invariants = write_invariants(&field.invariants()?, &[], self.folder.path())?;
        let args = wiring.add_invariants(&invariants, None);
        self.fleet.run_once("invariants", Member::Platform, args).await?;
        self.start(&wiring, Member::Platform, Vec::new())?;
        let miners: Vec<Member> = self.plan.miners.iter().map(|miner| Member::Miner(miner.uid)).collect();
        for miner in &miners {
            self.start(&wiring, *miner, Vec::new())?;
        }
        for miner in &miners {
            self.fleet.ready(*miner).await?;
        }
        let address = self.fleet.ready(Member::Platform).await?;
        wiring.platform = Some(address);
        let until = Instant::now() + READY_WITHIN;
        while self.fleet.guard(ledger.axons()).await? < miners.len() {
            self.in_time(until, "not every miner said where it serves")?;
            tokio::time::sleep(ASK_EVERY).await;
        }
        if let Some(gates) = &field.gates {
            let config = self.write_keeper(endpoint, gates)?;
            self.fleet.start(
                Member::Keeper(1),
                SocketAddr::from(ANY_PORT),
                vec!["run".into(), "--config".into(), config.into()],
            )?;
            self.fleet.ready(Member::Keeper(1)).await?;
        }
        for validator in self.plan.validators.clone() {
            let member = Member::Validator(validator.uid);
            let config = self.write_defence(member, endpoint, field)?;
            self.start(&wiring, member, vec!["--config".into(), config.into()])?;
            self.fleet.ready(member).await?;
        }
        let platform = PlatformView::new(address)?;
        loop {
            let status = self.fleet.guard(platform.status()).await?;
            let head = node.head().await?;
            let follows = status
                .feed
                .as_ref()
                .is_some_and(|feed| feed.head_number + 2 >= head.number);
            if follows && status.validators_connected as usize == self.plan.validators.len() {
                return Ok(platform);
            }
            self.in_time(
                until,
                "the platform does not follow the chain, or the validator is not there",
            )?;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn in_time(&self, until: Instant, what: &str) -> Result<(), LocalnetError> {
        if Instant::now() <= until {
            return Ok(());
        }
        Err(LocalnetError::Silent {
            who: "the network".to_owned(),
            reason: format!("{what} after {} s", READY_WITHIN.as_secs()),
        })
    }

    fn start(&mut self, wiring: &Wiring, member: Member, more: Vec<OsString>) -> Result<(), LocalnetError> {
        let mut args = wiring.args(member, &self.plan);
        args.extend(more);
        Ok(self.fleet.start(member, SocketAddr::from(ANY_PORT), args)?)
    }

    /// The keeper's configuration and key.
    fn write_keeper(&self, endpoint: &Endpoint, gates: &Gates) -> Result<PathBuf, LocalnetError> {
        let member = Member::Keeper(1);
        let key = self.folder.write(member, "key", &gates.key())?;
        let text = gates.keeper(&self.folder.file(member, "data"), &key, endpoint);
        self.folder.write(member, "toml", &text)
    }

    /// The validator's configuration: the pauses, sent by the vaults' guardian.
    fn write_defence(&self, member: Member, endpoint: &Endpoint, field: &Field) -> Result<PathBuf, LocalnetError> {
        let key = self.folder.write(member, "key", &key_file(field.guardian()))?;
        // The registry numbers invariants from 1, in the order of the file.
        let called: Vec<usize> = (1..=field.watched.len()).collect();
        let mut actions = format!(
            "[[defence.actions]]\nid = \"stop\"\nkind = \"pause_agent\"\ncalldata = \"{}\"\ninvariants = {called:?}\n\n",
            pause_calldata(),
        );
        if let Some(gates) = &field.gates {
            actions += &gates.actions(field.watched.len() as u64 + 1);
        }
        let text = keepers::defence("race", &actions, endpoint, &key);
        self.folder.write(member, "toml", &text)
    }
}
