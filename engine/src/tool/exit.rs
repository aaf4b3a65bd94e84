//! How the process ends: 0 all hold, 1 something is violated, 2 bad input, 3 nothing is violated but something is undecided, 4
//! the machine failed.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use engine::{EngineError, case::CaseError};

/// The answer, in the order of what outweighs what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// Every invariant holds.
    Holds = 0,
    /// None is violated, but not all could be decided.
    Undecided = 3,
    /// One at least is violated.
    Violated = 1,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something that the user gave is wrong.
    Input(String),
    /// The same, told in several lines with the place in the text.
    Placed(String),
    /// The machine failed: started again, it may well work.
    Machine(String),
}

impl Failure {
    pub(crate) fn input(what: impl fmt::Display) -> Self {
        Self::Input(what.to_string())
    }
}

impl From<CaseError> for Failure {
    fn from(error: CaseError) -> Self {
        Self::input(error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Machine(error.to_string())
    }
}

/// Prints what went wrong, if anything did, and gives the exit code.
pub(crate) fn code(ended: Result<Answer, Failure>) -> ExitCode {
    let (text, code) = match ended {
        Ok(answer) => return ExitCode::from(answer as u8),
        Err(Failure::Input(text)) => (format!("error: {}", one_line(&text)), 2),
        Err(Failure::Placed(text)) => (text, 2),
        Err(Failure::Machine(text)) => (format!("error: {}", one_line(&text)), 4),
    };
    // With standard error closed there is nobody to tell.
    let _told = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}

/// Writes an answer to standard output. A reader that has gone away (`| head`) is no failure.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match said {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Machine(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
