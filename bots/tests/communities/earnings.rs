//! What behaving in each way earns, by the validators' own rule and the ledger's epoch.

use std::collections::BTreeMap;
use std::time::Duration;

use bots::communities::ValidatorScoring;
use community::arena::Contest;
use community::faucet::rule::FaucetRules;
use community::mix::Mix;
use community::role::Role;
use community::row::Row;
use community::seed::Seed;
use community::simulate;
use community::spec::Spec;
use community::{Community, Faucet, Founding, Home, Means};
use tokio_util::sync::CancellationToken;

/// So many ceremonies of a hundred miners of these roles, and what does not hold of them.
async fn ceremonies(roles: &[(Role, u32)], contest: Contest, count: u64) -> (Vec<Row>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home {
        folder: folder.path().to_owned(),
        ledger: None,
    };
    let seed = Seed::of(11);
    let mut spec = Spec::generate(&mut seed.rng("community", 0), 100);
    spec.bootstrappers = 110;
    spec.rules.max_population = Some(110);
    let founding = Founding {
        spec,
        mix: Mix {
            roles: roles.iter().copied().collect(),
            ..Mix::default()
        },
        seed,
        budget: u64::MAX / 4,
        patience: Duration::ZERO,
    };
    let scoring = ValidatorScoring::default();
    let means = Means {
        scoring: &scoring,
        faucet: Faucet::Own(FaucetRules::default()),
        contest,
        worker: "test".to_owned(),
    };
    let mut community = Community::found(&home, founding, means).await.unwrap();
    let mut faults = Vec::new();
    for ceremony in 1..=count {
        simulate::ceremony(&mut community, &CancellationToken::new())
            .await
            .unwrap();
        let mut rows = community.store.rows(3).await.unwrap();
        rows.retain(|row| row.ceremony <= ceremony);
        faults.extend(simulate::broken(&community.held.book, &rows));
    }
    let mut rows = community.store.rows(count + 1).await.unwrap();
    rows.retain(|row| row.ceremony <= count);
    community.close().await;
    (rows, faults)
}

fn mean(row: &Row, role: Role) -> f64 {
    row.roles[&role].incentive.unwrap().mean
}

#[tokio::test]
async fn honest_earn_more_than_slow_more_than_lazy_more_than_liars() {
    let roles = [(Role::Honest, 50), (Role::Slow, 20), (Role::Lazy, 20), (Role::Liar, 10)];
    let (rows, faults) = ceremonies(&roles, Contest::default(), 5).await;
    assert!(faults.is_empty(), "{faults:?}");
    for row in &rows[2..] {
        let worst = |role: Role| row.roles[&role].incentive.unwrap().least;
        let best = |role: Role| row.roles[&role].incentive.unwrap().most;
        assert!(worst(Role::Honest) > best(Role::Slow), "{row:?}");
        assert!(worst(Role::Slow) > best(Role::Lazy), "{row:?}");
        assert!(worst(Role::Lazy) > best(Role::Liar), "{row:?}");
    }
}

#[tokio::test]
async fn ten_identities_on_one_machine_earn_less_than_ten_honest_miners_and_less_than_one_share_each() {
    let roles = [(Role::Honest, 90), (Role::Sybil, 10)];
    let (rows, faults) = ceremonies(&roles, Contest::default(), 3).await;
    assert!(faults.is_empty(), "{faults:?}");
    let last = rows.last().unwrap();
    let (honest, sybil) = (mean(last, Role::Honest), mean(last, Role::Sybil));
    assert!(sybil * 8.0 < honest, "about a tenth each: {sybil} beside {honest}");
    let (ten, one) = (last.roles[&Role::Sybil].attended, 10.0 * sybil / honest);
    assert!(ten <= 2, "one machine is at one meetup: {ten} attended");
    assert!(one < 1.25, "all ten together earn what one machine earns: {one}");
}

/// What the challenges of one's own are for: without them one execution pays ten times.
#[tokio::test]
async fn shared_challenges_would_pay_a_sybil_in_full() {
    let shared = Contest {
        distinct: false,
        ..Contest::default()
    };
    let roles = [(Role::Honest, 90), (Role::Sybil, 10)];
    let (rows, _) = ceremonies(&roles, shared, 3).await;
    let last = rows.last().unwrap();
    let share = mean(last, Role::Sybil) / mean(last, Role::Honest);
    assert!(share > 0.95, "{share}");
}

#[tokio::test]
async fn copying_colluding_and_staying_away_earn_nothing_and_flapping_less_than_coming() {
    let roles = [
        (Role::Honest, 60),
        (Role::Copying, 10),
        (Role::Colluding, 10),
        (Role::NoShow, 10),
        (Role::Flapping, 10),
    ];
    let (rows, faults) = ceremonies(&roles, Contest::default(), 6).await;
    assert!(faults.is_empty(), "{faults:?}");
    let last = rows.last().unwrap();
    let earned: BTreeMap<Role, f64> = last.roles.keys().map(|role| (*role, mean(last, *role))).collect();
    for role in [Role::Copying, Role::Colluding, Role::NoShow] {
        assert_eq!(earned[&role], 0.0, "{role}");
    }
    assert!(
        earned[&Role::Flapping] > 0.0 && earned[&Role::Flapping] < 0.7 * earned[&Role::Honest],
        "{earned:?}"
    );
}
