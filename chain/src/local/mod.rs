//! The embedded ledger: a subnet in one process, stored in one SQLite file.
//!
//! Pure rules ([`rules`], [`crate::yuma`]) over plain values ([`state`]); one writer task that asks the rules, stores what they
//! decide, and only then takes it over and answers; readers see the last state that was stored. What was answered is on
//! disk. Blocks come from outside ([`LocalLedger::advance`], called by [`clock::run`]), so that a test can make them.

mod archive;
mod block;
pub mod clock;
pub mod params;
pub mod rules;
pub mod served;
pub mod service;
pub mod state;
mod store;
mod weighing;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::account::AccountId;
use crate::error::{LedgerError, Refusal};
use crate::history::EpochEntry;
use crate::ledger::{
    Answer, AxonInfo, Beacon, CIPHERTEXT_LIMIT, Hyperparameters, Ledger, Metagraph, Registration, TimelockedCommit,
    WeightsCall, WeightsCommit, WeightsReveal,
};
use crate::wallet::Keypair;

use self::params::{Overrides, ParamsError, SUPPLY};
use self::rules::Operation;
use self::state::{OWNER_UID, State};
use self::store::Store;
pub use self::store::StoreError;
use self::writer::{Command, Done};

/// Operations that may wait for the writer; one more is refused with [`LedgerError::Busy`].
const QUEUE: usize = 256;
/// How long an operation may take, waiting included.
const DEADLINE: Duration = Duration::from_secs(10);
/// Milliseconds between two blocks, as the beacon tells it to whoever shares the process with the ledger.
const BLOCK_TIME_MS: u64 = 12_000;

/// How a ledger is opened.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// Parameters that the operator gave.
    pub overrides: Overrides,
    /// The owner's hotkey, uid 0: needed by a new ledger; if given for an old one it must be the same.
    pub owner: Option<AccountId>,
    /// Balances (RAO) that a new ledger begins with. An old one keeps its own.
    pub endowments: Vec<(AccountId, u64)>,
}

/// A ledger that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A parameter is impossible.
    #[error("parameter {0}")]
    Params(#[from] ParamsError),
    /// A new ledger needs an owner.
    #[error("a new ledger needs the hotkey of its owner (uid 0)")]
    NoOwner,
    /// The ledger is somebody else's.
    #[error("the ledger's owner is {actual}, not {given}; leave the owner out, or give another database")]
    OtherOwner {
        /// Who owns it.
        actual: AccountId,
        /// Who was given.
        given: AccountId,
    },
    /// More than there will ever be.
    #[error("the endowments come to more than all the TAO there will ever be (21 million)")]
    Endowments,
}

/// The embedded ledger. Clones are handles of one ledger; it ends with the last of them, or with [`LocalLedger::close`].
#[derive(Debug, Clone)]
pub struct LocalLedger {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<Arc<State>>,
    recent: Arc<Vec<(AccountId, u64)>>,
    history: sqlx::SqlitePool,
}

impl LocalLedger {
    /// Opens the ledger stored at `path`, or makes a new one there. Needs a tokio runtime, on which its writer runs.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way; nothing was changed then.
    pub async fn open(path: &Path, opening: &Opening) -> Result<Self, OpenError> {
        let store = Store::open(path).await?;
        let mut state = match store.load().await? {
            Some(stored) => reopen(&store, stored, opening).await?,
            None => create(&store, opening).await?,
        };
        let beacon = store.beacon().await?;
        state.beacon_key = Arc::new(beacon.public_key().to_vec());
        let history = store.reader();
        let recent = Arc::new(store.nonces().await?);
        let state = Arc::new(state);
        let (publish, published) = watch::channel(Arc::clone(&state));
        let (commands, queue) = mpsc::channel(QUEUE);
        tokio::spawn(writer::run(store, beacon, state, queue, publish));
        Ok(Self {
            commands,
            state: published,
            recent,
            history,
        })
    }

