//! Which round of the beacon a sealed commit must wait for: the one that is signed when the chain opens it, not earlier.
//!
//! Epochs run by one of two schedules: *stateless*, where the block number alone says it (Subtensor up to spec 422, period
//! tempo + 1), or *stateful*, counted from the last epoch (from spec 424 on, and the embedded ledger, period tempo). A commit
//! that lands in epoch e is opened at the first block of epoch e + reveal period; in that block reveals run before the epoch.

use crate::ledger::Beacon;

/// Blocks after the reveal's first one by which the round is surely signed, as Subtensor's own SDK leaves.
pub const SAFETY_BLOCKS: u64 = 3;
/// Blocks without an epoch after which one runs in any case (Subtensor's `MAX_TEMPO`).
const LONGEST_TEMPO: u64 = 50_400;
/// Reveal periods are 1 to 100 on the chain; more is not simulated.
const LONGEST_PERIOD: u64 = 1_000;

/// When epochs run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// `(block + netuid + 1) % (tempo + 1) == 0`.
    Stateless {
        /// The subnet.
        netuid: u16,
        /// Its tempo.
        tempo: u64,
    },
    /// From the last epoch on.
    Stateful(Stateful),
}

/// The storages by which Subtensor schedules epochs from spec 424 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stateful {
    /// `Tempo`.
    pub tempo: u64,
    /// `LastEpochBlock`.
    pub last_epoch_block: u64,
    /// `PendingEpochAt`; 0 is none.
    pub pending_epoch_at: u64,
    /// `SubnetEpochIndex`.
    pub epoch_index: u64,
    /// `BlocksSinceLastStep` at the head.
    pub blocks_since_last_step: u64,
}

impl Stateful {
    /// The block at which the next epoch runs, `head` being the newest block; `None` where there is never one.
    fn next_epoch(&self, head: u64) -> Option<u64> {
        if self.tempo == 0 {
            return None;
        }
        let automatic = self.last_epoch_block.saturating_add(self.tempo);
        // The counter is compared before the block itself is counted.
        let overdue = head.saturating_add((LONGEST_TEMPO + 2).saturating_sub(self.blocks_since_last_step));
        let pending = match self.pending_epoch_at {
            0 => u64::MAX,
            block => block,
        };
        Some(automatic.min(overdue).min(pending).max(head.saturating_add(1)))
    }

    /// The state right after the epoch of `block` ran.
    const fn after_epoch(self, block: u64) -> Self {
        Self {
            last_epoch_block: block,
            pending_epoch_at: 0,
            epoch_index: self.epoch_index.saturating_add(1),
            blocks_since_last_step: 0,
            tempo: self.tempo,
        }
    }
}

impl Schedule {
    /// The first block at which the chain opens a commit that lands in the block after `head`.
    ///
    /// `None` where epochs never run (tempo 0 by the stateful schedule) or the period is out of any range.
    pub fn first_reveal_block(&self, head: u64, reveal_period: u64) -> Option<u64> {
        if reveal_period > LONGEST_PERIOD {
            return None;
        }
        let lands = head.checked_add(1)?;
        match *self {
            Self::Stateless { netuid, tempo } => {
                let period = tempo.checked_add(1)?;
                let offset = u64::from(netuid).checked_add(1)?;
                let epoch = (lands.checked_add(offset)? / period).checked_add(reveal_period)?;
                Some(epoch.checked_mul(period)?.saturating_sub(offset).max(lands))
            }
            Self::Stateful(state) => {
                let mut next = state.next_epoch(head)?;
                // A commit in the block of an epoch counts for the epoch that this block begins.
                let mut waits = if next == lands {
                    reveal_period.checked_add(1)?
                } else {
                    reveal_period
                };
                if waits == 0 {
                    return Some(lands);
                }
                let mut state = state;
                while waits > 1 {
                    state = state.after_epoch(next);
                    next = state.next_epoch(next)?;
                    waits -= 1;
                }
                Some(next)
            }
        }
    }

