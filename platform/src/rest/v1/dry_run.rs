//! `POST /v1/invariants/dry-run`: what an invariant would have said of the newest transactions of the log, before it is in force. It
//! changes nothing, and asks no node: each transaction came with the state that it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use engine::{
    B256, BlockEnv, Bytes, Context, Engine, EngineError, Options, Outcome, Transaction, Transition, Verdict, WatchSet,
    Watched,
};
use http::StatusCode;
use protos::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::{ShippedPrestate, Wire as _};

use super::Changing;
use super::body::Body;
use super::invariants::InvariantInput;
use super::problem::Problem;
use crate::log::{Log as _, LogError};
use crate::rest::Rest;
use crate::store::Recent;

/// Transactions that are looked at, unless said otherwise, and at most.
const USUAL: u32 = 200;
const MOST: u32 = 2_000;
/// The most blocks that are asked for: as many heads are looked at.
const BLOCKS: u32 = 512;
/// How long it may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a dry run waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Violations and reasons that are told.
const TOLD: usize = 20;
/// The invariant's number in its own small set.
const NUMBER: u64 = 0;

/// What is to be tried, and on how much.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct DryRunInput {
    /// The invariant.
    #[serde(flatten)]
    pub invariant: InvariantInput,
    /// On how many of the newest transactions.
    #[schema(minimum = 1, maximum = 2000, default = 200)]
    pub transactions: Option<u32>,
    /// Of those, only the ones that are judged on the newest so many blocks.
    #[schema(minimum = 1, maximum = 512)]
    pub blocks: Option<u32>,
}

/// What an invariant would have said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    /// Transactions that were judged.
    pub transactions: u64,
    /// The first and the last block on whose state they were.
    pub first_block: Option<u64>,
    /// The last one.
    pub last_block: Option<u64>,
    /// That wrote nothing that it reads.
    pub untouched: u64,
    /// After which it holds as before.
    pub kept: u64,
    /// After which it holds again.
    pub restored: u64,
    /// That found it broken, and left it so.
    pub stayed_broken: u64,
    /// That break it: each would have been an incident.
    pub violated: u64,
    /// Of which nothing can be said.
    pub undecided: u64,
    /// The newest of those that break it.
    pub violations: Vec<Violation>,
    /// Why nothing can be said, and of how many.
    pub reasons: Vec<Why>,
    /// The time was up before all were looked at.
    pub cut_short: bool,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// A transaction that would have broken it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    /// Its hash.
    pub transaction: String,
    /// The block on whose state it was judged.
    pub block: u64,
    /// How far it was from the bound before.
    pub margin_before: Option<String>,
    /// And after.
    pub margin_after: Option<String>,
    /// Each thing that it reads, before and after.
    pub readings: Vec<Change>,
}

/// Something that is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// How the expression calls it.
    pub what: String,
    /// Before.
    pub before: Option<String>,
    /// After.
    pub after: Option<String>,
}

/// Why nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The reason.
    pub reason: String,
    /// Of how many transactions.
    pub transactions: u64,
}

impl DryRun {
    /// Counts one.
    fn take(&mut self, hash: B256, block: u64, outcome: &Outcome, reasons: &mut BTreeMap<String, u64>) {
        self.transactions += 1;
        let judgement = outcome.judgements.first();
        let undecided = match judgement.map(|judgement| &judgement.verdict) {
            Some(Verdict::Undecided(reason)) => Some(reason),
            Some(_) => None,
            None => outcome.undecided.as_ref(),
        };
        if let Some(reason) = undecided {
            self.undecided += 1;
            if reasons.len() < TOLD || reasons.contains_key(&reason.to_string()) {
                *reasons.entry(reason.to_string()).or_default() += 1;
            }
            return;
        }
        let Some(judgement) = judgement else {
            self.untouched += 1;
            return;
        };
        match (&judgement.verdict, judgement.transition) {
            (Verdict::Violated(witness), _) => {
                self.violated += 1;
                let margin = judgement.margin.as_ref();
                let read = |reading: &engine::Reading| Change {
                    what: reading.label.clone(),
                    before: reading.pre.map(|word| word.to_string()),
                    after: reading.post.map(|word| word.to_string()),
                };
                let mut readings: Vec<Change> = witness.readings.iter().map(read).collect();
                if readings.is_empty() {
                    readings.push(Change {
                        what: format!("slot({:#x}, {:#x})", witness.contract, witness.slot),
                        before: Some(witness.pre.to_string()),
                        after: Some(witness.post.to_string()),
                    });
                }
                // The newest come last.
                if self.violations.len() == TOLD {
                    self.violations.remove(0);
                }
                self.violations.push(Violation {
                    transaction: hash.to_string(),
                    block,
                    margin_before: margin.map(|margin| margin.pre.to_string()),
                    margin_after: margin.map(|margin| margin.post.to_string()),
                    readings,
                });
            }
            (_, Some(Transition::Untouched)) => self.untouched += 1,
            (_, Some(Transition::StayedBroken)) => self.stayed_broken += 1,
            (_, Some(Transition::Restored)) => self.restored += 1,
            (_, Some(Transition::Kept | Transition::Broke) | None) => self.kept += 1,
        }
    }
}

