//! `engine`: what the library does, on the command line. `check` judges one recorded transaction, `backtest` whole recordings.
//!
//! What always holds: standard output carries the answer and nothing else; whatever is wrong is one line on standard error (or
//! the place in the expression, with a caret); the exit code says how it ended (`tool::exit`).

mod tool;

fn main() -> std::process::ExitCode {
    tool::run()
}
