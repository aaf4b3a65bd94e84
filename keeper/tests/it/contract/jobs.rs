//! PA-10, and a job's life: registration, credits and their fee, changes, transfer.

use alloy::primitives::aliases::U24;
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use contracts::{Agent, AgentLens, TestJob};
use keeper::rule::{Rates, fee};

use super::world::{
    ACTIVE, CALL_RESOLVER, CHECK_SELECTOR, DEFENCE, OWNER_CREDITS, START, WHOLE, World, config, customer, number,
    owner, refused, tenths, u96, who, whole, worker,
};

#[test]
fn pa_10_compensation_equals_the_vectors() {
    let mut world = World::new();
    let mut vector = config();
    vector.compensationMultiplierBps = 11_000;
    world.act(owner(), &Agent::setConfigCall { config_: vector }).unwrap();
    let rates = Rates {
        multiplier_bps: 11_000,
        ..super::world::RATES
    };
    for (stake, expected) in [(40_000, 14_987_000_000_000_000_u128), (60_000, 15_187_000_000_000_000)] {
        let by_rule = rates.compensation(true, 45_000_000_000, 150_000, stake * WHOLE, 0);
        let call = Agent::compensationCall {
            ok: true,
            gasPrice: U256::from(45_000_000_000_u64),
            gasUsed: U256::from(150_000),
            staked: U256::from(stake * WHOLE),
            maxStake: U256::ZERO,
        };
        assert_eq!((by_rule, number(world.ask(&call))), (expected, expected));
    }
    // The job's own cap on the stake, and a failure.
    for (ok, cap) in [(true, 10_000), (false, 0)] {
        let by_rule = rates.compensation(ok, 7, 150_001, 40_000 * WHOLE, cap * WHOLE);
        let call = Agent::compensationCall {
            ok,
            gasPrice: U256::from(7),
            gasUsed: U256::from(150_001),
            staked: U256::from(40_000 * WHOLE),
            maxStake: U256::from(cap * WHOLE),
        };
        assert_eq!(number(world.ask(&call)), by_rule);
    }
}

