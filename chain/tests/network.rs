//! The ledger over a real socket: what a client asks is done once, what it may not ask is refused by name, and what was
//! acknowledged is there after a restart and after a crash.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain::auth::sign::signed_with_nonce;
use chain::auth::{self, AuthKind, metadata};
use chain::local::params::Overrides;
use chain::local::rules::Operation;
use chain::local::service::LedgerService;
use chain::local::{LocalLedger, OpenError, Opening, StoreError};
use chain::remote::RemoteLedger;
use chain::{AccountId, AxonInfo, Keypair, Ledger, LedgerError, Refusal, WeightsCall, wire};
use proptest::prelude::*;
use protos::v1;
use protos::v1::ledger_client::LedgerClient;
use tokio_util::sync::CancellationToken;

const TAO: u64 = 1_000_000_000;
const DEADLINE: Duration = Duration::from_secs(10);
/// Any path; only a signature's.
const REGISTER: &str = "/portcullis.v1.Ledger/Register";
const ADD_STAKE: &str = "/portcullis.v1.Ledger/AddStake";

fn pair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

fn opening() -> Opening {
    let overrides = Overrides {
        faucet: true,
        tempo: Some(10),
        weights_set_rate_limit: Some(4),
        ..Overrides::default()
    };
    Opening {
        overrides,
        owner: Some(pair(0).account()),
        endowments: vec![],
    }
}

/// An embedded ledger, served; blocks are made by the test.
struct Served {
    local: LocalLedger,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn start(database: &Path) -> Self {
        Self::at(database, auth::now_ns).await
    }
    async fn at(database: &Path, now_ns: fn() -> u64) -> Self {
        let local = LocalLedger::open(database, &opening()).await.unwrap();
        let listener = node::server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let service = LedgerService::new(local.clone(), Duration::from_secs(12), now_ns).into_server();
        let (routes, token) = (tonic::service::Routes::new(service), shutdown.clone());
        let task = tokio::spawn(async move {
            let served =
                node::server::serve(listener, routes, &[wire::SERVICE], protos::FILE_DESCRIPTOR_SET, token).await;
            served.unwrap();
        });
        Self {
            local,
            address,
            shutdown,
            task,
        }
    }
    fn remote(&self) -> Arc<dyn Ledger> {
        Arc::new(RemoteLedger::new(&self.address.to_string(), DEADLINE).unwrap())
    }
    async fn raw(&self) -> LedgerClient<tonic::transport::Channel> {
        LedgerClient::connect(format!("http://{}", self.address)).await.unwrap()
    }
    async fn blocks(&self, count: u64) {
        for _ in 0..count {
            self.local.advance().await.unwrap();
        }
    }
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
        self.local.close().await;
    }
}

fn axon(port: u16) -> AxonInfo {
    AxonInfo {
        version: 1,
        ip: "127.0.0.1".parse().unwrap(),
        port,
        protocol: 4,
    }
}

fn weights(row: &[(u16, u16)]) -> WeightsCall {
    let (uids, values) = row.iter().copied().unzip();
    WeightsCall {
        uids,
        values,
        version_key: 0,
    }
}

