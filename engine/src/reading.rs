//! What a program reads, from the live journal or from the states before and after several transactions.

use std::{cell::Cell, sync::LazyLock};

use alloy::primitives::{KECCAK256_EMPTY, Log};

use crate::{
    Account, Address, Context, EngineError, Reason, State, StateError, Transaction, U256,
    evm::Machine,
    lang::{LogRef, Moment, Reader, Source},
    views::{Learnt, Word},
};

/// A slot's word, or an account, before and after.
pub(crate) type Both<T> = Result<(T, T), StateError>;

/// The two states that an invariant is judged on.
pub(crate) trait States {
    fn words(&self, contract: Address, slot: U256) -> Both<U256>;
    fn accounts(&self, address: Address) -> Both<Option<Account>>;
    /// What was logged in between.
    fn logs(&self) -> &[Log];
}

/// Before and after the transaction that is on the journal.
pub(crate) struct Live<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) state: &'a dyn State,
}

impl States for Live<'_> {
    fn words(&self, contract: Address, slot: U256) -> Both<U256> {
        self.machine.words(self.state, contract, slot)
    }
    fn accounts(&self, address: Address) -> Both<Option<Account>> {
        self.machine.account(self.state, address)
    }
    fn logs(&self) -> &[Log] {
        self.machine.logs()
    }
}

/// Of a view that nobody called.
static NOT_RUN: LazyLock<Word> = LazyLock::new(|| Err(Reason::Unsupported("view not run".to_owned())));

/// Reads for one set around one transaction.
pub(crate) struct Sources<'a> {
    pub(crate) states: &'a dyn States,
    pub(crate) on: Context<'a>,
    pub(crate) tx: &'a Transaction,
    learnt: Option<&'a Learnt>,
    /// Words of those views that were run afterwards, in the order of the set's views.
    after: &'a [(u32, Word)],
    /// Where in `after` the next one is likely to stand.
    next: Cell<usize>,
    /// Why judging must stop.
    pub(crate) broken: Option<EngineError>,
}

impl<'a> Sources<'a> {
    /// Reads from these two states; `after` has the words of those views that were run on the later one, in rising order.
    pub(crate) fn new(
        states: &'a dyn States,
        on: Context<'a>,
        tx: &'a Transaction,
        learnt: Option<&'a Learnt>,
        after: &'a [(u32, Word)],
    ) -> Self {
        Self {
            states,
            on,
            tx,
            learnt,
            after,
            next: Cell::default(),
            broken: None,
        }
    }

    /// What a view says before and after.
    #[inline]
    pub(crate) fn view(&self, place: u32) -> (Result<U256, &Reason>, Result<U256, &Reason>) {
        let before = self
            .learnt
            .and_then(|learnt| learnt.word(place))
            .unwrap_or_else(|| &NOT_RUN);
        // Most are asked for in the order in which they were run.
        let next = self.next.get();
        let found = match self.after.get(next) {
            Some((known, _)) if *known == place => Ok(next),
            _ => self.after.binary_search_by_key(&place, |(place, _)| *place),
        };
        let after = match found {
            Ok(index) => {
                self.next.set(index + 1);
                self.after.get(index).map_or_else(|| &*NOT_RUN, |(_, word)| word)
            }
            // Nothing that it reads was written.
            Err(_) => before,
        };
        (before.as_ref().copied(), after.as_ref().copied())
    }

    fn known<T>(&mut self, read: Result<T, StateError>) -> Result<T, Reason> {
        read.map_err(|error| self.reason(error))
    }

    /// Why something is undecided that could not be read; a broken source stops judging.
    pub(crate) fn reason(&mut self, error: StateError) -> Reason {
        match error {
            StateError::Missing(what) => Reason::MissingState(what),
            StateError::Broken(why) => {
                let reason = Reason::Unsupported(format!("state source broken: {why}"));
                self.broken = Some(EngineError::State(why));
                reason
            }
        }
    }

    fn account(&mut self, moment: Moment, address: Address) -> Result<Option<Account>, Reason> {
        let both = self.states.accounts(address);
        self.known(both).map(|both| at(moment, both))
    }
}

fn at<T>(moment: Moment, (before, after): (T, T)) -> T {
    match moment {
        Moment::Pre => before,
        Moment::Post => after,
    }
}

impl Reader for Sources<'_> {
    fn read(&mut self, moment: Moment, source: &Source) -> Result<U256, Reason> {
        Ok(match source {
            Source::Slot { contract, slot, .. } => {
                let both = self.states.words(*contract, *slot);
                at(moment, self.known(both)?)
            }
            Source::Balance(address) => self
                .account(moment, *address)?
                .map_or(U256::ZERO, |account| account.balance),
            Source::Nonce(address) => self
                .account(moment, *address)?
                .map_or(U256::ZERO, |account| U256::from(account.nonce)),
            Source::CodeHash(address) => self.account(moment, *address)?.map_or(U256::ZERO, code_hash),
            Source::View(view) => match self.on.set.place_of(view) {
                Some(place) => at(moment, self.view(place)).map_err(Reason::clone)?,
                None => return Err(Reason::Unsupported("view is not of this set".to_owned())),
            },
            Source::Logs(_) => return Err(Reason::Unsupported("logs are not one word".to_owned())),
            Source::BlockNumber => U256::from(self.on.env.number),
            Source::BlockTimestamp => U256::from(self.on.env.timestamp),
            Source::BaseFee => U256::from(self.on.env.base_fee),
            Source::TxSender => address_word(self.tx.sender()),
            Source::TxTo => self.tx.to().map_or(U256::ZERO, address_word),
            Source::TxValue => self.tx.value(),
        })
    }

    fn logs(&mut self, visit: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason> {
        for log in self.states.logs() {
            visit(LogRef {
                emitter: log.address,
                topics: log.topics(),
                data: &log.data.data,
            });
        }
        Ok(())
    }
}

/// As `EXTCODEHASH` gives it (EIP-1052).
fn code_hash(account: Account) -> U256 {
    let code_hash = if account.has_code() {
        account.code_hash
    } else {
        KECCAK256_EMPTY
    };
    if code_hash == KECCAK256_EMPTY && account.nonce == 0 && account.balance.is_zero() {
        return U256::ZERO;
    }
    code_hash.into()
}

fn address_word(address: Address) -> U256 {
    address.into_word().into()
}
