//! The ledger's types as messages of `portcullis.v1`, there and back, and its errors as gRPC statuses, there and back.
//!
//! Whatever comes from the wire is checked: lengths, ranges of 16-bit numbers, order of uids. An error names the field.

use std::net::IpAddr;

use prost::bytes::Bytes;
use protos::{DecodeError, v1};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::account::AccountId;
use crate::auth::{AuthKind, STATUS_KEY};
use crate::error::{LedgerError, Refusal};
use crate::history::EpochEntry;
use crate::ledger::{
    Axon, AxonInfo, Beacon, CIPHERTEXT_LIMIT, Hyperparameters, Metagraph, Neuron, TimelockedCommit, WeightsCall,
    WeightsCommit, WeightsReveal,
};

/// The service's full name.
pub const SERVICE: &str = "portcullis.v1.Ledger";
/// The paths that mutations are signed for.
pub mod path {
    /// `Register`.
    pub const REGISTER: &str = "/portcullis.v1.Ledger/Register";
    /// `AddStake`.
    pub const ADD_STAKE: &str = "/portcullis.v1.Ledger/AddStake";
    /// `ServeAxon`.
    pub const SERVE_AXON: &str = "/portcullis.v1.Ledger/ServeAxon";
    /// `SetWeights`.
    pub const SET_WEIGHTS: &str = "/portcullis.v1.Ledger/SetWeights";
    /// `CommitWeights`.
    pub const COMMIT_WEIGHTS: &str = "/portcullis.v1.Ledger/CommitWeights";
    /// `RevealWeights`.
    pub const REVEAL_WEIGHTS: &str = "/portcullis.v1.Ledger/RevealWeights";
    /// `CommitTimelocked`.
    pub const COMMIT_TIMELOCKED: &str = "/portcullis.v1.Ledger/CommitTimelocked";
}

const REFUSAL_KEY: &str = "portcullis-refusal";
const RETRY_KEY: &str = "portcullis-retry-at-block";
/// Tells our own refusals to work from statuses that the transport makes with the same code.
const KIND_KEY: &str = "portcullis-error";

/// Cuts a number that must be below 65536.
///
/// # Errors
/// [`DecodeError::Invalid`] names the field.
fn short(field: &'static str, value: u32) -> Result<u16, DecodeError> {
    u16::try_from(value).map_err(|_| DecodeError::invalid(field, format_args!("{value} is more than 65535")))
}

fn shorts(field: &'static str, values: Vec<u32>) -> Result<Vec<u16>, DecodeError> {
    values.into_iter().map(|value| short(field, value)).collect()
}

fn account(field: &'static str, bytes: &[u8]) -> Result<AccountId, DecodeError> {
    protos::fixed(field, bytes).map(AccountId::new)
}

fn ip_bytes(ip: IpAddr) -> Bytes {
    match ip {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    }
}