#[tokio::test]
async fn a_subnet_lives_over_grpc() {
    let home = tempfile::tempdir().unwrap();
    let served = Served::start(&home.path().join("ledger.db")).await;
    let ledger = served.remote();
    served.blocks(1).await;

    for n in 1..=3 {
        let registration = ledger.register(&pair(n)).await.unwrap();
        assert_eq!((registration.uid, registration.block), (u16::from(n), 1));
    }
    assert_eq!(ledger.add_stake(&pair(1), 1500 * TAO).await.unwrap(), 1500 * TAO);
    assert_eq!(ledger.serve_axon(&pair(2), axon(8091)).await.unwrap(), 1);
    served.blocks(4).await;
    assert_eq!(
        ledger.set_weights(&pair(1), weights(&[(2, 3), (3, 1)])).await.unwrap(),
        5
    );
    assert_eq!(ledger.weights(1).await.unwrap(), [(2, 65535), (3, 21845)]);
    assert_eq!(ledger.weights(2).await.unwrap(), []);
    served.blocks(5).await;

    let metagraph = ledger.metagraph().await.unwrap();
    assert_eq!(
        metagraph,
        served.local.state().metagraph(),
        "what is read over the wire is what the ledger knows"
    );
    assert_eq!(
        (ledger.block().await.unwrap(), metagraph.block, metagraph.tempo),
        (10, 10, 10)
    );
    assert_eq!(metagraph.next_epoch_block(), 20);
    let shares: Vec<f64> = metagraph.neurons.iter().map(|n| n.incentive_share).collect();
    assert_eq!(shares, [0.0, 0.0, 0.75, 0.25]);
    let validator = metagraph.by_hotkey(&pair(1).account()).unwrap();
    assert!(validator.validator_permit && validator.weights_known && validator.dividends == 65535);
    let miner = metagraph.by_uid(2).unwrap();
    assert_eq!((miner.axon.unwrap().info, miner.axon.unwrap().block), (axon(8091), 1));
    assert_eq!(ledger.hyperparameters().await.unwrap(), served.local.state().params);
    served.stop().await;
}

#[tokio::test]
async fn refusals_arrive_by_name() {
    let home = tempfile::tempdir().unwrap();
    let served = Served::start(&home.path().join("ledger.db")).await;
    let ledger = served.remote();
    served.blocks(1).await;
    let refused = |refusal| Err(LedgerError::Refused(refusal));

    let nobody = ledger.set_weights(&pair(9), weights(&[(0, 1)])).await;
    assert_eq!(nobody, refused(Refusal::HotKeyNotRegisteredInSubNet));
    assert_eq!(
        ledger.add_stake(&pair(9), 1).await,
        refused(Refusal::HotKeyAccountNotExists)
    );
    ledger.register(&pair(1)).await.unwrap();
    let again = ledger.register(&pair(1)).await.map(|r| r.block);
    assert_eq!(again, refused(Refusal::HotKeyAlreadyRegisteredInSubNet));
    ledger.add_stake(&pair(1), 1000 * TAO).await.unwrap();
    let too_fast = ledger.set_weights(&pair(1), weights(&[(0, 1)])).await;
    assert_eq!(too_fast, refused(Refusal::SettingWeightsTooFast { retry_at_block: 5 }));
    assert_eq!(ledger.weights(7).await, Err(LedgerError::Refused(Refusal::UidNotFound)));
    let state = served.local.state();
    assert!(state.weights.is_empty() && state.count() == 2, "nothing of it happened");
    served.stop().await;
}

