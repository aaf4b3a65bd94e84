//! What a transaction moves: tokens by the ERC-20 `Transfer` logs that it leaves, ether by its accounts' balances.
//!
//! It is told to people beside a violation; no verdict rests on it. A log says what the token's contract wants it to say: an attacker's
//! own token may claim anything, so what is told is bounded and begins with whom the attack is on ([`Moved::largest`]).
//!
//! What always holds: sums are exact. Over all holders a token's changes add up to zero, the zero address standing for what was
//! minted (below zero) and burnt (above it). A transaction that reverted moves no token; its fee is ether all the same.

use std::collections::{BTreeMap, HashMap};

use alloy::{
    primitives::{I256, Log},
    sol,
    sol_types::SolEvent,
};

use crate::{Address, Context, Engine, EngineError, Outcome, Transaction, U256, ValueType, lang::Wide};

sol! {
    /// ERC-20's. ERC-721's has the same first topic, but four of them: its last word is no amount.
    event Transfer(address indexed from, address indexed to, uint256 value);
}

/// A balance that a transaction changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenDelta {
    /// The token's contract; `None` is ether.
    pub token: Option<Address>,
    /// Whose balance.
    pub holder: Address,
    /// By how much, in the token's smallest unit; never zero. Of ether, fees included.
    pub change: I256,
}

/// The balances that a transaction changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// By token (ether first), then by holder.
    pub deltas: Vec<TokenDelta>,
    /// How many changed besides: left out by [`Moved::largest`], or by more than a signed number of 256 bits can say, as only an
    /// invented token's can.
    pub left_out: u64,
}

impl Moved {
    /// From a transaction's logs, and the accounts' balances before and after it, in wei. Its memory is bounded by the logs, of
    /// which each costs more than 1,700 gas.
    pub(crate) fn of<'a>(
        logs: impl IntoIterator<Item = &'a Log>,
        balances: impl IntoIterator<Item = (Address, U256, U256)>,
    ) -> Self {
        let mut sums: HashMap<(Option<Address>, Address), Option<Wide>> = HashMap::new();
        let mut add = |token, holder, change: Wide| {
            let sum = sums.entry((token, holder)).or_insert(Some(Wide::ZERO));
            *sum = sum.and_then(|sum| sum.checked_add(change));
        };
        for (holder, before, after) in balances {
            add(None, holder, Wide::difference(after, before));
        }
        for log in logs {
            let Ok(Transfer { from, to, value }) = Transfer::decode_log_data_validate(&log.data) else {
                continue;
            };
            let value = Wide::from(value);
            add(Some(log.address), from, -value);
            add(Some(log.address), to, value);
        }
        let mut moved = Self::default();
        for ((token, holder), sum) in sums {
            let change = sum.and_then(|sum| sum.to_value(ValueType::Int(256)));
            match change.map(I256::from_raw) {
                Some(change) if change.is_zero() => {}
                Some(change) => moved.deltas.push(TokenDelta { token, holder, change }),
                None => moved.left_out = moved.left_out.saturating_add(1),
            }
        }
        moved.deltas.sort_unstable_by_key(|delta| (delta.token, delta.holder));
        moved
    }

    /// At most so many of them: those of `victim` first, then each token's largest, then each token's second, and so on. Amounts of
    /// different tokens are not compared, since their units are not: one with huge numbers hides no other.
    #[must_use]
    pub fn largest(mut self, most: usize, victim: Address) -> Self {
        let mut by_token: BTreeMap<Option<Address>, Vec<TokenDelta>> = BTreeMap::new();
        for delta in self.deltas {
            by_token.entry(delta.token).or_default().push(delta);
        }
        let mut ranked = Vec::new();
        for deltas in by_token.values_mut() {
            deltas.sort_by_key(|delta| std::cmp::Reverse(delta.change.unsigned_abs()));
            ranked.extend(deltas.drain(..).enumerate());
        }
        // Stable: within a rank, tokens stay in their order.
        ranked.sort_by_key(|(rank, delta)| (delta.holder != victim, *rank));
        let left_out = ranked.len().saturating_sub(most);
        self.left_out = self
            .left_out
            .saturating_add(u64::try_from(left_out).unwrap_or(u64::MAX));
        self.deltas = ranked.into_iter().take(most).map(|(_, delta)| delta).collect();
        self
    }
}

