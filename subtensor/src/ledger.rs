//! [`Subtensor`]: the trait [`Ledger`] on the real chain.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chain::commit::round::Schedule;
use chain::ledger::Answer;
use chain::{
    AccountId, AxonInfo, Beacon, Hyperparameters, Keypair, Ledger, LedgerError, Metagraph, Refusal, Registration,
    TimelockedCommit, WeightsCall, WeightsCommit, WeightsReveal,
};
use subxt::utils::AccountId32;

use crate::Options;
use crate::call::{self, Call};
use crate::connection::Connection;
use crate::fault::Fault;
use crate::metagraph::{self, AxonRow};
use crate::params;
use crate::read::At;
use crate::submit;

/// Nodes that are tried for one read.
const READ_ATTEMPTS: u32 = 3;
/// Of the time in which a mutation must be final, the part without news of it after which another node is asked.
const STALLS: u32 = 4;

/// How long one of several nodes may take, so that there is time left to ask another.
fn patience(endpoints: usize, deadline: Duration) -> Duration {
    deadline
        / READ_ATTEMPTS
            .min(u32::try_from(endpoints).unwrap_or(READ_ATTEMPTS))
            .max(1)
}

/// A subnet of the real chain.
///
/// Reads are of the newest finalized block and move to the next node when one is lost. Mutations of one `Subtensor` run one
/// after another, since each takes the next nonce of its key.
#[derive(Debug)]
pub struct Subtensor {
    connection: Connection,
    options: Options,
    /// Who may submit.
    turn: tokio::sync::Mutex<()>,
    /// The metagraph of the newest block that was asked for: many ask, and it changes once in a block.
    newest: Mutex<Option<([u8; 32], Metagraph)>>,
}

impl Subtensor {
    /// The chain at these nodes (`ws://` or `wss://`), of that genesis where it is known. Does not connect yet.
    pub fn new(endpoints: &[String], genesis: Option<[u8; 32]>, options: Options) -> Self {
        Self {
            connection: Connection::new(endpoints, genesis, patience(endpoints.len(), options.deadline)),
            options,
            turn: tokio::sync::Mutex::new(()),
            newest: Mutex::new(None),
        }
    }

    /// When epochs of the subnet run, and the finalized block of which that is known.
    ///
    /// # Errors
    /// [`LedgerError`], as every read.
    pub async fn head_and_schedule(&self) -> Result<(u64, Schedule), LedgerError> {
        let netuid = self.options.netuid;
        self.read(move |at| async move { Ok((at.block(), metagraph::schedule(&at, netuid).await?)) })
            .await
    }

    /// The version of the runtime's specification at the newest finalized block.
    ///
    /// # Errors
    /// [`LedgerError`], as every read.
    pub async fn spec_version(&self) -> Result<u32, LedgerError> {
        self.read(|at| async move { Ok(at.spec()) }).await
    }

