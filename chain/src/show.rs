//! What `ledger metagraph`, `ledger history` and `ledger hyperparameters` print of a running ledger: a table, or JSON.

use std::time::Duration;

use chain::history::EpochEntry;
use chain::local::params::Tao;
use chain::remote::RemoteLedger;
use chain::{Ledger, Metagraph, Neuron};
use comfy_table::{CellAlignment, Table, presets};
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
    if look.json {
        println!("{}", serde_json::to_string_pretty(&metagraph)?);
    } else {
        println!(
            "subnet {}, block {}, epoch {} at block {} (tempo {})",
            metagraph.netuid,
            metagraph.block,
            metagraph.epoch_index,
            metagraph.next_epoch_block(),
            metagraph.tempo
        );
        println!("{}", table(&metagraph));
    }
    Ok(())
}

/// `ledger hyperparameters`
pub(super) async fn hyperparameters(look: &Look) -> Result<(), Failure> {
    let params = look.open()?.hyperparameters().await.map_err(refused)?;
    let json = serde_json::to_value(&params)?;
    if look.json {
        println!("{}", serde_json::to_string_pretty(&json)?);
        return Ok(());
    }
    let mut table = empty_table(&["hyperparameter", "value"], &[1]);
    for (name, value) in json.as_object().into_iter().flatten() {
        table.add_row([name.clone(), value.to_string()]);
    }
    println!("{table}");
    Ok(())
}

/// `ledger history`
pub(super) async fn history(look: &Look, uid: u16, limit: u32) -> Result<(), Failure> {
    let entries = look.open()?.history(uid, limit).await.map_err(refused)?;
    if look.json {
        println!("{}", serde_json::to_string_pretty(&entries)?);
        return Ok(());
    }
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
    let mut table = empty_table(&header, &[0, 1, 3, 5, 6, 7, 8, 9]);
    for entry in &entries {
        table.add_row(past(entry));
    }
    println!("{table}");
    Ok(())
}

fn past(entry: &EpochEntry) -> Vec<String> {
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
        mark(entry.new_validator_permit),
        share(entry.incentive),
        share(entry.dividends),
        share(entry.validator_trust),
        Tao::from_rao(entry.emission).to_string(),
        Tao::from_rao(entry.paid).to_string(),
        weights.join(" "),
    ]
}

fn empty_table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header);
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn mark(yes: bool) -> String {
    if yes { "*" } else { "" }.to_owned()
}

fn share(share: u16) -> String {
    format!("{:.5}", f64::from(share) / f64::from(u16::MAX))
}

fn table(metagraph: &Metagraph) -> Table {
    let header = [
        "uid",
        "hotkey",
        "stake τ",
        "permit",
        "active",
        "consensus",
        "incentive",
        "dividends",
        "trust",
        "emission τ",
        "earned τ",
        "updated",
        "axon",
    ];
    let mut table = empty_table(&header, &[0, 2, 5, 6, 7, 8, 9, 10, 11]);
    for neuron in &metagraph.neurons {
        table.add_row(row(neuron, metagraph.block));
    }
    table
}

fn row(neuron: &Neuron, block: u64) -> Vec<String> {
    let updated = match neuron.weights_known {
        true => format!("{} ago", block.saturating_sub(neuron.last_update)),
        false => "never".to_owned(),
    };
    vec![
        neuron.uid.to_string(),
        neuron.hotkey.to_string(),
        Tao::from_rao(neuron.stake).to_string(),
        mark(neuron.validator_permit),
        mark(neuron.active),
        share(neuron.consensus),
        share(neuron.incentive),
        share(neuron.dividends),
        share(neuron.validator_trust),
        Tao::from_rao(neuron.emission).to_string(),
        Tao::from_rao(neuron.earned).to_string(),
        updated,
        neuron
            .axon
            .map_or_else(String::new, |axon| format!("{}:{}", axon.info.ip, axon.info.port)),
    ]
}
