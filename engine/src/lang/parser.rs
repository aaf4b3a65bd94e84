//! From tokens to an expression: operator precedence over winnow's combinators.
//!
//! From loosest to tightest: `unless`; `implies` (to the right); `or`; `and`; `not`; comparisons and `in`; `+ -`; `* / % of`; the
//! sign; what stands behind a term (`.x`, `[x]`, `(x)`, `as type`, `"label"`). Bounded: [`MAX_TEXT`](super::MAX_TEXT) bytes,
//! [`MAX_NESTING`] expressions inside one another, a fixed depth of the result. So neither stack nor memory nor time runs away.

use winnow::{
    Parser,
    combinator::{alt, delimited, opt, preceded, repeat, separated},
    stream::{Stateful, Stream, TokenSlice},
};

use super::{
    ast::{Argument, Expr, ExprKind, Filter, Span},
    diagnostic::LangError,
    input::{Fail, Input, Parsed, State, Wants, end_of_previous, explain, name, part, symbol, take, word},
    number::{UNITS, constant},
    program::{Arithmetic, Relation},
    token::{TokenKind, tokens},
    wide::MAX_SCALE,
};
use crate::ValueType;

/// Most expressions inside one another while parsing.
const MAX_NESTING: u16 = 220;
/// Words that are operators or constants and so never begin a term.
pub(super) const KEYWORDS: [&str; 10] = [
    "and", "or", "not", "implies", "unless", "in", "of", "as", "true", "false",
];

/// Parses the text of an expression.
pub(super) fn parse(text: &str) -> Result<Expr, LangError> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Err(LangError::new(text, 0..text.len().min(1), "there is no expression")
            .help("write a condition, for instance `vault.totalAssets() >= vault.totalSupply()`"));
    }
    let mut input = Stateful {
        input: TokenSlice::new(&tokens),
        state: State::default(),
    };
    let parsed = expression(&mut input, 0).and_then(|expression| {
        if input.input.is_empty() {
            return Ok(expression);
        }
        Err(input.unwanted("the end"))
    });
    parsed.map_err(|_| explain(text, &tokens, &input.state))
}

/// What may stand between two operands.
#[derive(Clone, Copy)]
enum Infix {
    Unless,
    Implies,
    Or,
    And,
    Relation(Relation),
    In,
    NotIn,
    Arithmetic(Arithmetic),
}

impl Infix {
    /// How tightly it binds.
    const fn power(self) -> u8 {
        match self {
            Self::Unless => 1,
            Self::Implies => 2,
            Self::Or => 3,
            Self::And => 4,
            Self::Relation(_) | Self::In | Self::NotIn => COMPARISON,
            Self::Arithmetic(Arithmetic::Add | Arithmetic::Sub) => 7,
            Self::Arithmetic(_) => 8,
        }
    }
}

const NOT: u8 = 5;
const COMPARISON: u8 = 6;
const SIGN: u8 = 9;

/// An operator that binds at least so tightly; anything else is left alone.
fn infix(input: &mut Input<'_>, least: u8) -> Parsed<Infix> {
    let before = input.checkpoint();
    let found = take(input, "an operator", |kind| {
        Some(match kind {
            TokenKind::Name(name) => match name.as_str() {
                "unless" => Infix::Unless,
                "implies" => Infix::Implies,
                "or" => Infix::Or,
                "and" => Infix::And,
                "in" => Infix::In,
                "not" => Infix::NotIn,
                "of" => Infix::Arithmetic(Arithmetic::Mul),
                _ => return None,
            },
            TokenKind::Symbol(symbol) => match *symbol {
                "=>" => Infix::Implies,
                "||" => Infix::Or,
                "&&" => Infix::And,
                "==" => Infix::Relation(Relation::Eq),
                "!=" => Infix::Relation(Relation::Ne),
                "<" => Infix::Relation(Relation::Lt),
                "<=" => Infix::Relation(Relation::Le),
                ">" => Infix::Relation(Relation::Gt),
                ">=" => Infix::Relation(Relation::Ge),
                "+" => Infix::Arithmetic(Arithmetic::Add),
                "-" => Infix::Arithmetic(Arithmetic::Sub),
                "*" => Infix::Arithmetic(Arithmetic::Mul),
                "/" => Infix::Arithmetic(Arithmetic::Div),
                "%" => Infix::Arithmetic(Arithmetic::Rem),
                _ => return None,
            },
            _ => return None,
        })
    });
    match found {
        Ok((infix, _)) if infix.power() >= least => {
            if matches!(infix, Infix::NotIn) {
                word("`in`").parse_next(input)?;
            }
            Ok(infix)
        }
        other => {
            input.reset(&before);
            other.and(Err(Fail { last: false }))
        }
    }
}

