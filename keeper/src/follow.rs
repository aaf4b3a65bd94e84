//! Follows the Agent from head to head: which jobs there are and how they stand, over reorgs and restarts.
//!
//! ```text
//! new head --> reader: blocks undone and added --> their events: what was touched --> read that again at the new head --> book
//! ```
//!
//! What always holds: the book is of one head, that of the snapshot beside it. When anything on the way fails, the next head starts
//! from the events since the last place on disk, so that nothing is missed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use alloy::primitives::B256;
use state::{BlockRef, HeadChange, NodeError, Reader, Snapshot, Unavailable};

use crate::agent::{AgentClient, ReadError};
use crate::book::{Book, Change};
use crate::job::Standing;
use crate::store::{Place, Store, StoreError};
use crate::touched::Touched;

/// Blocks below the head that are read again after a restart: what a reorg may have changed meanwhile.
const READ_AGAIN: u64 = 64;
/// Blocks whose touches are kept, so that undoing them costs no scan.
const KEPT: usize = 64;
/// The place on disk is moved at least every so many blocks.
const PLACE_EVERY: u64 = 32;

/// Why the Agent cannot be followed just now.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// State of the head.
    #[error(transparent)]
    State(#[from] Unavailable),
    /// The node or the Agent.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The memory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are more jobs than this keeper follows.
    #[error("the Agent has {found} jobs, {limit} are followed at most; raise jobs.max_jobs")]
    TooMany {
        /// Jobs found.
        found: usize,
        /// The limit.
        limit: usize,
    },
}

impl From<NodeError> for FollowError {
    fn from(error: NodeError) -> Self {
        Self::Read(error.into())
    }
}

/// What a new head brought.
#[derive(Debug, Default)]
pub struct News {
    /// Jobs of which something changed, and new ones.
    pub changed: Vec<B256>,
    /// Jobs about which something happened that this keeper had not seen: also where it left them as they were, and while it was not
    /// there.
    pub touched: BTreeSet<B256>,
    /// Jobs that are gone.
    pub gone: Vec<B256>,
    /// Jobs that were executed in an added block.
    pub executed: Vec<B256>,
    /// Blocks that were undone.
    pub undone: usize,
}

/// Follows.
#[derive(Debug)]
pub struct Follower {
    reader: Reader,
    agent: AgentClient,
    store: Store,
    keeper: u64,
    deployed_at: u64,
    log_range: u64,
    max_jobs: usize,
    book: Book,
    standing: Standing,
    line: VecDeque<(B256, Touched)>,
    /// The head that the book is of; `None`: something failed, read from the place on disk.
    tip: Option<B256>,
    place: Option<Place>,
}

/// What a follower needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// This keeper's number; 0: none.
    pub keeper: u64,
    /// The block that the Agent was created in.
    pub deployed_at: u64,
    /// Blocks whose events are asked for at a time.
    pub log_range: u64,
    /// Most jobs.
    pub max_jobs: usize,
}

impl Follower {
    /// Knows nothing yet; [`Follower::advance`] reads everything.
    ///
    /// # Errors
    /// When the memory cannot be read.
    pub async fn new(reader: Reader, agent: AgentClient, store: Store, scope: Scope) -> Result<Self, StoreError> {
        let place = store.place().await?;
        Ok(Self {
            reader,
            agent,
            store,
            keeper: scope.keeper,
            deployed_at: scope.deployed_at,
            log_range: scope.log_range.max(1),
            max_jobs: scope.max_jobs,
            book: Book::default(),
            standing: Standing::default(),
            line: VecDeque::new(),
            tip: None,
            place,
        })
    }

    /// The jobs.
    #[must_use]
    pub const fn book(&self) -> &Book {
        &self.book
    }

    /// The Agent and this keeper.
    #[must_use]
    pub const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The contract.
    #[must_use]
    pub const fn agent(&self) -> &AgentClient {
        &self.agent
    }

