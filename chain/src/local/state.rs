//! What the embedded ledger knows, as plain values, and the changes by which it moves.
//!
//! A rule reads a [`State`] and gives a [`Delta`]; the same delta is written to the database and merged into the state, so
//! that the two cannot drift apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::AccountId;
use crate::history::EpochEntry;
use crate::ledger::{Axon, Beacon, Hyperparameters, Metagraph, Neuron};
use crate::yuma::emission::BlockSplit;

/// A row of weights or bonds: pairs of uid and value.
pub type Row = Arc<Vec<(u16, u16)>>;

/// Everything that the ledger knows.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Drawn when the ledger was created; the receiver of every mutation.
    pub genesis_id: AccountId,
    /// Public key of the ledger's beacon.
    pub beacon_key: Arc<Vec<u8>>,
    /// The subnet's parameters. What a registration costs stands in the clock.
    pub params: Hyperparameters,
    /// Where time stands.
    pub clock: Clock,
    /// By uid, without gaps. Uid 0 is the subnet's owner.
    pub neurons: Vec<Record>,
    /// Weight rows by the uid that set them.
    pub weights: BTreeMap<u16, Row>,
    /// Bonds by the uid of the validator.
    pub bonds: BTreeMap<u16, Row>,
    /// Open commits by hash, oldest first, by hotkey. Never an empty list.
    pub commits: BTreeMap<AccountId, Vec<HashCommit>>,
    /// Sealed commits by the epoch in which they were made. Never an empty list.
    pub sealed: BTreeMap<u64, Vec<SealedCommit>>,
    /// What keys own beside stake.
    pub purses: BTreeMap<AccountId, Purse>,
    /// Uids by hotkey; follows from `neurons`.
    pub uids: BTreeMap<AccountId, u16>,
}

/// The owner's uid.
pub const OWNER_UID: u16 = 0;

/// Where time stands, and what moves with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// The newest block.
    pub block: u64,
    /// Block of the last epoch (`LastEpochBlock`, and here also `LastMechansimStepBlock`).
    pub last_epoch_block: u64,
    /// Epochs run so far (`SubnetEpochIndex`).
    pub epoch_index: u64,
    /// RAO that wait for the next epoch.
    pub pending: BlockSplit,
    /// RAO issued in all.
    pub issued: u64,
    /// RAO issued that nobody got: withheld from the owner, or lost to truncation.
    pub recycled: u64,
    /// RAO that the next registration costs.
    pub burn: u64,
}

impl Clock {
    /// RAO issued and not yet shared.
    pub const fn pending_emission(&self) -> u64 {
        let BlockSplit {
            owner,
            server,
            validator,
        } = self.pending;
        owner.saturating_add(server).saturating_add(validator)
    }
}

/// A promise of weights that is not revealed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCommit {
    /// The promise.
    pub hash: [u8; 32],
    /// Epoch in which it was made.
    pub epoch: u64,
    /// Block in which it was made.
    pub block: u64,
}

/// Sealed weights that are not opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCommit {
    /// Whose.
    pub hotkey: AccountId,
    /// Block in which it was made.
    pub block: u64,
    /// The round that opens it.
    pub reveal_round: u64,
    /// The sealed weights.
    pub ciphertext: Arc<Vec<u8>>,
}

/// What a key owns beside stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purse {
    /// RAO.
    pub balance: u64,
    /// RAO drawn from the faucet so far.
    pub drawn: u64,
}

/// A registered hotkey, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its number.
    pub uid: u16,
    /// The key that it signs with.
    pub hotkey: AccountId,
    /// RAO.
    pub stake: u64,
    /// Where it serves.
    pub axon: Option<Axon>,
    /// Whether it may set weights on others.
    pub validator_permit: bool,
    /// Block of its registration.
    pub registered_at: u64,
    /// Block at which it last set weights; until then that of its registration.
    pub last_update: u64,
    /// Of 65535, at the last epoch.
    pub incentive: u16,
    /// Of 65535, at the last epoch.
    pub dividends: u16,
    /// Incentive before it was cut to 16 bits.
    pub incentive_share: f64,
    /// Of 65535, at the last epoch.
    pub consensus: u16,
    /// Of 65535, at the last epoch.
    pub validator_trust: u16,
    /// RAO by which Yuma measured it at the last epoch: who has least is pruned first.
    pub emission: u64,
    /// RAO paid since registration.
    pub earned: u64,
}

impl Record {
    /// A hotkey that registers at `block`.
    pub fn new(uid: u16, hotkey: AccountId, block: u64) -> Self {
        Self {
            uid,
            hotkey,
            stake: 0,
            axon: None,
            validator_permit: false,
            registered_at: block,
            last_update: block,
            incentive: 0,
            dividends: 0,
            incentive_share: 0.0,
            consensus: 0,
            validator_trust: 0,
            emission: 0,
            earned: 0,
        }
    }
}

/// What an operation changes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Delta {
    /// The clock afterwards, where it moves.
    pub clock: Option<Clock>,
    /// Neurons that are new or changed, whole. One with another hotkey than before takes the uid over.
    pub neurons: Vec<Record>,
    /// Weight rows that are set; an empty one is gone.
    pub weights: Vec<(u16, Row)>,
    /// Bonds that change; an empty row is gone.
    pub bonds: Vec<(u16, Row)>,
    /// Hotkeys' open commits, whole; an empty list is gone.
    pub commits: Vec<(AccountId, Vec<HashCommit>)>,
    /// Epochs' sealed commits, whole; an empty list is gone.
    pub sealed: Vec<(u64, Vec<SealedCommit>)>,
    /// Purses that change, whole.
    pub purses: Vec<(AccountId, Purse)>,
    /// What an epoch leaves behind for whoever looks back.
    pub history: Vec<EpochEntry>,
    /// What became of sealed commits, to be told in the log.
    pub openings: Vec<Opened>,
}

