//! The rule of incidents: which attack a violation belongs to, and how an incident goes on.
//!
//! Pure: no clock, no database. An incident never goes back, and an end stays an end, but for two: what was given up and is included
//! after all is contained, and what was escalated may be closed by a person. So the order in which tasks report does not matter.

use serde::{Deserialize, Serialize};

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Confirmed; nothing has been done yet.
    Open,
    /// An action is under way or was taken.
    Fired,
    /// A pause is on its way to be mined.
    Broadcast,
    /// The pause was included.
    Contained,
    /// An action failed for good: people are needed. The next rung of its ladder has fired, if there was one.
    Escalated,
    /// Nothing more came: quiet for long, or closed by a person.
    Closed,
}

/// Something that moves an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The first attempt of an action begins.
    Fired,
    /// A pause was broadcast.
    Broadcast,
    /// A pause was included.
    Included,
    /// An action failed for good.
    Escalated,
    /// It is closed.
    Closed,
}

impl State {
    /// Every state, in order.
    pub const ALL: [Self; 6] = [
        Self::Open,
        Self::Fired,
        Self::Broadcast,
        Self::Contained,
        Self::Escalated,
        Self::Closed,
    ];

    /// The state after `change`.
    #[must_use]
    pub fn after(self, change: Change) -> Self {
        match (self, change) {
            (Self::Closed | Self::Contained, _) => self,
            (_, Change::Included) => Self::Contained,
            (_, Change::Closed) => Self::Closed,
            (Self::Escalated, _) | (_, Change::Escalated) => Self::Escalated,
            (Self::Broadcast, _) | (_, Change::Broadcast) => Self::Broadcast,
            (Self::Open | Self::Fired, Change::Fired) => Self::Fired,
        }
    }

    /// Contained, escalated or closed.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Contained | Self::Escalated | Self::Closed)
    }

    pub(crate) fn code(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_code(code: i64) -> Option<Self> {
        usize::try_from(code).ok().and_then(|code| Self::ALL.get(code).copied())
    }
}

/// What a line of the timeline tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The transaction reached the validator.
    Seen,
    /// A miner claimed the violation.
    Judged,
    /// The validator's own engine confirmed it.
    Confirmed,
    /// Another transaction of the same attack.
    Repeated,
    /// The first attempt of an action.
    Fired,
    /// An attempt that did not succeed.
    Attempt,
    /// An alert was taken.
    Sent,
    /// An alert was held back by a limit.
    Suppressed,
    /// A pause was broadcast.
    Broadcast,
    /// A pause was included.
    Included,
    /// An action failed for good.
    Escalated,
    /// Nothing more is done.
    Closed,
}

impl Moment {
    /// As it is stored and shown.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Judged => "judged",
            Self::Confirmed => "confirmed",
            Self::Repeated => "repeated",
            Self::Fired => "fired",
            Self::Attempt => "attempt",
            Self::Sent => "sent",
            Self::Suppressed => "suppressed",
            Self::Broadcast => "broadcast",
            Self::Included => "included",
            Self::Escalated => "escalated",
            Self::Closed => "closed",
        }
    }

    pub(crate) fn from_label(label: &str) -> Option<Self> {
        [
            Self::Seen,
            Self::Judged,
            Self::Confirmed,
            Self::Repeated,
            Self::Fired,
            Self::Attempt,
            Self::Sent,
            Self::Suppressed,
            Self::Broadcast,
            Self::Included,
            Self::Escalated,
            Self::Closed,
        ]
        .into_iter()
        .find(|moment| moment.label() == label)
    }

    /// How it moves the incident, if it does.
    #[must_use]
    pub fn change(self) -> Option<Change> {
        match self {
            Self::Fired => Some(Change::Fired),
            Self::Broadcast => Some(Change::Broadcast),
            Self::Included => Some(Change::Included),
            Self::Escalated => Some(Change::Escalated),
            Self::Closed => Some(Change::Closed),
            Self::Seen
            | Self::Judged
            | Self::Confirmed
            | Self::Repeated
            | Self::Attempt
            | Self::Sent
            | Self::Suppressed => None,
        }
    }
}

/// An incident of the same invariant that a violation may belong to. Times in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: i64,
    /// Its state.
    pub state: State,
    /// When its newest suspect was seen.
    pub last_ms: u64,
    /// When its pause was included.
    pub contained_ms: Option<u64>,
    /// One of its suspects is of the same sender.
    pub same_sender: bool,
    /// One of its suspects took the same call path.
    pub same_path: bool,
}