/// An expression of operators that bind at least so tightly.
fn expression(input: &mut Input<'_>, least: u8) -> Parsed<Expr> {
    input.state.nesting += 1;
    if input.state.nesting > MAX_NESTING {
        let span = input.input.first().map_or(0..0, |token| token.span.clone());
        return Err(input.broken(span, format!("more than {MAX_NESTING} expressions inside one another")));
    }
    let expression = operators(input, least);
    input.state.nesting -= 1;
    expression
}

fn operators(input: &mut Input<'_>, least: u8) -> Parsed<Expr> {
    let mut left = prefixed(input, least)?;
    while let Ok(infix) = infix(input, least) {
        left = joined(input, left, infix)?;
    }
    if input.state.broken.is_some() {
        return Err(Fail { last: true });
    }
    Ok(left)
}

/// What stands right of an operator, joined to what stands left of it.
fn joined(input: &mut Input<'_>, left: Expr, infix: Infix) -> Parsed<Expr> {
    let start = left.span.start;
    let power = infix.power();
    let kind = match infix {
        Infix::Unless => ExprKind::Any(vec![left, expression(input, power + 1)?]),
        Infix::Implies => {
            let span = left.span.clone();
            let condition = part(input, span, ExprKind::Not(Box::new(left)))?;
            ExprKind::Any(vec![condition, expression(input, power)?])
        }
        Infix::Or => ExprKind::Any(list(input, left, power)?),
        Infix::And => ExprKind::All(list(input, left, power)?),
        Infix::Relation(relation) => {
            let mut rest = vec![(relation, expression(input, power + 1)?)];
            while let Ok(Infix::Relation(relation)) = relation_only(input) {
                rest.push((relation, expression(input, power + 1)?));
            }
            ExprKind::Compare(Box::new(left), rest)
        }
        Infix::In | Infix::NotIn => {
            let members = delimited(
                symbol("`{`"),
                separated(
                    0..,
                    |input: &mut Input<'_>| expression(input, COMPARISON + 1),
                    symbol("`,`"),
                ),
                symbol("`}`"),
            )
            .parse_next(input)?;
            let member = ExprKind::In(Box::new(left), members);
            if matches!(infix, Infix::In) {
                member
            } else {
                let span = start..end_of_previous(input, start);
                ExprKind::Not(Box::new(part(input, span, member)?))
            }
        }
        Infix::Arithmetic(operation) => {
            let right = expression(input, power + 1)?;
            ExprKind::Arithmetic(operation, Box::new(left), Box::new(right))
        }
    };
    let span = start..end_of_previous(input, start);
    part(input, span, kind)
}

/// One more relation of a chain.
fn relation_only(input: &mut Input<'_>) -> Parsed<Infix> {
    let before = input.checkpoint();
    match infix(input, COMPARISON) {
        Ok(found @ Infix::Relation(_)) => Ok(found),
        _ => {
            input.reset(&before);
            Err(Fail { last: false })
        }
    }
}

/// The operands of `and` or `or` repeated.
fn list(input: &mut Input<'_>, first: Expr, power: u8) -> Parsed<Vec<Expr>> {
    let mut parts = vec![first];
    loop {
        parts.push(expression(input, power + 1)?);
        let before = input.checkpoint();
        if !matches!(infix(input, power), Ok(infix) if infix.power() == power) {
            input.reset(&before);
            return Ok(parts);
        }
    }
}

fn prefixed(input: &mut Input<'_>, least: u8) -> Parsed<Expr> {
    if least <= NOT
        && let Some(sign) = opt(alt((word("`not`"), symbol("`!`")))).parse_next(input)?
    {
        let of = expression(input, NOT)?;
        let span = sign.start..of.span.end;
        return part(input, span, ExprKind::Not(Box::new(of)));
    }
    if let Some(sign) = opt(symbol("`-`")).parse_next(input)? {
        let of = expression(input, SIGN)?;
        let span = sign.start..of.span.end;
        return part(input, span, ExprKind::Negate(Box::new(of)));
    }
    term(input)
}

