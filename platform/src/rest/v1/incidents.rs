//! `/v1/incidents`: what was broken, the witness, and what each validator did about it.

use alloy::hex::encode_prefixed;
use alloy::primitives::U256;
use axum::Json;
use axum::extract::State;
use protos::v1;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Reading;
use super::body::Number;
use super::dry_run::Change;
use super::paging::{Page, Paged, Paging};
use super::problem::Problem;
use crate::rest::{Rest, date};

/// A page holds fewer of these: each brings its timelines.
const MOST: u32 = 99;

/// An incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncidentView {
    /// Its number.
    pub id: u64,
    /// The invariant's number.
    pub invariant_id: u64,
    /// The invariant's name.
    pub invariant: String,
    /// The contract that it speaks of.
    pub contract: String,
    /// The attack's hash.
    pub transaction: String,
    /// Who signed it.
    pub sender: String,
    /// The evidence.
    pub witness: WitnessView,
    /// From the moment that the first validator read it to the moment that its own engine confirmed, microseconds.
    pub seen_to_confirmed_us: u64,
    /// When the platform logged it, RFC 3339.
    pub logged_at: String,
    /// When it was first reported, RFC 3339.
    pub reported_at: String,
    /// When it was included in a block, RFC 3339; absent when it was not.
    pub included_at: Option<String>,
    /// Validators that confirmed it.
    pub confirmations: u32,
    /// Where it stands, as the validator with the newest word says: `open`, `fired`, `broadcast`, `contained`, `escalated`, `closed`.
    pub state: Option<String>,
    /// `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`.
    pub severity: Option<String>,
}

/// What a violation was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WitnessView {
    /// The decoded value before, as an unsigned number; of an expression 1: it held.
    pub before: String,
    /// And after; of an expression 0: it does not hold.
    pub after: String,
    /// The engine's hash of the whole, the same on every machine.
    pub digest: String,
    /// What each term of an expression says, before and after; empty of one value.
    pub readings: Vec<Change>,
}

/// An incident with what was done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncidentDetail {
    /// The incident.
    #[serde(flatten)]
    pub incident: IncidentView,
    /// What each validator did.
    pub timelines: Vec<TimelineView>,
}

/// What one validator knows and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineView {
    /// Its hotkey.
    pub validator: String,
    /// Where it stands.
    pub state: String,
    /// How much it matters.
    pub severity: String,
    /// In the order of time.
    pub moments: Vec<MomentView>,
    /// The transactions of the attack, the first ones.
    pub suspects: Vec<SuspectView>,
    /// How many there were.
    pub total_suspects: u64,
    /// What the miners said.
    pub network: Option<NetworkView>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MomentView {
    /// On the validator's clock, RFC 3339.
    pub at: String,
    /// `seen`, `judged`, `confirmed`, `fired`, `sent`, `included` and others.
    pub moment: String,
    /// By which action.
    pub action: String,
    /// In words.
    pub detail: String,
}

/// A transaction of an attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuspectView {
    /// Its hash.
    pub transaction: String,
    /// Who signed it.
    pub sender: String,
    /// Whom it calls; absent when it creates a contract.
    pub target: Option<String>,
    /// Wei that it carries.
    pub value: String,
    /// The watched value before.
    pub before: String,
    /// And after.
    pub after: String,
    /// Balances that it changes, where they are known: at most 32, those of the watched contract first.
    pub deltas: Vec<DeltaView>,
    /// How many balances it changes besides.
    pub more_deltas: u64,
}

/// A balance that a transaction changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeltaView {
    /// The token's contract; absent of ether.
    pub token: Option<String>,
    /// Whose balance.
    pub holder: String,
    /// By how much, a signed decimal: wei of ether (fees included), of a token its smallest unit.
    pub change: String,
}

/// What the miners said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetworkView {
    /// Miners that were asked.
    pub asked: u32,
    /// That answered in time.
    pub answered: u32,
    /// That said what the validator holds to be true.
    pub agreed: u32,
    /// The validator's own engine decided.
    pub arbitrated: bool,
}

/// An address; `None` where the field is empty.
fn address(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| encode_prefixed(bytes))
}

fn reading(reading: &v1::Reading) -> Change {
    let told = |value: &String| (!value.is_empty()).then(|| value.clone());
    Change {
        what: reading.label.clone(),
        before: told(&reading.pre),
        after: told(&reading.post),
    }
}

