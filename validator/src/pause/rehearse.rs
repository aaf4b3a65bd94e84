//! A pause rehearsed: everything of it but sending it.

use std::time::{Duration, Instant};

use defence::{PauseError, PauseRequest};

use super::decide::scheme_of;
use super::simulator::Simulator;
use super::{failed, scheme};

/// Who would send the pause, with what balance, and how it would end.
///
/// # Errors
/// It would not succeed, or the node does not tell.
pub async fn rehearse(simulator: &Simulator, request: &PauseRequest, limit: Duration) -> Result<String, PauseError> {
    use engine::State as _;
    let deadline = Instant::now() + limit;
    simulator.follow().await.map_err(|error| failed(&error))?;
    let (contract, account) = (request.target.contract(), simulator.account());
    let incident = scheme::incident(request);
    let pause = scheme_of(simulator, &request.target, incident, None).await?;
    let pause = pause.map_err(|reason| failed(&reason))?;
    let executions = simulator
        .alone(&pause, deadline)
        .await
        .map_err(|error| failed(&error))?;
    let snapshot = simulator.reader().head();
    let known = |address| snapshot.account(address).ok().flatten();
    let mut said = format!(
        "{account} calls {contract} on chain {} with {}",
        simulator.chain_id(),
        scheme::calldata(&request.target, incident)
    );
    if let Some(execution) = pause.steps.get(1) {
        said = format!("{said}, and the keeper's worker {} executes", execution.from);
    }
    if !known(contract).is_some_and(|account| account.has_code()) {
        return Err(failed(&format!("{said}: there is no contract")));
    }
    let mut gas = 0_u64;
    for (place, execution) in executions.iter().enumerate() {
        if execution.status != engine::Status::Success {
            let who = if place == 0 { "it" } else { "the keeper's execution" };
            return Err(failed(&format!("{said}: {who} would {}", execution.status)));
        }
        gas = gas.saturating_add(execution.gas_used);
    }
    let balance = known(account).map(|account| account.balance).unwrap_or_default();
    Ok(format!(
        "{said}: it would succeed on block {} with {gas} gas; the account holds {balance} wei",
        snapshot.head().number
    ))
}
