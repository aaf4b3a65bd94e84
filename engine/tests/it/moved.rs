//! What a transaction moves, told beside its verdicts: by contracts of our own, and by the recorded attacks.

use std::collections::BTreeMap;

use alloy::primitives::{I256, TxKind, keccak256};
use engine::{
    Address, CompleteState, Context, Engine, Hardfork, Moved, Options, Status, TokenDelta, Transaction, U256, WatchSet,
    case::CaseFile,
};
use serde_json::Value;

use crate::{data::recorded, world::*};

/// Logs `Transfer(calldata[0..32], calldata[32..64], 100)`, and stops or reverts.
fn token(end: &str) -> String {
    let transfer = alloy::primitives::hex::encode(keccak256("Transfer(address,address,uint256)"));
    format!("60646000526020356000357f{transfer}60206000a3{end}")
}

fn moved(state: &CompleteState, tx: &Transaction) -> (Status, Moved) {
    let nothing = WatchSet::new(Vec::new()).unwrap();
    let (env, options) = (env(Hardfork::Cancun), Options::default());
    let mut engine = Engine::new(CHAIN);
    let (outcome, moved) = engine
        .judge_and_moved(&[], tx, Context::new(&env, state, &nothing, &options))
        .unwrap();
    assert_eq!(
        outcome,
        engine
            .judge_watched(tx, Context::new(&env, state, &nothing, &options))
            .unwrap()
    );
    (execution(&outcome).status.clone(), moved)
}

fn changes(moved: &Moved, of: Option<Address>) -> BTreeMap<Address, I256> {
    let of_token = moved.deltas.iter().filter(|delta| delta.token == of);
    of_token.map(|delta| (delta.holder, delta.change)).collect()
}

/// Somebody pays Bob with Alice's gas, and three wei beside.
fn payment() -> Transaction {
    let (victim, thief) = (Address::repeat_byte(0x0f), bob().address());
    let input = words(victim.into_word(), thief.into_word());
    by_alice(alloy::consensus::TxLegacy {
        value: u(3),
        to: TxKind::Call(VAULT),
        ..call(VAULT, input)
    })
}

#[test]
fn a_transfer_moves_the_tokens_and_ether_that_it_moves() {
    let (status, moved) = moved(&world(&token("00"), &[]), &payment());
    assert_eq!(status, Status::Success);
    let number = |number: i64| I256::try_from(number).unwrap();
    assert_eq!(
        changes(&moved, Some(VAULT)),
        BTreeMap::from([
            (Address::repeat_byte(0x0f), number(-100)),
            (bob().address(), number(100))
        ])
    );
    // What Alice pays goes to the vault, to the beneficiary, and up in smoke.
    let ether = changes(&moved, None);
    assert_eq!(ether[&VAULT], number(3));
    assert_eq!(ether.len(), 3);
    let burnt = -ether.values().copied().sum::<I256>();
    let gas = number(burnt.as_i64() / 7);
    assert!(
        gas > number(21_000) && burnt == gas * number(7),
        "{burnt} at 7 wei per gas"
    );
    let price = number(10_000_000_000);
    assert_eq!(ether[&alice().address()], -gas * price - number(3));
    assert_eq!(moved.left_out, 0);
}

#[test]
fn what_reverted_moves_no_token_and_only_its_fee() {
    let (status, moved) = moved(&world(&token("60006000fd"), &[]), &payment());
    assert_eq!(status, Status::Revert);
    let payers: Vec<_> = moved.deltas.iter().map(|delta| (delta.token, delta.holder)).collect();
    let beneficiary = env(Hardfork::Cancun).beneficiary;
    let mut expected = [(None, alice().address()), (None, beneficiary)];
    expected.sort_unstable();
    assert_eq!(payers, expected);
}

#[test]
fn what_cannot_be_executed_moves_nothing() {
    let (status, moved) = moved(&CompleteState::default(), &payment());
    assert!(matches!(status, Status::Invalid(_)), "{status:?}");
    assert_eq!(moved, Moved::default());
}

/// By `balanceOf` before and after, and by the accounts' balances in the recorded change of state.
#[test]
fn the_recorded_attacks_moved_what_is_recorded_of_them() {
    let Some(path) = recorded("exploits") else { return };
    let (mut victims, mut accounts) = (0, 0);
    for case in CaseFile::open(&path).unwrap() {
        let case = case.unwrap();
        let file = path.join(format!("{}.json.gz", case.id.trim_start_matches("exploit-")));
        let file = flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap());
        let known: Value = serde_json::from_reader(file).unwrap();
        let set = WatchSet::new(Vec::new()).unwrap();
        let (_, moved) = Engine::new(case.chain_id)
            .judge_and_moved(
                &[],
                &case.transactions[0],
                Context::new(&case.block, &case.pre, &set, &Options::default()),
            )
            .unwrap();
        let number = |value: &Value| I256::from_raw(value.as_str().unwrap().parse::<U256>().unwrap());

        let diff = known["expect"]["post_diff"].as_object().unwrap().iter();
        let balances = diff.filter_map(|(address, change)| {
            let balance = change["balance"].as_array()?;
            Some((address.parse().unwrap(), number(&balance[1]) - number(&balance[0])))
        });
        let balances: BTreeMap<Address, I256> = balances.collect();
        assert_eq!(changes(&moved, None), balances, "{}", case.id);
        accounts += balances.len();

        for asked in known["invariants"].as_array().unwrap() {
            let Some(holder) = asked["data"].as_str().and_then(|data| data.strip_prefix("0x70a08231")) else {
                continue;
            };
            let token: Address = asked["to"].as_str().unwrap().parse().unwrap();
            let holder: Address = holder[24..].parse().unwrap();
            let change = number(&asked["post"]) - number(&asked["pre"]);
            let told = TokenDelta {
                token: Some(token),
                holder,
                change,
            };
            if case.id == "exploit-ronin-2022-03" {
                // Wrapped ether that is unwrapped logs no transfer: the ether that leaves its contract tells of it.
                assert_eq!(changes(&moved, Some(token)).get(&holder), None);
                assert_eq!(changes(&moved, None)[&token], change);
            } else {
                assert!(
                    moved.deltas.contains(&told),
                    "{}: {told:?} is not in {moved:#?}",
                    case.id
                );
            }
            victims += 1;
        }
    }
    eprintln!("{victims} balances of tokens and {accounts} of ether changed as recorded");
    assert!(victims >= 8 && accounts >= 16);
}
