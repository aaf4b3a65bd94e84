//! The stream over a socket: assigned only, resumable anywhere, nobody held up.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chain::auth::sign::signed_with_nonce;
use chain::ledger::Answer;
use chain::{
    AxonInfo, Hyperparameters, Keypair, Ledger, LedgerError, Metagraph, Neuron, Registration, TimelockedCommit,
    WeightsCall, WeightsCommit, WeightsReveal,
};
use engine::B256;
use platform::log::{Batch, Event, FeedLog, Log};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use protos::v1;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::world::{Served, assigned, batch, for_all, head, hotkey, open, pending, read_all, validator};

const PATIENCE: Duration = Duration::from_secs(60);

async fn next(stream: &mut tonic::Streaming<v1::StreamItem>) -> v1::StreamItem {
    tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("the stream stands still")
        .unwrap()
        .unwrap()
}

/// Reads up to and with the item at this cursor.
async fn through(stream: &mut tonic::Streaming<v1::StreamItem>, last: u64) -> Vec<v1::StreamItem> {
    let mut items = Vec::new();
    while items.last().is_none_or(|item: &v1::StreamItem| item.cursor != last) {
        items.push(next(stream).await);
    }
    items
}

#[test]
fn from_any_cursor_a_validator_gets_exactly_the_rest() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    const LAST: u64 = 150;
    let served = runtime.block_on(async {
        let store = open(folder.path()).await;
        let mut entries = vec![for_all(head(1, &[]))];
        for n in 2..LAST {
            entries.push(match n % 10 {
                0 => for_all(head(n, &[])),
                _ => assigned(n, &[(n % 3) as u8, ((n + 1) % 3) as u8]),
            });
        }
        entries.push(for_all(Event::FeedEnded(v1::FeedEnded {})));
        store.append(batch(entries)).await.unwrap();
        Served::start(store, 0..3).await
    });
    TestRunner::new(ProptestConfig::with_cases(40))
        .run(&(0u8..3, 0u64..LAST), |(n, after)| {
            runtime.block_on(async {
                let mut stream = served.stream(n, after).await.unwrap();
                let items = through(&mut stream, LAST).await;
                // It opens with the head in force, whose cursor is not behind `after`.
                let opening = items.iter().take_while(|item| item.cursor <= after).count();
                let in_force = served.store.in_force(after).await.unwrap();
                prop_assert_eq!(&items[..opening], &in_force[..]);
                let whole = read_all(served.store.as_ref(), &hotkey(n)).await;
                let rest: Vec<_> = whole.into_iter().filter(|item| item.cursor > after).collect();
                prop_assert_eq!(&items[opening..], &rest[..]);
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn what_is_appended_while_the_stream_is_open_follows() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(open(folder.path()).await, [1]).await;
    let mut stream = served.stream(1, 0).await.unwrap();
    for n in 1..=50 {
        served.store.append(batch(vec![assigned(n, &[1])])).await.unwrap();
        let item = next(&mut stream).await;
        assert_eq!((item.cursor, item.event), (n, Some(Event::Pending(pending(n)))));
    }
}

#[tokio::test]
async fn bytecode_is_sent_once_in_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(open(folder.path()).await, [1]).await;
    let code = |n: u8| v1::Code {
        hash: wire::hash_bytes(B256::repeat_byte(n)),
        bytecode: vec![n].into(),
    };
    let needing = |n, codes: &[u8]| {
        let mut entry = assigned(n, &[1]);
        if let Event::Pending(pending) = &mut entry.event {
            let code_hashes = codes.iter().map(|n| code(*n).hash).collect();
            pending.prestate = Some(v1::Prestate {
                code_hashes,
                ..v1::Prestate::default()
            });
        }
        entry
    };
    let entries = vec![needing(1, &[1]), needing(2, &[1, 2]), needing(3, &[2])];
    served
        .store
        .append(Batch {
            entries,
            codes: vec![code(1), code(2)],
            progress: None,
        })
        .await
        .unwrap();

    let carried = async |after| {
        let mut stream = served.stream(1, after).await.unwrap();
        through(&mut stream, 3)
            .await
            .into_iter()
            .map(|item| item.codes)
            .collect::<Vec<_>>()
    };
    assert_eq!(carried(0).await, [vec![code(1)], vec![code(2)], vec![]]);
    // A stream that resumes knows nothing of what another one carried.
    assert_eq!(carried(1).await, [vec![code(1), code(2)], vec![]]);
}

#[tokio::test]
async fn a_validator_that_does_not_read_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(open(folder.path()).await, [1, 2]).await;
    let _idle = served.stream(1, 0).await.unwrap();
    let mut reading = served.stream(2, 0).await.unwrap();
    for start in (1..=2000u64).step_by(100) {
        let big = |n| {
            let mut entry = assigned(n, &[1, 2]);
            if let Event::Pending(pending) = &mut entry.event {
                pending.transaction.as_mut().unwrap().raw = vec![0; 2000].into();
            }
            entry
        };
        served
            .store
            .append(batch((start..start + 100).map(big).collect()))
            .await
            .unwrap();
    }
    assert_eq!(through(&mut reading, 2000).await.len(), 2000);
}

#[tokio::test]
async fn only_a_permit_signed_for_the_stream_opens_one() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(open(folder.path()).await, [1]).await;
    assert_eq!(served.stream(2, 0).await.unwrap_err().code(), Code::PermissionDenied);
    // What was signed for a report opens no stream, what nobody signed neither, nor what was signed for one receiver.
    let request = v1::StreamRequest::default();
    let sign = |path: &str, receiver: Option<&chain::AccountId>| {
        signed_with_nonce(request, path, &validator(1), receiver, chain::auth::now_ns())
    };
    let report = sign("/portcullis.v1.Platform/Report", None);
    let addressed = sign("/portcullis.v1.Platform/Stream", Some(&chain::AccountId::new([7; 32])));
    let refused = [
        (report, Code::Unauthenticated),
        (addressed, Code::Unauthenticated),
        (tonic::Request::new(request), Code::InvalidArgument),
    ];
    for (request, code) in refused {
        assert_eq!(served.client.clone().stream(request).await.unwrap_err().code(), code);
    }
    assert_eq!(served.status().await.validators_connected, 0);
}

