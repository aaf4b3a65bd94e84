//! What a community's bots do in each phase, once: claim, grow, fund and register; look at the meetups; answer, attest and set weights.
//!
//! Everything may be done again. What the book has already is refused as benign, what the ledger has already is not asked for; so a
//! process that is killed in the middle is followed by one that does the rest.

use std::collections::{BTreeMap, BTreeSet};

use chain::{LedgerError, Metagraph, Refusal as LedgerRefusal, WeightsCall};
use serde::Serialize;

use crate::arena::{self, Contender, Measured, percentile};
use crate::book::{Book, Growth};
use crate::community::{Community, Faucet};
use crate::error::CommunityError;
use crate::faucet::rule::{self, Drip};
use crate::phase::Phase;
use crate::refusal::Refusal;
use crate::role::{Member, Role, word};
use crate::row::{RoleRow, Spread};
use crate::scoring::{Sample, Scoring};
use crate::seed::Seed;
use crate::subnet::STAKE;

/// Ledger calls from one sign of life to the next.
const BEAT: usize = 50;

/// What the duties of a phase came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Done {
    /// The ceremony.
    pub ceremony: u64,
    /// The phase.
    pub phase: Phase,
    /// Accounts.
    pub population: u64,
    /// Incomes of the ceremony before that were paid.
    pub paid: u64,
    /// New accounts that somebody vouches for.
    pub endorsees: u64,
    /// New accounts that nobody vouches for.
    pub newbies: u64,
    /// Accounts that registered for the ceremony.
    pub registered: u64,
    /// Hotkeys that registered on the ledger.
    pub neurons: u64,
    /// Words said of meetups.
    pub attestations: u64,
    /// Validators that set weights.
    pub weights: u64,
    /// Refusals that say only that there was nothing to do.
    pub benign: u64,
    /// Accounts that could not pay.
    pub unpaid: u64,
}

