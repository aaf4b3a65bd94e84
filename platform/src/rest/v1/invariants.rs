//! `/v1/invariants`: as they were written, and as the network judges them.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use engine::Watched;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::body::{Body, Number};
use super::paging::{Page, Paged, Paging};
use super::problem::Problem;
use super::{Changing, Reading, created, tag};
use crate::proposal::{Flaw, Proposal};
use crate::registry::{Draft, display_value};
use crate::rest::{Rest, date};
use crate::store::{Described, ServiceError};

/// Where they are.
const PATH: &str = "/v1/invariants";

/// An invariant as it is sent: `name` and `expression`, or the fields of the original form (`contract`, `type`, `target`, `storage`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct InvariantInput {
    /// Its name, at most 200 characters; needed beside an expression.
    pub name: Option<String>,
    /// What must hold, in the language of docs/invariants.md, such as `vault.totalAssets >= 1000`.
    pub expression: Option<String>,
    /// Contracts that the expression names, beside those of `/v1/contracts`: an address, or an object with `address`, `layout` and `abi`.
    #[schema(value_type = Option<Object>)]
    pub contracts: Option<Value>,
    /// How much it matters.
    #[schema(pattern = "^(info|low|medium|high|critical)$")]
    pub severity: Option<String>,
    /// What people should know about it.
    pub description: Option<String>,
    /// The name of the service that pays for it; it is streamed only while that is paid.
    pub service: Option<String>,
    /// `ethereum` unless said otherwise, or `chain-ID`.
    #[schema(pattern = "^(ethereum|chain-[1-9][0-9]{0,18})$")]
    pub network: Option<String>,
    /// What happens when it is broken.
    pub defense_action_ids: Option<Vec<u64>>,
    /// The contract's address.
    #[schema(pattern = "^0x[0-9a-fA-F]{40}$")]
    pub contract: Option<String>,
    /// `==`, `>=`, `<=`, `>` or `<`.
    #[serde(rename = "type")]
    #[schema(pattern = "^(==|>=|<=|>|<)$")]
    pub comparison: Option<String>,
    /// What the value is compared with.
    pub target: Option<String>,
    /// The storage slot.
    #[schema(pattern = "^(0x[0-9a-fA-F]{1,64}|[0-9]{1,78})$")]
    pub storage: Option<String>,
    /// Its Solidity type; `uint256` unless said otherwise.
    pub slot_type: Option<String>,
    /// Bytes from the low-order end of the slot.
    #[schema(maximum = 31)]
    pub offset: Option<u8>,
    /// The variable's name in the source.
    pub variable: Option<String>,
}

/// An invariant as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvariantView {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What must hold, as it was written; where it was not written so, the same in the language.
    pub expression: String,
    /// What the network judges, with every name resolved.
    pub program: String,
    /// The address of the contract that it speaks of: of an expression that of its first term, zero where no term has one.
    pub contract: String,
    /// Of one stored value against a constant: the relation.
    #[serde(rename = "type")]
    pub comparison: Option<String>,
    /// What the value is compared with.
    pub target: Option<String>,
    /// The storage slot.
    pub storage: Option<String>,
    /// Its Solidity type.
    pub slot_type: Option<String>,
    /// Bytes from the low-order end of the slot.
    pub offset: Option<u8>,
    /// The variable's name in the source.
    pub variable: Option<String>,
    /// The chain, by name.
    pub network: String,
    /// How much it matters, where said.
    pub severity: Option<String>,
    /// What people should know about it, where said.
    pub description: Option<String>,
    /// The service that pays for it.
    pub service: Option<String>,
    /// What happens when it is broken.
    pub defense_action_ids: Vec<u64>,
    /// RFC 3339.
    pub created_at: String,
}

impl From<&Described> for InvariantView {
    fn from(found: &Described) -> Self {
        let invariant = &found.row.invariant;
        let source = found.source.as_ref();
        let slot = match invariant {
            Watched::Slot(invariant) => Some(invariant),
            Watched::View(_) | Watched::Program(_) => None,
        };
        let program = match invariant {
            Watched::Program(invariant) => invariant.program.to_string(),
            Watched::Slot(_) | Watched::View(_) => invariant.expression(),
        };
        Self {
            id: invariant.id(),
            name: invariant.name().to_owned(),
            expression: source.map_or_else(|| program.clone(), |source| source.expression.clone()),
            program,
            contract: invariant.contract().to_string(),
            comparison: slot.map(|slot| slot.comparison.symbol().to_owned()),
            target: slot.map(|slot| display_value(slot.target, slot.value_type)),
            storage: slot.map(|slot| format!("{:#x}", slot.slot)),
            slot_type: slot.map(|slot| slot.value_type.to_string()),
            offset: slot.map(|slot| slot.offset),
            variable: found.row.variable.clone(),
            network: found.row.network.clone(),
            severity: source.and_then(|source| source.severity.clone()),
            description: source.and_then(|source| source.description.clone()),
            service: found.service.clone(),
            defense_action_ids: found.actions.clone(),
            created_at: date(found.row.created_at_ms),
        }
    }
}

