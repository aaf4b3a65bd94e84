//! The gRPC service `portcullis.v1.Platform`.

use std::sync::Arc;

use chain::auth;
use chain::replay::{ReplayGuard, ReplayLimits};
use prost::Message;
use protos::v1;
use protos::v1::platform_server::Platform;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::assignment::Hotkey;
use crate::feed::live::status::LiveStatus;
use crate::log::LogError;
use crate::store::{ReportError, Store};
use crate::stream::{self, CHANNEL};
use crate::validators::Validators;

/// What a stream's request is signed for.
pub const STREAM_PATH: &str = "/portcullis.v1.Platform/Stream";
/// What a report is signed for.
pub const REPORT_PATH: &str = "/portcullis.v1.Platform/Report";

/// The service over a store.
#[derive(Debug)]
pub struct PlatformService {
    store: Arc<Store>,
    validators: Arc<Validators>,
    feed: Option<String>,
    live: Option<LiveStatus>,
    guard: ReplayGuard,
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
        let guard = ReplayGuard::new(ReplayLimits::default());
        Self {
            store,
            validators,
            feed,
            live: None,
            guard,
            streams: TaskTracker::new(),
            shutdown,
        }
    }

    /// Tells of a live feed too.
    #[must_use]
    pub fn with_live(mut self, live: Option<LiveStatus>) -> Self {
        self.live = live;
        self
    }

    fn open<M: Message + Default>(&self, signed: &v1::Signed, path: &str) -> Result<(Hotkey, M), Status> {
        let hotkey = *auth::open_unaddressed(signed, path, auth::now_ns(), &self.guard)?
            .hotkey
            .as_bytes();
        let message = M::decode(signed.payload.clone())
            .map_err(|error| Status::invalid_argument(format!("signed.payload does not decode: {error}")))?;
        Ok((hotkey, message))
    }
}

fn no_permit(hotkey: &Hotkey) -> Status {
    let hotkey = chain::AccountId::new(*hotkey);
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

    async fn stream(&self, request: Request<v1::Signed>) -> Result<Response<Self::StreamStream>, Status> {
        let (hotkey, request): (_, v1::StreamRequest) = self.open(request.get_ref(), STREAM_PATH)?;
        let presence = self.validators.enter(hotkey).ok_or_else(|| no_permit(&hotkey))?;
        tracing::info!(hotkey = %chain::AccountId::new(hotkey), after = request.after, "stream opened");
        let (sender, receiver) = mpsc::channel(CHANNEL);
        let (store, shutdown) = (self.store.clone(), self.shutdown.clone());
        self.streams.spawn(async move {
            stream::follow(store, hotkey, request.after, sender, presence, shutdown).await;
            tracing::info!(hotkey = %chain::AccountId::new(hotkey), "stream ended");
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn report(&self, request: Request<v1::Signed>) -> Result<Response<v1::ReportResponse>, Status> {
        let (hotkey, request): (_, v1::ReportRequest) = self.open(request.get_ref(), REPORT_PATH)?;
        if !self.validators.is_permitted(&hotkey) {
            return Err(no_permit(&hotkey));
        }
        let accepted = self
            .store
            .report(&hotkey, &request)
            .await
            .map_err(|error| match error {
                ReportError::Malformed { .. } => Status::invalid_argument(error.to_string()),
                ReportError::NotAssigned { .. } => Status::permission_denied(error.to_string()),
                ReportError::Log(error) => failed(&error),
            })?;
        metrics::counter!("portcullis_platform_reports_total").increment(accepted);
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
