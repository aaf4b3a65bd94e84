//! Flags, and what they come to.

use std::path::Path;

use alloy::primitives::Address;
use node::cli::{ConfigArgs, NodeArgs, is_false};
use node::exit::{Failure, OrConfiguration as _};
use sender::client::ClientArgs;

use crate::config::Config;

/// Where the AuditManager is and who this node is; the same for every command.
#[derive(Debug, Clone, Default, clap::Args, serde::Serialize)]
pub struct PlaceArgs {
    /// The AuditManager contract
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<Address>,
    #[command(flatten)]
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub client: ClientArgs,
    /// Where the samples are: a file, or `env:NAME` of a PostgreSQL address (default: audit.db in the data folder)
    #[arg(long, value_name = "PLACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The node's id (default: the one whose operator this is)
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
}

/// `audit run`'s flags.
#[derive(Debug, Clone, Default, clap::Args, serde::Serialize)]
pub struct RunFlags {
    #[command(flatten)]
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub duties: DutyArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub node: NodeArgs,
}

/// Which duties are left out.
#[derive(Debug, Clone, Default, clap::Args, serde::Serialize)]
pub struct DutyArgs {
    /// Measure nobody
    #[arg(long = "no-measure")]
    #[serde(rename = "measure", serialize_with = "off", skip_serializing_if = "is_false")]
    pub no_measure: bool,
    /// Report nothing
    #[arg(long = "no-report")]
    #[serde(rename = "report", serialize_with = "off", skip_serializing_if = "is_false")]
    pub no_report: bool,
    /// Claim nothing
    #[arg(long = "no-claim")]
    #[serde(rename = "claim", serialize_with = "off", skip_serializing_if = "is_false")]
    pub no_claim: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn off<S: serde::Serializer>(_: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap as _;
    let mut table = serializer.serialize_map(Some(1))?;
    table.serialize_entry("enabled", &false)?;
    table.end()
}

/// What every other command takes.
pub type Common = ConfigArgs<PlaceArgs>;

/// Loads a configuration: file, environment, flags.
///
/// # Errors
/// Exit code 2, naming the value.
pub fn load(file: Option<&Path>, flags: &impl serde::Serialize) -> Result<Config, Failure> {
    Config::load(file, flags).or_configuration()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_that_is_left_out_keeps_its_other_settings() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "contract = \"{}\"\nendpoints = [\"http://127.0.0.1:1\"]\n[measure]\nevery = \"7s\"\n",
            Address::repeat_byte(1)
        );
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let flags = RunFlags {
            duties: DutyArgs {
                no_measure: true,
                no_claim: true,
                ..DutyArgs::default()
            },
            ..RunFlags::default()
        };
        let config = load(Some(file.path()), &flags).unwrap();
        assert!(!config.measure.enabled && config.report.enabled && !config.claim.enabled);
        assert_eq!(config.measure.every.as_secs(), 7);
    }
}
