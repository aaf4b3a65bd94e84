//! Canaries as a miner sees them: real challenges over gRPC, written down by miners that do nothing else; and what they do to scores.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use chain::auth::authentic;
use engine::{B256, Bytes, Context, Engine, Options, Recorder, Transaction, WatchSet};
use miner::behaviour::Behaviour;
use prost::Message;
use protos::v1;
use protos::v1::miner_server::{Miner, MinerServer};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use validator::canary::CanaryParameters;
use validator::proof::Proofs;
use wire::{ANSWER_PATH, Challenge, Wire};

use crate::world::{CHAIN, Neighbour, SUM, World, item, miner_key};

/// A miner that writes down what it is asked, and answers nothing.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Challenge>>>);

#[tonic::async_trait]
impl Miner for Writes {
    async fn challenge(&self, request: Request<v1::ChallengeRequest>) -> Result<Response<v1::Signed>, Status> {
        let message = request.into_inner().challenge.unwrap();
        self.0.lock().unwrap().push(Challenge::from_wire(&message).unwrap());
        Err(Status::unavailable("only listening"))
    }
}

/// A validator that asks canaries among these; of them, this share violates something.
async fn among(neighbours: Vec<Neighbour>, violating: f64) -> World {
    World::new(neighbours, SUM, |judge| {
        judge.proofs = Proofs::new(HashMap::new(), 3);
        judge.canaries = CanaryParameters { rate: 1.0, violating };
    })
    .await
}

async fn world(behaviours: &[Behaviour], violating: f64) -> World {
    among(behaviours.iter().map(|one| Neighbour::from(*one)).collect(), violating).await
}

/// A validator whose miners only write down.
async fn listening(miners: usize, violating: f64) -> (World, Writes) {
    let heard = Writes::default();
    let served = || Neighbour::Serves(Routes::new(MinerServer::new(heard.clone())));
    let world = among((0..miners).map(|_| served()).collect(), violating).await;
    (world, heard)
}

/// What the engine says of a challenge: whether something is violated. Panics where it cannot be executed.
fn violates(challenge: &Challenge) -> bool {
    let state = challenge.prestate.clone().unwrap();
    let state = state.complete(|_| Some(Bytes::from_static(SUM.code))).unwrap();
    let recorder = Recorder::new(&state);
    let mut engine = Engine::new(CHAIN);
    let set = WatchSet::new(challenge.invariants.clone()).unwrap();
    let outcome = engine
        .judge_watched(
            &challenge.transaction,
            Context::new(&challenge.env, &recorder, &set, &Options::default()),
        )
        .unwrap();
    assert_eq!(outcome.execution.as_ref().unwrap().status, engine::Status::Success);
    outcome.violations().next().is_some()
}

