//! Canaries as a miner sees them: real challenges over gRPC, written down by miners that do nothing else; and what they do to scores.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{TxKind, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use chain::auth::authentic;
use chain::{Axon, AxonInfo, Keypair, Metagraph, Neuron};
use engine::{
    Account, AccountState, Address, B256, BlockEnv, Bytes, Comparison, Engine, Hardfork, Invariant, Prestate, Recorder,
    Transaction, U256, ValueType,
};
use miner::behaviour::Behaviour;
use miner::service::ChallengeService;
use prost::Message;
use protos::v1;
use protos::v1::miner_server::{Miner, MinerServer};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use validator::arbiter::Arbiter;
use validator::canary::CanaryParameters;
use validator::codes::Codes;
use validator::intake::Item;
use validator::judge::Judge;
use validator::miners::Miners;
use validator::proof::Proofs;
use validator::store::Store;
use wire::{ANSWER_PATH, Challenge, InvariantSet, ShippedPrestate, Wire};

/// Adds the call's value to slot 0: `CALLVALUE PUSH0 SLOAD ADD PUSH0 SSTORE`.
const TILL: &[u8] = &[0x34, 0x5f, 0x54, 0x01, 0x5f, 0x55];
const CHAIN: u64 = 31_337;

/// A miner that writes down what it is asked, and answers nothing.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Challenge>>>);

#[tonic::async_trait]
impl Miner for Writes {
    async fn challenge(&self, request: Request<v1::ChallengeRequest>) -> Result<Response<v1::Signed>, Status> {
        let message = request.into_inner().challenge.unwrap();
        self.0.lock().unwrap().push(Challenge::from_wire(&message).unwrap());
        Err(Status::unavailable("only listening"))
    }
}

struct World {
    judge: Arc<Judge>,
    store: Store,
    heard: Writes,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A validator with a miner for each behaviour, and, where it is `None`, one that only writes down.
async fn world(behaviours: &[Option<Behaviour>], violating: f64) -> World {
    let shutdown = CancellationToken::new();
    let validator = Arc::new(Keypair::from_seed([200; 32]));
    let permitted = Neuron {
        validator_permit: true,
        ..Neuron::new(0, validator.account())
    };
    let mut metagraph = Metagraph::new(1, 10, vec![permitted]);
    let permits = watch::channel(Arc::new(metagraph.clone())).1;
    let heard = Writes::default();
    for (number, behaviour) in (1_u8..).zip(behaviours) {
        let key = Arc::new(Keypair::from_seed([number; 32]));
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
            ..Neuron::new(u16::from(number), key.account())
        });
        let routes = match behaviour {
            None => tonic::service::Routes::new(MinerServer::new(heard.clone())),
            Some(behaviour) => {
                let config = serde_json::json!({
                    "hotkey": "unused", "ledger": "unused", "state": "challenge", "threads": 1, "behaviour": behaviour,
                });
                let config = serde_json::from_value(config).unwrap();
                let service = ChallengeService::start(&config, key, permits.clone(), None, shutdown.clone());
                tonic::service::Routes::new(service.unwrap().into_server())
            }
        };
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
        .insert(vec![(keccak256(TILL), Bytes::from_static(TILL))])
        .await
        .unwrap();
    let judge = Arc::new(Judge {
        miners: Arc::new(Miners::new(validator, Arc::clone(&codes))),
        arbiter: Arbiter::start(1).unwrap(),
        codes,
        metagraph: watch::channel(Arc::new(metagraph)).1,
        draws: Mutex::new(ChaCha8Rng::seed_from_u64(3)),
        defender: None,
        store: store.clone(),
        reports: Arc::new(Notify::new()),
        deadline: Duration::from_secs(5),
        audit_rate: 0.0,
        proofs: Proofs::new(HashMap::new(), 3),
        canaries: CanaryParameters { rate: 1.0, violating },
        deck: Mutex::default(),
    });
    World {
        judge,
        store,
        heard,
        shutdown,
        _folder: folder,
    }
}

fn person(number: u64) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(number.to_be_bytes())).unwrap()
}

