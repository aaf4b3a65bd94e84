//! The ledger's errors as gRPC statuses, there and back.

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::auth::{AuthKind, STATUS_KEY};
use crate::error::{LedgerError, Refusal};

const REFUSAL_KEY: &str = "portcullis-refusal";
const RETRY_KEY: &str = "portcullis-retry-at-block";
/// Tells our own refusals to work from statuses that the transport makes with the same code.
const KIND_KEY: &str = "portcullis-error";

/// A ledger's error as a gRPC status. What kind it is stands in the metadata and the code, never only in the text.
pub fn to_status(error: &LedgerError) -> Status {
    let mut metadata = MetadataMap::new();
    let (code, message) = match error {
        LedgerError::Refused(refusal) => {
            if let Ok(name) = MetadataValue::try_from(refusal.name()) {
                metadata.insert(REFUSAL_KEY, name);
            }
            if let Some(block) = refusal.retry_at_block() {
                metadata.insert(RETRY_KEY, MetadataValue::from(block));
            }
            (Code::FailedPrecondition, refusal.to_string())
        }
        LedgerError::Unauthenticated { kind, message } => {
            metadata.insert(STATUS_KEY, MetadataValue::from_static(kind.name()));
            (Code::Unauthenticated, message.clone())
        }
        LedgerError::Invalid(reason) => {
            metadata.insert(KIND_KEY, MetadataValue::from_static("Invalid"));
            (Code::InvalidArgument, reason.clone())
        }
        LedgerError::Busy => {
            metadata.insert(KIND_KEY, MetadataValue::from_static("Busy"));
            (Code::ResourceExhausted, error.to_string())
        }
        LedgerError::Storage(reason) => {
            metadata.insert(KIND_KEY, MetadataValue::from_static("Storage"));
            (Code::Internal, reason.clone())
        }
        LedgerError::Closed => {
            metadata.insert(KIND_KEY, MetadataValue::from_static("Closed"));
            (Code::Unavailable, error.to_string())
        }
        LedgerError::Unavailable { .. } => (Code::Unavailable, error.to_string()),
        LedgerError::Deadline { .. } => (Code::DeadlineExceeded, error.to_string()),
        LedgerError::Protocol { .. } => (Code::Unknown, error.to_string()),
    };
    Status::with_metadata(code, message, metadata)
}

/// The ledger's error back from a gRPC status that `endpoint` gave after at most `deadline_ms`.
pub fn from_status(status: &Status, endpoint: &str, deadline_ms: u64) -> LedgerError {
    let text = |key: &str| status.metadata().get(key).and_then(|value| value.to_str().ok());
    if let Some(name) = text(REFUSAL_KEY) {
        let retry_at_block = text(RETRY_KEY).and_then(|block| block.parse().ok());
        return LedgerError::Refused(Refusal::from_name(name, retry_at_block));
    }
    if let Some(kind) = text(STATUS_KEY).and_then(AuthKind::from_name) {
        return LedgerError::Unauthenticated {
            kind,
            message: status.message().to_owned(),
        };
    }
    match text(KIND_KEY) {
        Some("Invalid") => return LedgerError::Invalid(status.message().to_owned()),
        Some("Busy") => return LedgerError::Busy,
        Some("Storage") => return LedgerError::Storage(status.message().to_owned()),
        Some("Closed") => return LedgerError::Closed,
        _ => {}
    }
    let endpoint = endpoint.to_owned();
    match status.code() {
        Code::Unavailable => LedgerError::Unavailable {
            endpoint,
            reason: reason(status),
        },
        Code::DeadlineExceeded | Code::Cancelled => LedgerError::Deadline {
            endpoint,
            after_ms: deadline_ms,
        },
        code => LedgerError::Protocol {
            endpoint,
            reason: format!("{code:?}: {}", status.message()),
        },
    }
}

/// A transport's status says "transport error" and hides the cause behind it.
fn reason(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
