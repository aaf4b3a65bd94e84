//! The signature of a request as gRPC metadata. The names are those of Bittensor's HTTP headers (`X-Bittensor-Hotkey` and the others).

use http::{HeaderMap, HeaderValue};
use protos::DecodeError;

use super::{BodyDigest, Head, METHOD};
use crate::account::AccountId;
use crate::wallet::{Keypair, SignatureBytes};

/// Version of the scheme: `1`.
pub const VERSION_KEY: &str = "x-bittensor-version";
/// The sender's address.
pub const HOTKEY_KEY: &str = "x-bittensor-hotkey";
/// The receiver's address; absent in a message for anybody.
pub const RECEIVER_KEY: &str = "x-bittensor-receiver";
/// Unix time in nanoseconds, decimal.
pub const NONCE_KEY: &str = "x-bittensor-nonce";
/// 64 bytes in hex, after `0x`.
pub const SIGNATURE_KEY: &str = "x-bittensor-signature";

const VERSION: &str = "1";

/// Signs a call of `path` and writes it down; `receiver` is an ss58 address.
pub(super) fn write(
    headers: &mut HeaderMap,
    digest: &BodyDigest,
    path: &str,
    keypair: &Keypair,
    receiver: Option<&str>,
    nonce_ns: u64,
) {
    let lines = super::message(METHOD, path, digest, nonce_ns, keypair.address(), receiver);
    let signature = format!("0x{}", super::hex_of(&keypair.sign(lines.as_bytes())));
    // Addresses, digits and hex are always such a value.
    let mut put = |key, text: &str, never_again: bool| {
        if let Ok(mut value) = HeaderValue::from_str(text) {
            // HTTP/2 then keeps what never comes again out of the table by which it shortens what does.
            value.set_sensitive(never_again);
            headers.insert(key, value);
        }
    };
    put(VERSION_KEY, VERSION, false);
    put(HOTKEY_KEY, keypair.address(), false);
    if let Some(receiver) = receiver {
        put(RECEIVER_KEY, receiver, false);
    }
    put(NONCE_KEY, &nonce_ns.to_string(), true);
    put(SIGNATURE_KEY, &signature, true);
}

/// Reads what a request says about its sender.
///
/// # Errors
/// [`DecodeError`] names the field that is missing or of another form.
pub(super) fn read(headers: &HeaderMap) -> Result<Head, DecodeError> {
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
    let mut signature: SignatureBytes = [0; 64];
    hex::decode_to_slice(needed(SIGNATURE_KEY)?.trim_start_matches("0x"), &mut signature)
        .map_err(|error| DecodeError::invalid(SIGNATURE_KEY, error))?;
    Ok(Head {
        hotkey: account(HOTKEY_KEY, needed(HOTKEY_KEY)?)?,
        receiver: text(RECEIVER_KEY)?
            .map(|text| account(RECEIVER_KEY, text))
            .transpose()?,
        nonce_ns: needed(NONCE_KEY)?
            .parse()
            .map_err(|error| DecodeError::invalid(NONCE_KEY, error))?,
        signature,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> HeaderMap {
        let mut headers = HeaderMap::new();
        let receiver = AccountId::new([2; 32]).to_ss58();
        let keypair = Keypair::from_seed([1; 32]);
        write(
            &mut headers,
            &BodyDigest::of(b"body"),
            "/p",
            &keypair,
            Some(&receiver),
            7,
        );
        headers
    }

    #[test]
    fn what_is_written_is_read_back_and_what_is_missing_is_named() {
        let read_back = read(&signed()).unwrap();
        assert_eq!(read_back.hotkey, Keypair::from_seed([1; 32]).account());
        assert_eq!(
            (read_back.receiver, read_back.nonce_ns),
            (Some(AccountId::new([2; 32])), 7)
        );
        assert!(read_back.is_signed(&BodyDigest::of(b"body"), "/p").is_ok());
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
        assert_eq!(read(&open).unwrap().receiver, None);
    }
}
