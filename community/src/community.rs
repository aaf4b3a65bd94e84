//! A community and the subnet it lives on: founded, opened, and taken from phase to phase.
//!
//! What it does in each phase stands in [`crate::duties`], who ends a phase in [`crate::drive`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::arena::Contest;
use crate::book::{Book, Newcomer};
use crate::error::CommunityError;
use crate::faucet::client::FaucetClient;
use crate::faucet::rule::FaucetRules;
use crate::mix::Mix;
use crate::phase::{PHASES, Phase};
use crate::role::Role;
use crate::scoring::Scoring;
use crate::seed::Seed;
use crate::spec::Spec;
use crate::store::{Held, Store};
use crate::subnet::Subnet;

/// The community's database, in its folder.
const BOOK: &str = "community.db";
/// The embedded ledger, beside it.
const LEDGER: &str = "ledger.db";
/// From one look at a network that is waited for to the next.
const LOOK: Duration = Duration::from_millis(500);
/// Machines of Sybils have numbers that no account has.
const SYBIL_MACHINES: u64 = 1 << 32;

/// Where fees come from.
#[derive(Debug, Clone)]
pub enum Faucet {
    /// The community's own, without HTTP.
    Own(FaucetRules),
    /// One that serves HTTP.
    Http(FaucetClient),
}

/// How a community is found again.
#[derive(Debug, Clone)]
pub struct Home {
    /// Its folder.
    pub folder: PathBuf,
    /// The remote ledger it lives on; without it an embedded one in the folder.
    pub ledger: Option<String>,
}

/// What a community is founded from.
#[derive(Debug, Clone)]
pub struct Founding {
    /// What it is.
    pub spec: Spec,
    /// Who it is made of.
    pub mix: Mix,
    /// What everything is drawn from.
    pub seed: Seed,
    /// RAO that its own faucet begins with.
    pub budget: u64,
    /// How long REGISTERING is waited for.
    pub patience: Duration,
}

/// A community.
pub struct Community<'a> {
    /// Its database.
    pub store: Store,
    /// What was last read of it.
    pub held: Held,
    /// Where it lives.
    pub subnet: Subnet,
    /// With what it is driven.
    pub(crate) means: Means<'a>,
}

/// With what a community is driven.
#[derive(Clone)]
pub struct Means<'a> {
    /// What miners' work is worth.
    pub scoring: &'a dyn Scoring,
    /// Where fees come from.
    pub faucet: Faucet,
    /// How hard the miners are challenged.
    pub contest: Contest,
    /// Under which name it reports to the phase driver.
    pub worker: String,
}

impl<'a> Community<'a> {
    /// Founds a community: waits for REGISTERING, writes its book, and funds its founders.
    ///
    /// # Errors
    /// There is one already, the ledger does not answer, or the faucet does not fund a founder. A community that could not be funded
    /// stays founded; `bots run` asks again.
    pub async fn found(home: &Home, founding: Founding, means: Means<'a>) -> Result<Self, CommunityError> {
        let Founding {
            spec,
            mix,
            seed,
            budget,
            patience,
        } = founding;
        spec.check()?;
        let store = store(&home.folder).await?;
        if store.load().await?.is_some() {
            return Err(CommunityError::AlreadyFounded(home.folder.clone()));
        }
        let subnet = connect(home, &seed).await?;
        let epoch = registering(&subnet, patience).await?;
        let order = mix.order(&seed);
        let validators = spec.validators;
        let held = Held {
            network: subnet.network().await?,
            book: Book::found(spec, budget, epoch, |id| newcomer(id, validators, &order, &mix, &seed)),
            seed,
            mix,
            generation: 0,
        };
        if !store.create(&held).await? {
            return Err(CommunityError::AlreadyFounded(home.folder.clone()));
        }
        private(&home.folder.join(BOOK))?;
        let mut community = Self {
            store,
            held,
            subnet,
            means,
        };
        let founders: Vec<u32> = community.held.book.accounts.iter().map(|account| account.id).collect();
        let unfunded = community.fund(&founders).await?;
        match unfunded.first() {
            None => Ok(community),
            Some((_, reason)) => Err(CommunityError::Unfunded {
                unfunded: unfunded.len(),
                founders: founders.len(),
                reason: reason.clone(),
            }),
        }
    }

    /// Opens a community that was founded.
    ///
    /// # Errors
    /// There is none, it lives on another network, its ledger is not there, or does not answer.
    pub async fn open(home: &Home, means: Means<'a>) -> Result<Self, CommunityError> {
        let (store, held) = read(&home.folder).await?;
        if home.ledger.is_none() && !home.folder.join(LEDGER).exists() {
            return Err(CommunityError::NoLedger(home.folder.clone()));
        }
        let subnet = connect(home, &held.seed).await?;
        let given = subnet.network().await?;
        if given != held.network {
            return Err(CommunityError::OtherNetwork {
                path: home.folder.clone(),
                is: held.network,
                given,
            });
        }
        Ok(Self {
            store,
            held,
            subnet,
            means,
        })
    }

    /// On the embedded ledger: ends the phase and begins the next.
    ///
    /// With ATTESTING the ledger's epoch ends. A crash in the middle is taken up again: blocks are made up to a fixed epoch, and the
    /// book moves last.
    ///
    /// # Errors
    /// The ledger is a remote one, or something cannot be stored.
    pub async fn advance(&mut self) -> Result<(), CommunityError> {
        self.store.refresh(&mut self.held).await?;
        let (from, ceremony) = (self.held.book.phase, self.held.book.now.number);
        let end = (from == Phase::Attesting).then(|| self.held.book.now.epoch + 1);
        let epoch = self.subnet.end_phase(end).await?;
        let seed = self.held.seed.clone();
        self.store
            .update(&mut self.held, |book| {
                // Whoever else drives was faster: one step is enough.
                if (book.phase, book.now.number) == (from, ceremony) {
                    book.advance(&seed, epoch);
                }
            })
            .await?;
        tracing::info!(ceremony, %from, to = %self.held.book.phase, "phase");
        Ok(())
    }

