//! The log over a broker that comes, goes, forgets and loses: whatever it did, nobody's stream misses anything, and it is used again.

use std::path::Path;
use std::sync::Arc;

use async_nats::jetstream;
use async_nats::jetstream::message::PublishMessage;
use platform::broker::Broker;
use platform::log::FeedLog;
use platform::store::Store;
use protos::v1;
use testkit::{Nats, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, Served, assigned, batch, hotkey, open, read_all};

/// What a test has to do with the broker directly: what it keeps of this log.
struct Kept {
    url: String,
    stream: String,
    subject: String,
}

impl Kept {
    async fn of(store: &Store, nats: &Nats) -> Self {
        let name = store.log_name().await.unwrap();
        Self {
            url: nats.url(),
            stream: format!("portcullis-{name}"),
            subject: format!("portcullis.{name}"),
        }
    }

    async fn jetstream(&self) -> Result<jetstream::Context, async_nats::Error> {
        Ok(jetstream::new(async_nats::connect(&self.url).await?))
    }

    /// The cursor of its newest item.
    async fn newest(&self) -> Result<u64, async_nats::Error> {
        let stream = self.jetstream().await?.get_stream(&self.stream).await?;
        let message = stream.get_last_raw_message_by_subject(&self.subject).await?;
        let id = message.headers.get("Nats-Msg-Id").ok_or("a message without id")?;
        Ok(id.as_str().parse()?)
    }

    /// As an operator makes it: it forgets the ids of messages after the shortest time that there is.
    async fn made_by_an_operator(&self) {
        let config = jetstream::stream::Config {
            name: self.stream.clone(),
            subjects: vec![self.subject.clone()],
            duplicate_window: std::time::Duration::from_millis(100),
            ..Default::default()
        };
        self.jetstream().await.unwrap().create_stream(config).await.unwrap();
    }

    /// All of it is gone but for an item of this cursor.
    async fn replaced_by(&self, cursor: u64) {
        let jetstream = self.jetstream().await.unwrap();
        // It may not be there yet.
        let _gone = jetstream.delete_stream(&self.stream).await;
        self.made_by_an_operator().await;
        let message = PublishMessage::build().message_id(cursor.to_string());
        let sent = jetstream.send_publish(self.subject.clone(), message).await.unwrap();
        sent.await.unwrap();
    }
}

/// A platform's log over a broker, and a validator that reads it.
struct Carried {
    broker: Arc<Broker>,
    kept: Kept,
    stream: tonic::Streaming<v1::StreamItem>,
    last: u64,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
    _served: Served,
}

impl Carried {
    async fn start(folder: &Path, nats: &Nats) -> Self {
        let store = open(folder).await;
        let kept = Kept::of(&store, nats).await;
        let (broker, shutdown, running) = run(&store, nats).await;
        let served = Served::start_with(store, Some(broker.clone()), [1]).await;
        let mut log = Self {
            broker,
            kept,
            stream: served.stream(1, 0).await.unwrap(),
            last: 0,
            shutdown,
            running,
            _served: served,
        };
        // A broker that has nothing is given what is logged from then on that it has answered.
        let deliver_and_look = async || {
            log.deliver(1).await;
            log.kept.newest().await
        };
        let _newest = until("the broker is in use", deliver_and_look, Result::is_ok).await;
        log
    }

    /// So many more items are logged, and read by the validator.
    async fn deliver(&mut self, many: u64) {
        let next = self.last + 1..=self.last + many;
        for n in next.clone() {
            self.broker.append(batch(vec![assigned(n, &[1])])).await.unwrap();
        }
        for n in next {
            let item = tokio::time::timeout(PATIENCE, self.stream.message()).await;
            assert_eq!(item.expect("the stream stands still").unwrap().unwrap().cursor, n);
        }
        self.last += many;
    }

    /// The broker has all of it.
    async fn is_carried(&self) {
        let newest = async || self.kept.newest().await;
        let all = |newest: &Result<u64, _>| matches!(newest, Ok(newest) if *newest == self.last);
        let _newest = until(&format!("the broker has item {}", self.last), newest, all).await;
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
    }
}

async fn run(store: &Arc<Store>, nats: &Nats) -> (Arc<Broker>, CancellationToken, JoinHandle<()>) {
    let broker = Broker::open(&nats.url(), store.clone()).await.unwrap();
    let shutdown = CancellationToken::new();
    let (carrying, end) = (broker.clone(), shutdown.clone());
    let running = tokio::spawn(async move { carrying.run(end).await });
    (broker, shutdown, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_away_streams_go_on_by_the_database_and_it_catches_up() {
    let Some(mut nats) = testkit::nats() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut log = Carried::start(folder.path(), &nats).await;
    log.deliver(200).await;
    log.is_carried().await;
    nats.kill();
    log.deliver(100).await;
    nats.start();
    log.deliver(100).await;
    log.is_carried().await;
    log.deliver(50).await;
    log.is_carried().await;
    log.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_away_for_longer_than_it_remembers_ids_is_used_again() {
    let Some(mut nats) = testkit::nats() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    Kept::of(&store, &nats).await.made_by_an_operator().await;
    let mut log = Carried::start(folder.path(), &nats).await;
    log.deliver(20).await;
    log.is_carried().await;
    nats.kill();
    // By the database, and so no sooner than a second later.
    log.deliver(20).await;
    nats.start();
    log.deliver(20).await;
    log.is_carried().await;
    log.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_lost_what_it_had_delivered_is_given_it_again() {
    let Some(nats) = testkit::nats() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut log = Carried::start(folder.path(), &nats).await;
    log.deliver(20).await;
    log.is_carried().await;
    // Put back to what it was ten items ago.
    log.kept.replaced_by(log.last - 10).await;
    log.deliver(20).await;
    log.is_carried().await;
    log.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_holds_more_than_the_database_is_made_anew() {
    let Some(nats) = testkit::nats() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    // What another history left: this log has lost its end.
    let kept = Kept::of(&store, &nats).await;
    kept.replaced_by(999).await;
    let (broker, shutdown, running) = run(&store, &nats).await;
    let mut last = 0;
    // As for any broker that has nothing: it is given what is logged after it was made anew.
    let append_and_look = async || {
        last = broker.append(batch(vec![assigned(last + 1, &[1])])).await.unwrap();
        (last, kept.newest().await)
    };
    let carried = |(last, newest): &(u64, Result<u64, _>)| matches!(newest, Ok(newest) if (1..=*last).contains(newest));
    let (last, _newest) = until("the log is carried", append_and_look, carried).await;
    let cursors: Vec<u64> = read_all(broker.as_ref(), &hotkey(1))
        .await
        .iter()
        .map(|item| item.cursor)
        .collect();
    assert_eq!(cursors, (1..=last).collect::<Vec<_>>());
    shutdown.cancel();
    running.await.unwrap();
}
