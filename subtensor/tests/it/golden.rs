//! Byte for byte what bittensor 11.3.0 encodes for specification version 461: calls, signature payloads, signed extrinsics and
//! their hashes, storage keys. Every case of these topics in the data is looked at.

use chain::{AccountId, AxonInfo, Keypair, TimelockedCommit, WeightsCall};
use serde_json::Value as Json;
use subtensor::{HotkeySigner, call};
use subxt::SubstrateConfig;
use subxt::config::DefaultExtrinsicParamsBuilder;
use subxt::config::substrate::{AccountId32, H256, MultiSignature};
use subxt::dynamic::{At, Value};
use subxt::ext::scale_value::Composite;
use subxt::tx::Signer;

use crate::data::{Data, bytes, data, fixed, text};

type Call = call::Call;

/// A JSON value as a runtime's: addresses and hex are bytes.
fn value(json: &Json) -> Value {
    match json {
        Json::Number(number) => Value::u128(number.as_u64().unwrap().into()),
        Json::Array(items) => Value::unnamed_composite(items.iter().map(value)),
        Json::String(text) => match text.strip_prefix("0x") {
            Some(digits) => Value::from_bytes(hex::decode(digits).unwrap()),
            None => Value::from_bytes(text.parse::<AccountId>().unwrap().as_bytes()),
        },
        other => panic!("{other}"),
    }
}

/// The call of a case: by this project's own functions where it has one, else by its arguments.
fn call_of(case: &Json) -> (Call, bool) {
    let (module, function, params) = (text(case, "module"), text(case, "function"), &case["params"]);
    let hotkey = || text(params, "hotkey").parse::<AccountId>().unwrap();
    let number = |name: &str| params[name].as_u64().unwrap();
    let numbers = |name: &str| serde_json::from_value::<Vec<u16>>(params[name].clone()).unwrap();
    let netuid = || u16::try_from(number("netuid")).unwrap();
    let own = match (module, function) {
        (call::PALLET, "burned_register") => call::burned_register(netuid(), &hotkey()),
        (call::PALLET, "add_stake") => call::add_stake(netuid(), &hotkey(), number("amount_staked")),
        (call::PALLET, "set_weights") => {
            let weights = WeightsCall {
                uids: numbers("dests"),
                values: numbers("weights"),
                version_key: number("version_key"),
            };
            call::set_weights(netuid(), &weights)
        }
        _ => {
            let arguments = params.as_object().unwrap().iter().map(|(name, argument)| {
                let argument = match name.as_str() {
                    "dest" => Value::unnamed_variant("Id", [value(argument)]),
                    _ => value(argument),
                };
                (name.clone(), argument)
            });
            return (
                subxt::dynamic::transaction(module, function, Composite::named(arguments)),
                false,
            );
        }
    };
    (own, true)
}

fn encoded(data: &Data, call: &Call) -> Vec<u8> {
    let client = data.client();
    client.at_block(1u64).unwrap().transactions().call_data(call).unwrap()
}

#[test]
fn calls_are_bittensors() {
    let Some(data) = data() else { return };
    let mut own = Vec::new();
    for case in data.cases("calls_spec461") {
        let (call, ours) = call_of(case);
        assert_eq!(
            hex::encode(encoded(&data, &call)),
            hex::encode(bytes(&case["data_hex"])),
            "{case}"
        );
        own.extend(ours.then(|| text(case, "function").to_owned()));
    }
    own.sort();
    assert_eq!(own, ["add_stake", "burned_register", "set_weights"]);

    let commit = TimelockedCommit {
        ciphertext: vec![1, 2, 3],
        reveal_round: 1000,
        version: 4,
    };
    let axon = AxonInfo {
        version: 1,
        ip: "203.0.113.7".parse().unwrap(),
        port: 8091,
        protocol: 4,
    };
    let mechanism = [
        ("netuid", Value::u128(1)),
        ("mecid", Value::u128(0)),
        ("commit", Value::from_bytes([1, 2, 3])),
        ("reveal_round", Value::u128(1000)),
        ("commit_reveal_version", Value::u128(4)),
    ];
    let made = [
        (
            "commit_timelocked_weights(1,[1,2,3],1000,4)",
            call::commit_timelocked_weights(1, &commit),
        ),
        (
            "commit_timelocked_mechanism_weights(1,0,[1,2,3],1000,4)",
            subxt::dynamic::transaction(
                call::PALLET,
                "commit_timelocked_mechanism_weights",
                Composite::named(mechanism),
            ),
        ),
        ("serve_axon(1,1,203.0.113.7,8091,4,4,0,0)", call::serve_axon(1, &axon)),
    ];
    let golden = data.vectors["calls_spec461_rust_subxt"].as_object().unwrap();
    assert_eq!(golden.len(), made.len());
    for (name, call) in made {
        assert_eq!(
            hex::encode(encoded(&data, &call)),
            hex::encode(bytes(&golden[name])),
            "{name}"
        );
    }
}

