//! The gate: before everything else, with one key, and down the ladder when it cannot win.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{Address, B256, bytes};
use defence::incident::{Moment, State};
use defence::{DeliveryState, PauseError, PauseOutcome, PauseProgress, PauseRequest, PauseTarget, Pauser};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::servers::Fate;
use crate::world::{World, delivery, is, moments, until, violation, waits};

const STOP: &str =
    "[[actions]]\nid = \"stop\"\nkind = \"pause_agent\"\nfunction = \"pause()\"\nladder = \"stop\"\nrung = 1\n";

/// What becomes of a pause.
#[derive(Debug, Clone, Copy)]
enum Play {
    Win,
    Lose,
    Unreachable,
    /// Broadcast, and then nothing.
    Hang,
}

/// Plays its part, and keeps what it was asked for.
#[derive(Debug, Default)]
struct Actor {
    plays: Mutex<VecDeque<Play>>,
    asked: Mutex<Vec<PauseRequest>>,
    count: watch::Sender<usize>,
}

impl Actor {
    fn new(plays: &[Play]) -> Arc<Self> {
        let actor = Self::default();
        actor.plays.lock().unwrap().extend(plays);
        Arc::new(actor)
    }

    async fn until(&self, count: usize) {
        let mut seen = self.count.subscribe();
        let enough = seen.wait_for(|seen| *seen >= count);
        tokio::time::timeout(Duration::from_secs(30), enough)
            .await
            .expect("the pause was asked for")
            .unwrap();
    }

    fn keys(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|request| request.key.clone())
            .collect()
    }
}

impl Pauser for Actor {
    fn pause(&self, request: PauseRequest, progress: PauseProgress) -> BoxFuture<'_, Result<PauseOutcome, PauseError>> {
        async move {
            self.asked.lock().unwrap().push(request);
            let play = self.plays.lock().unwrap().pop_front().unwrap_or(Play::Win);
            self.count.send_modify(|count| *count += 1);
            let tx_hash = B256::repeat_byte(0xfe);
            match play {
                Play::Win => {
                    progress.broadcast(tx_hash, "at 30 gwei");
                    Ok(PauseOutcome::Included { tx_hash, block: 17 })
                }
                Play::Lose => Ok(PauseOutcome::CannotWin {
                    reason: "the attack works after the pause too".to_owned(),
                }),
                Play::Unreachable => Err(PauseError {
                    reason: "the node does not answer".to_owned(),
                }),
                Play::Hang => {
                    progress.broadcast(tx_hash, "");
                    std::future::pending().await
                }
            }
        }
        .boxed()
    }

    fn rehearse(&self, request: PauseRequest) -> BoxFuture<'_, Result<String, PauseError>> {
        async move { Ok(format!("{:?} would be called", request.target)) }.boxed()
    }
}

#[tokio::test]
async fn a_pause_that_wins_contains_the_incident() {
    let world = World::new().await;
    let actor = Actor::new(&[Play::Win]);
    let config = STOP.to_owned() + &world.action("slack", "ladder = \"stop\"\nrung = 2");
    let defence = world.open_with(&config, Some(actor.clone())).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    let incident = until(&defence, id, |i| i.state == State::Contained).await;
    assert_eq!(
        moments(&incident),
        [
            Moment::Seen,
            Moment::Judged,
            Moment::Confirmed,
            Moment::Fired,
            Moment::Broadcast,
            Moment::Included
        ]
    );
    assert_eq!(incident.deliveries.len(), 1, "the next rung was not needed");
    let request = actor.asked.lock().unwrap()[0].clone();
    let pause = PauseTarget::Call {
        contract: Address::repeat_byte(0xcc),
        calldata: bytes!("8456cb59"),
    };
    assert_eq!((request.target, request.opened_by), (pause, request.attack[0].tx_hash));
    assert_eq!(request.attack, [violation(1, 1).suspect]);
    defence.shutdown().await;
    assert_eq!(world.desk.requests(), 0);
}

#[tokio::test]
async fn a_pause_that_cannot_win_falls_back_to_people() {
    let world = World::new().await;
    let config = STOP.to_owned() + &world.action("slack", "ladder = \"stop\"\nrung = 2");
    let defence = world.open_with(&config, Some(Actor::new(&[Play::Lose]))).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    let incident = until(&defence, id, |i| is(i, "slack", DeliveryState::Sent)).await;
    assert_eq!(incident.state, State::Escalated);
    assert!(
        delivery(&incident, "stop")
            .reason
            .as_ref()
            .unwrap()
            .contains("after the pause too")
    );
}

