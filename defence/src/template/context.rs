//! What templates see: an incident as plain values, with the numbers, times and names that people read. `docs/actions.md` lists them.

use alloy_primitives::utils::format_ether;
use node::clock::date_ms;
use serde::Serialize;

use crate::incident::State;
use crate::violation::{ConfirmedViolation, NetworkView, Suspect, TokenDelta};

/// Changed balances that it names of each.
const BALANCES: usize = 10;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// An incident.
    Incident,
    /// A test, of an incident that never was.
    Test,
    /// Alerts that a limit held back.
    Summary,
}

/// What templates see. `docs/actions.md` lists it.
#[derive(Debug, Clone, Serialize)]
pub struct Context {
    kind: Occasion,
    source: String,
    action: String,
    key: String,
    severity: &'static str,
    incident: IncidentView,
    invariant: InvariantView,
    chain_id: u64,
    network: String,
    suspects: Vec<SuspectView>,
    more_suspects: u64,
    view: NetworkView,
    seen: String,
    confirmed: String,
    latency_ms: u64,
    suppressed: Suppressed,
}

#[derive(Debug, Clone, Serialize)]
struct IncidentView {
    id: u64,
    state: State,
    opened: String,
    suspects: u64,
}

#[derive(Debug, Clone, Serialize)]
struct InvariantView {
    id: u64,
    name: String,
    condition: String,
    set_version: u64,
    contract: String,
}

#[derive(Debug, Clone, Serialize)]
struct SuspectView {
    tx: String,
    sender: String,
    target: String,
    value_wei: String,
    value_eth: String,
    pre: String,
    post: String,
    tokens: Vec<TokenView>,
    more_tokens: u64,
}

#[derive(Debug, Clone, Serialize)]
struct TokenView {
    /// Empty: ether.
    token: String,
    holder: String,
    change: String,
    /// Of ether only.
    change_eth: String,
}

/// Alerts that a limit held back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Suppressed {
    /// How many.
    pub count: u64,
    /// Of which incidents, the first twenty.
    pub incidents: Vec<u64>,
    /// How many incidents are not named.
    pub more: u64,
}

/// What an alert is rendered from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// What it is about.
    pub occasion: Occasion,
    /// Who speaks.
    pub source: &'a str,
    /// The idempotency key.
    pub key: &'a str,
    /// The incident's id; 0 in a test.
    pub incident: u64,
    /// Its state.
    pub state: State,
    /// Its first violation.
    pub violation: &'a ConfirmedViolation,
    /// Its first suspects.
    pub suspects: &'a [Suspect],
    /// How many suspects it has.
    pub total_suspects: u64,
    /// The network's view of it.
    pub view: NetworkView,
    /// Of a summary.
    pub suppressed: Suppressed,
}

impl Facts<'_> {
    /// The values of templates, naming at most `shown` suspects.
    pub(super) fn context(&self, action: &str, shown: usize) -> Context {
        let violation = self.violation;
        let suspects: Vec<SuspectView> = self.suspects.iter().take(shown).map(suspect_view).collect();
        let named = u64::try_from(suspects.len()).unwrap_or(u64::MAX);
        Context {
            kind: self.occasion,
            source: self.source.to_owned(),
            action: action.to_owned(),
            key: self.key.to_owned(),
            severity: violation.severity.label(),
            incident: IncidentView {
                id: self.incident,
                state: self.state,
                opened: date_ms(violation.confirmed_ms),
                suspects: self.total_suspects,
            },
            invariant: InvariantView {
                id: violation.invariant.id,
                name: violation.invariant.name.clone(),
                condition: violation.invariant.condition.clone(),
                set_version: violation.invariant.set_version,
                contract: violation.invariant.contract.to_string(),
            },
            chain_id: violation.chain_id,
            network: network(violation.chain_id),
            suspects,
            more_suspects: self.total_suspects.saturating_sub(named),
            view: self.view,
            seen: date_ms(violation.seen_ms),
            confirmed: date_ms(violation.confirmed_ms),
            latency_ms: violation.confirmed_ms.saturating_sub(violation.seen_ms),
            suppressed: self.suppressed.clone(),
        }
    }
}

fn suspect_view(suspect: &Suspect) -> SuspectView {
    let (tokens, more) = suspect.deltas.split_at(suspect.deltas.len().min(BALANCES));
    SuspectView {
        tx: suspect.tx_hash.to_string(),
        sender: suspect.sender.to_string(),
        target: suspect.target.map(|target| target.to_string()).unwrap_or_default(),
        value_wei: suspect.value.to_string(),
        value_eth: ether(&format_ether(suspect.value)),
        pre: suspect.pre.clone(),
        post: suspect.post.clone(),
        tokens: tokens.iter().map(token_view).collect(),
        more_tokens: suspect
            .more_deltas
            .saturating_add(u64::try_from(more.len()).unwrap_or(u64::MAX)),
    }
}

fn token_view(delta: &TokenDelta) -> TokenView {
    let (token, change_eth) = match delta.token {
        Some(token) => (token.to_string(), String::new()),
        None => (String::new(), ether(&format_ether(delta.change))),
    };
    TokenView {
        token,
        holder: delta.holder.to_string(),
        change: delta.change.to_string(),
        change_eth,
    }
}

/// `1.500000000000000000` is `1.5`.
fn ether(exact: &str) -> String {
    exact.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn network(chain_id: u64) -> String {
    match chain_id {
        1 => "Ethereum".to_owned(),
        11_155_111 => "Sepolia".to_owned(),
        17_000 => "Holesky".to_owned(),
        other => format!("chain {other}"),
    }
}