/// Somebody pays `value` into the till, which holds 1,000 and may hold 5,000.
fn item(cursor: u64, value: u64) -> Item {
    let (signer, till) = (person(cursor), Address::repeat_byte(0xc0));
    let unsigned = TxEip1559 {
        chain_id: CHAIN,
        nonce: cursor % 7,
        gas_limit: 100_000,
        max_fee_per_gas: 10,
        to: TxKind::Call(till),
        value: U256::from(value),
        ..Default::default()
    };
    let signature = signer.sign_hash_sync(&unsigned.signature_hash()).unwrap();
    let raw = TxEnvelope::from(unsigned.into_signed(signature)).encoded_2718();
    let code_hash = keccak256(TILL);
    let account = |nonce, balance: u64, storage| AccountState {
        account: Some(Account {
            balance: U256::from(balance),
            nonce,
            ..Account::default()
        }),
        storage,
    };
    let mut contract = account(1, 0, BTreeMap::from([(U256::ZERO, U256::from(1_000))]));
    contract.account.as_mut().unwrap().code_hash = code_hash;
    let accounts = BTreeMap::from([
        (signer.address(), account(cursor % 7, 1_000_000_000, BTreeMap::new())),
        (till, contract),
        (Address::ZERO, AccountState::default()),
    ]);
    let prestate = Prestate {
        accounts,
        codes: BTreeMap::from([(code_hash, Bytes::from_static(TILL))]),
        block_hashes: BTreeMap::new(),
    };
    let (slot, cap) = (U256::ZERO, U256::from(5_000));
    let cap = Invariant::new(9, "cap", till, slot, ValueType::Uint(256), 0, Comparison::Le, cap).unwrap();
    Item {
        cursor,
        seen: Instant::now(),
        chain_id: CHAIN,
        head_hash: B256::from(U256::from(cursor / 20)),
        env: BlockEnv {
            number: 100 + cursor / 20,
            timestamp: 1_700_000_000 + cursor / 20 * 12,
            beneficiary: Address::ZERO,
            gas_limit: 30_000_000,
            base_fee: 7,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::ZERO),
            excess_blob_gas: Some(0),
            hardfork: Some(Hardfork::Cancun),
        },
        set: Arc::new(InvariantSet {
            version: 4,
            invariants: vec![cap],
        }),
        transaction: Transaction::decode(&raw).unwrap(),
        prestate: Some(ShippedPrestate::from(prestate)),
    }
}

/// What the engine says of a challenge: whether something is violated. Panics where it cannot be executed.
fn violates(challenge: &Challenge) -> bool {
    let state = challenge.prestate.clone().unwrap();
    let state = state.complete(|_| Some(Bytes::from_static(TILL))).unwrap();
    let recorder = Recorder::new(&state);
    let mut engine = Engine::new(CHAIN);
    let outcome = engine
        .judge(&challenge.env, &challenge.transaction, &recorder, &challenge.invariants)
        .unwrap();
    assert_eq!(outcome.execution.as_ref().unwrap().status, engine::Status::Success);
    outcome.violations().next().is_some()
}

