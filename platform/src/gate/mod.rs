//! The gate: a protocol's invariants are streamed only while its service is paid.
//!
//! What always holds: an unpaid service stops new work, never what is under way (a transaction is judged by the version that it was
//! sent with); what nobody knows changes nothing, over a restart as well; a change is a new version of the invariant set.

pub mod rule;

use std::sync::Arc;
use std::time::Duration;

use billing::monitor::observe;
use billing::monitor::rule::{Conclusion, Observation, Policy, conclude};
use billing::reader::Source;
use node::config::Secret;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::log::LogError;
use crate::store::{Service, Store};

/// The part `[billing]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateOptions {
    /// JSON-RPC endpoints (`http`, `https`) of the chain that services are paid on, in the order in which they are asked; each may
    /// be `env:NAME` or `file:PATH`. Without one nothing is known of any payment.
    pub rpc: Vec<Secret>,
    /// Time between two looks.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// How long the service goes on after the end of the payment.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// Warn when the payment lasts for less.
    #[serde(with = "humantime_serde")]
    pub warn_runway: Duration,
    /// How long an endpoint may take.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// A head that is older says nothing.
    #[serde(with = "humantime_serde")]
    pub max_head_age: Duration,
}

impl Default for GateOptions {
    fn default() -> Self {
        Self {
            rpc: Vec::new(),
            every: Duration::from_secs(10),
            grace: Duration::ZERO,
            warn_runway: Duration::from_secs(24 * 3600),
            timeout: Duration::from_secs(10),
            max_head_age: Duration::from_secs(300),
        }
    }
}

impl GateOptions {
    /// The endpoints, checked.
    ///
    /// # Errors
    /// One line that names the key; an address, which may hold a password, is not repeated.
    pub fn endpoints(&self) -> Result<Vec<Url>, String> {
        let endpoint = |secret: &Secret| {
            let text = secret.reveal().map_err(|error| error.to_string())?;
            let url = Url::parse(text.trim()).map_err(|error| format!("configuration: `billing.rpc`: {error}"))?;
            match url.scheme() {
                "http" | "https" => Ok(url),
                other => Err(format!(
                    "configuration: `billing.rpc`: http or https is wanted, not {other}"
                )),
            }
        };
        if !(Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&self.every) {
            return Err("configuration: `billing.every`: must be from 100ms to 1h".to_owned());
        }
        self.rpc.iter().map(endpoint).collect()
    }
}

/// Looks at every service's payment until `shutdown`, and lets its invariants in or out.
///
/// # Errors
/// When the database fails. A node that does not answer is no error.
pub async fn keep(
    store: Arc<Store>,
    options: GateOptions,
    endpoints: Vec<Url>,
    shutdown: CancellationToken,
) -> Result<(), LogError> {
    let mut ticks = tokio::time::interval(options.every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        for service in store.services().await? {
            let conclusion = tokio::select! {
                conclusion = look(&service, &options, &endpoints) => conclusion,
                () = shutdown.cancelled() => return Ok(()),
            };
            let served = rule::served(service.served, &conclusion);
            say(&service, served, &conclusion);
            store.note_service(service.id, served, &conclusion).await?;
        }
    }
}

async fn look(service: &Service, options: &GateOptions, endpoints: &[Url]) -> Conclusion {
    if endpoints.is_empty() {
        let reason = "`billing.rpc` names no endpoint".to_owned();
        return Conclusion::Indeterminate { reason };
    }
    let source = Source {
        endpoints: endpoints.to_vec(),
        contract: service.payment,
        timeout: options.timeout,
        max_head_age: options.max_head_age,
    };
    let policy = Policy {
        grace: options.grace.as_secs(),
        warn_runway: options.warn_runway.as_secs(),
        ..Policy::default()
    };
    // A contract that is none is a mistake of ours: it costs nobody the protection.
    let observation = observe(&source)
        .await
        .unwrap_or_else(|reason| Observation::Nothing { reason });
    conclude(&policy, observation)
}

fn say(service: &Service, served: bool, conclusion: &Conclusion) {
    let name = service.name.clone();
    if let Conclusion::Paid { runway, .. } = conclusion {
        #[allow(clippy::cast_precision_loss, reason = "a gauge; exact below 285 million years")]
        metrics::gauge!("platform_service_runway_seconds", "service" => name.clone()).set(*runway as f64);
    }
    metrics::gauge!("platform_service_served", "service" => name.clone()).set(f64::from(u8::from(served)));
    // A word for each change, not for each look.
    let status = |conclusion: &Conclusion| std::mem::discriminant(conclusion);
    let changed = service.conclusion.as_ref().map(status) != Some(status(conclusion));
    match (served, changed) {
        (true, true) => tracing::info!(service = name, "{conclusion}"),
        (false, true) => tracing::warn!(service = name, "its invariants are not streamed any more: {conclusion}"),
        (_, false) => tracing::debug!(service = name, "{conclusion}"),
    }
}