/// What a body asks for.
struct Asked {
    draft: Draft,
    service: Option<u64>,
    actions: Vec<u64>,
}

impl Rest {
    /// Compiles what a body proposes, with the contracts that are known by name on its network.
    pub(super) async fn proposal(&self, body: &Body) -> Result<Proposal, Problem> {
        let mut flaws = Vec::new();
        let network = body.text("network", &mut flaws);
        let expression = body.0.get("expression").and_then(Value::as_str).unwrap_or_default();
        let known = self.named(network.as_deref(), expression).await?;
        let entry = body.without(&["service", "defense_action_ids"]);
        Proposal::compile(&entry, &known).map_err(Problem::unfit)
    }

    async fn asked(&self, body: &Body) -> Result<Asked, Problem> {
        let mut flaws = Vec::new();
        let (service, actions) = (
            body.text("service", &mut flaws),
            body.ids("defense_action_ids", &mut flaws),
        );
        let draft = match self.proposal(body).await {
            Ok(proposal) => {
                let unstreamed = |why| flaws.push(Flaw::new("/expression", why));
                proposal.streamed().map_err(unstreamed).ok()
            }
            Err(problem) if problem.errors.is_empty() => return Err(problem),
            Err(problem) => {
                flaws.extend(problem.errors);
                None
            }
        };
        let (Some(draft), true) = (draft, flaws.is_empty()) else {
            return Err(Problem::unfit(flaws));
        };
        let service = match service.filter(|name| !name.is_empty()) {
            None => None,
            Some(name) => Some(self.store.service_id(&name).await.map_err(|error| match error {
                ServiceError::Log(error) => error.into(),
                unknown => Problem::field("/service", unknown.to_string()),
            })?),
        };
        Ok(Asked {
            draft,
            service,
            actions,
        })
    }

    async fn described(&self, id: u64) -> Result<(Described, InvariantView), Problem> {
        let found = self.store.described_one(id).await?;
        let found = found.ok_or_else(|| Problem::not_found("invariant"))?;
        let view = InvariantView::from(&found);
        Ok((found, view))
    }
}

/// The invariants, by number
#[utoipa::path(get, path = "/v1/invariants", tag = "v1", operation_id = "v1_invariants_list", params(Paging),
    responses((status = 200, body = Page<InvariantView>), Reading))]
pub(super) async fn list(State(rest): State<Rest>, paging: Paging) -> Result<Paged<InvariantView>, Problem> {
    let found = rest
        .store
        .described(paging.after.unwrap_or_default(), paging.wanted())
        .await?;
    let views = found.iter().map(InvariantView::from).collect();
    Ok(Paged::new(PATH, paging, views, |view: &InvariantView| view.id))
}

/// Put an invariant in force
#[utoipa::path(post, path = "/v1/invariants", tag = "v1", operation_id = "v1_invariants_create", request_body = InvariantInput,
    security(("api_key" = [])), responses((status = 201, body = InvariantView), Changing))]
pub(super) async fn create(State(rest): State<Rest>, body: Body) -> Result<Response, Problem> {
    let asked = rest.asked(&body).await?;
    let id = rest
        .store
        .add_invariant(asked.service, &asked.draft, &asked.actions)
        .await?;
    let (_, view) = rest.described(id).await?;
    Ok(created(PATH, id, &view))
}

/// One invariant
#[utoipa::path(get, path = "/v1/invariants/{id}", tag = "v1", operation_id = "v1_invariants_read", params(("id" = u64, Path)),
    responses((status = 200, body = InvariantView), Reading))]
pub(super) async fn read(State(rest): State<Rest>, Number(id): Number) -> Result<Json<InvariantView>, Problem> {
    Ok(Json(rest.described(id).await?.1))
}

/// Put another invariant in its place; `If-Match` says which one was read. It stays with its service
#[utoipa::path(put, path = "/v1/invariants/{id}", tag = "v1", operation_id = "v1_invariants_replace",
    params(("id" = u64, Path), ("If-Match" = Option<String>, Header)), request_body = InvariantInput,
    security(("api_key" = [])), responses((status = 200, body = InvariantView), Changing))]
pub(super) async fn replace(
    State(rest): State<Rest>,
    Number(id): Number,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<InvariantView>, Problem> {
    let (seen, view) = rest.described(id).await?;
    let asked = rest.asked(&body).await?;
    tag::check(&headers, &view, true)?;
    rest.store
        .replace_described(&seen, &asked.draft, &asked.actions)
        .await?;
    Ok(Json(rest.described(id).await?.1))
}

/// Take an invariant out of force
#[utoipa::path(delete, path = "/v1/invariants/{id}", tag = "v1", operation_id = "v1_invariants_delete",
    params(("id" = u64, Path), ("If-Match" = Option<String>, Header)), security(("api_key" = [])),
    responses((status = 204, description = "It is out of force"), Changing))]
pub(super) async fn delete(
    State(rest): State<Rest>,
    Number(id): Number,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (seen, view) = rest.described(id).await?;
    tag::check(&headers, &view, false)?;
    if headers.contains_key(header::IF_MATCH) {
        rest.store.remove_described(&seen).await?;
    } else {
        rest.store.remove_invariant(id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
