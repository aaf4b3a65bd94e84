//! A platform that plays traffic and keeps what is reported to it: the wire is the real one, the log is a list.
//!
//! Items come in waves, so that a window of the score is one wave. What always holds: everything is streamed in the order of cursors
//! from wherever it is asked for, and nothing of a wave that has not begun.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use engine::B256;
use futures::Stream;
use protos::v1::platform_server::Platform;
use protos::v1::{self, stream_item::Event};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// Entries in one answer.
const PAGE: usize = 100;

/// What was reported.
#[derive(Debug, Default)]
pub struct Reported {
    /// By transaction.
    pub transactions: BTreeMap<B256, v1::TransactionReport>,
    /// By transaction and invariant.
    pub incidents: BTreeMap<(B256, u64), v1::IncidentReport>,
}

/// The platform.
#[derive(Debug, Clone)]
pub struct Scripted {
    items: Arc<Vec<v1::StreamItem>>,
    begun: watch::Receiver<usize>,
    reported: Arc<Mutex<Reported>>,
    judged: watch::Sender<usize>,
}

impl Scripted {
    /// Streams the first so many of `items` as `begun` says.
    pub fn new(items: Vec<v1::StreamItem>, begun: watch::Receiver<usize>) -> Self {
        Self {
            items: Arc::new(items),
            begun,
            reported: Arc::default(),
            judged: watch::Sender::new(0),
        }
    }

    /// How many transactions were reported.
    pub fn judged(&self) -> watch::Receiver<usize> {
        self.judged.subscribe()
    }

    /// What was reported so far.
    pub fn reported<T>(&self, look: impl FnOnce(&Reported) -> T) -> T {
        look(&self.reported.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The cursor of what is in force, and of everything after it.
pub fn streamed(cursor: u64, event: Event, codes: Vec<v1::Code>) -> v1::StreamItem {
    v1::StreamItem {
        cursor,
        codes,
        event: Some(event),
    }
}

type Items = Pin<Box<dyn Stream<Item = Result<v1::StreamItem, Status>> + Send>>;

#[tonic::async_trait]
impl Platform for Scripted {
    type StreamStream = Items;

    async fn stream(&self, request: Request<v1::StreamRequest>) -> Result<Response<Items>, Status> {
        let after = request.into_inner().after;
        let next = self.items.partition_point(|item| item.cursor <= after);
        let (items, begun) = (Arc::clone(&self.items), self.begun.clone());
        let stream = futures::stream::unfold((next, begun), move |(next, mut begun)| {
            let items = Arc::clone(&items);
            async move {
                // Ends with the test that holds the sender.
                begun.wait_for(|begun| *begun > next).await.ok()?;
                let item = items.get(next)?.clone();
                Some((Ok(item), (next + 1, begun)))
            }
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportResponse>, Status> {
        let invalid = |error: String| Status::invalid_argument(error);
        let request = request.into_inner();
        let accepted = (request.transactions.len() + request.incidents.len()) as u64;
        let hash = |bytes: &[u8]| wire::hash("tx_hash", bytes).map_err(|error| invalid(error.to_string()));
        let judged = {
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            for report in request.transactions {
                reported.transactions.insert(hash(&report.tx_hash)?, report);
            }
            for report in request.incidents {
                reported
                    .incidents
                    .insert((hash(&report.tx_hash)?, report.invariant_id), report);
            }
            reported.transactions.len()
        };
        self.judged.send_replace(judged);
        Ok(Response::new(v1::ReportResponse { accepted }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(v1::StatusResponse {
            last_cursor: self.items.last().map_or(0, |item| item.cursor),
            ..Default::default()
        }))
    }

    async fn incidents(
        &self,
        request: Request<v1::IncidentsRequest>,
    ) -> Result<Response<v1::IncidentsResponse>, Status> {
        let after = usize::try_from(request.into_inner().after).unwrap_or(usize::MAX);
        let incident = |(id, report): (u64, &v1::IncidentReport)| v1::Incident {
            id,
            invariant_id: report.invariant_id,
            invariant_name: report.invariant_name.clone(),
            tx_hash: report.tx_hash.clone(),
            witness: report.witness.clone(),
            seen_to_confirmed_us: report.seen_to_confirmed_us,
            confirmations: 1,
            ..Default::default()
        };
        let incidents = self.reported(|reported| {
            let numbered = (1u64..).zip(reported.incidents.values());
            numbered.skip(after).take(PAGE).map(incident).collect()
        });
        Ok(Response::new(v1::IncidentsResponse { incidents }))
    }

    async fn executions(
        &self,
        request: Request<v1::ExecutionsRequest>,
    ) -> Result<Response<v1::ExecutionsResponse>, Status> {
        let after = request.into_inner().after;
        let mut executions: Vec<v1::TransactionExecution> = self.reported(|reported| {
            let later = reported.transactions.values().filter(|report| report.cursor > after);
            let execution = |report: &v1::TransactionReport| v1::TransactionExecution {
                cursor: report.cursor,
                tx_hash: report.tx_hash.clone(),
                execution: report.execution.clone(),
                disputed: false,
            };
            later.map(execution).collect()
        });
        executions.sort_by_key(|execution| execution.cursor);
        executions.truncate(PAGE);
        Ok(Response::new(v1::ExecutionsResponse { executions }))
    }
}
