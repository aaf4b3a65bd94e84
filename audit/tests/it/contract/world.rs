//! A chain with a manager and a token, the same manager as a value beside it, and people who are told apart by a number.

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolCall;
use audit::rule::State;
use audit::rule::{Manager, Refusal, Settlement, Terms, Verdict, VerdictOutcome};
use contracts::{AuditManager, Contract, Token};
use testkit::{Chain, Receipt, Refused};

/// One whole token.
pub(crate) const WHOLE: u128 = 1_000_000_000_000_000_000;
pub(crate) const START: u64 = 1_600_000_000;
pub(crate) const STAKE: u128 = 100 * WHOLE;

pub(crate) fn who(number: u64) -> Address {
    Address::from_word(B256::from(U256::from(0x00ab_0000_u64 + number)))
}

/// Who deployed the manager, and has all tokens.
pub(crate) fn founder() -> Address {
    who(1)
}

pub(crate) fn owner(id: u32) -> Address {
    who(1_000 + u64::from(id))
}

pub(crate) fn operator(id: u32) -> Address {
    who(100_000 + u64::from(id))
}

/// The specification's, with a stake.
pub(crate) fn terms() -> Terms {
    Terms {
        min_stake: STAKE,
        ..Terms::default()
    }
}

/// A verdict that knows the whole epoch.
pub(crate) fn verdict(subject: u32, epoch: u32, failed: u32, latency: u32) -> Verdict {
    Verdict {
        subject,
        epoch,
        failed,
        known: terms().intervals(),
        latency,
    }
}

pub(crate) struct World {
    pub(crate) chain: Chain,
    pub(crate) token: Address,
    pub(crate) manager: Address,
    pub(crate) rule: Manager,
}

impl World {
    pub(crate) fn new(terms: Terms) -> Self {
        Self::with_token(terms, |chain| {
            let arguments = Token::constructorCall {
                name_: "Bounty".into(),
                symbol_: "BTY".into(),
                supply: U256::from(WHOLE) * U256::from(1_000_000_000_u64),
                holder: founder(),
            };
            chain.create(founder(), Contract::Token.creation(&arguments)).unwrap()
        })
    }

    pub(crate) fn with_token(terms: Terms, token: impl FnOnce(&mut Chain) -> Address) -> Self {
        let mut chain = Chain::at(START);
        let token = token(&mut chain);
        let manager = deploy(&mut chain, token, &terms).unwrap();
        Self {
            chain,
            token,
            manager,
            rule: Manager::new(terms, START),
        }
    }

    /// A network of so many nodes whose groups are whole, and a thousand tokens a day for them.
    pub(crate) fn network(terms: Terms, nodes: u32) -> Self {
        let mut world = Self::new(terms);
        for _ in 0..nodes {
            world.register(STAKE).unwrap();
        }
        world.fill_all();
        world.give(365_000 * WHOLE);
        world.release(START + 365 * 86_400).unwrap();
        world
    }

    pub(crate) fn act<C: SolCall>(&mut self, from: Address, call: &C) -> Result<Receipt, Refused> {
        self.chain.call(from, self.manager, call)
    }

    pub(crate) fn ask<C: SolCall>(&mut self, call: &C) -> C::Return {
        self.chain.view(self.manager, call).unwrap()
    }

    pub(crate) fn tokens(&mut self, account: Address) -> u128 {
        let call = Token::balanceOfCall { account };
        self.chain.view(self.token, &call).unwrap().to()
    }

    /// The hash of the block before, as the test chain has it.
    pub(crate) fn parent(&self) -> B256 {
        keccak256((self.chain.number() - 1).to_string())
    }

    // calls, each played to both

    pub(crate) fn register(&mut self, stake: u128) -> Result<u32, Refusal> {
        let id = self.ask(&AuditManager::nodeCountCall {}) + 1;
        self.endow(owner(id), stake);
        let call = AuditManager::registerCall {
            operator: operator(id),
            kind: u8::try_from(id % 4).unwrap(),
            hotkey: B256::from(U256::from(id)),
            endpoint: format!("http://10.0.0.{id}:50051"),
            stake,
        };
        let played = self.act(owner(id), &call);
        let (now, parent) = (self.chain.now(), self.parent());
        let (receipt, by_rule) = same(played, self.rule.register(stake, now, parent))?;
        assert_eq!(receipt.event::<AuditManager::NodeRegistered>().unwrap().id, by_rule);
        Ok(by_rule)
    }

