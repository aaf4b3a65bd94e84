//! What a meetup comes to: who was there, by the word of the others.
//!
//! Everybody says how many were present and for whom they vouch. Who says nothing, or another number than most, is out; then whoever
//! the fewest vouch for (or who vouches for the fewest) is out, until all who are left know nearly all the others (Encointer's
//! `pallets/meetup-validation`). A wrong word harms nobody but its speaker as long as the honest are most.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Equal votes without which nothing can be said.
const LEAST_VOTES: usize = 3;

/// What one participant says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// How many were present, itself included; 0 is no vote.
    pub vote: u32,
    /// For whom it vouches.
    pub vouches: BTreeSet<u32>,
}

/// Why a participant has no part in the income.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exclusion {
    /// It said nothing.
    NoVote,
    /// It said another number than most.
    WrongVote,
    /// Too few vouch for it, or it vouches for too few.
    TooFewAttestations,
}

/// A meetup that came to an end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Who was there.
    pub rewarded: BTreeSet<u32>,
    /// Who was not, and why.
    pub excluded: BTreeMap<u32, Exclusion>,
}

/// Fewer than three say the same number: nothing is known of this meetup, and nobody has an income.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("VotesNotDependable: {equal} equal votes, {LEAST_VOTES} are needed")]
pub struct VotesNotDependable {
    /// The most votes that are equal.
    pub equal: usize,
}

/// Attestations, in and out, that each of `count` needs.
pub const fn threshold(count: usize) -> usize {
    let needed = if count > 5 { count - 2 } else { count.saturating_sub(1) };
    if needed > 1 { needed } else { 1 }
}

/// Judges a meetup of `members` by what they said.
///
/// # Errors
/// [`VotesNotDependable`].
pub fn validate(members: &BTreeSet<u32>, said: &BTreeMap<u32, Attestation>) -> Result<Outcome, VotesNotDependable> {
    let mut outcome = Outcome::default();
    let vote = |member: &u32| said.get(member).map_or(0, |attestation| attestation.vote);
    let mut votes = BTreeMap::<u32, usize>::new();
    for member in members {
        match vote(member) {
            0 => drop(outcome.excluded.insert(*member, Exclusion::NoVote)),
            number => *votes.entry(number).or_default() += 1,
        }
    }
    // Of two numbers with as many votes the smaller one counts: the more cautious word.
    let (number, equal) = votes.iter().fold(
        (0, 0),
        |best, (number, equal)| if *equal > best.1 { (*number, *equal) } else { best },
    );
    if equal < LEAST_VOTES {
        return Err(VotesNotDependable { equal });
    }
    let mut left = BTreeSet::new();
    for member in members {
        match vote(member) {
            0 => {}
            same if same == number => drop(left.insert(*member)),
            _ => drop(outcome.excluded.insert(*member, Exclusion::WrongVote)),
        }
    }
    while let Some(weakest) = weakest(&left, said) {
        left.remove(&weakest);
        outcome.excluded.insert(weakest, Exclusion::TooFewAttestations);
    }
    outcome.rewarded = left;
    Ok(outcome)
}

/// Who has the fewest attestations (in or out) among those who are left, if that is too few.
fn weakest(left: &BTreeSet<u32>, said: &BTreeMap<u32, Attestation>) -> Option<u32> {
    let vouches = |from: &u32, of: &u32| from != of && said.get(from).is_some_and(|word| word.vouches.contains(of));
    let support = |member: &u32| {
        let outgoing = left.iter().filter(|other| vouches(member, other)).count();
        let incoming = left.iter().filter(|other| vouches(other, member)).count();
        outgoing.min(incoming)
    };
    let (fewest, member) = left.iter().map(|member| (support(member), *member)).min()?;
    (fewest < threshold(left.len())).then_some(member)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(count: u32) -> BTreeSet<u32> {
        (1..=count).collect()
    }

    fn all_but_self(vote: u32, present: &BTreeSet<u32>) -> BTreeMap<u32, Attestation> {
        let word = |member: &u32| Attestation {
            vote,
            vouches: present.iter().copied().filter(|other| other != member).collect(),
        };
        present.iter().map(|member| (*member, word(member))).collect()
    }

    /// BOT-12.
    #[test]
    fn one_of_seven_who_says_nothing_is_out_and_six_are_paid() {
        let present = members(6);
        let outcome = validate(&members(7), &all_but_self(6, &present)).unwrap();
        assert_eq!(outcome.rewarded, present);
        assert_eq!(outcome.excluded, BTreeMap::from([(7, Exclusion::NoVote)]));
        assert_eq!(threshold(6), 4);
    }

    /// BOT-13.
    #[test]
    fn two_equal_votes_of_five_decide_nothing() {
        let mut said = all_but_self(5, &members(5));
        for (member, vote) in [(3, 4), (4, 3), (5, 2)] {
            said.get_mut(&member).unwrap().vote = vote;
        }
        assert_eq!(validate(&members(5), &said), Err(VotesNotDependable { equal: 2 }));
    }

    #[test]
    fn a_wrong_number_costs_the_liar_alone() {
        let mut said = all_but_self(7, &members(7));
        said.get_mut(&4).unwrap().vote = 9;
        let outcome = validate(&members(7), &said).unwrap();
        assert_eq!(outcome.excluded, BTreeMap::from([(4, Exclusion::WrongVote)]));
        assert_eq!(outcome.rewarded.len(), 6);
    }

    #[test]
    fn a_pair_that_vouches_for_itself_alone_is_out() {
        let mut said = all_but_self(12, &members(12));
        said.get_mut(&1).unwrap().vouches = BTreeSet::from([2]);
        said.get_mut(&2).unwrap().vouches = BTreeSet::from([1]);
        let outcome = validate(&members(12), &said).unwrap();
        let excluded: Vec<u32> = outcome.excluded.keys().copied().collect();
        assert_eq!((excluded, outcome.rewarded.len()), (vec![1, 2], 10));
    }

    proptest! {
        #[test]
        fn whoever_is_paid_knows_nearly_all_others(
            said in proptest::collection::btree_map(1u32..16, (0u32..4, proptest::collection::btree_set(1u32..16, 0..15)), 0..15)
        ) {
            let said: BTreeMap<u32, Attestation> = said
                .into_iter()
                .map(|(member, (vote, vouches))| (member, Attestation { vote, vouches }))
                .collect();
            let members = members(15);
            if let Ok(outcome) = validate(&members, &said) {
                let paid = &outcome.rewarded;
                prop_assert_eq!(paid.len() + outcome.excluded.len(), members.len());
                for member in paid {
                    let known = paid.iter().filter(|other| *other != member && said[member].vouches.contains(other)).count();
                    prop_assert!(known >= threshold(paid.len()));
                }
            }
        }
    }
}
