//! The command line of `bots localnet`.

use std::path::PathBuf;
use std::time::Duration;

use super::chaos::Kill;
use super::live::LivePlan;
use super::plan::Shape;
use super::recording::Source;
use super::services::Extra;

/// Pace of the built-in scenario, so that it can be watched.
const SCENARIO_PACE: &str = "60/s";
/// Pace of other data.
const DATA_PACE: &str = "max";

/// Runs a whole network on this machine, replays recorded transactions through it, and reports
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Recorded cases (evm-case/1): a file or a folder of .json or .ndjson, also .gz and .zst [default: the built-in scenario]
    #[arg(long, value_name = "PATH")]
    pub feed: Option<PathBuf>,
    /// Invariants (a JSON list in the wire form) [default: the scenario's, or the cases' own with those of well-known contracts]
    #[arg(long, value_name = "FILE")]
    pub invariants: Option<PathBuf>,
    /// How fast transactions come: realtime, max or N/s [default: 60/s for the scenario, max for other data]
    #[arg(long, value_name = "PACE")]
    pub pace: Option<String>,
    /// Follow a living chain instead: anvil is started, the scenario's contracts deployed on it, and traffic with the attack in it sent
    #[arg(long, conflicts_with_all = ["feed", "pace"])]
    pub live: bool,
    /// The anvil to start [default: that of `make tools`, else the one in PATH]
    #[arg(long, value_name = "PATH", env = "ANVIL", requires = "live")]
    pub anvil: Option<PathBuf>,
    /// Start none: a development node that runs (anvil, on chain 31337, mining by itself)
    #[arg(long, value_name = "URL", requires = "live", conflicts_with = "anvil")]
    pub node: Option<String>,
    /// From block to block of the living chain; of a node that runs, its own
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = block_time)]
    pub block_time: Duration,
    /// Transactions of a block of the living chain, about
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(4..=1000))]
    pub per_block: u16,
    /// Blocks of traffic on the living chain before the attack; four more follow it
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(3..=10_000))]
    pub attack_after: u16,
    /// What the living chain goes without
    #[arg(long, value_name = "LIST", value_enum, value_delimiter = ',', requires = "live")]
    pub without: Vec<Extra>,
    /// Keepers on the living chain
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub keepers: u16,
    /// Auditors on the living chain: the platform's, the validators', the keepers', the miners', as far as there are so many
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=25))]
    pub auditors: u16,
    /// Open the platform's web page in the browser
    #[arg(long)]
    pub open: bool,
    /// Who is in the network
    #[command(flatten)]
    pub shape: Shape,
    /// Kill one of this kind with SIGKILL in mid-run, and start it again
    #[arg(long, value_name = "KIND")]
    pub kill: Option<Kill>,
    /// Strike somebody this often, in a way that the seed decides: killed with SIGKILL and started again, or frozen with SIGSTOP
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "kill")]
    pub chaos: Option<Duration>,
    /// How long --chaos freezes whom it freezes
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "5s")]
    pub freeze: Duration,
    /// Write the report as JSON into this file, and as a page with pictures beside it (docs/report.md describes both)
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Give up after this time; the report says how far it came
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Epochs of the ledger to wait for after the last transaction, so that weights and incentives are there
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub settle_epochs: u64,
    /// Keep the folder with all logs and databases, and print where it is
    #[arg(long)]
    pub keep: bool,
    /// The folder of the network's binaries [default: where `bots` is]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
}

/// A block time that a node can keep.
fn block_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_millis(200)..=Duration::from_secs(60);
    if bounds.contains(&time) {
        Ok(time)
    } else {
        Err("take a time from 200ms to 1m".to_owned())
    }
}

impl Options {
    /// Where the cases come from.
    pub fn source(&self) -> Source {
        self.feed.clone().map_or(Source::Scenario, Source::Path)
    }

    /// How fast transactions come.
    pub fn pace(&self) -> String {
        if self.live {
            return format!("a block each {}", humantime::format_duration(self.block_time));
        }
        let usual = if self.feed.is_some() { DATA_PACE } else { SCENARIO_PACE };
        self.pace.as_deref().unwrap_or(usual).to_owned()
    }

    /// Whether a part is there: a recording has none of them.
    pub fn has(&self, extra: Extra) -> bool {
        self.live && !self.without.contains(&extra)
    }

    /// The living chain that is asked for.
    pub(crate) fn live_plan(&self) -> LivePlan {
        LivePlan {
            block_time: self.block_time,
            per_block: self.per_block.into(),
            attack_after: self.attack_after.into(),
            seed: self.shape.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::localnet::plan::tests::USUAL;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(args: &[&str]) -> Options {
        Cli::try_parse_from(std::iter::once("x").chain(args.iter().copied()))
            .unwrap()
            .options
    }

    #[test]
    fn nothing_said_is_the_scenario_on_three_validators_and_ten_miners() {
        let usual = options(&[]);
        assert_eq!((usual.source(), usual.pace().as_str()), (Source::Scenario, "60/s"));
        assert_eq!(usual.shape, USUAL);
        assert_eq!((usual.timeout, usual.settle_epochs), (Duration::from_secs(1800), 3));
    }

    #[test]
    fn a_living_chain_has_all_parts_but_those_that_it_goes_without_and_a_recording_none() {
        let all = [Extra::Keepers, Extra::Audit, Extra::Billing];
        let there = |args: &[&str]| all.map(|extra| options(args).has(extra));
        assert_eq!(there(&["--live"]), [true; 3]);
        assert_eq!(there(&["--live", "--without", "audit,keepers"]), [false, false, true]);
        assert_eq!(there(&[]), [false; 3]);
        assert!(Cli::try_parse_from(["x", "--without", "audit"]).is_err());
    }

    #[test]
    fn a_living_chain_has_a_block_time_instead_of_a_pace() {
        let live = options(&["--live", "--block-time", "500ms", "--attack-after", "3"]);
        assert_eq!(live.pace(), "a block each 500ms");
        let plan = LivePlan {
            block_time: Duration::from_millis(500),
            per_block: 20,
            attack_after: 3,
            seed: 7,
        };
        assert_eq!(live.live_plan(), plan);
        let refused = |args: &[&str]| Cli::try_parse_from(std::iter::once("x").chain(args.iter().copied())).is_err();
        assert!(refused(&["--live", "--pace", "max"]) && refused(&["--node", "http://x"]));
        assert!(refused(&["--live", "--block-time", "1ms"]) && refused(&["--live", "--attack-after", "2"]));
    }

    #[test]
    fn other_data_comes_as_fast_as_it_can_unless_a_pace_is_given() {
        assert_eq!(options(&["--feed", "x"]).pace(), "max");
        assert_eq!(options(&["--feed", "x", "--pace", "realtime"]).pace(), "realtime");
    }
}
