//! What an expression becomes: sources to read, and a flat program over their values.
//!
//! A program knows no names, ABI or layout any more. It is compiled once, immutable, and cheap to clone. Its canonical text
//! ([`std::fmt::Display`], in `print`) parses back to an equal program.

use std::{fmt, sync::Arc};

use super::{code::emit, node::Node, wide::Wide};
use crate::{Address, B256, Bytes, U256, ValueType};

/// When something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Moment {
    /// On the state before the transaction.
    Pre,
    /// On the state after the whole transaction.
    Post,
}

/// What is read. Values of accounts and storage differ between the moments; all others are the same at both, and logs exist
/// only after.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A value in a storage slot. The length of a dynamic array is one too.
    Slot {
        /// Whose storage.
        contract: Address,
        /// Slot, after all hashing.
        slot: U256,
        /// How the value is read.
        value_type: ValueType,
        /// Bytes from the low-order end of the slot.
        offset: u8,
    },
    /// Balance of an account in wei; zero when it does not exist.
    Balance(Address),
    /// Nonce of an account; zero when it does not exist.
    Nonce(Address),
    /// Code hash of an account as `EXTCODEHASH` gives it: zero when the account does not exist or is empty (EIP-1052).
    CodeHash(Address),
    /// One 32-byte word of what a static call returns. Boxed: it is rare and large.
    View(Box<View>),
    /// Over the logs that the transaction left.
    Logs(Box<LogQuery>),
    /// Number of the block that the transaction is executed in.
    BlockNumber,
    /// Time of that block, seconds since 1970.
    BlockTimestamp,
    /// Base fee of that block in wei.
    BaseFee,
    /// Who signed the transaction.
    TxSender,
    /// Whom it calls; the zero address when it creates a contract.
    TxTo,
    /// The ether it carries, in wei.
    TxValue,
}

/// A static call and the word of its return data that is meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Whom it calls.
    pub contract: Address,
    /// Selector and arguments.
    pub calldata: Bytes,
    /// Which 32-byte word of the return data, from 0.
    pub word: u8,
    /// How that word is read.
    pub value_type: ValueType,
}

/// Which logs count, and what is made of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogQuery {
    /// Who must have emitted the log; `None` for anybody.
    pub emitter: Option<Address>,
    /// Hash of the event's signature.
    pub topic0: B256,
    /// One for each indexed parameter of the event: the value it must have, or `None` for any. At most three. A log with another
    /// number of topics is another event with the same signature (ERC-20 and ERC-721 `Transfer`) and never counts.
    pub topics: Vec<Option<B256>>,
    /// What is made of the logs found.
    pub aggregate: Aggregate,
}

/// What is made of a number of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// How many there are.
    Count,
    /// The sum of one parameter.
    Sum {
        /// Where it lies.
        field: LogField,
        /// How it is read.
        value_type: ValueType,
    },
}

/// Where a parameter of an event lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogField {
    /// In the data: which 32-byte word, from 0.
    Data(u8),
    /// In the topics: which one, 1 to 3 (0 is the event's signature).
    Topic(u8),
}

impl Source {
    /// The type of what is read.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Slot { value_type, .. } => *value_type,
            Self::View(view) => view.value_type,
            Self::Logs(query) => match query.aggregate {
                Aggregate::Count => ValueType::Uint(64),
                Aggregate::Sum { value_type, .. } => value_type,
            },
            Self::Balance(_) | Self::BaseFee | Self::TxValue => ValueType::Uint(256),
            Self::Nonce(_) | Self::BlockNumber | Self::BlockTimestamp => ValueType::Uint(64),
            Self::CodeHash(_) => ValueType::FixedBytes(32),
            Self::TxSender | Self::TxTo => ValueType::Address,
        }
    }

    /// The contract or account that is read; `None` where there is none (block, transaction, logs of anybody).
    #[must_use]
    pub fn contract(&self) -> Option<Address> {
        match self {
            Self::Slot { contract: of, .. } | Self::Balance(of) | Self::Nonce(of) | Self::CodeHash(of) => Some(*of),
            Self::View(view) => Some(view.contract),
            Self::Logs(query) => query.emitter,
            Self::BlockNumber | Self::BlockTimestamp | Self::BaseFee => None,
            Self::TxSender | Self::TxTo | Self::TxValue => None,
        }
    }

    /// True when the transaction may change it, so that before and after are different readings.
    #[must_use]
    pub const fn is_state(&self) -> bool {
        matches!(
            self,
            Self::Slot { .. } | Self::Balance(_) | Self::Nonce(_) | Self::CodeHash(_) | Self::View(_)
        )
    }

    /// True when it speaks of the block or the transaction and not of state or logs: it may differ from one transaction to the
    /// next though nothing was written.
    #[must_use]
    pub const fn is_environment(&self) -> bool {
        matches!(
            self,
            Self::BlockNumber | Self::BlockTimestamp | Self::BaseFee | Self::TxSender | Self::TxTo | Self::TxValue
        )
    }

    /// The decoded value in a raw word: storage as solc packs it, return data and topics as the ABI pads them. `None` when the
    /// word is no value of the type. Logs are not words.
    #[must_use]
    pub fn decode(&self, word: U256) -> Option<U256> {
        match self {
            // Most slots hold one number, which needs no shifting.
            Self::Slot {
                value_type: ValueType::Uint(256),
                offset: 0,
                ..
            } => Some(word),
            Self::Slot { value_type, offset, .. } => value_type.decode(word, *offset),
            Self::View(view) => decode_abi(view.value_type, word),
            Self::Logs(_) => None,
            _ => self.value_type().contains(word).then_some(word),
        }
    }
}

