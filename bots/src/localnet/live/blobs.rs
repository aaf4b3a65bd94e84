//! Transactions as a node takes them: one that posts blobs (EIP-4844) travels with them.
//!
//! The story's blobs are empty. The polynomial of an empty blob is zero, so its KZG commitment and each proof of it are the point at
//! infinity, and no trusted setup is needed to make them.

use alloy::consensus::{Signed, TxEip4844Variant, TxEip4844WithSidecar, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::eip4844::{Blob, BlobTransactionSidecar, Bytes48, kzg_to_versioned_hash};
use alloy::eips::eip7594::{BlobTransactionSidecarEip7594, BlobTransactionSidecarVariant, CELLS_PER_EXT_BLOB};
use alloy::primitives::{B256, Bytes};

/// The point at infinity of BLS12-381's G1, compressed.
fn infinity() -> Bytes48 {
    let mut point = [0_u8; 48];
    if let Some(first) = point.first_mut() {
        *first = 0xc0;
    }
    Bytes48::from(point)
}

/// The versioned hash of an empty blob.
pub(crate) fn empty_blob_hash() -> B256 {
    kzg_to_versioned_hash(infinity().as_slice())
}

/// How a transaction may be sent: the likeliest form first. Only one with blobs has a second, since nodes before Osaka take a proof
/// for each blob and nodes from Osaka on one for each cell (EIP-7594).
pub(crate) fn network_forms(tx: &TxEnvelope) -> Vec<Bytes> {
    let TxEnvelope::Eip4844(signed) = tx else {
        return vec![tx.encoded_2718().into()];
    };
    let inner = signed.tx().tx();
    let with = |sidecar: BlobTransactionSidecarVariant| {
        let tx = TxEip4844WithSidecar::from_tx_and_sidecar(inner.clone(), sidecar);
        let variant = TxEip4844Variant::TxEip4844WithSidecar(tx);
        Bytes::from(Signed::new_unchecked(variant, *signed.signature(), *signed.hash()).encoded_2718())
    };
    let count = inner.blob_versioned_hashes.len();
    let blobs = vec![Blob::ZERO; count];
    let commitments = vec![infinity(); count];
    vec![
        with(BlobTransactionSidecarVariant::Eip7594(BlobTransactionSidecarEip7594 {
            blobs: blobs.clone(),
            commitments: commitments.clone(),
            cell_proofs: vec![infinity(); count * CELLS_PER_EXT_BLOB],
        })),
        with(BlobTransactionSidecarVariant::Eip4844(BlobTransactionSidecar {
            blobs,
            proofs: commitments.clone(),
            commitments,
        })),
    ]
}

#[cfg(test)]
mod tests {
    use alloy::eips::eip2718::Decodable2718;
    use alloy::primitives::{U256, b256};

    use super::*;
    use crate::scenario::wallet::{Draft, Fees, Form, Wallet};

    fn posted(form: Form) -> TxEnvelope {
        let mut wallet = Wallet::derive(1, "rollup", 0).unwrap();
        let draft = Draft::transfer(wallet.address(), U256::ZERO);
        wallet.sign(draft, form, Fees { max: 9, tip: 1 }).unwrap()
    }

    #[test]
    fn the_hash_of_an_empty_blob_is_the_one_that_everybody_knows() {
        assert_eq!(
            empty_blob_hash(),
            b256!("010657f37554c781402a22917dee2f75def7ab966d7b770905398eba3c444014")
        );
    }

    #[test]
    fn blobs_travel_with_their_transaction_and_do_not_change_its_hash() {
        let tx = posted(Form::Blobs(vec![empty_blob_hash(); 2]));
        let forms = network_forms(&tx);
        assert_eq!(forms.len(), 2);
        for raw in forms {
            assert!(raw.len() > 2 * 131_072, "both blobs are in it");
            assert_eq!(
                TxEnvelope::decode_2718(&mut raw.as_ref()).unwrap().tx_hash(),
                tx.tx_hash()
            );
        }
        let plain = posted(Form::Legacy);
        assert_eq!(network_forms(&plain), [Bytes::from(plain.encoded_2718())]);
    }
}
