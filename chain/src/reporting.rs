//! When a validator sends weights, in which form, and why it does not: a pure rule over what it knows.
//!
//! The rule looks at one [`Situation`] and gives one [`Step`]. It never asks to send what the chain would refuse for a reason that
//! can be known before, and it names the block at which asking again makes sense; so a validator that follows it can always say
//! why its weights are not set.

use serde::{Deserialize, Serialize};

use crate::error::{LedgerError, Refusal};
use crate::ledger::{Hyperparameters, Metagraph, Neuron, WeightsForm};

/// Blocks after which a call is made again that failed for a reason that waiting may cure.
const RETRY_BLOCKS: u64 = 5;

/// Blocks after which a call counts as lost of which nobody saw the answer and the metagraph shows nothing.
const LOST_AFTER_BLOCKS: u64 = 8;

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

/// Why a validator does not set weights now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The newest weights are taken already, or no miner has earned one.
    NothingNew,
    /// The hotkey is not on the metagraph.
    NotRegistered,
    /// It has no validator permit.
    NoPermit,
    /// Its stake is below the threshold.
    NotEnoughStake,
    /// The subnet asks for a newer version of the validator.
    OldVersion,
    /// Weights were set too recently.
    RateLimit,
    /// The commit's epoch for revealing has not come.
    RevealLater,
    /// The last attempt failed.
    Retry,
    /// A call was sent and its answer never came.
    Unanswered,
    /// The ledger does not say what has to be known before.
    Unreachable,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NothingNew,
        Self::NotRegistered,
        Self::NoPermit,
        Self::NotEnoughStake,
        Self::OldVersion,
        Self::RateLimit,
        Self::RevealLater,
        Self::Retry,
        Self::Unanswered,
        Self::Unreachable,
    ];

    /// Its label in metrics and its name in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NothingNew => "nothing_new",
            Self::NotRegistered => "not_registered",
            Self::NoPermit => "no_permit",
            Self::NotEnoughStake => "not_enough_stake",
            Self::OldVersion => "old_version",
            Self::RateLimit => "rate_limit",
            Self::RevealLater => "reveal_later",
            Self::Retry => "retry",
            Self::Unanswered => "unanswered",
            Self::Unreachable => "unreachable",
        }
    }

    /// Which of them `error` amounts to.
    pub const fn of(error: &LedgerError) -> Self {
        match error {
            LedgerError::Refused(refusal) => match refusal {
                Refusal::SettingWeightsTooFast { .. } | Refusal::CommittingWeightsTooFast { .. } => Self::RateLimit,
                Refusal::NeuronNoValidatorPermit => Self::NoPermit,
                Refusal::NotEnoughStakeToSetWeights => Self::NotEnoughStake,
                Refusal::IncorrectWeightVersionKey | Refusal::IncorrectCommitRevealVersion => Self::OldVersion,
                Refusal::HotKeyNotRegisteredInSubNet => Self::NotRegistered,
                Refusal::RevealTooEarly | Refusal::TooManyUnrevealedCommits => Self::RevealLater,
                _ => Self::Retry,
            },
            error if may_have_taken_effect(error) => Self::Unanswered,
            _ => Self::Retry,
        }
    }

    /// What an operator reads.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::NothingNew => "the newest weights are taken, or no miner has earned one yet",
            Self::NotRegistered => "the hotkey is not registered any more: register it again",
            Self::NoPermit => "the hotkey has no validator permit: it needs more stake, and the next epoch to pass",
            Self::NotEnoughStake => "the hotkey's stake is below the subnet's threshold: add stake",
            Self::OldVersion => "the subnet asks for a newer version key: update the validator",
            Self::RateLimit => "weights were set less than the rate limit ago",
            Self::RevealLater => "weights are committed and wait for the epoch in which they are revealed",
            Self::Retry => "the last attempt failed and is made again",
            Self::Unanswered => "the ledger did not answer a call: the next blocks show whether it took effect",
            Self::Unreachable => "the ledger does not answer questions: check its address and that it runs",
        }
    }
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

/// The block at which to try again after `error` at `block`, by what the error says.
pub fn retry_after(error: &LedgerError, block: u64, next_epoch_block: u64) -> u64 {
    let soon = block.saturating_add(RETRY_BLOCKS);
    match error {
        LedgerError::Refused(refusal) => match refusal {
            // Permits change at epochs, and so does what may be revealed.
            Refusal::NeuronNoValidatorPermit | Refusal::RevealTooEarly | Refusal::TooManyUnrevealedCommits => {
                next_epoch_block
            }
            // The subnet has changed the form in which it takes weights: once that is known, nothing is to be waited for.
            Refusal::CommitRevealEnabled | Refusal::CommitRevealDisabled | Refusal::IncorrectCommitRevealVersion => {
                block
            }
            refusal => refusal.retry_at_block().unwrap_or(soon),
        },
        // It may have taken effect: the next metagraph shows it.
        LedgerError::Unavailable { .. } | LedgerError::Deadline { .. } | LedgerError::Busy => block.saturating_add(1),
        _ => soon,
    }
    .max(block.saturating_add(1))
}

/// Whether a mutation that ended in `error` may have taken effect all the same.
pub const fn may_have_taken_effect(error: &LedgerError) -> bool {
    matches!(
        error,
        LedgerError::Unavailable { .. } | LedgerError::Deadline { .. } | LedgerError::Protocol { .. }
    )
}

