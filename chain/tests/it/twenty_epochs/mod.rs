//! Three validators and ten miners on the real `ledger` for twenty epochs: one validator judges for itself, one copies it an epoch
//! late, one has fallen silent. What the ledger paid is computed again from the rows that it stored, once in exact fractions from
//! the paper's formulas and once by the pure rule to the last bit; and a run in which the process is killed all the time ends
//! in the very same history.

mod paper;
mod subnet;

use chain::history::EpochEntry;
use chain::yuma;
use chain::{AccountId, Hyperparameters, Keypair, Ledger, LedgerError, Metagraph};
use num_rational::BigRational as Fraction;
use rand::{Rng, SeedableRng};

use paper::{Row, epoch_rows, float, paper};
use subnet::Subnet;

use crate::world::{TAO, pair};

const TEMPO: u64 = 10;
const EPOCHS: u64 = 20;
const OWNER: u8 = 200;
/// Who judges, who copies the first, and who falls silent after the first epoch; with their stakes, TAO.
const VALIDATORS: [(u8, u64); 3] = [(1, 6_000), (2, 3_000), (3, 1_500)];
const MINERS: std::ops::RangeInclusive<u8> = 11..=20;
/// Registers in epoch 8, when the subnet is full.
const NEWCOMER: u8 = 40;

fn pair_of(known: &Keypair) -> Keypair {
    (0..=u8::MAX)
        .map(pair)
        .find(|pair| pair.account() == known.account())
        .unwrap()
}

/// How good each miner is, of 1000, in an epoch: the good become bad half-way, which whoever copies notices an epoch late.
fn quality(miner: u8, epoch: u64) -> u16 {
    let rank = u16::from(miner - 10);
    match (miner, epoch) {
        (NEWCOMER, _) => 700,
        (_, 0..11) => 100 * rank,
        _ => 100 * (11 - rank),
    }
}

struct Ended {
    metagraph: Metagraph,
    params: Hyperparameters,
    history: Vec<Vec<EpochEntry>>,
}

async fn live(subnet: &mut Subnet<'_>) -> Ended {
    let mut opinions = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let [judge, copier, stale] = VALIDATORS.map(|(n, _)| pair(n));
    for n in VALIDATORS.iter().map(|(n, _)| *n).chain(MINERS) {
        subnet.ledger().register(&pair(n)).await.unwrap();
    }
    for (n, tao) in VALIDATORS {
        subnet.ledger().add_stake(&pair(n), tao * TAO).await.unwrap();
    }
    for epoch in 1..=EPOCHS {
        let begins = (epoch - 1) * TEMPO;
        subnet.until(begins + 2).await;
        if epoch == 8 {
            // Full: the miner with the least emission loses its uid.
            subnet.ledger().register(&pair(NEWCOMER)).await.unwrap();
        }
        subnet.until(begins + 4).await;
        let before = subnet.ledger().weights(subnet.uid(1).await.unwrap()).await.unwrap();
        if !before.is_empty() {
            subnet.set(&copier, &before).await;
        }
        subnet.until(begins + 6).await;
        let mut row = Vec::new();
        for n in MINERS.chain([NEWCOMER]) {
            let opinion = quality(n, epoch) + opinions.random_range(0..50);
            if let Some(uid) = subnet.uid(n).await {
                row.push((uid, opinion));
            }
        }
        subnet.set(&judge, &row).await;
        if epoch == 1 {
            row.reverse();
            subnet.set(&stale, &row).await;
        }
    }
    subnet.until(EPOCHS * TEMPO).await;
    Ended {
        metagraph: subnet.ledger().metagraph().await.unwrap(),
        params: subnet.ledger().hyperparameters().await.unwrap(),
        history: subnet.history().await,
    }
}

/// How far the chain's 32-bit fractions may be from the exact ones, of 1.
const ROUNDING: f64 = 1e-6;

/// What the ledger stored, of 65535 and cut off, against the exact share.
#[track_caller]
fn assert_share(stored: u16, exact: &Fraction, what: &str) {
    let exact = float(exact) * 65_535.0;
    let slack = ROUNDING * 65_535.0;
    assert!(
        f64::from(stored) <= exact + slack && f64::from(stored) > exact - 1.0 - slack,
        "{what}: {stored} is stored, {exact} it is"
    );
}

fn check_against_the_paper(ended: &Ended) -> usize {
    let mut compared = 0;
    for epoch in 1..=EPOCHS {
        let rows = epoch_rows(&ended.history, epoch);
        assert_eq!(rows.len(), 14);
        let exact = paper(&rows, &ended.params);
        for (i, Row { entry, .. }) in rows.iter().enumerate() {
            let what = |field: &str| format!("epoch {epoch}, uid {i}, {field}");
            assert_share(entry.consensus, &exact.consensus[i], &what("consensus"));
            assert_share(entry.incentive, &exact.incentive[i], &what("incentive"));
            assert_share(entry.dividends, &exact.dividends[i], &what("dividends"));
            assert_share(entry.validator_trust, &exact.trust[i], &what("validator trust"));
            assert_eq!(entry.new_validator_permit, exact.permits[i], "{}", what("permit"));
            let share = entry.emission as f64 / entry.shared as f64;
            assert!(
                (share - float(&exact.emission[i])).abs() < ROUNDING,
                "{}",
                what("emission")
            );
            let mut row = [0; 14];
            for (j, value) in &entry.bonds {
                row[usize::from(*j)] = *value;
            }
            if entry.new_validator_permit {
                for (j, value) in row.iter().enumerate() {
                    assert_share(*value, &exact.bonds[i][j], &what("bonds"));
                }
            } else {
                assert_eq!(row, [0; 14]);
            }
            compared += 6 + row.len();
        }
    }
    compared
}

