//! The registry over HTTP: the original system's REST contract, path for path, with keys for writes, secrets that are not shown, and
//! values that are checked; and beside it [`v1`].
//!
//! What always holds: a change needs a key with the role `write` and is in the audit log, refused or not; a secret leaves the
//! platform never; what does not fit is a 422 that names the field, and changes nothing.

mod access;
pub mod actions;
pub mod body;
pub mod contracts;
pub mod dashboards;
pub mod error;
pub mod invariants;
pub mod key;
pub mod limits;
pub mod options;
pub mod serve;
pub mod v1;
pub mod vault;

pub(crate) use node::clock::date_ms as date;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::{Json, Router};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower::util::option_layer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{OpenApi as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::error::{Misfit, Refusal, name};
use self::key::{Keys, Role};
use self::limits::Limits;
use self::vault::Vault;
use crate::audits::Standings;
use crate::page;
use crate::store::{Kind, Store};

/// The largest body that is taken, in bytes.
pub const BODY_LIMIT: usize = 1 << 20;
/// How long a request may take, its body included.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// What every handler has.
#[derive(Debug, Clone)]
pub struct Rest {
    store: Arc<Store>,
    keys: Keys,
    vault: Vault,
    /// What may be done without a key.
    anonymous: Option<Role>,
    request_limit: Duration,
    limits: Option<Limits>,
    shutdown: CancellationToken,
    audits: watch::Receiver<Standings>,
    values: v1::values::Values,
    watch: v1::overview::Watch,
    dry_runs: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
}

/// The answer to a deletion.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// What was done.
    pub message: String,
}

impl Message {
    fn deleted(kind: Kind) -> Json<Self> {
        Json(Self {
            message: format!("{} deleted", name(kind)),
        })
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Portcullis",
    description = "What is watched, and what happens when it breaks. Writes need an API key, as `X-API-Key` or `Authorization: Bearer`."
))]
struct Document;

/// `{id}` of the path.
struct Id(u64);

/// `{id}` and the number of what is linked.
struct Pair(u64, u64);

