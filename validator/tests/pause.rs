//! The pause on a real node: tried first, mined ahead of the attack, raised when it is outbid, given up when it cannot win.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::sync::Arc;
use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U64, U256};
use alloy::providers::{DynProvider, Provider as _};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use contracts::{Contract, Raider, Vault, layout};
use defence::config::Way;
use defence::incident::{Moment, State};
use defence::violation::Severity;
use defence::{Defence, Incident};
use engine::{Comparison, Invariant, Transaction, ValueType, Watched, Witness};
use sender::{Keys, Lane, Sender};
use serde_json::{Value, json};
use testkit::{Fault, Mining, Proxy, TestAnvil, anvil, until};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use validator::incident::{self, Confirmed, Times};
use validator::pause::simulator::Simulator;
use validator::pause::timing::Latency;
use validator::pause::{Gatekeeper, Late, PauseWay};
use wire::InvariantSet;

const GWEI: u128 = 1_000_000_000;
const CHAIN: u64 = 31_337;

fn ether(amount: u64) -> U256 {
    U256::from(amount) * U256::from(10).pow(U256::from(18))
}

fn pause(paused_: bool) -> Bytes {
    Vault::setPausedCall { paused_ }.abi_encode().into()
}

/// An account, and the nonce of its next transaction.
struct Account {
    signer: PrivateKeySigner,
    nonce: u64,
}

impl Account {
    fn sign(&mut self, to: TxKind, value: U256, input: Bytes, tip: u128) -> Bytes {
        self.nonce += 1;
        self.sign_at(self.nonce - 1, to, value, input, tip)
    }

    fn sign_at(&self, nonce: u64, to: TxKind, value: U256, input: Bytes, tip: u128) -> Bytes {
        let tx = TxEip1559 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 2_000_000,
            max_fee_per_gas: 10 * GWEI + tip,
            max_priority_fee_per_gas: tip,
            to,
            value,
            input,
            ..TxEip1559::default()
        };
        let signature = self.signer.sign_hash_sync(&tx.signature_hash()).unwrap();
        TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
    }
}

