//! The same transaction by somebody else: another key signs it, and the state knows the new sender as it knew the old one.
//!
//! Its account is the old one's, and so is what contracts keep under its address: the sender's words in the calldata, and the slots of
//! mappings keyed by it (a mapping, and a mapping in a mapping), as Solidity lays them out. What this misses changes what the
//! transaction does, never what is known of it: the known answer is of the changed one.

use std::collections::BTreeMap;

use alloy::consensus::{EthereumTxEnvelope, SignableTransaction, TxEip4844};
use alloy::eips::eip2718::{Decodable2718, Encodable2718};
use alloy::primitives::{B256, Keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use engine::{AccountState, Address, Bytes, Prestate, Transaction, U256};
use rand::Rng;

/// Storage positions of mappings that are looked for.
const POSITIONS: u64 = 32;

type Envelope = EthereumTxEnvelope<TxEip4844>;

/// The transaction, and those that go before it, signed by a key drawn from `rng`, and the state for them. `None` when it cannot be: the
/// type of one is not known, its sender is also its receiver, or the state does not know the sender.
pub fn resign(
    predecessors: &[Transaction],
    transaction: &Transaction,
    state: &Prestate,
    rng: &mut impl Rng,
) -> Option<Resigned> {
    let old = transaction.sender();
    let mut all = predecessors.iter().chain(std::iter::once(transaction));
    if all.any(|tx| tx.to() == Some(old)) || !state.accounts.contains_key(&old) {
        return None;
    }
    let key = PrivateKeySigner::from_bytes(&B256::from(rng.random::<[u8; 32]>())).ok()?;
    let before = predecessors.iter().map(|tx| sent_by(&key, tx, rng));
    Some(Resigned {
        predecessors: before.collect::<Option<_>>()?,
        transaction: sent_by(&key, transaction, rng)?,
        state: moved(state, old, key.address()),
    })
}

/// What another one sends, and the state for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resigned {
    /// Those that go before it.
    pub predecessors: Vec<Transaction>,
    /// The transaction.
    pub transaction: Transaction,
    /// What they read.
    pub state: Prestate,
}

fn sent_by(key: &PrivateKeySigner, transaction: &Transaction, rng: &mut impl Rng) -> Option<Transaction> {
    let (old, new) = (transaction.sender(), key.address());
    let envelope = Envelope::decode_2718(&mut transaction.raw().as_ref()).ok()?;
    if transaction.is_unsigned() {
        // A recording without signatures: a signed one would stand out in it.
        let raw = sign(envelope, old, new, None)?;
        return Transaction::unsigned(&raw, new, B256::from(rng.random::<[u8; 32]>())).ok();
    }
    Transaction::with_sender(&sign(envelope, old, new, Some(key))?, new).ok()
}

/// The same content with the sender's words exchanged, signed by `key`; without one, with the signature that it has.
fn sign(envelope: Envelope, old: Address, new: Address, key: Option<&PrivateKeySigner>) -> Option<Vec<u8>> {
    let signature = *envelope.signature();
    macro_rules! signed {
        ($signed:expr) => {{
            let mut tx = $signed.strip_signature();
            tx.input = exchanged(&tx.input, old, new);
            let signature = match key {
                Some(key) => key.sign_hash_sync(&tx.signature_hash()).ok()?,
                None => signature,
            };
            Envelope::from(tx.into_signed(signature)).encoded_2718()
        }};
    }
    Some(match envelope {
        EthereumTxEnvelope::Legacy(signed) => signed!(signed),
        EthereumTxEnvelope::Eip2930(signed) => signed!(signed),
        EthereumTxEnvelope::Eip1559(signed) => signed!(signed),
        EthereumTxEnvelope::Eip4844(signed) => signed!(signed),
        EthereumTxEnvelope::Eip7702(signed) => signed!(signed),
    })
}

/// Calldata with the words that hold `old` holding `new`.
fn exchanged(input: &Bytes, old: Address, new: Address) -> Bytes {
    let (old, new) = (old.into_word(), new.into_word());
    let mut data = input.to_vec();
    // Words stand behind a selector of four bytes; a creation's arguments stand anywhere, and are left alone.
    for word in data.get_mut(4..).unwrap_or_default().chunks_exact_mut(32) {
        if word == old.as_slice() {
            word.copy_from_slice(new.as_slice());
        }
    }
    data.into()
}

/// The state with the old sender's account, and what is kept under its address, moved to the new one.
fn moved(state: &Prestate, old: Address, new: Address) -> Prestate {
    let mut state = state.clone();
    if let Some(account) = state.accounts.remove(&old) {
        state.accounts.insert(new, account);
    }
    let renamed = renamed(&state, old, new);
    for account in state.accounts.values_mut() {
        let AccountState { storage, .. } = account;
        let moves: Vec<(U256, U256)> = storage
            .keys()
            .filter_map(|slot| Some((*slot, *renamed.get(slot)?)))
            .collect();
        for (from, to) in moves {
            if let Some(value) = storage.remove(&from) {
                storage.insert(to, value);
            }
        }
    }
    state
}

/// Where a slot keyed by `old` is when it is keyed by `new`.
fn renamed(state: &Prestate, old: Address, new: Address) -> BTreeMap<U256, U256> {
    let others: Vec<Address> = state
        .accounts
        .keys()
        .copied()
        .filter(|address| *address != new)
        .collect();
    let mut renamed = BTreeMap::new();
    for position in 0..POSITIONS {
        let position = B256::from(U256::from(position));
        let (from, to) = (mapping(old, position), mapping(new, position));
        renamed.insert(from.into(), to.into());
        for &other in &others {
            renamed.insert(mapping(other, from).into(), mapping(other, to).into());
            let outer = mapping(other, position);
            renamed.insert(mapping(old, outer).into(), mapping(new, outer).into());
        }
    }
    renamed
}

