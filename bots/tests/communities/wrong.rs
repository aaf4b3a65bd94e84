//! What a user can get wrong: one line that says what and where, and the exit code for it.

use crate::command::Place;

/// Runs `args` and expects one line with all of `said`, and this exit code.
fn refused(place: &Place, args: &[&str], code: i32, said: &[&str]) {
    let ended = place.run(args);
    assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.errors);
    assert_eq!(ended.errors.lines().count(), 1, "{args:?}: {}", ended.errors);
    for word in said {
        assert!(
            ended.errors.contains(word),
            "{args:?}: `{word}` is missing in: {}",
            ended.errors
        );
    }
}

#[test]
fn a_community_whose_places_overlap_or_are_too_few_is_refused() {
    let place = Place::new();
    place.ok(&["init", "--seed", "1", "--state", "drawn", "--write", "good.toml"]);
    let good = std::fs::read_to_string(place.path("good.toml")).unwrap();
    let (head, places) = good.split_once("[[locations]]").unwrap();
    let first = places.split("[[locations]]").next().unwrap();

    std::fs::write(place.path("overlap.toml"), format!("{good}\n[[locations]]{first}")).unwrap();
    let said = ["locations 1 and 101 are 0 m apart", "more than 100 m"];
    refused(
        &place,
        &["init", "--state", "s", "--community", "overlap.toml"],
        2,
        &said,
    );

    std::fs::write(place.path("few.toml"), format!("{head}[[locations]]{first}")).unwrap();
    let said = ["1 locations are too few", "10 bootstrappers need 2"];
    refused(&place, &["init", "--state", "s", "--community", "few.toml"], 2, &said);

    refused(
        &place,
        &["init", "--state", "s", "--community", "none.toml"],
        2,
        &["none.toml", "No such file"],
    );
    assert!(!place.path("s").exists(), "nothing was begun");
    place.ok(&["init", "--state", "s", "--community", "good.toml"]);
}

#[test]
fn a_state_that_is_not_there_or_another_networks_is_refused() {
    let place = Place::new();
    refused(&place, &["run"], 2, &["no community lives here", "`bots init`"]);
    for state in ["one", "other"] {
        place.ok(&["init", "--state", state]);
    }
    refused(&place, &["init", "--state", "one"], 2, &["lives here already"]);
    std::fs::copy(place.path("one/ledger.db"), place.path("other/ledger.db")).unwrap();
    // Their owners differ too, which the ledger sees first.
    refused(&place, &["run", "--state", "other"], 2, &["embedded ledger", "owner"]);
    std::fs::write(
        place.path("one/community.db"),
        "this is no database, and long enough to be taken for one",
    )
    .unwrap();
    refused(&place, &["run", "--state", "one"], 2, &["community.db"]);
}

#[test]
fn a_ledger_or_a_faucet_that_does_not_answer_is_indeterminate() {
    let place = Place::new();
    refused(
        &place,
        &["init", "--state", "a", "--ledger", "http://127.0.0.1:1"],
        3,
        &["127.0.0.1:1"],
    );
    refused(
        &place,
        &["init", "--state", "b", "--faucet", "http://127.0.0.1:1/api"],
        3,
        &["faucet http://127.0.0.1:1/api"],
    );
    refused(
        &place,
        &["init", "--state", "c", "--ledger", "nonsense"],
        2,
        &["ledger address", "nonsense"],
    );
    refused(
        &place,
        &["init", "--state", "c", "--faucet", "nonsense"],
        2,
        &["faucet address `nonsense`"],
    );
}

#[test]
fn an_exhausted_faucet_is_a_negative_answer() {
    let place = Place::new();
    let args = ["init", "--faucet-budget", "3.5"];
    refused(
        &place,
        &args,
        1,
        &[
            "7 of 10 bootstrappers were not funded",
            "the faucet is exhausted: 0.5 TAO are left",
        ],
    );
}

#[test]
fn a_race_that_is_none_is_named() {
    let place = Place::new();
    std::fs::write(place.path("race.json"), "{}").unwrap();
    let args = [
        "benchmark",
        "--ceremonies",
        "1",
        "--report",
        "r.json",
        "--race",
        "race.json",
    ];
    refused(&place, &args, 2, &["race.json", "missing field"]);
    assert!(!place.path("community").exists(), "nothing was begun");
}

/// BOT-19.
#[test]
fn what_does_not_hold_ends_a_simulation_with_the_ceremony() {
    let place = Place::new();
    place.ok(&["init", "--seed", "1", "--state", "drawn", "--write", "few.toml"]);
    let text = std::fs::read_to_string(place.path("few.toml")).unwrap();
    std::fs::write(
        place.path("few.toml"),
        text.replace("validators = 10", "validators = 2"),
    )
    .unwrap();
    std::fs::write(place.path("absent.toml"), "[roles]\nno-show = 1\n").unwrap();
    let args = [
        "simulate",
        "--community",
        "few.toml",
        "--mix",
        "absent.toml",
        "--ceremonies",
        "4",
    ];
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.errors.contains("broken: ceremony 2: nobody owns anything"),
        "{ended:?}"
    );
    assert!(ended.errors.contains("ceremony 4:"), "{ended:?}");

    let ended = place.run(&[&args[..], &["--fail-fast"]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.errors.contains("ceremony 3:"), "it ends at once: {ended:?}");

    std::fs::write(place.path("mix.toml"), "[roles]\nsaint = 1\n").unwrap();
    refused(&place, &["simulate", "--mix", "mix.toml"], 2, &["mix.toml", "saint"]);
}

#[test]
fn growth_that_is_not_golden_is_fatal() {
    let place = Place::new();
    place.ok(&["init", "--seed", "1", "--state", "drawn", "--write", "strict.toml"]);
    let text = std::fs::read_to_string(place.path("strict.toml")).unwrap();
    std::fs::write(
        place.path("strict.toml"),
        text.replace("newbie_divider = 2", "newbie_divider = 3"),
    )
    .unwrap();
    let args = [
        "simulate",
        "--community",
        "strict.toml",
        "--golden",
        "--ceremonies",
        "4",
    ];
    let said = ["golden growth vector: ceremony 4: the supply is", "says 89"];
    refused(&place, &args, 1, &said);
}
