//! An OpenTelemetry collector that keeps what it gets: the real protocol (OTLP over gRPC), on a free port.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A span, and the `service.name` of the process that sent it.
#[derive(Debug, Clone)]
pub struct Collected {
    /// The process.
    pub service: String,
    /// What it sent.
    pub span: Span,
}

/// A collector; it ends when it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: Spans,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

#[derive(Debug, Clone, Default)]
struct Spans(Arc<Mutex<Vec<Collected>>>);

impl Collector {
    /// Starts one.
    ///
    /// # Panics
    /// Without a free port.
    pub async fn start() -> Self {
        let Ok(listener) = tokio::net::TcpListener::bind("127.0.0.1:0").await else {
            panic!("the collector has no port to listen on")
        };
        let Ok(address) = listener.local_addr() else {
            panic!("the collector's port has no address")
        };
        let spans = Spans::default();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(spans.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        Self {
            address,
            spans,
            serving: tokio::spawn(server),
        }
    }

    /// What `--otlp` takes.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that came until now.
    pub fn spans(&self) -> Vec<Collected> {
        self.spans.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_process in request.into_inner().resource_spans {
            let service = of_process
                .resource
                .iter()
                .flat_map(|resource| &resource.attributes)
                .find(|attribute| attribute.key == "service.name")
                .and_then(|attribute| attribute.value.clone()?.value)
                .map(|value| match value {
                    opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(name) => name,
                    other => format!("{other:?}"),
                })
                .unwrap_or_default();
            for span in of_process.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                kept.push(Collected {
                    service: service.clone(),
                    span,
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
