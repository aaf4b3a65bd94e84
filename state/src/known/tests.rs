use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::diff::AccountDiff;

const fn at(byte: u8) -> Address {
    Address::repeat_byte(byte)
}
fn with_balance(balance: u64) -> Account {
    Account {
        balance: U256::from(balance),
        ..Account::default()
    }
}
fn facts(byte: u8, account: Option<Account>, slots: &[(u64, u64)]) -> Facts {
    let mut facts = Facts::default();
    facts.set_account(at(byte), account);
    for (slot, value) in slots {
        facts.set_slot(at(byte), U256::from(*slot), U256::from(*value));
    }
    facts
}

#[test]
fn an_absent_account_is_known_to_have_no_storage() {
    let mut known = Known::new(100);
    assert!(known.account(at(1)).is_err());
    assert!(known.learn(&facts(1, None, &[])));
    assert!(!known.learn(&facts(1, None, &[])), "nothing new");
    assert_eq!(known.account(at(1)), Ok(None));
    assert_eq!(known.storage(at(1), U256::from(5)), Ok(U256::ZERO));
}

#[test]
fn an_account_that_comes_to_life_has_the_slots_that_it_wrote_and_no_others() {
    let mut known = Known::new(100);
    known.learn(&facts(1, None, &[]));
    let mut diff = Diff::default();
    diff.accounts.insert(
        at(1),
        AccountDiff {
            account: Change::Now(Some(with_balance(3))),
            storage: [(U256::from(1), U256::from(2))].into(),
            rest: Rest::Kept,
        },
    );
    known.apply(&diff);
    assert_eq!(known.account(at(1)), Ok(Some(with_balance(3))));
    assert_eq!(known.storage(at(1), U256::from(1)), Ok(U256::from(2)));
    assert_eq!(known.storage(at(1), U256::from(9)), Ok(U256::ZERO));
}

#[test]
fn the_block_below_keeps_what_it_knew() {
    let mut below = Known::new(100);
    below.learn(&facts(1, Some(with_balance(1)), &[(1, 1)]));
    let mut above = below.clone();
    let mut diff = Diff::default();
    diff.forget(at(1));
    above.apply(&diff);
    assert!(above.account(at(1)).is_err() && above.storage(at(1), U256::from(1)).is_err());
    assert_eq!(below.storage(at(1), U256::from(1)), Ok(U256::from(1)));
}

#[test]
fn what_is_used_stays_and_what_is_not_goes_and_the_size_is_bounded() {
    let mut known = Known::new(1000);
    for byte in 0..=255_u8 {
        for round in 0..20_u64 {
            known.learn(&facts(byte, Some(with_balance(1)), &[(round, 7)]));
            known.learn(&facts(0, Some(with_balance(1)), &[(0, 7)]));
            assert!(known.size() <= 1000 + 4, "{}", known.size());
        }
    }
    assert_eq!(known.storage(at(0), U256::ZERO), Ok(U256::from(7)), "used all the time");
    assert!(known.storage(at(1), U256::ZERO).is_err(), "long ago");
}

#[test]
fn only_the_hashes_that_can_be_asked_for_are_kept() {
    let mut known = Known::new(10);
    for number in 0..=300 {
        known.add_block_hash(number, B256::with_last_byte(u8::try_from(number % 251).unwrap()));
    }
    assert!(known.block_hash(44).is_err());
    assert_eq!(known.block_hash(45), Ok(B256::with_last_byte(45)));
}

/// Account, its balance (none: destroyed), whether it is created anew, and the slots written.
type Touched = (u8, Option<u64>, bool, Vec<(u64, u64)>);

/// One thing that happens to a small world.
#[derive(Clone, Debug)]
enum Event {
    /// A fact is read at the node.
    Read(u8, u64),
    /// A block changes it.
    Block(Vec<Touched>),
    /// A block of which only the touched accounts are known.
    Forget(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let change = (
        0..6_u8,
        proptest::option::of(1..9_u64),
        any::<bool>(),
        prop::collection::vec((0..5_u64, 0..9_u64), 0..4),
    );
    prop_oneof![
        3 => (0..6_u8, 0..5_u64).prop_map(|(a, s)| Event::Read(a, s)),
        2 => prop::collection::vec(change, 1..4).prop_map(Event::Block),
        1 => (0..6_u8).prop_map(Event::Forget),
    ]
}

/// The truth: every account and slot.
#[derive(Clone, Debug, Default)]
struct World(BTreeMap<u8, (u64, BTreeMap<u64, u64>)>);

impl World {
    fn account(&self, a: u8) -> Option<Account> {
        self.0.get(&a).map(|(balance, _)| with_balance(*balance))
    }
    fn slot(&self, a: u8, s: u64) -> u64 {
        self.0
            .get(&a)
            .and_then(|(_, slots)| slots.get(&s).copied())
            .unwrap_or(0)
    }
}

proptest! {
    /// Whatever is learnt, changed, forgotten and evicted: what is said is true.
    #[test]
    fn it_never_says_what_is_not_so(events in prop::collection::vec(event(), 1..60), limit in 4..40_usize) {
        let mut world = World::default();
        let mut known = Known::new(limit);
        for event in events {
            match event {
                Event::Read(a, s) => {
                    known.learn(&facts(a, world.account(a), &[(s, world.slot(a, s))]));
                }
                Event::Forget(a) => {
                    world.0.insert(a, (77, BTreeMap::new()));
                    let mut diff = Diff::default();
                    diff.forget(at(a));
                    known.apply(&diff);
                }
                Event::Block(changes) => {
                    let mut diff = Diff::default();
                    for (a, balance, anew, slots) in changes {
                        let mut change = AccountDiff::default();
                        match balance {
                            None => {
                                world.0.remove(&a);
                                change.account = Change::Now(None);
                                change.rest = Rest::Zero;
                            }
                            Some(balance) => {
                                let entry = world.0.entry(a).or_default();
                                entry.0 = balance;
                                change.account = Change::Now(Some(with_balance(balance)));
                                if anew {
                                    entry.1.clear();
                                    change.rest = Rest::Zero;
                                }
                                for (s, v) in slots {
                                    entry.1.insert(s, v);
                                    change.storage.insert(U256::from(s), U256::from(v));
                                }
                            }
                        }
                        let mut one = Diff::default();
                        one.accounts.insert(at(a), change);
                        diff.then(one);
                    }
                    known.apply(&diff);
                }
            }
            for a in 0..6 {
                if let Ok(account) = known.account(at(a)) {
                    prop_assert_eq!(account, world.account(a));
                }
                for s in 0..5 {
                    if let Ok(value) = known.storage(at(a), U256::from(s)) {
                        prop_assert_eq!(value, U256::from(world.slot(a, s)), "slot {} of {}", s, a);
                    }
                }
            }
        }
    }
}
