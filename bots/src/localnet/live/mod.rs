//! A living chain instead of a recording: a development node that mines by itself, the story's town built on it by real
//! transactions, and the story told on it block by block while the network judges what waits in the node's pool.

pub(crate) mod anvil;
pub(crate) mod blobs;
mod drive;
mod error;
pub(crate) mod journal;
pub(crate) mod rpc;
mod schedule;
pub(crate) mod site;
mod town;

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256};
use protos::{DecodeError, v1};
use tokio_util::task::AbortOnDropHandle;

pub use error::LiveError;

use self::drive::{Driver, SharedJournal, with};
use self::journal::Sums;
use self::rpc::NodeClient;
use crate::localnet::report::Live;
use crate::localnet::report::incidents::incident;
use crate::scenario::setup::{Ownership, People};
use crate::scenario::story::{Calendar, Script, Story};
use crate::scenario::traffic::Turns;
use crate::scenario::wallet::Wallet;
use crate::scenario::{SEED, StatedInvariant, invariants};

/// Blobs that the story posts.
const BLOBS: usize = 2;
/// Users for each transaction of a block: who has one waiting sends no other.
const USERS_PER_TRANSACTION: usize = 2;
/// No fewer users than this.
const USERS_AT_LEAST: usize = 20;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LivePlan {
    /// From block to block.
    pub(crate) block_time: Duration,
    /// Transactions of a block, about.
    pub(crate) per_block: usize,
    /// Blocks of traffic before the raid's.
    pub(crate) attack_after: usize,
    /// Where every choice comes from.
    pub(crate) seed: u64,
}

/// Where the node serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// As the platform's feed takes it.
    pub(crate) feed: String,
    /// For calls.
    pub(crate) rpc: String,
}

impl Endpoint {
    /// Both from one URL: a node that serves `ws://` serves `http://` on the same port, as anvil does.
    pub(crate) fn new(url: &str) -> Self {
        let rpc = match url.split_once("://") {
            Some(("ws", rest)) => format!("http://{rest}"),
            Some(("wss", rest)) => format!("https://{rest}"),
            _ => url.to_owned(),
        };
        Self {
            feed: url.to_owned(),
            rpc,
        }
    }

    /// Where it tells of pending transactions unasked.
    pub(crate) fn push(&self) -> String {
        self.rpc.replacen("http", "ws", 1)
    }
}

/// The town on its chain, and the story, before and while it is told.
#[derive(Debug)]
pub(crate) struct Living {
    plan: LivePlan,
    node: NodeClient,
    calendar: Calendar,
    story: Option<Story>,
    driver: Option<AbortOnDropHandle<Result<(), LiveError>>>,
    journal: SharedJournal,
    /// What watches the town.
    pub(crate) invariants: Vec<StatedInvariant>,
}

impl Living {
    /// Builds the town.
    ///
    /// # Errors
    /// [`LiveError`].
    pub(crate) async fn build(endpoint: &Endpoint, plan: LivePlan, ownership: Ownership) -> Result<Self, LiveError> {
        let calendar = Calendar::around(plan.attack_after + 1)?;
        let node = NodeClient::new(&endpoint.rpc)?;
        let users = (plan.per_block * USERS_PER_TRANSACTION).max(USERS_AT_LEAST);
        // The same people as in the recording, whatever the seed of the network is: so the contracts' addresses are known.
        let mut people = People::with_users(SEED, users)?;
        let town = town::build(&node, &mut people, ownership).await?;
        let invariants = invariants::stated(&town, town.vault_owner(people.owner.address()))?;
        let script = Script {
            calendar,
            size: plan.per_block * 3 / 4..=plan.per_block * 5 / 4,
            turns: Turns::OnceEach,
            blobs: vec![blobs::empty_blob_hash(); BLOBS],
        };
        Ok(Self {
            plan,
            node,
            calendar,
            story: Some(Story::new(script, town, people, plan.seed)),
            driver: None,
            journal: Arc::default(),
            invariants,
        })
    }

    /// The contract that owns the vault, where one does.
    pub(crate) fn admin(&self) -> Option<Address> {
        self.story.as_ref().and_then(|story| story.town().admin)
    }

    /// The town's owner; `None` once the story has begun, which uses his nonces.
    pub(crate) fn owner_mut(&mut self) -> Option<&mut Wallet> {
        self.story.as_mut().map(|story| &mut story.people_mut().owner)
    }

    /// The invariants of the vault, and those of everything else.
    pub(crate) fn by_protocol(&self) -> (Vec<StatedInvariant>, Vec<StatedInvariant>) {
        let vault = self.story.as_ref().map(|story| story.town().vault);
        self.invariants
            .iter()
            .cloned()
            .partition(|one| Some(one.contract) == vault)
    }

    /// What it is called in the report.
    pub(crate) fn name(&self) -> String {
        format!("a living chain, {}", self.node.name())
    }

    /// How many people there are.
    pub(crate) fn people(&self) -> usize {
        // The owner, the captain, the modern one and the rollup besides the users.
        self.story.as_ref().map_or(0, |story| story.people().users.len() + 4)
    }

