//! Weights on their way to a ledger that is real but for its clock: in each form that a subnet may ask for, over restarts, and with
//! calls whose answers never come.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod processes;
mod world;

use std::time::Duration;

use chain::local::params::Overrides;
use chain::reporting::Why;
use chain::{Ledger, WeightsForm};
use validator::store::Stage;

use world::{Fault, HALVES, Mood, Reporting, Subnet, TEMPO, overrides, pair};

#[tokio::test]
async fn plain_weights_are_set_once_for_each_window_and_the_rate_limit_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Plain)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.follow(&subnet, 7).await;
    assert_eq!(reporting.sent(), 0, "nothing is scored yet");
    assert_eq!(reporting.waiting().await.why, Why::NothingNew.name());

    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 10).await;
    assert_eq!(reporting.sent(), 1, "once, however often it looks");
    assert_eq!(subnet.row().await, HALVES);
    let [report] = reporting.reports().await.try_into().unwrap();
    assert_eq!(
        (report.stage, report.form, report.taken_block, report.version_key),
        (Stage::Set, WeightsForm::Plain, Some(8), 7)
    );
    let totals = reporting.store.totals().await.unwrap();
    assert_eq!(totals[pair(11).account().as_bytes()].weight, 65_535);
    assert_eq!(reporting.store.standing().await.unwrap().weights_set, 1);

    // A restart forgets none of it, and the next window waits for the rate limit.
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(1, [0.0, 0.0, 1.0]).await;
    reporting.follow(&subnet, 12).await;
    let waiting = reporting.waiting().await;
    assert_eq!((waiting.why.as_str(), waiting.until), ("rate_limit", 13));
    assert_eq!(reporting.sent(), 0, "what would be refused is not sent");
    reporting.follow(&subnet, 13).await;
    assert_eq!(subnet.row().await, [(4, 65_535)]);
    assert_eq!(reporting.waiting().await.why, "");
}

#[tokio::test]
async fn a_commit_is_revealed_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Hash)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 8).await;
    assert_eq!(reporting.stages().await, [Stage::Committed]);
    assert_eq!(subnet.row().await, [], "nobody sees them yet");
    assert_eq!(reporting.waiting().await.why, Why::RevealLater.name());
    drop(reporting);

    subnet.until(TEMPO + 3).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    assert_eq!(reporting.reports().await[0].salt.len(), 8);
    reporting.look().await;
    assert_eq!(subnet.row().await, HALVES);
    let [report] = reporting.reports().await.try_into().unwrap();
    assert_eq!((report.stage, report.epoch), (Stage::Set, 0));
    assert_eq!((report.taken_block, report.ended_block), (Some(6), Some(TEMPO + 3)));
    assert!(report.salt.is_empty(), "a salt is kept no longer than it is of use");
    assert_eq!(reporting.store.standing().await.unwrap().weights_set, 1);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_on_the_ledger_and_revealed() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Hash)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    subnet.until(9).await;
    reporting.fault(Fault::AnswerLost);
    reporting.look().await;
    assert_eq!(reporting.stages().await, [Stage::Sending]);
    assert_eq!(reporting.waiting().await.why, Why::Unanswered.name());
    drop(reporting);

    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.follow(&subnet, 11).await;
    assert_eq!(reporting.stages().await, [Stage::Committed]);
    assert_eq!(reporting.reports().await[0].taken_block, Some(9));
    reporting.follow(&subnet, TEMPO).await;
    assert_eq!((reporting.stages().await, reporting.sent()), (vec![Stage::Set], 1));
    assert_eq!(subnet.row().await, HALVES);
}

