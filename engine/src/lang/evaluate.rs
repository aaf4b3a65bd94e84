//! From what was read to what it means: a program is run over the values of its sources, before and after a transaction.
//!
//! Every source is read exactly once, in the order of the expression, so that a witness lists the same values on every machine.
//! Logic is three-valued (Kleene): what cannot be known makes undecided only what depends on it. Nothing is allocated once the
//! buffers of the [`Evaluator`] are large enough, unless something cannot be read.
//!
//! The margin is the signed distance of a predicate from breaking, in the unit of what is compared, rounded down: it is at least
//! zero exactly when the predicate holds. `a >= b` has the margin `a - b`, `a > b` has `a - b - 1`, `a == b` has `-|a - b|`. Of
//! `and` it is the least, of `or` the greatest; what compares no numbers has none.

use super::{
    program::{Aggregate, LogField, LogQuery, Moment, Program, Read, Source, decode_abi},
    run::{Cell, Lack, Stacks, run},
    wide::Wide,
};
use crate::{Address, B256, Reason, Transition, U256, ValueType};

/// Where a program's values come from. The runtime implements it over a journal, a test over a table.
pub trait Reader {
    /// The raw word of a source: the whole storage slot, the whole word of return data, an account's field, a number of the block
    /// or the transaction. It is never asked for [`Source::Logs`], and for what is not state only at [`Moment::Post`].
    ///
    /// # Errors
    /// Why it is not known; the predicate is then undecided where it depends on it.
    fn read(&mut self, moment: Moment, source: &Source) -> Result<U256, Reason>;

    /// Shows every log that the transaction left, in order; none when it reverted.
    ///
    /// # Errors
    /// Why they are not known.
    fn logs(&mut self, visit: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason>;
}

/// One log, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct LogRef<'a> {
    /// Who emitted it.
    pub emitter: Address,
    /// Its topics, at most four.
    pub topics: &'a [B256],
    /// Its data.
    pub data: &'a [u8],
}

/// Why a predicate is undecided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something cannot be read.
    #[error("{label}: {reason}")]
    Unread {
        /// What, as the expression calls it.
        label: String,
        /// Why not.
        reason: Reason,
    },
    /// What was read is no value of its type.
    #[error("{label}: what was read is no {value_type}; does the ABI or layout match the contract?")]
    NotOfType {
        /// What, as the expression calls it.
        label: String,
        /// The type it should have.
        value_type: ValueType,
    },
    /// A divisor is zero.
    #[error("division by zero")]
    DivisionByZero,
    /// An intermediate result needs more than 512 bits.
    #[error("a result needs more than 512 bits")]
    Overflow,
}

/// What a predicate says at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether it holds, or why that is not known.
    pub holds: Result<bool, Fault>,
    /// Signed distance from breaking; `None` when it is not known or the predicate compares no numbers.
    pub margin: Option<Wide>,
}

/// What a predicate says before and after a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// After the transaction.
    pub after: Judged,
    /// Had the transaction changed nothing and logged nothing: every source of state as it was before. For a predicate that
    /// speaks of a change or of events ([`Program::is_relational`]) this is only where its margin stood.
    pub before: Judged,
    /// Copied from the program.
    pub relational: bool,
}

impl Evaluation {
    /// What the transaction did to the predicate; `None` when that is not known. A relational predicate is taken to have held.
    #[must_use]
    pub const fn transition(&self) -> Option<Transition> {
        let held = match (self.relational, &self.before.holds) {
            (true, _) | (false, Ok(true)) => true,
            (false, Ok(false)) => false,
            (false, Err(_)) => return None,
        };
        Some(match (held, &self.after.holds) {
            (_, Err(_)) => return None,
            (true, Ok(true)) => Transition::Kept,
            (true, Ok(false)) => Transition::Broke,
            (false, Ok(true)) => Transition::Restored,
            (false, Ok(false)) => Transition::StayedBroken,
        })
    }

