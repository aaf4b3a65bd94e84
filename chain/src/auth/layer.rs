//! Signed requests as gRPC metadata, checked by a tower layer before any handler, so that no handler can forget it.
//!
//! The names are those of Bittensor's HTTP headers (`X-Bittensor-Hotkey` and the others); the body of the signed lines is the encoded
//! message. A service behind a [`Gate`] names the methods that are open; every other one, so every one that is added later,
//! takes only what is signed, addressed to it, fresh and new. The handler finds the [`Sender`] by [`sender`]. Requests of one
//! message only.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use prost::Message;
use prost::bytes::Bytes;
use protos::DecodeError;
use tonic::body::Body;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::server::NamedService;
use tonic::{Request, Status};
use tower::{Layer, Service};

use super::{AuthError, Head, METHOD, Sender};
use crate::account::AccountId;
use crate::replay::ReplayGuard;
use crate::wallet::{Keypair, SignatureBytes};

/// Version of the scheme: `1`.
pub const VERSION_KEY: &str = "x-bittensor-version";
/// The sender's address.
pub const HOTKEY_KEY: &str = "x-bittensor-hotkey";
/// The receiver's address; absent in a message for anybody.
pub const RECEIVER_KEY: &str = "x-bittensor-receiver";
/// Unix time in nanoseconds, decimal.
pub const NONCE_KEY: &str = "x-bittensor-nonce";
/// 64 bytes in hex, after `0x`.
pub const SIGNATURE_KEY: &str = "x-bittensor-signature";

const VERSION: &str = "1";
/// Before a gRPC message: whether it is compressed, and its length.
const FRAME: usize = 5;

/// `call`, signed for `receiver` and the method at `path`, at `now_ns` by [`super::now_ns`].
pub fn signed<T: Message>(
    call: T,
    path: &str,
    keypair: &Keypair,
    receiver: Option<&AccountId>,
    now_ns: u64,
) -> Request<T> {
    signed_with_nonce(call, path, keypair, receiver, super::fresh_nonce(now_ns))
}

/// As [`signed`], with a nonce that the caller answers for.
pub fn signed_with_nonce<T: Message>(
    call: T,
    path: &str,
    keypair: &Keypair,
    receiver: Option<&AccountId>,
    nonce_ns: u64,
) -> Request<T> {
    let sender = keypair.account();
    let lines = super::message(METHOD, path, &call.encode_to_vec(), nonce_ns, &sender, receiver);
    let signature = format!("0x{}", hex::encode(keypair.sign(lines.as_bytes())));
    let fields = [
        (VERSION_KEY, Some(VERSION.to_owned())),
        (HOTKEY_KEY, Some(sender.to_ss58())),
        (RECEIVER_KEY, receiver.map(AccountId::to_ss58)),
        (NONCE_KEY, Some(nonce_ns.to_string())),
        (SIGNATURE_KEY, Some(signature)),
    ];
    let mut request = Request::new(call);
    for (key, value) in fields {
        // Addresses, digits and hex are always such a value.
        if let Some(value) = value.and_then(|value| AsciiMetadataValue::try_from(value).ok()) {
            request.metadata_mut().insert(key, value);
        }
    }
    request
}

/// Reads what a request says about its sender.
///
/// # Errors
/// [`DecodeError`] names the field that is missing or of another form.
fn head(metadata: &MetadataMap) -> Result<Head, DecodeError> {
    let text = |key: &'static str| match metadata.get(key) {
        Some(value) => value
            .to_str()
            .map(Some)
            .map_err(|error| DecodeError::invalid(key, error)),
        None => Ok(None),
    };
    let needed = |key| text(key)?.ok_or_else(|| DecodeError::invalid(key, "is missing; the request is not signed"));
    let version = needed(VERSION_KEY)?;
    if version != VERSION {
        return Err(DecodeError::invalid(
            VERSION_KEY,
            format_args!("is `{version}`, expected {VERSION}"),
        ));
    }
    let account = |key, text: &str| text.parse().map_err(|error| DecodeError::invalid(key, error));
    let mut signature: SignatureBytes = [0; 64];
    hex::decode_to_slice(needed(SIGNATURE_KEY)?.trim_start_matches("0x"), &mut signature)
        .map_err(|error| DecodeError::invalid(SIGNATURE_KEY, error))?;
    Ok(Head {
        hotkey: account(HOTKEY_KEY, needed(HOTKEY_KEY)?)?,
        receiver: text(RECEIVER_KEY)?
            .map(|text| account(RECEIVER_KEY, text))
            .transpose()?,
        nonce_ns: needed(NONCE_KEY)?
            .parse()
            .map_err(|error| DecodeError::invalid(NONCE_KEY, error))?,
        signature,
    })
}

