//! `/v1/values`: what is in the watched slots, and how far it is from the bound.
//!
//! Known is what the newest transactions of the log came with: the state that each of them reads. So a slot that nobody touched for
//! long is not known, and is not shown as zero.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use engine::lang::{LogRef, Moment, Reader, Source, evaluate, from_invariant};
use engine::{Address, Invariant, Reason, U256};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::Reading;
use super::paging::{Page, Paged, Paging};
use super::problem::Problem;
use crate::log::LogError;
use crate::registry::display_value;
use crate::rest::Rest;
use crate::store::{Recent, Store};

/// How many transactions of the log are looked at, at a time.
const LOOKED_AT: u32 = 2_000;
/// Slots that are remembered; beyond, what comes is not.
const SLOTS: usize = 200_000;
/// The log is not looked at again for so long.
const FRESH: Duration = Duration::from_millis(500);

/// What is in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    word: U256,
    /// The block on whose state it was read.
    block: u64,
}

/// What is known of watched slots; shared by all who ask.
#[derive(Debug, Clone, Default)]
pub(in crate::rest) struct Values(Arc<Mutex<Slots>>);

#[derive(Debug, Default)]
struct Slots {
    known: BTreeMap<(Address, U256), Known>,
    /// The log was looked at up to here.
    through: u64,
    /// What is watched, under which version; when that changes the log is looked at anew.
    watched: BTreeMap<Address, Vec<U256>>,
    version: Option<u64>,
    looked: Option<Instant>,
}

impl Slots {
    /// Takes over what these transactions read of what is watched.
    fn learn(&mut self, recent: &Recent) {
        // Oldest first: of the same block the newest counts.
        for (cursor, pending) in recent.transactions.iter().rev() {
            self.through = self.through.max(*cursor);
            let Some(head) = recent.heads.get(pending.head_hash.as_ref()) else {
                continue;
            };
            let accounts = pending.prestate.iter().flat_map(|prestate| &prestate.accounts);
            for account in accounts {
                let Ok(address) = Address::try_from(account.address.as_ref()) else {
                    continue;
                };
                let Some(slots) = self.watched.get(&address) else {
                    continue;
                };
                for slot in &account.storage {
                    let number = |bytes: &[u8]| U256::try_from_be_slice(bytes);
                    let (Some(key), Some(word)) = (number(&slot.key), number(&slot.value)) else {
                        continue;
                    };
                    if slots.binary_search(&key).is_err() {
                        continue;
                    }
                    let known = self.known.get(&(address, key));
                    let room = known.is_some() || self.known.len() < SLOTS;
                    if room && known.is_none_or(|known| known.block <= head.number) {
                        let block = head.number;
                        self.known.insert((address, key), Known { word, block });
                    }
                }
            }
        }
    }
}

/// The slots of each contract, in rising order.
fn slots(invariants: &[Invariant]) -> BTreeMap<Address, Vec<U256>> {
    let mut slots: BTreeMap<Address, Vec<U256>> = BTreeMap::new();
    for invariant in invariants {
        slots.entry(invariant.contract).or_default().push(invariant.slot);
    }
    for slots in slots.values_mut() {
        slots.sort_unstable();
        slots.dedup();
    }
    slots
}

impl Values {
    /// What is in the slots of these invariants, where it is known, with the block on whose state that is so.
    async fn of(&self, store: &Store, asked: &[Invariant]) -> Result<Vec<Option<Known>>, LogError> {
        let mut slots = self.0.lock().await;
        let stale = slots.looked.is_none_or(|looked| looked.elapsed() > FRESH);
        if stale {
            if Some(store.invariant_set_version().await?) != slots.version {
                let (version, invariants) = store.invariant_set().await?;
                *slots = Slots {
                    watched: self::slots(&invariants),
                    version: Some(version),
                    ..Slots::default()
                };
            }
            let recent = store.recent(slots.through, LOOKED_AT).await?;
            slots.learn(&recent);
            slots.looked = Some(Instant::now());
        }
        let known = |invariant: &Invariant| slots.known.get(&(invariant.contract, invariant.slot)).copied();
        Ok(asked.iter().map(known).collect())
    }
}

/// One word, whenever it is asked for.
struct Word(U256);

impl Reader for Word {
    fn read(&mut self, _: Moment, _: &Source) -> Result<U256, Reason> {
        Ok(self.0)
    }

    fn logs(&mut self, _: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason> {
        Ok(())
    }
}

/// What an invariant's value is, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValueView {
    /// The invariant.
    pub id: u64,
    /// What is in its slot, decoded; absent when it is not known.
    pub value: Option<String>,
    /// How far that is from breaking the invariant: at least 0 when it holds.
    pub margin: Option<String>,
    /// Whether it holds.
    pub holds: Option<bool>,
    /// The block on whose state this is so.
    pub block: Option<u64>,
}

