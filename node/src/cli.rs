//! The command line: clap, with an error that is one line.

use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;
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
            exit_with_parent: false,
            log: "info".to_owned(),
            log_json: false,
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Parses the command line; ends the process on `--help`, `--version` (code 0) and on an error (one line, code 2).
pub fn parse<T: Parser>() -> T {
    let matches = T::command().try_get_matches();
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