/// The path's numbers, in order.
async fn numbers<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Vec<u64>, Response> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(axum::response::IntoResponse::into_response)?;
    let number = |(name, text): (&str, &str)| {
        // More than SQLite holds is no number of anything.
        let number = text.parse().ok().filter(|number| i64::try_from(*number).is_ok());
        number.ok_or_else(|| Misfit {
            loc: vec!["path".into(), name.into()],
            msg: "Input should be a valid integer, unable to parse string as an integer".to_owned(),
            kind: "int_parsing".to_owned(),
        })
    };
    let numbers: Result<Vec<u64>, Misfit> = params.iter().map(number).collect();
    numbers.map_err(|misfit| Refusal::from(misfit).into_response())
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        Ok(Self(numbers(parts, state).await?.first().copied().unwrap_or_default()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Pair {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let numbers = numbers(parts, state).await?;
        let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
        Ok(Self(at(0), at(1)))
    }
}

impl Rest {
    /// Over `store`; `anonymous` is what may be done without a key.
    #[must_use]
    pub fn new(store: Arc<Store>, vault: Vault, anonymous: Option<Role>) -> Self {
        Self {
            keys: Keys::new(Arc::clone(&store)),
            store,
            vault,
            anonymous,
            request_limit: REQUEST_LIMIT,
            limits: None,
            shutdown: CancellationToken::new(),
            audits: watch::channel(Standings::default()).1,
            values: v1::values::Values::default(),
            watch: v1::overview::Watch::default(),
            dry_runs: Arc::new(Semaphore::new(1)),
            listeners: v1::events::places(),
        }
    }

    /// Ends what has no end of its own (events) at `shutdown`.
    #[must_use]
    pub fn until(mut self, shutdown: CancellationToken) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Gives a request this long, its body included, instead of [`REQUEST_LIMIT`].
    #[must_use]
    pub const fn request_limit(mut self, limit: Duration) -> Self {
        self.request_limit = limit;
        self
    }

    /// Shows what the audits of the network's nodes came to.
    #[must_use]
    pub fn audits(mut self, audits: watch::Receiver<Standings>) -> Self {
        self.audits = audits;
        self
    }

    /// Lets nobody ask more often. Needs requests that know their caller's address ([`serve::serve`]).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// The routes, with everything around them.
    pub fn router(self) -> Router {
        let (request_limit, limits) = (self.request_limit, self.limits.clone());
        let (api, mut document) = OpenApiRouter::with_openapi(Document::openapi())
            .routes(routes!(welcome))
            .routes(routes!(invariants::list, invariants::create))
            .routes(routes!(invariants::read, invariants::update, invariants::delete))
            .routes(routes!(invariants::link_action, invariants::unlink_action))
            .routes(routes!(contracts::list, contracts::create))
            .routes(routes!(contracts::read, contracts::update, contracts::delete))
            .routes(routes!(contracts::link, contracts::unlink))
            .routes(routes!(actions::list, actions::create))
            .routes(routes!(actions::read, actions::update, actions::delete))
            .routes(routes!(dashboards::list, dashboards::create))
            .routes(routes!(dashboards::read, dashboards::update, dashboards::delete))
            .routes(routes!(dashboards::link, dashboards::unlink))
            .merge(v1::routes())
            .split_for_parts();
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("api_key", key);
        let told = [header::ETAG, header::LINK, header::LOCATION];
        let cors = CorsLayer::new()
            .allow_origin(Any)
            .allow_methods(Any)
            .allow_headers(Any)
            .expose_headers(told);
        api.layer(axum::middleware::from_fn_with_state(self.clone(), guard))
            .with_state(self)
            .merge(page::files())
            .merge(utoipa_swagger_ui::SwaggerUi::new("/docs").url("/openapi.json", document))
            .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
            .layer(TimeoutLayer::with_status_code(
                StatusCode::REQUEST_TIMEOUT,
                request_limit,
            ))
            .layer(option_layer(
                limits.map(|limits| axum::middleware::from_fn_with_state(limits, limits::limit)),
            ))
            .layer(axum::middleware::from_fn(v1::problem::everywhere))
            .layer(cors)
    }
}

/// Who may, and who did.
async fn guard(State(rest): State<Rest>, request: Request, next: Next) -> Response {
    let needs = access::needs(request.method(), request.uri().path());
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let refused = |refusal: Refusal| match v1::problem::speaks(&path) {
        true => v1::problem::Problem::from(refusal).into_response(),
        false => refusal.into_response(),
    };
    let actor = match rest.keys.check(key_of(request.headers())).await {
        Ok(actor) => actor,
        Err(error) => return refused(Refusal::Broken(error)),
    };
    let response = if actor.role.max(rest.anonymous) >= Some(needs.role) {
        next.run(request).await
    } else if actor.role.is_none() {
        refused(Refusal::NoKey)
    } else {
        refused(Refusal::Forbidden(needs.role.name()))
    };
    if needs.changes
        && let Err(error) = rest
            .store
            .audit(&actor.name, &method, &path, response.status().as_u16())
            .await
    {
        tracing::error!(%error, actor = actor.name, method, path, "a change is not in the audit log");
    }
    response
}

/// `X-API-Key`, or `Authorization: Bearer`.
fn key_of(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    key.or_else(|| {
        headers
            .get(header::AUTHORIZATION)?
            .to_str()
            .ok()?
            .strip_prefix("Bearer ")
    })
}

/// A word of welcome; who comes with a browser is sent to the page
#[utoipa::path(get, path = "/", responses((status = 200, body = Message), (status = 303, description = "To the page, where HTML is asked for")))]
async fn welcome(headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let vary = [(header::VARY, "accept")];
    if accepted.is_some_and(|kinds| kinds.contains("text/html")) {
        return (vary, Redirect::to("/app")).into_response();
    }
    let message = "Welcome to Portcullis".to_owned();
    (vary, Json(Message { message })).into_response()
}
