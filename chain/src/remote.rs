//! A ledger over gRPC: `portcullis.v1.Ledger` behind the trait [`Ledger`].
//!
//! Connects at the first call and again after a failure; every call has the deadline. Nothing is tried twice here: a
//! mutation without an answer may have taken effect, and only the caller knows whether asking again is right.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protos::v1;
use protos::v1::ledger_client::LedgerClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};
use tower::Layer;

use crate::account::AccountId;
use crate::auth::AuthKind;
use crate::auth::sign::{Signer, Signing};
use crate::error::{LedgerError, Refusal};
use crate::history::EpochEntry;
use crate::ledger::{
    Answer, AxonInfo, Beacon, Hyperparameters, Ledger, Metagraph, Registration, TimelockedCommit, WeightsCall,
    WeightsCommit, WeightsReveal,
};
use crate::wallet::Keypair;
use crate::wire;

/// A metagraph of 65,535 neurons fits.
const ANSWER_LIMIT: usize = 64 << 20;

/// An address that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ledger address `{url}`: {reason}; expected http://HOST:PORT")]
pub struct AddressError {
    url: String,
    reason: String,
}

/// A ledger over gRPC.
#[derive(Debug)]
pub struct RemoteLedger {
    endpoint: String,
    deadline: Duration,
    channel: Channel,
    client: LedgerClient<Channel>,
    /// The receiver of mutations, learnt at the first and forgotten when the ledger says that it is another's.
    genesis_id: Mutex<Option<AccountId>>,
    /// The subnet that the ledger must have for a mutation to be sent.
    netuid: Option<u16>,
}

/// Where a remote ledger stands in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainInfo {
    /// The receiver of every mutation.
    pub genesis_id: AccountId,
    /// The subnet.
    pub netuid: u16,
    /// The newest block.
    pub block: u64,
    /// Wall-clock time between two blocks.
    pub block_time: Duration,
    /// Epochs run so far.
    pub epoch_index: u64,
    /// Block of the last epoch.
    pub last_epoch_block: u64,
    /// Blocks between two epochs.
    pub tempo: u64,
}

impl RemoteLedger {
    /// The ledger at `url` (`http://HOST:PORT`, or `HOST:PORT` alone). Does not connect yet. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`AddressError`] when `url` is no address.
    pub fn new(url: &str, deadline: Duration) -> Result<Self, AddressError> {
        let fail = |reason: String| AddressError {
            url: url.to_owned(),
            reason,
        };
        let endpoint = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        if !endpoint.starts_with("http://") {
            return Err(fail(
                "only http:// is spoken here; the binary `subtensor` looks at the real chain".to_owned(),
            ));
        }
        let channel = Endpoint::from_shared(endpoint.clone())
            .map_err(|error| fail(error.to_string()))?
            .connect_timeout(deadline)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        if channel
            .uri()
            .authority()
            .is_none_or(|authority| authority.port_u16().is_none())
        {
            return Err(fail("a port is missing".to_owned()));
        }
        let channel = channel.connect_lazy();
        let client = LedgerClient::new(channel.clone()).max_decoding_message_size(ANSWER_LIMIT);
        Ok(Self {
            endpoint,
            deadline,
            channel,
            client,
            genesis_id: Mutex::default(),
            netuid: None,
        })
    }

    /// Reads the metagraph and sends mutations only where the ledger's subnet is `netuid`; anywhere else they are refused with
    /// `SubnetNotExists`.
    #[must_use]
    pub const fn on_subnet(mut self, netuid: u16) -> Self {
        self.netuid = Some(netuid);
        self
    }

    /// Where the ledger stands in time, and who it is.
    ///
    /// # Errors
    /// [`LedgerError`], as every call.
    pub async fn chain(&self) -> Result<ChainInfo, LedgerError> {
        let mut client = self.client.clone();
        let chain = self.call(client.get_chain(v1::GetChainRequest {})).await?;
        Ok(ChainInfo {
            genesis_id: AccountId::new(self.read(protos::fixed("chain.genesis_id", &chain.genesis_id))?),
            netuid: self
                .read(u16::try_from(chain.netuid).map_err(|e| protos::DecodeError::invalid("chain.netuid", e)))?,
            block: chain.block,
            block_time: Duration::from_millis(chain.block_time_ms),
            epoch_index: chain.epoch_index,
            last_epoch_block: chain.last_epoch_block,
            tempo: chain.tempo,
        })
    }

    /// What a uid set and got in each of its last epochs, newest first; at most `limit`, all that are kept for 0.
    ///
    /// # Errors
    /// [`LedgerError`], as every call.
    pub async fn history(&self, uid: u16, limit: u32) -> Result<Vec<EpochEntry>, LedgerError> {
        let mut client = self.client.clone();
        let request = v1::GetHistoryRequest { uid: uid.into(), limit };
        let history = self.call(client.get_history(request)).await?;
        self.read(history.entries.into_iter().map(EpochEntry::try_from).collect())
    }

