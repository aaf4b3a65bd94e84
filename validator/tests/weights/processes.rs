//! The real processes, killed between a commit and what follows from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chain::local::params::Overrides;
use chain::{Ledger, RemoteLedger, WeightsForm, ledger};
use testkit::Port;
use validator::store::Store;

use super::world::{HALVES, MINERS, Reporting, Subnet, overrides, pair};

/// The real `validator`, killed when the test ends however it ends.
struct Process {
    child: Child,
    /// Where its platform would be.
    _nobody: Port,
}

impl Process {
    fn start(home: &Path, subnet: &Subnet) -> Self {
        Self::start_at(home, &subnet.address.to_string())
    }

    fn start_at(home: &Path, ledger: &str) -> Self {
        let hotkey = home.join("hotkey.json");
        if !hotkey.exists() {
            chain::keyfile::write(&hotkey, &pair(1)).unwrap();
        }
        let nobody = Port::free();
        let config = home.join("validator.toml");
        std::fs::write(
            &config,
            format!(
                "hotkey = {hotkey:?}\nplatform = \"http://{}\"\nledger = \"http://{ledger}\"\ndatabase = {:?}\n\
                 metagraph_period = \"10ms\"\nversion_key = 7\n[node]\nlog = \"off\"\n",
                nobody.address(),
                home.join("validator.db"),
            ),
        )
        .unwrap();
        let child = validator()
            .args(["run", "--config", config.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, _nobody: nobody }
    }

    fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn validator() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_validator"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PORTCULLIS_VALIDATOR_")) {
        command.env_remove(name);
    }
    command
}

/// `validator weights --json`.
fn shown(home: &Path) -> serde_json::Value {
    let output = validator()
        .args([
            "weights",
            "--json",
            "--database",
            home.join("validator.db").to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Makes a block whenever the validator has had its time with the last one, until `done`.
async fn blocks_until(subnet: &Subnet, mut done: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < give_up, "block {} and still waiting", subnet.block());
        subnet.local.advance().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_validator_is_killed_between_commit_and_reveal() {
    let home = tempfile::tempdir().unwrap();
    let long = Overrides {
        tempo: Some(600),
        ..overrides(WeightsForm::Hash)
    };
    let subnet = Subnet::new(home.path(), long).await;
    // Scores of an earlier life.
    let reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    drop(reporting);

    let stage = |shown: &serde_json::Value| shown["reports"][0]["stage"].as_str().map(str::to_owned);
    let running = Process::start(home.path(), &subnet);
    blocks_until(&subnet, || stage(&shown(home.path())).as_deref() == Some("committed")).await;
    running.kill();
    let committed = shown(home.path());
    assert!(subnet.block() < 600 && subnet.row().await.is_empty());
    assert!(committed["reports"][0].get("salt").is_none(), "a salt is never shown");

    subnet.until(600).await;
    let running = Process::start(home.path(), &subnet);
    blocks_until(&subnet, || stage(&shown(home.path())).as_deref() == Some("set")).await;
    assert!(subnet.block() < 1_200);
    assert_eq!(subnet.row().await, HALVES);
    running.kill();

    let table = validator()
        .args([
            "weights",
            "--database",
            home.path().join("validator.db").to_str().unwrap(),
        ])
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("hash") && table.contains("set") && table.contains("2:65535 3:32768"),
        "{table}"
    );
    let nowhere = validator()
        .args(["weights", "--database", "nowhere.db"])
        .output()
        .unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("nowhere.db"));
}

/// The real `ledger`, which makes a block for each line that it is given; none (said aloud) where it is not built.
struct LedgerProcess {
    child: Child,
    address: String,
}

impl LedgerProcess {
    fn start(home: &Path) -> Option<Self> {
        let binary = Path::new(env!("CARGO_BIN_EXE_validator")).with_file_name("ledger");
        let help = Command::new(&binary).args(["run", "--help"]).output();
        if !help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--step")) {
            println!(
                "SKIPPED: two real processes, because {} is not built (build the workspace)",
                binary.display()
            );
            return None;
        }
        let ready = home.join("ready");
        let _old = std::fs::remove_file(&ready);
        let mut child = Command::new(&binary)
            .args([
                "run",
                "--step",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "off",
                "--faucet",
                "--tempo",
                "600",
            ])
            .args([
                "--commit-reveal-weights-enabled",
                "true",
                "--commit-reveal-version",
                "4",
            ])
            .args(["--database", home.join("ledger.db").to_str().unwrap()])
            .args(["--ready-file", ready.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            if let Ok(address) = std::fs::read_to_string(&ready) {
                return Some(Self { child, address });
            }
            assert!(
                child.try_wait().unwrap().is_none(),
                "the ledger ended before it was ready"
            );
            assert!(Instant::now() < give_up, "the ledger was not ready in time");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn remote(&self) -> RemoteLedger {
        RemoteLedger::new(&self.address, Duration::from_secs(10)).unwrap()
    }

    async fn until(&mut self, block: u64) {
        let ledger = self.remote();
        let now = ledger.block().await.unwrap();
        for _ in now..block {
            std::io::Write::write_all(self.child.stdin.as_mut().unwrap(), b"\n").unwrap();
        }
        while ledger.block().await.unwrap() < block {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for LedgerProcess {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn validator_and_ledger_are_both_killed_and_the_sealed_weights_are_set() {
    let home = tempfile::tempdir().unwrap();
    let Some(mut ledger) = LedgerProcess::start(home.path()) else {
        return;
    };
    ledger.until(1).await;
    let remote = ledger.remote();
    for n in [1].into_iter().chain(MINERS) {
        remote.register(&pair(n)).await.unwrap();
    }
    remote.add_stake(&pair(1), 2_000 * ledger::RAO_PER_TAO).await.unwrap();
    ledger.until(101).await;
    let store = Store::open(&home.path().join("validator.db")).await.unwrap();
    let averages = BTreeMap::from([(*pair(12).account().as_bytes(), 1.0)]);
    store.save_averages(0, &averages).await.unwrap();

    let stage = || shown(home.path())["reports"][0]["stage"].as_str().map(str::to_owned);
    let mut block = 101;
    let running = Process::start_at(home.path(), &ledger.address);
    while stage().as_deref() != Some("sealed") {
        block += 1;
        assert!(block < 600, "not sealed: {}", shown(home.path()));
        ledger.until(block).await;
    }
    running.kill();
    drop(ledger);
    let mut ledger = LedgerProcess::start(home.path()).unwrap();
    ledger.until(603).await;
    assert_eq!(
        ledger.remote().weights(1).await.unwrap(),
        [(3, 65_535)],
        "the ledger opened them by itself"
    );
    let running = Process::start_at(home.path(), &ledger.address);
    let mut block = 603;
    while stage().as_deref() != Some("set") {
        block += 1;
        assert!(block < 1_200, "not set: {}", shown(home.path()));
        ledger.until(block).await;
    }
    running.kill();
}
