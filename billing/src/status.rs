//! What `billing status` prints.

use alloy::primitives::{Address, U256};
use comfy_table::{Table, presets};
use node::clock::date;
use serde::Serialize;

use crate::reader::Standing;

/// A service, with what follows from its numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The contract.
    pub contract: Address,
    /// What it holds.
    #[serde(flatten)]
    pub standing: Standing,
    /// Base units that the service has cost so far.
    pub owed: U256,
    /// Base units that are missing.
    pub arrears: U256,
    /// The last second at which it is paid.
    pub paid_until: u64,
    /// Seconds until then; negative when it is past.
    pub runway: i64,
}

impl Status {
    /// Works out what follows.
    pub fn new(contract: Address, standing: Standing) -> Self {
        let terms = standing.terms();
        Self {
            contract,
            owed: terms.owed(standing.at),
            arrears: terms.arrears(standing.total_paid, standing.at),
            paid_until: terms.paid_until(standing.total_paid),
            runway: terms.runway(standing.total_paid, standing.at),
            standing,
        }
    }

    /// As a table for people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let span = humantime::format_duration(std::time::Duration::from_secs(self.runway.unsigned_abs()));
        let runway = if self.runway < 0 {
            format!("ended {span} ago")
        } else {
            span.to_string()
        };
        let rows = [
            ("service", self.contract.to_string()),
            (
                "chain",
                format!(
                    "{}, block {} at {}",
                    self.standing.chain_id,
                    self.standing.block,
                    date(self.standing.at)
                ),
            ),
            ("paid", if self.standing.is_paid { "yes" } else { "NO" }.to_owned()),
            ("paid until", date(self.paid_until)),
            ("runway", runway),
            ("arrears", format!("{} base units", self.arrears)),
            ("owed so far", format!("{} base units", self.owed)),
            (
                "paid so far",
                format!("{} base units of {}", self.standing.total_paid, self.standing.token),
            ),
            (
                "rate",
                format!(
                    "{} base units a second since {}",
                    self.standing.rate,
                    date(self.standing.start)
                ),
            ),
            (
                "payees",
                self.standing
                    .payees
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n"),
            ),
        ];
        for (name, value) in rows {
            table.add_row([name, value.as_str()]);
        }
        table.to_string()
    }
}
