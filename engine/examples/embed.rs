//! The engine embedded in a program of one's own: a transaction, the state that it reads and an invariant go in, a verdict with its
//! witness comes out. No network, no clock, no async.
//!
//! `cargo run -p engine --example embed`

use alloy::primitives::{address, bytes, keccak256};
use engine::{
    Account, BlockEnv, Comparison, Engine, Hardfork, Invariant, Prestate, Transaction, U256, ValueType, Verdict,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A contract that sets its slot 0 to 7, and an invariant that says that slot 0 stays zero.
    let contract = address!("0x00000000000000000000000000000000000c0de5");
    let code = bytes!("600760005500");
    let stays_zero = Invariant::new(
        1,
        "stays zero",
        contract,
        U256::ZERO,
        ValueType::Uint(256),
        0,
        Comparison::Eq,
        U256::ZERO,
    )?;

    // A transaction that somebody upstream has vouched for.
    let sender = address!("0x0000000000000000000000000000000000005e4d");
    let raw = bytes!("e480843b9aca00830186a09400000000000000000000000000000000000c0de580801b0101");
    let tx = Transaction::with_sender(&raw, sender)?;

    // The state that it reads, and no more: what is not listed here is missing, not zero.
    let ether = U256::from(10).pow(U256::from(18));
    let mut state = Prestate::default();
    let wealth = Account {
        balance: ether,
        ..Account::default()
    };
    state.accounts.insert(sender, wealth.into());
    state.insert_contract(contract, Account::default(), code, []);

    // The next block.
    let env = BlockEnv {
        number: 20_000_000,
        timestamp: 1_720_000_000,
        beneficiary: sender,
        gas_limit: 30_000_000,
        base_fee: 1_000_000_000,
        difficulty: U256::ZERO,
        prevrandao: Some(keccak256("randao")),
        excess_blob_gas: Some(0),
        hardfork: None,
    };
    println!("rules: {}", env.rules(1).unwrap_or(Hardfork::Cancun));

    let mut engine = Engine::new(1);
    let undecided = engine.judge(&env, &tx, &state, std::slice::from_ref(&stays_zero))?;
    for judgement in &undecided.judgements {
        if let Verdict::Undecided(reason) = &judgement.verdict {
            println!("undecided: {reason}");
        }
    }

    state
        .accounts
        .entry(contract)
        .or_default()
        .storage
        .insert(U256::ZERO, U256::ZERO);
    let outcome = engine.judge(&env, &tx, &state, &[stays_zero])?;
    let witness = outcome.violations().next().ok_or("slot 0 did not change")?;
    println!(
        "violated: slot {:#x} of {} went from {} to {} (gas {})",
        witness.slot,
        witness.contract,
        witness.pre,
        witness.post,
        outcome.execution.as_ref().map_or(0, |execution| execution.gas_used)
    );
    Ok(())
}
