//! A hotkey as a signer of extrinsics: subxt's own key type cannot be made of the 64-byte secret that wallet files hold.

use chain::Keypair;
use subxt::SubstrateConfig;
use subxt::config::Config;
use subxt::config::substrate::{AccountId32, MultiSignature};
use subxt::tx::Signer;

/// Signs extrinsics with a key pair of [`chain`].
#[derive(Debug, Clone, Copy)]
pub struct HotkeySigner<'a>(
    /// The key.
    pub &'a Keypair,
);

impl Signer<SubstrateConfig> for HotkeySigner<'_> {
    fn account_id(&self) -> <SubstrateConfig as Config>::AccountId {
        AccountId32(*self.0.account().as_bytes())
    }

    fn sign(&self, payload: &[u8]) -> <SubstrateConfig as Config>::Signature {
        MultiSignature::Sr25519(self.0.sign(payload))
    }
}