    /// Its part of the report.
    ///
    /// # Errors
    /// An incident with a field of the wrong length.
    pub(crate) fn report(
        &self,
        executions: &[(B256, Option<u64>)],
        incidents: &[v1::Incident],
        feed: Option<&v1::FeedStatus>,
    ) -> Result<Live, DecodeError> {
        let incidents = incidents.iter().map(incident).collect::<Result<Vec<_>, _>>()?;
        let journal = with(&self.journal, |journal| journal.clone());
        Ok(Live::new(
            &journal,
            self.plan.block_time.as_secs_f64(),
            executions,
            &incidents,
            feed,
        ))
    }

    /// Begins to tell the story; asked again, nothing happens.
    pub(crate) fn start(&mut self) {
        if let Some(story) = self.story.take() {
            let LivePlan { block_time, seed, .. } = self.plan;
            let driver = Driver::new(self.node.clone(), story, Arc::clone(&self.journal), block_time, seed);
            self.driver = Some(AbortOnDropHandle::new(tokio::spawn(driver.run())));
        }
    }

    /// Whether the story is under way, or told.
    pub(crate) const fn has_begun(&self) -> bool {
        self.story.is_none()
    }

    /// About how many transactions the story has.
    pub(crate) const fn expected(&self) -> u64 {
        (self.plan.per_block * self.calendar.blocks) as u64
    }

    /// Whether the story was told to its end and everything of it is in a block.
    ///
    /// # Errors
    /// What ended it otherwise.
    pub(crate) async fn ended(&mut self) -> Result<bool, LiveError> {
        match self.driver.take_if(|driver| driver.is_finished()) {
            Some(ended) => {
                ended.await.map_err(|error| LiveError::Died(error.to_string()))??;
                Ok(true)
            }
            None => Ok(self.driver.is_none() && self.story.is_none()),
        }
    }

    /// What was sent so far.
    pub(crate) fn sums(&self) -> Sums {
        with(&self.journal, |journal| journal.sums())
    }
}

#[cfg(test)]
mod tests {
    use testkit::Mining;

    use super::journal::Fate;
    use super::*;
    use crate::scenario::story::{PAUSE, RAID};

    fn plan(attack_after: usize) -> LivePlan {
        LivePlan {
            block_time: Duration::from_secs(1),
            per_block: 12,
            attack_after,
            seed: 3,
        }
    }

    /// The whole story on a chain that nobody watches: everything is mined, the raid succeeds, and all types of transactions are there.
    #[tokio::test]
    async fn the_story_is_told_to_its_end_on_a_real_node() {
        let Some(anvil) = testkit::anvil(Mining::Interval(1), &[]) else {
            return;
        };
        let endpoint = Endpoint::new(&anvil.ws());
        let mut living = Living::build(&endpoint, plan(3), Ownership::Person).await.unwrap();
        assert_eq!(living.invariants.len(), 9);
        living.start();
        while !living.ended().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let sums = living.sums();
        assert_eq!((sums.waiting, sums.refused), (0, 0), "{sums:?}");
        assert!(sums.taken >= 8 * 9 && sums.blocks >= 8, "{sums:?}");
        assert_eq!(
            sums.by_type.keys().copied().collect::<Vec<_>>(),
            [0, 1, 2, 3, 4],
            "{sums:?}"
        );
        assert!(sums.replaced > 0 && sums.as_planned * 2 > sums.included, "{sums:?}");

        let journal = with(&living.journal, |journal| journal.clone());
        let raid = journal.raid().unwrap();
        assert!(matches!(raid.fate, Fate::Included { succeeded: true, .. }), "{raid:?}");
        assert!(raid.what == RAID && journal.records().iter().any(|record| record.what == PAUSE));

        // A second story on the same chain: its people go on with their nonces, its contracts stand elsewhere.
        let again = Living::build(&endpoint, plan(3), Ownership::Admin).await.unwrap();
        assert_eq!(again.by_protocol().0.len(), 4, "the vault's");
        assert_ne!(again.invariants[0].contract, living.invariants[0].contract);
    }

    #[tokio::test]
    async fn a_node_of_another_chain_or_without_money_or_that_is_none_is_refused_with_the_reason() {
        let refused = async |url: &str| {
            Living::build(&Endpoint::new(url), plan(3), Ownership::Person)
                .await
                .unwrap_err()
                .to_string()
        };
        assert!(refused("ftp://x").await.contains("--node ftp://x: has the scheme ftp"));
        let port = testkit::Port::free();
        let nobody = port.address();
        let silent = refused(&format!("http://{nobody}")).await;
        assert!(
            silent.contains(&format!("the node at {nobody} does not answer eth_chainId")),
            "{silent}"
        );

        let Some(other) = testkit::anvil(Mining::Automatic, &["--chain-id", "1"]) else {
            return;
        };
        assert!(refused(&other.http()).await.contains("is on chain 1, and"));
        let Some(anvil) = testkit::anvil(Mining::Automatic, &[]) else {
            return;
        };
        let proxy = testkit::Proxy::before(&anvil.http(), Duration::ZERO).await;
        proxy.set_fault(Some(testkit::Fault::Unsupported(vec!["anvil_setBalance".to_owned()])));
        let poor = refused(proxy.url()).await;
        assert!(poor.contains("refused anvil_setBalance"), "{poor}");
    }
}
