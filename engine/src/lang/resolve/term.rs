//! Terms: what is read, and the functions of the language.

use super::{LangError, Lowered, Resolver, Scope, constant::listed, did_you_mean};
use crate::{
    ValueType,
    lang::{
        ast::{Argument, Expr, ExprKind, Span},
        program::{Arithmetic, Decimal, Moment, Source},
        wide::Wide,
    },
};

/// What stands behind a name.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    Member(&'a str, &'a Span),
    Index(&'a Expr),
    Call(&'a [Argument], &'a Span),
}

/// What `block` and `tx` have.
const BLOCK: [(&str, Source); 3] = [
    ("number", Source::BlockNumber),
    ("timestamp", Source::BlockTimestamp),
    ("basefee", Source::BaseFee),
];
const TX: [(&str, Source); 3] = [
    ("sender", Source::TxSender),
    ("to", Source::TxTo),
    ("value", Source::TxValue),
];

impl<'a> Resolver<'a> {
    /// A name and what stands behind it. `asked` is the type that the author says it has.
    pub(super) fn term(
        &mut self,
        expr: &'a Expr,
        scope: Scope<'a>,
        asked: Option<ValueType>,
        wanted: Option<super::Kind>,
    ) -> Lowered {
        let (base, steps) = chain(expr);
        let ExprKind::Name(name) = &base.kind else {
            return Err(self
                .error(&base.span, "only names have members, elements and arguments")
                .label("expected a name"));
        };
        if let Some(value_type) = asked
            && !matches!(steps.as_slice(), [Step::Member(..), ..] if self.names.get(name).is_some())
        {
            return Err(self
                .error(&expr.span, "only variables of a contract are read `as` another type")
                .help(format!("for a slot write slot(contract, slot, {value_type})")));
        }
        match (name.as_str(), steps.as_slice()) {
            ("pre", []) => self.bare_pre(&expr.span, scope),
            ("sender", []) => self.read(Source::TxSender, scope, &expr.span),
            ("block", [Step::Member(member, span)]) => self.environment(&BLOCK, member, span, scope, expr),
            ("tx", [Step::Member(member, span)]) => self.environment(&TX, member, span, scope, expr),
            (_, [Step::Call(arguments, span)]) => self.function(expr, name, arguments, span, scope, wanted),
            (_, steps) => {
                let Some(contract) = self.names.get(name) else {
                    return Err(self.unknown_name(base, name));
                };
                match steps {
                    [] => self.word(ValueType::Address, contract.address.into_word().into(), expr),
                    [Step::Member(function, name_span), Step::Call(arguments, _), rest @ ..] => {
                        let source = self.view(name, contract, (function, name_span), arguments, rest)?;
                        self.read(source, scope, &expr.span)
                    }
                    [Step::Member(variable, span), rest @ ..] => {
                        let source = self.variable(name, contract, (variable, span), rest, asked, expr)?;
                        self.read(source, scope, &expr.span)
                    }
                    [Step::Index(_) | Step::Call(..), ..] => Err(self
                        .error(
                            &expr.span,
                            format!("`{name}` is a contract; it has variables and functions"),
                        )
                        .help(format!("write {name}.variable or {name}.function()"))),
                }
            }
        }
    }

    fn environment(
        &mut self,
        known: &[(&str, Source)],
        member: &str,
        span: &Span,
        scope: Scope<'a>,
        expr: &Expr,
    ) -> Lowered {
        match known.iter().find(|(name, _)| *name == member) {
            Some((_, source)) => self.read(source.clone(), scope, &expr.span),
            None => {
                let names: Vec<_> = known.iter().map(|(name, _)| (*name).to_owned()).collect();
                let error = self.error(span, format!("there is no `{member:.60}` here"));
                Err(error.help(format!("there are {}", listed(names.iter()))))
            }
        }
    }

