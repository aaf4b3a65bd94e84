//! The machine: runs a program's code over the values of its sources.
//!
//! It is written once over [`Exact`] numbers and runs with two: almost all values fit 128 bits, where a step takes nanoseconds; when
//! anything does not fit, the whole program runs again with [`Wide`] numbers. So both give the same or the first gives nothing.

use super::{
    program::{Arithmetic, Op, Program, Relation, Tables},
    wide::Wide,
};

/// Why a value is not known, without what it takes to say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Unread(u16),
    NotOfType(u16),
    DivisionByZero,
    Overflow,
}

/// A value on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<N> {
    Number(N),
    /// A truth and its margin.
    Truth(bool, Option<N>),
    Unknown(Lack),
}

/// The stacks of the machine, kept from one run to the next.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    narrow: Vec<Cell<i128>>,
    wide: Vec<Cell<Wide>>,
}

/// Runs the code over the values read.
pub(super) fn run(program: &Program, values: &[Cell<Wide>], stacks: &mut Stacks) -> Cell<Wide> {
    match run_with(program, values, &mut stacks.narrow) {
        Ok(Cell::Number(number)) => Cell::Number(Wide::from_i128(number)),
        Ok(Cell::Truth(truth, margin)) => Cell::Truth(truth, margin.map(Wide::from_i128)),
        Ok(Cell::Unknown(lack)) => Cell::Unknown(lack),
        Err(TooNarrow) => run_with(program, values, &mut stacks.wide).unwrap_or(Cell::Unknown(Lack::Overflow)),
    }
}

/// A number does not fit, and there is a wider kind of number.
#[derive(Clone, Copy, Debug)]
struct TooNarrow;

/// Numbers that never wrap: what does not fit is `None`.
trait Exact: Copy + Ord {
    const ZERO: Self;
    const ONE: Self;
    /// True when there is no wider kind: what does not fit is then unknown.
    const WIDEST: bool;
    fn narrowed(wide: Wide) -> Option<Self>;
    fn widened(self) -> Wide;
    fn negated(self) -> Option<Self>;
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
    fn times(self, other: Self) -> Option<Self>;
    /// Rounded towards zero; the other is not zero.
    fn over(self, other: Self) -> Option<Self>;
    fn rest(self, other: Self) -> Option<Self>;
    fn scaled_up(self, power: u8) -> Option<Self>;
    /// Rounded down.
    fn scaled_down(self, power: u8) -> Option<Self>;
}

/// The operations whose checked form both kinds have under the standard library's names.
macro_rules! checked {
    () => {
        fn plus(self, other: Self) -> Option<Self> {
            self.checked_add(other)
        }
        fn minus(self, other: Self) -> Option<Self> {
            self.checked_sub(other)
        }
        fn times(self, other: Self) -> Option<Self> {
            self.checked_mul(other)
        }
        fn over(self, other: Self) -> Option<Self> {
            self.checked_div(other)
        }
        fn rest(self, other: Self) -> Option<Self> {
            self.checked_rem(other)
        }
    };
}

impl Exact for Wide {
    const ZERO: Self = Self::ZERO;
    const ONE: Self = Self::ONE;
    const WIDEST: bool = true;
    fn narrowed(wide: Wide) -> Option<Self> {
        Some(wide)
    }
    fn widened(self) -> Wide {
        self
    }
    fn negated(self) -> Option<Self> {
        Some(-self)
    }
    checked!();
    fn scaled_up(self, power: u8) -> Option<Self> {
        self.scaled_up(power)
    }
    fn scaled_down(self, power: u8) -> Option<Self> {
        self.scaled_down(power)
    }
}

impl Exact for i128 {
    const ZERO: Self = 0;
    const ONE: Self = 1;
    const WIDEST: bool = false;
    fn narrowed(wide: Wide) -> Option<Self> {
        wide.to_i128()
    }
    fn widened(self) -> Wide {
        Wide::from_i128(self)
    }
    fn negated(self) -> Option<Self> {
        self.checked_neg()
    }
    checked!();
    fn scaled_up(self, power: u8) -> Option<Self> {
        self.checked_mul(10_i128.checked_pow(power.into())?)
    }
    fn scaled_down(self, power: u8) -> Option<Self> {
        if power == 0 {
            return Some(self);
        }
        let divisor = 10_i128.checked_pow(power.into())?;
        let quotient = self.checked_div(divisor)?;
        if self < 0 && self.checked_rem(divisor)? != 0 {
            return quotient.checked_sub(1);
        }
        Some(quotient)
    }
}

/// A number that was calculated, or why there is none.
fn fitting<N: Exact>(number: Option<N>) -> Result<Cell<N>, TooNarrow> {
    match number {
        Some(number) => Ok(Cell::Number(number)),
        None if N::WIDEST => Ok(Cell::Unknown(Lack::Overflow)),
        None => Err(TooNarrow),
    }
}

