//! What an incident says of the money: the recorded raid on the vault, to the wei.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use alloy::primitives::I256;
use alloy::primitives::utils::format_ether;
use contracts::{Contract, layout};
use engine::case::{CaseFile, Expected};
use engine::{
    Address, B256, BlockEnv, Comparison, Invariant, Prestate, Replay, Transaction, U256, ValueType, Verdict, WatchSet,
};
use protos::v1::{IncidentTimeline, SuspectTransaction};
use validator::intake::Item;
use wire::{InvariantSet, ShippedPrestate};

use crate::defence::Validator;

/// The one transaction of the recorded scenario that robs the vault.
struct Raid {
    transaction: Transaction,
    prestate: Prestate,
    env: BlockEnv,
    head: B256,
    cover: Invariant,
    recorded: Expected,
    /// What the vault says it owes, before and after.
    assets: (U256, U256),
}

/// The vault owes its seed of ten ether at least.
fn cover(scenarios: &Path) -> Invariant {
    let stated = std::fs::read(scenarios.join("vault-reentrancy.invariants.json")).unwrap();
    let stated: serde_json::Value = serde_json::from_slice(&stated).unwrap();
    let vault: Address = stated[0]["contract"].as_str().unwrap().parse().unwrap();
    let assets = layout::variable(Contract::Vault, "totalAssets").unwrap();
    let seed: U256 = stated[0]["target"].as_str().unwrap().parse().unwrap();
    Invariant::new(
        9,
        "cover",
        vault,
        assets.slot,
        ValueType::Uint(128),
        assets.offset,
        Comparison::Ge,
        seed,
    )
    .unwrap()
}

fn raid() -> Raid {
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let cover = cover(&scenarios);
    for case in CaseFile::open(scenarios.join("vault-reentrancy.ndjson.gz")).unwrap() {
        let case = case.unwrap();
        let head = case.parent_hash.unwrap();
        let replay = Replay::new(case).watching(Arc::new(WatchSet::of([cover.clone()]).unwrap()));
        let env = replay.env().clone();
        for step in replay {
            let step = step.unwrap();
            if let Verdict::Violated(witness) = &step.judgements[0].verdict {
                return Raid {
                    assets: (witness.pre, witness.post),
                    recorded: step.expected.unwrap(),
                    transaction: step.transaction,
                    prestate: step.prestate,
                    env,
                    head,
                    cover,
                };
            }
        }
    }
    panic!("nobody robs the vault");
}

/// By token, empty for ether, and holder.
fn deltas(suspect: &SuspectTransaction) -> BTreeMap<(Vec<u8>, Address), I256> {
    let deltas = suspect.deltas.iter().map(|delta| {
        let holder = Address::from_slice(&delta.holder);
        ((delta.token.to_vec(), holder), delta.change.parse().unwrap())
    });
    deltas.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_raids_incident_says_who_lost_and_who_got_how_much() {
    let raid = raid();
    let folder = tempfile::tempdir().unwrap();
    let validator = Validator::start(folder.path(), "http://127.0.0.1:1/hook").await;
    let codes = raid.prestate.codes.clone().into_iter().collect();
    validator.judge.codes.insert(codes).await.unwrap();
    let item = Item {
        cursor: 1,
        seen: Instant::now(),
        chain_id: crate::world::CHAIN,
        head_hash: raid.head,
        env: raid.env.clone(),
        set: Arc::new(InvariantSet {
            version: 1,
            invariants: vec![raid.cover.clone().into()],
        }),
        transaction: raid.transaction.clone(),
        predecessors: Vec::new(),
        prestate: Some(ShippedPrestate::from(raid.prestate.clone())),
    };
    validator.judge.judge(item).await.unwrap();
    let told = validator
        .told(|told: &IncidentTimeline| !told.suspects.is_empty())
        .await;
    let suspect = &told.timelines[0].suspects[0];

    let signed = |number: U256| I256::try_from(number).unwrap();
    let (vault, thief) = (raid.cover.contract, raid.transaction.sender());
    // The vault takes what it owes down once for each payment, which is what gives the raid away.
    let lost = signed(raid.assets.1) - signed(raid.assets.0);
    assert!(
        lost < I256::try_from(-200_000_000_000_000_000_000_i128).unwrap(),
        "{lost}"
    );
    let deltas = deltas(suspect);
    let ether = |holder| deltas[&(Vec::new(), holder)];
    assert_eq!(ether(vault), lost);
    assert_eq!(suspect.deltas[0].holder, vault.to_vec(), "the victim is told first");
    let gas = signed(U256::from(raid.recorded.gas_used));
    let (base, tip) = (U256::from(raid.env.base_fee), ether(raid.env.beneficiary));
    // The thief has all of it, less the fees.
    assert_eq!(ether(thief), -lost - tip - gas * signed(base));
    assert!(tip > I256::ZERO);
    assert_eq!((deltas.len(), suspect.more_deltas), (3, 0), "{deltas:?}");
    validator.stop().await;

    let shown = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_validator"));
        command.args(["incidents", "--database"]);
        command.arg(folder.path().join("validator.defence.db")).args(more);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = shown(&[]);
    for said in [
        vault.to_string(),
        format_ether(lost),
        format_ether(-lost - tip - gas * signed(base)),
    ] {
        assert!(text.contains(&said), "`{said}` is not in:\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&shown(&["--json"])).unwrap();
    assert_eq!(json[0]["suspects"][0]["deltas"].as_array().unwrap().len(), 3);
    assert_eq!(shown(&["--before", "1"]), "there is no incident\n");
}
