//! What `validator status` and `validator disputes` print, from the validator's database, which may be in use: tables, or JSON.

use std::path::{Path, PathBuf};

use chain::AccountId;
use comfy_table::{Table, presets};
use engine::B256;
use node::exit::{Failure, OrConfiguration};
use protos::v1;
use protos::v1::judgement::Verdict;

use crate::store::{CanaryCount, Hotkey, MOST_DISPUTES, Refused, Standing, Store, Total};

/// Flags of `validator status`.
#[derive(Debug, Clone, clap::Args)]
pub struct StatusArgs {
    /// SQLite file of the validator; it may be running
    #[arg(long, value_name = "FILE", default_value = "validator.db")]
    pub database: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Flags of `validator disputes`.
#[derive(Debug, Clone, clap::Args)]
pub struct DisputesArgs {
    /// SQLite file of the validator; it may be running
    #[arg(long, value_name = "FILE", default_value = "validator.db")]
    pub database: PathBuf,
    /// Only of this transaction
    #[arg(long, value_name = "HASH")]
    pub transaction: Option<B256>,
    /// Only those before this one
    #[arg(long, value_name = "ID", default_value_t = 0)]
    pub before: u64,
    /// Disputes at most, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_DISPUTES)))]
    pub limit: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// A database that is to be shown, and not made: exit code 2 where there is none.
pub(crate) fn existing(database: &Path) -> Result<&Path, Failure> {
    if database.is_file() {
        return Ok(database);
    }
    Err(Failure::configuration(eyre::eyre!(
        "{}: there is no such file; give the validator's database with --database",
        database.display()
    )))
}

pub(crate) async fn open(database: &Path) -> Result<Store, Failure> {
    Store::open(existing(database)?).await.or_configuration()
}

/// Prints where the validator stands, and what it holds of each miner.
///
/// # Errors
/// Exit code 2 where there is no such database; the database fails.
pub async fn status(args: StatusArgs) -> Result<(), Failure> {
    let store = open(&args.database).await?;
    let (standing, canaries, totals) = (store.standing().await?, store.canaries().await?, store.totals().await?);
    let (refused, newest) = store.refused(1).await?;
    let mut totals: Vec<(Hotkey, Total)> = totals.into_iter().collect();
    totals.sort_by(|(_, a), (_, b)| b.average.total_cmp(&a.average));
    if args.json {
        let miner = |(hotkey, total): &(Hotkey, Total)| {
            serde_json::json!({
                "hotkey": AccountId::new(*hotkey).to_string(), "asked": total.asked, "answered": total.answered,
                "correct": total.correct, "violating": total.violating, "found": total.found, "proven": total.proven,
                "average": total.average, "weight": total.weight,
            })
        };
        let json = serde_json::json!({
            "cursor": standing.low_water, "judged": standing.judged, "arbitrated": standing.arbitrated,
            "repeated": standing.repeated, "weights_set": standing.weights_set, "canaries": canaries.sent,
            "violating_canaries": canaries.violating, "reports_refused": refused,
            "newest_refusal": newest.first().map(refusal), "miners": totals.iter().map(miner).collect::<Vec<_>>(),
        });
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        println!("{}\n{}", sentence(&standing, &canaries), miners(&totals));
        if let Some(newest) = newest.first() {
            println!(
                "{refused} reports refused by the platform for good, the newest: {}",
                refusal(newest)
            );
        }
    }
    Ok(())
}

fn sentence(standing: &Standing, canaries: &CanaryCount) -> String {
    format!(
        "{} transactions judged up to cursor {}, {} of them by the own engine; {} canaries asked, {} of them violating; weights set {} times",
        standing.judged,
        standing.low_water,
        standing.arbitrated,
        canaries.sent,
        canaries.violating,
        standing.weights_set
    )
}

/// A report that the platform will never take, in a line.
fn refusal(refused: &Refused) -> String {
    let Refused {
        what, tx_hash, reason, ..
    } = refused;
    format!("{what} {}: {reason}", hash(tx_hash))
}

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header.to_vec());
    table
}

fn miners(totals: &[(Hotkey, Total)]) -> Table {
    let mut table = table(&[
        "miner",
        "asked",
        "answered",
        "right",
        "violations",
        "found",
        "in a row",
        "score",
        "weight",
    ]);
    for (hotkey, total) in totals {
        table.add_row(vec![
            AccountId::new(*hotkey).to_string(),
            total.asked.to_string(),
            total.answered.to_string(),
            total.correct.to_string(),
            total.violating.to_string(),
            total.found.to_string(),
            total.proven.to_string(),
            format!("{:.4}", total.average),
            total.weight.to_string(),
        ]);
    }
    table
}

