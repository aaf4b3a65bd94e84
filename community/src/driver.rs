//! When the next phase begins: once everybody says that they are done, and else once nothing has happened for a while.
//!
//! The explicit barrier comes first. Idleness, Encointer's only signal, is the fall-back for workers that died without a word, and is
//! armed anew in each phase by the first block in which something happens: a phase that nobody worked in does not end by itself.
//! Everything is counted in blocks; no clock is asked.

use std::collections::BTreeMap;

/// How patient a driver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A block with at most so many events is idle.
    pub idle_events: u64,
    /// So many idle blocks in a row are still waited for.
    pub idle_blocks: u32,
    /// A worker that gives no sign of life for more blocks than this is taken for dead.
    pub lease_blocks: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            idle_events: 3,
            idle_blocks: 10,
            lease_blocks: 30,
        }
    }
}

/// What a worker last said of this phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Signs of life so far.
    pub beats: u64,
    /// Whether it has done all it has to do in this phase.
    pub done: bool,
}

/// What the driver does after a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Somebody is at work.
    Busy,
    /// Nothing has happened yet in this phase.
    NotArmed,
    /// Idle for so many blocks.
    Idle(u32),
    /// Everybody is done: next phase.
    Barrier,
    /// Idle for too long: next phase.
    IdleTooLong,
}

impl Decision {
    /// Whether the next phase begins.
    pub const fn advances(self) -> bool {
        matches!(self, Self::Barrier | Self::IdleTooLong)
    }
}

/// The driver of one phase after the other.
#[derive(Debug, Clone, Default)]
pub struct Driver {
    patience: Patience,
    armed: bool,
    idle: u32,
    /// Beats of each worker, and blocks since the last one.
    lives: BTreeMap<String, (u64, u32)>,
}

impl Driver {
    /// A driver at the beginning of a phase.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            ..Self::default()
        }
    }

    /// A new phase has begun.
    pub fn begin(&mut self) {
        *self = Self::new(self.patience);
    }

    /// What to do after a block with so many events, `workers` having said what they said.
    pub fn observe(&mut self, events: u64, workers: &[Worker]) -> Decision {
        let mut done = false;
        let mut pending = false;
        let mut lives = BTreeMap::new();
        for worker in workers {
            let silent = match self.lives.get(&worker.name) {
                Some((beats, silent)) if *beats == worker.beats => silent.saturating_add(1),
                _ => 0,
            };
            lives.insert(worker.name.clone(), (worker.beats, silent));
            done |= worker.done;
            pending |= !worker.done && silent <= self.patience.lease_blocks;
        }
        self.lives = lives;
        if pending {
            self.armed = true;
            self.idle = 0;
            return Decision::Busy;
        }
        if done {
            return Decision::Barrier;
        }
        if events > self.patience.idle_events {
            self.armed = true;
            self.idle = 0;
            return Decision::Busy;
        }
        if !self.armed {
            return Decision::NotArmed;
        }
        self.idle = self.idle.saturating_add(1);
        match self.idle > self.patience.idle_blocks {
            true => Decision::IdleTooLong,
            false => Decision::Idle(self.idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle_events: 3,
        idle_blocks: 3,
        lease_blocks: 2,
    };

    fn worker(name: &str, beats: u64, done: bool) -> Worker {
        Worker {
            name: name.to_owned(),
            beats,
            done,
        }
    }

    /// BOT-15.
    #[test]
    fn one_idle_block_more_than_allowed_advances_once() {
        let mut driver = Driver::new(PATIENCE);
        for _block in 0..10 {
            assert_eq!(driver.observe(0, &[]), Decision::NotArmed);
        }
        assert_eq!(driver.observe(4, &[]), Decision::Busy);
        let decisions: Vec<Decision> = (0..4).map(|_| driver.observe(3, &[])).collect();
        assert_eq!(
            decisions,
            [
                Decision::Idle(1),
                Decision::Idle(2),
                Decision::Idle(3),
                Decision::IdleTooLong
            ]
        );
        driver.begin();
        assert_eq!(driver.observe(0, &[]), Decision::NotArmed, "each phase is armed anew");
    }

    #[test]
    fn one_busy_block_begins_the_count_again() {
        let mut driver = Driver::new(PATIENCE);
        let events = [4, 0, 0, 0, 4, 0, 0, 0, 0];
        let advances: Vec<bool> = events
            .iter()
            .map(|events| driver.observe(*events, &[]).advances())
            .collect();
        assert_eq!(advances.iter().position(|advances| *advances), Some(8));
    }

    /// BOT-17.
    #[test]
    fn whoever_is_at_work_holds_the_phase() {
        let mut driver = Driver::new(PATIENCE);
        for beats in 0..20 {
            let workers = [worker("fast", 1, true), worker("slow", beats, false)];
            assert_eq!(driver.observe(0, &workers), Decision::Busy);
        }
        let workers = [worker("fast", 1, true), worker("slow", 20, true)];
        assert_eq!(driver.observe(0, &workers), Decision::Barrier);
    }

    #[test]
    fn a_dead_worker_holds_it_no_longer_than_its_lease() {
        let mut driver = Driver::new(PATIENCE);
        let dead = [worker("dead", 1, false)];
        let decisions: Vec<Decision> = (0..7).map(|_| driver.observe(0, &dead)).collect();
        assert_eq!(decisions.iter().position(|decision| decision.advances()), Some(6));
        driver.begin();
        let both = [worker("dead", 1, false), worker("alive", 1, true)];
        let decisions: Vec<Decision> = (0..4).map(|_| driver.observe(0, &both)).collect();
        assert_eq!(decisions.last(), Some(&Decision::Barrier));
    }
}