fn check_to_the_bit(ended: &Ended) {
    let params = &ended.params;
    for epoch in 1..=EPOCHS {
        let rows = epoch_rows(&ended.history, epoch);
        let all = |field: fn(&EpochEntry) -> u64| rows.iter().map(|row| field(row.entry)).collect::<Vec<u64>>();
        let output = yuma::run(&yuma::Input {
            block: rows[0].entry.block,
            tempo: params.tempo,
            activity_cutoff: params.activity_cutoff,
            last_mechanism_step_block: rows[0].entry.last_mechanism_step_block,
            last_update: all(|entry| entry.last_update),
            block_at_registration: all(|entry| entry.registered_at),
            total_stake: all(|entry| entry.stake),
            stake_threshold: params.stake_threshold,
            validator_permit: rows.iter().map(|row| row.entry.validator_permit).collect(),
            max_allowed_validators: params.max_allowed_validators,
            weights: rows.iter().map(|row| row.entry.weights.as_slice()).collect(),
            bonds: rows.iter().map(|row| row.old_bonds).collect(),
            kappa: params.kappa,
            bonds_moving_average: params.bonds_moving_average,
            bonds_penalty: params.bonds_penalty,
            owner_uid: Some(0),
            emission: rows[0].entry.shared,
            ..yuma::Input::default()
        });
        for (i, Row { entry, .. }) in rows.iter().enumerate() {
            let stored = (
                entry.consensus,
                entry.incentive,
                entry.dividends,
                entry.validator_trust,
                entry.emission,
                entry.new_validator_permit,
                &entry.bonds,
            );
            let computed = (
                output.consensus[i],
                output.incentive[i],
                output.dividends[i],
                output.validator_trust[i],
                output.emission[i],
                output.validator_permit[i],
                &output.bonds[i],
            );
            assert_eq!(stored, computed, "epoch {epoch}, uid {i}");
        }
    }
}

/// Dividends of a validator by TAO of its stake, summed over epochs.
fn dividends_per_stake(ended: &Ended, n: u8, epochs: std::ops::RangeInclusive<u64>) -> f64 {
    let account: AccountId = pair(n).account();
    ended
        .history
        .iter()
        .flatten()
        .filter(|entry| entry.hotkey == account && epochs.contains(&entry.epoch))
        .map(|entry| f64::from(entry.dividends) / (entry.stake as f64 / TAO as f64))
        .sum()
}

#[tokio::test]
async fn twenty_epochs_are_paid_by_the_paper_and_no_kill_changes_that() {
    let home = tempfile::tempdir().unwrap();
    let mut undisturbed = Subnet::new(home.path(), None);
    let ended = live(&mut undisturbed).await;
    assert_eq!((ended.metagraph.block, ended.metagraph.epoch_index), (200, 20));

    let compared = check_against_the_paper(&ended);
    check_to_the_bit(&ended);
    println!("{compared} stored figures are those of the exact fractions");

    // What the story was about.
    let [judge, copier, stale] = VALIDATORS.map(|(n, _)| n);
    let (judged, copied) = (
        dividends_per_stake(&ended, judge, 2..=20),
        dividends_per_stake(&ended, copier, 2..=20),
    );
    println!("dividends for a stake: judge {judged:.3}, copier {copied:.3}");
    assert!(judged > copied, "who copies earns less: {copied} against {judged}");
    assert!(dividends_per_stake(&ended, stale, 2..=6) > 0.0);
    let silent: Vec<&EpochEntry> = ended.history[3].iter().filter(|entry| entry.epoch > 8).collect();
    assert!(silent.len() == 12 && !ended.metagraph.by_uid(3).unwrap().active);
    assert!(
        silent.windows(2).all(|pair| pair[1].dividends < pair[0].dividends),
        "who is silent lives on its old bonds, less each epoch"
    );
    let at = |n: u8, epoch: u64| {
        let account = pair(n).account();
        let entry = ended
            .history
            .iter()
            .flatten()
            .find(|entry| entry.hotkey == account && entry.epoch == epoch);
        entry.map(|entry| entry.incentive)
    };
    assert!(
        at(20, 10) > at(12, 10) && at(20, 20) < at(12, 20),
        "the good became bad"
    );
    assert_eq!(at(NEWCOMER, 7), None);
    assert!(at(NEWCOMER, 12).unwrap() > 0);

    // The same again, with the process killed in the middle of blocks and of calls.
    let home = tempfile::tempdir().unwrap();
    let mut disturbed = Subnet::new(home.path(), Some(11));
    let again = live(&mut disturbed).await;
    println!(
        "killed {} times, ended cleanly {} times",
        disturbed.kills, disturbed.clean_ends
    );
    assert!(disturbed.kills >= 10 && disturbed.clean_ends >= 1);
    assert_eq!(again.history, ended.history);
    assert_eq!(again.metagraph, ended.metagraph);
    assert_eq!(again.params, ended.params);
    // One more start, from nothing but the file.
    disturbed.kill();
    assert_eq!(disturbed.history().await, ended.history);
    let unknown = disturbed.ledger().weights(14).await;
    assert!(matches!(unknown, Err(LedgerError::Refused(_))));
}
