//! Nodes that measure each other on a living chain: an AuditManager, everybody registered, and the auditors' configurations.
//!
//! What always holds: the whole network measures with few processes, so the terms ask for as many verdicts as there can be: half of
//! those whose auditor runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolEvent as _;
use contracts::{AuditManager, Contract, Token};

use super::keepers::fund;
use crate::localnet::live::rpc::NodeClient;
use crate::localnet::live::site::Site;
use crate::localnet::live::{Endpoint, LiveError};
use crate::localnet::options::Options;
use crate::localnet::plan::Member;
use crate::scenario::setup::ether;
use crate::scenario::wallet::Wallet;

/// Gas of the AuditManager's creation.
const MANAGER_GAS: u64 = 10_000_000;
/// Gas of what is done for one node: all of them have to fit into one block, since a group may be completed only early in its epoch.
const NODE_GAS: u64 = 1_100_000;
/// Stake of a node, in base units.
const STAKE: u128 = 1_000_000_000_000_000_000;
/// Nodes that are registered at most: as many as one group measures, and its subject.
pub(crate) const NODES_MAX: usize = 25;
/// Most auditors of one node.
const GROUP: u8 = 24;
/// An epoch, its verdict window, in intervals.
const EPOCH: u32 = 12;
const WINDOW: u32 = 4;
/// Epochs over which the bounties are spread.
const EPOCHS: u64 = 100;
/// All bounties, in whole tokens.
const POOL: u64 = 1_000_000;
const BPS: usize = 10_000;

/// A node that is audited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Which process.
    pub(crate) member: Member,
    /// Its public key on the subnet; zero: none.
    pub(crate) hotkey: B256,
    /// Where it serves.
    pub(crate) address: SocketAddr,
}

/// As whom an auditor challenges miners: they answer validators only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenger {
    /// The file of a validator's hotkey.
    pub(crate) hotkey: PathBuf,
    /// Where the subnet's ledger serves.
    pub(crate) ledger: SocketAddr,
}

/// The contract, and who runs an auditor.
#[derive(Debug, Clone)]
pub(crate) struct Audits {
    manager: Address,
    interval: u32,
    auditors: usize,
    /// The nodes 1, 2 and so on.
    pub(crate) members: Vec<Member>,
    /// Of the first of them.
    pub(crate) operators: Vec<Wallet>,
}

/// What a node did as an auditor, and what the others say of it, as the contract knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deeds {
    /// Verdicts of its that count.
    pub(crate) verdicts: u64,
    /// Verdicts about it that count.
    pub(crate) audits: u64,
    /// Intervals that these call it down, all together.
    pub(crate) down: u64,
    /// Bounties that its node claimed.
    pub(crate) payouts: u64,
    /// Base units of them.
    pub(crate) bounty: U256,
}

impl Audits {
    /// Builds the manager for so many nodes, with the money for their bounties.
    ///
    /// # Errors
    /// A node that does not take it.
    pub(crate) async fn build(site: &mut Site<'_>, nodes: usize, options: &Options) -> Result<Self, LiveError> {
        let auditors = usize::from(options.auditors).min(nodes);
        let terms = terms(options.block_time, auditors, nodes);
        let token = site.token("Bounty", "BTY", ether(2 * POOL))?;
        let interval = terms.checkTime;
        let arguments = AuditManager::constructorCall {
            owner_: site.address(),
            token_: token,
            config_: terms,
        };
        let manager = site.create(Contract::AuditManager.creation(&arguments), U256::ZERO, MANAGER_GAS)?;
        site.approve(token, manager, U256::MAX)?;
        let pool = Token::transferCall {
            to: manager,
            value: ether(POOL),
        };
        site.call(token, &pool)?;
        site.finish().await?;
        Ok(Self {
            manager,
            interval,
            auditors,
            members: Vec::new(),
            operators: Vec::new(),
        })
    }

    /// Registers the nodes, all owned by the site's account, and begins the bounties. Each group is completed in the block after.
    ///
    /// # Errors
    /// A node that does not take it.
    pub(crate) async fn register(&mut self, site: &mut Site<'_>, nodes: &[Node], seed: u64) -> Result<(), LiveError> {
        let nodes = nodes.get(..NODES_MAX).unwrap_or(nodes);
        let operators = Wallet::derive_all(seed, "operator", nodes.len())?;
        self.operators = operators.iter().take(self.auditors).cloned().collect();
        fund(site.node(), self.operators.iter().map(Wallet::address)).await?;
        let end = site.node().head().await?.timestamp + EPOCHS * self.epoch().as_secs();
        for (node, operator) in nodes.iter().zip(&operators) {
            let registration = AuditManager::registerCall {
                operator: operator.address(),
                kind: kind(node.member),
                hotkey: node.hotkey,
                endpoint: format!("http://{}", node.address),
                stake: STAKE,
            };
            site.call_with(self.manager, &registration, NODE_GAS)?;
        }
        site.call_with(self.manager, &AuditManager::releaseCall { end }, NODE_GAS)?;
        site.finish().await?;
        for subject in incomplete(nodes.len()) {
            site.call_with(self.manager, &AuditManager::fillGroupCall { subject }, NODE_GAS)?;
        }
        site.finish().await?;
        self.members = nodes.iter().map(|node| node.member).collect();
        Ok(())
    }

