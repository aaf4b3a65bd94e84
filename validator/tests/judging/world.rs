//! What these tests share: a judge among neighbours on loopback ports, and transactions that pay into a contract.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{TxKind, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use chain::{AccountId, Axon, AxonInfo, Keypair, Metagraph, Neuron};
use engine::{
    Account, AccountState, Address, B256, BlockEnv, Bytes, Comparison, Hardfork, Invariant, Prestate, Transaction,
    U256, ValueType,
};
use miner::behaviour::Behaviour;
use miner::service::ChallengeService;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use validator::arbiter::Arbiter;
use validator::canary::CanaryParameters;
use validator::codes::Codes;
use validator::intake::Item;
use validator::judge::Judge;
use validator::miners::Miners;
use validator::proof::Proofs;
use validator::store::Store;
use wire::{InvariantSet, ShippedPrestate};

pub(crate) const CHAIN: u64 = 31_337;

/// Who stands on the metagraph beside the validator.
pub(crate) enum Neighbour {
    /// A real miner.
    Miner(Behaviour),
    /// One that does not listen.
    Gone,
    /// Something else that serves.
    Serves(Routes),
}

impl From<Behaviour> for Neighbour {
    fn from(behaviour: Behaviour) -> Self {
        Self::Miner(behaviour)
    }
}

/// A contract that people pay into, under the invariant 9 that its slot 0 holds at most `cap`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Till {
    pub(crate) code: &'static [u8],
    /// What slot 0 holds before.
    pub(crate) holds: u64,
    pub(crate) cap: u64,
}

/// Stores the call's value in slot 0: `CALLVALUE PUSH0 SSTORE`.
pub(crate) const KEEPER_OF_VALUE: Till = Till {
    code: &[0x34, 0x5f, 0x55],
    holds: 2,
    cap: 5,
};

/// Adds the call's value to slot 0: `CALLVALUE PUSH0 SLOAD ADD PUSH0 SSTORE`.
pub(crate) const SUM: Till = Till {
    code: &[0x34, 0x5f, 0x54, 0x01, 0x5f, 0x55],
    holds: 1_000,
    cap: 5_000,
};

/// A miner of this number.
pub(crate) fn miner_key(number: u8) -> Keypair {
    Keypair::from_seed([number; 32])
}

/// A judge that knows the contract's bytecode, asks who is on this metagraph, and has no defence.
pub(crate) async fn judge(store: &Store, till: Till, metagraph: Metagraph) -> Judge {
    let codes = Arc::new(Codes::new(store.clone(), 1 << 20));
    let code = (keccak256(till.code), Bytes::from_static(till.code));
    codes.insert(vec![code]).await.unwrap();
    Judge {
        defender: None,
        miners: Arc::new(Miners::new(Arc::new(validator_key()), Arc::clone(&codes))),
        arbiter: Arbiter::start(1).unwrap(),
        codes,
        metagraph: watch::channel(Arc::new(metagraph)).1,
        draws: Mutex::new(ChaCha8Rng::seed_from_u64(3)),
        store: store.clone(),
        reports: Arc::new(Notify::new()),
        deadline: Duration::from_secs(30),
        audit_rate: 0.0,
        proofs: Proofs::new(HashMap::new(), 0),
        canaries: CanaryParameters::default(),
        deck: Mutex::default(),
    }
}

fn validator_key() -> Keypair {
    Keypair::from_seed([200; 32])
}

