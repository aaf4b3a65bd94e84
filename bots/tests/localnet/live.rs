//! The network on a living chain: a real anvil with interval mining, real processes, and the attack among real traffic.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Place, anvil, signal};
use crate::patient::{self, Book};

/// A small network on a short story, without what sends transactions of its own: so every one that is judged is the story's.
const SMALL: [&str; 18] = [
    "--live",
    "--without",
    "keepers,audit,billing",
    "--validators",
    "2",
    "--miners",
    "4",
    "--lazy",
    "0",
    "--liar",
    "1",
    "--slow",
    "0",
    "--attack-after",
    "3",
    "--per-block",
    "8",
    "--block-time=3s",
];

#[test]
fn what_waits_in_the_pool_is_judged_and_the_attack_is_confirmed_before_its_block() {
    let Some(anvil) = anvil("the network on a living chain") else {
        return;
    };
    let place = Place::new();
    let mut args = SMALL.to_vec();
    args.extend(["--anvil", anvil.to_str().unwrap(), "--settle-epochs", "0"]);
    let report = place.report(&args);
    let live = report.live.as_ref().unwrap();

    // Counts agree from the sender over the platform to the validators, and nothing is lost.
    assert!(report.complete && report.failure().is_none(), "{report:?}");
    assert_eq!((live.lost, live.refused, live.waiting), (0, 0, 0), "{live:?}");
    // One that is replaced before its turn need not be judged.
    let needed = live.sent - report.gave_way();
    assert_eq!(
        (live.judged, report.transactions, report.judged),
        (needed, live.sent, needed)
    );
    assert_eq!(live.included + live.replaced, live.sent);
    assert_eq!((live.feed.included, live.feed.replaced), (live.included, live.replaced));
    assert_eq!(report.reported, report.assigned);
    let in_the_scores: u64 = report.validators.iter().map(|validator| validator.judged).sum();
    assert_eq!(in_the_scores, report.assigned);
    assert_eq!((report.disputed, live.feed.without_prestate), (0, 0));
    assert_eq!(
        live.sent_by_type.keys().copied().collect::<Vec<_>>(),
        [0, 1, 2, 3, 4],
        "all types: {live:?}"
    );
    assert!(live.replaced > 0, "{live:?}");

    let [incident] = report.incidents.as_slice() else {
        panic!("one incident: {:?}", report.incidents)
    };
    let attack = live.attack.as_ref().unwrap();
    assert_eq!(
        (incident.invariant.as_str(), incident.tx),
        ("vault-assets-cover-seed", attack.tx)
    );
    assert!(incident.pre > incident.post, "the vault was drained");
    assert!(
        attack.succeeded && attack.included_in > Some(attack.sent_on),
        "{attack:?}"
    );
    assert!(attack.ms_before_inclusion.is_some_and(|ms| ms > 0), "{attack:?}");
    place.assert_clean();
}

/// On a node that makes a block only when this test says so: and it says so only when everything in the pool was judged.
#[test]
fn everything_that_waits_is_judged_before_a_node_that_does_not_mine_by_itself_is_told_to() {
    let Some(anvil) = testkit::anvil(testkit::Mining::Manual, &[]) else {
        return;
    };
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let book = Arc::new(Mutex::new(Book::default()));
    let miner = patient::mine(anvil.http(), place.runs(), Duration::from_secs(2), Arc::clone(&book));
    let miner = runtime.spawn(miner);
    let url = anvil.ws();
    let mut args = SMALL[..17].to_vec();
    args.extend(["--block-time", "2s", "--node", &url, "--settle-epochs", "0"]);
    let report = place.report(&args);
    assert!(!miner.is_finished(), "the one who mines gave up");
    miner.abort();
    let live = report.live.as_ref().unwrap();
    assert!(report.failure().is_none() && report.incidents.len() == 1, "{report:?}");
    let needed = live.sent - report.gave_way();
    assert_eq!((live.lost, live.waiting, live.judged), (0, 0, needed), "{live:?}");
    let book = book.lock().unwrap();
    // What slips in between the last look and the block is rare, and may be the only one of its type.
    let kinds: BTreeSet<u64> = book.judged_before.keys().chain(book.unseen.keys()).copied().collect();
    assert!(kinds.into_iter().eq(0..=4), "all types: {book:?}");
    let unseen: u64 = book.unseen.values().sum();
    assert_eq!(book.judged_before.values().sum::<u64>() + unseen, live.included);
    assert!(unseen * 20 <= live.included, "{book:?}");
    assert!(live.replaced > 0, "replaced ones were judged anew: {live:?}");
    let attack = live.attack.as_ref().unwrap();
    assert!(attack.ms_before_inclusion.is_some_and(|ms| ms > 0), "{attack:?}");
    place.assert_clean();
}

#[test]
fn even_a_killed_localnet_leaves_no_node_behind() {
    let Some(anvil) = anvil("the network on a living chain") else {
        return;
    };
    for name in ["INT", "KILL"] {
        let place = Place::new();
        let mut args = SMALL.to_vec();
        args.extend(["--anvil", anvil.to_str().unwrap()]);
        let running = place.start_live(&args);
        assert!(!place.processes("anvil.json").is_empty(), "the node runs");
        signal(name, running.pid());
        assert_eq!(running.end().code, (name == "INT").then_some(130));
        place.await_no_process();
    }
}

#[test]
fn a_node_that_cannot_be_used_is_named_and_nothing_begun() {
    let place = Place::new();
    let ended = place.run(&["--live", "--anvil", "/nowhere/anvil"]);
    assert_eq!(ended.code, Some(2), "{}", ended.errors);
    assert!(ended.error().contains("/nowhere/anvil"), "{}", ended.error());
    let port = testkit::Port::free();
    let nobody = port.address();
    let ended = place.run(&["--live", "--node", &format!("ws://{nobody}")]);
    assert_eq!(ended.code, Some(3), "{}", ended.errors);
    assert!(ended.error().contains(&nobody.to_string()), "{}", ended.error());
    place.assert_clean();
}

#[test]
fn a_node_that_runs_already_serves_as_well_and_is_left_running() {
    let Some(anvil) = testkit::anvil(testkit::Mining::Interval(2), &[]) else {
        return;
    };
    let place = Place::new();
    let url = anvil.ws();
    let mut args = SMALL[..17].to_vec();
    args.extend(["--block-time", "2s", "--node", &url, "--settle-epochs", "0"]);
    let report = place.report(&args);
    assert!(report.failure().is_none() && report.incidents.len() == 1, "{report:?}");
    std::net::TcpStream::connect(url.trim_start_matches("ws://")).unwrap();
    place.assert_clean();
}
