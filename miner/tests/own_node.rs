//! A miner with a node of its own (a real anvil), challenged as validators do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::time::Duration;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{TxKind, address, bytes};
use alloy::providers::Provider;
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use common::{World, config, verdict, world};
use engine::{Address, B256, Bytes, Comparison, Invariant, Prestate, Transaction, U256, ValueType};
use miner::behaviour::Behaviour;
use miner::config::{Check, Config, StateSource};
use miner::own_node::OwnNode;
use state::{Node, NodeConfig, Reader, ReaderConfig};
use testkit::{Fault, Mining, Proxy, TestAnvil};
use wire::{AnswerOutcome, Challenge, FindingVerdict, ShippedPrestate};

/// Stores the call's value in slot 0: `CALLVALUE PUSH0 SSTORE`.
const KEEPER_OF_VALUE: Bytes = bytes!("345f55");
const KEEPER: Address = address!("0x00000000000000000000000000000000000c0de5");

/// A chain with the contract, and a node of the miner's that may stand behind a proxy.
struct Chain {
    anvil: TestAnvil,
    head: B256,
}

/// An invariant that the stored value stays at most 5, and a chain on which it is 2.
async fn chain() -> Option<Chain> {
    let anvil = testkit::anvil(Mining::Manual, &[])?;
    let provider = anvil.provider();
    let _: serde_json::Value = provider
        .raw_request("anvil_setCode".into(), (KEEPER, KEEPER_OF_VALUE))
        .await
        .unwrap();
    let slot: (Address, U256, B256) = (KEEPER, U256::ZERO, B256::with_last_byte(2));
    let _: serde_json::Value = provider.raw_request("anvil_setStorageAt".into(), slot).await.unwrap();
    let mut chain = Chain {
        anvil,
        head: B256::ZERO,
    };
    chain.mine().await;
    Some(chain)
}

impl Chain {
    /// One block more.
    async fn mine(&mut self) {
        let provider = self.anvil.provider();
        let _: serde_json::Value = provider.raw_request("evm_mine".into(), ()).await.unwrap();
        let block = provider.get_block_by_number(Default::default()).await.unwrap().unwrap();
        self.head = block.header.hash;
    }

    fn endpoints(&self) -> NodeConfig {
        NodeConfig {
            endpoints: vec![self.anvil.http().parse().unwrap()],
            ..NodeConfig::default()
        }
    }

    async fn own_node(&self) -> OwnNode {
        OwnNode::connect(self.endpoints(), ReaderConfig::default())
            .await
            .unwrap()
    }

    /// A signed transaction of the chain's first account that sends `value` to the contract.
    fn transaction(&self, value: u64) -> Transaction {
        let signer = PrivateKeySigner::from_signing_key(self.anvil.instance().keys()[0].clone().into());
        let unsigned = TxEip1559 {
            chain_id: 31_337,
            nonce: 0,
            gas_limit: 100_000,
            max_fee_per_gas: 10_000_000_000,
            max_priority_fee_per_gas: 1,
            to: TxKind::Call(KEEPER),
            value: U256::from(value),
            ..Default::default()
        };
        let signature = signer.sign_hash_sync(&unsigned.signature_hash()).unwrap();
        Transaction::decode(&TxEnvelope::from(unsigned.into_signed(signature)).encoded_2718()).unwrap()
    }

    /// A challenge on the newest head, and what its transaction reads there.
    async fn challenge(&self, value: u64) -> (Challenge, Prestate) {
        let reader = Reader::new(Node::connect(self.endpoints()).await.unwrap(), ReaderConfig::default())
            .await
            .unwrap();
        let transaction = self.transaction(value);
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let recorded = reader.prestate(self.head, &transaction, deadline).await.unwrap();
        let most = U256::from(5);
        let invariant = Invariant::new(
            9,
            "at most 5",
            KEEPER,
            U256::ZERO,
            ValueType::Uint(256),
            0,
            Comparison::Le,
            most,
        )
        .unwrap();
        let challenge = Challenge {
            id: B256::repeat_byte(0x1d),
            chain_id: 31_337,
            head_hash: self.head,
            env: recorded.env,
            invariant_set_version: 4,
            invariants: vec![invariant.into()],
            transaction,
            predecessors: Vec::new(),
            prestate: None,
            deadline: Duration::from_secs(60),
        };
        (challenge, recorded.prestate)
    }
}

async fn miner_with(chain: &Chain, change: impl FnOnce(&mut Config)) -> World {
    let mut config = config(Behaviour::Honest, 1, 8);
    change(&mut config);
    world(config, Some(chain.own_node().await)).await
}

fn reason(outcome: &AnswerOutcome) -> &str {
    match verdict(outcome) {
        FindingVerdict::Undecided { reason } => reason,
        other => panic!("{other:?} is a verdict"),
    }
}