impl Community<'_> {
    /// Does what the phase asks for, once, and says so to the phase driver.
    ///
    /// # Errors
    /// A database or the ledger fails, or the faucet does not answer. Refusals are counted.
    pub async fn duties(&mut self) -> Result<Done, CommunityError> {
        self.store.refresh(&mut self.held).await?;
        self.follow().await?;
        let (ceremony, phase) = (self.held.book.now.number, self.held.book.phase);
        self.store.beat(&self.means.worker, ceremony, phase, false).await?;
        let mut done = Done {
            ceremony,
            phase,
            ..Done::default()
        };
        match phase {
            Phase::Registering => self.register(&mut done).await?,
            Phase::Assigning => self.look(),
            Phase::Attesting => self.attest(&mut done).await?,
        }
        done.population = self.held.book.population();
        self.store.beat(&self.means.worker, ceremony, phase, true).await?;
        Ok(done)
    }

    /// Pays the incomes of the ceremony before and writes down what its miners earned on the ledger. Gives the incomes paid, and the
    /// claims that were benign.
    ///
    /// # Errors
    /// A database or the ledger fails.
    pub async fn settle(&mut self) -> Result<(u64, u64), CommunityError> {
        let metagraph = self.subnet.ledger().metagraph().await?;
        let settled = self
            .store
            .update(&mut self.held, |book| {
                incentives(book, &metagraph);
                claims(book)
            })
            .await?;
        Ok(settled)
    }

    async fn register(&mut self, done: &mut Done) -> Result<(), CommunityError> {
        let (paid, benign) = self.settle().await?;
        (done.paid, done.benign) = (paid, benign);
        let newcomer = self.newcomers();
        let growth = self
            .store
            .update(&mut self.held, |book| book.grow(&newcomer).unwrap_or_default())
            .await?;
        let Growth { endorsees, newbies } = &growth;
        (done.endorsees, done.newbies) = (endorsees.len() as u64, newbies.len() as u64);
        let newcomers: Vec<u32> = endorsees.iter().chain(newbies).copied().collect();
        if !newcomers.is_empty() {
            self.fund(&newcomers).await?;
        }
        // Who cannot pay is funded once and tries once more.
        let broke = self.register_all(None, done).await?;
        if !broke.is_empty() {
            for (id, reason) in self.fund(&broke).await? {
                tracing::warn!(account = id, %reason, "not funded");
            }
            let unpaid = self.register_all(Some(&broke), done).await?;
            for id in &unpaid {
                tracing::warn!(
                    account = id,
                    "could not pay its registration even after the faucet; it sits this ceremony out"
                );
            }
            done.unpaid = unpaid.len() as u64;
        }
        let (benign, unpaid) = (done.benign, done.unpaid);
        self.store
            .update(&mut self.held, |book| {
                book.now.row.benign = book.now.row.benign.max(benign);
                book.now.row.unpaid = unpaid;
            })
            .await?;
        self.neurons(done).await
    }

    /// Registers these accounts (all, where none are named) in the book; gives those that could not pay.
    async fn register_all(&mut self, which: Option<&[u32]>, done: &mut Done) -> Result<Vec<u32>, CommunityError> {
        let (registered, benign, broke) = self
            .store
            .update(&mut self.held, |book| {
                let all = || book.accounts.iter().map(|account| account.id).collect();
                let ids: Vec<u32> = which.map_or_else(all, <[u32]>::to_vec);
                let (mut registered, mut benign, mut broke) = (0, 0, Vec::new());
                for id in ids {
                    match book.register(id) {
                        Ok(_) => registered += 1,
                        Err(Refusal::FeeUnpayable { .. }) => broke.push(id),
                        Err(refusal) if refusal.is_benign() => benign += 1,
                        Err(refusal) => tracing::warn!(account = id, %refusal, "not registered"),
                    }
                }
                (registered, benign, broke)
            })
            .await?;
        done.registered += registered;
        done.benign += benign;
        Ok(broke)
    }

    /// Asks the faucet for these accounts; gives those it did not fund, and why.
    ///
    /// # Errors
    /// A database fails, or a faucet somewhere else does not answer.
    pub async fn fund(&mut self, accounts: &[u32]) -> Result<Vec<(u32, String)>, CommunityError> {
        let addresses = accounts
            .iter()
            .filter_map(|id| Some((*id, self.held.book.account(*id)?.address)))
            .collect::<Vec<_>>();
        let unfunded = match &self.means.faucet {
            Faucet::Own(rules) => {
                let fund = |book: &mut Book| {
                    let dry = |(id, address): &(u32, _)| {
                        rule::fund(book, *address, rules)
                            .err()
                            .map(|dry| (*id, dry.to_string()))
                    };
                    addresses.iter().filter_map(dry).collect()
                };
                self.store.update(&mut self.held, fund).await?
            }
            Faucet::Http(client) => {
                let keys: Vec<_> = addresses.iter().map(|(_, address)| *address).collect();
                let drips = client.drip(&keys).await?;
                self.store.refresh(&mut self.held).await?;
                let fee = self.held.book.spec.rules.fee.rao();
                let failed = |((id, address), drip): (&(u32, _), Drip)| match drip.success {
                    false => Some((*id, drip.reason.unwrap_or_default())),
                    // A faucet's word is not believed: what counts is what is in the purse.
                    true if self.held.book.purse(address).balance >= fee => None,
                    true => Some((*id, "nothing arrived: is it this community's faucet?".to_owned())),
                };
                addresses.iter().zip(drips).filter_map(failed).collect()
            }
        };
        Ok(unfunded)
    }

    /// Registers on the ledger whoever is registered in the book, and lets the validators stake.
    async fn neurons(&mut self, done: &mut Done) -> Result<(), CommunityError> {
        let metagraph = self.subnet.ledger().metagraph().await?;
        let known: BTreeMap<_, _> = metagraph
            .neurons
            .iter()
            .map(|neuron| (neuron.hotkey, neuron.stake))
            .collect();
        let wanted: Vec<(u32, bool, Option<u64>)> = self
            .held
            .book
            .now
            .registered
            .keys()
            .filter_map(|id| self.held.book.account(*id))
            .map(|account| (account.id, account.validator, known.get(&account.address).copied()))
            .filter(|(_, validator, stake)| stake.is_none_or(|stake| *validator && stake < STAKE))
            .collect();
        for (place, (id, validator, stake)) in wanted.into_iter().enumerate() {
            let hotkey = self.held.seed.hotkey(id);
            if stake.is_none() {
                match refused(
                    self.subnet
                        .ledger()
                        .register(&hotkey)
                        .await
                        .map(|registration| registration.block),
                )? {
                    None => done.neurons += 1,
                    Some(LedgerRefusal::HotKeyAlreadyRegisteredInSubNet) => done.benign += 1,
                    Some(refusal) => {
                        tracing::warn!(account = id, %refusal, "no uid on the ledger");
                        continue;
                    }
                }
            }
            let missing = STAKE.saturating_sub(stake.unwrap_or(0));
            if validator
                && missing > 0
                && let Some(refusal) = refused(self.subnet.ledger().add_stake(&hotkey, missing).await)?
            {
                tracing::warn!(account = id, %refusal, "no stake on the ledger");
            }
            if place % BEAT == BEAT - 1 {
                let book = &self.held.book;
                self.store
                    .beat(&self.means.worker, book.now.number, book.phase, false)
                    .await?;
            }
        }
        Ok(())
    }

    fn look(&self) {
        let now = &self.held.book.now;
        let mut sizes = BTreeMap::<u64, u64>::new();
        for meetup in now.seats.values() {
            *sizes.entry(*meetup).or_default() += 1;
        }
        tracing::info!(
            ceremony = now.number,
            seated = now.seats.len(),
            meetups = now.row.meetups,
            ?sizes,
            "meetups"
        );
    }

    async fn attest(&mut self, done: &mut Done) -> Result<(), CommunityError> {
        let Self { means, held, store, .. } = self;
        let (seed, traffic) = (held.seed.clone(), held.mix.traffic);
        let (attestations, benign) = store
            .update(held, |book| {
                let number = book.now.number;
                if !book.now.scored {
                    let measured = arena::play(&means.contest, &traffic, &contenders(book, false), number, &seed);
                    score(book, &measured, means.scoring, &seed);
                }
                attestations(book)
            })
            .await?;
        (done.attestations, done.benign) = (attestations, benign);
        self.weigh(done).await
    }

    /// Every validator sets its weights on the ledger.
    async fn weigh(&mut self, done: &mut Done) -> Result<(), CommunityError> {
        let metagraph = self.subnet.ledger().metagraph().await?;
        let hyperparameters = self.subnet.ledger().hyperparameters().await?;
        for (place, id) in validators(&self.held.book).into_iter().enumerate() {
            let scores: Vec<(u16, f64)> = self
                .held
                .book
                .accounts
                .iter()
                .filter(|account| !account.validator)
                .filter_map(|account| Some((metagraph.by_hotkey(&account.address)?.uid, account.track.average(place))))
                .collect();
            let (uids, values) = chain::weights::normalize(&scores);
            if uids.is_empty() {
                continue;
            }
            let call = WeightsCall {
                uids,
                values,
                version_key: hyperparameters.weights_version_key,
            };
            match refused(self.subnet.ledger().set_weights(&self.held.seed.hotkey(id), call).await)? {
                None => done.weights += 1,
                Some(LedgerRefusal::SettingWeightsTooFast { .. }) => done.benign += 1,
                Some(refusal) => tracing::warn!(account = id, %refusal, "no weights on the ledger"),
            }
        }
        Ok(())
    }
}

