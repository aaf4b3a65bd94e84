//! Subtensor's own epoch, bit for bit: every field of every vector.
//!
//! `YUMA_VECTORS` names a file, or a folder of files, of the format that stands beside the recorded ones; without it they are
//! those of the shared data.

use std::path::PathBuf;

use chain::yuma::{self, Input, Output};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::data;

/// The files to check; none (said aloud) where there are none.
fn files() -> Vec<PathBuf> {
    let path = std::env::var("YUMA_VECTORS").map_or_else(|_| data("yuma/vectors.json"), PathBuf::from);
    if path.is_file() {
        return vec![path];
    }
    match std::fs::read_dir(&path) {
        Ok(entries) => {
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
            files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
            files.sort();
            assert!(!files.is_empty(), "no .json in {}", path.display());
            files
        }
        Err(error) => {
            assert!(
                std::env::var("YUMA_VECTORS").is_err(),
                "YUMA_VECTORS: {}: {error}",
                path.display()
            );
            println!("SKIPPED: Yuma's vectors, because {}: {error}", path.display());
            vec![]
        }
    }
}

#[derive(Deserialize)]
struct RawInput {
    n: usize,
    block: u64,
    tempo: u64,
    activity_cutoff: u64,
    #[serde(default)]
    last_mechanism_step_block: u64,
    last_update: Vec<u64>,
    block_at_registration: Vec<u64>,
    total_stake: Vec<u64>,
    stake_threshold: u64,
    validator_permit: Vec<bool>,
    max_allowed_validators: u16,
    weights: Vec<(usize, Vec<(u16, u16)>)>,
    bonds: Vec<(usize, Vec<(u16, u16)>)>,
    kappa_u16: u16,
    bonds_moving_average: u64,
    bonds_penalty_u16: u16,
    liquid_alpha: bool,
    alpha_low_bits: i64,
    alpha_high_bits: i64,
    alpha_sigmoid_steepness: i16,
    yuma3: bool,
    commit_reveal: bool,
    commit_blocks: Option<Vec<Option<u64>>>,
    owner_uid: Option<u16>,
    emission: u64,
}

impl RawInput {
    fn run(&self) -> Output {
        let rows = |stored: &[(usize, Vec<(u16, u16)>)]| {
            let mut rows = vec![vec![]; self.n];
            for (uid, row) in stored {
                rows[*uid].clone_from(row);
            }
            rows
        };
        let (weights, bonds) = (rows(&self.weights), rows(&self.bonds));
        yuma::run(&Input {
            block: self.block,
            tempo: self.tempo,
            activity_cutoff: self.activity_cutoff,
            last_mechanism_step_block: self.last_mechanism_step_block,
            last_update: self.last_update.clone(),
            block_at_registration: self.block_at_registration.clone(),
            total_stake: self.total_stake.clone(),
            stake_threshold: self.stake_threshold,
            validator_permit: self.validator_permit.clone(),
            max_allowed_validators: self.max_allowed_validators,
            weights: weights.iter().map(Vec::as_slice).collect(),
            bonds: bonds.iter().map(Vec::as_slice).collect(),
            kappa: self.kappa_u16,
            bonds_moving_average: self.bonds_moving_average,
            bonds_penalty: self.bonds_penalty_u16,
            yuma3: self.yuma3,
            liquid_alpha: self.liquid_alpha,
            alpha_low_bits: self.alpha_low_bits,
            alpha_high_bits: self.alpha_high_bits,
            alpha_sigmoid_steepness: self.alpha_sigmoid_steepness,
            commit_reveal: self.commit_reveal,
            commit_blocks: self
                .commit_blocks
                .iter()
                .flatten()
                .map(|block| block.unwrap_or(u64::MAX))
                .collect(),
            owner_uid: self.owner_uid,
            emission: self.emission,
        })
    }
}

/// Every field by the name that the vectors have for it. One that is not here fails the test.
fn fields(output: &Output) -> Value {
    json!({
        "active": output.active,
        "stake_weight": output.stake_weight,
        "consensus": output.consensus,
        "incentive": output.incentive,
        "dividends": output.dividends,
        "validator_trust": output.validator_trust,
        "validator_permit": output.validator_permit,
        "bonds": output.bonds,
        "server_emission": output.server_emission,
        "validator_emission": output.validator_emission,
        "emission": output.emission,
        "pruning_scores": output.pruning_scores,
        "i32f32_bits": {
            "stake": output.bits.stake,
            "consensus": output.bits.consensus,
            "incentive": output.bits.incentive,
            "dividends": output.bits.dividends,
            "validator_trust": output.bits.validator_trust,
        },
    })
}

