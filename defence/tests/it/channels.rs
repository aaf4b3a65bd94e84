//! Each channel over each fate: exactly one alert arrives.

use std::sync::Arc;
use std::time::Duration;

use defence::DeliveryState;
use defence::incident::{Moment, State};
use tokio::net::TcpListener;

use crate::servers::{self, Fate};
use crate::smtp;
use crate::world::{self, CHANNELS, KNOWING, NOW_MS, World, delivery, is, moments, until, violation, waits};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_alert_that_is_taken_at_once_arrives_once() {
    for channel in CHANNELS {
        let world = World::new().await;
        let defence = world.open(&world.action(channel, "")).await;
        let id = defence.confirmed(&violation(1, 1)).await.unwrap();
        let incident = until(&defence, id, |i| is(i, channel, DeliveryState::Sent)).await;
        assert_eq!(incident.state, State::Fired);
        assert_eq!(
            moments(&incident),
            [
                Moment::Seen,
                Moment::Judged,
                Moment::Confirmed,
                Moment::Fired,
                Moment::Sent
            ],
            "{channel}"
        );
        defence.shutdown().await;
        let shown = world.desk.shown();
        assert_eq!((shown.len(), world.desk.requests()), (1, 1), "{channel}");
        assert!(shown[0].text.contains("solvent"), "{channel}: {}", shown[0].text);
        world.desk.assert_correct();
    }
}

#[tokio::test]
async fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
    for channel in CHANNELS.into_iter().filter(|channel| *channel != "email") {
        let world = World::with_script(&[Fate::Busy]).await;
        let defence = world.open(&world.action(channel, "")).await;
        let id = defence.confirmed(&violation(1, 1)).await.unwrap();
        let incident = until(&defence, id, |i| waits(i, channel, 1)).await;
        let next_ms = delivery(&incident, channel).next_ms;
        assert!(
            (NOW_MS + 7_000..=NOW_MS + 7_700).contains(&next_ms),
            "{channel}: {next_ms}"
        );
        // Another incident's alert does not go there meanwhile either.
        let other = defence.confirmed(&violation(2, 2)).await.unwrap();
        world.clock.advance(Duration::from_millis(6_999));
        assert_eq!(world.desk.requests(), 1, "{channel}");
        world.clock.advance(MINUTE);
        until(&defence, id, |i| is(i, channel, DeliveryState::Sent)).await;
        until(&defence, other, |i| is(i, channel, DeliveryState::Sent)).await;
        assert_eq!(world.desk.shown().len(), 2, "{channel}: one for each incident");
        world.desk.assert_correct();
    }
}

#[tokio::test]
async fn what_breaks_is_tried_again_and_arrives_once() {
    for channel in CHANNELS {
        let world = World::with_script(&[Fate::Break, Fate::Break]).await;
        let defence = world.open(&world.action(channel, "")).await;
        let id = defence.confirmed(&violation(1, 1)).await.unwrap();
        until(&defence, id, |i| waits(i, channel, 1)).await;
        world.clock.advance(MINUTE);
        until(&defence, id, |i| waits(i, channel, 2)).await;
        world.clock.advance(MINUTE);
        let incident = until(&defence, id, |i| is(i, channel, DeliveryState::Sent)).await;
        assert_eq!(
            incident
                .timeline
                .iter()
                .filter(|line| line.moment == Moment::Attempt)
                .count(),
            2
        );
        assert_eq!((world.desk.shown().len(), world.desk.requests()), (1, 3), "{channel}");
        assert!(!delivery(&incident, channel).unknown);
        world.desk.assert_correct();
    }
}

#[tokio::test]
async fn silence_is_given_up_and_the_alert_sent_again() {
    for channel in CHANNELS {
        let world = World::with_script(&[Fate::Ignore]).await;
        let defence = world.open(&world.action(channel, "")).await;
        let id = defence.confirmed(&violation(1, 1)).await.unwrap();
        world.desk.until(1).await;
        world.clock.advance(Duration::from_secs(10));
        let incident = until(&defence, id, |i| waits(i, channel, 1)).await;
        assert!(delivery(&incident, channel).unknown, "{channel}");
        world.clock.advance(MINUTE);
        until(&defence, id, |i| is(i, channel, DeliveryState::Sent)).await;
        let shown = world.desk.shown();
        assert_eq!(shown.len(), 1, "{channel}");
        if channel != "webhook" {
            assert!(shown[0].text.contains("Sent again"), "{channel}: {}", shown[0].text);
        }
        world.desk.assert_correct();
    }
}

#[tokio::test]
async fn what_was_taken_in_silence_is_known_again_where_the_protocol_permits() {
    for channel in KNOWING {
        let world = World::with_script(&[Fate::TakeInSilence]).await;
        let defence = world.open(&world.action(channel, "")).await;
        let id = defence.confirmed(&violation(1, 1)).await.unwrap();
        world.desk.until(1).await;
        world.clock.advance(Duration::from_secs(10));
        until(&defence, id, |i| waits(i, channel, 1)).await;
        world.clock.advance(MINUTE);
        until(&defence, id, |i| is(i, channel, DeliveryState::Sent)).await;
        assert_eq!((world.desk.shown().len(), world.desk.requests()), (1, 2), "{channel}");
        world.desk.assert_correct();
    }
}

