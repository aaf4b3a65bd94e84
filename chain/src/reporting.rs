//! When a validator sends weights, in which form, and why it does not: a pure rule over what it knows.
//!
//! The rule looks at one [`Situation`] and gives one [`Step`]. It never asks to send what the chain would refuse for a reason that
//! can be known before, and it names the block at which asking again makes sense; so a validator that follows it can always say
//! why its weights are not set.

mod answer;
mod why;

pub use self::answer::{Settled, Unanswered, epoch_of, is_lost, may_have_taken_effect, retry_after, settle};
pub use self::why::Why;

use crate::ledger::{Hyperparameters, Metagraph, Neuron, WeightsForm};

/// Blocks after which a call is made again that failed for a reason that waiting may cure.
const RETRY_BLOCKS: u64 = 5;

/// What a validator knows when it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// The newest block.
    pub block: u64,
    /// Epochs run so far.
    pub epoch: u64,
    /// Block of the next epoch.
    pub next_epoch_block: u64,
    /// The validator's own neuron, if it is registered.
    pub me: Option<Me>,
    /// The form in which the subnet takes weights.
    pub form: WeightsForm,
    /// Epochs between a commit and its reveal.
    pub reveal_period: u64,
    /// Blocks between two weight settings.
    pub rate_limit: u64,
    /// Stake that setting weights takes, RAO.
    pub stake_threshold: u64,
    /// Least version key; 0 takes all.
    pub least_version_key: u64,
    /// The validator's version key.
    pub version_key: u64,
    /// Whether there are weights that have not been taken yet.
    pub has_news: bool,
    /// The oldest commit that waits for its reveal.
    pub commit: Option<Commit>,
    /// Not before this block, because of what the last attempt met.
    pub not_before: u64,
}

impl Situation {
    /// What `metagraph` and `params` say of a validator that has `version_key`; the rest is for the validator to fill in.
    pub fn of(metagraph: &Metagraph, me: Option<&Neuron>, params: &Hyperparameters, version_key: u64) -> Self {
        Self {
            block: metagraph.block,
            epoch: metagraph.epoch_index,
            next_epoch_block: metagraph.next_epoch_block(),
            me: me.map(Me::from),
            form: params.weights_form(),
            reveal_period: params.reveal_period_epochs,
            rate_limit: params.weights_set_rate_limit,
            stake_threshold: params.stake_threshold,
            least_version_key: params.weights_version_key,
            version_key,
            has_news: false,
            commit: None,
            not_before: 0,
        }
    }
}

/// A validator's own neuron, as far as weights are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Me {
    /// Whether it has the permit.
    pub permit: bool,
    /// RAO.
    pub stake: u64,
    /// Block at which it last set or committed weights.
    pub last_update: u64,
}

impl From<&Neuron> for Me {
    fn from(neuron: &Neuron) -> Self {
        Self {
            permit: neuron.validator_permit,
            stake: neuron.stake,
            last_update: neuron.last_update,
        }
    }
}

/// A commit by hash that waits for its reveal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// How the validator knows it.
    pub id: i64,
    /// The epoch in which it was made.
    pub epoch: u64,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send the weights in this form.
    Send(WeightsForm),
    /// Reveal this commit.
    Reveal(i64),
    /// Give this commit up: the epoch in which it could be revealed is over.
    Expire(i64),
    /// Nothing, until this block at the earliest.
    Wait(Waiting),
}

/// Why nothing is sent, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Why.
    pub why: Why,
    /// First block at which it may be otherwise.
    pub until: u64,
}

