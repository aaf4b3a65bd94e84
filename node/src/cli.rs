//! The command line: clap, with an error that is one line.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{FromArgMatches as _, Parser, Subcommand as _};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::exit::Failure;

/// `BINARY run`: what every node that serves takes, with `F` its own flags.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs<F: clap::Args> {
    /// Configuration file (TOML); `PORTCULLIS_<BINARY>_*` variables win over it, and flags over both
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,
    /// The node's own.
    #[command(flatten)]
    pub flags: F,
}

impl<F: clap::Args> RunArgs<F> {
    /// Loads the configuration by `load`; with `--check` says that it is valid, without it starts logs, metrics and the watch for
    /// signals, and runs the node by `body` until they ask for its end.
    ///
    /// # Errors
    /// What `load` and `body` end with.
    pub async fn serve<C, B>(
        &self,
        load: impl FnOnce(Option<&Path>, &F) -> Result<C, Failure>,
        node: impl FnOnce(&C) -> &NodeConfig,
        body: impl FnOnce(C, CancellationToken) -> B,
    ) -> Result<(), Failure>
    where
        B: Future<Output = Result<(), Failure>>,
    {
        let config = load(self.config.as_deref(), &self.flags)?;
        if self.check {
            println!("the configuration is valid");
            return Ok(());
        }
        let node = node(&config);
        crate::telemetry::start(node)?;
        let shutdown = crate::shutdown::on_signals(node.exit_with_parent)?;
        body(config, shutdown).await
    }
}

/// What a command takes that serves nothing but needs the node's configuration, with `F` its own flags.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigArgs<F: clap::Args> {
    /// Configuration file (TOML); `PORTCULLIS_<BINARY>_*` variables win over it, and flags over both
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The node's own.
    #[command(flatten)]
    pub flags: F,
}

impl<F: clap::Args> ConfigArgs<F> {
    /// Loads the configuration by `load`.
    ///
    /// # Errors
    /// What `load` ends with.
    pub fn load<C>(&self, load: impl FnOnce(Option<&Path>, &F) -> Result<C, Failure>) -> Result<C, Failure> {
        load(self.config.as_deref(), &self.flags)
    }
}

/// Prints a command's result: as JSON, or as `text` for people.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn print<T: Serialize>(result: &T, json: bool, text: impl FnOnce(&T) -> String) -> Result<(), Failure> {
    let shown = if json {
        serde_json::to_string_pretty(result)?
    } else {
        text(result)
    };
    println!("{shown}");
    Ok(())
}

/// Flags that every serving binary has.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct NodeArgs {
    /// Address to serve on; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<std::net::SocketAddr>,
    /// Write the address that is served on into this file, once the node is ready
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_file: Option<PathBuf>,
    /// Serve Prometheus metrics on this address
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<std::net::SocketAddr>,
    /// Send each transaction's way to the OpenTelemetry collector there (OTLP over gRPC), as in http://127.0.0.1:4317
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
    /// Of so many transactions one is traced, the same one by every node (default 1: all)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_one_in: Option<NonZeroU64>,
    /// End when standard input is closed, as it is when the parent process ends
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    pub exit_with_parent: bool,
    /// Log filter, as in `info,validator=debug`
    #[arg(long, value_name = "FILTER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Log as JSON, one object a line
    #[arg(long)]
    #[serde(skip_serializing_if = "is_false")]
    pub log_json: bool,
}

/// What [`NodeArgs`], the environment and the `[node]` table of the file come to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// Address to serve on.
    pub listen: std::net::SocketAddr,
    /// Where to write the address that is served on.
    pub ready_file: Option<PathBuf>,
    /// Address of the Prometheus endpoint.
    pub metrics: Option<std::net::SocketAddr>,
    /// URL of the OpenTelemetry collector.
    pub otlp: Option<String>,
    /// Of how many transactions one is traced.
    pub otlp_one_in: NonZeroU64,
    /// End when standard input is closed.
    pub exit_with_parent: bool,
    /// Log filter.
    pub log: String,
    /// Log as JSON.
    pub log_json: bool,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            ready_file: None,
            metrics: None,
            otlp: None,
            otlp_one_in: NonZeroU64::MIN,
            exit_with_parent: false,
            log: "info".to_owned(),
            log_json: false,
        }
    }
}

/// Of a binary that is told everything by flags.
impl From<&NodeArgs> for NodeConfig {
    fn from(args: &NodeArgs) -> Self {
        let NodeConfig {
            listen,
            log,
            otlp_one_in,
            ..
        } = Self::default();
        Self {
            listen: args.listen.unwrap_or(listen),
            ready_file: args.ready_file.clone(),
            metrics: args.metrics,
            otlp: args.otlp.clone(),
            otlp_one_in: args.otlp_one_in.unwrap_or(otlp_one_in),
            exit_with_parent: args.exit_with_parent,
            log: args.log.clone().unwrap_or(log),
            log_json: args.log_json,
        }
    }
}

/// For `skip_serializing_if`: a switch that was not given leaves the configuration as it is.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
#[must_use]
pub fn is_false(value: &bool) -> bool {
    !value
}

// No doc comment: it would be the first line of every binary's `--help`.
// `completions SHELL`, which every binary has.
#[derive(Debug, clap::Subcommand)]
enum Shared {
    /// Print what makes a shell complete this command, as in `source <(BINARY completions bash)`
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line; ends the process on `--help`, `--version`, `completions` (code 0) and on an error (one line, code 2).
pub fn parse<T: Parser>() -> T {
    let mut command = Shared::augment_subcommands(T::command());
    let matches = command.clone().try_get_matches();
    if let Ok(Shared::Completions { shell }) = matches.as_ref().map_err(|_| ()).and_then(shared) {
        let name = command.get_name().to_owned();
        clap_complete::generate(shell, &mut command, name, &mut std::io::stdout());
        std::process::exit(0)
    }
    match matches.and_then(|matches| T::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp
                    | ErrorKind::DisplayVersion
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            ) =>
        {
            error.exit()
        }
        Err(error) => {
            eprintln!("error: {}", usage_line(&error, T::command().get_name()));
            std::process::exit(super::exit::Code::Configuration as i32)
        }
    }
}

fn shared(matches: &clap::ArgMatches) -> Result<Shared, ()> {
    Shared::from_arg_matches(matches).map_err(|_not_shared| ())
}

/// What is wrong with the command line, and the tip if there is one, in one line.
fn usage_line(error: &clap::Error, binary: &str) -> String {
    let text = error.to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    format!("{} (see `{binary} --help`)", said.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Args {
        #[arg(long)]
        pace: Option<u32>,
    }

    #[test]
    fn an_unknown_flag_is_one_line_that_names_it() {
        let error = Args::try_parse_from(["x", "--speed", "3"]).unwrap_err();
        let line = usage_line(&error, "x");
        assert!(
            line.contains("'--speed'") && line.ends_with("(see `x --help`)"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn a_bad_value_is_one_line_that_names_it() {
        let error = Args::try_parse_from(["x", "--pace", "fast"]).unwrap_err();
        let line = usage_line(&error, "x");
        assert!(line.contains("'fast'") && line.contains("--pace"), "{line}");
    }
}