/// Compares every field that `expected` lists, raw bits too; gives how many values were compared.
fn compare(name: &str, step: usize, expected: &Value, actual: &Value) -> usize {
    let listed = expected.as_object().unwrap();
    listed
        .iter()
        .map(|(field, value)| {
            let found = actual
                .get(field)
                .unwrap_or_else(|| panic!("{name}, step {step}: a vector lists `{field}`, which nothing computes"));
            if value.is_object() {
                return compare(name, step, value, found);
            }
            assert_eq!(found, value, "{name}, step {step}: `{field}`");
            value.as_array().map_or(1, Vec::len)
        })
        .sum()
}

#[test]
fn yuma_vectors() {
    let (mut vectors, mut steps, mut values) = (0, 0, 0);
    for file in files() {
        let all: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for vector in all["vectors"].as_array().unwrap() {
            let name = vector["name"].as_str().unwrap();
            vectors += 1;
            for (place, step) in vector["steps"].as_array().unwrap().iter().enumerate() {
                steps += 1;
                values += match step.get("summary") {
                    Some(summary) => summarised(name, summary, &step["expected"]),
                    None => {
                        let input: RawInput = serde_json::from_value(step["input"].clone())
                            .unwrap_or_else(|error| panic!("{name}, step {place}: {error}"));
                        compare(name, place, &step["output"], &fields(&input.run()))
                    }
                };
            }
        }
    }
    println!("{vectors} vectors, {steps} steps, {values} values compared bit for bit");
    assert!(vectors == 0 || values > 0);
}

/// A vector that is only described: equal validators weigh all servers equally.
fn summarised(name: &str, summary: &Value, expected: &Value) -> usize {
    let number = |field: &str| summary[field].as_u64().unwrap();
    let (n, validators) = (number("n") as usize, number("validators") as usize);
    assert!(
        summary["weights_each"]
            .as_str()
            .unwrap()
            .contains("all 448 servers equal")
    );
    let server_self = summary["server_self"].as_bool().unwrap();
    let row: Vec<(u16, u16)> = (validators as u16..n as u16).map(|uid| (uid, u16::MAX)).collect();
    let own: Vec<Vec<(u16, u16)>> = (0..n as u16)
        .map(|uid| match usize::from(uid) < validators {
            true => row.clone(),
            false if server_self => vec![(uid, u16::MAX)],
            false => vec![],
        })
        .collect();
    let stakes = (0..n).map(|uid| if uid < validators { number("stake_each") } else { 0 });
    let stakes: Vec<u64> = stakes.collect();
    let mut bonds = vec![vec![]; n];
    let mut output = Output::default();
    for epoch in 1..=number("epochs") {
        output = yuma::run(&Input {
            block: 1 + epoch,
            tempo: 1,
            activity_cutoff: 5_000,
            last_update: vec![1 + epoch; n],
            block_at_registration: vec![0; n],
            total_stake: stakes.clone(),
            validator_permit: (0..n).map(|uid| uid < validators).collect(),
            max_allowed_validators: validators as u16,
            weights: own.iter().map(Vec::as_slice).collect(),
            bonds: bonds.iter().map(Vec::as_slice).collect(),
            kappa: 32_767,
            bonds_moving_average: 900_000,
            bonds_penalty: u16::MAX,
            emission: number("emission"),
            ..Input::default()
        });
        bonds.clone_from(&output.bonds);
    }
    let mut values = 0;
    for uid in 0..n {
        let kind = &expected[if uid < validators { "validator" } else { "server" }];
        for (field, value) in kind.as_object().unwrap() {
            let value = value.as_u64().unwrap();
            let found = match field.as_str() {
                "consensus" => u64::from(output.consensus[uid]),
                "incentive" => u64::from(output.incentive[uid]),
                "dividends" => u64::from(output.dividends[uid]),
                "emission" => output.emission[uid],
                "bond_to_server" => {
                    let (to, bond) = output.bonds[uid].iter().copied().unzip::<u16, u16, Vec<_>, Vec<_>>();
                    assert_eq!(to, (validators as u16..n as u16).collect::<Vec<_>>(), "{name}");
                    assert!(
                        bond.iter().all(|bond| u64::from(*bond) == value),
                        "{name}, uid {uid}: {bond:?}"
                    );
                    value
                }
                other => panic!("{name}: `{other}` is not known"),
            };
            assert_eq!(found, value, "{name}, uid {uid}: `{field}`");
            values += 1;
        }
    }
    values
}
