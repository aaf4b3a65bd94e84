//! The whole contract as a value: nodes, groups, verdicts and bounties, with times and block hashes handed in.
//!
//! What always holds: what is promised is the sum of what the nodes' epochs have earned at most; a verdict counts once; whatever is refused
//! changed nothing. `tests/it/contract` plays the same calls to this and to the compiled contract.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;

use super::group;
use super::node::{Counted, Node, Outcome, Refusal, State};
use super::pool::Pool;
use super::settle::{Settlement, Verdict, agrees, bounty, median};
use super::terms::Terms;

/// All nodes and the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// The parameters.
    pub terms: Terms,
    pool: Pool,
    nodes: BTreeMap<u32, Node>,
    active: Vec<u32>,
}

impl Manager {
    /// Without nodes.
    pub fn new(terms: Terms, now: u64) -> Self {
        Self {
            terms,
            pool: Pool::new(now),
            nodes: BTreeMap::new(),
            active: Vec::new(),
        }
    }

    /// The bounties' money.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A node.
    pub fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// All nodes, those that left too.
    pub fn nodes(&self) -> impl Iterator<Item = (u32, &Node)> {
        self.nodes.iter().map(|(id, node)| (*id, node))
    }

    /// The active nodes, in the order that draws see.
    pub fn active(&self) -> &[u32] {
        &self.active
    }

    /// All stakes.
    pub fn total_stake(&self) -> u128 {
        self.nodes.values().map(|node| node.stake).sum()
    }

    /// Tokens for bounties.
    pub fn give(&mut self, amount: u128) {
        self.pool.give(amount);
    }

    /// Releases everything that is not promised evenly until `end`.
    ///
    /// # Errors
    ///
    /// [`Refusal::NothingToRelease`].
    pub fn release(&mut self, end: u64, now: u64) -> Result<(), Refusal> {
        let mut pool = self.pool;
        pool.sync(self.active.len(), now);
        pool.release(end, now)?;
        self.pool = pool;
        Ok(())
    }

    /// The next node takes part; `parent` is the hash of the block before. Answers its number.
    ///
    /// # Errors
    ///
    /// [`Refusal::InsufficientStake`].
    pub fn register(&mut self, stake: u128, now: u64, parent: B256) -> Result<u32, Refusal> {
        let needed = self.terms.min_stake;
        if stake < needed {
            return Err(Refusal::InsufficientStake { amount: stake, needed });
        }
        self.pool.sync(self.active.len(), now);
        let id = self.nodes.last_key_value().map_or(1, |(last, _)| last + 1);
        self.active.push(id);
        let group = self.draw(id, true, &[], group::seed(parent, id, 1));
        let node = Node::new(now, stake, self.pool.accrued(), group);
        self.nodes.insert(id, node);
        Ok(id)
    }

