//! What the audits of the network's nodes came to, as the platform shows it: read from the AuditManager's events.
//!
//! Only where `[audits]` names the contract. What always holds: a node that is silent leaves what is known as it is; nothing else of the
//! platform waits for it.

use std::sync::Arc;

use audit::results::{Results, Standing, follow};
use audit::source::Source;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All nodes, by id.
pub type Standings = Arc<Vec<Standing>>;

/// The part `[audits]` of the configuration: read every minute, where nobody says otherwise.
pub type AuditOptions = audit::source::AuditOptions<60>;

/// Keeps `shown` fresh until `shutdown`.
pub async fn keep(source: Source, shown: watch::Sender<Standings>, shutdown: CancellationToken) {
    let tell = |results: &Results| {
        let standings: Vec<Standing> = results.nodes().cloned().collect();
        shown.send_if_modified(|before| {
            let is_new = **before != standings;
            if is_new {
                *before = Arc::new(standings);
            }
            is_new
        });
    };
    follow(source, shutdown, tell).await;
}