pub(crate) struct World {
    pub(crate) judge: Arc<Judge>,
    pub(crate) store: Store,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    /// A validator and its neighbours, numbered from 1; `set` may change the judge.
    pub(crate) async fn new(neighbours: Vec<Neighbour>, till: Till, set: impl FnOnce(&mut Judge)) -> Self {
        let shutdown = CancellationToken::new();
        let permitted = Neuron {
            validator_permit: true,
            ..Neuron::new(0, validator_key().account())
        };
        let mut metagraph = Metagraph::new(1, 10, vec![permitted]);
        let permits = watch::channel(Arc::new(metagraph.clone())).1;
        for (number, neighbour) in (1_u8..).zip(neighbours) {
            let key = miner_key(number);
            let account = key.account();
            let listener = node::server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            metagraph.neurons.push(neuron(number, account, &listener));
            let routes = match neighbour {
                Neighbour::Gone => continue,
                Neighbour::Serves(routes) => routes,
                Neighbour::Miner(behaviour) => {
                    let config = serde_json::json!({
                        "hotkey": "unused", "ledger": "unused", "state": "challenge", "threads": 1, "behaviour": behaviour,
                    });
                    let config = serde_json::from_value(config).unwrap();
                    let service =
                        ChallengeService::start(&config, Arc::new(key), permits.clone(), None, shutdown.clone());
                    Routes::new(service.unwrap().into_server())
                }
            };
            let descriptors = protos::FILE_DESCRIPTOR_SET;
            tokio::spawn(node::server::serve(
                listener,
                routes,
                &[],
                descriptors,
                shutdown.clone(),
            ));
        }
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("validator.db")).await.unwrap();
        let mut judge = judge(&store, till, metagraph).await;
        set(&mut judge);
        Self {
            judge: Arc::new(judge),
            store,
            shutdown,
            _folder: folder,
        }
    }

    /// Incidents that wait to be reported.
    pub(crate) async fn incidents(&self) -> Vec<protos::v1::IncidentReport> {
        self.store.outbox(100).await.unwrap().request.incidents
    }
}

fn neuron(number: u8, account: AccountId, listener: &TcpListener) -> Neuron {
    let address = listener.local_addr().unwrap();
    let info = AxonInfo {
        version: 1,
        ip: address.ip(),
        port: address.port(),
        protocol: 4,
    };
    Neuron {
        axon: Some(Axon { block: 0, info }),
        ..Neuron::new(u16::from(number), account)
    }
}

fn person(number: u64) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&keccak256(number.to_be_bytes())).unwrap()
}

/// Somebody, another one for each cursor, pays `value` into the till.
pub(crate) fn item(cursor: u64, till: Till, value: u64) -> Item {
    item_behind(cursor, till, &[], value)
}

/// The same behind payments of the same one that wait too.
pub(crate) fn item_behind(cursor: u64, till: Till, before: &[u64], value: u64) -> Item {
    let (signer, contract) = (person(cursor), Address::repeat_byte(0xc0));
    let pays = |(nonce, value): (u64, &u64)| {
        let unsigned = TxEip1559 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 100_000,
            max_fee_per_gas: 10,
            to: TxKind::Call(contract),
            value: U256::from(*value),
            ..Default::default()
        };
        let signature = signer.sign_hash_sync(&unsigned.signature_hash()).unwrap();
        let raw = TxEnvelope::from(unsigned.into_signed(signature)).encoded_2718();
        Transaction::decode(&raw).unwrap()
    };
    let mut predecessors: Vec<Transaction> = (cursor % 7..).zip(before.iter().chain([&value])).map(pays).collect();
    let transaction = predecessors.pop().unwrap();
    let account = |nonce, balance: u64, storage| AccountState {
        account: Some(Account {
            balance: U256::from(balance),
            nonce,
            ..Account::default()
        }),
        storage,
    };
    let code_hash = keccak256(till.code);
    let mut paid = account(1, 0, BTreeMap::from([(U256::ZERO, U256::from(till.holds))]));
    paid.account.as_mut().unwrap().code_hash = code_hash;
    let prestate = Prestate {
        accounts: BTreeMap::from([
            (signer.address(), account(cursor % 7, 1_000_000_000, BTreeMap::new())),
            (contract, paid),
            (Address::ZERO, AccountState::default()),
        ]),
        codes: BTreeMap::from([(code_hash, Bytes::from_static(till.code))]),
        block_hashes: BTreeMap::new(),
    };
    let (slot, cap) = (U256::ZERO, U256::from(till.cap));
    let cap = Invariant::new(9, "cap", contract, slot, ValueType::Uint(256), 0, Comparison::Le, cap).unwrap();
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
            invariants: vec![cap.into()],
        }),
        transaction,
        predecessors,
        prestate: Some(ShippedPrestate::from(prestate)),
    }
}
