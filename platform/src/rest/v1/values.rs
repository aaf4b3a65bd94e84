//! `/v1/values`: what is in the watched slots, and how far it is from the bound.
//!
//! Known is what the newest transactions of the log came with: the state that each of them reads. So a slot that nobody touched for
//! long is not known, and is not shown as zero. Of an expression over slots alone it is said whether it holds; one that speaks of a change,
//! a view, a balance or of events says nothing of a state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use engine::lang::{LogRef, Moment, Program, Reader, Source, evaluate, from_invariant};
use engine::{Address, Reason, U256, Watched};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
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
    known: Words,
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
fn slots(invariants: &[Watched]) -> BTreeMap<Address, Vec<U256>> {
    let mut slots: BTreeMap<Address, Vec<U256>> = BTreeMap::new();
    for (_, source) in invariants.iter().flat_map(Watched::sources) {
        if let Source::Slot { contract, slot, .. } = source {
            slots.entry(contract).or_default().push(slot);
        }
    }
    for slots in slots.values_mut() {
        slots.sort_unstable();
        slots.dedup();
    }
    slots
}

impl Values {
    /// What is known by now.
    async fn fresh(&self, store: &Store) -> Result<MutexGuard<'_, Slots>, LogError> {
        let mut slots = self.0.lock().await;
        let stale = slots.looked.is_none_or(|looked| looked.elapsed() > FRESH);
        if stale {
            if Some(store.invariant_set_version().await?) != slots.version {
                let (version, set) = store.invariant_set().await?;
                *slots = Slots {
                    watched: self::slots(set.watched()),
                    version: Some(version),
                    ..Slots::default()
                };
            }
            let recent = store.recent(slots.through, LOOKED_AT).await?;
            slots.learn(&recent);
            slots.looked = Some(Instant::now());
        }
        Ok(slots)
    }
}

/// Words that are known.
type Words = BTreeMap<(Address, U256), Known>;

/// The words that a program asks for: the same before and after, for nothing happens.
struct Standing<'a>(&'a Words);

impl Reader for Standing<'_> {
    fn read(&mut self, _: Moment, source: &Source) -> Result<U256, Reason> {
        let Source::Slot { contract, slot, .. } = source else {
            return Err(Reason::Unsupported(format!("{source} is not known here")));
        };
        let known = self.0.get(&(*contract, *slot));
        known
            .map(|known| known.word)
            .ok_or_else(|| Reason::Unsupported(format!("{source} is not known")))
    }

    fn logs(&mut self, _: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason> {
        Err(Reason::Unsupported("nothing was logged".to_owned()))
    }
}

/// What an invariant's value is, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValueView {
    /// The invariant.
    pub id: u64,
    /// What is in its slot, decoded; absent when it is not known, and of an expression that reads something else than one slot.
    pub value: Option<String>,
    /// How far that is from breaking the invariant: at least 0 when it holds.
    pub margin: Option<String>,
    /// Whether it holds.
    pub holds: Option<bool>,
    /// The block on whose state this is so.
    pub block: Option<u64>,
}

fn view(invariant: &Watched, words: &Words) -> ValueView {
    let program: Option<Program> = match invariant {
        Watched::Slot(invariant) => from_invariant(invariant).ok(),
        Watched::View(_) => None,
        Watched::Program(invariant) => Some(invariant.program.clone()).filter(|program| !program.is_relational()),
    };
    let sources = invariant.sources();
    let known: Option<Vec<(&Source, Known)>> = sources
        .iter()
        .map(|(_, source)| match source {
            Source::Slot { contract, slot, .. } => Some((source, *words.get(&(*contract, *slot))?)),
            _ => None,
        })
        .collect();
    let known = known.filter(|known| !known.is_empty());
    let judged = known
        .as_ref()
        .and_then(|_| Some(evaluate(&program?, &mut Standing(words)).after));
    let value = match known.as_deref() {
        Some([(source, known)]) => source.decode(known.word).map(|value| (value, source.value_type())),
        _ => None,
    };
    ValueView {
        id: invariant.id(),
        value: value.map(|(value, value_type)| display_value(value, value_type)),
        margin: judged
            .as_ref()
            .and_then(|judged| judged.margin)
            .map(|margin| margin.to_string()),
        holds: judged.and_then(|judged| judged.holds.ok()),
        // The oldest of what it rests on.
        block: known.and_then(|known| known.iter().map(|(_, known)| known.block).min()),
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
    let slots = rest.values.fresh(&rest.store).await?;
    let views = found.iter().map(|found| view(&found.row.invariant, &slots.known));
    let views = views.collect();
    Ok(Paged::new("/v1/values", paging, views, |view: &ValueView| view.id))
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
    let slots = rest.values.fresh(&rest.store).await?;
    Ok(Json(view(&invariant, &slots.known)))
}

#[cfg(test)]
mod tests {
    use engine::{Comparison, Invariant, ProgramInvariant, ValueType, lang};
    use protos::v1;

    use super::*;

    fn invariant(slot: u64) -> Watched {
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
        .into()
    }

    /// Slots of the contract, what is in them, and as of which block.
    fn words(slots: &[(u64, u64, u64)]) -> Words {
        let known = |(slot, word, block): &(u64, u64, u64)| {
            let word = U256::from(*word);
            (
                (Address::repeat_byte(1), U256::from(*slot)),
                Known { word, block: *block },
            )
        };
        slots.iter().map(known).collect()
    }

    fn expression(text: &str) -> Watched {
        let text = text.replace("HERE", &format!("{:#x}", Address::repeat_byte(1)));
        let program = lang::parse(&text, &lang::Names::default()).unwrap();
        let (id, name) = (3, "x".to_owned());
        Watched::Program(ProgramInvariant { id, name, program })
    }

    #[test]
    fn an_expression_over_known_slots_has_a_margin_and_one_over_anything_else_has_none() {
        let both = expression("slot(HERE, 0x1, uint256) + 1 <= slot(HERE, 0x2, uint256)");
        let said = view(&both, &words(&[(1, 5, 8), (2, 9, 7)]));
        assert_eq!(
            (said.value, said.margin.as_deref(), said.holds),
            (None, Some("3"), Some(true))
        );
        assert_eq!(said.block, Some(7), "the older one");
        let half = view(&both, &words(&[(1, 5, 8)]));
        assert_eq!((half.margin, half.holds, half.block), (None, None, None));
        for text in ["balance(HERE) >= 1", "call(HERE, 0x01020304, 0, uint256) >= 1", "1 < 2"] {
            let said = view(&expression(text), &words(&[(1, 5, 8)]));
            assert_eq!(
                (said.value, said.margin, said.holds, said.block),
                (None, None, None, None),
                "{text}"
            );
        }
        let change = view(
            &expression("slot(HERE, 0x1, uint256) >= 90% of pre"),
            &words(&[(1, 5, 8)]),
        );
        assert_eq!((change.value.as_deref(), change.holds), (Some("5"), None));
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
        let first = view(&both[0], &known.known);
        assert_eq!(
            (
                first.value.as_deref(),
                first.margin.as_deref(),
                first.holds,
                first.block
            ),
            (Some("13"), Some("3"), Some(true), Some(7))
        );
        let second = view(&both[1], &known.known);
        assert_eq!((second.value, second.margin, second.holds), (None, None, None));
    }

    #[test]
    fn below_the_bound_the_margin_is_negative() {
        let broken = view(&invariant(1), &words(&[(1, 4, 1)]));
        assert_eq!((broken.margin.as_deref(), broken.holds), (Some("-6"), Some(false)));
    }
}