/// The incident that a violation seen at `seen_ms` attaches to: the oldest one of the same sender or call path whose newest suspect is
/// at most `window_ms` away. What comes after the pause was included, or after the end, is an attack of its own: the gate did not hold.
#[must_use]
pub fn attach(candidates: &[Candidate], seen_ms: u64, window_ms: u64) -> Option<i64> {
    candidates
        .iter()
        .filter(|incident| incident.same_sender || incident.same_path)
        .filter(|incident| incident.last_ms.abs_diff(seen_ms) <= window_ms)
        .filter(|incident| match incident.state {
            State::Open | State::Fired | State::Broadcast | State::Escalated => true,
            State::Contained => incident.contained_ms.is_some_and(|contained| seen_ms <= contained),
            State::Closed => false,
        })
        .map(|incident| incident.id)
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(id: i64, state: State) -> Candidate {
        Candidate {
            id,
            state,
            last_ms: 1_000,
            contained_ms: None,
            same_sender: true,
            same_path: false,
        }
    }

    #[test]
    fn the_way_of_an_attack_that_is_stopped() {
        let mut state = State::Open;
        for (change, expected) in [
            (Change::Fired, State::Fired),
            (Change::Broadcast, State::Broadcast),
            (Change::Fired, State::Broadcast),
            (Change::Included, State::Contained),
            (Change::Escalated, State::Contained),
            (Change::Closed, State::Contained),
        ] {
            state = state.after(change);
            assert_eq!(state, expected, "after {change:?}");
        }
    }

    #[test]
    fn a_pause_that_is_included_after_all_contains() {
        assert_eq!(
            State::Open
                .after(Change::Escalated)
                .after(Change::Broadcast)
                .after(Change::Included),
            State::Contained
        );
        assert_eq!(State::Escalated.after(Change::Closed), State::Closed);
    }

    #[test]
    fn a_violation_attaches_by_sender_or_path_within_the_window() {
        let open = candidate(4, State::Open);
        assert_eq!(attach(&[open], 1_500, 500), Some(4));
        assert_eq!(attach(&[open], 1_501, 500), None);
        let by_path = Candidate {
            same_sender: false,
            same_path: true,
            ..open
        };
        assert_eq!(attach(&[by_path], 700, 500), Some(4));
        let neither = Candidate {
            same_sender: false,
            ..open
        };
        assert_eq!(attach(&[neither], 1_000, 500), None);
        assert_eq!(attach(&[candidate(9, State::Fired), open], 1_000, 500), Some(4));
    }

    #[test]
    fn what_comes_after_the_pause_is_another_attack() {
        let contained = Candidate {
            contained_ms: Some(1_200),
            ..candidate(1, State::Contained)
        };
        assert_eq!(attach(&[contained], 1_200, 500), Some(1));
        assert_eq!(attach(&[contained], 1_201, 500), None);
        assert_eq!(attach(&[candidate(1, State::Closed)], 1_000, 500), None);
        assert_eq!(attach(&[candidate(1, State::Escalated)], 1_000, 500), Some(1));
    }

    fn changes() -> impl Strategy<Value = Change> {
        prop_oneof![
            Just(Change::Fired),
            Just(Change::Broadcast),
            Just(Change::Included),
            Just(Change::Escalated),
            Just(Change::Closed),
        ]
    }

    proptest! {
        #[test]
        fn an_incident_never_goes_back_and_repeats_change_nothing(history in prop::collection::vec(changes(), 0..20)) {
            let mut state = State::Open;
            for change in history {
                let next = state.after(change);
                prop_assert_eq!(next.after(change), next);
                prop_assert!(next >= state || (state, next) == (State::Escalated, State::Contained));
                if state.is_end() {
                    prop_assert!(next.is_end());
                }
                state = next;
            }
        }

        #[test]
        fn reports_may_come_in_any_order(
            mut history in prop::collection::vec(changes().prop_filter("a close is the last", |c| *c != Change::Closed), 0..8),
            seed in any::<u64>(),
        ) {
            use rand::{SeedableRng, seq::SliceRandom};
            let run = |history: &[Change]| history.iter().fold(State::Open, |state, change| state.after(*change));
            let there = run(&history);
            history.shuffle(&mut rand::rngs::StdRng::seed_from_u64(seed));
            prop_assert_eq!(run(&history), there);
        }

        #[test]
        fn what_is_attached_is_near_related_and_open(
            ids in prop::collection::vec((0_i64..50, 0_usize..6, 0_u64..5_000, prop::option::of(0_u64..5_000), any::<bool>(), any::<bool>()), 0..12),
            seen_ms in 0_u64..5_000,
            window_ms in 0_u64..2_000,
        ) {
            let candidates: Vec<Candidate> = ids
                .into_iter()
                .map(|(id, state, last_ms, contained_ms, same_sender, same_path)| Candidate {
                    id, state: State::ALL[state], last_ms, contained_ms, same_sender, same_path,
                })
                .collect();
            if let Some(id) = attach(&candidates, seen_ms, window_ms) {
                let fits = |c: &&Candidate| c.id == id
                    && (c.same_sender || c.same_path)
                    && c.last_ms.abs_diff(seen_ms) <= window_ms
                    && c.state != State::Closed;
                prop_assert!(candidates.iter().any(|c| fits(&c)));
            } else {
                let open = |c: &&Candidate| (c.same_sender || c.same_path) && c.last_ms.abs_diff(seen_ms) <= window_ms && !c.state.is_end();
                prop_assert!(!candidates.iter().any(|c| open(&c)));
            }
        }
    }

    #[test]
    fn codes_and_labels_come_back() {
        for state in State::ALL {
            assert_eq!(State::from_code(state.code()), Some(state));
        }
        assert_eq!(State::from_code(6), None);
        assert_eq!(Moment::from_label(Moment::Suppressed.label()), Some(Moment::Suppressed));
    }
}
