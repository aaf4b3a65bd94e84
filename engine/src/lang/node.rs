//! The resolved expression: typed, without names. Built bottom-up by [`Builder`], which refuses what has no meaning.

use std::{collections::HashMap, sync::Arc};

use super::{
    code::renumbered,
    program::{Arithmetic, Decimal, Moment, Program, Read, Relation, Source, Tables},
    wide::{MAX_SCALE, Wide},
};
use crate::{U256, ValueType};

/// Deepest expression.
pub(super) const MAX_DEPTH: u16 = 96;
/// Most nodes of one expression. Comparison chains and `delta` use an operand twice, so that a short text may become many.
const MAX_NODES: usize = 1 << 16;
/// Most different things that one expression reads.
pub(super) const MAX_READS: usize = 1024;

/// A resolved expression. Numbers name entries of the program's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Read(u16),
    /// A decimal constant.
    Number(u16),
    /// An address or fixed bytes.
    Word(ValueType, u16),
    Flag(bool),
    Negate(Box<Self>),
    Absolute(Box<Self>),
    Arithmetic(Arithmetic, Box<Self>, Box<Self>),
    /// Between numbers.
    Compare(Relation, Box<Self>, Box<Self>),
    /// Whether words or truths are the same (or differ).
    Same(bool, Box<Self>, Box<Self>),
    /// In a set of constants, all of the kind of the value.
    Member(Kind, Box<Self>, u16),
    /// A word or truth taken as a number.
    Count(Box<Self>),
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
}

/// What an expression's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number, `10^scale` times what it means.
    Number(u8),
    Truth,
    Address,
    Bytes(u8),
}

impl Kind {
    pub(super) const fn of(value_type: ValueType) -> Self {
        match value_type {
            ValueType::Uint(_) | ValueType::Int(_) => Self::Number(0),
            ValueType::Bool => Self::Truth,
            ValueType::Address => Self::Address,
            ValueType::FixedBytes(bytes) => Self::Bytes(bytes),
        }
    }

    /// The type of its constants, where they are words.
    pub(super) const fn word_type(self) -> Option<ValueType> {
        match self {
            Self::Address => Some(ValueType::Address),
            Self::Bytes(bytes) => Some(ValueType::FixedBytes(bytes)),
            Self::Number(_) | Self::Truth => None,
        }
    }

    pub(super) const fn is_number(self) -> bool {
        matches!(self, Self::Number(_))
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Number(_) => "a number".to_owned(),
            Self::Truth => "true or false".to_owned(),
            Self::Address => "an address".to_owned(),
            Self::Bytes(bytes) => format!("bytes{bytes}"),
        }
    }
}

/// A node, its kind and its depth.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) node: Node,
    pub(super) kind: Kind,
    depth: u16,
}

/// Why a node cannot be built. Where it stands and what it is called is the caller's to say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BuildError {
    #[error("more than {MAX_DEPTH} operators inside one another; split the invariant")]
    Deep,
    #[error("more than {MAX_NODES} operations; split the invariant")]
    Nodes,
    #[error("reads more than {MAX_READS} different things; split the invariant")]
    Reads,
    #[error("more constants than one expression may have; split the invariant")]
    Constants,
    #[error("needs {wanted}, but this is {}", found.name())]
    Kind { wanted: &'static str, found: Kind },
    #[error("cannot compare {} with {}", left.name(), right.name())]
    Mismatch { left: Kind, right: Kind },
    #[error("{} has no order: only == and != compare it", .0.name())]
    NoOrder(Kind),
    #[error("a decimal fraction or percentage cannot be divided, nor divided by; multiply the other side instead")]
    Fraction,
    #[error("more than {MAX_SCALE} decimal places")]
    Places,
}

/// Collects what a program reads while its nodes are built.
#[derive(Default)]
pub(super) struct Builder {
    tables: Tables,
    known: HashMap<(Moment, Source), u16>,
    nodes: usize,
}

type Built = Result<Typed, BuildError>;

impl Builder {
    pub(super) fn finish(self, root: Typed) -> Result<Program, BuildError> {
        want(&root, Kind::Truth, "true or false")?;
        let mut node = root.node;
        let tables = renumbered(&mut node, self.tables);
        Ok(Program::compile(node, tables))
    }

