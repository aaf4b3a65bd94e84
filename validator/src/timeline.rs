//! An incident as the platform is told of it: no larger than it takes, whatever the attacker makes of it.
//!
//! A report that is refused for its size would be sent again for ever, and nothing behind it. So what is least needed is left out
//! first: balances of the later suspects (their number is told), then details of moments, the latest first.

use defence::violation::Suspect;
use defence::{Incident, TimelineEntry};
use engine::Address;
use prost::Message;
use prost::bytes::Bytes;
use protos::v1;

/// Most suspects that are told.
const SUSPECTS: usize = 50;
/// Most moments that are told.
const MOMENTS: usize = 500;
/// Longest text of a moment that is told, bytes.
const TEXT: usize = 2_000;
/// Longest timeline that the platform takes, bytes.
const BYTES: usize = 256 << 10;

/// The timeline of an incident.
pub(crate) fn of(incident: &Incident) -> v1::IncidentTimeline {
    let told = |entry: &TimelineEntry| v1::TimelineMoment {
        at_ms: entry.at_ms,
        moment: entry.moment.label().to_owned(),
        action: entry.action.clone().unwrap_or_default(),
        detail: cut(&entry.detail),
    };
    let all = &incident.timeline;
    // Of a long one the beginning and the end.
    let (head, tail) = all.split_at(all.len().min(MOMENTS / 2));
    let tail = tail.iter().skip(tail.len().saturating_sub(MOMENTS / 2));
    let mut timeline: Vec<v1::TimelineMoment> = head.iter().chain(tail).map(told).collect();
    timeline.sort_by_key(|moment| moment.at_ms);
    fitted(v1::IncidentTimeline {
        incident: incident.id,
        revision: 0,
        invariant_id: incident.violation.invariant.id,
        tx_hash: wire::hash_bytes(incident.violation.suspect.tx_hash),
        state: format!("{:?}", incident.state).to_lowercase(),
        severity: incident.severity.label().to_owned(),
        suspects: incident.suspects.iter().take(SUSPECTS).map(suspect).collect(),
        total_suspects: incident.total_suspects,
        timeline,
        view: Some(v1::NetworkView {
            asked: incident.view.asked,
            answered: incident.view.answered,
            agreed: incident.view.agreed,
            arbitrated: incident.view.arbitrated,
        }),
        validator: Bytes::new(),
    })
}

/// Without what makes it longer than the platform takes.
fn fitted(mut timeline: v1::IncidentTimeline) -> v1::IncidentTimeline {
    let mut over = timeline.encoded_len().saturating_sub(BYTES);
    for suspect in timeline.suspects.iter_mut().rev() {
        if over == 0 {
            return timeline;
        }
        let before = suspect.encoded_len();
        suspect.more_deltas += suspect.deltas.drain(..).count() as u64;
        over = over.saturating_sub(before.saturating_sub(suspect.encoded_len()));
    }
    for moment in timeline.timeline.iter_mut().rev() {
        if over == 0 {
            break;
        }
        over = over.saturating_sub(moment.detail.len());
        moment.detail.clear();
    }
    timeline
}

fn suspect(suspect: &Suspect) -> v1::SuspectTransaction {
    let address = |address: &Address| Bytes::copy_from_slice(address.as_slice());
    v1::SuspectTransaction {
        tx_hash: wire::hash_bytes(suspect.tx_hash),
        sender: address(&suspect.sender),
        target: suspect.target.as_ref().map(address).unwrap_or_default(),
        value: Bytes::copy_from_slice(&suspect.value.to_be_bytes::<32>()),
        pre: suspect.pre.clone(),
        post: suspect.post.clone(),
        deltas: suspect
            .deltas
            .iter()
            .map(|delta| v1::TokenDelta {
                token: delta.token.as_ref().map(address).unwrap_or_default(),
                holder: address(&delta.holder),
                change: delta.change.to_string(),
            })
            .collect(),
        more_deltas: suspect.more_deltas,
    }
}

/// At most so much of a text, on a character's boundary.
fn cut(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delta() -> v1::TokenDelta {
        v1::TokenDelta {
            token: vec![1; 20].into(),
            holder: vec![2; 20].into(),
            change: "-".to_owned() + &"9".repeat(76),
        }
    }

    fn long(suspects: usize, deltas: usize, moments: usize, detail: usize) -> v1::IncidentTimeline {
        v1::IncidentTimeline {
            suspects: vec![
                v1::SuspectTransaction {
                    deltas: vec![delta(); deltas],
                    ..Default::default()
                };
                suspects
            ],
            timeline: vec![
                v1::TimelineMoment {
                    moment: "seen".to_owned(),
                    detail: "x".repeat(detail),
                    ..Default::default()
                };
                moments
            ],
            ..Default::default()
        }
    }

    #[test]
    fn the_first_suspects_balances_and_the_first_details_are_kept_longest() {
        let fits = fitted(long(SUSPECTS, 32, MOMENTS, 200));
        assert!(fits.encoded_len() <= BYTES);
        let [first, .., last] = &fits.suspects[..] else {
            panic!("{fits:?}")
        };
        assert_eq!((first.deltas.len(), first.more_deltas), (32, 0));
        assert_eq!((last.deltas.len(), last.more_deltas), (0, 32));
        assert!(fits.timeline.iter().all(|moment| moment.detail.len() == 200));

        let fits = fitted(long(SUSPECTS, 32, MOMENTS, TEXT));
        let lengths: Vec<usize> = fits.timeline.iter().map(|moment| moment.detail.len()).collect();
        assert!(lengths.is_sorted_by(|a, b| a >= b) && lengths[0] == TEXT && lengths[MOMENTS - 1] == 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_timeline_is_taken_and_one_that_fits_is_told_whole(
            suspects in 0..=SUSPECTS, deltas in 0usize..=32, moments in 0..=MOMENTS, detail in 0..=TEXT,
        ) {
            let whole = long(suspects, deltas, moments, detail);
            let told = fitted(whole.clone());
            prop_assert!(told.encoded_len() <= BYTES);
            prop_assert!(whole.encoded_len() > BYTES || told == whole);
        }
    }
}
