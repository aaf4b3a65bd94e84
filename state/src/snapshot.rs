//! The state of one block, as far as it is known.
//!
//! What always holds: it answers for one block hash and never for another; knowledge is only added, an answer once given is given
//! again until it is forgotten for space. Reading takes no lock.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use engine::{Account, Address, B256, Bytes, Missing, Prestate, State, StateError, U256};

use crate::{codes::Codes, diff::Diff, facts::Facts, head::HeadInfo, known::Known};

/// How the chain came from the block below to this one.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// What the block changed.
    pub(crate) forth: Arc<Diff>,
    /// What undoing it changes.
    pub(crate) back: Arc<Diff>,
    /// Hashes of its transactions.
    pub(crate) included: Arc<[B256]>,
}

/// The state of one block. Given out behind an [`Arc`]; reads what was known when it is read.
#[derive(Debug)]
pub struct Snapshot {
    head: HeadInfo,
    known: ArcSwap<Known>,
    /// Held by who adds knowledge.
    learning: Mutex<()>,
    codes: Arc<Codes>,
    step: Option<Step>,
}

/// What a snapshot knew at one moment: does not change while an execution reads it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    known: Arc<Known>,
    codes: Arc<Codes>,
}

impl Snapshot {
    /// A block of which nothing is known but its header.
    pub(crate) fn empty(head: HeadInfo, codes: Arc<Codes>, limit: usize, included: Arc<[B256]>) -> Self {
        let mut known = Known::new(limit);
        add_hashes(&mut known, &head);
        let everything = Arc::new(Diff::everything());
        Self {
            head,
            known: ArcSwap::from_pointee(known),
            learning: Mutex::new(()),
            codes,
            step: Some(Step {
                forth: Arc::clone(&everything),
                back: everything,
                included,
            }),
        }
    }

    /// The block above, by what it changed. Costs by the diff.
    pub(crate) fn next(&self, head: HeadInfo, step: Step) -> Self {
        let mut known = Known::clone(&self.known.load());
        known.apply(&step.forth);
        add_hashes(&mut known, &head);
        Self {
            head,
            known: ArcSwap::from_pointee(known),
            learning: Mutex::new(()),
            codes: Arc::clone(&self.codes),
            step: Some(step),
        }
    }

    /// The block.
    #[must_use]
    pub const fn head(&self) -> &HeadInfo {
        &self.head
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.head.hash
    }

    /// Accounts and slots known.
    #[must_use]
    pub fn size(&self) -> usize {
        self.known.load().size()
    }

    /// Every slot, account and block hash that is known, for export and comparison; codes are left out. Walks through all of it. An
    /// account of which only slots are known is listed as not existing: ask [`State::account`] for it.
    #[must_use]
    pub fn contents(&self) -> Prestate {
        self.known.load().contents()
    }

    pub(crate) const fn step(&self) -> Option<&Step> {
        self.step.as_ref()
    }

    pub(crate) fn view(&self) -> View {
        View {
            known: self.known.load_full(),
            codes: Arc::clone(&self.codes),
        }
    }

    /// Adds facts about this block's state.
    pub(crate) fn learn(&self, facts: &Facts) {
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = Known::clone(&self.known.load());
        if known.learn(facts) {
            self.known.store(Arc::new(known));
        }
    }
}

impl View {
    /// True when some of what it knows will be forgotten unless it is used.
    pub(crate) fn is_ageing(&self) -> bool {
        self.known.has_old()
    }
}

fn add_hashes(known: &mut Known, head: &HeadInfo) {
    if let Some(below) = head.number.checked_sub(1) {
        known.add_block_hash(below, head.parent_hash);
    }
    known.add_block_hash(head.number, head.hash);
}

/// What it does not know is [`StateError::Missing`]; it is never broken.
impl State for Snapshot {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.known.load().account(address)
    }
    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        code(&self.codes, code_hash)
    }
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.known.load().storage(address, slot)
    }
    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.known.load().block_hash(number)
    }
}

impl State for View {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.known.account(address)
    }
    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        code(&self.codes, code_hash)
    }
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.known.storage(address, slot)
    }
    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.known.block_hash(number)
    }
}

fn code(codes: &Codes, hash: B256) -> Result<Bytes, StateError> {
    codes.get(hash).ok_or(StateError::Missing(Missing::Code(hash)))
}

/// True when the view knows it.
pub(crate) fn knows(state: &dyn State, what: Missing) -> bool {
    match what {
        Missing::Account(address) => state.account(address).is_ok(),
        Missing::Code(hash) => state.code(hash).is_ok(),
        Missing::Slot(address, slot) => state.storage(address, slot).is_ok(),
        Missing::BlockHash(number) => state.block_hash(number).is_ok(),
    }
}