/// What an execution pays is what the rule says for the gas that it measured; the measure is near what the chain counts.
#[test]
fn an_execution_pays_what_the_rule_says() {
    let mut world = World::new();
    let id = world.keeper(whole(40_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    world.chain.set_base_fee(45_000_000_000);
    for _ in 0..3 {
        world.chain.pass(10);
        let before = (world.chain.balance(worker(id)), world.credits(key));
        let receipt = world.execute(key, id).unwrap();
        let event = receipt.event::<Agent::Execute>().unwrap();
        let by_rule = super::world::RATES.compensation(true, 45_000_000_000, number(event.gasUsed), 40_000 * WHOLE, 0);
        assert_eq!(number(event.compensation), by_rule);
        assert_eq!(world.chain.balance(worker(id)) - before.0, U256::from(by_rule));
        assert_eq!(before.1 - world.credits(key), by_rule);
        let counted = number(event.gasUsed) + 136_000;
        assert!(
            counted > u128::from(receipt.gas),
            "{counted} < {}: the keeper would lose",
            receipt.gas
        );
    }
    assert_eq!(world.executions(), 3);
    let input = world.chain.view(world.job, &TestJob::lastInputCall {}).unwrap();
    assert_eq!(input.as_ref(), [&[0xfe, 0xed, 0xbe, 0xef][..], key.as_slice()].concat());
}

#[test]
fn a_deposit_leaves_its_fee() {
    let mut world = World::new();
    let mut dear = config();
    dear.feePpm = U24::from(40_000);
    world.act(owner(), &Agent::setConfigCall { config_: dear }).unwrap();
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(10)).unwrap();
    assert_eq!(fee(10 * WHOLE, 40_000), 4 * WHOLE / 10);
    assert_eq!(world.credits(key), 96 * WHOLE / 10);
    assert_eq!(world.ask(&Agent::feesCall {}), tenths(4));
    let deposit = Agent::depositOwnerCreditsCall {
        jobOwner: who(5),
        jobKeys: vec![],
    };
    world.pay(customer(), U256::from(99), &deposit).unwrap();
    assert_eq!(
        world.ask(&Agent::ownerCreditsCall { jobOwner: who(5) }),
        U256::from(99 - fee(99, 40_000))
    );
    refused::<Agent::MissingAmount>(world.pay(customer(), U256::ZERO, &deposit));
    let to = who(44);
    world.act(owner(), &Agent::withdrawFeesCall { to }).unwrap();
    assert_eq!(world.chain.balance(to), tenths(4) + U256::from(3));
}

#[test]
fn credits_are_withdrawn_by_their_owner_and_release_the_keeper() {
    let mut world = World::new();
    world.keeper(whole(3_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    assert_eq!(world.assigned(key), 1);
    let withdraw = |amount: U256| Agent::withdrawJobCreditsCall {
        jobKey: key,
        to: who(5),
        amount,
    };
    refused::<Agent::OnlyJobOwner>(world.act(who(5), &withdraw(whole(1))));
    refused::<Agent::MissingAmount>(world.act(customer(), &withdraw(U256::ZERO)));
    refused::<Agent::CreditsWithdrawalUnderflow>(world.act(customer(), &withdraw(whole(2))));
    world.act(customer(), &withdraw(tenths(9))).unwrap();
    assert_eq!(world.assigned(key), 1, "a tenth is enough");
    world.act(customer(), &withdraw(U256::MAX)).unwrap();
    assert_eq!((world.assigned(key), world.chain.balance(who(5))), (0, whole(1)));
    refused::<Agent::MissingAmount>(world.act(customer(), &withdraw(U256::MAX)));

    // A deposit assigns again, and the interval begins anew.
    world.chain.pass(1_000);
    let deposit = Agent::depositJobCreditsCall { jobKey: key };
    world.pay(who(5), whole(1), &deposit).unwrap();
    assert_eq!(world.assigned(key), 1);
    let due: u64 = world.ask(&Agent::dueAtCall { jobKey: key }).to();
    assert_eq!(due, START + 1_000 + 10);

    let owned = Agent::depositOwnerCreditsCall {
        jobOwner: customer(),
        jobKeys: vec![],
    };
    world.pay(customer(), whole(2), &owned).unwrap();
    let withdraw = |amount: U256| Agent::withdrawOwnerCreditsCall { to: who(6), amount };
    refused::<Agent::MissingAmount>(world.act(who(5), &withdraw(U256::MAX)));
    refused::<Agent::CreditsWithdrawalUnderflow>(world.act(customer(), &withdraw(whole(3))));
    world.act(customer(), &withdraw(U256::MAX)).unwrap();
    assert_eq!(world.chain.balance(who(6)), whole(2));
}

#[test]
fn terms_that_make_no_sense_are_refused() {
    let mut world = World::new();
    let interval = world.by_interval(10);
    let resolver = world.by_resolver(0);
    let with = |base: &Agent::JobTerms, change: &dyn Fn(&mut Agent::JobTerms)| {
        let mut terms = base.clone();
        change(&mut terms);
        terms
    };
    let agent = world.agent;
    let token = world.token;
    refused::<Agent::InvalidInterval>(register(&mut world, &with(&interval, &|t| t.interval = U24::ZERO)));
    refused::<Agent::InvalidInterval>(register(&mut world, &with(&resolver, &|t| t.interval = U24::from(1))));
    refused::<Agent::MissingMaxBaseFee>(register(&mut world, &with(&interval, &|t| t.maxBaseFeeGwei = 0)));
    refused::<Agent::InvalidGasLimit>(register(&mut world, &with(&interval, &|t| t.gasLimit = 0)));
    refused::<Agent::InvalidGasLimit>(register(&mut world, &with(&interval, &|t| t.gasLimit = 15_000_001)));
    refused::<Agent::InvalidFlags>(register(&mut world, &with(&interval, &|t| t.flags = 8)));
    refused::<Agent::InvalidFlags>(register(&mut world, &with(&interval, &|t| t.flags = ACTIVE | DEFENCE)));
    refused::<Agent::InvalidJobAddress>(register(&mut world, &with(&interval, &|t| t.target = agent)));
    refused::<Agent::InvalidJobAddress>(register(&mut world, &with(&interval, &|t| t.target = token)));
    refused::<Agent::ZeroAddress>(register(&mut world, &with(&interval, &|t| t.target = Address::ZERO)));
    let without = Agent::registerJobCall {
        terms: resolver,
        resolver: Address::ZERO,
        data: Bytes::new(),
    };
    refused::<Agent::MissingResolver>(world.act(customer(), &without));
    // A source that does not exist does not decode.
    let odd = with(&interval, &|t| t.source = 3);
    let error = world.register_job(&odd, U256::ZERO).unwrap_err();
    assert!(error.halt.is_none());
    // Plain ether belongs to nobody, so it is not taken.
    assert!(world.chain.send(customer(), agent, whole(1), Bytes::new()).is_err());
    refused::<Agent::UnknownJob>(world.pay(
        customer(),
        whole(1),
        &Agent::depositJobCreditsCall { jobKey: B256::ZERO },
    ));
    refused::<Agent::UnknownJob>(world.execute(B256::ZERO, 1));
}

fn register(world: &mut World, terms: &Agent::JobTerms) -> Result<testkit::Receipt, testkit::Refused> {
    let call = Agent::registerJobCall {
        terms: terms.clone(),
        resolver: world.job,
        data: Bytes::new(),
    };
    world.act(customer(), &call)
}

#[test]
fn keys_are_of_the_target_and_a_number() {
    let mut world = World::new();
    let terms = world.by_interval(10);
    for id in 1..4_u8 {
        let key = world.register_job(&terms, U256::ZERO).unwrap();
        assert_eq!(key, keccak256([world.job.as_slice(), &[0, 0, id]].concat()));
    }
    let last = Agent::lastJobIdCall { target: world.job };
    assert_eq!(world.ask(&last), U256::from(3));
}

#[test]
fn a_job_is_changed_by_its_owner_only() {
    let mut world = World::new();
    world.keeper(whole(3_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    let update = |change: &dyn Fn(&mut Agent::JobTerms)| {
        let mut terms = terms.clone();
        change(&mut terms);
        Agent::updateJobCall { jobKey: key, terms }
    };
    refused::<Agent::OnlyJobOwner>(world.act(who(5), &update(&|_| {})));
    refused::<Agent::TargetAndSourceStay>(world.act(customer(), &update(&|t| t.target = who(5))));
    refused::<Agent::TargetAndSourceStay>(world.act(customer(), &update(&|t| t.source = 1)));
    // W-PA-3: the minimum stake is no flag that another change could clear.
    world.act(customer(), &update(&|t| t.minStake = u96(whole(7)))).unwrap();
    assert_eq!(number(world.job(key).terms.minStake), 7 * WHOLE);

    world.act(customer(), &update(&|t| t.flags = 0)).unwrap();
    assert_eq!(world.assigned(key), 0);
    let id = 1;
    world.chain.pass(10);
    refused::<Agent::InactiveJob>(world.execute(key, id));
    world.act(customer(), &update(&|_| {})).unwrap();
    assert_eq!(world.assigned(key), 1);

    // Credits of the owner's: there are none yet.
    world
        .act(customer(), &update(&|t| t.flags = ACTIVE | OWNER_CREDITS))
        .unwrap();
    assert_eq!(world.assigned(key), 0);
    let deposit = Agent::depositOwnerCreditsCall {
        jobOwner: customer(),
        jobKeys: vec![key],
    };
    world.chain.fund(who(5), whole(5));
    world.pay(who(5), whole(1), &deposit).unwrap();
    assert_eq!(world.assigned(key), 1);

    refused::<Agent::NotSupportedByJobCalldataSource>(world.act(
        customer(),
        &Agent::setResolverCall {
            jobKey: key,
            resolver: who(5),
            data: Bytes::new(),
        },
    ));
    refused::<Agent::NotSupportedByJobCalldataSource>(world.act(
        customer(),
        &Agent::setPreDefinedCalldataCall {
            jobKey: key,
            data: Bytes::new(),
        },
    ));
    refused::<Agent::JobHasKeeperAssigned>(world.act(customer(), &Agent::assignKeeperCall { jobKeys: vec![key] }));
    refused::<Agent::OnlyJobOwner>(world.act(who(5), &Agent::assignKeeperCall { jobKeys: vec![key] }));
}

#[test]
fn predefined_calldata_is_what_the_owner_stored() {
    let mut world = World::new();
    world.keeper(whole(3_000));
    let mut terms = world.by_interval(10);
    terms.source = 1;
    let call = Agent::registerJobCall {
        terms,
        resolver: Address::ZERO,
        data: vec![1, 2, 3, 4, 5].into(),
    };
    let receipt = world.pay(customer(), whole(1), &call).unwrap();
    let key = receipt.event::<Agent::RegisterJob>().unwrap().jobKey;
    world.chain.pass(10);
    world.execute(key, 1).unwrap();
    let input = |world: &mut World| {
        world
            .chain
            .view(world.job, &TestJob::lastInputCall {})
            .unwrap()
            .to_vec()
    };
    assert_eq!(input(&mut world), [&[1, 2, 3, 4, 5][..], key.as_slice()].concat());
    let change = Agent::setPreDefinedCalldataCall {
        jobKey: key,
        data: vec![9; 4].into(),
    };
    world.act(customer(), &change).unwrap();
    world.chain.pass(10);
    world.execute(key, 1).unwrap();
    assert_eq!(input(&mut world), [&[9; 4][..], key.as_slice()].concat());
}

#[test]
fn a_job_changes_hands_in_two_steps() {
    let mut world = World::new();
    world.keeper(whole(3_000));
    let mut terms = world.by_interval(10);
    terms.flags |= OWNER_CREDITS;
    let deposit = Agent::depositOwnerCreditsCall {
        jobOwner: customer(),
        jobKeys: vec![],
    };
    world.pay(customer(), whole(1), &deposit).unwrap();
    let key = world.register_job(&terms, U256::ZERO).unwrap();
    assert_eq!(world.assigned(key), 1);
    let offer = |to: Address| Agent::initiateJobTransferCall { jobKey: key, to };
    let accept = Agent::acceptJobTransferCall { jobKey: key };
    refused::<Agent::OnlyJobOwner>(world.act(who(5), &offer(who(5))));
    world.act(customer(), &offer(who(4))).unwrap();
    world.act(customer(), &offer(who(5))).unwrap();
    refused::<Agent::OnlyPendingOwner>(world.act(who(4), &accept));
    world.act(who(5), &accept).unwrap();
    assert_eq!(world.job(key).owner, who(5));
    assert_eq!(world.assigned(key), 0, "the new owner has no credits");
    refused::<Agent::OnlyJobOwner>(world.act(customer(), &offer(customer())));
}

#[test]
fn a_resolver_jobs_calldata_is_checked_as_its_flags_say() {
    let mut world = World::new();
    world.keeper(whole(3_000));
    let odd = Bytes::from(vec![1, 2, 3, 4]);
    let execute = |key: B256, data: &Bytes| Agent::executeCall {
        jobKey: key,
        keeperId: U256::from(1),
        options: U256::ZERO,
        jobCalldata: data.clone(),
    };
    let free = {
        let terms = world.by_resolver(0);
        world.register_job(&terms, whole(1)).unwrap()
    };
    refused::<Agent::MissingInputCalldata>(world.act(worker(1), &execute(free, &Bytes::new())));
    world.act(worker(1), &execute(free, &odd)).unwrap();
    let by_selector = {
        let terms = world.by_resolver(CHECK_SELECTOR);
        world.register_job(&terms, whole(1)).unwrap()
    };
    refused::<Agent::SelectorCheckFailed>(world.act(worker(1), &execute(by_selector, &odd)));
    world.execute(by_selector, 1).unwrap();
    let by_resolver = {
        let terms = world.by_resolver(CALL_RESOLVER);
        world.register_job(&terms, whole(1)).unwrap()
    };
    refused::<Agent::JobCheckResolverReturnedFalse>(world.execute(by_resolver, 1));
    world.set_answer(1, 0);
    refused::<Agent::JobCheckCalldataError>(world.act(worker(1), &execute(by_resolver, &odd)));
    world.execute(by_resolver, 1).unwrap();
    refused::<Agent::KeeperWorkerNotAuthorized>(world.act(who(5), &execute(by_resolver, &odd)));
    let change = Agent::setResolverCall {
        jobKey: by_resolver,
        resolver: who(9),
        data: Bytes::new(),
    };
    world.act(customer(), &change).unwrap();
    refused::<Agent::JobCheckResolverReturnedFalse>(world.execute(by_resolver, 1));
    let to_nobody = Agent::setResolverCall {
        resolver: Address::ZERO,
        ..change
    };
    refused::<Agent::MissingResolver>(world.act(customer(), &to_nobody));
}

#[test]
fn the_lens_tells_all_of_many_in_one_call() {
    let mut world = World::new();
    for _ in 0..3 {
        world.keeper(whole(3_000));
    }
    let terms = world.by_interval(10);
    let mut keys: Vec<B256> = (0..4).map(|_| world.register_job(&terms, whole(1)).unwrap()).collect();
    keys.push(B256::ZERO);
    let views = world
        .chain
        .view(world.lens, &AgentLens::jobsCall { keys: keys.clone() })
        .unwrap();
    for (key, view) in keys.iter().zip(&views) {
        let job = world.job(*key);
        assert_eq!(
            (view.key, view.job.keeper, view.job.owner),
            (*key, job.keeper, job.owner)
        );
        assert_eq!(view.slasher, U256::from(world.slasher(*key)));
        assert_eq!(view.dueAt, world.ask(&Agent::dueAtCall { jobKey: *key }));
        assert_eq!(view.eligible, *key != B256::ZERO);
        assert_eq!(number(view.credits), if view.eligible { WHOLE } else { 0 });
    }
    let page = |from: u64, count: u64| AgentLens::keepersCall {
        from: U256::from(from),
        count: U256::from(count),
    };
    let all = world.chain.view(world.lens, &page(1, 100)).unwrap();
    assert_eq!(
        all.iter().map(|view| view.id.to::<u32>()).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(all[1].keeper.admin, super::world::admin(2));
    assert_eq!(world.chain.view(world.lens, &page(3, 1)).unwrap().len(), 1);
    assert!(world.chain.view(world.lens, &page(4, 1)).unwrap().is_empty());
}
