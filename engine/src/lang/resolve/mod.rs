//! From an expression as it was written to a program: names looked up, everything typed.
//!
//! A bare term speaks of the state after the transaction. `pre` alone stands for the term on the other side of a comparison,
//! before the transaction. What has no meaning is refused here, with its place.

mod constant;
mod event;
mod term;
mod variable;
mod view;

use super::{
    ast::{Argument, Expr, ExprKind, Span},
    diagnostic::LangError,
    names::Names,
    node::{BuildError, Builder, Kind, Typed},
    parser,
    program::{Arithmetic, Moment, Program, Relation, Source},
    token::MAX_TEXT,
    wide::Wide,
};

/// More bytes than one byte of an expression becomes when it is spelt out: an argument that is a name of one letter becomes a
/// word in calldata.
const MOST_EXPANSION: usize = 200;

/// Longest label of a term, in characters.
const LONGEST_LABEL: usize = 200;

/// Parses, types and compiles an expression.
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(text: &str, names: &Names) -> Result<Program, LangError> {
    let expression = parser::parse(text)?;
    let mut resolver = Resolver {
        text,
        names,
        builder: Builder::default(),
    };
    let root = resolver.lower(&expression, Scope::default(), None)?;
    if root.kind != Kind::Truth {
        let message = format!("an invariant is true or false, but this is {}", root.kind.name());
        return Err(LangError::new(text, expression.span, message).help("compare it with something: `... >= ...`"));
    }
    let Resolver { builder, .. } = resolver;
    let span = expression.span;
    let program = builder
        .finish(root)
        .map_err(|error| LangError::new(text, span.clone(), error.to_string()))?;
    // Names are short for what they stand for. What is accepted is also accepted when it is spelt out.
    if text.len() * MOST_EXPANSION > MAX_TEXT && format!("{program:#}").len() > MAX_TEXT {
        let message = format!("spelt out, with addresses and slots for names, it has more than {MAX_TEXT} bytes");
        return Err(LangError::new(text, span, message).help("split the invariant into several"));
    }
    Ok(program)
}

/// Where an expression stands.
#[derive(Clone, Copy, Default)]
struct Scope<'a> {
    /// Inside `pre(..)` or `post(..)`.
    moment: Option<Moment>,
    /// What stands on the other side of the comparison.
    subject: Option<&'a Expr>,
    /// What the author calls the term.
    label: Option<&'a str>,
}

struct Resolver<'a> {
    text: &'a str,
    names: &'a Names,
    builder: Builder,
}

type Lowered = Result<Typed, LangError>;

