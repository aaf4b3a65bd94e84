//! The rule: is a verdict still good at a new head?
//!
//! It is when everything that the execution read is what it was: accounts and slots by value, the block environment by
//! instruction, and what every transaction depends on without asking (rules, fees, gas limit). Two things that each new head changes
//! are looked at closely, or else nothing would ever carry over:
//! - the beneficiary is credited at the very end. An execution that read its account for nothing else does not depend on it;
//! - the base fee changes what the sender is charged. That matters to the execution only if something looks at a balance
//!   ([`crate::Recording::sees_balances`]).
//!
//! What was executed behind others is not carried over: of those everything would have to be looked at as closely.
//!
//! Carried over are verdicts on what the transaction changes in contracts. The digest of the post-state holds the charged sender
//! and the credited beneficiary and is always one of the head that it was made at.

use engine::{AccountState, Address, BlockEnv, EnvReads};

use crate::{
    diff::{Change, Diff},
    recording::Recording,
};

/// True when the verdict on a recorded transaction is the same after this diff, under the environment of the block that comes next
/// then.
#[must_use]
pub fn carries_over(recording: &Recording, diff: &Diff, next: &BlockEnv) -> bool {
    recording.behind == 0 && state_is_the_same(recording, diff) && environment_is_the_same(recording, next)
}

fn state_is_the_same(recording: &Recording, diff: &Diff) -> bool {
    if diff.everything {
        return false;
    }
    // The smaller side is walked through, the larger one looked up.
    let read = &recording.prestate.accounts;
    if diff.accounts.len() < read.len() {
        diff.accounts
            .keys()
            .filter_map(|address| read.get_key_value(address))
            .all(|(address, known)| account_is_the_same(recording, diff, *address, known))
    } else {
        read.iter()
            .all(|(address, known)| account_is_the_same(recording, diff, *address, known))
    }
}

fn account_is_the_same(recording: &Recording, diff: &Diff, address: Address, known: &AccountState) -> bool {
    let only_credited = recording.only_credited && address == recording.env.beneficiary;
    let account = match diff.account(address) {
        Change::Kept => true,
        Change::Now(now) => now == known.account || only_credited,
        Change::Unknown => only_credited,
    };
    account
        && known
            .storage
            .iter()
            .all(|(slot, value)| match diff.slot(address, *slot) {
                Change::Kept => true,
                Change::Now(now) => now == *value,
                Change::Unknown => false,
            })
}

fn environment_is_the_same(recording: &Recording, next: &BlockEnv) -> bool {
    let (was, reads) = (&recording.env, recording.env_reads);
    let same = |what, is| is || !reads.contains(what);
    let (terms, chain) = (&recording.terms, recording.chain_id);
    let price = |env: &BlockEnv| terms.gas_price(env.base_fee);
    let price_is_the_same = price(was) == price(next);
    // A blob transaction must pay the blob base fee, which follows the excess.
    let blobs = terms.tx_type != 3 || was.excess_blob_gas == next.excess_blob_gas;
    was.rules(chain) == next.rules(chain)
        && (terms.gas_limit <= was.gas_limit) == (terms.gas_limit <= next.gas_limit)
        && (terms.max_fee_per_gas >= u128::from(was.base_fee)) == (terms.max_fee_per_gas >= u128::from(next.base_fee))
        && blobs
        && (price_is_the_same || !recording.sees_balances)
        // Another beneficiary may be one that the execution deals with.
        && (was.beneficiary == next.beneficiary
            || !recording.prestate.accounts.contains_key(&next.beneficiary) && recording.only_credited)
        && same(EnvReads::NUMBER, was.number == next.number)
        && same(EnvReads::TIMESTAMP, was.timestamp == next.timestamp)
        && same(EnvReads::BASE_FEE, was.base_fee == next.base_fee)
        && same(EnvReads::PREVRANDAO, was.prevrandao == next.prevrandao && was.difficulty == next.difficulty)
        && same(EnvReads::BENEFICIARY, was.beneficiary == next.beneficiary)
        && same(EnvReads::GAS_LIMIT, was.gas_limit == next.gas_limit)
        && same(EnvReads::BLOB_BASE_FEE, was.excess_blob_gas == next.excess_blob_gas)
        // Which blocks have a hash depends on the number, and a reorg changes the hashes.
        && same(EnvReads::BLOCK_HASH, was.number == next.number)
        && same(EnvReads::GAS_PRICE, price_is_the_same)
}