#[tokio::test]
async fn a_call_that_never_arrived_is_given_up_and_made_again() {
    for form in [WeightsForm::Plain, WeightsForm::Hash, WeightsForm::Timelock] {
        let home = tempfile::tempdir().unwrap();
        let subnet = Subnet::new(home.path(), overrides(form)).await;
        let mut reporting = Reporting::start(home.path(), &subnet).await;
        reporting.scored(0, [1.0, 0.5, 0.0]).await;
        subnet.until(6).await;
        reporting.fault(Fault::NeverArrives);
        reporting.look().await;
        reporting.follow(&subnet, 13).await;
        assert_eq!(
            (reporting.stages().await, reporting.sent()),
            (vec![Stage::Sending], 1),
            "it may still arrive"
        );
        reporting.follow(&subnet, 15).await;
        let taken = match form {
            WeightsForm::Plain => Stage::Set,
            WeightsForm::Hash => Stage::Committed,
            WeightsForm::Timelock => Stage::Sealed,
        };
        assert_eq!(reporting.stages().await, [Stage::Lost, taken], "{form:?}");
        let reason = reporting.reports().await[0].reason.clone().unwrap();
        assert!(reason.contains("never answered"), "{reason}");
    }
}

#[tokio::test]
async fn a_reveal_whose_answer_is_lost_is_recognised_by_what_it_did() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Hash)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, TEMPO - 1).await;
    reporting.fault(Fault::AnswerLost);
    reporting.follow(&subnet, TEMPO).await;
    assert_eq!(reporting.stages().await, [Stage::Committed]);
    reporting.follow(&subnet, TEMPO + 2).await;
    assert_eq!(
        reporting.stages().await,
        [Stage::Set],
        "the commit is gone and the weights are there"
    );
}

#[tokio::test]
async fn who_sleeps_through_the_epoch_of_the_reveal_commits_again() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Hash)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 8).await;
    drop(reporting);
    subnet.until(2 * TEMPO + 1).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.look().await;
    assert_eq!(reporting.stages().await, [Stage::Expired, Stage::Committed]);
    reporting.follow(&subnet, 3 * TEMPO).await;
    assert_eq!(reporting.stages().await, [Stage::Expired, Stage::Set]);
    assert_eq!(subnet.row().await, HALVES);
}

#[tokio::test]
async fn sealed_weights_are_opened_by_the_ledger_while_the_validator_is_away() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Timelock)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 8).await;
    let [report] = reporting.reports().await.try_into().unwrap();
    assert_eq!((report.stage, report.form), (Stage::Sealed, WeightsForm::Timelock));
    assert_eq!(
        report.reveal_round,
        Some(TEMPO + 3),
        "three blocks after the epoch begins"
    );
    assert_eq!(reporting.waiting().await.why, Why::RevealLater.name());
    drop(reporting);

    subnet.until(TEMPO + 2).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.look().await;
    assert_eq!(
        (reporting.stages().await, subnet.row().await),
        (vec![Stage::Sealed], vec![])
    );
    reporting.follow(&subnet, TEMPO + 3).await;
    assert_eq!(subnet.row().await, HALVES);
    assert_eq!((reporting.stages().await, reporting.sent()), (vec![Stage::Set], 0));
    assert_eq!(reporting.store.standing().await.unwrap().weights_set, 1);
}

#[tokio::test]
async fn sealed_weights_that_the_ledger_drops_are_named_and_sent_anew() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Timelock)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 8).await;
    subnet.close().await;
    // The subnet asks for a newer version before it opens them: what is sealed is refused when it is opened.
    let newer = Overrides {
        weights_version_key: Some(8),
        ..overrides(WeightsForm::Timelock)
    };
    let subnet = Subnet::open(home.path(), newer).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.follow(&subnet, 2 * TEMPO).await;
    assert_eq!(reporting.stages().await, [Stage::Lost]);
    assert_eq!((subnet.row().await, reporting.sent()), (vec![], 0));
    assert_eq!(
        reporting.waiting().await.why,
        Why::OldVersion.name(),
        "and it says what to do"
    );
}

