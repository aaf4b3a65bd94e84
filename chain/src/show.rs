//! What `ledger metagraph`, `ledger history` and `ledger hyperparameters` print of a running ledger: a table, or JSON.

use std::time::Duration;

use chain::history::EpochEntry;
use chain::remote::RemoteLedger;
use chain::{Ledger, Tao, table};
use comfy_table::Table;
use node::cli;
use node::exit::{Failure, OrConfiguration};

use super::refused;

/// Which ledger to look at, and how to print what it says.
#[derive(Debug, clap::Args)]
pub(super) struct Look {
    /// The ledger's address, as in http://127.0.0.1:9944
    #[arg(long, value_name = "URL")]
    ledger: String,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s")]
    deadline: humantime::Duration,
}

impl Look {
    fn open(&self) -> Result<RemoteLedger, Failure> {
        let deadline: Duration = self.deadline.into();
        RemoteLedger::new(&self.ledger, deadline).or_configuration()
    }
}

/// `ledger metagraph`
pub(super) async fn metagraph(look: &Look) -> Result<(), Failure> {
    let metagraph = look.open()?.metagraph().await.map_err(refused)?;
    cli::print(&metagraph, look.json, table::metagraph)
}

/// `ledger hyperparameters`
pub(super) async fn hyperparameters(look: &Look) -> Result<(), Failure> {
    let params = look.open()?.hyperparameters().await.map_err(refused)?;
    cli::print(&params, look.json, |params| table::hyperparameters(params).to_string())
}

/// `ledger history`
pub(super) async fn history(look: &Look, uid: u16, limit: u32) -> Result<(), Failure> {
    let entries = look.open()?.history(uid, limit).await.map_err(refused)?;
    cli::print(&entries, look.json, |entries| past(entries).to_string())
}

fn past(entries: &[EpochEntry]) -> Table {
    let header = [
        "epoch",
        "block",
        "hotkey",
        "stake τ",
        "permit",
        "incentive",
        "dividends",
        "trust",
        "emission τ",
        "paid τ",
        "weights",
    ];
    let mut shown = table::empty(&header, &[0, 1, 3, 5, 6, 7, 8, 9]);
    for entry in entries {
        shown.add_row(row(entry));
    }
    shown
}

fn row(entry: &EpochEntry) -> Vec<String> {
    let hotkey = entry.hotkey.to_string();
    let weights: Vec<String> = entry
        .weights
        .iter()
        .map(|(uid, value)| format!("{uid}:{value}"))
        .collect();
    vec![
        entry.epoch.to_string(),
        entry.block.to_string(),
        hotkey
            .get(..10)
            .map_or_else(|| hotkey.clone(), |start| format!("{start}…")),
        Tao::from_rao(entry.stake).to_string(),
        table::mark(entry.new_validator_permit),
        table::share(entry.incentive),
        table::share(entry.dividends),
        table::share(entry.validator_trust),
        Tao::from_rao(entry.emission).to_string(),
        Tao::from_rao(entry.paid).to_string(),
        weights.join(" "),
    ]
}
