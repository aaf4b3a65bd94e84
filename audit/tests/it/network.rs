//! Thirty nodes on one machine that audit each other for three epochs, with the real rules of measuring and the real contract, and a clock that
//! the test drives: one is down a tenth of the time, one is slow, one lies about its peers, one measures nothing. Everybody is paid what the
//! rule says, to the wei.

use std::collections::{BTreeMap, BTreeSet};

use audit::rule::measure::{Row, aggregate, row};
use audit::rule::{NO_LATENCY, Settlement, Terms, Verdict, VerdictOutcome};
use contracts::AuditManager;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use crate::contract::world::{WHOLE, World, owner, terms};

const NODES: u32 = 30;

/// An epoch of a day; the window besides.
fn short() -> Terms {
    Terms {
        reward_period: 90_000,
        ..terms()
    }
}

/// How the nodes behave.
#[derive(Default)]
struct Cast {
    /// Down, and without a connection, in every tenth interval.
    failing: BTreeSet<u32>,
    /// They answer in exactly twice the allowable latency.
    slow: BTreeSet<u32>,
    /// They say of everybody that it never answered.
    liars: BTreeSet<u32>,
    /// They serve, and their auditing is offline.
    silent: BTreeSet<u32>,
    /// Their own connection is down for the first third of each epoch; they serve.
    patchy: BTreeSet<u32>,
}

struct Network {
    world: World,
    cast: Cast,
    random: StdRng,
    rows: BTreeMap<(u32, u32), Vec<Row>>,
}

impl Network {
    fn new(cast: Cast) -> Self {
        Self {
            world: World::network(short(), NODES),
            cast,
            random: StdRng::seed_from_u64(30),
            rows: BTreeMap::new(),
        }
    }

    /// Whom a node audits, as it reads it from the contract.
    fn duties(&mut self, auditor: u32) -> Vec<AuditManager::Duty> {
        let call = AuditManager::dutiesCall {
            auditor,
            from: 1,
            count: NODES,
        };
        self.world.ask(&call)
    }

    fn connected(&self, node: u32, interval: u64) -> bool {
        let failing = self.cast.failing.contains(&node) && interval.is_multiple_of(10);
        let patchy = self.cast.patchy.contains(&node) && interval < 96;
        !failing && !patchy && !self.cast.silent.contains(&node)
    }

    /// Three reachability probes of a peer, in microseconds.
    fn pings(&mut self, subject: u32, interval: u64) -> Vec<Option<u32>> {
        let down = self.cast.failing.contains(&subject) && interval.is_multiple_of(10);
        (0..3)
            .map(|number| {
                if down {
                    return None;
                }
                if self.cast.slow.contains(&subject) {
                    return Some(300_000);
                }
                // Some are lost, never two of three.
                let lost = number == 0 && self.random.random_range(0..20) == 0;
                (!lost).then(|| self.random.random_range(20_000..90_000))
            })
            .collect()
    }

    /// One epoch: measured, reported and claimed by everybody. All epochs run side by side, so one node's window is everybody's.
    fn epoch(&mut self) -> BTreeMap<u32, Settlement> {
        self.rows.clear();
        let terms = self.world.rule.terms;
        let start = self.world.chain.now();
        let duties: Vec<_> = (1..=NODES).map(|auditor| (auditor, self.duties(auditor))).collect();
        for interval in 0..u64::from(terms.intervals()) {
            let at = start + interval * u64::from(terms.check_time) + 7;
            for (auditor, peers) in &duties {
                let reference = self.connected(*auditor, interval);
                for peer in peers {
                    let pings = self.pings(peer.subject, interval);
                    let rows = self.rows.entry((*auditor, peer.subject)).or_default();
                    rows.extend(row(at, reference, &pings, Some(true)));
                }
            }
        }
        let window = terms.window(start);
        self.world.chain.warp(window.start);
        for (auditor, peers) in &duties {
            let verdicts: Vec<Verdict> = peers.iter().map(|peer| self.verdict(*auditor, peer)).collect();
            let known = verdicts.iter().filter(|verdict| verdict.known > 0).count();
            let outcomes = self.world.report(*auditor, &verdicts).unwrap();
            let stored = outcomes
                .iter()
                .filter(|outcome| **outcome == VerdictOutcome::Stored)
                .count();
            assert_eq!(stored, known, "what knows nothing of a peer has no say");
        }
        self.world.chain.warp(window.end);
        let claimed = (1..=NODES).map(|id| (id, self.world.claim(id).unwrap())).collect();
        self.world.compare_all();
        claimed
    }

