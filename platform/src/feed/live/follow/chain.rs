//! The follower's side of heads: the chain goes on, over reorgs and restarts, and what waits is looked through.

use std::collections::HashSet;
use std::sync::Arc;

use engine::{B256, BlockEnv};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protos::v1;
use tokio::time::Instant;
use wire::Wire;

use super::super::Position;
use super::super::body::FullBlock;
use super::super::heads::{Link, Placement};
use super::super::record::Unreadable;
use super::super::status::Count;
use super::{Closed, Done, Follower, Newest};
use crate::log::Event;

impl Follower {
    /// The followed node's head, and those of its ancestors that were new to it.
    pub(super) async fn chain(
        &mut self,
        mut blocks: Vec<FullBlock>,
        recording: &mut FuturesUnordered<BoxFuture<'static, Done>>,
    ) -> Result<(), Closed> {
        if self.newest.is_none()
            && let Some(block) = blocks.first()
            && self.heads.contains(&block.link.hash)
        {
            return self.go_on(&block.clone()).await;
        }
        let known = blocks.iter().position(|block| self.heads.contains(&block.link.hash));
        blocks.truncate(known.unwrap_or(blocks.len()));
        let links: Vec<_> = blocks.iter().map(|block| block.link).collect();
        let (Placement::Adopt(adoption), Some(newest)) = (self.heads.place(&links), links.first().copied()) else {
            return Ok(());
        };
        self.settle(&blocks, recording).await?;

        let advanced = tokio::time::timeout(
            self.parts.options.advance_deadline,
            self.parts.state.advance(newest.hash),
        )
        .await;
        let (diff, reason) = match advanced {
            Ok(Ok(diff)) => (diff, None),
            Ok(Err(Unreadable(reason))) => (state::Diff::everything(), Some(reason)),
            Err(_) => (state::Diff::everything(), Some("not in time".to_owned())),
        };
        if let Some(reason) = reason {
            tracing::warn!(
                head = newest.number,
                reason,
                "the state cannot be brought to the head; it is read anew"
            );
        }
        let missed = adoption.missed + if self.resuming { links.len() as u64 - 1 } else { 0 };
        if missed > 0 {
            self.parts.status.missed(missed, newest.number);
        }
        self.resuming = false;
        self.parts.status.count(Count::Orphaned, adoption.orphaned.len() as u64);

        let chain_id = self.parts.chain_id.get().copied().unwrap_or_default();
        let block_time = self.parts.options.block_time.as_secs();
        let mut orphaned = adoption.orphaned.iter().copied().map(wire::hash_bytes).collect();
        let mut next = None;
        for block in blocks.iter().rev() {
            let env = state::next_env(&block.header, chain_id, block_time);
            let head = v1::Head {
                chain_id,
                number: block.link.number,
                hash: wire::hash_bytes(block.link.hash),
                parent_hash: wire::hash_bytes(block.link.parent),
                next: Some(env.to_wire()),
                included: block
                    .block
                    .included
                    .iter()
                    .map(|(hash, ..)| wire::hash_bytes(*hash))
                    .collect(),
                orphaned: std::mem::take(&mut orphaned),
            };
            self.position = Position::at(chain_id, block.link).to_text();
            self.give(Event::Head(head), Vec::new(), None).await?;
            next = Some(env);
        }
        self.heads.adopt(&adoption, links.iter().rev().copied());
        self.stand(newest);

        let adopted: Vec<_> = blocks.into_iter().rev().map(|block| block.block).collect();
        for (hash, ..) in adopted.iter().flat_map(|block| &block.included) {
            // Should a reorg bring it back it is read anew: what it read need not be kept with the block.
            if let Some(held) = self.pool.get_mut(hash) {
                held.recorded = None;
            }
        }
        let events = self.pool.advance(&adoption.orphaned, &adopted, self.now());
        self.tell(events).await?;
        if let Some(next) = next {
            self.carry_over(&diff, &next);
        }
        Ok(())
    }

    /// After a restart: the head is one that is logged already. What waits was recorded by the process before.
    pub(super) async fn go_on(&mut self, block: &FullBlock) -> Result<(), Closed> {
        let link = block.link;
        let advanced =
            tokio::time::timeout(self.parts.options.advance_deadline, self.parts.state.advance(link.hash)).await;
        if let Ok(Err(Unreadable(reason))) = advanced {
            tracing::warn!(head = link.number, reason, "the state at the head cannot be read yet");
        }
        self.resuming = false;
        self.stand(link);
        let chain_id = self.parts.chain_id.get().copied().unwrap_or_default();
        let next = state::next_env(&block.header, chain_id, self.parts.options.block_time.as_secs());
        self.carry_over(&state::Diff::everything(), &next);
        Ok(())
    }

    /// Judges on this head from now on, and tells the nodes' tasks.
    pub(super) fn stand(&mut self, link: Link) {
        self.newest = Some(Newest {
            hash: link.hash,
            number: link.number,
        });
        self.parts.status.head(link.number, link.hash);
        let heads = Arc::new(self.heads.clone());
        self.parts.view.send_modify(|view| {
            view.heads = heads;
            view.stands = true;
        });
    }

    /// Gives what the blocks include, and was heard just before them, a moment to be recorded on the head that it was heard on.
    pub(super) async fn settle(
        &mut self,
        blocks: &[FullBlock],
        recording: &mut FuturesUnordered<BoxFuture<'static, Done>>,
    ) -> Result<(), Closed> {
        let included = blocks.iter().flat_map(|block| &block.block.included);
        let mut late: HashSet<B256> = included
            .map(|(hash, ..)| *hash)
            .filter(|hash| self.unlogged.contains_key(hash))
            .collect();
        let until = Instant::now() + self.parts.options.grace;
        while !late.is_empty() {
            self.begin_recording(recording);
            match tokio::time::timeout_at(until, recording.next()).await {
                Ok(Some(done)) => {
                    late.remove(&done.0);
                    self.recorded(done).await?;
                }
                Ok(None) | Err(_) => break,
            }
        }
        for hash in late {
            self.flush(hash).await?;
        }
        Ok(())
    }

    /// Finds out whose verdicts are still good at the new head; the others are recorded again.
    pub(super) fn carry_over(&mut self, diff: &state::Diff, next: &BlockEnv) {
        let waiting: Vec<B256> = self.pool.waiting().map(|(hash, _)| hash).collect();
        let mut carried = 0;
        self.again.clear();
        for hash in waiting {
            if self.unlogged.contains_key(&hash) {
                continue;
            }
            let Some(held) = self.pool.get_mut(&hash) else { continue };
            if held.recorded.as_ref().is_some_and(|stays_good| stays_good(diff, next)) {
                carried += 1;
            } else {
                held.recorded = None;
                self.again.push_back(hash);
            }
        }
        self.parts.status.count(Count::CarriedOver, carried);
    }
}
