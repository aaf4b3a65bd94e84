//! A validator's judgement, with real miners on loopback ports, honest and not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{TxKind, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use chain::{Axon, AxonInfo, Keypair, Metagraph, Neuron};
use engine::{
    Account, AccountState, Address, B256, BlockEnv, Bytes, Comparison, Hardfork, Invariant, Prestate, Transaction,
    U256, ValueType,
};
use miner::behaviour::Behaviour;
use miner::service::ChallengeService;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use validator::arbiter::Arbiter;
use validator::canary::CanaryParameters;
use validator::codes::Codes;
use validator::intake::Item;
use validator::judge::Judge;
use validator::miners::Miners;
use validator::proof::Proofs;
use validator::store::Store;
use wire::{InvariantSet, ShippedPrestate};

/// Stores the call's value in slot 0: `CALLVALUE PUSH0 SSTORE`.
const KEEPER_OF_VALUE: &[u8] = &[0x34, 0x5f, 0x55];

struct World {
    judge: Arc<Judge>,
    store: Store,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A validator, and a miner for each behaviour. A `None` is a miner that is on the metagraph but does not listen.
async fn world(behaviours: &[Option<Behaviour>]) -> World {
    let shutdown = CancellationToken::new();
    let validator = Arc::new(Keypair::from_seed([200; 32]));
    let permitted = Neuron {
        validator_permit: true,
        ..Neuron::new(0, validator.account())
    };
    let mut metagraph = Metagraph::new(1, 10, vec![permitted]);
    let permits = watch::channel(Arc::new(metagraph.clone())).1;
    for (index, behaviour) in behaviours.iter().enumerate() {
        let key = Arc::new(Keypair::from_seed([u8::try_from(index).unwrap(); 32]));
        let listener = node::server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let info = AxonInfo {
            version: 1,
            ip: address.ip(),
            port: address.port(),
            protocol: 4,
        };
        metagraph.neurons.push(Neuron {
            axon: Some(Axon { block: 0, info }),
            ..Neuron::new(u16::try_from(index + 1).unwrap(), key.account())
        });
        let Some(behaviour) = behaviour else { continue };
        let config = serde_json::json!({
            "hotkey": "unused", "ledger": "unused", "state": "challenge", "threads": 1, "behaviour": behaviour,
        });
        let config = serde_json::from_value(config).unwrap();
        let service = ChallengeService::start(&config, key, permits.clone(), None, shutdown.clone()).unwrap();
        let routes = tonic::service::Routes::new(service.into_server());
        tokio::spawn(node::server::serve(
            listener,
            routes,
            &[],
            protos::FILE_DESCRIPTOR_SET,
            shutdown.clone(),
        ));
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("validator.db")).await.unwrap();
    let codes = Arc::new(Codes::new(store.clone(), 1 << 20));
    codes
        .insert(vec![(keccak256(KEEPER_OF_VALUE), Bytes::from_static(KEEPER_OF_VALUE))])
        .await
        .unwrap();
    let judge = Arc::new(Judge {
        defender: None,
        miners: Arc::new(Miners::new(validator, Arc::clone(&codes))),
        arbiter: Arbiter::start(1).unwrap(),
        codes,
        metagraph: watch::channel(Arc::new(metagraph)).1,
        draws: Mutex::new(ChaCha8Rng::seed_from_u64(3)),
        store: store.clone(),
        reports: Arc::new(Notify::new()),
        deadline: Duration::from_secs(5),
        audit_rate: 0.0,
        proofs: Proofs::new(HashMap::new(), 0),
        canaries: CanaryParameters::default(),
        deck: Mutex::default(),
    });
    World {
        judge,
        store,
        shutdown,
        _folder: folder,
    }
}

/// A transaction that makes a contract store `value`, under the invariant that what it stores is at most 5.
fn item(cursor: u64, value: u64) -> Item {
    let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap();
    let contract = Address::repeat_byte(0xc0);
    let unsigned = TxEip1559 {
        chain_id: 31_337,
        gas_limit: 100_000,
        max_fee_per_gas: 10,
        to: TxKind::Call(contract),
        value: U256::from(value),
        ..Default::default()
    };
    let signature = signer.sign_hash_sync(&unsigned.signature_hash()).unwrap();
    let raw = TxEnvelope::from(unsigned.into_signed(signature)).encoded_2718();
    let code_hash = keccak256(KEEPER_OF_VALUE);
    let account = |account| AccountState {
        account: Some(account),
        storage: BTreeMap::new(),
    };
    let mut keeper = account(Account {
        balance: U256::ZERO,
        nonce: 1,
        code_hash,
    });
    keeper.storage.insert(U256::ZERO, U256::from(2));
    let prestate = Prestate {
        accounts: BTreeMap::from([
            (
                signer.address(),
                account(Account {
                    balance: U256::from(10u64.pow(18)),
                    ..Account::default()
                }),
            ),
            (contract, keeper),
            (
                Address::ZERO,
                AccountState {
                    account: None,
                    storage: BTreeMap::new(),
                },
            ),
        ]),
        codes: BTreeMap::from([(code_hash, Bytes::from_static(KEEPER_OF_VALUE))]),
        block_hashes: BTreeMap::new(),
    };
    let at_most_five = Invariant::new(
        9,
        "at most 5",
        contract,
        U256::ZERO,
        ValueType::Uint(256),
        0,
        Comparison::Le,
        U256::from(5),
    )
    .unwrap();
    Item {
        cursor,
        seen: Instant::now(),
        chain_id: 31_337,
        head_hash: B256::repeat_byte(1),
        env: BlockEnv {
            number: 100,
            timestamp: 1_700_000_000,
            beneficiary: Address::ZERO,
            gas_limit: 30_000_000,
            base_fee: 7,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::ZERO),
            excess_blob_gas: Some(0),
            hardfork: Some(Hardfork::Cancun),
        },
        set: Arc::new(InvariantSet {
            version: 1,
            invariants: vec![at_most_five],
        }),
        transaction: Transaction::decode(&raw).unwrap(),
        prestate: Some(ShippedPrestate::from(prestate)),
    }
}

