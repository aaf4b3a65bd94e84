//! The promise of weights by hash: `blake2b-256` of the SCALE tuple
//! `(AccountId32, u16, Vec<u16>, Vec<u16>, Vec<u16>, u64)`, as Subtensor's `commit_weights` and `reveal_weights` take it.
//!
//! The salt is what keeps a short row from being guessed; [`salt`] draws one.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use codec::Encode;

use crate::account::AccountId;
use crate::ledger::{WeightsCommit, WeightsReveal};

/// Numbers in a drawn salt: 128 bits.
pub const SALT_LENGTH: usize = 8;

/// The bytes under the hash. `netuid` is Subtensor's storage index, which is the netuid for a subnet's first mechanism.
pub fn preimage(hotkey: &AccountId, netuid: u16, reveal: &WeightsReveal) -> Vec<u8> {
    (
        hotkey.as_bytes(),
        netuid,
        &reveal.uids,
        &reveal.values,
        &reveal.salt,
        reveal.version_key,
    )
        .encode()
}

/// The promise that `reveal` opens.
pub fn commit(hotkey: &AccountId, netuid: u16, reveal: &WeightsReveal) -> WeightsCommit {
    WeightsCommit {
        hash: Blake2b::<U32>::digest(preimage(hotkey, netuid, reveal)).into(),
    }
}

/// A salt from the operating system's randomness.
pub fn salt() -> Vec<u16> {
    rand::random::<[u16; SALT_LENGTH]>().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reveal() -> WeightsReveal {
        WeightsReveal {
            uids: vec![3, 4],
            values: vec![100, 65535],
            salt: (1..=8).collect(),
            version_key: 0,
        }
    }

    #[test]
    fn the_hash_that_a_subtensor_runtime_accepted_comes_out() {
        let hotkey = hex::decode("cca5ba3a2a6cac7e54373df8c878d5690607b3c0c56c17c8e9a0e65e51c0eb31").unwrap();
        let hotkey = AccountId::new(hotkey.try_into().unwrap());
        assert_eq!(
            hex::encode(preimage(&hotkey, 1, &reveal())),
            "cca5ba3a2a6cac7e54373df8c878d5690607b3c0c56c17c8e9a0e65e51c0eb310100080300040008\
             6400ffff20010002000300040005000600070008000000000000000000"
        );
        assert_eq!(
            hex::encode(commit(&hotkey, 1, &reveal()).hash),
            "c1a52c6440d4c4f161fd43228eeded6ab69341ad4a4abdc16a6b5cbc6e7d688b"
        );
    }

    #[test]
    fn two_salts_differ() {
        assert_ne!(salt(), salt());
    }

    proptest! {
        #[test]
        fn another_row_salt_key_version_or_subnet_is_another_promise(
            uids in proptest::collection::vec(any::<u16>(), 0..8), salt in proptest::collection::vec(any::<u16>(), 0..8), key: [u8; 32],
        ) {
            let hotkey = AccountId::new(key);
            let honest = WeightsReveal { values: uids.clone(), uids, salt, version_key: 7 };
            let promise = commit(&hotkey, 1, &honest);
            let mut other = honest.clone();
            other.salt.push(0);
            prop_assert_ne!(commit(&hotkey, 1, &other), promise);
            let moved = WeightsReveal { uids: honest.uids.iter().map(|uid| uid ^ 1).collect(), ..honest.clone() };
            prop_assert_eq!(commit(&hotkey, 1, &moved) == promise, honest.uids.is_empty());
            let newer = WeightsReveal { version_key: 8, ..honest.clone() };
            prop_assert_ne!(commit(&hotkey, 1, &newer), promise);
            prop_assert_ne!(commit(&hotkey, 2, &honest), promise);
            prop_assert_ne!(commit(&AccountId::new(key.map(|byte| byte ^ 1)), 1, &honest), promise);
        }
    }
}
