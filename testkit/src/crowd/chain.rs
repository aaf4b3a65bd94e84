//! The chain of transfers: people, a pool, blocks, and the state of the newest of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use alloy::consensus::transaction::Recovered;
use alloy::consensus::{
    Header, SignableTransaction, Transaction as _, TxEip1559, TxEnvelope, TxLegacy, TypedTransaction,
};
use alloy::eips::eip1559::BaseFeeParams;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::rpc::types::{Block, BlockTransactions, Header as RpcHeader, Transaction as Body};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// EIP-155 id of the chain.
pub const CHAIN_ID: u64 = 31_337;
/// Blocks whose state and traces are kept.
const KEPT: u64 = 128;
const TRANSFER_GAS: u64 = 21_000;
const GAS_LIMIT: u64 = 120_000_000;
const GWEI: u128 = 1_000_000_000;
/// Who is paid by every block.
const BENEFICIARY: Address = Address::repeat_byte(0xbe);
/// One of so many transactions goes to somebody nobody has heard of, is of type 0, takes the place of the one before.
const STRANGER_EVERY: u64 = 5;
const LEGACY_EVERY: u64 = 7;
const REPLACED_EVERY: u64 = 100;

/// Why the chain cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// A key or signature.
    #[error("signing: {0}")]
    Sign(#[from] alloy::signers::Error),
    /// A body or block as JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A chain without people.
    #[error("nobody lives on the chain: at least two people are needed")]
    Empty,
}

/// An account without code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Wei.
    pub balance: U256,
    /// Transactions sent.
    pub nonce: u64,
}

#[derive(Debug)]
struct Person {
    key: PrivateKeySigner,
    nonce: u64,
}

/// Whom a transfer changes, and how.
type Change<'a> = (Address, &'a dyn Fn(&mut Account));

/// A transaction that waits.
#[derive(Debug)]
pub struct Waiting {
    /// Its hash.
    pub hash: B256,
    /// As a node shows it.
    pub body: Arc<str>,
    signed: Recovered<TxEnvelope>,
    /// Microseconds of the chain's user, when it was shown.
    since: u64,
}

/// A block, as it is told.
#[derive(Debug)]
pub struct Made {
    /// Height.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// What a subscriber to new heads is told.
    pub header: Arc<str>,
    /// With hashes, and with bodies.
    pub light: Arc<str>,
    /// See `light`.
    pub full: Arc<str>,
    /// What each transaction changed, as `prestateTracer` tells it in `diffMode`.
    pub traces: Arc<str>,
}

/// What was shown so far: what a follower must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Transactions shown.
    pub shown: u64,
    /// The exclusive or of their hashes.
    pub all: B256,
    /// Of these, those that gave way to another of the same sender and nonce.
    pub replaced: u64,
    /// Of these, those in a block.
    pub included: u64,
    /// Waiting now.
    pub waiting: u64,
    /// The newest block.
    pub height: u64,
}

/// The chain.
#[derive(Debug)]
pub struct Chain {
    people: Vec<Person>,
    /// The newest states of each account, with the block that made them; oldest first.
    accounts: HashMap<Address, VecDeque<(u64, Account)>>,
    pool: VecDeque<Arc<Waiting>>,
    blocks: VecDeque<Arc<Made>>,
    /// Where the kept blocks' transactions are.
    places: HashMap<B256, u64>,
    newest: Header,
    sums: Sums,
    drawn: u64,
}

impl Chain {
    /// So many rich people, and a first block.
    ///
    /// # Errors
    /// [`ChainError::Empty`] for fewer than two.
    pub fn new(people: usize) -> Result<Self, ChainError> {
        if people < 2 {
            return Err(ChainError::Empty);
        }
        let rich = Account {
            balance: U256::from(10).pow(U256::from(24)),
            nonce: 0,
        };
        let mut everybody = Vec::with_capacity(people);
        let mut accounts = HashMap::with_capacity(people);
        for number in 0..people {
            let key = PrivateKeySigner::from_bytes(&keccak256(format!("crowd {number}")));
            let key = key.map_err(alloy::signers::Error::other)?;
            accounts.insert(key.address(), VecDeque::from([(0, rich)]));
            everybody.push(Person { key, nonce: 0 });
        }
        let newest = Header {
            timestamp: 1_700_000_000,
            gas_limit: GAS_LIMIT,
            base_fee_per_gas: Some(1_000_000_000),
            beneficiary: BENEFICIARY,
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            withdrawals_root: Some(alloy::consensus::EMPTY_ROOT_HASH),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Header::default()
        };
        let mut chain = Self {
            people: everybody,
            accounts,
            pool: VecDeque::new(),
            blocks: VecDeque::new(),
            places: HashMap::new(),
            newest: newest.clone(),
            sums: Sums::default(),
            drawn: 0,
        };
        chain.tell(newest, &[], &[])?;
        Ok(chain)
    }