/// Prints the newest disputes: what the own engine said, and what each miner had said.
///
/// # Errors
/// Exit code 2 where there is no such database; the database fails.
pub async fn disputes(args: DisputesArgs) -> Result<(), Failure> {
    let store = open(&args.database).await?;
    let disputes = store.disputes(args.before, args.transaction, args.limit, true).await?;
    if args.json {
        let all: Vec<serde_json::Value> = disputes.iter().map(json).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else if disputes.is_empty() {
        println!("no dispute is kept");
    } else {
        for dispute in &disputes {
            println!("{}\n{}", heading(dispute), votes(dispute));
        }
    }
    Ok(())
}

fn hash(bytes: &[u8]) -> String {
    B256::try_from(bytes).map_or_else(|_| "?".to_owned(), |hash| hash.to_string())
}

fn miner(vote: &v1::Vote) -> String {
    <[u8; 32]>::try_from(&vote.hotkey[..]).map_or_else(|_| "?".to_owned(), |key| AccountId::new(key).to_string())
}

fn heading(dispute: &v1::Dispute) -> String {
    let what = match dispute.cursor {
        0 => "a canary".to_owned(),
        cursor => format!("item {cursor}"),
    };
    format!(
        "dispute {}, {what}, transaction {}: {}. The own engine: {}",
        dispute.id,
        hash(&dispute.tx_hash),
        dispute.reason,
        said(dispute.verdicts.as_ref())
    )
}

/// Verdicts in a few words.
fn said(verdicts: Option<&v1::Verdicts>) -> String {
    let Some(verdicts) = verdicts else {
        return "nothing".to_owned();
    };
    let of = |wanted: fn(&Verdict) -> bool| {
        let ids = verdicts
            .judgements
            .iter()
            .filter(|one| one.verdict.as_ref().is_some_and(wanted));
        ids.map(|one| one.invariant_id.to_string()).collect::<Vec<_>>()
    };
    let violated = of(|verdict| matches!(verdict, Verdict::Violated(_)));
    let undecided = of(|verdict| matches!(verdict, Verdict::Undecided(_)));
    let mut words = match violated.len() {
        0 => "nothing violated".to_owned(),
        _ => format!("invariant {} violated", violated.join(", ")),
    };
    if !undecided.is_empty() {
        words += &format!(", {} undecided", undecided.join(", "));
    }
    match &verdicts.execution {
        Some(execution) => words + &format!(", post-state {:.10}..", hash(&execution.post_state_digest)),
        None => words + ", not executed",
    }
}

fn votes(dispute: &v1::Dispute) -> Table {
    let mut table = table(&["miner", "", "said"]);
    for vote in &dispute.votes {
        let right = match (vote.correct, vote.missed.is_empty()) {
            (true, _) => "right",
            (false, true) => "wrong",
            (false, false) => "missed",
        };
        let words = match vote.missed.as_str() {
            "" => said(vote.verdicts.as_ref()),
            missed => missed.to_owned(),
        };
        table.add_row([miner(vote), right.to_owned(), words]);
    }
    table
}

/// An answer with all that its signature is over: whoever has the miner's address can verify it.
fn evidence(signed: &v1::Signed) -> serde_json::Value {
    let receiver = <[u8; 32]>::try_from(&signed.receiver[..]).map(|key| AccountId::new(key).to_string());
    serde_json::json!({
        "signed_for": wire::ANSWER_PATH, "payload": alloy::hex::encode_prefixed(&signed.payload), "nonce_ns": signed.nonce_ns,
        "receiver": receiver.ok(), "signature": alloy::hex::encode_prefixed(&signed.signature),
    })
}

fn json(dispute: &v1::Dispute) -> serde_json::Value {
    let vote = |vote: &v1::Vote| {
        serde_json::json!({
            "miner": miner(vote), "correct": vote.correct, "said": said(vote.verdicts.as_ref()), "missed": vote.missed,
            "answer": vote.answer.as_ref().map(evidence),
        })
    };
    serde_json::json!({
        "id": dispute.id, "cursor": dispute.cursor, "canary": dispute.cursor == 0, "transaction": hash(&dispute.tx_hash),
        "reason": dispute.reason, "at_ms": dispute.at_ms, "own": said(dispute.verdicts.as_ref()),
        "votes": dispute.votes.iter().map(vote).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dispute_says_who_was_wrong_and_who_was_silent() {
        let verdicts = |verdict| v1::Verdicts {
            judgements: vec![v1::Judgement {
                invariant_id: 9,
                verdict: Some(verdict),
            }],
            ..Default::default()
        };
        let vote = |correct, verdict: Option<Verdict>, missed: &str| v1::Vote {
            hotkey: vec![1; 32].into(),
            correct,
            verdicts: verdict.map(verdicts),
            missed: missed.to_owned(),
            answer: missed.is_empty().then(|| v1::Signed {
                payload: vec![1, 2].into(),
                ..Default::default()
            }),
        };
        let violated = || Verdict::Violated(v1::Witness::default());
        let dispute = v1::Dispute {
            id: 3,
            cursor: 12,
            tx_hash: vec![0xab; 32].into(),
            reason: "a violation is claimed".into(),
            verdicts: Some(verdicts(violated())),
            votes: vec![
                vote(true, Some(violated()), ""),
                vote(false, Some(Verdict::Holds(v1::Holds::default())), ""),
                vote(false, None, "no answer within 1s"),
            ],
            ..Default::default()
        };
        assert!(heading(&dispute).contains("item 12") && heading(&dispute).contains("invariant 9 violated"));
        let table = votes(&dispute).to_string();
        for word in ["right", "wrong", "nothing violated", "missed", "no answer within 1s"] {
            assert!(table.contains(word), "`{word}` is not in: {table}");
        }
        assert_eq!(json(&dispute)["votes"][1]["correct"], false);
        assert_eq!(json(&dispute)["votes"][1]["answer"]["payload"], "0x0102");
        assert!(json(&dispute)["votes"][2]["answer"].is_null());
    }
}
