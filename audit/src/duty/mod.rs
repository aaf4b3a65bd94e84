//! The duties of a node: to report what it has measured of its peers, and to claim what it has earned.
//!
//! What is due is pure ([`agenda`]); here it is done, head by head. What always holds: a transaction stands in the database before it is
//! submitted, under a name that makes the sender mine it once at most; what it came to is written when it is final; everything that fails
//! is tried again, without limit, and says why.

pub mod agenda;
pub mod claim;
pub mod clock;
pub mod follow;
pub mod measure;
pub mod report;
pub mod words;

use std::sync::Arc;
use std::time::Instant;

use alloy::sol_types::SolCall;
use defence::notice::{Notice, Notices};
use defence::violation::Severity;
use sender::{Handle, IdempotencyKey, Lane, Request, Sender, SubmitError};

use self::claim::Claimer;
use self::follow::Follower;
use self::report::Reporter;
use crate::config::Config;
use crate::manager::{Duty, Head, ManagerClient, Member, ReadError};
use crate::rule::terms::Terms;
use crate::store::{Store, StoreError};

/// Why a head could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum DutyError {
    /// The node, or what it says.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sender takes nothing.
    #[error("sender: {0}")]
    Submit(#[from] SubmitError),
    /// A name that the sender does not take: a mistake of this program's.
    #[error(transparent)]
    Key(#[from] sender::request::InvalidKey),
}

/// What all duties share.
#[derive(Debug, Clone)]
pub struct Office {
    /// The contract.
    pub manager: ManagerClient,
    /// What is remembered.
    pub store: Store,
    /// Sends.
    pub sender: Arc<Sender>,
    /// Who is told.
    pub notices: Notices,
    /// This node's id.
    pub me: u32,
    /// Decimals of the token that bounties are paid in.
    pub decimals: u8,
}

impl Office {
    /// Tells whoever is configured; nobody waits for it.
    pub(crate) fn tell(&self, severity: Severity, subject: impl Into<String>, text: impl Into<String>) {
        self.notices.tell(Notice {
            severity,
            subject: subject.into(),
            text: text.into(),
        });
    }

    /// Submits a call of the contract under a name of this node's.
    async fn submit<C: SolCall>(
        &self,
        effect: &str,
        lane: Lane,
        call: &C,
        deadline: Option<u64>,
    ) -> Result<Handle, DutyError> {
        let contract = self.manager.address();
        let key = IdempotencyKey::new(format!("audit/{contract}/{}/{effect}", self.me))?;
        let request = Request {
            deadline,
            ..Request::call(key, lane, contract, call.abi_encode().into())
        };
        Ok(self.sender.submit(request).await?)
    }
}

/// A pause after something that failed, by a clock that never jumps.
#[derive(Debug, Clone, Copy, Default)]
struct Pause(Option<Instant>);

impl Pause {
    fn begin(&mut self, length: std::time::Duration) {
        self.0 = Some(Instant::now() + length);
    }

    fn is_over(self) -> bool {
        self.0.is_none_or(|until| Instant::now() >= until)
    }
}

/// What the contract says at a head.
#[derive(Debug, Clone)]
pub struct View {
    /// The head.
    pub head: Head,
    /// The parameters.
    pub terms: Terms,
    /// This node.
    pub member: Member,
    /// Whom it measures.
    pub duties: Arc<Vec<Duty>>,
}

/// All duties of one node.
#[derive(Debug)]
pub struct Desk {
    office: Office,
    follower: Follower,
    /// Verdicts.
    pub reporter: Reporter,
    /// The bounty.
    pub claimer: Claimer,
}

impl Desk {
    /// Goes on where the database is.
    #[must_use]
    pub fn new(office: Office, config: &Config) -> Self {
        Self {
            follower: Follower::new(office.clone(), config.sender.confirmations, config.rpc.log_range),
            reporter: Reporter::new(office.clone(), config.report.clone()),
            claimer: Claimer::new(office.clone(), config.claim.clone()),
            office,
        }
    }

    /// What the contract says at `head`.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn view(&self, head: Head) -> Result<View, ReadError> {
        let (manager, me) = (&self.office.manager, self.office.me);
        let (terms, member, duties) = futures::try_join!(
            manager.terms(head.hash),
            manager.member(me, head.hash),
            manager.duties(me, head.hash)
        )?;
        Ok(View {
            head,
            terms,
            member,
            duties: Arc::new(duties),
        })
    }

    /// Does what is due at a head. A duty that fails keeps the others from nothing; the first failure is told. The claim goes first.
    ///
    /// # Errors
    /// [`DutyError`].
    pub async fn work(&mut self, view: &View) -> Result<(), DutyError> {
        let claimed = self.claimer.step(view).await;
        let reported = self.reporter.step(view).await;
        let followed = self.follower.advance(view.head).await;
        claimed.and(reported).and(followed)
    }
}
