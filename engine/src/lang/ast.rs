//! An expression as it was written: names unresolved, nothing typed, every part with its place in the text.

use std::ops::Range;

use super::program::{Arithmetic, Decimal, Relation};
use crate::ValueType;

/// Place in the text, in bytes.
pub(super) type Span = Range<usize>;

/// A part of an expression and its place.
#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub(super) span: Span,
    pub(super) kind: ExprKind,
    /// How many parts lie inside one another, this one included.
    pub(super) depth: u16,
}

#[derive(Clone, Debug)]
pub(super) enum ExprKind {
    Number(Decimal),
    /// The digits after `0x`.
    Hex(String),
    Text(String),
    Flag(bool),
    Name(String),
    /// `a.b`
    Member(Box<Expr>, String, Span),
    /// `a[b]`
    Index(Box<Expr>, Box<Expr>),
    /// `a(b, c)`
    Call(Box<Expr>, Vec<Argument>),
    /// `a as uint128`
    As(Box<Expr>, ValueType),
    /// `a "what people call it"`
    Labelled(Box<Expr>, String),
    Negate(Box<Expr>),
    Not(Box<Expr>),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    /// `a < b <= c`: the first, then each relation and what stands right of it.
    Compare(Box<Expr>, Vec<(Relation, Expr)>),
    /// `a in {b, c}`
    In(Box<Expr>, Vec<Expr>),
    All(Vec<Expr>),
    Any(Vec<Expr>),
}

/// What is given to a function: a value, or an event with what its parameters must be.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    pub(super) value: Expr,
    pub(super) filters: Vec<Filter>,
}

/// `from 0x0`: a parameter of an event and its value.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) parameter: String,
    pub(super) span: Span,
    pub(super) value: Expr,
}

impl ExprKind {
    /// How many parts lie inside one another below this one.
    pub(super) fn depth(&self) -> u16 {
        let deepest = |parts: &[Expr]| parts.iter().map(|part| part.depth).max().unwrap_or(0);
        match self {
            Self::Number(_) | Self::Hex(_) | Self::Text(_) | Self::Flag(_) | Self::Name(_) => 0,
            Self::Member(of, ..) | Self::As(of, _) | Self::Labelled(of, _) | Self::Negate(of) | Self::Not(of) => {
                of.depth
            }
            Self::Index(left, right) | Self::Arithmetic(_, left, right) => left.depth.max(right.depth),
            Self::Call(of, arguments) => {
                let argument = |argument: &Argument| {
                    let filters = argument.filters.iter().map(|filter| filter.value.depth).max();
                    argument.value.depth.max(filters.unwrap_or(0))
                };
                of.depth.max(arguments.iter().map(argument).max().unwrap_or(0))
            }
            Self::Compare(first, rest) => {
                let rest = rest.iter().map(|(_, part)| part.depth).max();
                first.depth.max(rest.unwrap_or(0))
            }
            Self::In(of, parts) => of.depth.max(deepest(parts)),
            Self::All(parts) | Self::Any(parts) => deepest(parts),
        }
    }
}
