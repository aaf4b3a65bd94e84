//! `/contracts`.

use alloy::primitives::Address;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::body::Fields;
use super::error::{Detail, Refusal, Unprocessable};
use super::{Id, Message, Pair, Rest};
use crate::registry::is_network;
use crate::store::{Contract, Kind, Relation};

/// A contract as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ContractBody {
    /// Its address.
    #[schema(pattern = "^0x[0-9a-fA-F]{40}$")]
    pub address: String,
    /// `ethereum`, or `chain-ID`.
    #[schema(pattern = "^(ethereum|chain-[1-9][0-9]{0,18})$")]
    pub network: String,
    /// Whatever is to be remembered of it.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub variables: Value,
    /// Its invariants.
    #[serde(default)]
    pub invariant_ids: Vec<u64>,
}

/// A contract as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractOut {
    /// Its number.
    pub id: u64,
    /// Its address.
    pub address: String,
    /// The chain, by name.
    pub network: String,
    /// What is remembered of it.
    #[schema(value_type = Object)]
    pub variables: Value,
    /// Its invariants.
    pub invariant_ids: Vec<u64>,
}

impl ContractOut {
    fn new(id: u64, contract: Contract, invariant_ids: Vec<u64>) -> Self {
        Self {
            id,
            address: contract.address,
            network: contract.network,
            variables: serde_json::from_str(&contract.variables).unwrap_or_default(),
            invariant_ids,
        }
    }
}

impl Rest {
    pub(super) async fn all_contracts(&self) -> Result<Vec<ContractOut>, Refusal> {
        let links = self.store.all_members(Relation::ContractInvariant).await?;
        let rows = self.store.contracts(None).await?;
        Ok(rows
            .into_iter()
            .map(|(id, contract)| ContractOut::new(id, contract, links.of(id)))
            .collect())
    }

    async fn contract(&self, id: u64) -> Result<ContractOut, Refusal> {
        let found = self.store.contracts(Some(id)).await?.pop();
        let (id, contract) = found.ok_or(Refusal::NotFound(Kind::Contract))?;
        Ok(ContractOut::new(
            id,
            contract,
            self.store.members(Relation::ContractInvariant, id).await?,
        ))
    }
}

fn contract(mut fields: Fields) -> Result<(Contract, Vec<u64>), Refusal> {
    let address = fields.required("address");
    let network = fields.required("network");
    let (variables, invariants) = (fields.object("variables"), fields.ids("invariant_ids"));
    let parsed: Option<Address> = address.parse().ok().filter(|_| address.starts_with("0x"));
    if parsed.is_none() && !address.is_empty() {
        fields.misfit(
            "address",
            "Value error, is no address: 0x and 40 hex digits",
            "value_error",
        );
    }
    if !network.is_empty() && !is_network(&network) {
        fields.misfit(
            "network",
            "Value error, is no network: `ethereum` or `chain-<id>`",
            "value_error",
        );
    }
    if address.is_empty() || network.is_empty() {
        for (field, text) in [("address", &address), ("network", &network)] {
            if text.is_empty() {
                fields.misfit(field, "String should have at least 1 character", "string_too_short");
            }
        }
    }
    fields.end()?;
    let address = parsed.map_or(address, |address| address.to_string());
    Ok((
        Contract {
            address,
            network,
            variables,
        },
        invariants,
    ))
}

/// All contracts, by number
#[utoipa::path(get, path = "/contracts", tag = "contracts", responses((status = 200, body = Vec<ContractOut>), (status = 401, body = Detail)))]
pub(super) async fn list(State(rest): State<Rest>) -> Result<Json<Vec<ContractOut>>, Refusal> {
    Ok(Json(rest.all_contracts().await?))
}

/// Register a contract
#[utoipa::path(post, path = "/contracts", tag = "contracts", request_body = ContractBody, security(("api_key" = [])),
    responses((status = 200, body = ContractOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn create(State(rest): State<Rest>, fields: Fields) -> Result<Json<ContractOut>, Refusal> {
    let (contract, invariants) = contract(fields)?;
    let members = [(Relation::ContractInvariant, invariants)];
    let id = rest.store.put_contract(None, &contract, &members).await?;
    Ok(Json(rest.contract(id).await?))
}

/// One contract
#[utoipa::path(get, path = "/contracts/{id}", tag = "contracts", params(("id" = u64, Path)),
    responses((status = 200, body = ContractOut), (status = 401, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn read(State(rest): State<Rest>, Id(id): Id) -> Result<Json<ContractOut>, Refusal> {
    Ok(Json(rest.contract(id).await?))
}

/// Put another contract in its place
#[utoipa::path(put, path = "/contracts/{id}", tag = "contracts", params(("id" = u64, Path)), request_body = ContractBody, security(("api_key" = [])),
    responses((status = 200, body = ContractOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn update(State(rest): State<Rest>, Id(id): Id, fields: Fields) -> Result<Json<ContractOut>, Refusal> {
    let (contract, invariants) = contract(fields)?;
    let members = [(Relation::ContractInvariant, invariants)];
    let id = rest.store.put_contract(Some(id), &contract, &members).await?;
    Ok(Json(rest.contract(id).await?))
}

/// Delete a contract
#[utoipa::path(delete, path = "/contracts/{id}", tag = "contracts", params(("id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = Message), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn delete(State(rest): State<Rest>, Id(id): Id) -> Result<Json<Message>, Refusal> {
    rest.store.delete(Kind::Contract, id).await?;
    Ok(Message::deleted(Kind::Contract))
}

/// Give an invariant to the contract
#[utoipa::path(post, path = "/contracts/{id}/invariants/{inv_id}", tag = "contracts", params(("id" = u64, Path), ("inv_id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = ContractOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn link(State(rest): State<Rest>, Pair(id, invariant): Pair) -> Result<Json<ContractOut>, Refusal> {
    rest.store
        .link(Relation::ContractInvariant, id, invariant, true)
        .await?;
    Ok(Json(rest.contract(id).await?))
}

/// Take it from the contract
#[utoipa::path(delete, path = "/contracts/{id}/invariants/{inv_id}", tag = "contracts", params(("id" = u64, Path), ("inv_id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = ContractOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn unlink(State(rest): State<Rest>, Pair(id, invariant): Pair) -> Result<Json<ContractOut>, Refusal> {
    rest.store
        .link(Relation::ContractInvariant, id, invariant, false)
        .await?;
    Ok(Json(rest.contract(id).await?))
}
