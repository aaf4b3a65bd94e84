//! A chain in memory behind the stand-in's nodes: blocks, finality, a pool, storages, with the recorded metadata of specification
//! version 461. Signatures, nonces and birth blocks are checked as a node checks them; what calls do is reduced to what the
//! tests read back. It stands for a node that fails, not for Subtensor's rules: those are shown on the real runtime.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use chain::{AccountId, Keypair};
use codec::{Compact, Decode, Encode};
use subxt::client::OfflineClient;
use subxt::config::substrate::SubstrateConfig;
use subxt::dynamic::Value;
use subxt::ext::scale_value::{self, Composite};
use tokio::sync::watch;

use crate::data::{Data, SPEC, TRANSACTION_VERSION};

const PALLET: &str = "SubtensorModule";
/// How long anything may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The subnet of all tests.
pub(crate) const NETUID: u16 = 7;

type Hash = [u8; 32];
type Storage = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) struct World {
    client: OfflineClient<SubstrateConfig>,
    metadata: Vec<u8>,
    genesis: Hash,
    state: Mutex<State>,
    /// Counts the changes, so that who waits for one is woken.
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    blocks: Vec<Block>,
    /// Number of the newest finalized block.
    finalized: usize,
    /// Whether a block is made, and final, as soon as an extrinsic comes.
    instant: bool,
    pool: Vec<Vec<u8>>,
    nonces: HashMap<Hash, u64>,
    storage: Storage,
    /// The pallet's error that the next extrinsics end with in their block.
    errors: VecDeque<&'static str>,
    /// How often an extrinsic was offered, taken or not.
    offered: usize,
}

#[derive(Clone)]
struct Block {
    hash: Hash,
    parent: Hash,
    extrinsics: Vec<Vec<u8>>,
    storage: Storage,
}

/// Where an extrinsic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Pool,
    Included(Hash),
    Final(Hash),
    Nowhere,
}

