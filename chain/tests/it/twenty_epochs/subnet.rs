//! The process `ledger` driven block by block, undisturbed or killed at drawn places.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::history::EpochEntry;
use chain::{Keypair, Ledger, RemoteLedger};
use rand::{Rng, SeedableRng};

use super::{OWNER, TEMPO, pair_of};
use crate::world::{DEADLINE, ledger, pair, weights};

/// The process `ledger`, which makes a block when it is told to.
struct Process {
    child: Child,
    blocks: Option<ChildStdin>,
    made: BufReader<ChildStdout>,
    ledger: Arc<RemoteLedger>,
}

impl Process {
    fn start(home: &Path) -> Self {
        let ready = home.join("ready");
        let _old = std::fs::remove_file(&ready);
        let mut child = ledger()
            .args(["run", "--step", "--listen", "127.0.0.1:0", "--log", "off", "--faucet"])
            .args(["--faucet-allowance", "10000", "--tempo", &TEMPO.to_string()])
            .args(["--weights-set-rate-limit", "5", "--activity-cutoff", "65"])
            .args(["--max-allowed-uids", "14", "--immunity-period", "30"])
            .args(["--min-non-immune-uids", "3"])
            .args([
                "--subnet-owner-cut",
                "11796",
                "--owner",
                &pair(OWNER).account().to_string(),
            ])
            .args(["--database", home.join("ledger.db").to_str().unwrap()])
            .args(["--ready-file", ready.to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let give_up = Instant::now() + Duration::from_secs(60);
        let address = loop {
            match std::fs::read_to_string(&ready) {
                Ok(address) => break address,
                Err(_) => assert!(child.try_wait().unwrap().is_none(), "it ended before it was ready"),
            }
            assert!(Instant::now() < give_up, "it was not ready in time");
            std::thread::sleep(Duration::from_millis(10));
        };
        Self {
            blocks: child.stdin.take(),
            made: BufReader::new(child.stdout.take().unwrap()),
            child,
            ledger: Arc::new(RemoteLedger::new(&format!("http://{address}"), DEADLINE).unwrap()),
        }
    }

    fn ask_for_a_block(&mut self) {
        self.blocks.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub(crate) fn block(&mut self) -> u64 {
        self.ask_for_a_block();
        let mut line = String::new();
        self.made.read_line(&mut line).unwrap();
        line.trim().parse().unwrap()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The end of its input is a clean end.
    fn end(mut self) {
        self.blocks = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// A subnet that lives through its twenty epochs, undisturbed or with its ledger killed at drawn places.
pub(crate) struct Subnet<'a> {
    home: &'a Path,
    process: Option<Process>,
    /// Draws where the process is killed.
    fate: Option<rand_chacha::ChaCha8Rng>,
    pub(crate) kills: u32,
    pub(crate) clean_ends: u32,
}

impl<'a> Subnet<'a> {
    pub(crate) fn new(home: &'a Path, fate: Option<u64>) -> Self {
        Self {
            home,
            process: Some(Process::start(home)),
            fate: fate.map(rand_chacha::ChaCha8Rng::seed_from_u64),
            kills: 0,
            clean_ends: 0,
        }
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    pub(crate) fn ledger(&self) -> Arc<RemoteLedger> {
        Arc::clone(&self.process.as_ref().unwrap().ledger)
    }

    pub(crate) fn kill(&mut self) {
        self.kills += 1;
        self.process.take().unwrap().kill();
        self.process = Some(Process::start(self.home));
    }

    fn draw(&mut self, chance: f64) -> bool {
        self.fate.as_mut().is_some_and(|fate| fate.random_bool(chance))
    }

    async fn now(&self) -> u64 {
        self.ledger().block().await.unwrap()
    }

    /// The next block. When fate has it the process dies in the middle of it, and it is asked for again only if it was not made.
    pub(crate) async fn block(&mut self) {
        let next = self.now().await + 1;
        if self.draw(0.05) {
            self.process().ask_for_a_block();
            self.kill();
            if self.now().await == next {
                return;
            }
        }
        if self.draw(0.02) {
            self.clean_ends += 1;
            self.process.take().unwrap().end();
            self.process = Some(Process::start(self.home));
        }
        assert_eq!(self.process().block(), next);
    }

    pub(crate) async fn until(&mut self, block: u64) {
        while self.now().await < block {
            self.block().await;
        }
    }

    /// `hotkey`'s weights in the current block. When fate has it the process dies while the call is on its way; whether it took effect
    /// then is read from the metagraph, as a validator does.
    pub(crate) async fn set(&mut self, hotkey: &Keypair, row: &[(u16, u16)]) {
        let call = weights(row, 0);
        if self.draw(0.3) {
            let (ledger, signer, call) = (self.ledger(), pair_of(hotkey), call.clone());
            let sent = tokio::spawn(async move { ledger.set_weights(&signer, call).await });
            let turns = self.fate.as_mut().unwrap().random_range(0..60);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            self.kill();
            let answer = sent.await.unwrap();
            let metagraph = self.ledger().metagraph().await.unwrap();
            let me = metagraph.by_hotkey(&hotkey.account()).unwrap();
            let taken = me.last_update == metagraph.block && me.weights_known;
            assert!(taken || answer.is_err(), "acknowledged, and gone");
            if taken {
                return;
            }
        }
        self.ledger().set_weights(hotkey, call).await.unwrap();
    }

    pub(crate) async fn uid(&self, n: u8) -> Option<u16> {
        let metagraph = self.ledger().metagraph().await.unwrap();
        Some(metagraph.by_hotkey(&pair(n).account())?.uid)
    }

    pub(crate) async fn history(&self) -> Vec<Vec<EpochEntry>> {
        let mut all = Vec::new();
        for uid in 0..14 {
            let mut entries = self.ledger().history(uid, 0).await.unwrap();
            entries.reverse();
            all.push(entries);
        }
        all
    }
}