    async fn within<T>(&self, limit: Duration, work: impl Future<Output = Result<T, Fault>>) -> Result<T, LedgerError> {
        let endpoint = self.connection.name();
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done.map_err(|fault| fault.at(&endpoint)),
            Err(_elapsed) => Err(LedgerError::Deadline {
                endpoint,
                after_ms: u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Reads at the newest finalized block, from the next node where one is lost or silent.
    async fn read<T, Work>(&self, work: impl Fn(Arc<At>) -> Work + Send) -> Result<T, LedgerError>
    where
        Work: Future<Output = Result<T, Fault>> + Send,
    {
        let reading = Box::pin(async {
            let mut attempt = 0;
            loop {
                attempt += 1;
                let live = self.connection.live().await?;
                let answer = async { work(Arc::new(live.now().await?)).await };
                match self.connection.answer(answer).await {
                    Err(fault) if fault.is_the_nodes() => {
                        self.connection.lost(&live).await;
                        if attempt == READ_ATTEMPTS {
                            return Err(fault);
                        }
                    }
                    read => return read,
                }
            }
        });
        let read = self.within(self.options.deadline, reading).await;
        if matches!(read, Err(LedgerError::Deadline { .. })) {
            // The next read begins with another connection.
            self.connection.leave().await;
        }
        read
    }

    /// Submits and, once it is final, reads `after` at its block.
    async fn mutate<T, After>(
        &self,
        signer: &Keypair,
        call: &Call,
        after: impl FnOnce(Arc<At>) -> After + Send,
    ) -> Result<T, LedgerError>
    where
        After: Future<Output = Result<T, Fault>> + Send,
    {
        let started = Instant::now();
        let doing = Box::pin(async {
            let _turn = self.turn.lock().await;
            let at = submit::submit(&self.connection, signer, call, self.options.finality / STALLS).await?;
            after(Arc::new(at)).await
        });
        let done = self.within(self.options.finality, doing).await;
        let outcome = match &done {
            Ok(_) => "success".to_owned(),
            Err(LedgerError::Refused(refusal)) => refusal.name().to_owned(),
            Err(LedgerError::Deadline { .. }) => "deadline".to_owned(),
            Err(_) => "failure".to_owned(),
        };
        let name = call.call_name().to_owned();
        metrics::histogram!("subtensor_extrinsic_seconds", "call" => name.clone())
            .record(started.elapsed().as_secs_f64());
        metrics::counter!("subtensor_extrinsics_total", "call" => name, "outcome" => outcome).increment(1);
        done
    }

    /// As [`Subtensor::mutate`], for the weights and axon of a hotkey; a rate limit's refusal gets the block at which it ends.
    async fn mutate_neuron(&self, hotkey: &Keypair, call: &Call) -> Result<u64, LedgerError> {
        let refused = match self.mutate(hotkey, call, |at| async move { Ok(at.block()) }).await {
            Err(LedgerError::Refused(refusal)) => refusal,
            done => return done,
        };
        let Some(limit) = Limit::of(&refused, call.call_name()) else {
            return Err(refused.into());
        };
        let (netuid, account) = (self.options.netuid, hotkey.account());
        match self
            .read(move |at| async move { limit.ends(&at, netuid, &account).await })
            .await
        {
            Ok(Some(block)) => Err(Refusal::from_name(limit.name(), Some(block)).into()),
            _unknown => Err(refused.into()),
        }
    }

    fn payer<'a>(&'a self, hotkey: &'a Keypair) -> &'a Keypair {
        self.options.coldkey.as_deref().unwrap_or(hotkey)
    }
}

/// A rate limit that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Setting,
    Committing,
    Serving,
}

impl Limit {
    /// Which one a refusal of `call` is of. The pool calls all of them by one name.
    fn of(refusal: &Refusal, call: &str) -> Option<Self> {
        match (refusal.name(), call) {
            ("SettingWeightsTooFast", _) | ("RateLimitExceeded", "set_weights") => Some(Self::Setting),
            ("CommittingWeightsTooFast", _) => Some(Self::Committing),
            ("RateLimitExceeded", name) if name.starts_with("commit_") => Some(Self::Committing),
            ("ServingRateLimitExceeded", _) | ("RateLimitExceeded", "serve_axon") => Some(Self::Serving),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Setting => "SettingWeightsTooFast",
            Self::Committing => "CommittingWeightsTooFast",
            Self::Serving => "ServingRateLimitExceeded",
        }
    }

    /// The first block at which the hotkey is free again.
    async fn ends(self, at: &At, netuid: u16, hotkey: &AccountId) -> Result<Option<u64>, Fault> {
        let (last, limit) = match self {
            Self::Setting | Self::Committing => {
                let Some(uid) = metagraph::uid_of(at, netuid, hotkey).await? else {
                    return Ok(None);
                };
                let updates: Vec<u64> = at.value("LastUpdate", (netuid,)).await?;
                let limit: u64 = at.value("WeightsSetRateLimit", (netuid,)).await?;
                (updates.get(usize::from(uid)).copied(), limit)
            }
            Self::Serving => {
                let key = (netuid, AccountId32(*hotkey.as_bytes()));
                let axon: Option<AxonRow> = at.maybe("Axons", key).await?;
                let limit: u64 = at.value("ServingRateLimit", (netuid,)).await?;
                (axon.map(|axon| axon.block), limit)
            }
        };
        Ok(last.map(|last| last.saturating_add(limit)))
    }
}

impl Ledger for Subtensor {
    fn block(&self) -> Answer<'_, u64> {
        Box::pin(self.read(|at| async move { Ok(at.block()) }))
    }

    fn metagraph(&self) -> Answer<'_, Metagraph> {
        Box::pin(self.read(move |at| async move {
            let hash = at.hash();
            if let Some((known, metagraph)) = &*self.newest.lock().unwrap_or_else(PoisonError::into_inner)
                && *known == hash
            {
                return Ok(metagraph.clone());
            }
            if !metagraph::exists(&at, self.options.netuid).await? {
                return Err(Fault::Refused(Refusal::SubnetNotExists));
            }
            let metagraph = metagraph::read(&at, self.options.netuid).await?;
            *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((hash, metagraph.clone()));
            Ok(metagraph)
        }))
    }