/// Compiled code never takes more from the stack than it has put there.
fn run_with<N: Exact>(
    program: &Program,
    values: &[Cell<Wide>],
    stack: &mut Vec<Cell<N>>,
) -> Result<Cell<N>, TooNarrow> {
    let compiled = program.compiled();
    stack.clear();
    stack.reserve(compiled.depth);
    for op in &compiled.code {
        let cell = step(*op, &compiled.tables, values, stack)?;
        stack.push(cell);
    }
    Ok(one(stack))
}

fn step<N: Exact>(
    op: Op,
    tables: &Tables,
    values: &[Cell<Wide>],
    stack: &mut Vec<Cell<N>>,
) -> Result<Cell<N>, TooNarrow> {
    Ok(match op {
        Op::Read(index) => match values.get(usize::from(index)) {
            Some(Cell::Number(number)) => fitting(N::narrowed(*number))?,
            Some(Cell::Truth(truth, _)) => Cell::Truth(*truth, None),
            Some(Cell::Unknown(lack)) => Cell::Unknown(*lack),
            None => Cell::Unknown(Lack::Overflow),
        },
        Op::Constant(index) => {
            let constant = tables.constants.get(usize::from(index));
            fitting(constant.and_then(|constant| N::narrowed(constant.number)))?
        }
        Op::Flag(flag) => Cell::Truth(flag, None),
        Op::Negate => number(one(stack), N::negated)?,
        Op::Absolute => number(one(stack), absolute)?,
        Op::Arithmetic(operation) => {
            let (left, right) = two(stack);
            arithmetic(operation, left, right)?
        }
        Op::Align(under, top) => {
            let (left, right) = two(stack);
            stack.push(number(left, |number| number.scaled_up(under))?);
            number(right, |number| number.scaled_up(top))?
        }
        Op::Compare(relation, scale) => {
            let (left, right) = two(stack);
            compare(relation, scale, left, right)?
        }
        Op::SameWord(same) => match two(stack) {
            (Cell::Number(left), Cell::Number(right)) => Cell::Truth((left == right) == same, None),
            (left, right) => unknown(left, right),
        },
        Op::SameTruth(same) => match two(stack) {
            (Cell::Truth(left, _), Cell::Truth(right, _)) => Cell::Truth((left == right) == same, None),
            (left, right) => unknown(left, right),
        },
        Op::Member(index) => match one(stack) {
            Cell::Number(number) => {
                let (set, number) = (tables.sets.get(usize::from(index)), number.widened());
                Cell::Truth(set.is_some_and(|set| set.binary_search(&number).is_ok()), None)
            }
            other => unknown(other, other),
        },
        Op::Count => match one(stack) {
            Cell::Truth(truth, _) => fitting(N::narrowed(Wide::from(u64::from(truth))))?,
            other => unknown(other, other),
        },
        Op::And => {
            let (left, right) = two(stack);
            join(left, right, true)
        }
        Op::Or => {
            let (left, right) = two(stack);
            join(left, right, false)
        }
        Op::Not => match one(stack) {
            // It breaks where the other holds by nothing more.
            Cell::Truth(truth, Some(margin)) => {
                match fitting(margin.negated().and_then(|margin| margin.minus(N::ONE)))? {
                    Cell::Number(margin) => Cell::Truth(!truth, Some(margin)),
                    _ => Cell::Truth(!truth, None),
                }
            }
            Cell::Truth(truth, None) => Cell::Truth(!truth, None),
            other => unknown(other, other),
        },
    })
}

/// The value on top. Were there none, the predicate would be undecided and not wrong.
fn one<N>(stack: &mut Vec<Cell<N>>) -> Cell<N> {
    stack.pop().unwrap_or(Cell::Unknown(Lack::Overflow))
}

fn two<N>(stack: &mut Vec<Cell<N>>) -> (Cell<N>, Cell<N>) {
    let right = one(stack);
    (one(stack), right)
}

/// The first that is not known.
fn unknown<N>(left: Cell<N>, right: Cell<N>) -> Cell<N> {
    match (left, right) {
        (Cell::Unknown(lack), _) | (_, Cell::Unknown(lack)) => Cell::Unknown(lack),
        _ => Cell::Unknown(Lack::Overflow),
    }
}

fn number<N: Exact>(cell: Cell<N>, map: impl FnOnce(N) -> Option<N>) -> Result<Cell<N>, TooNarrow> {
    match cell {
        Cell::Number(number) => fitting(map(number)),
        other => Ok(unknown(other, other)),
    }
}

fn absolute<N: Exact>(number: N) -> Option<N> {
    if number < N::ZERO {
        number.negated()
    } else {
        Some(number)
    }
}

fn arithmetic<N: Exact>(operation: Arithmetic, left: Cell<N>, right: Cell<N>) -> Result<Cell<N>, TooNarrow> {
    let (Cell::Number(a), Cell::Number(b)) = (left, right) else {
        return Ok(unknown(left, right));
    };
    fitting(match operation {
        Arithmetic::Add => a.plus(b),
        Arithmetic::Sub => a.minus(b),
        Arithmetic::Mul => a.times(b),
        Arithmetic::Div | Arithmetic::Rem if b == N::ZERO => return Ok(Cell::Unknown(Lack::DivisionByZero)),
        Arithmetic::Div => a.over(b),
        Arithmetic::Rem => a.rest(b),
        Arithmetic::Min => Some(a.min(b)),
        Arithmetic::Max => Some(a.max(b)),
    })
}

