//! The moment of a ceremony: all miners are challenged at once, each with challenges of its own, and audited at once.
//!
//! That is what keeps one machine from passing for many: its identities wait for each other. Challenges are distinct, so that one
//! execution is not good for several answers, and no answer good for another's challenge; [`Contest::distinct`] takes that away, to
//! show what it is for. Time is virtual, in microseconds, counted on each machine: the same seed gives the same contest anywhere.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use crate::mix::TrafficMix;
use crate::role::{Conduct, Role, Says};
use crate::seed::Seed;
use crate::traffic::{self, World};

/// Audits that a machine answers in time: one, with room for one that is half as fast; an identity more is not there.
const AUDIT_PACE: u32 = 2;
/// What an answer takes from one miner to another who overhears it, in microseconds.
const OVERHEARING: u64 = 2_000;
/// Of a link between a validator and a miner, in microseconds.
const LINK: std::ops::Range<u64> = 500..5_000;

/// How hard a contest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contest {
    /// Moments at which everybody is challenged.
    pub rounds: u32,
    /// Challenges that each miner gets at one moment.
    pub burst: u32,
    /// What an ordinary machine takes for one execution, in microseconds.
    pub execution: u64,
    /// An answer that takes longer is none, in microseconds.
    pub deadline: u64,
    /// Whether each miner has challenges of its own.
    pub distinct: bool,
}

impl Default for Contest {
    /// What keeps an ordinary machine busy for a tenth of a second, three times: as long as the score's latency floor, so that whoever
    /// shares a machine is below it.
    fn default() -> Self {
        Self {
            rounds: 3,
            burst: 20,
            execution: 5_000,
            deadline: 1_000_000,
            distinct: true,
        }
    }
}

/// A miner in a contest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contender {
    /// Its account.
    pub account: u32,
    /// What it is.
    pub role: Role,
    /// The machine on which it runs.
    pub machine: u64,
}

/// What was seen of a miner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Challenges sent to it.
    pub asked: u64,
    /// Answers in time.
    pub answered: u64,
    /// Answers that are the truth.
    pub correct: u64,
    /// Challenges in which something was violated.
    pub violating: u64,
    /// Of those, the answers that are the truth.
    pub found: u64,
    /// Latencies of its answers, in microseconds, ascending.
    pub latencies: Vec<u64>,
    /// Latencies of its true answers where something was violated, in microseconds, ascending.
    pub detections: Vec<u64>,
}

/// The value below which `percent` of an ascending list lie (nearest rank); none of an empty one.
pub fn percentile(ascending: &[u64], percent: usize) -> Option<u64> {
    let rank = (ascending.len() * percent).div_ceil(100).max(1);
    ascending.get(rank - 1).copied()
}

/// A challenge, and its truth.
#[derive(Debug)]
struct Challenge {
    id: u64,
    violated: bool,
    digest: [u8; 32],
}

/// What a miner says: whether something is violated, and what shows that it executed, which it has only if it did.
#[derive(Debug, Clone, Copy)]
struct Answer {
    violated: bool,
    digest: Option<[u8; 32]>,
    at: u64,
}

/// One contest of a ceremony.
#[derive(Debug)]
struct Play<'a> {
    contest: &'a Contest,
    traffic: &'a TrafficMix,
    seed: &'a Seed,
    ceremony: u64,
}

/// Challenges everybody, and gives what was seen of each.
pub fn play(
    contest: &Contest,
    traffic: &TrafficMix,
    contenders: &[Contender],
    ceremony: u64,
    seed: &Seed,
) -> BTreeMap<u32, Measured> {
    let play = Play {
        contest,
        traffic,
        seed,
        ceremony,
    };
    // Copied is the first honest miner there is: who copies knows whom to trust.
    let victim = contenders.iter().find(|contender| contender.role == Role::Honest);
    let victim_answers = victim.map(|victim| {
        let neighbours: Vec<Contender> = contenders
            .iter()
            .filter(|other| other.machine == victim.machine)
            .copied()
            .collect();
        play.answers(&neighbours).remove(&victim.account).unwrap_or_default()
    });
    let mut machines = BTreeMap::<u64, Vec<Contender>>::new();
    for contender in contenders {
        machines.entry(contender.machine).or_default().push(*contender);
    }
    let mut measured = BTreeMap::new();
    for identities in machines.values() {
        let mut answers = play.answers(identities);
        for identity in identities {
            let own = answers.remove(&identity.account).unwrap_or_default();
            let answers = match identity.role.conduct().says {
                Says::Another => overheard(victim_answers.as_deref().unwrap_or_default(), contest.deadline),
                _ => own,
            };
            measured.insert(identity.account, play.judge(identity, &answers));
        }
    }
    measured
}

