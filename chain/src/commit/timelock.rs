//! Weights sealed to a round of a randomness beacon (drand's quicknet on the real chain): nobody can read them until the
//! beacon has signed that round, and then everybody can.
//!
//! Identity-based encryption after Boneh and Franklin on BLS12-381, the identity being the hash of the round, over AES-256-GCM:
//! the crate `timelock` does the cryptography. Its container differs from the chain's (revision 5416406 of `tle`) in two length
//! prefixes of the header, so the container is written and read here, each length checked before anything is allocated:
//!
//! ```text
//! U (96, compressed G2) | 32 u64 LE | V (32) | 32 u64 LE | W (32) | body length u64 LE
//! | { length u64 LE | ciphertext and tag | 12 u64 LE | nonce (12) } | 8 u64 LE | "AES_GCM_"
//! ```

use ::timelock::block_ciphers::{AESGCMBlockCipherProvider, AESOutput, BlockCipherProvider};
use ::timelock::engines::EngineBLS;
use ::timelock::engines::drand::TinyBLS381;
use ::timelock::ibe::fullident::{Ciphertext, IBESecret, Identity};
use ::timelock::tlock::tle;
use ark_ec::PrimeGroup;
use ark_ff::PrimeField;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use ark_std::rand::{CryptoRng, Error as RngError, RngCore};
use codec::{DecodeAll, Encode};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::account::AccountId;

/// The chain takes no longer commit (`BoundedVec<u8, 5000>`).
pub const LONGEST_COMMIT: usize = 5_000;
/// Bytes of a beacon's public key: a compressed point of G2.
pub const PUBLIC_KEY_LENGTH: usize = 96;
/// Bytes of a round's signature: a compressed point of G1.
pub const SIGNATURE_LENGTH: usize = 48;

const SUITE: &[u8] = b"AES_GCM_";
const NONCE_LENGTH: usize = 12;
const KEY_LENGTH: usize = 32;

type G1 = <TinyBLS381 as EngineBLS>::SignatureGroup;
type G2 = <TinyBLS381 as EngineBLS>::PublicKeyGroup;
type Scalar = <TinyBLS381 as EngineBLS>::Scalar;

/// What is sealed: SCALE of hotkey (as bytes with a length), uids, values and version key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Who commits. The chain refuses the payload under another's name; payloads of version 3 had none.
    pub hotkey: Option<AccountId>,
    /// For whom.
    pub uids: Vec<u16>,
    /// How much, in the same order; only ratios count.
    pub values: Vec<u16>,
    /// The validator's version.
    pub version_key: u64,
}

/// Why weights cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The beacon's key is no point of G2.
    #[error("the beacon's public key is not a compressed point of G2 on BLS12-381 ({PUBLIC_KEY_LENGTH} bytes)")]
    PublicKey,
    /// The chain would not take the commit.
    #[error("{actual} sealed bytes, the chain takes at most {LONGEST_COMMIT}; set fewer weights")]
    TooLong {
        /// How many they are.
        actual: usize,
    },
    /// The cipher failed.
    #[error("the weights cannot be encrypted: {0}")]
    Cipher(String),
}

/// Why sealed weights cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Not the container.
    #[error("not a sealed commit: {0}")]
    Malformed(&'static str),
    /// Not a signature at all.
    #[error("the round's signature is not a compressed point of G1 on BLS12-381 ({SIGNATURE_LENGTH} bytes)")]
    Signature,
    /// The signature of another round, or altered bytes.
    #[error("the signature does not open it: sealed to another round or another beacon, or altered")]
    WrongRound,
    /// Opened, but not weights.
    #[error("what was sealed is not weights: {0}")]
    Payload(String),
}

impl Payload {
    /// SCALE, as the chain decodes it.
    pub fn encode(&self) -> Vec<u8> {
        let weights = (&self.uids, &self.values, self.version_key);
        match &self.hotkey {
            Some(hotkey) => (hotkey.as_bytes().as_slice(), weights).encode(),
            None => weights.encode(),
        }
    }

    /// Reads version 4, or the older one without a hotkey.
    ///
    /// # Errors
    /// [`UnsealError::Payload`] when it is neither.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnsealError> {
        type Weights = (Vec<u16>, Vec<u16>, u64);
        let with_key = <(Vec<u8>, Weights)>::decode_all(&mut &*bytes)
            .ok()
            .and_then(|(hotkey, weights)| Some((Some(AccountId::new(hotkey.try_into().ok()?)), weights)));
        let (hotkey, (uids, values, version_key)) = match with_key {
            Some(read) => read,
            None => (
                None,
                Weights::decode_all(&mut &*bytes).map_err(|error| UnsealError::Payload(error.to_string()))?,
            ),
        };
        Ok(Self {
            hotkey,
            uids,
            values,
            version_key,
        })
    }
}