fn view(invariant: &Invariant, known: Option<Known>) -> ValueView {
    let judged = known.and_then(|known| {
        let program = from_invariant(invariant).ok()?;
        Some(evaluate(&program, &mut Word(known.word)).after)
    });
    let value = known.and_then(|known| invariant.read(known.word));
    ValueView {
        id: invariant.id,
        value: value.map(|value| display_value(value, invariant.value_type)),
        margin: judged
            .as_ref()
            .and_then(|judged| judged.margin)
            .map(|margin| margin.to_string()),
        holds: judged.and_then(|judged| judged.holds.ok()),
        block: known.map(|known| known.block),
    }
}

/// What is in the watched slots, by invariant, and the margin
#[utoipa::path(get, path = "/v1/values", tag = "v1", operation_id = "v1_values_list", params(Paging),
    responses((status = 200, body = Page<ValueView>), Reading))]
pub(super) async fn list(State(rest): State<Rest>, paging: Paging) -> Result<Paged<ValueView>, Problem> {
    let found = rest
        .store
        .described(paging.after.unwrap_or_default(), paging.wanted())
        .await?;
    let invariants: Vec<Invariant> = found.into_iter().map(|found| found.row.invariant).collect();
    let known = rest.values.of(&rest.store, &invariants).await?;
    let views = invariants
        .iter()
        .zip(known)
        .map(|(invariant, known)| view(invariant, known));
    Ok(Paged::new("/v1/values", paging, views.collect(), |view: &ValueView| {
        view.id
    }))
}

/// One invariant's value
#[utoipa::path(get, path = "/v1/values/{id}", tag = "v1", operation_id = "v1_values_read", params(("id" = u64, Path)),
    responses((status = 200, body = ValueView), Reading))]
pub(super) async fn read(
    State(rest): State<Rest>,
    super::body::Number(id): super::body::Number,
) -> Result<Json<ValueView>, Problem> {
    let found = rest.store.invariant(id).await?;
    let invariant = found.ok_or_else(|| Problem::not_found("invariant"))?.invariant;
    let known = rest.values.of(&rest.store, std::slice::from_ref(&invariant)).await?;
    Ok(Json(view(&invariant, known.into_iter().next().flatten())))
}

#[cfg(test)]
mod tests {
    use engine::{Comparison, ValueType};
    use protos::v1;

    use super::*;

    fn invariant(slot: u64) -> Invariant {
        let contract = Address::repeat_byte(1);
        Invariant::new(
            slot,
            "x",
            contract,
            U256::from(slot),
            ValueType::Uint(256),
            0,
            Comparison::Ge,
            U256::from(10),
        )
        .unwrap()
    }

    /// At this cursor and on this block's state, slot 1 of the contract holds so much.
    fn seen(recent: &mut Recent, cursor: u64, block: u64, value: u64) {
        let hash = vec![block as u8; 32];
        let slot = |number: u64| U256::from(number).to_be_bytes_vec();
        let account = v1::AccountState {
            address: vec![1; 20].into(),
            exists: true,
            storage: vec![v1::Slot {
                key: slot(1).into(),
                value: slot(value).into(),
            }],
            ..Default::default()
        };
        let pending = v1::PendingTransaction {
            head_hash: hash.clone().into(),
            prestate: Some(v1::Prestate {
                accounts: vec![account],
                ..Default::default()
            }),
            ..Default::default()
        };
        recent.transactions.insert(0, (cursor, pending));
        let head = v1::Head {
            number: block,
            ..Default::default()
        };
        recent.heads.insert(hash, head);
    }

    #[test]
    fn the_newest_block_counts_and_what_nobody_read_is_not_known() {
        let mut recent = Recent::default();
        seen(&mut recent, 3, 7, 12);
        seen(&mut recent, 4, 7, 13);
        // Judged late, on an older block.
        seen(&mut recent, 5, 6, 99);
        let both = [invariant(1), invariant(2)];
        let mut known = Slots {
            watched: slots(&both),
            ..Slots::default()
        };
        known.learn(&recent);
        assert_eq!(known.through, 5);
        let at = |invariant: &Invariant| known.known.get(&(invariant.contract, invariant.slot)).copied();
        let first = view(&both[0], at(&both[0]));
        assert_eq!(
            (
                first.value.as_deref(),
                first.margin.as_deref(),
                first.holds,
                first.block
            ),
            (Some("13"), Some("3"), Some(true), Some(7))
        );
        let second = view(&both[1], at(&both[1]));
        assert_eq!((second.value, second.margin, second.holds), (None, None, None));
    }

    #[test]
    fn below_the_bound_the_margin_is_negative() {
        let broken = view(
            &invariant(1),
            Some(Known {
                word: U256::from(4),
                block: 1,
            }),
        );
        assert_eq!((broken.margin.as_deref(), broken.holds), (Some("-6"), Some(false)));
    }
}