/// A refusal of the ledger is an answer; any other error is one.
fn refused<T>(answer: Result<T, LedgerError>) -> Result<Option<LedgerRefusal>, LedgerError> {
    match answer {
        Ok(_) => Ok(None),
        Err(LedgerError::Refused(refusal)) => Ok(Some(refusal)),
        Err(error) => Err(error),
    }
}

/// Everybody claims; gives the incomes paid, and how many had nothing to claim.
fn claims(book: &mut Book) -> (u64, u64) {
    let (mut paid, mut benign) = (0, 0);
    for id in 0..book.accounts.len() {
        match book.claim(u32::try_from(id).unwrap_or(u32::MAX)) {
            Ok(members) => paid += members,
            Err(refusal) if refusal.is_benign() => benign += 1,
            Err(refusal) => tracing::info!(account = id, %refusal, "not claimed"),
        }
    }
    (paid, benign)
}

/// Writes down what the miners of the ceremony before earned at its epoch.
fn incentives(book: &mut Book, metagraph: &Metagraph) {
    let Some(past) = &book.past else {
        return;
    };
    let mut by_role = BTreeMap::<Role, Vec<u16>>::new();
    let seated = past
        .seats
        .keys()
        .filter_map(|id| book.account(*id))
        .filter(|account| !account.validator);
    for account in seated {
        if let Some(neuron) = metagraph.by_hotkey(&account.address) {
            by_role.entry(account.role).or_default().push(neuron.incentive);
        }
    }
    if let Some(past) = &mut book.past {
        for (role, values) in by_role {
            past.row.roles.entry(role).or_default().incentive = Spread::of(&values);
        }
    }
}

