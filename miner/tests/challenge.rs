//! A miner on a loopback port, challenged as validators do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{TxKind, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use chain::Keypair;
use chain::auth::sign::signed_with_nonce;
use chain::auth::{self, AuthKind};
use common::{World, config, request, verdict, world};
use engine::{
    Account, AccountState, Address, B256, BlockEnv, Bytes, Comparison, Hardfork, Invariant, Prestate, ProgramInvariant,
    Transaction, U256, ValueType, Watched, lang,
};
use miner::behaviour::Behaviour;
use miner::config::Config;
use protos::v1;
use protos::v1::miner_client::MinerClient;
use tonic::Code;
use tonic::transport::Channel;
use wire::{AnswerOutcome, Challenge, FindingVerdict, ShippedPrestate};

/// What a challenge is signed for.
const PATH: &str = "/portcullis.v1.Miner/Challenge";

/// Stores the call's value in slot 0: `CALLVALUE PUSH0 SSTORE`.
const KEEPER_OF_VALUE: &[u8] = &[0x34, 0x5f, 0x55];

fn signer() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

/// A signed transaction that sends `value` to a contract which stores it.
fn transaction(nonce: u64, value: u64) -> Transaction {
    let unsigned = TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 100_000,
        max_fee_per_gas: 10,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(Address::repeat_byte(0xc0)),
        value: U256::from(value),
        ..Default::default()
    };
    let signature = signer().sign_hash_sync(&unsigned.signature_hash()).unwrap();
    let raw = TxEnvelope::from(unsigned.into_signed(signature)).encoded_2718();
    Transaction::decode(&raw).unwrap()
}

/// The sender's next transaction, and an invariant that the stored value stays at most 5.
fn challenge(value: u64) -> (Challenge, (B256, Bytes)) {
    let (transaction, contract) = (transaction(3, value), Address::repeat_byte(0xc0));
    let code = Bytes::from_static(KEEPER_OF_VALUE);
    let code_hash = keccak256(&code);
    let rich = AccountState {
        account: Some(Account {
            balance: U256::from(10u64.pow(18)),
            nonce: 3,
            ..Account::default()
        }),
        storage: BTreeMap::new(),
    };
    let keeper = AccountState {
        account: Some(Account {
            balance: U256::ZERO,
            nonce: 1,
            code_hash,
        }),
        storage: BTreeMap::from([(U256::ZERO, U256::from(2))]),
    };
    let beneficiary = Address::repeat_byte(0xbe);
    let prestate = Prestate {
        accounts: BTreeMap::from([
            (signer().address(), rich),
            (contract, keeper),
            (
                beneficiary,
                AccountState {
                    account: None,
                    storage: BTreeMap::new(),
                },
            ),
        ]),
        codes: BTreeMap::from([(code_hash, code.clone())]),
        block_hashes: BTreeMap::new(),
    };
    let invariant = Invariant::new(
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
    let challenge = Challenge {
        id: B256::repeat_byte(0x1d),
        chain_id: 31_337,
        head_hash: B256::repeat_byte(0x4e),
        env: BlockEnv {
            number: 100,
            timestamp: 1_700_000_000,
            beneficiary,
            gas_limit: 30_000_000,
            base_fee: 7,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::repeat_byte(1)),
            excess_blob_gas: Some(0),
            hardfork: Some(Hardfork::Cancun),
        },
        invariant_set_version: 4,
        invariants: vec![invariant.into()],
        transaction,
        predecessors: Vec::new(),
        prestate: Some(ShippedPrestate::from(prestate)),
        deadline: Duration::from_secs(60),
    };
    (challenge, (code_hash, code))
}

#[tokio::test]
async fn a_violation_is_answered_with_its_witness_and_what_holds_holds() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let (breaking, code) = challenge(6);
    let outcome = world.ask(&breaking, &[code]).await.unwrap();
    let FindingVerdict::Violated { pre, post, .. } = verdict(&outcome) else {
        panic!("{outcome:?}")
    };
    assert_eq!((*pre, *post), (U256::from(2), U256::from(6)));

    let (harmless, _) = challenge(5);
    let outcome = world.ask(&harmless, &[]).await.unwrap();
    assert_eq!(*verdict(&outcome), FindingVerdict::Holds { already_broken: false });
    let AnswerOutcome::Verdicts(verdicts) = outcome else {
        unreachable!()
    };
    assert!(verdicts.execution.unwrap().gas_used > 21_000, "it was executed");
}