/// A vault with ten ether, its thief, and a defence that may pause it.
struct World {
    _anvil: TestAnvil,
    node: DynProvider,
    proxy: Proxy,
    captain: Account,
    raider: Address,
    vault: Address,
    invariant: Invariant,
    guardian: Address,
    gatekeeper: Arc<Gatekeeper>,
    defence: Defence,
    late: mpsc::Receiver<Late>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl World {
    /// The pause calls the vault with `calldata`, and offers at most `cap` gwei per gas.
    async fn new(calldata: Bytes, cap: u64) -> Option<Self> {
        let anvil = anvil(Mining::Manual, &["--order", "fees"])?;
        let node = anvil.provider();
        let proxy = Proxy::before(&anvil.http(), Duration::ZERO).await;
        let account = |place: usize| Account {
            signer: anvil.instance().keys()[place].clone().into(),
            nonce: 0,
        };
        let (mut owner, mut captain) = (account(0), account(1));
        let guardian = owner.signer.address();
        let (vault, raider) = (guardian.create(0), captain.signer.address().create(0));
        let creation = Contract::Vault.creation(&Vault::constructorCall { flashFeeBps_: 9 });
        send(&node, &owner.sign(TxKind::Create, ether(10), creation, GWEI)).await;
        let creation = Contract::Raider.creation(&Raider::constructorCall {});
        send(&node, &captain.sign(TxKind::Create, U256::ZERO, creation, GWEI)).await;
        mine(&node).await;

        let assets = layout::variable(Contract::Vault, "totalAssets").unwrap();
        let word = ValueType::Uint(128);
        let invariant = Invariant::new(
            3,
            "cover",
            vault,
            assets.slot,
            word,
            assets.offset,
            Comparison::Ge,
            ether(10),
        );
        let invariant = invariant.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let settings = json!({
            "endpoints": [proxy.url()], "poll": "50ms", "confirmations": 1,
            "lanes": { "pause": { "max_fee_cap": cap * 1_000_000_000 } },
        });
        let keys = Keys::single(owner.signer.clone());
        let journal = folder.path().join("sender.db");
        let sender = Sender::open(&serde_json::from_value(settings).unwrap(), &keys, &journal)
            .await
            .unwrap();
        let sender = Arc::new(sender);
        let offer = async || sender.offer(Lane::Pause, None, None);
        until("the sender sees the chain", offer, Option::is_some).await;
        let url = anvil.http().parse().unwrap();
        let simulator = Simulator::open(
            vec![url],
            Some(CHAIN),
            sender.account(Lane::Pause),
            500_000,
            Duration::from_secs(30),
        );
        let config = serde_json::from_value(json!({ "poll": "50ms" })).unwrap();
        let way = PauseWay {
            way: Way::Call {
                contract: None,
                calldata: calldata.clone(),
            },
            invariants: Vec::new(),
        };
        let (gatekeeper, late) = Gatekeeper::new(simulator.await.unwrap(), sender, config, vec![way]);
        let gatekeeper = Arc::new(gatekeeper);
        let set = InvariantSet {
            version: 1,
            invariants: vec![invariant.clone().into()],
        };
        gatekeeper.saw(B256::ZERO, &Arc::new(set));
        let stop = CancellationToken::new();
        let (running, stopped) = (Arc::clone(&gatekeeper), stop.clone());
        tokio::spawn(async move { running.run(stopped).await });
        let actions = json!({ "actions": [{ "id": "stop", "kind": "pause_agent", "calldata": calldata }] });
        let defence = Defence::open(
            serde_json::from_value(actions).unwrap(),
            &folder.path().join("defence.db"),
            Some(Arc::clone(&gatekeeper) as Arc<dyn defence::Pauser>),
        )
        .await
        .unwrap();
        Some(Self {
            defence,
            _anvil: anvil,
            node,
            proxy,
            captain,
            raider,
            vault,
            invariant,
            guardian,
            gatekeeper,
            late,
            stop,
            _folder: folder,
        })
    }

    fn raid(&self) -> (TxKind, U256, Bytes) {
        let call = Raider::raidCall {
            vault: self.vault,
            wanted: ether(1),
        };
        (TxKind::Call(self.raider), ether(5), call.abi_encode().into())
    }

    /// The captain raids, offering the builder so many gwei.
    async fn attack(&mut self, tip: u128) -> Transaction {
        let (to, value, input) = self.raid();
        let raw = self.captain.sign(to, value, input, tip * GWEI);
        send(&self.node, &raw).await;
        Transaction::decode(&raw).unwrap()
    }

    /// The validator's engine has confirmed it.
    async fn confirmed(&self, raid: &Transaction) -> u64 {
        let now = defence::clock::Clock::system().now_ms();
        let invariant = Watched::from(self.invariant.clone());
        let witness = Witness {
            invariant_id: self.invariant.id,
            tx_hash: raid.hash(),
            contract: self.invariant.contract,
            slot: self.invariant.slot,
            pre: ether(10),
            post: U256::ZERO,
            engine_version: engine::ENGINE_VERSION.to_owned(),
            readings: Vec::new(),
            path: Vec::new(),
        };
        let violation = Confirmed {
            chain_id: CHAIN,
            transaction: raid,
            predecessors: &[],
            invariant: &invariant,
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
        }
        .violation();
        let incident = self.defence.confirmed(&violation).await.unwrap();
        self.gatekeeper.repeated(&invariant, raid).await;
        incident
    }

    async fn until(&self, id: u64, what: &str, reached: impl Fn(&Incident) -> bool) -> Incident {
        let mut changes = self.defence.changes();
        let wait = async {
            loop {
                changes.mark_unchanged();
                let incident = self.defence.incident(id).await.unwrap().unwrap();
                if reached(&incident) {
                    return incident;
                }
                changes.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), wait).await {
            Ok(incident) => incident,
            Err(_) => panic!("never {what}: {:#?}", self.defence.incident(id).await.unwrap()),
        }
    }

    /// Waits until the node has the pause of the last broadcast: that is told when it leaves.
    async fn arrived(&self, incident: &Incident) {
        let pause = broadcasts(incident).last().unwrap().split_whitespace().next().unwrap();
        let known = async || raw(&self.node, "eth_getTransactionByHash", json!([pause])).await;
        until("the node has the pause", known, |pause| !pause.is_null()).await;
    }

    async fn vault_holds(&self) -> U256 {
        self.node.get_balance(self.vault).await.unwrap()
    }

    /// Hashes of the newest block's transactions, in order.
    async fn block(&self) -> Vec<B256> {
        let block = raw(&self.node, "eth_getBlockByNumber", json!(["latest", false])).await;
        serde_json::from_value(block["transactions"].clone()).unwrap()
    }

    /// How many transactions of the guardian are in the pool or were mined.
    async fn guardians(&self) -> u64 {
        let count = raw(&self.node, "eth_getTransactionCount", json!([self.guardian, "pending"])).await;
        serde_json::from_value::<U64>(count).unwrap().to()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn raw(node: &DynProvider, method: &'static str, params: Value) -> Value {
    let answer = node.raw_request(method.into(), params).await;
    answer.unwrap_or_else(|error| panic!("{method}: {error}"))
}

async fn send(node: &DynProvider, tx: &Bytes) {
    raw(node, "eth_sendRawTransaction", json!([tx])).await;
}

async fn mine(node: &DynProvider) {
    raw(node, "anvil_mine", json!(["0x1"])).await;
}

fn broadcasts(incident: &Incident) -> Vec<&str> {
    let lines = incident.timeline.iter();
    lines
        .filter(|line| line.moment == Moment::Broadcast)
        .map(|line| line.detail.as_str())
        .collect()
}

fn failure(incident: &Incident) -> &str {
    let line = incident.timeline.iter().find(|line| line.moment == Moment::Escalated);
    line.map(|line| line.detail.as_str()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pause_is_mined_ahead_and_the_vault_keeps_its_funds() {
    let Some(mut world) = World::new(pause(true), 500).await else {
        return;
    };
    let raid = world.attack(40).await;
    let id = world.confirmed(&raid).await;
    let incident = world
        .until(id, "broadcast", |incident| incident.state == State::Broadcast)
        .await;
    assert_eq!(broadcasts(&incident).len(), 1);
    world.arrived(&incident).await;
    mine(&world.node).await;
    let incident = world
        .until(id, "contained", |incident| incident.state == State::Contained)
        .await;
    let block = world.block().await;
    assert_eq!((block.len(), block[1]), (2, raid.hash()), "the pause, then the raid");
    assert!(
        broadcasts(&incident)[0].starts_with(&block[0].to_string()),
        "{incident:#?}"
    );
    assert_eq!(
        Latency::read(broadcasts(&incident)[0]),
        None,
        "nobody told when it was seen"
    );
    assert_eq!(world.vault_holds().await, ether(10));

    // The same attack once more: the vault is closed, so there is nothing to stop, and nothing is sent.
    let again = world.attack(40).await;
    let next = world.confirmed(&again).await;
    assert_ne!(next, id, "what comes after the pause is an attack of its own");
    let incident = world
        .until(next, "given up", |incident| incident.state == State::Escalated)
        .await;
    assert!(failure(&incident).contains("there is nothing to stop"), "{incident:#?}");
    assert_eq!(world.guardians().await, 2, "the vault, and one pause");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attacker_who_raises_his_offer_is_outbid_within_the_same_block() {
    let Some(mut world) = World::new(pause(true), 500).await else {
        return;
    };
    let raid = world.attack(20).await;
    let id = world.confirmed(&raid).await;
    world
        .until(id, "broadcast", |incident| incident.state == State::Broadcast)
        .await;

    let (to, value, input) = world.raid();
    let dearer = world.captain.sign_at(1, to, value, input, 150 * GWEI);
    send(&world.node, &dearer).await;
    let dearer = Transaction::decode(&dearer).unwrap();
    assert_eq!(world.confirmed(&dearer).await, id, "it attaches to the incident");
    let raised = world
        .until(id, "raised", |incident| broadcasts(incident).len() >= 2)
        .await;
    world.arrived(&raised).await;
    mine(&world.node).await;
    let incident = world
        .until(id, "contained", |incident| incident.state == State::Contained)
        .await;
    let block = world.block().await;
    assert_eq!((block.len(), block[1]), (2, dearer.hash()), "{incident:#?}");
    assert_eq!(world.vault_holds().await, ether(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_cannot_be_ahead_or_does_not_help_is_not_sent() {
    let Some(mut world) = World::new(pause(true), 50).await else {
        return;
    };
    let raid = world.attack(100).await;
    let id = world.confirmed(&raid).await;
    let incident = world
        .until(id, "given up", |incident| incident.state == State::Escalated)
        .await;
    assert!(failure(&incident).contains("max_fee_cap"), "{incident:#?}");
    assert_eq!(world.guardians().await, 1);

    let Some(mut world) = World::new(pause(false), 500).await else {
        return;
    };
    let raid = world.attack(10).await;
    let id = world.confirmed(&raid).await;
    let incident = world
        .until(id, "given up", |incident| incident.state == State::Escalated)
        .await;
    assert!(failure(&incident).contains("behind the pause too"), "{incident:#?}");
    assert_eq!(world.guardians().await, 1);
    mine(&world.node).await;
    assert!(world.vault_holds().await < ether(10), "the raid was a real one");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_attack_was_first_people_are_called_and_the_pause_goes_on() {
    let Some(mut world) = World::new(pause(true), 500).await else {
        return;
    };
    // The node does not answer us, but it mines.
    world.proxy.set_fault(Some(Fault::Hang));
    let raid = world.attack(40).await;
    let id = world.confirmed(&raid).await;
    world
        .until(id, "fired", |incident| incident.state == State::Fired)
        .await;
    let asked = async || world.proxy.calls().get("eth_sendRawTransaction").copied();
    until("the pause is tried", asked, Option::is_some).await;
    mine(&world.node).await;
    let incident = world
        .until(id, "given up", |incident| incident.state == State::Escalated)
        .await;
    assert!(
        failure(&incident).contains("before the pause; the pause goes on"),
        "{incident:#?}"
    );
    assert!(world.vault_holds().await < ether(10), "the raid was a real one");

    world.proxy.set_fault(None);
    let late = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            mine(&world.node).await;
            match tokio::time::timeout(Duration::from_millis(200), world.late.recv()).await {
                Ok(late) => return late.unwrap(),
                Err(_) => continue,
            }
        }
    });
    let late = late.await.expect("the pause is mined after all");
    assert_eq!(late.incident, id);
    let word = world.node.get_storage_at(world.vault, U256::ZERO).await.unwrap();
    let paused = layout::variable(Contract::Vault, "paused").unwrap();
    assert_eq!(
        paused.extract(word),
        U256::from(1),
        "the next one finds the gate closed"
    );
}
