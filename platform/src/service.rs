//! The gRPC service `portcullis.v1.Platform`.

use std::sync::Arc;

use chain::auth::Checks;
use chain::auth::layer::{self, Gate, Gated};
use node::server::MESSAGE_LIMIT;
use protos::v1;
use protos::v1::platform_server::{Platform, PlatformServer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tower::Layer;

use crate::feed::live::status::LiveStatus;
use crate::log::{Log, LogError};
use crate::store::{ReportError, Store};
use crate::stream::{self, CHANNEL};
use crate::validators::Validators;

/// What needs no signature. Whatever else there is, or comes to be, does.
const OPEN: &[&str] = &[
    "/portcullis.v1.Platform/Status",
    "/portcullis.v1.Platform/Incidents",
    "/portcullis.v1.Platform/Executions",
];

/// The service over a store.
#[derive(Debug)]
pub struct PlatformService {
    store: Arc<Store>,
    log: Arc<dyn Log>,
    validators: Arc<Validators>,
    feed: Option<String>,
    live: Option<LiveStatus>,
    streams: TaskTracker,
    shutdown: CancellationToken,
}

impl PlatformService {
    /// Serves `store` to `validators`; `feed` is the name of the feed whose end is reported. Streams end at `shutdown`.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        validators: Arc<Validators>,
        feed: Option<String>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            log: store.clone(),
            store,
            validators,
            feed,
            live: None,
            streams: TaskTracker::new(),
            shutdown,
        }
    }

    /// Streams from this log in the place of the store's own: the same items, by another way.
    #[must_use]
    pub fn with_log(mut self, log: Arc<dyn Log>) -> Self {
        self.log = log;
        self
    }

    /// Tells of a live feed too.
    #[must_use]
    pub fn with_live(mut self, live: Option<LiveStatus>) -> Self {
        self.live = live;
        self
    }

    /// The tonic server of it, behind the check of signatures: those who hold a validator permit stream and report.
    pub fn into_server(self) -> Gated<PlatformServer<Self>> {
        let validators = Arc::clone(&self.validators);
        // A platform has no hotkey, so what it is sent is for anybody.
        let gate =
            Gate::new(Checks::new(None), OPEN, MESSAGE_LIMIT).admitting(Arc::new(move |caller| {
                match validators.is_permitted(caller.hotkey.as_bytes()) {
                    true => Ok(()),
                    false => Err(no_permit(&caller.hotkey)),
                }
            }));
        gate.layer(
            PlatformServer::new(self)
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
        )
    }
}

fn no_permit(hotkey: &chain::AccountId) -> Status {
    Status::permission_denied(format!(
        "{hotkey} is not on the metagraph with a validator permit; try again after the next epoch"
    ))
}

fn failed(error: &LogError) -> Status {
    tracing::error!(%error, "a request failed");
    Status::internal("the platform's database failed")
}

#[tonic::async_trait]
impl Platform for PlatformService {
    type StreamStream = ReceiverStream<stream::Sent>;

    async fn stream(&self, request: Request<v1::StreamRequest>) -> Result<Response<Self::StreamStream>, Status> {
        let caller = layer::caller(&request)?.hotkey;
        let hotkey = *caller.as_bytes();
        let after = request.get_ref().after;
        let presence = self.validators.enter(hotkey).ok_or_else(|| no_permit(&caller))?;
        tracing::info!(hotkey = %caller, after, "stream opened");
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let (log, shutdown) = (self.log.clone(), self.shutdown.clone());
        self.streams.spawn(async move {
            stream::follow(log, hotkey, after, sender, presence, shutdown).await;
            tracing::info!(hotkey = %caller, "stream ended");
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportResponse>, Status> {
        let caller = layer::caller(&request)?.hotkey;
        let accepted = self
            .store
            .report(caller.as_bytes(), request.get_ref())
            .await
            .map_err(|error| match error {
                ReportError::Malformed { .. } => Status::invalid_argument(error.to_string()),
                // Not `PermissionDenied`, which is of the caller and passes: this report will never be taken.
                ReportError::NotAssigned { .. } => Status::failed_precondition(error.to_string()),
                ReportError::Log(error) => failed(&error),
            })?;
        metrics::counter!("platform_reports_total").increment(accepted);
        Ok(Response::new(v1::ReportResponse { accepted }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let mut status = self
            .store
            .status(self.feed.as_deref())
            .await
            .map_err(|error| failed(&error))?;
        status.validators_connected = u32::try_from(self.validators.live()).unwrap_or(u32::MAX);
        status.feed = self.live.as_ref().map(LiveStatus::snapshot);
        Ok(Response::new(status))
    }

    async fn incidents(
        &self,
        request: Request<v1::IncidentsRequest>,
    ) -> Result<Response<v1::IncidentsResponse>, Status> {
        let v1::IncidentsRequest { after, limit } = request.into_inner();
        let incidents = self
            .store
            .incidents(after, limit)
            .await
            .map_err(|error| failed(&error))?;
        Ok(Response::new(v1::IncidentsResponse { incidents }))
    }

    async fn executions(
        &self,
        request: Request<v1::ExecutionsRequest>,
    ) -> Result<Response<v1::ExecutionsResponse>, Status> {
        let v1::ExecutionsRequest { after, limit } = request.into_inner();
        let executions = self
            .store
            .executions(after, limit)
            .await
            .map_err(|error| failed(&error))?;
        Ok(Response::new(v1::ExecutionsResponse { executions }))
    }
}
