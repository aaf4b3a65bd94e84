//! Restarts: the defence dropped in the middle, and a process killed (SIGKILL) at chosen points.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use defence::clock::Clock;
use defence::{Defence, DeliveryState, Incident};

use crate::servers::Fate;
use crate::world::{CHANNELS, KNOWING, World, delivery, is, toml_of, until, violation};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_clean_shutdown_lets_an_attempt_finish() {
    for channel in CHANNELS {
        let world = World::new().await;
        let config = world.action(channel, "");
        let defence = world.open(&config).await;
        let id = defence.confirmed(&violation(1, 1)).await.unwrap();
        world.desk.until(1).await;
        defence.shutdown().await;
        let defence = world.open(&config).await;
        let incident = defence.incident(id).await.unwrap().unwrap();
        assert!(is(&incident, channel, DeliveryState::Sent), "{channel}: {incident:#?}");
        world.clock.advance(MINUTE);
        defence.shutdown().await;
        assert_eq!((world.desk.shown().len(), world.desk.requests()), (1, 1), "{channel}");
    }
}

#[tokio::test]
async fn what_was_dropped_in_the_middle_goes_on_and_arrives_once() {
    for channel in CHANNELS {
        let world = World::with_script(&[Fate::Ignore]).await;
        let config = world.action(channel, "");
        let defence = world.open(&config).await;
        let id = defence.confirmed(&violation(1, 1)).await.unwrap();
        world.desk.until(1).await;
        drop(defence);
        let defence = world.open(&config).await;
        assert_eq!(
            defence.confirmed(&violation(1, 1)).await.unwrap(),
            id,
            "the validator tells it again"
        );
        world.clock.advance(MINUTE);
        let incident = until(&defence, id, |i| is(i, channel, DeliveryState::Sent)).await;
        assert_eq!(delivery(&incident, channel).attempts, 2);
        assert_eq!((world.desk.shown().len(), world.desk.requests()), (1, 2), "{channel}");
        world.desk.assert_correct();
    }
}

/// The process that is killed: opens a defence, confirms a violation, and says so; with `hold` it never runs another task after that.
#[test]
#[ignore = "started by the stories below, as a process of its own"]
fn the_process_that_is_killed() {
    let config = toml_of(&std::fs::read_to_string(std::env::var("DEFENCE_TEST_CONFIG").unwrap()).unwrap());
    let database = std::path::PathBuf::from(std::env::var("DEFENCE_TEST_DATABASE").unwrap());
    let hold = std::env::var("DEFENCE_TEST_HOLD").is_ok();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let defence = Defence::open(config, &database, None).await.unwrap();
        defence.confirmed(&violation(1, 1)).await.unwrap();
        eprintln!("stored");
        if hold {
            // The only thread: the tasks that would send it do not run.
            std::thread::park();
        }
        std::future::pending::<()>().await;
    });
}

fn start(world: &World, config: &str, hold: bool) -> Child {
    let file = world.file("config.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "crash::the_process_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("DEFENCE_TEST_CONFIG", file)
        .env("DEFENCE_TEST_DATABASE", world.database())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if hold {
        command.env("DEFENCE_TEST_HOLD", "1");
    }
    command.spawn().unwrap()
}

/// SIGKILL, and the process is gone.
fn kill(mut child: Child) {
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

/// The next process: its clock is past whatever the first one put off.
async fn resume(world: &World, config: &str) -> (Defence, Clock) {
    let clock = Clock::simulated(Clock::system().now_ms());
    let defence = Defence::open_at(toml_of(config), &world.database(), None, clock.clone())
        .await
        .unwrap();
    (defence, clock)
}

#[tokio::test]
async fn killed_after_the_incident_is_stored_and_before_anything_is_sent() {
    for channel in CHANNELS {
        let world = World::new().await;
        let config = world.action(channel, "");
        let mut child = start(&world, &config, true);
        let stderr = child.stderr.take().unwrap();
        let stored = tokio::task::spawn_blocking(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .any(|line| line.contains("stored"))
        });
        assert!(stored.await.unwrap());
        assert_eq!(world.desk.requests(), 0, "{channel}");
        kill(child);
        let (defence, clock) = resume(&world, &config).await;
        clock.advance(MINUTE);
        let incident = until(&defence, 1, |i| is(i, channel, DeliveryState::Sent)).await;
        assert_eq!(delivery(&incident, channel).attempts, 1, "{channel}");
        assert_eq!((world.desk.shown().len(), world.desk.requests()), (1, 1), "{channel}");
        world.desk.assert_correct();
    }
}

/// A process is killed when the server, which answers by `script`, has its first request; the next process goes on until the action is
/// `end`, with so many alerts shown of so many requests.
async fn killed_at_the_first_request(
    channel: &str,
    script: &[Fate],
    more: &str,
    end: DeliveryState,
    (shown, requests): (usize, usize),
) -> (World, Incident) {
    let world = World::with_script(script).await;
    let config = world.action(channel, more);
    let child = start(&world, &config, false);
    world.desk.until(1).await;
    kill(child);
    let (defence, clock) = resume(&world, &config).await;
    clock.advance(MINUTE);
    let incident = until(&defence, 1, |i| is(i, channel, end)).await;
    defence.shutdown().await;
    let seen = (world.desk.shown().len(), world.desk.requests());
    assert_eq!(seen, (shown, requests), "{channel}");
    (world, incident)
}

#[tokio::test]
async fn killed_during_an_attempt_that_was_not_taken() {
    for channel in CHANNELS {
        let sent = DeliveryState::Sent;
        let (world, _) = killed_at_the_first_request(channel, &[Fate::Ignore], "", sent, (1, 2)).await;
        world.desk.assert_correct();
    }
}

#[tokio::test]
async fn killed_after_it_was_taken_and_before_that_was_stored_where_the_receiver_knows_it_again() {
    for channel in KNOWING {
        let sent = DeliveryState::Sent;
        let (world, _) = killed_at_the_first_request(channel, &[Fate::TakeInSilence], "", sent, (1, 2)).await;
        world.desk.assert_correct();
    }
}

#[tokio::test]
async fn killed_after_it_was_taken_and_before_that_was_stored_with_at_most_once() {
    for channel in CHANNELS {
        let (more, failed) = ("when_unknown = \"escalate\"", DeliveryState::Failed);
        let (_, incident) = killed_at_the_first_request(channel, &[Fate::TakeInSilence], more, failed, (1, 1)).await;
        let reason = delivery(&incident, channel).reason.as_deref().unwrap_or_default();
        assert!(reason.contains("may have arrived"), "{channel}: {reason}");
    }
}

/// The window that remains, and that `docs/actions.md` tells of: these protocols have no name for an alert, so it comes twice, the
/// second time with a note.
#[tokio::test]
async fn killed_in_the_window_that_remains() {
    for channel in CHANNELS.into_iter().filter(|channel| !KNOWING.contains(channel)) {
        let sent = DeliveryState::Sent;
        let (world, _) = killed_at_the_first_request(channel, &[Fate::TakeInSilence], "", sent, (2, 2)).await;
        let shown = world.desk.shown();
        assert!(shown[1].text.contains("Sent again"), "{channel}: {}", shown[1].text);
    }
}