    /// The configuration of an auditor, whose operator's key is in the file `key`. With a validator's hotkey it challenges miners.
    pub(crate) fn config(
        &self,
        endpoint: &Endpoint,
        data: &Path,
        key: &Path,
        challenger: Option<&Challenger>,
    ) -> String {
        let reference = endpoint.rpc.split_once("://").map_or("", |(_, rest)| rest);
        let challenge = challenger.map_or_else(String::new, |Challenger { hotkey, ledger }| {
            let hotkey = hotkey.display();
            format!("\n[challenge]\nenabled = true\nledger = \"http://{ledger}\"\nhotkey = \"{hotkey}\"\n")
        });
        format!(
            "contract = \"{}\"\nendpoints = [\"{}\"]\ndata = \"{}\"\n\n[operator]\nhex = \"file:{}\"\n\n\
             [measure]\nevery = \"{}s\"\n\n[report]\nretry = \"1s\"\n\n[claim]\nretry = \"1s\"\n\n\
             [probe]\nreferences = [\"{}\"]\nprivate_addresses = true\n\n\
             [rpc]\npoll = \"250ms\"\nmax_head_age = \"1day\"\n\n[sender]\npoll = \"250ms\"\nconfirmations = 2\n{challenge}",
            self.manager,
            endpoint.rpc,
            data.display(),
            key.display(),
            self.interval,
            reference.trim_end_matches('/'),
        )
    }

    /// How long an epoch is.
    pub(crate) fn epoch(&self) -> Duration {
        Duration::from_secs(u64::from(self.interval) * u64::from(EPOCH))
    }

    /// What every node did so far, by its id, which is its place in the list from 1.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn deeds(&self, node: &NodeClient) -> Result<BTreeMap<u32, Deeds>, LiveError> {
        let mut deeds = BTreeMap::<u32, Deeds>::new();
        for log in node.logs(self.manager).await? {
            if let Ok(verdict) = AuditManager::VerdictReported::decode_log(&log.inner) {
                if verdict.outcome == STORED {
                    deeds.entry(verdict.auditor).or_default().verdicts += 1;
                    let subject = deeds.entry(verdict.subject).or_default();
                    subject.audits += 1;
                    subject.down += u64::from(verdict.downtime);
                }
            } else if let Ok(paid) = AuditManager::BountyPaid::decode_log(&log.inner) {
                let deed = deeds.entry(paid.id).or_default();
                deed.payouts += 1;
                deed.bounty += U256::from(paid.settlement.bounty);
            }
        }
        Ok(deeds)
    }
}

/// The outcome of a verdict that counts.
const STORED: u8 = 0;

/// What the contract calls a node's part.
fn kind(member: Member) -> u8 {
    match member {
        Member::Validator(_) => 1,
        Member::Miner(_) => 2,
        Member::Keeper(_) => 3,
        _ => 0,
    }
}

/// Nodes, from 1, that were registered before as many others as their group wants.
fn incomplete(nodes: usize) -> impl Iterator<Item = u32> {
    let wanted = nodes.saturating_sub(1).min(usize::from(GROUP));
    (1_u32..)
        .take(nodes)
        .take_while(move |node| (*node as usize - 1) < wanted)
}

/// An interval is a block, and no less than the second that a chain counts in.
fn terms(block_time: Duration, auditors: usize, nodes: usize) -> AuditManager::Config {
    let interval = u32::try_from(block_time.as_millis().div_ceil(1_000))
        .unwrap_or(u32::MAX)
        .max(1);
    let group = nodes.saturating_sub(1).clamp(1, usize::from(GROUP));
    AuditManager::Config {
        rewardPeriod: interval.saturating_mul(EPOCH),
        deltaPeriod: interval.saturating_mul(WINDOW),
        checkTime: interval,
        allowableLatency: 150_000,
        toleranceDivisor: 4,
        // An auditor measures others than itself.
        quorumBps: u16::try_from(auditors.saturating_sub(1).div_ceil(2) * BPS / group)
            .unwrap_or(u16::MAX)
            .clamp(1, 5_000),
        coverageBps: 5_000,
        dutyBps: 2_000,
        groupSize: GROUP,
        minStake: STAKE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_intervals_of_a_block_and_asks_for_no_more_verdicts_than_there_can_be() {
        let usual = terms(Duration::from_secs(2), 4, 16);
        assert_eq!((usual.rewardPeriod, usual.deltaPeriod, usual.checkTime), (24, 8, 2));
        // Two of fifteen: three others measure an auditor.
        assert_eq!((usize::from(usual.quorumBps) * 15).div_ceil(BPS), 2);
        assert_eq!(terms(Duration::from_millis(200), 4, 16).checkTime, 1);
        assert_eq!(terms(Duration::from_secs(2), 1, 2).quorumBps, 1);
    }

    #[test]
    fn the_first_nodes_groups_are_completed_and_no_group_that_is_whole() {
        assert_eq!(incomplete(4).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(incomplete(25).count(), 24);
        assert_eq!(incomplete(1).count(), 0);
    }
}
