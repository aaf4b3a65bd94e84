//! The keys that one hotkey shares with others, and what is tagged with them: what both ends of many short calls do in place of signing
//! and verifying each, for a thirtieth of the time ([`crate::wallet::SharedKey`]).

use std::sync::Arc;

use moka::sync::Cache;
use prost::bytes::Bytes;
use protos::v1;

use super::{BodyDigest, METHOD, Scheme, fresh_nonce, message, seal_with_nonce};
use crate::account::AccountId;
use crate::wallet::{Keypair, SharedKey, TagBytes};

/// Keys that are kept; others are derived again, which takes as long as verifying a signature.
const KEYS: u64 = 4_096;

/// The keys that a hotkey shares with others.
#[derive(Debug)]
pub struct SharedKeys {
    keypair: Arc<Keypair>,
    peers: Cache<AccountId, Peer>,
}

/// Somebody with whom a key is shared.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    key: SharedKey,
    address: Arc<str>,
}

impl SharedKeys {
    /// Those of this hotkey.
    pub fn new(keypair: Arc<Keypair>) -> Self {
        Self {
            keypair,
            peers: Cache::new(KEYS),
        }
    }

    /// Whose keys these are.
    pub const fn keypair(&self) -> &Arc<Keypair> {
        &self.keypair
    }

    /// `None` where the account is no key.
    pub(super) fn with(&self, account: &AccountId) -> Option<Peer> {
        self.peers.get(account).or_else(|| {
            let peer = Peer {
                key: self.keypair.shared_with(account)?,
                address: account.to_ss58().into(),
            };
            self.peers.insert(*account, peer.clone());
            Some(peer)
        })
    }

    /// Signs and tags `payload` for `receiver`, at `now_ns`, as [`super::seal`] does: the receiver need look at the tag only, and keeps
    /// the signature for others. One that is no key gets the signature alone.
    pub fn seal(&self, receiver: &AccountId, path: &str, payload: impl Into<Bytes>, now_ns: u64) -> v1::Signed {
        let nonce_ns = fresh_nonce(now_ns);
        let mut signed = seal_with_nonce(&self.keypair, Some(receiver), path, payload, nonce_ns);
        if let Some(peer) = self.with(receiver) {
            let digest = BodyDigest::of_both(&signed.payload, &signed.signature);
            let tag = peer.tag(path, &digest, nonce_ns, self.keypair.address());
            signed.tag = Bytes::copy_from_slice(&tag);
        }
        signed
    }
}

impl Peer {
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Of what `sender` sends to this peer.
    pub(super) fn tag(&self, path: &str, digest: &BodyDigest, nonce_ns: u64, sender: &str) -> TagBytes {
        let lines = message(Scheme::Tag, METHOD, path, digest, nonce_ns, sender, Some(&self.address));
        self.key.tag(lines.as_bytes())
    }

    /// Whether `tag` is that of what this peer sent to `receiver`.
    pub(super) fn holds(&self, path: &str, digest: &BodyDigest, nonce_ns: u64, receiver: &str, tag: &TagBytes) -> bool {
        let lines = message(
            Scheme::Tag,
            METHOD,
            path,
            digest,
            nonce_ns,
            &self.address,
            Some(receiver),
        );
        self.key.holds(lines.as_bytes(), tag)
    }
}