    fn hyperparameters(&self) -> Answer<'_, Hyperparameters> {
        Box::pin(self.read(move |at| async move {
            if !metagraph::exists(&at, self.options.netuid).await? {
                return Err(Fault::Refused(Refusal::SubnetNotExists));
            }
            params::read(&at, self.options.netuid).await
        }))
    }

    fn schedule(&self) -> Answer<'_, Schedule> {
        Box::pin(async { Ok(self.head_and_schedule().await?.1) })
    }

    fn weights(&self, uid: u16) -> Answer<'_, Vec<(u16, u16)>> {
        let netuid = self.options.netuid;
        Box::pin(self.read(move |at| async move {
            let count: u16 = at.value("SubnetworkN", (netuid,)).await?;
            if uid >= count {
                return Err(Fault::Refused(Refusal::UidNotFound));
            }
            at.value("Weights", (netuid, uid)).await
        }))
    }

    fn register<'a>(&'a self, hotkey: &'a Keypair) -> Answer<'a, Registration> {
        Box::pin(async move {
            let (netuid, account) = (self.options.netuid, hotkey.account());
            let call = call::burned_register(netuid, &account);
            self.mutate(self.payer(hotkey), &call, move |at| async move {
                let uid = metagraph::uid_of(&at, netuid, &account).await?.ok_or_else(|| {
                    Fault::Garbled(format!(
                        "{account} has no uid on subnet {netuid} after its registration"
                    ))
                })?;
                Ok(Registration { uid, block: at.block() })
            })
            .await
        })
    }

    fn add_stake<'a>(&'a self, hotkey: &'a Keypair, amount: u64) -> Answer<'a, u64> {
        Box::pin(async move {
            let (netuid, account) = (self.options.netuid, hotkey.account());
            let call = call::add_stake(netuid, &account, amount);
            self.mutate(self.payer(hotkey), &call, move |at| async move {
                metagraph::stake_of(&at, netuid, &account).await
            })
            .await
        })
    }

    fn serve_axon<'a>(&'a self, hotkey: &'a Keypair, axon: AxonInfo) -> Answer<'a, u64> {
        Box::pin(async move {
            self.mutate_neuron(hotkey, &call::serve_axon(self.options.netuid, &axon))
                .await
        })
    }

    fn set_weights<'a>(&'a self, hotkey: &'a Keypair, weights: WeightsCall) -> Answer<'a, u64> {
        Box::pin(async move {
            self.mutate_neuron(hotkey, &call::set_weights(self.options.netuid, &weights))
                .await
        })
    }

    fn commit_weights<'a>(&'a self, hotkey: &'a Keypair, commit: WeightsCommit) -> Answer<'a, u64> {
        Box::pin(async move {
            self.mutate_neuron(hotkey, &call::commit_weights(self.options.netuid, &commit))
                .await
        })
    }

    fn reveal_weights<'a>(&'a self, hotkey: &'a Keypair, reveal: WeightsReveal) -> Answer<'a, u64> {
        Box::pin(async move {
            self.mutate_neuron(hotkey, &call::reveal_weights(self.options.netuid, &reveal))
                .await
        })
    }

    fn commit_timelocked<'a>(&'a self, hotkey: &'a Keypair, commit: TimelockedCommit) -> Answer<'a, u64> {
        Box::pin(async move {
            let call = call::commit_timelocked_weights(self.options.netuid, &commit);
            self.mutate_neuron(hotkey, &call).await
        })
    }

    fn beacon(&self) -> Answer<'_, Beacon> {
        Box::pin(self.read(move |at| async move {
            let quicknet = Beacon::quicknet();
            let slot = subxt::dynamic::constant::<u64>("Aura", "SlotDuration");
            let block_time_ms = at.0.constants().entry(slot).unwrap_or(quicknet.block_time_ms);
            Ok(Beacon {
                block_time_ms,
                ..quicknet
            })
        }))
    }
}