    pub(crate) fn add_stake(&mut self, id: u32, amount: u128) -> Result<(), Refusal> {
        self.endow(founder(), amount);
        let played = self.act(founder(), &AuditManager::addStakeCall { id, amount });
        same(played, self.rule.add_stake(id, amount)).map(|_| ())
    }

    pub(crate) fn exit(&mut self, id: u32, by_owner: bool) -> Result<(), Refusal> {
        let from = if by_owner { owner(id) } else { who(7) };
        let played = self.act(from, &AuditManager::exitCall { id });
        let now = self.chain.now();
        same(played, self.rule.exit(id, by_owner, now)).map(|_| ())
    }

    pub(crate) fn withdraw_stake(&mut self, id: u32) -> Result<u128, Refusal> {
        let to = owner(id);
        let before = self.tokens(to);
        let played = self.act(owner(id), &AuditManager::withdrawStakeCall { id, to });
        let now = self.chain.now();
        let (_, amount) = same(played, self.rule.withdraw_stake(id, now))?;
        assert_eq!(self.tokens(to) - before, amount);
        Ok(amount)
    }

    pub(crate) fn fill(&mut self, subject: u32) -> Result<(), Refusal> {
        let played = self.act(who(7), &AuditManager::fillGroupCall { subject });
        let (now, parent) = (self.chain.now(), self.parent());
        same(played, self.rule.fill_group(subject, now, parent)).map(|_| ())
    }