/// The identity of a round: nobody has its secret but who signs the round.
fn identity(round: u64) -> Identity {
    Identity::new(b"", &Sha256::digest(round.to_be_bytes()))
}

/// Seals `plaintext` to `round` of the beacon with that public key. Two sealings of one text differ.
///
/// # Errors
/// [`SealError`] says why the chain would not take it.
pub fn seal(public_key: &[u8], round: u64, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut key = Zeroizing::new([0u8; KEY_LENGTH]);
    rand::fill(key.as_mut());
    seal_with(public_key, round, plaintext, &key, SystemRng)
}

fn seal_with<R: RngCore + CryptoRng>(
    public_key: &[u8],
    round: u64,
    plaintext: &[u8],
    key: &[u8; KEY_LENGTH],
    rng: R,
) -> Result<Vec<u8>, SealError> {
    let public_key: G2 = point(public_key).ok_or(SealError::PublicKey)?;
    let cipher = |reason: String| SealError::Cipher(reason);
    let sealed = tle::<TinyBLS381, AESGCMBlockCipherProvider, _>(public_key, *key, plaintext, identity(round), rng)
        .map_err(|error| cipher(format!("{error:?}")))?;
    let mut out = Vec::with_capacity(LONGEST_COMMIT);
    let header = &sealed.header;
    header
        .u
        .serialize_compressed(&mut out)
        .map_err(|error| cipher(error.to_string()))?;
    for part in [&header.v[..], &header.w, &sealed.body, SUITE] {
        out.extend_from_slice(&length(part).to_le_bytes());
        out.extend_from_slice(part);
    }
    match out.len() {
        0..=LONGEST_COMMIT => Ok(out),
        actual => Err(SealError::TooLong { actual }),
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Opens what was sealed to a round, with the beacon's signature of that round.
///
/// # Errors
/// [`UnsealError`] tells broken bytes from a signature that does not fit.
pub fn unseal(sealed: &[u8], signature: &[u8]) -> Result<Vec<u8>, UnsealError> {
    let signature: G1 = point(signature).ok_or(UnsealError::Signature)?;
    let malformed = UnsealError::Malformed;
    let (u, mut rest) = sealed
        .split_at_checked(PUBLIC_KEY_LENGTH)
        .ok_or(malformed("shorter than its header"))?;
    let header = Ciphertext::<TinyBLS381> {
        u: point(u).ok_or(malformed("U is not a compressed point of G2"))?,
        v: take(&mut rest)
            .and_then(|v| v.try_into().ok())
            .ok_or(malformed("V is not 32 bytes"))?,
        w: take(&mut rest)
            .and_then(|w| w.try_into().ok())
            .ok_or(malformed("W is not 32 bytes"))?,
    };
    let mut body = take(&mut rest).ok_or(malformed("the body is cut off"))?;
    // The suite is the last field; revisions of the chain's own library have ignored what follows, and so do we.
    if take(&mut rest) != Some(SUITE) {
        return Err(malformed("its cipher is not AES_GCM_"));
    }
    let ciphertext = take(&mut body).ok_or(malformed("the ciphertext is cut off"))?;
    let nonce = take(&mut body)
        .filter(|nonce| nonce.len() == NONCE_LENGTH)
        .ok_or(malformed("the nonce is not 12 bytes"))?;
    let key = Zeroizing::new(
        IBESecret(signature)
            .decrypt(&header)
            .map_err(|_| UnsealError::WrongRound)?,
    );
    let output = AESOutput {
        ciphertext: ciphertext.to_vec(),
        nonce: nonce.to_vec(),
    };
    AESGCMBlockCipherProvider::decrypt(output, *key).map_err(|_| UnsealError::WrongRound)
}

/// The next field, whose length stands before it.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<8>()?;
    let (field, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    *rest = after;
    Some(field)
}

/// A point of the curve's prime-order subgroup, and nothing after it.
fn point<P: CanonicalDeserialize>(mut bytes: &[u8]) -> Option<P> {
    let point = P::deserialize_compressed(&mut bytes).ok()?;
    bytes.is_empty().then_some(point)
}

fn compressed<const N: usize>(point: &impl CanonicalSerialize) -> [u8; N] {
    let mut bytes = [0u8; N];
    // Writing a point of N bytes into N bytes does not fail; where it did, the result would verify nothing.
    let _written = point.serialize_compressed(bytes.as_mut_slice());
    bytes
}

/// Whether `signature` is the beacon's over `round`.
pub fn verify_round(public_key: &[u8], round: u64, signature: &[u8]) -> bool {
    let (Some(public_key), Some(signature)) = (point::<G2>(public_key), point::<G1>(signature)) else {
        return false;
    };
    TinyBLS381::pairing(G2::generator(), signature)
        == TinyBLS381::pairing(public_key, identity(round).public::<TinyBLS381>())
}

/// A beacon of one's own, which signs rounds by quicknet's scheme: for a ledger that lives in one process.
///
/// Who holds it can open everything that is sealed to it.
#[derive(Clone)]
pub struct LocalBeacon {
    secret: Scalar,
    public_key: [u8; PUBLIC_KEY_LENGTH],
}

impl LocalBeacon {
    /// The beacon of a secret seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // 384 bits, so that the reduction modulo the group's order leaves no bias.
        let mut wide = Zeroizing::new([0u8; 64]);
        for (half, label) in wide.chunks_exact_mut(32).zip([0u8, 1]) {
            half.copy_from_slice(&Sha256::new().chain_update([label]).chain_update(seed).finalize());
        }
        let secret = Scalar::from_be_bytes_mod_order(wide.as_slice());
        Self {
            secret,
            public_key: compressed(&(G2::generator() * secret)),
        }
    }

    /// Its public key.
    pub const fn public_key(&self) -> &[u8; PUBLIC_KEY_LENGTH] {
        &self.public_key
    }

    /// Its signature over a round.
    pub fn sign(&self, round: u64) -> [u8; SIGNATURE_LENGTH] {
        compressed(&identity(round).extract::<TinyBLS381>(self.secret).0)
    }
}

impl std::fmt::Debug for LocalBeacon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalBeacon")
            .field(&hex::encode(self.public_key))
            .finish()
    }
}