    fn verdict(&self, auditor: u32, peer: &AuditManager::Duty) -> Verdict {
        let terms = &self.world.rule.terms;
        let rows = self.rows.get(&(auditor, peer.subject)).into_iter().flatten().copied();
        let honest = Verdict::new(peer.subject, peer.epoch, &aggregate(terms, peer.epochStart.to(), rows));
        if self.cast.liars.contains(&auditor) {
            Verdict {
                failed: terms.intervals(),
                known: terms.intervals(),
                latency: NO_LATENCY,
                ..honest
            }
        } else {
            honest
        }
    }
}

#[test]
fn thirty_nodes_are_paid_what_the_rule_says_for_three_epochs() {
    let (failing, slow, liar, silent, patchy) = (5, 9, 13, 17, 21);
    let mut network = Network::new(Cast {
        failing: [failing].into(),
        slow: [slow].into(),
        liars: [liar].into(),
        silent: [silent].into(),
        patchy: [patchy].into(),
    });
    let terms = network.world.rule.terms;
    assert_eq!((terms.intervals(), terms.tolerated()), (288, 9));
    let rate = network.world.rule.pool().rate();
    let share = rate * u128::from(terms.reward_period) / u128::from(NODES);
    let mut earned: BTreeMap<u32, u128> = BTreeMap::new();
    for epoch in 1..=3 {
        let groups: Vec<Vec<u32>> = (1..=NODES).map(|id| network.world.group(id)).collect();
        let claimed = network.epoch();
        for (id, settlement) in &claimed {
            assert_eq!(settlement.maximum, share, "an equal part of what an epoch releases");
            // What is expected by hand, from what the node did.
            let (downtime, bounty) = if *id == failing {
                (29, share - share * 29 / 288)
            } else if *id == slow {
                (0, share / 2)
            } else if [liar, silent].contains(id) {
                assert_eq!(settlement.kept, 0);
                (0, share - share / 5)
            } else {
                assert_eq!(settlement.kept, settlement.owed, "node {id}");
                (0, share)
            };
            assert_eq!(
                (settlement.downtime, settlement.bounty),
                (downtime, bounty),
                "node {id} in epoch {epoch}"
            );
            let group = &groups[*id as usize - 1];
            let voiceless = group.contains(&silent);
            assert_eq!(settlement.verdicts, 24 - u32::from(voiceless));
            let fine = settlement.latency < 90_000;
            assert_eq!(fine, *id != slow, "the median latency is an honest one's");
            *earned.entry(*id).or_default() += settlement.bounty;
        }
        assert!(
            groups.iter().filter(|group| group.contains(&liar)).count() > 10,
            "the liar is heard"
        );
        let line = |id| format!("{:.4}", claimed[&id].bounty as f64 / WHOLE as f64);
        println!(
            "epoch {epoch}: {} each; down a tenth {}, slow {}, liar {}, silent {}, patchy {}",
            line(1),
            line(failing),
            line(slow),
            line(liar),
            line(silent),
            line(patchy)
        );
    }
    for (id, earned) in earned {
        assert_eq!(network.world.tokens(owner(id)), earned, "to the wei");
    }
}

/// Eleven of thirty lie in concert: no group of 24 has a majority of them, and they harm themselves alone.
#[test]
fn eleven_liars_move_no_median() {
    let liars: BTreeSet<u32> = (20..=30).collect();
    let mut network = Network::new(Cast {
        liars: liars.clone(),
        ..Cast::default()
    });
    for (id, settlement) in network.epoch() {
        assert_eq!((settlement.downtime, settlement.verdicts), (0, 24));
        assert!(settlement.latency < 90_000);
        let whole = settlement.maximum;
        assert_eq!(
            settlement.bounty,
            if liars.contains(&id) { whole - whole / 5 } else { whole }
        );
    }
}