    /// The round to which weights must be sealed that are committed in the block after `head`, now being `now_ms` (Unix).
    ///
    /// `None` as in [`Schedule::first_reveal_block`], or for a beacon without a period.
    pub fn reveal_round(&self, head: u64, reveal_period: u64, now_ms: u64, beacon: &Beacon) -> Option<u64> {
        let target = self
            .first_reveal_block(head, reveal_period)?
            .checked_add(SAFETY_BLOCKS)?;
        let wait = target.saturating_sub(head).checked_mul(beacon.block_time_ms)?;
        let since = now_ms.checked_add(wait)?.saturating_sub(beacon.genesis_ms);
        Some(since.checked_div(beacon.period_ms)?.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The chain's own rule, block by block: the epoch that a commit or a reveal in `block` belongs to, and the state after it.
    fn step(mut state: Stateful, block: u64) -> (u64, Stateful) {
        let runs = state.tempo > 0
            && ((state.pending_epoch_at > 0 && block >= state.pending_epoch_at)
                || state.blocks_since_last_step > LONGEST_TEMPO
                || block.saturating_sub(state.last_epoch_block) >= state.tempo);
        let epoch = state.epoch_index + u64::from(runs);
        state.blocks_since_last_step += 1;
        (epoch, if runs { state.after_epoch(block) } else { state })
    }

    fn simulated(state: Stateful, head: u64, period: u64) -> u64 {
        let (committed, mut state) = step(state, head + 1);
        if period == 0 {
            return head + 1;
        }
        for block in head + 2.. {
            let (epoch, next) = step(state, block);
            if epoch == committed + period {
                return block;
            }
            state = next;
        }
        unreachable!("blocks do not end")
    }

    #[test]
    fn the_sdks_own_predictions_hold() {
        let cycle_reset = Stateful {
            tempo: 50,
            last_epoch_block: 10,
            ..Stateful::default()
        };
        assert_eq!(Schedule::Stateful(cycle_reset).first_reveal_block(10, 1), Some(60));
        let pending_fires_before_auto = Stateful {
            tempo: 20,
            last_epoch_block: 80,
            pending_epoch_at: 95,
            ..Stateful::default()
        };
        assert_eq!(
            Schedule::Stateful(pending_fires_before_auto).first_reveal_block(91, 1),
            Some(95)
        );
    }

    #[test]
    fn the_older_schedule_counts_from_the_block_number_alone() {
        // netuid 1, tempo 10: epochs at blocks 9, 20, 31, ... where (block + 2) % 11 == 0.
        let schedule = Schedule::Stateless { netuid: 1, tempo: 10 };
        assert_eq!(schedule.first_reveal_block(9, 1), Some(20));
        assert_eq!(schedule.first_reveal_block(18, 1), Some(20));
        assert_eq!(
            schedule.first_reveal_block(19, 1),
            Some(31),
            "lands in block 20, which is the next epoch's"
        );
        assert_eq!(schedule.first_reveal_block(9, 2), Some(31));
    }

    #[test]
    fn a_round_is_that_of_three_blocks_later() {
        let beacon = Beacon {
            public_key: Vec::new(),
            genesis_ms: 1_000_000,
            period_ms: 3_000,
            block_time_ms: 12_000,
            now_ms: 0,
        };
        let schedule = Schedule::Stateful(Stateful {
            tempo: 50,
            last_epoch_block: 10,
            ..Stateful::default()
        });
        // Block 63 is 53 blocks or 636 s ahead: (2,000 - 1,000 + 636) / 3.
        assert_eq!(schedule.reveal_round(10, 1, 2_000_000, &beacon), Some(545));
        assert_eq!(
            schedule.reveal_round(
                10,
                1,
                0,
                &Beacon {
                    genesis_ms: u64::MAX,
                    ..beacon.clone()
                }
            ),
            Some(1)
        );
        assert_eq!(
            schedule.reveal_round(10, 1, 0, &Beacon { period_ms: 0, ..beacon }),
            None
        );
    }

    #[test]
    fn where_epochs_never_run_there_is_no_round() {
        let never = Schedule::Stateful(Stateful::default());
        assert_eq!(never.first_reveal_block(7, 1), None);
        assert_eq!(never.first_reveal_block(u64::MAX, 1), None);
        let schedule = Schedule::Stateless { netuid: 1, tempo: 1 };
        assert_eq!(schedule.first_reveal_block(7, u64::MAX), None);
    }

    proptest! {
        #[test]
        fn the_prediction_is_what_the_chain_does_block_by_block(
            tempo in 1u64..40, since in 0u64..60, pending in 0u64..80, head in 100u64..200, period in 1u64..5,
            counter in prop_oneof![0u64..60, LONGEST_TEMPO - 10..LONGEST_TEMPO + 10],
        ) {
            let state = Stateful {
                tempo,
                last_epoch_block: head.saturating_sub(since),
                pending_epoch_at: if pending == 0 { 0 } else { head - 40 + pending },
                epoch_index: 7,
                blocks_since_last_step: counter,
            };
            prop_assert_eq!(Schedule::Stateful(state).first_reveal_block(head, period), Some(simulated(state, head, period)));
        }

        #[test]
        fn any_numbers_are_an_answer_and_no_panic(
            netuid: u16, tempo: u64, head: u64, period: u64, last: u64, pending: u64, now: u64, genesis_ms: u64, period_ms: u64, block_time_ms: u64,
        ) {
            let beacon = Beacon { public_key: Vec::new(), genesis_ms, period_ms, block_time_ms, now_ms: 0 };
            let state = Stateful { tempo, last_epoch_block: last, pending_epoch_at: pending, epoch_index: 0, blocks_since_last_step: 0 };
            for schedule in [Schedule::Stateless { netuid, tempo }, Schedule::Stateful(state)] {
                if let Some(block) = schedule.first_reveal_block(head, period) {
                    prop_assert!(block > head);
                }
                prop_assert_ne!(schedule.reveal_round(head, period, now, &beacon), Some(0));
            }
        }
    }
}