#[tokio::test]
async fn a_replayed_stale_altered_or_misaddressed_request_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let database = home.path().join("ledger.db");
    let served = Served::start(&database).await;
    let me = served.local.genesis_id();
    let mut client = served.raw().await;
    served.remote().register(&pair(1)).await.unwrap();
    let kind = |error: tonic::Status| match wire::from_status(&error, "", 0) {
        LedgerError::Unauthenticated { kind, .. } => kind,
        other => panic!("{other:?}"),
    };
    let sign = |receiver: &AccountId, nonce_ns| {
        let call = v1::AddStakeCall { amount: TAO };
        signed_with_nonce(call, ADD_STAKE, &pair(1), Some(receiver), nonce_ns)
    };
    let stake = |nonce_ns| sign(&me, nonce_ns);
    // The same signature over another message.
    fn moved<C>(signed: tonic::Request<v1::AddStakeCall>, call: C) -> tonic::Request<C> {
        let (metadata, extensions, _) = signed.into_parts();
        tonic::Request::from_parts(metadata, extensions, call)
    }

    let nonce = auth::now_ns();
    assert_eq!(client.add_stake(stake(nonce)).await.unwrap().into_inner().stake, TAO);
    assert_eq!(
        kind(client.add_stake(stake(nonce)).await.unwrap_err()),
        AuthKind::ReplayedRequest
    );
    let stale = stake(auth::now_ns() - 11_000_000_000);
    assert_eq!(kind(client.add_stake(stale).await.unwrap_err()), AuthKind::StaleRequest);
    let early = stake(auth::now_ns() + 30_000_000_000);
    assert_eq!(
        kind(client.add_stake(early).await.unwrap_err()),
        AuthKind::FutureRequest
    );
    let altered = moved(stake(auth::now_ns()), v1::AddStakeCall { amount: 9 * TAO });
    assert_eq!(
        kind(client.add_stake(altered).await.unwrap_err()),
        AuthKind::BadSignature
    );
    // Signed for another method: the same bytes would mean something else there.
    let elsewhere = moved(stake(auth::now_ns()), v1::RegisterCall {});
    assert_eq!(
        kind(client.register(elsewhere).await.unwrap_err()),
        AuthKind::BadSignature
    );
    let misaddressed = sign(&AccountId::new([7; 32]), auth::now_ns());
    assert_eq!(
        kind(client.add_stake(misaddressed).await.unwrap_err()),
        AuthKind::WrongReceiver
    );
    let mut impostor = stake(auth::now_ns());
    let other = pair(2).account().to_string().parse().unwrap();
    impostor.metadata_mut().insert(metadata::HOTKEY_KEY, other);
    assert_eq!(
        kind(client.add_stake(impostor).await.unwrap_err()),
        AuthKind::BadSignature
    );
    let mut malformed = stake(auth::now_ns());
    malformed
        .metadata_mut()
        .insert(metadata::NONCE_KEY, "soon".parse().unwrap());
    let status = client.add_stake(malformed).await.unwrap_err();
    assert!(status.message().contains(metadata::NONCE_KEY), "{status:?}");
    assert_eq!(kind(status), AuthKind::MalformedRequest);
    // What nobody signed reaches no handler.
    let bare = v1::AddStakeCall { amount: TAO };
    assert_eq!(
        kind(client.add_stake(bare).await.unwrap_err()),
        AuthKind::MalformedRequest
    );
    assert_eq!(
        served.local.state().by_hotkey(&pair(1).account()).unwrap().stake,
        TAO,
        "only the honest one counted"
    );

    // The guard's memory of what was accepted survives a restart.
    served.stop().await;
    let served = Served::start(&database).await;
    let error = served.raw().await.add_stake(stake(nonce)).await.unwrap_err();
    assert_eq!(kind(error), AuthKind::ReplayedRequest);
    served.stop().await;
}

