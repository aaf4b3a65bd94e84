//! What view functions return: through an ABI, a signature, or calldata as it stands.

use alloy_json_abi::{Function, StateMutability};

use super::{LangError, Resolver, constant::listed, did_you_mean, term::Step};
use crate::{
    Address, Bytes, ValueType,
    lang::{
        abi::{self, Returned},
        ast::{Argument, ExprKind, Span},
        names::Contract,
        program::{Source, View},
    },
};

impl<'a> Resolver<'a> {
    /// `call(contract, "f(address)(uint256)", argument)` or `call(contract, 0xcalldata, word, type)`.
    pub(super) fn raw_call(
        &self,
        contract: &Argument,
        what: &Argument,
        more: &'a [Argument],
    ) -> Result<Source, LangError> {
        let address = self.address(&contract.value)?;
        match &what.value.kind {
            ExprKind::Text(signature) => {
                let function = abi::function(signature).ok_or_else(|| {
                    self.error(&what.value.span, "this is no signature of a function").help(
                        "write the types of the arguments and of what is returned: \"balanceOf(address)(uint256)\"",
                    )
                })?;
                let calldata = self.calldata(&function, more, &what.value.span)?;
                let returned = abi::returned(&function);
                self.returned(address, calldata, returned, &function.name, &what.value.span)
            }
            ExprKind::Hex(digits) => {
                let span = &what.value.span;
                let calldata: Bytes = format!("0x{digits}")
                    .parse()
                    .map_err(|_| self.error(span, "calldata has two hex digits for each byte"))?;
                let word = match more.first() {
                    Some(word) => self.small(&word.value, u8::MAX)?,
                    None => 0,
                };
                let value_type = match more.get(1) {
                    Some(value_type) => self.type_name(&value_type.value)?,
                    None => ValueType::Uint(256),
                };
                if let Some(extra) = more.get(2) {
                    return Err(self.error(
                        &extra.value.span,
                        "call(contract, calldata, word, type) takes no more arguments",
                    ));
                }
                Ok(Source::View(Box::new(View {
                    contract: address,
                    calldata,
                    word,
                    value_type,
                })))
            }
            _ => Err(self
                .error(
                    &what.value.span,
                    "expected the signature of a function in quotation marks, or calldata",
                )
                .help("write call(token, \"balanceOf(address)(uint256)\", alice)")),
        }
    }

    /// `contract.function(arguments)` and what is taken of what it returns.
    pub(super) fn view(
        &self,
        contract_name: &str,
        contract: &'a Contract,
        (name, span): (&str, &Span),
        arguments: &'a [Argument],
        steps: &[Step<'a>],
    ) -> Result<Source, LangError> {
        let Some(abi) = &contract.abi else {
            return Err(self
                .error(
                    span,
                    format!("no ABI is known of `{contract_name}`, so it has no functions here"),
                )
                .help("give its `abi` in the invariant set, or write call(contract, \"f(address)(uint256)\", ..)"));
        };
        let Some(overloads) = abi.functions.get(name) else {
            let error = self.error(span, format!("`{contract_name}` has no function `{name:.60}`"));
            let known = abi.functions.keys();
            if contract.layout.as_ref().is_some_and(|layout| layout.has(name)) {
                return Err(error.help("it has a variable of this name: elements are written in brackets"));
            }
            return Err(match did_you_mean(name, known.clone().map(String::as_str)) {
                Some(help) => error.help(help),
                None => error.help(format!("it has {}", listed(known.collect::<Vec<_>>().into_iter()))),
            });
        };
        let fitting: Vec<_> = overloads
            .iter()
            .filter(|function| function.inputs.len() == arguments.len())
            .collect();
        let signatures = || {
            let signatures: Vec<_> = overloads.iter().map(|function| function.signature()).collect();
            format!("it is declared {}", listed(signatures.iter()))
        };
        let mut wrong = None;
        let mut matches = Vec::new();
        for function in fitting {
            match self.calldata(function, arguments, span) {
                Ok(calldata) => matches.push((function, calldata)),
                Err(error) => wrong = Some(error),
            }
        }
        let (function, calldata) = match (matches.pop(), wrong) {
            (Some(found), _) if matches.is_empty() => found,
            (Some(_), _) => {
                return Err(self
                    .error(span, format!("these arguments fit several functions `{name}`"))
                    .help(format!("{}; write call(contract, \"signature\", ..)", signatures())));
            }
            (None, Some(error)) => return Err(error),
            (None, None) => {
                let message = format!("`{name}` does not take {} arguments", arguments.len());
                return Err(self.error(span, message).help(signatures()));
            }
        };
        if !matches!(function.state_mutability, StateMutability::Pure | StateMutability::View) {
            return Err(self
                .error(
                    span,
                    format!("`{name}` changes state; only view and pure functions can be read"),
                )
                .help("read the variable that is meant instead"));
        }
        let mut returned = abi::returned(function);
        let mut place = span.clone();
        for step in steps {
            let (next, at) = match step {
                Step::Member(member, at) => (returned.member(member), (*at).clone()),
                Step::Index(index) => {
                    let number = self.small(index, u8::MAX)?;
                    (returned.index(usize::from(number)), index.span.clone())
                }
                Step::Call(_, at) => (None, (*at).clone()),
            };
            let Some(next) = next else {
                let error = self.error(
                    &at,
                    format!("`{name}` returns {}, which has no such part", returned.describe()),
                );
                let names = returned.names();
                return Err(if names.is_empty() {
                    error
                } else {
                    error.help(format!("there are {}", listed(names.iter())))
                });
            };
            (returned, place) = (next, at);
        }
        self.returned(contract.address, calldata, returned, name, &place)
    }

    fn returned(
        &self,
        contract: Address,
        calldata: Bytes,
        returned: Returned<'_>,
        name: &str,
        span: &Span,
    ) -> Result<Source, LangError> {
        let Some((word, value_type)) = returned.value() else {
            let error = self.error(
                span,
                format!("`{name}` returns {}, which is not one value", returned.describe()),
            );
            let names = returned.names();
            return Err(match (names.is_empty(), returned) {
                (false, _) => error.help(format!("take one of them: {}", listed(names.iter()))),
                (true, Returned::Group([_, ..], _)) => error.help("take one of them: [0], [1], .."),
                _ => error.help("numbers, bool, address and bytes1 to bytes32 can be read"),
            });
        };
        Ok(Source::View(Box::new(View {
            contract,
            calldata,
            word,
            value_type,
        })))
    }

    fn calldata(&self, function: &Function, arguments: &[Argument], span: &Span) -> Result<Bytes, LangError> {
        let inputs = &function.inputs;
        if inputs.len() != arguments.len() {
            let message = format!(
                "`{}` takes {} arguments and not {}",
                function.name,
                inputs.len(),
                arguments.len()
            );
            return Err(self
                .error(span, message)
                .help(format!("it is declared {}", function.signature())));
        }
        let mut values = Vec::with_capacity(inputs.len());
        for (input, argument) in inputs.iter().zip(arguments) {
            let value_type = input.ty.parse::<ValueType>().map_err(|_| {
                let message = format!("an argument of type {} cannot be given", input.ty);
                self.error(&argument.value.span, message)
                    .help("encode the call yourself: call(contract, 0xcalldata, word, type)")
            })?;
            values.push((value_type, self.constant(&argument.value, value_type)?));
        }
        Ok(abi::calldata(function, &values))
    }
}
