//! The `keeper` binary.

use std::path::PathBuf;
use std::process::ExitCode;

use alloy::primitives::Address;
use clap::Parser;
use keeper::admin::Admin;
use keeper::cli::{Amount, Common, RunFlags, load};
use keeper::config::{Config, Role};
use keeper::status::Status;
use keeper::{keystore, run, status};
use node::cli::{RunArgs, print};
use node::config::Secret;
use node::exit::{Failure, OrConfiguration as _};
use sender::client;
use sender::keys::DEFAULT;

/// Executes the jobs of an Agent contract: staked, paid for it, and slashed when it does not
#[derive(Debug, Parser)]
#[command(name = "keeper", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run: follow all jobs, execute what is due, slash who is late
    Run(Box<RunArgs<RunFlags>>),
    /// Register a keeper with its first stake, and activate it
    Register {
        #[command(flatten)]
        common: Common,
        /// The account that executes (default: that of [worker])
        #[arg(long, value_name = "ADDRESS")]
        worker: Option<Address>,
        /// Stake, in whole tokens
        #[arg(long, value_name = "AMOUNT")]
        stake: Amount,
        /// Do not activate it
        #[arg(long)]
        inactive: bool,
    },
    /// Add to the stake
    Stake {
        #[command(flatten)]
        common: Common,
        /// In whole tokens, or `all`
        amount: Amount,
    },
    /// Join the active set: ask for it, or complete it when its time has come (exit code 1 before)
    Activate {
        #[command(flatten)]
        common: Common,
    },
    /// Leave the active set; `keeper run` hands over the jobs
    Disable {
        #[command(flatten)]
        common: Common,
    },
    /// Begin to withdraw stake, or take what was withdrawn
    Redeem {
        #[command(flatten)]
        common: Common,
        /// In whole tokens, or `all`
        #[arg(required_unless_present = "finish", conflicts_with = "finish")]
        amount: Option<Amount>,
        /// Take what was withdrawn earlier (exit code 1 while its time has not come)
        #[arg(long)]
        finish: bool,
        /// To whom (default: the admin)
        #[arg(long, value_name = "ADDRESS", requires = "finish")]
        to: Option<Address>,
    },
    /// Take what was earned
    Withdraw {
        #[command(flatten)]
        common: Common,
        /// In ether, or `all`
        #[arg(default_value = "all")]
        amount: Amount,
        /// To whom (default: the sender)
        #[arg(long, value_name = "ADDRESS")]
        to: Option<Address>,
        /// Sign as the worker instead of as the admin
        #[arg(long)]
        as_worker: bool,
    },
    /// All jobs
    Jobs {
        #[command(flatten)]
        common: Common,
        /// Only those assigned to --keeper
        #[arg(long)]
        mine: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Keepers, their stakes and what they earned
    Status {
        #[command(flatten)]
        common: Common,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Make an encrypted key file, and print its address
    Key {
        /// The new file
        file: PathBuf,
        /// Its password: `env:NAME` or `file:PATH`
        #[arg(long, value_name = "SECRET", default_value = "env:KEEPER_PASSWORD", hide_env_values = true)]
        password: String,
        /// Not a new key but this one: `env:NAME` or `file:PATH`
        #[arg(long, value_name = "SECRET")]
        import: Option<String>,
    },
}

fn main() -> ExitCode {
    let Cli { command } = node::cli::parse();
    // Whoever was first may have chosen a provider of cryptography already.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    node::exit::run(dispatch(command))
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => args.serve(load, |config: &Config| &config.node, run::run).await,
        Command::Register {
            common,
            worker,
            stake,
            inactive,
        } => {
            let config = common.load(load)?;
            let worker = match worker {
                Some(worker) => worker,
                None => address(&config, Role::Worker).await?,
            };
            let admin = Admin::open(config, Role::Admin).await?;
            let done = admin.register(worker, &stake, !inactive).await;
            finish(admin, done).await
        }
        Command::Stake { common, amount } => {
            let admin = Admin::open(common.load(load)?, Role::Admin).await?;
            let done = admin.stake(&amount).await;
            finish(admin, done).await
        }
        Command::Activate { common } => {
            let admin = Admin::open(common.load(load)?, Role::Admin).await?;
            let done = admin.activate().await;
            finish(admin, done).await
        }
        Command::Disable { common } => {
            let admin = Admin::open(common.load(load)?, Role::Admin).await?;
            let done = admin.disable().await;
            finish(admin, done).await
        }
        Command::Redeem { common, amount, to, .. } => {
            let admin = Admin::open(common.load(load)?, Role::Admin).await?;
            let done = match &amount {
                Some(amount) => admin.redeem(amount).await,
                None => admin.finish_redeem(to).await,
            };
            finish(admin, done).await
        }
        Command::Withdraw {
            common,
            amount,
            to,
            as_worker,
        } => {
            let role = if as_worker { Role::Worker } else { Role::Admin };
            let admin = Admin::open(common.load(load)?, role).await?;
            let done = admin.withdraw(&amount, to).await;
            finish(admin, done).await
        }
        Command::Jobs { common, mine, json } => {
            let jobs = status::jobs(&common.load(load)?, mine).await?;
            print(&jobs, json, |jobs| status::table(jobs))
        }
        Command::Status { common, json } => {
            let status = Status::read(&common.load(load)?).await?;
            print(&status, json, Status::table)
        }
        Command::Key { file, password, import } => {
            let made = tokio::task::spawn_blocking(move || {
                keystore::create(&file, &Secret::from(password), import.map(Secret::from).as_ref())
            });
            println!("{}", made.await?.or_configuration()?);
            Ok(())
        }
    }
}

/// The account of a role.
async fn address(config: &Config, role: Role) -> Result<Address, Failure> {
    let settings = config.clone();
    let keys = client::read_keys(move || settings.keys(role)).await?;
    Ok(keys.address(DEFAULT).unwrap_or_default())
}

/// Ends the sender whatever the command came to.
async fn finish(admin: Admin, done: Result<(), Failure>) -> Result<(), Failure> {
    let closed = admin.close().await;
    done.and(closed)
}