/// What became of a sealed commit when its epoch came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Whose.
    pub hotkey: AccountId,
    /// Why its weights were not set; none when they were.
    pub failure: Option<String>,
}

impl State {
    /// The ledger at block 0: its owner has uid 0 and the permit, and `endowments` their balances. Its beacon has no key yet.
    pub fn genesis(
        genesis_id: AccountId,
        params: Hyperparameters,
        owner: AccountId,
        endowments: impl IntoIterator<Item = (AccountId, u64)>,
    ) -> Self {
        let clock = Clock {
            burn: params.burn,
            ..Clock::default()
        };
        let owner = Record {
            validator_permit: true,
            ..Record::new(OWNER_UID, owner, 0)
        };
        let mut purses = BTreeMap::<AccountId, Purse>::new();
        for (key, amount) in endowments {
            let purse = purses.entry(key).or_default();
            purse.balance = purse.balance.saturating_add(amount);
        }
        Self {
            genesis_id,
            beacon_key: Arc::default(),
            params,
            clock,
            uids: BTreeMap::from([(owner.hotkey, OWNER_UID)]),
            neurons: vec![owner],
            weights: BTreeMap::new(),
            bonds: BTreeMap::new(),
            commits: BTreeMap::new(),
            sealed: BTreeMap::new(),
            purses,
        }
    }

    /// The neuron of a hotkey.
    pub fn by_hotkey(&self, hotkey: &AccountId) -> Option<&Record> {
        self.neurons.get(usize::from(*self.uids.get(hotkey)?))
    }

    /// How many neurons there are; the next uid.
    pub fn count(&self) -> u16 {
        u16::try_from(self.neurons.len()).unwrap_or(u16::MAX)
    }

    /// What a key owns beside stake.
    pub fn purse(&self, key: &AccountId) -> Purse {
        self.purses.get(key).copied().unwrap_or_default()
    }

    /// Whether the neuron's last update is recent enough to count.
    pub fn is_active(&self, neuron: &Record) -> bool {
        neuron.last_update.saturating_add(self.params.activity_cutoff) >= self.clock.block
    }

    /// The parameters as they are now, with what the next registration costs.
    pub fn hyperparameters(&self) -> Hyperparameters {
        Hyperparameters {
            burn: self.clock.burn,
            ..self.params.clone()
        }
    }

    /// The ledger's own beacon: round r is signed in block r, so that its clock is the block clock and stands still with it.
    pub fn beacon(&self, block_time_ms: u64) -> Beacon {
        Beacon {
            public_key: self.beacon_key.to_vec(),
            genesis_ms: 0,
            period_ms: block_time_ms,
            block_time_ms,
            now_ms: self.clock.block.saturating_mul(block_time_ms),
        }
    }

    /// Takes a change over.
    pub fn merge(&mut self, delta: Delta) {
        if let Some(clock) = delta.clock {
            self.clock = clock;
        }
        for neuron in delta.neurons {
            match self.neurons.get_mut(usize::from(neuron.uid)) {
                Some(place) => {
                    if place.hotkey != neuron.hotkey {
                        self.uids.remove(&place.hotkey);
                    }
                    self.uids.insert(neuron.hotkey, neuron.uid);
                    *place = neuron;
                }
                // Rules give the next uid only, so the new one stands at its place.
                None => {
                    self.uids.insert(neuron.hotkey, neuron.uid);
                    self.neurons.push(neuron);
                }
            }
        }
        put_rows(&mut self.weights, delta.weights);
        put_rows(&mut self.bonds, delta.bonds);
        for (hotkey, commits) in delta.commits {
            match commits.is_empty() {
                true => self.commits.remove(&hotkey),
                false => self.commits.insert(hotkey, commits),
            };
        }
        for (epoch, commits) in delta.sealed {
            match commits.is_empty() {
                true => self.sealed.remove(&epoch),
                false => self.sealed.insert(epoch, commits),
            };
        }
        self.purses.extend(delta.purses);
    }

    /// The metagraph as everybody sees it.
    pub fn metagraph(&self) -> Metagraph {
        let neuron = |record: &Record| Neuron {
            uid: record.uid,
            hotkey: record.hotkey,
            coldkey: record.hotkey,
            stake: record.stake,
            axon: record.axon,
            validator_permit: record.validator_permit,
            active: self.is_active(record),
            registered_at: record.registered_at,
            last_update: record.last_update,
            incentive: record.incentive,
            dividends: record.dividends,
            incentive_share: record.incentive_share,
            consensus: record.consensus,
            validator_trust: record.validator_trust,
            emission: record.emission,
            earned: record.earned,
            weights_known: self.weights.contains_key(&record.uid),
        };
        Metagraph {
            netuid: self.params.netuid,
            block: self.clock.block,
            tempo: self.params.tempo,
            last_epoch_block: self.clock.last_epoch_block,
            epoch_index: self.clock.epoch_index,
            neurons: self.neurons.iter().map(neuron).collect(),
        }
    }
}

fn put_rows(rows: &mut BTreeMap<u16, Row>, changed: Vec<(u16, Row)>) {
    for (uid, row) in changed {
        match row.is_empty() {
            true => rows.remove(&uid),
            false => rows.insert(uid, row),
        };
    }
}
