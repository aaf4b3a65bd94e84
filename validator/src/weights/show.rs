//! What `validator weights` prints: why no weights are being sent, and what became of those that were; a table, or JSON.

use std::path::PathBuf;

use chain::reporting::Why;
use comfy_table::Table;
use node::exit::Failure;

use crate::store::{Report, WaitingNote};

/// Flags of `validator weights`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// SQLite file of the validator; it may be running
    #[arg(long, value_name = "FILE", default_value = "validator.db")]
    pub database: PathBuf,
    /// Reports at most, newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Prints the history of weights in a validator's database.
///
/// # Errors
/// Exit code 2 where there is no such database; the database fails.
pub async fn run(args: Args) -> Result<(), Failure> {
    let store = crate::show::open(&args.database).await?;
    let (waiting, reports) = (store.waiting().await?, store.reports(args.limit).await?);
    if args.json {
        let json = serde_json::json!({ "waiting": waiting, "reports": reports });
        println!("{}", serde_json::to_string_pretty(&json)?);
    } else {
        println!("{}", sentence(waiting.as_ref()));
        println!("{}", table(&reports));
    }
    Ok(())
}

fn sentence(waiting: Option<&WaitingNote>) -> String {
    let Some(note) = waiting else {
        return "no block has been looked at yet".to_owned();
    };
    let Some(why) = Why::ALL.into_iter().find(|why| why.name() == note.why) else {
        return format!("nothing stands in the way since block {}", note.since);
    };
    let said = match note.said.as_str() {
        "" => String::new(),
        said => format!(" ({said})"),
    };
    format!(
        "{}: {}{said}; since block {}, again at block {}",
        note.why,
        why.explanation(),
        note.since,
        note.until
    )
}

fn table(reports: &[Report]) -> Table {
    let mut table = crate::show::table(&[
        "id", "epoch", "sent", "form", "stage", "taken", "ended", "round", "weights", "reason",
    ]);
    let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    for report in reports {
        let weights: Vec<String> = report
            .weights
            .iter()
            .map(|weight| format!("{}:{}", weight.uid, weight.value))
            .collect();
        table.add_row([
            report.id.to_string(),
            report.epoch.to_string(),
            report.block.to_string(),
            report.form.name().to_owned(),
            report.stage.name().to_owned(),
            number(report.taken_block),
            number(report.ended_block),
            number(report.reveal_round),
            weights.join(" "),
            report.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_is_in_the_way() {
        assert_eq!(sentence(None), "no block has been looked at yet");
        let note = WaitingNote {
            why: "rate_limit".to_owned(),
            said: "SettingWeightsTooFast: too soon".to_owned(),
            since: 7,
            until: 12,
        };
        assert_eq!(
            sentence(Some(&note)),
            "rate_limit: weights were set less than the rate limit ago (SettingWeightsTooFast: too soon); since block 7, \
             again at block 12"
        );
        let free = WaitingNote {
            since: 9,
            ..WaitingNote::default()
        };
        assert_eq!(sentence(Some(&free)), "nothing stands in the way since block 9");
    }
}
