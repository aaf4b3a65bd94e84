//! Gas of every function that changes something, as it stands in docs/keepers.md.

use std::path::PathBuf;

use alloy::primitives::U256;
use alloy::sol_types::SolCall;
use contracts::{Agent, Contract, TestJob};
use testkit::{GasTable, Receipt, fits_the_chain};

use super::world::{CALL_RESOLVER, DEFENCE, OWNER_CREDITS, World, admin, config, customer, owner, who, whole, worker};

/// Every function in its ordinary course, with five active keepers.
fn measure() -> GasTable {
    let mut world = World::new();
    let mut meter = GasTable::default();
    let w = &mut world;
    for id in 1..=5 {
        w.endow(admin(id), whole(10_000));
        let register = Agent::registerAsKeeperCall {
            worker: worker(id),
            amount: whole(5_000),
        };
        meter.note("registerAsKeeper", &w.act(admin(id), &register).unwrap());
        meter.note("finalizeKeeperActivation", &w.finalize_activation(id).unwrap());
    }
    let one = U256::from(1);
    meter.note(
        "stake",
        &w.act(
            admin(1),
            &Agent::stakeCall {
                keeperId: one,
                amount: whole(1),
            },
        )
        .unwrap(),
    );

    // Jobs.
    let interval = w.by_interval(10);
    let register = |terms: &Agent::JobTerms, world: &World| Agent::registerJobCall {
        terms: terms.clone(),
        resolver: world.job,
        data: TestJob::checkCall {}.abi_encode().into(),
    };
    let key_of = |receipt: &Receipt| receipt.event::<Agent::RegisterJob>().unwrap().jobKey;
    let receipt = w.pay(customer(), whole(1), &register(&interval, w)).unwrap();
    meter.note("registerJob", &receipt);
    let key = key_of(&receipt);
    let mut predefined = w.by_interval(10);
    predefined.source = 1;
    let stored = key_of(&w.pay(customer(), whole(1), &register(&predefined, w)).unwrap());
    let resolver = w.by_resolver(CALL_RESOLVER);
    let resolved = key_of(&w.pay(customer(), whole(1), &register(&resolver, w)).unwrap());
    let defence = w.by_resolver(DEFENCE);
    let defended = key_of(&w.pay(customer(), whole(1), &register(&defence, w)).unwrap());
    let mut owned = w.by_interval(10);
    owned.flags |= OWNER_CREDITS;
    let owned = key_of(&w.act(customer(), &register(&owned, w)).unwrap());
    meter.note(
        "depositJobCredits",
        &w.pay(customer(), whole(1), &Agent::depositJobCreditsCall { jobKey: key })
            .unwrap(),
    );
    let deposit = Agent::depositOwnerCreditsCall {
        jobOwner: customer(),
        jobKeys: vec![owned],
    };
    meter.note("depositOwnerCredits", &w.pay(customer(), whole(1), &deposit).unwrap());
    let update = Agent::updateJobCall {
        jobKey: key,
        terms: interval,
    };
    meter.note("updateJob", &w.act(customer(), &update).unwrap());
    let job = w.job;
    let set = Agent::setResolverCall {
        jobKey: resolved,
        resolver: job,
        data: TestJob::checkCall {}.abi_encode().into(),
    };
    meter.note("setResolver", &w.act(customer(), &set).unwrap());
    let set = Agent::setPreDefinedCalldataCall {
        jobKey: stored,
        data: vec![7; 36].into(),
    };
    meter.note("setPreDefinedCalldata", &w.act(customer(), &set).unwrap());
    let offer = Agent::initiateJobTransferCall {
        jobKey: stored,
        to: who(7),
    };
    meter.note("initiateJobTransfer", &w.act(customer(), &offer).unwrap());
    meter.note(
        "acceptJobTransfer",
        &w.act(who(7), &Agent::acceptJobTransferCall { jobKey: stored }).unwrap(),
    );
    meter.note("releaseJob", &w.release(key, customer()).unwrap());
    meter.note(
        "assignKeeper",
        &w.act(customer(), &Agent::assignKeeperCall { jobKeys: vec![key] })
            .unwrap(),
    );

    // Executions: a second one of each kind, when storage is in use.
    w.set_answer(2, 1);
    for _ in 0..2 {
        w.chain.pass(10);
        let keeper = w.assigned(key);
        meter.note("execute (interval)", &w.execute_with(key, keeper, 0).unwrap());
        let keeper = w.assigned(resolved);
        meter.note(
            "execute (resolver, asked again)",
            &w.execute_with(resolved, keeper, 0).unwrap(),
        );
        let keeper = w.assigned(defended) % 5 + 1;
        meter.note("execute (defence lane)", &w.execute_with(defended, keeper, 0).unwrap());
    }
    w.chain.pass(25);
    let keeper = w.slasher(key);
    meter.note("execute (interval, slashing)", &w.execute(key, keeper).unwrap());
    let keeper = w.slasher(resolved);
    meter.note("initiateKeeperSlashing", &w.initiate(resolved, keeper, true).unwrap());
    w.chain.pass(15);
    meter.note("execute (resolver, slashing)", &w.execute(resolved, keeper).unwrap());
    w.set_answer(1, 0);
    let open = Agent::openDefenceCall { jobKey: defended };
    meter.note("openDefence", &w.act(worker(1), &open).unwrap());
    w.set_body(1);
    w.chain.pass(10);
    let keeper = w.assigned(key);
    meter.note("execute (interval, failing)", &w.execute(key, keeper).unwrap());
    w.set_body(0);
    w.chain.set_base_fee(1_000_000_000);
    w.chain.pass(60);
    let keeper = w.assigned(key);
    w.execute_with(key, keeper, 2).unwrap();
    let id = U256::from(keeper);
    let withdraw = Agent::withdrawCompensationCall {
        keeperId: id,
        to: who(8),
        amount: U256::MAX,
    };
    meter.note("withdrawCompensation", &w.act(worker(keeper), &withdraw).unwrap());
    let withdraw = Agent::withdrawJobCreditsCall {
        jobKey: key,
        to: who(8),
        amount: U256::MAX,
    };
    meter.note("withdrawJobCredits", &w.act(customer(), &withdraw).unwrap());
    let withdraw = Agent::withdrawOwnerCreditsCall {
        to: who(8),
        amount: U256::MAX,
    };
    meter.note("withdrawOwnerCredits", &w.act(customer(), &withdraw).unwrap());

    // Leaving, and the owner.
    let leaving = w.keeper(whole(3_000));
    let id = U256::from(leaving);
    meter.note("disableKeeper", &w.disable(leaving).unwrap());
    let again = Agent::initiateKeeperActivationCall { keeperId: id };
    meter.note("initiateKeeperActivation", &w.act(admin(leaving), &again).unwrap());
    let redeem = Agent::initiateRedeemCall {
        keeperId: id,
        amount: whole(1_000),
    };
    meter.note("initiateRedeem", &w.act(admin(leaving), &redeem).unwrap());
    w.chain.pass(3 * 86_400);
    let finalize = Agent::finalizeRedeemCall {
        keeperId: id,
        to: who(8),
    };
    meter.note("finalizeRedeem", &w.act(admin(leaving), &finalize).unwrap());
    let change = Agent::setWorkerAddressCall {
        keeperId: id,
        worker: who(9),
    };
    meter.note("setWorkerAddress", &w.act(admin(leaving), &change).unwrap());
    let slash = Agent::ownerSlashCall {
        keeperId: id,
        to: who(8),
        current: whole(1),
        pending: U256::ZERO,
        disable: false,
    };
    meter.note("ownerSlash", &w.act(owner(), &slash).unwrap());
    let mut dearer = config();
    dearer.feePpm = alloy::primitives::aliases::U24::from(10_000);
    meter.note(
        "setConfig",
        &w.act(owner(), &Agent::setConfigCall { config_: dearer }).unwrap(),
    );
    w.pay(customer(), whole(1), &Agent::depositJobCreditsCall { jobKey: key })
        .unwrap();
    meter.note(
        "withdrawFees",
        &w.act(owner(), &Agent::withdrawFeesCall { to: who(8) }).unwrap(),
    );
    meter.note(
        "transferOwnership",
        &w.act(owner(), &Agent::transferOwnershipCall { to: customer() })
            .unwrap(),
    );
    meter.note(
        "acceptOwnership",
        &w.act(customer(), &Agent::acceptOwnershipCall {}).unwrap(),
    );
    meter
}

#[test]
fn gas_of_every_function_is_recorded() {
    let gas = measure();
    // `simulate` is the contract's own.
    gas.covers(Contract::Agent, &["simulate"]);
    gas.stands_in(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/keepers.md"));
}

#[test]
fn the_contracts_fit_the_chain() {
    for contract in [
        Contract::Agent,
        Contract::AgentKeepers,
        Contract::AgentLens,
        Contract::PauseGuard,
    ] {
        fits_the_chain(contract);
    }
}
