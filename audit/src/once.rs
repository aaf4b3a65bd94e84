//! `audit report` and `audit claim`: one duty, once, until what was sent is final.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::utils::format_units;
use defence::notice::Notices;
use eyre::eyre;
use node::exit::{Code, Failure, OrConfiguration as _};
use sender::Lane;

use crate::config::Config;
use crate::duty::{Desk, DutyError, Office, View};
use crate::run::{connect, identify, office, open_sender, take_folder, unreachable};
use crate::store::{ClaimState, ReportState, Store};

/// How long a single command waits for its transaction.
const PATIENCE: Duration = Duration::from_secs(600);

/// Which duty a single command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once {
    /// `audit report`.
    Report,
    /// `audit claim`.
    Claim,
}

/// Does what is due of one duty, and waits until it is final. Gives the node's view after it.
///
/// # Errors
/// Exit code 1 when nothing was due or it came to nothing, 2 or 3 as ever.
pub async fn once(mut config: Config, duty: Once) -> Result<String, Failure> {
    let _folder = take_folder(&config)?;
    config.report.enabled = duty == Once::Report;
    config.claim.enabled = duty == Once::Claim;
    let store = Store::open(config.place()).await.or_configuration()?;
    let manager = connect(&config).await?;
    let sender = Arc::new(open_sender(&config).await?);
    let notices = Notices::default();
    let operator = sender.account(Lane::Claim);
    let done = match identify(&config, &manager, operator).await {
        Ok(Some(me)) => match office(&config, manager, Arc::clone(&sender), store.clone(), notices, me).await {
            Ok(office) => until_final(&config, office, duty).await,
            Err(failure) => Err(failure),
        },
        Ok(None) => Err(Failure::configuration(eyre!(
            "{operator} is no node's operator at the AuditManager {}; its owner registers it first",
            config.contract
        ))),
        Err(failure) => Err(failure),
    };
    let sent = sender.shutdown().await;
    store.close().await;
    done.and_then(|done| sent.map(|()| done).map_err(Failure::from))
}

async fn until_final(config: &Config, office: Office, duty: Once) -> Result<String, Failure> {
    let (manager, store, me) = (office.manager.clone(), office.store.clone(), office.me);
    let decimals = office.decimals;
    let mut desk = Desk::new(office, config);
    let deadline = Instant::now() + PATIENCE;
    let mut began = None;
    loop {
        let view = desk
            .view(manager.head().await.map_err(unreachable)?)
            .await
            .map_err(unreachable)?;
        let epoch = *began.get_or_insert(u64::from(view.member.epoch));
        desk.work(&view).await?;
        let (busy, outcome) = match duty {
            Once::Report => (desk.reporter.is_busy(), report_outcome(&store, &view).await?),
            Once::Claim => (
                desk.claimer.is_busy(),
                claim_outcome(&store, &view, epoch, decimals).await?,
            ),
        };
        if !busy {
            return match outcome {
                Ok(done) => Ok(done),
                Err(why) => Err(Failure::new(Code::Negative, eyre!("node {me}: {why}"))),
            };
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(
                Code::Indeterminate,
                eyre!(
                    "not final within {}; the next command, or `audit run`, goes on with it",
                    humantime::format_duration(PATIENCE)
                ),
            ));
        }
        tokio::time::sleep(config.rpc.poll.min(Duration::from_secs(1))).await;
    }
}

async fn report_outcome(store: &Store, view: &View) -> Result<Result<String, String>, DutyError> {
    let now = view.head.timestamp;
    let open: Vec<_> = view.duties.iter().filter(|duty| duty.window.contains(&now)).collect();
    if open.is_empty() {
        let next = view
            .duties
            .iter()
            .map(|duty| duty.window.start)
            .filter(|start| *start > now)
            .min();
        return Ok(Err(next.map_or_else(
            || "nobody is to be reported".to_owned(),
            |next| format!("nothing is due; the next verdict window opens at {next} (block time, now {now})"),
        )));
    }
    let mut lines = Vec::new();
    let mut counted = true;
    for duty in open {
        if let Some(report) = store.report(duty.peer.id, duty.epoch.into()).await? {
            counted &= report.state == ReportState::Counted;
            let reason = if report.reason.is_empty() {
                String::new()
            } else {
                format!(": {}", report.reason)
            };
            lines.push(format!(
                "peer {} epoch {}: {}{reason}",
                report.subject,
                report.epoch,
                report.state.name()
            ));
        }
    }
    let text = lines.join("\n");
    Ok(if counted {
        Ok(text)
    } else {
        Err(text.replace('\n', "; "))
    })
}

async fn claim_outcome(
    store: &Store,
    view: &View,
    epoch: u64,
    decimals: u8,
) -> Result<Result<String, String>, DutyError> {
    Ok(match store.claim(epoch).await? {
        Some(claim) if claim.state == ClaimState::Done => {
            let bounty = store.bounty_of(&claim.tx_hash).await?;
            let amount = bounty.map_or_else(
                || "how much it was cannot be read".to_owned(),
                |bounty| format_units(bounty.amount, decimals).unwrap_or_else(|_| bounty.amount.to_string()),
            );
            Ok(format!(
                "epoch {epoch}: {amount}, block {}, transaction {}",
                claim.block, claim.tx_hash
            ))
        }
        Some(claim) => Err(format!("the claim of epoch {epoch} failed: {}", claim.reason)),
        None if !view.member.life.may_claim() => Err(format!("it is {}", view.member.life.name())),
        None => Err(format!(
            "the reward date is {} (block time, now {})",
            view.member.next_reward, view.head.timestamp
        )),
    })
}