/// The value in a word of ABI-encoded data; `None` when its padding is not clean.
pub(super) fn decode_abi(value_type: ValueType, word: U256) -> Option<U256> {
    match value_type {
        ValueType::Uint(256) => Some(word),
        ValueType::FixedBytes(bytes) if bytes < 32 => {
            let shift = 256 - usize::from(bytes) * 8;
            let value = word >> shift;
            (value << shift == word && value_type.contains(value)).then_some(value)
        }
        _ => value_type.contains(word).then_some(word),
    }
}

/// A decoded value as the ABI and mapping keys pad it to a word.
pub(super) fn encode_abi(value_type: ValueType, value: U256) -> U256 {
    match value_type {
        ValueType::FixedBytes(bytes) if bytes < 32 => value << (256 - usize::from(bytes) * 8),
        _ => value,
    }
}

/// One thing that a program reads.
#[derive(Clone, Debug)]
pub struct Read {
    /// When. [`Moment::Post`] for whatever is the same at both.
    pub moment: Moment,
    /// What.
    pub source: Source,
    /// How the expression called it.
    pub label: Arc<str>,
}

/// A relation between two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl Relation {
    /// As it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ne => "!=",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        }
    }
}

/// An operation on two numbers that gives one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`, rounded towards zero.
    Div,
    /// `%`, with the sign of the dividend.
    Rem,
    /// `min(a, b)`
    Min,
    /// `max(a, b)`
    Max,
}

/// One step of a program: takes its operands from the stack and leaves its result there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Pushes the value that was read.
    Read(u16),
    /// Pushes a constant.
    Constant(u16),
    /// Pushes true or false.
    Flag(bool),
    Negate,
    Absolute,
    Arithmetic(Arithmetic),
    /// Multiplies the number under the top, and the one on top, by powers of ten.
    Align(u8, u8),
    /// Compares two numbers, both `10^scale` times what they mean.
    Compare(Relation, u8),
    /// True when two words are the same (or differ).
    SameWord(bool),
    /// True when two truths are the same (or differ).
    SameTruth(bool),
    /// True when the value is in the set.
    Member(u16),
    /// A truth as 0 or 1.
    Count,
    And,
    Or,
    Not,
}

/// A decimal: `number / 10^scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) number: Wide,
    pub(super) scale: u8,
}

/// A compiled predicate. Equal programs read the same and say the same; labels do not count.
#[derive(Clone)]
pub struct Program(Arc<Compiled>);

pub(super) struct Compiled {
    pub(super) root: Node,
    pub(super) tables: Tables,
    pub(super) code: Vec<Op>,
    /// Most values on the stack at once.
    pub(super) depth: usize,
    /// For a read of state after the transaction, the same read before it, where the program makes that too.
    pub(super) twins: Vec<Option<u16>>,
    pub(super) relational: bool,
}

/// What the nodes and the code of a program name by number.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) reads: Vec<Read>,
    pub(super) constants: Vec<Decimal>,
    /// Sorted, without repetition.
    pub(super) sets: Vec<Vec<Wide>>,
}

impl Program {
    pub(super) fn compile(root: Node, mut tables: Tables) -> Self {
        tables.reads.shrink_to_fit();
        tables.constants.shrink_to_fit();
        tables.sets.shrink_to_fit();
        let mut code = Vec::new();
        let depth = emit(&root, &tables, &mut code).depth;
        code.shrink_to_fit();
        let reads = &tables.reads;
        let twin = |read: &Read| {
            let twin = reads
                .iter()
                .position(|other| other.moment == Moment::Pre && other.source == read.source)?;
            u16::try_from(twin).ok()
        };
        let relational = |read: &Read| read.moment == Moment::Pre || matches!(read.source, Source::Logs(_));
        // Most programs read a thing or two; those that read a thousand must not cost a million comparisons.
        let twins = if reads.iter().any(|read| read.moment == Moment::Pre) {
            reads
                .iter()
                .map(|read| {
                    (read.moment == Moment::Post && read.source.is_state())
                        .then(|| twin(read))
                        .flatten()
                })
                .collect()
        } else {
            Vec::new()
        };
        let relational = reads.iter().any(relational);
        Self(Arc::new(Compiled {
            root,
            tables,
            code,
            depth,
            twins,
            relational,
        }))
    }

    /// All that it reads, each once, in the order of the expression.
    #[must_use]
    pub fn reads(&self) -> &[Read] {
        &self.0.tables.reads
    }

    /// True when it speaks of a change (`pre`, `delta`) or of events, and not only of the present state: then there is nothing
    /// that it could have held before.
    #[must_use]
    pub fn is_relational(&self) -> bool {
        self.0.relational
    }

    /// True when it reads something of the block or the transaction: then it can change though no state that it reads was written.
    #[must_use]
    pub fn reads_environment(&self) -> bool {
        self.reads().iter().any(|read| read.source.is_environment())
    }

    pub(super) fn compiled(&self) -> &Compiled {
        &self.0
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        let (left, right) = (&self.0, &other.0);
        let same_reads = |(a, b): (&Read, &Read)| a.moment == b.moment && a.source == b.source;
        left.root == right.root
            && left.tables.constants == right.tables.constants
            && left.tables.sets == right.tables.sets
            && left.tables.reads.len() == right.tables.reads.len()
            && left.tables.reads.iter().zip(&right.tables.reads).all(same_reads)
    }
}

impl Eq for Program {}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({self})")
    }
}
