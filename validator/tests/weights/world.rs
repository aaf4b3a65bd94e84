//! A ledger that is real but for its clock, a validator's reporter over its database, and a wire on which things go wrong.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chain::local::params::{Overrides, Tao};
use chain::local::served::Served;
use chain::local::{LocalLedger, Opening};
use chain::{
    AxonInfo, Beacon, Hyperparameters, Keypair, Ledger, LedgerError, Metagraph, RemoteLedger, TimelockedCommit,
    WeightsCall, WeightsCommit, WeightsForm, WeightsReveal, ledger,
};
use validator::store::{Report, Stage, Store, WaitingNote};
use validator::weights::report::Reporter;

pub(crate) const TEMPO: u64 = 20;
pub(crate) const MINERS: [u8; 3] = [11, 12, 13];

pub(crate) fn pair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

pub(crate) fn overrides(form: WeightsForm) -> Overrides {
    Overrides {
        faucet: true,
        tempo: Some(TEMPO),
        weights_set_rate_limit: Some(5),
        faucet_allowance: Some("10000".parse::<Tao>().unwrap()),
        commit_reveal_weights_enabled: Some(form != WeightsForm::Plain),
        commit_reveal_version: Some(if form == WeightsForm::Hash { 2 } else { 4 }),
        ..Overrides::default()
    }
}

/// What befalls the next call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes effect, and its answer is lost.
    AnswerLost,
    /// It never arrives.
    NeverArrives,
    /// It takes effect, and the connection stays open without a word.
    Hangs,
}

/// What becomes of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    Fails,
    Hangs,
}

/// A ledger over gRPC on whose wire things go wrong when the test says so.
#[derive(Debug)]
pub(crate) struct Flaky {
    remote: RemoteLedger,
    fault: Mutex<Option<Fault>>,
    pub(crate) mood: Mutex<Mood>,
    sent: AtomicUsize,
}

impl Flaky {
    pub(crate) fn lost() -> LedgerError {
        LedgerError::Deadline {
            endpoint: "(the test's)".to_owned(),
            after_ms: 1,
        }
    }

    pub(crate) async fn mutate<T>(&self, call: ledger::Answer<'_, T>) -> Result<T, LedgerError> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let fault = self.fault.lock().unwrap().take();
        match fault {
            None => call.await,
            Some(Fault::NeverArrives) => Err(Self::lost()),
            Some(Fault::AnswerLost) => {
                call.await.unwrap();
                Err(Self::lost())
            }
            Some(Fault::Hangs) => {
                call.await.unwrap();
                std::future::pending().await
            }
        }
    }
}

impl Ledger for Flaky {
    fn block(&self) -> ledger::Answer<'_, u64> {
        self.remote.block()
    }
    fn metagraph(&self) -> ledger::Answer<'_, Metagraph> {
        self.remote.metagraph()
    }
    fn hyperparameters(&self) -> ledger::Answer<'_, Hyperparameters> {
        match *self.mood.lock().unwrap() {
            Mood::Answers => self.remote.hyperparameters(),
            Mood::Fails => Box::pin(async { Err(Self::lost()) }),
            Mood::Hangs => Box::pin(std::future::pending()),
        }
    }
    fn weights(&self, uid: u16) -> ledger::Answer<'_, Vec<(u16, u16)>> {
        self.remote.weights(uid)
    }
    fn register<'a>(&'a self, hotkey: &'a Keypair) -> ledger::Answer<'a, chain::Registration> {
        self.remote.register(hotkey)
    }
    fn add_stake<'a>(&'a self, hotkey: &'a Keypair, amount: u64) -> ledger::Answer<'a, u64> {
        self.remote.add_stake(hotkey, amount)
    }
    fn serve_axon<'a>(&'a self, hotkey: &'a Keypair, axon: AxonInfo) -> ledger::Answer<'a, u64> {
        self.remote.serve_axon(hotkey, axon)
    }
    fn set_weights<'a>(&'a self, hotkey: &'a Keypair, weights: WeightsCall) -> ledger::Answer<'a, u64> {
        Box::pin(self.mutate(self.remote.set_weights(hotkey, weights)))
    }
    fn commit_weights<'a>(&'a self, hotkey: &'a Keypair, commit: WeightsCommit) -> ledger::Answer<'a, u64> {
        Box::pin(self.mutate(self.remote.commit_weights(hotkey, commit)))
    }
    fn reveal_weights<'a>(&'a self, hotkey: &'a Keypair, reveal: WeightsReveal) -> ledger::Answer<'a, u64> {
        Box::pin(self.mutate(self.remote.reveal_weights(hotkey, reveal)))
    }
    fn commit_timelocked<'a>(&'a self, hotkey: &'a Keypair, commit: TimelockedCommit) -> ledger::Answer<'a, u64> {
        Box::pin(self.mutate(self.remote.commit_timelocked(hotkey, commit)))
    }
    fn beacon(&self) -> ledger::Answer<'_, Beacon> {
        self.remote.beacon()
    }
}

