//! Flags, their environment variables (those of the keyper payer's monitor work as they are), and what they come to.

use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::Address;
use eyre::eyre;
use node::exit::Failure;
use url::Url;

use crate::monitor::{Monitor, command::Command, rule::Policy};
use crate::reader::Source;

/// How the chain is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct RpcArgs {
    /// JSON-RPC endpoints, in the order in which they are asked; more than one are separated by commas
    #[arg(long, env = "RPC_URL", value_name = "URL", hide_env_values = true)]
    pub rpc: Option<String>,
    /// How long an endpoint may take
    #[arg(long, env = "RPC_TIMEOUT", value_name = "DURATION", default_value = "10s")]
    pub rpc_timeout: humantime::Duration,
}

/// Where the service is.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub rpc: RpcArgs,
    /// The service's contract
    #[arg(long, env = "CONTRACT_ADDRESS", value_name = "ADDRESS")]
    pub contract: Option<String>,
    /// A head that is older says nothing
    #[arg(long, env = "MAX_HEAD_AGE", value_name = "DURATION", default_value = "5min")]
    pub max_head_age: humantime::Duration,
}

/// `billing monitor`.
#[derive(Debug, Clone, clap::Args)]
pub struct MonitorArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub source: SourceArgs,
    /// Run by the system's shell when the payment has ended, once
    #[arg(long, env = "UNPAID_COMMAND", value_name = "LINE")]
    pub unpaid_command: Option<String>,
    /// Run by the system's shell when it is there again, once
    #[arg(long, env = "PAID_COMMAND", value_name = "LINE")]
    pub paid_command: Option<String>,
    /// How long a command may take before it is killed
    #[arg(long, env = "COMMAND_TIMEOUT", value_name = "DURATION", default_value = "30s")]
    pub command_timeout: humantime::Duration,
    /// How long the service goes on after the end of the payment
    #[arg(long, env = "GRACE", value_name = "DURATION", default_value = "0s")]
    pub grace: humantime::Duration,
    /// Warn when the payment lasts for less
    #[arg(long, env = "WARN_RUNWAY", value_name = "DURATION", default_value = "1day")]
    pub warn_runway: humantime::Duration,
    /// Where the last conclusion is remembered (default: a file for this contract in the user's state folder)
    #[arg(long, env = "MONITOR_MEMORY", value_name = "FILE")]
    pub memory: Option<PathBuf>,
    /// Go on as a service
    #[arg(long)]
    pub watch: bool,
    /// With --watch: time between two checks
    #[arg(long, env = "CHECK_EVERY", value_name = "DURATION", default_value = "10s")]
    pub every: humantime::Duration,
    /// With --watch: serve `GET /health` and so on (--listen), metrics and logs
    #[command(flatten)]
    pub node: node::cli::NodeArgs,
}

impl RpcArgs {
    /// The endpoints, at least one.
    pub(crate) fn endpoints(&self) -> Result<Vec<Url>, Failure> {
        let given = self.rpc.as_deref().filter(|text| !text.trim().is_empty());
        let given = given.ok_or_else(|| Failure::configuration(eyre!("RPC_URL (--rpc) should be set")))?;
        let parse = |text: &str| {
            let text = text.trim();
            // The URL itself may hold a key: it is not repeated.
            let url = Url::parse(text).map_err(|error| Failure::configuration(eyre!("RPC_URL (--rpc): {error}")))?;
            match url.scheme() {
                "http" | "https" => Ok(url),
                other => Err(Failure::configuration(eyre!(
                    "RPC_URL (--rpc): http or https is wanted, not {other}"
                ))),
            }
        };
        given.split(',').map(parse).collect()
    }
}

impl SourceArgs {
    /// Checks them, the contract first.
    ///
    /// # Errors
    ///
    /// Exit code 2, naming the variable.
    pub fn source(&self) -> Result<Source, Failure> {
        Ok(Source {
            contract: self.contract()?,
            endpoints: self.rpc.endpoints()?,
            timeout: self.rpc.rpc_timeout.into(),
            max_head_age: self.max_head_age.into(),
        })
    }

    /// The service's contract.
    ///
    /// # Errors
    ///
    /// Exit code 2, naming the variable.
    pub fn contract(&self) -> Result<Address, Failure> {
        let contract = self.contract.as_deref().map(str::trim).filter(|text| !text.is_empty());
        let contract =
            contract.ok_or_else(|| Failure::configuration(eyre!("CONTRACT_ADDRESS (--contract) should be set")))?;
        contract.parse().map_err(|error| {
            Failure::configuration(eyre!(
                "CONTRACT_ADDRESS (--contract): `{contract}` is not an address: {error}"
            ))
        })
    }
}

impl MonitorArgs {
    /// Checks them.
    ///
    /// # Errors
    ///
    /// Exit code 2, naming the variable.
    pub fn monitor(&self) -> Result<Monitor, Failure> {
        let source = self.source.source()?;
        let command = |line: &Option<String>| {
            let line = line.clone().filter(|line| !line.trim().is_empty())?;
            Some(Command {
                line,
                timeout: self.command_timeout.into(),
            })
        };
        let memory = match &self.memory {
            Some(path) => path.clone(),
            None => {
                let file = format!("billing-{:#x}.json", source.contract);
                state_folder("MONITOR_MEMORY (--memory)")?.join(file)
            }
        };
        let seconds = |duration: humantime::Duration| Duration::from(duration).as_secs();
        Ok(Monitor {
            policy: Policy {
                grace: seconds(self.grace),
                warn_runway: seconds(self.warn_runway),
                ..Policy::default()
            },
            unpaid: command(&self.unpaid_command),
            paid: command(&self.paid_command),
            memory,
            source,
        })
    }
}

/// `$XDG_STATE_HOME/portcullis`, or the same below `~/.local/state`; `flag` is what to set where there is neither.
pub(crate) fn state_folder(flag: &str) -> Result<PathBuf, Failure> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let folder = state.or_else(home);
    let folder = folder.ok_or_else(|| Failure::configuration(eyre!("{flag} should be set: there is no HOME")))?;
    Ok(folder.join("portcullis"))
}
