//! Weights on their way to a ledger that is real but for its clock: in each form that a subnet may ask for, over restarts, and with
//! calls whose answers never come.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chain::local::params::{Overrides, Tao};
use chain::local::service::LedgerService;
use chain::local::{LocalLedger, Opening};
use chain::reporting::Why;
use chain::{
    AxonInfo, Beacon, Hyperparameters, Keypair, Ledger, LedgerError, Metagraph, RemoteLedger, TimelockedCommit,
    WeightsCall, WeightsCommit, WeightsForm, WeightsReveal, ledger, wire,
};
use tokio_util::sync::CancellationToken;
use validator::store::{Report, Stage, Store, WaitingNote};
use validator::weights::report::Reporter;

const TEMPO: u64 = 20;
const MINERS: [u8; 3] = [11, 12, 13];

fn pair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

fn overrides(form: WeightsForm) -> Overrides {
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
enum Fault {
    /// It takes effect, and its answer is lost.
    AnswerLost,
    /// It never arrives.
    NeverArrives,
}

/// A ledger over gRPC on whose wire things go wrong when the test says so.
#[derive(Debug)]
struct Flaky {
    remote: RemoteLedger,
    fault: Mutex<Option<Fault>>,
    silent: Mutex<bool>,
    sent: AtomicUsize,
}

impl Flaky {
    fn lost() -> LedgerError {
        LedgerError::Deadline {
            endpoint: "(the test's)".to_owned(),
            after_ms: 1,
        }
    }

    async fn mutate<T>(&self, call: ledger::Answer<'_, T>) -> Result<T, LedgerError> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        let fault = self.fault.lock().unwrap().take();
        match fault {
            None => call.await,
            Some(Fault::NeverArrives) => Err(Self::lost()),
            Some(Fault::AnswerLost) => {
                call.await.unwrap();
                Err(Self::lost())
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
        match *self.silent.lock().unwrap() {
            true => Box::pin(async { Err(Self::lost()) }),
            false => self.remote.hyperparameters(),
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
struct Subnet {
    local: LocalLedger,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Subnet {
    /// At block 1, with the validator's permit.
    async fn new(home: &Path, overrides: Overrides) -> Self {
        let subnet = Self::open(home, overrides).await;
        subnet.local.advance().await.unwrap();
        for n in [1].into_iter().chain(MINERS) {
            subnet.local.register(&pair(n)).await.unwrap();
        }
        subnet.local.add_stake(&pair(1), 2_000 * ledger::RAO_PER_TAO).await.unwrap();
        subnet
    }

    async fn open(home: &Path, overrides: Overrides) -> Self {
        Self::open_at(home, overrides, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn open_at(home: &Path, overrides: Overrides, address: SocketAddr) -> Self {
        let opening = Opening {
            overrides,
            owner: Some(pair(0).account()),
            endowments: vec![],
        };
        let local = LocalLedger::open(&home.join("ledger.db"), &opening).await.unwrap();
        let listener = node::server::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let service = LedgerService::new(local.clone(), Duration::from_secs(12), chain::auth::now_ns).into_server();
        let (routes, token) = (tonic::service::Routes::new(service), shutdown.clone());
        let task = tokio::spawn(async move {
            node::server::serve(listener, routes, &[wire::SERVICE], protos::FILE_DESCRIPTOR_SET, token)
                .await
                .unwrap();
        });
        Self {
            local,
            address,
            shutdown,
            task,
        }
    }

    async fn close(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
        self.local.close().await;
    }

    async fn until(&self, block: u64) {
        while self.local.state().clock.block < block {
            self.local.advance().await.unwrap();
        }
    }

    fn block(&self) -> u64 {
        self.local.state().clock.block
    }

    /// The validator's row on the ledger, by the miners' names.
    async fn row(&self) -> Vec<(u16, u16)> {
        self.local.weights(1).await.unwrap()
    }
}

/// A validator's reporter over its database; a new one is what a restart makes.
struct Reporting {
    store: Store,
    reporter: Reporter,
    ledger: Arc<Flaky>,
}

impl Reporting {
    async fn start(home: &Path, subnet: &Subnet) -> Self {
        let store = Store::open(&home.join("validator.db")).await.unwrap();
        let remote = RemoteLedger::new(&subnet.address.to_string(), Duration::from_secs(10)).unwrap();
        let ledger = Arc::new(Flaky {
            remote,
            fault: Mutex::new(None),
            silent: Mutex::new(false),
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
    async fn scored(&self, window: u64, scores: [f64; 3]) {
        let averages: BTreeMap<[u8; 32], f64> = MINERS
            .iter()
            .zip(scores)
            .map(|(n, score)| (*pair(*n).account().as_bytes(), score))
            .collect();
        self.store.save_averages(window, &averages).await.unwrap();
    }

    /// Looks at the newest block.
    async fn look(&mut self) {
        let metagraph = self.ledger.metagraph().await.unwrap();
        self.reporter.look(&metagraph).await.unwrap();
    }

    /// Looks at every block until `block`.
    async fn follow(&mut self, subnet: &Subnet, block: u64) {
        while subnet.block() < block {
            subnet.local.advance().await.unwrap();
            self.look().await;
        }
    }

    fn fault(&self, fault: Fault) {
        *self.ledger.fault.lock().unwrap() = Some(fault);
    }

    fn sent(&self) -> usize {
        self.ledger.sent.load(Ordering::SeqCst)
    }

    async fn reports(&self) -> Vec<Report> {
        let mut reports = self.store.reports(100).await.unwrap();
        reports.reverse();
        reports
    }

    async fn stages(&self) -> Vec<Stage> {
        self.reports().await.iter().map(|report| report.stage).collect()
    }

    async fn waiting(&self) -> WaitingNote {
        self.store.waiting().await.unwrap().unwrap()
    }
}

/// The row of the scores 1, 0.5 and 0: the third miner has earned nothing.
const HALVES: [(u16, u16); 2] = [(2, 65_535), (3, 32_768)];

#[tokio::test]
async fn plain_weights_are_set_once_for_each_window_and_the_rate_limit_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Plain)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.follow(&subnet, 7).await;
    assert_eq!(reporting.sent(), 0, "nothing is scored yet");
    assert_eq!(reporting.waiting().await.why, Why::NothingNew.name());

    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 10).await;
    assert_eq!(reporting.sent(), 1, "once, however often it looks");
    assert_eq!(subnet.row().await, HALVES);
    let [report] = reporting.reports().await.try_into().unwrap();
    assert_eq!(
        (report.stage, report.form, report.taken_block, report.version_key),
        (Stage::Set, WeightsForm::Plain, Some(8), 7)
    );
    let totals = reporting.store.totals().await.unwrap();
    assert_eq!(totals[pair(11).account().as_bytes()].weight, 65_535);
    assert_eq!(reporting.store.standing().await.unwrap().weights_set, 1);

    // A restart forgets none of it, and the next window waits for the rate limit.
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(1, [0.0, 0.0, 1.0]).await;
    reporting.follow(&subnet, 12).await;
    let waiting = reporting.waiting().await;
    assert_eq!((waiting.why.as_str(), waiting.until), ("rate_limit", 13));
    assert_eq!(reporting.sent(), 0, "what would be refused is not sent");
    reporting.follow(&subnet, 13).await;
    assert_eq!(subnet.row().await, [(4, 65_535)]);
    assert_eq!(reporting.waiting().await.why, "");
}

#[tokio::test]
async fn a_commit_is_revealed_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Hash)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 8).await;
    assert_eq!(reporting.stages().await, [Stage::Committed]);
    assert_eq!(subnet.row().await, [], "nobody sees them yet");
    assert_eq!(reporting.waiting().await.why, Why::RevealLater.name());
    drop(reporting);

    subnet.until(TEMPO + 3).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    assert_eq!(reporting.reports().await[0].salt.len(), 8);
    reporting.look().await;
    assert_eq!(subnet.row().await, HALVES);
    let [report] = reporting.reports().await.try_into().unwrap();
    assert_eq!((report.stage, report.epoch), (Stage::Set, 0));
    assert_eq!((report.taken_block, report.ended_block), (Some(6), Some(TEMPO + 3)));
    assert!(report.salt.is_empty(), "a salt is kept no longer than it is of use");
    assert_eq!(reporting.store.standing().await.unwrap().weights_set, 1);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_on_the_ledger_and_revealed() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Hash)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    subnet.until(9).await;
    reporting.fault(Fault::AnswerLost);
    reporting.look().await;
    assert_eq!(reporting.stages().await, [Stage::Sending]);
    assert_eq!(reporting.waiting().await.why, Why::Unanswered.name());
    drop(reporting);

    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.follow(&subnet, 11).await;
    assert_eq!(reporting.stages().await, [Stage::Committed]);
    assert_eq!(reporting.reports().await[0].taken_block, Some(9));
    reporting.follow(&subnet, TEMPO).await;
    assert_eq!((reporting.stages().await, reporting.sent()), (vec![Stage::Set], 1));
    assert_eq!(subnet.row().await, HALVES);
}

#[tokio::test]
async fn a_call_that_never_arrived_is_given_up_and_made_again() {
    for form in [WeightsForm::Plain, WeightsForm::Hash, WeightsForm::Timelock] {
        let home = tempfile::tempdir().unwrap();
        let subnet = Subnet::new(home.path(), overrides(form)).await;
        let mut reporting = Reporting::start(home.path(), &subnet).await;
        reporting.scored(0, [1.0, 0.5, 0.0]).await;
        subnet.until(6).await;
        reporting.fault(Fault::NeverArrives);
        reporting.look().await;
        reporting.follow(&subnet, 13).await;
        assert_eq!(
            (reporting.stages().await, reporting.sent()),
            (vec![Stage::Sending], 1),
            "it may still arrive"
        );
        reporting.follow(&subnet, 15).await;
        let taken = match form {
            WeightsForm::Plain => Stage::Set,
            WeightsForm::Hash => Stage::Committed,
            WeightsForm::Timelock => Stage::Sealed,
        };
        assert_eq!(reporting.stages().await, [Stage::Lost, taken], "{form:?}");
        let reason = reporting.reports().await[0].reason.clone().unwrap();
        assert!(reason.contains("never answered"), "{reason}");
    }
}

#[tokio::test]
async fn a_reveal_whose_answer_is_lost_is_recognised_by_what_it_did() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Hash)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, TEMPO - 1).await;
    reporting.fault(Fault::AnswerLost);
    reporting.follow(&subnet, TEMPO).await;
    assert_eq!(reporting.stages().await, [Stage::Committed]);
    reporting.follow(&subnet, TEMPO + 2).await;
    assert_eq!(reporting.stages().await, [Stage::Set], "the commit is gone and the weights are there");
}

#[tokio::test]
async fn who_sleeps_through_the_epoch_of_the_reveal_commits_again() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Hash)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 8).await;
    drop(reporting);
    subnet.until(2 * TEMPO + 1).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.look().await;
    assert_eq!(reporting.stages().await, [Stage::Expired, Stage::Committed]);
    reporting.follow(&subnet, 3 * TEMPO).await;
    assert_eq!(reporting.stages().await, [Stage::Expired, Stage::Set]);
    assert_eq!(subnet.row().await, HALVES);
}

