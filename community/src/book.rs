//! A community's book: accounts, registrations, seats, attestations and incomes, and the operations by which it moves.
//!
//! Pure: an operation is allowed in its phase, changes the book, or is refused and changes nothing. What the embedded ledger is to
//! weights and stake, the book is to ceremonies; [`crate::store`] keeps it, [`crate::duties`] drives it.

use std::collections::{BTreeMap, BTreeSet};

use chain::AccountId;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::account::{Account, Standing, Track};
use crate::assignment::{self, Counts, Draw};
use crate::growth;
use crate::meetup::{self, Attestation};
use crate::phase::Phase;
use crate::refusal::Refusal;
use crate::role::Role;
use crate::row::Row;
use crate::seed::Seed;
use crate::spec::Spec;

/// A ceremony under way, or the one before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ceremony {
    /// From 1.
    pub number: u64,
    /// Who registered, and as what.
    pub registered: BTreeMap<u32, Standing>,
    /// Who sits in which meetup, from 0.
    pub seats: BTreeMap<u32, u64>,
    /// What was said.
    pub said: BTreeMap<u32, Attestation>,
    /// Meetups whose income is paid.
    pub settled: BTreeSet<u64>,
    /// Whether the community has grown in it.
    pub grown: bool,
    /// The ledger's epoch in which it began; its weights count at the end of that epoch.
    pub epoch: u64,
    /// Whether the miners' answers are scored.
    pub scored: bool,
    /// What is written down of it.
    pub row: Row,
}

impl Ceremony {
    /// The one of this number, begun in this epoch of the ledger, before anything has happened.
    pub fn new(number: u64, epoch: u64) -> Self {
        Self {
            number,
            epoch,
            row: Row {
                ceremony: number,
                ..Row::default()
            },
            ..Self::default()
        }
    }
}

/// What a key can pay fees from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purse {
    /// RAO.
    pub balance: u64,
    /// RAO drawn from the faucet so far.
    pub drawn: u64,
}

/// Who is new after a community has grown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Growth {
    /// Whom somebody vouched for.
    pub endorsees: Vec<u32>,
    /// Whom nobody vouches for.
    pub newbies: Vec<u32>,
}

/// What a newcomer is.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer {
    /// Its hotkey.
    pub address: AccountId,
    /// Its role.
    pub role: Role,
    /// Its machine.
    pub machine: u64,
}

/// A community's book.
#[derive(Debug, Clone, PartialEq)]
pub struct Book {
    /// What the community is.
    pub spec: Spec,
    /// The phase.
    pub phase: Phase,
    /// By id.
    pub accounts: Vec<Account>,
    /// What keys can pay fees from.
    pub purses: BTreeMap<AccountId, Purse>,
    /// RAO that the faucet still has.
    pub faucet: u64,
    /// The ceremony under way.
    pub now: Ceremony,
    /// The one before.
    pub past: Option<Ceremony>,
}

impl Book {
    /// A community with its founders, in REGISTERING of its first ceremony, in an epoch of the ledger; the faucet begins with so many
    /// RAO.
    pub fn found(spec: Spec, faucet: u64, epoch: u64, mut newcomer: impl FnMut(u32) -> Newcomer) -> Self {
        let mut book = Self {
            phase: Phase::Registering,
            accounts: Vec::new(),
            purses: BTreeMap::new(),
            faucet,
            now: Ceremony::new(1, epoch),
            past: None,
            spec,
        };
        for _founder in 0..book.spec.bootstrappers {
            let id = book.add(&mut newcomer);
            let validator = u64::from(id) < book.spec.validators;
            let tickets = book.spec.rules.bootstrapper_tickets;
            if let Some(account) = book.account_mut(id) {
                account.bootstrapper = true;
                account.tickets = tickets;
                account.validator = validator;
            }
        }
        book
    }

    /// An account.
    pub fn account(&self, id: u32) -> Option<&Account> {
        self.accounts.get(id as usize)
    }

    pub(crate) fn account_mut(&mut self, id: u32) -> Option<&mut Account> {
        self.accounts.get_mut(id as usize)
    }

    /// Accounts.
    pub fn population(&self) -> u64 {
        self.accounts.len() as u64
    }

    /// What all own of the currency, in billionths.
    pub fn supply(&self) -> u64 {
        self.accounts
            .iter()
            .fold(0, |sum, account| sum.saturating_add(account.balance))
    }

    /// What a key can pay fees from.
    pub fn purse(&self, key: &AccountId) -> Purse {
        self.purses.get(key).copied().unwrap_or_default()
    }

