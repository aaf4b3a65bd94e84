//! Why a signed request is refused, and how that travels: by name, in the metadata of a gRPC status.

use super::{MAX_AGE, MAX_SKEW};
use crate::account::AccountId;
use crate::replay::ReplayError;

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A field of the wrong length.
    #[error("malformed signed request: {0}")]
    Malformed(#[from] protos::DecodeError),
    /// Addressed to somebody else, or to nobody.
    #[error("the request is for {}, not for {}", whom(.receiver.as_ref()), whom(.me.as_ref()))]
    WrongReceiver {
        /// Whom the sender addressed.
        receiver: Option<AccountId>,
        /// Who opened it; `None` for a service that takes only what is for anybody.
        me: Option<AccountId>,
    },
    /// Too old.
    #[error("the request is {age_ms} ms old, at most {} ms are allowed; is the sender's clock right?", MAX_AGE.as_millis())]
    Stale {
        /// Its age by our clock.
        age_ms: u64,
    },
    /// From the future.
    #[error("the request is {ahead_ms} ms in the future, at most {} ms are allowed; is the sender's clock right?", MAX_SKEW.as_millis())]
    FromTheFuture {
        /// How far, by our clock.
        ahead_ms: u64,
    },
    /// The signature is not the sender's over this method and body.
    #[error("the signature is not that of {hotkey} over this request")]
    BadSignature {
        /// The stated sender.
        hotkey: AccountId,
    },
    /// Seen before.
    #[error("the request of {hotkey} with nonce {nonce_ns} was received before")]
    Replayed {
        /// The sender.
        hotkey: AccountId,
        /// The nonce that comes twice.
        nonce_ns: u64,
    },
    /// More fresh requests than the replay guard remembers.
    #[error("too many requests at once: {0}")]
    TooMany(ReplayError),
}

/// The kinds of [`AuthError`], as they are named on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// [`AuthError::Malformed`].
    MalformedRequest,
    /// [`AuthError::WrongReceiver`].
    WrongReceiver,
    /// [`AuthError::Stale`].
    StaleRequest,
    /// [`AuthError::FromTheFuture`].
    FutureRequest,
    /// [`AuthError::BadSignature`].
    BadSignature,
    /// [`AuthError::Replayed`].
    ReplayedRequest,
    /// [`AuthError::TooMany`].
    TooManyRequests,
}

impl AuthKind {
    pub(super) const ALL: [Self; 7] = [
        Self::MalformedRequest,
        Self::WrongReceiver,
        Self::StaleRequest,
        Self::FutureRequest,
        Self::BadSignature,
        Self::ReplayedRequest,
        Self::TooManyRequests,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedRequest => "MalformedRequest",
            Self::WrongReceiver => "WrongReceiver",
            Self::StaleRequest => "StaleRequest",
            Self::FutureRequest => "FutureRequest",
            Self::BadSignature => "BadSignature",
            Self::ReplayedRequest => "ReplayedRequest",
            Self::TooManyRequests => "TooManyRequests",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl AuthError {
    /// Its kind.
    pub const fn kind(&self) -> AuthKind {
        match self {
            Self::Malformed(_) => AuthKind::MalformedRequest,
            Self::WrongReceiver { .. } => AuthKind::WrongReceiver,
            Self::Stale { .. } => AuthKind::StaleRequest,
            Self::FromTheFuture { .. } => AuthKind::FutureRequest,
            Self::BadSignature { .. } => AuthKind::BadSignature,
            Self::Replayed { .. } => AuthKind::ReplayedRequest,
            Self::TooMany(_) => AuthKind::TooManyRequests,
        }
    }
}

/// The metadata key that carries [`AuthKind::name`] in a gRPC status.
pub const STATUS_KEY: &str = "portcullis-auth";

impl From<&AuthError> for tonic::Status {
    fn from(error: &AuthError) -> Self {
        let code = match error.kind() {
            AuthKind::MalformedRequest => tonic::Code::InvalidArgument,
            AuthKind::TooManyRequests => tonic::Code::ResourceExhausted,
            _ => tonic::Code::Unauthenticated,
        };
        let mut status = Self::new(code, error.to_string());
        status.metadata_mut().insert(
            STATUS_KEY,
            tonic::metadata::MetadataValue::from_static(error.kind().name()),
        );
        status
    }
}

impl From<AuthError> for tonic::Status {
    fn from(error: AuthError) -> Self {
        Self::from(&error)
    }
}

fn whom(receiver: Option<&AccountId>) -> String {
    receiver.map_or_else(|| "anybody".to_owned(), AccountId::to_string)
}
