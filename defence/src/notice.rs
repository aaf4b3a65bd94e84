//! What an operator should know that is no incident: a claim that failed, a bounty that came, a database that is full.
//!
//! The same actions and channels as an incident's alerts, without the outbox: a notice is worth nothing a day later. What always holds:
//! who tells never waits, whatever the channels do; each action has a queue of its own, bounded by its `max_pending`, and what does not
//! fit is dropped, counted and logged; everything ends on shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::alerts;
use crate::channel::{Channel, ChannelError};
use crate::clock::Clock;
use crate::config::ActionConfig;
use crate::escape::{Format, escape};
use crate::retry::{self, Step, Tried};
use crate::template::{Words, shortened};
use crate::violation::Severity;

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How bad it is: an action with a higher `min_severity` does not tell it.
    pub severity: Severity,
    /// One line.
    pub subject: String,
    /// The rest; may be empty.
    pub text: String,
}

/// Tells notices by the configured actions. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    queues: Arc<Vec<Queue>>,
    told: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Queue {
    action: String,
    min_severity: Severity,
    notices: mpsc::Sender<(String, Arc<Notice>)>,
    _task: AbortOnDropHandle<()>,
}

impl Notices {
    /// Sets the channels up and starts a task for each action; nothing is sent yet. `source` stands in every notice.
    ///
    /// # Errors
    /// [`ChannelError`] names the action; one that pauses is no way to tell anything.
    pub fn open(
        source: &str,
        actions: &[ActionConfig],
        clock: &Clock,
        shutdown: &CancellationToken,
    ) -> Result<Self, ChannelError> {
        let mut queues = Vec::with_capacity(actions.len());
        for action in actions {
            let channel = Channel::open(action)?.ok_or_else(|| ChannelError::Address {
                action: action.id.clone(),
                reason: "it pauses, and does not tell anybody anything; use a channel".to_owned(),
            })?;
            let capacity = usize::try_from(action.max_pending)
                .unwrap_or(usize::MAX)
                .clamp(1, 10_000);
            let (sender, receiver) = mpsc::channel(capacity);
            let teller = Teller {
                source: source.to_owned(),
                action: action.clone(),
                channel,
                clock: clock.clone(),
                shutdown: shutdown.clone(),
            };
            queues.push(Queue {
                action: action.id.clone(),
                min_severity: action.min_severity,
                notices: sender,
                _task: AbortOnDropHandle::new(tokio::spawn(teller.run(receiver))),
            });
        }
        Ok(Self {
            queues: Arc::new(queues),
            told: Arc::default(),
        })
    }

    /// Tells it by every action that its severity is high enough for. Returns at once; gives how many have taken it.
    pub fn tell(&self, notice: Notice) -> usize {
        let number = self.told.fetch_add(1, Ordering::Relaxed);
        let notice = Arc::new(notice);
        let mut taken = 0;
        for queue in self.queues.iter().filter(|queue| notice.severity >= queue.min_severity) {
            let key = key(&queue.action, number, &notice);
            match queue.notices.try_send((key, Arc::clone(&notice))) {
                Ok(()) => taken += 1,
                Err(_) => {
                    metrics::counter!("defence_notices_dropped_total", "action" => queue.action.clone()).increment(1);
                    tracing::warn!(
                        action = queue.action,
                        subject = notice.subject,
                        "too many notices wait: dropped"
                    );
                }
            }
        }
        taken
    }
}

/// The same for each attempt of one notice, and no other's.
fn key(action: &str, number: u64, notice: &Notice) -> String {
    let mut hash = Sha256::new();
    hash.update(rand::random::<[u8; 16]>());
    hash.update(action);
    hash.update(number.to_be_bytes());
    hash.update(&notice.subject);
    hex::encode(hash.finalize().get(..16).unwrap_or_default())
}

struct Teller {
    source: String,
    action: ActionConfig,
    channel: Channel,
    clock: Clock,
    shutdown: CancellationToken,
}

impl Teller {
    async fn run(self, mut notices: mpsc::Receiver<(String, Arc<Notice>)>) {
        loop {
            let (key, notice) = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                notice = notices.recv() => match notice {
                    Some(notice) => notice,
                    None => return,
                },
            };
            self.deliver(&key, &notice).await;
        }
    }

    /// Tries until it is taken, refused, or given up by the action's own rule. An attempt has its deadline; a pause ends on shutdown.
    async fn deliver(&self, key: &str, notice: &Notice) {
        let words = words(&self.source, &self.action, key, notice);
        let first_ms = self.clock.now_ms();
        let mut repeat = false;
        for attempts in 1.. {
            let outcome = alerts::send(&self.channel, &self.action, &self.clock, key, &words, attempts, repeat).await;
            let tried = Tried {
                attempts,
                first_ms,
                now_ms: self.clock.now_ms(),
            };
            match retry::next(
                &self.action.retry,
                self.action.when_unknown,
                tried,
                outcome,
                rand::random(),
            ) {
                Step::Sent { .. } => {
                    metrics::counter!("defence_notices_sent_total", "action" => self.action.id.clone()).increment(1);
                    return;
                }
                Step::Again { at_ms, unknown, .. } => {
                    repeat |= unknown;
                    tokio::select! {
                        () = self.clock.sleep_until(at_ms) => {}
                        () = self.shutdown.cancelled() => return,
                    }
                }
                Step::Failed { reason } => {
                    metrics::counter!("defence_notices_failed_total", "action" => self.action.id.clone()).increment(1);
                    tracing::warn!(
                        action = self.action.id,
                        reason,
                        subject = notice.subject,
                        "a notice was not delivered"
                    );
                    return;
                }
            }
        }
    }
}

