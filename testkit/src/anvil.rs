//! A development node of one test's own.

use std::path::PathBuf;

use alloy::node_bindings::{Anvil, AnvilInstance, NodeError};
use alloy::providers::{DynProvider, Provider as _, ProviderBuilder};

/// How long anvil may take to listen, on a busy machine, in milliseconds.
const START_MS: u64 = 60_000;

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mining {
    /// One for each transaction, at once.
    Automatic,
    /// One every so many seconds.
    Interval(u64),
    /// Only when asked for (`anvil_mine`).
    Manual,
}

/// A running anvil; ended when dropped.
#[derive(Debug)]
pub struct TestAnvil {
    instance: AnvilInstance,
}

impl TestAnvil {
    /// `http://127.0.0.1:PORT`.
    pub fn http(&self) -> String {
        self.instance.endpoint()
    }

    /// `ws://127.0.0.1:PORT`.
    pub fn ws(&self) -> String {
        self.instance.ws_endpoint()
    }

    /// A client over HTTP, without fillers.
    ///
    /// # Panics
    ///
    /// Never: anvil gives a well-formed endpoint.
    pub fn provider(&self) -> DynProvider {
        let url = self
            .http()
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", self.http()));
        ProviderBuilder::new()
            .disable_recommended_fillers()
            .connect_http(url)
            .erased()
    }

    /// The process and its development keys.
    pub const fn instance(&self) -> &AnvilInstance {
        &self.instance
    }
}

/// Where anvil is: `ANVIL`, or this room's `node_modules` (`make tools`), or the search path.
pub fn anvil_path() -> Option<PathBuf> {
    // The program itself: the launcher in `.bin` would be another process between it and us.
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!(
        "node_modules/@foundry-rs/anvil-{system}-{architecture}/bin/anvil"
    ));
    let named = std::env::var_os("ANVIL").map(PathBuf::from);
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .map(|folder| folder.join("anvil"));
    named
        .into_iter()
        .chain([installed])
        .chain(on_path)
        .find(|path| path.is_file())
}

/// Starts an anvil on a free port, with further command-line `arguments`; `None`, after saying so, where it is not installed.
///
/// # Panics
///
/// When anvil is installed and does not start.
pub fn anvil(mining: Mining, arguments: &[&str]) -> Option<TestAnvil> {
    crate::choose_cryptography();
    let Some(path) = anvil_path() else {
        eprintln!("SKIPPED: this test needs anvil, which is not installed (make tools, or ANVIL=PATH)");
        return None;
    };
    let mut failure = String::new();
    // Two tests may be given the same free port; the second one to bind it is given another.
    for _ in 0..5 {
        match start(path.clone(), mining, arguments) {
            Ok(instance) => return Some(TestAnvil { instance }),
            Err(error) => failure = error.to_string(),
        }
    }
    panic!("{}: {failure}", path.display());
}

fn start(path: PathBuf, mining: Mining, arguments: &[&str]) -> Result<AnvilInstance, NodeError> {
    let builder = Anvil::at(path)
        .port(0_u16)
        .timeout(START_MS)
        .args(arguments.iter().copied());
    match mining {
        Mining::Automatic => builder,
        Mining::Interval(seconds) => builder.args(["--block-time".to_owned(), seconds.to_string()]),
        Mining::Manual => builder.arg("--no-mining"),
    }
    .try_spawn()
}
