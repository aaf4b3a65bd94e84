//! The binary `platform`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = node::cli::parse::<platform::cli::Cli>();
    node::exit::run(cli.execute())
}
