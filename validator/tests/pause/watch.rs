//! A validator's defence of a vault on a real node: its gatekeeper, and incidents as the validator's own engine confirms them.
//!
//! The keepers' tests stand on it too.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::utils::Unit;
use alloy::primitives::{Address, B256, U256};
use alloy::signers::local::PrivateKeySigner;
use contracts::{Contract, layout};
use defence::clock::Clock;
use defence::incident::State;
use defence::violation::Severity;
use defence::{Defence, Incident};
use engine::{Comparison, Invariant, Transaction, ValueType, Watched, Witness};
use sender::{Keys, Lane, Sender};
use serde_json::{Value, json};
use testkit::until;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use validator::incident::{self, Confirmed, Times};
use validator::pause::simulator::Simulator;
use validator::pause::{Gatekeeper, Late, PauseWay};
use wire::InvariantSet;

/// Anvil's chain.
pub(crate) const CHAIN: u64 = 31_337;

pub(crate) fn ether(amount: u64) -> U256 {
    U256::from(amount) * Unit::ETHER.wei()
}

/// Ends with it.
pub(crate) struct Watch {
    pub(crate) defence: Defence,
    /// The vault's ten ether are all there.
    pub(crate) invariant: Watched,
    gatekeeper: Arc<Gatekeeper>,
    stop: CancellationToken,
}

impl Watch {
    /// Pauses are tried on `node`, and sent with this key over the nodes of `sender`, a table of its configuration.
    pub(crate) async fn open(
        vault: Address,
        node: &str,
        (sender, key): (&Value, PrivateKeySigner),
        actions: &Value,
        folder: &Path,
    ) -> (Self, mpsc::Receiver<Late>) {
        let settings = serde_json::from_value(sender.clone()).unwrap();
        let sender = Sender::open(&settings, &Keys::single(key), &folder.join("validator.db")).await;
        let sender = Arc::new(sender.unwrap());
        let offer = async || sender.offer(Lane::Pause, None, None);
        until("the sender sees the chain", offer, Option::is_some).await;
        let (nodes, account) = (vec![node.parse().unwrap()], sender.account(Lane::Pause));
        let simulator = Simulator::open(nodes, Some(CHAIN), account, 500_000, Duration::from_secs(30)).await;
        let pausing = serde_json::from_value(json!({ "poll": "50ms", "simulation": "20s" })).unwrap();
        let config: defence::config::Config = serde_json::from_value(json!({ "actions": actions })).unwrap();
        let (gatekeeper, late) = Gatekeeper::new(simulator.unwrap(), sender, pausing, PauseWay::all(&config));
        let gatekeeper = Arc::new(gatekeeper);
        let assets = layout::variable(Contract::Vault, "totalAssets").unwrap();
        let (slot, word, offset) = (assets.slot, ValueType::Uint(128), assets.offset);
        let cover = Invariant::new(3, "cover", vault, slot, word, offset, Comparison::Ge, ether(10));
        let invariant = Watched::from(cover.unwrap());
        let set = InvariantSet {
            version: 1,
            invariants: vec![invariant.clone()],
        };
        gatekeeper.saw(B256::ZERO, &Arc::new(set));
        let stop = CancellationToken::new();
        let (running, stopped) = (Arc::clone(&gatekeeper), stop.clone());
        tokio::spawn(async move { running.run(stopped).await });
        let pauser = Arc::clone(&gatekeeper) as Arc<dyn defence::Pauser>;
        let defence = Defence::open(config, &folder.join("defence.db"), Some(pauser))
            .await
            .unwrap();
        (
            Self {
                defence,
                invariant,
                gatekeeper,
                stop,
            },
            late,
        )
    }

    /// The validator's engine has confirmed that this raid takes all.
    pub(crate) async fn confirmed(&self, raid: &Transaction) -> u64 {
        self.confirmed_behind(&[], raid).await
    }

    /// The same of a raid that waits behind these.
    pub(crate) async fn confirmed_behind(&self, predecessors: &[Transaction], raid: &Transaction) -> u64 {
        let now = Clock::system().now_ms();
        let witness = Witness {
            invariant_id: self.invariant.id(),
            tx_hash: raid.hash(),
            contract: self.invariant.contract(),
            slot: U256::ZERO,
            pre: ether(10),
            post: U256::ZERO,
            engine_version: engine::ENGINE_VERSION.to_owned(),
            readings: Vec::new(),
            path: Vec::new(),
        };
        let violation = Confirmed {
            chain_id: CHAIN,
            transaction: raid,
            predecessors,
            invariant: &self.invariant,
            set_version: 1,
            witness: &witness,
            path: &[],
            moved: &engine::Moved::default(),
            severity: Severity::Critical,
            times: Times {
                seen_ms: now,
                judged_ms: now,
                confirmed_ms: now,
            },
            view: incident::view(3, [true, true, true], true),
        };
        let incident = self.defence.confirmed(&violation.violation()).await.unwrap();
        self.gatekeeper.repeated(&self.invariant, predecessors, raid).await;
        incident
    }

    pub(crate) async fn incident(&self, id: u64) -> Incident {
        self.defence.incident(id).await.unwrap().unwrap()
    }

    pub(crate) async fn reaches(&self, id: u64, state: State) -> Incident {
        self.until(id, |incident| incident.state == state).await
    }

    pub(crate) async fn until(&self, id: u64, reached: impl Fn(&Incident) -> bool) -> Incident {
        let mut changes = self.defence.changes();
        let wait = async {
            loop {
                changes.mark_unchanged();
                let incident = self.incident(id).await;
                if reached(&incident) {
                    return incident;
                }
                changes.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), wait).await {
            Ok(incident) => incident,
            Err(_) => panic!("never reached: {:#?}", self.incident(id).await),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
