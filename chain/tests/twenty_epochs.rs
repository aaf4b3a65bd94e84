//! Three validators and ten miners on the real `ledger` for twenty epochs: one validator judges for itself, one copies it an epoch
//! late, one has fallen silent. What the ledger paid is computed again from the rows that it stored, once in exact fractions from
//! the paper's formulas and once by the pure rule to the last bit; and a run in which the process is killed all the time ends
//! in the very same history.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::history::EpochEntry;
use chain::yuma;
use chain::{AccountId, Hyperparameters, Keypair, Ledger, LedgerError, Metagraph, RemoteLedger, WeightsCall};
use num_bigint::BigInt;
use num_rational::BigRational;
use rand::{Rng, SeedableRng};

const TAO: u64 = 1_000_000_000;
const TEMPO: u64 = 10;
const EPOCHS: u64 = 20;
const OWNER: u8 = 200;
/// Who judges, who copies the first, and who falls silent after the first epoch; with their stakes, TAO.
const VALIDATORS: [(u8, u64); 3] = [(1, 6_000), (2, 3_000), (3, 1_500)];
const MINERS: std::ops::RangeInclusive<u8> = 11..=20;
/// Registers in epoch 8, when the subnet is full.
const NEWCOMER: u8 = 40;

fn pair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

/// The process `ledger`, which makes a block when it is told to.
struct Process {
    child: Child,
    blocks: Option<ChildStdin>,
    made: BufReader<ChildStdout>,
    ledger: Arc<RemoteLedger>,
}