#[tokio::test]
async fn a_subnet_that_changes_its_mind_gets_the_form_that_it_asks_for_now() {
    let home = tempfile::tempdir().unwrap();
    let port = testkit::Port::free();
    let subnet = Subnet::new_at(home.path(), overrides(WeightsForm::Plain), port.address()).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.look().await;
    // The parameters that it has read say "plain"; the ledger that comes back at the same address says otherwise.
    subnet.close().await;
    let subnet = Subnet::open_at(home.path(), overrides(WeightsForm::Hash), port.address()).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 7).await;
    assert_eq!(reporting.stages().await, [Stage::Refused, Stage::Committed]);
    let [plain, hash] = reporting.reports().await.try_into().unwrap();
    assert!(plain.reason.unwrap().starts_with("CommitRevealEnabled:"));
    assert_eq!((plain.block, hash.block, hash.form), (6, 7, WeightsForm::Hash));
}

#[tokio::test]
async fn a_ledger_that_hangs_costs_a_look_and_not_the_validator() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Plain)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    let brief = Duration::from_millis(200);
    reporting.reporter = reporting.reporter.with_deadlines(brief, brief);
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    subnet.until(6).await;
    *reporting.ledger.mood.lock().unwrap() = Mood::Hangs;
    reporting.look().await;
    assert_eq!(reporting.waiting().await.why, Why::Unreachable.name());
    *reporting.ledger.mood.lock().unwrap() = Mood::Answers;
    reporting.fault(Fault::Hangs);
    reporting.look().await;
    let waiting = reporting.waiting().await;
    assert_eq!(waiting.why, Why::Unanswered.name());
    assert!(
        waiting.said.contains("did not answer within 200 ms"),
        "{}",
        waiting.said
    );
    reporting.follow(&subnet, 7).await;
    assert_eq!(
        (reporting.stages().await, reporting.sent()),
        (vec![Stage::Set], 1),
        "it had taken effect, and is not sent twice"
    );
    assert_eq!(subnet.row().await, HALVES);
}

#[tokio::test]
async fn whatever_is_in_the_way_is_named() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Plain)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    *reporting.ledger.mood.lock().unwrap() = Mood::Fails;
    reporting.look().await;
    let waiting = reporting.waiting().await;
    assert_eq!(waiting.why, Why::Unreachable.name());
    assert!(waiting.said.contains("did not answer"), "{}", waiting.said);
    *reporting.ledger.mood.lock().unwrap() = Mood::Answers;

    // A hotkey that is no neuron, and one without stake.
    let metagraph = reporting.ledger.metagraph().await.unwrap();
    let mut foreign = metagraph.clone();
    foreign.neurons.truncate(1);
    foreign.neurons.push(chain::Neuron::new(1, pair(11).account()));
    reporting.reporter.look(&foreign).await.unwrap();
    assert_eq!(reporting.waiting().await.why, Why::NotRegistered.name());
    let mut poor = metagraph.clone();
    (poor.neurons[1].stake, poor.neurons[1].validator_permit) = (1, false);
    reporting.reporter.look(&poor).await.unwrap();
    assert_eq!(reporting.waiting().await.why, Why::NotEnoughStake.name());
    assert_eq!((reporting.sent(), reporting.stages().await), (0, vec![]));

    // Without a word about the permit the ledger itself says no, and the answer is kept.
    subnet.close().await;
    let stricter = Overrides {
        min_allowed_weights: Some(4),
        ..overrides(WeightsForm::Plain)
    };
    let subnet = Subnet::open(home.path(), stricter).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.follow(&subnet, 7).await;
    assert_eq!(reporting.stages().await, [Stage::Refused]);
    let reason = reporting.reports().await[0].reason.clone().unwrap();
    assert!(reason.starts_with("WeightVecLengthIsLow:"), "{reason}");
    let waiting = reporting.waiting().await;
    assert_eq!(
        (waiting.why.as_str(), waiting.until),
        (Why::Retry.name(), subnet.block().min(7) + 4)
    );
    assert_eq!(subnet.row().await, []);
}