    /// What was shown so far.
    #[must_use]
    pub fn sums(&self) -> Sums {
        Sums {
            waiting: self.pool.len() as u64,
            height: self.newest.number,
            ..self.sums
        }
    }

    /// The newest block.
    #[must_use]
    pub fn latest(&self) -> Option<&Arc<Made>> {
        self.blocks.back()
    }

    /// A block that is kept.
    #[must_use]
    pub fn block(&self, hash: B256) -> Option<&Arc<Made>> {
        self.blocks.iter().rev().find(|block| block.hash == hash)
    }

    /// A block that is kept, by its height.
    #[must_use]
    pub fn block_at(&self, number: u64) -> Option<&Arc<Made>> {
        self.blocks.iter().rev().find(|block| block.number == number)
    }

    /// The height of the kept block that includes this transaction.
    #[must_use]
    pub fn place(&self, hash: B256) -> Option<u64> {
        self.places.get(&hash).copied()
    }

    /// What waits, oldest first.
    pub fn pool(&self) -> impl Iterator<Item = &Arc<Waiting>> {
        self.pool.iter()
    }

    /// An account after this block, one of those kept; `None`: it does not exist.
    #[must_use]
    pub fn account(&self, address: Address, number: u64) -> Option<Account> {
        let states = self.accounts.get(&address)?;
        let (_, account) = states.iter().rev().find(|(made, _)| *made <= number)?;
        Some(*account)
    }

    /// Somebody sends a transaction at `now` (microseconds; it is also the value sent, in wei, so that a reader knows its age). From
    /// time to time it takes the place of the one before.
    ///
    /// # Errors
    /// A signature or JSON that fails.
    pub fn show(&mut self, now: u64) -> Result<Arc<Waiting>, ChainError> {
        self.drawn += 1;
        if self.drawn.is_multiple_of(REPLACED_EVERY)
            && let Some(before) = self.pool.pop_back()
        {
            let shown = self.replace(&before, now)?;
            self.sums.replaced += 1;
            return Ok(shown);
        }
        let count = self.people.len() as u64;
        let place = |number: u64| usize::try_from(number % count).unwrap_or(0);
        let from = place(self.drawn);
        let to = if self.drawn.is_multiple_of(STRANGER_EVERY) {
            Address::from_word(keccak256(self.drawn.to_be_bytes()))
        } else {
            let other = place(self.drawn + 1 + (self.drawn * 7_919) % (count - 1));
            self.people.get(other).ok_or(ChainError::Empty)?.key.address()
        };
        let person = self.people.get_mut(from).ok_or(ChainError::Empty)?;
        let nonce = person.nonce;
        person.nonce += 1;
        let typed = if self.drawn.is_multiple_of(LEGACY_EVERY) {
            TypedTransaction::Legacy(TxLegacy {
                chain_id: Some(CHAIN_ID),
                nonce,
                gas_price: 100 * GWEI,
                gas_limit: TRANSFER_GAS,
                to: TxKind::Call(to),
                value: U256::from(now),
                input: Bytes::new(),
            })
        } else {
            transfer(nonce, to, now, (100 * GWEI, 2 * GWEI))
        };
        self.add(from, typed, now)
    }

    fn replace(&mut self, before: &Waiting, now: u64) -> Result<Arc<Waiting>, ChainError> {
        let signer = before.signed.signer();
        let from = self.people.iter().position(|person| person.key.address() == signer);
        let from = from.ok_or(ChainError::Empty)?;
        let to = before.signed.to().unwrap_or_default();
        // Nodes want both raised; a legacy transaction's price is both.
        let cap = before.signed.max_fee_per_gas();
        let tip = before.signed.max_priority_fee_per_gas().unwrap_or(cap);
        let typed = transfer(before.signed.nonce(), to, now, (2 * cap, 2 * tip));
        self.add(from, typed, now)
    }

