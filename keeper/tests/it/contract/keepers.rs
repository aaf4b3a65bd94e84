//! PA-14 to PA-17, and a keeper's life: register, activate, change the worker, redeem, withdraw.

use alloy::primitives::{Address, U256};
use contracts::{Agent, AgentKeepers, Contract, FeeToken};
use keeper::rule::{Keeper, KeeperRefusal};

use super::world::{
    LIMITS, START, WHOLE, World, admin, config, customer, deploy, number, owner, refused, u96, who, whole, worker,
};

const DAY: u64 = 86_400;

fn redeem(world: &mut World, id: u32, amount: U256) -> Result<testkit::Receipt, testkit::Refused> {
    let call = Agent::initiateRedeemCall {
        keeperId: U256::from(id),
        amount,
    };
    world.act(admin(id), &call)
}

fn finalize(world: &mut World, id: u32) -> Result<testkit::Receipt, testkit::Refused> {
    let call = Agent::finalizeRedeemCall {
        keeperId: U256::from(id),
        to: who(77),
    };
    world.act(admin(id), &call)
}

fn initiate_activation(world: &mut World, id: u32) -> Result<testkit::Receipt, testkit::Refused> {
    let call = Agent::initiateKeeperActivationCall {
        keeperId: U256::from(id),
    };
    world.act(admin(id), &call)
}

