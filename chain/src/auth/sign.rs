//! The client's side: a tower layer that signs or tags whatever goes through it, so that no call can be made without.
//!
//! Requests of one message only, since the proof covers all of it. Who knows the digest of a message's bytes already, since the same
//! bytes go to many, puts it into the request's extensions as [`BodyDigest`]: a wrong one is refused by the receiver.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::Request;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tower::{BoxError, Layer, Service};

use super::layer::message_of;
use super::shared::Peer;
use super::{BodyDigest, Proof, SharedKeys, metadata};
use crate::account::AccountId;
use crate::wallet::Keypair;

/// The layer: proves to one receiver who calls.
#[derive(Debug, Clone)]
pub struct Signer(Proving);

#[derive(Debug, Clone)]
enum Proving {
    Signing {
        keypair: Arc<Keypair>,
        receiver: Option<Arc<str>>,
    },
    Tagging {
        keys: Arc<SharedKeys>,
        receiver: Peer,
    },
}

impl Signer {
    /// Signs as `keypair` for `receiver`, or for anybody.
    pub fn new(keypair: Arc<Keypair>, receiver: Option<&AccountId>) -> Self {
        Self(Proving::Signing {
            keypair,
            receiver: receiver.map(|receiver| receiver.to_ss58().into()),
        })
    }

    /// Tags with the key that is shared with `receiver`: for one that is called often, and takes tags. One that is no key gets signatures.
    pub fn tagging(keys: &Arc<SharedKeys>, receiver: &AccountId) -> Self {
        match keys.with(receiver) {
            Some(receiver) => Self(Proving::Tagging {
                keys: Arc::clone(keys),
                receiver,
            }),
            None => Self::new(Arc::clone(keys.keypair()), Some(receiver)),
        }
    }

    fn sign(&self, request: &mut http::Request<Body>, digest: &BodyDigest) {
        let nonce_ns = super::fresh_nonce(super::now_ns());
        let path = request.uri().path();
        let (sender, receiver, proof) = match &self.0 {
            Proving::Signing { keypair, receiver } => {
                let receiver = receiver.as_deref();
                let signature = super::sign(keypair, path, digest, nonce_ns, receiver);
                (keypair.address(), receiver, Proof::Signature(signature))
            }
            Proving::Tagging { keys, receiver } => {
                let sender = keys.keypair().address();
                let tag = receiver.tag(path, digest, nonce_ns, sender);
                (sender, Some(receiver.address()), Proof::Tag(tag))
            }
        };
        metadata::write(request.headers_mut(), sender, receiver, nonce_ns, &proof);
    }

    async fn signed(self, request: http::Request<Body>) -> Result<http::Request<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let digest = BodyDigest::of(&message_of(&body)?);
        let mut request = http::Request::from_parts(parts, Body::new(Full::new(body)));
        self.sign(&mut request, &digest);
        Ok(request)
    }
}

impl<S> Layer<S> for Signer {
    type Service = Signing<S>;

    fn layer(&self, inner: S) -> Signing<S> {
        Signing {
            inner,
            signer: self.clone(),
        }
    }
}

/// A channel whose calls are signed or tagged.
#[derive(Debug, Clone)]
pub struct Signing<S> {
    inner: S,
    signer: Signer,
}

impl<S, B> Service<http::Request<Body>> for Signing<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    type Response = http::Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The one that was polled ready does the work; its copy waits for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        if let Some(digest) = request.extensions_mut().remove::<BodyDigest>() {
            self.signer.sign(&mut request, &digest);
            let answer = inner.call(request);
            return Box::pin(async move { answer.await.map_err(Into::into) });
        }
        let signer = self.signer.clone();
        Box::pin(async move { inner.call(signer.signed(request).await?).await.map_err(Into::into) })
    }
}

/// `call`, signed for `receiver` and the method at `path` outside of a channel, with a nonce that the caller answers for.
pub fn signed_with_nonce<T: Message>(
    call: T,
    path: &str,
    keypair: &Keypair,
    receiver: Option<&AccountId>,
    nonce_ns: u64,
) -> Request<T> {
    let digest = BodyDigest::of(&call.encode_to_vec());
    let receiver = receiver.map(AccountId::to_ss58);
    let signature = super::sign(keypair, path, &digest, nonce_ns, receiver.as_deref());
    let mut headers = http::HeaderMap::new();
    let proof = Proof::Signature(signature);
    metadata::write(&mut headers, keypair.address(), receiver.as_deref(), nonce_ns, &proof);
    Request::from_parts(MetadataMap::from_headers(headers), http::Extensions::new(), call)
}