#[tokio::test]
async fn a_client_finds_its_way_when_another_ledger_takes_the_place() {
    // Two ledgers behind one address in turn: the client learns the new id after one refused call.
    let home = tempfile::tempdir().unwrap();
    let served = Served::start(&home.path().join("first.db")).await;
    let address = served.address;
    let remote = served.remote();
    remote.register(&pair(1)).await.unwrap();
    served.stop().await;

    let unreachable = remote.block().await.unwrap_err();
    assert!(matches!(&unreachable, LedgerError::Unavailable { endpoint, .. } if endpoint.contains("127.0.0.1")));

    let local = LocalLedger::open(&home.path().join("second.db"), &opening())
        .await
        .unwrap();
    let listener = node::server::bind(address).await.unwrap();
    let shutdown = CancellationToken::new();
    let routes = tonic::service::Routes::new(
        LedgerService::new(local.clone(), Duration::from_secs(12), auth::now_ns).into_server(),
    );
    let serving = tokio::spawn(node::server::serve(
        listener,
        routes,
        &[],
        protos::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    ));
    let error = remote.register(&pair(1)).await.unwrap_err();
    assert!(
        matches!(
            error,
            LedgerError::Unauthenticated {
                kind: AuthKind::WrongReceiver,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(remote.register(&pair(1)).await.unwrap().uid, 1);
    shutdown.cancel();
    serving.await.unwrap().unwrap();
    local.close().await;
}

#[tokio::test]
async fn a_silent_ledger_costs_no_more_than_the_deadline() {
    // Accepts connections and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    let ledger = RemoteLedger::new(&format!("http://{address}"), Duration::from_millis(50)).unwrap();
    let error = ledger.metagraph().await.unwrap_err();
    assert!(
        matches!(
            error,
            LedgerError::Deadline { after_ms: 50, .. } | LedgerError::Unavailable { .. }
        ),
        "{error}"
    );
    holding.abort();
}

#[test]
fn an_address_that_is_none_is_refused_at_once() {
    for url in [
        "https://127.0.0.1:1",
        "http://",
        "127.0.0.1",
        "not an address",
        "ftp://x:1",
    ] {
        let error = RemoteLedger::new(url, DEADLINE).unwrap_err().to_string();
        assert!(error.contains(url) && error.contains("http://HOST:PORT"), "{error}");
    }
}

#[tokio::test]
async fn one_database_has_one_ledger() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    let first = LocalLedger::open(&path, &opening()).await.unwrap();
    let error = LocalLedger::open(&path, &opening()).await.unwrap_err();
    assert!(matches!(error, OpenError::Store(StoreError::InUse(_))), "{error}");
    first.close().await;
    LocalLedger::open(&path, &opening()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_ledger_opens_only_with_what_fits_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    let no_owner = Opening {
        owner: None,
        ..opening()
    };
    assert!(matches!(
        LocalLedger::open(&path, &no_owner).await,
        Err(OpenError::NoOwner)
    ));
    let rich = vec![
        (pair(1).account(), 20_000_000 * TAO),
        (pair(1).account(), 2_000_000 * TAO),
    ];
    let error = LocalLedger::open(
        &path,
        &Opening {
            endowments: rich,
            ..opening()
        },
    )
    .await
    .unwrap_err();
    assert!(matches!(error, OpenError::Endowments));

    let ledger = LocalLedger::open(&path, &opening()).await.unwrap();
    let genesis = ledger.genesis_id();
    ledger.close().await;
    let other = Opening {
        owner: Some(pair(5).account()),
        ..opening()
    };
    assert!(matches!(
        LocalLedger::open(&path, &other).await,
        Err(OpenError::OtherOwner { .. })
    ));
    let netuid = Overrides {
        netuid: Some(2),
        ..opening().overrides
    };
    let error = LocalLedger::open(
        &path,
        &Opening {
            overrides: netuid,
            ..no_owner.clone()
        },
    )
    .await
    .unwrap_err();
    assert!(matches!(error, OpenError::Params(_)), "{error}");
    let longer = Overrides {
        tempo: Some(99),
        ..opening().overrides
    };
    let ledger = LocalLedger::open(
        &path,
        &Opening {
            overrides: longer,
            ..no_owner
        },
    )
    .await
    .unwrap();
    assert_eq!((ledger.genesis_id(), ledger.state().params.tempo), (genesis, 99));
    ledger.close().await;
    // Given once, it stays.
    let ledger = LocalLedger::open(&path, &Opening::default()).await.unwrap();
    assert_eq!(ledger.state().params.tempo, 99);
    ledger.close().await;

    let foreign = home.path().join("foreign.db");
    std::fs::write(
        &foreign,
        "this is no database, and long enough to be looked at by SQLite".repeat(20),
    )
    .unwrap();
    let error = LocalLedger::open(&foreign, &opening()).await.unwrap_err();
    assert!(error.to_string().contains("foreign.db"), "{error}");
}

#[test]
fn a_crash_in_the_middle_keeps_every_acknowledged_operation() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    let (acknowledged, before) = {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let acknowledged = Arc::new(std::sync::Mutex::new(Vec::new()));
        let ledger = runtime.block_on(LocalLedger::open(&path, &opening())).unwrap();
        let (enough, mut crash) = tokio::sync::watch::channel(0usize);
        let enough = Arc::new(enough);
        for n in 1..=8u8 {
            let (ledger, acknowledged, enough) = (ledger.clone(), Arc::clone(&acknowledged), Arc::clone(&enough));
            runtime.spawn(async move {
                ledger.register(&pair(n)).await.unwrap();
                for amount in 1.. {
                    let stake = ledger.add_stake(&pair(n), amount).await.unwrap();
                    acknowledged.lock().unwrap().push((n, stake));
                    enough.send_modify(|count| *count += 1);
                }
            });
        }
        // The process "dies" with operations in every stage: nobody closes anything.
        runtime
            .block_on(async { crash.wait_for(|count| *count >= 100).await.map(|count| *count) })
            .unwrap();
        drop(runtime);
        let acknowledged = acknowledged.lock().unwrap().clone();
        (acknowledged, ledger.state())
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let state = runtime.block_on(async {
        let ledger = LocalLedger::open(&path, &opening()).await.unwrap();
        let state = ledger.state();
        ledger.close().await;
        state
    });
    assert!(acknowledged.len() >= 100);
    for (n, stake) in acknowledged {
        let kept = state.by_hotkey(&pair(n).account()).unwrap().stake;
        assert!(kept >= stake, "hotkey {n} was told {stake}, the database has {kept}");
    }
    for neuron in &state.neurons {
        // Stakes are 1 + 2 + ... + k: no operation was stored by half or twice.
        let root = ((8 * neuron.stake + 1) as f64).sqrt().round() as u64;
        assert_eq!(root * root, 8 * neuron.stake + 1, "{neuron:?}");
        assert_eq!(state.purse(&neuron.hotkey).drawn, neuron.stake);
        let seen = before.by_hotkey(&neuron.hotkey).map_or(0, |n| n.stake);
        assert!(neuron.stake >= seen, "what readers saw was on disk");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Act(u8, Operation),
    Blocks(u8),
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = 0u8..6;
    let row = proptest::collection::btree_map(0u16..6, any::<u16>(), 1..4);
    prop_oneof![
        2 => who.clone().prop_map(|n| Step::Act(n, Operation::Register)),
        2 => (who.clone(), 0..5000 * TAO).prop_map(|(n, amount)| Step::Act(n, Operation::AddStake(amount))),
        1 => (who.clone(), any::<u16>()).prop_map(|(n, port)| Step::Act(n, Operation::ServeAxon(axon(port)))),
        3 => (who, row).prop_map(|(n, row)| {
            Step::Act(n, Operation::SetWeights(weights(&row.into_iter().collect::<Vec<_>>())))
        }),
        3 => (1u8..12).prop_map(Step::Blocks),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_restart_gives_the_same_state(steps in proptest::collection::vec(any_step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("ledger.db");
            let mut ledger = LocalLedger::open(&path, &opening()).await.unwrap();
            for step in steps.into_iter().chain([Step::Restart]) {
                match step {
                    Step::Act(n, operation) => match ledger.submit(pair(n).account(), operation, None).await {
                        Ok(_) | Err(LedgerError::Refused(_)) => {}
                        Err(error) => panic!("{error}"),
                    },
                    Step::Blocks(count) => {
                        for _ in 0..count {
                            ledger.advance().await.unwrap();
                        }
                    }
                    Step::Restart => {
                        let before = ledger.state();
                        ledger.close().await;
                        ledger = LocalLedger::open(&path, &opening()).await.unwrap();
                        assert_eq!(ledger.state(), before);
                    }
                }
            }
            ledger.close().await;
        });
    }
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    let home = tempfile::tempdir().unwrap();
    let served = Served::start(&home.path().join("ledger.db")).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", served.address))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest {
        service: wire::SERVICE.to_owned(),
    };
    let status = health.check(request).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
    let descriptors = String::from_utf8_lossy(protos::FILE_DESCRIPTOR_SET).into_owned();
    assert!(descriptors.contains("SetWeightsCall"));
    served.stop().await;
}

#[tokio::test]
async fn the_nonce_of_a_refused_operation_stays_used() {
    let home = tempfile::tempdir().unwrap();
    let served = Served::start(&home.path().join("ledger.db")).await;
    let me = served.local.genesis_id();
    let mut client = served.raw().await;
    served.remote().register(&pair(1)).await.unwrap();
    let nonce = auth::now_ns();
    let signed = || signed_with_nonce(v1::RegisterCall {}, REGISTER, &pair(1), Some(&me), nonce);
    let first = wire::from_status(&client.register(signed()).await.unwrap_err(), "", 0);
    assert_eq!(first, LedgerError::Refused(Refusal::HotKeyAlreadyRegisteredInSubNet));
    let second = wire::from_status(&client.register(signed()).await.unwrap_err(), "", 0);
    assert!(
        matches!(
            second,
            LedgerError::Unauthenticated {
                kind: AuthKind::ReplayedRequest,
                ..
            }
        ),
        "{second}"
    );
    served.stop().await;
}