    pub(super) fn read(&mut self, moment: Moment, source: Source, label: &str) -> Built {
        // What is the same at both moments is read once.
        let moment = if source.is_state() { moment } else { Moment::Post };
        let kind = Kind::of(source.value_type());
        let place = (moment, source);
        if let Some(index) = self.known.get(&place) {
            return self.leaf(Node::Read(*index), kind);
        }
        if self.tables.reads.len() >= MAX_READS {
            return Err(BuildError::Reads);
        }
        // The same term at both moments shares its label.
        let mut named = self.tables.reads.iter().filter(|read| *read.label == *label);
        let label = named
            .next()
            .map_or_else(|| Arc::from(label), |read| Arc::clone(&read.label));
        let index = index(self.tables.reads.len())?;
        self.known.insert(place.clone(), index);
        let (moment, source) = place;
        self.tables.reads.push(Read { moment, source, label });
        self.leaf(Node::Read(index), kind)
    }

    pub(super) fn decimal(&mut self, mut decimal: Decimal) -> Built {
        // 50% and 0.5 are the same constant.
        while decimal.scale > 0 {
            let Some(shorter) = decimal.number.scaled_down(1) else {
                break;
            };
            if shorter.scaled_up(1) != Some(decimal.number) {
                break;
            }
            decimal = Decimal {
                number: shorter,
                scale: decimal.scale - 1,
            };
        }
        if decimal.scale > MAX_SCALE {
            return Err(BuildError::Places);
        }
        let index = self.constant(decimal)?;
        self.leaf(Node::Number(index), Kind::Number(decimal.scale))
    }

    /// An address or fixed bytes.
    pub(super) fn word(&mut self, value_type: ValueType, value: U256) -> Built {
        let index = self.constant(Decimal {
            number: Wide::from(value),
            scale: 0,
        })?;
        self.leaf(Node::Word(value_type, index), Kind::of(value_type))
    }

    pub(super) fn flag(&mut self, flag: bool) -> Built {
        self.leaf(Node::Flag(flag), Kind::Truth)
    }

    pub(super) fn negate(&mut self, of: Typed) -> Built {
        let scale = scale_of(&of)?;
        if let Node::Number(index) = of.node
            && let Some(constant) = self.tables.constants.get(usize::from(index)).copied()
        {
            // Constants carry their sign.
            return self.decimal(Decimal {
                number: -constant.number,
                ..constant
            });
        }
        let depth = self.above(&[&of])?;
        Ok(Typed {
            node: Node::Negate(Box::new(of.node)),
            kind: Kind::Number(scale),
            depth,
        })
    }

    pub(super) fn absolute(&mut self, of: Typed) -> Built {
        let scale = scale_of(&of)?;
        let depth = self.above(&[&of])?;
        Ok(Typed {
            node: Node::Absolute(Box::new(of.node)),
            kind: Kind::Number(scale),
            depth,
        })
    }

    /// A word or truth taken as a number; a number stays what it is.
    pub(super) fn number(&mut self, of: Typed) -> Built {
        if of.kind.is_number() {
            return Ok(of);
        }
        let depth = self.above(&[&of])?;
        Ok(Typed {
            node: Node::Count(Box::new(of.node)),
            kind: Kind::Number(0),
            depth,
        })
    }

    pub(super) fn arithmetic(&mut self, operation: Arithmetic, left: Typed, right: Typed) -> Built {
        let (a, b) = (scale_of(&left)?, scale_of(&right)?);
        let scale = match operation {
            Arithmetic::Add | Arithmetic::Sub | Arithmetic::Min | Arithmetic::Max => a.max(b),
            Arithmetic::Mul => a.saturating_add(b),
            Arithmetic::Div | Arithmetic::Rem if a > 0 || b > 0 => return Err(BuildError::Fraction),
            Arithmetic::Div | Arithmetic::Rem => 0,
        };
        if scale > MAX_SCALE {
            return Err(BuildError::Places);
        }
        let depth = self.above(&[&left, &right])?;
        Ok(Typed {
            node: Node::Arithmetic(operation, Box::new(left.node), Box::new(right.node)),
            kind: Kind::Number(scale),
            depth,
        })
    }

    pub(super) fn compare(&mut self, relation: Relation, left: Typed, right: Typed) -> Built {
        let depth = self.above(&[&left, &right])?;
        let node = match (left.kind, right.kind) {
            (Kind::Number(_), Kind::Number(_)) => Node::Compare(relation, Box::new(left.node), Box::new(right.node)),
            (a, b) if a != b => return Err(BuildError::Mismatch { left: a, right: b }),
            (kind, _) => {
                let same = match relation {
                    Relation::Eq => true,
                    Relation::Ne => false,
                    _ => return Err(BuildError::NoOrder(kind)),
                };
                Node::Same(same, Box::new(left.node), Box::new(right.node))
            }
        };
        Ok(Typed {
            node,
            kind: Kind::Truth,
            depth,
        })
    }

