//! The canonical text of a program: every term spelt out, no names, no more parentheses than needed. It parses back to an equal
//! program without any name, ABI or layout; this is what travels between machines.
//!
//! With `{:#}` every term carries the label that the author's text gave it, where that is another text:
//! `slot(0x.., 0x1, uint256, 0) "vault.totalDebt"`.

use std::fmt;

use super::{
    node::Node,
    program::{Aggregate, Arithmetic, Compiled, Decimal, LogField, LogQuery, Moment, Program, Source},
    wide::Wide,
};
use crate::{U256, ValueType};

/// How tightly a node's text binds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Not,
    Comparison,
    Sum,
    Product,
    Unary,
    Atom,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = if f.alternate() { Terms::Labelled } else { Terms::Plain };
        print(f, self, terms)
    }
}

impl Program {
    /// For people: every term as its author called it. It need not parse.
    #[must_use]
    pub fn in_words(&self) -> String {
        struct Words<'a>(&'a Program);
        impl fmt::Display for Words<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                print(f, self.0, Terms::Labels)
            }
        }
        Words(self).to_string()
    }
}

/// How terms are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Terms {
    Plain,
    /// With their labels behind them.
    Labelled,
    /// By their labels alone.
    Labels,
}

fn print(f: &mut fmt::Formatter<'_>, program: &Program, terms: Terms) -> fmt::Result {
    let compiled = program.compiled();
    Printer { compiled, terms }.node(f, &compiled.root, Binding::Or)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot {
                contract,
                slot,
                value_type,
                offset,
            } => write!(f, "slot({contract:#x}, {slot:#x}, {value_type}, {offset})"),
            Self::Balance(account) => write!(f, "balance({account:#x})"),
            Self::Nonce(account) => write!(f, "nonce({account:#x})"),
            Self::CodeHash(account) => write!(f, "codehash({account:#x})"),
            Self::View(view) => write!(
                f,
                "call({:#x}, {}, {}, {})",
                view.contract, view.calldata, view.word, view.value_type
            ),
            Self::Logs(query) => logs(f, query),
            Self::BlockNumber => f.write_str("block.number"),
            Self::BlockTimestamp => f.write_str("block.timestamp"),
            Self::BaseFee => f.write_str("block.basefee"),
            Self::TxSender => f.write_str("tx.sender"),
            Self::TxTo => f.write_str("tx.to"),
            Self::TxValue => f.write_str("tx.value"),
        }
    }
}

fn logs(f: &mut fmt::Formatter<'_>, query: &LogQuery) -> fmt::Result {
    f.write_str(match query.aggregate {
        Aggregate::Count => "count(logs(",
        Aggregate::Sum { .. } => "sum(logs(",
    })?;
    match query.emitter {
        Some(emitter) => write!(f, "{emitter:#x}")?,
        None => f.write_str("any")?,
    }
    write!(f, ", {:#x}", query.topic0)?;
    for topic in &query.topics {
        match topic {
            Some(topic) => write!(f, ", {topic:#x}")?,
            None => f.write_str(", any")?,
        }
    }
    match query.aggregate {
        Aggregate::Count => f.write_str("))"),
        Aggregate::Sum { field, value_type } => match field {
            LogField::Data(word) => write!(f, "), data[{word}], {value_type})"),
            LogField::Topic(topic) => write!(f, "), topic[{topic}], {value_type})"),
        },
    }
}

struct Printer<'a> {
    compiled: &'a Compiled,
    terms: Terms,
}

