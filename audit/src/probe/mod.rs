//! One tick of measuring: every peer, at the same time, each within its own deadline.
//!
//! The rules stand in [`verdict`], pure; around them is the network. What always holds: an auditor that is offline itself measures nobody; a
//! peer that hangs holds up nobody else, and is unknown; what a peer says is bounded and quoted without control characters.

mod ask;
pub mod canary;
pub mod challenge;
pub mod reach;
pub mod verdict;

use std::net::SocketAddr;

use chain::AccountId;
use futures::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use state::{BlockRef, Node};

use self::challenge::Challenger;
use self::verdict::{Claimed, Judged, Seen, Step, freshness, hanging, judge};
use crate::config::ProbeConfig;
use crate::store::Sample;

/// What a node does; the contract's `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Feeds validators.
    Platform,
    /// Asks miners.
    Validator,
    /// Judges transactions.
    Miner,
    /// Executes jobs.
    Keeper,
}

impl Kind {
    /// By the contract's number.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Platform),
            1 => Some(Self::Validator),
            2 => Some(Self::Miner),
            3 => Some(Self::Keeper),
            _ => None,
        }
    }

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Validator => "validator",
            Self::Miner => "miner",
            Self::Keeper => "keeper",
        }
    }

    /// The gRPC service that it is asked for its health; empty: the server as a whole.
    const fn service(self) -> &'static str {
        match self {
            Self::Platform => "portcullis.v1.Platform",
            Self::Validator => "portcullis.v1.Validator",
            Self::Miner => "portcullis.v1.Miner",
            Self::Keeper => "",
        }
    }
}

/// Whom to measure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its id in the contract.
    pub id: u32,
    /// What it does; `None`: a kind that this program does not know, of which only the connection is measured.
    pub kind: Option<Kind>,
    /// Its hotkey on the subnet; zero: none.
    pub hotkey: [u8; 32],
    /// `http://HOST:PORT`, as its owner wrote it.
    pub endpoint: String,
}

/// What a tick came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tick {
    /// No reference was reached: nothing is known of anybody.
    Offline,
    /// A sample of each peer, in the order given.
    Measured(Vec<Sample>),
}

/// Measures peers.
#[derive(Debug)]
pub struct Prober {
    config: ProbeConfig,
    /// A node of the chain that the network watches.
    heads: Option<Node>,
    challenger: Option<Challenger>,
}

impl Prober {
    /// Measures by `config`; compares heads with those of `heads`, and asks miners as `challenger`, where there are such.
    #[must_use]
    pub const fn new(config: ProbeConfig, heads: Option<Node>, challenger: Option<Challenger>) -> Self {
        Self {
            config,
            heads,
            challenger,
        }
    }

    /// One tick, at the chain's time `at` (Unix seconds) and the wall clock's `wall_ms`. Ends within the limit for one peer, times the
    /// turns that they have to wait for.
    pub async fn tick(&self, peers: &[Peer], at: u64, wall_ms: u64) -> Tick {
        if !reach::is_online(&self.config.references, self.config.connect).await {
            return Tick::Offline;
        }
        let own = self.own_head().await;
        let probes: Vec<_> = peers
            .iter()
            .map(|peer| self.sample(peer, own, at, wall_ms).boxed())
            .collect();
        let samples = futures::stream::iter(probes)
            .buffered(self.config.at_once)
            .collect()
            .await;
        Tick::Measured(samples)
    }

    async fn sample(&self, peer: &Peer, own: Option<Claimed>, at: u64, wall_ms: u64) -> Sample {
        let limit = self.config.limit;
        let probe = tokio::time::timeout(limit, self.probe(peer, own, at)).await;
        let Judged { row, step, reason } = probe.unwrap_or_else(|_| hanging(at, limit));
        Sample {
            subject: peer.id,
            row,
            wall_ms,
            step: step.to_owned(),
            reason,
        }
    }

    /// The newest head of our own node.
    async fn own_head(&self) -> Option<Claimed> {
        let node = self.heads.as_ref()?;
        match node.newest().await {
            Ok(block) => Some(Claimed {
                number: block.header.number,
                hash: Some(block.header.hash),
            }),
            Err(error) => {
                tracing::warn!(%error, "our own node does not tell its head; heads of peers are not compared");
                None
            }
        }
    }

    async fn probe(&self, peer: &Peer, own: Option<Claimed>, at: u64) -> Judged {
        let mut seen = Seen {
            connections: [None; verdict::TRIES],
            steps: Vec::new(),
        };
        let address = match reach::resolve(&peer.endpoint, self.config.private_addresses, self.config.connect).await {
            Ok(address) => address,
            Err(error) => {
                return Judged {
                    reason: error.to_string(),
                    ..judge(at, &seen)
                };
            }
        };
        seen.connections = reach::connections(address, self.config.connect).await;
        if verdict::is_reached(&seen.connections)
            && let Some(kind) = peer.kind
        {
            self.steps(peer, kind, address, own, &mut seen).await;
        }
        judge(at, &seen)
    }

    /// Everything after the connection, as far as it goes well.
    async fn steps(&self, peer: &Peer, kind: Kind, address: SocketAddr, own: Option<Claimed>, seen: &mut Seen) {
        let chain_id = self.heads.as_ref().map(Node::chain_id);
        let answered = ask::ask(kind, address, self.config.answer, chain_id).await;
        let serves = answered.health == Step::Passed;
        seen.steps.push(("health", answered.health));
        if !serves {
            return;
        }
        let fresh = match (answered.head, own) {
            (Ok(claimed), Some(own)) => freshness(
                claimed,
                own.number,
                self.hash_at(claimed, own).await,
                self.config.max_lag,
            ),
            (Ok(_), None) => Step::Skipped("no head of our own".to_owned()),
            (Err(reason), _) => Step::Skipped(reason),
        };
        seen.steps.push(("head", fresh));
        if kind == Kind::Miner {
            seen.steps.push(("challenge", self.challenge(peer, address, own).await));
        }
    }

    /// The hash that our own node has where a peer claims to be.
    async fn hash_at(&self, claimed: Claimed, own: Claimed) -> Option<alloy::primitives::B256> {
        let node = self.heads.as_ref()?;
        if claimed.hash.is_none() || claimed.number > own.number {
            return None;
        }
        let block = node
            .block(BlockRef::Number(claimed.number), false, node.patience())
            .await
            .ok()??;
        Some(block.header.hash)
    }

    async fn challenge(&self, peer: &Peer, address: SocketAddr, own: Option<Claimed>) -> Step {
        let Some(challenger) = &self.challenger else {
            return Step::Skipped("this auditor challenges nobody".to_owned());
        };
        if peer.hotkey == [0; 32] {
            return Step::Failed("it is a miner, and has registered no hotkey".to_owned());
        }
        let deadline = self.config.challenge;
        let chain_id = self.heads.as_ref().map_or(1, Node::chain_id);
        let timestamp = node::clock::unix().as_secs();
        let head = own.unwrap_or(Claimed { number: 0, hash: None });
        let made = canary::make(chain_id, head, timestamp, deadline, &mut rand::rng());
        match made {
            Ok(canary) => {
                let miner = AccountId::new(peer.hotkey);
                // The answer has the miner's own deadline, and the way there and back.
                let limit = deadline.saturating_add(self.config.connect.saturating_mul(2));
                challenger.ask(address, &miner, &canary, limit).await
            }
            Err(error) => {
                tracing::error!(%error, "no canary can be made");
                Step::Skipped(error.to_string())
            }
        }
    }
}
