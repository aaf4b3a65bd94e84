//! How a process ends: one line on standard error, and an exit code that a script can act on.

use std::process::ExitCode;

/// Why a process ends unsuccessfully.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The question was answered, and the answer is no (unpaid, broken invariant).
    Negative = 1,
    /// The configuration, the command line or an input file is wrong: changing it is what helps.
    Configuration = 2,
    /// No answer: something that was asked could not be reached.
    Indeterminate = 3,
    /// Started again, it may well work.
    Restart = 4,
}

/// An unsuccessful end: what is printed, and the exit code.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    report: eyre::Report,
}

impl Failure {
    /// Ends with `code`, printing `error` and its causes in one line.
    pub fn new(code: Code, error: impl Into<eyre::Report>) -> Self {
        Self {
            code,
            report: error.into(),
        }
    }

    /// Something that the user gave is wrong.
    pub fn configuration(error: impl Into<eyre::Report>) -> Self {
        Self::new(Code::Configuration, error)
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        self.code
    }
}

impl<E: Into<eyre::Report>> From<E> for Failure {
    /// An error that nobody classified: a restart may help.
    fn from(error: E) -> Self {
        Self::new(Code::Restart, error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", one_line(&self.report))
    }
}

/// An error with its causes, in one line; a cause that its parent already quotes is not said twice.
fn one_line(report: &eyre::Report) -> String {
    joined(report.chain())
}

/// An error of a library with its causes, in one line.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    joined(std::iter::successors(Some(error), |error| error.source()))
}

fn joined<'a>(chain: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>) -> String {
    let mut line = String::new();
    for cause in chain {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            line = text;
        } else if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

/// For `?` on errors that are the user's to mend.
pub trait OrConfiguration<T> {
    /// Turns an error into an end with exit code 2.
    ///
    /// # Errors
    /// The error, classified.
    fn or_configuration(self) -> Result<T, Failure>;
}

impl<T, E: Into<eyre::Report>> OrConfiguration<T> for Result<T, E> {
    fn or_configuration(self) -> Result<T, Failure> {
        self.map_err(Failure::configuration)
    }
}

/// Runs a binary's body on a multi-threaded runtime and turns its end into an exit code.
pub fn run(body: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::from(error)),
    };
    let ended = runtime.block_on(body);
    crate::trace::flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

/// Prints the one line and gives the code.
pub fn report(failure: &Failure) -> ExitCode {
    eprintln!("error: {failure}");
    ExitCode::from(failure.code() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyre::WrapErr;

    #[test]
    fn causes_are_joined_in_one_line() {
        let inner: Result<(), _> = Err(std::io::Error::other("disk\nfull"));
        let failure = Failure::from(inner.wrap_err("cannot write state.db").unwrap_err());
        assert_eq!(failure.to_string(), "cannot write state.db: disk full");
        assert_eq!(failure.code(), Code::Restart);
    }
}
