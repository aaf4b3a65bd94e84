//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use super::exit::Failure;

const EXIT_CODES: &str = "Exit codes: 0 all hold, 1 something is violated, 2 bad input, 3 nothing is violated but something is \
                          undecided, 4 the machine failed";

/// Judges recorded Ethereum transactions: what would they do to what must always hold?
#[derive(Debug, Parser)]
#[command(name = "engine", version = engine::ENGINE_VERSION, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Judge one recorded transaction
    #[command(after_help = EXIT_CODES)]
    Check(CheckArgs),
    /// Judge every transaction of a recording, in order, and report
    #[command(after_help = EXIT_CODES)]
    Backtest(BacktestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The recording: a file of schema evm-case/1 (.json or .ndjson, also .gz or .zst)
    #[arg(long, value_name = "FILE")]
    pub(crate) case: PathBuf,
    /// Which case, where the file holds several
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Which transaction of the case, from 0; those before it are executed first
    #[arg(long, value_name = "N")]
    pub(crate) tx: Option<usize>,
    /// The invariants: a set in TOML or JSON, or `case` for those that the case itself carries
    #[arg(long, value_name = "FILE")]
    pub(crate) invariants: PathBuf,
    /// Answer as JSON: a list with one object for each invariant
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BacktestArgs {
    /// The recording: a file or a folder of files of schema evm-case/1 (.json or .ndjson, also .gz or .zst)
    #[arg(long, value_name = "FILE_OR_FOLDER")]
    pub(crate) blocks: PathBuf,
    /// The invariants: a set in TOML or JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) invariants: PathBuf,
    /// Write the report as JSON into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as one page that needs no network into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// How many threads judge [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// Parses the command line; ends the process on `--help` and `--version`.
pub(crate) fn parse() -> Result<Command, Failure> {
    match Cli::try_parse() {
        Ok(cli) => Ok(cli.command),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Err(Failure::Input(usage_line(&error))),
        },
    }
}

/// What is wrong with the command line, and the tip if there is one, in one line.
fn usage_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty());
    let said = said.collect::<Vec<_>>().join(" ");
    format!("{} (see `engine --help`)", said.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_flag_is_one_line_that_names_it() {
        let error = Cli::try_parse_from(["engine", "check", "--speed"]).unwrap_err();
        let line = usage_line(&error);
        assert!(
            line.contains("'--speed'") && line.ends_with("(see `engine --help`)"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1);
    }
}
