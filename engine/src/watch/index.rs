//! From what a transaction wrote to who reads it, in a few hash look-ups per changed account.

use alloy::primitives::map::{AddressMap, B256Map, HashMap};

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

/// Who reads what of one account.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Anything at all: for when it is destroyed.
    any: Span,
    balance: Span,
    nonce: Span,
    code: Span,
}

/// Readers by what they read.
#[derive(Debug, Default)]
pub(crate) struct Index {
    accounts: AddressMap<Account>,
    slots: HashMap<(Address, U256), Span>,
    topics: B256Map<Span>,
    readers: Vec<u32>,
}

impl Index {
    /// Builds it from "this is read by that".
    pub(crate) fn new(mut keys: Vec<(Key, u32)>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        let mut index = Self::default();
        let mut by_account: Vec<(Address, u32)> = Vec::with_capacity(keys.len());
        for group in keys.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((key, _)) = group.first() else { continue };
            let span = index.add(group.iter().map(|(_, reader)| *reader));
            let address = match *key {
                Key::Slot(address, slot) => {
                    index.slots.insert((address, slot), span);
                    address
                }
                Key::Balance(address) => {
                    index.accounts.entry(address).or_default().balance = span;
                    address
                }
                Key::Nonce(address) => {
                    index.accounts.entry(address).or_default().nonce = span;
                    address
                }
                Key::Code(address) => {
                    index.accounts.entry(address).or_default().code = span;
                    address
                }
                Key::Topic(topic) => {
                    index.topics.insert(topic, span);
                    continue;
                }
            };
            by_account.extend(group.iter().map(|(_, reader)| (address, *reader)));
        }
        drop(keys);
        by_account.sort_unstable();
        by_account.dedup();
        for group in by_account.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((address, _)) = group.first() else { continue };
            let span = index.add(group.iter().map(|(_, reader)| *reader));
            index.accounts.entry(*address).or_default().any = span;
        }
        index.readers.shrink_to_fit();
        index
    }

    fn add(&mut self, readers: impl Iterator<Item = u32>) -> Span {
        let start = self.readers.len();
        self.readers.extend(readers);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span {
            start: number(start),
            len: number(self.readers.len() - start),
        }
    }

    /// True when somebody reads anything of this account.
    pub(crate) fn reads_account(&self, address: Address) -> bool {
        self.accounts.contains_key(&address)
    }

    /// Adds the readers of what was written.
    pub(crate) fn readers_of(&self, address: Address, written: Written, readers: &mut Vec<u32>) {
        let span = match written {
            Written::Slot(slot) => self.slots.get(&(address, slot)).copied(),
            Written::Destroyed => self.accounts.get(&address).map(|account| account.any),
            Written::Balance => self.accounts.get(&address).map(|account| account.balance),
            Written::Nonce => self.accounts.get(&address).map(|account| account.nonce),
            Written::Code => self.accounts.get(&address).map(|account| account.code),
        };
        self.extend(span, readers);
    }

    /// True when somebody reads logs.
    pub(crate) fn reads_logs(&self) -> bool {
        !self.topics.is_empty()
    }

    /// Adds the readers of logs with this first topic.
    pub(crate) fn readers_of_topic(&self, topic: B256, readers: &mut Vec<u32>) {
        self.extend(self.topics.get(&topic).copied(), readers);
    }

    /// True when a slot, or (`None`) anything else of an account, is read by this reader.
    pub(crate) fn is_read_by(&self, address: Address, slot: Option<U256>, reader: u32) -> bool {
        let spans = match slot {
            Some(slot) => [self.slots.get(&(address, slot)).copied(), None, None],
            None => {
                let account = self.accounts.get(&address);
                let of = |part: fn(&Account) -> Span| account.map(part);
                [of(|a| a.balance), of(|a| a.nonce), of(|a| a.code)]
            }
        };
        spans
            .into_iter()
            .flatten()
            .any(|span| self.span(span).contains(&reader))
    }

    fn span(&self, span: Span) -> &[u32] {
        let start = span.start as usize;
        self.readers.get(start..start + span.len as usize).unwrap_or_default()
    }

    fn extend(&self, span: Option<Span>, readers: &mut Vec<u32>) {
        if let Some(span) = span {
            readers.extend_from_slice(self.span(span));
        }
    }
}
