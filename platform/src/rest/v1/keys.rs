//! `/v1/keys`: API keys, for admins. A key is shown once, when it is made.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Body, Number};
use super::paging::{Page, Paged, Paging};
use super::problem::Problem;
use super::{Changing, Reading};
use crate::proposal::Flaw;
use crate::rest::key::{KeyError, Role, make};
use crate::rest::{Rest, date};
use crate::store::KeyRow;

/// Where they are.
const PATH: &str = "/v1/keys";
/// The longest name, in characters.
const LONGEST: usize = 200;

/// A key as it is asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyInput {
    /// Whose it is, or what for.
    pub name: String,
    /// What it allows.
    pub role: Role,
}

/// A key as it is read: never itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Its number.
    pub id: u64,
    /// Whose it is, or what for.
    pub name: String,
    /// `read`, `write` or `admin`.
    pub role: String,
    /// What it begins with.
    pub prefix: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; absent while it is good.
    pub revoked_at: Option<String>,
}

/// A new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyMade {
    /// What is known of it.
    #[serde(flatten)]
    pub known: KeyView,
    /// The key. It is not shown again.
    pub key: String,
}

impl From<KeyRow> for KeyView {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            role: row.role,
            prefix: format!("pk_{}", row.prefix),
            created_at: date(row.created_at_ms),
            revoked_at: row.revoked_at_ms.map(date),
        }
    }
}

/// The keys, by number, revoked ones included
#[utoipa::path(get, path = "/v1/keys", tag = "v1", operation_id = "v1_keys_list", params(Paging), security(("api_key" = [])),
    responses((status = 200, body = Page<KeyView>), Reading))]
pub(super) async fn list(State(rest): State<Rest>, paging: Paging) -> Result<Paged<KeyView>, Problem> {
    let all = rest.store.keys(None).await?;
    let after = paging.after.unwrap_or_default();
    let behind = all.into_iter().filter(|key| key.id > after);
    let views = behind.take(paging.wanted() as usize).map(KeyView::from).collect();
    Ok(Paged::new(PATH, paging, views, |view: &KeyView| view.id))
}

/// Make a key; it is shown in this answer and never again
#[utoipa::path(post, path = "/v1/keys", tag = "v1", operation_id = "v1_keys_create", request_body = KeyInput, security(("api_key" = [])),
    responses((status = 201, body = KeyMade), Changing))]
pub(super) async fn create(State(rest): State<Rest>, body: Body) -> Result<Response, Problem> {
    let mut flaws = Vec::new();
    body.only(&["name", "role"], &mut flaws);
    let name = body.needed("name", &mut flaws);
    let role = body.needed("role", &mut flaws);
    if name.chars().count() > LONGEST {
        flaws.push(Flaw::new("/name", format!("has more than {LONGEST} characters")));
    }
    let known = Role::parse(&role);
    if known.is_none() && !role.trim().is_empty() {
        flaws.push(Flaw::new("/role", "must be `read`, `write` or `admin`"));
    }
    let (Some(role), true) = (known, flaws.is_empty()) else {
        return Err(Problem::unfit(flaws));
    };
    let key = make(&rest.store, &name, role).await.map_err(|error| match error {
        KeyError::Log(error) => Problem::from(error),
        hash @ KeyError::Hash(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, hash.to_string()),
    })?;
    let prefix = key.split('_').nth(1).unwrap_or_default();
    let row = rest.store.keys(Some(prefix)).await?.pop();
    let row = row.ok_or_else(|| Problem::not_found("key"))?;
    let made = KeyMade {
        known: row.into(),
        key: key.to_string(),
    };
    let mut response = (StatusCode::CREATED, Json(made)).into_response();
    // It must not stay in a cache on the way.
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    Ok(response)
}

/// Revoke a key, at once and for ever; not the last one with the role admin
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "v1", operation_id = "v1_keys_revoke", params(("id" = u64, Path)),
    security(("api_key" = [])), responses((status = 204, description = "It is refused from now on"), Changing))]
pub(super) async fn revoke(State(rest): State<Rest>, Number(id): Number) -> Result<StatusCode, Problem> {
    let keys = rest.store.keys(None).await?;
    let good = |key: &&KeyRow| key.revoked_at_ms.is_none();
    let admin = |key: &&KeyRow| key.role == Role::Admin.name();
    let others = keys
        .iter()
        .filter(good)
        .filter(admin)
        .filter(|key| key.id != id)
        .count();
    let found = keys.iter().filter(good).find(|key| key.id == id);
    let found = found.ok_or_else(|| Problem::not_found("key"))?;
    if admin(&found) && others == 0 {
        let detail = "it is the last good key with the role `admin`; make another one first";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    rest.store.revoke_key(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