/// The call whose bytes a case of another topic names.
fn call_with(data: &Data, case: &Json) -> Call {
    let known = data
        .cases("calls_spec461")
        .iter()
        .find(|known| known["data_hex"] == case["call_data_hex"]);
    call_of(known.unwrap_or_else(|| panic!("no call of these bytes: {case}"))).0
}

fn params(case: &Json) -> DefaultExtrinsicParamsBuilder<SubstrateConfig> {
    let params = DefaultExtrinsicParamsBuilder::new().nonce(case["nonce"].as_u64().unwrap());
    let params = params.tip(case["tip"].as_u64().unwrap().into());
    match &case["era"] {
        Json::String(immortal) if immortal == "00" => params.immortal(),
        era => {
            let born = case.get("era_birth_block_hash").map_or([0; 32], fixed);
            params.mortal_from_unchecked(
                era["period"].as_u64().unwrap(),
                era["current"].as_u64().unwrap(),
                H256(born),
            )
        }
    }
}

#[test]
fn what_is_signed_is_bittensors() {
    let Some(data) = data() else { return };
    let client = data.client();
    let at = client.at_block(1u64).unwrap();
    for case in data.cases("signature_payloads_spec461") {
        let call = call_with(&data, case);
        let signable = at
            .transactions()
            .create_v4_signable_offline(&call, params(case).build())
            .unwrap();
        let payload = signable.signer_payload().unwrap();
        assert_eq!(
            hex::encode(&payload),
            hex::encode(bytes(&case["payload_hex"])),
            "{case}"
        );

        // Our signer signs these bytes, for its own account, so that the chain's check passes.
        let pair = Keypair::from_seed([7; 32]);
        let MultiSignature::Sr25519(signature) = HotkeySigner(&pair).sign(&payload) else {
            panic!("not sr25519")
        };
        assert!(chain::wallet::verify(&pair.account(), &payload, &signature));
        assert_eq!(
            HotkeySigner(&pair).account_id(),
            AccountId32(*pair.account().as_bytes())
        );
    }
}

#[test]
fn signed_extrinsics_and_their_hashes_are_bittensors() {
    let Some(data) = data() else { return };
    let client = data.client();
    let at = client.at_block(1u64).unwrap();
    for case in data.cases("extrinsics_spec461") {
        let call = call_with(&data, case);
        let mut signable = at
            .transactions()
            .create_v4_signable_offline(&call, params(case).build())
            .unwrap();
        let signer = AccountId32(fixed(&case["public_key_hex"]));
        assert_eq!(
            text(case, "address").parse::<AccountId>().unwrap().as_bytes(),
            &signer.0
        );
        let signature = MultiSignature::Sr25519(fixed(&case["signature_hex"]));
        let signed = signable.sign_with_account_and_signature(&signer, &signature).unwrap();
        assert_eq!(
            hex::encode(signed.encoded()),
            hex::encode(bytes(&case["extrinsic_hex"])),
            "{case}"
        );
        assert_eq!(signed.hash().0, fixed(&case["extrinsic_hash"]), "{case}");
    }
}

#[test]
fn storage_keys_are_bittensors() {
    let Some(data) = data() else { return };
    let client = data.client();
    let at = client.at_block(1u64).unwrap();
    for case in data.cases("storage_keys_spec461") {
        let (pallet, entry) = (text(case, "pallet"), text(case, "storage_function"));
        let address = subxt::dynamic::storage::<Vec<Value>, Value>(pallet, entry);
        let parts = case["params"].as_array().unwrap().iter().map(value).collect();
        let key = at.storage().entry(address).unwrap().fetch_key(parts).unwrap();
        assert_eq!(
            hex::encode(key),
            hex::encode(bytes(&case["key_hex"])),
            "{pallet}.{entry}"
        );
    }
}

#[test]
fn the_metadata_is_that_of_the_network_in_the_data() {
    let Some(data) = data() else { return };
    let network = &data.vectors["network_461"];
    assert_eq!(network["spec_version"], crate::data::SPEC);
    assert_eq!(network["transaction_version"], crate::data::TRANSACTION_VERSION);
    let client = data.client();
    let at = client.at_block(1u64).unwrap();
    let version = at
        .constants()
        .entry(subxt::dynamic::constant::<Value>("System", "Version"))
        .unwrap();
    assert_eq!(
        version.at("spec_version").and_then(Value::as_u128),
        Some(crate::data::SPEC.into())
    );
    let format: u16 = at
        .constants()
        .entry(subxt::dynamic::constant("System", "SS58Prefix"))
        .unwrap();
    assert_eq!(network["ss58_format"], format);
}