    /// What a uid set and got in each of its last epochs, newest first; at most `limit` of them, a thousand for 0.
    ///
    /// # Errors
    /// The database fails, or does not answer in time.
    pub async fn history(&self, uid: u16, limit: u32) -> Result<Vec<EpochEntry>, LedgerError> {
        match tokio::time::timeout(DEADLINE, archive::read(&self.history, uid, limit)).await {
            Ok(entries) => entries.map_err(|error| LedgerError::Storage(error.to_string())),
            Err(_elapsed) => Err(late()),
        }
    }

    /// The id that was drawn when the ledger was created: the receiver of every signed mutation.
    pub fn genesis_id(&self) -> AccountId {
        self.state.borrow().genesis_id
    }

    /// The newest state.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// A view that can wait for the next state.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Nonces of operations that were accepted before this start and may still be fresh.
    pub fn recent_nonces(&self) -> &[(AccountId, u64)] {
        &self.recent
    }

    /// Makes the next block and gives its number.
    ///
    /// # Errors
    /// Where storing it fails; the ledger then stays at the block before.
    pub async fn advance(&self) -> Result<u64, LedgerError> {
        Ok(self.ask(|reply| Command::Advance { reply }).await?.block)
    }

    /// Carries out `operation` by `sender`, whom the caller has authenticated by a request with `nonce`.
    ///
    /// # Errors
    /// The rules' refusal, or what kept it from being stored. Nothing changed then.
    pub async fn submit(
        &self,
        sender: AccountId,
        operation: Operation,
        nonce: Option<u64>,
    ) -> Result<Done, LedgerError> {
        let name = operation.name();
        let done = self
            .ask(|reply| Command::Submit {
                sender,
                operation,
                nonce,
                reply,
            })
            .await;
        let result = match &done {
            Ok(_) => "ok",
            Err(LedgerError::Refused(_)) => "refused",
            Err(_) => "failed",
        };
        metrics::counter!("ledger_operations_total", "operation" => name, "result" => result).increment(1);
        match &done {
            Ok(done) => tracing::info!(operation = name, hotkey = %sender, block = done.block, "accepted"),
            Err(error) => tracing::info!(operation = name, hotkey = %sender, %error, "not accepted"),
        }
        done
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Done, LedgerError>>) -> Command,
    ) -> Result<Done, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(command(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LedgerError::Busy,
            mpsc::error::TrySendError::Closed(_) => LedgerError::Closed,
        })?;
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_gone)) => Err(LedgerError::Closed),
            Err(_elapsed) => Err(late()),
        }
    }

    /// Ends the ledger after the operations that wait, and gives its database free.
    pub async fn close(self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::Close { reply }).await.is_ok() {
            let _closed = done.await;
        }
    }
}

fn late() -> LedgerError {
    LedgerError::Deadline {
        endpoint: "(embedded)".to_owned(),
        after_ms: u64::try_from(DEADLINE.as_millis()).unwrap_or(u64::MAX),
    }
}

async fn reopen(store: &Store, mut stored: State, opening: &Opening) -> Result<State, OpenError> {
    let actual = stored.neurons.get(usize::from(OWNER_UID)).map(|owner| owner.hotkey);
    if let (Some(actual), Some(given)) = (actual, opening.owner)
        && actual != given
    {
        return Err(OpenError::OtherOwner { actual, given });
    }
    let params = params::resolve(Some(&stored.params), &opening.overrides)?;
    if params != stored.params {
        store.set_params(&params).await?;
        tracing::info!(?params, "hyperparameters changed");
        if params.burn != stored.params.burn {
            stored.clock.burn = params.burn;
        }
        stored.params = params;
    }
    Ok(stored)
}