#[tokio::test]
async fn what_waits_behind_others_is_judged_on_what_they_leave() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let (first, code) = challenge(3);
    let behind = |before: Vec<Transaction>, attack: Transaction| Challenge {
        predecessors: before,
        transaction: attack,
        ..first.clone()
    };
    let attack = behind(vec![transaction(3, 3), transaction(4, 4)], transaction(5, 6));
    let outcome = world.ask(&attack, &[code]).await.unwrap();
    let FindingVerdict::Violated { pre, post, .. } = verdict(&outcome) else {
        panic!("{outcome:?}")
    };
    assert_eq!((*pre, *post), (U256::from(4), U256::from(6)));

    let gap = world.ask(&behind(Vec::new(), transaction(5, 6)), &[]).await.unwrap();
    let FindingVerdict::Undecided { reason } = verdict(&gap) else {
        panic!("{gap:?}")
    };
    assert!(reason.contains("nonce"), "{reason}");

    let other = behind(vec![transaction(3, 3)], transaction(5, 6));
    let refused = world.ask(&other, &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("`challenge.predecessors`"), "{refused}");
    let many = behind((3..20).map(|nonce| transaction(nonce, 1)).collect(), transaction(20, 6));
    let refused = world.ask(&many, &[]).await.unwrap_err();
    assert!(refused.message().contains("at most 16"), "{refused}");
}

#[tokio::test]
async fn bytecode_that_the_miner_lacks_is_asked_for_and_then_remembered() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let (question, code) = challenge(1);
    let outcome = world.ask(&question, &[]).await.unwrap();
    assert_eq!(outcome, AnswerOutcome::MissingCodes(vec![code.0]));
    world.ask(&question, &[code]).await.unwrap();
    assert!(matches!(
        world.ask(&question, &[]).await.unwrap(),
        AnswerOutcome::Verdicts(_)
    ));
}

#[tokio::test]
async fn bytecode_under_a_wrong_hash_is_refused_and_named() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let (question, (_, code)) = challenge(1);
    let status = world.ask(&question, &[(B256::repeat_byte(1), code)]).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("code.hash"), "{}", status.message());
}

/// A client that signs nothing.
fn bare(world: &World) -> MinerClient<Channel> {
    MinerClient::new(world.channel.clone())
}

/// A request signed outside of a channel, so that a test can do with it what it likes.
fn signed(
    world: &World,
    sender: &Keypair,
    question: &Challenge,
    nonce_ns: u64,
) -> tonic::Request<v1::ChallengeRequest> {
    let call = request(question, &[]);
    signed_with_nonce(call, PATH, sender, Some(&world.miner), nonce_ns)
}

async fn refusal(world: &World, request: tonic::Request<v1::ChallengeRequest>) -> (Code, Option<AuthKind>) {
    let status = bare(world).challenge(request).await.unwrap_err();
    let kind = status
        .metadata()
        .get(auth::STATUS_KEY)
        .and_then(|name| name.to_str().ok());
    (status.code(), kind.and_then(AuthKind::from_name))
}

#[tokio::test]
async fn the_same_signed_challenge_is_taken_once() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let (question, _) = challenge(1);
    let nonce = auth::now_ns();
    let once = || signed(&world, &world.validator, &question, nonce);
    bare(&world).challenge(once()).await.unwrap();
    let replayed = (Code::Unauthenticated, Some(AuthKind::ReplayedRequest));
    assert_eq!(refusal(&world, once()).await, replayed);
}

#[tokio::test]
async fn a_challenge_that_is_old_for_somebody_else_or_changed_on_the_way_is_refused() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let (question, code) = challenge(1);
    let now = auth::now_ns();
    let unauthenticated = |kind| (Code::Unauthenticated, Some(kind));
    let stale = signed(&world, &world.validator, &question, now - 11_000_000_000);
    assert_eq!(refusal(&world, stale).await, unauthenticated(AuthKind::StaleRequest));
    let other = Keypair::from_seed([9; 32]).account();
    let misdirected = signed_with_nonce(request(&question, &[]), PATH, &world.validator, Some(&other), now);
    assert_eq!(
        refusal(&world, misdirected).await,
        unauthenticated(AuthKind::WrongReceiver)
    );
    // The question itself, or only the bytecode that comes with it.
    for changed in [request(&challenge(2).0, &[]), request(&question, &[code])] {
        let (metadata, extensions, _) = signed(&world, &world.validator, &question, now).into_parts();
        let changed = tonic::Request::from_parts(metadata, extensions, changed);
        assert_eq!(refusal(&world, changed).await, unauthenticated(AuthKind::BadSignature));
    }
    let unsigned = tonic::Request::new(request(&question, &[]));
    let malformed = (Code::InvalidArgument, Some(AuthKind::MalformedRequest));
    assert_eq!(refusal(&world, unsigned).await, malformed);
}

#[tokio::test]
async fn only_validators_of_the_subnet_are_answered() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let (question, _) = challenge(1);
    let stranger = Keypair::from_seed([9; 32]);
    let asked = world.signing(&stranger).challenge(request(&question, &[])).await;
    let status = asked.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.metadata().get(auth::STATUS_KEY).unwrap(), "NotRegistered");
    assert!(status.message().contains(&stranger.account().to_string()));
}

