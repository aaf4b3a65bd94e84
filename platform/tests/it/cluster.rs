//! Several platforms behind one database: one feeds, all serve, and each may end at any moment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chain::Ledger as _;
use chain::auth::sign::Signer;
use chain::local::params::Overrides;
use chain::local::service::LedgerService;
use chain::local::{LocalLedger, Opening};
use engine::case::Case;
use platform::cluster::Cluster;
use platform::log::Event;
use platform::store::Store;
use platform::validators::Validators;
use protos::v1;
use protos::v1::platform_client::PlatformClient;
use testkit::process::Running;
use testkit::until;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tower::Layer as _;

use crate::world::{PATIENCE, case, hotkey, in_schema, open, permitted, platform, read_all, schema, validator};

const VALIDATORS: [u8; 3] = [1, 2, 3];

/// A subnet with a permit for each validator, over gRPC; gives its address.
async fn ledger(folder: &Path, shutdown: &CancellationToken) -> (LocalLedger, String) {
    let opening = Opening {
        overrides: Overrides {
            faucet: true,
            tempo: Some(5),
            ..Overrides::default()
        },
        owner: Some(validator(100).account()),
        endowments: vec![],
    };
    let local = LocalLedger::open(&folder.join("ledger.db"), &opening).await.unwrap();
    local.advance().await.unwrap();
    for n in VALIDATORS {
        local.register(&validator(n)).await.unwrap();
        local
            .add_stake(&validator(n), 5_000 * chain::ledger::RAO_PER_TAO)
            .await
            .unwrap();
        // Registrations in one block are limited.
        local.advance().await.unwrap();
    }
    let permitted = |metagraph: &chain::Metagraph| metagraph.neurons.iter().filter(|n| n.validator_permit).count();
    for _ in 0..50 {
        if permitted(&local.metagraph().await.unwrap()) >= VALIDATORS.len() {
            break;
        }
        local.advance().await.unwrap();
    }
    assert!(permitted(&local.metagraph().await.unwrap()) >= VALIDATORS.len());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let service = LedgerService::new(local.clone(), Duration::from_secs(12), chain::auth::now_ns).into_server();
    tokio::spawn(node::server::serve(
        listener,
        tonic::service::Routes::new(service),
        &[],
        protos::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    ));
    (local, address)
}

/// `blocks` blocks of three transactions each.
fn recording(folder: &Path, blocks: u64) -> PathBuf {
    let path = folder.join("recording");
    std::fs::create_dir_all(&path).unwrap();
    for number in 100..100 + blocks {
        Case::save([&case(number)], path.join(format!("{number}.json.gz"))).unwrap();
    }
    path
}

/// A platform process of this name.
async fn instance(folder: &Path, name: &str, args: &[(&str, &str)]) -> Running {
    let home = folder.join(name);
    std::fs::create_dir(&home).unwrap();
    let mut command = platform(&["run", "--listen", "127.0.0.1:0", "--metagraph-interval", "200ms"]);
    for (flag, value) in args {
        command.arg(format!("--{flag}")).arg(value);
    }
    Running::start(command.into(), &home).await
}

/// A validator that reads from whichever platform answers, from its cursor on, until the feed's end.
async fn follow(n: u8, platforms: Vec<String>, progress: tokio::sync::watch::Sender<usize>) -> Vec<v1::StreamItem> {
    let (mut items, mut after) = (Vec::<v1::StreamItem>::new(), 0);
    for turn in 0.. {
        let endpoint = Endpoint::from_shared(platforms[turn % platforms.len()].clone()).unwrap();
        let Ok(channel) = endpoint.connect().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let signed = Signer::new(Arc::new(validator(n)), None).layer(channel);
        let Ok(stream) = PlatformClient::new(signed).stream(v1::StreamRequest { after }).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut stream = stream.into_inner();
        while let Ok(Some(item)) = stream.message().await {
            // The stream opens with what is in force, under cursors that are passed already.
            if item.cursor <= after {
                continue;
            }
            after = item.cursor;
            let ended = matches!(item.event, Some(Event::FeedEnded(_)));
            items.push(item);
            progress.send_replace(items.len());
            if ended {
                return items;
            }
        }
    }
    items
}

