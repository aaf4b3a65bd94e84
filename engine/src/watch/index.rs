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
#[derive(Clone, Debug, Default)]
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

/// The way back.
fn of_slot_key(key: &FixedBytes<52>) -> (Address, U256) {
    let (contract, rest) = key.split_at(20);
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(rest.chunks_exact(8)) {
        *limb = bytes.try_into().map_or(0, u64::from_ne_bytes);
    }
    (Address::from_slice(contract), U256::from_limbs(limbs))
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

    /// What it was built from, in any order.
    pub(crate) fn keys(&self) -> Vec<(Key, u32)> {
        let mut keys = Vec::new();
        let mut add = |key: Key, span: Span| keys.extend(self.span(span).iter().map(|reader| (key, *reader)));
        for (address, entry) in &self.accounts {
            add(Key::Balance(*address), entry.balance);
            add(Key::Nonce(*address), entry.nonce);
            add(Key::Code(*address), entry.code);
            let start = entry.few.start as usize;
            for (slot, span) in self.few.get(start..start + entry.few.len as usize).unwrap_or_default() {
                add(Key::Slot(*address, *slot), *span);
            }
        }
        for (key, span) in &self.many {
            let (address, slot) = of_slot_key(key);
            add(Key::Slot(address, slot), *span);
        }
        for (topic, span) in &self.topics {
            add(Key::Topic(*topic), *span);
        }
        keys
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_keys_of_an_index_are_those_that_it_was_built_from(
            drawn in prop::collection::vec((0_u8..6, 0_u8..3, 0_u64..24, 0_u32..4), 0..120)
        ) {
            let mut keys: Vec<(Key, u32)> = drawn
                .into_iter()
                .map(|(kind, account, n, reader)| {
                    let address = Address::repeat_byte(account);
                    let key = match kind {
                        0 => Key::Balance(address),
                        1 => Key::Nonce(address),
                        2 => Key::Code(address),
                        3 => Key::Topic(B256::from(U256::from(n))),
                        _ => Key::Slot(address, U256::from(n) << 190),
                    };
                    (key, reader)
                })
                .collect();
            let mut again = Index::new(keys.clone()).keys();
            keys.sort_unstable();
            keys.dedup();
            again.sort_unstable();
            prop_assert_eq!(again, keys);
        }
    }
}
