//! `/defense-actions`. A Telegram token is written and never read back: it is stored encrypted and shown masked.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Fields;
use super::error::{Detail, Refusal, Unprocessable};
use super::{Id, Message, Rest};
use crate::registry::is_network;
use crate::store::{Action, Kind};

/// What is shown in a secret's place. Sent back, it keeps the secret.
pub const MASK: &str = "********";

/// The kinds of action.
const KINDS: [&str; 2] = ["TELEGRAM_ALERT", "PAUSE_AGENT"];

/// A defence action as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ActionBody {
    /// `TELEGRAM_ALERT` or `PAUSE_AGENT`.
    #[serde(rename = "type")]
    #[schema(pattern = "^(TELEGRAM_ALERT|PAUSE_AGENT)$")]
    pub kind: String,
    /// `ethereum`, or `chain-ID`.
    #[schema(pattern = "^(ethereum|chain-[1-9][0-9]{0,18})$")]
    pub network: String,
    /// The bot's token; encrypted at rest, and shown as `********`, which sent back keeps it.
    pub tg_api_key: Option<String>,
    /// Where the alert goes.
    pub tg_chat_id: Option<String>,
    /// Whom it names.
    pub role_id: Option<String>,
    /// The function that pauses.
    pub function_sig: Option<String>,
    /// Its call data, hexadecimal.
    #[schema(pattern = "^(0x)?([0-9a-fA-F]{2})*$")]
    pub calldata: Option<String>,
}

/// A defence action as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionOut {
    /// Its number.
    pub id: u64,
    /// `TELEGRAM_ALERT` or `PAUSE_AGENT`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The chain, by name.
    pub network: String,
    /// `********` where there is one.
    pub tg_api_key: Option<String>,
    /// Where the alert goes.
    pub tg_chat_id: Option<String>,
    /// Whom it names.
    pub role_id: Option<String>,
    /// The function that pauses.
    pub function_sig: Option<String>,
    /// Its call data.
    pub calldata: Option<String>,
}

impl ActionOut {
    fn new((id, action): (u64, Action)) -> Self {
        Self {
            id,
            kind: action.kind,
            network: action.network,
            tg_api_key: action.tg_api_key.map(|_| MASK.to_owned()),
            tg_chat_id: action.tg_chat_id,
            role_id: action.role_id,
            function_sig: action.function_sig,
            calldata: action.calldata,
        }
    }
}

impl Rest {
    pub(super) async fn all_actions(&self) -> Result<Vec<ActionOut>, Refusal> {
        Ok(self
            .store
            .actions(None)
            .await?
            .into_iter()
            .map(ActionOut::new)
            .collect())
    }

    async fn stored_action(&self, id: u64) -> Result<(u64, Action), Refusal> {
        self.store
            .actions(Some(id))
            .await?
            .pop()
            .ok_or(Refusal::NotFound(Kind::Action))
    }

    /// The action that a body says, with its secret sealed; `before` is what it takes the place of.
    fn action(&self, mut fields: Fields, before: Option<&Action>) -> Result<Action, Refusal> {
        let kind = fields.required("type");
        let network = fields.required("network");
        let secret = fields.optional("tg_api_key").filter(|secret| !secret.is_empty());
        let action = Action {
            tg_chat_id: fields.optional("tg_chat_id"),
            role_id: fields.optional("role_id"),
            function_sig: fields.optional("function_sig"),
            calldata: fields.optional("calldata"),
            tg_api_key: match secret {
                None => None,
                Some(mask) if mask == MASK => before.and_then(|before| before.tg_api_key.clone()),
                Some(secret) => Some(self.vault.seal(&secret)),
            },
            kind,
            network,
        };
        if !KINDS.contains(&action.kind.as_str()) {
            fields.misfit(
                "type",
                format!("Input should be {}", KINDS.map(|kind| format!("'{kind}'")).join(" or ")),
                "enum",
            );
        }
        if !is_network(&action.network) {
            fields.misfit(
                "network",
                "Value error, is no network: `ethereum` or `chain-<id>`",
                "value_error",
            );
        }
        if let Some(data) = action.calldata.as_deref().filter(|data| !data.is_empty())
            && alloy::hex::decode(data).is_err()
        {
            fields.misfit("calldata", "Value error, is no hexadecimal", "value_error");
        }
        fields.end()?;
        Ok(action)
    }
}

/// All defence actions, by number
#[utoipa::path(get, path = "/defense-actions", tag = "defense actions", responses((status = 200, body = Vec<ActionOut>), (status = 401, body = Detail)))]
pub(super) async fn list(State(rest): State<Rest>) -> Result<Json<Vec<ActionOut>>, Refusal> {
    Ok(Json(rest.all_actions().await?))
}

/// Register a defence action
#[utoipa::path(post, path = "/defense-actions", tag = "defense actions", request_body = ActionBody, security(("api_key" = [])),
    responses((status = 200, body = ActionOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn create(State(rest): State<Rest>, fields: Fields) -> Result<Json<ActionOut>, Refusal> {
    let action = rest.action(fields, None)?;
    let id = rest.store.put_action(None, &action).await?;
    Ok(Json(ActionOut::new((id, action))))
}

/// One defence action
#[utoipa::path(get, path = "/defense-actions/{id}", tag = "defense actions", params(("id" = u64, Path)),
    responses((status = 200, body = ActionOut), (status = 401, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn read(State(rest): State<Rest>, Id(id): Id) -> Result<Json<ActionOut>, Refusal> {
    Ok(Json(ActionOut::new(rest.stored_action(id).await?)))
}

/// Put another defence action in its place
#[utoipa::path(put, path = "/defense-actions/{id}", tag = "defense actions", params(("id" = u64, Path)), request_body = ActionBody, security(("api_key" = [])),
    responses((status = 200, body = ActionOut), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn update(State(rest): State<Rest>, Id(id): Id, fields: Fields) -> Result<Json<ActionOut>, Refusal> {
    let (_, before) = rest.stored_action(id).await?;
    let action = rest.action(fields, Some(&before))?;
    rest.store.put_action(Some(id), &action).await?;
    Ok(Json(ActionOut::new((id, action))))
}

/// Delete a defence action
#[utoipa::path(delete, path = "/defense-actions/{id}", tag = "defense actions", params(("id" = u64, Path)), security(("api_key" = [])),
    responses((status = 200, body = Message), (status = 401, body = Detail), (status = 403, body = Detail), (status = 404, body = Detail), (status = 422, body = Unprocessable)))]
pub(super) async fn delete(State(rest): State<Rest>, Id(id): Id) -> Result<Json<Message>, Refusal> {
    rest.store.delete(Kind::Action, id).await?;
    Ok(Message::deleted(Kind::Action))
}
