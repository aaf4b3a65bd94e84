//! The active keepers, in their order, and who of them is drawn for a job.
//!
//! A keeper has one ticket for each `ticket_stake` of its stake, at least one: splitting a stake gains nothing. What always holds:
//! ids are unique; leaving moves the last keeper to the place that became free, and so changes later draws.

use alloy::primitives::U256;

/// How many keepers a draw looks at, at most.
pub const MAX_PROBES: usize = 64;
/// How many keepers may be active.
pub const MAX_ACTIVE: usize = 1024;

/// An active keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its number, from 1.
    pub id: u32,
    /// Base units.
    pub stake: u128,
}

/// What a draw asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The job's own minimum; 0: none.
    pub job_min: u128,
    /// The minimum of all keepers; not 0.
    pub min: u128,
    /// Who is passed over.
    pub exclude: Option<u32>,
}

/// The active keepers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSet {
    members: Vec<Member>,
    ticket_stake: u128,
}

impl ActiveSet {
    /// Nobody yet. A `ticket_stake` of 0 counts as 1.
    pub fn new(ticket_stake: u128) -> Self {
        Self {
            members: Vec::new(),
            ticket_stake: ticket_stake.max(1),
        }
    }

    /// Those members, in that order.
    pub fn with(ticket_stake: u128, members: impl IntoIterator<Item = Member>) -> Self {
        let mut set = Self::new(ticket_stake);
        for member in members {
            set.enter(member);
        }
        set
    }

    /// In the order of the draw.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Takes its place at the end; whether there was one, and the keeper not in the set yet.
    pub fn enter(&mut self, member: Member) -> bool {
        let room = self.members.len() < MAX_ACTIVE && self.stake_of(member.id).is_none();
        if room {
            self.members.push(member);
        }
        room
    }

    /// Leaves; the last takes its place. Whether it was there.
    pub fn leave(&mut self, id: u32) -> bool {
        let place = self.members.iter().position(|member| member.id == id);
        if let Some(place) = place {
            self.members.swap_remove(place);
        }
        place.is_some()
    }

    /// Sets the stake of a member.
    pub fn restake(&mut self, id: u32, stake: u128) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            member.stake = stake;
        }
    }

    /// The stake of a member.
    pub fn stake_of(&self, id: u32) -> Option<u128> {
        let found = self.members.iter().find(|member| member.id == id);
        found.map(|member| member.stake)
    }

    /// Tickets of a stake.
    pub fn tickets(&self, stake: u128) -> u128 {
        (stake / self.ticket_stake).max(1)
    }

    /// Who is assigned to the job of this key by this random number. When nobody has the stake that the job wants: the one with
    /// the most among those looked at, if it has strictly more than the minimum of all keepers.
    pub fn draw(&self, random: U256, key: U256, wanted: Wanted) -> Option<u32> {
        self.pick(random, key, wanted, wanted.min)
    }

    /// Who is the slasher of the job of this key, in the epoch of this random number (the hash of the block before its first);
    /// `wanted.exclude` is the assigned keeper. As [`ActiveSet::draw`], but exactly the minimum is enough at last.
    pub fn slasher(&self, random: U256, key: U256, wanted: Wanted) -> Option<u32> {
        self.pick(random, key, wanted, wanted.min.saturating_sub(1))
    }

    fn pick(&self, random: U256, key: U256, wanted: Wanted, floor: u128) -> Option<u32> {
        let total: u128 = self.members.iter().map(|member| self.tickets(member.stake)).sum();
        let ticket = random.wrapping_add(key).checked_rem(U256::from(total))?;
        let mut ticket = u128::try_from(ticket).ok()?;
        let start = self.members.iter().position(|member| {
            let held = self.tickets(member.stake);
            let here = ticket < held;
            ticket = ticket.saturating_sub(held);
            here
        })?;

        let required = wanted.job_min.max(wanted.min);
        let (mut best, mut most) = (None, floor);
        let round = self.members.iter().cycle().skip(start);
        for member in round.take(self.members.len().min(MAX_PROBES)) {
            if wanted.exclude == Some(member.id) {
                continue;
            }
            if member.stake >= required {
                return Some(member.id);
            }
            if member.stake > most {
                (best, most) = (Some(member.id), member.stake);
            }
        }
        best
    }
}

/// The first block of the epoch that `block` is in; the hash of the one before it is the epoch's random number. `epoch` is in
/// blocks; 0 counts as 1.
pub fn epoch_start(block: u64, epoch: u64) -> u64 {
    block - block % epoch.max(1)
}
