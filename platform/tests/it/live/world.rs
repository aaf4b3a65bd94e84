//! A live feed under test.

use std::sync::Arc;
use std::time::Duration;

use alloy::providers::ext::AnvilApi;
use alloy::providers::{DynProvider, Provider};
use engine::{Address, B256, U256, WatchSet};
use platform::feed::live::status::LiveStatus;
use platform::feed::live::{LiveFeed, LiveOptions};
use platform::feed::pump::{Distribution, pump};
use platform::feed::{Feed, FeedError, FeedItem};
use platform::log::{Event, Log};
use platform::store::Store;
use platform::validators::Validators;
use protos::v1;
use testkit::TestAnvil;
use tokio::sync::{mpsc, watch};

use crate::world::{hotkey, permitted, read_all};

/// The chain of a development node.
pub(crate) const CHAIN: u64 = 31_337;
/// How long a test waits for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Quick enough for a test.
pub(crate) fn options() -> LiveOptions {
    LiveOptions {
        poll_interval: Duration::from_millis(50),
        heartbeat: Duration::from_millis(200),
        request_timeout: Duration::from_secs(10),
        check_interval: Duration::from_millis(200),
        block_time: Duration::from_secs(1),
        ..LiveOptions::default()
    }
}

pub(crate) async fn mine(anvil: &TestAnvil) {
    anvil.provider().anvil_mine(Some(1), None).await.unwrap();
}

/// Of calls with a gas limit of 100,000 a block takes one from now on: the one that pays most.
pub(crate) async fn one_call_a_block(anvil: &TestAnvil) {
    let limit = ["0x1d4c0"];
    let limited: bool = anvil
        .provider()
        .raw_request("evm_setBlockGasLimit".into(), limit)
        .await
        .unwrap();
    assert!(limited, "the node takes the limit");
}

/// A feed that runs, and what it has shown.
pub(crate) struct Live {
    items: mpsc::Receiver<Result<FeedItem, FeedError>>,
    pub status: LiveStatus,
    pub history: Vec<FeedItem>,
    _watched: watch::Sender<Arc<WatchSet>>,
}

impl Live {
    pub(crate) fn start(urls: &[String], options: LiveOptions, log: Arc<dyn Log>, position: Option<String>) -> Self {
        let urls = urls.iter().map(|url| url.parse().unwrap()).collect();
        let (watching, watched) = watch::channel(Arc::default());
        let feed = LiveFeed::new(urls, options, log, watched);
        let status = feed.status();
        let (sender, items) = mpsc::channel(16);
        Box::new(feed).start(position, sender);
        Self {
            items,
            status,
            history: Vec::new(),
            _watched: watching,
        }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Event {
        match tokio::time::timeout(PATIENCE, self.items.recv()).await {
            Ok(Some(Ok(item))) => {
                let event = item.event.clone();
                self.history.push(item);
                event
            }
            other => panic!(
                "no item: {other:?}, after {:#?}, {:#?}",
                self.outline(),
                self.status.snapshot()
            ),
        }
    }

    /// Everything up to the first event that `is` it.
    pub(crate) async fn until<T>(&mut self, mut is: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            let event = self.next().await;
            if let Some(found) = is(&event) {
                return found;
            }
        }
    }

    /// The next item of this transaction.
    pub(crate) async fn pending(&mut self, hash: B256) -> v1::PendingTransaction {
        self.until(|event| match event {
            Event::Pending(pending) if hash_of(pending) == hash => Some(pending.clone()),
            _ => None,
        })
        .await
    }

    /// The next head that `is` it.
    pub(crate) async fn head(&mut self, is: impl Fn(&v1::Head) -> bool) -> v1::Head {
        self.until(|event| match event {
            Event::Head(head) if is(head) => Some(head.clone()),
            _ => None,
        })
        .await
    }

    /// How often this transaction was shown.
    pub(crate) fn shown(&self, hash: B256) -> usize {
        let of = |item: &&FeedItem| matches!(&item.event, Event::Pending(pending) if hash_of(pending) == hash);
        self.history.iter().filter(of).count()
    }

