//! Fields that a message holds wider, or looser, than the ledger does. An error names the field.

use std::net::IpAddr;

use prost::bytes::Bytes;
use protos::DecodeError;

use crate::account::AccountId;

/// Cuts a number that must be below 65536.
///
/// # Errors
/// [`DecodeError::Invalid`] names the field.
pub(super) fn short(field: &'static str, value: u32) -> Result<u16, DecodeError> {
    u16::try_from(value).map_err(|_| DecodeError::invalid(field, format_args!("{value} is more than 65535")))
}

pub(super) fn shorts(field: &'static str, values: Vec<u32>) -> Result<Vec<u16>, DecodeError> {
    values.into_iter().map(|value| short(field, value)).collect()
}

pub(super) fn account(field: &'static str, bytes: &[u8]) -> Result<AccountId, DecodeError> {
    protos::fixed(field, bytes).map(AccountId::new)
}

pub(super) fn ip_bytes(ip: IpAddr) -> Bytes {
    match ip {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    }
}

pub(super) fn ip_address(field: &'static str, bytes: &[u8]) -> Result<IpAddr, DecodeError> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        Ok(IpAddr::from(octets))
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        Ok(IpAddr::from(octets))
    } else {
        Err(DecodeError::invalid(
            field,
            format_args!("has {} bytes, expected 4 (IPv4) or 16 (IPv6)", bytes.len()),
        ))
    }
}

pub(super) fn protocol(field: &'static str, value: u32) -> Result<u8, DecodeError> {
    u8::try_from(value).map_err(|_| DecodeError::invalid(field, format_args!("{value} is more than 255")))
}