impl Process {
    fn start(home: &Path) -> Self {
        let ready = home.join("ready");
        let _old = std::fs::remove_file(&ready);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ledger"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PORTCULLIS_LEDGER_")) {
            command.env_remove(name);
        }
        let mut child = command
            .args(["run", "--step", "--listen", "127.0.0.1:0", "--log", "off", "--faucet"])
            .args(["--faucet-allowance", "10000", "--tempo", &TEMPO.to_string()])
            .args(["--weights-set-rate-limit", "5", "--activity-cutoff", "65"])
            .args(["--max-allowed-uids", "14", "--immunity-period", "30"])
            .args(["--min-non-immune-uids", "3"])
            .args(["--subnet-owner-cut", "11796", "--owner", &pair(OWNER).account().to_string()])
            .args(["--database", home.join("ledger.db").to_str().unwrap()])
            .args(["--ready-file", ready.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let give_up = Instant::now() + Duration::from_secs(60);
        let address = loop {
            match std::fs::read_to_string(&ready) {
                Ok(address) => break address,
                Err(_) => assert!(child.try_wait().unwrap().is_none(), "it ended before it was ready"),
            }
            assert!(Instant::now() < give_up, "it was not ready in time");
            std::thread::yield_now();
        };
        Self {
            blocks: child.stdin.take(),
            made: BufReader::new(child.stdout.take().unwrap()),
            child,
            ledger: Arc::new(RemoteLedger::new(&format!("http://{address}"), Duration::from_secs(30)).unwrap()),
        }
    }

    fn ask_for_a_block(&mut self) {
        self.blocks.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn block(&mut self) -> u64 {
        self.ask_for_a_block();
        let mut line = String::new();
        self.made.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The end of its input is a clean end.
    fn end(mut self) {
        self.blocks = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A subnet that lives through its twenty epochs, undisturbed or with its ledger killed at drawn places.
struct Subnet<'a> {
    home: &'a Path,
    process: Option<Process>,
    /// Draws where the process is killed.
    fate: Option<rand_chacha::ChaCha8Rng>,
    kills: u32,
    clean_ends: u32,
}

impl<'a> Subnet<'a> {
    fn new(home: &'a Path, fate: Option<u64>) -> Self {
        Self {
            home,
            process: Some(Process::start(home)),
            fate: fate.map(rand_chacha::ChaCha8Rng::seed_from_u64),
            kills: 0,
            clean_ends: 0,
        }
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    fn ledger(&self) -> Arc<RemoteLedger> {
        Arc::clone(&self.process.as_ref().unwrap().ledger)
    }

    fn kill(&mut self) {
        self.kills += 1;
        self.process.take().unwrap().kill();
        self.process = Some(Process::start(self.home));
    }

    fn draw(&mut self, chance: f64) -> bool {
        self.fate.as_mut().is_some_and(|fate| fate.random_bool(chance))
    }

    async fn now(&self) -> u64 {
        self.ledger().block().await.unwrap()
    }

    /// The next block. When fate has it the process dies in the middle of it, and it is asked for again only if it was not made.
    async fn block(&mut self) {
        let next = self.now().await + 1;
        if self.draw(0.05) {
            self.process().ask_for_a_block();
            self.kill();
            if self.now().await == next {
                return;
            }
        }
        if self.draw(0.02) {
            self.clean_ends += 1;
            self.process.take().unwrap().end();
            self.process = Some(Process::start(self.home));
        }
        assert_eq!(self.process().block(), next);
    }

    async fn until(&mut self, block: u64) {
        while self.now().await < block {
            self.block().await;
        }
    }

    /// `hotkey`'s weights in the current block. When fate has it the process dies while the call is on its way; whether it took effect
    /// then is read from the metagraph, as a validator does.
    async fn set(&mut self, hotkey: &Keypair, row: &[(u16, u16)]) {
        let (uids, values) = row.iter().copied().unzip();
        let call = WeightsCall {
            uids,
            values,
            version_key: 0,
        };
        if self.draw(0.3) {
            let (ledger, signer, call) = (self.ledger(), pair_of(hotkey), call.clone());
            let sent = tokio::spawn(async move { ledger.set_weights(&signer, call).await });
            let turns = self.fate.as_mut().unwrap().random_range(0..60);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            self.kill();
            let answer = sent.await.unwrap();
            let metagraph = self.ledger().metagraph().await.unwrap();
            let me = metagraph.by_hotkey(&hotkey.account()).unwrap();
            let taken = me.last_update == metagraph.block && me.weights_known;
            assert!(taken || answer.is_err(), "acknowledged, and gone");
            if taken {
                return;
            }
        }
        self.ledger().set_weights(hotkey, call).await.unwrap();
    }

    async fn uid(&self, n: u8) -> Option<u16> {
        let metagraph = self.ledger().metagraph().await.unwrap();
        Some(metagraph.by_hotkey(&pair(n).account())?.uid)
    }

    async fn history(&self) -> Vec<Vec<EpochEntry>> {
        let mut all = Vec::new();
        for uid in 0..14 {
            let mut entries = self.ledger().history(uid, 0).await.unwrap();
            entries.reverse();
            all.push(entries);
        }
        all
    }
}

fn pair_of(known: &Keypair) -> Keypair {
    (0..=u8::MAX).map(pair).find(|pair| pair.account() == known.account()).unwrap()
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

/// One uid's entries of one epoch, and the bonds that it had before.
struct Row<'a> {
    entry: &'a EpochEntry,
    old_bonds: &'a [(u16, u16)],
}

fn epoch_rows(history: &[Vec<EpochEntry>], epoch: u64) -> Vec<Row<'_>> {
    let of = |uid: usize, epoch: u64| history[uid].iter().find(|entry| entry.epoch == epoch);
    (0..history.len())
        .filter_map(|uid| {
            let entry = of(uid, epoch)?;
            let old_bonds = match of(uid, epoch.wrapping_sub(1)) {
                // Who takes a uid over has no bonds of its predecessor.
                Some(before) if before.hotkey == entry.hotkey => before.bonds.as_slice(),
                _ => &[],
            };
            Some(Row { entry, old_bonds })
        })
        .collect()
}

type Fraction = BigRational;

fn fraction(a: u64, b: u64) -> Fraction {
    Fraction::new(BigInt::from(a), BigInt::from(b))
}

fn zero() -> Fraction {
    fraction(0, 1)
}

fn float(value: &Fraction) -> f64 {
    // Enough digits of the quotient, and then a float of it.
    let scaled: BigInt = (value * Fraction::from(BigInt::from(10u64.pow(15)))).to_integer();
    scaled.to_string().parse::<f64>().unwrap() / 1e15
}

/// Each divided by the sum of all; all zero where there is none.
fn shares(values: &[Fraction]) -> Vec<Fraction> {
    let sum = values.iter().fold(zero(), |sum, value| sum + value);
    if sum == zero() {
        return values.to_vec();
    }
    values.iter().map(|value| value / &sum).collect()
}

fn column(matrix: &[Vec<Fraction>], j: usize) -> Vec<Fraction> {
    matrix.iter().map(|row| row[j].clone()).collect()
}

/// Every column divided by its sum.
fn column_shares(matrix: &[Vec<Fraction>]) -> Vec<Vec<Fraction>> {
    let n = matrix.len();
    let columns: Vec<Vec<Fraction>> = (0..n).map(|j| shares(&column(matrix, j))).collect();
    (0..n)
        .map(|i| (0..n).map(|j| columns[j][i].clone()).collect())
        .collect()
}

/// What the paper's formulas come to.
struct Exact {
    consensus: Vec<Fraction>,
    incentive: Vec<Fraction>,
    dividends: Vec<Fraction>,
    trust: Vec<Fraction>,
    bonds: Vec<Vec<Fraction>>,
    emission: Vec<Fraction>,
    permits: Vec<bool>,
}

/// Yuma 2 in exact fractions and full matrices, from what the ledger stored; none of the ledger's code has a part in it.
fn paper(rows: &[Row<'_>], params: &Hyperparameters) -> Exact {
    let n = rows.len();
    let block = rows[0].entry.block;
    let owner = |i: usize| i == 0;
    let stake: Vec<Fraction> = (0..n)
        .map(|i| match rows[i].entry.stake {
            stake if stake >= params.stake_threshold || owner(i) => fraction(stake, 1),
            _ => zero(),
        })
        .collect();
    let stake = shares(&stake);
    let mut by_stake: Vec<usize> = (0..n).filter(|i| stake[*i] > zero()).collect();
    by_stake.sort_by(|a, b| stake[*b].cmp(&stake[*a]));
    by_stake.truncate(usize::from(params.max_allowed_validators));
    let permits = (0..n).map(|i| owner(i) || by_stake.contains(&i)).collect();

    let may = |i: usize| owner(i) || rows[i].entry.validator_permit;
    let counts = |i: usize| rows[i].entry.last_update + params.activity_cutoff >= block && may(i);
    let active: Vec<Fraction> = (0..n).map(|i| if counts(i) { stake[i].clone() } else { zero() }).collect();
    let active = shares(&active);

    let mut weights = vec![vec![zero(); n]; n];
    for i in (0..n).filter(|i| may(*i)) {
        for (j, value) in &rows[i].entry.weights {
            let j = usize::from(*j);
            let known = rows[i].entry.last_update > rows[j].entry.registered_at;
            if (i != j || owner(i)) && known {
                weights[i][j] = fraction(u64::from(*value), 65_535);
            }
        }
        weights[i] = shares(&weights[i]);
    }

    // The greatest weight that has at least kappa of the stake behind it.
    let kappa = fraction(u64::from(params.kappa), 65_535);
    let behind = |j: usize, weight: &Fraction| {
        (0..n)
            .filter(|i| weights[*i][j] >= *weight)
            .fold(zero(), |sum, i| sum + &active[i])
    };
    let consensus: Vec<Fraction> = (0..n)
        .map(|j| {
            (0..n)
                .filter(|i| active[*i] > zero())
                .map(|i| weights[i][j].clone())
                .filter(|weight| behind(j, weight) >= kappa)
                .max()
                .unwrap_or_else(zero)
        })
        .collect();
    let clipped: Vec<Vec<Fraction>> = weights
        .iter()
        .map(|row| row.iter().zip(&consensus).map(|(w, c)| w.min(c).clone()).collect())
        .collect();
    let trust = clipped
        .iter()
        .map(|row: &Vec<Fraction>| row.iter().fold(zero(), |sum, w| sum + w))
        .collect();
    let ranks: Vec<Fraction> = (0..n)
        .map(|j| (0..n).fold(zero(), |sum, i| sum + &active[i] * &clipped[i][j]))
        .collect();
    let incentive = shares(&ranks);

    let penalty = fraction(u64::from(params.bonds_penalty), 65_535);
    let last_tempo = match rows[0].entry.last_mechanism_step_block {
        0 => block - TEMPO,
        last => last + 1,
    };
    let mut bonds = vec![vec![zero(); n]; n];
    for i in 0..n {
        for (j, value) in rows[i].old_bonds {
            let j = usize::from(*j);
            if last_tempo > rows[j].entry.registered_at {
                bonds[i][j] = fraction(u64::from(*value), 65_535);
            }
        }
    }
    let bonds = column_shares(&bonds);
    let delta: Vec<Vec<Fraction>> = (0..n)
        .map(|i| {
            (0..n)
                .map(|j| {
                    let bought = &weights[i][j] + &penalty * (&clipped[i][j] - &weights[i][j]);
                    &active[i] * bought
                })
                .collect()
        })
        .collect();
    let delta = column_shares(&delta);
    let old = fraction(params.bonds_moving_average, 1_000_000);
    let new = fraction(1, 1) - &old;
    let moved: Vec<Vec<Fraction>> = (0..n)
        .map(|i| (0..n).map(|j| &new * &delta[i][j] + &old * &bonds[i][j]).collect())
        .collect();
    let moved = column_shares(&moved);
    let dividends: Vec<Fraction> = moved
        .iter()
        .map(|row| row.iter().zip(&incentive).fold(zero(), |sum, (b, i)| sum + b * i))
        .collect();
    let dividends = shares(&dividends);
    let mut stored = vec![vec![zero(); n]; n];
    for j in 0..n {
        let highest = column(&moved, j).into_iter().max().unwrap();
        if highest > zero() {
            for (i, row) in stored.iter_mut().enumerate() {
                row[j] = &moved[i][j] / &highest;
            }
        }
    }
    let both: Vec<Fraction> = incentive.iter().zip(&dividends).map(|(i, d)| i + d).collect();
    let mut combined = shares(&both);
    if both.iter().all(|value| *value == zero()) {
        combined = if active.iter().all(|value| *value == zero()) { stake } else { active };
    }
    Exact {
        consensus,
        incentive,
        dividends,
        trust,
        bonds: stored,
        emission: combined,
        permits,
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
            assert!((share - float(&exact.emission[i])).abs() < ROUNDING, "{}", what("emission"));
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
        let entry = ended.history.iter().flatten().find(|entry| entry.hotkey == account && entry.epoch == epoch);
        entry.map(|entry| entry.incentive)
    };
    assert!(at(20, 10) > at(12, 10) && at(20, 20) < at(12, 20), "the good became bad");
    assert_eq!(at(NEWCOMER, 7), None);
    assert!(at(NEWCOMER, 12).unwrap() > 0);

    // The same again, with the process killed in the middle of blocks and of calls.
    let home = tempfile::tempdir().unwrap();
    let mut disturbed = Subnet::new(home.path(), Some(11));
    let again = live(&mut disturbed).await;
    println!("killed {} times, ended cleanly {} times", disturbed.kills, disturbed.clean_ends);
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