    fn deadline_ms(&self) -> u64 {
        u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX)
    }

    async fn call<T>(&self, answer: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, LedgerError> {
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(wire::from_status(&status, &self.endpoint, self.deadline_ms())),
            Err(_elapsed) => Err(LedgerError::Deadline {
                endpoint: self.endpoint.clone(),
                after_ms: self.deadline_ms(),
            }),
        }
    }

    fn read<T>(&self, decoded: Result<T, protos::DecodeError>) -> Result<T, LedgerError> {
        let endpoint = self.endpoint.clone();
        decoded.map_err(|error| LedgerError::Protocol {
            endpoint,
            reason: error.to_string(),
        })
    }

    /// A client whose calls are signed for this ledger.
    async fn signing(&self, hotkey: &Keypair) -> Result<LedgerClient<Signing<Channel>>, LedgerError> {
        let known = *self.known();
        let receiver = match known {
            Some(id) => id,
            None => {
                let chain = self.chain().await?;
                if self.netuid.is_some_and(|netuid| netuid != chain.netuid) {
                    return Err(Refusal::SubnetNotExists.into());
                }
                *self.known() = Some(chain.genesis_id);
                chain.genesis_id
            }
        };
        let signer = Signer::new(Arc::new(hotkey.clone()), Some(&receiver));
        Ok(LedgerClient::new(signer.layer(self.channel.clone())))
    }

    /// Forgets whom mutations are for, when the answer says that another ledger has taken the place.
    fn settle<T>(&self, answer: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if let Err(LedgerError::Unauthenticated {
            kind: AuthKind::WrongReceiver,
            ..
        }) = &answer
        {
            *self.known() = None;
        }
        answer
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<AccountId>> {
        self.genesis_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for RemoteLedger {
    fn block(&self) -> Answer<'_, u64> {
        Box::pin(async { Ok(self.chain().await?.block) })
    }

    fn metagraph(&self) -> Answer<'_, Metagraph> {
        Box::pin(async {
            let mut client = self.client.clone();
            let metagraph = self.call(client.get_metagraph(v1::GetMetagraphRequest {})).await?;
            let metagraph: Metagraph = self.read(metagraph.try_into())?;
            match self.netuid {
                Some(netuid) if netuid != metagraph.netuid => Err(Refusal::SubnetNotExists.into()),
                _ => Ok(metagraph),
            }
        })
    }

    fn hyperparameters(&self) -> Answer<'_, Hyperparameters> {
        Box::pin(async {
            let mut client = self.client.clone();
            let params = self
                .call(client.get_hyperparameters(v1::GetHyperparametersRequest {}))
                .await?;
            self.read(params.try_into())
        })
    }

    fn weights(&self, uid: u16) -> Answer<'_, Vec<(u16, u16)>> {
        Box::pin(async move {
            let mut client = self.client.clone();
            let row = self
                .call(client.get_weights(v1::GetWeightsRequest { uid: uid.into() }))
                .await?;
            self.read(wire::read_weight_row(&row))
        })
    }

    fn register<'a>(&'a self, hotkey: &'a Keypair) -> Answer<'a, Registration> {
        Box::pin(async move {
            let mut client = self.signing(hotkey).await?;
            let receipt = self.call(client.register(v1::RegisterCall {})).await;
            let receipt = self.settle(receipt)?;
            let uid = u16::try_from(receipt.uid).map_err(|e| protos::DecodeError::invalid("receipt.uid", e));
            Ok(Registration {
                uid: self.read(uid)?,
                block: receipt.block,
            })
        })
    }

    fn add_stake<'a>(&'a self, hotkey: &'a Keypair, amount: u64) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut client = self.signing(hotkey).await?;
            let receipt = self.call(client.add_stake(v1::AddStakeCall { amount })).await;
            Ok(self.settle(receipt)?.stake)
        })
    }

    fn serve_axon<'a>(&'a self, hotkey: &'a Keypair, axon: AxonInfo) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut client = self.signing(hotkey).await?;
            let receipt = self.call(client.serve_axon(v1::ServeAxonCall::from(&axon))).await;
            Ok(self.settle(receipt)?.block)
        })
    }

    fn set_weights<'a>(&'a self, hotkey: &'a Keypair, weights: WeightsCall) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut client = self.signing(hotkey).await?;
            let receipt = self.call(client.set_weights(v1::SetWeightsCall::from(&weights))).await;
            Ok(self.settle(receipt)?.block)
        })
    }

    fn commit_weights<'a>(&'a self, hotkey: &'a Keypair, commit: WeightsCommit) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut client = self.signing(hotkey).await?;
            let call = v1::CommitWeightsCall::from(&commit);
            let receipt = self.call(client.commit_weights(call)).await;
            Ok(self.settle(receipt)?.block)
        })
    }

    fn reveal_weights<'a>(&'a self, hotkey: &'a Keypair, reveal: WeightsReveal) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut client = self.signing(hotkey).await?;
            let call = v1::RevealWeightsCall::from(&reveal);
            let receipt = self.call(client.reveal_weights(call)).await;
            Ok(self.settle(receipt)?.block)
        })
    }

    fn commit_timelocked<'a>(&'a self, hotkey: &'a Keypair, commit: TimelockedCommit) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut client = self.signing(hotkey).await?;
            let call = v1::CommitTimelockedCall::from(&commit);
            let receipt = self.call(client.commit_timelocked(call)).await;
            Ok(self.settle(receipt)?.block)
        })
    }

    fn beacon(&self) -> Answer<'_, Beacon> {
        Box::pin(async {
            let mut client = self.client.clone();
            let beacon = self.call(client.get_beacon(v1::GetBeaconRequest {})).await?;
            self.read(beacon.try_into())
        })
    }
}