/// Who has a seat, with the validators or without.
fn contenders(book: &Book, validators: bool) -> Vec<Contender> {
    let seated = book.now.seats.keys().filter_map(|id| book.account(*id));
    seated
        .filter(|account| validators || !account.validator)
        .map(|account| Contender {
            account: account.id,
            role: account.role,
            machine: account.machine,
        })
        .collect()
}

/// The accounts that set weights, in the order of their ids.
fn validators(book: &Book) -> Vec<u32> {
    let validators = book.accounts.iter().filter(|account| account.validator);
    validators.map(|account| account.id).collect()
}

/// Takes what was seen of the miners over into their averages, and writes it down.
fn score(book: &mut Book, measured: &BTreeMap<u32, Measured>, scoring: &dyn Scoring, seed: &Seed) {
    let validators = validators(book);
    let mut roles = BTreeMap::<Role, RoleRow>::new();
    let mut l99 = BTreeMap::<Role, Vec<u64>>::new();
    let mut detections = Vec::new();
    for (id, seen) in measured {
        let Some(account) = book.account_mut(*id) else {
            continue;
        };
        account.track.push(seen.asked, seen.violating, seen.found);
        let known = account.track.known();
        for (place, validator) in validators.iter().enumerate() {
            let sample = Sample::new(seen, arena::link(*validator, *id, seed), known);
            let average = scoring.smooth(account.track.average(place), scoring.score(&sample));
            account.track.set_average(place, average);
        }
        let row = roles.entry(account.role).or_default();
        row.miners += 1;
        row.asked += seen.asked;
        row.answered += seen.answered;
        row.correct += seen.correct;
        row.violating += seen.violating;
        row.found += seen.found;
        l99.entry(account.role)
            .or_default()
            .extend(percentile(&seen.latencies, 99));
        detections.extend_from_slice(&seen.detections);
    }
    for (role, mut latencies) in l99 {
        latencies.sort_unstable();
        roles.entry(role).or_default().l99 = percentile(&latencies, 50);
    }
    detections.sort_unstable();
    book.now.row.roles = roles;
    book.now.row.detection = percentile(&detections, 50).zip(percentile(&detections, 99));
    book.now.scored = true;
}

/// Everybody who is there says their word; gives the words said, and those said before.
fn attestations(book: &mut Book) -> (u64, u64) {
    let everybody = contenders(book, true);
    let present: BTreeSet<u32> = arena::present(&everybody, book.now.number);
    let mut meetups = BTreeMap::<u64, Vec<Member>>::new();
    for contender in &everybody {
        if let Some(meetup) = book.now.seats.get(&contender.account) {
            meetups.entry(*meetup).or_default().push(Member {
                account: contender.account,
                role: contender.role,
                present: present.contains(&contender.account),
            });
        }
    }
    let (mut said, mut benign) = (0, 0);
    for members in meetups.values() {
        for member in members {
            let Some(attestation) = word(member, members) else {
                continue;
            };
            match book.attest(member.account, attestation) {
                Ok(()) => said += 1,
                Err(refusal) if refusal.is_benign() => benign += 1,
                Err(refusal) => tracing::warn!(account = member.account, %refusal, "not attested"),
            }
        }
    }
    (said, benign)
}
