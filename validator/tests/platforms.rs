//! A validator goes on at the next platform when one is gone: nothing is missed, nothing comes twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chain::Keypair;
use futures::{Stream, StreamExt as _};
use protos::v1;
use protos::v1::platform_server::{Platform, PlatformServer};
use protos::v1::stream_item::Event;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use validator::codes::Codes;
use validator::intake::{Intake, Reader};
use validator::platforms::Platforms;
use validator::reporter;
use validator::store::Store;
use validator::withdrawn::Withdrawn;

/// The last item of the log.
const LAST: u64 = 40;
const PATIENCE: Duration = Duration::from_secs(30);

/// One of several platforms with the same log; a stream of it breaks off after `breaks_after` items.
#[derive(Clone)]
struct Replica {
    breaks_after: usize,
    reports: mpsc::Sender<v1::ReportRequest>,
}

type Items = Pin<Box<dyn Stream<Item = Result<v1::StreamItem, Status>> + Send>>;

#[tonic::async_trait]
impl Platform for Replica {
    type StreamStream = Items;

    async fn stream(&self, request: Request<v1::StreamRequest>) -> Result<Response<Items>, Status> {
        let item = |cursor| v1::StreamItem {
            cursor,
            event: Some(Event::FeedEnded(v1::FeedEnded {})),
            codes: Vec::new(),
        };
        let rest = (request.get_ref().after + 1..=LAST).map(move |cursor| Ok(item(cursor)));
        let end = futures::stream::once(async { Err(Status::unavailable("the platform is gone")) });
        Ok(Response::new(Box::pin(
            futures::stream::iter(rest).take(self.breaks_after).chain(end),
        )))
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Result<Response<v1::ReportResponse>, Status> {
        let _read_by_the_test = self.reports.try_send(request.into_inner());
        Ok(Response::new(v1::ReportResponse { accepted: 1 }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn incidents(&self, _: Request<v1::IncidentsRequest>) -> Result<Response<v1::IncidentsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn executions(&self, _: Request<v1::ExecutionsRequest>) -> Result<Response<v1::ExecutionsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

async fn serve(replica: Replica, shutdown: &CancellationToken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let routes = tonic::service::Routes::new(PlatformServer::new(replica));
    let descriptors = protos::FILE_DESCRIPTOR_SET;
    tokio::spawn(node::server::serve(
        listener,
        routes,
        &[],
        descriptors,
        shutdown.clone(),
    ));
    address
}

/// Nobody listens there.
const DEAD: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn a_stream_that_breaks_off_is_taken_up_at_the_next_platform() {
    let (shutdown, folder) = (CancellationToken::new(), tempfile::tempdir().unwrap());
    let store = Store::open(&folder.path().join("validator.db")).await.unwrap();
    let (reports, _unread) = mpsc::channel(1);
    let replica = |breaks_after| Replica {
        breaks_after,
        reports: reports.clone(),
    };
    let (one, other) = (serve(replica(7), &shutdown).await, serve(replica(11), &shutdown).await);
    let (queue, mut items) = mpsc::channel(4);
    let reader = Reader {
        platforms: Platforms::parse(&format!("{DEAD},{one},{other}"), None).unwrap(),
        hotkey: Arc::new(Keypair::from_seed([1; 32])),
        codes: Arc::new(Codes::new(store, 1 << 20)),
        queue,
        withdrawn: Arc::new(Withdrawn::default()),
        head: watch::Sender::new(None),
    };
    let reading = tokio::spawn(reader.read(0, shutdown.clone()));
    for expected in 1..=LAST {
        let item = tokio::time::timeout(PATIENCE, items.recv())
            .await
            .expect("the stream stands still");
        assert!(
            matches!(item, Some(Intake::Passed(cursor)) if cursor == expected),
            "{expected}: {item:?}"
        );
    }
    shutdown.cancel();
    reading.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_report_goes_to_the_next_platform_when_one_is_gone() {
    let (shutdown, folder) = (CancellationToken::new(), tempfile::tempdir().unwrap());
    let store = Store::open(&folder.path().join("validator.db")).await.unwrap();
    let (reports, mut taken) = mpsc::channel(1);
    let address = serve(
        Replica {
            breaks_after: 0,
            reports,
        },
        &shutdown,
    )
    .await;
    let told = v1::IncidentReport {
        tx_hash: vec![7; 32].into(),
        ..v1::IncidentReport::default()
    };
    assert!(store.record_incident(&told).await.unwrap());
    let running = tokio::spawn(reporter::run(
        Platforms::parse(&format!("{DEAD},{address}"), None).unwrap(),
        Arc::new(Keypair::from_seed([1; 32])),
        store.clone(),
        Arc::default(),
        shutdown.clone(),
    ));
    let report = tokio::time::timeout(PATIENCE, taken.recv())
        .await
        .expect("no report came")
        .unwrap();
    assert_eq!(report.incidents, [told]);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