#[tokio::test]
async fn sealed_weights_are_opened_by_the_ledger_while_the_validator_is_away() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Timelock)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 8).await;
    let [report] = reporting.reports().await.try_into().unwrap();
    assert_eq!((report.stage, report.form), (Stage::Sealed, WeightsForm::Timelock));
    assert_eq!(report.reveal_round, Some(TEMPO + 3), "three blocks after the epoch begins");
    assert_eq!(reporting.waiting().await.why, Why::RevealLater.name());
    drop(reporting);

    subnet.until(TEMPO + 2).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.look().await;
    assert_eq!((reporting.stages().await, subnet.row().await), (vec![Stage::Sealed], vec![]));
    reporting.follow(&subnet, TEMPO + 3).await;
    assert_eq!(subnet.row().await, HALVES);
    assert_eq!((reporting.stages().await, reporting.sent()), (vec![Stage::Set], 0));
    assert_eq!(reporting.store.standing().await.unwrap().weights_set, 1);
}

#[tokio::test]
async fn sealed_weights_that_the_ledger_drops_are_named_and_sent_anew() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Timelock)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 8).await;
    subnet.close().await;
    // The subnet asks for a newer version before it opens them: what is sealed is refused when it is opened.
    let newer = Overrides {
        weights_version_key: Some(8),
        ..overrides(WeightsForm::Timelock)
    };
    let subnet = Subnet::open(home.path(), newer).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.follow(&subnet, 2 * TEMPO).await;
    assert_eq!(reporting.stages().await, [Stage::Lost]);
    assert_eq!((subnet.row().await, reporting.sent()), (vec![], 0));
    assert_eq!(reporting.waiting().await.why, Why::OldVersion.name(), "and it says what to do");
}