fn words(source: &str, action: &ActionConfig, key: &str, notice: &Notice) -> Words {
    let label = notice.severity.label();
    let subject = escape(Format::Plain, &notice.subject).replace('\n', " ");
    let subject = format!("{label} {source}: {subject}");
    let whole = if notice.text.is_empty() {
        subject.clone()
    } else {
        format!("{subject}\n{}", notice.text)
    };
    let (text, plain) = shortened(&action.kind, &whole);
    let body = json!({
        "kind": "notice",
        "key": key,
        "source": source,
        "severity": label,
        "subject": notice.subject,
        "text": notice.text,
    });
    Words {
        subject,
        text,
        plain,
        body: body.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use axum::http::StatusCode;

    use super::*;
    use crate::config::Config;

    fn actions(text: &str) -> Vec<ActionConfig> {
        toml::from_str::<Config>(text).unwrap().actions
    }

    fn notice(subject: &str) -> Notice {
        Notice {
            severity: Severity::High,
            subject: subject.to_owned(),
            text: "line *two*".to_owned(),
        }
    }

    /// A Slack that fails the first `failures` posts; what it took comes out of the channel.
    async fn slack(failures: usize) -> (u16, mpsc::UnboundedReceiver<String>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let left = Arc::new(Mutex::new(failures));
        let post = move |body: String| {
            let (sender, left) = (sender.clone(), Arc::clone(&left));
            async move {
                let mut left = left.lock().unwrap();
                if *left > 0 {
                    *left -= 1;
                    return (StatusCode::SERVICE_UNAVAILABLE, "busy");
                }
                sender.send(body).unwrap();
                (StatusCode::OK, "ok")
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = axum::Router::new().route("/", axum::routing::post(post));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (port, receiver)
    }

    #[tokio::test]
    async fn a_notice_arrives_although_the_first_attempts_fail() {
        let (port, mut arrived) = slack(2).await;
        let actions = actions(&format!(
            "[[actions]]\nid = \"s\"\nkind = \"slack\"\nurl = \"http://127.0.0.1:{port}/\"\n\
             [actions.retry]\nbase = \"1ms\"\nmax = \"5ms\"\nattempt = \"5s\"\ntotal = \"60s\"\n"
        ));
        let stop = CancellationToken::new();
        let notices = Notices::open("node 7", &actions, &Clock::system(), &stop).unwrap();
        assert_eq!(notices.tell(notice("the claim failed <now>")), 1);
        let body = tokio::time::timeout(Duration::from_secs(20), arrived.recv())
            .await
            .unwrap()
            .unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let text = body["text"].as_str().unwrap();
        assert!(text.contains("HIGH node 7: the claim failed &lt;now&gt;"), "{text}");
    }

    #[tokio::test]
    async fn a_channel_that_never_answers_holds_nobody_up_and_what_is_too_much_is_dropped() {
        // Accepts the connection, and never says a word.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let actions = actions(&format!(
            "[[actions]]\nid = \"s\"\nkind = \"slack\"\nurl = \"http://127.0.0.1:{port}/\"\nmax_pending = 3\n"
        ));
        let stop = CancellationToken::new();
        let notices = Notices::open("node 7", &actions, &Clock::simulated(0), &stop).unwrap();
        let taken: usize = (0..100).map(|n| notices.tell(notice(&format!("{n}")))).sum();
        assert!((3..=4).contains(&taken), "{taken} were taken, the queue holds 3");
    }

    #[tokio::test]
    async fn a_notice_below_the_actions_severity_is_not_for_it() {
        let actions = actions(
            "[[actions]]\nid = \"s\"\nkind = \"slack\"\nurl = \"http://127.0.0.1:9/\"\nmin_severity = \"critical\"\n",
        );
        let notices = Notices::open("n", &actions, &Clock::simulated(0), &CancellationToken::new()).unwrap();
        assert_eq!(notices.tell(notice("x")), 0);
    }

    #[tokio::test]
    async fn a_pause_is_no_way_to_tell() {
        let actions = actions("[[actions]]\nid = \"p\"\nkind = \"pause_agent\"\ncalldata = \"0x8456cb59\"\n");
        let refused = Notices::open("n", &actions, &Clock::simulated(0), &CancellationToken::new()).unwrap_err();
        assert!(refused.to_string().contains("`p`"), "{refused}");
    }
}
