//! What `validator incidents` prints: each attack with its transactions, the balances that they change, and what was done about it.
//!
//! It reads the defence's database, which may be in use; nothing is done about what it finds there.

use std::path::PathBuf;

use alloy::primitives::utils::format_ether;
use defence::violation::{Suspect, TokenDelta};
use defence::{Defence, Incident};
use node::exit::{Failure, OrConfiguration};

use crate::show::{existing, table};

/// Flags of `validator incidents`.
#[derive(Debug, Clone, clap::Args)]
pub struct IncidentsArgs {
    /// SQLite file with the incidents and alerts; a validator may be using it
    #[arg(long, value_name = "FILE", default_value = "validator.defence.db")]
    pub database: PathBuf,
    /// Only those before this one
    #[arg(long, value_name = "ID")]
    pub before: Option<u64>,
    /// Incidents at most, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Prints the newest incidents.
///
/// # Errors
/// Exit code 2 where there is no such database; the database fails.
pub async fn run(args: IncidentsArgs) -> Result<(), Failure> {
    let database = existing(&args.database)?;
    let incidents = Defence::recorded(database, args.before, args.limit)
        .await
        .or_configuration()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&incidents)?);
    } else if incidents.is_empty() {
        println!("there is no incident");
    } else {
        incidents.iter().for_each(|incident| println!("{}", told(incident)));
    }
    Ok(())
}

/// An incident in words.
fn told(incident: &Incident) -> String {
    let (invariant, view) = (&incident.violation.invariant, &incident.view);
    let mut text = format!(
        "incident {}, {:?}, {}: {} (invariant {}: {}) on chain {}, opened {}; {} of {} miners agree, {} asked\n",
        incident.id,
        incident.state,
        incident.severity.label(),
        invariant.name,
        invariant.id,
        invariant.condition,
        incident.violation.chain_id,
        node::clock::date_ms(incident.opened_ms),
        view.agreed,
        view.answered,
        view.asked,
    );
    for suspect in &incident.suspects {
        text += &told_of(suspect);
    }
    let told = u64::try_from(incident.suspects.len()).unwrap_or(u64::MAX);
    if incident.total_suspects > told {
        text += &format!("and {} more transactions\n", incident.total_suspects - told);
    }
    let mut moments = table(&["ms", "what", "by", "detail"]);
    for entry in &incident.timeline {
        let after = entry.at_ms.saturating_sub(incident.violation.seen_ms);
        let action = entry.action.clone().unwrap_or_default();
        moments.add_row([
            after.to_string(),
            entry.moment.label().to_owned(),
            action,
            entry.detail.clone(),
        ]);
    }
    format!("{text}{moments}")
}

/// A transaction, and whose balances it changes by how much.
fn told_of(suspect: &Suspect) -> String {
    let target = suspect
        .target
        .map_or_else(|| "creates a contract".to_owned(), |target| format!("calls {target}"));
    let mut text = format!(
        "transaction {}: {} {target} with {} ETH, value {} to {}\n",
        suspect.tx_hash,
        suspect.sender,
        format_ether(suspect.value),
        suspect.pre,
        suspect.post,
    );
    if suspect.deltas.is_empty() {
        return text + "what it moves is not known\n";
    }
    let mut balances = table(&["whose balance", "change", "of"]);
    for TokenDelta { token, holder, change } in &suspect.deltas {
        let (change, token) = match token {
            Some(token) => (change.to_string(), token.to_string()),
            None => (format_ether(*change), "ETH".to_owned()),
        };
        balances.add_row([holder.to_string(), change, token]);
    }
    text += &format!("{balances}\n");
    if suspect.more_deltas > 0 {
        text += &format!("and {} more balances\n", suspect.more_deltas);
    }
    text
}
