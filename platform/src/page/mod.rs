//! The web page: three embedded files, and the one answer that they show.
//!
//! What always holds: the page needs nothing that the platform does not serve itself, runs no script but its own file (its
//! content security policy says so), and shows every name as text.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header;
use protos::v1;
use serde::Serialize;
use utoipa::ToSchema;

use crate::registry::display_value;
use crate::rest::Rest;
use crate::rest::error::{Detail, Refusal};

/// The newest incidents and the first invariants that the overview shows.
const SHOWN: usize = 100;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page shows.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overview {
    /// Names and sums.
    pub figures: Vec<Figure>,
    /// Protocols that pay for their protection.
    pub services: Vec<ServiceOut>,
    /// The newest incidents, the newest first.
    pub incidents: Vec<IncidentOut>,
    /// Invariants, by number.
    pub invariants: Vec<WatchedOut>,
}

/// A sum over everything.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Figure {
    /// What is counted.
    pub name: String,
    /// How many.
    pub value: u64,
}

/// A protocol that pays for its protection.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServiceOut {
    /// Its name.
    pub name: String,
    /// Its payment contract.
    pub payment_contract: String,
    /// Its active invariants.
    pub invariants: u64,
    /// Whether they are streamed.
    pub streamed: bool,
    /// The newest conclusion, with the runway in seconds.
    #[schema(value_type = Option<Object>)]
    pub payment: Option<billing::monitor::rule::Conclusion>,
}

/// An incident.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct IncidentOut {
    /// Its number.
    pub id: u64,
    /// The invariant's name.
    pub invariant: String,
    /// The attack's hash.
    pub transaction: String,
    /// The value before and after.
    pub witness: String,
    /// Microseconds.
    pub seen_to_confirmed_us: u64,
    /// Unix milliseconds.
    pub reported_at_ms: u64,
    /// Validators that confirmed it.
    pub confirmations: u32,
}

/// What must hold.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WatchedOut {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The contract.
    pub contract: String,
    /// The slot.
    pub slot: String,
    /// The relation.
    pub comparison: String,
    /// What the value is compared with.
    pub target: String,
}

/// The page's files.
pub fn files() -> Router {
    let page = || file("text/html; charset=utf-8", include_str!("index.html"));
    Router::new()
        .route("/app", get(async move || page()))
        .route("/app/", get(async move || page()))
        .route(
            "/app/app.css",
            get(async || file("text/css; charset=utf-8", include_str!("app.css"))),
        )
        .route(
            "/app/app.js",
            get(async || file("text/javascript; charset=utf-8", include_str!("app.js"))),
        )
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

fn incident(incident: &v1::Incident) -> IncidentOut {
    let word = |bytes: &[u8]| alloy::primitives::U256::try_from_be_slice(bytes).unwrap_or_default();
    let witness = incident.witness.as_ref();
    IncidentOut {
        id: incident.id,
        invariant: incident.invariant_name.clone(),
        transaction: alloy::hex::encode_prefixed(&incident.tx_hash),
        witness: witness.map_or_else(String::new, |witness| {
            format!("{} → {}", word(&witness.pre), word(&witness.post))
        }),
        seen_to_confirmed_us: incident.seen_to_confirmed_us,
        reported_at_ms: incident.reported_at_ms,
        confirmations: incident.confirmations,
    }
}

/// Sums, services with their runway, incidents and invariants: what the page shows
#[utoipa::path(get, path = "/v1/overview", tag = "v1", responses((status = 200, body = Overview), (status = 401, body = Detail)))]
pub(crate) async fn overview(State(rest): State<Rest>) -> Result<Json<Overview>, Refusal> {
    let store = rest.store();
    let status = store.status(None).await?;
    let figures = [
        ("transactions", status.transactions),
        ("judged", status.judged),
        ("holds", status.holds),
        ("violated", status.violated),
        ("undecided", status.undecided),
        ("challenges", status.challenges),
        ("arbitrated", status.arbitrated),
        ("incidents", status.incidents),
        ("invariant set version", status.invariant_set_version),
    ];
    let services = store.services().await?.into_iter().map(|service| ServiceOut {
        name: service.name,
        payment_contract: service.payment.to_string(),
        invariants: service.invariants,
        streamed: service.served,
        payment: service.conclusion,
    });
    let newest = status.incidents.saturating_sub(SHOWN as u64);
    let mut incidents: Vec<IncidentOut> = store
        .incidents(newest, SHOWN as u32)
        .await?
        .iter()
        .map(incident)
        .collect();
    incidents.reverse();
    let invariants = store.invariants().await?;
    let watched = invariants.iter().take(SHOWN).map(|row| WatchedOut {
        id: row.invariant.id,
        name: row.invariant.name.clone(),
        contract: row.invariant.contract.to_string(),
        slot: format!("{:#x}", row.invariant.slot),
        comparison: row.invariant.comparison.symbol().to_owned(),
        target: display_value(row.invariant.target, row.invariant.value_type),
    });
    Ok(Json(Overview {
        figures: figures
            .map(|(name, value)| Figure {
                name: name.to_owned(),
                value,
            })
            .into(),
        services: services.collect(),
        invariants: watched.collect(),
        incidents,
    }))
}
