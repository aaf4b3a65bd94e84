//! Hostile callers, tokens and parameters.

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall as _;
use audit::rule::Terms;
use contracts::{AuditManager, Contract, FeeToken, QuietToken, Token};

use super::world::{STAKE, World, deploy, founder, operator, owner, terms, verdict, who};

#[test]
fn strangers_change_nothing() {
    let mut world = World::network(terms(), 3);
    let before = world.ask(&AuditManager::nodeInfoCall { id: 1 });
    let stranger = who(7);
    world.chain.warp(world.window(1).end);
    let change = AuditManager::changeCall {
        id: 1,
        operator: stranger,
        hotkey: B256::ZERO,
        endpoint: "http://evil:1".into(),
    };
    for from in [stranger, operator(1), owner(2)] {
        assert!(
            world
                .act(from, &change)
                .unwrap_err()
                .is::<AuditManager::OnlyNodeOwner>()
        );
        let withdraw = AuditManager::withdrawStakeCall { id: 1, to: from };
        assert!(
            world
                .act(from, &withdraw)
                .unwrap_err()
                .is::<AuditManager::OnlyNodeOwner>()
        );
        assert!(
            world
                .act(from, &AuditManager::exitCall { id: 1 })
                .unwrap_err()
                .is::<AuditManager::OnlyNodeOwner>()
        );
    }
    for from in [stranger, operator(2), owner(2)] {
        assert!(
            world
                .act(from, &AuditManager::claimCall { id: 1 })
                .unwrap_err()
                .is::<AuditManager::OnlyNode>()
        );
    }
    for from in [stranger, owner(1)] {
        let config_ = (&terms()).into();
        assert!(
            world
                .act(from, &AuditManager::setConfigCall { config_ })
                .unwrap_err()
                .is::<AuditManager::OnlyOwner>()
        );
        assert!(
            world
                .act(from, &AuditManager::releaseCall { end: u64::MAX })
                .unwrap_err()
                .is::<AuditManager::OnlyOwner>()
        );
        assert!(
            world
                .act(from, &AuditManager::transferOwnershipCall { to: from })
                .unwrap_err()
                .is::<AuditManager::OnlyOwner>()
        );
        assert!(
            world
                .act(from, &AuditManager::acceptOwnershipCall {})
                .unwrap_err()
                .is::<AuditManager::OnlyPendingOwner>()
        );
    }
    let after = world.ask(&AuditManager::nodeInfoCall { id: 1 });
    assert_eq!(before, after);
    world.compare_all();
}

#[test]
fn nobody_is_nobody() {
    let mut world = World::network(terms(), 3);
    for id in [0, 4, u32::MAX] {
        assert!(
            world
                .act(who(7), &AuditManager::fillGroupCall { subject: id })
                .unwrap_err()
                .is::<AuditManager::WrongState>()
        );
        assert!(
            world
                .act(who(7), &AuditManager::exitCall { id })
                .unwrap_err()
                .is::<AuditManager::WrongState>()
        );
        assert!(
            world
                .act(Address::ZERO, &AuditManager::claimCall { id })
                .unwrap_err()
                .is::<AuditManager::WrongState>()
        );
        let report = AuditManager::reportCall {
            auditor: id,
            verdicts: vec![(&verdict(1, 1, 0, 0)).into()],
        };
        assert!(
            world
                .act(Address::ZERO, &report)
                .unwrap_err()
                .is::<AuditManager::WrongState>()
        );
    }
    world.compare_all();
}

#[test]
fn bad_registrations_are_refused_by_name() {
    let mut world = World::new(terms());
    world.endow(owner(1), STAKE);
    let good = AuditManager::registerCall {
        operator: operator(1),
        kind: 0,
        hotkey: B256::ZERO,
        endpoint: "http://h:1".into(),
        stake: STAKE,
    };
    let mut refused = |call: AuditManager::registerCall| world.act(owner(1), &call).unwrap_err();
    let with = |endpoint: String| AuditManager::registerCall {
        endpoint,
        ..good.clone()
    };
    assert!(refused(with(String::new())).is::<AuditManager::EndpointLength>());
    assert!(refused(with("e".repeat(129))).is::<AuditManager::EndpointLength>());
    let nobody = AuditManager::registerCall {
        operator: Address::ZERO,
        ..good.clone()
    };
    assert!(refused(nobody).is::<AuditManager::ZeroAddress>());
    let poor = AuditManager::registerCall {
        stake: STAKE - 1,
        ..good.clone()
    };
    assert!(refused(poor).is::<AuditManager::InsufficientStake>());
    let boastful = AuditManager::registerCall {
        stake: STAKE + 1,
        ..good.clone()
    };
    assert!(refused(boastful).is::<AuditManager::TransferFailed>());
    let absurd = AuditManager::registerCall {
        stake: u128::MAX,
        ..good.clone()
    };
    assert!(refused(absurd).is::<AuditManager::InsufficientStake>());
    world.act(owner(1), &good).unwrap();
}