#[tokio::test]
async fn a_reconnecting_validator_takes_its_own_place() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(open(folder.path()).await, [1]).await;
    let mut first = served.stream(1, 0).await.unwrap();
    let _second = served.stream(1, 0).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, first.message())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(ended.code(), Code::Aborted);
    assert_eq!(served.status().await.validators_connected, 1);
}

#[tokio::test]
async fn a_shutdown_ends_every_stream() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(open(folder.path()).await, [1]).await;
    let mut stream = served.stream(1, 0).await.unwrap();
    served.shutdown.cancel();
    let ended = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
}

/// A ledger of which only the metagraph is asked.
#[derive(Debug, Default)]
struct PaperLedger(Mutex<Option<BTreeSet<u8>>>);

/// What nobody asks of it.
macro_rules! unasked {
    ($lifetime:lifetime: $($method:ident($($argument:ty),*) -> $answer:ty;)*) => {
        $(fn $method<$lifetime>(&$lifetime self, $(_: $argument),*) -> Answer<$lifetime, $answer> {
            Box::pin(async { Err(LedgerError::Closed) })
        })*
    };
}

impl Ledger for PaperLedger {
    fn metagraph(&self) -> Answer<'_, Metagraph> {
        let permits = self.0.lock().unwrap().clone();
        let neuron = |uid: u8, permits: &BTreeSet<u8>| Neuron {
            validator_permit: permits.contains(&uid),
            ..Neuron::new(u16::from(uid), validator(uid).account())
        };
        let metagraph = permits.map(|permits| {
            let neurons = (0..4).map(|uid| neuron(uid, &permits));
            Metagraph::new(1, 10, neurons.collect())
        });
        Box::pin(async { metagraph.ok_or(LedgerError::Closed) })
    }

    unasked! {
        'a:
        block() -> u64;
        hyperparameters() -> Hyperparameters;
        weights(u16) -> Vec<(u16, u16)>;
        register(&'a Keypair) -> Registration;
        add_stake(&'a Keypair, u64) -> u64;
        serve_axon(&'a Keypair, AxonInfo) -> u64;
        set_weights(&'a Keypair, WeightsCall) -> u64;
        commit_weights(&'a Keypair, WeightsCommit) -> u64;
        reveal_weights(&'a Keypair, WeightsReveal) -> u64;
        commit_timelocked(&'a Keypair, TimelockedCommit) -> u64;
    }
}

#[tokio::test]
async fn the_ledger_says_who_may_stream_and_an_outage_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(open(folder.path()).await, []).await;
    let ledger = Arc::new(PaperLedger::default());
    let end = CancellationToken::new();
    let following = tokio::spawn({
        let (ledger, validators, store, end) = (
            ledger.clone(),
            served.validators.clone(),
            served.store.clone(),
            end.clone(),
        );
        async move {
            validators
                .follow(ledger.as_ref(), &store, Duration::from_millis(5), end)
                .await
        }
    });
    let until = async |n: u8, permitted: bool| {
        let waiting = async {
            while served.validators.is_permitted(&hotkey(n)) != permitted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .expect("the metagraph is not followed");
    };
    let set = |permits: Option<BTreeSet<u8>>| *ledger.0.lock().unwrap() = permits;
    set(Some([1, 2].into()));
    until(2, true).await;
    assert!(
        !served.validators.is_permitted(&hotkey(3)),
        "registered, but without a permit"
    );
    let mut stream = served.stream(1, 0).await.unwrap();
    // The ledger is gone for a while: permits stay; afterwards one has lost its own.
    set(None);
    assert!(served.validators.is_permitted(&hotkey(1)));
    set(Some([2, 3].into()));
    until(3, true).await;
    let ended = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(ended.code(), Code::Aborted);
    // Whoever had a permit once is remembered for the next start.
    let mut seen = served.store.validators().await.unwrap();
    seen.sort_unstable();
    let mut expected = [1, 2, 3].map(hotkey);
    expected.sort_unstable();
    assert_eq!(seen, expected);
    end.cancel();
    following.await.unwrap().unwrap();
}
