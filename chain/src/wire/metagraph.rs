//! The metagraph: its neurons, their axons.

use prost::bytes::Bytes;
use protos::{DecodeError, v1};

use super::field::{account, ip_address, ip_bytes, protocol, short};
use crate::ledger::{Axon, AxonInfo, Metagraph, Neuron};

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
