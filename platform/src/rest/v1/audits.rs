//! `/v1/audits`: the network's nodes, and how their newest settled epochs went.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Reading;
use super::paging::{Page, Paged, Paging};
use super::problem::Problem;
use super::ss58;
use crate::rest::Rest;

/// Where they are.
const PATH: &str = "/v1/audits";

/// A node as its peers have measured it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuditedNodeView {
    /// Its number in the AuditManager.
    pub id: u64,
    /// platform, validator, miner or keeper; absent: of another kind.
    pub kind: Option<String>,
    /// Who receives its bounties.
    pub owner: String,
    /// The hotkey that it says to have (SS58); absent: none. Anybody can say so of any hotkey.
    pub hotkey: Option<String>,
    /// Where it is measured; a stranger's text.
    pub endpoint: String,
    /// Whether it takes part.
    pub active: bool,
    /// Its newest settled epoch; absent: none yet.
    pub settled: Option<SettledEpochView>,
}

/// A settled epoch.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SettledEpochView {
    /// Its number.
    pub epoch: u32,
    /// The block of the claim.
    pub block: u64,
    /// The claim's transaction.
    pub transaction: String,
    /// The share of the epoch in which it served, 0 to 1; absent: too few have reported.
    pub uptime: Option<f64>,
    /// The median downtime, in intervals.
    pub downtime: u32,
    /// Intervals that a late claim added.
    pub late: u32,
    /// Intervals of an epoch.
    pub intervals: u32,
    /// The median latency, microseconds.
    pub latency_us: u32,
    /// Verdicts that counted.
    pub verdicts: u32,
    /// Of so many auditors.
    pub group_size: u32,
    /// The bounty, in base units, decimal.
    pub bounty: String,
}

impl From<&audit::results::Standing> for AuditedNodeView {
    fn from(node: &audit::results::Standing) -> Self {
        Self {
            id: node.id.into(),
            kind: node.kind.map(|kind| kind.name().to_owned()),
            owner: node.owner.to_string(),
            hotkey: node.hotkey.map(ss58),
            endpoint: node.endpoint.clone(),
            active: node.active,
            settled: node.settled.as_ref().map(|settled| SettledEpochView {
                epoch: settled.epoch,
                block: settled.block,
                transaction: settled.transaction.clone(),
                uptime: settled.uptime,
                downtime: settled.downtime,
                late: settled.late,
                intervals: settled.intervals,
                latency_us: settled.latency_us,
                verdicts: settled.verdicts,
                group_size: settled.group_size,
                bounty: settled.bounty.to_string(),
            }),
        }
    }
}

/// The audited nodes, by number
#[utoipa::path(get, path = "/v1/audits", tag = "v1", operation_id = "v1_audits_list", params(Paging),
    responses((status = 200, body = Page<AuditedNodeView>), Reading))]
pub(super) async fn list(State(rest): State<Rest>, paging: Paging) -> Result<Paged<AuditedNodeView>, Problem> {
    let standings = rest.audits.borrow().clone();
    let after = paging.after.unwrap_or_default();
    let behind = standings.iter().filter(|node| u64::from(node.id) > after);
    let views = behind
        .take(paging.wanted() as usize)
        .map(AuditedNodeView::from)
        .collect();
    Ok(Paged::new(PATH, paging, views, |view: &AuditedNodeView| view.id))
}