    /// State of the heads.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The memory.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The head that the book is of.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.reader.head()
    }

    /// Goes to the head with this hash.
    ///
    /// # Errors
    /// When the node does not answer, or the memory cannot be written; the next call starts from the place on disk.
    pub async fn advance(&mut self, head: B256) -> Result<News, FollowError> {
        if self.tip == Some(head) {
            return Ok(News::default());
        }
        let before = self.tip.take();
        let changes = self.reader.advance(head).await?;
        let touched = match before {
            Some(tip) => self.touched(tip, &changes).await?,
            None => None,
        };
        let mut news = News {
            undone: changes.iter().filter(|change| change.reverted).count(),
            ..News::default()
        };
        match touched {
            Some((touched, executed)) => {
                self.read(&touched, &mut news).await?;
                news.executed = executed;
            }
            None => self.rescan(&mut news).await?,
        }
        self.tip = Some(head);
        Ok(news)
    }

    /// What these steps touched, and what was executed in the added ones; `None`: they do not lead here from `tip`.
    async fn touched(
        &mut self,
        mut tip: B256,
        changes: &[HeadChange],
    ) -> Result<Option<(Touched, Vec<B256>)>, FollowError> {
        let mut all = Touched::default();
        let mut added = Vec::new();
        for change in changes {
            if change.reverted {
                match self.line.pop_back() {
                    Some((block, touched)) if block == change.block && block == tip => all.merge(&touched),
                    _ => return Ok(None),
                }
                all.executed.clear();
            } else if change.head.parent_hash == tip {
                added.push(change);
            } else {
                return Ok(None);
            }
            tip = change.head.hash;
        }
        let with_events: Vec<B256> = added
            .iter()
            .filter(|change| !change.included.is_empty())
            .map(|change| change.block)
            .collect();
        let mut logs = if with_events.is_empty() {
            Vec::new()
        } else {
            self.agent.logs_of(&with_events).await?
        }
        .into_iter();
        let mut executed = Vec::new();
        for change in added {
            let mut touched = Touched::default();
            if !change.included.is_empty() {
                for log in logs.next().unwrap_or_default() {
                    touched.add(&log, change.head.number);
                }
            }
            executed.extend(&touched.executed);
            all.merge(&touched);
            self.line.push_back((change.block, touched));
            if self.line.len() > KEPT {
                self.line.pop_front();
            }
        }
        Ok(Some((all, executed)))
    }

    /// Reads what was touched, at the head.
    async fn read(&mut self, touched: &Touched, news: &mut News) -> Result<(), FollowError> {
        let head = self.snapshot();
        if touched.agent || self.standing.me.id != self.keeper {
            self.standing = self.agent.standing(self.keeper, head.hash()).await?;
        }
        let keys = self.book.to_read(touched);
        self.limit(self.book.len() + touched.registered.len())?;
        let jobs = self.agent.jobs(&keys, head.hash()).await?;
        self.apply(jobs, news);
        news.touched.extend(&touched.jobs);
        news.touched.extend(&news.changed);
        let moved = self
            .place
            .is_none_or(|place| head.head().number >= place.block + PLACE_EVERY);
        if moved || !touched.registered.is_empty() {
            self.remember(&touched.registered, &head).await?;
        }
        Ok(())
    }

    fn limit(&self, found: usize) -> Result<(), FollowError> {
        if found > self.max_jobs {
            return Err(FollowError::TooMany {
                found,
                limit: self.max_jobs,
            });
        }
        Ok(())
    }

    fn apply(&mut self, jobs: Vec<(B256, Option<crate::job::Job>)>, news: &mut News) {
        for (key, job) in jobs {
            match self.book.set(key, job) {
                Change::None => {}
                Change::Changed => news.changed.push(key),
                Change::Gone => news.gone.push(key),
            }
        }
    }

    async fn remember(&mut self, registered: &[(B256, u64)], head: &Snapshot) -> Result<(), FollowError> {
        let place = Place {
            block: head.head().number,
            hash: head.hash(),
        };
        self.store.advance(registered, place).await?;
        self.place = Some(place);
        Ok(())
    }

    /// Everything anew: known jobs, those announced since the place on disk, all as they are at the head.
    async fn rescan(&mut self, news: &mut News) -> Result<(), FollowError> {
        self.line.clear();
        let head = self.snapshot();
        let to = head.head().number;
        let from = match self.place {
            Some(place) if self.is_there(place).await? => place.block.saturating_sub(READ_AGAIN),
            // The place is on no chain any more: a deeper reorg than is followed, or another chain's node.
            Some(place) => place.block.saturating_sub(READ_AGAIN * 64),
            None => self.deployed_at,
        }
        .max(self.deployed_at)
        .min(to);
        let (mut touched, mut unseen) = (Touched::default(), Touched::default());
        let seen = self.place.map_or(0, |place| place.block);
        let mut at = from;
        while at <= to {
            let end = at.saturating_add(self.log_range - 1).min(to);
            for log in self.agent.logs(at, end).await? {
                let block = log.block_number.unwrap_or(end);
                touched.add(&log, block);
                if block > seen {
                    unseen.add(&log, block);
                }
            }
            self.limit(touched.registered.len())?;
            at = end + 1;
        }
        let mut keys = self.store.jobs().await?;
        keys.extend(touched.registered.iter().map(|(key, _)| *key));
        keys.extend(self.book.jobs().map(|job| job.key));
        keys.sort_unstable();
        keys.dedup();
        self.limit(keys.len())?;
        self.standing = self.agent.standing(self.keeper, head.hash()).await?;
        let jobs = self.agent.jobs(&keys, head.hash()).await?;
        let none: Vec<B256> = jobs
            .iter()
            .filter(|(_, job)| job.is_none())
            .map(|(key, _)| *key)
            .collect();
        let is_start = self.book.is_empty();
        self.apply(jobs, news);
        news.touched.extend(&unseen.jobs);
        if !is_start {
            news.touched.extend(&news.changed);
        }
        self.remember(&touched.registered, &head).await?;
        self.store.forget(&none).await?;
        tracing::info!(from, to, jobs = self.book.len(), "the Agent's jobs are read");
        Ok(())
    }

    /// Whether the chain still has this block.
    async fn is_there(&self, place: Place) -> Result<bool, FollowError> {
        let node = self.agent.node();
        let block = node
            .block(BlockRef::Number(place.block), false, node.patience())
            .await?;
        Ok(block.is_some_and(|block| block.header.hash == place.hash))
    }
}
