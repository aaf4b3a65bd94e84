//! `/v1/contracts`: registered contracts, what expressions call them, and how their storage and functions are laid out.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::body::{Body, Number};
use super::paging::{Page, Paged, Paging};
use super::problem::Problem;
use super::{Changing, Reading, created, tag};
use crate::proposal::{Flaw, Proposal};
use crate::registry::{NETWORK, is_network};
use crate::rest::Rest;
use crate::store::{Contract, DescribedContract, Description, Kind};

/// Where they are.
const PATH: &str = "/v1/contracts";

/// A contract as it is sent.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct ContractInput {
    /// Its address.
    #[schema(pattern = "^0x[0-9a-fA-F]{40}$")]
    pub address: String,
    /// `ethereum` unless said otherwise, or `chain-ID`.
    #[schema(pattern = "^(ethereum|chain-[1-9][0-9]{0,18})$")]
    pub network: Option<String>,
    /// What expressions call it; needed beside a layout or an ABI, and no other contract's.
    pub name: Option<String>,
    /// Its storage layout: what solc writes as `storageLayout`, or an artifact that has it.
    #[schema(value_type = Option<Object>)]
    pub layout: Option<Value>,
    /// Its ABI: JSON, or a list of lines such as `function totalAssets() view returns (uint256)`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub abi: Option<Value>,
}

/// A contract as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContractView {
    /// Its number.
    pub id: u64,
    /// Its address.
    pub address: String,
    /// The chain, by name.
    pub network: String,
    /// What expressions call it.
    pub name: Option<String>,
    /// Its storage layout, as it was given.
    #[schema(value_type = Option<Object>)]
    pub layout: Option<Value>,
    /// Its ABI, as it was given.
    #[schema(value_type = Option<Value>)]
    pub abi: Option<Value>,
    /// Its invariants.
    pub invariant_ids: Vec<u64>,
}

fn json_of(text: Option<&String>) -> Option<Value> {
    text.and_then(|text| serde_json::from_str(text).ok())
}

impl From<&DescribedContract> for ContractView {
    fn from(found: &DescribedContract) -> Self {
        let known = found.description.as_ref();
        Self {
            id: found.id,
            address: found.contract.address.clone(),
            network: found.contract.network.clone(),
            layout: json_of(known.and_then(|known| known.layout.as_ref())),
            abi: json_of(known.and_then(|known| known.abi.as_ref())),
            name: known.map(|known| known.name.clone()),
            invariant_ids: found.invariants.clone(),
        }
    }
}

/// A contract as a set of invariants has it.
fn entry(address: &str, layout: Option<&Value>, abi: Option<&Value>) -> Value {
    let mut entry = Map::from_iter([("address".to_owned(), json!(address))]);
    for (field, value) in [("layout", layout), ("abi", abi)] {
        if let Some(value) = value {
            entry.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(entry)
}

fn read_body(body: &Body) -> Result<(Contract, Option<Description>), Problem> {
    let mut flaws = Vec::new();
    body.only(&["address", "network", "name", "layout", "abi"], &mut flaws);
    let address = body.needed("address", &mut flaws);
    let parsed: Option<Address> = address.parse().ok().filter(|_| address.starts_with("0x"));
    if parsed.is_none() && !address.is_empty() {
        flaws.push(Flaw::new("/address", "is no address: 0x and 40 hex digits"));
    }
    let network = body.text("network", &mut flaws).unwrap_or_else(|| NETWORK.to_owned());
    if !is_network(&network) {
        flaws.push(Flaw::new("/network", "is no network: `ethereum` or `chain-<id>`"));
    }
    let name = body.text("name", &mut flaws).filter(|name| !name.is_empty());
    let given = |field: &str| body.0.get(field).filter(|value| !value.is_null());
    let (layout, abi) = (given("layout"), given("abi"));
    for (field, value) in [("layout", layout), ("abi", abi)] {
        if value.is_some() && name.is_none() {
            flaws.push(Flaw::new(
                "/name",
                format!("is missing: expressions need it to speak of the {field}"),
            ));
        }
        // A text would be read as a file's name where a set is read.
        if value.is_some_and(Value::is_string) {
            flaws.push(Flaw::new(format!("/{field}"), "must be the JSON itself"));
        }
    }
    let address = parsed.map_or(address, |address| address.to_string());
    if let (Some(name), true) = (&name, flaws.is_empty()) {
        let probe = Map::from_iter([
            ("name".to_owned(), json!("probe")),
            ("expression".to_owned(), json!("1 < 2")),
            ("contracts".to_owned(), json!({ name: entry(&address, layout, abi) })),
        ]);
        let said = Proposal::compile(&probe, &BTreeMap::new()).err().unwrap_or_default();
        let prefix = format!("/contracts/{name}");
        flaws.extend(said.into_iter().filter_map(|flaw| {
            let field = flaw.pointer.strip_prefix(&prefix)?;
            let pointer = if field.is_empty() { "/name" } else { field };
            Some(Flaw::new(pointer, flaw.detail))
        }));
    }
    if !flaws.is_empty() {
        return Err(Problem::unfit(flaws));
    }
    let description = name.map(|name| Description {
        name,
        layout: layout.map(Value::to_string),
        abi: abi.map(Value::to_string),
    });
    let contract = Contract {
        address,
        network,
        variables: "{}".to_owned(),
    };
    Ok((contract, description))
}

impl Rest {
    /// The contracts of a network that an expression names, as a set of invariants has them.
    pub(super) async fn named(
        &self,
        network: Option<&str>,
        expression: &str,
    ) -> Result<BTreeMap<String, Value>, Problem> {
        if expression.is_empty() {
            return Ok(BTreeMap::new());
        }
        let contracts = self.store.named_contracts(network.unwrap_or(NETWORK)).await?;
        let named = contracts
            .into_iter()
            .filter(|(_, known)| expression.contains(&known.name));
        Ok(named
            .map(|(address, known)| {
                let (layout, abi) = (json_of(known.layout.as_ref()), json_of(known.abi.as_ref()));
                (known.name, entry(&address, layout.as_ref(), abi.as_ref()))
            })
            .collect())
    }

    async fn contract_view(&self, id: u64) -> Result<(DescribedContract, ContractView), Problem> {
        let found = self.store.described_contract(id).await?;
        let found = found.ok_or_else(|| Problem::not_found("contract"))?;
        let view = ContractView::from(&found);
        Ok((found, view))
    }
}

/// The contracts, by number
#[utoipa::path(get, path = "/v1/contracts", tag = "v1", operation_id = "v1_contracts_list", params(Paging),
    responses((status = 200, body = Page<ContractView>), Reading))]