#[test]
fn parameters_that_make_no_sense_are_refused_by_rule_and_contract() {
    let mut world = World::new(terms());
    let terms = terms();
    for wrong in [
        Terms { check_time: 0, ..terms },
        Terms {
            delta_period: terms.reward_period,
            ..terms
        },
        Terms {
            delta_period: 0,
            ..terms
        },
        Terms {
            reward_period: u32::MAX,
            ..terms
        },
        Terms {
            reward_period: 31_000_000,
            check_time: 1,
            ..terms
        },
        Terms {
            allowable_latency: 0,
            ..terms
        },
        Terms {
            tolerance_divisor: 0,
            ..terms
        },
        Terms { quorum_bps: 0, ..terms },
        Terms {
            quorum_bps: 10_001,
            ..terms
        },
        Terms {
            coverage_bps: 10_001,
            ..terms
        },
        Terms {
            duty_bps: 10_001,
            ..terms
        },
        Terms { group_size: 0, ..terms },
        Terms {
            group_size: 65,
            ..terms
        },
    ] {
        let by_rule = wrong.check().unwrap_err();
        let call = AuditManager::setConfigCall {
            config_: (&wrong).into(),
        };
        let refused = world.act(founder(), &call).unwrap_err();
        let by_contract = refused.decode::<AuditManager::InvalidConfig>().unwrap().parameter;
        assert_eq!(by_contract, by_rule.0);
        let token = world.token;
        assert!(deploy(&mut world.chain, token, &wrong).is_err());
    }
    let nowhere = deploy(&mut world.chain, who(9), &terms).unwrap_err();
    assert!(nowhere.is::<AuditManager::NotAToken>());
    let config = world.ask(&AuditManager::configCall {});
    assert_eq!(Terms::from(&config), terms);
}

#[test]
fn a_token_that_keeps_a_part_is_refused() {
    let mut world = World::with_token(terms(), |chain| {
        let arguments = FeeToken::constructorCall {
            holder: founder(),
            supply: U256::MAX >> 8,
        };
        chain
            .create(founder(), Contract::FeeToken.creation(&arguments))
            .unwrap()
    });
    let approve = Token::approveCall {
        spender: world.manager,
        value: U256::MAX,
    };
    world.chain.call(founder(), world.token, &approve).unwrap();
    let call = AuditManager::registerCall {
        operator: operator(1),
        kind: 0,
        hotkey: B256::ZERO,
        endpoint: "http://h:1".into(),
        stake: STAKE,
    };
    assert!(
        world
            .act(founder(), &call)
            .unwrap_err()
            .is::<AuditManager::TransferFailed>()
    );
}

/// Its transfers return nothing, which is no failure, and it calls back in the midst of the bounty.
#[test]
fn a_token_that_calls_back_is_not_let_in() {
    let mut world = World::with_token(terms(), |chain| {
        let arguments = QuietToken::constructorCall {
            holder: founder(),
            supply: U256::from(u128::MAX),
        };
        chain
            .create(founder(), Contract::QuietToken.creation(&arguments))
            .unwrap()
    });
    let token = world.token;
    // The token itself is the operator of a node, so that only the lock keeps it out.
    let calls_back = |world: &mut World, data: Vec<u8>| {
        let hook = QuietToken::setHookCall {
            target: world.manager,
            data: data.into(),
        };
        world.chain.call(founder(), token, &hook).unwrap();
    };
    for _ in 0..3 {
        world.register(STAKE).unwrap();
    }
    world.fill_all();
    let change = AuditManager::changeCall {
        id: 1,
        operator: token,
        hotkey: B256::ZERO,
        endpoint: "http://h:1".into(),
    };
    world.act(owner(1), &change).unwrap();
    world.give(365_000 * super::world::WHOLE);
    world.release(super::world::START + 365 * 86_400).unwrap();
    let window = world.window(2);
    world.chain.warp(window.start);
    world.report(3, &[verdict(2, 1, 0, 0), verdict(1, 1, 0, 0)]).unwrap();
    world.chain.warp(window.end);
    calls_back(&mut world, AuditManager::claimCall { id: 1 }.abi_encode());
    assert!(world.claim(2).unwrap().bounty > 0);
    assert!(!world.chain.view(token, &QuietToken::hookSucceededCall {}).unwrap());
    world.compare_all();
    // Outside of a claim the same call goes through.
    let transfer = Token::transferCall {
        to: founder(),
        value: U256::ZERO,
    };
    world.chain.call(founder(), token, &transfer).unwrap();
    assert!(world.chain.view(token, &QuietToken::hookSucceededCall {}).unwrap());
    let (now, parent) = (world.chain.now(), world.parent());
    world.rule.claim(1, now, parent).unwrap();
    world.compare_all();
}

#[test]
fn the_ownership_changes_hands_in_two_steps() {
    let mut world = World::new(terms());
    let next = who(9);
    world
        .act(founder(), &AuditManager::transferOwnershipCall { to: next })
        .unwrap();
    assert_eq!(world.ask(&AuditManager::ownerCall {}), founder());
    world.act(next, &AuditManager::acceptOwnershipCall {}).unwrap();
    assert_eq!(world.ask(&AuditManager::ownerCall {}), next);
    let config_ = (&terms()).into();
    assert!(
        world
            .act(founder(), &AuditManager::setConfigCall { config_ })
            .unwrap_err()
            .is::<AuditManager::OnlyOwner>()
    );
}
