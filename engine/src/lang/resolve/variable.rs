//! Variables, through a storage layout, and slots as they stand.

use super::{LangError, Resolver, constant::listed, did_you_mean, term::Step};
use crate::{
    ValueType,
    lang::{
        ast::{Argument, Expr, ExprKind, Span},
        layout::{Key, KeyType, LayoutError, Place},
        names::Contract,
        program::Source,
    },
};

impl<'a> Resolver<'a> {
    /// `slot(contract, slot, type, offset)`; the type is uint256 and the offset 0 where they are not given.
    pub(super) fn raw_slot(
        &self,
        contract: &Argument,
        slot: &Argument,
        more: &[Argument],
    ) -> Result<Source, LangError> {
        let contract = self.address(&contract.value)?;
        let slot = self.slot(&slot.value)?;
        let value_type = match more.first() {
            Some(value_type) => self.type_name(&value_type.value)?,
            None => ValueType::Uint(256),
        };
        let offset = match more.get(1) {
            Some(offset) => {
                let value = self.small(&offset.value, 31)?;
                if !value_type.fits_at(value) {
                    let message = format!("{value_type} at byte {value} leaves its slot of 32 bytes");
                    return Err(self.error(&offset.value.span, message));
                }
                value
            }
            None => 0,
        };
        Ok(Source::Slot {
            contract,
            slot,
            value_type,
            offset,
        })
    }

    /// `contract.variable[key].member`
    pub(super) fn variable(
        &self,
        contract_name: &str,
        contract: &'a Contract,
        (name, span): (&str, &Span),
        steps: &[Step<'a>],
        asked: Option<ValueType>,
        expr: &Expr,
    ) -> Result<Source, LangError> {
        let Some(layout) = &contract.layout else {
            let error = self.error(
                span,
                format!("no storage layout is known of `{contract_name}`, so it has no variables here"),
            );
            return Err(match &contract.abi {
                Some(abi) if abi.functions.contains_key(name) => {
                    error.help(format!("its function is written {name}(..)"))
                }
                _ => error.help("give its `layout` in the invariant set, or write slot(contract, slot, type)"),
            });
        };
        let mut place = layout.variable(name).map_err(|error| {
            let has_function = contract
                .abi
                .as_ref()
                .is_some_and(|abi| abi.functions.contains_key(name));
            let error = self.layout_error(error, span);
            if has_function {
                error.help(format!("it has a function of this name: {name}(..)"))
            } else {
                error
            }
        })?;
        let mut last = span.clone();
        for step in steps {
            let at = match step {
                Step::Member(_, at) | Step::Call(_, at) => (*at).clone(),
                Step::Index(index) => index.span.clone(),
            };
            place = self.step(place, *step)?;
            last = at;
        }
        let (slot, value_type, offset) = place.value(asked).map_err(|error| {
            let user_defined = matches!(error, LayoutError::UserDefined { .. });
            let error = self.layout_error(error, &(last.start..expr.span.end));
            if user_defined {
                error.help("say how it is read: `vault.price as uint128`")
            } else {
                error
            }
        })?;
        Ok(Source::Slot {
            contract: contract.address,
            slot,
            value_type,
            offset,
        })
    }

    fn step(&self, place: Place<'a>, step: Step<'a>) -> Result<Place<'a>, LangError> {
        match step {
            Step::Member(member, at) => place.member(member).map_err(|error| self.layout_error(error, at)),
            Step::Index(index) => {
                let wrong = |error| self.layout_error(error, &index.span);
                let key = match place.key_type().map_err(wrong)? {
                    KeyType::Value(value_type) => Key::Value(self.constant(index, value_type)?),
                    KeyType::Index => Key::Value(self.constant(index, ValueType::Uint(256))?),
                    KeyType::Bytes => match &index.kind {
                        ExprKind::Text(text) => Key::Bytes(text.clone().into_bytes()),
                        _ => {
                            let error = self.error(&index.span, "expected a text in quotation marks as key");
                            return Err(error);
                        }
                    },
                };
                place.index(&key).map_err(|error| self.layout_error(error, &index.span))
            }
            Step::Call(_, at) => Err(self
                .error(at, "a variable takes no arguments")
                .help("elements are written in brackets: balances[alice]")),
        }
    }

    fn layout_error(&self, error: LayoutError, span: &Span) -> LangError {
        let described = self.error(span, error.to_string());
        match error {
            LayoutError::Unknown { name, known, .. } => match did_you_mean(&name, known.iter().map(String::as_str)) {
                Some(help) => described.help(help),
                None => described.help(format!("there are {}", listed(known.iter()))),
            },
            _ => described,
        }
    }
}