    fn add(&mut self, from: usize, typed: TypedTransaction, now: u64) -> Result<Arc<Waiting>, ChainError> {
        let key = &self.people.get(from).ok_or(ChainError::Empty)?.key;
        let signature = key.sign_hash_sync(&typed.signature_hash())?;
        let signed = Recovered::new_unchecked(TxEnvelope::from(typed.into_signed(signature)), key.address());
        let hash = *signed.tx_hash();
        let waiting = Arc::new(Waiting {
            hash,
            body: body(&signed, None)?,
            signed,
            since: now,
        });
        self.sums.shown += 1;
        self.sums.all ^= hash;
        self.pool.push_back(Arc::clone(&waiting));
        Ok(waiting)
    }

    /// A block of everything that has waited since before `before`, as far as there is room.
    ///
    /// # Errors
    /// JSON that fails.
    pub fn make(&mut self, before: u64) -> Result<Arc<Made>, ChainError> {
        let base_fee = self
            .newest
            .next_block_base_fee(BaseFeeParams::ethereum())
            .unwrap_or_default();
        let number = self.newest.number + 1;
        let room = usize::try_from(GAS_LIMIT / TRANSFER_GAS).unwrap_or(usize::MAX);
        let ripe = self.pool.iter().take(room).take_while(|tx| tx.since < before).count();
        let included: Vec<Arc<Waiting>> = self.pool.drain(..ripe).collect();
        let mut traces = Vec::with_capacity(included.len());
        for waiting in &included {
            traces.push(json!({"txHash": waiting.hash, "result": self.transfer(&waiting.signed, number, base_fee)}));
        }
        self.sums.included += included.len() as u64;
        let header = Header {
            parent_hash: self.newest.hash_slow(),
            number,
            timestamp: self.newest.timestamp + 1,
            gas_used: TRANSFER_GAS * included.len() as u64,
            base_fee_per_gas: Some(base_fee),
            state_root: keccak256(number.to_be_bytes()),
            ..self.newest.clone()
        };
        self.forget(number);
        self.tell(header, &included, &traces)
    }

    /// Moves the money; gives what it changed.
    fn transfer(&mut self, tx: &Recovered<TxEnvelope>, number: u64, base_fee: u64) -> Value {
        let price = tx.effective_gas_price(Some(base_fee));
        let tip = price.saturating_sub(u128::from(base_fee));
        let (from, to) = (tx.signer(), tx.to().unwrap_or_default());
        let gas = U256::from(TRANSFER_GAS);
        let (mut pre, mut post) = (serde_json::Map::new(), serde_json::Map::new());
        let changes: [Change<'_>; 3] = [
            (from, &|account| {
                account.nonce += 1;
                account.balance -= tx.value() + U256::from(price) * gas;
            }),
            (to, &|account| account.balance += tx.value()),
            (BENEFICIARY, &|account| account.balance += U256::from(tip) * gas),
        ];
        for (address, change) in changes {
            let before = self.account(address, number);
            let mut after = before.unwrap_or_default();
            change(&mut after);
            if let Some(before) = before {
                pre.insert(address.to_string(), told(before));
            }
            let mut changed = told(after);
            if before.is_some_and(|before| before.nonce == after.nonce)
                && let Some(changed) = changed.as_object_mut()
            {
                changed.remove("nonce");
            }
            post.insert(address.to_string(), changed);
            let states = self.accounts.entry(address).or_default();
            states.retain(|(made, _)| *made != number);
            states.push_back((number, after));
        }
        json!({"pre": pre, "post": post})
    }

    /// Keeps of each account that `number` touched what the kept blocks need.
    fn forget(&mut self, number: u64) {
        let oldest = number.saturating_sub(KEPT);
        for states in self.accounts.values_mut() {
            while states.len() > 1 && states.get(1).is_some_and(|(made, _)| *made <= oldest) {
                states.pop_front();
            }
        }
    }

    fn tell(&mut self, header: Header, included: &[Arc<Waiting>], traces: &[Value]) -> Result<Arc<Made>, ChainError> {
        let rpc = RpcHeader::new(header.clone());
        let block = |transactions| Block::<Box<serde_json::value::RawValue>> {
            header: rpc.clone(),
            uncles: Vec::new(),
            transactions,
            withdrawals: None,
        };
        let hashes = included.iter().map(|tx| tx.hash).collect();
        let mut bodies = Vec::with_capacity(included.len());
        for (index, tx) in included.iter().enumerate() {
            let text = body(&tx.signed, Some((&rpc, index)))?;
            bodies.push(serde_json::value::RawValue::from_string(text.to_string())?);
        }
        let made = Arc::new(Made {
            number: header.number,
            hash: rpc.hash,
            header: serde_json::to_string(&rpc)?.into(),
            light: serde_json::to_string(&block(BlockTransactions::Hashes(hashes)))?.into(),
            full: serde_json::to_string(&block(BlockTransactions::Full(bodies)))?.into(),
            traces: serde_json::to_string(traces)?.into(),
        });
        self.places.extend(included.iter().map(|tx| (tx.hash, header.number)));
        self.newest = header;
        self.blocks.push_back(Arc::clone(&made));
        if self.blocks.len() as u64 > KEPT
            && let Some(oldest) = self.blocks.pop_front()
        {
            self.places.retain(|_, number| *number > oldest.number);
        }
        Ok(made)
    }
}