impl Engine {
    /// [`Engine::judge_behind`], and what the transaction alone moved; nothing where it was not executed to its end.
    ///
    /// # Errors
    /// See [`Engine::judge_behind`].
    pub fn judge_and_moved(
        &mut self,
        predecessors: &[Transaction],
        tx: &Transaction,
        on: Context<'_>,
    ) -> Result<(Outcome, Moved), EngineError> {
        let mut moved = Moved::default();
        let outcome = self.judge_behind_then(predecessors, tx, on, &mut |machine| {
            moved = Moved::of(machine.logs(), machine.balances());
        })?;
        Ok((outcome, moved))
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, Bytes, LogData};
    use proptest::prelude::*;

    use super::*;

    const TOKEN: Address = Address::repeat_byte(0x70);
    const OTHER: Address = Address::repeat_byte(0x71);
    const ALICE: Address = Address::repeat_byte(0xa1);
    const BOB: Address = Address::repeat_byte(0xb0);
    const VAULT: Address = Address::repeat_byte(0x77);

    fn transfer(token: Address, from: Address, to: Address, value: U256) -> Log {
        Log {
            address: token,
            data: Transfer { from, to, value }.encode_log_data(),
        }
    }

    /// Who got how much, without ether.
    fn moved(logs: &[Log]) -> Vec<(Address, Address, String)> {
        let moved = Moved::of(logs, []);
        assert_eq!(moved.left_out, 0);
        let told = |delta: &TokenDelta| (delta.token.unwrap(), delta.holder, delta.change.to_string());
        moved.deltas.iter().map(told).collect()
    }

    #[test]
    fn a_holders_transfers_add_up_token_by_token() {
        let logs = [
            transfer(TOKEN, VAULT, ALICE, U256::from(700)),
            transfer(OTHER, VAULT, ALICE, U256::from(5)),
            transfer(TOKEN, ALICE, BOB, U256::from(200)),
            transfer(TOKEN, VAULT, ALICE, U256::from(300)),
        ];
        let told = |token, holder, change: &str| (token, holder, change.to_owned());
        assert_eq!(
            moved(&logs),
            [
                told(TOKEN, VAULT, "-1000"),
                told(TOKEN, ALICE, "800"),
                told(TOKEN, BOB, "200"),
                told(OTHER, VAULT, "-5"),
                told(OTHER, ALICE, "5"),
            ]
        );
    }

    #[test]
    fn what_comes_back_or_goes_to_oneself_is_no_change() {
        let loan = [
            transfer(TOKEN, VAULT, ALICE, U256::from(900)),
            transfer(TOKEN, ALICE, VAULT, U256::from(900)),
            transfer(TOKEN, BOB, BOB, U256::from(4)),
        ];
        assert_eq!(moved(&loan), []);
    }

    #[test]
    fn what_is_minted_and_burnt_is_the_zero_addresss() {
        let logs = [
            transfer(TOKEN, Address::ZERO, ALICE, U256::from(1_000)),
            transfer(TOKEN, ALICE, Address::ZERO, U256::from(400)),
        ];
        assert_eq!(
            moved(&logs),
            [
                (TOKEN, Address::ZERO, "-600".to_owned()),
                (TOKEN, ALICE, "600".to_owned())
            ]
        );
    }

    #[test]
    fn ether_is_the_difference_of_balances() {
        let wei = U256::from;
        let balances = [
            (VAULT, wei(10), wei(1)),
            (ALICE, wei(3), wei(11)),
            (BOB, wei(2), wei(2)),
        ];
        let change = |holder, change: i64| TokenDelta {
            token: None,
            holder,
            change: I256::try_from(change).unwrap(),
        };
        let moved = Moved::of(&[], balances);
        assert_eq!(moved.deltas, [change(VAULT, -9), change(ALICE, 8)]);
    }

    #[test]
    fn only_an_erc_20_transfer_is_an_amount() {
        let plain = transfer(TOKEN, VAULT, ALICE, U256::from(7));
        let with = |topics: Vec<B256>, data: Bytes| Log {
            address: TOKEN,
            data: LogData::new_unchecked(topics, data),
        };
        let (topics, word) = (plain.topics().to_vec(), plain.data.data.clone());
        let id = B256::with_last_byte(7);
        let nft = with([&topics[..], &[id]].concat(), Bytes::new());
        let with_amount_beside = with([&topics[..], &[id]].concat(), word.clone());
        let other_event = with(vec![B256::repeat_byte(1), topics[1], topics[2]], word.clone());
        let short = with(topics.clone(), word.slice(..31));
        let not_indexed = with(vec![topics[0]], [&topics[1][..], &topics[2][..], &word].concat().into());
        let anonymous = with(Vec::new(), word.clone());
        let no_address = with(vec![topics[0], B256::repeat_byte(0xff), topics[2]], word);
        for log in [
            nft,
            with_amount_beside,
            other_event,
            short,
            not_indexed,
            anonymous,
            no_address,
        ] {
            assert_eq!(
                moved(&[log.clone(), plain.clone()]),
                moved(std::slice::from_ref(&plain)),
                "{log:?}"
            );
        }
        assert_eq!(moved(&[plain]).len(), 2);
    }