    /// Waits until the status says so, taking items meanwhile.
    pub(crate) async fn settles(&mut self, says: impl Fn(&v1::FeedStatus) -> bool) -> v1::FeedStatus {
        let begun = std::time::Instant::now();
        loop {
            let status = self.status.snapshot();
            if says(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{status:#?}, after {:#?}", self.outline());
            if let Ok(Some(item)) = tokio::time::timeout(Duration::from_millis(20), self.items.recv()).await {
                self.history.push(item.unwrap());
            }
        }
    }

    fn outline(&self) -> Vec<String> {
        self.history
            .iter()
            .map(|item| match &item.event {
                Event::Head(head) => format!("head {} +{} -{}", head.number, head.included.len(), head.orphaned.len()),
                Event::Pending(pending) => {
                    let with = if pending.prestate.is_some() { "with" } else { "without" };
                    format!("pending {} {with} state", hash_of(pending))
                }
                other => format!("{other:?}"),
            })
            .collect()
    }
}

pub(crate) fn hash_of(pending: &v1::PendingTransaction) -> B256 {
    wire::transaction_hash(pending.transaction.as_ref().unwrap()).unwrap()
}

pub(crate) fn includes(head: &v1::Head, hash: B256) -> bool {
    head.included
        .iter()
        .any(|included| included.as_ref() == hash.as_slice())
}

/// A port that leads to a node, and to another one after [`Relay::lead_to`]; connections break then.
pub(crate) struct Relay {
    address: std::net::SocketAddr,
    target: watch::Sender<Option<String>>,
}

impl Relay {
    pub(crate) async fn to(node: &TestAnvil) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = watch::Sender::new(Some(host(node)));
        let targets = target.subscribe();
        tokio::spawn(async move {
            while let Ok((mut incoming, _)) = listener.accept().await {
                let mut targets = targets.clone();
                tokio::spawn(async move {
                    let Some(target) = targets.borrow_and_update().clone() else {
                        return;
                    };
                    let Ok(mut outgoing) = tokio::net::TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut incoming, &mut outgoing) => {}
                        _ = targets.changed() => {}
                    }
                });
            }
        });
        Self { address, target }
    }

    pub(crate) fn ws(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// `None`: connections are taken and broken at once.
    pub(crate) fn lead_to(&self, node: Option<&TestAnvil>) {
        self.target.send_replace(node.map(host));
    }
}

fn host(node: &TestAnvil) -> String {
    node.http().trim_start_matches("http://").to_owned()
}

/// A feed that is pumped into a log, as `platform run` does it.
pub(crate) struct Pumped {
    pub store: Arc<Store>,
    pub status: LiveStatus,
    shutdown: tokio_util::sync::CancellationToken,
    task: tokio::task::JoinHandle<Result<(), FeedError>>,
    _watched: watch::Sender<Arc<WatchSet>>,
}

impl Pumped {
    pub(crate) fn start(url: &str, store: Arc<Store>) -> Self {
        let (watching, watched) = watch::channel(Arc::default());
        let feed = LiveFeed::new(vec![url.parse().unwrap()], options(), store.clone(), watched);
        let status = feed.status();
        let validators = Validators::new([]);
        validators.update(permitted([1]));
        let distribution = Distribution {
            replicas: 1,
            min_validators: 0,
        };
        let shutdown = tokio_util::sync::CancellationToken::new();
        let task = tokio::spawn(pump(
            Box::new(feed),
            store.clone(),
            validators,
            distribution,
            shutdown.clone(),
        ));
        Self {
            store,
            status,
            shutdown,
            task,
            _watched: watching,
        }
    }

    /// Waits until the log's events say so.
    pub(crate) async fn until(&self, says: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let mut grown = self.store.grown();
        let wait = async {
            loop {
                grown.borrow_and_update();
                let events = self.events().await;
                if says(&events) {
                    return events;
                }
                grown.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(events) => events,
            Err(_) => panic!("{:#?}, {:#?}", self.events().await, self.status.snapshot()),
        }
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        let items = read_all(self.store.as_ref(), &hotkey(1)).await;
        items.into_iter().filter_map(|item| item.event).collect()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Every account and every slot of the state that was shown with a transaction is what the node says of that block; gives how many
/// slots.
pub(crate) async fn assert_true(node: &DynProvider, pending: &v1::PendingTransaction) -> usize {
    let head = B256::from_slice(&pending.head_hash);
    let prestate = pending.prestate.as_ref().expect("its state");
    let mut slots = 0;
    for account in &prestate.accounts {
        let address = Address::from_slice(&account.address);
        let balance = node.get_balance(address).hash(head).await.unwrap();
        let nonce = node.get_transaction_count(address).hash(head).await.unwrap();
        // One that does not exist is shipped without a balance.
        let shipped = U256::try_from_be_slice(&account.balance).unwrap();
        assert_eq!((shipped, account.nonce), (balance, nonce), "{address} at {head}");
        for slot in &account.storage {
            let key = U256::try_from_be_slice(&slot.key).unwrap();
            let value = node.get_storage_at(address, key).hash(head).await.unwrap();
            let shipped = U256::try_from_be_slice(&slot.value).unwrap();
            assert_eq!(shipped, value, "slot {key} of {address} at {head}");
            slots += 1;
        }
    }
    slots
}

/// How often this transaction is shown among the events.
pub(crate) fn shown(events: &[Event], hash: B256) -> usize {
    let of = |event: &&Event| matches!(event, Event::Pending(pending) if hash_of(pending) == hash);
    events.iter().filter(of).count()
}

/// The numbers of the heads among the events, in their order.
pub(crate) fn heights(events: &[Event]) -> Vec<u64> {
    let height = |event: &Event| match event {
        Event::Head(head) => Some(head.number),
        _ => None,
    };
    events.iter().filter_map(height).collect()
}