/// True when executing this code may look at another account's balance, or create a contract that does. A contract's look at its own
/// (`SELFBALANCE`) is none at the sender's, unless the sender has code.
///
/// Follows the code as jumps are checked: from the start, over the data of pushes; after an instruction that ends or leaves the
/// straight line, on from the next `JUMPDEST`. What is dead by that is never executed, what is alive may be.
#[must_use]
pub fn may_see_balances(code: &[u8]) -> bool {
    let (mut live, mut at) = (true, 0_usize);
    while let Some(opcode) = code.get(at) {
        match opcode {
            0x5b => live = true,
            // BALANCE, CREATE, CREATE2
            0x31 | 0xf0 | 0xf5 if live => return true,
            // STOP, JUMP, RETURN, REVERT, INVALID, SELFDESTRUCT
            0x00 | 0x56 | 0xf3 | 0xfd | 0xfe | 0xff => live = false,
            0x60..=0x7f => at += usize::from(opcode - 0x5f),
            _ => {}
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use engine::{Account, B256, Hardfork, Outcome, Prestate, U256};

    use super::*;
    use crate::{diff::AccountDiff, recording::Terms};

    const SENDER: Address = Address::repeat_byte(1);
    const TOKEN: Address = Address::repeat_byte(2);
    const BENEFICIARY: Address = Address::repeat_byte(9);

    fn env() -> BlockEnv {
        BlockEnv {
            number: 100,
            timestamp: 1000,
            beneficiary: BENEFICIARY,
            gas_limit: 30_000_000,
            base_fee: 10,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::repeat_byte(3)),
            excess_blob_gas: Some(0),
            hardfork: Some(Hardfork::Cancun),
        }
    }
    /// The next block as every block makes it: one more, later, another base fee and randomness.
    fn next() -> BlockEnv {
        BlockEnv {
            number: 101,
            timestamp: 1012,
            base_fee: 11,
            prevrandao: Some(B256::repeat_byte(4)),
            excess_blob_gas: Some(131_072),
            ..env()
        }
    }
    fn with_balance(balance: u64) -> Account {
        Account {
            balance: U256::from(balance),
            ..Account::default()
        }
    }
    /// A token transfer: sender, token with two slots, and the beneficiary, which is credited.
    fn transfer() -> Recording {
        let mut prestate = Prestate::default();
        for address in [SENDER, TOKEN, BENEFICIARY] {
            prestate.accounts.entry(address).or_default().account = Some(with_balance(5));
        }
        let storage = &mut prestate.accounts.get_mut(&TOKEN).unwrap().storage;
        storage.extend([(U256::from(1), U256::from(70)), (U256::from(2), U256::ZERO)]);
        Recording {
            head: B256::ZERO,
            chain_id: 1,
            env: env(),
            terms: Terms {
                tx_type: 2,
                gas_limit: 100_000,
                max_fee_per_gas: 50,
                max_priority_fee_per_gas: Some(1),
            },
            behind: 0,
            prestate,
            env_reads: EnvReads::NONE,
            outcome: Outcome::default(),
            only_credited: true,
            sees_balances: false,
            round_trips: 1,
        }
    }
    fn account_now(address: Address, balance: u64) -> Diff {
        let mut diff = Diff::default();
        diff.accounts.entry(address).or_default().account = Change::Now(Some(with_balance(balance)));
        diff
    }
    fn slot_now(slot: u64, value: u64) -> Diff {
        let mut diff = Diff::default();
        let change = AccountDiff {
            storage: [(U256::from(slot), U256::from(value))].into(),
            ..AccountDiff::default()
        };
        diff.accounts.insert(TOKEN, change);
        diff
    }

    #[test]
    fn it_carries_over_while_what_it_read_is_the_same() {
        let recording = transfer();
        let carries = |diff: &Diff| carries_over(&recording, diff, &next());
        assert!(carries(&Diff::default()));
        assert!(carries(&slot_now(3, 1)), "a slot that it did not read");
        assert!(carries(&slot_now(1, 70)), "written, with the value that it had");
        assert!(!carries(&slot_now(1, 71)));
        assert!(!carries(&slot_now(2, 1)), "read as zero");
        assert!(carries(&account_now(Address::repeat_byte(7), 1)));
        assert!(carries(&account_now(SENDER, 5)));
        assert!(!carries(&account_now(SENDER, 4)));
        assert!(!carries(&Diff::everything()));
        let mut forgotten = Diff::default();
        forgotten.forget(TOKEN);
        assert!(!carries(&forgotten));
        let mut many = slot_now(1, 71);
        for byte in 20..90 {
            many.then(account_now(Address::repeat_byte(byte), 1));
        }
        assert!(!carries(&many), "whichever side is the larger");
    }

    #[test]
    fn what_was_executed_behind_others_is_judged_anew() {
        let recording = Recording {
            behind: 1,
            ..transfer()
        };
        assert!(!carries_over(&recording, &Diff::default(), &env()));
    }

    #[test]
    fn the_credit_of_the_beneficiary_is_nothing_that_was_read_unless_it_was() {
        let mut recording = transfer();
        let credited = account_now(BENEFICIARY, 6);
        assert!(carries_over(&recording, &credited, &next()));
        recording.only_credited = false;
        assert!(!carries_over(&recording, &credited, &next()));
        let mut elsewhere = next();
        elsewhere.beneficiary = Address::repeat_byte(8);
        assert!(!carries_over(&recording, &Diff::default(), &elsewhere));
        recording.only_credited = true;
        assert!(carries_over(&recording, &Diff::default(), &elsewhere));
        elsewhere.beneficiary = TOKEN;
        assert!(
            !carries_over(&recording, &Diff::default(), &elsewhere),
            "one that it deals with"
        );
    }

    #[test]
    fn whoever_looked_at_the_block_is_judged_anew_when_that_changed() {
        let looked = |reads, next: &BlockEnv| {
            let recording = Recording {
                env_reads: reads,
                ..transfer()
            };
            carries_over(&recording, &Diff::default(), next)
        };
        for reads in [
            EnvReads::NUMBER,
            EnvReads::TIMESTAMP,
            EnvReads::BASE_FEE,
            EnvReads::PREVRANDAO,
            EnvReads::BLOB_BASE_FEE,
            EnvReads::BLOCK_HASH,
            EnvReads::GAS_PRICE,
        ] {
            assert!(!looked(reads, &next()), "{reads}");
            assert!(looked(reads, &env()), "{reads}");
        }
        assert!(
            looked(EnvReads::GAS_LIMIT | EnvReads::BENEFICIARY, &next()),
            "those are the same"
        );
        let other = BlockEnv {
            gas_limit: 29_000_000,
            ..next()
        };
        assert!(!looked(EnvReads::GAS_LIMIT, &other) && looked(EnvReads::NONE, &other));
    }

    #[test]
    fn what_it_pays_matters_only_to_who_sees_balances() {
        let mut recording = transfer();
        recording.sees_balances = true;
        assert!(!carries_over(&recording, &Diff::default(), &next()));
        recording.terms.max_priority_fee_per_gas = None;
        assert!(
            carries_over(&recording, &Diff::default(), &next()),
            "a gas price is what it is"
        );
    }

    #[test]
    fn a_block_that_would_not_take_it_or_has_other_rules_is_another_world() {
        let recording = transfer();
        let carries = |next: BlockEnv| carries_over(&recording, &Diff::default(), &next);
        assert!(!carries(BlockEnv { base_fee: 51, ..next() }), "it cannot pay");
        assert!(
            !carries(BlockEnv {
                gas_limit: 99_999,
                ..next()
            }),
            "it does not fit"
        );
        assert!(!carries(BlockEnv {
            hardfork: Some(Hardfork::Prague),
            ..next()
        }));
        let mut blob = transfer();
        blob.terms.tx_type = 3;
        assert!(!carries_over(&blob, &Diff::default(), &next()));
    }

    #[test]
    fn code_that_looks_at_balances_is_found_where_it_can_be_reached() {
        assert!(may_see_balances(&[0x30, 0x31]), "BALANCE");
        assert!(may_see_balances(&[0xf0]) && may_see_balances(&[0xf5]));
        assert!(!may_see_balances(&[0x47]), "its own");
        assert!(!may_see_balances(&[0x61, 0x31, 0x47]), "data of a push");
        assert!(!may_see_balances(&[0x00, 0x31]), "after STOP");
        assert!(may_see_balances(&[0x00, 0x5b, 0x31]), "after a jump destination");
        assert!(!may_see_balances(&[0xfe, 0xa2, 0x64, 0x31, 0x31]), "metadata");
        assert!(!may_see_balances(&[0x7f, 0x31]), "a push cut off by the end");
        assert!(!may_see_balances(&[]));
    }
}