    #[test]
    fn amounts_beyond_all_balances_wrap_nowhere_and_are_counted() {
        let huge = [
            transfer(TOKEN, ALICE, BOB, U256::MAX),
            transfer(TOKEN, VAULT, BOB, U256::from(1)),
            transfer(TOKEN, ALICE, BOB, U256::MAX),
        ];
        let moved = Moved::of(&huge, []);
        assert_eq!((moved.deltas.len(), moved.left_out), (1, 2));
        assert_eq!(
            (moved.deltas[0].holder, moved.deltas[0].change),
            (VAULT, I256::MINUS_ONE)
        );
        // The way there may be beyond, when the sum is not.
        let back = [
            &huge[..],
            &[
                transfer(TOKEN, BOB, ALICE, U256::MAX),
                transfer(TOKEN, BOB, ALICE, U256::MAX),
            ],
        ]
        .concat();
        assert_eq!(Moved::of(&back, []).left_out, 0);
        let smallest = Moved::of(&[], [(ALICE, U256::ONE << 255, U256::ZERO)]);
        assert_eq!(smallest.deltas[0].change, I256::MIN);
    }

    #[test]
    fn the_victims_come_first_and_no_token_hides_another() {
        let invented = Address::repeat_byte(0x01);
        let mut logs: Vec<Log> = (1..=100_u8)
            .map(|n| transfer(invented, BOB, Address::repeat_byte(n), U256::from(n) << 200))
            .collect();
        logs.extend([
            transfer(TOKEN, VAULT, ALICE, U256::from(30)),
            transfer(OTHER, BOB, ALICE, U256::from(2)),
        ]);
        let ether = [(ALICE, U256::from(9), U256::from(8))];
        let all = Moved::of(&logs, ether);
        assert_eq!((all.deltas.len(), all.left_out), (106, 0));
        let told = all.clone().largest(6, VAULT);
        let names: Vec<_> = told.deltas.iter().map(|delta| (delta.token, delta.holder)).collect();
        assert_eq!(
            names,
            [
                (Some(TOKEN), VAULT),
                (None, ALICE),
                (Some(invented), BOB),
                (Some(OTHER), ALICE),
                (Some(invented), Address::repeat_byte(100)),
                (Some(TOKEN), ALICE),
            ]
        );
        assert_eq!(told.left_out, 100);
        assert_eq!(all.clone().largest(1_000, VAULT).deltas.len(), all.deltas.len());
    }

    fn anyone() -> impl Strategy<Value = Address> {
        (0..5_u8).prop_map(|n| Address::repeat_byte(n * 0x11))
    }

    fn any_transfer() -> impl Strategy<Value = Log> {
        let token = prop_oneof![Just(TOKEN), Just(OTHER)];
        // What real tokens have: so many that no sum leaves 256 bits.
        let value = any::<u128>().prop_map(U256::from);
        (token, anyone(), anyone(), value).prop_map(|(token, from, to, value)| transfer(token, from, to, value))
    }

    proptest! {
        #[test]
        fn a_tokens_changes_add_up_to_zero_in_whatever_order(
            (logs, shuffled) in prop::collection::vec(any_transfer(), 0..60).prop_flat_map(|logs| (Just(logs.clone()), Just(logs).prop_shuffle())),
            most in 0..20_usize,
        ) {
            let moved = Moved::of(&logs, []);
            prop_assert_eq!(&moved, &Moved::of(&shuffled, []));
            for token in [TOKEN, OTHER] {
                let of_token = moved.deltas.iter().filter(|delta| delta.token == Some(token));
                prop_assert_eq!(of_token.map(|delta| delta.change).sum::<I256>(), I256::ZERO);
            }
            prop_assert!(moved.deltas.iter().all(|delta| !delta.change.is_zero()));
            let (all, told) = (moved.deltas.len(), moved.clone().largest(most, ALICE));
            prop_assert_eq!(told.deltas.len(), all.min(most));
            prop_assert_eq!(told.deltas.len() + usize::try_from(told.left_out).unwrap(), all);
            prop_assert!(told.deltas.iter().all(|delta| moved.deltas.contains(delta)));
        }
    }
}
