//! One incident for an invariant and an attack, one alert for an incident and an action, and limits that hold.

use std::sync::Arc;
use std::time::Duration;

use defence::incident::{Moment, State};
use defence::violation::{NetworkView, Severity};
use defence::{DefenceError, DeliveryState, TimelineEntry};

use crate::world::{NOW_MS, World, delivery, is, toml_of, until, violation};

#[tokio::test]
async fn repeats_attach_and_do_not_alert_again() {
    let world = World::new().await;
    let defence = world.open(&world.action("slack", "")).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    until(&defence, id, |i| is(i, "slack", DeliveryState::Sent)).await;
    for tx in 2..=9 {
        assert_eq!(
            defence.confirmed(&violation(1, tx)).await.unwrap(),
            id,
            "the same sender"
        );
    }
    assert_eq!(
        defence.confirmed(&violation(1, 4)).await.unwrap(),
        id,
        "a known transaction"
    );
    let mut by_path = violation(7, 20);
    by_path.suspect.target = violation(1, 1).suspect.target;
    by_path.suspect.selector = violation(1, 1).suspect.selector;
    assert_eq!(defence.confirmed(&by_path).await.unwrap(), id, "the same call path");
    let other = defence.confirmed(&violation(50, 30)).await.unwrap();
    assert_ne!(other, id, "another attack");
    until(&defence, other, |i| is(i, "slack", DeliveryState::Sent)).await;
    let incident = defence.incident(id).await.unwrap().unwrap();
    assert_eq!((incident.suspects.len(), incident.total_suspects), (10, 10));
    assert_eq!(
        incident.suspects[3].tx_hash,
        violation(1, 4).suspect.tx_hash,
        "in the order of coming"
    );
    assert_eq!(
        incident
            .timeline
            .iter()
            .filter(|line| line.moment == Moment::Repeated)
            .count(),
        9
    );
    assert_eq!(world.desk.shown().len(), 2);
    let ids: Vec<u64> = defence
        .incidents(None, 10)
        .await
        .unwrap()
        .iter()
        .map(|i| i.id)
        .collect();
    assert_eq!(ids, [other, id]);
    assert_eq!(defence.incidents(Some(other), 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_are_still_one_incident_and_one_alert() {
    let world = World::new().await;
    let defence = Arc::new(world.open(&world.action("webhook", "")).await);
    let mut confirming = tokio::task::JoinSet::new();
    for n in 0..64_u8 {
        let defence = Arc::clone(&defence);
        confirming.spawn(async move { defence.confirmed(&violation(1, n % 16)).await.unwrap() });
    }
    let ids = confirming.join_all().await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let incident = until(&defence, ids[0], |i| is(i, "webhook", DeliveryState::Sent)).await;
    assert_eq!(incident.total_suspects, 16);
    assert_eq!(world.desk.requests(), 1);
}

#[tokio::test]
async fn a_later_attack_of_the_same_sender_is_another_incident() {
    let world = World::new().await;
    let defence = world.open("window = \"1m\"\nclose_after = \"1h\"").await;
    let first = defence.confirmed(&violation(1, 1)).await.unwrap();
    let mut later = violation(1, 2);
    later.seen_ms += 60_001;
    assert_ne!(defence.confirmed(&later).await.unwrap(), first);
}

#[tokio::test]
async fn a_limit_holds_alerts_back_and_one_summary_tells_of_them_over_a_restart_too() {
    let world = World::new().await;
    let config = world.action("slack", "rate_limit = { count = 2, per = \"1m\" }");
    let defence = world.open(&config).await;
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(defence.confirmed(&violation(n, n)).await.unwrap());
    }
    for id in &ids[..2] {
        until(&defence, *id, |i| is(i, "slack", DeliveryState::Sent)).await;
    }
    for id in &ids[2..] {
        let incident = until(&defence, *id, |i| is(i, "slack", DeliveryState::Suppressed)).await;
        assert_eq!(incident.state, State::Open, "nothing was done about it");
        assert!(incident.timeline.iter().any(|line| line.moment == Moment::Suppressed));
    }
    defence.shutdown().await;
    let defence = world.open(&config).await;
    let sixth = defence.confirmed(&violation(6, 6)).await.unwrap();
    until(&defence, sixth, |i| is(i, "slack", DeliveryState::Suppressed)).await;
    assert_eq!(world.desk.shown().len(), 2, "the restart did not open the limit");
    world.clock.advance(Duration::from_secs(60));
    world.desk.until(3).await;
    let seventh = defence.confirmed(&violation(7, 7)).await.unwrap();
    until(&defence, seventh, |i| is(i, "slack", DeliveryState::Sent)).await;
    let shown = world.desk.shown();
    assert_eq!(shown.len(), 4);
    assert!(shown[2].text.contains("4 alerts were held back"), "{}", shown[2].text);
    assert!(shown[2].text.contains("3, 4, 5, 6"), "{}", shown[2].text);
}

#[tokio::test]
async fn an_action_is_only_for_what_it_is_configured_for() {
    let world = World::new().await;
    let config = world.action("slack", "min_severity = \"critical\"")
        + &world.action("discord", "invariants = [4]")
        + &world.action("webhook", "invariants = [3, 4]\nmin_severity = \"high\"");
    let defence = world.open(&config).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    let incident = until(&defence, id, |i| is(i, "webhook", DeliveryState::Sent)).await;
    assert_eq!(incident.deliveries.len(), 1);
    let mut low = violation(2, 2);
    low.severity = Severity::Low;
    let id = defence.confirmed(&low).await.unwrap();
    assert_eq!(defence.incident(id).await.unwrap().unwrap().deliveries.len(), 0);
}

#[tokio::test]
async fn what_others_tell_moves_the_incident_and_a_quiet_one_is_closed_and_forgotten() {
    let world = World::new().await;
    let text = "window = \"1m\"\nclose_after = \"1h\"\nretention = \"2h\"";
    let defence = world.open(text).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    let other = defence.confirmed(&violation(2, 2)).await.unwrap();
    let event = TimelineEntry {
        at_ms: NOW_MS + 10,
        moment: Moment::Included,
        action: None,
        detail: "by somebody else".to_owned(),
    };
    defence.timeline_event(id, &event).await.unwrap();
    let view = NetworkView {
        asked: 5,
        answered: 5,
        agreed: 5,
        arbitrated: true,
    };
    defence.network_view(id, view).await.unwrap();
    let incident = defence.incident(id).await.unwrap().unwrap();
    assert_eq!(
        (incident.state, incident.contained_ms, incident.view),
        (State::Contained, Some(NOW_MS + 10), view)
    );
    assert!(
        defence
            .timeline_event(99, &event)
            .await
            .unwrap_err()
            .to_string()
            .contains("99")
    );
    world.clock.advance(Duration::from_hours(1) + Duration::from_secs(1));
    let closed = until(&defence, other, |i| i.state == State::Closed).await;
    assert_eq!(closed.timeline.last().unwrap().detail, "quiet");
    world.clock.advance(Duration::from_hours(2) + Duration::from_secs(1));
    let mut changes = defence.changes();
    while defence.incident(other).await.unwrap().is_some() {
        tokio::time::timeout(Duration::from_secs(30), changes.changed())
            .await
            .unwrap()
            .unwrap();
    }
    assert!(defence.incident(id).await.unwrap().is_none());
}

#[tokio::test]
async fn an_alert_of_an_action_that_is_gone_is_given_up() {
    let world = World::new().await;
    world.desk.script(&[crate::servers::Fate::Break; 2]);
    let both = world.action("slack", "") + &world.action("discord", "");
    let defence = world.open(&both).await;
    let id = defence.confirmed(&violation(1, 1)).await.unwrap();
    until(&defence, id, |i| {
        crate::world::waits(i, "slack", 1) && crate::world::waits(i, "discord", 1)
    })
    .await;
    defence.shutdown().await;
    let defence = world.open(&world.action("discord", "")).await;
    let incident = defence.incident(id).await.unwrap().unwrap();
    assert!(
        delivery(&incident, "slack")
            .reason
            .as_ref()
            .unwrap()
            .contains("no longer configured")
    );
    assert_eq!(incident.state, State::Escalated);
}

#[tokio::test]
async fn a_pause_without_a_sender_is_a_mistake_of_the_configuration() {
    let world = World::new().await;
    let config = toml_of("[[actions]]\nid = \"stop\"\nkind = \"pause_agent\"\nfunction = \"pause()\"");
    let error = defence::Defence::open(config, &world.database(), None)
        .await
        .unwrap_err();
    assert!(matches!(&error, DefenceError::NoPauser(id) if id == "stop"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let world = World::new().await;
    std::fs::write(
        world.database(),
        "this is a text, and much longer than the header of a database would be. ".repeat(30),
    )
    .unwrap();
    let error = defence::Defence::open(toml_of(""), &world.database(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("defence.db"), "{error}");
}

#[tokio::test]
async fn who_asks_for_news_gets_each_incident_that_has_some() {
    let world = World::new().await;
    let defence = world.open("").await;
    assert_eq!(defence.changed_after(0, 100).await.unwrap(), (vec![], 0));
    let one = defence.confirmed(&violation(1, 1)).await.unwrap();
    let (changed, line) = defence.changed_after(0, 100).await.unwrap();
    assert_eq!((changed, line > 0), (vec![one], true));
    assert_eq!(defence.changed_after(line, 100).await.unwrap(), (vec![], line));
    defence.confirmed(&violation(1, 2)).await.unwrap();
    let (changed, after) = defence.changed_after(line, 100).await.unwrap();
    assert_eq!(
        (changed, after > line),
        (vec![one], true),
        "a repeat is news of the same incident"
    );
    assert_eq!(defence.changed_after(0, 2).await.unwrap().0, [one], "a part at a time");
    defence.shutdown().await;
}
