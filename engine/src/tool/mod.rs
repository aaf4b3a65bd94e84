//! The binary's parts: the command line, the sets it reads, and its two commands.

mod backtest;
mod check;
mod cli;
mod evidence;
mod exit;
mod invariants;
mod observe;
mod text;

use std::process::ExitCode;

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let ended = match cli::parse() {
        Ok(cli::Command::Check(args)) => check::run(&args),
        Ok(cli::Command::Backtest(args)) => backtest::run(&args),
        Err(failure) => Err(failure),
    };
    exit::code(ended)
}
