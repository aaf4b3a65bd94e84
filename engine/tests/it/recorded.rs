//! The engine against everything that was recorded: real blocks, go-ethereum's fixtures and real attacks.

use std::{io::BufRead, sync::Arc};

use crate::{common::on_every_case, data::recorded};
use alloy::primitives::keccak256;
use engine::{
    Address, B256, Bytes, Engine, Hardfork, Replay, Status, Transaction, Transition, U256, Verdict, WatchSet,
    case::{Case, CaseFile, CaseKind},
};

/// Replays a case, comparing every execution with the record; every `judge_each`th transaction is also judged alone on its own
/// prestate, with an engine that has seen other blocks. Returns the number of transactions.
fn replay_and_compare(case: Case, judge_each: usize) -> usize {
    let (id, chain_id, block_gas_used) = (case.id.clone(), case.chain_id, case.expect.block_gas_used);
    assert!(!case.expect.per_tx.is_empty(), "{id}: nothing recorded to compare with");
    let transactions = case.transactions.len();
    let mut alone = Engine::new(chain_id);
    let replay = Replay::new(case);
    let env = replay.env().clone();
    let (mut steps, mut gas) = (0, 0);
    for step in replay {
        let step = step.unwrap_or_else(|error| panic!("{id}: {error}"));
        let expected = step.expected.unwrap();
        assert!(
            expected.agrees(&step.outcome),
            "{id} #{}: {:?}, recorded {expected:?}",
            step.index,
            step.outcome
        );
        gas += step.outcome.gas_used;
        steps += 1;
        if step.index % judge_each == 0 {
            let outcome = alone.judge(&env, &step.transaction, &step.prestate, &[]).unwrap();
            assert_eq!(
                outcome.execution,
                Some(step.outcome),
                "{id} #{}: alone on its prestate",
                step.index
            );
        }
    }
    assert_eq!(steps, transactions, "{id}");
    assert!(
        block_gas_used.is_none_or(|recorded| recorded == gas),
        "{id}: block gas {gas}"
    );
    steps
}

#[test]
fn every_recorded_block_executes_with_exactly_the_recorded_gas_status_and_logs_and_each_transaction_alone_too() {
    let Some(path) = recorded("blocks") else { return };
    let counts = on_every_case(&path, |case| {
        assert_eq!(case.kind, CaseKind::Block);
        replay_and_compare(case, 1)
    });
    eprintln!(
        "{} blocks, {} transactions executed twice, all as recorded",
        counts.len(),
        counts.iter().sum::<usize>()
    );
    assert!(counts.len() >= 45 && counts.iter().sum::<usize>() >= 11_784);
}

#[test]
fn the_rules_of_every_mainnet_block_follow_from_its_number_and_time() {
    let Some(path) = recorded("blocks") else { return };
    let forks = on_every_case(&path, |case| {
        assert_eq!(case.block.hardfork, None, "{}", case.id);
        assert_eq!(case.block.rules(case.chain_id), Some(case.hardfork), "{}", case.id);
        case.hardfork
    });
    assert!(forks.contains(&Hardfork::Frontier) && forks.contains(&Hardfork::Prague));
}

#[test]
fn every_go_ethereum_fixture_executes_with_its_gas() {
    let Some(path) = recorded("txs/geth_call_tracer.ndjson.gz") else {
        return;
    };
    let counts = on_every_case(&path, |case| replay_and_compare(case, 1));
    eprintln!("{} fixtures, all as recorded", counts.len());
    assert!(counts.len() >= 25);
}

