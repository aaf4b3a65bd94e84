//! The whole contract as a value: nodes, groups, verdicts and bounties, with times and block hashes handed in.
//!
//! What always holds: what is promised is the sum of what the nodes' epochs have earned at most; a verdict counts once; whatever is refused
//! changed nothing. `tests/contract` plays the same calls to this and to the compiled contract.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::B256;

use super::group;
use super::pool::{NothingToRelease, Pool};
use super::settle::{Settlement, Verdict, agrees, bounty, median};
use super::terms::Terms;

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Audited, an auditor of others, and paid.
    Active,
    /// It audits its running groups and may claim once more.
    Leaving,
    /// Only its stake is left to it.
    Left,
}

/// A verdict that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The auditor's place in the group.
    pub place: usize,
    /// In intervals of the whole epoch.
    pub downtime: u32,
    /// Microseconds.
    pub latency: u32,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is in its life.
    pub state: State,
    /// The number of its running epoch, from 1.
    pub epoch: u32,
    /// When that began.
    pub start: u64,
    /// Verdicts of its own that were due since its last bounty ..
    pub owed: u32,
    /// .. and those among them that were sent and agreed with the median.
    pub kept: u32,
    /// Base units.
    pub stake: u128,
    /// What every node had been promised when the epoch began.
    pub mark: u128,
    /// What was promised to one that is leaving.
    pub due: u128,
    /// What its next group is drawn from, once a verdict fixed it.
    pub seed: Option<B256>,
    /// Who audits it.
    pub group: Vec<u32>,
    /// Whose verdicts were consumed, by place.
    pub spent: BTreeSet<usize>,
    /// Those that count, in order of arrival.
    pub verdicts: Vec<Counted>,
}

/// What becomes of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It counts.
    Stored,
    /// The window had closed; it does not count.
    Late,
    /// The auditor knows too little of the epoch; it does not count.
    LowCoverage,
    /// The window is not open yet.
    TooEarly,
    /// The auditor is not in the subject's group.
    NotAuditor,
    /// It was sent already.
    AlreadySent,
    /// The subject's running epoch is another.
    WrongEpoch,
    /// More failed than known, or more known than there are intervals.
    Malformed,
}

impl Outcome {
    /// The contract's number for it.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Stored,
            1 => Self::Late,
            2 => Self::LowCoverage,
            3 => Self::TooEarly,
            4 => Self::NotAuditor,
            5 => Self::AlreadySent,
            6 => Self::WrongEpoch,
            7 => Self::Malformed,
            _ => return None,
        })
    }

    /// Whether the auditor's one verdict of this epoch is used up by it.
    pub fn consumes(self) -> bool {
        self <= Self::LowCoverage
    }
}

/// Why a call is refused; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such node, or it is not in the state for it.
    #[error("node {id} is {state:?}; None: it never registered")]
    WrongState {
        /// Which.
        id: u32,
        /// Its state.
        state: Option<State>,
    },
    /// Not enough stake.
    #[error("a stake of {amount} is less than {needed}")]
    InsufficientStake {
        /// Base units.
        amount: u128,
        /// Base units.
        needed: u128,
    },
    /// Only the node's owner may, before it is overdue by a whole period.
    #[error("only the node's owner may")]
    OnlyNodeOwner,
    /// The reward date is not reached.
    #[error("the reward date is {next_reward}")]
    TooEarly {
        /// Unix seconds.
        next_reward: u64,
    },
    /// Groups are completed in the first quarter of an epoch.
    #[error("the group could be completed until {until}")]
    TooLateToFill {
        /// Unix seconds.
        until: u64,
    },
    /// There is nobody to add.
    #[error("the group is as large as it can be, and all its members are active")]
    GroupIsWhole,
    /// No verdict of the batch was taken; the first for this reason. `None`: the batch was empty.
    #[error("no verdict was taken; the first is {outcome:?}")]
    NothingReported {
        /// What became of the first.
        outcome: Option<Outcome>,
    },
    /// See [`NothingToRelease`].
    #[error(transparent)]
    NothingToRelease(#[from] NothingToRelease),
}

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
        let node = Node {
            state: State::Active,
            epoch: 1,
            start: now,
            owed: 0,
            kept: 0,
            stake,
            mark: self.pool.accrued(),
            due: 0,
            seed: None,
            group,
            spent: BTreeSet::new(),
            verdicts: Vec::new(),
        };
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
                leave(node);
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
            leave(node);
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
        self.nodes.get(&subject)?.group.iter().position(|member| *member == auditor)
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

fn leave(node: &mut Node) {
    node.state = State::Left;
    node.due = 0;
    node.group.clear();
    node.verdicts.clear();
}