/// A ledger of one validator and three miners, served over gRPC, whose blocks the test makes.
pub(crate) struct Subnet {
    pub(crate) local: LocalLedger,
    pub(crate) address: SocketAddr,
    served: Served,
}

impl Subnet {
    /// At block 1, with the validator's permit.
    pub(crate) async fn new(home: &Path, overrides: Overrides) -> Self {
        Self::new_at(home, overrides, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// As [`Self::new`], served there.
    pub(crate) async fn new_at(home: &Path, overrides: Overrides, address: SocketAddr) -> Self {
        let subnet = Self::open_at(home, overrides, address).await;
        subnet.local.advance().await.unwrap();
        for n in [1].into_iter().chain(MINERS) {
            subnet.local.register(&pair(n)).await.unwrap();
        }
        subnet
            .local
            .add_stake(&pair(1), 2_000 * ledger::RAO_PER_TAO)
            .await
            .unwrap();
        subnet
    }

    pub(crate) async fn open(home: &Path, overrides: Overrides) -> Self {
        Self::open_at(home, overrides, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    pub(crate) async fn open_at(home: &Path, overrides: Overrides, address: SocketAddr) -> Self {
        let opening = Opening {
            overrides,
            owner: Some(pair(0).account()),
            endowments: vec![],
        };
        let served = Served::open_at(&home.join("ledger.db"), &opening, address)
            .await
            .unwrap();
        Self {
            local: served.local.clone(),
            address: served.address(),
            served,
        }
    }

    pub(crate) async fn close(self) {
        self.served.stop().await.unwrap();
    }

    pub(crate) async fn until(&self, block: u64) {
        while self.local.state().clock.block < block {
            self.local.advance().await.unwrap();
        }
    }

    pub(crate) fn block(&self) -> u64 {
        self.local.state().clock.block
    }

    /// The validator's row on the ledger, by the miners' names.
    pub(crate) async fn row(&self) -> Vec<(u16, u16)> {
        self.local.weights(1).await.unwrap()
    }
}

/// A validator's reporter over its database; a new one is what a restart makes.
pub(crate) struct Reporting {
    pub(crate) store: Store,
    pub(crate) reporter: Reporter,
    pub(crate) ledger: Arc<Flaky>,
}

impl Reporting {
    pub(crate) async fn start(home: &Path, subnet: &Subnet) -> Self {
        let store = Store::open(&home.join("validator.db")).await.unwrap();
        let remote = RemoteLedger::new(&subnet.address.to_string(), Duration::from_secs(10)).unwrap();
        let ledger = Arc::new(Flaky {
            remote,
            fault: Mutex::new(None),
            mood: Mutex::new(Mood::Answers),
            sent: AtomicUsize::new(0),
        });
        let first = Arc::new(ledger.metagraph().await.unwrap());
        let followed = tokio::sync::watch::channel(first).1;
        let asked: Arc<dyn Ledger> = Arc::clone(&ledger) as Arc<dyn Ledger>;
        let reporter = Reporter::new(store.clone(), followed, asked, Arc::new(pair(1)), 7);
        Self {
            store,
            reporter,
            ledger,
        }
    }

    /// The scores of one more window: the first miner's, the second's and the third's.
    pub(crate) async fn scored(&self, window: u64, scores: [f64; 3]) {
        let averages: BTreeMap<[u8; 32], f64> = MINERS
            .iter()
            .zip(scores)
            .map(|(n, score)| (*pair(*n).account().as_bytes(), score))
            .collect();
        self.store.save_averages(window, &averages).await.unwrap();
    }

    /// Looks at the newest block.
    pub(crate) async fn look(&mut self) {
        let metagraph = self.ledger.metagraph().await.unwrap();
        self.reporter.look(&metagraph).await.unwrap();
    }

    /// Looks at every block until `block`.
    pub(crate) async fn follow(&mut self, subnet: &Subnet, block: u64) {
        while subnet.block() < block {
            subnet.local.advance().await.unwrap();
            self.look().await;
        }
    }

    pub(crate) fn fault(&self, fault: Fault) {
        *self.ledger.fault.lock().unwrap() = Some(fault);
    }

    pub(crate) fn sent(&self) -> usize {
        self.ledger.sent.load(Ordering::SeqCst)
    }

    pub(crate) async fn reports(&self) -> Vec<Report> {
        let mut reports = self.store.reports(100).await.unwrap();
        reports.reverse();
        reports
    }

    pub(crate) async fn stages(&self) -> Vec<Stage> {
        self.reports().await.iter().map(|report| report.stage).collect()
    }

    pub(crate) async fn waiting(&self) -> WaitingNote {
        self.store.waiting().await.unwrap().unwrap()
    }
}

/// The row of the scores 1, 0.5 and 0: the third miner has earned nothing.
pub(crate) const HALVES: [(u16, u16); 2] = [(2, 65_535), (3, 32_768)];
