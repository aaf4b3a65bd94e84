//! What the audits of all nodes came to, by the contract's events: for a validator's scores, and for whoever shows them.
//!
//! What always holds: only settled epochs count, and of each node the newest; an epoch without enough verdicts says nothing about uptime; events
//! are read once they are a few blocks deep, each once, in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use alloy::primitives::{Address, U256};
use alloy::rpc::types::Log;
use alloy::sol_types::SolEvent as _;
use contracts::AuditManager;
use serde::{Serialize, Serializer};
use tokio_util::sync::CancellationToken;
use url::{Host, Url};

use crate::manager::{ManagerClient, ReadError};
use crate::probe::Kind;
use crate::source::Source;

/// Blocks that are too near to the tip to be read.
pub const DEPTH: u64 = 2;
/// Blocks whose events are asked for at a time.
const RANGE: u64 = 2_000;

/// Reads the results again and again until `shutdown`, and tells each time. A node that is silent tells nothing, and is asked again.
pub async fn follow(source: Source, shutdown: CancellationToken, mut tell: impl FnMut(&Results) + Send) {
    let mut known = None;
    loop {
        let read = tokio::select! {
            () = shutdown.cancelled() => return,
            read = read(&source, &mut known) => read,
        };
        match (read, &known) {
            (Ok(()), Some(results)) => tell(results),
            (Ok(()), None) => {}
            (Err(error), _) => tracing::warn!(%error, "the audits' results cannot be read; what is known stays"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(source.every) => {}
        }
    }
}

async fn read(source: &Source, known: &mut Option<Results>) -> Result<(), ReadError> {
    let results = match known {
        Some(results) => results,
        None => {
            let node = state::Node::connect(source.nodes.clone()).await?;
            let client = ManagerClient::open(node, source.contract).await?;
            known.insert(Results::new(client, source.deployed_at))
        }
    };
    results.advance().await
}

/// A node, and how its newest settled epoch went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// Its id.
    pub id: u32,
    /// What it does; `None`: a kind that this program does not know.
    pub kind: Option<Kind>,
    /// Who receives its bounties.
    pub owner: Address,
    /// Its hotkey on the subnet, in hexadecimal; `None`: it has none.
    #[serde(serialize_with = "hexadecimal")]
    pub hotkey: Option<[u8; 32]>,
    /// Where it is measured; a stranger's text.
    pub endpoint: String,
    /// Whether it takes part.
    pub active: bool,
    /// `None`: no epoch of its is settled yet.
    pub settled: Option<Settled>,
}

#[allow(clippy::ref_option, reason = "serde's signature")]
fn hexadecimal<S: Serializer>(hotkey: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    hotkey.map(hex::encode).serialize(serializer)
}

/// A settled epoch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settled {
    /// Its number.
    pub epoch: u32,
    /// The block of the claim.
    pub block: u64,
    /// The claim's transaction.
    pub transaction: String,
    /// The median downtime, in intervals.
    pub downtime: u32,
    /// Intervals that a late claim adds.
    pub late: u32,
    /// Intervals of an epoch.
    pub intervals: u32,
    /// The share of the intervals in which it served: 0 to 1; `None`: too few have reported.
    pub uptime: Option<f64>,
    /// The median latency, microseconds.
    pub latency_us: u32,
    /// Verdicts that counted, of so many auditors.
    pub verdicts: u32,
    /// See `verdicts`.
    pub group_size: u32,
    /// Whether they were enough.
    pub quorum: bool,
    /// Base units, in decimal.
    #[serde(serialize_with = "decimal")]
    pub bounty: U256,
}

fn decimal<S: Serializer>(amount: &U256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(amount)
}

/// The share of the intervals in which a node served; `None` where too few have reported, or nothing is measured.
#[must_use]
pub fn uptime(downtime: u32, intervals: u32, quorum: bool) -> Option<f64> {
    (quorum && intervals > 0).then(|| 1.0 - f64::from(downtime.min(intervals)) / f64::from(intervals))
}

/// The results of one AuditManager.
#[derive(Debug, Clone)]
pub struct Results {
    client: ManagerClient,
    next: u64,
    nodes: BTreeMap<u32, Standing>,
}

