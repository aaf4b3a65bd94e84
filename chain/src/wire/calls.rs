//! What a hotkey asks the ledger to do.

use prost::bytes::Bytes;
use protos::{DecodeError, v1};

use super::field::{ip_address, ip_bytes, protocol, short, shorts};
use crate::ledger::{AxonInfo, CIPHERTEXT_LIMIT, TimelockedCommit, WeightsCall, WeightsCommit, WeightsReveal};

impl From<&AxonInfo> for v1::ServeAxonCall {
    fn from(axon: &AxonInfo) -> Self {
        Self {
            version: axon.version,
            ip: ip_bytes(axon.ip),
            port: axon.port.into(),
            protocol: axon.protocol.into(),
        }
    }
}

impl TryFrom<v1::ServeAxonCall> for AxonInfo {
    type Error = DecodeError;

    fn try_from(call: v1::ServeAxonCall) -> Result<Self, DecodeError> {
        Ok(Self {
            version: call.version,
            ip: ip_address("serve_axon.ip", &call.ip)?,
            port: short("serve_axon.port", call.port)?,
            protocol: protocol("serve_axon.protocol", call.protocol)?,
        })
    }
}

impl From<&WeightsCall> for v1::SetWeightsCall {
    fn from(call: &WeightsCall) -> Self {
        Self {
            uids: call.uids.iter().copied().map(u32::from).collect(),
            values: call.values.iter().copied().map(u32::from).collect(),
            version_key: call.version_key,
        }
    }
}

impl TryFrom<v1::SetWeightsCall> for WeightsCall {
    type Error = DecodeError;

    fn try_from(call: v1::SetWeightsCall) -> Result<Self, DecodeError> {
        Ok(Self {
            uids: shorts("set_weights.uids", call.uids)?,
            values: shorts("set_weights.values", call.values)?,
            version_key: call.version_key,
        })
    }
}

impl From<&WeightsCommit> for v1::CommitWeightsCall {
    fn from(commit: &WeightsCommit) -> Self {
        Self {
            hash: Bytes::copy_from_slice(&commit.hash),
        }
    }
}

impl TryFrom<v1::CommitWeightsCall> for WeightsCommit {
    type Error = DecodeError;

    fn try_from(call: v1::CommitWeightsCall) -> Result<Self, DecodeError> {
        let hash = protos::fixed("commit_weights.hash", &call.hash)?;
        Ok(Self { hash })
    }
}

impl From<&WeightsReveal> for v1::RevealWeightsCall {
    fn from(reveal: &WeightsReveal) -> Self {
        let wide = |values: &[u16]| values.iter().copied().map(u32::from).collect();
        Self {
            uids: wide(&reveal.uids),
            values: wide(&reveal.values),
            salt: wide(&reveal.salt),
            version_key: reveal.version_key,
        }
    }
}

impl TryFrom<v1::RevealWeightsCall> for WeightsReveal {
    type Error = DecodeError;

    fn try_from(call: v1::RevealWeightsCall) -> Result<Self, DecodeError> {
        Ok(Self {
            uids: shorts("reveal_weights.uids", call.uids)?,
            values: shorts("reveal_weights.values", call.values)?,
            salt: shorts("reveal_weights.salt", call.salt)?,
            version_key: call.version_key,
        })
    }
}

impl From<&TimelockedCommit> for v1::CommitTimelockedCall {
    fn from(commit: &TimelockedCommit) -> Self {
        Self {
            ciphertext: Bytes::copy_from_slice(&commit.ciphertext),
            reveal_round: commit.reveal_round,
            version: commit.version.into(),
        }
    }
}

impl TryFrom<v1::CommitTimelockedCall> for TimelockedCommit {
    type Error = DecodeError;

    fn try_from(call: v1::CommitTimelockedCall) -> Result<Self, DecodeError> {
        if call.ciphertext.len() > CIPHERTEXT_LIMIT {
            let reason = format_args!("{} bytes are more than {CIPHERTEXT_LIMIT}", call.ciphertext.len()).to_string();
            return Err(DecodeError::invalid("commit_timelocked.ciphertext", reason));
        }
        Ok(Self {
            ciphertext: call.ciphertext.to_vec(),
            reveal_round: call.reveal_round,
            version: short("commit_timelocked.version", call.version)?,
        })
    }
}