    /// On a remote ledger: brings the book to the phase in which the ledger's epoch stands. Ceremonies that were missed altogether are
    /// skipped but for the last.
    ///
    /// # Errors
    /// The ledger does not answer, or the book cannot be stored.
    pub async fn follow(&mut self) -> Result<(), CommunityError> {
        let moment = self.subnet.moment().await?;
        let Some(phase) = moment.phase else {
            return Ok(());
        };
        let seed = self.held.seed.clone();
        self.store
            .update(&mut self.held, |book| {
                let there = moment.epoch * PHASES + phase.index();
                let here = book.now.epoch * PHASES + book.phase.index();
                let missed = there.saturating_sub(here);
                let steps = if missed > 2 * PHASES {
                    PHASES + missed % PHASES
                } else {
                    missed
                };
                for _step in 0..steps {
                    book.advance(&seed, moment.epoch);
                }
            })
            .await?;
        Ok(())
    }

    /// Ends the use of its databases.
    pub async fn close(self) {
        self.subnet.close().await;
        self.store.close().await;
    }

    /// What a newcomer of this community is.
    pub(crate) fn newcomers(&self) -> impl Fn(u32) -> Newcomer + use<> {
        let Held { seed, mix, book, .. } = &self.held;
        let (seed, mix, validators) = (seed.clone(), mix.clone(), book.spec.validators);
        let order = mix.order(&seed);
        move |id| newcomer(id, validators, &order, &mix, &seed)
    }
}

/// The database of a folder; an empty one where there is none.
///
/// # Errors
/// It cannot be used.
pub async fn store(folder: &Path) -> Result<Store, CommunityError> {
    Ok(Store::open(&folder.join(BOOK)).await?)
}

/// The book of a folder.
///
/// # Errors
/// There is none.
pub async fn read(folder: &Path) -> Result<(Store, Held), CommunityError> {
    if !folder.join(BOOK).exists() {
        return Err(CommunityError::NotFounded(folder.to_owned()));
    }
    let store = store(folder).await?;
    let held = store
        .load()
        .await?
        .ok_or_else(|| CommunityError::NotFounded(folder.to_owned()))?;
    Ok((store, held))
}

/// What keys are drawn from stands in it: its owner alone may read it.
fn private(path: &Path) -> Result<(), CommunityError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(|reason| CommunityError::File {
        path: path.to_owned(),
        reason,
    })
}

async fn connect(home: &Home, seed: &Seed) -> Result<Subnet, CommunityError> {
    match &home.ledger {
        Some(url) => Subnet::remote(url),
        None => Subnet::embedded(&home.folder.join(LEDGER), seed.owner().account()).await,
    }
}

/// Waits until the network is in REGISTERING; gives its epoch.
async fn registering(subnet: &Subnet, patience: Duration) -> Result<u64, CommunityError> {
    let deadline = Instant::now() + patience;
    loop {
        let moment = subnet.moment().await?;
        match moment.phase {
            None | Some(Phase::Registering) => return Ok(moment.epoch),
            Some(is) if Instant::now() >= deadline => {
                let seconds = patience.as_secs();
                return Err(CommunityError::NotRegistering { is, seconds });
            }
            Some(is) => tracing::info!(%is, "waiting for REGISTERING"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The account of this number: validators are honest, miners come in the order of the mix, Sybils share machines.
fn newcomer(id: u32, validators: u64, order: &[Role], mix: &Mix, seed: &Seed) -> Newcomer {
    let address = seed.hotkey(id).account();
    let own = Newcomer {
        address,
        role: Role::Honest,
        machine: id.into(),
    };
    let Some(miner) = u64::from(id)
        .checked_sub(validators)
        .and_then(|miner| usize::try_from(miner).ok())
    else {
        return own;
    };
    let place = miner % order.len().max(1);
    let role = order.get(place).copied().unwrap_or(Role::Honest);
    if role != Role::Sybil {
        return Newcomer { role, ..own };
    }
    let sybils = |roles: &[Role]| roles.iter().filter(|role| **role == Role::Sybil).count() as u64;
    let before = sybils(order) * (miner / order.len().max(1)) as u64 + sybils(order.get(..place).unwrap_or_default());
    Newcomer {
        role,
        machine: SYBIL_MACHINES + before / u64::from(mix.sybil_identities.max(1)),
        ..own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sybils_share_machines_and_nobody_else_does() {
        let (mix, seed) = (Mix::mixed(), Seed::of(3));
        let order = mix.order(&seed);
        let come: Vec<Newcomer> = (0..210).map(|id| newcomer(id, 10, &order, &mix, &seed)).collect();
        assert!(come.iter().take(10).all(|validator| validator.role == Role::Honest));
        let mut machines = std::collections::BTreeMap::<u64, Vec<Role>>::new();
        for newcomer in &come {
            machines.entry(newcomer.machine).or_default().push(newcomer.role);
        }
        for (machine, roles) in machines {
            match machine >= SYBIL_MACHINES {
                true => assert_eq!(roles, vec![Role::Sybil; 5]),
                false => assert_eq!(roles.len(), 1),
            }
        }
    }
}
