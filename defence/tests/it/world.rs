//! What the stories share: a defence on a simulated clock, in a folder of its own, with every channel leading to local servers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use defence::clock::Clock;
use defence::config::Config;
use defence::incident::Moment;
use defence::violation::{BrokenInvariant, ConfirmedViolation, NetworkView, Severity, Suspect};
use defence::{Defence, Delivery, DeliveryState, Incident, Pauser};

use crate::servers::{self, Desk, Fate, TELEGRAM_TOKEN, WEBHOOK_SECRET};
use crate::smtp;

pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// Every channel.
pub(crate) const CHANNELS: [&str; 6] = ["telegram", "slack", "discord", "discord-bot", "webhook", "email"];

/// Those whose receivers know an alert that they have already.
pub(crate) const KNOWING: [&str; 3] = ["discord-bot", "webhook", "email"];

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) desk: Arc<Desk>,
    http: u16,
    smtp: u16,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let desk = Arc::new(Desk::default());
        Self {
            clock: Clock::simulated(NOW_MS),
            http: servers::serve(Arc::clone(&desk)).await,
            smtp: smtp::serve(Arc::clone(&desk)).await,
            desk,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) async fn with_script(fates: &[Fate]) -> Self {
        let world = Self::new().await;
        world.desk.script(fates);
        world
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("defence.db")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One action over `channel`, with more keys.
    pub(crate) fn action(&self, channel: &str, more: &str) -> String {
        action(channel, channel, self.http, self.smtp, more)
    }

    /// The same with another id.
    pub(crate) fn action_named(&self, id: &str, channel: &str, more: &str) -> String {
        action(id, channel, self.http, self.smtp, more)
    }

    pub(crate) async fn open(&self, config: &str) -> Defence {
        self.open_with(config, None).await
    }

    pub(crate) async fn open_with(&self, config: &str, pauser: Option<Arc<dyn Pauser>>) -> Defence {
        let config: Config = toml_of(config);
        Defence::open_at(config, &self.database(), pauser, self.clock.clone())
            .await
            .unwrap()
    }
}

pub(crate) fn toml_of(config: &str) -> Config {
    toml::from_str(config).unwrap()
}

pub(crate) fn action(id: &str, channel: &str, http: u16, smtp: u16, more: &str) -> String {
    let keys = match channel {
        "telegram" => format!(
            "kind = \"telegram\"\ntoken = \"{TELEGRAM_TOKEN}\"\nchat_id = \"-1007\"\napi = \"http://127.0.0.1:{http}\""
        ),
        "slack" => format!("kind = \"slack\"\nurl = \"http://127.0.0.1:{http}/services/T1/B1/s3cret\""),
        "discord" => format!("kind = \"discord\"\nurl = \"http://127.0.0.1:{http}/api/webhooks/77/d1sc0rd-s3cret\""),
        "discord-bot" => format!(
            "kind = \"discord\"\ntoken = \"d1sc0rd-s3cret\"\nchannel = \"77\"\napi = \"http://127.0.0.1:{http}/api/v10\""
        ),
        "webhook" => {
            format!("kind = \"webhook\"\nurl = \"http://127.0.0.1:{http}/hook\"\nsecret = \"{WEBHOOK_SECRET}\"")
        }
        "email" => format!(
            "kind = \"email\"\nhost = \"127.0.0.1\"\nport = {smtp}\ntls = \"none\"\nuser = \"user\"\npassword = \"s3cret-password\"\n\
             from = \"Portcullis <p@example.org>\"\nto = [\"ops@example.org\", \"more@example.org\"]"
        ),
        other => panic!("no channel {other}"),
    };
    format!("[[actions]]\nid = \"{id}\"\n{keys}\n{more}\n")
}

/// Sender `sender` breaks the invariant by transaction `tx`.
pub(crate) fn violation(sender: u8, tx: u8) -> ConfirmedViolation {
    ConfirmedViolation {
        chain_id: 1,
        invariant: BrokenInvariant {
            id: 3,
            name: "vault <is> solvent_1".to_owned(),
            condition: "assets >= debt".to_owned(),
            set_version: 9,
            contract: Address::repeat_byte(0xcc),
        },
        severity: Severity::High,
        suspect: Suspect {
            tx_hash: B256::repeat_byte(tx),
            sender: Address::repeat_byte(sender),
            target: Some(Address::repeat_byte(sender.wrapping_add(100))),
            selector: Some([sender; 4]),
            path: Vec::new(),
            value: U256::from(5),
            raw: Bytes::from_static(&[2, 0xf8]),
            predecessors: Vec::new(),
            deltas: Vec::new(),
            more_deltas: 0,
            pre: "100".to_owned(),
            post: "0".to_owned(),
        },
        seen_ms: NOW_MS - 60,
        judged_ms: NOW_MS - 20,
        confirmed_ms: NOW_MS - 5,
        view: NetworkView {
            asked: 5,
            answered: 3,
            agreed: 2,
            arbitrated: true,
        },
    }
}

/// Waits until the incident is as it should be.
#[track_caller]
pub(crate) fn until<'a>(
    defence: &'a Defence,
    id: u64,
    is_so: impl Fn(&Incident) -> bool + 'a,
) -> impl Future<Output = Incident> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let mut changes = defence.changes();
        let mut last = None;
        let reached = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                changes.mark_unchanged();
                let incident = defence.incident(id).await.unwrap().unwrap();
                if is_so(&incident) {
                    return incident;
                }
                last = Some(incident);
                changes.changed().await.unwrap();
            }
        });
        match reached.await {
            Ok(incident) => incident,
            Err(_) => panic!("{caller}: it never came to that: {last:#?}"),
        }
    }
}

/// What happened, in its order.
pub(crate) fn moments(incident: &Incident) -> Vec<Moment> {
    incident.timeline.iter().map(|line| line.moment).collect()
}

pub(crate) fn delivery<'a>(incident: &'a Incident, action: &str) -> &'a Delivery {
    incident
        .deliveries
        .iter()
        .find(|delivery| delivery.action == action)
        .unwrap_or_else(|| panic!("no delivery by {action}: {incident:#?}"))
}

pub(crate) fn is(incident: &Incident, action: &str, state: DeliveryState) -> bool {
    incident
        .deliveries
        .iter()
        .any(|delivery| delivery.action == action && delivery.state == state)
}

/// It waits for an attempt after the `attempts`th.
pub(crate) fn waits(incident: &Incident, action: &str, attempts: u32) -> bool {
    incident.deliveries.iter().any(|delivery| {
        delivery.action == action && delivery.state == DeliveryState::Pending && delivery.attempts == attempts
    })
}
