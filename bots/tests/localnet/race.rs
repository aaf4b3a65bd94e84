//! The race: attacks on a real node against the pause, with Portcullis and without. `RACE_ATTACKS` makes it longer.

use bots::localnet::race::RaceReport;

use crate::common::Place;

#[test]
fn every_pause_is_mined_ahead_and_without_it_every_vault_is_lost() {
    let Some(anvil) = testkit::anvil_path() else {
        eprintln!("SKIPPED: the race, because anvil is not installed (make tools, or ANVIL=PATH)");
        return;
    };
    let attacks = std::env::var("RACE_ATTACKS").unwrap_or_else(|_| "3".to_owned());
    let place = Place::new();
    let path = place.file("race.json");
    let ended = place.race(&[
        "--attacks",
        &attacks,
        "--anvil",
        anvil.to_str().unwrap(),
        "--report",
        path.to_str().unwrap(),
    ]);
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
    place.assert_clean();
}
