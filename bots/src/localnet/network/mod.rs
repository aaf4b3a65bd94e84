//! A network under way: its processes started one after the other, watched until everything is judged, and asked what it came to.

mod collect;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use protos::v1;
use tokio::time::Instant;

use super::chaos::{Storm, Strike, strikes};
use super::error::LocalnetError;
use super::fleet::{Fleet, Folder};
use super::input::Input;
use super::members::{FeedWiring, Wiring};
use super::options::Options;
use super::plan::NetworkPlan;
use super::progress::{Progress, Standing};
use super::report::{Growth, KillRecord, Report};
use super::services::{Achieved, Services};

/// How often the network is asked where it stands.
const POLL: Duration = Duration::from_millis(150);

/// Everything that a run consists of.
pub(super) struct Network<'a> {
    options: &'a Options,
    plan: NetworkPlan,
    input: Input,
    /// What only a living chain has.
    services: Option<Services>,
    wiring: Wiring,
    fleet: &'a mut Fleet,
    progress: &'a mut Progress,
    /// Still to come, the next one last.
    strikes: Vec<Strike>,
    /// From the first transaction on, where there is one.
    storm: Option<Storm>,
    kills: Vec<KillRecord>,
    standing: Standing,
    /// What the services had done when the chain was asked last, and when that was.
    achieved: Achieved,
    asked: Option<Instant>,
    /// One for each epoch of the ledger that was seen.
    growth: Vec<Growth>,
    give_up_at: Instant,
}

/// What goes through a network, and how the platform gets it.
pub(super) struct Source {
    pub(super) input: Input,
    pub(super) feed: FeedWiring,
    /// What only a living chain has.
    pub(super) services: Option<Services>,
}

/// What the watching of the traffic came to.
struct Judging {
    status: v1::StatusResponse,
    took: Duration,
    complete: bool,
}

impl<'a> Network<'a> {
    pub(super) fn new(
        options: &'a Options,
        plan: NetworkPlan,
        source: Source,
        folder: Folder,
        fleet: &'a mut Fleet,
        progress: &'a mut Progress,
    ) -> Self {
        let Source { input, feed, services } = source;
        let mut strikes = options
            .kill
            .map_or_else(Vec::new, |kill| strikes(kill, &plan, options.shape.seed));
        strikes.reverse();
        Self {
            options,
            strikes,
            storm: None,
            kills: Vec::new(),
            standing: Standing {
                total: Some(input.transactions()),
                ..Standing::default()
            },
            achieved: Achieved::default(),
            asked: None,
            growth: Vec::new(),
            give_up_at: Instant::now() + options.timeout,
            wiring: Wiring {
                folder,
                feed,
                ledger: None,
                platform: None,
                page: None,
                told: BTreeMap::new(),
            },
            plan,
            input,
            services,
            fleet,
            progress,
        }
    }

    /// From the first process to the report.
    ///
    /// # Errors
    /// [`LocalnetError`]; a run that came to a report, however bad, is none.
    pub(super) async fn play(mut self) -> Result<Report, LocalnetError> {
        let ledger = self.start_ledger().await?;
        self.fill_registry().await?;
        let platform = self.start_platform_and_miners(&ledger).await?;
        self.start_services().await?;
        self.start_validators().await?;
        self.start_auditors().await?;
        let judging = self.judge(&platform, &ledger).await?;
        self.settle(&ledger).await?;
        self.collect(&platform, &ledger, judging).await
    }
}