/// Who sent a request that came through a [`Gate`].
///
/// # Errors
/// A status when it did not: the service is served without its gate, or the method is an open one.
pub fn sender<T>(request: &Request<T>) -> Result<Sender, Status> {
    request
        .extensions()
        .get::<Sender>()
        .copied()
        .ok_or_else(|| Status::internal("a signed method is served without the check of its signature"))
}

/// Whom a service takes beyond those who sign rightly: a check of the metagraph, say.
pub type Admission = Arc<dyn Fn(&Sender) -> Result<(), Status> + Send + Sync>;

/// The layer.
#[derive(Clone)]
pub struct Gate {
    me: Option<AccountId>,
    open: &'static [&'static str],
    limit: usize,
    guard: Arc<ReplayGuard>,
    now_ns: fn() -> u64,
    admission: Option<Admission>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("me", &self.me)
            .field("open", &self.open)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// Takes messages for `me` of at most `limit` bytes. Methods at the paths `open` need no signature.
    pub fn new(
        me: Option<AccountId>,
        open: &'static [&'static str],
        limit: usize,
        guard: ReplayGuard,
        now_ns: fn() -> u64,
    ) -> Self {
        Self {
            me,
            open,
            limit,
            guard: Arc::new(guard),
            now_ns,
            admission: None,
        }
    }

    /// Takes only senders that this lets in.
    #[must_use]
    pub fn admitting(mut self, admission: Admission) -> Self {
        self.admission = Some(admission);
        self
    }

    async fn check(&self, request: http::Request<Body>) -> Result<http::Request<Body>, Status> {
        let (mut parts, body) = request.into_parts();
        let collected = Limited::new(body, self.limit.saturating_add(FRAME)).collect().await;
        let body = collected
            .map_err(|error| Status::resource_exhausted(format!("the request cannot be read: {error}")))?
            .to_bytes();
        let path = parts.uri.path();
        let checked = message_of(&body).and_then(|message| {
            let head = head(&MetadataMap::from_headers(parts.headers.clone()))?;
            super::check(&head, &message, self.me.as_ref(), path, (self.now_ns)(), &self.guard)
        });
        let sender = checked.map_err(|error| {
            tracing::info!(path, %error, "request refused");
            Status::from(error)
        })?;
        if let Some(admit) = &self.admission {
            admit(&sender)?;
        }
        parts.extensions.insert(sender);
        Ok(http::Request::from_parts(parts, Body::new(Full::new(body))))
    }
}

