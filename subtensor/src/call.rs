//! Subtensor's calls as plain values: names of arguments and what they are, without knowing how a runtime encodes them.

use std::net::IpAddr;

use chain::{AccountId, AxonInfo, TimelockedCommit, WeightsCall, WeightsCommit, WeightsReveal};
use subxt::dynamic::Value;
use subxt::ext::scale_value::Composite;
use subxt::tx::DynamicPayload;

/// The pallet of every call here.
pub const PALLET: &str = "SubtensorModule";

/// A call: its name and named arguments.
pub type Call = DynamicPayload<Composite<()>>;

fn call(name: &str, arguments: impl IntoIterator<Item = (&'static str, Value)>) -> Call {
    subxt::dynamic::transaction(PALLET, name, Composite::named(arguments))
}

fn number(value: impl Into<u128>) -> Value {
    Value::u128(value.into())
}

fn numbers(values: &[u16]) -> Value {
    Value::unnamed_composite(values.iter().map(|value| number(*value)))
}

fn bytes(value: &[u8]) -> Value {
    Value::from_bytes(value)
}

/// `burned_register`: the signer pays the burn and owns the hotkey from then on.
pub fn burned_register(netuid: u16, hotkey: &AccountId) -> Call {
    let hotkey = bytes(hotkey.as_bytes());
    call("burned_register", [("netuid", number(netuid)), ("hotkey", hotkey)])
}

/// `add_stake`: the signer's TAO become stake of the hotkey on the subnet.
pub fn add_stake(netuid: u16, hotkey: &AccountId, rao: u64) -> Call {
    call(
        "add_stake",
        [
            ("hotkey", bytes(hotkey.as_bytes())),
            ("netuid", number(netuid)),
            ("amount_staked", number(rao)),
        ],
    )
}

/// `serve_axon`, signed by the hotkey.
pub fn serve_axon(netuid: u16, axon: &AxonInfo) -> Call {
    let (ip, ip_type) = ip_number(axon.ip);
    call(
        "serve_axon",
        [
            ("netuid", number(netuid)),
            ("version", number(axon.version)),
            ("ip", number(ip)),
            ("port", number(axon.port)),
            ("ip_type", number(ip_type)),
            ("protocol", number(axon.protocol)),
            // The chain's own names for two arguments that it keeps for later.
            ("placeholder1", number(0u8)),
            ("placeholder2", number(0u8)),
        ],
    )
}

/// `set_weights`, signed by the hotkey.
pub fn set_weights(netuid: u16, weights: &WeightsCall) -> Call {
    call(
        "set_weights",
        [
            ("netuid", number(netuid)),
            ("dests", numbers(&weights.uids)),
            ("weights", numbers(&weights.values)),
            ("version_key", number(weights.version_key)),
        ],
    )
}

/// `commit_weights`: the promise by hash.
pub fn commit_weights(netuid: u16, commit: &WeightsCommit) -> Call {
    let hash = bytes(&commit.hash);
    call("commit_weights", [("netuid", number(netuid)), ("commit_hash", hash)])
}

/// `reveal_weights`: what a promise by hash was.
pub fn reveal_weights(netuid: u16, reveal: &WeightsReveal) -> Call {
    call(
        "reveal_weights",
        [
            ("netuid", number(netuid)),
            ("uids", numbers(&reveal.uids)),
            ("values", numbers(&reveal.values)),
            ("salt", numbers(&reveal.salt)),
            ("version_key", number(reveal.version_key)),
        ],
    )
}

/// `commit_timelocked_weights`: sealed weights.
pub fn commit_timelocked_weights(netuid: u16, commit: &TimelockedCommit) -> Call {
    call(
        "commit_timelocked_weights",
        [
            ("netuid", number(netuid)),
            ("commit", bytes(&commit.ciphertext)),
            ("reveal_round", number(commit.reveal_round)),
            ("commit_reveal_version", number(commit.version)),
        ],
    )
}

/// An address as the chain keeps it: one big-endian number, and 4 or 6.
pub fn ip_number(ip: IpAddr) -> (u128, u8) {
    match ip {
        IpAddr::V4(ip) => (u32::from(ip).into(), 4),
        IpAddr::V6(ip) => (ip.into(), 6),
    }
}

/// The address of a number and 4 or 6; `None` where they do not fit.
pub fn ip_address(number: u128, ip_type: u8) -> Option<IpAddr> {
    match ip_type {
        4 => u32::try_from(number).ok().map(|number| IpAddr::V4(number.into())),
        6 => Some(IpAddr::V6(number.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_is_its_big_endian_number() {
        assert_eq!(ip_number("203.0.113.7".parse().unwrap()), (0xcb00_7107, 4));
        assert_eq!(ip_address(1 << 32, 4), None);
        assert_eq!(ip_address(1, 5), None);
    }

    proptest! {
        #[test]
        fn every_address_survives_its_number(ip: IpAddr) {
            let (number, ip_type) = ip_number(ip);
            prop_assert_eq!(ip_address(number, ip_type), Some(ip));
        }
    }
}