#[tokio::test]
async fn a_pause_waits_for_no_alert() {
    let world = World::with_script(&[Fate::Ignore; 6]).await;
    let actor = Actor::new(&[]);
    let alerts: String = ["slack", "telegram", "discord", "webhook", "email"]
        .iter()
        .map(|channel| world.action(channel, ""))
        .collect();
    let defence = world.open_with(&(STOP.to_owned() + &alerts), Some(actor.clone())).await;
    let first = defence.confirmed(&violation(1, 1)).await.unwrap();
    // Every channel is now stuck with a server that does not answer, and the clock stands still.
    world.desk.until(5).await;
    for n in 2..=20 {
        let id = defence.confirmed(&violation(n, n)).await.unwrap();
        until(&defence, id, |i| i.state == State::Contained).await;
    }
    let stuck = defence.incident(first).await.unwrap().unwrap();
    assert!(is(&stuck, "slack", DeliveryState::Sending) && is(&stuck, "email", DeliveryState::Sending));
}

#[tokio::test]
async fn a_pause_that_hangs_holds_up_no_other() {
    let world = World::new().await;
    let actor = Actor::new(&[Play::Hang, Play::Win]);
    let defence = world.open_with(STOP, Some(actor.clone())).await;
    let hanging = defence.confirmed(&violation(1, 1)).await.unwrap();
    actor.until(1).await;
    let other = defence.confirmed(&violation(2, 2)).await.unwrap();
    until(&defence, other, |i| i.state == State::Contained).await;
    until(&defence, hanging, |i| i.state == State::Broadcast).await;
}

#[tokio::test]
async fn a_pause_is_asked_for_again_with_the_same_key() {
    let world = World::new().await;
    let actor = Actor::new(&[Play::Unreachable, Play::Hang, Play::Win]);
    let defence = world.open_with(STOP, Some(actor.clone())).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    until(&defence, id, |i| waits(i, "stop", 1)).await;
    world.clock.advance(Duration::from_secs(1));
    actor.until(2).await;
    until(&defence, id, |i| i.state == State::Broadcast).await;
    // The process ends while the pause is on its way.
    drop(defence);
    let defence = world.open_with(STOP, Some(actor.clone())).await;
    world.clock.advance(Duration::from_secs(2));
    until(&defence, id, |i| i.state == State::Contained).await;
    let keys = actor.keys();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test]
async fn another_transaction_of_the_attack_tries_a_failed_pause_again_and_alerts_nobody_twice() {
    let world = World::new().await;
    let actor = Actor::new(&[Play::Lose, Play::Win]);
    let config = STOP.to_owned() + &world.action("slack", "ladder = \"stop\"\nrung = 2");
    let defence = world.open_with(&config, Some(actor.clone())).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    until(&defence, id, |i| is(i, "slack", DeliveryState::Sent)).await;
    assert_eq!(
        defence.confirmed(&violation(1, 1)).await.unwrap(),
        id,
        "a known transaction is no reason"
    );
    assert_eq!(defence.confirmed(&violation(1, 2)).await.unwrap(), id);
    let incident = until(&defence, id, |i| i.state == State::Contained).await;
    assert_eq!((actor.keys().len(), world.desk.requests()), (2, 1));
    assert_eq!(incident.suspects.len(), 2);
    // What is seen after the pause is an attack that it does not stop.
    let mut after = violation(1, 3);
    after.seen_ms = world.clock.now_ms() + 1;
    assert_ne!(defence.confirmed(&after).await.unwrap(), id);
}

#[tokio::test]
async fn a_pause_over_its_limit_goes_to_people_at_once() {
    let world = World::new().await;
    let config = STOP.to_owned()
        + "rate_limit = { count = 1, per = \"1h\" }\n"
        + &world.action("slack", "ladder = \"stop\"\nrung = 2");
    let actor = Actor::new(&[]);
    let defence = world.open_with(&config, Some(actor.clone())).await;
    let first = defence.confirmed(&violation(1, 1)).await.unwrap();
    until(&defence, first, |i| i.state == State::Contained).await;
    let second = defence.confirmed(&violation(2, 2)).await.unwrap();
    until(&defence, second, |i| is(i, "slack", DeliveryState::Sent)).await;
    assert_eq!(actor.keys().len(), 1);
}

#[tokio::test]
async fn a_pause_is_rehearsed_without_being_sent() {
    let world = World::new().await;
    let actor = Actor::new(&[]);
    let defence = world.open_with(STOP, Some(actor.clone())).await;
    let said = defence.test_fire("stop").await.unwrap();
    assert!(said.contains("0x8456cb59"), "{said}");
    assert_eq!(actor.keys().len(), 0);
}
