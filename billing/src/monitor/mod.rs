//! Watches whether a service is paid, and acts on the edge.
//!
//! [`rule`] decides, from what was seen and what is remembered; this shell reads the chain, keeps the memory in a file and runs
//! the commands. One check ([`Monitor::check`]) or one after another ([`watch()`]).

pub mod command;
pub mod health;
pub mod memory;
pub mod rule;

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::reader::{Source, Unknown};
use command::Command;
use rule::{Conclusion, Effect, Observation, Policy};

/// Everything that one monitor needs.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// Where to ask.
    pub source: Source,
    /// Grace and warning.
    pub policy: Policy,
    /// Run when payment has ended.
    pub unpaid: Option<Command>,
    /// Run when it is there again.
    pub paid: Option<Command>,
    /// Where the last conclusion is remembered.
    pub memory: PathBuf,
}

impl Monitor {
    /// Looks once, runs what the edge asks for, remembers, and says what it found.
    ///
    /// # Errors
    ///
    /// When the memory cannot be read or written, or there is no such service ([`CheckError`]).
    pub async fn check(&self) -> Result<Conclusion, CheckError> {
        let remembered = memory::load(&self.memory)?;
        let observation = observe(&self.source).await.map_err(CheckError::NoService)?;
        let (mut memory, conclusion, effects) = rule::step(remembered, &self.policy, observation);
        say(&conclusion);
        if matches!(conclusion, Conclusion::Unpaid { .. }) && self.unpaid.is_none() {
            tracing::warn!("UNPAID_COMMAND not specified");
        }
        for effect in effects {
            let (name, command) = match effect {
                Effect::RunUnpaid => ("UNPAID_COMMAND", &self.unpaid),
                Effect::RunPaid => ("PAID_COMMAND", &self.paid),
            };
            let succeeded = match command {
                Some(command) => command.run(name).await,
                None => true,
            };
            memory = rule::ran(memory, effect, succeeded);
        }
        memory::save(&self.memory, memory)?;
        Ok(conclusion)
    }
}

/// Looks at a service.
///
/// # Errors
///
/// Why there is no such service; an endpoint that does not answer is [`Observation::Nothing`].
pub async fn observe(source: &Source) -> Result<Observation, String> {
    match source.read(node::clock::unix().as_secs()).await {
        Ok(standing) => Ok(Observation::Seen {
            at: standing.at,
            paid_until: standing.terms().paid_until(standing.total_paid),
            arrears: standing.terms().arrears(standing.total_paid, standing.at),
            contract_says_paid: standing.is_paid,
        }),
        Err(Unknown::NoService(reason)) => Err(reason),
        Err(Unknown::Indeterminate(reason)) => Ok(Observation::Nothing { reason }),
    }
}

fn say(conclusion: &Conclusion) {
    match conclusion {
        Conclusion::Paid {
            runway,
            paid_until,
            warn: false,
        } => tracing::info!(runway, paid_until, "paid"),
        Conclusion::Paid {
            runway,
            paid_until,
            warn: true,
        } => {
            tracing::warn!(
                runway,
                paid_until,
                "paid, but not for long: the runway in seconds is below the warning"
            );
        }
        Conclusion::Grace { left, arrears } => {
            tracing::warn!(left, %arrears, "the payment has ended; seconds of grace are left")
        }
        Conclusion::Unpaid { arrears, since } => {
            tracing::error!(%arrears, since, "the service is not paid sufficiently")
        }
        Conclusion::Indeterminate { reason } => tracing::warn!(%reason, "whether the service is paid is not known"),
    }
}

/// Why a check came to no conclusion at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no such service.
    #[error("CONTRACT_ADDRESS: {0}")]
    NoService(String),
    /// The file of the memory.
    #[error(transparent)]
    Memory(#[from] memory::MemoryError),
}

/// Checks every `every`, until `shutdown`; `health` shows the last conclusion.
///
/// # Errors
///
/// When the memory can no longer be read or written. A missing contract is told, and looked for again.
pub async fn watch(
    monitor: Monitor,
    every: Duration,
    health: health::Health,
    shutdown: CancellationToken,
) -> Result<(), CheckError> {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let conclusion = match monitor.check().await {
            Ok(conclusion) => conclusion,
            Err(CheckError::NoService(reason)) => {
                tracing::error!(%reason, "there is no such service");
                Conclusion::Indeterminate { reason }
            }
            Err(error) => return Err(error),
        };
        health.show(&conclusion);
    }
}
