//! What an ABI says about a function or event: how arguments are encoded, and where a value lies in what comes back.

use alloy_json_abi::{Event, Function, Param};

use super::program::encode_abi;
use crate::{Bytes, U256, ValueType};

/// A value in a function's return data, or a group of values on the way to one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Returned<'a> {
    /// Several values side by side.
    Group(&'a [Param], usize),
    /// One value of this ABI type, its components where it is a struct, and its first word.
    One(&'a str, &'a [Param], usize),
}

/// What all that a function returns is.
pub(super) fn returned(function: &Function) -> Returned<'_> {
    match function.outputs.as_slice() {
        [one] => Returned::One(&one.ty, &one.components, 0),
        several => Returned::Group(several, 0),
    }
}

impl<'a> Returned<'a> {
    /// The values that it is made of, with their names where they have any; `None` when it is one value.
    fn parts(self) -> Option<(&'a [Param], usize)> {
        match self {
            Self::Group(parts, word) => Some((parts, word)),
            Self::One("tuple", parts, word) if !is_dynamic("tuple", parts) => Some((parts, word)),
            Self::One(..) => None,
        }
    }

    /// The value of this name.
    pub(super) fn member(self, name: &str) -> Option<Self> {
        let (parts, word) = self.parts()?;
        let index = parts.iter().position(|part| part.name == name)?;
        at(parts, word, index)
    }

    /// The value of this number, from 0: of several values, or of an array of fixed length.
    pub(super) fn index(self, index: usize) -> Option<Self> {
        if let Some((parts, word)) = self.parts() {
            return at(parts, word, index);
        }
        let Self::One(ty, components, word) = self else {
            return None;
        };
        let (inner, length) = array(ty)?;
        let length = length?;
        if index >= length || is_dynamic(inner, components) {
            return None;
        }
        Some(Self::One(inner, components, word + index * words(inner, components)))
    }

    /// The names of the values that it is made of.
    pub(super) fn names(self) -> Vec<String> {
        let parts = self.parts().map_or([].as_slice(), |(parts, _)| parts);
        parts
            .iter()
            .map(|part| part.name.clone())
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// Its word and type, when it is a value of one word.
    pub(super) fn value(self) -> Option<(u8, ValueType)> {
        let Self::One(ty, _, word) = self else { return None };
        Some((u8::try_from(word).ok()?, ty.parse().ok()?))
    }

    /// What it is, for people.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Group([], _) => "nothing".to_owned(),
            Self::Group(parts, _) => {
                let parts: Vec<_> = parts.iter().map(|part| part.ty.as_str()).collect();
                format!("({})", parts.join(", "))
            }
            Self::One(ty, ..) => ty.to_owned(),
        }
    }
}

fn at(parts: &[Param], word: usize, index: usize) -> Option<Returned<'_>> {
    let before = parts.get(..index)?;
    let part = parts.get(index)?;
    let word = word
        + before
            .iter()
            .map(|part| words(&part.ty, &part.components))
            .sum::<usize>();
    Some(Returned::One(&part.ty, &part.components, word))
}

/// Element type and length of an array type; the length is `None` for one of any length.
fn array(ty: &str) -> Option<(&str, Option<usize>)> {
    let (inner, length) = ty.strip_suffix(']')?.rsplit_once('[')?;
    Some((inner, length.parse().ok()))
}

fn is_dynamic(ty: &str, components: &[Param]) -> bool {
    match array(ty) {
        Some((_, None)) => true,
        Some((inner, Some(_))) => is_dynamic(inner, components),
        None if ty == "tuple" => components.iter().any(|part| is_dynamic(&part.ty, &part.components)),
        None => matches!(ty, "string" | "bytes"),
    }
}

/// Words in the head of the encoding: one for whatever is dynamic. No more than return data can have anyway.
fn words(ty: &str, components: &[Param]) -> usize {
    if is_dynamic(ty, components) {
        return 1;
    }
    let words = match array(ty) {
        Some((inner, length)) => words(inner, components).saturating_mul(length.unwrap_or(1)),
        None if ty == "tuple" => components.iter().map(|part| words(&part.ty, &part.components)).sum(),
        None => 1,
    };
    words.min(1 << 20)
}

/// Selector and arguments.
pub(super) fn calldata(function: &Function, arguments: &[(ValueType, U256)]) -> Bytes {
    let mut data = function.selector().to_vec();
    for (value_type, value) in arguments {
        data.extend_from_slice(&encode_abi(*value_type, *value).to_be_bytes::<32>());
    }
    data.into()
}

/// A function from `name(argument types)(return types)`, or as Solidity writes it.
pub(super) fn function(signature: &str) -> Option<Function> {
    let signature = signature.trim();
    let short = signature.split_once(')').and_then(|(head, returns)| {
        let returns = returns.trim().strip_prefix('(')?;
        Some(format!("{head}) view returns ({returns}"))
    });
    let text = short.as_deref().unwrap_or(signature);
    let parsed = if text.starts_with("function ") {
        Function::parse(text)
    } else {
        Function::parse(&format!("function {text}"))
    };
    parsed.ok()
}

/// An event as Solidity writes it, with or without `event`.
pub(super) fn event(signature: &str) -> Option<Event> {
    let signature = signature.trim();
    let parsed = if signature.starts_with("event ") {
        Event::parse(signature)
    } else {
        Event::parse(&format!("event {signature}"))
    };
    parsed.ok().filter(|event| !event.anonymous)
}

/// Events that are so common that no ABI needs to declare them.
pub(super) fn standard_event(name: &str) -> Option<Event> {
    match name {
        "Transfer" => event("Transfer(address indexed from, address indexed to, uint256 value)"),
        "Approval" => event("Approval(address indexed owner, address indexed spender, uint256 value)"),
        _ => None,
    }
}

/// First word in the data of a parameter that is not indexed.
pub(super) fn data_word(event: &Event, index: usize) -> Option<u8> {
    let before = event.inputs.get(..index)?.iter().filter(|input| !input.indexed);
    let words: usize = before.map(|input| words(&input.ty, &input.components)).sum();
    u8::try_from(words).ok()
}