impl Results {
    /// Of the contract that was created in the block `deployed_at`; nothing is read yet.
    #[must_use]
    pub const fn new(client: ManagerClient, deployed_at: u64) -> Self {
        Self {
            client,
            next: deployed_at,
            nodes: BTreeMap::new(),
        }
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// When the node does not answer: the next call goes on from there.
    pub async fn advance(&mut self) -> Result<(), ReadError> {
        let head = self.client.head().await?;
        let intervals = self.client.terms(head.hash).await?.intervals();
        let deep = (head.number + 1).saturating_sub(DEPTH);
        while self.next < deep {
            let to = (self.next + RANGE - 1).min(deep - 1);
            for log in self.client.logs(self.next, to).await? {
                take(&mut self.nodes, &log, intervals);
            }
            self.next = to + 1;
        }
        Ok(())
    }

    /// Every node, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Standing> {
        self.nodes.values()
    }

    /// How well each hotkey served at each address, 0 to 1: of several nodes the worst. Only active ones, with enough verdicts.
    ///
    /// Anybody can register anybody's hotkey: only what was measured at the address that the subnet's ledger has for it is about that hotkey.
    #[must_use]
    pub fn uptimes(&self) -> BTreeMap<([u8; 32], SocketAddr), f64> {
        uptimes(self.nodes())
    }
}

fn uptimes<'a>(nodes: impl Iterator<Item = &'a Standing>) -> BTreeMap<([u8; 32], SocketAddr), f64> {
    let mut uptimes = BTreeMap::new();
    for node in nodes.filter(|node| node.active) {
        let uptime = node.settled.as_ref().and_then(|settled| settled.uptime);
        if let (Some(hotkey), Some(address), Some(uptime)) = (node.hotkey, address(&node.endpoint), uptime) {
            let worst = uptimes.entry((hotkey, address)).or_insert(uptime);
            *worst = worst.min(uptime);
        }
    }
    uptimes
}

/// The address in an endpoint; `None` for a name, which leads wherever its owner wants.
fn address(endpoint: &str) -> Option<SocketAddr> {
    let url = Url::parse(endpoint).ok()?;
    let port = url.port_or_known_default()?;
    match url.host()? {
        Host::Ipv4(ip) => Some(SocketAddr::new(ip.into(), port)),
        Host::Ipv6(ip) => Some(SocketAddr::new(ip.into(), port)),
        Host::Domain(_) => None,
    }
}