fn ip_address(field: &'static str, bytes: &[u8]) -> Result<IpAddr, DecodeError> {
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

fn protocol(field: &'static str, value: u32) -> Result<u8, DecodeError> {
    u8::try_from(value).map_err(|_| DecodeError::invalid(field, format_args!("{value} is more than 255")))
}

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

impl From<&Beacon> for v1::Beacon {
    fn from(beacon: &Beacon) -> Self {
        Self {
            public_key: Bytes::copy_from_slice(&beacon.public_key),
            genesis_ms: beacon.genesis_ms,
            period_ms: beacon.period_ms,
            block_time_ms: beacon.block_time_ms,
            now_ms: beacon.now_ms,
        }
    }
}

impl TryFrom<v1::Beacon> for Beacon {
    type Error = DecodeError;

    fn try_from(beacon: v1::Beacon) -> Result<Self, DecodeError> {
        if beacon.period_ms == 0 {
            return Err(DecodeError::invalid("beacon.period_ms", "is 0"));
        }
        let public_key: [u8; 96] = protos::fixed("beacon.public_key", &beacon.public_key)?;
        Ok(Self {
            public_key: public_key.to_vec(),
            genesis_ms: beacon.genesis_ms,
            period_ms: beacon.period_ms,
            block_time_ms: beacon.block_time_ms,
            now_ms: beacon.now_ms,
        })
    }
}

impl From<&EpochEntry> for v1::EpochEntry {
    fn from(entry: &EpochEntry) -> Self {
        Self {
            epoch: entry.epoch,
            block: entry.block,
            uid: entry.uid.into(),
            hotkey: Bytes::copy_from_slice(entry.hotkey.as_bytes()),
            stake: entry.stake,
            registered_at: entry.registered_at,
            last_update: entry.last_update,
            validator_permit: entry.validator_permit,
            new_validator_permit: entry.new_validator_permit,
            weights: Some(weight_row(&entry.weights)),
            bonds: Some(weight_row(&entry.bonds)),
            consensus: entry.consensus.into(),
            incentive: entry.incentive.into(),
            dividends: entry.dividends.into(),
            validator_trust: entry.validator_trust.into(),
            emission: entry.emission,
            paid: entry.paid,
            shared: entry.shared,
            last_mechanism_step_block: entry.last_mechanism_step_block,
            commit_block: entry.commit_block,
        }
    }
}

impl TryFrom<v1::EpochEntry> for EpochEntry {
    type Error = DecodeError;

    fn try_from(entry: v1::EpochEntry) -> Result<Self, DecodeError> {
        let row = |row: Option<v1::WeightRow>| row.map_or(Ok(Vec::new()), |row| read_weight_row(&row));
        Ok(Self {
            epoch: entry.epoch,
            block: entry.block,
            uid: short("entry.uid", entry.uid)?,
            hotkey: account("entry.hotkey", &entry.hotkey)?,
            stake: entry.stake,
            registered_at: entry.registered_at,
            last_update: entry.last_update,
            validator_permit: entry.validator_permit,
            new_validator_permit: entry.new_validator_permit,
            weights: row(entry.weights)?,
            bonds: row(entry.bonds)?,
            consensus: short("entry.consensus", entry.consensus)?,
            incentive: short("entry.incentive", entry.incentive)?,
            dividends: short("entry.dividends", entry.dividends)?,
            validator_trust: short("entry.validator_trust", entry.validator_trust)?,
            emission: entry.emission,
            paid: entry.paid,
            shared: entry.shared,
            last_mechanism_step_block: entry.last_mechanism_step_block,
            commit_block: entry.commit_block,
        })
    }
}

/// A weight row as a message.
pub fn weight_row(row: &[(u16, u16)]) -> v1::WeightRow {
    let (uids, values) = row
        .iter()
        .map(|(uid, value)| (u32::from(*uid), u32::from(*value)))
        .unzip();
    v1::WeightRow { uids, values }
}

/// A weight row from its message.
///
/// # Errors
/// [`DecodeError`] names the field.
pub fn read_weight_row(row: &v1::WeightRow) -> Result<Vec<(u16, u16)>, DecodeError> {
    if row.uids.len() != row.values.len() {
        let reason = format_args!("has {} entries for {} uids", row.values.len(), row.uids.len()).to_string();
        return Err(DecodeError::invalid("weight_row.values", reason));
    }
    row.uids
        .iter()
        .zip(&row.values)
        .map(|(uid, value)| Ok((short("weight_row.uids", *uid)?, short("weight_row.values", *value)?)))
        .collect()
}

impl From<&Metagraph> for v1::Metagraph {
    fn from(metagraph: &Metagraph) -> Self {
        Self {
            netuid: metagraph.netuid.into(),
            block: metagraph.block,
            tempo: metagraph.tempo,
            last_epoch_block: metagraph.last_epoch_block,
            epoch_index: metagraph.epoch_index,
            neurons: metagraph.neurons.iter().map(v1::Neuron::from).collect(),
        }
    }
}

impl TryFrom<v1::Metagraph> for Metagraph {
    type Error = DecodeError;

    fn try_from(metagraph: v1::Metagraph) -> Result<Self, DecodeError> {
        let neurons = metagraph
            .neurons
            .into_iter()
            .map(Neuron::try_from)
            .collect::<Result<Vec<_>, DecodeError>>()?;
        if let Some((place, neuron)) = neurons
            .iter()
            .enumerate()
            .find(|(place, n)| usize::from(n.uid) != *place)
        {
            let reason = format_args!("uid {} stands at place {place}", neuron.uid).to_string();
            return Err(DecodeError::invalid("metagraph.neurons", reason));
        }
        Ok(Self {
            netuid: short("metagraph.netuid", metagraph.netuid)?,
            block: metagraph.block,
            tempo: metagraph.tempo,
            last_epoch_block: metagraph.last_epoch_block,
            epoch_index: metagraph.epoch_index,
            neurons,
        })
    }
}

impl From<&Neuron> for v1::Neuron {
    fn from(neuron: &Neuron) -> Self {
        Self {
            uid: neuron.uid.into(),
            hotkey: Bytes::copy_from_slice(neuron.hotkey.as_bytes()),
            coldkey: Bytes::copy_from_slice(neuron.coldkey.as_bytes()),
            stake: neuron.stake,
            axon: neuron.axon.as_ref().map(v1::Axon::from),
            validator_permit: neuron.validator_permit,
            active: neuron.active,
            registered_at: neuron.registered_at,
            last_update: neuron.last_update,
            incentive: neuron.incentive.into(),
            dividends: neuron.dividends.into(),
            incentive_share: neuron.incentive_share,
            emission: neuron.emission,
            earned: neuron.earned,
            weights_known: neuron.weights_known,
            consensus: neuron.consensus.into(),
            validator_trust: neuron.validator_trust.into(),
        }
    }
}

impl TryFrom<v1::Neuron> for Neuron {
    type Error = DecodeError;

    fn try_from(neuron: v1::Neuron) -> Result<Self, DecodeError> {
        if !(0.0..=1.0).contains(&neuron.incentive_share) {
            let reason = format_args!("{} is not between 0 and 1", neuron.incentive_share).to_string();
            return Err(DecodeError::invalid("neuron.incentive_share", reason));
        }
        Ok(Self {
            uid: short("neuron.uid", neuron.uid)?,
            hotkey: account("neuron.hotkey", &neuron.hotkey)?,
            coldkey: account("neuron.coldkey", &neuron.coldkey)?,
            stake: neuron.stake,
            axon: neuron.axon.map(Axon::try_from).transpose()?,
            validator_permit: neuron.validator_permit,
            active: neuron.active,
            registered_at: neuron.registered_at,
            last_update: neuron.last_update,
            incentive: short("neuron.incentive", neuron.incentive)?,
            dividends: short("neuron.dividends", neuron.dividends)?,
            incentive_share: neuron.incentive_share,
            emission: neuron.emission,
            earned: neuron.earned,
            weights_known: neuron.weights_known,
            consensus: short("neuron.consensus", neuron.consensus)?,
            validator_trust: short("neuron.validator_trust", neuron.validator_trust)?,
        })
    }
}

impl From<&Axon> for v1::Axon {
    fn from(axon: &Axon) -> Self {
        Self {
            block: axon.block,
            version: axon.info.version,
            ip: ip_bytes(axon.info.ip),
            port: axon.info.port.into(),
            protocol: axon.info.protocol.into(),
        }
    }
}

impl TryFrom<v1::Axon> for Axon {
    type Error = DecodeError;

    fn try_from(axon: v1::Axon) -> Result<Self, DecodeError> {
        Ok(Self {
            block: axon.block,
            info: AxonInfo {
                version: axon.version,
                ip: ip_address("axon.ip", &axon.ip)?,
                port: short("axon.port", axon.port)?,
                protocol: protocol("axon.protocol", axon.protocol)?,
            },
        })
    }
}

impl From<&Hyperparameters> for v1::Hyperparameters {
    fn from(params: &Hyperparameters) -> Self {
        Self {
            netuid: params.netuid.into(),
            tempo: params.tempo,
            weights_set_rate_limit: params.weights_set_rate_limit,
            weights_version_key: params.weights_version_key,
            min_allowed_weights: params.min_allowed_weights.into(),
            max_weights_limit: params.max_weights_limit.into(),
            max_allowed_uids: params.max_allowed_uids.into(),
            max_allowed_validators: params.max_allowed_validators.into(),
            stake_threshold: params.stake_threshold,
            activity_cutoff: params.activity_cutoff,
            serving_rate_limit: params.serving_rate_limit,
            immunity_period: params.immunity_period,
            min_non_immune_uids: params.min_non_immune_uids.into(),
            rho: params.rho.into(),
            kappa: params.kappa.into(),
            bonds_moving_average: params.bonds_moving_average,
            bonds_penalty: params.bonds_penalty.into(),
            yuma3_on: params.yuma3_on,
            liquid_alpha: params.liquid_alpha,
            alpha_low: params.alpha_low.into(),
            alpha_high: params.alpha_high.into(),
            alpha_sigmoid_steepness: params.alpha_sigmoid_steepness.into(),
            commit_reveal_weights_enabled: params.commit_reveal_weights_enabled,
            commit_reveal_version: params.commit_reveal_version.into(),
            reveal_period_epochs: params.reveal_period_epochs,
            burn: params.burn,
            min_burn: params.min_burn,
            max_burn: params.max_burn,
            burn_increase_mult: params.burn_increase_mult,
            burn_half_life: params.burn_half_life,
            subnet_owner_cut: params.subnet_owner_cut.into(),
            emission_per_block: params.emission_per_block,
            faucet_allowance: params.faucet_allowance,
            loopback_axons: params.loopback_axons,
        }
    }
}

impl TryFrom<v1::Hyperparameters> for Hyperparameters {
    type Error = DecodeError;

    fn try_from(params: v1::Hyperparameters) -> Result<Self, DecodeError> {
        Ok(Self {
            netuid: short("hyperparameters.netuid", params.netuid)?,
            tempo: params.tempo,
            weights_set_rate_limit: params.weights_set_rate_limit,
            weights_version_key: params.weights_version_key,
            min_allowed_weights: short("hyperparameters.min_allowed_weights", params.min_allowed_weights)?,
            max_weights_limit: short("hyperparameters.max_weights_limit", params.max_weights_limit)?,
            max_allowed_uids: short("hyperparameters.max_allowed_uids", params.max_allowed_uids)?,
            max_allowed_validators: short("hyperparameters.max_allowed_validators", params.max_allowed_validators)?,
            stake_threshold: params.stake_threshold,
            activity_cutoff: params.activity_cutoff,
            serving_rate_limit: params.serving_rate_limit,
            immunity_period: params.immunity_period,
            min_non_immune_uids: short("hyperparameters.min_non_immune_uids", params.min_non_immune_uids)?,
            rho: short("hyperparameters.rho", params.rho)?,
            kappa: short("hyperparameters.kappa", params.kappa)?,
            bonds_moving_average: params.bonds_moving_average,
            bonds_penalty: short("hyperparameters.bonds_penalty", params.bonds_penalty)?,
            yuma3_on: params.yuma3_on,
            liquid_alpha: params.liquid_alpha,
            alpha_low: short("hyperparameters.alpha_low", params.alpha_low)?,
            alpha_high: short("hyperparameters.alpha_high", params.alpha_high)?,
            alpha_sigmoid_steepness: i16::try_from(params.alpha_sigmoid_steepness).map_err(|_| {
                DecodeError::invalid(
                    "hyperparameters.alpha_sigmoid_steepness",
                    format_args!("{} is no 16-bit number", params.alpha_sigmoid_steepness),
                )
            })?,
            commit_reveal_weights_enabled: params.commit_reveal_weights_enabled,
            commit_reveal_version: short("hyperparameters.commit_reveal_version", params.commit_reveal_version)?,
            reveal_period_epochs: params.reveal_period_epochs,
            burn: params.burn,
            min_burn: params.min_burn,
            max_burn: params.max_burn,
            burn_increase_mult: params.burn_increase_mult,
            burn_half_life: params.burn_half_life,
            subnet_owner_cut: short("hyperparameters.subnet_owner_cut", params.subnet_owner_cut)?,
            emission_per_block: params.emission_per_block,
            faucet_allowance: params.faucet_allowance,
            loopback_axons: params.loopback_axons,
        })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::Keypair;
    use proptest::prelude::*;

    #[test]
    fn every_error_of_the_ledger_crosses_the_wire_unchanged() {
        let refusals = crate::error::tests::all().into_iter().map(LedgerError::Refused);
        let others = [
            LedgerError::Unauthenticated {
                kind: AuthKind::ReplayedRequest,
                message: "seen before".into(),
            },
            LedgerError::Invalid("field `x`: bad".into()),
            LedgerError::Busy,
            LedgerError::Storage("disk full".into()),
            LedgerError::Closed,
        ];
        for error in refusals.chain(others) {
            let status = to_status(&error);
            // As the other side sees it: through HTTP headers.
            let status = Status::from_header_map(status.into_http::<()>().headers()).unwrap();
            assert_eq!(from_status(&status, "http://ledger", 1), error);
        }
    }

    #[test]
    fn a_field_out_of_range_is_named() {
        let neuron = || v1::Neuron::from(&neuron(0, None));
        let refused = |neuron: v1::Neuron| Neuron::try_from(neuron).unwrap_err().to_string();
        assert!(
            refused(v1::Neuron {
                uid: 70_000,
                ..neuron()
            })
            .contains("neuron.uid")
        );
        assert!(
            refused(v1::Neuron {
                hotkey: Bytes::from_static(&[1; 31]),
                ..neuron()
            })
            .contains("neuron.hotkey")
        );
        assert!(
            refused(v1::Neuron {
                incentive_share: f64::NAN,
                ..neuron()
            })
            .contains("incentive_share")
        );
        let axon = v1::Axon {
            ip: Bytes::from_static(&[1; 5]),
            ..v1::Axon::default()
        };
        assert!(
            refused(v1::Neuron {
                axon: Some(axon),
                ..neuron()
            })
            .contains("axon.ip")
        );
        let call = v1::SetWeightsCall {
            uids: vec![1],
            values: vec![65_536],
            version_key: 0,
        };
        assert!(
            WeightsCall::try_from(call)
                .unwrap_err()
                .to_string()
                .contains("set_weights.values")
        );
        let row = v1::WeightRow {
            uids: vec![1, 2],
            values: vec![1],
        };
        assert!(
            read_weight_row(&row)
                .unwrap_err()
                .to_string()
                .contains("weight_row.values")
        );
        let gap = v1::Metagraph {
            neurons: vec![v1::Neuron { uid: 1, ..neuron() }],
            ..v1::Metagraph::default()
        };
        assert!(
            Metagraph::try_from(gap)
                .unwrap_err()
                .to_string()
                .contains("metagraph.neurons")
        );
    }

    fn neuron(uid: u16, axon: Option<Axon>) -> Neuron {
        let hotkey = Keypair::from_seed([1; 32]).account();
        Neuron {
            uid,
            hotkey,
            coldkey: hotkey,
            stake: 5,
            axon,
            validator_permit: true,
            active: true,
            registered_at: 1,
            last_update: 2,
            incentive: 3,
            dividends: 4,
            incentive_share: 0.5,
            consensus: 8,
            validator_trust: 9,
            emission: 6,
            earned: 7,
            weights_known: true,
        }
    }

    proptest! {
        #[test]
        fn a_metagraph_crosses_the_wire_unchanged(
            block: u64, netuid: u16, ips in proptest::collection::vec(any::<Option<(IpAddr, u16, u8)>>(), 0..8),
        ) {
            let neurons = (0u16..).zip(ips).map(|(uid, axon)| {
                let axon = axon.map(|(ip, port, protocol)| Axon { block, info: AxonInfo { version: 1, ip, port, protocol } });
                neuron(uid, axon)
            }).collect();
            let metagraph = Metagraph { netuid, block, tempo: 9, last_epoch_block: 8, epoch_index: 7, neurons };
            prop_assert_eq!(Metagraph::try_from(v1::Metagraph::from(&metagraph)).unwrap(), metagraph);
        }

        #[test]
        fn calls_cross_the_wire_unchanged(uids: Vec<u16>, values: Vec<u16>, version_key: u64, ip: IpAddr, port: u16) {
            let call = WeightsCall { uids, values, version_key };
            prop_assert_eq!(WeightsCall::try_from(v1::SetWeightsCall::from(&call)).unwrap(), call);
            let axon = AxonInfo { version: 3, ip, port, protocol: 4 };
            prop_assert_eq!(AxonInfo::try_from(v1::ServeAxonCall::from(&axon)).unwrap(), axon);
        }
    }
}
