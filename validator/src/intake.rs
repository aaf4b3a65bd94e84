//! The platform's stream: read, resumed, and put into the terms of the house.
//!
//! A lost connection is taken up again after the last item that was passed on, with growing pauses. The queue behind is bounded; when
//! the validator is slow, the stream waits, and the platform keeps the rest in its log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use chain::auth::sign::Signer;
use chain::wallet::Keypair;
use engine::{B256, BlockEnv, Transaction};
use protos::v1::{self, platform_client::PlatformClient, stream_item::Event};
use protos::{DecodeError, required};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tower::Layer;
use wire::{InvariantSet, ShippedPrestate, Wire};

use crate::codes::Codes;
use crate::platforms::{LONGEST_PAUSE, Platforms, pauses};
use crate::store::StoreError;
use crate::withdrawn::{Why, Withdrawn};

/// Heads whose environment is remembered; a pending transaction names one of the newest.
const REMEMBERED_HEADS: usize = 64;

/// One pending transaction with everything it is to be judged under.
#[derive(Debug)]
pub struct Item {
    /// Position in the platform's log.
    pub cursor: u64,
    /// When it was read.
    pub seen: Instant,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The block on whose state it is judged.
    pub head_hash: B256,
    /// The block in which it would be included.
    pub env: BlockEnv,
    /// The invariants in force.
    pub set: Arc<InvariantSet>,
    /// The transaction.
    pub transaction: Transaction,
    /// Those of its sender that wait and go before it, in their order.
    pub predecessors: Vec<Transaction>,
    /// The state that it reads, behind them.
    pub prestate: Option<ShippedPrestate>,
}

/// What the stream brings.
#[derive(Debug)]
pub enum Intake {
    /// To be judged.
    Pending(Box<Item>),
    /// Cannot be judged as it came; it is reported as undecided.
    Malformed {
        /// Position in the log.
        cursor: u64,
        /// The hash that it names, zero when that is malformed too.
        tx_hash: B256,
        /// The version in force.
        set_version: u64,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// Nothing to judge, but the cursor moves on.
    Passed(u64),
    /// A transaction waits no more.
    Left {
        /// Position in the log.
        cursor: u64,
        /// The transaction.
        tx_hash: B256,
        /// What became of it.
        why: Why,
    },
}

/// What is in force at a point of the stream.
#[derive(Debug, Default)]
pub struct Context {
    heads: VecDeque<(B256, u64, BlockEnv)>,
    set: Arc<InvariantSet>,
}

impl Context {
    /// Takes one item of the stream into account, and says what it asks for.
    ///
    /// # Errors
    /// A malformed head or set of invariants: what follows could not be judged rightly, so the stream is not read on.
    pub fn take(&mut self, item: v1::StreamItem, seen: Instant) -> Result<Intake, DecodeError> {
        let cursor = item.cursor;
        match required("stream_item.event", item.event)? {
            Event::Head(head) => {
                if let Some(next) = &head.next {
                    let hash = wire::hash("head.hash", &head.hash)?;
                    self.heads.push_back((hash, head.chain_id, BlockEnv::from_wire(next)?));
                    if self.heads.len() > REMEMBERED_HEADS {
                        self.heads.pop_front();
                    }
                }
                Ok(Intake::Passed(cursor))
            }
            Event::InvariantSet(set) => {
                self.set = Arc::new(InvariantSet::from_wire(&set)?);
                Ok(Intake::Passed(cursor))
            }
            Event::Pending(pending) => Ok(match self.item(cursor, seen, &pending) {
                Ok(item) => Intake::Pending(Box::new(item)),
                Err(error) => Intake::Malformed {
                    cursor,
                    tx_hash: pending
                        .transaction
                        .as_ref()
                        .and_then(|transaction| wire::transaction_hash(transaction).ok())
                        .unwrap_or_default(),
                    set_version: self.set.version,
                    error,
                },
            }),
            Event::Replaced(replaced) => Ok(Intake::Left {
                cursor,
                tx_hash: wire::hash("replaced.old_hash", &replaced.old_hash)?,
                why: Why::ReplacedBy(wire::hash("replaced.new_hash", &replaced.new_hash)?),
            }),
            Event::Dropped(dropped) => Ok(Intake::Left {
                cursor,
                tx_hash: wire::hash("dropped.hash", &dropped.hash)?,
                why: Why::Dropped,
            }),
            Event::FeedEnded(_) => Ok(Intake::Passed(cursor)),
        }
    }

