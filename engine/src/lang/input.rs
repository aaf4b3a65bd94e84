//! The parser's input: tokens, and what was wanted where nothing fitted, from which an error says what was expected.

use winnow::{
    Parser,
    error::ParserError,
    stream::{Stateful, Stream, TokenSlice},
    token::any,
};

use super::{
    ast::{Expr, ExprKind, Span},
    diagnostic::LangError,
    parser::KEYWORDS,
    token::{Token, TokenKind},
};

/// Deepest expression that is accepted.
const MAX_PARTS: u16 = 128;

pub(super) type Input<'t> = Stateful<TokenSlice<'t, Token>, State>;
pub(super) type Parsed<T> = Result<T, Fail>;

/// What is remembered over all alternatives that were tried.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) nesting: u16,
    /// Tokens left at the furthest place where something else was wanted, and what was wanted there.
    furthest: Option<usize>,
    wanted: Vec<&'static str>,
    /// What ends the parsing at once.
    pub(super) broken: Option<(Span, String)>,
}

/// This alternative does not fit; `last` when no other does either. What was wanted is in [`State`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Fail {
    pub(super) last: bool,
}

impl<'t> ParserError<Input<'t>> for Fail {
    type Inner = Self;

    fn from_input(_: &Input<'t>) -> Self {
        Self { last: false }
    }

    fn is_backtrack(&self) -> bool {
        !self.last
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

pub(super) fn explain(text: &str, tokens: &[Token], state: &State) -> LangError {
    if let Some((span, message)) = &state.broken {
        return LangError::new(text, span.clone(), message.clone());
    }
    let left = state.furthest.unwrap_or(0);
    let found = tokens.len().checked_sub(left).and_then(|index| tokens.get(index));
    let expected = listed(&state.wanted);
    let Some(found) = found else {
        let end = tokens.last().map_or(0, |token| token.span.end);
        return LangError::new(text, end..end, "the expression ends too early").label(format!("expected {expected}"));
    };
    let error = LangError::new(text, found.span.clone(), format!("unexpected {}", found.kind));
    let error = error.label(format!("expected {expected}"));
    let before = tokens.len().checked_sub(left + 1).and_then(|index| tokens.get(index));
    match (&found.kind, before.map(|token| &token.kind)) {
        (TokenKind::Symbol("="), _) => error.help("equality is written `==`"),
        (_, Some(TokenKind::Number { percent: true, .. })) => error
            .help("a number with `%` right behind it is a percentage; the remainder is written with spaces: `a % b`"),
        _ => error,
    }
}

/// What was wanted, the ways to begin or continue a term taken together.
fn listed(wanted: &[&str]) -> String {
    let begins = wanted.contains(&"a term");
    let continues = wanted.contains(&"an operator");
    let mut shown: Vec<&str> = ["a term", "an operator"]
        .into_iter()
        .filter(|class| wanted.contains(class))
        .collect();
    shown.extend(wanted.iter().filter(|wanted| match **wanted {
        "a term" | "an operator" => false,
        "`-`" | "`not`" | "`!`" => !begins,
        "`.`" | "`[`" | "`as`" => !continues,
        "`(`" => !begins && !continues,
        _ => true,
    }));
    match shown.as_slice() {
        [] => "something else".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// What the combinators need of the input, besides its tokens.
pub(super) trait Wants {
    fn unwanted(&mut self, wanted: &'static str) -> Fail;
    fn broken(&mut self, span: Span, message: String) -> Fail;
}

impl Wants for Input<'_> {
    fn unwanted(&mut self, wanted: &'static str) -> Fail {
        let left = self.input.eof_offset();
        match self.state.furthest {
            Some(furthest) if furthest < left => {}
            Some(furthest) if furthest == left => {
                if !self.state.wanted.contains(&wanted) {
                    self.state.wanted.push(wanted);
                }
            }
            _ => {
                self.state.furthest = Some(left);
                self.state.wanted = vec![wanted];
            }
        }
        Fail { last: false }
    }

    fn broken(&mut self, span: Span, message: String) -> Fail {
        self.state.broken = Some((span, message));
        Fail { last: true }
    }
}

/// Takes the next token when it fits.
pub(super) fn take<'t, T>(
    input: &mut Input<'t>,
    wanted: &'static str,
    fits: impl Fn(&'t TokenKind) -> Option<T>,
) -> Parsed<(T, Span)> {
    let before = input.checkpoint();
    let taken: Parsed<_> = any.parse_next(input);
    if let Ok(token) = taken
        && let Some(value) = fits(&token.kind)
    {
        return Ok((value, token.span.clone()));
    }
    input.reset(&before);
    Err(input.unwanted(wanted))
}

/// A symbol, given with the backquotes that it is shown in.
pub(super) fn symbol<'t>(quoted: &'static str) -> impl Parser<Input<'t>, Span, Fail> {
    let bare = quoted.trim_matches('`');
    move |input: &mut Input<'t>| {
        let fits = |kind: &TokenKind| matches!(kind, TokenKind::Symbol(symbol) if *symbol == bare).then_some(());
        take(input, quoted, fits).map(|((), span)| span)
    }
}

/// A word of the language itself.
pub(super) fn word<'t>(quoted: &'static str) -> impl Parser<Input<'t>, Span, Fail> {
    let bare = quoted.trim_matches('`');
    move |input: &mut Input<'t>| {
        let fits = |kind: &TokenKind| matches!(kind, TokenKind::Name(name) if name == bare).then_some(());
        take(input, quoted, fits).map(|((), span)| span)
    }
}

pub(super) fn name(input: &mut Input<'_>, wanted: &'static str) -> Parsed<(String, Span)> {
    take(input, wanted, |kind| match kind {
        TokenKind::Name(name) if !KEYWORDS.contains(&name.as_str()) => Some(name.clone()),
        _ => None,
    })
}

/// Where the last token that was taken ends.
pub(super) fn end_of_previous(input: &Input<'_>, start: usize) -> usize {
    input
        .input
        .previous_tokens()
        .next()
        .map_or(start, |token| token.span.end)
}

pub(super) fn part(input: &mut Input<'_>, span: Span, kind: ExprKind) -> Parsed<Expr> {
    let depth = kind.depth() + 1;
    if depth > MAX_PARTS {
        let message = format!("more than {MAX_PARTS} operators or terms inside one another");
        return Err(input.broken(span, message));
    }
    Ok(Expr { span, kind, depth })
}