impl<'a> Resolver<'a> {
    /// The node of an expression. `wanted` says what a literal of several meanings is.
    fn lower(&mut self, expr: &'a Expr, scope: Scope<'a>, wanted: Option<Kind>) -> Lowered {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::Hex(_) | ExprKind::Flag(_) => self.literal(expr, wanted),
            ExprKind::Text(_) => Err(self
                .error(&expr.span, "a text in quotation marks means nothing here")
                .help("texts are signatures, as in call(token, \"totalSupply()(uint256)\")")),
            ExprKind::Labelled(of, label) => {
                let label = Some(label.as_str());
                self.lower(of, Scope { label, ..scope }, wanted)
            }
            ExprKind::As(of, value_type) => self.term(of, scope, Some(*value_type), wanted),
            ExprKind::Name(_) | ExprKind::Member(..) | ExprKind::Index(..) | ExprKind::Call(..) => {
                self.term(expr, scope, None, wanted)
            }
            ExprKind::Negate(of) => {
                let number = self.number(of, scope)?;
                let negated = self.builder.negate(number);
                self.built(negated, &expr.span)
            }
            ExprKind::Not(of) => {
                let truth = self.truth(of, scope)?;
                let not = self.builder.not(truth);
                self.built(not, &expr.span)
            }
            ExprKind::Arithmetic(operation, left, right) => {
                let left = self.number(left, scope)?;
                let right = self.number(right, scope)?;
                self.arithmetic(*operation, left, right, &expr.span)
            }
            ExprKind::Compare(first, rest) => self.chain(expr, first, rest, scope),
            ExprKind::In(value, members) => self.membership(expr, value, members, scope),
            ExprKind::All(parts) => {
                let parts = self.truths(parts, scope)?;
                let all = self.builder.all(parts);
                self.built(all, &expr.span)
            }
            ExprKind::Any(parts) => {
                let parts = self.truths(parts, scope)?;
                let any = self.builder.any(parts);
                self.built(any, &expr.span)
            }
        }
    }

    fn arithmetic(&mut self, operation: Arithmetic, left: Typed, right: Typed, span: &Span) -> Lowered {
        let result = self.builder.arithmetic(operation, left, right);
        self.built(result, span)
    }

    /// An operand that must be a number.
    fn number(&mut self, expr: &'a Expr, scope: Scope<'a>) -> Lowered {
        let typed = self.lower(expr, scope, Some(Kind::Number(0)))?;
        if typed.kind.is_number() {
            return Ok(typed);
        }
        let error = self.error(&expr.span, format!("cannot calculate with {}", typed.kind.name()));
        Err(error
            .label("expected a number")
            .help("number(..) takes truths, addresses and bytes as numbers"))
    }

    /// An operand that must be true or false.
    fn truth(&mut self, expr: &'a Expr, scope: Scope<'a>) -> Lowered {
        // What is true or false stands on no side of a comparison.
        let typed = self.lower(expr, Scope { subject: None, ..scope }, None)?;
        if typed.kind == Kind::Truth {
            return Ok(typed);
        }
        let error = self.error(
            &expr.span,
            format!("this is {} and not true or false", typed.kind.name()),
        );
        Err(error
            .label("expected a condition")
            .help("compare it with something: `... >= ...`"))
    }

    fn truths(&mut self, parts: &'a [Expr], scope: Scope<'a>) -> Result<Vec<Typed>, LangError> {
        parts.iter().map(|part| self.truth(part, scope)).collect()
    }

    /// `a < b <= c`: each relation between its neighbours.
    fn chain(&mut self, whole: &Expr, first: &'a Expr, rest: &'a [(Relation, Expr)], scope: Scope<'a>) -> Lowered {
        let mut left = first;
        let mut pairs = Vec::with_capacity(rest.len());
        for (relation, right) in rest {
            pairs.push(self.pair(*relation, left, right, scope)?);
            left = right;
        }
        let all = self.builder.all(pairs);
        self.built(all, &whole.span)
    }

    fn pair(&mut self, relation: Relation, left: &'a Expr, right: &'a Expr, scope: Scope<'a>) -> Lowered {
        let of = |subject| Scope {
            subject: Some(subject),
            ..scope
        };
        // A literal takes its type from the other side.
        let (a, b) = if is_open(left) {
            let b = self.lower(right, of(left), None)?;
            let a = self.lower(left, of(right), Some(b.kind))?;
            (a, b)
        } else {
            let a = self.lower(left, of(right), None)?;
            let b = self.lower(right, of(left), Some(a.kind))?;
            (a, b)
        };
        let (a_kind, b_kind) = (a.kind, b.kind);
        self.builder.compare(relation, a, b).map_err(|error| {
            let described = self.error(&self.between(&left.span, &right.span), error.to_string());
            let described = match error {
                BuildError::Mismatch { .. } => described
                    .context(left.span.clone(), format!("this is {}", a_kind.name()))
                    .context(right.span.clone(), format!("this is {}", b_kind.name())),
                _ => described,
            };
            match (a_kind, b_kind) {
                (Kind::Truth, Kind::Number(_)) | (Kind::Number(_), Kind::Truth) => {
                    described.help("compare it with true or false, or write number(..) around it")
                }
                _ => described,
            }
        })
    }

    /// `a in {b, c}`: constants in one set, anything else compared one by one.
    fn membership(&mut self, whole: &Expr, value: &'a Expr, members: &'a [Expr], scope: Scope<'a>) -> Lowered {
        let typed = self.lower(value, scope, None)?;
        let kind = typed.kind;
        let whole_numbers = !matches!(kind, Kind::Number(scale) if scale > 0);
        if kind == Kind::Truth {
            return Err(self.error(&value.span, "a truth is no member of a set; use it as it stands"));
        }
        let mut constants = Vec::new();
        let mut others = Vec::new();
        for member in members {
            match self.member_constant(member, kind) {
                Some(Ok(constant)) if whole_numbers => constants.push(constant),
                Some(Err(error)) => return Err(error),
                _ => others.push(member),
            }
        }
        let mut alternatives = Vec::with_capacity(others.len() + 1);
        if others.is_empty() || !constants.is_empty() {
            let member = self.builder.member(typed, constants);
            alternatives.push(self.built(member, &whole.span)?);
        }
        for other in others {
            alternatives.push(self.pair(Relation::Eq, value, other, scope)?);
        }
        let any = self.builder.any(alternatives);
        self.built(any, &whole.span)
    }

    /// A constant member of a set of this kind; `None` when it is no constant.
    fn member_constant(&self, member: &Expr, kind: Kind) -> Option<Result<Wide, LangError>> {
        match kind.word_type() {
            Some(value_type) if self.is_constant(member) => Some(self.constant(member, value_type).map(Wide::from)),
            Some(_) => None,
            None => self.whole_number(member).map(Ok),
        }
    }

    /// `pre` alone: what stands on the other side of the comparison, before the transaction.
    fn bare_pre(&mut self, span: &Span, scope: Scope<'a>) -> Lowered {
        let subject = scope.subject.and_then(subject).filter(|_| scope.moment.is_none());
        let Some(subject) = subject else {
            return Err(self
                .error(
                    span,
                    "`pre` alone stands for the single term on the other side of a comparison, and here there is none",
                )
                .help("write pre(..) around what is meant, for instance pre(vault.totalAssets)"));
        };
        let before = Scope {
            moment: Some(Moment::Pre),
            ..Scope::default()
        };
        self.lower(subject, before, None)
    }

    /// A reading, at the moment that the scope says; otherwise after the transaction.
    fn read(&mut self, source: Source, scope: Scope<'a>, span: &Span) -> Lowered {
        if scope.moment == Some(Moment::Pre) && !source.is_state() {
            let message = match source {
                Source::Logs(_) => "events happen in the transaction; there are none before it",
                _ => "this is the same before and after the transaction",
            };
            return Err(self.error(span, message).help("write it without pre(..) or delta(..)"));
        }
        let label = scope.label.or_else(|| self.text.get(span.clone())).unwrap_or_default();
        let label = label.split_whitespace().collect::<Vec<_>>().join(" ");
        let label: String = label.chars().take(LONGEST_LABEL).collect();
        let read = self.builder.read(scope.moment.unwrap_or(Moment::Post), source, &label);
        self.built(read, span)
    }

    /// What stands between two operands.
    fn between(&self, left: &Span, right: &Span) -> Span {
        let between = self.text.get(left.end..right.start).unwrap_or_default();
        let start = left.end + (between.len() - between.trim_start().len());
        start..start + between.trim().len()
    }

    fn built<T>(&self, built: Result<T, BuildError>, span: &Span) -> Result<T, LangError> {
        built.map_err(|error| self.error(span, error.to_string()))
    }

    fn error(&self, span: &Span, message: impl Into<String>) -> LangError {
        LangError::new(self.text, span.clone(), message)
    }
}

