//! Every job that is known, as it is at the head.
//!
//! Pure. What always holds: the index by owner names exactly the jobs that draw on their owner's credits.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use alloy::primitives::{Address, B256};

use crate::job::{Job, OWNER_CREDITS};
use crate::touched::Touched;

/// What reading a job again showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is as it was.
    None,
    /// It is new, or something about it changed.
    Changed,
    /// It is gone: the block that announced it was undone.
    Gone,
}

/// The jobs.
#[derive(Debug, Clone, Default)]
pub struct Book {
    jobs: HashMap<B256, Arc<Job>>,
    by_owner: HashMap<Address, BTreeSet<B256>>,
}

fn draws_on_owner(job: &Job) -> bool {
    job.flags & OWNER_CREDITS != 0
}

impl Book {
    /// A job.
    #[must_use]
    pub fn get(&self, key: &B256) -> Option<&Arc<Job>> {
        self.jobs.get(key)
    }

    /// All of them, in no order.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        self.jobs.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The jobs to be read again: those touched, and those that draw on credits that moved, be it by another job's execution.
    #[must_use]
    pub fn to_read(&self, touched: &Touched) -> Vec<B256> {
        let mut keys = touched.jobs.clone();
        if touched.everything {
            keys.extend(self.jobs.keys());
        }
        let payers = touched.jobs.iter().filter_map(|key| self.jobs.get(key));
        let payers = payers.filter(|job| draws_on_owner(job)).map(|job| job.owner);
        for owner in payers.chain(touched.owners.iter().copied()) {
            keys.extend(self.by_owner.get(&owner).into_iter().flatten());
        }
        keys.into_iter().collect()
    }

    /// A job as it is now.
    pub fn set(&mut self, key: B256, job: Option<Job>) -> Change {
        let before = self.jobs.get(&key);
        if before.map(|job| &**job) == job.as_ref() {
            return Change::None;
        }
        if let Some(before) = before.filter(|job| draws_on_owner(job))
            && let Some(keys) = self.by_owner.get_mut(&before.owner)
        {
            keys.remove(&key);
            if keys.is_empty() {
                let owner = before.owner;
                self.by_owner.remove(&owner);
            }
        }
        match job {
            Some(job) => {
                if draws_on_owner(&job) {
                    self.by_owner.entry(job.owner).or_default().insert(key);
                }
                self.jobs.insert(key, Arc::new(job));
                Change::Changed
            }
            None => {
                self.jobs.remove(&key);
                Change::Gone
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::job::ACTIVE;

    fn job(key: u8, owner: u8, flags: u8) -> Job {
        Job {
            key: B256::repeat_byte(key),
            owner: Address::repeat_byte(owner),
            flags: ACTIVE | flags,
            ..Job::example()
        }
    }

    fn touched(keys: &[u8]) -> Touched {
        Touched {
            jobs: keys.iter().map(|key| B256::repeat_byte(*key)).collect(),
            ..Touched::default()
        }
    }

    #[test]
    fn one_execution_from_shared_credits_makes_all_that_share_them_read_again() {
        let mut book = Book::default();
        for (key, owner, flags) in [
            (1, 9, OWNER_CREDITS),
            (2, 9, OWNER_CREDITS),
            (3, 9, 0),
            (4, 8, OWNER_CREDITS),
        ] {
            book.set(B256::repeat_byte(key), Some(job(key, owner, flags)));
        }
        let key = B256::repeat_byte;
        assert_eq!(book.to_read(&touched(&[1])), [key(1), key(2)]);
        assert_eq!(book.to_read(&touched(&[3])), [key(3)]);
        let deposit = Touched {
            owners: BTreeSet::from([Address::repeat_byte(8)]),
            ..Touched::default()
        };
        assert_eq!(book.to_read(&deposit), [key(4)]);
        let all = Touched {
            everything: true,
            ..Touched::default()
        };
        assert_eq!(book.to_read(&all).len(), 4);
        assert_eq!(book.set(key(1), Some(job(1, 9, OWNER_CREDITS))), Change::None);
        assert_eq!(book.set(key(1), None), Change::Gone);
        assert_eq!(book.to_read(&touched(&[2])), [key(2)]);
    }

    proptest! {
        /// Whatever comes and goes: the index by owner is what the jobs say.
        #[test]
        fn the_index_is_what_the_jobs_say(
            moves in proptest::collection::vec((0_u8..12, 0_u8..4, any::<bool>(), any::<bool>()), 0..200),
        ) {
            let mut book = Book::default();
            for (key, owner, shares, there) in moves {
                let flags = if shares { OWNER_CREDITS } else { 0 };
                book.set(B256::repeat_byte(key), there.then(|| job(key, owner, flags)));
            }
            let mut expected: HashMap<Address, BTreeSet<B256>> = HashMap::new();
            for job in book.jobs().filter(|job| draws_on_owner(job)) {
                expected.entry(job.owner).or_default().insert(job.key);
            }
            prop_assert_eq!(&book.by_owner, &expected);
        }
    }
}
