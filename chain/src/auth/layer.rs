//! Signed requests, checked by a tower layer before any handler, so that no handler can forget it.
//!
//! A service behind a [`Gate`] names the methods that are open; every other one, so every one that is added later, takes only what is
//! signed, addressed to it, fresh, new, and by somebody whom it admits. The handler finds the [`Caller`] by [`caller`]. Requests of one
//! message only.
//!
//! What costs nothing is checked first: shape, receiver, freshness and admission by the metadata alone, before a byte of the body is
//! read. What is read of bodies whose signatures are not verified yet is bounded for each request, for all together, and in time.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use prost::bytes::{Bytes, BytesMut};
use protos::DecodeError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Status};
use tower::{Layer, Service};

use super::{AuthError, BodyDigest, Caller, Checks, MAX_AGE, metadata};

/// Before a gRPC message: whether it is compressed, and its length.
const FRAME: usize = 5;
/// Bodies that are being read, all together, in units of the largest one that is taken.
const BODIES: usize = 4;

/// Who made a call that came through a [`Gate`].
///
/// # Errors
/// A status when it did not: the service is served without its gate, or the method is an open one.
pub fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .copied()
        .ok_or_else(|| Status::internal("a signed method is served without the check of its signature"))
}

/// Whom a service takes of those who sign rightly: a check of the metagraph, say.
pub type Admission = Arc<dyn Fn(&Caller) -> Result<(), Status> + Send + Sync>;

/// The layer.
#[derive(Clone)]
pub struct Gate {
    checks: Arc<Checks>,
    open: &'static [&'static str],
    limit: usize,
    bodies: Arc<Semaphore>,
    admission: Option<Admission>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("me", &self.checks.me())
            .field("open", &self.open)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// Takes what passes these checks, messages of at most `limit` bytes. Methods at the paths `open` need no proof of who calls.
    pub fn new(checks: Checks, open: &'static [&'static str], limit: usize) -> Self {
        let bodies = limit.saturating_mul(BODIES).min(Semaphore::MAX_PERMITS);
        Self {
            checks: Arc::new(checks),
            open,
            limit,
            bodies: Arc::new(Semaphore::new(bodies)),
            admission: None,
        }
    }

    /// Takes only callers whom this lets in.
    #[must_use]
    pub fn admitting(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    async fn check(&self, request: http::Request<Body>) -> Result<http::Request<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path();
        let refused = |error: AuthError| {
            tracing::info!(path, %error, "request refused");
            Status::from(error)
        };
        let (head, proof) = metadata::read(&parts.headers).map_err(|error| refused(error.into()))?;
        self.checks.is_due(&head, &proof).map_err(refused)?;
        if let Some(admit) = &self.admission {
            admit(&head.caller())?;
        }
        let read = tokio::time::timeout(MAX_AGE, self.read(body)).await;
        let late = |_| Status::deadline_exceeded(format!("the request's body did not come within {MAX_AGE:?}"));
        let (body, _room) = read.map_err(late)??;
        let checked = match message_of(&body) {
            Ok(message) => {
                let digest = BodyDigest::of(&message);
                self.checks.is_authentic(&head, &proof, &digest, path).await
            }
            Err(error) => Err(error),
        };
        parts.extensions.insert(checked.map_err(refused)?);
        Ok(http::Request::from_parts(parts, Body::new(Full::new(body))))
    }

    /// A body, and the room that it takes as long as nobody knows whose it is.
    async fn read(&self, mut body: Body) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Status> {
        let too_long = |_| Status::resource_exhausted(format!("the request is longer than {} bytes", self.limit));
        let mut room: Option<OwnedSemaphorePermit> = None;
        let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Status::unavailable(format!("the request cannot be read: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            length += data.len();
            if length > self.limit.saturating_add(FRAME) {
                return Err(too_long(()));
            }
            let more = u32::try_from(data.len()).map_err(|_| too_long(()))?;
            let more = Arc::clone(&self.bodies).try_acquire_many_owned(more).map_err(|_| {
                Status::resource_exhausted("too many requests are being read; try again, or another receiver")
            })?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            // Most come in one piece, which need not be copied.
            if first.is_empty() && whole.is_empty() {
                first = data;
            } else {
                whole.extend_from_slice(&std::mem::take(&mut first));
                whole.extend_from_slice(&data);
            }
        }
        let body = if whole.is_empty() { first } else { whole.freeze() };
        Ok((body, room))
    }
}

