//! Golden bytes made by Bittensor's own packages: addresses, key files, signed requests.

use chain::auth::{self, AuthKind};
use chain::commit::round::{Schedule, Stateful};
use chain::commit::{hash, timelock};
use chain::keyfile::password::Password;
use chain::replay::{ReplayGuard, ReplayLimits};
use chain::{AccountId, Beacon, WeightsReveal, keyfile, wallet};
use codec::Encode;
use prost::bytes::Bytes;
use protos::v1;
use serde_json::Value;

use crate::world::data;

/// The recorded vectors, or none (said aloud) where the data is not there.
fn vectors() -> Option<Value> {
    let path = data("bittensor/vectors.json");
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap()),
        Err(error) => {
            eprintln!("SKIPPED: Bittensor's golden bytes, because {}: {error}", path.display());
            None
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no text `{name}` in {value}"))
}

fn hex_bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text.trim_start_matches("0x")).unwrap().try_into().unwrap()
}

#[test]
fn addresses_are_bittensors() {
    let Some(vectors) = vectors() else { return };
    let cases = vectors["ss58"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let account = AccountId::new(hex_bytes(text(case, "public_key_hex")));
        assert_eq!(account.to_string(), text(case, "address"));
        assert_eq!(text(case, "address").parse(), Ok(account));
    }
}

#[test]
fn plain_key_files_are_read() {
    let Some(vectors) = vectors() else { return };
    for name in ["alice_plain", "abandon_about_plain"] {
        let case = &vectors["keyfile"][name];
        let pair = keyfile::parse(&case.to_string()).unwrap();
        assert_eq!(pair.account().to_string(), text(case, "ss58Address"));
        let signature = pair.sign(b"portcullis");
        assert!(wallet::verify(
            &AccountId::new(hex_bytes(text(case, "publicKey"))),
            b"portcullis",
            &signature
        ));

        // Without its other secrets the private key alone gives the same key.
        let mut bare = case.clone();
        for field in ["secretSeed", "secretPhrase", "cryptoType"] {
            bare.as_object_mut().unwrap().remove(field);
        }
        assert_eq!(keyfile::parse(&bare.to_string()).unwrap().account(), pair.account());
    }
    let encrypted = hex::decode(text(&vectors["keyfile"], "alice_encrypted_hex")).unwrap();
    let error = keyfile::parse(&String::from_utf8_lossy(&encrypted)).unwrap_err();
    assert_eq!(error, keyfile::ContentError::Encrypted("NaCl"));
}

#[test]
fn an_encrypted_key_file_is_opened_with_its_password_only() {
    let Some(vectors) = vectors() else { return };
    let case = &vectors["keyfile"];
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("coldkey");
    let encrypted = hex::decode(text(case, "alice_encrypted_hex")).unwrap();
    std::fs::write(&path, &encrypted).unwrap();
    let password = Password::new(text(case, "password"));
    let pair = keyfile::read_with(&path, Some(&password)).unwrap();
    assert_eq!(pair.account().to_string(), text(&case["alice_plain"], "ss58Address"));
    // One bit of the box, and it does not open.
    let mut altered = encrypted;
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &altered).unwrap();
    let refused = keyfile::read_with(&path, Some(&password)).unwrap_err().to_string();
    assert!(
        refused.contains("the password is wrong, or the file was altered"),
        "{refused}"
    );
}

#[test]
fn the_promise_by_hash_is_the_one_that_a_runtime_took() {
    let Some(vectors) = vectors() else { return };
    let case = &vectors["commit_reveal_v2_hash"];
    let numbers = |name: &str| serde_json::from_value::<Vec<u16>>(case[name].clone()).unwrap();
    let reveal = WeightsReveal {
        uids: numbers("uids"),
        values: numbers("values"),
        salt: numbers("salt"),
        version_key: case["version_key"].as_u64().unwrap(),
    };
    let hotkey = AccountId::new(hex_bytes(text(case, "hotkey_hex")));
    let netuid = u16::try_from(case["netuid_storage_index_u16"].as_u64().unwrap()).unwrap();
    assert_eq!(
        hex::encode(hash::preimage(&hotkey, netuid, &reveal)),
        text(case, "scale_preimage_hex")
    );
    assert_eq!(
        hex::encode(hash::commit(&hotkey, netuid, &reveal).hash),
        text(case, "blake2b_256")
    );
}

