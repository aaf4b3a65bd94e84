//! A validator's judgement, with miners honest and not.

use miner::behaviour::Behaviour;

use crate::world::{KEEPER_OF_VALUE, Neighbour, World, item, miner_key};

async fn world(neighbours: Vec<Neighbour>) -> World {
    World::new(neighbours, KEEPER_OF_VALUE, |_| {}).await
}

fn honest() -> Neighbour {
    Behaviour::Honest.into()
}
fn liar() -> Neighbour {
    Behaviour::Liar.into()
}
fn lazy() -> Neighbour {
    Behaviour::Lazy.into()
}

#[tokio::test]
async fn honest_miners_agree_and_nobody_executes_twice() {
    let world = world(vec![honest(), honest(), honest()]).await;
    let judged = world.judge.judge(item(1, KEEPER_OF_VALUE, 3)).await.unwrap();
    assert!(!judged.arbitrated);
    assert_eq!(
        (judged.report.asked, judged.report.answered, judged.report.agreed),
        (3, 3, 3)
    );
    assert_eq!(judged.report.judgements.len(), 1);
    assert_eq!(world.incidents().await.len(), 0);
}

#[tokio::test]
async fn one_honest_miner_among_liars_is_enough_to_confirm_an_attack() {
    let world = world(vec![liar(), liar(), honest()]).await;
    let judged = world.judge.judge(item(1, KEEPER_OF_VALUE, 6)).await.unwrap();
    assert!(judged.arbitrated);
    assert_eq!(judged.report.agreed, 1, "only the honest one told the truth");
    let incident = &world.incidents().await[0];
    assert_eq!((incident.invariant_id, incident.invariant_name.as_str()), (9, "cap"));
    assert_eq!(incident.witness.as_ref().unwrap().post[31], 6);
}

#[tokio::test]
async fn liars_who_cry_wolf_fire_nothing() {
    let world = world(vec![liar(), liar(), liar()]).await;
    let judged = world.judge.judge(item(1, KEEPER_OF_VALUE, 3)).await.unwrap();
    assert!(judged.arbitrated);
    assert_eq!(judged.report.agreed, 0);
    assert_eq!(world.incidents().await.len(), 0);
}

#[tokio::test]
async fn a_lazy_miner_has_no_evidence_to_show_even_when_it_is_right() {
    let world = world(vec![lazy(), honest(), honest()]).await;
    let judged = world.judge.judge(item(1, KEEPER_OF_VALUE, 3)).await.unwrap();
    assert!(judged.arbitrated, "the post-states differ");
    let lazy = miner_key(1).account();
    for sample in judged.samples {
        assert_eq!(sample.correct, sample.hotkey != *lazy.as_bytes());
    }
}

#[tokio::test]
async fn a_miner_that_is_gone_counts_as_asked_and_not_answered() {
    let world = world(vec![Neighbour::Gone, honest(), honest()]).await;
    let judged = world.judge.judge(item(1, KEEPER_OF_VALUE, 3)).await.unwrap();
    assert_eq!(
        (judged.report.asked, judged.report.answered, judged.report.agreed),
        (3, 2, 2)
    );
    assert_eq!(
        judged.samples.iter().filter(|sample| sample.latency.is_none()).count(),
        1
    );
}

#[tokio::test]
async fn without_any_miner_the_validator_judges_alone() {
    let world = world(vec![]).await;
    let judged = world.judge.judge(item(1, KEEPER_OF_VALUE, 6)).await.unwrap();
    assert!(judged.arbitrated);
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn without_state_it_is_undecided_and_nobody_is_scored() {
    let world = world(vec![honest(), honest(), honest()]).await;
    let mut item = item(1, KEEPER_OF_VALUE, 6);
    item.prestate = None;
    let judged = world.judge.judge(item).await.unwrap();
    assert!(judged.samples.is_empty());
    let Some(protos::v1::judgement::Verdict::Undecided(undecided)) = &judged.report.judgements[0].verdict else {
        panic!("{:?}", judged.report.judgements)
    };
    assert!(undecided.reason.contains("prestate"), "{}", undecided.reason);
    assert_eq!(world.incidents().await.len(), 0, "what nobody executed fires nothing");
}