/// The one message of a request's body.
fn message_of(body: &Bytes) -> Result<Bytes, AuthError> {
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
    use proptest::prelude::*;
    use protos::v1::AddStakeCall;

    fn request() -> Request<AddStakeCall> {
        let keypair = Keypair::from_seed([1; 32]);
        let receiver = AccountId::new([2; 32]);
        signed_with_nonce(AddStakeCall { amount: 5 }, "/p", &keypair, Some(&receiver), 7)
    }

    #[test]
    fn what_is_signed_is_read_back_and_what_is_missing_is_named() {
        let whole = request();
        let read = head(whole.metadata()).unwrap();
        assert_eq!(read.hotkey, Keypair::from_seed([1; 32]).account());
        assert_eq!((read.receiver, read.nonce_ns), (Some(AccountId::new([2; 32])), 7));
        for key in [VERSION_KEY, HOTKEY_KEY, NONCE_KEY, SIGNATURE_KEY] {
            let mut cut = request();
            cut.metadata_mut().remove(key);
            let missing = head(cut.metadata()).err().unwrap().to_string();
            assert!(missing.contains(key) && missing.contains("is missing"), "{missing}");
            let mut odd = request();
            odd.metadata_mut().insert(key, AsciiMetadataValue::from_static("zz"));
            assert!(head(odd.metadata()).err().unwrap().to_string().contains(key));
        }
        let mut open = request();
        open.metadata_mut().remove(RECEIVER_KEY);
        assert_eq!(head(open.metadata()).unwrap().receiver, None);
    }

    #[test]
    fn a_handler_without_its_gate_answers_nobody() {
        let status = sender(&request()).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Internal);
    }

    /// As it comes over the wire.
    fn on_the_wire(request: Request<AddStakeCall>, path: &str) -> http::Request<Body> {
        let (metadata, _, call) = request.into_parts();
        let message = call.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let framed = [&[0], &length[..], &message].concat();
        let mut wired = http::Request::new(Body::new(Full::new(Bytes::from(framed))));
        *wired.uri_mut() = path.parse().unwrap();
        *wired.headers_mut() = metadata.into_headers();
        wired
    }

    #[tokio::test]
    async fn nothing_reaches_a_handler_but_what_is_signed_and_let_in() {
        // The handler answers with who sent it and how long the body is.
        let handler = tower::service_fn(|request: http::Request<Body>| async move {
            let sender = request.extensions().get::<Sender>().map(|sender| sender.hotkey);
            let length = request.into_body().collect().await.unwrap().to_bytes().len();
            let mut response = http::Response::new(Body::empty());
            response.extensions_mut().insert((sender, length));
            Ok::<_, Infallible>(response)
        });
        let guard = ReplayGuard::new(crate::replay::ReplayLimits::default());
        let gate = Gate::new(Some(AccountId::new([2; 32])), &["/open"], 100, guard, || 7);
        let friend = Keypair::from_seed([1; 32]).account();
        let admitting = gate
            .clone()
            .admitting(Arc::new(move |sender| match sender.hotkey == friend {
                true => Ok(()),
                false => Err(Status::permission_denied("a stranger")),
            }));
        type Reached = Option<(Option<AccountId>, usize)>;
        let send = async |gate: &Gate, request: Request<AddStakeCall>, path: &str| -> (Reached, Option<tonic::Code>) {
            let response = gate.layer(handler).call(on_the_wire(request, path)).await.unwrap();
            let status = Status::from_header_map(response.headers()).map(|status| status.code());
            (response.extensions().get().copied(), status)
        };
        let from = |seed: u8, amount: u64| {
            let receiver = AccountId::new([2; 32]);
            signed_with_nonce(
                AddStakeCall { amount },
                "/p",
                &Keypair::from_seed([seed; 32]),
                Some(&receiver),
                7,
            )
        };
        let refused = |code| (None, Some(code));
        assert_eq!(
            send(&admitting, from(1, 5), "/p").await,
            (Some((Some(friend), 7)), None)
        );
        assert_eq!(
            send(&admitting, from(1, 5), "/p").await,
            refused(tonic::Code::Unauthenticated),
            "again"
        );
        assert_eq!(
            send(&admitting, from(3, 5), "/p").await,
            refused(tonic::Code::PermissionDenied)
        );
        assert_eq!(
            send(&gate, from(4, 5), "/elsewhere").await,
            refused(tonic::Code::Unauthenticated)
        );
        let bare = || Request::new(AddStakeCall { amount: 5 });
        assert_eq!(send(&gate, bare(), "/p").await, refused(tonic::Code::InvalidArgument));
        assert_eq!(send(&gate, bare(), "/open").await, (Some((None, 7)), None));
        let tiny = Gate {
            limit: 1,
            ..gate.clone()
        };
        assert_eq!(
            send(&tiny, from(5, 5), "/p").await,
            refused(tonic::Code::ResourceExhausted)
        );
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