#[test]
fn the_beacon_and_the_envelope_of_sealed_weights_are_bittensors() {
    let Some(vectors) = vectors() else { return };
    let case = &vectors["timelock"];
    let beacon = Beacon::quicknet();
    assert_eq!(hex::encode(&beacon.public_key), text(case, "drand_quicknet_pubkey"));
    let seconds = |name: &str| case[name].as_u64().unwrap() * 1_000;
    assert_eq!(
        (beacon.genesis_ms, beacon.period_ms),
        (seconds("genesis_time"), seconds("period"))
    );
    let known = &case["known_round_signature"];
    let (round, signature) = (
        known["round"].as_u64().unwrap(),
        hex::decode(text(known, "signature_hex")).unwrap(),
    );
    assert!(timelock::verify_round(&beacon.public_key, round, &signature));
    for case in case["cases"].as_array().unwrap() {
        // What the chain stores: the ciphertext and its round, as the call carries them.
        let round = case["round"].as_u64().unwrap();
        let enveloped = (hex::decode(text(case, "ciphertext_hex")).unwrap(), round).encode();
        assert_eq!(hex::encode(enveloped), text(case, "user_data_envelope_hex"));
        let sealed = hex::decode(text(case, "ciphertext_hex")).unwrap();
        assert_eq!(
            hex::encode(timelock::unseal(&sealed, &signature).unwrap()),
            text(case, "plaintext_hex")
        );
    }
}

#[test]
fn reveals_are_predicted_for_the_block_that_the_sdk_predicts() {
    let Some(vectors) = vectors() else { return };
    let cases = vectors["epoch_schedule_predict"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let number = |name: &str| case["state"][name].as_u64().unwrap();
        let schedule = Schedule::Stateful(Stateful {
            tempo: number("tempo"),
            last_epoch_block: number("last_epoch_block"),
            pending_epoch_at: number("pending_epoch_at"),
            epoch_index: number("subnet_epoch_index"),
            blocks_since_last_step: number("blocks_since_last_step"),
        });
        let predicted = schedule.first_reveal_block(number("current_block"), case["reveal_period"].as_u64().unwrap());
        assert_eq!(predicted, case["first_reveal_block"].as_u64(), "{case}");
    }
}

#[test]
fn what_we_write_is_what_bittensor_reads() {
    let Some(vectors) = vectors() else { return };
    let golden = &vectors["keyfile"]["abandon_about_plain"];
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("hotkey");
    keyfile::write(&path, &keyfile::parse(&golden.to_string()).unwrap()).unwrap();
    let written: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for field in [
        "accountId",
        "publicKey",
        "privateKey",
        "secretSeed",
        "ss58Address",
        "cryptoType",
    ] {
        assert_eq!(written[field], golden[field], "{field}");
    }
}

#[test]
fn signed_requests_are_btauth_1() {
    let Some(vectors) = vectors() else { return };
    let case = &vectors["btauth1"];
    let payload = text(case, "payload");
    let lines: Vec<&str> = payload.split('\n').collect();
    let [_, scheme, method, target, _, nonce, sender, receiver] = lines[..] else {
        panic!("{payload}")
    };
    assert_eq!(scheme, auth::Scheme::Signature.name());
    let (sender, receiver): (AccountId, AccountId) = (sender.parse().unwrap(), receiver.parse().unwrap());
    let (body, nonce) = (text(case, "body"), nonce.parse().unwrap());
    let digest = auth::BodyDigest::of(body.as_bytes());
    let [from, to] = [sender, receiver].map(|account| account.to_ss58());
    let message = |receiver| auth::message(auth::Scheme::Signature, method, target, &digest, nonce, &from, receiver);
    assert_eq!(message(Some(&to)), payload);
    assert!(message(None).ends_with("\n-"));

    // A signature that bittensor 11 made is opened here.
    let signature: [u8; 64] = hex_bytes(text(case, "sr25519_example_signature"));
    assert!(wallet::verify(&sender, payload.as_bytes(), &signature));
    let signed = v1::Signed {
        payload: Bytes::copy_from_slice(body.as_bytes()),
        hotkey: Bytes::copy_from_slice(sender.as_bytes()),
        receiver: Bytes::copy_from_slice(receiver.as_bytes()),
        nonce_ns: nonce,
        signature: Bytes::copy_from_slice(&signature),
        tag: Bytes::new(),
    };
    let guard = ReplayGuard::new(ReplayLimits::default());
    assert_eq!(
        auth::open(&signed, &receiver, target, nonce, &guard).unwrap().hotkey,
        sender
    );
    let again = auth::open(&signed, &receiver, target, nonce, &guard).unwrap_err();
    assert_eq!(again.kind(), AuthKind::ReplayedRequest);
    // One under another scheme is not.
    let foreign: [u8; 64] = hex_bytes(text(case, "ed25519_pinned_signature"));
    assert!(!wallet::verify(&sender, payload.as_bytes(), &foreign));
}

#[test]
fn the_older_schemes_signatures_verify_too() {
    let Some(vectors) = vectors() else { return };
    let sender = text(&vectors["btauth1"], "payload")
        .split('\n')
        .nth(6)
        .unwrap()
        .parse()
        .unwrap();
    let verified = |scheme: &str, sender: &AccountId| {
        let case = &vectors[scheme];
        let signature = hex_bytes(text(case, "sr25519_example_signature"));
        wallet::verify(sender, text(case, "message").as_bytes(), &signature)
    };
    assert!(verified("dendrite_v10", &sender) && verified("epistula_v2", &sender));
    let other = AccountId::new([7; 32]);
    assert!(!verified("dendrite_v10", &other) && !verified("epistula_v2", &other));
}
