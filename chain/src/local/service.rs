//! The gRPC service `portcullis.v1.Ledger` over the embedded ledger.
//!
//! Reads are open. A mutation passes the [`Gate`] for the ledger's genesis id before any handler sees it; its nonce is stored with
//! what it changes, so that it stays used after a restart.

use std::sync::Arc;
use std::time::Duration;

use node::exit::Failure;
use protos::v1;
use protos::v1::ledger_server::{Ledger as Service, LedgerServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::Layer;

use super::LocalLedger;
use super::rules::Operation;
use super::writer::Done;
use crate::auth::Checks;
use crate::auth::layer::{self, Gate, Gated};
use crate::error::LedgerError;
use crate::ledger::{AxonInfo, Beacon, Ledger, TimelockedCommit, WeightsCall, WeightsCommit, WeightsReveal};
use crate::replay::{ReplayGuard, ReplayLimits};
use crate::wire;

/// The largest request: weights on every uid there can be fit many times.
const REQUEST_LIMIT: usize = 4 << 20;

/// What needs no signature: every read. Whatever else there is, or comes to be, does.
const OPEN: &[&str] = &[
    "/portcullis.v1.Ledger/GetChain",
    "/portcullis.v1.Ledger/GetMetagraph",
    "/portcullis.v1.Ledger/GetHyperparameters",
    "/portcullis.v1.Ledger/GetWeights",
    "/portcullis.v1.Ledger/GetBeacon",
    "/portcullis.v1.Ledger/GetHistory",
];

/// The service's implementation.
#[derive(Debug)]
pub struct LedgerService {
    ledger: LocalLedger,
    block_time: Duration,
    now_ns: fn() -> u64,
}

impl LedgerService {
    /// Serves `ledger`, whose clock makes a block each `block_time`. `now_ns` is the wall clock, [`crate::auth::now_ns`].
    pub fn new(ledger: LocalLedger, block_time: Duration, now_ns: fn() -> u64) -> Self {
        Self {
            ledger,
            block_time,
            now_ns,
        }
    }

    /// The tonic server of it, behind the check of signatures.
    pub fn into_server(self) -> Gated<LedgerServer<Self>> {
        let guard = ReplayGuard::new(ReplayLimits::default());
        for (hotkey, nonce) in self.ledger.recent_nonces() {
            // Room for what the database kept is not in question: it keeps less than the guard.
            let _kept = guard.admit(*hotkey, *nonce, *nonce);
        }
        let me = Some(self.ledger.genesis_id());
        let checks = Checks::new(me).remembering(guard).by(self.now_ns);
        Gate::new(checks, OPEN, REQUEST_LIMIT)
            .layer(LedgerServer::from_arc(Arc::new(self)).max_decoding_message_size(REQUEST_LIMIT))
    }

    /// Serves it on `listener` until `shutdown`, with health and reflection; calls under way have five seconds then.
    ///
    /// # Errors
    /// When the transport fails.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), Failure> {
        let routes = Routes::new(self.into_server());
        let services = &[wire::SERVICE];
        node::server::serve(listener, routes, services, protos::FILE_DESCRIPTOR_SET, shutdown).await
    }

    /// Reads the call of who was let in, and carries it out.
    async fn mutate<C>(
        &self,
        request: Request<C>,
        operation: impl FnOnce(C) -> Result<Operation, protos::DecodeError>,
    ) -> Result<Done, Status> {
        let caller = layer::caller(&request)?;
        let invalid = |error: protos::DecodeError| wire::to_status(&LedgerError::Invalid(error.to_string()));
        let operation = operation(request.into_inner()).map_err(invalid)?;
        let done = self
            .ledger
            .submit(caller.hotkey, operation, Some(caller.nonce_ns))
            .await;
        done.map_err(|error| wire::to_status(&error))
    }
}

#[tonic::async_trait]
impl Service for LedgerService {
    async fn get_chain(&self, _: Request<v1::GetChainRequest>) -> Result<Response<v1::ChainInfo>, Status> {
        let state = self.ledger.state();
        Ok(Response::new(v1::ChainInfo {
            genesis_id: state.genesis_id.as_bytes().to_vec().into(),
            netuid: state.params.netuid.into(),
            block: state.clock.block,
            block_time_ms: u64::try_from(self.block_time.as_millis()).unwrap_or(u64::MAX),
            epoch_index: state.clock.epoch_index,
            last_epoch_block: state.clock.last_epoch_block,
            tempo: state.params.tempo,
        }))
    }