/// Those that are judged on the newest so many blocks.
fn newest(mut recent: Recent, blocks: u32) -> Recent {
    let heads = &recent.heads;
    let number = |pending: &v1::PendingTransaction| heads.get(pending.head_hash.as_ref()).map(|head| head.number);
    let last = recent
        .transactions
        .iter()
        .filter_map(|(_, pending)| number(pending))
        .max();
    let first = last.unwrap_or_default().saturating_sub(u64::from(blocks) - 1);
    recent
        .transactions
        .retain(|(_, pending)| number(pending).is_some_and(|number| number >= first));
    recent
}

/// Judges what was seen, oldest first.
fn judge(watched: Watched, recent: &Recent, codes: &BTreeMap<B256, Bytes>) -> Result<DryRun, Problem> {
    let started = Instant::now();
    let set = WatchSet::new(vec![watched]).map_err(|error| Problem::field("", error.to_string()))?;
    let mut engines: BTreeMap<u64, Engine> = BTreeMap::new();
    let (mut run, mut reasons) = (DryRun::default(), BTreeMap::new());
    let expired = || started.elapsed() > LIMIT;
    for (_, pending) in recent.transactions.iter().rev() {
        if expired() {
            run.cut_short = true;
            break;
        }
        let Some((head, next)) = recent
            .heads
            .get(pending.head_hash.as_ref())
            .and_then(|head| head.next.as_ref().map(|next| (head, next)))
        else {
            continue;
        };
        let (Some(message), Some(prestate)) = (&pending.transaction, &pending.prestate) else {
            continue;
        };
        // The log holds what the feed has checked.
        let read = (
            Transaction::from_wire(message),
            BlockEnv::from_wire(next),
            ShippedPrestate::from_wire(prestate),
        );
        let (Ok(transaction), Ok(env), Ok(shipped)) = read else {
            continue;
        };
        let Ok(before) = wire::predecessors("pending.predecessors", &pending.predecessors, &transaction) else {
            continue;
        };
        let Ok(state) = shipped.complete(|hash| codes.get(&hash).cloned()) else {
            continue;
        };
        let options = Options {
            call_path: false,
            expired: Some(&expired),
            ..Options::default()
        };
        let engine = engines
            .entry(head.chain_id)
            .or_insert_with(|| Engine::new(head.chain_id));
        let outcome = engine
            .judge_behind(&before, &transaction, Context::new(&env, &state, &set, &options))
            .map_err(|error: EngineError| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        run.first_block = run.first_block.min(Some(head.number)).or(Some(head.number));
        run.last_block = run.last_block.max(Some(head.number));
        run.take(transaction.hash(), head.number, &outcome, &mut reasons);
    }
    run.violations.reverse();
    run.reasons = reasons
        .into_iter()
        .map(|(reason, transactions)| Why { reason, transactions })
        .collect();
    run.took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(run)
}

impl Rest {
    async fn codes_of(&self, recent: &Recent) -> Result<BTreeMap<B256, Bytes>, LogError> {
        let prestates = recent
            .transactions
            .iter()
            .filter_map(|(_, pending)| pending.prestate.as_ref());
        let hashes: BTreeSet<B256> = prestates
            .flat_map(|prestate| &prestate.code_hashes)
            .filter_map(|hash| B256::try_from(hash.as_ref()).ok())
            .collect();
        let hashes = Vec::from_iter(hashes);
        let codes = self.store.codes(&hashes).await?;
        Ok(hashes
            .into_iter()
            .zip(codes.into_iter().map(|code| code.bytecode.into()))
            .collect())
    }
}

/// Say what an invariant would have said of the newest transactions; nothing is changed
#[utoipa::path(post, path = "/v1/invariants/dry-run", tag = "v1", operation_id = "v1_invariants_dry_run", request_body = DryRunInput,
    responses((status = 200, body = DryRun), Changing))]
