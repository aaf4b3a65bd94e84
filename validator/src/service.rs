//! What a validator tells those who watch it.

use chain::Followed;
use chain::reporting::Why;
use protos::v1::{self, validator_server::Validator};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::intake::NewestHead;
use crate::score::normalise;
use crate::store::{Store, WaitingNote};

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
        let scores = normalise(&totals.values().map(|total| total.average).collect::<Vec<_>>());
        let metagraph = self.metagraph.borrow().clone();
        let head = *self.head.borrow();
        let miners = totals
            .iter()
            .zip(scores)
            .filter_map(|((hotkey, total), score)| {
                let uid = metagraph.by_hotkey(&chain::AccountId::new(*hotkey))?.uid;
                Some(v1::MinerScore {
                    uid: u32::from(uid),
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
                })
            })
            .collect();
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