/// What to do in `situation`.
pub fn next(situation: &Situation) -> Step {
    let Situation { block, epoch, .. } = *situation;
    if let Some(commit) = situation.commit {
        let opens = commit.epoch.saturating_add(situation.reveal_period);
        if epoch > opens {
            return Step::Expire(commit.id);
        }
        if epoch == opens && block >= situation.not_before {
            return Step::Reveal(commit.id);
        }
    }
    let wait = |why, until: u64| {
        Step::Wait(Waiting {
            why,
            until: until.max(block.saturating_add(1)),
        })
    };
    if !situation.has_news {
        let why = if situation.commit.is_some() {
            Why::RevealLater
        } else {
            Why::NothingNew
        };
        return wait(why, situation.next_epoch_block);
    }
    let Some(me) = situation.me else {
        return wait(Why::NotRegistered, block.saturating_add(RETRY_BLOCKS));
    };
    if me.stake < situation.stake_threshold && !me.permit {
        return wait(Why::NotEnoughStake, block.saturating_add(RETRY_BLOCKS));
    }
    if !me.permit {
        return wait(Why::NoPermit, situation.next_epoch_block);
    }
    if situation.least_version_key != 0 && situation.version_key < situation.least_version_key {
        return wait(Why::OldVersion, situation.next_epoch_block);
    }
    let allowed = match me.last_update {
        0 => 0,
        block => block.saturating_add(situation.rate_limit),
    };
    if block < allowed {
        return wait(Why::RateLimit, allowed);
    }
    if block < situation.not_before {
        return wait(Why::Retry, situation.not_before);
    }
    Step::Send(situation.form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn situation() -> Situation {
        Situation {
            block: 120,
            epoch: 5,
            next_epoch_block: 150,
            me: Some(Me {
                permit: true,
                stake: 2_000,
                last_update: 10,
            }),
            form: WeightsForm::Plain,
            reveal_period: 1,
            rate_limit: 100,
            stake_threshold: 1_000,
            least_version_key: 0,
            version_key: 3,
            has_news: true,
            commit: None,
            not_before: 0,
        }
    }

    fn waits(situation: Situation) -> (Why, u64) {
        match next(&situation) {
            Step::Wait(waiting) => (waiting.why, waiting.until),
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn weights_go_out_when_nothing_stands_in_the_way() {
        for form in [WeightsForm::Plain, WeightsForm::Hash, WeightsForm::Timelock] {
            assert_eq!(next(&Situation { form, ..situation() }), Step::Send(form));
        }
    }

    #[test]
    fn whoever_waits_knows_why_and_until_when() {
        let me = situation().me.unwrap();
        let with = |me: Me| Situation {
            me: Some(me),
            ..situation()
        };
        assert_eq!(
            waits(Situation {
                has_news: false,
                ..situation()
            }),
            (Why::NothingNew, 150)
        );
        assert_eq!(
            waits(Situation {
                me: None,
                ..situation()
            }),
            (Why::NotRegistered, 125)
        );
        assert_eq!(waits(with(Me { permit: false, ..me })), (Why::NoPermit, 150));
        assert_eq!(
            waits(with(Me {
                permit: false,
                stake: 1,
                ..me
            })),
            (Why::NotEnoughStake, 125)
        );
        assert_eq!(waits(with(Me { last_update: 30, ..me })), (Why::RateLimit, 130));
        assert_eq!(
            next(&with(Me { last_update: 20, ..me })),
            Step::Send(WeightsForm::Plain),
            "exactly at the limit"
        );
        assert_eq!(
            waits(Situation {
                least_version_key: 4,
                ..situation()
            }),
            (Why::OldVersion, 150)
        );
        assert_eq!(
            waits(Situation {
                not_before: 122,
                ..situation()
            }),
            (Why::Retry, 122)
        );
    }

    #[test]
    fn a_commit_is_revealed_in_its_epoch_and_given_up_after_it() {
        let commit = |epoch, has_news| Situation {
            commit: Some(Commit { id: 7, epoch }),
            has_news,
            ..situation()
        };
        assert_eq!(next(&commit(4, true)), Step::Reveal(7), "revealing comes first");
        assert_eq!(next(&commit(3, true)), Step::Expire(7));
        assert_eq!(
            next(&commit(5, true)),
            Step::Send(WeightsForm::Plain),
            "another epoch's weights need not wait for it"
        );
        assert_eq!(waits(commit(5, false)), (Why::RevealLater, 150));
    }

    proptest! {
        #[test]
        fn it_waits_for_the_future_only_and_sends_only_what_would_be_taken(
            block in 0u64..1000, last_update in 0u64..1000, rate_limit in 0u64..200, not_before in 0u64..1200,
            (permit, has_news) in any::<(bool, bool)>(), epoch in 0u64..9, committed in proptest::option::of(0u64..9),
        ) {
            let situation = Situation {
                block, epoch, rate_limit, not_before, has_news,
                me: Some(Me { permit, stake: 2_000, last_update }),
                commit: committed.map(|epoch| Commit { id: 1, epoch }),
                next_epoch_block: block + 7,
                ..situation()
            };
            match next(&situation) {
                Step::Wait(waiting) => prop_assert!(waiting.until > block),
                Step::Send(_) => {
                    prop_assert!(permit && has_news && block >= not_before);
                    prop_assert!(last_update == 0 || block >= last_update + rate_limit);
                }
                Step::Reveal(_) => prop_assert_eq!(committed.map(|epoch| epoch + 1), Some(epoch)),
                Step::Expire(_) => prop_assert!(committed.is_some_and(|committed| epoch > committed + 1)),
            }
        }
    }
}
