//! `/dashboards`: one is read as the whole tree, flattened and without repeats.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::actions::ActionOut;
use super::body::Fields;
use super::contracts::ContractOut;
use super::error::{Detail, Refusal, Unprocessable};
use super::invariants::InvariantOut;
use super::{Id, Message, Pair, Rest};
use crate::store::{Kind, Relation};

/// A dashboard as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DashboardBody {
    /// Its name.
    pub name: String,
    /// Its contracts.
    #[serde(default)]
    pub contract_ids: Vec<u64>,
    /// Its own invariants.
    #[serde(default)]
    pub invariant_ids: Vec<u64>,
    /// Its own defence actions.
    #[serde(default)]
    pub defense_action_ids: Vec<u64>,
}

/// A dashboard in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DashboardOut {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its contracts.
    pub contract_ids: Vec<u64>,
    /// Its own invariants.
    pub invariant_ids: Vec<u64>,
    /// Its own defence actions.
    pub defense_action_ids: Vec<u64>,
}

/// A dashboard with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DashboardTree {
    /// Itself.
    #[serde(flatten)]
    pub dashboard: DashboardOut,
    /// Its contracts.
    pub contracts: Vec<ContractOut>,
    /// Its own invariants and its contracts'.
    pub invariants: Vec<InvariantOut>,
    /// Its own actions and its invariants'.
    pub defense_actions: Vec<ActionOut>,
}

impl Rest {
    async fn dashboard(&self, id: u64) -> Result<DashboardOut, Refusal> {
        let found = self.store.dashboards(Some(id)).await?.pop();
        let (id, name) = found.ok_or(Refusal::NotFound(Kind::Dashboard))?;
        Ok(DashboardOut {
            id,
            name,
            contract_ids: self.store.members(Relation::DashboardContract, id).await?,
            invariant_ids: self.store.members(Relation::DashboardInvariant, id).await?,
            defense_action_ids: self.store.members(Relation::DashboardAction, id).await?,
        })
    }

    async fn tree(&self, id: u64) -> Result<DashboardTree, Refusal> {
        let dashboard = self.dashboard(id).await?;
        let mut contracts = self.all_contracts().await?;
        contracts.retain(|contract| dashboard.contract_ids.contains(&contract.id));
        let of_contracts = contracts.iter().flat_map(|contract| &contract.invariant_ids);
        let wanted: BTreeSet<u64> = dashboard.invariant_ids.iter().chain(of_contracts).copied().collect();
        let mut invariants = self.all_invariants().await?;
        invariants.retain(|invariant| wanted.contains(&invariant.id));
        let of_invariants = invariants.iter().flat_map(|invariant| &invariant.defense_action_ids);
        let wanted: BTreeSet<u64> = dashboard
            .defense_action_ids
            .iter()
            .chain(of_invariants)
            .copied()
            .collect();
        let mut defense_actions = self.all_actions().await?;
        defense_actions.retain(|action| wanted.contains(&action.id));
        Ok(DashboardTree {
            dashboard,
            contracts,
            invariants,
            defense_actions,
        })
    }
}

type Sent = (String, [(Relation, Vec<u64>); 3]);

fn dashboard(mut fields: Fields) -> Result<Sent, Refusal> {
    let name = fields.required("name");
    let members = [
        (Relation::DashboardContract, fields.ids("contract_ids")),
        (Relation::DashboardInvariant, fields.ids("invariant_ids")),
        (Relation::DashboardAction, fields.ids("defense_action_ids")),
    ];
    fields.end()?;
    Ok((name, members))
}

/// All dashboards, by number
#[utoipa::path(get, path = "/dashboards", tag = "dashboards", responses((status = 200, body = Vec<DashboardOut>), (status = 401, body = Detail)))]
pub(super) async fn list(State(rest): State<Rest>) -> Result<Json<Vec<DashboardOut>>, Refusal> {
    let contracts = rest.store.all_members(Relation::DashboardContract).await?;
    let invariants = rest.store.all_members(Relation::DashboardInvariant).await?;
    let actions = rest.store.all_members(Relation::DashboardAction).await?;
    let rows = rest.store.dashboards(None).await?;
    let dashboard = |(id, name)| DashboardOut {
        id,
        name,
        contract_ids: contracts.of(id),
        invariant_ids: invariants.of(id),
        defense_action_ids: actions.of(id),
    };
    Ok(Json(rows.into_iter().map(dashboard).collect()))
}

/// Make a dashboard
#[utoipa::path(post, path = "/dashboards", tag = "dashboards", request_body = DashboardBody, security(("api_key" = [])),
    responses((status = 200, body = DashboardOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn create(State(rest): State<Rest>, fields: Fields) -> Result<Json<DashboardOut>, Refusal> {
    let (name, members) = dashboard(fields)?;
    let id = rest.store.put_dashboard(None, &name, &members).await?;
    Ok(Json(rest.dashboard(id).await?))
}

/// One dashboard, with all that belongs to it
#[utoipa::path(get, path = "/dashboards/{id}", tag = "dashboards", params(("id" = u64, Path)),
    responses((status = 200, body = DashboardTree), (status = 401, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn read(State(rest): State<Rest>, Id(id): Id) -> Result<Json<DashboardTree>, Refusal> {
    Ok(Json(rest.tree(id).await?))
}

/// Put another dashboard in its place
#[utoipa::path(put, path = "/dashboards/{id}", tag = "dashboards", params(("id" = u64, Path)), request_body = DashboardBody, security(("api_key" = [])),
    responses((status = 200, body = DashboardOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn update(
    State(rest): State<Rest>,
    Id(id): Id,
    fields: Fields,
) -> Result<Json<DashboardOut>, Refusal> {
    let (name, members) = dashboard(fields)?;
    let id = rest.store.put_dashboard(Some(id), &name, &members).await?;
    Ok(Json(rest.dashboard(id).await?))
}

/// Delete a dashboard
#[utoipa::path(delete, path = "/dashboards/{id}", tag = "dashboards", params(("id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = Message), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn delete(State(rest): State<Rest>, Id(id): Id) -> Result<Json<Message>, Refusal> {
    rest.store.delete(Kind::Dashboard, id).await?;
    Ok(Message::deleted(Kind::Dashboard))
}

/// Put a contract on the dashboard
#[utoipa::path(post, path = "/dashboards/{id}/contracts/{contract_id}", tag = "dashboards", params(("id" = u64, Path), ("contract_id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = DashboardOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn link(State(rest): State<Rest>, Pair(id, contract): Pair) -> Result<Json<DashboardOut>, Refusal> {
    rest.store.link(Relation::DashboardContract, id, contract, true).await?;
    Ok(Json(rest.dashboard(id).await?))
}

/// Take it off the dashboard
#[utoipa::path(delete, path = "/dashboards/{id}/contracts/{contract_id}", tag = "dashboards", params(("id" = u64, Path), ("contract_id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = DashboardOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn unlink(State(rest): State<Rest>, Pair(id, contract): Pair) -> Result<Json<DashboardOut>, Refusal> {
    rest.store
        .link(Relation::DashboardContract, id, contract, false)
        .await?;
    Ok(Json(rest.dashboard(id).await?))
}
