//! The gRPC service `portcullis.v1.Ledger` over the embedded ledger.
//!
//! Reads are open. A mutation is opened by [`auth::open`] for the ledger's genesis id before anything of it is believed;
//! its nonce is stored with what it changes, so that it stays used after a restart.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use protos::v1;
use protos::v1::ledger_server::{Ledger as Service, LedgerServer};
use tonic::{Request, Response, Status};

use super::LocalLedger;
use super::rules::Operation;
use super::writer::Done;
use crate::account::AccountId;
use crate::auth;
use crate::error::LedgerError;
use crate::ledger::{AxonInfo, Beacon, Ledger, TimelockedCommit, WeightsCall, WeightsCommit, WeightsReveal};
use crate::replay::{ReplayGuard, ReplayLimits};
use crate::wire::{self, path};

/// The largest request: weights on every uid there can be fit many times.
const REQUEST_LIMIT: usize = 4 << 20;

/// The service's implementation.
#[derive(Debug)]
pub struct LedgerService {
    ledger: LocalLedger,
    block_time: Duration,
    me: AccountId,
    guard: ReplayGuard,
    now_ns: fn() -> u64,
}

impl LedgerService {
    /// Serves `ledger`, whose clock makes a block each `block_time`. `now_ns` is the wall clock, [`auth::now_ns`].
    pub fn new(ledger: LocalLedger, block_time: Duration, now_ns: fn() -> u64) -> Self {
        let guard = ReplayGuard::new(ReplayLimits::default());
        for (hotkey, nonce) in ledger.recent_nonces() {
            // Room for what the database kept is not in question: it keeps less than the guard.
            let _kept = guard.admit(*hotkey, *nonce, *nonce);
        }
        Self {
            me: ledger.genesis_id(),
            ledger,
            block_time,
            guard,
            now_ns,
        }
    }

    /// The tonic server of it.
    pub fn into_server(self) -> LedgerServer<Self> {
        LedgerServer::from_arc(Arc::new(self)).max_decoding_message_size(REQUEST_LIMIT)
    }

    /// Checks who sent it, reads the call, and carries it out.
    async fn mutate<C: Message + Default>(
        &self,
        signed: &v1::Signed,
        path: &str,
        operation: impl FnOnce(C) -> Result<Operation, protos::DecodeError>,
    ) -> Result<Done, Status> {
        let opened = auth::open(signed, &self.me, path, (self.now_ns)(), &self.guard);
        let sender = opened.map_err(|error| {
            tracing::info!(path, %error, "request refused");
            Status::from(error)
        })?;
        let invalid = |reason: String| wire::to_status(&LedgerError::Invalid(reason));
        let call = C::decode(signed.payload.clone())
            .map_err(|error| invalid(format!("field `signed.payload` is not the call of {path}: {error}")))?;
        let operation = operation(call).map_err(|error| invalid(error.to_string()))?;
        let done = self
            .ledger
            .submit(sender.hotkey, operation, Some(sender.nonce_ns))
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

    async fn register(&self, request: Request<v1::Signed>) -> Result<Response<v1::RegisterReceipt>, Status> {
        let read = |_: v1::RegisterCall| Ok(Operation::Register);
        let done = self.mutate(request.get_ref(), path::REGISTER, read).await?;
        Ok(Response::new(v1::RegisterReceipt {
            uid: done.uid.into(),
            block: done.block,
        }))
    }

    async fn add_stake(&self, request: Request<v1::Signed>) -> Result<Response<v1::AddStakeReceipt>, Status> {
        let read = |call: v1::AddStakeCall| Ok(Operation::AddStake(call.amount));
        let done = self.mutate(request.get_ref(), path::ADD_STAKE, read).await?;
        Ok(Response::new(v1::AddStakeReceipt {
            stake: done.stake,
            block: done.block,
        }))
    }

    async fn serve_axon(&self, request: Request<v1::Signed>) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::ServeAxonCall| AxonInfo::try_from(call).map(Operation::ServeAxon);
        let done = self.mutate(request.get_ref(), path::SERVE_AXON, read).await?;
        Ok(Response::new(v1::Receipt { block: done.block }))
    }

    async fn set_weights(&self, request: Request<v1::Signed>) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::SetWeightsCall| WeightsCall::try_from(call).map(Operation::SetWeights);
        let done = self.mutate(request.get_ref(), path::SET_WEIGHTS, read).await?;
        Ok(Response::new(v1::Receipt { block: done.block }))
    }

    async fn commit_weights(&self, request: Request<v1::Signed>) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::CommitWeightsCall| WeightsCommit::try_from(call).map(Operation::CommitWeights);
        let done = self.mutate(request.get_ref(), path::COMMIT_WEIGHTS, read).await?;
        Ok(Response::new(v1::Receipt { block: done.block }))
    }

    async fn reveal_weights(&self, request: Request<v1::Signed>) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::RevealWeightsCall| WeightsReveal::try_from(call).map(Operation::RevealWeights);
        let done = self.mutate(request.get_ref(), path::REVEAL_WEIGHTS, read).await?;
        Ok(Response::new(v1::Receipt { block: done.block }))
    }

    async fn commit_timelocked(&self, request: Request<v1::Signed>) -> Result<Response<v1::Receipt>, Status> {
        let read = |call: v1::CommitTimelockedCall| TimelockedCommit::try_from(call).map(Operation::CommitTimelocked);
        let done = self.mutate(request.get_ref(), path::COMMIT_TIMELOCKED, read).await?;
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