/// An error answer: code, message, data.
pub(crate) type Refused = (i64, &'static str, String);

impl World {
    /// A chain at block 100, all of it final. `instant` makes a final block of every extrinsic.
    pub(crate) fn new(data: &Data, instant: bool) -> Self {
        let world = Self {
            client: data.client(),
            metadata: data.metadata.clone(),
            genesis: data.genesis(),
            state: Mutex::default(),
            changes: watch::Sender::new(0),
        };
        world.with(|state| {
            state.instant = instant;
            state.blocks.push(Block {
                hash: world.genesis,
                parent: [0; 32],
                extrinsics: Vec::new(),
                storage: Storage::new(),
            });
        });
        for _ in 0..100 {
            world.include();
        }
        world.finalize();
        world
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let done = work(&mut self.state.lock().unwrap());
        self.changes.send_modify(|changes| *changes += 1);
        done
    }

    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until `done` says so.
    pub(crate) async fn until(&self, done: impl Fn(&Self) -> bool) {
        let mut changes = self.watch();
        let done = async {
            while !done(self) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, done)
            .await
            .expect("the chain never comes to that");
    }

    fn key(&self, pallet: &str, entry: &str, parts: Vec<Value>) -> Vec<u8> {
        let at = self.client.at_block(1u64).unwrap();
        let address = subxt::dynamic::storage::<Vec<Value>, Value>(pallet, entry);
        at.storage().entry(address).unwrap().fetch_key(parts).unwrap()
    }

    fn value(&self, pallet: &str, entry: &str, value: &Value) -> Vec<u8> {
        let at = self.client.at_block(1u64).unwrap();
        let metadata = at.metadata_ref();
        let pallet = metadata.pallet_by_name(pallet).unwrap();
        let ty = pallet.storage().unwrap().entry_by_name(entry).unwrap().value_ty();
        let mut bytes = Vec::new();
        scale_value::scale::encode_as_type(value, ty, metadata.types(), &mut bytes).unwrap();
        bytes
    }

    /// Writes a storage, from the next block on.
    pub(crate) fn plant(&self, entry: &str, parts: Vec<Value>, value: &Value) {
        let (key, value) = (self.key(PALLET, entry, parts), self.value(PALLET, entry, value));
        self.with(|state| state.storage.insert(key, value));
    }

    /// A subnet with these hotkeys, uid 0 first, each its own coldkey, all with the permit.
    pub(crate) fn subnet(&self, hotkeys: &[&Keypair]) {
        let netuid = || Value::u128(NETUID.into());
        self.plant("NetworksAdded", vec![netuid()], &Value::bool(true));
        self.plant("SubnetworkN", vec![netuid()], &Value::u128(hotkeys.len() as u128));
        let all = |value: Value| Value::unnamed_composite(hotkeys.iter().map(|_| value.clone()));
        self.plant("ValidatorPermit", vec![netuid()], &all(Value::bool(true)));
        self.plant("LastUpdate", vec![netuid()], &all(Value::u128(50)));
        for (uid, pair) in hotkeys.iter().enumerate() {
            let (account, uid) = (account(&pair.account()), Value::u128(uid as u128));
            self.plant("Keys", vec![netuid(), uid.clone()], &account);
            self.plant("Uids", vec![netuid(), account.clone()], &uid);
            self.plant("Owner", vec![account.clone()], &account);
        }
        self.include();
        self.finalize();
    }

    /// The next extrinsic ends with this error of the pallet.
    pub(crate) fn fail_next(&self, error: &'static str) {
        self.with(|state| state.errors.push_back(error));
    }

    /// Makes a block of what the pool holds.
    pub(crate) fn include(&self) {
        let at = self.client.at_block(1u64).unwrap();
        let metadata = at.metadata();
        self.with(|state| {
            let extrinsics = std::mem::take(&mut state.pool);
            let outcomes: Vec<Option<&str>> = extrinsics.iter().map(|_| state.errors.pop_front()).collect();
            for extrinsic in &extrinsics {
                *state.nonces.entry(Signed::read(extrinsic).signer).or_default() += 1;
            }
            let key = self.key("System", "Events", Vec::new());
            let events = Value::unnamed_composite(outcomes.iter().enumerate().map(|(index, error)| {
                Value::named_composite([
                    (
                        "phase",
                        Value::unnamed_variant("ApplyExtrinsic", [Value::u128(index as u128)]),
                    ),
                    ("event", Value::unnamed_variant("System", [ended(*error, &metadata)])),
                    ("topics", Value::unnamed_composite([])),
                ])
            }));
            state.storage.insert(key, self.value("System", "Events", &events));
            let parent = state.blocks.last().unwrap().hash;
            let hash = Blake2b::<U32>::digest((parent, &extrinsics).encode()).into();
            let storage = state.storage.clone();
            state.blocks.push(Block {
                hash,
                parent,
                extrinsics,
                storage,
            });
        });
    }

    /// Makes all blocks final.
    pub(crate) fn finalize(&self) {
        self.with(|state| state.finalized = state.blocks.len() - 1);
    }

    /// Number of the newest block.
    pub(crate) fn block(&self) -> u64 {
        self.state.lock().unwrap().blocks.len() as u64 - 1
    }

    pub(crate) fn pool(&self) -> usize {
        self.state.lock().unwrap().pool.len()
    }

    pub(crate) fn offered(&self) -> usize {
        self.state.lock().unwrap().offered
    }

    /// The calls that stand in blocks, as `Pallet.call`, with their arguments.
    pub(crate) async fn calls(&self) -> Vec<(String, Value)> {
        let extrinsics: Vec<Vec<u8>> = {
            let state = self.state.lock().unwrap();
            state.blocks.iter().flat_map(|block| block.extrinsics.clone()).collect()
        };
        let at = self.client.at_block(1u64).unwrap();
        let read = at.extrinsics().from_bytes(extrinsics).await;
        read.iter()
            .map(|extrinsic| {
                let extrinsic = extrinsic.unwrap();
                let name = format!("{}.{}", extrinsic.pallet_name(), extrinsic.call_name());
                let fields = extrinsic.iter_call_data_fields().map(|field| {
                    let value: Value = field.decode_as().unwrap();
                    (field.name().to_owned(), value)
                });
                (name, Value::named_composite(fields.collect::<Vec<_>>()))
            })
            .collect()
    }

    /// Who signed what stands in blocks.
    pub(crate) fn signers(&self) -> Vec<AccountId> {
        let state = self.state.lock().unwrap();
        let extrinsics = state.blocks.iter().flat_map(|block| &block.extrinsics);
        extrinsics
            .map(|bytes| AccountId::new(Signed::read(bytes).signer))
            .collect()
    }

    pub(crate) fn place(&self, extrinsic: &[u8]) -> Place {
        let state = self.state.lock().unwrap();
        let holds = |block: &Block| block.extrinsics.iter().any(|known| known == extrinsic);
        match state.blocks.iter().position(holds) {
            Some(number) if number <= state.finalized => Place::Final(state.blocks[number].hash),
            Some(number) => Place::Included(state.blocks[number].hash),
            None if state.pool.iter().any(|known| known == extrinsic) => Place::Pool,
            None => Place::Nowhere,
        }
    }

    /// Takes an extrinsic into the pool, as a node does after it has checked it.
    pub(crate) fn submit(&self, extrinsic: &[u8]) -> Result<(), Refused> {
        let invalid = |why: &str| (1010, "Invalid Transaction", why.to_owned());
        let taken = self.with(|state| {
            state.offered += 1;
            let signed = Signed::read(extrinsic);
            if state.pool.iter().any(|known| known == extrinsic) {
                return Err((1013, "Transaction is already imported", String::new()));
            }
            let nonce = state.nonces.get(&signed.signer).copied().unwrap_or_default();
            if signed.nonce < nonce {
                return Err(invalid("Transaction is outdated"));
            }
            if !signed.is_right(state, self.genesis) {
                return Err(invalid("Transaction has a bad signature"));
            }
            if state.pool.iter().any(|other| {
                let other = Signed::read(other);
                (other.signer, other.nonce) == (signed.signer, signed.nonce)
            }) {
                return Err((1014, "Priority is too low", "(1 vs 1)".to_owned()));
            }
            state.pool.push(extrinsic.to_vec());
            Ok(())
        });
        if taken.is_ok() && self.state.lock().unwrap().instant {
            self.include();
            self.finalize();
        }
        taken
    }

    pub(crate) fn number_of(&self, hash: &Hash) -> Option<u64> {
        let state = self.state.lock().unwrap();
        let number = state.blocks.iter().position(|block| block.hash == *hash)?;
        Some(number as u64)
    }

    pub(crate) fn hash_of(&self, number: Option<u64>) -> Option<Hash> {
        let state = self.state.lock().unwrap();
        let number = number.map_or(state.blocks.len() - 1, |number| number as usize);
        Some(state.blocks.get(number)?.hash)
    }

    pub(crate) fn finalized(&self) -> Hash {
        let state = self.state.lock().unwrap();
        state.blocks[state.finalized].hash
    }

    /// Parent and extrinsics.
    pub(crate) fn body(&self, hash: &Hash) -> Option<(Hash, Vec<Vec<u8>>)> {
        let number = self.number_of(hash)? as usize;
        let block = &self.state.lock().unwrap().blocks[number];
        Some((block.parent, block.extrinsics.clone()))
    }

    pub(crate) fn read(&self, hash: &Hash, key: &[u8]) -> Option<Vec<u8>> {
        let number = self.number_of(hash)? as usize;
        self.state.lock().unwrap().blocks[number].storage.get(key).cloned()
    }

    /// Keys with this prefix behind `start`.
    pub(crate) fn keys(&self, hash: &Hash, prefix: &[u8], start: &[u8], count: usize) -> Vec<Vec<u8>> {
        let number = self.number_of(hash).unwrap() as usize;
        let state = self.state.lock().unwrap();
        let keys = state.blocks[number].storage.keys();
        keys.filter(|key| key.starts_with(prefix) && key.as_slice() > start)
            .take(count)
            .cloned()
            .collect()
    }

    /// The runtime's own functions.
    pub(crate) fn call(&self, function: &str, input: &[u8]) -> Result<Vec<u8>, Refused> {
        match function {
            "Core_version" => {
                let apis: Vec<([u8; 8], u32)> = Vec::new();
                let names = ("node-subtensor", "node-subtensor");
                Ok((names, 1u32, SPEC, 1u32, apis, TRANSACTION_VERSION).encode())
            }
            "Metadata_metadata_versions" => Ok(vec![15u32].encode()),
            "Metadata_metadata_at_version" => {
                let length = Compact(u32::try_from(self.metadata.len()).unwrap());
                Ok([vec![1], length.encode(), self.metadata.clone()].concat())
            }
            "AccountNonceApi_account_nonce" => {
                let signer = Hash::decode(&mut &*input).unwrap();
                let state = self.state.lock().unwrap();
                let nonce = state.nonces.get(&signer).copied().unwrap_or_default();
                Ok(u32::try_from(nonce).unwrap().encode())
            }
            // Valid, of no priority, without dependencies, for ever.
            "TaggedTransactionQueue_validate_transaction" => {
                let none: Vec<Vec<u8>> = Vec::new();
                Ok((0u8, 0u64, none.clone(), none, u64::MAX, true).encode())
            }
            other => Err((-32603, "Client error", format!("no function {other}"))),
        }
    }
}

/// How an extrinsic ended.
fn ended(error: Option<&str>, metadata: &subxt::Metadata) -> Value {
    let weight = Value::named_composite([("ref_time", Value::u128(1)), ("proof_size", Value::u128(0))]);
    let info = Value::named_composite([
        ("weight", weight),
        ("class", Value::unnamed_variant("Normal", [])),
        ("pays_fee", Value::unnamed_variant("No", [])),
    ]);
    let Some(error) = error else {
        return Value::named_variant("ExtrinsicSuccess", [("dispatch_info", info)]);
    };
    let pallet = metadata.pallet_by_name(PALLET).unwrap();
    let known = pallet
        .error_variants()
        .unwrap()
        .iter()
        .find(|variant| variant.name == error);
    let index = known.unwrap_or_else(|| panic!("no error {error}")).index;
    let module = Composite::named([
        ("index", Value::u128(pallet.error_index().into())),
        ("error", Value::from_bytes([index, 0, 0, 0])),
    ]);
    let module = Value::unnamed_variant("Module", [Value::from(module)]);
    Value::named_variant("ExtrinsicFailed", [("dispatch_error", module), ("dispatch_info", info)])
}

/// An account as a runtime's value.
pub(crate) fn account(account: &AccountId) -> Value {
    Value::from_bytes(account.as_bytes())
}

/// A signed extrinsic of version 4, cut into its parts.
struct Signed {
    signer: Hash,
    signature: [u8; 64],
    /// Era, nonce, tip, mode of the metadata hash, as they are encoded.
    extra: Vec<u8>,
    era: Option<[u8; 2]>,
    nonce: u64,
    call: Vec<u8>,
}

impl Signed {
    fn read(extrinsic: &[u8]) -> Self {
        let input = &mut &*extrinsic;
        let length = Compact::<u32>::decode(input).unwrap().0;
        assert_eq!(length as usize, input.len());
        let (version, address, signer) = <(u8, u8, Hash)>::decode(input).unwrap();
        assert_eq!((version, address), (0x84, 0));
        let (scheme, signature) = <(u8, [u8; 64])>::decode(input).unwrap();
        assert_eq!(scheme, 1, "sr25519");
        let from = *input;
        let first = u8::decode(input).unwrap();
        let era = (first != 0).then(|| [first, u8::decode(input).unwrap()]);
        let nonce = Compact::<u64>::decode(input).unwrap().0;
        let _tip = Compact::<u128>::decode(input).unwrap();
        assert_eq!(u8::decode(input).unwrap(), 0, "no metadata hash");
        Self {
            signer,
            signature,
            extra: from[..from.len() - input.len()].to_vec(),
            era,
            nonce,
            call: input.to_vec(),
        }
    }

    /// Whether it was signed by its signer for this chain, from a block of it on.
    fn is_right(&self, state: &State, genesis: Hash) -> bool {
        let born = match self.era {
            None => genesis,
            Some(era) => {
                let era = u64::from(u16::from_le_bytes(era));
                let period = 2u64 << (era % 16);
                let phase = (era >> 4) * (period >> 12).max(1);
                let current = state.blocks.len() as u64 - 1;
                state.blocks[((current.max(phase) - phase) / period * period + phase) as usize].hash
            }
        };
        let versions = (SPEC, TRANSACTION_VERSION, genesis, born, 0u8).encode();
        let payload = [self.call.clone(), self.extra.clone(), versions].concat();
        let payload = match payload.len() {
            0..=256 => payload,
            _ => Blake2b::<U32>::digest(payload).to_vec(),
        };
        chain::wallet::verify(&AccountId::new(self.signer), &payload, &self.signature)
    }
}
