//! What the recording says each transaction used, beside what the network says.
//!
//! The comparison is the network's proof that it executes as Ethereum did: a transaction that nobody executed, or with other gas, is a
//! mismatch. A transaction of which the recording does not know the gas is not compared.

use std::collections::HashMap;

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

/// How many mismatches are listed one by one; the rest is only counted.
const LISTED: usize = 20;

/// The gas of each transaction, as recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedGas {
    /// By transaction hash; `None` where the recording does not say.
    by_hash: HashMap<B256, Option<u64>>,
}

impl ExpectedGas {
    /// Notes one recorded transaction. A hash that comes again keeps its first gas, as the platform keeps its first occurrence.
    pub fn note(&mut self, hash: B256, gas: Option<u64>) {
        self.by_hash.entry(hash).or_insert(gas);
    }

    /// Distinct transactions in the recording.
    pub fn transactions(&self) -> u64 {
        self.by_hash.len() as u64
    }

    /// Compares the reported executions (gas is `None` where nobody executed it) with the recording.
    ///
    /// A recorded transaction that is not among the executions at all counts as not executed.
    pub fn compare(&self, executions: impl IntoIterator<Item = (B256, Option<u64>)>) -> GasComparison {
        let reported: HashMap<B256, Option<u64>> = executions.into_iter().collect();
        let mut compared = 0;
        let mut wrong: Vec<GasMismatch> = Vec::new();
        for (hash, expected) in self
            .by_hash
            .iter()
            .filter_map(|(hash, gas)| gas.map(|gas| (*hash, gas)))
        {
            compared += 1;
            let actual = reported.get(&hash).copied().flatten();
            if actual != Some(expected) {
                wrong.push(GasMismatch {
                    tx: hash,
                    expected,
                    reported: actual,
                });
            }
        }
        let mismatches = wrong.len() as u64;
        wrong.sort_by_key(|mismatch| mismatch.tx);
        wrong.truncate(LISTED);
        GasComparison {
            compared,
            mismatches,
            listed: wrong,
        }
    }
}

/// What the comparison came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GasComparison {
    /// Transactions of which the recording knows the gas.
    pub compared: u64,
    /// How many of those the network reported otherwise, or not at all.
    pub mismatches: u64,
    /// The first of them, by hash.
    pub listed: Vec<GasMismatch>,
}

/// A transaction that used other gas than it did on Ethereum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GasMismatch {
    /// Hash of the transaction.
    pub tx: B256,
    /// Gas that the recording says.
    pub expected: u64,
    /// Gas that the network reported; `null` when it reported no execution.
    pub reported: Option<u64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    #[test]
    fn other_gas_and_no_execution_are_mismatches_and_unknown_gas_is_not_compared() {
        let mut expected = ExpectedGas::default();
        expected.note(hash(1), Some(21_000));
        expected.note(hash(2), Some(34_056));
        expected.note(hash(3), None);
        expected.note(hash(4), Some(50_000));
        expected.note(hash(1), Some(99));
        assert_eq!(expected.transactions(), 4);

        let found = expected.compare([
            (hash(1), Some(21_000)),
            (hash(2), Some(34_057)),
            (hash(3), Some(7)),
            (hash(4), None),
        ]);
        assert_eq!((found.compared, found.mismatches), (3, 2));
        assert_eq!(
            found.listed,
            [
                GasMismatch {
                    tx: hash(2),
                    expected: 34_056,
                    reported: Some(34_057)
                },
                GasMismatch {
                    tx: hash(4),
                    expected: 50_000,
                    reported: None
                }
            ]
        );
    }

    #[test]
    fn a_transaction_that_never_came_up_is_a_mismatch() {
        let mut expected = ExpectedGas::default();
        expected.note(hash(9), Some(21_000));
        assert_eq!(expected.compare([]).mismatches, 1);
    }

    proptest! {
        #[test]
        fn every_changed_gas_is_counted_once(gas in proptest::collection::vec((any::<u64>(), any::<bool>()), 0..80)) {
            let mut expected = ExpectedGas::default();
            let mut reported = Vec::new();
            for (index, (gas, changed)) in gas.iter().enumerate() {
                let hash = B256::left_padding_from(&index.to_be_bytes());
                expected.note(hash, Some(*gas));
                reported.push((hash, Some(if *changed { gas.wrapping_add(1) } else { *gas })));
            }
            let found = expected.compare(reported);
            let changed = gas.iter().filter(|(_, changed)| *changed).count();
            prop_assert_eq!(found.mismatches, changed as u64);
            prop_assert_eq!(found.compared, gas.len() as u64);
            prop_assert_eq!(found.listed.len(), changed.min(LISTED));
        }
    }
}