    fn needs(&self, needs: Phase) -> Result<(), Refusal> {
        match self.phase == needs {
            true => Ok(()),
            false => Err(Refusal::WrongPhase { is: self.phase, needs }),
        }
    }

    fn add(&mut self, newcomer: &mut impl FnMut(u32) -> Newcomer) -> u32 {
        // A specification allows 60000 accounts.
        let id = u32::try_from(self.accounts.len()).unwrap_or(u32::MAX);
        let Newcomer { address, role, machine } = newcomer(id);
        self.accounts.push(Account {
            id,
            address,
            bootstrapper: false,
            validator: false,
            role,
            machine,
            tickets: 0,
            spent: 0,
            endorsed: false,
            attended: None,
            balance: 0,
            track: Track::default(),
        });
        id
    }

    /// Settles the meetup in which the account sat in the ceremony before: everybody who was there has the income.
    ///
    /// # Errors
    /// [`Refusal`]: no seat, settled already, nothing dependable was said (and the meetup is settled by that, without an income).
    pub fn claim(&mut self, id: u32) -> Result<u64, Refusal> {
        self.needs(Phase::Registering)?;
        let Some(past) = self.past.as_mut() else {
            return Err(Refusal::NotRegistered);
        };
        let meetup = *past.seats.get(&id).ok_or(Refusal::NotRegistered)?;
        if !past.settled.insert(meetup) {
            return Err(Refusal::RewardsAlreadyIssued);
        }
        let members: BTreeSet<u32> = past
            .seats
            .iter()
            .filter(|(_, place)| **place == meetup)
            .map(|(member, _)| *member)
            .collect();
        let outcome = match meetup::validate(&members, &past.said) {
            Ok(outcome) => outcome,
            Err(undependable) => {
                past.row.undependable += 1;
                return Err(undependable.into());
            }
        };
        for reason in outcome.excluded.values() {
            *past.row.excluded.entry(*reason).or_default() += 1;
        }
        let (number, income) = (past.number, self.spec.rules.income_of(past.number));
        for member in &outcome.rewarded {
            let Some(account) = self.accounts.get_mut(*member as usize) else {
                continue;
            };
            account.balance = account.balance.saturating_add(income);
            account.attended = Some(number);
            past.row.attended += 1;
            if !account.validator {
                past.row.roles.entry(account.role).or_default().attended += 1;
            }
        }
        Ok(outcome.rewarded.len() as u64)
    }

    /// Writes population and supply down, and lets the community grow by what they are: once in a ceremony, and not before anybody owns
    /// anything.
    ///
    /// # Errors
    /// Not now.
    pub fn grow(&mut self, mut newcomer: impl FnMut(u32) -> Newcomer) -> Result<Growth, Refusal> {
        self.needs(Phase::Registering)?;
        if self.now.grown {
            return Ok(Growth::default());
        }
        self.now.grown = true;
        let (population, supply, cap) = (self.population(), self.supply(), self.spec.max_population());
        self.now.row.population = population;
        self.now.row.supply = supply;
        if supply == 0 {
            return Ok(Growth::default());
        }
        let number = self.now.number;
        let tickets: Vec<(u32, u64)> = self
            .accounts
            .iter()
            .filter(|account| account.bootstrapper)
            .map(|account| (account.id, account.tickets_left(number, &self.spec.rules)))
            .collect();
        let demand = self.spec.rules.endorsees.min(cap.saturating_sub(population));
        let mut growth = Growth::default();
        for (sponsor, count) in growth::endorsements(&tickets, demand) {
            for _ticket in 0..count {
                let id = self.add(&mut newcomer);
                if self.endorse(sponsor, id).is_ok() {
                    growth.endorsees.push(id);
                }
            }
        }
        let newbies = growth::newbies(population, cap.saturating_sub(growth.endorsees.len() as u64));
        growth.newbies = (0..newbies).map(|_| self.add(&mut newcomer)).collect();
        Ok(growth)
    }

    /// One account vouches for another, with a ticket. A newbie that is registered already becomes an endorsee.
    ///
    /// # Errors
    /// [`Refusal`]: no ticket, vouched for already, not in REGISTERING.
    pub fn endorse(&mut self, sponsor: u32, newcomer: u32) -> Result<(), Refusal> {
        self.needs(Phase::Registering)?;
        let number = self.now.number;
        let standing = self.now.registered.get(&newcomer).copied();
        let account = self.account(newcomer).ok_or(Refusal::UnknownAccount(newcomer))?;
        if account.endorsed || standing.is_some_and(|standing| standing != Standing::Newbie) {
            return Err(Refusal::AlreadyEndorsed);
        }
        let from = self
            .accounts
            .get_mut(sponsor as usize)
            .ok_or(Refusal::UnknownAccount(sponsor))?;
        from.take_ticket(number, &self.spec.rules)
            .ok_or(Refusal::NoMoreTickets)?;
        if standing == Some(Standing::Newbie) {
            self.now.registered.insert(newcomer, Standing::Endorsee);
            self.now.row.registered.newbies -= 1;
            self.now.row.registered.endorsees += 1;
        } else if let Some(account) = self.account_mut(newcomer) {
            account.endorsed = true;
        }
        Ok(())
    }

