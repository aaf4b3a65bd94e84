//! `/invariants`: those over one slot. An expression is not found here: it is at `/v1/invariants`.

use axum::Json;
use axum::extract::State;
use engine::Watched;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::ToSchema;

use super::body::Fields;
use super::error::{Detail, Misfit, Refusal, Unprocessable};
use super::{Id, Message, Rest};
use crate::registry::{Draft, NETWORK, display_value};
use crate::store::{Kind, RegisteredInvariant, Relation};

/// An invariant as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InvariantBody {
    /// The contract's address.
    #[schema(pattern = "^0x[0-9a-fA-F]{40}$")]
    pub contract: String,
    /// The relation that must hold between value and target: `==`, `>=`, `<=`, `>` or `<`.
    #[serde(rename = "type")]
    #[schema(pattern = "^(==|>=|<=|>|<)$")]
    pub comparison: String,
    /// The variable's name in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
    /// What the value is compared with, decimal; it must be a value of `slot_type`.
    #[schema(pattern = "^(-?[0-9]{1,78}|0x[0-9a-fA-F]{1,64})$")]
    pub target: String,
    /// The storage slot, hexadecimal with `0x`, or decimal.
    #[schema(pattern = "^(0x[0-9a-fA-F]{1,64}|[0-9]{1,78})$")]
    pub storage: String,
    /// Its Solidity type; `uint256` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot_type: Option<String>,
    /// `ethereum`, or `chain-ID`.
    #[schema(default = "ethereum", pattern = "^(ethereum|chain-[1-9][0-9]{0,18})$")]
    pub network: Option<String>,
    /// What happens when it is broken.
    #[serde(default)]
    pub defense_action_ids: Vec<u64>,
}

/// An invariant as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvariantOut {
    /// Its number.
    pub id: u64,
    /// The contract's address.
    pub contract: String,
    /// The relation.
    #[serde(rename = "type")]
    pub comparison: String,
    /// The variable's name in the source.
    pub variable: Option<String>,
    /// What the value is compared with, decimal.
    pub target: String,
    /// The storage slot, hexadecimal.
    pub storage: String,
    /// Its Solidity type.
    pub slot_type: String,
    /// The chain, by name.
    pub network: String,
    /// What happens when it is broken.
    pub defense_action_ids: Vec<u64>,
    /// RFC 3339.
    pub created_at: String,
    /// Always so: what is deleted is not found.
    pub is_active: bool,
}

impl InvariantOut {
    /// As it is stored, with its actions; `None` of an expression, which this form cannot say.
    pub(super) fn new(row: &RegisteredInvariant, defense_action_ids: Vec<u64>) -> Option<Self> {
        let Watched::Slot(invariant) = &row.invariant else {
            return None;
        };
        Some(Self {
            id: invariant.id,
            contract: invariant.contract.to_string(),
            comparison: invariant.comparison.symbol().to_owned(),
            variable: row.variable.clone(),
            target: display_value(invariant.target, invariant.value_type),
            storage: engine::B256::from(invariant.slot).to_string(),
            slot_type: invariant.value_type.to_string(),
            network: row.network.clone(),
            defense_action_ids,
            created_at: super::date(row.created_at_ms),
            is_active: true,
        })
    }
}

impl Rest {
    pub(super) async fn all_invariants(&self) -> Result<Vec<InvariantOut>, Refusal> {
        let actions = self.store.all_members(Relation::InvariantAction).await?;
        let rows = self.store.invariants().await?;
        Ok(rows
            .iter()
            .filter_map(|row| InvariantOut::new(row, actions.of(row.invariant.id())))
            .collect())
    }

    async fn invariant(&self, id: u64) -> Result<InvariantOut, Refusal> {
        let found = self
            .store
            .invariant(id)
            .await?
            .ok_or(Refusal::NotFound(Kind::Invariant))?;
        let actions = self.store.members(Relation::InvariantAction, id).await?;
        InvariantOut::new(&found, actions).ok_or(Refusal::NotFound(Kind::Invariant))
    }
}