/// Where Solidity keeps the value of `key` in the mapping at `position`.
fn mapping(key: Address, position: B256) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(key.into_word());
    hasher.update(position);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::consensus::{TxEip1559, TxLegacy};
    use alloy::primitives::TxKind;
    use engine::Account;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const TOKEN: Address = Address::repeat_byte(0xaa);
    const SPENDER: Address = Address::repeat_byte(0xbb);

    fn signer() -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
    }

    /// `approve(sender)`, on a token that knows the sender's balance and what it allows and is allowed.
    fn world() -> (Transaction, Prestate) {
        let key = signer();
        let mut input = vec![1, 2, 3, 4];
        input.extend(key.address().into_word());
        input.extend(B256::repeat_byte(9));
        let tx = TxEip1559 {
            chain_id: 1,
            nonce: 5,
            gas_limit: 100_000,
            max_fee_per_gas: 10,
            to: TxKind::Call(TOKEN),
            input: input.into(),
            ..Default::default()
        };
        let signature = key.sign_hash_sync(&tx.signature_hash()).unwrap();
        let raw = Envelope::from(tx.into_signed(signature)).encoded_2718();
        let position = B256::from(U256::from(3));
        let slots = [
            mapping(key.address(), position),
            mapping(SPENDER, mapping(key.address(), position)),
            mapping(key.address(), mapping(SPENDER, position)),
            B256::from(U256::from(1)),
        ];
        let storage = (1u64..)
            .zip(slots)
            .map(|(n, slot)| (slot.into(), U256::from(n)))
            .collect();
        let account = |nonce, storage| AccountState {
            account: Some(Account {
                nonce,
                ..Account::default()
            }),
            storage,
        };
        let accounts = BTreeMap::from([
            (key.address(), account(5, BTreeMap::new())),
            (SPENDER, account(0, BTreeMap::new())),
            (TOKEN, account(1, storage)),
        ]);
        let state = Prestate {
            accounts,
            ..Prestate::default()
        };
        (Transaction::decode(&raw).unwrap(), state)
    }

    #[test]
    fn another_signs_and_the_state_knows_it_as_it_knew_the_first() {
        let (transaction, state) = world();
        let resigned = resign(&[], &transaction, &state, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let (changed, moved) = (resigned.transaction, resigned.state);
        let new = changed.sender();
        assert_ne!(new, transaction.sender());
        assert_ne!(changed.hash(), transaction.hash());
        assert_eq!(
            Transaction::decode(changed.raw()).unwrap().sender(),
            new,
            "the signature is good"
        );
        assert_eq!(moved.accounts[&new].account.unwrap().nonce, 5);
        assert!(!moved.accounts.contains_key(&transaction.sender()));
        let position = B256::from(U256::from(3));
        let slot = |hash: B256| moved.accounts[&TOKEN].storage[&U256::from_be_bytes(hash.0)];
        assert_eq!(slot(mapping(new, position)), U256::from(1));
        assert_eq!(slot(mapping(SPENDER, mapping(new, position))), U256::from(2));
        assert_eq!(slot(mapping(new, mapping(SPENDER, position))), U256::from(3));
        assert_eq!(
            moved.accounts[&TOKEN].storage.len(),
            4,
            "nothing is lost, and nothing new"
        );
        let envelope = Envelope::decode_2718(&mut changed.raw().as_ref()).unwrap();
        let Envelope::Eip1559(signed) = envelope else { panic!() };
        assert_eq!(signed.tx().input[4..36], new.into_word()[..]);
        assert_eq!(signed.tx().input[36..], B256::repeat_byte(9)[..]);
    }

    #[test]
    fn the_same_seed_gives_the_same_sender_and_another_another() {
        let (transaction, state) = world();
        let by = |seed| {
            resign(&[], &transaction, &state, &mut ChaCha8Rng::seed_from_u64(seed))
                .unwrap()
                .transaction
                .hash()
        };
        assert_eq!(by(1), by(1));
        assert_ne!(by(1), by(2));
    }

    #[test]
    fn those_that_go_before_it_are_sent_by_the_same_one() {
        let (transaction, state) = world();
        let before = [transaction.clone(), transaction.clone()];
        let resigned = resign(&before, &transaction, &state, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let sender = resigned.transaction.sender();
        assert_ne!(sender, transaction.sender());
        let senders: Vec<Address> = resigned.predecessors.iter().map(Transaction::sender).collect();
        assert_eq!(senders, [sender; 2]);
    }

    #[test]
    fn a_recording_without_signatures_stays_without() {
        let (_, state) = world();
        let tx = TxLegacy {
            to: TxKind::Call(TOKEN),
            ..TxLegacy::default()
        };
        let zero = alloy::primitives::Signature::new(U256::ZERO, U256::ZERO, false);
        let raw = Envelope::from(tx.into_signed(zero)).encoded_2718();
        let recorded = Transaction::unsigned(&raw, signer().address(), B256::repeat_byte(1)).unwrap();
        let resigned = resign(&[], &recorded, &state, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let changed = resigned.transaction;
        assert!(changed.is_unsigned() && changed.hash() != recorded.hash());
    }

    #[test]
    fn a_sender_that_the_state_does_not_know_is_left_alone() {
        let (transaction, _) = world();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert!(resign(&[], &transaction, &Prestate::default(), &mut rng).is_none());
    }
}
