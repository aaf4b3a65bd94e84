//! From a resolved expression to its flat code: entries numbered in the order of the expression, operands before operators.

use super::{
    node::Node,
    program::{Arithmetic, Op, Tables},
};
use crate::ValueType;

/// Numbers the entries of the tables in the order of the expression and drops those that nothing names, so that the same
/// expression is the same program whatever the order it was built in.
pub(super) fn renumbered(node: &mut Node, tables: Tables) -> Tables {
    let mut renumbering = Renumbering {
        places: vec![None; tables.reads.len()],
        from: tables,
        to: Tables::default(),
    };
    renumbering.node(node);
    renumbering.to
}

struct Renumbering {
    from: Tables,
    to: Tables,
    /// New numbers of the reads.
    places: Vec<Option<u16>>,
}

impl Renumbering {
    fn node(&mut self, node: &mut Node) {
        match node {
            Node::Read(index) => self.read(index),
            Node::Number(index) | Node::Word(_, index) => {
                if let Some(constant) = self.from.constants.get(usize::from(*index)) {
                    self.to.constants.push(*constant);
                    *index = last(self.to.constants.len());
                }
            }
            Node::Member(_, value, index) => {
                self.node(value);
                if let Some(set) = self.from.sets.get_mut(usize::from(*index)) {
                    self.to.sets.push(std::mem::take(set));
                    *index = last(self.to.sets.len());
                }
            }
            Node::Flag(_) => {}
            Node::Negate(of) | Node::Absolute(of) | Node::Count(of) | Node::Not(of) => self.node(of),
            Node::Arithmetic(_, left, right) | Node::Compare(_, left, right) | Node::Same(_, left, right) => {
                self.node(left);
                self.node(right);
            }
            Node::All(parts) | Node::Any(parts) => parts.iter_mut().for_each(|part| self.node(part)),
        }
    }

    fn read(&mut self, index: &mut u16) {
        let Some(place) = self.places.get_mut(usize::from(*index)) else {
            return;
        };
        if place.is_none()
            && let Some(read) = self.from.reads.get(usize::from(*index))
        {
            self.to.reads.push(read.clone());
            *place = Some(last(self.to.reads.len()));
        }
        *index = place.unwrap_or(*index);
    }
}

/// The number of the last of so many entries. No table outgrows the one it is made from, whose numbers fit.
fn last(entries: usize) -> u16 {
    u16::try_from(entries.saturating_sub(1)).unwrap_or(u16::MAX)
}

/// What a node's code does to the stack.
#[derive(Clone, Copy)]
pub(super) struct Emitted {
    /// Most values on the stack while it runs, its result included.
    pub(super) depth: usize,
    /// Scale of its result, when it is a number.
    scale: u8,
    /// True when its result is a truth and not a word or number.
    truth: bool,
}

/// Appends the code of a node: operands first.
pub(super) fn emit(node: &Node, tables: &Tables, code: &mut Vec<Op>) -> Emitted {
    let number = |depth, scale| Emitted {
        depth,
        scale,
        truth: false,
    };
    let truth = |depth| Emitted {
        depth,
        scale: 0,
        truth: true,
    };
    match node {
        Node::Read(index) => {
            code.push(Op::Read(*index));
            let read = tables.reads.get(usize::from(*index));
            match read.is_some_and(|read| read.source.value_type() == ValueType::Bool) {
                true => truth(1),
                false => number(1, 0),
            }
        }
        Node::Number(index) | Node::Word(_, index) => {
            code.push(Op::Constant(*index));
            let constant = tables.constants.get(usize::from(*index));
            number(1, constant.map_or(0, |constant| constant.scale))
        }
        Node::Flag(flag) => {
            code.push(Op::Flag(*flag));
            truth(1)
        }
        Node::Negate(of) => {
            let of = emit(of, tables, code);
            code.push(Op::Negate);
            of
        }
        Node::Absolute(of) => {
            let of = emit(of, tables, code);
            code.push(Op::Absolute);
            of
        }
        Node::Count(of) => {
            let of = emit(of, tables, code);
            if of.truth {
                code.push(Op::Count);
            }
            number(of.depth, 0)
        }
        Node::Arithmetic(operation, left, right) => {
            let (left, right) = (emit(left, tables, code), emit(right, tables, code));
            let scale = match operation {
                Arithmetic::Mul => left.scale + right.scale,
                _ => align(left, right, code),
            };
            code.push(Op::Arithmetic(*operation));
            number(left.depth.max(right.depth + 1), scale)
        }
        Node::Compare(relation, left, right) => {
            let (left, right) = (emit(left, tables, code), emit(right, tables, code));
            let scale = align(left, right, code);
            code.push(Op::Compare(*relation, scale));
            truth(left.depth.max(right.depth + 1))
        }
        Node::Same(same, left, right) => {
            let (left, right) = (emit(left, tables, code), emit(right, tables, code));
            code.push(match left.truth {
                true => Op::SameTruth(*same),
                false => Op::SameWord(*same),
            });
            truth(left.depth.max(right.depth + 1))
        }
        Node::Member(_, value, set) => {
            let value = emit(value, tables, code);
            code.push(Op::Member(*set));
            truth(value.depth)
        }
        Node::All(parts) | Node::Any(parts) => {
            let all = matches!(node, Node::All(_));
            let mut depth = 1;
            for (index, part) in parts.iter().enumerate() {
                let part = emit(part, tables, code);
                depth = depth.max(part.depth + usize::from(index > 0));
                if index > 0 {
                    code.push(if all { Op::And } else { Op::Or });
                }
            }
            if parts.is_empty() {
                code.push(Op::Flag(all));
            }
            truth(depth)
        }
        Node::Not(of) => {
            let of = emit(of, tables, code);
            code.push(Op::Not);
            truth(of.depth)
        }
    }
}

/// Brings two numbers to the larger of their scales.
fn align(left: Emitted, right: Emitted, code: &mut Vec<Op>) -> u8 {
    let scale = left.scale.max(right.scale);
    if left.scale != right.scale {
        code.push(Op::Align(scale - left.scale, scale - right.scale));
    }
    scale
}