    /// Adds to a stake.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongState`].
    pub fn add_stake(&mut self, id: u32, amount: u128) -> Result<(), Refusal> {
        self.present(id)?;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.stake = node.stake.saturating_add(amount);
        }
        Ok(())
    }

    /// A node leaves, by its owner's wish or because it is overdue by a whole period.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongState`], [`Refusal::OnlyNodeOwner`].
    pub fn exit(&mut self, id: u32, by_owner: bool, now: u64) -> Result<(), Refusal> {
        let node = self.present(id)?;
        if node.state != State::Active {
            return Err(self.wrong_state(id));
        }
        let overdue = self.terms.next_reward(self.terms.next_reward(node.start));
        if !by_owner && now < overdue {
            return Err(Refusal::OnlyNodeOwner);
        }
        self.pool.sync(self.active.len(), now);
        if let Some(place) = self.active.iter().position(|active| *active == id) {
            self.active.swap_remove(place);
        }
        let accrued = self.pool.accrued();
        if let Some(node) = self.nodes.get_mut(&id) {
            node.due = accrued.saturating_sub(node.mark);
            node.state = State::Leaving;
        }
        Ok(())
    }

    /// Pays a stake back. Answers how much.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongState`], [`Refusal::TooEarly`].
    pub fn withdraw_stake(&mut self, id: u32, now: u64) -> Result<u128, Refusal> {
        let refusal = self.wrong_state(id);
        let next_reward = self.next_reward(id);
        let node = self.nodes.get_mut(&id).ok_or(refusal)?;
        match node.state {
            State::Active => return Err(refusal),
            State::Leaving if now < next_reward => return Err(Refusal::TooEarly { next_reward }),
            State::Leaving => {
                self.pool.pay(node.due, 0);
                node.leave();
            }
            State::Left if node.stake == 0 => return Err(refusal),
            State::Left => {}
        }
        Ok(std::mem::take(&mut node.stake))
    }

    /// Completes a group, early in the epoch.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongState`], [`Refusal::TooLateToFill`], [`Refusal::GroupIsWhole`].
    pub fn fill_group(&mut self, subject: u32, now: u64, parent: B256) -> Result<(), Refusal> {
        let node = self.present(subject)?;
        let until = self.terms.fill_until(node.start);
        if now > until {
            return Err(Refusal::TooLateToFill { until });
        }
        let is_active = |id: &u32| self.nodes.get(id).is_some_and(|node| node.state == State::Active);
        let stay: Vec<u32> = node.group.iter().copied().filter(is_active).collect();
        let active = node.state == State::Active;
        if stay.len() == node.group.len() && stay.len() >= self.wanted(active) {
            return Err(Refusal::GroupIsWhole);
        }
        let group = self.draw(subject, active, &stay, group::seed(parent, subject, node.epoch));
        if let Some(node) = self.nodes.get_mut(&subject) {
            node.group = group;
        }
        Ok(())
    }

    /// What would become of a verdict now.
    pub fn judge(&self, auditor: u32, verdict: &Verdict, now: u64) -> Outcome {
        let place = self.place(auditor, verdict.subject);
        let (Some(node), Some(place)) = (self.nodes.get(&verdict.subject), place) else {
            return Outcome::NotAuditor;
        };
        let window = self.terms.window(node.start);
        if verdict.epoch != node.epoch {
            Outcome::WrongEpoch
        } else if node.spent.contains(&place) {
            Outcome::AlreadySent
        } else if verdict.failed > verdict.known || verdict.known > self.terms.intervals() {
            Outcome::Malformed
        } else if now < window.start {
            Outcome::TooEarly
        } else if now >= window.end {
            Outcome::Late
        } else if self.terms.covers(verdict.known) {
            Outcome::Stored
        } else {
            Outcome::LowCoverage
        }
    }

    /// Takes what an auditor measured. Answers what became of each.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongState`], [`Refusal::NothingReported`].
    pub fn report(
        &mut self,
        auditor: u32,
        verdicts: &[Verdict],
        now: u64,
        parent: B256,
    ) -> Result<Vec<Outcome>, Refusal> {
        self.present(auditor)?;
        let outcomes: Vec<Outcome> = verdicts
            .iter()
            .map(|verdict| self.take(auditor, verdict, now, parent))
            .collect();
        if outcomes.iter().any(|outcome| outcome.consumes()) {
            Ok(outcomes)
        } else {
            let outcome = outcomes.first().copied();
            Err(Refusal::NothingReported { outcome })
        }
    }

    fn take(&mut self, auditor: u32, verdict: &Verdict, now: u64, parent: B256) -> Outcome {
        let outcome = self.judge(auditor, verdict, now);
        let place = self.place(auditor, verdict.subject);
        if let (Some(place), Some(node), true) = (place, self.nodes.get_mut(&verdict.subject), outcome.consumes()) {
            node.spent.insert(place);
            if outcome == Outcome::Stored {
                node.verdicts.push(Counted {
                    place,
                    downtime: verdict.downtime(&self.terms),
                    latency: verdict.latency,
                });
                node.seed
                    .get_or_insert_with(|| group::seed(parent, verdict.subject, verdict.epoch));
            }
        }
        outcome
    }

    /// What a claim at `now` would give, were it time; `None` for a number that is no node's.
    pub fn settlement(&self, id: u32, now: u64) -> Option<Settlement> {
        let node = self.nodes.get(&id)?;
        let mut pool = self.pool;
        pool.sync(self.active.len(), now);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (verdicts, group_size) = (count(node.verdicts.len()), count(node.group.len()));
        let mut settlement = Settlement {
            downtime: median(node.verdicts.iter().map(|verdict| verdict.downtime)),
            latency: median(node.verdicts.iter().map(|verdict| verdict.latency)),
            late: self.terms.lateness(node.start, now),
            verdicts,
            group_size,
            quorum: verdicts >= self.terms.quorum(group_size),
            staked: node.stake >= self.terms.min_stake,
            owed: node.owed,
            kept: node.kept,
            maximum: if node.state == State::Active {
                pool.accrued().saturating_sub(node.mark)
            } else {
                node.due
            },
            bounty: 0,
        };
        settlement.bounty = bounty(&self.terms, &settlement);
        Some(settlement)
    }

    /// Pays the bounty of the epoch that ended and begins the next one.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongState`], [`Refusal::TooEarly`].
    pub fn claim(&mut self, id: u32, now: u64, parent: B256) -> Result<Settlement, Refusal> {
        self.present(id)?;
        let next_reward = self.next_reward(id);
        if now < next_reward {
            return Err(Refusal::TooEarly { next_reward });
        }
        self.pool.sync(self.active.len(), now);
        let settlement = self.settlement(id, now).ok_or_else(|| self.wrong_state(id))?;
        self.count_duties(id, settlement.downtime);
        self.pool.pay(settlement.maximum, settlement.bounty);
        let refusal = self.wrong_state(id);
        let accrued = self.pool.accrued();
        let node = self.nodes.get_mut(&id).ok_or(refusal)?;
        (node.owed, node.kept) = (0, 0);
        node.spent.clear();
        node.verdicts.clear();
        let seed = node.seed.take().unwrap_or_else(|| group::seed(parent, id, node.epoch));
        if node.state == State::Active {
            (node.epoch, node.start, node.mark) = (node.epoch + 1, now, accrued);
            let group = self.draw(id, true, &[], seed);
            if let Some(node) = self.nodes.get_mut(&id) {
                node.group = group;
            }
        } else {
            node.leave();
        }
        Ok(settlement)
    }

    /// Writes down of each auditor whether it did its duty about a subject that is settled.
    fn count_duties(&mut self, id: u32, median_downtime: u32) {
        let Some(node) = self.nodes.get(&id) else { return };
        let agreed: BTreeSet<usize> = node
            .verdicts
            .iter()
            .filter(|verdict| agrees(&self.terms, verdict.downtime, median_downtime))
            .map(|verdict| verdict.place)
            .collect();
        for (place, auditor) in node.group.clone().into_iter().enumerate() {
            if let Some(auditor) = self.nodes.get_mut(&auditor)
                && auditor.state == State::Active
            {
                auditor.owed += 1;
                auditor.kept += u32::from(agreed.contains(&place));
            }
        }
    }

    /// When a node may claim.
    pub fn next_reward(&self, id: u32) -> u64 {
        let start = self.nodes.get(&id).map_or(0, |node| node.start);
        self.terms.next_reward(start)
    }

    fn wanted(&self, subject_is_active: bool) -> usize {
        group::wanted(self.terms.group_size, self.active.len(), subject_is_active)
    }

    fn draw(&self, subject: u32, is_active: bool, stay: &[u32], seed: B256) -> Vec<u32> {
        group::draw(&self.active, subject, stay, seed, self.wanted(is_active))
    }

    fn place(&self, auditor: u32, subject: u32) -> Option<usize> {
        self.nodes
            .get(&subject)?
            .group
            .iter()
            .position(|member| *member == auditor)
    }

    /// A node that did not leave.
    fn present(&self, id: u32) -> Result<&Node, Refusal> {
        self.nodes
            .get(&id)
            .filter(|node| node.state != State::Left)
            .ok_or_else(|| self.wrong_state(id))
    }

    fn wrong_state(&self, id: u32) -> Refusal {
        let state = self.nodes.get(&id).map(|node| node.state);
        Refusal::WrongState { id, state }
    }
}