/// Something that stands by itself, and what stands behind it.
fn term(input: &mut Input<'_>) -> Parsed<Expr> {
    let mut term = atom(input)?;
    loop {
        let start = term.span.start;
        let kind = if opt(symbol("`.`")).parse_next(input)?.is_some() {
            let (member, span) = take(input, "a name", |kind| match kind {
                TokenKind::Name(name) => Some(name.clone()),
                _ => None,
            })?;
            ExprKind::Member(Box::new(term), member, span)
        } else if opt(symbol("`[`")).parse_next(input)?.is_some() {
            let index = expression(input, 0)?;
            symbol("`]`").parse_next(input)?;
            ExprKind::Index(Box::new(term), Box::new(index))
        } else if opt(symbol("`(`")).parse_next(input)?.is_some() {
            let arguments = separated(0.., argument, symbol("`,`")).parse_next(input)?;
            symbol("`)`").parse_next(input)?;
            ExprKind::Call(Box::new(term), arguments)
        } else if opt(word("`as`")).parse_next(input)?.is_some() {
            ExprKind::As(Box::new(term), value_type(input)?)
        } else if !matches!(term.kind, ExprKind::Text(_))
            && let Ok((label, _)) = take(input, "an operator", |kind| match kind {
                TokenKind::Text(text) => Some(text.clone()),
                _ => None,
            })
        {
            ExprKind::Labelled(Box::new(term), label)
        } else {
            return Ok(term);
        };
        let span = start..end_of_previous(input, start);
        term = part(input, span, kind)?;
    }
}

fn value_type(input: &mut Input<'_>) -> Parsed<ValueType> {
    let (name, span) = name(input, "a type")?;
    name.parse()
        .map_err(|error: crate::ValueTypeError| input.broken(span, error.to_string()))
}

fn argument(input: &mut Input<'_>) -> Parsed<Argument> {
    let value = expression(input, 0)?;
    let filters = match value.kind {
        ExprKind::Name(_) | ExprKind::Member(..) | ExprKind::Text(_) => repeat(0.., filter).parse_next(input)?,
        _ => Vec::new(),
    };
    Ok(Argument { value, filters })
}

/// `from 0x0`
fn filter(input: &mut Input<'_>) -> Parsed<Filter> {
    let (parameter, span) = name(input, "a parameter of the event")?;
    let value = preceded(opt(symbol("`==`")), |input: &mut Input<'_>| {
        expression(input, COMPARISON + 1)
    })
    .parse_next(input)?;
    Ok(Filter { parameter, span, value })
}

fn atom(input: &mut Input<'_>) -> Parsed<Expr> {
    if opt(symbol("`(`")).parse_next(input)?.is_some() {
        let inner = expression(input, 0)?;
        symbol("`)`").parse_next(input)?;
        return Ok(inner);
    }
    let (token, span) = take(input, "a term", |kind| match kind {
        TokenKind::Name(name) if KEYWORDS.contains(&name.as_str()) && !matches!(name.as_str(), "true" | "false") => {
            None
        }
        TokenKind::Symbol(_) => None,
        kind => Some(kind.clone()),
    })?;
    let kind = match token {
        TokenKind::Name(name) => match name.as_str() {
            "true" => ExprKind::Flag(true),
            "false" => ExprKind::Flag(false),
            _ => ExprKind::Name(name),
        },
        TokenKind::Number {
            digits,
            exponent,
            percent,
        } => return number(input, span, &digits, &exponent, percent),
        TokenKind::Hex(digits) => ExprKind::Hex(digits),
        TokenKind::Text(text) => ExprKind::Text(text),
        TokenKind::Symbol(_) => return Err(input.unwanted("a term")),
    };
    part(input, span, kind)
}

fn number(input: &mut Input<'_>, span: Span, digits: &str, exponent: &str, percent: bool) -> Parsed<Expr> {
    let unit = take(input, "an operator", |kind| match kind {
        TokenKind::Name(name) => UNITS.iter().find(|(unit, ..)| unit == name).copied(),
        _ => None,
    });
    let (factor, power, end) = match unit {
        Ok(((_, factor, power), unit)) => (factor, power, unit.end),
        Err(_) => (1, 0, span.end),
    };
    let span = span.start..end;
    let power = power + if percent { -2 } else { 0 };
    match constant(digits, exponent, factor, power) {
        Some(decimal) => part(input, span, ExprKind::Number(decimal)),
        None => {
            let message = format!("a number must be below 2^256 and have at most {MAX_SCALE} decimal places");
            Err(input.broken(span, message))
        }
    }
}