#[tokio::test]
async fn a_subnet_that_changes_its_mind_gets_the_form_that_it_asks_for_now() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Plain)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.look().await;
    // The parameters that it has read say "plain"; the ledger that comes back at the same address says otherwise.
    let address = subnet.address;
    subnet.close().await;
    let subnet = Subnet::open_at(home.path(), overrides(WeightsForm::Hash), address).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    reporting.follow(&subnet, 7).await;
    assert_eq!(reporting.stages().await, [Stage::Refused, Stage::Committed]);
    let [plain, hash] = reporting.reports().await.try_into().unwrap();
    assert!(plain.reason.unwrap().starts_with("CommitRevealEnabled:"));
    assert_eq!((plain.block, hash.block, hash.form), (6, 7, WeightsForm::Hash));
}

#[tokio::test]
async fn whatever_is_in_the_way_is_named() {
    let home = tempfile::tempdir().unwrap();
    let subnet = Subnet::new(home.path(), overrides(WeightsForm::Plain)).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.scored(0, [1.0, 0.5, 0.0]).await;
    *reporting.ledger.silent.lock().unwrap() = true;
    reporting.look().await;
    let waiting = reporting.waiting().await;
    assert_eq!(waiting.why, Why::Unreachable.name());
    assert!(waiting.said.contains("did not answer"), "{}", waiting.said);
    *reporting.ledger.silent.lock().unwrap() = false;

    // A hotkey that is no neuron, and one without stake.
    let metagraph = reporting.ledger.metagraph().await.unwrap();
    let mut foreign = metagraph.clone();
    foreign.neurons.truncate(1);
    foreign.neurons.push(chain::Neuron::new(1, pair(11).account()));
    reporting.reporter.look(&foreign).await.unwrap();
    assert_eq!(reporting.waiting().await.why, Why::NotRegistered.name());
    let mut poor = metagraph.clone();
    (poor.neurons[1].stake, poor.neurons[1].validator_permit) = (1, false);
    reporting.reporter.look(&poor).await.unwrap();
    assert_eq!(reporting.waiting().await.why, Why::NotEnoughStake.name());
    assert_eq!((reporting.sent(), reporting.stages().await), (0, vec![]));

    // Without a word about the permit the ledger itself says no, and the answer is kept.
    subnet.close().await;
    let stricter = Overrides {
        min_allowed_weights: Some(4),
        ..overrides(WeightsForm::Plain)
    };
    let subnet = Subnet::open(home.path(), stricter).await;
    let mut reporting = Reporting::start(home.path(), &subnet).await;
    reporting.follow(&subnet, 7).await;
    assert_eq!(reporting.stages().await, [Stage::Refused]);
    let reason = reporting.reports().await[0].reason.clone().unwrap();
    assert!(reason.starts_with("WeightVecLengthIsLow:"), "{reason}");
    let waiting = reporting.waiting().await;
    assert_eq!((waiting.why.as_str(), waiting.until), (Why::Retry.name(), subnet.block().min(7) + 4));
    assert_eq!(subnet.row().await, []);
}

/// The real `validator`, killed when the test ends however it ends.
struct Process(Child);

impl Process {
    fn start(home: &Path, subnet: &Subnet) -> Self {
        let hotkey = home.join("hotkey.json");
        if !hotkey.exists() {
            chain::keyfile::write(&hotkey, &pair(1)).unwrap();
        }
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = home.join("validator.toml");
        std::fs::write(
            &config,
            format!(
                "hotkey = {hotkey:?}\nplatform = \"http://{closed}\"\nledger = \"http://{}\"\ndatabase = {:?}\n\
                 metagraph_period = \"10ms\"\nversion_key = 7\n[node]\nlog = \"off\"\n",
                subnet.address,
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
        Self(child)
    }

    fn kill(mut self) {
        assert!(self.0.try_wait().unwrap().is_none(), "it ended by itself");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
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
        .args(["weights", "--json", "--database", home.join("validator.db").to_str().unwrap()])
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
        .args(["weights", "--database", home.path().join("validator.db").to_str().unwrap()])
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("hash") && table.contains("set") && table.contains("2:65535 3:32768"), "{table}");
    let nowhere = validator().args(["weights", "--database", "nowhere.db"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("nowhere.db"));
}
