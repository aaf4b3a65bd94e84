//! Binaries of the project as processes: run to their end, or in the background with a ready file, a log and a page `GET /health`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command};

/// How long anything may take by the wall clock.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait before looking again.
const AGAIN: Duration = Duration::from_millis(10);

/// Runs a command to its end: exit code (-1: a signal), standard output, standard error.
///
/// # Panics
/// When it does not end within a minute; with what it said.
pub async fn run_to_end(command: &mut Command, home: &Path) -> (i32, String, String) {
    // In a file, so that what hangs can be asked what it said.
    let log = home.join("command.log");
    let file = std::fs::File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    let child = command.stdout(Stdio::piped()).stderr(file).kill_on_drop(true).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let said = read(&log);
    match ended {
        Ok(Ok(ended)) => {
            let out = String::from_utf8_lossy(&ended.stdout).into_owned();
            (ended.status.code().unwrap_or(-1), out, said)
        }
        Ok(Err(error)) => panic!("{command:?}: {error}\n{said}"),
        Err(_) => panic!("{command:?} does not end\n{said}"),
    }
}

/// A binary that runs; killed when dropped.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    /// What it serves on.
    pub address: SocketAddr,
    log: PathBuf,
    client: reqwest::Client,
}

impl Running {
    /// Starts it, with `--ready-file` added, and waits until it is ready. Its log is in the folder `home`, behind that of the run before.
    ///
    /// # Panics
    /// When it does not become ready within a minute; with its log.
    pub async fn start(mut command: Command, home: &Path) -> Self {
        crate::choose_cryptography();
        let (ready, log) = (home.join("ready"), home.join("log"));
        drop(std::fs::remove_file(&ready));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.arg("--ready-file").arg(&ready);
        let child = command.stdout(Stdio::null()).stderr(file).kill_on_drop(true).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            if let Some(address) = std::fs::read_to_string(&ready).ok().and_then(|text| text.parse().ok()) {
                break address;
            }
            if let Ok(Some(status)) = child.try_wait() {
                panic!("{command:?} ended with {status}\n{}", read(&log));
            }
            assert!(Instant::now() < deadline, "{command:?} is not ready\n{}", read(&log));
            tokio::time::sleep(AGAIN).await;
        };
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
        Self {
            child,
            address,
            log,
            client: client.unwrap_or_else(|error| panic!("{error}")),
        }
    }

    /// Ends it without a word: SIGKILL.
    pub async fn kill(mut self) {
        drop(self.child.kill().await);
    }

    /// What it said, in all its runs.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// The status and the text of `GET PATH`.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.log()));
        let status = answer.status().as_u16();
        match answer.text().await {
            Ok(text) => (status, text),
            Err(error) => panic!("{path}: {error}\n{}", self.log()),
        }
    }

    /// What it tells of itself.
    ///
    /// # Panics
    /// When it does not answer, or not in JSON.
    pub async fn health(&self) -> Value {
        let (_, text) = self.get("/health").await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Waits until what it tells of itself is as wanted, and gives it.
    ///
    /// # Panics
    /// When it never is, within a minute; with its log.
    pub async fn until(&self, what: &str, done: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let health = self.health().await;
            if done(&health) {
                return health;
            }
            assert!(Instant::now() < deadline, "{what}: {health}\n{}", self.log());
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Waits until it has said that.
    ///
    /// # Panics
    /// When it never does, within a minute; with its log.
    pub async fn until_logged(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "never said `{text}`:\n{}", self.log());
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
