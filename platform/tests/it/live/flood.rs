//! Many transactions at once, from a node that has as many as it is asked for: none is lost, whatever the rate.
//!
//! `FLOOD_SECONDS` (2) and `FLOOD_RATE` (300 a second) make it longer; the soak with figures is `cargo bench --bench feed`.

use std::time::Duration;

use platform::log::Event;
use protos::v1::FeedStatus;
use testkit::crowd::chain::{Chain, Sums};
use testkit::crowd::serve::Crowd;
use testkit::until;

use super::world::{Live, Pumped, assert_true, hash_of, options};
use crate::world::open;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_flood_is_lost_and_what_became_of_each_is_told() {
    let crowd = Crowd::start(Chain::new(400).unwrap(), Duration::from_millis(500))
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let feed = Pumped::start(&crowd.ws(), open(folder.path()).await);
    until("the feed listens", async || crowd.subscribers(), |many| *many == 1).await;
    crowd.set_rate(variable("FLOOD_RATE", 300));
    tokio::time::sleep(Duration::from_secs(variable("FLOOD_SECONDS", 2))).await;
    crowd.set_rate(0);
    let stands = async || (crowd.sums(), feed.status.snapshot());
    let rests = |(sums, status): &(Sums, FeedStatus)| {
        sums.waiting == 0 && status.included == sums.included && status.pending == 0
    };
    let (sums, _status) = until("it comes to rest", stands, rests).await;
    let events = feed
        .until(|events| {
            let heads = events.iter().filter_map(|event| match event {
                Event::Head(head) => Some(head.included.len() as u64),
                _ => None,
            });
            heads.sum::<u64>() == sums.included
        })
        .await;
    let mut all = engine::B256::ZERO;
    let mut known = std::collections::HashSet::new();
    for event in &events {
        if let Event::Pending(pending) = event
            && known.insert(hash_of(pending))
        {
            all ^= hash_of(pending);
        }
    }
    assert_eq!((known.len() as u64, all), (sums.shown, sums.all), "{sums:?}");
    let replaced = events
        .iter()
        .filter(|event| matches!(event, Event::Replaced(_)))
        .count() as u64;
    assert_eq!((replaced, sums.included), (sums.replaced, sums.shown - sums.replaced));
    let status = feed.status.snapshot();
    assert_eq!(
        (status.gaps, status.missed_heads, status.refused),
        (0, 0, 0),
        "{status:?}"
    );
    // The newest with state is as the node says: its block is still kept.
    let newest = events.iter().rev().find_map(|event| match event {
        Event::Pending(pending) => pending.prestate.is_some().then(|| pending.clone()),
        _ => None,
    });
    let provider = alloy::providers::ProviderBuilder::new()
        .disable_recommended_fillers()
        .connect_http(crowd.http().parse().unwrap());
    let provider = alloy::providers::Provider::erased(provider);
    assert_eq!(assert_true(&provider, &newest.unwrap()).await, 0);
    feed.stop().await;
}

/// However far behind the feed is, no block overtakes what was shown before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_was_held_up_tells_everything_in_its_order_afterwards() {
    let crowd = Crowd::start(Chain::new(400).unwrap(), Duration::from_millis(500))
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut live = Live::start(&[crowd.ws()], options(), open(folder.path()).await, None);
    live.head(|_| true).await;
    until("the feed listens", async || crowd.subscribers(), |many| *many == 1).await;
    crowd.set_rate(800);
    // Nobody takes an item meanwhile, and blocks go by.
    let sums = async || crowd.sums();
    until("blocks go by", sums, |sums| sums.included > 2_000).await;
    crowd.set_rate(0);
    let sums = until("nothing waits", sums, |sums| sums.waiting == 0).await;
    let (mut shown, mut included, mut all) = (std::collections::HashSet::new(), 0, engine::B256::ZERO);
    while included < sums.included {
        match live.next().await {
            Event::Pending(pending) => {
                let hash = hash_of(&pending);
                if shown.insert(hash) {
                    all ^= hash;
                }
            }
            Event::Head(head) => {
                included += head.included.len() as u64;
                let early = |hash: &&prost::bytes::Bytes| !shown.contains(&engine::B256::from_slice(hash));
                assert_eq!(head.included.iter().filter(early).count(), 0, "block {}", head.number);
            }
            _ => {}
        }
    }
    assert_eq!((shown.len() as u64, all), (sums.shown, sums.all), "{sums:?}");
    let status = live.status.snapshot();
    assert_eq!((status.gaps, status.missed_heads), (0, 0), "{status:?}");
}
