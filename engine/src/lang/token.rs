//! From text to tokens.

use std::fmt;

use winnow::{
    LocatingSlice, ModalResult, Parser,
    ascii::{digit1, multispace1},
    combinator::{alt, dispatch, empty, fail, opt, peek, preceded, repeat},
    stream::Location,
    token::{any, one_of, take_till, take_while},
};

use super::{ast::Span, diagnostic::LangError};

/// Most bytes of an expression's text.
pub const MAX_TEXT: usize = 64 * 1024;

/// A token and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Name(String),
    /// A decimal number: its digits with at most one point, its power of ten, and whether `%` stands right behind it.
    Number {
        digits: String,
        exponent: String,
        percent: bool,
    },
    /// The digits after `0x`.
    Hex(String),
    /// What stands between quotation marks.
    Text(String),
    Symbol(&'static str),
}

/// Longer ones first.
const SYMBOLS: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "=>", "(", ")", "[", "]", "{", "}", ",", ".", "+", "-", "*", "/", "%", "<",
    ">", "!", "=", ";", ":",
];

type Input<'t> = LocatingSlice<&'t str>;

/// Takes a text apart.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, LangError> {
    if text.len() > MAX_TEXT {
        let message = format!(
            "the expression has {} bytes, more than the {MAX_TEXT} that one may have",
            text.len()
        );
        return Err(LangError::new(text, 0..0, message).help("split the invariant into several"));
    }
    let mut input = LocatingSlice::new(text);
    let mut tokens = Vec::new();
    loop {
        let skipped: ModalResult<()> = repeat(0.., alt((multispace1.void(), comment))).parse_next(&mut input);
        if skipped.is_err() || input.is_empty() {
            return Ok(tokens);
        }
        let start = input.current_token_start();
        match token.parse_next(&mut input) {
            Ok(kind) => tokens.push(Token {
                kind,
                span: start..input.current_token_start(),
            }),
            Err(_) => return Err(unreadable(text, start)),
        }
    }
}

fn unreadable(text: &str, start: usize) -> LangError {
    let rest = text.get(start..).unwrap_or_default();
    let first = rest.chars().next().unwrap_or(' ');
    let end = start + first.len_utf8();
    match first {
        '"' => LangError::new(text, start..end, "this text has no end")
            .label("starts here")
            .help("close it with `\"` on the same line"),
        _ if rest.starts_with("0x") || rest.starts_with("0X") => {
            LangError::new(text, start..start + 2, "a hexadecimal number needs digits after `0x`")
        }
        _ if first.is_ascii_digit() => LangError::new(text, start..end, "this number cannot be read")
            .help("numbers are written 1000, 1_000, 0.5, 1e18, 0x2a or 5%, and the remainder with spaces: `a % b`"),
        _ => LangError::new(text, start..end, format!("unexpected character {first:?}"))
            .label("not part of the language"),
    }
}

fn comment(input: &mut Input<'_>) -> ModalResult<()> {
    (alt(("#", "//")), take_till(0.., ['\n'])).void().parse_next(input)
}

fn token(input: &mut Input<'_>) -> ModalResult<TokenKind> {
    dispatch! {peek(any);
        '0'..='9' => alt((hex, number)),
        'a'..='z' | 'A'..='Z' | '_' | '$' => name,
        '"' => text,
        _ => symbol,
    }
    .parse_next(input)
}

fn name(input: &mut Input<'_>) -> ModalResult<TokenKind> {
    take_while(1.., |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))
        .map(|name: &str| TokenKind::Name(name.to_owned()))
        .parse_next(input)
}

fn hex(input: &mut Input<'_>) -> ModalResult<TokenKind> {
    let digits = take_while(0.., |c: char| c.is_ascii_hexdigit());
    let glued = alt((
        one_of(|c: char| c.is_ascii_alphanumeric()).value(true),
        empty.value(false),
    ));
    (preceded(alt(("0x", "0X")), digits), peek(glued))
        .verify_map(|(digits, glued)| (!glued).then_some(digits))
        .map(|digits: &str| TokenKind::Hex(digits.to_owned()))
        .parse_next(input)
}

/// Digits, between which single underscores may stand.
fn grouped(input: &mut Input<'_>) -> ModalResult<String> {
    let more = repeat(0.., preceded(opt('_'), digit1));
    (digit1, more.fold(String::new, |all, digits: &str| all + digits))
        .map(|(first, more): (&str, String)| first.to_owned() + &more)
        .parse_next(input)
}

fn number(input: &mut Input<'_>) -> ModalResult<TokenKind> {
    // Not `0x`: that is a broken hexadecimal number.
    (
        grouped,
        opt(preceded('.', grouped)),
        opt(preceded(one_of(['e', 'E']), (opt(one_of(['+', '-'])), digit1))),
        opt('%'),
        peek(alt((
            one_of(|c: char| c.is_ascii_alphanumeric()).value(true),
            empty.value(false),
        ))),
    )
        .verify_map(|(whole, fraction, exponent, percent, glued)| {
            let digits = match fraction {
                Some(fraction) => whole + "." + &fraction,
                None => whole,
            };
            let exponent = exponent.map_or_else(String::new, |(sign, digits): (Option<char>, &str)| {
                sign.filter(|sign| *sign == '-').map(String::from).unwrap_or_default() + digits
            });
            (!glued).then_some(TokenKind::Number {
                digits,
                exponent,
                percent: percent.is_some(),
            })
        })
        .parse_next(input)
}

fn text(input: &mut Input<'_>) -> ModalResult<TokenKind> {
    '"'.parse_next(input)?;
    let mut content = String::new();
    loop {
        match any.parse_next(input)? {
            '"' => return Ok(TokenKind::Text(content)),
            '\n' => return fail.parse_next(input),
            '\\' => content.push(one_of(['"', '\\']).parse_next(input)?),
            character => content.push(character),
        }
    }
}

fn symbol(input: &mut Input<'_>) -> ModalResult<TokenKind> {
    for symbol in SYMBOLS {
        if let Some(_found) = opt(symbol).parse_next(input)? {
            return Ok(TokenKind::Symbol(symbol));
        }
    }
    fail.parse_next(input)
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "`{name:.40}`"),
            Self::Number { digits, .. } => write!(f, "the number {digits:.40}"),
            Self::Hex(digits) => write!(f, "`0x{digits:.64}`"),
            Self::Text(_) => f.write_str("a text"),
            Self::Symbol(symbol) => write!(f, "`{symbol}`"),
        }
    }
}
