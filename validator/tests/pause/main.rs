//! The pause on a real node: tried first, mined ahead of the attack, raised when it is outbid, given up when it cannot win.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod watch;

use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U64, U256};
use alloy::providers::{DynProvider, Provider as _};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use contracts::{Contract, Raider, Vault, layout};
use defence::Incident;
use defence::incident::{Moment, State};
use engine::Transaction;
use serde_json::{Value, json};
use testkit::{Fault, Mining, Proxy, TestAnvil, anvil, until};
use tokio::sync::mpsc;
use validator::pause::Late;
use validator::pause::timing::Latency;

use self::watch::{CHAIN, Watch, ether};

const GWEI: u128 = 1_000_000_000;

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
    guardian: Address,
    watch: Watch,
    late: mpsc::Receiver<Late>,
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

        let folder = tempfile::tempdir().unwrap();
        let sender = json!({
            "endpoints": [proxy.url()], "poll": "50ms", "confirmations": 1,
            "lanes": { "pause": { "max_fee_cap": cap * 1_000_000_000 } },
        });
        let actions = json!([{ "id": "stop", "kind": "pause_agent", "calldata": calldata }]);
        let sending = (&sender, owner.signer.clone());
        let (watch, late) = Watch::open(vault, &anvil.http(), sending, &actions, folder.path()).await;
        Some(Self {
            _anvil: anvil,
            node,
            proxy,
            captain,
            raider,
            vault,
            guardian,
            watch,
            late,
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
    let id = world.watch.confirmed(&raid).await;
    let incident = world.watch.reaches(id, State::Broadcast).await;
    assert_eq!(broadcasts(&incident).len(), 1);
    world.arrived(&incident).await;
    mine(&world.node).await;
    let incident = world.watch.reaches(id, State::Contained).await;
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
    let next = world.watch.confirmed(&again).await;
    assert_ne!(next, id, "what comes after the pause is an attack of its own");
    let incident = world.watch.reaches(next, State::Escalated).await;
    assert!(failure(&incident).contains("there is nothing to stop"), "{incident:#?}");
    assert_eq!(world.guardians().await, 2, "the vault, and one pause");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attacker_who_raises_his_offer_is_outbid_within_the_same_block() {
    let Some(mut world) = World::new(pause(true), 500).await else {
        return;
    };
    let raid = world.attack(20).await;
    let id = world.watch.confirmed(&raid).await;
    world.watch.reaches(id, State::Broadcast).await;

    let (to, value, input) = world.raid();
    let dearer = world.captain.sign_at(1, to, value, input, 150 * GWEI);
    send(&world.node, &dearer).await;
    let dearer = Transaction::decode(&dearer).unwrap();
    assert_eq!(world.watch.confirmed(&dearer).await, id, "it attaches to the incident");
    let raised = world.watch.until(id, |incident| broadcasts(incident).len() >= 2).await;
    world.arrived(&raised).await;
    mine(&world.node).await;
    let incident = world.watch.reaches(id, State::Contained).await;
    let block = world.block().await;
    assert_eq!((block.len(), block[1]), (2, dearer.hash()), "{incident:#?}");
    assert_eq!(world.vault_holds().await, ether(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_behind_another_transaction_is_beaten_at_its_own_offer_however_that_one_is_raised() {
    let Some(mut world) = World::new(pause(true), 500).await else {
        return;
    };
    let nobody = TxKind::Call(Address::repeat_byte(0xee));
    let first = world.captain.sign(nobody, U256::ONE, Bytes::new(), 100 * GWEI);
    send(&world.node, &first).await;
    let first = Transaction::decode(&first).unwrap();
    let raid = world.attack(40).await;
    let id = world.watch.confirmed_behind(&[first], &raid).await;
    let incident = world.watch.reaches(id, State::Broadcast).await;
    let offer = broadcasts(&incident)[0];
    assert!(
        offer.contains(", 45000000000 to the builder"),
        "an eighth above the raid's: {offer}"
    );
    world.arrived(&incident).await;

    let (nonce, dearer) = (raid.nonce() - 1, 150 * GWEI);
    let dearer = world.captain.sign_at(nonce, nobody, U256::ONE, Bytes::new(), dearer);
    send(&world.node, &dearer).await;
    let dearer = [Transaction::decode(&dearer).unwrap()];
    let again = world.watch.confirmed_behind(&dearer, &raid).await;
    assert_eq!(again, id);
    mine(&world.node).await;
    let incident = world.watch.reaches(id, State::Contained).await;
    let broadcasts = broadcasts(&incident);
    assert_eq!(broadcasts.len(), 1, "nothing was raised: {incident:#?}");
    let pause = broadcasts[0].split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(world.block().await, [dearer[0].hash(), pause, raid.hash()]);
    assert_eq!(world.vault_holds().await, ether(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_cannot_be_ahead_or_does_not_help_is_not_sent() {
    let Some(mut world) = World::new(pause(true), 50).await else {
        return;
    };
    let raid = world.attack(100).await;
    let id = world.watch.confirmed(&raid).await;
    let incident = world.watch.reaches(id, State::Escalated).await;
    assert!(failure(&incident).contains("max_fee_cap"), "{incident:#?}");
    assert_eq!(world.guardians().await, 1);

    let Some(mut world) = World::new(pause(false), 500).await else {
        return;
    };
    let raid = world.attack(10).await;
    let id = world.watch.confirmed(&raid).await;
    let incident = world.watch.reaches(id, State::Escalated).await;
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
    let id = world.watch.confirmed(&raid).await;
    world.watch.reaches(id, State::Fired).await;
    let asked = async || world.proxy.calls().get("eth_sendRawTransaction").copied();
    until("the pause is tried", asked, Option::is_some).await;
    mine(&world.node).await;
    let incident = world.watch.reaches(id, State::Escalated).await;
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