/// Another's answers, a little later.
fn overheard(answers: &[Option<Answer>], deadline: u64) -> Vec<Option<Answer>> {
    let later = |answer: Answer| Answer {
        at: answer.at + OVERHEARING,
        ..answer
    };
    answers
        .iter()
        .map(|answer| answer.map(later).filter(|answer| answer.at <= deadline))
        .collect()
}

impl Play<'_> {
    /// The challenges of an account, round by round.
    fn challenges(&self, account: u32) -> Vec<Challenge> {
        let owner = if self.contest.distinct {
            u64::from(account)
        } else {
            u64::from(u32::MAX)
        };
        let mut rng = self.seed.rng("challenges", (self.ceremony << 32) | owner);
        let count = self.contest.rounds as usize * self.contest.burst as usize;
        let senders = traffic::senders(self.traffic, count, &mut rng);
        senders
            .into_iter()
            .map(|sender| {
                let world = World::draw(&mut rng);
                let effect = world.execute(&traffic::transaction(sender, &world, &mut rng));
                let id = rng.random();
                Challenge {
                    id,
                    violated: effect.violated,
                    digest: effect.after.digest(id),
                }
            })
            .collect()
    }

    /// What the identities of one machine answer, each in the order of its challenges; nothing where they do not come or are late.
    fn answers(&self, identities: &[Contender]) -> BTreeMap<u32, Vec<Option<Answer>>> {
        let first = identities.first().map_or(0, |contender| u64::from(contender.account));
        let mut rng = self.seed.rng("machine", (self.ceremony << 32) | first);
        let challenges: Vec<(Contender, Vec<Challenge>)> = identities
            .iter()
            .map(|identity| (*identity, self.challenges(identity.account)))
            .collect();
        let mut said = BTreeMap::<u32, Vec<Option<Answer>>>::new();
        for round in 0..self.contest.rounds as usize {
            let mut clock = 0;
            let mut executed = BTreeSet::new();
            for slot in 0..self.contest.burst as usize {
                let place = round * self.contest.burst as usize + slot;
                for (identity, challenges) in &challenges {
                    let Conduct {
                        says,
                        executes_one_in,
                        pace,
                    } = identity.role.conduct();
                    let answers = said.entry(identity.account).or_default();
                    let Some(challenge) = challenges.get(place).filter(|_| identity.role.comes(self.ceremony)) else {
                        answers.push(None);
                        continue;
                    };
                    let executes = says != Says::Another
                        && (place as u64 + u64::from(identity.account))
                            .is_multiple_of(u64::from(executes_one_in.max(1)));
                    // What this machine has executed already it need not execute again.
                    if executes && executed.insert(challenge.id) {
                        clock += self.contest.execution * u64::from(pace) * rng.random_range(95..=105) / 100;
                    }
                    let violated = match says {
                        _ if !executes => false,
                        Says::Truth | Says::Another => challenge.violated,
                        Says::Opposite => !challenge.violated,
                        Says::Safe => false,
                    };
                    answers.push((clock <= self.contest.deadline).then_some(Answer {
                        violated,
                        digest: executes.then_some(challenge.digest),
                        at: clock,
                    }));
                }
            }
        }
        said
    }

    /// Holds a miner's answers against the truth.
    fn judge(&self, contender: &Contender, answers: &[Option<Answer>]) -> Measured {
        let mut measured = Measured::default();
        for (place, challenge) in self.challenges(contender.account).iter().enumerate() {
            measured.asked += 1;
            measured.violating += u64::from(challenge.violated);
            let Some(answer) = answers.get(place).copied().flatten() else {
                continue;
            };
            measured.answered += 1;
            measured.latencies.push(answer.at);
            if answer.digest == Some(challenge.digest) && answer.violated == challenge.violated {
                measured.correct += 1;
                if challenge.violated {
                    measured.found += 1;
                    measured.detections.push(answer.at);
                }
            }
        }
        measured.latencies.sort_unstable();
        measured.detections.sort_unstable();
        measured
    }
}