impl Printer<'_> {
    /// Writes a node where something stands that binds as tightly as `least`.
    fn node(&self, f: &mut fmt::Formatter<'_>, node: &Node, least: Binding) -> fmt::Result {
        let parenthesised = self.binding(node) < least;
        if parenthesised {
            f.write_str("(")?;
        }
        self.bare(f, node)?;
        if parenthesised {
            f.write_str(")")?;
        }
        Ok(())
    }

    fn binding(&self, node: &Node) -> Binding {
        match node {
            Node::Any(_) => Binding::Or,
            Node::All(_) => Binding::And,
            Node::Not(_) => Binding::Not,
            Node::Compare(..) | Node::Same(..) | Node::Member(..) => Binding::Comparison,
            Node::Arithmetic(operation, ..) => match operation {
                Arithmetic::Add | Arithmetic::Sub => Binding::Sum,
                Arithmetic::Mul | Arithmetic::Div | Arithmetic::Rem => Binding::Product,
                Arithmetic::Min | Arithmetic::Max => Binding::Atom,
            },
            Node::Number(index) => match self.constant(*index).number.is_negative() {
                true => Binding::Unary,
                false => Binding::Atom,
            },
            Node::Negate(_) => Binding::Unary,
            Node::Read(_) | Node::Word(..) | Node::Flag(_) | Node::Absolute(_) | Node::Count(_) => Binding::Atom,
        }
    }

    fn bare(&self, f: &mut fmt::Formatter<'_>, node: &Node) -> fmt::Result {
        match node {
            Node::Read(index) => self.read(f, *index),
            Node::Number(index) => decimal(f, self.constant(*index)),
            Node::Word(value_type, index) => word(f, *value_type, self.constant(*index).number),
            Node::Flag(flag) => write!(f, "{flag}"),
            Node::Negate(of) => {
                f.write_str("-")?;
                self.node(f, of, Binding::Unary)
            }
            Node::Absolute(of) => self.call(f, "abs", &[of]),
            Node::Count(of) => self.call(f, "number", &[of]),
            Node::Arithmetic(operation, left, right) => {
                let (symbol, least, more) = match operation {
                    Arithmetic::Min => return self.call(f, "min", &[left, right]),
                    Arithmetic::Max => return self.call(f, "max", &[left, right]),
                    Arithmetic::Add => ("+", Binding::Sum, Binding::Product),
                    Arithmetic::Sub => ("-", Binding::Sum, Binding::Product),
                    Arithmetic::Mul => ("*", Binding::Product, Binding::Unary),
                    Arithmetic::Div => ("/", Binding::Product, Binding::Unary),
                    Arithmetic::Rem => ("%", Binding::Product, Binding::Unary),
                };
                self.node(f, left, least)?;
                write!(f, " {symbol} ")?;
                self.node(f, right, more)
            }
            Node::Compare(relation, left, right) => self.comparison(f, relation.symbol(), left, right),
            Node::Same(true, left, right) => self.comparison(f, "==", left, right),
            Node::Same(false, left, right) => self.comparison(f, "!=", left, right),
            Node::Member(kind, value, set) => {
                self.node(f, value, Binding::Sum)?;
                f.write_str(" in {")?;
                let set = self.compiled.tables.sets.get(usize::from(*set));
                for (index, constant) in set.into_iter().flatten().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    match kind.word_type() {
                        Some(value_type) => word(f, value_type, *constant)?,
                        None => write!(f, "{constant}")?,
                    }
                }
                f.write_str("}")
            }
            Node::All(parts) => self.list(f, parts, " and ", Binding::Not),
            Node::Any(parts) => self.list(f, parts, " or ", Binding::And),
            Node::Not(of) => {
                f.write_str("not ")?;
                self.node(f, of, Binding::Not)
            }
        }
    }

    fn comparison(&self, f: &mut fmt::Formatter<'_>, symbol: &str, left: &Node, right: &Node) -> fmt::Result {
        self.node(f, left, Binding::Sum)?;
        write!(f, " {symbol} ")?;
        self.node(f, right, Binding::Sum)
    }

    fn list(&self, f: &mut fmt::Formatter<'_>, parts: &[Node], between: &str, least: Binding) -> fmt::Result {
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                f.write_str(between)?;
            }
            self.node(f, part, least)?;
        }
        Ok(())
    }

    fn call(&self, f: &mut fmt::Formatter<'_>, name: &str, arguments: &[&Node]) -> fmt::Result {
        write!(f, "{name}(")?;
        for (index, argument) in arguments.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            self.node(f, argument, Binding::Or)?;
        }
        f.write_str(")")
    }

    fn read(&self, f: &mut fmt::Formatter<'_>, index: u16) -> fmt::Result {
        let Some(read) = self.compiled.tables.reads.get(usize::from(index)) else {
            return Ok(());
        };
        if read.moment == Moment::Pre {
            f.write_str("pre(")?;
        }
        let source = read.source.to_string();
        f.write_str(if self.terms == Terms::Labels {
            &read.label
        } else {
            &source
        })?;
        if self.terms == Terms::Labelled && *read.label != *source {
            f.write_str(" \"")?;
            for character in read.label.chars() {
                if matches!(character, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{character}")?;
            }
            f.write_str("\"")?;
        }
        if read.moment == Moment::Pre {
            f.write_str(")")?;
        }
        Ok(())
    }

    fn constant(&self, index: u16) -> Decimal {
        let zero = Decimal {
            number: Wide::ZERO,
            scale: 0,
        };
        let constants = &self.compiled.tables.constants;
        constants.get(usize::from(index)).copied().unwrap_or(zero)
    }
}

fn decimal(f: &mut fmt::Formatter<'_>, decimal: Decimal) -> fmt::Result {
    let scale = usize::from(decimal.scale);
    if scale == 0 {
        return write!(f, "{}", decimal.number);
    }
    if decimal.number.is_negative() {
        f.write_str("-")?;
    }
    let digits = decimal.number.magnitude().to_string();
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    write!(f, "{whole}.{fraction}")
}

fn word(f: &mut fmt::Formatter<'_>, value_type: ValueType, value: Wide) -> fmt::Result {
    let value = value.to_value(ValueType::Uint(256)).unwrap_or(U256::ZERO);
    match value_type {
        ValueType::Address => write!(f, "0x{value:040x}"),
        ValueType::FixedBytes(32) => write!(f, "0x{value:064x}"),
        _ => write!(f, "{value_type}(0x{value:0width$x})", width = value_type.size() * 2),
    }
}