pub(super) async fn list(State(rest): State<Rest>, paging: Paging) -> Result<Paged<ContractView>, Problem> {
    let after = paging.after.unwrap_or_default();
    let found = rest.store.described_contracts(after, paging.wanted()).await?;
    let views = found.iter().map(ContractView::from).collect();
    Ok(Paged::new(PATH, paging, views, |view: &ContractView| view.id))
}

/// Register a contract
#[utoipa::path(post, path = "/v1/contracts", tag = "v1", operation_id = "v1_contracts_create", request_body = ContractInput,
    security(("api_key" = [])), responses((status = 201, body = ContractView), Changing))]
pub(super) async fn create(State(rest): State<Rest>, body: Body) -> Result<Response, Problem> {
    let (contract, description) = read_body(&body)?;
    let id = rest
        .store
        .add_described_contract(&contract, description.as_ref())
        .await?;
    Ok(created(PATH, id, &rest.contract_view(id).await?.1))
}

/// One contract
#[utoipa::path(get, path = "/v1/contracts/{id}", tag = "v1", operation_id = "v1_contracts_read", params(("id" = u64, Path)),
    responses((status = 200, body = ContractView), Reading))]
pub(super) async fn read(State(rest): State<Rest>, Number(id): Number) -> Result<Json<ContractView>, Problem> {
    Ok(Json(rest.contract_view(id).await?.1))
}

/// Say anew what a contract is called and how it is laid out; `If-Match` says which one was read. Its address and chain stay
#[utoipa::path(put, path = "/v1/contracts/{id}", tag = "v1", operation_id = "v1_contracts_replace",
    params(("id" = u64, Path), ("If-Match" = Option<String>, Header)), request_body = ContractInput,
    security(("api_key" = [])), responses((status = 200, body = ContractView), Changing))]
pub(super) async fn replace(
    State(rest): State<Rest>,
    Number(id): Number,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ContractView>, Problem> {
    let (seen, view) = rest.contract_view(id).await?;
    let (contract, description) = read_body(&body)?;
    tag::check(&headers, &view, true)?;
    if (&contract.address, &contract.network) != (&view.address, &view.network) {
        let detail = "address and network stay what they are; register another contract";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    rest.store.describe_contract(&seen, description.as_ref()).await?;
    Ok(Json(rest.contract_view(id).await?.1))
}

/// Forget a contract; its invariants stay in force
#[utoipa::path(delete, path = "/v1/contracts/{id}", tag = "v1", operation_id = "v1_contracts_delete",
    params(("id" = u64, Path), ("If-Match" = Option<String>, Header)), security(("api_key" = [])),
    responses((status = 204, description = "It is forgotten"), Changing))]
pub(super) async fn delete(
    State(rest): State<Rest>,
    Number(id): Number,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let (seen, view) = rest.contract_view(id).await?;
    tag::check(&headers, &view, false)?;
    if headers.contains_key(header::IF_MATCH) {
        rest.store.forget_contract(&seen).await?;
    } else {
        rest.store.delete(Kind::Contract, id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}
