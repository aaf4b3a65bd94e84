//! Invariants made ready to be watched: what a transaction changed leads to those that read it, however many there are.
//!
//! An invariant that reads nothing of what a transaction wrote says the same before and after it: it is untouched, and is not
//! looked at. What always runs is what reads number, time or base fee of the block.

pub(crate) mod index;
mod watched;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use alloy::primitives::map::HashMap;

use self::index::{Index, Key};
pub use self::watched::{ProgramInvariant, ViewInvariant, Watched};
use crate::{
    InvariantError,
    lang::{Program, Source, View},
};

/// Why a set cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// An invariant cannot be read.
    #[error(transparent)]
    Invariant(#[from] InvariantError),
    /// Two invariants have the same number.
    #[error("two invariants have the id {0}: give each its own")]
    SameId(u64),
    /// More than this engine counts.
    #[error("{0} invariants are more than the 2^31 that one set can hold")]
    TooMany(usize),
}

/// A compiled set of invariants. Immutable; share it between engines behind an `Arc`. The default one is empty.
#[derive(Default)]
pub struct WatchSet {
    /// Tells sets apart without comparing them; 0 is the empty default.
    number: u64,
    watched: Vec<Watched>,
    /// From what is written to places in `watched`.
    index: Index,
    /// Places that are judged whatever was written.
    always: Vec<u32>,
    /// Each view once, and who reads it.
    views: Vec<View>,
    readers: Vec<Vec<u32>>,
    places: HashMap<View, u32>,
    /// How each is judged, in the order of `watched`.
    plans: Vec<Plan>,
}

/// How an invariant is judged: what can be found once, so that it is not looked for at every transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// By what it is.
    General,
    /// It compares what this view says.
    View(u32),
}

static SETS: AtomicU64 = AtomicU64::new(1);

impl WatchSet {
    /// Compiles a set. Judgements come in this order.
    ///
    /// # Errors
    /// When an invariant of the original form is none, or two have one id.
    pub fn new(watched: Vec<Watched>) -> Result<Self, WatchError> {
        if u32::try_from(watched.len()).is_err() || watched.len() > 1 << 31 {
            return Err(WatchError::TooMany(watched.len()));
        }
        let mut ids: Vec<u64> = watched.iter().map(Watched::id).collect();
        ids.sort_unstable();
        if let Some([id, _]) = ids.array_windows::<2>().find(|[a, b]| a == b) {
            return Err(WatchError::SameId(*id));
        }
        let mut building = Building::default();
        for (place, watched) in (0_u32..).zip(&watched) {
            building.add(place, watched)?;
        }
        let Building {
            keys,
            mut always,
            views,
            mut readers,
            places,
            plans,
        } = building;
        always.dedup();
        readers.iter_mut().for_each(Vec::dedup);
        Ok(Self {
            number: SETS.fetch_add(1, Ordering::Relaxed),
            watched,
            index: Index::new(keys),
            always,
            views,
            readers,
            places,
            plans,
        })
    }

    /// The same of invariants in any one form.
    ///
    /// # Errors
    /// As [`WatchSet::new`].
    pub fn of<W: Into<Watched>>(invariants: impl IntoIterator<Item = W>) -> Result<Self, WatchError> {
        Self::new(invariants.into_iter().map(Into::into).collect())
    }

    /// The invariants, in the order given.
    #[must_use]
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.watched.len()
    }

    /// True when there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn always(&self) -> &[u32] {
        &self.always
    }

    pub(crate) fn views(&self) -> &[View] {
        &self.views
    }

    pub(crate) fn at(&self, place: u32) -> Option<&Watched> {
        self.watched.get(place as usize)
    }

    /// How the invariant at this place is judged.
    #[inline]
    pub(crate) fn plan(&self, place: u32) -> Plan {
        self.plans.get(place as usize).copied().unwrap_or(Plan::General)
    }

    /// Who reads a view.
    pub(crate) fn readers(&self, view: u32) -> &[u32] {
        self.readers.get(view as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn place_of(&self, view: &View) -> Option<u32> {
        self.places.get(view).copied()
    }
}

impl fmt::Debug for WatchSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchSet")
            .field("invariants", &self.watched.len())
            .field("views", &self.views.len())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Building {
    keys: Vec<(Key, u32)>,
    always: Vec<u32>,
    views: Vec<View>,
    readers: Vec<Vec<u32>>,
    places: HashMap<View, u32>,
    plans: Vec<Plan>,
}

impl Building {
    fn add(&mut self, place: u32, watched: &Watched) -> Result<(), WatchError> {
        let plan = match watched {
            Watched::Slot(invariant) => {
                invariant.check()?;
                self.keys.push((Key::Slot(invariant.contract, invariant.slot), place));
                Plan::General
            }
            Watched::View(invariant) => Plan::View(self.view(place, &invariant.view)),
            Watched::Program(invariant) => {
                self.program(place, &invariant.program);
                Plan::General
            }
        };
        self.plans.push(plan);
        Ok(())
    }

    fn program(&mut self, place: u32, program: &Program) {
        for read in program.reads() {
            match &read.source {
                Source::Slot { contract, slot, .. } => self.keys.push((Key::Slot(*contract, *slot), place)),
                Source::Balance(address) => self.keys.push((Key::Balance(*address), place)),
                Source::Nonce(address) => self.keys.push((Key::Nonce(*address), place)),
                Source::CodeHash(address) => self.keys.push((Key::Code(*address), place)),
                Source::View(view) => {
                    self.view(place, view);
                }
                Source::Logs(query) => self.keys.push((Key::Topic(query.topic0), place)),
                Source::BlockNumber | Source::BlockTimestamp | Source::BaseFee => self.always.push(place),
                Source::TxSender | Source::TxTo | Source::TxValue => {}
            }
        }
        // Sender, recipient and value of a transaction break nothing that speaks of state, as long as nothing is written.
        let only_transaction = program
            .reads()
            .iter()
            .all(|read| matches!(read.source, Source::TxSender | Source::TxTo | Source::TxValue));
        if only_transaction {
            self.always.push(place);
        }
    }

    /// Notes that the view is read there, and gives its number.
    fn view(&mut self, place: u32, view: &View) -> u32 {
        let known = self.places.get(view).copied().unwrap_or_else(|| {
            // There are fewer views than reads, and each invariant has at most 1024.
            let next = u32::try_from(self.views.len()).unwrap_or(u32::MAX);
            self.views.push(view.clone());
            self.readers.push(Vec::new());
            self.places.insert(view.clone(), next);
            next
        });
        if let Some(readers) = self.readers.get_mut(known as usize) {
            readers.push(place);
        }
        known
    }
}