    fn item(&self, cursor: u64, seen: Instant, pending: &v1::PendingTransaction) -> Result<Item, DecodeError> {
        let head_hash = wire::hash("pending.head_hash", &pending.head_hash)?;
        let (_, chain_id, env) = self
            .heads
            .iter()
            .rev()
            .find(|(hash, ..)| *hash == head_hash)
            .ok_or_else(|| {
                DecodeError::invalid(
                    "pending.head_hash",
                    format!("no head {head_hash} was streamed before it"),
                )
            })?;
        let transaction = Transaction::from_wire(required("pending.transaction", pending.transaction.as_ref())?)?;
        Ok(Item {
            cursor,
            seen,
            chain_id: *chain_id,
            head_hash,
            env: env.clone(),
            set: Arc::clone(&self.set),
            predecessors: wire::predecessors("pending.predecessors", &pending.predecessors, &transaction)?,
            transaction,
            prestate: pending.prestate.as_ref().map(ShippedPrestate::from_wire).transpose()?,
        })
    }
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The platform could not be reached, or refused.
    #[error("platform: {} ({:?})", .0.message(), .0.code())]
    Platform(#[from] Box<tonic::Status>),
    /// A head or a set of invariants is malformed.
    #[error("the platform's stream: {0}")]
    Malformed(#[from] DecodeError),
    /// The validator's own database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Intake {
    /// Notes what this item says of others that wait in the queue before it.
    fn note(&self, withdrawn: &Withdrawn) {
        match self {
            Self::Pending(item) => withdrawn.note(item.transaction.hash(), item.cursor, Why::LoggedAnew(item.cursor)),
            Self::Left { cursor, tx_hash, why } => withdrawn.note(*tx_hash, *cursor, *why),
            Self::Malformed { .. } | Self::Passed(_) => {}
        }
    }
}

/// The newest head that was read: its number and hash.
pub type NewestHead = Option<(u64, B256)>;

/// Reads the platform's stream.
#[derive(Debug)]
pub struct Reader {
    /// Where the platform is.
    pub platforms: Platforms,
    /// Who asks.
    pub hotkey: Arc<Keypair>,
    /// Where bytecode goes.
    pub codes: Arc<Codes>,
    /// Where what is read goes.
    pub queue: mpsc::Sender<Intake>,
    /// What an item says of others in the queue is noted here.
    pub withdrawn: Arc<Withdrawn>,
    /// Where the stream stands on the chain.
    pub head: watch::Sender<NewestHead>,
}

impl Reader {
    /// Reads the stream after `cursor` until `shutdown`.
    ///
    /// # Errors
    /// Only when the validator's own database fails; whatever else ends a stream, it is taken up again.
    pub async fn read(mut self, mut cursor: u64, shutdown: CancellationToken) -> Result<(), StoreError> {
        let mut pause = pauses();
        loop {
            let before = cursor;
            let ended = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                ended = self.follow(&mut cursor) => ended,
            };
            match ended {
                Ok(()) if self.queue.is_closed() => return Ok(()),
                Ok(()) => tracing::warn!(cursor, "the platform ended the stream; taking it up again"),
                Err(IntakeError::Store(error)) => return Err(error),
                Err(error) => tracing::warn!(cursor, %error, "the stream broke off; taking it up again"),
            }
            if cursor > before {
                pause = pauses();
            }
            self.platforms.pass_on();
            let wait = pause.next().unwrap_or(LONGEST_PAUSE);
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn follow(&self, cursor: &mut u64) -> Result<(), IntakeError> {
        let channel: Channel = self
            .platforms
            .current()
            .connect()
            .await
            .map_err(|error| Box::new(tonic::Status::unavailable(error.to_string())))?;
        let channel = Signer::new(Arc::clone(&self.hotkey), None).layer(channel);
        let mut client = PlatformClient::new(channel).max_decoding_message_size(node::server::MESSAGE_LIMIT);
        let request = v1::StreamRequest { after: *cursor };
        let mut stream = client.stream(request).await.map_err(Box::new)?.into_inner();
        let mut context = Context::default();
        while let Some(mut item) = stream.message().await.map_err(Box::new)? {
            let seen = Instant::now();
            let carried = std::mem::take(&mut item.codes)
                .iter()
                .map(wire::code_from_wire)
                .collect::<Result<Vec<_>, _>>()?;
            self.codes.insert(carried).await?;
            let at = item.cursor;
            let head = newest_head(&item)?;
            let intake = context.take(item, seen)?;
            if head.is_some() {
                self.head.send_replace(head);
            }
            // The stream opens with what is in force, under cursors that are passed already.
            if at <= *cursor {
                continue;
            }
            // Before it waits for a place in the queue: what it withdraws need not be judged meanwhile.
            intake.note(&self.withdrawn);
            if self.queue.send(intake).await.is_err() {
                return Ok(());
            }
            *cursor = at;
        }
        Ok(())
    }
}

fn newest_head(item: &v1::StreamItem) -> Result<NewestHead, DecodeError> {
    let Some(Event::Head(head)) = &item.event else {
        return Ok(None);
    };
    Ok(Some((head.number, wire::hash("head.hash", &head.hash)?)))
}
