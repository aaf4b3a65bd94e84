//! The race: attacks on a real node against the pause, with Portcullis and without. `RACE_ATTACKS` makes it longer. All its nodes are traced.

use std::collections::{BTreeMap, BTreeSet};

use bots::localnet::race::RaceReport;
use testkit::{Collected, Collector};

use crate::common::Place;

/// What a transaction whose pause was mined ahead of it goes through, and in which process.
const WAY: [(&str, &str); 8] = [
    ("platform", "transaction"),
    ("validator", "judge"),
    ("validator", "challenge"),
    ("miner", "execute"),
    ("validator", "arbitrate"),
    ("validator", "pause.try"),
    ("validator", "pause.send"),
    ("validator", "pause.follow"),
];

/// How many traces have the whole way in them, each stage hanging under the transaction.
fn whole_ways(spans: &[Collected]) -> usize {
    let mut traces: BTreeMap<&[u8], BTreeSet<(&str, &str)>> = BTreeMap::new();
    for Collected { service, span } in spans {
        let is_root = span.parent_span_id.is_empty();
        assert_eq!(is_root, span.name == "transaction", "{span:?}");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
        traces.entry(&span.trace_id).or_default().insert((service, &span.name));
    }
    traces
        .values()
        .filter(|stages| WAY.iter().all(|stage| stages.contains(stage)))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pause_is_mined_ahead_and_without_it_every_vault_is_lost() {
    let Some(anvil) = testkit::anvil_path() else {
        eprintln!("SKIPPED: the race, because anvil is not installed (make tools, or ANVIL=PATH)");
        return;
    };
    let attacks = std::env::var("RACE_ATTACKS").unwrap_or_else(|_| "3".to_owned());
    let place = Place::new();
    let path = place.file("race.json");
    let collector = Collector::start().await;
    let ended = tokio::task::block_in_place(|| {
        place.race(
            &[
                "--attacks",
                &attacks,
                "--anvil",
                anvil.to_str().unwrap(),
                "--report",
                path.to_str().unwrap(),
            ],
            &collector.endpoint(),
        )
    });
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.errors, ended.output);
    let report: RaceReport = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let attacks: usize = attacks.parse().unwrap();
    assert_eq!((report.paused_ahead, report.kept), (attacks, attacks), "{report:?}");
    assert_eq!(report.unwatched_lost, attacks);
    assert!(
        report
            .each
            .iter()
            .all(|attack| !attack.robbed && attack.pause.is_some()),
        "{report:?}"
    );
    assert_eq!(
        report.seen_to_broadcast.count, attacks as u64,
        "each says where the time went"
    );
    assert!(
        whole_ways(&collector.spans()) >= attacks,
        "from transaction to pause is one trace"
    );
    place.assert_clean();
}

#[test]
fn more_guards_than_a_validator_has_actions_are_refused_before_anything_begins() {
    let place = Place::new();
    let ended = place.race(&["--through", "keepers", "--attacks", "100"], "http://127.0.0.1:1");
    assert_eq!(ended.code, Some(2), "{}", ended.errors);
    assert!(ended.error().contains("at most --attacks 99"), "{}", ended.errors);
    place.assert_clean();
}
