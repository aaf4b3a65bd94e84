//! What became of each attack: from the chain, and from what the validator reported.

use std::collections::HashMap;
use std::time::Duration;

use alloy::primitives::B256;
use protos::v1;
use tokio::time::Instant;
use validator::pause::timing::Latency;

use super::field::Field;
use super::report::Attack;
use super::{ASK_EVERY, Mined, Race, Started, balance};
use crate::localnet::clients::PlatformView;
use crate::localnet::error::LocalnetError;
use crate::localnet::live::rpc::NodeClient;

/// How long reports of the last incident may take to reach the platform.
const REPORTED_WITHIN: Duration = Duration::from_secs(20);

impl Race<'_> {
    pub(super) async fn collect(
        &mut self,
        node: &NodeClient,
        platform: &PlatformView,
        started: Vec<Started>,
        blocks: &HashMap<B256, Mined>,
    ) -> Result<Vec<Attack>, LocalnetError> {
        self.progress.phase("collecting what the validator reported");
        let incidents = self.reported(platform, &started).await?;
        let head = node.head().await?;
        let mut each = Vec::with_capacity(started.len());
        for Started {
            raid,
            through,
            pooled,
            sent,
            sent_ms,
            mined,
        } in started
        {
            let timeline = incidents.get(&raid.hash);
            let pause = timeline.and_then(pause_of);
            let place = |mined: Mined| (mined.block, mined.index);
            let raid_place = mined.map(|(_, mined)| place(mined));
            let pause_place = pause
                .and_then(|(hash, _)| blocks.get(&hash))
                .filter(|mined| mined.succeeded);
            let mut attack = Attack {
                vault: raid.vault,
                through,
                raid: raid.hash,
                tip: raid.tip,
                block: raid_place.map(|(block, _)| block),
                robbed: mined.is_some_and(|(_, mined)| mined.succeeded),
                pause: pause.map(|(hash, _)| hash),
                ahead: match (pause_place, raid_place) {
                    (Some(pause), Some(raid)) => place(*pause) < raid,
                    _ => false,
                },
                kept: balance(node, &head, raid.vault).await? >= Field::treasure(),
                sent_to_broadcast_ms: pause.map(|(_, at_ms)| at_ms.saturating_sub(sent_ms)),
                sent_to_pooled_us: pooled.and_then(|pooled| u64::try_from(pooled.as_micros()).ok()),
                sent_to_block_ms: mined.map_or(0, |(at, _)| u64::try_from((at - sent).as_millis()).unwrap_or(u64::MAX)),
                seen_to_broadcast_us: None,
                parts_us: None,
                note: String::new(),
            };
            if let Some(timeline) = timeline {
                let moments = || timeline.timeline.iter();
                if let Some(latency) = moments().find_map(|moment| Latency::read(&moment.detail)) {
                    attack.measured(&latency);
                }
                let escalated = moments().rev().find(|moment| moment.moment == "escalated");
                attack.note = escalated.map(|moment| moment.detail.clone()).unwrap_or_default();
            } else {
                attack.note = format!("no incident was reported for the raid {}", raid.hash);
            }
            each.push(attack);
        }
        Ok(each)
    }

    /// The timelines of the raids' incidents, by raid, once all of them have ended.
    async fn reported(
        &self,
        platform: &PlatformView,
        started: &[Started],
    ) -> Result<HashMap<B256, v1::IncidentTimeline>, LocalnetError> {
        let until = Instant::now() + REPORTED_WITHIN;
        loop {
            let mut timelines = HashMap::new();
            for incident in self.fleet.guard(platform.incidents(0)).await? {
                if let (Ok(hash), Some(timeline)) = (
                    B256::try_from(incident.tx_hash.as_ref()),
                    incident.timelines.into_iter().next(),
                ) {
                    timelines.insert(hash, timeline);
                }
            }
            let ended = |started: &Started| {
                let timeline = timelines.get(&started.raid.hash);
                timeline.is_some_and(|timeline| matches!(timeline.state.as_str(), "contained" | "escalated" | "closed"))
            };
            if started.iter().all(ended) || Instant::now() > until {
                return Ok(timelines);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
}

/// The pause that was broadcast last before one was included, and when the first was.
fn pause_of(timeline: &v1::IncidentTimeline) -> Option<(B256, u64)> {
    let hash = |moment: &v1::TimelineMoment| moment.detail.split_whitespace().next()?.parse::<B256>().ok();
    let first = timeline.timeline.iter().find(|moment| moment.moment == "broadcast")?;
    let included = timeline.timeline.iter().find(|moment| moment.moment == "included");
    let pause = included.and_then(hash).or_else(|| hash(first))?;
    Some((pause, first.at_ms))
}