    /// Completes every group that can be.
    pub(crate) fn fill_all(&mut self) {
        for subject in self.rule.active().to_vec() {
            match self.fill(subject) {
                Ok(()) | Err(Refusal::GroupIsWhole) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }

    pub(crate) fn report(&mut self, auditor: u32, verdicts: &[Verdict]) -> Result<Vec<VerdictOutcome>, Refusal> {
        let call = AuditManager::reportCall {
            auditor,
            verdicts: verdicts.iter().map(Into::into).collect(),
        };
        let played = self.act(operator(auditor), &call);
        let (now, parent) = (self.chain.now(), self.parent());
        let (receipt, outcomes) = same(played, self.rule.report(auditor, verdicts, now, parent))?;
        assert_eq!(outcomes_of(&receipt), outcomes);
        Ok(outcomes)
    }

    pub(crate) fn claim(&mut self, id: u32) -> Result<Settlement, Refusal> {
        let before = self.tokens(owner(id));
        let played = self.act(operator(id), &AuditManager::claimCall { id });
        let (now, parent) = (self.chain.now(), self.parent());
        let (receipt, settlement) = same(played, self.rule.claim(id, now, parent))?;
        let event = receipt.event::<AuditManager::BountyPaid>().unwrap();
        assert_eq!(Settlement::from(&event.settlement), settlement);
        assert_eq!(self.tokens(owner(id)) - before, settlement.bounty, "paid to the wei");
        Ok(settlement)
    }

    pub(crate) fn give(&mut self, amount: u128) {
        let call = Token::transferCall {
            to: self.manager,
            value: U256::from(amount),
        };
        self.chain.call(founder(), self.token, &call).unwrap();
        self.rule.give(amount);
    }

    pub(crate) fn release(&mut self, end: u64) -> Result<(), Refusal> {
        let played = self.act(founder(), &AuditManager::releaseCall { end });
        let now = self.chain.now();
        same(played, self.rule.release(end, now)).map(|_| ())
    }

    pub(crate) fn set_terms(&mut self, terms: Terms) {
        let config_ = (&terms).into();
        self.act(founder(), &AuditManager::setConfigCall { config_ }).unwrap();
        self.rule.terms = terms;
    }

    // longer ways

    pub(crate) fn group(&self, subject: u32) -> Vec<u32> {
        self.rule.node(subject).unwrap().group.clone()
    }

    pub(crate) fn epoch(&self, subject: u32) -> u32 {
        self.rule.node(subject).unwrap().epoch
    }

    /// The window of the subject's running epoch.
    pub(crate) fn window(&self, subject: u32) -> std::ops::Range<u64> {
        self.rule.terms.window(self.rule.node(subject).unwrap().start)
    }

    /// All of its group report the same.
    pub(crate) fn all_report(&mut self, subject: u32, failed: u32, latency: u32) {
        let epoch = self.epoch(subject);
        for auditor in self.group(subject) {
            self.report(auditor, &[verdict(subject, epoch, failed, latency)])
                .unwrap();
        }
    }

    /// Goes to the window, lets all of its group report the same, goes to the reward date and claims.
    pub(crate) fn round(&mut self, subject: u32, failed: u32, latency: u32) -> Settlement {
        let window = self.window(subject);
        self.chain.warp(window.start);
        self.all_report(subject, failed, latency);
        self.chain.warp(window.end);
        self.claim(subject).unwrap()
    }

    pub(crate) fn endow(&mut self, person: Address, amount: u128) {
        let (token, spender) = (self.token, self.manager);
        let transfer = Token::transferCall {
            to: person,
            value: U256::from(amount),
        };
        self.chain.call(founder(), token, &transfer).unwrap();
        let approve = Token::approveCall {
            spender,
            value: U256::MAX,
        };
        self.chain.call(person, token, &approve).unwrap();
    }

    // what has to be the same

    /// A node, field by field.
    pub(crate) fn compare(&mut self, id: u32) {
        let on_chain = self.ask(&AuditManager::nodeInfoCall { id });
        let words = self.ask(&AuditManager::verdictsOfCall { subject: id });
        let Some(node) = self.rule.node(id) else {
            assert_eq!(on_chain.state, 0);
            return;
        };
        let state = match node.state {
            State::Active => 1,
            State::Leaving => 2,
            State::Left => 3,
        };
        let position = self.rule.active().iter().position(|active| *active == id);
        assert_eq!((on_chain.state, on_chain.epoch), (state, node.epoch), "node {id}");
        assert_eq!(on_chain.position as usize, position.map_or(0, |at| at + 1));
        assert_eq!(on_chain.lastReward.to::<u64>(), node.start);
        assert_eq!(
            (on_chain.owed.to::<u32>(), on_chain.kept.to::<u32>()),
            (node.owed, node.kept)
        );
        assert_eq!(
            (on_chain.stake, on_chain.mark, on_chain.due),
            (node.stake, node.mark, node.due)
        );
        assert_eq!(on_chain.count as usize, node.verdicts.len());
        if let Some(seed) = node.seed {
            assert_eq!(on_chain.seed, seed);
        }
        assert_eq!(on_chain.group, node.group);
        let spent: BTreeSet<usize> = (0..64).filter(|bit| on_chain.spent >> bit & 1 == 1).collect();
        assert_eq!(spent, node.spent);
        let verdicts: Vec<_> = words
            .iter()
            .map(|word| ((word >> 56) as usize, (word >> 32) as u32 & 0xff_ffff, *word as u32))
            .collect();
        let by_rule: Vec<_> = node
            .verdicts
            .iter()
            .map(|it| (it.place, it.downtime, it.latency))
            .collect();
        assert_eq!(verdicts, by_rule);
        let settlement = self.ask(&AuditManager::settlementCall { id });
        let now = self.chain.now();
        assert_eq!(Settlement::from(&settlement), self.rule.settlement(id, now).unwrap());
    }

    /// Every node, the active set and the money.
    pub(crate) fn compare_all(&mut self) {
        let count = self.ask(&AuditManager::nodeCountCall {});
        assert_eq!(self.rule.nodes().count(), count as usize);
        for id in 0..=count + 1 {
            self.compare(id);
        }
        assert_eq!(self.ask(&AuditManager::activeNodesCall {}), self.rule.active());
        self.compare_money();
    }

    /// The money alone: what is there is what is owed.
    pub(crate) fn compare_money(&mut self) {
        let now = self.chain.now();
        let active = self.rule.active().len();
        let mut pool = *self.rule.pool();
        pool.sync(active, now);
        assert_eq!(self.ask(&AuditManager::promisedCall {}), U256::from(pool.promised()));
        assert_eq!(
            self.ask(&AuditManager::unreleasedCall {}),
            U256::from(pool.unreleased(now))
        );
        assert_eq!(self.ask(&AuditManager::rateCall {}), pool.rate());
        let staked = self.rule.total_stake();
        assert_eq!(self.ask(&AuditManager::totalStakeCall {}), U256::from(staked));
        assert_eq!(self.tokens(self.manager), pool.balance() + staked);
        assert!(pool.promised() + pool.unreleased(now) <= pool.balance());
        let owed: u128 = self
            .rule
            .nodes()
            .map(|(_, node)| match node.state {
                State::Active => pool.accrued() - node.mark,
                State::Leaving | State::Left => node.due,
            })
            .sum();
        assert_eq!(owed, pool.promised(), "what is promised is what the nodes are owed");
    }
}

pub(crate) fn deploy(chain: &mut Chain, token: Address, terms: &Terms) -> Result<Address, Refused> {
    let arguments = AuditManager::constructorCall {
        owner_: founder(),
        token_: token,
        config_: terms.into(),
    };
    chain.create(founder(), Contract::AuditManager.creation(&arguments))
}

/// What became of each verdict of a report, in order.
pub(crate) fn outcomes_of(receipt: &Receipt) -> Vec<VerdictOutcome> {
    use alloy::sol_types::SolEvent as _;
    let code = |log| {
        AuditManager::VerdictReported::decode_log(log)
            .map(|event| event.outcome)
            .or_else(|_| AuditManager::VerdictSkipped::decode_log(log).map(|event| event.outcome))
            .ok()
    };
    let outcomes = receipt.logs.iter().filter_map(code);
    outcomes.map(|code| VerdictOutcome::from_code(code).unwrap()).collect()
}

/// Both went through, or both were refused for the same reason.
#[track_caller]
fn same<T: std::fmt::Debug>(
    played: Result<Receipt, Refused>,
    by_rule: Result<T, Refusal>,
) -> Result<(Receipt, T), Refusal> {
    match (played, by_rule) {
        (Ok(receipt), Ok(value)) => Ok((receipt, value)),
        (Err(refused), Err(refusal)) => {
            assert_eq!(translate(&refused), Some(refusal), "{refused:?}");
            Err(refusal)
        }
        (played, by_rule) => panic!("the contract: {played:?}; the rule: {by_rule:?}"),
    }
}

/// The contract's refusal in the rule's words.
fn translate(refused: &Refused) -> Option<Refusal> {
    if let Some(error) = refused.decode::<AuditManager::WrongState>() {
        let state = [None, Some(State::Active), Some(State::Leaving), Some(State::Left)];
        let state = *state.get(usize::from(error.state))?;
        return Some(Refusal::WrongState { id: error.id, state });
    }
    if let Some(error) = refused.decode::<AuditManager::InsufficientStake>() {
        return Some(Refusal::InsufficientStake {
            amount: error.amount.to(),
            needed: error.needed.to(),
        });
    }
    if refused.is::<AuditManager::OnlyNodeOwner>() {
        return Some(Refusal::OnlyNodeOwner);
    }
    if let Some(error) = refused.decode::<AuditManager::TooEarly>() {
        return Some(Refusal::TooEarly {
            next_reward: error.nextReward.to(),
        });
    }
    if let Some(error) = refused.decode::<AuditManager::TooLateToFill>() {
        return Some(Refusal::TooLateToFill {
            until: error.until.to(),
        });
    }
    if refused.is::<AuditManager::GroupIsWhole>() {
        return Some(Refusal::GroupIsWhole);
    }
    if let Some(error) = refused.decode::<AuditManager::NothingReported>() {
        return Some(Refusal::NothingReported {
            outcome: VerdictOutcome::from_code(error.outcome),
        });
    }
    if refused.is::<AuditManager::BatchSize>() {
        return Some(Refusal::NothingReported { outcome: None });
    }
    refused
        .is::<AuditManager::NothingToRelease>()
        .then(|| audit::rule::pool::NothingToRelease.into())
}
