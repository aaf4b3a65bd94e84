//! Literals, and what must be known before anything is read: keys, arguments, addresses, slots.

use super::{Kind, LangError, Lowered, Resolver, did_you_mean};
use crate::{
    Address, U256, ValueType,
    lang::{
        ast::{Argument, Expr, ExprKind},
        layout::mapping_slot,
        program::encode_abi,
        wide::Wide,
    },
};

impl<'a> Resolver<'a> {
    /// A number, hexadecimal number, `true` or `false`.
    pub(super) fn literal(&mut self, expr: &Expr, wanted: Option<Kind>) -> Lowered {
        match &expr.kind {
            ExprKind::Flag(flag) => {
                let flag = self.builder.flag(*flag);
                self.built(flag, &expr.span)
            }
            ExprKind::Number(decimal) => {
                let decimal = self.builder.decimal(*decimal);
                self.built(decimal, &expr.span)
            }
            ExprKind::Hex(digits) => {
                let value_type = match (wanted, digits.len()) {
                    (Some(kind @ (Kind::Address | Kind::Bytes(_))), _) => kind.word_type(),
                    (_, 40) => Some(ValueType::Address),
                    (None, 64) => Some(ValueType::FixedBytes(32)),
                    _ => None,
                };
                match value_type {
                    Some(value_type) => {
                        let value = self.constant(expr, value_type)?;
                        self.word(value_type, value, expr)
                    }
                    None => {
                        let number = Wide::from(self.hex(expr, digits)?);
                        let decimal = self.builder.decimal(crate::lang::program::Decimal { number, scale: 0 });
                        self.built(decimal, &expr.span)
                    }
                }
            }
            _ => Err(self.error(&expr.span, "this is no constant")),
        }
    }

    pub(super) fn word(&mut self, value_type: ValueType, value: U256, expr: &Expr) -> Lowered {
        let word = self.builder.word(value_type, value);
        self.built(word, &expr.span)
    }

