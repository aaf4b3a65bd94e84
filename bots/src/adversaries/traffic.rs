//! Traffic of which the truth is known by arithmetic, not by an engine: deposits into tills and withdrawals from them.
//!
//! A till adds what it is paid to slot 0, or takes away from it what the call says, without looking. It must hold at least its floor and
//! at most its cap. Pure and seeded; what always holds: exactly every `1 / share`th transaction breaks exactly one of the two.

use std::collections::{BTreeMap, BTreeSet};

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{TxKind, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use engine::{
    Account, AccountState, Address, B256, BlockEnv, Bytes, Comparison, Hardfork, Invariant, Prestate, Transaction,
    U256, ValueType,
};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wire::InvariantSet;

/// `calldatasize ? slot0 -= calldata[0] : slot0 += callvalue`
pub const TILL: &[u8] = &[
    0x36, 0x60, 0x0b, 0x57, // CALLDATASIZE PUSH1 11 JUMPI
    0x34, 0x5f, 0x54, 0x01, 0x5f, 0x55, 0x00, // CALLVALUE PUSH0 SLOAD ADD PUSH0 SSTORE STOP
    0x5b, 0x5f, 0x35, 0x5f, 0x54, 0x03, 0x5f, 0x55,
    0x00, // JUMPDEST PUSH0 CALLDATALOAD PUSH0 SLOAD SUB PUSH0 SSTORE STOP
];
/// EIP-155 chain id.
pub const CHAIN_ID: u64 = 31_337;

const TILLS: u8 = 5;
const SENDERS: u8 = 100;
const FLOOR: u64 = 10_000;
const CAP: u64 = 1_000_000;
const OPENING: u64 = 500_000;
/// Of a hundred transactions, so many only pay somebody.
const TRANSFERS: u32 = 20;
/// Transactions on one head.
pub const BLOCK: usize = 100;

/// One transaction, on the state that it reads.
#[derive(Debug, Clone)]
pub struct Pending {
    /// The transaction.
    pub transaction: Transaction,
    /// What it reads.
    pub prestate: Prestate,
    /// The invariant that it breaks, if it breaks one.
    pub breaks: Option<u64>,
}

/// The tills and those who come to them.
#[derive(Debug)]
pub struct Traffic {
    rng: ChaCha8Rng,
    totals: BTreeMap<Address, u64>,
    people: Vec<(PrivateKeySigner, u64)>,
    made: usize,
    one_in: usize,
}

/// Traffic that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// A key that is none, or that would not sign.
    #[error("a key of the traffic is unusable: {0}; choose another seed")]
    Key(String),
    /// A transaction that does not decode.
    #[error(transparent)]
    Transaction(#[from] engine::TransactionError),
    /// An invariant that is none.
    #[error(transparent)]
    Invariant(#[from] engine::InvariantError),
}

fn till(number: u8) -> Address {
    Address::repeat_byte(0xc0 + number)
}

/// The invariants: of each till, a floor (odd ids) and a cap (even ids).
///
/// # Errors
/// Never: they are constant.
pub fn invariants() -> Result<InvariantSet, TrafficError> {
    let mut invariants = Vec::new();
    for number in 0..TILLS {
        let id = u64::from(number) * 2;
        for (id, name, comparison, target) in [
            (id + 1, "floor", Comparison::Ge, FLOOR),
            (id + 2, "cap", Comparison::Le, CAP),
        ] {
            let (slot, target) = (U256::ZERO, U256::from(target));
            let name = format!("till {number} {name}");
            let value_type = ValueType::Uint(256);
            let invariant = Invariant::new(id, name, till(number), slot, value_type, 0, comparison, target)?;
            invariants.push(invariant.into());
        }
    }
    Ok(InvariantSet { version: 1, invariants })
}

/// The block after the head with this number.
pub fn env(head: u64) -> BlockEnv {
    BlockEnv {
        number: head + 1,
        timestamp: 1_700_000_000 + head * 12,
        beneficiary: Address::ZERO,
        gas_limit: 30_000_000,
        base_fee: 7,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::ZERO),
        excess_blob_gas: Some(0),
        hardfork: Some(Hardfork::Cancun),
    }
}

fn account(balance: u64, nonce: u64, code_hash: Option<B256>) -> AccountState {
    let mut account = Account {
        balance: U256::from(balance),
        nonce,
        ..Account::default()
    };
    if let Some(hash) = code_hash {
        account.code_hash = hash;
    }
    AccountState {
        account: Some(account),
        storage: BTreeMap::new(),
    }
}

impl Traffic {
    /// Traffic of a seed, of which one transaction in `one_in` breaks an invariant.
    ///
    /// # Errors
    /// When the seed gives an unusable key.
    pub fn new(seed: u64, one_in: usize) -> Result<Self, TrafficError> {
        let people = (0..SENDERS).map(|number| {
            let secret = keccak256([&seed.to_be_bytes()[..], &[number]].concat());
            let key = PrivateKeySigner::from_bytes(&secret).map_err(|error| TrafficError::Key(error.to_string()))?;
            Ok((key, 0))
        });
        Ok(Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            totals: (0..TILLS).map(|number| (till(number), OPENING)).collect(),
            people: people.collect::<Result<_, TrafficError>>()?,
            made: 0,
            one_in: one_in.max(1),
        })
    }

    /// The next transaction. An attack is never included: the next ones find the till as it was.
    ///
    /// # Errors
    /// When a key does not sign.
    pub fn make(&mut self) -> Result<Pending, TrafficError> {
        self.made += 1;
        let attack = self.made.is_multiple_of(self.one_in);
        let who = self.rng.random_range(0..self.people.len());
        if !attack && self.rng.random_ratio(TRANSFERS, 100) {
            let friend = Address::from(self.rng.random::<[u8; 20]>());
            let value = self.rng.random_range(1..1_000);
            let nobody = AccountState::default();
            return self.pending(who, (friend, nobody), value, Bytes::new(), None, true);
        }
        let tills: Vec<Address> = self.totals.keys().copied().collect();
        let at = tills.choose(&mut self.rng).copied().unwrap_or_default();
        let total = self.totals.get(&at).copied().unwrap_or(OPENING);
        let mut state = account(0, 1, Some(keccak256(TILL)));
        state.storage.insert(U256::ZERO, U256::from(total));
        let deposit = self.rng.random_bool(0.5);
        let step = self.rng.random_range(1..5_000);
        let id = u64::from(at.first().copied().unwrap_or(0xc0) - 0xc0) * 2;
        let (amount, breaks) = match (attack, deposit) {
            (true, true) => (CAP - total + step, Some(id + 2)),
            (true, false) => (total - FLOOR + step, Some(id + 1)),
            // Far from both bounds, whatever came before.
            (false, true) if total > OPENING + 100_000 => (1, None),
            (false, false) if total < OPENING - 100_000 => (1, None),
            (false, _) => (step, None),
        };
        if !attack {
            let after = if deposit { total + amount } else { total - amount };
            self.totals.insert(at, after);
        }
        let (value, input) = match deposit {
            true => (amount, Bytes::new()),
            false => (0, B256::from(U256::from(amount)).to_vec().into()),
        };
        self.pending(who, (at, state), value, input, breaks, !attack)
    }

    fn pending(
        &mut self,
        who: usize,
        (to, state): (Address, AccountState),
        value: u64,
        input: Bytes,
        breaks: Option<u64>,
        included: bool,
    ) -> Result<Pending, TrafficError> {
        let missing = || TrafficError::Key("there is no such person".to_owned());
        let (key, nonce) = self.people.get_mut(who).ok_or_else(missing)?;
        let unsigned = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce: *nonce,
            gas_limit: 100_000,
            max_fee_per_gas: 10,
            // Tells two transactions with one nonce apart.
            max_priority_fee_per_gas: self.rng.random_range(0..3),
            to: TxKind::Call(to),
            value: U256::from(value),
            input,
            ..Default::default()
        };
        let signature = key
            .sign_hash_sync(&unsigned.signature_hash())
            .map_err(|error| TrafficError::Key(error.to_string()))?;
        let raw = TxEnvelope::from(unsigned.into_signed(signature)).encoded_2718();
        let transaction = Transaction::with_sender(&raw, key.address())?;
        let codes: BTreeSet<B256> = state
            .account
            .iter()
            .filter(|one| one.has_code())
            .map(|one| one.code_hash)
            .collect();
        let prestate = Prestate {
            accounts: BTreeMap::from([
                (key.address(), account(1_000_000_000_000_000_000, *nonce, None)),
                (to, state),
                (Address::ZERO, AccountState::default()),
            ]),
            codes: codes.into_iter().map(|hash| (hash, Bytes::from_static(TILL))).collect(),
            block_hashes: BTreeMap::new(),
        };
        if included {
            *nonce += 1;
        }
        Ok(Pending {
            transaction,
            prestate,
            breaks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{Context, Engine, Options, WatchSet};

    #[test]
    fn the_engine_says_what_arithmetic_says() {
        let mut traffic = Traffic::new(7, 10).unwrap();
        let set = WatchSet::new(invariants().unwrap().invariants).unwrap();
        let mut engine = Engine::new(CHAIN_ID);
        for made in 1..=300 {
            let pending = traffic.make().unwrap();
            let outcome = engine
                .judge_watched(
                    &pending.transaction,
                    Context::new(&env(5), &pending.prestate, &set, &Options::default()),
                )
                .unwrap();
            let violated: Vec<u64> = outcome
                .judgements
                .iter()
                .filter(|judgement| matches!(judgement.verdict, engine::Verdict::Violated(_)))
                .map(|judgement| judgement.invariant_id)
                .collect();
            assert_eq!(
                violated,
                pending.breaks.into_iter().collect::<Vec<_>>(),
                "transaction {made}"
            );
            assert_eq!(pending.breaks.is_some(), made % 10 == 0);
            assert_eq!(outcome.execution.unwrap().status, engine::Status::Success);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_transactions_and_none_twice() {
        let hashes = |seed| {
            let mut traffic = Traffic::new(seed, 10).unwrap();
            (0..200)
                .map(|_| traffic.make().unwrap().transaction.hash())
                .collect::<Vec<_>>()
        };
        assert_eq!(hashes(1), hashes(1));
        assert_ne!(hashes(1), hashes(2));
        let unique: BTreeSet<B256> = hashes(1).into_iter().collect();
        assert_eq!(unique.len(), 200);
    }
}