#[test]
fn every_recorded_attack_is_found_by_its_own_storage_invariants_with_the_recorded_values() {
    let Some(path) = recorded("exploits") else { return };
    let mut found = 0;
    let mut cases = 0;
    for case in CaseFile::open(&path).unwrap() {
        let case = case.unwrap_or_else(|error| panic!("{error}"));
        cases += 1;
        let (id, invariants, chain_id) = (case.id.clone(), case.invariants.clone(), case.chain_id);
        let recorded_post = recorded_values(&path, &id);
        let mut replay = Replay::new(case).watching(Arc::new(WatchSet::of(invariants.clone()).unwrap()));
        let env = replay.env().clone();
        let step = replay.next().unwrap().unwrap_or_else(|error| panic!("{id}: {error}"));
        assert!(step.transaction.is_unsigned());
        assert!(
            step.expected.unwrap().agrees(&step.outcome),
            "{id}: {:?} != {:?}",
            step.outcome,
            step.expected
        );
        for (invariant, judgement) in invariants.iter().zip(&step.judgements) {
            let Verdict::Violated(witness) = &judgement.verdict else {
                panic!("{id}: {} was not found: {judgement:?}", invariant.name)
            };
            assert_eq!(judgement.transition, Some(Transition::Broke));
            assert_eq!(witness.tx_hash, step.transaction.hash());
            let (pre, post) = recorded_post[&invariant.name];
            assert_eq!((witness.pre, witness.post), (pre, post), "{id}: {}", invariant.name);
            found += 1;
        }
        let alone = Engine::new(chain_id)
            .judge(&env, &step.transaction, &step.prestate, &invariants)
            .unwrap();
        assert_eq!(alone.execution, Some(step.outcome), "{id}");
        assert_eq!(alone.judgements, step.judgements, "{id}");
    }
    eprintln!("{cases} attacks, {found} storage invariants broken, each with the recorded values");
    assert!(cases >= 10 && found >= 16);
}

/// `name -> (pre, post)` as they stand in the file, read without the engine.
fn recorded_values(folder: &std::path::Path, id: &str) -> std::collections::BTreeMap<String, (U256, U256)> {
    let file = folder.join(format!("{}.json.gz", id.trim_start_matches("exploit-")));
    let json: serde_json::Value =
        serde_json::from_reader(flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap())).unwrap();
    let number = |value: &serde_json::Value| value.as_str().unwrap().parse::<U256>().unwrap();
    let invariants = json["invariants"].as_array().unwrap().iter();
    invariants
        .map(|i| {
            (
                i["name"].as_str().unwrap().to_owned(),
                (number(&i["pre"]), number(&i["post"])),
            )
        })
        .collect()
}

#[test]
fn every_real_signed_transaction_decodes_and_proves_its_sender() {
    let Some(path) = recorded("feed/raw_txs.ndjson.gz") else {
        return;
    };
    let file = std::fs::File::open(path).unwrap();
    let mut types = [0usize; 5];
    let (mut creations, mut without_chain) = (0, 0);
    for line in std::io::BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
        let json: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let raw: Bytes = json["raw"].as_str().unwrap().parse().unwrap();
        let (hash, from): (B256, Address) = (
            json["hash"].as_str().unwrap().parse().unwrap(),
            json["from"].as_str().unwrap().parse().unwrap(),
        );
        let tx = Transaction::decode(&raw).unwrap_or_else(|error| panic!("{hash}: {error}"));
        assert_eq!((tx.hash(), tx.sender(), tx.raw()), (hash, from, &raw));
        assert_eq!(Transaction::with_sender(&raw, from).unwrap(), tx);
        assert_eq!(keccak256(&raw), hash);
        types[usize::from(tx.tx_type())] += 1;
        creations += usize::from(tx.to().is_none());
        without_chain += usize::from(tx.chain_id().is_none());
    }
    eprintln!("decoded by type {types:?}, {creations} creations, {without_chain} without chain id");
    assert!(types.iter().sum::<usize>() >= 11_784 && creations > 0 && without_chain > 0);
}

#[test]
fn two_engines_give_the_same_digests_whatever_they_executed_before() {
    let Some(path) = recorded("blocks/15537393.json.gz") else {
        return;
    };
    let case = CaseFile::open(&path).unwrap().next().unwrap().unwrap();
    let digests = |case: Case| {
        Replay::new(case)
            .map(|step| step.unwrap().outcome.post_state_digest)
            .collect::<Vec<_>>()
    };
    let (first, second) = (digests(case.clone()), digests(case.clone()));
    assert_eq!(first, second);
    // Backwards, each on its own prestate, with one engine.
    let env = case.block.clone();
    let steps: Vec<_> = Replay::new(case).map(Result::unwrap).collect();
    let mut engine = Engine::new(1);
    for step in steps.iter().rev() {
        let execution = engine
            .judge(&env, &step.transaction, &step.prestate, &[])
            .unwrap()
            .execution
            .unwrap();
        assert_eq!(execution.post_state_digest, first[step.index]);
    }
    assert!(steps.iter().any(|step| step.outcome.status == Status::Success));
}