#[tokio::test]
async fn what_was_taken_in_silence_is_not_repeated_where_that_is_configured() {
    for channel in CHANNELS {
        let world = World::with_script(&[Fate::TakeInSilence]).await;
        let rungs = [
            world.action(channel, "ladder = \"l\"\nrung = 1\nwhen_unknown = \"escalate\""),
            world.action_named("next", "webhook", "ladder = \"l\"\nrung = 2"),
        ];
        let defence = world.open(&rungs.concat()).await;
        let id = defence.confirmed(&violation(1, 1)).await.unwrap();
        world.desk.until(1).await;
        world.clock.advance(Duration::from_secs(10));
        let incident = until(&defence, id, |i| is(i, "next", DeliveryState::Sent)).await;
        assert!(is(&incident, channel, DeliveryState::Failed));
        assert_eq!(incident.state, State::Escalated);
        assert_eq!(
            (world.desk.shown().len(), world.desk.requests()),
            (2, 2),
            "{channel}: one each"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_gets_its_alert_later() {
    for channel in CHANNELS {
        let world = World::new().await;
        let port = testkit::Port::free();
        let config = world::action("late", channel, port.number(), port.number(), "");
        let defence = world.open(&config).await;
        let id = defence.confirmed(&violation(1, 1)).await.unwrap();
        let incident = until(&defence, id, |i| waits(i, "late", 1)).await;
        let refused = delivery(&incident, "late");
        assert!(!refused.unknown, "{channel}: it was certainly not taken: {refused:?}");
        assert!(
            !refused.reason.as_ref().unwrap().contains("s3cret"),
            "{channel}: {refused:?}"
        );
        let listener = TcpListener::bind(port.address()).await.unwrap();
        if channel == "email" {
            smtp::serve_on(listener, Arc::clone(&world.desk));
        } else {
            servers::serve_on(listener, Arc::clone(&world.desk));
        }
        world.clock.advance(MINUTE);
        until(&defence, id, |i| is(i, "late", DeliveryState::Sent)).await;
        assert_eq!((world.desk.shown().len(), world.desk.requests()), (1, 1), "{channel}");
        world.desk.assert_correct();
    }
}

#[tokio::test]
async fn a_wrong_token_is_given_up_at_once_and_never_told() {
    let world = World::new().await;
    let config = world
        .action("telegram", "ladder = \"l\"\nrung = 1")
        .replace("123456:AbC", "999999:xyz")
        + &world.action("slack", "ladder = \"l\"\nrung = 2");
    let defence = world.open(&config).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    let incident = until(&defence, id, |i| is(i, "slack", DeliveryState::Sent)).await;
    let failed = delivery(&incident, "telegram");
    assert_eq!((failed.state, failed.attempts), (DeliveryState::Failed, 1));
    assert!(
        failed.reason.as_ref().unwrap().contains("Unauthorized: bot***"),
        "{failed:?}"
    );
    let whole = format!("{incident:?}");
    assert!(!whole.contains("999999:xyz") && !whole.contains("s3cret"), "{whole}");
}

#[tokio::test]
async fn a_recipient_that_is_refused_refuses_the_mail() {
    let world = World::new().await;
    let config = world
        .action("email", "")
        .replace("more@example.org", "nobody@example.org");
    let defence = world.open(&config).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    let incident = until(&defence, id, |i| is(i, "email", DeliveryState::Failed)).await;
    assert!(
        delivery(&incident, "email")
            .reason
            .as_ref()
            .unwrap()
            .contains("no such mailbox")
    );
    assert_eq!(world.desk.shown().len(), 0);
}

#[tokio::test]
async fn marks_that_do_not_match_cost_the_looks_not_the_alert() {
    let world = World::new().await;
    let defence = world
        .open(&world.action("telegram", "template = \"*{{ invariant.name }}\""))
        .await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    until(&defence, id, |i| is(i, "telegram", DeliveryState::Sent)).await;
    let shown = world.desk.shown();
    assert_eq!(shown.len(), 1);
    assert!(
        shown[0].text.contains("HIGH: vault <is> solvent_1"),
        "{}",
        shown[0].text
    );
}

#[tokio::test]
async fn what_never_succeeds_is_given_up_within_its_deadline() {
    let world = World::with_script(&[Fate::Break; 100]).await;
    let more = "retry = { base = \"1s\", max = \"10s\", total = \"60s\" }";
    let defence = world.open(&world.action("slack", more)).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let incident = until(&defence, id, |i| {
            is(i, "slack", DeliveryState::Failed) || waits(i, "slack", attempts)
        })
        .await;
        let delivery = delivery(&incident, "slack");
        if delivery.state == DeliveryState::Failed {
            assert_eq!(incident.state, State::Escalated);
            assert!(delivery.reason.as_ref().unwrap().contains("given up"), "{delivery:?}");
            break;
        }
        assert!(delivery.next_ms <= NOW_MS + 60_000);
        world
            .clock
            .advance(Duration::from_millis(delivery.next_ms - world.clock.now_ms()));
    }
    assert!(world.clock.now_ms() <= NOW_MS + 60_000);
}

#[tokio::test]
async fn a_test_alert_says_that_it_is_one() {
    for channel in CHANNELS {
        let world = World::new().await;
        let defence = world.open(&world.action(channel, "")).await;
        let said = defence.test_fire(channel).await.unwrap();
        assert!(said.contains("took it"), "{said}");
        let shown = world.desk.shown();
        assert_eq!(shown.len(), 1, "{channel}");
        let marked = if channel == "webhook" {
            "\"kind\":\"test\""
        } else {
            "TEST"
        };
        assert!(shown[0].text.contains(marked), "{channel}: {}", shown[0].text);
        assert_eq!(defence.incidents(None, 10).await.unwrap().len(), 0);
        world.desk.assert_correct();
    }
    let world = World::new().await;
    let defence = world.open(&world.action("slack", "")).await;
    let error = defence.test_fire("slak").await.unwrap_err().to_string();
    assert!(error.contains("`slak`") && error.contains("slack"), "{error}");
    world.desk.script(&[Fate::Break]);
    let error = defence.test_fire("slack").await.unwrap_err().to_string();
    assert!(error.contains("rollup_error"), "{error}");
}
