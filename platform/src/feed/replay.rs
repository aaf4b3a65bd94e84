//! A feed of recorded blocks (`evm-case/1`), each transaction with the exact state that it reads.
//!
//! Each case is the head of its parent, then its transactions, then the head that includes them. When the next case is the
//! block after it, that head carries the next case's environment; else the next case brings its own parent.
//!
//! A case is executed on a thread of its own, ahead of the log by a bounded number of items. Execution is deterministic, so a
//! position within a case is the number of the step: after a restart the case is executed again, and what was logged is left out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::{B256, Keccak256, keccak256};
use engine::case::{Case, CaseError, CaseFile};
use engine::{Replay, WatchSet};
use protos::v1;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use wire::{ShippedPrestate, Wire};

use super::pace::{Pace, Schedule};
use super::{Feed, FeedError, FeedItem};
use crate::log::Event;

/// How many bytecodes are remembered as given; when it is full it is emptied, and some are given again.
const GIVEN_CODES: usize = 1 << 16;

/// The invariants in force, as they change: a feed records what judging them reads beyond executing.
pub type InForce = watch::Receiver<Arc<WatchSet>>;

/// Recorded cases as a feed.
#[derive(Debug)]
pub struct ReplayFeed {
    path: PathBuf,
    name: String,
    pace: Pace,
    watched: Option<InForce>,
}

/// Where a replay goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// The case, from 0 in the order of reading.
    case: usize,
    /// Its id, where it is known; empty at the end.
    id: Option<String>,
    /// 0: the head of its parent; 1 to n: its transactions; n + 1: its own head.
    step: usize,
}

impl ReplayFeed {
    /// A feed of the file or folder at `path`, of which the first case is read.
    ///
    /// # Errors
    /// [`FeedError::Case`] when there is nothing to read, or the first case is broken.
    pub fn open(path: impl AsRef<Path>, pace: Pace) -> Result<Self, FeedError> {
        let path = path.as_ref().to_owned();
        match CaseFile::open(&path)?.next() {
            Some(first) => drop(first?),
            None => {
                return Err(CaseError::Empty {
                    place: engine::case::Place {
                        path: Some(path),
                        case: 0,
                    },
                }
                .into());
            }
        }
        // The same recording under another spelling of its path is the same feed.
        let name = format!(
            "replay:{}",
            path.canonicalize().unwrap_or_else(|_| path.clone()).display()
        );
        Ok(Self {
            path,
            name,
            pace,
            watched: None,
        })
    }

    /// Records in each prestate what judging these invariants reads beyond executing. Looked at anew for each case.
    #[must_use]
    pub fn watching(mut self, watched: InForce) -> Self {
        self.watched = Some(watched);
        self
    }
}

impl Feed for ReplayFeed {
    fn name(&self) -> &str {
        &self.name
    }

    fn start(self: Box<Self>, position: Option<String>, items: mpsc::Sender<Result<FeedItem, FeedError>>) {
        std::thread::spawn(move || {
            let mut reader = Reader {
                schedule: Schedule::new(self.pace),
                given: HashSet::new(),
                items,
                feed: *self,
            };
            if let Err(Stop::Failed(error)) = reader.read(position) {
                // When nobody listens any more the process is ending anyway.
                let _unheard = reader.items.blocking_send(Err(error));
            }
        });
    }
}

/// Why reading stops before the end.
enum Stop {
    Failed(FeedError),
    /// Nobody takes items any more.
    Closed,
}

impl<E: Into<FeedError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

struct Reader {
    feed: ReplayFeed,
    schedule: Schedule,
    given: HashSet<B256>,
    items: mpsc::Sender<Result<FeedItem, FeedError>>,
}

/// The cases with the files that they come from.
struct Located {
    files: Vec<PathBuf>,
    cases: CaseFile,
}

impl Iterator for Located {
    type Item = Result<(String, Case), CaseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let case = self.cases.next()?;
        let opened = self.files.len().saturating_sub(self.cases.files().count());
        let file = opened.checked_sub(1).and_then(|last| self.files.get(last));
        let file = file.map(|file| file.display().to_string()).unwrap_or_default();
        Some(case.map(|case| (file, case)))
    }
}

impl Reader {
    fn read(&mut self, position: Option<String>) -> Result<(), Stop> {
        let mut position = match position {
            None => Position {
                case: 0,
                id: None,
                step: 0,
            },
            Some(text) => serde_json::from_str(&text).map_err(|_| FeedError::Position(text))?,
        };
        let cases = CaseFile::open(&self.feed.path)?;
        let files = cases.files().map(Path::to_owned).collect();
        let mut cases = Located { files, cases }.peekable();
        for _ in 0..position.case {
            cases.next().transpose()?;
        }
        while let Some(next) = cases.next() {
            let (file, case) = next?;
            self.check(&position, &case.id)?;
            let block = Block::of(&case);
            self.parent_and_transactions(&file, case, &block, &position)?;

            let following = match cases.peek() {
                Some(Ok((_, following))) => Some(following),
                Some(Err(_)) | None => None,
            };
            let chained = following.filter(|following| block.is_parent_of(following));
            let after = Position {
                case: position.case + 1,
                id: following.map(|following| following.id.clone()),
                step: usize::from(chained.is_some()),
            };
            let head = block.head(chained);
            if position.step <= block.included.len() + 1 {
                let due = self.schedule.head();
                self.give(Event::Head(head), Vec::new(), &after, due)?;
            }
            position = after;
        }
        self.give(
            Event::FeedEnded(v1::FeedEnded {}),
            Vec::new(),
            &position,
            self.schedule.head(),
        )
    }