async fn create(store: &Store, opening: &Opening) -> Result<State, OpenError> {
    let params = params::resolve(None, &opening.overrides)?;
    let owner = opening.owner.ok_or(OpenError::NoOwner)?;
    let sum = opening
        .endowments
        .iter()
        .try_fold(0u64, |sum, (_, amount)| sum.checked_add(*amount));
    if sum.is_none_or(|sum| sum > SUPPLY) {
        return Err(OpenError::Endowments);
    }
    let genesis_id = AccountId::new(rand::random());
    let state = State::genesis(genesis_id, params, owner, opening.endowments.iter().copied());
    store.create(&state).await?;
    Ok(state)
}

/// In one process the sender needs no signature: who holds the key pair is the sender.
impl Ledger for LocalLedger {
    fn block(&self) -> Answer<'_, u64> {
        Box::pin(async { Ok(self.state().clock.block) })
    }

    fn metagraph(&self) -> Answer<'_, Metagraph> {
        Box::pin(async { Ok(self.state().metagraph()) })
    }

    fn hyperparameters(&self) -> Answer<'_, Hyperparameters> {
        Box::pin(async { Ok(self.state().hyperparameters()) })
    }

    fn weights(&self, uid: u16) -> Answer<'_, Vec<(u16, u16)>> {
        Box::pin(async move {
            let state = self.state();
            if uid >= state.count() {
                return Err(Refusal::UidNotFound.into());
            }
            Ok(state.weights.get(&uid).map(|row| row.to_vec()).unwrap_or_default())
        })
    }

    fn register<'a>(&'a self, hotkey: &'a Keypair) -> Answer<'a, Registration> {
        Box::pin(async {
            let done = self.submit(hotkey.account(), Operation::Register, None).await?;
            Ok(Registration {
                uid: done.uid,
                block: done.block,
            })
        })
    }

    fn add_stake<'a>(&'a self, hotkey: &'a Keypair, amount: u64) -> Answer<'a, u64> {
        Box::pin(async move {
            Ok(self
                .submit(hotkey.account(), Operation::AddStake(amount), None)
                .await?
                .stake)
        })
    }

    fn serve_axon<'a>(&'a self, hotkey: &'a Keypair, axon: AxonInfo) -> Answer<'a, u64> {
        Box::pin(async move {
            Ok(self
                .submit(hotkey.account(), Operation::ServeAxon(axon), None)
                .await?
                .block)
        })
    }

    fn set_weights<'a>(&'a self, hotkey: &'a Keypair, weights: WeightsCall) -> Answer<'a, u64> {
        Box::pin(async move {
            Ok(self
                .submit(hotkey.account(), Operation::SetWeights(weights), None)
                .await?
                .block)
        })
    }

    fn commit_weights<'a>(&'a self, hotkey: &'a Keypair, commit: WeightsCommit) -> Answer<'a, u64> {
        Box::pin(async move {
            let operation = Operation::CommitWeights(commit);
            Ok(self.submit(hotkey.account(), operation, None).await?.block)
        })
    }

    fn reveal_weights<'a>(&'a self, hotkey: &'a Keypair, reveal: WeightsReveal) -> Answer<'a, u64> {
        Box::pin(async move {
            let operation = Operation::RevealWeights(reveal);
            Ok(self.submit(hotkey.account(), operation, None).await?.block)
        })
    }

    fn commit_timelocked<'a>(&'a self, hotkey: &'a Keypair, commit: TimelockedCommit) -> Answer<'a, u64> {
        Box::pin(async move {
            if commit.ciphertext.len() > CIPHERTEXT_LIMIT {
                let reason = format!(
                    "a ciphertext of {} bytes is longer than {CIPHERTEXT_LIMIT}",
                    commit.ciphertext.len()
                );
                return Err(LedgerError::Invalid(reason));
            }
            let operation = Operation::CommitTimelocked(commit);
            Ok(self.submit(hotkey.account(), operation, None).await?.block)
        })
    }

    fn beacon(&self) -> Answer<'_, Beacon> {
        Box::pin(async { Ok(self.state().beacon(BLOCK_TIME_MS)) })
    }
}
