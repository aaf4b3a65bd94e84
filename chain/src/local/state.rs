//! What the embedded ledger knows, as plain values, and the changes by which it moves.
//!
//! A rule reads a [`State`] and gives a [`Delta`]; the same delta is written to the database and merged into the state, so
//! that the two cannot drift apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::AccountId;
use crate::ledger::{Axon, Hyperparameters, Metagraph, Neuron};

/// A weight row: pairs of uid and value.
pub type Row = Arc<Vec<(u16, u16)>>;

/// Everything that the ledger knows.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Drawn when the ledger was created; the receiver of every mutation.
    pub genesis_id: AccountId,
    /// The subnet's parameters.
    pub params: Hyperparameters,
    /// Where time stands.
    pub clock: Clock,
    /// By uid, without gaps. Uid 0 is the subnet's owner.
    pub neurons: Vec<Record>,
    /// Weight rows by the uid that set them.
    pub weights: BTreeMap<u16, Row>,
    /// What keys own beside stake.
    pub purses: BTreeMap<AccountId, Purse>,
    /// Uids by hotkey; follows from `neurons`.
    pub uids: BTreeMap<AccountId, u16>,
}

/// The owner's uid.
pub const OWNER_UID: u16 = 0;

/// Where time stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// The newest block.
    pub block: u64,
    /// Block of the last epoch.
    pub last_epoch_block: u64,
    /// Epochs run so far.
    pub epoch_index: u64,
    /// RAO issued and not yet paid to anybody.
    pub pending_emission: u64,
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
    /// RAO paid at the last epoch.
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
    /// Neurons that are new or changed, whole.
    pub neurons: Vec<Record>,
    /// A weight row that is set.
    pub weights: Option<(u16, Row)>,
    /// Purses that change, whole.
    pub purses: Vec<(AccountId, Purse)>,
}

impl State {
    /// The ledger at block 0: its owner has uid 0 and the permit, and `endowments` their balances.
    pub fn genesis(
        genesis_id: AccountId,
        params: Hyperparameters,
        owner: AccountId,
        endowments: impl IntoIterator<Item = (AccountId, u64)>,
    ) -> Self {
        let owner = Record {
            validator_permit: true,
            ..Record::new(OWNER_UID, owner, 0)
        };
        let mut purses = BTreeMap::<AccountId, Purse>::new();
        for (key, amount) in endowments {
            let purse = purses.entry(key).or_default();
            purse.balance = purse.balance.saturating_add(amount);
        }
        Self::restore(
            genesis_id,
            params,
            Clock::default(),
            vec![owner],
            BTreeMap::new(),
            purses,
        )
    }

    /// A ledger from its stored parts.
    pub fn restore(
        genesis_id: AccountId,
        params: Hyperparameters,
        clock: Clock,
        neurons: Vec<Record>,
        weights: BTreeMap<u16, Row>,
        purses: BTreeMap<AccountId, Purse>,
    ) -> Self {
        let uids = neurons.iter().map(|neuron| (neuron.hotkey, neuron.uid)).collect();
        Self {
            genesis_id,
            params,
            clock,
            neurons,
            weights,
            purses,
            uids,
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

    /// Takes a change over.
    pub fn merge(&mut self, delta: Delta) {
        if let Some(clock) = delta.clock {
            self.clock = clock;
        }
        for neuron in delta.neurons {
            self.uids.insert(neuron.hotkey, neuron.uid);
            match self.neurons.get_mut(usize::from(neuron.uid)) {
                Some(place) => *place = neuron,
                // Rules give the next uid only, so the new one stands at its place.
                None => self.neurons.push(neuron),
            }
        }
        if let Some((uid, row)) = delta.weights {
            self.weights.insert(uid, row);
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