    /// Whether the transaction broke the predicate. It did not when the predicate holds afterwards, whatever is known of before.
    ///
    /// # Errors
    /// Why that is not known.
    pub fn violated(&self) -> Result<bool, &Fault> {
        match &self.after.holds {
            Ok(true) => Ok(false),
            Ok(false) if self.relational => Ok(true),
            Ok(false) => self.before.holds.as_ref().copied(),
            Err(fault) => Err(fault),
        }
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unread { reason, .. } => reason,
            Fault::NotOfType { .. } => Self::Unsupported(fault.to_string()),
            Fault::DivisionByZero | Fault::Overflow => Self::Arithmetic(fault.to_string()),
        }
    }
}

/// A value that was read, for a witness.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// When, what, and how the expression calls it.
    pub read: &'a Read,
    /// The value as a number (addresses and fixed bytes too, truths as 0 and 1); `None` when it could not be read.
    pub value: Option<Wide>,
}

/// Runs programs, one after another, in buffers that it keeps.
#[derive(Debug, Default)]
pub struct Evaluator {
    after: Vec<Cell<Wide>>,
    before: Vec<Cell<Wide>>,
    stacks: Stacks,
    reasons: Vec<(u16, Reason)>,
}

/// Runs a program once; [`Evaluator`] keeps its buffers.
pub fn evaluate(program: &Program, reader: &mut dyn Reader) -> Evaluation {
    Evaluator::default().evaluate(program, reader)
}

impl Evaluator {
    /// Judges both moments.
    pub fn evaluate(&mut self, program: &Program, reader: &mut dyn Reader) -> Evaluation {
        Evaluation {
            after: self.after(program, reader),
            before: self.before(program, reader),
            relational: program.is_relational(),
        }
    }

    /// Reads every source of the program and judges it after the transaction.
    pub fn after(&mut self, program: &Program, reader: &mut dyn Reader) -> Judged {
        self.after.clear();
        self.reasons.clear();
        for (index, read) in program.reads().iter().enumerate() {
            let cell = fetch(index, read.moment, read, reader, &mut self.reasons);
            self.after.push(cell);
        }
        let cell = run(program, &self.after, &mut self.stacks);
        judged(cell, program, &self.reasons)
    }

    /// Judges as if the transaction had changed nothing and logged nothing. To be called after [`Self::after`] on the same program
    /// and reader, whose values it uses again.
    pub fn before(&mut self, program: &Program, reader: &mut dyn Reader) -> Judged {
        self.before.clear();
        self.reasons.clear();
        let twins = &program.compiled().twins;
        for (index, read) in program.reads().iter().enumerate() {
            let known = match (read.moment, &read.source) {
                (Moment::Post, Source::Logs(_)) => Some(Cell::Number(Wide::ZERO)),
                (Moment::Post, source) if source.is_state() => {
                    let twin = twins.get(index).copied().flatten();
                    twin.and_then(|twin| self.after.get(usize::from(twin)).copied())
                }
                _ => self.after.get(index).copied(),
            };
            // What could not be read is asked for again, to learn why.
            let cell = match known {
                Some(cell @ (Cell::Number(_) | Cell::Truth(..))) => cell,
                _ => {
                    let moment = if read.source.is_state() {
                        Moment::Pre
                    } else {
                        read.moment
                    };
                    fetch(index, moment, read, reader, &mut self.reasons)
                }
            };
            self.before.push(cell);
        }
        let cell = run(program, &self.before, &mut self.stacks);
        judged(cell, program, &self.reasons)
    }

    /// What the last [`Self::after`] of this program read, in the order of the expression.
    pub fn observed<'a>(&'a self, program: &'a Program) -> impl Iterator<Item = Observed<'a>> {
        program.reads().iter().zip(&self.after).map(|(read, cell)| Observed {
            read,
            value: match cell {
                Cell::Number(value) => Some(*value),
                Cell::Truth(truth, _) => Some(Wide::from(u64::from(*truth))),
                Cell::Unknown(_) => None,
            },
        })
    }
}

