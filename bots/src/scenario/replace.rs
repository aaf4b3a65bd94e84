//! A transaction that takes the place of another: the same sender and nonce at a higher fee.

use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::primitives::U256;

use super::wallet::{Draft, Fees, Form, Wallet};
use super::world::Entry;
use super::{Ending, ScenarioError};

/// How much more a replacement pays, in percent: nodes ask for at least 10.
const BUMP_PERCENT: u128 = 25;

/// Why somebody replaces a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is to be included sooner: the same call again.
    Hurry,
    /// It is not to happen: a transfer of nothing to oneself.
    Regret,
}

/// The replacement of `entry`, which `signer` sent; `None` for a transaction whose kind is not replaced here: one with blobs (for
/// which nodes ask for twice the fee) or with authorizations (which name the nonce after its own).
///
/// # Errors
/// When it cannot be signed.
pub fn replacement(entry: &Entry, signer: &Wallet, reason: Reason) -> Result<Option<Entry>, ScenarioError> {
    let tx = &entry.tx;
    let form = match tx {
        TxEnvelope::Legacy(_) => Form::Legacy,
        TxEnvelope::Eip2930(signed) => Form::AccessList(signed.tx().access_list.clone()),
        TxEnvelope::Eip1559(_) => Form::DynamicFee,
        _ => return Ok(None),
    };
    let more = |fee: u128| fee + (fee * BUMP_PERCENT).div_ceil(100);
    let max = more(tx.max_fee_per_gas());
    let fees = Fees {
        max,
        tip: tx.max_priority_fee_per_gas().map_or(max, more),
    };
    let (draft, ending, what) = match reason {
        Reason::Hurry => {
            let draft = Draft {
                to: tx.kind(),
                value: tx.value(),
                input: tx.input().clone(),
                gas_limit: tx.gas_limit(),
            };
            (draft, entry.ending, "the same at a higher fee")
        }
        Reason::Regret => {
            let draft = Draft {
                gas_limit: 30_000,
                ..Draft::transfer(entry.from, U256::ZERO)
            };
            (draft, Ending::Success, "cancellation")
        }
    };
    Ok(Some(Entry {
        tx: signer.sign_at(tx.nonce(), draft, form, fees)?,
        from: entry.from,
        ending,
        what,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(form: Form) -> (Entry, Wallet) {
        let mut wallet = Wallet::derive(1, "user", 0).unwrap();
        wallet.set_nonce(4);
        let draft = Draft::transfer(wallet.address(), U256::from(7));
        let tx = wallet.sign(draft, form, Fees { max: 1_001, tip: 10 }).unwrap();
        let entry = Entry {
            tx,
            from: wallet.address(),
            ending: Ending::Success,
            what: "transfer",
        };
        (entry, wallet)
    }

    #[test]
    fn it_has_the_same_nonce_and_pays_a_quarter_more_of_both_fees() {
        for form in [Form::Legacy, Form::DynamicFee, Form::AccessList(Default::default())] {
            let (old, wallet) = sent(form);
            for (reason, value) in [(Reason::Hurry, 7), (Reason::Regret, 0)] {
                let new = replacement(&old, &wallet, reason).unwrap().unwrap();
                assert_eq!((new.tx.nonce(), new.tx.tx_type()), (4, old.tx.tx_type()));
                assert_eq!((new.tx.value(), new.tx.max_fee_per_gas()), (U256::from(value), 1_252));
                assert_eq!(new.tx.max_priority_fee_per_gas().unwrap_or(13), 13);
                assert_ne!(new.tx.tx_hash(), old.tx.tx_hash());
            }
        }
        assert_eq!(wallet_nonce(), 5, "a replacement uses up no further nonce");
    }

    fn wallet_nonce() -> u64 {
        let (old, wallet) = sent(Form::Legacy);
        replacement(&old, &wallet, Reason::Hurry).unwrap();
        wallet.nonce()
    }

    #[test]
    fn blobs_are_not_replaced() {
        let (old, wallet) = sent(Form::Blobs(vec![]));
        assert!(replacement(&old, &wallet, Reason::Hurry).unwrap().is_none());
    }
}