fn number(bytes: &[u8]) -> String {
    U256::try_from_be_slice(bytes).unwrap_or_default().to_string()
}

impl From<&v1::Incident> for IncidentView {
    fn from(incident: &v1::Incident) -> Self {
        let witness = incident.witness.clone().unwrap_or_default();
        let newest = incident
            .timelines
            .iter()
            .max_by_key(|timeline| timeline.timeline.last().map(|moment| moment.at_ms));
        Self {
            id: incident.id,
            invariant_id: incident.invariant_id,
            invariant: incident.invariant_name.clone(),
            contract: encode_prefixed(&incident.contract),
            transaction: encode_prefixed(&incident.tx_hash),
            sender: encode_prefixed(&incident.tx_sender),
            witness: WitnessView {
                before: number(&witness.pre),
                after: number(&witness.post),
                digest: encode_prefixed(&witness.digest),
                readings: witness.readings.iter().map(reading).collect(),
            },
            seen_to_confirmed_us: incident.seen_to_confirmed_us,
            logged_at: date(incident.logged_at_ms),
            reported_at: date(incident.reported_at_ms),
            included_at: (incident.included_at_ms > 0).then(|| date(incident.included_at_ms)),
            confirmations: incident.confirmations,
            state: newest.map(|timeline| timeline.state.clone()),
            severity: newest.map(|timeline| timeline.severity.clone()),
        }
    }
}

impl From<&v1::IncidentTimeline> for TimelineView {
    fn from(timeline: &v1::IncidentTimeline) -> Self {
        let moment = |moment: &v1::TimelineMoment| MomentView {
            at: date(moment.at_ms),
            moment: moment.moment.clone(),
            action: moment.action.clone(),
            detail: moment.detail.clone(),
        };
        let delta = |delta: &v1::TokenDelta| DeltaView {
            token: address(&delta.token),
            holder: encode_prefixed(&delta.holder),
            change: delta.change.clone(),
        };
        let suspect = |suspect: &v1::SuspectTransaction| SuspectView {
            transaction: encode_prefixed(&suspect.tx_hash),
            sender: encode_prefixed(&suspect.sender),
            target: address(&suspect.target),
            value: number(&suspect.value),
            before: suspect.pre.clone(),
            after: suspect.post.clone(),
            deltas: suspect.deltas.iter().map(delta).collect(),
            more_deltas: suspect.more_deltas,
        };
        let hotkey = <[u8; 32]>::try_from(timeline.validator.as_ref()).unwrap_or_default();
        Self {
            validator: super::ss58(hotkey),
            state: timeline.state.clone(),
            severity: timeline.severity.clone(),
            moments: timeline.timeline.iter().map(moment).collect(),
            suspects: timeline.suspects.iter().map(suspect).collect(),
            total_suspects: timeline.total_suspects,
            network: timeline.view.map(|view| NetworkView {
                asked: view.asked,
                answered: view.answered,
                agreed: view.agreed,
                arbitrated: view.arbitrated,
            }),
        }
    }
}

/// The incidents, newest first
#[utoipa::path(get, path = "/v1/incidents", tag = "v1", operation_id = "v1_incidents_list", params(Paging),
    responses((status = 200, body = Page<IncidentView>), Reading))]
pub(super) async fn list(State(rest): State<Rest>, paging: Paging) -> Result<Paged<IncidentView>, Problem> {
    let paging = paging.at_most(MOST);
    let found = rest.store.newest_incidents(paging.after, paging.wanted()).await?;
    let views = found.iter().map(IncidentView::from).collect();
    Ok(Paged::new("/v1/incidents", paging, views, |view: &IncidentView| {
        view.id
    }))
}

/// One incident, with its witness and what each validator did about it
#[utoipa::path(get, path = "/v1/incidents/{id}", tag = "v1", operation_id = "v1_incidents_read", params(("id" = u64, Path)),
    responses((status = 200, body = IncidentDetail), Reading))]
pub(super) async fn read(State(rest): State<Rest>, Number(id): Number) -> Result<Json<IncidentDetail>, Problem> {
    let found = match id.checked_sub(1) {
        Some(before) => rest.store.incidents(before, 1).await?.pop(),
        None => None,
    };
    let found = found
        .filter(|found| found.id == id)
        .ok_or_else(|| Problem::not_found("incident"))?;
    Ok(Json(IncidentDetail {
        incident: IncidentView::from(&found),
        timelines: found.timelines.iter().map(TimelineView::from).collect(),
    }))
}
