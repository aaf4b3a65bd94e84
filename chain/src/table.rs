//! The metagraph and the hyperparameters as tables for people, for every binary that shows them.

use comfy_table::{CellAlignment, Table, presets};

use crate::ledger::{Hyperparameters, Metagraph, Neuron};
use crate::tao::Tao;

/// A table with this header, and numbers on the right in these columns.
pub fn empty(header: &[&str], right: &[usize]) -> Table {
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

/// A mark where something holds.
pub fn mark(yes: bool) -> String {
    if yes { "*" } else { "" }.to_owned()
}

/// A share of 65535 as a fraction.
pub fn share(share: u16) -> String {
    format!("{:.5}", f64::from(share) / f64::from(u16::MAX))
}

/// One row for each hyperparameter, by Subtensor's name.
pub fn hyperparameters(params: &Hyperparameters) -> Table {
    let json = serde_json::to_value(params).unwrap_or_default();
    let mut table = empty(&["hyperparameter", "value"], &[1]);
    for (name, value) in json.as_object().into_iter().flatten() {
        table.add_row([name.clone(), value.to_string()]);
    }
    table
}

/// Where the subnet stands, in one line, and a row for each neuron.
pub fn metagraph(metagraph: &Metagraph) -> String {
    format!("{}\n{}", headline(metagraph), neurons(metagraph))
}

fn headline(metagraph: &Metagraph) -> String {
    format!(
        "subnet {}, block {}, epoch {} at block {} (tempo {})",
        metagraph.netuid,
        metagraph.block,
        metagraph.epoch_index,
        metagraph.next_epoch_block(),
        metagraph.tempo
    )
}

fn neurons(metagraph: &Metagraph) -> Table {
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
    let mut table = empty(&header, &[0, 2, 5, 6, 7, 8, 9, 10, 11]);
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
