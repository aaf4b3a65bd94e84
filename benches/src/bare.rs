//! Bare tonic calls: bytes there and bytes back, with nothing read, checked or made of them on either side.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use prost::bytes::{Buf, BufMut, Bytes};
use tonic::body::Body;
use tonic::client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tower::Service;

const PATH: &str = "/portcullis.bench.Bare/Call";

/// Messages are bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// One bare call.
///
/// # Errors
/// As the server or the channel says.
pub async fn call(channel: Channel, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
    let mut client = client::Grpc::new(channel);
    let unready = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    client.ready().await.map_err(unready)?;
    client.unary(request, PathAndQuery::from_static(PATH), Raw).await
}

/// A server that gives the same bytes each time, without a look at the request.
#[derive(Debug, Clone)]
pub struct Server {
    /// The bytes.
    pub ready: Bytes,
}

impl NamedService for Server {
    const NAME: &'static str = "portcullis.bench.Bare";
}

impl UnaryService<Bytes> for Server {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        ready(Ok(Response::new(self.ready.clone())))
    }
}

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { Ok(Grpc::new(Raw).unary(server, request).await) })
    }
}