fn fetch(
    index: usize,
    moment: Moment,
    read: &Read,
    reader: &mut dyn Reader,
    reasons: &mut Vec<(u16, Reason)>,
) -> Cell<Wide> {
    // A program has at most `MAX_READS` of them.
    let index = u16::try_from(index).unwrap_or(u16::MAX);
    let mut unread = |reason| {
        reasons.push((index, reason));
        Cell::Unknown(Lack::Unread(index))
    };
    if let Source::Logs(query) = &read.source {
        let mut total = Ok(Wide::ZERO);
        let visited = reader.logs(&mut |log| {
            if let Ok(sum) = total {
                total = add(query, sum, log);
            }
        });
        return match (visited, total) {
            (Err(reason), _) => unread(reason),
            (Ok(()), Ok(total)) => Cell::Number(total),
            (Ok(()), Err(Malformed::NotOfType)) => Cell::Unknown(Lack::NotOfType(index)),
            (Ok(()), Err(Malformed::Overflow)) => Cell::Unknown(Lack::Overflow),
        };
    }
    let word = match reader.read(moment, &read.source) {
        Ok(word) => word,
        Err(reason) => return unread(reason),
    };
    match (read.source.decode(word), read.source.value_type()) {
        (None, _) => Cell::Unknown(Lack::NotOfType(index)),
        (Some(value), ValueType::Bool) => Cell::Truth(!value.is_zero(), None),
        (Some(value), value_type) => Cell::Number(Wide::from_value(value_type, value)),
    }
}

/// Why a log cannot be added.
enum Malformed {
    NotOfType,
    Overflow,
}

/// What a query makes of one more log.
fn add(query: &LogQuery, total: Wide, log: LogRef<'_>) -> Result<Wide, Malformed> {
    let Some((topic0, topics)) = log.topics.split_first() else {
        return Ok(total);
    };
    let wanted = *topic0 == query.topic0
        && query.emitter.is_none_or(|emitter| emitter == log.emitter)
        && topics.len() == query.topics.len()
        && topics
            .iter()
            .zip(&query.topics)
            .all(|(topic, wanted)| wanted.is_none_or(|wanted| wanted == *topic));
    if !wanted {
        return Ok(total);
    }
    let more = match query.aggregate {
        Aggregate::Count => Wide::from(1),
        Aggregate::Sum { field, value_type } => {
            let word = match field {
                LogField::Topic(index) => log
                    .topics
                    .get(usize::from(index))
                    .map(|topic| U256::from_be_bytes(topic.0)),
                LogField::Data(index) => {
                    let start = usize::from(index) * 32;
                    log.data.get(start..start + 32).and_then(U256::try_from_be_slice)
                }
            };
            let value = word.and_then(|word| decode_abi(value_type, word));
            Wide::from_value(value_type, value.ok_or(Malformed::NotOfType)?)
        }
    };
    total.checked_add(more).ok_or(Malformed::Overflow)
}

fn judged(cell: Cell<Wide>, program: &Program, reasons: &[(u16, Reason)]) -> Judged {
    let label = |index: u16| {
        let read = program.reads().get(usize::from(index));
        read.map_or_else(String::new, |read| read.label.to_string())
    };
    let fault = match cell {
        Cell::Truth(holds, margin) => {
            return Judged {
                holds: Ok(holds),
                margin,
            };
        }
        // A predicate is never a number.
        Cell::Number(_) => Fault::Overflow,
        Cell::Unknown(Lack::Overflow) => Fault::Overflow,
        Cell::Unknown(Lack::DivisionByZero) => Fault::DivisionByZero,
        Cell::Unknown(Lack::NotOfType(index)) => Fault::NotOfType {
            label: label(index),
            value_type: program
                .reads()
                .get(usize::from(index))
                .map_or(ValueType::Uint(256), |read| read.source.value_type()),
        },
        Cell::Unknown(Lack::Unread(index)) => {
            let reason = reasons
                .iter()
                .find(|(of, _)| *of == index)
                .map(|(_, reason)| reason.clone());
            Fault::Unread {
                label: label(index),
                reason: reason.unwrap_or_else(|| Reason::Unsupported("not read".to_owned())),
            }
        }
    };
    Judged {
        holds: Err(fault),
        margin: None,
    }
}
