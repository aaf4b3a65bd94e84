//! Things that fail under an auditor: nothing is lost, and the reason stands in the log.

use contracts::AuditManager;
use serde_json::json;
use sqlx::Connection as _;

use super::world::World;

async fn rows(world: &World) -> usize {
    let (_, out, _) = world.audit(1, &["history", "--format", "csv"]).await;
    out.lines().count().saturating_sub(1)
}

/// Takes longer than the ten seconds that a writer waits for another one.
#[tokio::test]
async fn samples_wait_for_a_locked_database_and_are_written_when_it_is_free() {
    let Some(world) = World::start(2).await else { return };
    world.configure(1, "");
    let one = world.run(1, &["--no-report", "--no-claim"]).await;
    let start = world.now().await;
    world.measured(&[&one], start).await;
    let url = format!("sqlite:{}", world.data(1).join("audit.db").display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    one.until_logged("samples cannot be written; they wait").await;
    assert!(one.log().contains("database is locked"), "{}", one.log());
    one.until("unhealthy", |health| health["unwritten"].as_u64() > Some(0))
        .await;
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    let before = one
        .until("written", |health| health["unwritten"].as_u64() == Some(0))
        .await;
    assert!(before["last_error"][1].as_str().unwrap().contains("locked"), "{before}");
    other.close().await.unwrap();
    assert!(rows(&world).await >= 2);
    one.kill().await;
}

/// Lets no file of a process grow above so many bytes; `None`: without end again. False where there is no `prlimit`.
fn limit_files(process: u32, bytes: Option<u64>) -> bool {
    let most = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let done = std::process::Command::new("prlimit")
        .args(["--pid", &process.to_string(), &format!("--fsize={most}:")])
        .status();
    done.is_ok_and(|status| status.success())
}

/// A file that may not grow any more: as on a full disk, a write fails in the middle of a transaction. Samples wait in memory; a claim, which
/// must stand in the database before it is sent, waits too, and is made once.
#[tokio::test]
async fn a_full_disk_loses_nothing_and_the_reason_is_logged() {
    let Some(world) = World::start(2).await else { return };
    world.configure(1, "");
    let one = world.run(1, &["--no-report"]).await;
    let start = world.now().await;
    world.measured(&[&one], start).await;
    let process = one.child.id().unwrap();
    let files = std::fs::read_dir(world.data(1))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len());
    if !limit_files(process, Some(files.max().unwrap() + 4_096)) {
        eprintln!("SKIPPED: a full disk, because there is no `prlimit`");
        return;
    }
    one.until_logged("samples cannot be written; they wait").await;
    let (_, _, next) = world.epoch(1).await;
    world.mine_at(next).await;
    let waiting = one
        .until("they wait", |health| health["unwritten"].as_u64() >= Some(2))
        .await;
    assert!(
        waiting["reason"].as_str().unwrap().contains("wait for the database"),
        "{waiting}"
    );
    one.until_logged("a head could not be worked on").await;
    assert_eq!(world.pending().await, 0, "nothing is sent that is not written down");
    assert!(one.log().contains("disk"), "{}", one.log());

    assert!(limit_files(process, None));
    one.until("written", |health| health["unwritten"].as_u64() == Some(0))
        .await;
    one.until_logged("the samples that waited are written").await;
    world
        .mine_until("the claim", &[&one], async || one.log().contains("bounty received"))
        .await;
    assert_eq!(world.events::<AuditManager::BountyPaid>().await.len(), 1);
    one.kill().await;
}

#[tokio::test]
async fn a_node_that_is_gone_for_a_while_costs_nothing() {
    let Some(world) = World::start(2).await else { return };
    let proxy = testkit::Proxy::before(&world.anvil.http(), std::time::Duration::ZERO).await;
    let path = world.configure(1, "");
    let text = std::fs::read_to_string(&path).unwrap();
    let endpoint = format!("endpoints = [\"{}\"]", world.anvil.http());
    std::fs::write(
        &path,
        text.replace(&endpoint, &format!("endpoints = [\"{}\"]", proxy.url())),
    )
    .unwrap();
    let one = world.run(1, &["--no-measure"]).await;
    let (_, _, next) = world.epoch(1).await;
    one.until("it works", |health| {
        health["node"].as_u64() == Some(1) && health["head"].as_u64() > Some(0)
    })
    .await;
    proxy.set_fault(Some(testkit::Fault::Unavailable));
    one.until_logged("a head could not be worked on").await;
    world.mine_at(next).await;
    proxy.set_fault(None);
    world
        .mine_until("the claim", &[&one], async || one.log().contains("bounty received"))
        .await;
    one.kill().await;
}

/// SK-04: no reference answers, so nobody is measured, although the peers are there.
#[tokio::test]
async fn who_is_offline_itself_writes_no_row() {
    let Some(world) = World::start(2).await else { return };
    let port = testkit::Port::free();
    let gone = port.address();
    let path = world.configure(1, "");
    let text = std::fs::read_to_string(&path).unwrap();
    let reference = format!(
        "references = [\"{}\"]",
        world.anvil.http().trim_start_matches("http://")
    );
    std::fs::write(&path, text.replace(&reference, &format!("references = [\"{gone}\"]"))).unwrap();
    let one = world.run(1, &[]).await;
    let is_told = |health: &serde_json::Value| {
        health["reason"]
            .as_str()
            .is_some_and(|why| why.contains("offline itself"))
    };
    let health = one.until("offline", is_told).await;
    assert!(health["offline_since_ms"].is_u64(), "{health}");
    assert_eq!(rows(&world).await, 0);
    assert!(one.log().contains("measures nobody"));
    one.kill().await;
}

/// SK-18: nobody's operator waits, says so once, and goes on when its owner has registered it.
#[tokio::test]
async fn an_operator_that_is_not_registered_waits_and_says_so() {
    let Some(world) = World::start(1).await else { return };
    world.configure(5, "");
    let five = world.run(5, &[]).await;
    five.until_logged("is no node's operator").await;
    let health = five.health().await;
    assert!(
        health["reason"]
            .as_str()
            .unwrap()
            .contains("waiting until its owner registers it"),
        "{health}"
    );
    let (code, _, err) = world.audit(5, &["claim", "--id", "9"]).await;
    assert_eq!(code, 2, "{err}");
    five.kill().await;
    let (code, _, err) = world.audit(5, &["claim", "--id", "9"]).await;
    assert_eq!((code, err.contains("there is no node 9")), (2, true), "{err}");
    let (code, _, err) = world.audit(5, &["claim", "--id", "1"]).await;
    assert_eq!(
        (code, err.contains("neither the operator nor the owner of node 1")),
        (2, true),
        "{err}"
    );
    assert_eq!(world.rpc("txpool_status", json!([])).await["pending"], json!("0x0"));
}