/// What one event changes.
fn take(nodes: &mut BTreeMap<u32, Standing>, log: &Log, intervals: u32) {
    if log.removed {
        return;
    }
    let key = |word: alloy::primitives::B256| (!word.is_zero()).then_some(word.0);
    match log.topic0().copied().unwrap_or_default() {
        AuditManager::NodeRegistered::SIGNATURE_HASH => {
            if let Ok(event) = AuditManager::NodeRegistered::decode_log(&log.inner) {
                let standing = Standing {
                    id: event.id,
                    kind: Kind::of(event.kind),
                    owner: event.owner,
                    hotkey: key(event.hotkey),
                    endpoint: event.endpoint.clone(),
                    active: true,
                    settled: None,
                };
                nodes.insert(event.id, standing);
            }
        }
        AuditManager::NodeChanged::SIGNATURE_HASH => {
            if let Ok(event) = AuditManager::NodeChanged::decode_log(&log.inner)
                && let Some(node) = nodes.get_mut(&event.id)
            {
                // Another hotkey begins without a record: the old one's good days are not its own.
                if node.hotkey != key(event.hotkey) {
                    node.settled = None;
                }
                node.hotkey = key(event.hotkey);
                node.endpoint.clone_from(&event.endpoint);
            }
        }
        AuditManager::NodeExited::SIGNATURE_HASH => {
            if let Ok(event) = AuditManager::NodeExited::decode_log(&log.inner)
                && let Some(node) = nodes.get_mut(&event.id)
            {
                node.active = false;
            }
        }
        AuditManager::BountyPaid::SIGNATURE_HASH => {
            if let Ok(event) = AuditManager::BountyPaid::decode_log(&log.inner)
                && let Some(node) = nodes.get_mut(&event.id)
            {
                let paid = &event.settlement;
                node.settled = Some(Settled {
                    epoch: event.epoch,
                    block: log.block_number.unwrap_or_default(),
                    transaction: log.transaction_hash.unwrap_or_default().to_string(),
                    downtime: paid.downtime,
                    late: paid.late,
                    intervals,
                    uptime: uptime(paid.downtime, intervals, paid.quorum),
                    latency_us: paid.latency,
                    verdicts: paid.verdicts,
                    group_size: paid.groupSize,
                    quorum: paid.quorum,
                    bounty: U256::from(paid.bounty),
                });
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, aliases::U40};

    use super::*;
    use crate::events::tests::log;

    fn registered(id: u32, hotkey: u8) -> Log {
        let event = AuditManager::NodeRegistered {
            id,
            owner: Address::ZERO,
            operator: Address::ZERO,
            kind: 2,
            hotkey: B256::repeat_byte(hotkey),
            endpoint: "http://x:1".to_owned(),
        };
        log(event.encode_log_data())
    }

    fn paid(id: u32, epoch: u32, downtime: u32, quorum: bool) -> Log {
        let settlement = AuditManager::Settlement {
            downtime,
            latency: 900,
            late: 50,
            verdicts: 3,
            groupSize: 4,
            quorum,
            staked: true,
            owed: 0,
            kept: 0,
            maximum: 10,
            bounty: 9,
        };
        let event = AuditManager::BountyPaid {
            id,
            epoch,
            owner: Address::ZERO,
            settlement,
            nextReward: U40::ZERO,
        };
        log(event.encode_log_data())
    }

    #[test]
    fn the_newest_settled_epoch_counts_and_only_with_enough_verdicts() {
        let mut nodes = BTreeMap::new();
        for event in [
            registered(1, 7),
            paid(1, 1, 40, true),
            paid(1, 2, 10, true),
            paid(9, 1, 1, true),
        ] {
            take(&mut nodes, &event, 100);
        }
        let settled = nodes[&1].settled.clone().unwrap();
        assert_eq!((settled.epoch, settled.uptime, settled.late), (2, Some(0.9), 50));
        assert!(!nodes.contains_key(&9), "nobody of that id was registered");
        take(&mut nodes, &paid(1, 3, 0, false), 100);
        assert_eq!(
            nodes[&1].settled.as_ref().unwrap().uptime,
            None,
            "silent auditors are no uptime"
        );
    }

    #[test]
    fn another_hotkey_begins_without_a_record() {
        let mut nodes = BTreeMap::new();
        let change = |hotkey: u8, endpoint: &str| {
            let event = AuditManager::NodeChanged {
                id: 1,
                operator: Address::ZERO,
                hotkey: B256::repeat_byte(hotkey),
                endpoint: endpoint.to_owned(),
            };
            log(event.encode_log_data())
        };
        for event in [registered(1, 7), paid(1, 1, 0, true), change(7, "http://y:1")] {
            take(&mut nodes, &event, 100);
        }
        assert!(nodes[&1].settled.is_some() && nodes[&1].endpoint == "http://y:1");
        take(&mut nodes, &change(8, "http://y:1"), 100);
        assert_eq!(nodes[&1].settled, None);
        let text = serde_json::to_value(&nodes[&1]).unwrap();
        assert_eq!(text["hotkey"], "08".repeat(32));
        assert_eq!(text["kind"], "miner");
    }

    #[test]
    fn a_hotkey_that_somebody_else_registered_elsewhere_is_another_record() {
        let mut nodes = BTreeMap::new();
        let at = |id: u32, endpoint: &str| {
            let event = AuditManager::NodeRegistered {
                id,
                owner: Address::ZERO,
                operator: Address::ZERO,
                kind: 2,
                hotkey: B256::repeat_byte(7),
                endpoint: endpoint.to_owned(),
            };
            log(event.encode_log_data())
        };
        let events = [
            at(1, "http://10.0.0.1:9000"),
            at(2, "http://10.9.9.9:9000"),
            at(3, "http://10.0.0.1:9000"),
            at(4, "http://name:9000"),
        ];
        for event in events.iter().chain(&[
            paid(1, 1, 0, true),
            paid(2, 1, 100, true),
            paid(3, 1, 20, true),
            paid(4, 1, 0, true),
        ]) {
            take(&mut nodes, event, 100);
        }
        let uptimes = uptimes(nodes.values());
        assert_eq!(
            uptimes[&([7; 32], "10.0.0.1:9000".parse().unwrap())],
            0.8,
            "the worst of two"
        );
        assert_eq!(uptimes[&([7; 32], "10.9.9.9:9000".parse().unwrap())], 0.0);
        assert_eq!(uptimes.len(), 2);
    }

    #[test]
    fn uptime_is_a_share() {
        assert_eq!(uptime(0, 8, true), Some(1.0));
        assert_eq!(uptime(6, 8, true), Some(0.25));
        assert_eq!(uptime(9, 8, true), Some(0.0));
        assert_eq!((uptime(0, 8, false), uptime(0, 0, true)), (None, None));
    }
}
