//! What an invariant reads, before and after one executed transaction: also of one that holds, for which the engine keeps nothing.
//!
//! Storage and accounts are looked up in the two states. What a view returned or what was logged is asked of the engine: as the
//! margin of `source >= 0`.

use std::collections::BTreeMap;

use engine::{
    Account, Address, BlockEnv, CompleteState, Context, Engine, Margins, Options, ProgramInvariant, Reason, State,
    StateError, Transaction, U256, ValueType, WatchSet, Watched,
    lang::{Evaluator, LogRef, Moment, Names, Reader, Source, View, Wide, parse},
};

use super::{exit::Failure, text};

/// A transaction and the states around it.
pub(crate) struct Around<'a> {
    pub(crate) env: &'a BlockEnv,
    pub(crate) tx: &'a Transaction,
    pub(crate) pre: &'a CompleteState,
    pub(crate) post: &'a CompleteState,
    /// By the text of the source: what views returned and logs amount to.
    asked: BTreeMap<String, Margins>,
}

/// One thing that an invariant reads, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) label: String,
    pub(crate) source: Source,
    /// `None` where there is none, or it is not known.
    pub(crate) pre: Option<String>,
    pub(crate) post: Option<String>,
}

impl<'a> Around<'a> {
    /// Asks the engine for what the states themselves do not say.
    pub(crate) fn new(
        engine: &mut Engine,
        (env, tx): (&'a BlockEnv, &'a Transaction),
        (pre, post): (&'a CompleteState, &'a CompleteState),
        set: &WatchSet,
    ) -> Result<Self, Failure> {
        let mut keys = Vec::new();
        let mut questions = Vec::new();
        for (_, source) in set.watched().iter().flat_map(Watched::sources) {
            let key = source.to_string();
            let Some(question) = question(&source).filter(|_| !keys.contains(&key)) else {
                continue;
            };
            // The sources stand in a program already, so they parse.
            let Ok(program) = parse(&question, &Names::default()) else {
                continue;
            };
            questions.push(Watched::Program(ProgramInvariant {
                id: keys.len() as u64,
                name: String::new(),
                program,
            }));
            keys.push(key);
        }
        let mut asked = BTreeMap::new();
        if let (false, Ok(set)) = (questions.is_empty(), WatchSet::new(questions)) {
            let outcome = engine.judge_watched(tx, Context::new(env, pre, &set, &Options::default()))?;
            for judgement in outcome.judgements {
                let key = usize::try_from(judgement.invariant_id)
                    .ok()
                    .and_then(|place| keys.get(place));
                if let (Some(key), Some(margin)) = (key, judgement.margin) {
                    asked.insert(key.clone(), margin);
                }
            }
        }
        Ok(Self {
            env,
            tx,
            pre,
            post,
            asked,
        })
    }

    /// What an invariant reads.
    pub(crate) fn observe(&mut self, watched: &Watched) -> Vec<Observation> {
        let observed = |(label, source): (String, Source)| {
            let (pre, post) = match &source {
                Source::Logs(_) => (
                    None,
                    self.asked
                        .get(&source.to_string())
                        .map(|margin| margin.post.to_string()),
                ),
                _ => {
                    let post = self.value(Moment::Post, &source);
                    let pre = if source.is_state() {
                        self.value(Moment::Pre, &source)
                    } else {
                        None
                    };
                    (pre, post)
                }
            };
            Observation {
                label,
                source,
                pre,
                post,
            }
        };
        watched.sources().into_iter().map(observed).collect()
    }

    /// Margins of an invariant that the transaction could not change, and that the engine therefore did not evaluate.
    pub(crate) fn margins(&mut self, watched: &Watched, expression: &str) -> Option<Margins> {
        let program = match watched {
            Watched::Program(invariant) => invariant.program.clone(),
            _ => parse(expression, &Names::default()).ok()?,
        };
        let evaluation = Evaluator::default().evaluate(&program, self);
        let (pre, post) = evaluation.before.margin.zip(evaluation.after.margin)?;
        Some(Margins { pre, post })
    }

    fn value(&self, moment: Moment, source: &Source) -> Option<String> {
        let word = self.word(moment, source).ok()?;
        Some(text::value(source.value_type(), source.decode(word)?))
    }

    fn word(&self, moment: Moment, source: &Source) -> Result<U256, Reason> {
        let state = match moment {
            Moment::Pre => self.pre,
            Moment::Post => self.post,
        };
        let account = |address: Address| known(state.account(address));
        let word = |address: Address| U256::from_be_bytes(address.into_word().0);
        Ok(match source {
            Source::Slot { contract, slot, .. } => known(state.storage(*contract, *slot))?,
            Source::Balance(address) => account(*address)?.unwrap_or_default().balance,
            Source::Nonce(address) => U256::from(account(*address)?.unwrap_or_default().nonce),
            Source::CodeHash(address) => account(*address)?.map_or(U256::ZERO, code_hash),
            Source::View(_) => {
                let margin = self.asked.get(&source.to_string()).ok_or_else(not_asked)?;
                let value = if moment == Moment::Pre { margin.pre } else { margin.post };
                value.to_value(ValueType::Uint(256)).ok_or_else(not_asked)?
            }
            Source::Logs(_) => return Err(not_asked()),
            Source::BlockNumber => U256::from(self.env.number),
            Source::BlockTimestamp => U256::from(self.env.timestamp),
            Source::BaseFee => U256::from(self.env.base_fee),
            Source::TxSender => word(self.tx.sender()),
            Source::TxTo => self.tx.to().map_or(U256::ZERO, word),
            Source::TxValue => self.tx.value(),
        })
    }
}

impl Reader for Around<'_> {
    fn read(&mut self, moment: Moment, source: &Source) -> Result<U256, Reason> {
        self.word(moment, source)
    }
    /// Only asked for invariants that the logs did not concern: for them there are none.
    fn logs(&mut self, _: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason> {
        Ok(())
    }
}

fn not_asked() -> Reason {
    Reason::Unsupported("no value".to_owned())
}

fn known<T>(read: Result<T, StateError>) -> Result<T, Reason> {
    read.map_err(|error| match error {
        StateError::Missing(what) => Reason::MissingState(what),
        StateError::Broken(why) => Reason::Unsupported(why),
    })
}

/// As `EXTCODEHASH` gives it (EIP-1052).
fn code_hash(account: Account) -> U256 {
    let empty = !account.has_code() && account.nonce == 0 && account.balance.is_zero();
    if empty { U256::ZERO } else { account.code_hash.into() }
}

/// An expression that always holds, is always evaluated (it reads the block), and has the raw value as its margin.
fn question(source: &Source) -> Option<String> {
    let raw = match source {
        Source::View(view) => Source::View(Box::new(View {
            value_type: ValueType::Uint(256),
            ..(**view).clone()
        })),
        Source::Logs(_) => source.clone(),
        _ => return None,
    };
    Some(format!("{raw} + block.number - block.number >= 0"))
}

/// Text of a margin.
pub(crate) fn margin(margin: Option<Wide>) -> Option<String> {
    margin.map(|margin| margin.to_string())
}
