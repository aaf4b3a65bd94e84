//! `POST /v1/invariants/check`: what is wrong with an invariant, and where, before anything is in force. It changes nothing.

use axum::Json;
use axum::extract::State;
use engine::Watched;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Changing;
use super::body::Body;
use super::problem::Problem;
use crate::proposal::{Flaw, Proposal};
use crate::registry::display_value;
use crate::rest::Rest;

/// What is to be checked: the fields of an `InvariantInput`, whatever is in them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(value_type = Object)]
pub struct Proposed(pub serde_json::Value);

/// What is said of a proposal.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// It can be read, and everything that it names is known.
    pub valid: bool,
    /// Each thing that does not fit.
    pub errors: Vec<Flaw>,
    /// What it says with every name resolved.
    pub program: Option<String>,
    /// Each thing that it reads.
    pub reads: Vec<String>,
    /// The network judges it as it stands, so that it can be put in force.
    pub streamed: bool,
    /// Why not.
    pub why_not: Option<String>,
    /// What the network judges in its place, where that is one stored value against a constant; else it judges `program`.
    pub judged: Option<Judged>,
}

/// One stored value against a constant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Judged {
    /// The contract's address.
    pub contract: String,
    /// The storage slot.
    pub storage: String,
    /// Its Solidity type.
    pub slot_type: String,
    /// Bytes from the low-order end of the slot.
    pub offset: u8,
    /// The relation.
    #[serde(rename = "type")]
    pub comparison: String,
    /// What the value is compared with.
    pub target: String,
}

impl Checked {
    fn good(proposal: &Proposal) -> Self {
        let program = &proposal.named.program;
        let streamed = proposal.streamed();
        let judged = streamed.as_ref().ok().and_then(|draft| match &draft.invariant {
            Watched::Slot(invariant) => Some(Judged {
                contract: invariant.contract.to_string(),
                storage: format!("{:#x}", invariant.slot),
                slot_type: invariant.value_type.to_string(),
                offset: invariant.offset,
                comparison: invariant.comparison.symbol().to_owned(),
                target: display_value(invariant.target, invariant.value_type),
            }),
            Watched::View(_) | Watched::Program(_) => None,
        });
        Self {
            valid: true,
            errors: Vec::new(),
            program: Some(program.to_string()),
            reads: program.reads().iter().map(|read| read.label.to_string()).collect(),
            streamed: streamed.is_ok(),
            why_not: streamed.err(),
            judged,
        }
    }
}

/// Say what is wrong with an invariant, and where; nothing is changed
#[utoipa::path(post, path = "/v1/invariants/check", tag = "v1", operation_id = "v1_invariants_check", request_body = Proposed,
    responses((status = 200, body = Checked), Changing))]
pub(super) async fn check(State(rest): State<Rest>, body: Body) -> Result<Json<Checked>, Problem> {
    match rest.proposal(&body).await {
        Ok(proposal) => Ok(Json(Checked::good(&proposal))),
        Err(problem) if problem.errors.is_empty() => Err(problem),
        Err(problem) => Ok(Json(Checked {
            errors: problem.errors,
            ..Checked::default()
        })),
    }
}
