//! `platform status`: where the feed and the reports of a running platform stand.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use eyre::eyre;
use node::exit::{Code, Failure, OrConfiguration};
use protos::v1;
use protos::v1::platform_client::PlatformClient;
use serde_json::{Map, Value};

use super::{say, table};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The platform, as in http://127.0.0.1:8000
    #[arg(long, value_name = "URL")]
    platform: String,
    /// The certificate (PEM) that a platform at an https address is known by [default: the authorities that browsers trust]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl StatusArgs {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        const DEADLINE: Duration = Duration::from_secs(5);
        let url = if self.platform.contains("://") {
            self.platform.clone()
        } else {
            format!("http://{}", self.platform)
        };
        let wrong = |error| Failure::configuration(eyre!("platform address {}: {error}", self.platform));
        let mut endpoint = tonic::transport::Endpoint::from_shared(url.clone()).map_err(wrong)?;
        if url.starts_with("https:") {
            let tls = node::tls::client(self.ca.as_deref()).or_configuration()?;
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        let endpoint = endpoint.connect_timeout(DEADLINE).timeout(DEADLINE);
        let unreachable = |error: &dyn std::fmt::Display| {
            Failure::new(
                Code::Indeterminate,
                eyre!("platform {} does not answer: {error}", self.platform),
            )
        };
        let mut client = PlatformClient::new(endpoint.connect().await.map_err(|error| unreachable(&error))?);
        let status = client
            .status(v1::StatusRequest {})
            .await
            .map_err(|error| unreachable(&error))?
            .into_inner();
        let rows = status_rows(&status);
        if self.json {
            let object: Map<String, Value> = rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            return say(serde_json::to_string_pretty(&object)?);
        }
        let mut table = table(["", ""]);
        for (name, value) in rows {
            // A text without its quotes, a list as lines.
            let shown = match &value {
                Value::String(text) => text.clone(),
                Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
                other => other.to_string(),
            };
            table.add_row([name.replace('_', " "), shown]);
        }
        say(table)
    }
}

/// Where a live feed stands, as rows.
fn feed_rows(feed: &v1::FeedStatus) -> Vec<(&'static str, Value)> {
    let hash = alloy::primitives::hex::encode_prefixed(&feed.head_hash);
    vec![
        ("head", feed.head_number.into()),
        ("head_hash", hash.into()),
        ("pending", feed.pending.into()),
        ("included", feed.included.into()),
        ("replaced", feed.replaced.into()),
        ("dropped", feed.dropped.into()),
        ("orphaned_heads", feed.orphaned.into()),
        ("carried_over", feed.carried_over.into()),
        ("rejudged", feed.rejudged.into()),
        ("without_prestate", feed.without_prestate.into()),
        ("refused", feed.refused.into()),
        ("gaps", feed.gaps.into()),
        ("gap_ms", feed.gap_ms.into()),
        ("missed_heads", feed.missed_heads.into()),
        ("last_gap", feed.last_gap.as_str().into()),
    ]
}

/// A node in a line.
fn node_line(node: &v1::EndpointStatus) -> String {
    let state = match (node.connected, node.followed) {
        (true, true) => "followed",
        (true, false) => "connected",
        (false, _) => "down",
    };
    let mut line = format!("{} {state}", node.url);
    for (name, value) in [("mode", &node.mode), ("error", &node.error)] {
        if !value.is_empty() {
            line.push_str(&format!(", {name}: {value}"));
        }
    }
    format!("{line}, first to show {}, connections {}", node.first, node.connections)
}

fn status_rows(status: &v1::StatusResponse) -> Vec<(&'static str, Value)> {
    let mut rows = vec![
        ("last_cursor", status.last_cursor.into()),
        ("feed_ended", status.feed_ended.into()),
        ("validators_connected", status.validators_connected.into()),
        ("invariant_set_version", status.invariant_set_version.into()),
        ("transactions", status.transactions.into()),
        ("assigned", status.assigned.into()),
        ("reported", status.reported.into()),
        ("judged", status.judged.into()),
        ("executed", status.executed.into()),
        ("holds", status.holds.into()),
        ("violated", status.violated.into()),
        ("undecided", status.undecided.into()),
        ("challenges", status.challenges.into()),
        ("answers", status.answers.into()),
        ("agreed", status.agreed.into()),
        ("arbitrated", status.arbitrated.into()),
        ("incidents", status.incidents.into()),
    ];
    if let Some(feed) = &status.feed {
        rows.extend(feed_rows(feed));
        let nodes: Vec<Value> = feed.endpoints.iter().map(|node| node_line(node).into()).collect();
        rows.push(("nodes", nodes.into()));
    }
    rows
}
