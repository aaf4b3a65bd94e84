//! The wire: messages and services of `portcullis.v1`, as generated from `proto/`.
//!
//! Nothing here has an opinion. What a message means, and whether its fields have the right length, is said by the
//! rooms that read it, with [`fixed`] to cut a fixed-length field and name it when it does not fit.

/// The generated messages, clients and servers.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::nursery)]
pub mod v1 {
    tonic::include_proto!("portcullis.v1");
}

/// The compiled `.proto` files, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/portcullis.v1.bin"));

/// A field that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A fixed-length field of another length.
    #[error("field `{field}` has {actual} bytes, expected {expected}")]
    Length {
        /// The field's path, as in `challenge.head_hash`.
        field: &'static str,
        /// Bytes that it must have.
        expected: usize,
        /// Bytes that it has.
        actual: usize,
    },
    /// A field that must be there and is not.
    #[error("field `{field}` is missing")]
    Missing {
        /// The field's path.
        field: &'static str,
    },
    /// A field whose content is none of those allowed.
    #[error("field `{field}`: {reason}")]
    Invalid {
        /// The field's path.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl DecodeError {
    /// A field whose content is wrong for `reason`.
    pub fn invalid(field: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Invalid {
            field,
            reason: reason.to_string(),
        }
    }
}

/// Cuts a field of exactly `N` bytes.
///
/// # Errors
/// [`DecodeError::Length`] names the field when it has another length.
pub fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length {
        field,
        expected: N,
        actual: bytes.len(),
    })
}

/// A field that must be present.
///
/// # Errors
/// [`DecodeError::Missing`] names the field when it is not.
pub fn required<T>(field: &'static str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Missing { field })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_wrong_length_is_named() {
        assert_eq!(fixed::<4>("head.hash", &[1, 2, 3, 4]), Ok([1, 2, 3, 4]));
        let error = fixed::<32>("head.hash", &[0; 31]).unwrap_err();
        assert_eq!(error.to_string(), "field `head.hash` has 31 bytes, expected 32");
    }

    #[test]
    fn every_service_is_in_the_descriptor_set() {
        let text = String::from_utf8_lossy(FILE_DESCRIPTOR_SET).into_owned();
        for service in ["Platform", "Miner", "Validator", "Ledger"] {
            assert!(text.contains(service), "{service} is missing");
        }
    }
}