const HONEST: Option<Behaviour> = Some(Behaviour::Honest);
const LIAR: Option<Behaviour> = Some(Behaviour::Liar);
const LAZY: Option<Behaviour> = Some(Behaviour::Lazy);

async fn incidents(world: &World) -> usize {
    world.store.outbox(100).await.unwrap().request.incidents.len()
}

#[tokio::test]
async fn honest_miners_agree_and_nobody_executes_twice() {
    let world = world(&[HONEST, HONEST, HONEST]).await;
    let judged = world.judge.judge(item(1, 3)).await.unwrap();
    assert!(!judged.arbitrated);
    assert_eq!(
        (judged.report.asked, judged.report.answered, judged.report.agreed),
        (3, 3, 3)
    );
    assert_eq!(judged.report.judgements.len(), 1);
    assert_eq!(incidents(&world).await, 0);
}

#[tokio::test]
async fn one_honest_miner_among_liars_is_enough_to_confirm_an_attack() {
    let world = world(&[LIAR, LIAR, HONEST]).await;
    let judged = world.judge.judge(item(1, 6)).await.unwrap();
    assert!(judged.arbitrated);
    assert_eq!(judged.report.agreed, 1, "only the honest one told the truth");
    let outbox = world.store.outbox(100).await.unwrap();
    let incident = &outbox.request.incidents[0];
    assert_eq!(
        (incident.invariant_id, incident.invariant_name.as_str()),
        (9, "at most 5")
    );
    assert_eq!(incident.witness.as_ref().unwrap().post[31], 6);
}

#[tokio::test]
async fn liars_who_cry_wolf_fire_nothing() {
    let world = world(&[LIAR, LIAR, LIAR]).await;
    let judged = world.judge.judge(item(1, 3)).await.unwrap();
    assert!(judged.arbitrated);
    assert_eq!(judged.report.agreed, 0);
    assert_eq!(incidents(&world).await, 0);
}

#[tokio::test]
async fn a_lazy_miner_has_no_evidence_to_show_even_when_it_is_right() {
    let world = world(&[LAZY, HONEST, HONEST]).await;
    let judged = world.judge.judge(item(1, 3)).await.unwrap();
    assert!(judged.arbitrated, "the post-states differ");
    let lazy = Keypair::from_seed([0; 32]).account();
    for sample in judged.samples {
        assert_eq!(sample.correct, sample.hotkey != *lazy.as_bytes());
    }
}

#[tokio::test]
async fn a_miner_that_is_gone_counts_as_asked_and_not_answered() {
    let world = world(&[None, HONEST, HONEST]).await;
    let judged = world.judge.judge(item(1, 3)).await.unwrap();
    assert_eq!(
        (judged.report.asked, judged.report.answered, judged.report.agreed),
        (3, 2, 2)
    );
    assert_eq!(
        judged.samples.iter().filter(|sample| sample.latency.is_none()).count(),
        1
    );
}

#[tokio::test]
async fn without_any_miner_the_validator_judges_alone() {
    let world = world(&[]).await;
    let judged = world.judge.judge(item(1, 6)).await.unwrap();
    assert!(judged.arbitrated);
    assert_eq!(incidents(&world).await, 1);
}

#[tokio::test]
async fn without_state_it_is_undecided_and_nobody_is_scored() {
    let world = world(&[HONEST, HONEST, HONEST]).await;
    let mut item = item(1, 6);
    item.prestate = None;
    let judged = world.judge.judge(item).await.unwrap();
    assert!(judged.samples.is_empty());
    let Some(protos::v1::judgement::Verdict::Undecided(undecided)) = &judged.report.judgements[0].verdict else {
        panic!("{:?}", judged.report.judgements)
    };
    assert!(undecided.reason.contains("prestate"), "{}", undecided.reason);
    assert_eq!(incidents(&world).await, 0, "what nobody executed fires nothing");
}