/// The one message of a request's body.
pub(super) fn message_of(body: &Bytes) -> Result<Bytes, AuthError> {
    let invalid = |reason: &str| DecodeError::invalid("body", reason);
    let (frame, _message) = body
        .split_first_chunk::<FRAME>()
        .ok_or_else(|| invalid("is no gRPC message"))?;
    let [compressed, length @ ..] = *frame;
    if compressed != 0 {
        return Err(invalid("is compressed; a signed request must not be").into());
    }
    let message = body.slice(FRAME..);
    if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(invalid("is not exactly one gRPC message").into());
    }
    Ok(message)
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            gate: self.clone(),
        }
    }
}

/// A service behind a [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S: NamedService> NamedService for Gated<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Gated<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // The one that was polled ready does the work; its copy waits for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        if self.gate.open.contains(&request.uri().path()) {
            return Box::pin(inner.call(request));
        }
        let gate = self.gate.clone();
        Box::pin(async move {
            match gate.check(request).await {
                Ok(request) => inner.call(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AccountId;
    use crate::auth::SharedKeys;
    use crate::auth::sign::Signer;
    use crate::wallet::Keypair;
    use futures::FutureExt;
    use proptest::prelude::*;
    use prost::Message;
    use protos::v1::AddStakeCall;

    fn me() -> Keypair {
        Keypair::from_seed([2; 32])
    }

    /// As it comes over the wire.
    fn on_the_wire(amount: u64, path: &str) -> http::Request<Body> {
        let message = AddStakeCall { amount }.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let framed = [&[0], &length[..], &message].concat();
        let mut wired = http::Request::new(Body::new(Full::new(Bytes::from(framed))));
        *wired.uri_mut() = path.parse().unwrap();
        wired
    }

    type Reached = Option<(Option<AccountId>, usize)>;

    /// What a handler behind `gate` saw of `request`, and the status that came back.
    async fn send(gate: &Gate, request: http::Request<Body>) -> (Reached, Option<tonic::Code>) {
        let handler = tower::service_fn(|request: http::Request<Body>| async move {
            let caller = request.extensions().get::<Caller>().map(|caller| caller.hotkey);
            let length = request.into_body().collect().await.unwrap().to_bytes().len();
            let mut response = http::Response::new(Body::empty());
            response.extensions_mut().insert((caller, length));
            Ok::<_, Infallible>(response)
        });
        let response = gate.layer(handler).call(request).await.unwrap();
        let status = Status::from_header_map(response.headers()).map(|status| status.code());
        (response.extensions().get().copied(), status)
    }

    /// What the client's layer makes of a request.
    async fn through(signer: Signer, request: http::Request<Body>) -> http::Request<Body> {
        let channel = tower::service_fn(|request: http::Request<Body>| async move {
            Ok::<_, Infallible>(http::Response::new(request))
        });
        signer.layer(channel).call(request).await.unwrap().into_body()
    }

    async fn signed(seed: u8, request: http::Request<Body>) -> http::Request<Body> {
        let keypair = Arc::new(Keypair::from_seed([seed; 32]));
        through(Signer::new(keypair, Some(&me().account())), request).await
    }

    async fn tagged(seed: u8, request: http::Request<Body>) -> http::Request<Body> {
        let keys = Arc::new(SharedKeys::new(Arc::new(Keypair::from_seed([seed; 32]))));
        through(Signer::tagging(&keys, &me().account()), request).await
    }

    /// The same request once more.
    async fn twice(request: http::Request<Body>) -> [http::Request<Body>; 2] {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        [(); 2].map(|()| http::Request::from_parts(parts.clone(), Body::new(Full::new(body.clone()))))
    }

    fn gate(limit: usize) -> Gate {
        let keys = Arc::new(SharedKeys::new(Arc::new(me())));
        Gate::new(Checks::new(Some(me().account())).sharing(keys), &["/open"], limit)
    }

    const fn refused(code: tonic::Code) -> (Reached, Option<tonic::Code>) {
        (None, Some(code))
    }

    #[tokio::test]
    async fn nothing_reaches_a_handler_but_what_is_proven_and_let_in() {
        let friend = Keypair::from_seed([1; 32]).account();
        let gate = gate(100);
        let admitting = gate
            .clone()
            .admitting(Arc::new(move |caller| match caller.hotkey == friend {
                true => Ok(()),
                false => Err(Status::permission_denied("a stranger")),
            }));
        let [by_signature, by_tag] = [
            [(); 4].map(|()| signed(1, on_the_wire(5, "/p")).boxed()),
            [(); 4].map(|()| tagged(1, on_the_wire(5, "/p")).boxed()),
        ];
        for [good, elsewhere, altered, renamed] in [by_signature, by_tag] {
            let [once, again] = twice(good.await).await;
            assert_eq!(send(&admitting, once).await, (Some((Some(friend), 7)), None));
            let unauthenticated = refused(tonic::Code::Unauthenticated);
            assert_eq!(send(&admitting, again).await, unauthenticated, "again");
            let mut elsewhere = elsewhere.await;
            *elsewhere.uri_mut() = "/elsewhere".parse().unwrap();
            assert_eq!(send(&gate, elsewhere).await, unauthenticated, "at another method");
            let altered = altered.await.map(|_| on_the_wire(6, "/p").into_body());
            assert_eq!(send(&gate, altered).await, unauthenticated, "another amount");
            let mut renamed = renamed.await;
            let other = Keypair::from_seed([3; 32]);
            let headers = renamed.headers_mut();
            headers.insert(metadata::HOTKEY_KEY, other.address().parse().unwrap());
            assert_eq!(send(&gate, renamed).await, unauthenticated, "in another's name");
        }
        for stranger in [
            signed(3, on_the_wire(5, "/p")).await,
            tagged(3, on_the_wire(5, "/p")).await,
        ] {
            assert_eq!(send(&admitting, stranger).await, refused(tonic::Code::PermissionDenied));
        }
        let bare = on_the_wire(5, "/p");
        assert_eq!(send(&gate, bare).await, refused(tonic::Code::InvalidArgument));
        assert_eq!(send(&gate, on_the_wire(5, "/open")).await, (Some((None, 7)), None));
    }

    #[tokio::test]
    async fn who_shares_no_keys_takes_no_tags_and_reads_nothing_of_them() {
        let gate = Gate::new(Checks::new(Some(me().account())), &[], 100);
        let (body, read) = counted(1_000);
        let request = tagged(1, on_the_wire(5, "/p")).await.map(|_| body);
        assert_eq!(send(&gate, request).await, refused(tonic::Code::InvalidArgument));
        assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_digest_that_is_known_already_is_signed_and_a_wrong_one_refused() {
        let gate = gate(100);
        let mut right = on_the_wire(5, "/p");
        right
            .extensions_mut()
            .insert(BodyDigest::of(&AddStakeCall { amount: 5 }.encode_to_vec()));
        let friend = Keypair::from_seed([1; 32]).account();
        assert_eq!(
            send(&gate, signed(1, right).await).await,
            (Some((Some(friend), 7)), None)
        );
        let mut wrong = on_the_wire(5, "/p");
        wrong.extensions_mut().insert(BodyDigest::of(b"something else"));
        assert_eq!(
            send(&gate, signed(1, wrong).await).await,
            refused(tonic::Code::Unauthenticated)
        );
    }

    /// A body that a test would notice to be read.
    fn counted(frames: usize) -> (Body, Arc<std::sync::atomic::AtomicUsize>) {
        let read = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&read);
        let frames = futures::stream::iter((0..frames).map(move |_| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(&[0; 60])))
        }));
        (Body::new(http_body_util::StreamBody::new(frames)), read)
    }

    #[tokio::test]
    async fn of_a_body_that_is_too_long_no_more_is_read_and_of_a_strangers_nothing() {
        let gate = gate(100);
        let endless = |request: http::Request<Body>| {
            let (body, read) = counted(1_000);
            (request.map(|_| body), read)
        };
        let (long, read) = endless(signed(1, on_the_wire(5, "/p")).await);
        assert_eq!(send(&gate, long).await, refused(tonic::Code::ResourceExhausted));
        assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), 2);

        let nobody = gate
            .clone()
            .admitting(Arc::new(|_| Err(Status::permission_denied("nobody is let in"))));
        let (strange, read) = endless(signed(1, on_the_wire(5, "/p")).await);
        assert_eq!(send(&nobody, strange).await, refused(tonic::Code::PermissionDenied));
        assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), 0);
        let (bare, read) = endless(on_the_wire(5, "/p"));
        assert_eq!(send(&gate, bare).await, refused(tonic::Code::InvalidArgument));
        assert_eq!(read.load(std::sync::atomic::Ordering::Relaxed), 0);
        assert_eq!(gate.bodies.available_permits(), 100 * BODIES, "all room is given back");
    }

    #[tokio::test]
    async fn bodies_that_are_being_read_share_a_bounded_room() {
        let gate = gate(100);
        // Their second halves never come.
        let slow = |request: http::Request<Body>| {
            let (body, _) = counted(1);
            let never = http_body_util::StreamBody::new(futures::stream::pending::<Result<_, Infallible>>());
            let frames = futures::StreamExt::chain(
                http_body_util::BodyStream::new(body),
                futures::StreamExt::map(never, |frame| frame.map_err(|never| match never {})),
            );
            request.map(|_| Body::new(http_body_util::StreamBody::new(frames)))
        };
        let mut reading = Vec::new();
        for _ in 0..100 * BODIES / 60 {
            let gate = gate.clone();
            let request = slow(signed(1, on_the_wire(5, "/p")).await);
            let mut sending = Box::pin(async move { send(&gate, request).await });
            assert!(sending.as_mut().now_or_never().is_none());
            reading.push(sending);
        }
        let next = slow(signed(1, on_the_wire(5, "/p")).await);
        assert_eq!(send(&gate, next).await, refused(tonic::Code::ResourceExhausted));
        drop(reading);
        let good = signed(1, on_the_wire(5, "/p")).await;
        assert!(send(&gate, good).await.0.is_some(), "there is room again");
    }

    #[test]
    fn a_handler_without_its_gate_answers_nobody() {
        let status = caller(&Request::new(AddStakeCall { amount: 5 })).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal);
    }

    proptest! {
        #[test]
        fn only_one_whole_plain_message_is_a_body(message: Vec<u8>, extra in 1usize..9, flag in 1u8..) {
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            let framed = |flag: u8| [&[flag], &length[..], &message].concat();
            prop_assert_eq!(message_of(&framed(0).into()).unwrap(), message.clone());
            prop_assert!(message_of(&framed(flag).into()).is_err());
            let longer = [framed(0), vec![0; extra]].concat();
            prop_assert!(message_of(&longer.into()).is_err());
            let whole = framed(0);
            let shorter = whole[..whole.len().saturating_sub(extra)].to_vec();
            prop_assert!(message_of(&shorter.into()).is_err());
        }
    }
}
