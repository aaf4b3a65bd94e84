//! `/v1/audit`: every change that was asked for over HTTP, for admins.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Reading;
use super::paging::{Page, Paged, Paging};
use super::problem::Problem;
use crate::rest::{Rest, date};
use crate::store::AuditRow;

/// A change that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntryView {
    /// Its number.
    pub id: u64,
    /// RFC 3339.
    pub at: String,
    /// The key's name and prefix, or `anonymous`.
    pub actor: String,
    /// The HTTP method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The answer's status.
    pub status: u16,
}

impl From<AuditRow> for AuditEntryView {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: date(row.at_ms),
            actor: row.actor,
            method: row.method,
            path: row.path,
            status: row.status,
        }
    }
}

/// The changes, newest first
#[utoipa::path(get, path = "/v1/audit", tag = "v1", operation_id = "v1_audit_list", params(Paging), security(("api_key" = [])),
    responses((status = 200, body = Page<AuditEntryView>), Reading))]
pub(super) async fn list(State(rest): State<Rest>, paging: Paging) -> Result<Paged<AuditEntryView>, Problem> {
    let rows = rest.store.audited(paging.after, paging.wanted()).await?;
    let views = rows.into_iter().map(AuditEntryView::from).collect();
    Ok(Paged::new("/v1/audit", paging, views, |view: &AuditEntryView| view.id))
}