    /// A function of the language.
    fn function(
        &mut self,
        expr: &'a Expr,
        name: &str,
        arguments: &'a [Argument],
        span: &Span,
        scope: Scope<'a>,
        wanted: Option<super::Kind>,
    ) -> Lowered {
        if matches!(name, "count" | "sum") {
            let source = self.events(expr, name, arguments)?;
            return self.read(source, scope, &expr.span);
        }
        if let Some(filter) = arguments.iter().find_map(|argument| argument.filters.first()) {
            return Err(self
                .error(&filter.span, format!("unexpected `{:.60}`", filter.parameter))
                .label("expected an operator, `,` or `)`"));
        }
        match (name, arguments) {
            ("pre", [of]) => self.moment(of, Moment::Pre, span, scope, wanted),
            ("post", [of]) => self.moment(of, Moment::Post, span, scope, wanted),
            ("delta", [of]) => self.delta(of, span, scope),
            ("min" | "max", [first, rest @ ..]) if !rest.is_empty() => {
                let operation = if name == "min" {
                    Arithmetic::Min
                } else {
                    Arithmetic::Max
                };
                let mut least = self.number(&first.value, scope)?;
                for next in rest {
                    let next = self.number(&next.value, scope)?;
                    least = self.arithmetic(operation, least, next, span)?;
                }
                Ok(least)
            }
            ("abs", [of]) => {
                let number = self.number(&of.value, scope)?;
                let absolute = self.builder.absolute(number);
                self.built(absolute, span)
            }
            ("number", [of]) => {
                let typed = self.lower(&of.value, scope, None)?;
                let number = self.builder.number(typed);
                self.built(number, span)
            }
            ("balance", [of]) => {
                let account = self.address(&of.value)?;
                self.read(Source::Balance(account), scope, span)
            }
            ("nonce", [of]) => {
                let account = self.address(&of.value)?;
                self.read(Source::Nonce(account), scope, span)
            }
            ("codehash", [of]) => {
                let account = self.address(&of.value)?;
                self.read(Source::CodeHash(account), scope, span)
            }
            ("slot", [contract, slot, more @ ..]) if more.len() <= 2 => {
                let source = self.raw_slot(contract, slot, more)?;
                self.read(source, scope, span)
            }
            ("call", [contract, what, more @ ..]) => {
                let source = self.raw_call(contract, what, more)?;
                self.read(source, scope, span)
            }
            ("mapping", _) => {
                let value = self.constant(expr, ValueType::Uint(256))?;
                let number = Wide::from(value);
                let decimal = self.builder.decimal(Decimal { number, scale: 0 });
                self.built(decimal, span)
            }
            (_, [inner]) if matches!(name.parse(), Ok(ValueType::Address | ValueType::FixedBytes(_))) => {
                let value_type = name.parse().unwrap_or(ValueType::Address);
                let value = self.constant(&inner.value, value_type)?;
                self.word(value_type, value, expr)
            }
            _ => Err(self.no_such_function(expr, name, span)),
        }
    }

    fn no_such_function(&self, expr: &Expr, name: &str, span: &Span) -> LangError {
        let usage = FUNCTIONS.iter().find(|(function, _)| *function == name);
        if let Some((_, usage)) = usage {
            let error = self.error(span, format!("{name}(..) takes other arguments"));
            return error.label("these do not fit").help(format!("it is written {usage}"));
        }
        if self.names.get(name).is_some() {
            let error = self.error(&expr.span, format!("`{name}` is a contract and no function"));
            return error.help(format!("write {name}.function(..)"));
        }
        let error = self.error(&expr.span, format!("there is no function `{name:.60}`"));
        match did_you_mean(name, FUNCTIONS.iter().map(|(function, _)| *function)) {
            Some(help) => error.help(help),
            None => error.help("a contract's function is written contract.function(..)"),
        }
    }

    /// `pre(..)` and `post(..)`.
    fn moment(
        &mut self,
        of: &'a Argument,
        moment: Moment,
        span: &Span,
        scope: Scope<'a>,
        wanted: Option<super::Kind>,
    ) -> Lowered {
        self.outermost(span, scope)?;
        let inside = Scope {
            moment: Some(moment),
            ..scope
        };
        self.lower(&of.value, inside, wanted)
    }

    fn delta(&mut self, of: &'a Argument, span: &Span, scope: Scope<'a>) -> Lowered {
        self.outermost(span, scope)?;
        let at = |moment| Scope {
            moment: Some(moment),
            ..scope
        };
        let after = self.number(&of.value, at(Moment::Post))?;
        let before = self.number(&of.value, at(Moment::Pre))?;
        self.arithmetic(Arithmetic::Sub, after, before, span)
    }

    fn outermost(&self, span: &Span, scope: Scope<'a>) -> Result<(), LangError> {
        if scope.moment.is_none() {
            return Ok(());
        }
        Err(self.error(span, "pre(..), post(..) and delta(..) do not stand inside one another"))
    }
}

/// The name that a term begins with, and what stands behind it.
fn chain(expr: &Expr) -> (&Expr, Vec<Step<'_>>) {
    let mut steps = Vec::new();
    let mut base = expr;
    loop {
        base = match &base.kind {
            ExprKind::Member(of, name, span) => {
                steps.push(Step::Member(name, span));
                of
            }
            ExprKind::Index(of, index) => {
                steps.push(Step::Index(index));
                of
            }
            ExprKind::Call(of, arguments) => {
                steps.push(Step::Call(arguments, &base.span));
                of
            }
            _ => break,
        };
    }
    steps.reverse();
    (base, steps)
}

/// The functions of the language and how they are written.
const FUNCTIONS: [(&str, &str); 15] = [
    ("pre", "pre(term)"),
    ("post", "post(term)"),
    ("delta", "delta(term)"),
    ("min", "min(a, b, ..)"),
    ("max", "max(a, b, ..)"),
    ("abs", "abs(number)"),
    ("number", "number(term)"),
    ("balance", "balance(address)"),
    ("nonce", "nonce(address)"),
    ("codehash", "codehash(address)"),
    ("slot", "slot(contract, slot, type, byte offset)"),
    ("call", "call(contract, \"f(address)(uint256)\", argument)"),
    ("mapping", "mapping(slot, key, ..)"),
    ("count", "count(Event parameter value)"),
    ("sum", "sum(Event.parameter parameter value)"),
];
