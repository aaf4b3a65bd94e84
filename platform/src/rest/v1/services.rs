//! `/v1/services`: protocols that pay for their protection.

use alloy::primitives::Address;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Body, Number};
use super::paging::{Page, Paged, Paging};
use super::problem::Problem;
use super::{Changing, Reading, created};
use crate::proposal::Flaw;
use crate::rest::{Rest, date};
use crate::store::{Service, ServiceError};

/// Where they are.
const PATH: &str = "/v1/services";
/// The longest name, in characters.
const LONGEST: usize = 200;

/// A service as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ServiceInput {
    /// The protected protocol's name.
    pub name: String,
    /// Its payment contract's address.
    #[schema(pattern = "^0x[0-9a-fA-F]{40}$")]
    pub payment_contract: String,
}

/// A service as it is read.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServiceView {
    /// Its number.
    pub id: u64,
    /// The protected protocol's name.
    pub name: String,
    /// Its payment contract's address.
    pub payment_contract: String,
    /// Its active invariants.
    pub invariants: u64,
    /// Whether they are streamed.
    pub streamed: bool,
    /// The newest conclusion on its payment, with the runway in seconds.
    #[schema(value_type = Option<Object>)]
    pub payment: Option<billing::monitor::rule::Conclusion>,
    /// When it was come to, RFC 3339.
    pub checked_at: Option<String>,
}

impl From<Service> for ServiceView {
    fn from(service: Service) -> Self {
        Self {
            id: service.id,
            name: service.name,
            payment_contract: service.payment.to_string(),
            invariants: service.invariants,
            streamed: service.served,
            payment: service.conclusion,
            checked_at: service.checked_at_ms.map(date),
        }
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Log(error) => error.into(),
            ServiceError::Unknown(_) => Self::not_found("service"),
            ServiceError::Exists(name) => Self::new(
                StatusCode::CONFLICT,
                format!("there is a service {name:?} already; choose another name"),
            ),
            in_use @ ServiceError::InUse { .. } => Self::new(StatusCode::CONFLICT, in_use.to_string()),
        }
    }
}

/// The services, by number
#[utoipa::path(get, path = "/v1/services", tag = "v1", operation_id = "v1_services_list", params(Paging),
    responses((status = 200, body = Page<ServiceView>), Reading))]
pub(super) async fn list(State(rest): State<Rest>, paging: Paging) -> Result<Paged<ServiceView>, Problem> {
    let all = rest.store.services().await?;
    let after = paging.after.unwrap_or_default();
    let behind = all.into_iter().filter(|service| service.id > after);
    let views = behind.take(paging.wanted() as usize).map(ServiceView::from).collect();
    Ok(Paged::new(PATH, paging, views, |view: &ServiceView| view.id))
}

/// Register a service; it is streamed until the first look at its payment
#[utoipa::path(post, path = "/v1/services", tag = "v1", operation_id = "v1_services_create", request_body = ServiceInput,
    security(("api_key" = [])), responses((status = 201, body = ServiceView), Changing))]
pub(super) async fn create(State(rest): State<Rest>, body: Body) -> Result<Response, Problem> {
    let mut flaws = Vec::new();
    body.only(&["name", "payment_contract"], &mut flaws);
    let name = body.needed("name", &mut flaws);
    let address = body.needed("payment_contract", &mut flaws);
    if name.chars().count() > LONGEST {
        flaws.push(Flaw::new("/name", format!("has more than {LONGEST} characters")));
    }
    let payment: Option<Address> = address.parse().ok().filter(|_| address.starts_with("0x"));
    if payment.is_none() && !address.is_empty() {
        flaws.push(Flaw::new("/payment_contract", "is no address: 0x and 40 hex digits"));
    }
    let (Some(payment), true) = (payment, flaws.is_empty()) else {
        return Err(Problem::unfit(flaws));
    };
    let id = rest.store.add_service(&name, payment).await?;
    let made = rest
        .store
        .services()
        .await?
        .into_iter()
        .find(|service| service.id == id);
    let view = made
        .map(ServiceView::from)
        .ok_or_else(|| Problem::not_found("service"))?;
    Ok(created(PATH, id, &view))
}

/// Forget a service that protects nothing any more
#[utoipa::path(delete, path = "/v1/services/{id}", tag = "v1", operation_id = "v1_services_delete", params(("id" = u64, Path)),
    security(("api_key" = [])), responses((status = 204, description = "It is forgotten"), Changing))]
pub(super) async fn delete(State(rest): State<Rest>, Number(id): Number) -> Result<StatusCode, Problem> {
    let all = rest.store.services().await?;
    let found = all.into_iter().find(|service| service.id == id);
    let found = found.ok_or_else(|| Problem::not_found("service"))?;
    rest.store.remove_service(&found.name).await?;
    Ok(StatusCode::NO_CONTENT)
}