#[tokio::test]
async fn a_canary_is_in_nothing_different_from_what_the_stream_brings() {
    let (world, heard) = listening(3, 0.5).await;
    let heard = || std::mem::take(&mut *heard.0.lock().unwrap());
    let mut real: Vec<Challenge> = Vec::new();
    for cursor in 1..=40 {
        world.judge.judge(item(cursor, SUM, 10 * cursor)).await.unwrap();
        real.extend(heard());
    }
    let mut made: BTreeMap<B256, Challenge> = BTreeMap::new();
    for _ in 0..60 {
        assert!(world.judge.canary().await.unwrap());
        made.extend(heard().into_iter().map(|challenge| (challenge.id, challenge)));
    }
    assert_eq!(made.len(), 60);
    let newest = real.last().unwrap();
    let hashes: BTreeSet<B256> = real.iter().map(|challenge| challenge.transaction.hash()).collect();
    let mut senders = BTreeSet::new();
    for canary in made.values() {
        // The head of the newest item, and all that goes with it.
        assert_eq!(
            (
                canary.chain_id,
                canary.head_hash,
                &canary.env,
                canary.invariant_set_version,
                canary.deadline
            ),
            (
                newest.chain_id,
                newest.head_hash,
                &newest.env,
                newest.invariant_set_version,
                newest.deadline
            )
        );
        // A good signature, by somebody who can pay and has the right nonce: it runs.
        let transaction = &canary.transaction;
        assert_eq!(
            Transaction::decode(transaction.raw()).unwrap().sender(),
            transaction.sender()
        );
        violates(canary);
        // The state that is shipped is neither more nor less than what runs reads, as it is of real ones.
        let form = |challenge: &Challenge| challenge.prestate.as_ref().unwrap().words();
        assert_eq!(form(canary), form(newest));
        // The registered invariants are there, as they are registered.
        assert_eq!(canary.invariants, newest.invariants);
        if hashes.contains(&transaction.hash()) {
            let asked = real
                .iter()
                .find(|real| real.transaction.hash() == transaction.hash())
                .unwrap();
            assert_ne!(
                asked.head_hash, canary.head_hash,
                "what is asked again is asked on another head"
            );
        } else {
            senders.insert(transaction.sender());
        }
    }
    assert!(senders.len() > 30, "{} new senders, each once", senders.len());
    let violating = made.values().filter(|canary| violates(canary)).count();
    assert!((15..=45).contains(&violating), "about a half of 60: {violating}");
    assert_eq!(
        world.store.canaries().await.unwrap().violating,
        violating as u64,
        "and the validator knew"
    );
    assert!(real.iter().all(|challenge| !violates(challenge)));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_canaries() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (world, heard) = listening(1, 0.5).await;
        for cursor in 1..=10 {
            world.judge.judge(item(cursor, SUM, 10)).await.unwrap();
        }
        heard.0.lock().unwrap().clear();
        for _ in 0..10 {
            world.judge.canary().await.unwrap();
        }
        let heard = heard.0.lock().unwrap();
        runs.push(
            heard
                .iter()
                .map(|challenge| challenge.transaction.hash())
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(runs[0].len(), 10);
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn before_anything_was_judged_there_is_no_canary() {
    let (world, _) = listening(1, 1.0).await;
    assert!(!world.judge.canary().await.unwrap());
    assert_eq!(world.store.canaries().await.unwrap().sent, 0);
}

#[tokio::test]
async fn who_hides_violations_is_found_out_by_canaries_alone() {
    let (hides, honest, lazy) = (Behaviour::Colluder, Behaviour::Honest, Behaviour::Lazy);
    let world = world(&[hides, hides, honest, hides, lazy], 0.5).await;
    for cursor in 1..=10 {
        world.judge.judge(item(cursor, SUM, 10)).await.unwrap();
    }
    let reported = world.store.outbox(100).await.unwrap().request;
    for _ in 0..40 {
        world.judge.canary().await.unwrap();
    }
    let window = world.store.window(0).await.unwrap();
    let of = |number: u8| window[miner_key(number).account().as_bytes()];
    let (colluder, honest, lazy) = (of(1), of(3), of(5));
    assert_eq!((honest.correct, honest.found), (honest.asked, honest.violating));
    assert!(honest.violating > 3);
    assert_eq!(
        colluder.correct,
        colluder.asked - colluder.violating,
        "wrong only where something was violated"
    );
    assert_eq!((colluder.found, lazy.correct), (0, 0));
    let proven = world.store.proven().await.unwrap();
    let streak = |number: u8| proven.get(miner_key(number).account().as_bytes()).copied().unwrap_or(0);
    assert_eq!((streak(1), streak(5)), (0, 0));
    assert_eq!(u64::from(streak(3)), honest.violating);
    // A canary is no incident, and nothing of it is reported.
    let after = world.store.outbox(100).await.unwrap().request;
    assert_eq!((after.incidents.len(), after), (0, reported));
    let disputes = world.store.disputes(0, None, 0, true).await.unwrap();
    assert!(disputes.iter().any(|dispute| dispute.reason == "a canary"));
    assert_eq!(
        world
            .store
            .disputes(0, None, 0, false)
            .await
            .unwrap()
            .iter()
            .filter(|d| d.cursor == 0)
            .count(),
        0
    );
}

#[tokio::test]
async fn a_league_of_liars_hides_nothing_once_a_canary_has_caught_it() {
    let world = world(&[Behaviour::Colluder; 5], 1.0).await;
    // Nobody has proven itself: what they agree on is executed here.
    let judged = world.judge.judge(item(1, SUM, 4_500)).await.unwrap();
    assert!(judged.arbitrated);
    let dispute = judged.dispute.unwrap();
    assert_eq!(dispute.reason, "nobody who agrees has proven itself");
    assert!(
        dispute
            .votes
            .iter()
            .all(|vote| !vote.correct && vote.verdicts.is_some())
    );
    // Each of them said so under its own hand.
    for vote in &dispute.votes {
        let signed = vote.answer.as_ref().unwrap();
        assert_eq!(
            *authentic(signed, ANSWER_PATH).unwrap().hotkey.as_bytes(),
            vote.hotkey[..]
        );
        let answer = v1::Answer::decode(signed.payload.clone()).unwrap();
        assert_eq!(answer.outcome, vote.verdicts.clone().map(v1::answer::Outcome::Verdicts));
    }
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn a_proven_miner_carries_an_agreement() {
    let world = world(&[Behaviour::Honest; 3], 1.0).await;
    assert!(
        world.judge.judge(item(1, SUM, 10)).await.unwrap().arbitrated,
        "nobody is proven yet"
    );
    for _ in 0..6 {
        world.judge.canary().await.unwrap();
    }
    assert!(!world.judge.judge(item(2, SUM, 10)).await.unwrap().arbitrated);
}