    async fn get_metagraph(&self, _: Request<v1::GetMetagraphRequest>) -> Result<Response<v1::Metagraph>, Status> {
        Ok(Response::new((&self.ledger.state().metagraph()).into()))
    }

    async fn get_hyperparameters(
        &self,
        _: Request<v1::GetHyperparametersRequest>,
    ) -> Result<Response<v1::Hyperparameters>, Status> {
        Ok(Response::new((&self.ledger.state().hyperparameters()).into()))
    }

    async fn get_weights(&self, request: Request<v1::GetWeightsRequest>) -> Result<Response<v1::WeightRow>, Status> {
        let uid = request.get_ref().uid;
        let row = match u16::try_from(uid) {
            Ok(uid) => self.ledger.weights(uid).await,
            Err(_) => Err(crate::error::Refusal::UidNotFound.into()),
        };
        row.map(|row| Response::new(wire::weight_row(&row)))
            .map_err(|error| wire::to_status(&error))
    }

    async fn register(&self, request: Request<v1::RegisterCall>) -> Result<Response<v1::RegisterReceipt>, Status> {
        let read = |_: v1::RegisterCall| Ok(Operation::Register);
        let done = self.mutate(request, read).await?;
        Ok(Response::new(v1::RegisterReceipt {
            uid: done.uid.into(),
            block: done.block,
        }))
    }

    async fn add_stake(&self, request: Request<v1::AddStakeCall>) -> Result<Response<v1::AddStakeReceipt>, Status> {
        let read = |call: v1::AddStakeCall| Ok(Operation::AddStake(call.amount));
        let done = self.mutate(request, read).await?;
        Ok(Response::new(v1::AddStakeReceipt {
            stake: done.stake,
            block: done.block,
        }))
    }

    async fn serve_axon(&self, request: Request<v1::ServeAxonCall>) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::ServeAxonCall| AxonInfo::try_from(call).map(Operation::ServeAxon);
        let done = self.mutate(request, read).await?;
        Ok(Response::new(v1::Receipt { block: done.block }))
    }

    async fn set_weights(&self, request: Request<v1::SetWeightsCall>) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::SetWeightsCall| WeightsCall::try_from(call).map(Operation::SetWeights);
        let done = self.mutate(request, read).await?;
        Ok(Response::new(v1::Receipt { block: done.block }))
    }

    async fn commit_weights(&self, request: Request<v1::CommitWeightsCall>) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::CommitWeightsCall| WeightsCommit::try_from(call).map(Operation::CommitWeights);
        let done = self.mutate(request, read).await?;
        Ok(Response::new(v1::Receipt { block: done.block }))
    }

    async fn reveal_weights(&self, request: Request<v1::RevealWeightsCall>) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::RevealWeightsCall| WeightsReveal::try_from(call).map(Operation::RevealWeights);
        let done = self.mutate(request, read).await?;
        Ok(Response::new(v1::Receipt { block: done.block }))
    }

    async fn commit_timelocked(
        &self,
        request: Request<v1::CommitTimelockedCall>,
    ) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::CommitTimelockedCall| TimelockedCommit::try_from(call).map(Operation::CommitTimelocked);
        let done = self.mutate(request, read).await?;
        Ok(Response::new(v1::Receipt { block: done.block }))
    }

    async fn get_beacon(&self, _: Request<v1::GetBeaconRequest>) -> Result<Response<v1::Beacon>, Status> {
        let block_time_ms = u64::try_from(self.block_time.as_millis()).unwrap_or(u64::MAX).max(1);
        let beacon: Beacon = self.ledger.state().beacon(block_time_ms);
        Ok(Response::new((&beacon).into()))
    }

    async fn get_history(&self, request: Request<v1::GetHistoryRequest>) -> Result<Response<v1::History>, Status> {
        let request = request.get_ref();
        let history = match u16::try_from(request.uid) {
            Ok(uid) => self.ledger.history(uid, request.limit).await,
            Err(_) => Err(crate::error::Refusal::UidNotFound.into()),
        };
        let entries = history.map_err(|error| wire::to_status(&error))?;
        Ok(Response::new(v1::History {
            entries: entries.iter().map(v1::EpochEntry::from).collect(),
        }))
    }
}