fn tx_hashes(items: &[v1::StreamItem]) -> Vec<Vec<u8>> {
    let hash = |item: &v1::StreamItem| match &item.event {
        Some(Event::Pending(pending)) => Some(pending.transaction.as_ref()?.hash.to_vec()),
        _ => None,
    };
    items.iter().filter_map(hash).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_platforms_is_killed_and_every_transaction_is_delivered_by_the_other() {
    const BLOCKS: u64 = 40;
    let (Some(postgres), Some(nats)) = (testkit::postgres(), testkit::nats()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let (_local, ledger) = ledger(folder.path(), &shutdown).await;
    schema(&postgres.url(), "platforms").await;
    let (database, broker) = (in_schema(&postgres.url(), "platforms"), nats.url());
    let feed = format!("replay:{}", recording(folder.path(), BLOCKS).display());
    let store = Store::open(database.parse::<node::database::Place>().unwrap())
        .await
        .unwrap();
    let args = [
        ("database", database.as_str()),
        ("broker", &broker),
        ("feed", &feed),
        ("pace", "40/s"),
        ("ledger", &ledger),
        ("min-validators", "3"),
        ("replicas", "2"),
        ("log", "warn"),
    ];
    let first = instance(folder.path(), "first", &args).await;
    let feeder = until(
        "one feeds the log",
        async || store.feeder().await.unwrap(),
        Option::is_some,
    )
    .await;
    let second = instance(folder.path(), "second", &args).await;

    // Two validators begin at the one that is killed, one at the other: those of both are counted as connected.
    let (mut reading, mut progress) = (Vec::new(), Vec::new());
    for n in VALIDATORS {
        let mut platforms = [&first, &second]
            .map(|platform| format!("http://{}", platform.address))
            .to_vec();
        platforms.rotate_left(usize::from(n == 3));
        let (sender, receiver) = tokio::sync::watch::channel(0);
        progress.push(receiver);
        reading.push(tokio::spawn(follow(n, platforms, sender)));
    }
    // In the middle of it.
    for seen in &mut progress {
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|items| *items >= 30)).await;
        waited.expect("the stream stands still").unwrap();
    }
    first.kill().await;

    let mut delivered = BTreeSet::new();
    let mut deliveries = 0;
    for (n, reading) in VALIDATORS.into_iter().zip(reading) {
        let items = tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("the stream stands still")
            .unwrap();
        let mut logged = read_all(&store, &hotkey(n)).await;
        // Bytecode travels beside the items, once a stream.
        let bare = |items: &mut [v1::StreamItem]| items.iter_mut().for_each(|item| item.codes.clear());
        let mut items = items;
        bare(&mut items);
        bare(&mut logged);
        assert_eq!(items, logged, "validator {n}: nothing is missed, nothing comes twice");
        let hashes = tx_hashes(&items);
        deliveries += hashes.len();
        delivered.extend(hashes);
    }
    assert_eq!(
        (delivered.len() as u64, deliveries as u64),
        (3 * BLOCKS, 2 * 3 * BLOCKS)
    );
    let now = store.feeder().await.unwrap();
    assert!(now.is_some() && now != feeder, "the other one feeds the log by now");
    shutdown.cancel();
}

/// An instance without its process.
fn member(store: &Arc<Store>) -> (Arc<Cluster>, Arc<Validators>) {
    let validators = Validators::new([]);
    validators.update(permitted(VALIDATORS));
    (Cluster::new(store.clone(), validators.clone()), validators)
}

#[tokio::test]
async fn the_turn_to_feed_is_one_instances_and_is_handed_on_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.remember(&Vec::from_iter(permitted(VALIDATORS))).await.unwrap();
    let ((one, at_one), (two, at_two)) = (member(&store), member(&store));
    let (end_one, end_two) = (CancellationToken::new(), CancellationToken::new());
    let live = |cluster: &Arc<Cluster>, end: &CancellationToken| {
        let (cluster, end) = (cluster.clone(), end.clone());
        tokio::spawn(async move { cluster.live(end).await })
    };
    let first = live(&one, &end_one);
    assert!(one.turn(&end_one).await);
    let second = live(&two, &end_two);

    // Who is connected to one is known to the other.
    let _stream = at_one.enter(hotkey(1)).unwrap();
    let _other = at_two.enter(hotkey(2)).unwrap();
    let connected = async || (at_one.live(), at_two.live());
    until("each hears of the other's validators", connected, |live| {
        *live == (2, 2)
    })
    .await;
    let waiting = tokio::time::timeout(Duration::from_millis(1_200), two.turn(&end_two)).await;
    assert!(waiting.is_err(), "the other one feeds the log");

    end_one.cancel();
    first.await.unwrap().unwrap();
    // At once: nobody waits until the first is missed.
    tokio::time::timeout(Duration::from_secs(3), two.turn(&end_two))
        .await
        .expect("the turn was not handed on");
    until(
        "the dead one's validators count no more",
        async || at_two.live(),
        |live| *live == 1,
    )
    .await;

    // Whoever loses its turn while it lives ends, with the code that asks for a restart.
    let feeder = store.feeder().await.unwrap();
    store
        .replace_feeder(feeder.as_deref(), Some("somebody else"))
        .await
        .unwrap();
    let failure = second.await.unwrap().unwrap_err();
    assert_eq!(failure.code(), node::exit::Code::Restart);
}