/// Checks a body: the draft, and the numbers of its actions.
fn draft(mut fields: Fields) -> Result<(Draft, Vec<u64>), Refusal> {
    let mut entry = Map::new();
    for field in ["contract", "type", "target", "storage"] {
        entry.insert(field.to_owned(), fields.required(field).into());
    }
    for field in ["variable", "slot_type"] {
        // An empty text is what a form sends for nothing.
        if let Some(text) = fields.optional(field).filter(|text| !text.trim().is_empty()) {
            entry.insert(field.to_owned(), text.into());
        }
    }
    let network = fields.optional("network").unwrap_or_else(|| NETWORK.to_owned());
    entry.insert("network".to_owned(), network.into());
    let actions = fields.ids("defense_action_ids");
    fields.end()?;
    let draft = Draft::from_entry(&entry)
        .map_err(|error| Misfit::body(&error.field, format!("Value error, {}", error.reason), "value_error"))?;
    Ok((draft, actions))
}

/// All invariants, by number
#[utoipa::path(get, path = "/invariants", tag = "invariants", responses((status = 200, body = Vec<InvariantOut>), (status = 401, body = Detail)))]
pub(super) async fn list(State(rest): State<Rest>) -> Result<Json<Vec<InvariantOut>>, Refusal> {
    Ok(Json(rest.all_invariants().await?))
}

/// Register an invariant
#[utoipa::path(post, path = "/invariants", tag = "invariants", request_body = InvariantBody, security(("api_key" = [])),
    responses((status = 200, body = InvariantOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn create(State(rest): State<Rest>, fields: Fields) -> Result<Json<InvariantOut>, Refusal> {
    let (draft, actions) = draft(fields)?;
    let id = rest.store.add_invariant(None, &draft, &actions).await?;
    Ok(Json(rest.invariant(id).await?))
}

/// One invariant
#[utoipa::path(get, path = "/invariants/{id}", tag = "invariants", params(("id" = u64, Path)),
    responses((status = 200, body = InvariantOut), (status = 401, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn read(State(rest): State<Rest>, Id(id): Id) -> Result<Json<InvariantOut>, Refusal> {
    Ok(Json(rest.invariant(id).await?))
}

/// Put another invariant in its place
#[utoipa::path(put, path = "/invariants/{id}", tag = "invariants", params(("id" = u64, Path)), request_body = InvariantBody, security(("api_key" = [])),
    responses((status = 200, body = InvariantOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn update(
    State(rest): State<Rest>,
    Id(id): Id,
    fields: Fields,
) -> Result<Json<InvariantOut>, Refusal> {
    let (draft, actions) = draft(fields)?;
    rest.invariant(id).await?;
    rest.store.replace_invariant(id, &draft, &actions).await?;
    Ok(Json(rest.invariant(id).await?))
}

/// Delete an invariant
#[utoipa::path(delete, path = "/invariants/{id}", tag = "invariants", params(("id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = Message), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn delete(State(rest): State<Rest>, Id(id): Id) -> Result<Json<Message>, Refusal> {
    rest.invariant(id).await?;
    rest.store.remove_invariant(id).await?;
    Ok(Message::deleted(Kind::Invariant))
}

/// Let an action happen when the invariant is broken
#[utoipa::path(post, path = "/invariants/{id}/defense-actions/{action_id}", tag = "invariants", params(("id" = u64, Path), ("action_id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = InvariantOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn link_action(
    State(rest): State<Rest>,
    super::Pair(id, action): super::Pair,
) -> Result<Json<InvariantOut>, Refusal> {
    rest.invariant(id).await?;
    rest.store.link(Relation::InvariantAction, id, action, true).await?;
    Ok(Json(rest.invariant(id).await?))
}

/// Let it happen no more
#[utoipa::path(delete, path = "/invariants/{id}/defense-actions/{action_id}", tag = "invariants", params(("id" = u64, Path), ("action_id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = InvariantOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn unlink_action(
    State(rest): State<Rest>,
    super::Pair(id, action): super::Pair,
) -> Result<Json<InvariantOut>, Refusal> {
    rest.invariant(id).await?;
    rest.store.link(Relation::InvariantAction, id, action, false).await?;
    Ok(Json(rest.invariant(id).await?))
}
