//! Hostile jobs and resolvers, PA-18 among them: what they cannot do, and what they cost.

use alloy::primitives::{B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolError};
use contracts::{Agent, TestJob};

use super::world::{CALL_RESOLVER, DEFENCE, GWEI, World, customer, number, owner, refused, tenths, whole, worker};

/// A job whose body calls `to` with `data` and `value`; answers how that call ended.
fn reentering(world: &mut World, key: B256, data: Bytes, value: U256) -> (bool, [u8; 4]) {
    let (job, agent) = (world.job, world.agent);
    let call = TestJob::setReentryCall {
        target: agent,
        data,
        value,
    };
    world.chain.call_with_value(owner(), job, value, &call).unwrap();
    world.chain.pass(10);
    let keeper = world.assigned(key);
    world.execute(key, keeper).unwrap();
    let ok = world.chain.view(job, &TestJob::reenterOkCall {}).unwrap();
    let error = world.chain.view(job, &TestJob::reenterErrorCall {}).unwrap();
    (ok, error.0)
}

#[test]
fn pa_18_a_body_may_deposit_and_nothing_else() {
    let mut world = World::new();
    let id = world.keeper(whole(5_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    let locked = Agent::ExecutionReentrancyLocked::SELECTOR;
    let keeper_id = U256::from(id);
    let amount = U256::from(1);
    let to = customer();
    let forbidden: Vec<(&str, Vec<u8>)> = vec![
        (
            "withdrawJobCredits",
            Agent::withdrawJobCreditsCall {
                jobKey: key,
                to,
                amount,
            }
            .abi_encode(),
        ),
        (
            "withdrawOwnerCredits",
            Agent::withdrawOwnerCreditsCall { to, amount }.abi_encode(),
        ),
        (
            "updateJob",
            Agent::updateJobCall {
                jobKey: key,
                terms: terms.clone(),
            }
            .abi_encode(),
        ),
        (
            "setResolver",
            Agent::setResolverCall {
                jobKey: key,
                resolver: to,
                data: Bytes::new(),
            }
            .abi_encode(),
        ),
        (
            "setPreDefinedCalldata",
            Agent::setPreDefinedCalldataCall {
                jobKey: key,
                data: Bytes::new(),
            }
            .abi_encode(),
        ),
        (
            "initiateJobTransfer",
            Agent::initiateJobTransferCall { jobKey: key, to }.abi_encode(),
        ),
        (
            "acceptJobTransfer",
            Agent::acceptJobTransferCall { jobKey: key }.abi_encode(),
        ),
        (
            "assignKeeper",
            Agent::assignKeeperCall { jobKeys: vec![key] }.abi_encode(),
        ),
        ("releaseJob", Agent::releaseJobCall { jobKey: key }.abi_encode()),
        ("openDefence", Agent::openDefenceCall { jobKey: key }.abi_encode()),
        ("acceptOwnership", Agent::acceptOwnershipCall {}.abi_encode()),
        (
            "stake",
            Agent::stakeCall {
                keeperId: keeper_id,
                amount,
            }
            .abi_encode(),
        ),
        (
            "registerAsKeeper",
            Agent::registerAsKeeperCall { worker: to, amount }.abi_encode(),
        ),
        (
            "disableKeeper",
            Agent::disableKeeperCall { keeperId: keeper_id }.abi_encode(),
        ),
        (
            "finalizeKeeperActivation",
            Agent::finalizeKeeperActivationCall { keeperId: keeper_id }.abi_encode(),
        ),
        (
            "initiateKeeperActivation",
            Agent::initiateKeeperActivationCall { keeperId: keeper_id }.abi_encode(),
        ),
        (
            "initiateRedeem",
            Agent::initiateRedeemCall {
                keeperId: keeper_id,
                amount,
            }
            .abi_encode(),
        ),
        (
            "finalizeRedeem",
            Agent::finalizeRedeemCall {
                keeperId: keeper_id,
                to,
            }
            .abi_encode(),
        ),
        (
            "withdrawCompensation",
            Agent::withdrawCompensationCall {
                keeperId: keeper_id,
                to,
                amount,
            }
            .abi_encode(),
        ),
        (
            "setWorkerAddress",
            Agent::setWorkerAddressCall {
                keeperId: keeper_id,
                worker: to,
            }
            .abi_encode(),
        ),
        (
            "execute",
            Agent::executeCall {
                jobKey: key,
                keeperId: keeper_id,
                options: U256::ZERO,
                jobCalldata: Bytes::new(),
            }
            .abi_encode(),
        ),
        (
            "initiateKeeperSlashing",
            Agent::initiateKeeperSlashingCall {
                jobKey: key,
                keeperId: keeper_id,
                useResolver: true,
                jobCalldata: Bytes::new(),
            }
            .abi_encode(),
        ),
        (
            "registerJob",
            Agent::registerJobCall {
                terms: terms.clone(),
                resolver: to,
                data: Bytes::new(),
            }
            .abi_encode(),
        ),
    ];
    for (name, data) in forbidden {
        let (ok, error) = reentering(&mut world, key, data.into(), U256::ZERO);
        assert_eq!((ok, error), (false, locked), "{name}");
    }

    let before = world.credits(key);
    let spent = world.chain.balance(worker(id));
    let deposit = Agent::depositJobCreditsCall { jobKey: key }.abi_encode();
    let (ok, _) = reentering(&mut world, key, deposit.into(), tenths(3));
    assert!(ok);
    let spent = number(world.chain.balance(worker(id)) - spent);
    assert_eq!(world.credits(key), before + number(tenths(3)) - spent);
    let deposit = Agent::depositOwnerCreditsCall {
        jobOwner: customer(),
        jobKeys: vec![key],
    };
    assert!(reentering(&mut world, key, deposit.abi_encode().into(), tenths(2)).0);
    let credits = world.ask(&Agent::ownerCreditsCall { jobOwner: customer() });
    assert_eq!(credits, tenths(2));
}

/// The body has the gas that its owner granted, and burns no more of the keeper's; what it burns is paid.
#[test]
fn a_body_that_burns_all_gas_burns_what_it_was_granted() {
    let mut world = World::new();
    let id = world.keeper(whole(5_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    world.chain.set_base_fee(GWEI);
    world.set_body(2);
    world.chain.pass(10);
    let receipt = world.execute(key, id).unwrap();
    let event = receipt.event::<Agent::Execute>().unwrap();
    assert!(!event.ok);
    let used = event.gasUsed.to::<u64>();
    assert!((300_000..400_000).contains(&used), "{used}");
    assert!(receipt.gas < 600_000, "{}", receipt.gas);
    let paid = super::world::RATES.compensation(false, GWEI.into(), used.into(), 0, 0);
    assert_eq!(number(world.chain.balance(worker(id))), paid);
}

/// A keeper cannot make a job fail by bringing too little gas, and be paid for it.
#[test]
fn too_little_gas_is_refused_before_the_body_runs() {
    let mut world = World::new();
    let id = world.keeper(whole(5_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    world.chain.pass(10);
    let input: Bytes = Agent::executeCall {
        jobKey: key,
        keeperId: U256::from(id),
        options: U256::ZERO,
        jobCalldata: Bytes::new(),
    }
    .abi_encode()
    .into();
    let agent = world.agent;
    let mut least = None;
    for gas in (100_000..1_200_000).step_by(20_000) {
        let before = world.job(key);
        match world
            .chain
            .send_with_gas(worker(id), agent, U256::ZERO, input.clone(), gas)
        {
            Ok(receipt) => {
                assert!(
                    receipt.event::<Agent::Execute>().unwrap().ok,
                    "with {gas} gas the body failed"
                );
                least = Some(gas);
                break;
            }
            Err(_) => assert_eq!(world.job(key), before),
        }
    }
    let least = least.unwrap();
    assert!((800_000..1_000_000).contains(&least), "{least}");
}

#[test]
fn a_body_that_answers_much_costs_nothing_more() {
    let mut world = World::new();
    let id = world.keeper(whole(5_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    world.set_body(4);
    world.chain.pass(10);
    let receipt = world.execute(key, id).unwrap();
    assert!(!receipt.event::<Agent::Execute>().unwrap().ok);
    assert!(receipt.gas < 700_000, "{}", receipt.gas);
}

/// Garbage, a loop, a megabyte, a failure, an offset beyond the end: all of it is "not due", at a bounded cost.
#[test]
fn what_a_hostile_resolver_answers_is_not_due() {
    let mut world = World::new();
    for _ in 0..2 {
        world.keeper(whole(5_000));
    }
    for flags in [CALL_RESOLVER, DEFENCE] {
        let terms = world.by_resolver(flags);
        let key = world.register_job(&terms, whole(1)).unwrap();
        let keeper = world.assigned(key);
        for answer in [0, 3, 4, 5, 6, 7] {
            world.set_answer(answer, 0);
            let input = Agent::executeCall {
                jobKey: key,
                keeperId: U256::from(keeper),
                options: U256::ZERO,
                jobCalldata: TestJob::workCall {}.abi_encode().into(),
            };
            let agent = world.agent;
            // Ten million gas are enough for whatever it does.
            let result =
                world
                    .chain
                    .send_with_gas(worker(keeper), agent, U256::ZERO, input.abi_encode().into(), 10_000_000);
            let error = result.unwrap_err();
            assert!(
                error.is::<Agent::JobCheckResolverReturnedFalse>(),
                "answer {answer}: {error:?}"
            );
            let slasher = 3 - keeper;
            if flags == CALL_RESOLVER {
                world.until_slasher(key, slasher);
                refused::<Agent::JobCheckResolverReturnedFalse>(world.initiate(key, slasher, true));
            } else {
                let open = Agent::openDefenceCall { jobKey: key };
                refused::<Agent::JobCheckResolverReturnedFalse>(world.act(worker(slasher), &open));
            }
        }
        world.set_answer(2, 1);
        world.execute(key, keeper).unwrap();
    }
}

#[test]
fn nobody_but_the_agent_tries_jobs() {
    let mut world = World::new();
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    let call = Agent::simulateCall {
        jobKey: key,
        data: Bytes::new(),
    };
    refused::<Agent::OnlySelf>(world.act(customer(), &call));
}

/// A worker that is a contract could bundle many executions and be paid for many transactions.
#[test]
fn a_contract_is_no_worker() {
    let mut world = World::new();
    let id = world.keeper(whole(5_000));
    let job = world.job;
    let change = Agent::setWorkerAddressCall {
        keeperId: U256::from(id),
        worker: job,
    };
    world.act(super::world::admin(id), &change).unwrap();
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    world.chain.pass(10);
    let execute = Agent::executeCall {
        jobKey: key,
        keeperId: U256::from(id),
        options: U256::ZERO,
        jobCalldata: Bytes::new(),
    };
    let agent = world.agent;
    let reentry = TestJob::setReentryCall {
        target: agent,
        data: execute.abi_encode().into(),
        value: U256::ZERO,
    };
    world.chain.call(owner(), job, &reentry).unwrap();
    world
        .chain
        .send(owner(), job, U256::ZERO, vec![1, 2, 3, 4].into())
        .unwrap();
    let error = world.chain.view(job, &TestJob::reenterErrorCall {}).unwrap();
    assert_eq!(error.0, Agent::NonEOASender::SELECTOR);
}