    /// Whether a value is among constants; `constants` are of the kind of the value, whole numbers if numbers.
    pub(super) fn member(&mut self, value: Typed, mut constants: Vec<Wide>) -> Built {
        match value.kind {
            Kind::Truth => {
                return Err(BuildError::Kind {
                    wanted: "a number, an address or bytes",
                    found: value.kind,
                });
            }
            Kind::Number(scale) if scale > 0 => return Err(BuildError::Fraction),
            _ => {}
        }
        constants.sort_unstable();
        constants.dedup();
        let depth = self.above(&[&value])?;
        self.tables.sets.push(constants);
        Ok(Typed {
            node: Node::Member(value.kind, Box::new(value.node), index(self.tables.sets.len() - 1)?),
            kind: Kind::Truth,
            depth,
        })
    }

    /// True when all are; no part is itself such a list.
    pub(super) fn all(&mut self, parts: Vec<Typed>) -> Built {
        self.junction(parts, true, Node::All, |node| match node {
            Node::All(parts) => Ok(parts),
            other => Err(other),
        })
    }

    /// True when at least one is; no part is itself such a list.
    pub(super) fn any(&mut self, parts: Vec<Typed>) -> Built {
        self.junction(parts, false, Node::Any, |node| match node {
            Node::Any(parts) => Ok(parts),
            other => Err(other),
        })
    }

    pub(super) fn not(&mut self, of: Typed) -> Built {
        want(&of, Kind::Truth, "true or false")?;
        let depth = self.above(&[&of])?;
        Ok(Typed {
            node: Node::Not(Box::new(of.node)),
            kind: Kind::Truth,
            depth,
        })
    }

    fn junction(
        &mut self,
        parts: Vec<Typed>,
        empty: bool,
        join: fn(Vec<Node>) -> Node,
        split: fn(Node) -> Result<Vec<Node>, Node>,
    ) -> Built {
        let mut nodes = Vec::with_capacity(parts.len());
        let mut depth = 1;
        for part in parts {
            want(&part, Kind::Truth, "true or false")?;
            depth = depth.max(part.depth + 1);
            match split(part.node) {
                Ok(inner) => nodes.extend(inner),
                Err(node) => nodes.push(node),
            }
        }
        // One part alone is that part.
        let node = match nodes.len() {
            0 => Node::Flag(empty),
            1 => nodes.pop().unwrap_or(Node::Flag(true)),
            _ => join(nodes),
        };
        self.count()?;
        if depth > MAX_DEPTH {
            return Err(BuildError::Deep);
        }
        Ok(Typed {
            node,
            kind: Kind::Truth,
            depth,
        })
    }

    fn leaf(&mut self, node: Node, kind: Kind) -> Built {
        self.count()?;
        Ok(Typed { node, kind, depth: 1 })
    }

    /// Depth of one more node above these.
    fn above(&mut self, below: &[&Typed]) -> Result<u16, BuildError> {
        self.count()?;
        let depth = below.iter().map(|typed| typed.depth).max().unwrap_or(0) + 1;
        if depth > MAX_DEPTH {
            return Err(BuildError::Deep);
        }
        Ok(depth)
    }

    fn count(&mut self) -> Result<(), BuildError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(BuildError::Nodes);
        }
        Ok(())
    }

    fn constant(&mut self, decimal: Decimal) -> Result<u16, BuildError> {
        self.tables.constants.push(decimal);
        index(self.tables.constants.len() - 1)
    }
}

fn want(typed: &Typed, kind: Kind, wanted: &'static str) -> Result<(), BuildError> {
    if typed.kind == kind {
        return Ok(());
    }
    Err(BuildError::Kind {
        wanted,
        found: typed.kind,
    })
}

const fn scale_of(typed: &Typed) -> Result<u8, BuildError> {
    match typed.kind {
        Kind::Number(scale) => Ok(scale),
        found => Err(BuildError::Kind {
            wanted: "a number",
            found,
        }),
    }
}

fn index(index: usize) -> Result<u16, BuildError> {
    u16::try_from(index).map_err(|_| BuildError::Constants)
}
