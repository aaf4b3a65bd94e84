//! On PostgreSQL as on SQLite: the same tests again, on a throwaway server. And what only a server has.

use std::process::Command;

use platform::registry;
use platform::store::Store;

use crate::world::{SERVER, platform, schema};

/// The stories that have a database.
const STORIES: [&str; 9] = [
    "store::",
    "reports::",
    "gate::",
    "stream::",
    "replay::",
    "crash::",
    "rest::",
    "cluster::",
    "v1::",
];

/// Half a minute for the whole: some sixty tests on a server that starts with them.
#[test]
fn every_story_of_the_database_ends_the_same_on_postgresql() {
    let Some(server) = testkit::postgres() else { return };
    let told = Command::new(std::env::current_exe().unwrap())
        .args(STORIES)
        .arg("--test-threads=4")
        .env(SERVER, server.url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let passed = said
        .lines()
        .find_map(|line| {
            line.strip_prefix("test result: ok. ")?
                .split(' ')
                .next()?
                .parse::<u32>()
                .ok()
        })
        .unwrap();
    println!("{passed} tests on PostgreSQL");
    assert!(passed >= 40, "{said}");
}

#[tokio::test]
async fn two_processes_on_one_server_write_in_turns_and_no_cursor_or_id_is_given_twice() {
    const EACH: usize = 25;
    let Some(server) = testkit::postgres() else { return };
    let place = schema(&server.url(), "turns").await;
    // Both at once: the tables are made once.
    let (one, other) = tokio::join!(Store::open(&place), Store::open(&place));
    let drafts = registry::parse(
        r#"{"contract":"0x1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d","type":">=","target":"1","storage":"0x0"}"#,
    )
    .unwrap();
    let write = async |store: Store| {
        let mut ids = Vec::new();
        for _ in 0..EACH {
            ids.extend(store.add_invariants(&drafts).await.unwrap());
        }
        (ids, store)
    };
    let ((mut ids, one), (others, _other)) = tokio::join!(write(one.unwrap()), write(other.unwrap()));
    ids.extend(others);
    ids.sort_unstable();
    assert_eq!(ids, (1..=2 * EACH as u64).collect::<Vec<_>>());
    let logged: Vec<u64> = one
        .logged(0, 1_000)
        .await
        .unwrap()
        .iter()
        .map(|item| item.cursor)
        .collect();
    assert_eq!(logged, (1..=2 * EACH as u64).collect::<Vec<_>>());
    assert_eq!(one.invariant_set_version().await.unwrap(), 2 * EACH as u64);
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_password() {
    let address = "postgres://portcullis:pa55@127.0.0.1:1/platform";
    let asked = platform(&["invariants", "list", "--database", address])
        .output()
        .unwrap();
    let line = String::from_utf8_lossy(&asked.stderr);
    // It may only be away, so nothing that was given is called wrong.
    assert_eq!(asked.status.code(), Some(3), "{line}");
    assert!(
        line.contains("127.0.0.1:1/platform") && !line.contains("pa55"),
        "{line}"
    );
}