/// Whether revealing a commit again is of no use after `error`.
pub const fn is_lost(error: &LedgerError) -> bool {
    matches!(
        error,
        LedgerError::Refused(
            Refusal::ExpiredWeightCommit
                | Refusal::NoWeightsCommitFound
                | Refusal::InvalidRevealCommitHashNotMatch
                | Refusal::CommitRevealDisabled
        )
    )
}

/// The epoch to which an operation belongs that took effect in `block`, as seen from `metagraph`.
///
/// A block's epoch runs before its operations. Epochs before the last one are counted back by the tempo of now.
pub fn epoch_of(metagraph: &Metagraph, block: u64) -> u64 {
    let (last, tempo) = (metagraph.last_epoch_block, metagraph.tempo.max(1));
    match block.checked_sub(last) {
        Some(since) => metagraph.epoch_index.saturating_add(since / tempo),
        None => metagraph
            .epoch_index
            .saturating_sub(last.saturating_sub(block).div_ceil(tempo)),
    }
}

/// A call of which nobody saw the answer: a plain setting or a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered {
    /// The newest block when it was sent.
    pub block: u64,
    /// The neuron's last update when it was sent.
    pub before_update: u64,
}

/// What became of an [`Unanswered`] call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It took effect in this block.
    Taken(u64),
    /// It did not, and will not any more.
    Lost,
    /// The metagraph does not show it yet, and may later.
    Open,
}

/// What became of `call`, as far as `metagraph` shows it of the neuron `me`.
///
/// Whatever is taken moves the neuron's last update, and nothing else does but a new registration.
pub fn settle(call: Unanswered, metagraph: &Metagraph, me: Option<&Neuron>) -> Settled {
    match me {
        Some(me) if me.last_update > call.before_update && me.last_update > me.registered_at => {
            Settled::Taken(me.last_update)
        }
        _ if metagraph.block >= call.block.saturating_add(LOST_AFTER_BLOCKS) => Settled::Lost,
        _ => Settled::Open,
    }
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

    #[test]
    fn what_the_chain_said_decides_when_to_try_again() {
        let refused = |refusal: Refusal| retry_after(&refusal.into(), 120, 150);
        assert_eq!(refused(Refusal::SettingWeightsTooFast { retry_at_block: 131 }), 131);
        assert_eq!(refused(Refusal::CommittingWeightsTooFast { retry_at_block: 132 }), 132);
        assert_eq!(refused(Refusal::NeuronNoValidatorPermit), 150);
        assert_eq!(refused(Refusal::DuplicateUids), 125);
        assert_eq!(refused(Refusal::CommitRevealEnabled), 121, "in the other form");
        assert_eq!(retry_after(&LedgerError::Busy, 120, 150), 121);
        assert_eq!(
            refused(Refusal::SettingWeightsTooFast { retry_at_block: 3 }),
            121,
            "never in the past"
        );
    }

    #[test]
    fn an_error_has_the_name_under_which_an_operator_meets_it() {
        let lost = LedgerError::Deadline {
            endpoint: "here".to_owned(),
            after_ms: 1,
        };
        assert!(may_have_taken_effect(&lost) && !may_have_taken_effect(&LedgerError::Busy));
        for (error, why) in [
            (
                Refusal::SettingWeightsTooFast { retry_at_block: 1 }.into(),
                Why::RateLimit,
            ),
            (Refusal::NeuronNoValidatorPermit.into(), Why::NoPermit),
            (Refusal::IncorrectWeightVersionKey.into(), Why::OldVersion),
            (Refusal::HotKeyNotRegisteredInSubNet.into(), Why::NotRegistered),
            (Refusal::RevealTooEarly.into(), Why::RevealLater),
            (Refusal::WeightVecLengthIsLow.into(), Why::Retry),
            (LedgerError::Busy, Why::Retry),
            (lost, Why::Unanswered),
        ] {
            assert_eq!(Why::of(&error), why, "{error}");
        }
        let mut names: Vec<&str> = Why::ALL.iter().map(|why| why.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Why::ALL.len());
    }

    #[test]
    fn an_operation_in_the_block_of_an_epoch_belongs_to_the_new_one() {
        let metagraph = Metagraph {
            block: 118,
            last_epoch_block: 100,
            epoch_index: 5,
            ..Metagraph::new(1, 20, vec![])
        };
        assert_eq!(
            [119, 120, 139, 140].map(|block| epoch_of(&metagraph, block)),
            [5, 6, 6, 7]
        );
        assert_eq!(
            [100, 99, 80, 79, 0].map(|block| epoch_of(&metagraph, block)),
            [5, 4, 4, 3, 0],
            "and before the last one to an older"
        );
    }

    #[test]
    fn a_call_without_an_answer_is_settled_by_the_metagraph() {
        let call = Unanswered {
            block: 118,
            before_update: 60,
        };
        let seen = |block, last_update, registered_at| {
            let me = Neuron {
                last_update,
                registered_at,
                ..Neuron::new(0, crate::AccountId::new([1; 32]))
            };
            let metagraph = Metagraph {
                block,
                ..Metagraph::new(1, 20, vec![])
            };
            settle(call, &metagraph, Some(&me))
        };
        assert_eq!(seen(118, 60, 3), Settled::Open);
        assert_eq!(seen(119, 119, 3), Settled::Taken(119));
        assert_eq!(seen(900, 119, 3), Settled::Taken(119), "whenever it is looked at");
        assert_eq!(seen(125, 60, 3), Settled::Open);
        assert_eq!(seen(126, 60, 3), Settled::Lost);
        assert_eq!(seen(126, 119, 119), Settled::Lost, "a new registration is no answer");
        assert_eq!(settle(call, &Metagraph::new(1, 20, vec![]), None), Settled::Open);
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
