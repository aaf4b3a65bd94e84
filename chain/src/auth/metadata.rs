//! The proof of a request as gRPC metadata. The names are those of Bittensor's HTTP headers (`X-Bittensor-Hotkey` and the others).

use http::{HeaderMap, HeaderValue};
use protos::DecodeError;

use super::{Head, Proof, Scheme};
use crate::account::AccountId;

/// Version of the scheme: `1`.
pub const VERSION_KEY: &str = "x-bittensor-version";
/// The sender's address.
pub const HOTKEY_KEY: &str = "x-bittensor-hotkey";
/// The receiver's address; absent in a message for anybody.
pub const RECEIVER_KEY: &str = "x-bittensor-receiver";
/// Unix time in nanoseconds, decimal.
pub const NONCE_KEY: &str = "x-bittensor-nonce";
/// In hex, after `0x`: 64 bytes of a signature, or 32 of a tag.
pub const SIGNATURE_KEY: &str = "x-bittensor-signature";
/// The scheme; absent where it is a signature.
pub const CRYPTO_KEY: &str = "x-bittensor-crypto";

const VERSION: &str = "1";

/// Writes down whose a request is; `sender` and `receiver` are ss58 addresses.
pub(super) fn write(headers: &mut HeaderMap, sender: &str, receiver: Option<&str>, nonce_ns: u64, proof: &Proof) {
    let proof = match proof {
        Proof::Signature(signature) => super::hex_of(signature),
        Proof::Tag(tag) => {
            headers.insert(CRYPTO_KEY, HeaderValue::from_static(Scheme::Tag.name()));
            super::hex_of(tag)
        }
    };
    // Addresses, digits and hex are always such a value.
    let mut put = |key, text: &str, never_again: bool| {
        if let Ok(mut value) = HeaderValue::from_str(text) {
            // HTTP/2 then keeps what never comes again out of the table by which it shortens what does.
            value.set_sensitive(never_again);
            headers.insert(key, value);
        }
    };
    put(VERSION_KEY, VERSION, false);
    put(HOTKEY_KEY, sender, false);
    if let Some(receiver) = receiver {
        put(RECEIVER_KEY, receiver, false);
    }
    put(NONCE_KEY, &nonce_ns.to_string(), true);
    put(SIGNATURE_KEY, &format!("0x{proof}"), true);
}

/// Reads what a request says about its sender.
///
/// # Errors
/// [`DecodeError`] names the field that is missing or of another form.
pub(super) fn read(headers: &HeaderMap) -> Result<(Head, Proof), DecodeError> {
    let text = |key: &'static str| match headers.get(key) {
        Some(value) => value
            .to_str()
            .map(Some)
            .map_err(|error| DecodeError::invalid(key, error)),
        None => Ok(None),
    };
    let needed = |key| text(key)?.ok_or_else(|| DecodeError::invalid(key, "is missing; the request is not signed"));
    let version = needed(VERSION_KEY)?;
    if version != VERSION {
        return Err(DecodeError::invalid(
            VERSION_KEY,
            format_args!("is `{version}`, expected {VERSION}"),
        ));
    }
    let account = |key, text: &str| -> Result<AccountId, DecodeError> {
        text.parse().map_err(|error| DecodeError::invalid(key, error))
    };
    let proof = needed(SIGNATURE_KEY)?.trim_start_matches("0x");
    let proof = match text(CRYPTO_KEY)? {
        Some(name) if name == Scheme::Tag.name() => Proof::Tag(bytes(proof)?),
        Some(name) if name != Scheme::Signature.name() => {
            let known = [Scheme::Signature, Scheme::Tag].map(Scheme::name).join(" or ");
            let reason = format_args!("is `{name}`, expected {known}");
            return Err(DecodeError::invalid(CRYPTO_KEY, reason));
        }
        _ => Proof::Signature(bytes(proof)?),
    };
    let head = Head {
        hotkey: account(HOTKEY_KEY, needed(HOTKEY_KEY)?)?,
        receiver: text(RECEIVER_KEY)?
            .map(|text| account(RECEIVER_KEY, text))
            .transpose()?,
        nonce_ns: needed(NONCE_KEY)?
            .parse()
            .map_err(|error| DecodeError::invalid(NONCE_KEY, error))?,
    };
    Ok((head, proof))
}

fn bytes<const N: usize>(digits: &str) -> Result<[u8; N], DecodeError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).map_err(|error| DecodeError::invalid(SIGNATURE_KEY, error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{BodyDigest, sign};
    use super::*;
    use crate::wallet::Keypair;

    fn signed() -> HeaderMap {
        let mut headers = HeaderMap::new();
        let receiver = AccountId::new([2; 32]).to_ss58();
        let keypair = Keypair::from_seed([1; 32]);
        let signature = sign(&keypair, "/p", &BodyDigest::of(b"body"), 7, Some(&receiver));
        let proof = Proof::Signature(signature);
        write(&mut headers, keypair.address(), Some(&receiver), 7, &proof);
        headers
    }

    #[test]
    fn what_is_written_is_read_back_and_what_is_missing_is_named() {
        let (head, proof) = read(&signed()).unwrap();
        assert_eq!(head.hotkey, Keypair::from_seed([1; 32]).account());
        assert_eq!((head.receiver, head.nonce_ns), (Some(AccountId::new([2; 32])), 7));
        let Proof::Signature(signature) = proof else {
            panic!("{proof:?}")
        };
        assert!(head.is_signed(&BodyDigest::of(b"body"), "/p", &signature).is_ok());
        for key in [VERSION_KEY, HOTKEY_KEY, NONCE_KEY, SIGNATURE_KEY] {
            let mut cut = signed();
            cut.remove(key);
            let missing = read(&cut).err().unwrap().to_string();
            assert!(missing.contains(key) && missing.contains("is missing"), "{missing}");
            let mut odd = signed();
            odd.insert(key, HeaderValue::from_static("zz"));
            assert!(read(&odd).err().unwrap().to_string().contains(key));
        }
        let mut open = signed();
        open.remove(RECEIVER_KEY);
        assert_eq!(read(&open).unwrap().0.receiver, None);
    }

    #[test]
    fn a_scheme_is_a_signature_unless_another_is_named_and_must_be_known() {
        let with = |name: &'static str| {
            let mut headers = signed();
            headers.insert(CRYPTO_KEY, HeaderValue::from_static(name));
            read(&headers)
        };
        assert!(matches!(with("sr25519"), Ok((_, Proof::Signature(_)))));
        let unknown = with("ed25519").unwrap_err().to_string();
        assert!(
            unknown.contains(CRYPTO_KEY) && unknown.contains("`ed25519`"),
            "{unknown}"
        );
        // 64 bytes are no tag.
        assert!(with("sr25519-dh-hmac").unwrap_err().to_string().contains(SIGNATURE_KEY));

        let (mut headers, tag) = (HeaderMap::new(), Proof::Tag([3; 32]));
        write(&mut headers, Keypair::from_seed([1; 32]).address(), None, 7, &tag);
        assert_eq!(read(&headers).unwrap().1, tag);
    }
}