fn codes() -> Vec<(B256, Bytes)> {
    vec![(alloy::primitives::keccak256(&KEEPER_OF_VALUE), KEEPER_OF_VALUE)]
}

#[tokio::test]
async fn without_a_prestate_the_miner_reads_its_own_node_at_the_challenges_head() {
    let Some(mut chain) = chain().await else { return };
    let miner = miner_with(&chain, |_| {}).await;
    // The head moves on after the miner has connected.
    chain.mine().await;
    let (question, prestate) = chain.challenge(6).await;
    let own = miner.ask(&question, &[]).await.unwrap();
    let FindingVerdict::Violated { pre, post, .. } = verdict(&own) else {
        panic!("{own:?}")
    };
    assert_eq!((*pre, *post), (U256::from(2), U256::from(6)));

    // With the prestate shipped, the answer is the same: also the digest of the state that was read.
    let shipped = Challenge {
        prestate: Some(ShippedPrestate::from(prestate)),
        ..question
    };
    let told = miner.ask(&shipped, &codes()).await.unwrap();
    assert_eq!(own, told);
    let AnswerOutcome::Verdicts(verdicts) = told else {
        unreachable!()
    };
    assert!(verdicts.state_digest.is_some());
}

#[tokio::test]
async fn a_head_that_the_own_node_does_not_know_is_undecided_with_the_reason() {
    let Some(chain) = chain().await else { return };
    let miner = miner_with(&chain, |config| config.state = StateSource::Node).await;
    let (question, _) = chain.challenge(6).await;
    let elsewhere = Challenge {
        head_hash: B256::repeat_byte(0x77),
        ..question.clone()
    };
    let outcome = miner.ask(&elsewhere, &[]).await.unwrap();
    assert!(
        reason(&outcome).contains("this miner's node") && reason(&outcome).contains("0x7777"),
        "{outcome:?}"
    );
    let other = Challenge {
        chain_id: 1,
        ..question.clone()
    };
    let outcome = miner.ask(&other, &[]).await.unwrap();
    assert!(
        reason(&outcome).contains("of chain 1, this miner's node of chain 31337"),
        "{outcome:?}"
    );
    // And the next challenge is answered as ever.
    assert!(verdict(&miner.ask(&question, &[]).await.unwrap()).is_violated());
}

#[tokio::test]
async fn a_node_that_hangs_costs_no_more_than_the_deadline() {
    let Some(chain) = chain().await else { return };
    let proxy = Proxy::before(&chain.anvil.http(), Duration::ZERO).await;
    let nodes = NodeConfig {
        endpoints: vec![proxy.url().parse().unwrap()],
        ..NodeConfig::default()
    };
    let own = OwnNode::connect(nodes, ReaderConfig::default()).await.unwrap();
    let miner = world(config(Behaviour::Honest, 1, 8), Some(own)).await;
    let (question, _) = chain.challenge(6).await;
    proxy.set_fault(Some(Fault::Hang));
    let hasty = Challenge {
        deadline: Duration::from_millis(400),
        ..question.clone()
    };
    let outcome = miner.ask(&hasty, &[]).await.unwrap();
    assert!(reason(&outcome).contains("no answer within"), "{outcome:?}");
    proxy.set_fault(None);
    assert!(verdict(&miner.ask(&question, &[]).await.unwrap()).is_violated());
}

#[tokio::test]
async fn a_prestate_that_is_not_the_chains_is_undecided_where_that_is_asked_for() {
    let Some(chain) = chain().await else { return };
    let (question, truth) = chain.challenge(6).await;
    let mut lie = truth.clone();
    lie.accounts
        .get_mut(&KEEPER)
        .unwrap()
        .storage
        .insert(U256::ZERO, U256::from(7));
    let with = |prestate: &Prestate| Challenge {
        prestate: Some(ShippedPrestate::from(prestate.clone())),
        ..question.clone()
    };

    let strict = miner_with(&chain, |config| config.check_prestate = Check::Undecided).await;
    let outcome = strict.ask(&with(&lie), &codes()).await.unwrap();
    assert!(
        reason(&outcome).contains("slot 0x0 of") && reason(&outcome).contains("sent as 0x7, is 0x2"),
        "{outcome:?}"
    );
    assert!(verdict(&strict.ask(&with(&truth), &codes()).await.unwrap()).is_violated());

    // One that only logs answers what was asked: on that state the invariant was broken before.
    let lenient = miner_with(&chain, |config| config.check_prestate = Check::Log).await;
    let outcome = lenient.ask(&with(&lie), &codes()).await.unwrap();
    assert_eq!(*verdict(&outcome), FindingVerdict::Holds { already_broken: true });
}

#[tokio::test]
async fn a_challenge_without_state_is_refused_where_there_is_no_node() {
    let Some(chain) = chain().await else { return };
    let miner = world(config(Behaviour::Honest, 1, 8), None).await;
    let (question, _) = chain.challenge(6).await;
    let status = miner.ask(&question, &[]).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
}
