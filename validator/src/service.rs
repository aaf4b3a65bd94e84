//! What a validator tells those who watch it.

use std::collections::BTreeMap;

use chain::Followed;
use chain::reporting::Why;
use protos::v1::{self, validator_server::Validator};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::intake::NewestHead;
use crate::score::normalise;
use crate::store::{Hotkey, Store, Total, WaitingNote};

/// Serves the validator's standing and its view of the miners.
#[derive(Debug)]
pub struct StatusService {
    /// Where it is written.
    pub store: Store,
    /// For uids.
    pub metagraph: Followed,
    /// The validator's hotkey.
    pub hotkey: chain::AccountId,
    /// Where the stream stands on the chain.
    pub head: watch::Receiver<NewestHead>,
}

fn weights_waiting(note: WaitingNote) -> v1::WeightsWaiting {
    let why = Why::ALL.into_iter().find(|why| why.name() == note.why);
    v1::WeightsWaiting {
        explanation: why.map(Why::explanation).unwrap_or_default().to_owned(),
        why: note.why,
        said: note.said,
        since_block: note.since,
        until_block: note.until,
    }
}

/// What was seen of each miner since the beginning, by hotkey, without uids.
pub(crate) fn miner_scores(totals: &BTreeMap<Hotkey, Total>) -> Vec<v1::MinerScore> {
    let scores = normalise(&totals.values().map(|total| total.average).collect::<Vec<_>>());
    let told = |((hotkey, total), score): ((&Hotkey, &Total), f64)| v1::MinerScore {
        uid: 0,
        hotkey: hotkey.to_vec().into(),
        asked: total.asked,
        answered: total.answered,
        correct: total.correct,
        latency: total
            .latency
            .iter()
            .map(|(micros, count)| v1::LatencyBucket {
                micros: *micros,
                count: *count,
            })
            .collect(),
        score,
        weight: u32::from(total.weight),
        violating: total.violating,
        found: total.found,
        proven: total.proven,
    };
    totals.iter().zip(scores).map(told).collect()
}

#[tonic::async_trait]
impl Validator for StatusService {
    async fn status(
        &self,
        _: Request<v1::ValidatorStatusRequest>,
    ) -> Result<Response<v1::ValidatorStatusResponse>, Status> {
        let broken = |error: crate::store::StoreError| Status::internal(error.to_string());
        let standing = self.store.standing().await.map_err(broken)?;
        let canaries = self.store.canaries().await.map_err(broken)?;
        let waiting = self.store.waiting().await.map_err(broken)?;
        let totals = self.store.totals().await.map_err(broken)?;
        let metagraph = self.metagraph.borrow().clone();
        let head = *self.head.borrow();
        let known = |mut score: v1::MinerScore| {
            let hotkey = score.hotkey.as_ref().try_into().ok().map(chain::AccountId::new)?;
            score.uid = u32::from(metagraph.by_hotkey(&hotkey)?.uid);
            Some(score)
        };
        let miners = miner_scores(&totals).into_iter().filter_map(known).collect();
        Ok(Response::new(v1::ValidatorStatusResponse {
            hotkey: self.hotkey.as_bytes().to_vec().into(),
            cursor: standing.low_water,
            judged: standing.judged,
            arbitrated: standing.arbitrated,
            repeated: standing.repeated,
            weights_set: standing.weights_set,
            miners,
            canaries: canaries.sent,
            violating_canaries: canaries.violating,
            weights_waiting: waiting.map(weights_waiting),
            head_number: head.map_or(0, |(number, _)| number),
            head_hash: head.map(|(_, hash)| wire::hash_bytes(hash)).unwrap_or_default(),
        }))
    }

    async fn disputes(&self, request: Request<v1::DisputesRequest>) -> Result<Response<v1::DisputesResponse>, Status> {
        let request = request.into_inner();
        let tx_hash = match request.tx_hash.len() {
            0 => None,
            _ => Some(
                wire::hash("tx_hash", &request.tx_hash).map_err(|error| Status::invalid_argument(error.to_string()))?,
            ),
        };
        let disputes = self.store.disputes(request.before, tx_hash, request.limit, false).await;
        let disputes = disputes.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(v1::DisputesResponse { disputes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_miner_is_told_with_its_share_of_the_score() {
        let total = |average, answered| Total {
            asked: 10,
            answered,
            latency: vec![(500, answered)],
            average,
            weight: 7,
            ..Total::default()
        };
        let told = miner_scores(&BTreeMap::from([([4; 32], total(3.0, 9)), ([5; 32], total(1.0, 2))]));
        let shares: Vec<f64> = told.iter().map(|miner| miner.score).collect();
        assert_eq!(shares, [0.75, 0.25]);
        let last = &told[1];
        assert_eq!(
            (last.hotkey.as_ref(), last.asked, last.answered, last.weight),
            (&[5; 32][..], 10, 2, 7)
        );
        assert_eq!((last.latency[0].micros, last.latency[0].count), (500, 2));
    }
}