/// Who answers the audit in time: everybody is asked at the same moment, so that of the identities of one machine only the first are
/// there.
pub fn present(members: &[Contender], ceremony: u64) -> BTreeSet<u32> {
    let mut clocks = BTreeMap::<u64, u32>::new();
    members
        .iter()
        .filter(|member| member.role.comes(ceremony))
        .filter(|member| {
            let clock = clocks.entry(member.machine).or_default();
            *clock = clock.saturating_add(member.role.conduct().pace);
            *clock <= AUDIT_PACE
        })
        .map(|member| member.account)
        .collect()
}

/// What the way between a validator and a miner takes, in microseconds: drawn once for each pair.
pub fn link(validator: u32, miner: u32, seed: &Seed) -> u64 {
    seed.rng("link", (u64::from(validator) << 32) | u64::from(miner))
        .random_range(LINK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(account: u32, role: Role) -> Contender {
        Contender {
            account,
            role,
            machine: account.into(),
        }
    }

    fn contest(contest: &Contest, contenders: &[Contender], ceremony: u64) -> BTreeMap<u32, Measured> {
        play(contest, &TrafficMix::default(), contenders, ceremony, &Seed::of(1))
    }

    #[test]
    fn each_role_shows_what_it_is() {
        let contenders: Vec<Contender> = Role::ALL
            .into_iter()
            .zip(1..)
            .map(|(role, account)| alone(account, role))
            .collect();
        let seen = contest(&Contest::default(), &contenders, 2);
        let of = |role: Role| {
            &seen[&contenders
                .iter()
                .find(|contender| contender.role == role)
                .unwrap()
                .account]
        };
        for role in Role::ALL {
            assert_eq!((of(role).asked, of(role).violating), (60, 9), "{role}");
        }
        let honest = of(Role::Honest);
        assert_eq!((honest.answered, honest.correct, honest.found), (60, 60, 9));
        let l99 = |role: Role| percentile(&of(role).latencies, 99).unwrap();
        assert!((95_000..=105_000).contains(&l99(Role::Honest)), "{}", l99(Role::Honest));
        assert!((190_000..=210_000).contains(&l99(Role::Slow)), "{}", l99(Role::Slow));
        assert_eq!((of(Role::Lazy).answered, of(Role::Lazy).correct), (60, 20));
        assert_eq!((of(Role::Liar).answered, of(Role::Liar).correct), (60, 0));
        assert_eq!((of(Role::Copying).answered, of(Role::Copying).correct), (60, 0));
        assert_eq!((of(Role::Colluding).correct, of(Role::Colluding).found), (51, 0));
        assert_eq!((of(Role::NoShow).answered, of(Role::Flapping).answered), (0, 0));
        assert_eq!(
            of(Role::Sybil).correct,
            60,
            "alone on its machine it is an honest miner"
        );
    }

    #[test]
    fn identities_of_one_machine_wait_for_each_other() {
        let sybils: Vec<Contender> = (1..=10)
            .map(|account| Contender {
                machine: 0,
                ..alone(account, Role::Sybil)
            })
            .collect();
        let worst = |distinct: bool| {
            let seen = contest(
                &Contest {
                    distinct,
                    deadline: u64::MAX,
                    ..Contest::default()
                },
                &sybils,
                1,
            );
            seen.values()
                .filter_map(|measured| percentile(&measured.latencies, 99))
                .max()
                .unwrap()
        };
        // Ten times as long with challenges of their own; as long as one where one execution serves them all.
        assert!((950_000..=1_050_000).contains(&worst(true)), "{}", worst(true));
        assert!((95_000..=105_000).contains(&worst(false)), "{}", worst(false));
    }

    #[test]
    fn an_answer_overheard_is_good_only_where_challenges_are_shared() {
        let both = [alone(1, Role::Honest), alone(2, Role::Copying)];
        let correct = |distinct| {
            let shape = Contest {
                distinct,
                ..Contest::default()
            };
            contest(&shape, &both, 1)[&2].correct
        };
        assert_eq!((correct(true), correct(false)), (0, 60));
    }

    #[test]
    fn of_many_identities_two_pass_an_audit() {
        let mut members: Vec<Contender> = (1..=10)
            .map(|account| Contender {
                machine: 0,
                ..alone(account, Role::Sybil)
            })
            .collect();
        members.extend([alone(11, Role::Honest), alone(12, Role::Slow), alone(13, Role::NoShow)]);
        assert_eq!(present(&members, 1), BTreeSet::from([1, 2, 11, 12]));
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(
            (percentile(&hundred, 99), percentile(&hundred, 50)),
            (Some(99), Some(50))
        );
        assert_eq!((percentile(&[7], 99), percentile(&[], 99)), (Some(7), None));
    }
}
