//! From what a transaction wrote to who reads it, in a few hash look-ups per changed account.

use alloy::primitives::{
    FixedBytes,
    map::{AddressMap, B256Map, FbMap},
};

use crate::{Address, B256, U256, evm::Written};

/// Something that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Slot(Address, U256),
    Balance(Address),
    Nonce(Address),
    Code(Address),
    /// Logs whose first topic is this.
    Topic(B256),
}

/// A part of [`Index::readers`].
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    len: u32,
}

/// Slots of one account up to here are looked through, more of them are hashed.
const FEW: usize = 8;

/// Who reads what of one account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    /// Anything at all: for when it is destroyed.
    any: Span,
    balance: Span,
    nonce: Span,
    code: Span,
    /// Its slots are these of `Index::few`, unless they are many.
    few: Span,
    many: bool,
}

/// Readers by what they read.
#[derive(Debug, Default)]
pub(crate) struct Index {
    accounts: AddressMap<Entry>,
    few: Vec<(U256, Span)>,
    /// By contract and slot in one key, for the hasher of fixed bytes: a third of the general one's price.
    many: FbMap<52, Span>,
    /// Somebody reads a balance, a nonce or code.
    fields: bool,
    topics: B256Map<Span>,
    readers: Vec<u32>,
}

/// Address, then the slot's limbs as they lie: any order will do that is always the same.
#[inline]
fn slot_key(address: Address, slot: U256) -> FixedBytes<52> {
    let mut key = [0; 52];
    let (contract, rest) = key.split_at_mut(20);
    contract.copy_from_slice(address.as_slice());
    for (place, limb) in rest.chunks_exact_mut(8).zip(slot.as_limbs()) {
        place.copy_from_slice(&limb.to_ne_bytes());
    }
    FixedBytes(key)
}

fn span_of(start: usize, len: usize) -> Span {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Span {
        start: number(start),
        len: number(len),
    }
}

impl Index {
    /// Builds it from "this is read by that".
    pub(crate) fn new(mut keys: Vec<(Key, u32)>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let mut index = Self::default();
        let mut by_account: Vec<(Address, u32)> = Vec::with_capacity(keys.len());
        let mut slots: Vec<(Address, U256, Span)> = Vec::new();
        for group in keys.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((key, _)) = group.first() else { continue };
            let span = index.add(group.iter().map(|(_, reader)| *reader));
            let (address, field): (_, fn(&mut Entry) -> &mut Span) = match *key {
                Key::Slot(address, slot) => {
                    slots.push((address, slot, span));
                    by_account.extend(group.iter().map(|(_, reader)| (address, *reader)));
                    continue;
                }
                Key::Topic(topic) => {
                    index.topics.insert(topic, span);
                    continue;
                }
                Key::Balance(address) => (address, |entry| &mut entry.balance),
                Key::Nonce(address) => (address, |entry| &mut entry.nonce),
                Key::Code(address) => (address, |entry| &mut entry.code),
            };
            index.fields = true;
            *field(index.accounts.entry(address).or_default()) = span;
            by_account.extend(group.iter().map(|(_, reader)| (address, *reader)));
        }
        for group in slots.chunk_by(|(a, ..), (b, ..)| a == b) {
            let Some((address, ..)) = group.first() else { continue };
            let entry = index.accounts.entry(*address).or_default();
            entry.many = group.len() > FEW;
            if entry.many {
                let hashed = group
                    .iter()
                    .map(|(address, slot, span)| (slot_key(*address, *slot), *span));
                index.many.extend(hashed);
            } else {
                entry.few = span_of(index.few.len(), group.len());
                index.few.extend(group.iter().map(|(_, slot, span)| (*slot, *span)));
            }
        }
        drop(slots);
        drop(keys);
        by_account.sort_unstable();
        by_account.dedup();
        for group in by_account.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((address, _)) = group.first() else { continue };
            let span = index.add(group.iter().map(|(_, reader)| *reader));
            index.accounts.entry(*address).or_default().any = span;
        }
        index.readers.shrink_to_fit();
        index.few.shrink_to_fit();
        index
    }

    fn add(&mut self, readers: impl Iterator<Item = u32>) -> Span {
        let start = self.readers.len();
        self.readers.extend(readers);
        span_of(start, self.readers.len() - start)
    }

    /// What is read of this account; `None` when nothing is. Says the same of one of which only balance, nonce or code were written
    /// and nobody reads any: that needs no look-up.
    #[inline]
    pub(crate) fn account(&self, address: Address, slots_written: bool) -> Option<&Entry> {
        if slots_written || self.fields {
            self.accounts.get(&address)
        } else {
            None
        }
    }

    /// True when somebody reads anything of this account.
    pub(crate) fn reads_account(&self, address: Address) -> bool {
        self.accounts.contains_key(&address)
    }

    /// The readers of what was written of an account.
    #[inline]
    pub(crate) fn readers(&self, entry: &Entry, address: Address, written: Written) -> &[u32] {
        let span = match written {
            Written::Slot(slot) => match self.slot(entry, address, slot) {
                Some(span) => span,
                None => return &[],
            },
            Written::Destroyed => entry.any,
            Written::Balance => entry.balance,
            Written::Nonce => entry.nonce,
            Written::Code => entry.code,
        };
        self.span(span)
    }

    /// Adds the readers of what was written.
    pub(crate) fn readers_of(&self, address: Address, written: Written, readers: &mut Vec<u32>) {
        if let Some(entry) = self.accounts.get(&address) {
            readers.extend_from_slice(self.readers(entry, address, written));
        }
    }

    #[inline]
    fn slot(&self, entry: &Entry, address: Address, slot: U256) -> Option<Span> {
        if entry.many {
            return self.many.get(&slot_key(address, slot)).copied();
        }
        let start = entry.few.start as usize;
        let few = self.few.get(start..start + entry.few.len as usize)?;
        few.iter().find(|(known, _)| *known == slot).map(|(_, span)| *span)
    }

    /// True when somebody reads logs.
    pub(crate) fn reads_logs(&self) -> bool {
        !self.topics.is_empty()
    }

    /// The readers of logs with this first topic.
    pub(crate) fn readers_of_topic(&self, topic: B256) -> &[u32] {
        self.topics.get(&topic).map_or(&[], |span| self.span(*span))
    }

    /// True when what was written of an account is read by this reader.
    pub(crate) fn is_read_by(&self, address: Address, written: Written, reader: u32) -> bool {
        let entry = self.accounts.get(&address);
        entry.is_some_and(|entry| self.readers(entry, address, written).contains(&reader))
    }

    fn span(&self, span: Span) -> &[u32] {
        let start = span.start as usize;
        self.readers.get(start..start + span.len as usize).unwrap_or_default()
    }
}
