//! The command lines of the communities' commands.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use chain::local::params::Tao;
use clap::Args;

/// Which community, and what it lives on.
#[derive(Debug, Clone, Args)]
pub struct HomeArgs {
    /// The community's folder: its database, and its embedded ledger
    #[arg(long, value_name = "FOLDER", default_value = "community", env = "PORTCULLIS_BOTS_STATE")]
    pub state: PathBuf,
    /// Live on this ledger (http://HOST:PORT) instead of an embedded one; its epochs are the ceremonies then
    #[arg(long, value_name = "URL", env = "PORTCULLIS_BOTS_LEDGER")]
    pub ledger: Option<String>,
}

/// What a community is founded from.
#[derive(Debug, Clone, Args)]
pub struct FoundArgs {
    /// What the community is: a TOML file with name, symbol, locations and rules [default: one drawn from the seed]
    #[arg(long, value_name = "FILE")]
    pub community: Option<PathBuf>,
    /// Places of a community that is drawn
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "community", value_parser = clap::value_parser!(u64).range(4..=10_000))]
    pub locations: u64,
    /// Who it is made of: a TOML file with the shares of the roles
    #[arg(long, value_name = "FILE")]
    pub mix: Option<PathBuf>,
}

/// Founds a community: founders, funded by the faucet, in REGISTERING only
#[derive(Debug, Clone, Args)]
pub struct InitOptions {
    /// Where.
    #[command(flatten)]
    pub home: HomeArgs,
    /// What.
    #[command(flatten)]
    pub found: FoundArgs,
    /// Draw everything (keys too: for tests) from this number [default: a secret that is drawn once]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Ask this faucet (http://HOST:PORT/api) instead of the community's own
    #[arg(long, value_name = "URL")]
    pub faucet: Option<String>,
    /// What the community's own faucet begins with
    #[arg(long, value_name = "TAO", default_value = "1000000")]
    pub faucet_budget: Tao,
    /// Wait so long for REGISTERING
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = humantime::parse_duration)]
    pub wait: Duration,
    /// Write the community's file here, to change it and found another
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// Does what the current phase asks of the bots, once; a second time it changes nothing
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// Where.
    #[command(flatten)]
    pub home: HomeArgs,
    /// Ask this faucet (http://HOST:PORT/api) instead of the community's own
    #[arg(long, value_name = "URL")]
    pub faucet: Option<String>,
    /// The name under which the phase driver hears of it
    #[arg(long, value_name = "NAME", default_value = "bots")]
    pub worker: String,
    /// Print what was done as JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs ceremony after ceremony, with what each took; goes on with the community in the folder, or founds one
#[derive(Debug, Clone, Args)]
pub struct BenchmarkOptions {
    /// Where.
    #[command(flatten)]
    pub home: HomeArgs,
    /// What, if one is founded; without --mix miners of all roles.
    #[command(flatten)]
    pub found: FoundArgs,
    /// Miners that are there from the beginning; with 0 the community grows from its ten founders
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "community", value_parser = clap::value_parser!(u64).range(0..=3_900))]
    pub miners: u64,
    /// Draw everything from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// End after so many ceremonies [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub ceremonies: Option<u64>,
    /// Write a report: JSON here, and a page with pictures beside it
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Show in it how fast raids were paused, too: what `bots race --report` wrote
    #[arg(long, value_name = "FILE", requires = "report")]
    pub race: Option<PathBuf>,
    /// Show the community alive on the terminal
    #[arg(long)]
    pub screen: bool,
}

/// Runs so many ceremonies in a folder that is gone afterwards: exact, and the same for the same seed
///
/// Without a file it is the community of the golden growth vector, and every figure must be as there.
#[derive(Debug, Clone, Args)]
pub struct SimulateOptions {
    /// What; without --mix everybody is honest.
    #[command(flatten)]
    pub found: FoundArgs,
    /// Ceremonies
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..))]
    pub ceremonies: u64,
    /// Draw everything from this number
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,
    /// End at the first thing that does not hold
    #[arg(long)]
    pub fail_fast: bool,
    /// Hold any community against the golden growth vector
    #[arg(long)]
    pub golden: bool,
    /// Write a report: JSON here, and a page with pictures beside it
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// Serves a community's faucet over HTTP: POST /api?accounts=SS58&accounts=SS58
#[derive(Debug, Clone, Args)]
pub struct FaucetOptions {
    /// The community's folder
    #[arg(long, value_name = "FOLDER", default_value = "community", env = "PORTCULLIS_BOTS_STATE")]
    pub state: PathBuf,
    /// Address to serve on
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:5000")]
    pub listen: SocketAddr,
    /// What an account gets at a time
    #[arg(long, value_name = "TAO", default_value = "1")]
    pub amount: Tao,
    /// What an account gets in all
    #[arg(long, value_name = "TAO", default_value = "10")]
    pub allowance: Tao,
    /// Write the address that is served on into this file
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Begins the next phase once all bots are done, or once nothing happens any more; on the embedded ledger
#[derive(Debug, Clone, Args)]
pub struct PhaseOptions {
    /// Where.
    #[command(flatten)]
    pub home: HomeArgs,
    /// Print the phase and end
    #[arg(long, conflicts_with_all = ["once", "next"])]
    pub show: bool,
    /// Begin the next phase now, whoever is at work, and end
    #[arg(long, conflicts_with = "once")]
    pub next: bool,
    /// End after one phase
    #[arg(long)]
    pub once: bool,
    /// From one look to the next
    #[arg(long, value_name = "TIME", default_value = "6s", value_parser = humantime::parse_duration)]
    pub block_time: Duration,
    /// Looks without anything new that are still waited for
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub idle_blocks: u32,
    /// Looks after which bots that give no sign of life are taken for dead
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub lease_blocks: u32,
}