pub(super) async fn dry_run(State(rest): State<Rest>, body: Body) -> Result<Json<DryRun>, Problem> {
    let mut flaws = Vec::new();
    let wanted = body.number("transactions", USUAL, MOST, &mut flaws);
    let blocks = body.number("blocks", BLOCKS, BLOCKS, &mut flaws);
    let _unused = (
        body.text("service", &mut flaws),
        body.ids("defense_action_ids", &mut flaws),
    );
    if !flaws.is_empty() {
        return Err(Problem::unfit(flaws));
    }
    let proposed = Body(body.without(&["transactions", "blocks"]));
    let watched = rest.proposal(&proposed).await?.watched(NUMBER);
    let busy = || {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "other dry runs are under way; try again later",
        )
    };
    let turn = tokio::time::timeout(PATIENCE, std::sync::Arc::clone(&rest.dry_runs).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(busy()) };
    let recent = newest(rest.store.recent(0, wanted).await?, blocks);
    let codes = rest.codes_of(&recent).await?;
    let judged = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        judge(watched, &recent, &codes)
    });
    let judged = judged
        .await
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Json(judged?))
}

#[cfg(test)]
mod tests {
    use engine::{Judgement, Reason};

    use super::*;

    fn outcome(verdict: Verdict, transition: Option<Transition>) -> Outcome {
        Outcome {
            judgements: vec![Judgement {
                invariant_id: NUMBER,
                verdict,
                transition,
                margin: None,
            }],
            ..Outcome::default()
        }
    }

    #[test]
    fn only_the_newest_blocks_are_looked_at() {
        let mut recent = Recent::default();
        for number in [9_u8, 8, 8, 5] {
            let hash = vec![number; 32];
            let pending = v1::PendingTransaction {
                head_hash: hash.clone().into(),
                ..Default::default()
            };
            recent.transactions.push((0, pending));
            let head = v1::Head {
                number: u64::from(number),
                ..Default::default()
            };
            recent.heads.insert(hash, head);
        }
        let left = |blocks| newest(recent.clone(), blocks).transactions.len();
        assert_eq!([1, 2, 4, 5, 512].map(left), [1, 3, 3, 4, 4]);
        assert_eq!(newest(Recent::default(), 1).transactions.len(), 0);
    }

    #[test]
    fn each_transaction_counts_once_as_what_it_is() {
        let (mut run, mut reasons) = (DryRun::default(), BTreeMap::new());
        let nothing = Outcome {
            undecided: Some(Reason::Deadline),
            ..Outcome::default()
        };
        for outcome in [
            Outcome::default(),
            outcome(Verdict::Holds, Some(Transition::Untouched)),
            outcome(Verdict::Holds, Some(Transition::Kept)),
            outcome(Verdict::Holds, Some(Transition::Restored)),
            outcome(Verdict::Holds, Some(Transition::StayedBroken)),
            outcome(Verdict::Undecided(Reason::Deadline), None),
            nothing,
        ] {
            run.take(B256::ZERO, 1, &outcome, &mut reasons);
        }
        assert_eq!(
            (
                run.transactions,
                run.untouched,
                run.kept,
                run.restored,
                run.stayed_broken,
                run.undecided,
                run.violated
            ),
            (7, 2, 1, 1, 1, 2, 0)
        );
        assert_eq!(reasons["deadline passed"], 2);
    }
}