    /// The case must be the one that it was when the feed stopped.
    fn check(&self, position: &Position, id: &str) -> Result<(), FeedError> {
        match &position.id {
            Some(before) if before != id => Err(FeedError::Changed {
                path: self.feed.path.display().to_string(),
                before: before.clone(),
                place: position.case + 1,
                now: id.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn parent_and_transactions(&mut self, file: &str, case: Case, block: &Block, from: &Position) -> Result<(), Stop> {
        let at = |step| Position {
            case: from.case,
            id: Some(block.case.clone()),
            step,
        };
        let due = self.schedule.block(case.block.timestamp, case.transactions.len());
        if from.step == 0 {
            self.give(Event::Head(block.parent(&case)), Vec::new(), &at(1), due)?;
        }
        let mut replay = Replay::new(case);
        if let Some(watched) = &self.feed.watched {
            replay = replay.watching(Arc::clone(&watched.borrow()));
        }
        for step in replay {
            let step = step.map_err(|reason| FeedError::Execution {
                file: file.to_owned(),
                case: block.case.clone(),
                reason: Box::new(reason),
            })?;
            // Steps before the position are executed again, for the state behind them only.
            let place = step.index + 1;
            if place < from.step {
                continue;
            }
            let hash = step.transaction.hash();
            if let Some(expected) = step
                .expected
                .filter(|expected| expected.gas_used != step.outcome.gas_used)
            {
                metrics::counter!("platform_gas_mismatches_total").increment(1);
                tracing::error!(
                    file, case = block.case, index = step.index, tx = %hash, status = %step.outcome.status,
                    expected = expected.gas_used, actual = step.outcome.gas_used,
                    "the replayed transaction did not use the recorded gas",
                );
            }
            let codes = self.fresh_codes(&step.prestate);
            let pending = v1::PendingTransaction {
                transaction: Some(step.transaction.to_wire()),
                head_hash: wire::hash_bytes(block.parent_hash),
                prestate: Some(ShippedPrestate::from(step.prestate).to_wire()),
                // A recording shows each when its turn has come.
                predecessors: Vec::new(),
            };
            let due = self.schedule.transaction(step.index);
            self.give(Event::Pending(pending), codes, &at(place + 1), due)?;
        }
        Ok(())
    }

    fn fresh_codes(&mut self, prestate: &engine::Prestate) -> Vec<v1::Code> {
        if self.given.len() >= GIVEN_CODES {
            self.given.clear();
        }
        let fresh = prestate.codes.iter().filter(|(hash, _)| self.given.insert(**hash));
        fresh.map(|(hash, code)| wire::code_to_wire(*hash, code)).collect()
    }

    fn give(
        &self,
        event: Event,
        codes: Vec<v1::Code>,
        position: &Position,
        due: std::time::Duration,
    ) -> Result<(), Stop> {
        let position = serde_json::to_string(position).map_err(|error| FeedError::Position(error.to_string()))?;
        self.items
            .blocking_send(Ok(FeedItem {
                event,
                codes,
                position,
                due,
                seen: None,
            }))
            .map_err(|_| Stop::Closed)
    }
}

/// What the heads of a case are made of.
struct Block {
    case: String,
    chain_id: u64,
    number: u64,
    hash: B256,
    parent_hash: B256,
    recorded_hash: Option<B256>,
    included: Vec<B256>,
}

impl Block {
    fn of(case: &Case) -> Self {
        let made_up_parent = || {
            let mut hasher = Keccak256::new();
            hasher.update(&case.id);
            hasher.update("parent");
            hasher.finalize()
        };
        Self {
            case: case.id.clone(),
            chain_id: case.chain_id,
            number: case.block.number,
            hash: case.block_hash.unwrap_or_else(|| keccak256(&case.id)),
            parent_hash: case.parent_hash.unwrap_or_else(made_up_parent),
            recorded_hash: case.block_hash,
            included: case.transactions.iter().map(engine::Transaction::hash).collect(),
        }
    }

    fn is_parent_of(&self, following: &Case) -> bool {
        self.chain_id == following.chain_id
            && self.recorded_hash.is_some()
            && self.recorded_hash == following.parent_hash
    }

    /// The head on which the case's transactions wait.
    fn parent(&self, case: &Case) -> v1::Head {
        v1::Head {
            chain_id: self.chain_id,
            number: self.number.saturating_sub(1),
            hash: wire::hash_bytes(self.parent_hash),
            // Not recorded.
            parent_hash: wire::hash_bytes(B256::ZERO),
            next: Some(case.block.to_wire()),
            included: Vec::new(),
            orphaned: Vec::new(),
        }
    }

    /// The head that includes them.
    fn head(&self, next: Option<&Case>) -> v1::Head {
        v1::Head {
            chain_id: self.chain_id,
            number: self.number,
            hash: wire::hash_bytes(self.hash),
            parent_hash: wire::hash_bytes(self.parent_hash),
            next: next.map(|case| case.block.to_wire()),
            included: self.included.iter().copied().map(wire::hash_bytes).collect(),
            orphaned: Vec::new(),
        }
    }
}
