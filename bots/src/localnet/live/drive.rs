//! Tells the story on a living chain: at each new head the next block is planned on what the head shows, and its transactions are
//! sent one by one over the block's time. What a slow node leaves no time for is sent on the next head.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use tokio::time::Instant;

use super::blobs::network_forms;
use super::error::LiveError;
use super::journal::Journal;
use super::rpc::{BlockInfo, NodeClient, Sent};
use super::schedule::{Act, Beat, is_late, schedule};
use crate::scenario::replace::{Reason, replacement};
use crate::scenario::story::Story;
use crate::scenario::world::Entry;

/// How often the chain is asked for a new head.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// Blocks after the story's last one in which what waits may still be included.
const GRACE_BLOCKS: u64 = 5;

/// Blocks, over the whole story, that are waited for what the captain sent.
const CAPTAIN_BLOCKS: u64 = 5;

/// The journal as the driver writes and others read it.
pub(crate) type SharedJournal = Arc<Mutex<Journal>>;

/// Reads or writes the journal.
pub(crate) fn with<T>(journal: &SharedJournal, work: impl FnOnce(&mut Journal) -> T) -> T {
    work(&mut journal.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What drives a living chain.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) node: NodeClient,
    pub(crate) story: Story,
    pub(crate) journal: SharedJournal,
    pub(crate) block_time: Duration,
    pub(crate) rng: ChaCha20Rng,
    beat: Beat,
}

/// A head, and when it was made.
#[derive(Debug, Clone)]
struct Tick {
    head: BlockInfo,
    made: Instant,
}

impl Driver {
    /// Ready to begin; every choice comes from the seed.
    pub(crate) fn new(node: NodeClient, story: Story, journal: SharedJournal, block_time: Duration, seed: u64) -> Self {
        Self {
            node,
            story,
            journal,
            block_time,
            rng: ChaCha20Rng::seed_from_u64(seed),
            beat: Beat::default(),
        }
    }

    /// Tells the story to its end, and waits until everything is in a block.
    ///
    /// # Errors
    /// A node that does not answer, a chain that stands still, a transaction of the story itself that the node does not want.
    pub(crate) async fn run(mut self) -> Result<(), LiveError> {
        let mut tick = Tick {
            head: self.node.head().await?,
            made: Instant::now(),
        };
        let (mut grace, mut patience) = (GRACE_BLOCKS, CAPTAIN_BLOCKS);
        loop {
            tick = self.next_head(&tick.head).await?;
            if self.story.next().is_some() {
                // The captain does one thing after the other: of a transaction whose nonce is not due yet nobody could say what it does.
                let captain = self.story.people().captain.address();
                if patience > 0 && with(&self.journal, |journal| journal.busy()).contains(&captain) {
                    patience -= 1;
                    continue;
                }
                tick = self.tell_block(tick).await?;
                continue;
            }
            let open = with(&self.journal, |journal| journal.sums().waiting);
            if open == 0 || grace == 0 {
                return Ok(());
            }
            grace -= 1;
        }
    }

    /// Waits for a block after `last`, and notes what the new ones include.
    async fn next_head(&mut self, last: &BlockInfo) -> Result<Tick, LiveError> {
        let head = self.node.head_after(last.number, self.block_time, LOOK_EVERY).await?;
        let made = self.beat.made(head.number, Instant::now(), self.block_time);
        for number in last.number + 1..=head.number {
            let receipts = self.node.receipts(number).await?;
            with(&self.journal, |journal| journal.mined(number, &receipts));
        }
        Ok(Tick { head, made })
    }

    /// Sends the story's next block; gives the head on which the last of it was sent.
    async fn tell_block(&mut self, mut tick: Tick) -> Result<Tick, LiveError> {
        let start = tick.made;
        let next_time = tick.head.timestamp + self.block_time.as_secs().max(1);
        let view = self.node.view(&tick.head, self.story.reads()?, next_time).await?;
        let busy = with(&self.journal, |journal| journal.busy());
        let entries = self.story.block(&view, &busy)?;
        let of_user = |place: usize| {
            entries
                .get(place)
                .is_some_and(|entry| self.story.user(entry.from).is_some())
        };
        let acts = schedule(entries.len(), self.block_time, of_user, &mut self.rng);
        for (due, act) in acts {
            tokio::time::sleep_until(start + due).await;
            if is_late(tick.made, Instant::now(), self.block_time) {
                tick = self.next_head(&tick.head).await?;
            }
            match act {
                Act::Send(place) => {
                    if let Some(entry) = entries.get(place) {
                        self.send(entry, tick.head.number).await?;
                    }
                }
                Act::Replace(place, reason) => {
                    if let Some(entry) = entries.get(place) {
                        self.replace(entry, reason, tick.head.number).await?;
                    }
                }
            }
        }
        Ok(tick)
    }

    /// Sends an ordinary transaction, or one of the story itself, without which it could not go on.
    async fn send(&mut self, entry: &Entry, head: u64) -> Result<(), LiveError> {
        match self.submit(entry).await? {
            Sent::Taken => with(&self.journal, |journal| journal.taken(entry, head)),
            Sent::Refused(reason) => {
                if !self.story.take_back(entry) {
                    return Err(LiveError::Refused {
                        node: self.node.name().to_owned(),
                        what: entry.what,
                        reason,
                    });
                }
                tracing::warn!(what = entry.what, %reason, "the node refused a transaction");
                with(&self.journal, Journal::refused);
            }
        }
        Ok(())
    }

    async fn replace(&self, entry: &Entry, reason: Reason, head: u64) -> Result<(), LiveError> {
        let taken = with(&self.journal, |journal| journal.knows(*entry.tx.tx_hash()));
        let Some(signer) = self.story.user(entry.from).filter(|_| taken) else {
            return Ok(());
        };
        let Some(new) = replacement(entry, signer, reason)? else {
            return Ok(());
        };
        match self.submit(&new).await? {
            Sent::Taken => with(&self.journal, |journal| journal.taken(&new, head)),
            // Its block was faster.
            Sent::Refused(_) => with(&self.journal, Journal::late_replacement),
        }
        Ok(())
    }

    /// In the first form that the node takes.
    async fn submit(&self, entry: &Entry) -> Result<Sent, LiveError> {
        let mut said = Sent::Refused("nothing to send".to_owned());
        for raw in network_forms(&entry.tx) {
            said = self.node.send(&raw).await?;
            if said == Sent::Taken {
                break;
            }
        }
        Ok(said)
    }
}