/// True for a literal that takes its type from what it is compared with.
fn is_open(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Hex(_) => true,
        ExprKind::Name(name) => name == "pre",
        _ => false,
    }
}

/// The term that `pre` on the other side of a comparison with this speaks of; `None` when it is a calculation.
fn subject(expr: &Expr) -> Option<&Expr> {
    match &expr.kind {
        ExprKind::Name(name) if name == "pre" => None,
        ExprKind::Call(function, arguments) => match (&function.kind, arguments.as_slice()) {
            (ExprKind::Name(name), [Argument { value, .. }]) => match name.as_str() {
                "delta" | "post" => Some(value),
                "abs" | "number" => subject(value),
                "pre" => None,
                _ => Some(expr),
            },
            (ExprKind::Name(name), _) if matches!(name.as_str(), "min" | "max") => None,
            _ => Some(expr),
        },
        ExprKind::Name(_) | ExprKind::Member(..) | ExprKind::Index(..) | ExprKind::As(..) => Some(expr),
        ExprKind::Labelled(of, _) => subject(of).map(|_| expr),
        _ => None,
    }
}

/// The name that is most like this one, as help.
fn did_you_mean<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let likeness = |other: &str| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
    let best = known
        .into_iter()
        .map(|other| (likeness(other), other))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some(format!("did you mean `{}`?", best.1))
}