    /// True when it needs no state.
    pub(super) fn is_constant(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::Hex(_) | ExprKind::Flag(_) => true,
            ExprKind::Negate(of) => matches!(of.kind, ExprKind::Number(_)),
            ExprKind::Name(name) => self.names.get(name).is_some(),
            ExprKind::Call(function, _) => match &function.kind {
                ExprKind::Name(name) => {
                    matches!(name.as_str(), "address" | "mapping") || name.parse::<ValueType>().is_ok()
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// A whole number that was written as one.
    pub(super) fn whole_number(&self, expr: &Expr) -> Option<Wide> {
        match &expr.kind {
            ExprKind::Number(decimal) if decimal.scale == 0 => Some(decimal.number),
            ExprKind::Negate(of) => match &of.kind {
                ExprKind::Number(decimal) if decimal.scale == 0 => Some(-decimal.number),
                _ => None,
            },
            ExprKind::Hex(digits) if digits.len() != 40 => self.hex(expr, digits).ok().map(Wide::from),
            _ => None,
        }
    }

    /// The value of this type that an expression stands for.
    pub(super) fn constant(&self, expr: &Expr, value_type: ValueType) -> Result<U256, LangError> {
        let number = |number: Wide| {
            number
                .to_value(value_type)
                .ok_or_else(|| self.error(&expr.span, format!("this is no value of {value_type}")))
        };
        let numeric = matches!(value_type, ValueType::Uint(_) | ValueType::Int(_));
        match &expr.kind {
            ExprKind::Flag(flag) if value_type == ValueType::Bool => return Ok(U256::from(u8::from(*flag))),
            ExprKind::Number(_) | ExprKind::Negate(_) if numeric => {
                if let Some(whole) = self.whole_number(expr) {
                    return number(whole);
                }
            }
            ExprKind::Hex(digits) => match value_type {
                ValueType::Address => return self.address_literal(expr, digits),
                ValueType::FixedBytes(bytes) => return self.bytes_literal(expr, digits, bytes),
                ValueType::Uint(_) | ValueType::Int(_) if digits.len() == 40 => {
                    return Err(self
                        .error(&expr.span, format!("expected {value_type}, and this is an address"))
                        .help("a number of so many digits is written in decimals"));
                }
                ValueType::Uint(_) | ValueType::Int(_) => return number(Wide::from(self.hex(expr, digits)?)),
                ValueType::Bool => {}
            },
            ExprKind::Name(name) => {
                let Some(contract) = self.names.get(name) else {
                    return Err(self.unknown_name(expr, name));
                };
                if value_type == ValueType::Address {
                    return Ok(contract.address.into_word().into());
                }
            }
            ExprKind::Call(function, arguments) => {
                if let ExprKind::Name(name) = &function.kind
                    && let Some(value) = self.constant_call(expr, name, arguments, value_type)
                {
                    return value;
                }
            }
            ExprKind::Labelled(of, _) => return self.constant(of, value_type),
            _ => {}
        }
        let error = self.error(&expr.span, format!("expected a constant of type {value_type}"));
        Err(match value_type {
            ValueType::Address => error.help("write 0x and 40 hex digits, or the name of a contract"),
            ValueType::FixedBytes(bytes) => error.help(format!("write 0x and {} hex digits", usize::from(bytes) * 2)),
            ValueType::Bool => error.help("write true or false"),
            ValueType::Uint(_) | ValueType::Int(_) => {
                error.help("write a whole number; what is read cannot depend on state")
            }
        })
    }

    /// `address(0x..)`, `bytes4(0x..)` or `mapping(slot, key)`.
    fn constant_call(
        &self,
        expr: &Expr,
        name: &str,
        arguments: &[Argument],
        value_type: ValueType,
    ) -> Option<Result<U256, LangError>> {
        match (name, arguments) {
            ("mapping", [slot, keys @ ..]) if value_type == ValueType::Uint(256) => {
                Some(self.mapping(expr, &slot.value, keys))
            }
            (_, [inner]) if name.parse() == Ok(value_type) && value_type != ValueType::Bool => {
                Some(self.constant(&inner.value, value_type))
            }
            _ => None,
        }
    }

    /// The slot of a mapping's element: `mapping(slot of the mapping, key, key of the inner mapping, ..)`.
    fn mapping(&self, expr: &Expr, slot: &Expr, keys: &[Argument]) -> Result<U256, LangError> {
        if keys.is_empty() {
            return Err(self
                .error(&expr.span, "mapping(..) needs the slot of the mapping and a key")
                .help("mapping(3, alice) is the slot of balances[alice] when balances is declared at slot 3"));
        }
        let mut place = self.slot(slot)?;
        for key in keys {
            let value_type = match &key.value.kind {
                ExprKind::Name(_) => ValueType::Address,
                ExprKind::Flag(_) => ValueType::Bool,
                ExprKind::Hex(digits) if digits.len() == 40 => ValueType::Address,
                ExprKind::Negate(_) => ValueType::Int(256),
                ExprKind::Call(function, _) => match &function.kind {
                    ExprKind::Name(name) => name.parse().unwrap_or(ValueType::Uint(256)),
                    _ => ValueType::Uint(256),
                },
                _ => ValueType::Uint(256),
            };
            let value = self.constant(&key.value, value_type)?;
            place = mapping_slot(place, encode_abi(value_type, value));
        }
        Ok(place)
    }

    /// A slot: any number.
    pub(super) fn slot(&self, expr: &Expr) -> Result<U256, LangError> {
        match &expr.kind {
            ExprKind::Hex(digits) => self.hex(expr, digits),
            _ => self.constant(expr, ValueType::Uint(256)),
        }
    }

    pub(super) fn address(&self, expr: &Expr) -> Result<Address, LangError> {
        let value = self.constant(expr, ValueType::Address)?;
        Ok(Address::from_word(value.into()))
    }

    /// A small number, such as a word's index.
    pub(super) fn small(&self, expr: &Expr, most: u8) -> Result<u8, LangError> {
        let value = self.constant(expr, ValueType::Uint(256))?;
        let small = u8::try_from(value).ok().filter(|value| *value <= most);
        small.ok_or_else(|| self.error(&expr.span, format!("expected a number from 0 to {most}")))
    }

    /// The name of a type.
    pub(super) fn type_name(&self, expr: &Expr) -> Result<ValueType, LangError> {
        let ExprKind::Name(name) = &expr.kind else {
            return Err(self.error(&expr.span, "expected a type, such as uint256 or address"));
        };
        name.parse()
            .map_err(|error: crate::ValueTypeError| self.error(&expr.span, error.to_string()))
    }

    fn hex(&self, expr: &Expr, digits: &str) -> Result<U256, LangError> {
        let short = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Err(self.error(&expr.span, "a hexadecimal number needs digits after `0x`"));
        }
        let value = U256::from_str_radix(if short.is_empty() { "0" } else { short }, 16);
        value.map_err(|_| self.error(&expr.span, "a number must be below 2^256"))
    }

    fn address_literal(&self, expr: &Expr, digits: &str) -> Result<U256, LangError> {
        let value = self.hex(expr, digits)?;
        if digits.len() != 40 {
            // `0x0` is what people write for the zero address.
            if value.is_zero() {
                return Ok(value);
            }
            return Err(self
                .error(
                    &expr.span,
                    format!("an address has 40 hex digits, this has {}", digits.len()),
                )
                .label("expected an address"));
        }
        let mixed = digits.bytes().any(|b| b.is_ascii_lowercase()) && digits.bytes().any(|b| b.is_ascii_uppercase());
        if mixed && Address::parse_checksummed(format!("0x{digits}"), None).is_err() {
            return Err(self
                .error(
                    &expr.span,
                    "the checksum of this address is wrong (EIP-55): a digit may be mistyped",
                )
                .help("copy it again, or write all its digits in lower case"));
        }
        Ok(value)
    }

    fn bytes_literal(&self, expr: &Expr, digits: &str, bytes: u8) -> Result<U256, LangError> {
        let value = self.hex(expr, digits)?;
        if digits.len() == usize::from(bytes) * 2 || value.is_zero() {
            return Ok(value);
        }
        let needed = usize::from(bytes) * 2;
        Err(self
            .error(
                &expr.span,
                format!("bytes{bytes} has {needed} hex digits, this has {}", digits.len()),
            )
            .label(format!("expected bytes{bytes}")))
    }

    /// A name that nothing is known of.
    pub(super) fn unknown_name(&self, expr: &Expr, name: &str) -> LangError {
        let known = self.names.contracts.keys().map(String::as_str);
        let error = self.error(&expr.span, format!("unknown name `{name:.60}`"));
        let error = error.label("no contract, function or word of the language");
        match did_you_mean(name, known.chain(crate::lang::names::RESERVED)) {
            Some(help) => error.help(help),
            None if self.names.contracts.is_empty() => {
                error.help("no contracts are named here; name them in the invariant set")
            }
            None => error.help(format!(
                "there are the contracts {}",
                listed(self.names.contracts.keys())
            )),
        }
    }
}

/// Some names, shortened.
pub(super) fn listed<'n>(names: impl ExactSizeIterator<Item = &'n String>) -> String {
    const MOST: usize = 12;
    let more = names.len().saturating_sub(MOST);
    let mut text = names
        .take(MOST)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}