/// As tracers tell an account.
#[must_use]
pub fn told(account: Account) -> Value {
    json!({"balance": format!("{:#x}", account.balance), "nonce": account.nonce})
}

const fn transfer(nonce: u64, to: Address, value: u64, (cap, tip): (u128, u128)) -> TypedTransaction {
    TypedTransaction::Eip1559(TxEip1559 {
        chain_id: CHAIN_ID,
        nonce,
        gas_limit: TRANSFER_GAS,
        max_fee_per_gas: cap,
        max_priority_fee_per_gas: tip,
        to: TxKind::Call(to),
        value: U256::from_limbs([value, 0, 0, 0]),
        access_list: alloy::eips::eip2930::AccessList(Vec::new()),
        input: Bytes::new(),
    })
}

fn body(signed: &Recovered<TxEnvelope>, place: Option<(&RpcHeader, usize)>) -> Result<Arc<str>, ChainError> {
    let text = serde_json::to_string(&Body {
        inner: signed.clone(),
        block_hash: place.map(|(header, _)| header.hash),
        block_number: place.map(|(header, _)| header.inner.number),
        transaction_index: place.map(|(_, index)| index as u64),
        effective_gas_price: None,
        block_timestamp: place.map(|(header, _)| header.inner.timestamp),
    })?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_moves_by_blocks_and_every_kept_block_has_its_own_state() {
        let mut chain = Chain::new(3).unwrap();
        let rich = U256::from(10).pow(U256::from(24));
        let shown = chain.show(7).unwrap();
        let (from, to) = (shown.signed.signer(), shown.signed.to().unwrap());
        assert_eq!(chain.make(7).unwrap().number, 1, "not ripe yet");
        assert_eq!(chain.sums().included, 0);
        let made = chain.make(8).unwrap();
        let sums = chain.sums();
        assert_eq!((sums.shown, sums.included, sums.waiting, sums.height), (1, 1, 0, 2));
        assert_eq!(sums.all, shown.hash);
        // 21,000 gas at the base fee of block 2 and a tip of 2 gwei.
        let base_fee = u128::from(chain.newest.base_fee_per_gas.unwrap());
        let paid = U256::from((base_fee + 2 * GWEI) * 21_000) + U256::from(7);
        assert_eq!(
            chain.account(from, 2).unwrap(),
            Account {
                balance: rich - paid,
                nonce: 1
            }
        );
        assert_eq!(chain.account(to, 2).unwrap().balance, rich + U256::from(7));
        assert_eq!(
            chain.account(from, 1).unwrap(),
            Account {
                balance: rich,
                nonce: 0
            }
        );
        assert_eq!(chain.account(BENEFICIARY, 1), None);
        let traces: Value = serde_json::from_str(&made.traces).unwrap();
        let paid_out = &traces[0]["result"];
        assert_eq!(paid_out["post"][from.to_string()]["nonce"], 1);
        assert!(
            paid_out["pre"].get(BENEFICIARY.to_string()).is_none(),
            "it did not exist"
        );
        assert!(paid_out["post"][to.to_string()].get("nonce").is_none(), "unchanged");
        assert!(made.full.contains(&format!("{:?}", shown.hash)));
    }

    #[test]
    fn what_was_shown_was_replaced_or_included_or_waits_and_old_state_is_forgotten() {
        let mut chain = Chain::new(50).unwrap();
        for round in 0..200 {
            for step in 0..7 {
                chain.show(round * 10 + step).unwrap();
            }
            chain.make(round * 10).unwrap();
        }
        let sums = chain.sums();
        assert_eq!((sums.shown, sums.replaced), (1_400, 14));
        assert_eq!(sums.included + sums.waiting + sums.replaced, sums.shown);
        assert!(chain.block_at(72).is_none() && chain.block_at(73).is_some());
        assert!(chain.accounts.values().all(|states| states.len() <= 129));
        let nonces: u64 = chain.people.iter().map(|person| person.nonce).sum();
        assert_eq!(nonces, sums.shown - sums.replaced);
    }
}
