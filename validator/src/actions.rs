//! `validator actions`: which actions are configured, and whether one works.

use std::path::{Path, PathBuf};

use defence::clock::Clock;
use defence::config::{ActionConfig, Kind, Way};
use defence::{PauseError, PauseOutcome, PauseProgress, PauseRequest, Pauser, trial};
use engine::Address;
use futures::FutureExt;
use futures::future::BoxFuture;
use node::exit::{Code, Failure};
use sender::Lane;

use crate::config::{Config, Flags};
use crate::defend::{load_keys, open_simulator};
use crate::pause::rehearse;
use crate::pause::simulator::Simulator;

/// `validator actions`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ActionsCommand {
    /// Show what is done about an incident: one line for each action
    List(ListArgs),
    /// Send one alert marked as a test, at once; of a pause do everything but sending it
    ///
    /// Exit code: 0 when the other side took it, 1 when not, 2 when the configuration is wrong, 3 when a node does not answer. A
    /// validator that runs is not disturbed.
    Test(TestArgs),
}

/// Where the configuration is.
#[derive(Debug, Clone, clap::Args)]
pub struct ListArgs {
    /// Configuration file (TOML), as `validator run` takes it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What is tested.
#[derive(Debug, Clone, clap::Args)]
pub struct TestArgs {
    /// The action's id
    pub id: String,
    /// Configuration file (TOML), as `validator run` takes it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Of a pause that calls the invariant's contract: the contract to try it on
    #[arg(long, value_name = "ADDRESS")]
    pub contract: Option<Address>,
}

impl ActionsCommand {
    /// Does it, and prints what came of it.
    ///
    /// # Errors
    /// See [`ActionsCommand::Test`].
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List(args) => {
                let lines = trial::list(&load(args.config.as_deref())?.0);
                if lines.is_empty() {
                    println!("no action is configured");
                }
                lines.iter().for_each(|line| println!("{line}"));
                Ok(())
            }
            Self::Test(args) => test(&args).await,
        }
    }
}

fn load(file: Option<&Path>) -> Result<(defence::config::Config, Config), Failure> {
    let config = Config::load(file, &Flags::default())?;
    let none = || Failure::configuration(eyre::eyre!("configuration: there is no table [defence]"));
    let defence = config.defence.clone().ok_or_else(none)?;
    Ok((defence, config))
}

async fn test(args: &TestArgs) -> Result<(), Failure> {
    let (mut defence, config) = load(args.config.as_deref())?;
    let mut action = defence.actions.iter_mut().find(|action| action.id == args.id);
    if let Some(ActionConfig {
        kind: Kind::PauseAgent {
            way: Way::Call { contract, .. },
        },
        ..
    }) = action.as_deref_mut()
    {
        *contract = args.contract.or(*contract);
        if contract.is_none() {
            return Err(Failure::configuration(eyre::eyre!(
                "action `{}` pauses whichever contract an invariant watches: name one by --contract ADDRESS",
                args.id
            )));
        }
    }
    let rehearser = match action.is_some_and(|action| action.kind.is_pause()) {
        true => Some(Rehearser::open(&config).await?),
        false => None,
    };
    let pauser = rehearser.as_ref().map(|rehearser| rehearser as &dyn Pauser);
    match trial::fire(&defence, &args.id, pauser, &Clock::system()).await {
        Ok(said) => {
            println!("{}: {said}", args.id);
            Ok(())
        }
        Err(error @ (trial::TestError::NoAction { .. } | trial::TestError::Channel(_))) => {
            Err(Failure::configuration(error))
        }
        Err(error) => Err(Failure::new(Code::Negative, error)),
    }
}

/// A pauser that only rehearses: it opens no journal, so that a validator that runs keeps it for itself.
struct Rehearser {
    simulator: Simulator,
    limit: std::time::Duration,
}

impl Rehearser {
    async fn open(config: &Config) -> Result<Self, Failure> {
        let sender = config.sender_config()?;
        let name = sender.lanes.of(Lane::Pause).key;
        let account = load_keys(sender).await?.address(&name).ok_or_else(|| {
            Failure::configuration(eyre::eyre!(
                "sender.lanes.pause: there is no key `{name}`; add sender.keys.{name}"
            ))
        })?;
        Ok(Self {
            simulator: open_simulator(config, account, sender.chain_id).await?,
            limit: config.pause.simulation,
        })
    }
}

impl Pauser for Rehearser {
    fn pause(&self, _: PauseRequest, _: PauseProgress) -> BoxFuture<'_, Result<PauseOutcome, PauseError>> {
        let reason = "this process only rehearses".to_owned();
        async move { Err(PauseError { reason }) }.boxed()
    }

    fn rehearse(&self, request: PauseRequest) -> BoxFuture<'_, Result<String, PauseError>> {
        async move { rehearse(&self.simulator, &request, self.limit).await }.boxed()
    }
}