#[tokio::test]
async fn a_validator_with_too_little_stake_is_not_answered_where_stake_is_asked_for() {
    let config = Config {
        validator_stake: "0.5".parse().unwrap(),
        ..config(Behaviour::Honest, 1, 8)
    };
    let world = world(config, None).await;
    let status = world.ask(&challenge(1).0, &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.metadata().get(auth::STATUS_KEY).unwrap(), "NotEnoughStake");
    assert!(status.message().contains("0.5"), "{status}");
}

#[tokio::test]
async fn a_field_of_the_wrong_length_is_named() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let mut call = request(&challenge(1).0, &[]);
    if let Some(message) = &mut call.challenge {
        message.head_hash = vec![1, 2, 3].into();
    }
    let status = world.signing(&world.validator).challenge(call).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "field `challenge.head_hash` has 3 bytes, expected 32");
}

#[tokio::test]
async fn what_does_not_fit_the_queue_is_refused_at_once() {
    // The slow miner holds its answers back but executes at once, so the queue is filled with challenges that wait for one
    // engine thread: a hundred at the same moment do not fit one place.
    let world = world(config(Behaviour::Honest, 1, 1), None).await;
    let (question, code) = challenge(1);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let request = request(&question, std::slice::from_ref(&code));
        let mut client = world.signing(&world.validator);
        calls.spawn(async move {
            client
                .challenge(request)
                .await
                .map(|_| ())
                .map_err(|status| status.code())
        });
    }
    let mut answered = 0;
    while let Some(result) = calls.join_next().await {
        match result.unwrap() {
            Ok(()) => answered += 1,
            Err(code) => assert_eq!(code, Code::ResourceExhausted, "nothing else may go wrong"),
        }
    }
    assert!(answered > 0);
}

#[tokio::test]
async fn a_liar_says_the_opposite_and_a_lazy_one_does_no_work() {
    let (question, code) = challenge(6);
    let lied = world(config(Behaviour::Liar, 1, 8), None)
        .await
        .ask(&question, &[code])
        .await
        .unwrap();
    assert!(!verdict(&lied).is_violated());
    let guessed = world(config(Behaviour::Lazy, 1, 8), None)
        .await
        .ask(&question, &[])
        .await
        .unwrap();
    assert!(!verdict(&guessed).is_violated());
    let AnswerOutcome::Verdicts(guessed) = guessed else {
        unreachable!()
    };
    assert_eq!(
        guessed.execution.unwrap().post_state_digest,
        B256::ZERO,
        "it has no evidence to show"
    );
}

fn expression(id: u64, text: &str) -> Watched {
    let text = text.replace("KEEPER", &format!("{:#x}", Address::repeat_byte(0xc0)));
    let program = lang::parse(&text, &lang::Names::default()).unwrap();
    let name = format!("expression {id}");
    Watched::Program(ProgramInvariant { id, name, program })
}

/// The keeper of value answers a call without value by storing zero, which no view may: so its view has no word.
#[tokio::test]
async fn expressions_are_judged_each_by_what_it_reads() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let (mut challenge, code) = challenge(9);
    challenge.invariants = vec![
        expression(1, "slot(KEEPER, 0, uint256) <= balance(KEEPER)"),
        expression(2, "slot(KEEPER, 0, uint256) <= 300% of pre"),
        expression(3, "call(KEEPER, 0x01020304, 0, uint256) >= 1"),
        expression(4, "delta(balance(KEEPER)) <= 1 ether"),
    ];
    let outcome = world.ask(&challenge, std::slice::from_ref(&code)).await.unwrap();
    let AnswerOutcome::Verdicts(verdicts) = &outcome else {
        panic!("{outcome:?}")
    };
    let of = |id: u64| {
        &verdicts
            .findings
            .iter()
            .find(|finding| finding.invariant_id == id)
            .unwrap()
            .verdict
    };
    assert!(
        matches!(of(1), FindingVerdict::Holds { .. }),
        "9 wei are there: {:?}",
        of(1)
    );
    let FindingVerdict::Violated { pre, post, .. } = of(2) else {
        panic!("{:?}", of(2))
    };
    assert_eq!((*pre, *post), (U256::ONE, U256::ZERO), "it held, and does not");
    assert!(
        matches!(of(3), FindingVerdict::Undecided { reason } if reason.contains("view")),
        "{:?}",
        of(3)
    );
    assert!(matches!(of(4), FindingVerdict::Holds { .. }), "{:?}", of(4));
}

#[tokio::test]
async fn two_invariants_of_one_number_are_refused() {
    let world = world(config(Behaviour::Honest, 1, 8), None).await;
    let (mut challenge, code) = challenge(9);
    challenge.invariants = vec![expression(7, "1 < 2"), expression(7, "2 < 3")];
    let refused = world.ask(&challenge, std::slice::from_ref(&code)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("challenge.invariants"), "{refused}");
}