fn compare<N: Exact>(relation: Relation, scale: u8, left: Cell<N>, right: Cell<N>) -> Result<Cell<N>, TooNarrow> {
    let (Cell::Number(a), Cell::Number(b)) = (left, right) else {
        return Ok(unknown(left, right));
    };
    let holds = match relation {
        Relation::Eq => a == b,
        Relation::Ne => a != b,
        Relation::Lt => a < b,
        Relation::Le => a <= b,
        Relation::Gt => a > b,
        Relation::Ge => a >= b,
    };
    // In the least steps that there are: what is strictly less is less by one of them.
    let distance = match relation {
        Relation::Eq => a.minus(b).and_then(absolute).and_then(N::negated),
        Relation::Ne => a
            .minus(b)
            .and_then(absolute)
            .and_then(|distance| distance.minus(N::ONE)),
        Relation::Lt => b.minus(a).and_then(|distance| distance.minus(N::ONE)),
        Relation::Le => b.minus(a),
        Relation::Gt => a.minus(b).and_then(|distance| distance.minus(N::ONE)),
        Relation::Ge => a.minus(b),
    };
    // A distance that does not fit leaves the answer as it is.
    match fitting(distance.and_then(|distance| distance.scaled_down(scale)))? {
        Cell::Number(margin) => Ok(Cell::Truth(holds, Some(margin))),
        _ => Ok(Cell::Truth(holds, None)),
    }
}

/// `and` of two truths, or `or`.
fn join<N: Exact>(left: Cell<N>, right: Cell<N>, and: bool) -> Cell<N> {
    // `and` is settled by what is false, `or` by what is true.
    let settles = |truth: bool| truth != and;
    match (left, right) {
        (Cell::Truth(a, m), Cell::Truth(b, n)) => {
            let margin = match (m, n) {
                (Some(m), Some(n)) if and => Some(m.min(n)),
                (Some(m), Some(n)) => Some(m.max(n)),
                (Some(m), None) if !settles(b) => Some(m),
                (None, Some(n)) if !settles(a) => Some(n),
                _ => None,
            };
            Cell::Truth(if and { a && b } else { a || b }, margin)
        }
        (Cell::Truth(a, _), _) | (_, Cell::Truth(a, _)) if settles(a) => Cell::Truth(a, None),
        _ => unknown(left, right),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_cell() -> impl Strategy<Value = Cell<i128>> {
        let number = || prop_oneof![any::<i128>(), -20i128..20, Just(i128::MIN), Just(i128::MAX)];
        prop_oneof![
            6 => number().prop_map(Cell::Number),
            2 => (any::<bool>(), prop::option::of(number())).prop_map(|(truth, margin)| Cell::Truth(truth, margin)),
            1 => Just(Cell::Unknown(Lack::Unread(3))),
        ]
    }

    fn widened(cell: Cell<i128>) -> Cell<Wide> {
        match cell {
            Cell::Number(number) => Cell::Number(Wide::from_i128(number)),
            Cell::Truth(truth, margin) => Cell::Truth(truth, margin.map(Wide::from_i128)),
            Cell::Unknown(lack) => Cell::Unknown(lack),
        }
    }

    fn any_op() -> impl Strategy<Value = Op> {
        let operation = prop::sample::select(vec![
            Arithmetic::Add,
            Arithmetic::Sub,
            Arithmetic::Mul,
            Arithmetic::Div,
            Arithmetic::Rem,
            Arithmetic::Min,
            Arithmetic::Max,
        ]);
        let relation = prop::sample::select(vec![
            Relation::Eq,
            Relation::Ne,
            Relation::Lt,
            Relation::Le,
            Relation::Gt,
            Relation::Ge,
        ]);
        prop_oneof![
            4 => operation.prop_map(Op::Arithmetic),
            4 => (relation, 0u8..40).prop_map(|(relation, scale)| Op::Compare(relation, scale)),
            2 => (0u8..40, 0u8..40).prop_map(|(under, top)| Op::Align(under, top)),
            1 => prop::sample::select(vec![Op::Negate, Op::Absolute, Op::Count, Op::And, Op::Or, Op::Not]),
            1 => any::<bool>().prop_map(Op::SameWord),
            1 => any::<bool>().prop_map(Op::SameTruth),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn narrow_numbers_give_what_wide_ones_give_or_nothing(op in any_op(), left in any_cell(), right in any_cell()) {
            let tables = Tables::default();
            let (mut narrow, mut wide) = (vec![left, right], vec![widened(left), widened(right)]);
            let wide_result = step(op, &tables, &[], &mut wide).unwrap();
            if let Ok(result) = step(op, &tables, &[], &mut narrow) {
                prop_assert_eq!(widened(result), wide_result);
                let narrow: Vec<_> = narrow.into_iter().map(widened).collect();
                prop_assert_eq!(narrow, wide);
            }
        }
    }
}