#[test]
fn pa_14_a_keeper_with_jobs_does_not_redeem() {
    let mut world = World::new();
    let id = world.keeper(whole(3_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    let mut rule = Keeper::register(3_000 * WHOLE, LIMITS, START).unwrap();
    rule.finalize_activation(LIMITS, START).unwrap();
    rule.assigned_jobs = 1;

    let error = refused::<Agent::KeeperIsAssignedToJobs>(redeem(&mut world, id, whole(3_000)));
    assert_eq!(error.jobs, U256::from(1));
    let by_rule = rule.initiate_redeem(3_000 * WHOLE, LIMITS, START);
    assert_eq!(by_rule, Err(KeeperRefusal::KeeperIsAssignedToJobs { jobs: 1 }));

    world.release(key, customer()).unwrap();
    rule.assigned_jobs = 0;
    refused::<Agent::KeeperShouldBeDisabledForStakeLTMinKeeperStake>(redeem(&mut world, id, whole(3_000)));
    assert!(matches!(
        rule.initiate_redeem(3_000 * WHOLE, LIMITS, START),
        Err(KeeperRefusal::ShouldBeDisabled { .. })
    ));
    world.disable(id).unwrap();
    rule.disable().unwrap();
    redeem(&mut world, id, whole(3_000)).unwrap();
    assert_eq!(rule.initiate_redeem(3_000 * WHOLE, LIMITS, START), Ok(3_000 * WHOLE));
    world.chain.pass(3 * DAY);
    finalize(&mut world, id).unwrap();
    assert_eq!(world.tokens(who(77)), whole(3_000));
}

#[test]
fn pa_15_a_second_redemption_adds_and_starts_the_time_anew() {
    let mut world = World::new();
    let id = world.register(whole(5_000)).unwrap();
    let mut rule = Keeper::register(5_000 * WHOLE, LIMITS, START).unwrap();
    redeem(&mut world, id, whole(1_000)).unwrap();
    rule.initiate_redeem(1_000 * WHOLE, LIMITS, START).unwrap();
    world.chain.warp(START + DAY);
    redeem(&mut world, id, whole(500)).unwrap();
    assert_eq!(
        rule.initiate_redeem(500 * WHOLE, LIMITS, START + DAY),
        Ok(1_500 * WHOLE)
    );

    world.chain.warp(START + 4 * DAY - 1);
    let error = refused::<Agent::WithdrawalTimeoutNotReached>(finalize(&mut world, id));
    let at = START + 4 * DAY;
    assert_eq!(error.availableAt, U256::from(at));
    assert_eq!(
        rule.finalize_redeem(at - 1),
        Err(KeeperRefusal::WithdrawalTimeoutNotReached { at })
    );
    world.chain.warp(at);
    finalize(&mut world, id).unwrap();
    assert_eq!(rule.finalize_redeem(at), Ok(1_500 * WHOLE));
    assert_eq!(world.tokens(who(77)), whole(1_500));
    refused::<Agent::NoPendingWithdrawal>(finalize(&mut world, id));
    assert_eq!(rule.finalize_redeem(at), Err(KeeperRefusal::NoPendingWithdrawal));
}

#[test]
fn pa_16_the_first_activation_is_at_once_and_a_later_one_after_eight_hours() {
    let mut world = World::new();
    let id = world.register(whole(3_000)).unwrap();
    let mut rule = Keeper::register(3_000 * WHOLE, LIMITS, START).unwrap();
    world.finalize_activation(id).unwrap();
    rule.finalize_activation(LIMITS, START).unwrap();
    refused::<Agent::ActivationNotInitiated>(world.finalize_activation(id));
    assert_eq!(
        rule.finalize_activation(LIMITS, START),
        Err(KeeperRefusal::ActivationNotInitiated)
    );
    refused::<Agent::KeeperIsAlreadyActive>(initiate_activation(&mut world, id));

    world.disable(id).unwrap();
    rule.disable().unwrap();
    refused::<Agent::KeeperIsAlreadyInactive>(world.disable(id));
    assert_eq!(rule.disable(), Err(KeeperRefusal::KeeperIsAlreadyInactive));
    initiate_activation(&mut world, id).unwrap();
    let at = START + 8 * 3_600;
    assert_eq!(rule.initiate_activation(LIMITS, START), Ok(at));
    world.chain.warp(at - 1);
    let early = refused::<Agent::TooEarlyForActivationFinalization>(world.finalize_activation(id));
    assert_eq!(early.availableAt, U256::from(at));
    assert_eq!(
        rule.finalize_activation(LIMITS, at - 1),
        Err(KeeperRefusal::TooEarlyForActivationFinalization { at })
    );
    world.chain.warp(at);
    world.finalize_activation(id).unwrap();
    rule.finalize_activation(LIMITS, at).unwrap();
    assert_eq!(world.info(id).position, 1);
    assert!(rule.active);
}

#[test]
fn pa_17_a_redemption_covers_what_the_owner_slashed() {
    for (asked, outcome) in [(499, None), (500, Some((0, 2_500))), (600, Some((100, 2_400)))] {
        let mut world = World::new();
        let id = world.register(whole(3_000)).unwrap();
        let mut rule = Keeper::register(3_000 * WHOLE, LIMITS, START).unwrap();
        let slash = Agent::ownerSlashCall {
            keeperId: U256::from(id),
            to: who(88),
            current: whole(500),
            pending: U256::ZERO,
            disable: false,
        };
        refused::<Agent::OnlyOwner>(world.act(customer(), &slash));
        world.act(owner(), &slash).unwrap();
        rule.owner_slash(500 * WHOLE, 0).unwrap();
        assert_eq!(world.tokens(who(88)), whole(500));

        let on_chain = redeem(&mut world, id, whole(asked));
        let by_rule = rule.initiate_redeem(u128::from(asked) * WHOLE, LIMITS, START);
        match outcome {
            None => {
                let error = refused::<Agent::InsufficientAmountToCoverSlashedStake>(on_chain);
                assert_eq!(error.slashed, whole(500));
                assert!(matches!(
                    by_rule,
                    Err(KeeperRefusal::InsufficientAmountToCoverSlashedStake { .. })
                ));
            }
            Some((pending, stake)) => {
                on_chain.unwrap();
                let info = world.info(id);
                assert_eq!(
                    (number(info.pendingWithdrawal), number(info.stake)),
                    (pending * WHOLE, stake * WHOLE)
                );
                assert_eq!((by_rule, rule.stake), (Ok(pending * WHOLE), stake * WHOLE));
                assert_eq!(info.slashedStake.to::<u128>(), 0);
            }
        }
    }
}

#[test]
fn the_owner_takes_no_more_than_there_is() {
    let mut world = World::new();
    let id = world.keeper(whole(3_000));
    let slash = |current: u64, pending: u64, disable: bool| Agent::ownerSlashCall {
        keeperId: U256::from(id),
        to: who(88),
        current: whole(current),
        pending: whole(pending),
        disable,
    };
    refused::<Agent::MissingAmount>(world.act(owner(), &slash(0, 0, false)));
    refused::<Agent::AmountGtStake>(world.act(owner(), &slash(3_001, 0, false)));
    refused::<Agent::AmountGtStake>(world.act(owner(), &slash(0, 1, false)));
    world.act(owner(), &slash(3_000, 0, true)).unwrap();
    assert_eq!((world.stake_of(id), world.info(id).position), (0, 0));
    refused::<Agent::KeeperIsAlreadyInactive>(world.disable(id));
}

#[test]
fn a_worker_has_one_keeper_and_may_be_changed() {
    let mut world = World::new();
    let id = world.keeper(whole(3_000));
    world.endow(who(5), whole(9_000));
    let register = |worker: Address, amount: u64| Agent::registerAsKeeperCall {
        worker,
        amount: whole(amount),
    };
    refused::<Agent::WorkerAlreadyAssigned>(world.act(who(5), &register(worker(id), 3_000)));
    refused::<Agent::InsufficientAmount>(world.act(who(5), &register(who(6), 2_999)));
    refused::<Agent::ZeroAddress>(world.act(who(5), &register(Address::ZERO, 3_000)));
    world.act(who(5), &register(who(6), 3_000)).unwrap();

    let change = |worker: Address| Agent::setWorkerAddressCall {
        keeperId: U256::from(id),
        worker,
    };
    refused::<Agent::WorkerAlreadyAssigned>(world.act(admin(id), &change(who(6))));
    refused::<Agent::OnlyKeeperAdmin>(world.act(worker(id), &change(who(7))));
    world.act(admin(id), &change(Address::ZERO)).unwrap();
    let freed = Agent::keeperOfCall { worker: worker(id) };
    assert_eq!(world.ask(&freed), U256::ZERO);
    world.act(admin(id), &change(who(7))).unwrap();
    assert_eq!(world.ask(&Agent::keeperOfCall { worker: who(7) }), U256::from(id));
}

#[test]
fn stake_may_come_from_anybody_and_must_be_something() {
    let mut world = World::new();
    let id = world.keeper(whole(3_000));
    world.endow(who(5), whole(10));
    let stake = |id: u32, amount: u64| Agent::stakeCall {
        keeperId: U256::from(id),
        amount: whole(amount),
    };
    refused::<Agent::MissingAmount>(world.act(who(5), &stake(id, 0)));
    refused::<Agent::InvalidKeeperId>(world.act(who(5), &stake(id + 1, 1)));
    refused::<Agent::InvalidKeeperId>(world.act(who(5), &stake(0, 1)));
    world.act(who(5), &stake(id, 10)).unwrap();
    assert_eq!(world.stake_of(id), 3_010 * WHOLE);
    refused::<Agent::TransferFailed>(world.act(who(5), &stake(id, 1)));
    let all = whole(1_000_000_000_000);
    world.endow(who(5), all - whole(1_000_000));
    let too_much = Agent::stakeCall {
        keeperId: U256::from(id),
        amount: U256::from(1) << 96,
    };
    refused::<Agent::StakeAmountOverflow>(world.act(who(5), &too_much));
}

#[test]
fn compensation_is_withdrawn_by_admin_and_worker() {
    let mut world = World::new();
    let id = world.keeper(whole(3_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    world.chain.set_base_fee(10_000_000_000);
    world.chain.pass(10);
    world.execute_with(key, id, super::world::ACCRUE_REWARD).unwrap();
    let earned = U256::from(world.info(id).compensation);
    assert!(earned > U256::ZERO);
    let withdraw = |amount: U256| Agent::withdrawCompensationCall {
        keeperId: U256::from(id),
        to: who(66),
        amount,
    };
    refused::<Agent::MissingAmount>(world.act(who(5), &withdraw(U256::ZERO)));
    refused::<Agent::OnlyKeeperAdminOrWorker>(world.act(who(5), &withdraw(earned)));
    refused::<Agent::WithdrawAmountExceedsAvailable>(world.act(worker(id), &withdraw(earned + U256::from(1))));
    world.act(worker(id), &withdraw(U256::from(1))).unwrap();
    world.act(admin(id), &withdraw(U256::MAX)).unwrap();
    assert_eq!(world.chain.balance(who(66)), earned);
    refused::<Agent::MissingAmount>(world.act(admin(id), &withdraw(U256::MAX)));
}

/// The traps of the units: everything is compared in base units, and what makes no sense is named.
#[test]
fn parameters_that_make_no_sense_are_refused_by_name() {
    let mut world = World::new();
    let mut refuse = |name: &str, change: &dyn Fn(&mut Agent::Config)| {
        let mut wrong = config();
        change(&mut wrong);
        let error =
            refused::<Agent::InvalidConfig>(world.act(owner(), &Agent::setConfigCall { config_: wrong.clone() }));
        assert_eq!(error.parameter, name);
        let at_birth = deploy(&mut world.chain, world.token, wrong, U256::from(1)).unwrap_err();
        assert!(at_birth.is::<Agent::InvalidConfig>(), "{name}");
    };
    refuse("minKeeperStake", &|c| c.minKeeperStake = u96(U256::ZERO));
    refuse("slashingFeeFixed", &|c| {
        c.slashingFeeFixed = u96(whole(1_500) + U256::from(1))
    });
    refuse("slashingFeeBps", &|c| c.slashingFeeBps = 5_001);
    refuse("withdrawalTimeout", &|c| c.withdrawalTimeout = 30 * 86_400 + 1);
    refuse("activationTimeout", &|c| c.activationTimeout = 30 * 86_400 + 1);
    refuse("feePpm", &|c| c.feePpm = alloy::primitives::aliases::U24::from(50_001));
    refuse("slashingEpochBlocks", &|c| c.slashingEpochBlocks = 2);
    refuse("period1", &|c| c.period1 = alloy::primitives::aliases::U24::from(14));
    refuse("period2", &|c| c.period2 = alloy::primitives::aliases::U24::from(14));
    refuse("stakeDivisor", &|c| c.stakeDivisor = 0);
    refuse("compensationMultiplierBps", &|c| c.compensationMultiplierBps = 9_999);
    refuse("gasOverhead", &|c| c.gasOverhead = 1_000_001);
    refuse("retryBase", &|c| c.retryBase = 0);
    refuse("retryBase", &|c| c.retryBase = 3_601);
    refused::<Agent::OnlyOwner>(world.act(customer(), &Agent::setConfigCall { config_: config() }));
}

#[test]
fn the_owners_place_is_offered_and_taken() {
    let mut world = World::new();
    let offer = Agent::transferOwnershipCall { to: customer() };
    refused::<Agent::OnlyOwner>(world.act(customer(), &offer));
    world.act(owner(), &offer).unwrap();
    refused::<Agent::OnlyPendingOwner>(world.act(who(5), &Agent::acceptOwnershipCall {}));
    world.act(customer(), &Agent::acceptOwnershipCall {}).unwrap();
    assert_eq!(world.ask(&Agent::ownerCall {}), customer());
    refused::<Agent::OnlyOwner>(world.act(owner(), &offer));
}

#[test]
fn a_token_that_keeps_a_part_is_refused() {
    let mut world = World::new();
    let arguments = FeeToken::constructorCall {
        supply: whole(1_000_000),
        holder: owner(),
    };
    let token = world
        .chain
        .create(owner(), Contract::FeeToken.creation(&arguments))
        .unwrap();
    let agent = deploy(&mut world.chain, token, config(), U256::from(1)).unwrap();
    let approve = FeeToken::approveCall {
        spender: agent,
        value: U256::MAX,
    };
    world.chain.call(owner(), token, &approve).unwrap();
    let register = Agent::registerAsKeeperCall {
        worker: who(5),
        amount: whole(3_000),
    };
    refused::<Agent::TokenTookFee>(world.chain.call(owner(), agent, &register));
    assert!(
        deploy(&mut world.chain, who(9), config(), U256::from(1))
            .unwrap_err()
            .is::<Agent::NotAToken>()
    );
    assert!(
        deploy(&mut world.chain, token, config(), U256::ZERO)
            .unwrap_err()
            .is::<Agent::MissingAmount>()
    );
    let fees = Agent::withdrawFeesCall { to: owner() };
    refused::<Agent::MissingAmount>(world.act(owner(), &fees));
}

/// The half that runs by delegatecall does nothing when it is called itself.
#[test]
fn the_other_half_has_no_life_of_its_own() {
    let mut world = World::new();
    let arguments = AgentKeepers::constructorCall {
        stakeToken_: world.token,
        ticketStake_: U256::from(1),
    };
    let half = world
        .chain
        .create(owner(), Contract::AgentKeepers.creation(&arguments))
        .unwrap();
    let register = Agent::registerAsKeeperCall {
        worker: who(5),
        amount: U256::ZERO,
    };
    refused::<Agent::OnlySelf>(world.chain.call(owner(), half, &register));
    let set = Agent::setConfigCall { config_: config() };
    assert!(
        world
            .chain
            .call(Address::ZERO, half, &set)
            .unwrap_err()
            .is::<Agent::OnlySelf>()
    );
}