    /// Registers an account for this ceremony; its purse pays the fee.
    ///
    /// # Errors
    /// [`Refusal`]: the first rule that it breaks.
    pub fn register(&mut self, id: u32) -> Result<Standing, Refusal> {
        self.needs(Phase::Registering)?;
        let number = self.now.number;
        let account = self.account(id).ok_or(Refusal::UnknownAccount(id))?;
        let (address, standing) = (account.address, account.standing(number, &self.spec.rules));
        if standing != Standing::Bootstrapper && self.accounts.iter().all(|account| account.balance == 0) {
            return Err(Refusal::OnlyBootstrappers);
        }
        if self.now.registered.contains_key(&id) {
            return Err(Refusal::AlreadyRegistered);
        }
        let fee = self.spec.rules.fee.rao();
        let purse = self.purse(&address);
        let Some(balance) = purse.balance.checked_sub(fee) else {
            let has = purse.balance;
            return Err(Refusal::FeeUnpayable { fee, has });
        };
        self.purses.insert(address, Purse { balance, ..purse });
        if standing == Standing::Endorsee
            && let Some(account) = self.account_mut(id)
        {
            account.endorsed = false;
        }
        self.now.registered.insert(id, standing);
        self.now.row.registered.add(standing);
        Ok(standing)
    }

    /// An account's word on its meetup.
    ///
    /// # Errors
    /// [`Refusal`]: no seat, said already, not in ATTESTING.
    pub fn attest(&mut self, id: u32, attestation: Attestation) -> Result<(), Refusal> {
        self.needs(Phase::Attesting)?;
        if !self.now.seats.contains_key(&id) {
            return Err(Refusal::NotAssigned);
        }
        if self.now.said.contains_key(&id) {
            return Err(Refusal::AlreadyAttested);
        }
        self.now.said.insert(id, attestation);
        Ok(())
    }

    /// The next phase begins. At the end of REGISTERING seats are given; at the end of ATTESTING the next ceremony begins.
    ///
    /// `epoch` is the ledger's, as it is then.
    pub fn advance(&mut self, seed: &Seed, epoch: u64) {
        let (next, new) = self.phase.next();
        if self.phase == Phase::Registering {
            self.assign(seed);
        }
        if new {
            let next = Ceremony::new(self.now.number + 1, epoch);
            self.past = Some(std::mem::replace(&mut self.now, next));
            for account in &mut self.accounts {
                account.spent = 0;
            }
        }
        self.phase = next;
    }

    fn assign(&mut self, seed: &Seed) {
        let rules = &self.spec.rules;
        let locations = self.spec.locations.len() as u64;
        let seated = assignment::seats(
            &self.now.row.registered,
            locations,
            rules.meetup_size,
            rules.newbie_divider,
        );
        let meetups = assignment::meetups(seated.sum(), rules.meetup_size);
        let mut rng = seed.rng("meetups", self.now.number);
        let mut seats = BTreeMap::new();
        // Of each standing those who joined first: who had no seat comes before whoever is newer.
        let first = |standing: Standing, count: u64| {
            let of = self.now.registered.iter().filter(move |(_, other)| **other == standing);
            of.map(|(id, _)| *id).take(usize::try_from(count).unwrap_or(usize::MAX))
        };
        let trusted: Vec<u32> = first(Standing::Bootstrapper, seated.bootstrappers)
            .chain(first(Standing::Reputable, seated.reputables))
            .collect();
        let endorsees: Vec<u32> = first(Standing::Endorsee, seated.endorsees).collect();
        let newbies: Vec<u32> = first(Standing::Newbie, seated.newbies).collect();
        for group in [trusted, endorsees, newbies] {
            let draw = Draw::new(group.len() as u64, rng.random(), rng.random());
            if meetups > 0 {
                seats.extend((0..).zip(group).map(|(index, id)| (id, draw.meetup(index, meetups))));
            }
        }
        self.now.row.seated = if meetups > 0 { seated } else { Counts::default() };
        self.now.row.meetups = meetups;
        self.now.seats = seats;
    }
}
