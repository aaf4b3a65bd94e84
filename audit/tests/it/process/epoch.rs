//! A whole epoch: measured, reported, claimed, by the chain's clock alone.

use alloy::primitives::U256;
use audit::manager::ManagerClient;
use audit::results::{DEPTH, Results};
use contracts::AuditManager;

use super::world::{INTERVAL, PERIOD, WINDOW, World};

/// Three nodes; two of them run auditors, the third one is down for three of eight intervals. The chain's clock runs ten minutes in
/// seconds, so nothing here can go by the wall clock; a channel that never answers stands in nobody's way.
#[tokio::test]
async fn two_auditors_measure_report_and_claim_and_a_dead_channel_blocks_nothing() {
    let Some(world) = World::start(3).await else { return };
    // Takes connections and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let alerts = format!(
        "[[alerts.actions]]\nid = \"ops\"\nkind = \"slack\"\nurl = \"http://{}/\"\nmax_pending = 1\n",
        silent.local_addr().unwrap()
    );
    world.configure(1, &alerts);
    world.configure(2, "");
    let (one, two) = (world.run(1, &[]).await, world.run(2, &[]).await);
    let (epoch, start, next) = world.epoch(1).await;
    assert_eq!(next - start, PERIOD);
    world.measured(&[&one, &two], start).await;

    // Five good intervals, three bad ones.
    world.pass(&[&one, &two], start + 5 * INTERVAL).await;
    world.nodes[2].set_up(false);
    world.measured(&[&one, &two], start + 5 * INTERVAL).await;
    world.pass(&[&one, &two], next - WINDOW + 60).await;
    world.nodes[2].set_up(true);

    // The windows of all three are open: one transaction each, although there are two verdicts in it.
    world
        .mine_until("verdicts", &[&one, &two], async || {
            world.events::<AuditManager::VerdictReported>().await.len() >= 4
        })
        .await;
    for (auditor, subject) in [(1, 2), (1, 3), (2, 1), (2, 3)] {
        assert_eq!(world.reported(auditor, subject, epoch).await, 1);
    }
    let verdicts = world.events::<AuditManager::VerdictReported>().await;
    for verdict in &verdicts {
        assert_eq!(verdict.outcome, 0, "stored");
        assert!(
            verdict.latency < 1_000_000,
            "microseconds of the loopback: {}",
            verdict.latency
        );
        let wanted = if verdict.subject == 3 { 2..=4 } else { 0..=0 };
        assert!(wanted.contains(&verdict.downtime), "{verdict:?}");
    }
    // Marked as counted only once it is final.
    world
        .mine_until("counted", &[&one, &two], async || {
            let (_, out, _) = world
                .audit(1, &["history", "--format", "csv", "--rows", "reports"])
                .await;
            out.matches(",counted,").count() == 2
        })
        .await;

    // SK-14: a second before the reward date nothing is claimed; at it, once.
    let due = world.epoch(1).await.2;
    world.mine_at(due - 2).await;
    one.until("saw it", |health| health["head_timestamp"].as_u64() == Some(due - 2))
        .await;
    assert_eq!(world.pending().await, 0);
    world.mine_at(due).await;
    world
        .mine_until("bounties", &[&one, &two], async || {
            world.events::<AuditManager::BountyPaid>().await.len() >= 2
        })
        .await;
    world
        .until("told", &[&one], async || {
            one.log().contains("bounty received") || {
                world.mine(1).await;
                false
            }
        })
        .await;
    let paid = world.events::<AuditManager::BountyPaid>().await;
    assert_eq!(paid.iter().filter(|paid| paid.id == 1).count(), 1);
    let first = paid.iter().find(|paid| paid.id == 1).unwrap();
    assert!(first.settlement.quorum && first.settlement.bounty > 0, "{first:?}");
    // SK-17: the next epoch has begun, and is measured.
    let (later, started, _) = world.epoch(1).await;
    assert_eq!(later, epoch + 1);
    one.until("the next epoch", |health| {
        health["epoch"].as_u64() == Some(later.into())
    })
    .await;
    assert!(started >= due);

    // What others read of it: validators as a factor, the platform for its page.
    let nodes = state::NodeConfig {
        endpoints: vec![world.anvil.http().parse().unwrap()],
        ..state::NodeConfig::default()
    };
    let node = state::Node::connect(nodes).await.unwrap();
    let mut results = Results::new(ManagerClient::open(node, world.manager).await.unwrap(), 0);
    // Only what is deep enough to stay.
    world.mine(DEPTH).await;
    results.advance().await.unwrap();
    assert_eq!(results.nodes().count(), 3);
    let settled = results.nodes().next().unwrap().settled.clone().unwrap();
    assert_eq!(
        (settled.epoch, settled.uptime, settled.intervals),
        (epoch, Some(1.0), 8)
    );
    assert_eq!(settled.bounty, U256::from(first.settlement.bounty));

    let (code, out, err) = world.audit(1, &["status", "--id", "1"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("active, epoch 2"), "{out}");
    let (_, out, _) = world
        .audit(1, &["history", "--format", "csv", "--rows", "bounties"])
        .await;
    assert_eq!(out.lines().count(), 2, "{out}");
    assert!(out.contains(&format!(",{},", first.settlement.bounty)), "{out}");
    let picture = world.folder.path().join("history.html");
    let (code, _, err) = world
        .audit(1, &["history", "--format", "html", "--out", picture.to_str().unwrap()])
        .await;
    assert_eq!(code, 0, "{err}");
    let page = std::fs::read_to_string(picture).unwrap();
    assert!(page.contains("peer 2") && page.contains("peer 3") && page.contains("told to be down"));
}

/// SK-16: asleep for fifty epochs, awake, claimed once. The events of before it had a database are read from the chain.
#[tokio::test]
async fn who_slept_for_long_claims_once_and_an_empty_database_is_filled_from_the_chain() {
    let Some(world) = World::start(2).await else { return };
    world.configure(1, "");
    let (_, _, next) = world.epoch(1).await;
    world.mine_at(next + 50 * PERIOD).await;
    let one = world.run(1, &["--no-measure"]).await;
    world
        .mine_until("a bounty", &[&one], async || one.log().contains("bounty received"))
        .await;
    world.mine(3).await;
    one.until("saw it", |health| health["epoch"].as_u64() == Some(2)).await;
    assert_eq!(world.events::<AuditManager::BountyPaid>().await.len(), 1);
    one.kill().await;

    std::fs::remove_dir_all(world.data(1)).unwrap();
    std::fs::remove_file(world.folder.path().join("node1/log")).unwrap();
    let again = world.run(1, &["--no-measure"]).await;
    again.until_logged("events of this node").await;
    again.kill().await;
    let (code, out, err) = world
        .audit(1, &["history", "--format", "csv", "--rows", "bounties"])
        .await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.lines().count(), 2, "{out}");
    assert_eq!(world.events::<AuditManager::BountyPaid>().await.len(), 1);
}