#[tokio::test]
async fn a_canary_is_in_nothing_different_from_what_the_stream_brings() {
    let world = world(&[None, None, None], 0.5).await;
    let heard = |world: &World| std::mem::take(&mut *world.heard.0.lock().unwrap());
    let mut real: Vec<Challenge> = Vec::new();
    for cursor in 1..=40 {
        world.judge.judge(item(cursor, 10 * cursor)).await.unwrap();
        real.extend(heard(&world));
    }
    let mut made: BTreeMap<B256, Challenge> = BTreeMap::new();
    for _ in 0..60 {
        assert!(world.judge.canary().await.unwrap());
        made.extend(heard(&world).into_iter().map(|challenge| (challenge.id, challenge)));
    }
    assert_eq!(made.len(), 60);
    let newest = real.last().unwrap();
    let hashes: BTreeSet<B256> = real.iter().map(|challenge| challenge.transaction.hash()).collect();
    let mut senders = BTreeSet::new();
    for canary in made.values() {
        // The head of the newest item, and all that goes with it.
        assert_eq!(
            (
                canary.chain_id,
                canary.head_hash,
                &canary.env,
                canary.invariant_set_version,
                canary.deadline
            ),
            (
                newest.chain_id,
                newest.head_hash,
                &newest.env,
                newest.invariant_set_version,
                newest.deadline
            )
        );
        // A good signature, by somebody who can pay and has the right nonce: it runs.
        let transaction = &canary.transaction;
        assert_eq!(
            Transaction::decode(transaction.raw()).unwrap().sender(),
            transaction.sender()
        );
        violates(canary);
        // The state that is shipped is neither more nor less than what runs reads, as it is of real ones.
        let form = |challenge: &Challenge| challenge.prestate.as_ref().unwrap().words();
        assert_eq!(form(canary), form(newest));
        // The registered invariants are there, as they are registered.
        assert_eq!(canary.invariants, newest.invariants);
        if hashes.contains(&transaction.hash()) {
            let asked = real
                .iter()
                .find(|real| real.transaction.hash() == transaction.hash())
                .unwrap();
            assert_ne!(
                asked.head_hash, canary.head_hash,
                "what is asked again is asked on another head"
            );
        } else {
            senders.insert(transaction.sender());
        }
    }
    assert!(senders.len() > 30, "{} new senders, each once", senders.len());
    let violating = made.values().filter(|canary| violates(canary)).count();
    assert!((15..=45).contains(&violating), "about a half of 60: {violating}");
    assert_eq!(
        world.store.canaries().await.unwrap().violating,
        violating as u64,
        "and the validator knew"
    );
    assert!(real.iter().all(|challenge| !violates(challenge)));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_canaries() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let world = world(&[None], 0.5).await;
        for cursor in 1..=10 {
            world.judge.judge(item(cursor, 10)).await.unwrap();
        }
        world.heard.0.lock().unwrap().clear();
        for _ in 0..10 {
            world.judge.canary().await.unwrap();
        }
        let heard = world.heard.0.lock().unwrap();
        runs.push(
            heard
                .iter()
                .map(|challenge| challenge.transaction.hash())
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(runs[0].len(), 10);
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn before_anything_was_judged_there_is_no_canary() {
    let world = world(&[None], 1.0).await;
    assert!(!world.judge.canary().await.unwrap());
    assert_eq!(world.store.canaries().await.unwrap().sent, 0);
}

#[tokio::test]
async fn who_hides_violations_is_found_out_by_canaries_alone() {
    let hides = Some(Behaviour::Colluder);
    let world = world(
        &[hides, hides, Some(Behaviour::Honest), hides, Some(Behaviour::Lazy)],
        0.5,
    )
    .await;
    for cursor in 1..=10 {
        world.judge.judge(item(cursor, 10)).await.unwrap();
    }
    let reported = world.store.outbox(100).await.unwrap().request;
    for _ in 0..40 {
        world.judge.canary().await.unwrap();
    }
    let window = world.store.window(0).await.unwrap();
    let of = |number: u8| window[Keypair::from_seed([number; 32]).account().as_bytes()];
    let (colluder, honest, lazy) = (of(1), of(3), of(5));
    assert_eq!((honest.correct, honest.found), (honest.asked, honest.violating));
    assert!(honest.violating > 3);
    assert_eq!(
        colluder.correct,
        colluder.asked - colluder.violating,
        "wrong only where something was violated"
    );
    assert_eq!((colluder.found, lazy.correct), (0, 0));
    let proven = world.store.proven().await.unwrap();
    let streak = |number: u8| {
        proven
            .get(Keypair::from_seed([number; 32]).account().as_bytes())
            .copied()
            .unwrap_or(0)
    };
    assert_eq!((streak(1), streak(5)), (0, 0));
    assert_eq!(u64::from(streak(3)), honest.violating);
    // A canary is no incident, and nothing of it is reported.
    let after = world.store.outbox(100).await.unwrap().request;
    assert_eq!((after.incidents.len(), after), (0, reported));
    let disputes = world.store.disputes(0, None, 0, true).await.unwrap();
    assert!(disputes.iter().any(|dispute| dispute.reason == "a canary"));
    assert_eq!(
        world
            .store
            .disputes(0, None, 0, false)
            .await
            .unwrap()
            .iter()
            .filter(|d| d.cursor == 0)
            .count(),
        0
    );
}

#[tokio::test]
async fn a_league_of_liars_hides_nothing_once_a_canary_has_caught_it() {
    let world = world(&[Some(Behaviour::Colluder); 5], 1.0).await;
    // Nobody has proven itself: what they agree on is executed here.
    let judged = world.judge.judge(item(1, 4_500)).await.unwrap();
    assert!(judged.arbitrated);
    let dispute = judged.dispute.unwrap();
    assert_eq!(dispute.reason, "nobody who agrees has proven itself");
    assert!(
        dispute
            .votes
            .iter()
            .all(|vote| !vote.correct && vote.verdicts.is_some())
    );
    // Each of them said so under its own hand.
    for vote in &dispute.votes {
        let signed = vote.answer.as_ref().unwrap();
        assert_eq!(*authentic(signed, ANSWER_PATH).unwrap().hotkey.as_bytes(), vote.hotkey[..]);
        let answer = v1::Answer::decode(signed.payload.clone()).unwrap();
        assert_eq!(answer.outcome, vote.verdicts.clone().map(v1::answer::Outcome::Verdicts));
    }
    assert_eq!(world.store.outbox(10).await.unwrap().request.incidents.len(), 1);
}

#[tokio::test]
async fn a_proven_miner_carries_an_agreement() {
    let world = world(&[Some(Behaviour::Honest); 3], 1.0).await;
    assert!(
        world.judge.judge(item(1, 10)).await.unwrap().arbitrated,
        "nobody is proven yet"
    );
    for _ in 0..6 {
        world.judge.canary().await.unwrap();
    }
    assert!(!world.judge.judge(item(2, 10)).await.unwrap().arbitrated);
}