/// The operating system's randomness, for a library that asks for an older trait.
struct SystemRng;

impl RngCore for SystemRng {
    fn next_u32(&mut self) -> u32 {
        rand::random()
    }
    fn next_u64(&mut self) -> u64 {
        rand::random()
    }
    fn fill_bytes(&mut self, out: &mut [u8]) {
        rand::fill(out);
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), RngError> {
        rand::fill(out);
        Ok(())
    }
}

impl CryptoRng for SystemRng {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Beacon;
    use ark_std::rand::RngCore;
    use proptest::prelude::*;
    use serde_json::Value;

    /// drand round 1000's real signature.
    const ROUND: u64 = 1000;
    const SIGNATURE: &str =
        "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    fn vectors() -> Option<Value> {
        let data = std::env::var("PORTCULLIS_DATA")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").to_owned());
        let path = format!("{data}/bittensor/vectors.json");
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(serde_json::from_str(&text).unwrap()),
            Err(error) => {
                println!("SKIPPED: the vectors of the time-lock, because {path}: {error}");
                None
            }
        }
    }

    /// Gives what a sealing drew, so that it can be done again.
    struct Replayed(Vec<u8>);

    impl RngCore for Replayed {
        fn next_u32(&mut self) -> u32 {
            unreachable!("bytes are drawn")
        }
        fn next_u64(&mut self) -> u64 {
            unreachable!("bytes are drawn")
        }
        fn fill_bytes(&mut self, out: &mut [u8]) {
            let rest = self.0.split_off(out.len());
            out.copy_from_slice(&self.0);
            self.0 = rest;
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), RngError> {
            self.fill_bytes(out);
            Ok(())
        }
    }
    impl CryptoRng for Replayed {}

    fn xor(a: &[u8], b: &[u8]) -> Vec<u8> {
        a.iter().zip(b).map(|(a, b)| a ^ b).collect()
    }

    #[test]
    fn what_bittensors_own_library_sealed_is_opened_and_sealed_again_byte_for_byte() {
        let Some(vectors) = vectors() else { return };
        let timelock = &vectors["timelock"];
        let key = bytes(timelock["drand_quicknet_pubkey"].as_str().unwrap());
        assert_eq!(key, Beacon::quicknet().public_key);
        let cases = timelock["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 2);
        for case in cases {
            let (sealed, plaintext) = (
                bytes(case["ciphertext_hex"].as_str().unwrap()),
                bytes(case["plaintext_hex"].as_str().unwrap()),
            );
            assert_eq!(unseal(&sealed, &bytes(SIGNATURE)).unwrap(), plaintext);

            // With the round's secret at hand, everything that the sealing drew can be computed back.
            let (u, v, w) = (&sealed[..96], &sealed[104..136], &sealed[144..176]);
            let (u, d): (G2, G1) = (point(u).unwrap(), point(&bytes(SIGNATURE)).unwrap());
            let mut pairing = Vec::new();
            TinyBLS381::pairing(u, d).serialize_compressed(&mut pairing).unwrap();
            let sigma = xor(v, &Sha256::digest(&pairing));
            let esk: [u8; 32] = xor(w, &Sha256::digest(&sigma)).try_into().unwrap();
            let nonce = &sealed[sealed.len() - 28..sealed.len() - 16];
            let drawn = Replayed([&sigma[..], nonce].concat());
            let again = seal_with(&key, case["round"].as_u64().unwrap(), &plaintext, &esk, drawn).unwrap();
            assert_eq!(hex::encode(again), hex::encode(sealed));
        }
    }

    #[test]
    fn the_payload_is_the_chains() {
        let Some(vectors) = vectors() else { return };
        let plaintext = bytes(vectors["timelock"]["cases"][0]["plaintext_hex"].as_str().unwrap());
        let payload = Payload::decode(&plaintext).unwrap();
        let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY".parse().unwrap();
        assert_eq!(payload.hotkey, Some(alice));
        assert_eq!(payload.uids.len(), payload.values.len());
        assert_eq!(payload.version_key, 42);
        assert_eq!(payload.encode(), plaintext);
        let old = Payload {
            hotkey: None,
            ..payload
        };
        assert_eq!(Payload::decode(&old.encode()), Ok(old));
    }

    #[test]
    fn quicknets_signature_is_good_for_its_round_only() {
        let key = Beacon::quicknet().public_key;
        assert!(verify_round(&key, ROUND, &bytes(SIGNATURE)));
        assert!(!verify_round(&key, ROUND + 1, &bytes(SIGNATURE)));
        assert!(!verify_round(
            LocalBeacon::from_seed(&[1; 32]).public_key(),
            ROUND,
            &bytes(SIGNATURE)
        ));
        assert!(!verify_round(&key, ROUND, &[0; 48]));
        assert!(!verify_round(&key[1..], ROUND, &bytes(SIGNATURE)));
    }

    #[test]
    fn sealed_weights_stay_shut_until_their_round() {
        let beacon = LocalBeacon::from_seed(&[7; 32]);
        let payload = Payload {
            hotkey: Some(AccountId::new([9; 32])),
            uids: (0..256).collect(),
            values: vec![65535; 256],
            version_key: 3,
        };
        let sealed = seal(beacon.public_key(), 42, &payload.encode()).unwrap();
        assert!(verify_round(beacon.public_key(), 42, &beacon.sign(42)));
        assert_eq!(unseal(&sealed, &beacon.sign(41)), Err(UnsealError::WrongRound));
        assert_eq!(unseal(&sealed, &[0; 48]), Err(UnsealError::Signature));
        let opened = unseal(&sealed, &beacon.sign(42)).unwrap();
        assert_eq!(Payload::decode(&opened), Ok(payload.clone()));
        assert_ne!(
            sealed,
            seal(beacon.public_key(), 42, &payload.encode()).unwrap(),
            "two sealings differ"
        );
    }

    #[test]
    fn what_cannot_be_sealed_is_named() {
        let beacon = LocalBeacon::from_seed(&[7; 32]);
        assert!(matches!(
            seal(beacon.public_key(), 1, &[0; 5_000]),
            Err(SealError::TooLong { actual: 5_001.. })
        ));
        assert_eq!(seal(&[0; 96], 1, b"x"), Err(SealError::PublicKey));
        assert!(!format!("{beacon:?}").contains(&hex::encode([7u8; 32])));
        assert!(matches!(Payload::decode(b"\xff\xff"), Err(UnsealError::Payload(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn cut_or_altered_commits_are_an_answer_and_no_panic(cut in 0usize..300, at in 96usize..300, bit in 0u8..8) {
            let beacon = LocalBeacon::from_seed(&[7; 32]);
            let sealed = seal(beacon.public_key(), 42, &[5; 60]).unwrap();
            let signature = beacon.sign(42);
            let cut = cut.min(sealed.len() - 1);
            prop_assert!(unseal(&sealed[..cut], &signature).is_err());
            let mut altered = sealed;
            let at = at.min(altered.len() - 1);
            altered[at] ^= 1 << bit;
            prop_assert!(unseal(&altered, &signature).is_err());
        }

        #[test]
        fn any_bytes_are_an_answer_and_no_panic(sealed: Vec<u8>, signature: Vec<u8>) {
            prop_assert!(unseal(&sealed, &signature).is_err());
            let _payload = Payload::decode(&sealed);
        }
    }
}
