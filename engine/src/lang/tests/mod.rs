//! Tests of the language as a whole. Arithmetic is tested in `wide`.

mod bounds;
mod documentation;
mod errors;
mod evaluation;
mod layout;
mod print;
mod sets;

use std::collections::BTreeMap;

use super::*;
use crate::{Address, B256, Reason, U256};

pub(super) fn address(byte: u8) -> Address {
    Address::with_last_byte(byte)
}

/// A contract of ours, as compiled.
pub(super) fn artifact(name: &str) -> serde_json::Value {
    let path = format!("{}/../contracts/artifacts/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `vault`, `token` and `pair` as compiled, and three people.
pub(super) fn names() -> Names {
    let mut names = Names::default();
    for (name, contract, byte) in [
        ("vault", "Vault", 0xa1),
        ("token", "Token", 0xa2),
        ("pair", "Pair", 0xa3),
    ] {
        let artifact = artifact(contract);
        let contract = Contract::new(address(byte)).with_layout(&artifact).unwrap();
        names.insert(name, contract.with_abi(&artifact).unwrap()).unwrap();
    }
    for (name, byte) in [("alice", 1), ("bob", 2), ("carol", 3)] {
        names.insert(name, Contract::new(address(byte))).unwrap();
    }
    names
}

pub(super) fn parsed(text: &str) -> Program {
    parse(text, &names()).unwrap_or_else(|error| panic!("{error}"))
}

/// Values by the canonical text of their source, before and after, and logs.
#[derive(Default)]
pub(super) struct World {
    pub(super) values: BTreeMap<String, (U256, U256)>,
    pub(super) logs: Vec<(Address, Vec<B256>, Vec<u8>)>,
    /// Every reading, in order.
    pub(super) read: Vec<(Moment, String)>,
}

impl World {
    /// The raw words of a term before and after.
    pub(super) fn with(mut self, term: &str, pre: U256, post: U256) -> Self {
        let program = parsed(&format!("number({term}) == 0"));
        self.values.insert(program.reads()[0].source.to_string(), (pre, post));
        self
    }

    pub(super) fn small(self, term: &str, pre: u64, post: u64) -> Self {
        self.with(term, U256::from(pre), U256::from(post))
    }

    pub(super) fn log(mut self, emitter: Address, topics: &[B256], words: &[U256]) -> Self {
        let data = words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect();
        self.logs.push((emitter, topics.to_vec(), data));
        self
    }
}

impl Reader for World {
    fn read(&mut self, moment: Moment, source: &Source) -> Result<U256, Reason> {
        let text = source.to_string();
        self.read.push((moment, text.clone()));
        let (pre, post) = self.values.get(&text).ok_or(Reason::Deadline)?;
        Ok(if moment == Moment::Pre { *pre } else { *post })
    }

    fn logs(&mut self, visit: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason> {
        for (emitter, topics, data) in &self.logs {
            visit(LogRef {
                emitter: *emitter,
                topics,
                data,
            });
        }
        Ok(())
    }
}
