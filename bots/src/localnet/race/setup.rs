//! The race's network: processes, started one after the other, and what they are told.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
use crate::scenario::CHAIN_ID;

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
        let invariants = self.folder.path().join("invariants.json");
        field.write_invariants(&invariants)?;
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
        let config = self.write_defence(endpoint, field)?;
        for validator in self.plan.validators.clone() {
            let member = Member::Validator(validator.uid);
            self.start(&wiring, member, vec!["--config".into(), config.clone().into()])?;
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
        let place = |name: &str| self.folder.path().join(name);
        let (key, path) = (place("worker.key"), place("keeper.toml"));
        write(&key, &gates.key())?;
        write(&path, &gates.keeper(&place("keeper"), &key, endpoint))?;
        Ok(path)
    }

    /// The validator's configuration: the pauses, sent by the vaults' guardian.
    fn write_defence(&self, endpoint: &Endpoint, field: &Field) -> Result<PathBuf, LocalnetError> {
        let key = self.folder.path().join("guardian.key");
        write(&key, &format!("{:x}\n", field.guardian().key()))?;
        let path = self.folder.path().join("defence.toml");
        // The registry numbers invariants from 1, in the order of the file.
        let called: Vec<usize> = (1..=field.watched.len()).collect();
        let gates = field
            .gates
            .as_ref()
            .map(|gates| gates.actions(field.watched.len() as u64 + 1));
        let gates = gates.unwrap_or_default();
        let text = format!(
            "[defence]\nsource = \"race\"\n\n\
             [[defence.actions]]\nid = \"stop\"\nkind = \"pause_agent\"\ncalldata = \"{}\"\ninvariants = {called:?}\n\n\
             {gates}[pause]\npoll = \"250ms\"\n\n\
             [sender]\nendpoints = [\"{}\"]\nchain_id = {CHAIN_ID}\npoll = \"250ms\"\nconfirmations = 2\n\n\
             [sender.keys.default]\nhex = \"file:{}\"\n",
            pause_calldata(),
            endpoint.rpc,
            key.display()
        );
        write(&path, &text)?;
        Ok(path)
    }
}

fn write(path: &Path, text: &str) -> Result<(), LocalnetError> {
    std::fs::write(path, text).map_err(|error| LocalnetError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
