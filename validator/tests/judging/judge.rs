//! A validator's judgement, with miners honest and not.

use std::sync::Arc;

use engine::lang::{self, Names};
use engine::{Address, ProgramInvariant, Watched};
use miner::behaviour::Behaviour;
use wire::InvariantSet;

use crate::world::{KEEPER_OF_VALUE, Neighbour, SUM, World, item, item_behind, miner_key};

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
async fn an_expression_is_confirmed_with_what_its_terms_say() {
    let world = world(vec![lazy(), honest(), honest()]).await;
    let till = format!("{:#x}", Address::repeat_byte(0xc0));
    let text = format!(
        "slot({till}, 0x0, uint256, 0) \"till.paid\" <= 200% of pre or balance({till}) \"the till\" >= 1 ether"
    );
    let program = lang::parse(&text, &Names::default()).unwrap();
    let (id, name) = (12, "no leaps".to_owned());
    let mut item = item(1, KEEPER_OF_VALUE, 60);
    item.set = Arc::new(InvariantSet {
        version: 5,
        invariants: vec![Watched::Program(ProgramInvariant { id, name, program })],
    });
    let judged = world.judge.judge(item).await.unwrap();
    assert_eq!(
        (judged.arbitrated, judged.report.agreed),
        (true, 2),
        "lazy: {:?}",
        judged.report
    );
    let incident = &world.incidents().await[0];
    assert_eq!(
        (incident.invariant_id, incident.invariant_name.as_str()),
        (12, "no leaps")
    );
    let witness = incident.witness.as_ref().unwrap();
    let readings = witness.readings.iter();
    let readings: Vec<_> = readings
        .map(|one| [&one.label, &one.pre, &one.post].map(String::as_str))
        .collect();
    let before = KEEPER_OF_VALUE.holds.to_string();
    assert_eq!(
        readings,
        [["till.paid", before.as_str(), "60"], ["the till", "0", "60"]]
    );
    assert_eq!((witness.pre[31], witness.post[31]), (1, 0), "it held, and does not");
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

#[tokio::test]
async fn an_attack_behind_harmless_ones_of_its_sender_is_confirmed() {
    let world = World::new(vec![liar(), liar(), honest()], SUM, |_| {}).await;
    // 1,000 and 3,000 and 900 is within 5,000; the next 200 are not.
    let attack = item_behind(1, SUM, &[3_000, 900], 200);
    let judged = world.judge.judge(attack).await.unwrap();
    assert_eq!((judged.arbitrated, judged.report.agreed), (true, 1), "{judged:?}");
    let incident = &world.incidents().await[0];
    let witness = incident.witness.as_ref().unwrap();
    let word = |bytes: &[u8]| engine::U256::from_be_slice(bytes);
    assert_eq!(
        (word(&witness.pre), word(&witness.post)),
        (word(&[0x13, 0x24]), word(&[0x13, 0xec]))
    );

    // Alone it cannot be executed, and nobody is alarmed.
    let mut alone = item_behind(2, SUM, &[3_000, 900], 200);
    alone.predecessors.clear();
    let judged = world.judge.judge(alone).await.unwrap();
    assert_eq!(
        judged.report.execution.as_ref().unwrap().status(),
        protos::v1::ExecutionStatus::Invalid
    );
    assert_eq!(world.incidents().await.len(), 1);
}

#[tokio::test]
async fn what_goes_before_is_no_part_of_the_verdict() {
    let world = World::new(vec![honest(), honest(), honest()], SUM, |_| {}).await;
    // The first breaks it and is an incident of its own; what comes after finds it broken.
    let judged = world.judge.judge(item_behind(1, SUM, &[4_500], 100)).await.unwrap();
    assert_eq!((judged.arbitrated, judged.report.agreed), (false, 3));
    assert_eq!(world.incidents().await.len(), 0);
    let alone = world
        .judge
        .judge(item(2, SUM, 100))
        .await
        .unwrap()
        .report
        .execution
        .unwrap();
    let behind = judged.report.execution.unwrap();
    assert_eq!(
        (behind.gas_used, behind.logs),
        (alone.gas_used, alone.logs),
        "its own gas"
    );
}
