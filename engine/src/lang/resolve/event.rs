//! Events: which logs are meant, and what is made of them.

use alloy_json_abi::{Event, EventParam};

use super::{LangError, Resolver, constant::listed, did_you_mean};
use crate::{
    Address, B256, U256, ValueType,
    lang::{
        abi,
        ast::{Argument, Expr, ExprKind, Filter},
        program::{Aggregate, LogField, LogQuery, Source, encode_abi},
    },
};

impl Resolver<'_> {
    /// `count(..)` and `sum(..)`.
    pub(super) fn events(&self, expr: &Expr, name: &str, arguments: &[Argument]) -> Result<Source, LangError> {
        let query = match (name, arguments) {
            ("count", [argument]) => match logs_call(&argument.value) {
                Some(logs) => self.raw_logs(&argument.value, logs, Aggregate::Count)?,
                None => {
                    let (emitter, event) = self.event(&argument.value)?;
                    self.query(emitter, &event, &argument.filters, Aggregate::Count)?
                }
            },
            ("sum", [argument]) => {
                let ExprKind::Member(of, field, span) = &argument.value.kind else {
                    let error = self.error(&argument.value.span, "sum(..) needs a parameter of the event");
                    return Err(error.help("write sum(Transfer.value)"));
                };
                let (emitter, event) = self.event(of)?;
                let aggregate = self.field(&event, field, span)?;
                self.query(emitter, &event, &argument.filters, aggregate)?
            }
            ("sum", [logs, field, value_type]) if logs_call(&logs.value).is_some() => {
                let aggregate = Aggregate::Sum {
                    field: self.raw_field(&field.value)?,
                    value_type: self.type_name(&value_type.value)?,
                };
                if let Aggregate::Sum {
                    value_type: ValueType::Bool | ValueType::Address | ValueType::FixedBytes(_),
                    ..
                } = aggregate
                {
                    return Err(self.error(&value_type.value.span, "only numbers have a sum"));
                }
                let call = logs_call(&logs.value).unwrap_or_default();
                self.raw_logs(&logs.value, call, aggregate)?
            }
            _ => {
                let error = self.error(&expr.span, format!("{name}(..) takes one event"));
                return Err(error.help("for instance count(Transfer from 0x0) or sum(Transfer.value from vault)"));
            }
        };
        Ok(Source::Logs(Box::new(query)))
    }

    /// The event that is meant, and who must have emitted it.
    fn event(&self, expr: &Expr) -> Result<(Option<Address>, Event), LangError> {
        match &expr.kind {
            ExprKind::Text(signature) => {
                let event = abi::event(signature).ok_or_else(|| {
                    self.error(&expr.span, "this is no declaration of an event")
                        .help("write \"Transfer(address indexed from, address indexed to, uint256 value)\"")
                })?;
                Ok((None, event))
            }
            ExprKind::Name(name) => Ok((None, self.any_event(expr, name)?)),
            ExprKind::Member(of, event_name, span) => {
                let ExprKind::Name(name) = &of.kind else {
                    return Err(self
                        .error(&expr.span, "expected an event")
                        .help("write contract.Event or Event"));
                };
                let Some(contract) = self.names.get(name) else {
                    return Err(self.unknown_name(of, name));
                };
                let declared = contract.abi.as_ref().map(|abi| &abi.events);
                let event = match declared.and_then(|events| events.get(event_name)).map(Vec::as_slice) {
                    Some([event]) => Some(event.clone()),
                    Some(_) => return Err(self.overloaded(span, event_name)),
                    None if declared.is_none_or(|events| events.is_empty()) => abi::standard_event(event_name),
                    None => None,
                };
                let event = event.ok_or_else(|| {
                    let error = self.error(span, format!("`{name}` has no event `{event_name:.60}`"));
                    let known: Vec<_> = declared.into_iter().flat_map(|events| events.keys()).collect();
                    match did_you_mean(event_name, known.iter().map(|name| name.as_str())) {
                        Some(help) => error.help(help),
                        None if known.is_empty() => error.help("give its `abi` in the invariant set"),
                        None => error.help(format!("it has {}", listed(known.into_iter()))),
                    }
                })?;
                Ok((Some(contract.address), event))
            }
            _ => Err(self
                .error(&expr.span, "expected an event")
                .help("write contract.Event, Event, or the declaration of an event in quotation marks")),
        }
    }

    /// An event of whichever contract; all that declare one of this name must mean the same.
    fn any_event(&self, expr: &Expr, name: &str) -> Result<Event, LangError> {
        let abis = || {
            self.names
                .contracts
                .values()
                .filter_map(|contract| contract.abi.as_ref())
        };
        let mut found = abis().filter_map(|abi| abi.events.get(name)).flatten();
        let Some(first) = found.next() else {
            return abi::standard_event(name).ok_or_else(|| {
                let error = self.error(&expr.span, format!("no contract has an event `{name:.60}`"));
                let known = abis().flat_map(|abi| abi.events.keys()).map(String::as_str);
                match did_you_mean(name, known.chain(["Transfer", "Approval"])) {
                    Some(help) => error.help(help),
                    None => {
                        error.help("give the ABI of a contract that declares it, or its declaration in quotation marks")
                    }
                }
            });
        };
        let indexed = |event: &Event| event.inputs.iter().map(|input| input.indexed).collect::<Vec<_>>();
        match found.all(|other| other.selector() == first.selector() && indexed(other) == indexed(first)) {
            true => Ok(first.clone()),
            false => Err(self.overloaded(&expr.span, name)),
        }
    }

    fn overloaded(&self, span: &super::Span, name: &str) -> LangError {
        let error = self.error(span, format!("there are different events `{name:.60}`"));
        error.help("name the contract, or write the declaration of the one that is meant in quotation marks")
    }

    fn query(
        &self,
        emitter: Option<Address>,
        event: &Event,
        filters: &[Filter],
        aggregate: Aggregate,
    ) -> Result<LogQuery, LangError> {
        let indexed: Vec<&EventParam> = event.inputs.iter().filter(|input| input.indexed).collect();
        let mut topics = vec![None; indexed.len()];
        for filter in filters {
            let name = &filter.parameter;
            let Some(index) = indexed.iter().position(|input| input.name == *name) else {
                let error = match event.inputs.iter().any(|input| input.name == *name) {
                    true => self.error(
                        &filter.span,
                        format!("`{name:.60}` is not indexed; only indexed parameters can be asked for"),
                    ),
                    false => self.error(&filter.span, format!("`{}` has no parameter `{name:.60}`", event.name)),
                };
                let known: Vec<_> = indexed.iter().map(|input| input.name.clone()).collect();
                return Err(error.help(format!("there are {}", listed(known.iter()))));
            };
            let ty = indexed.get(index).map_or("", |input| input.ty.as_str());
            let Ok(value_type) = ty.parse::<ValueType>() else {
                let message = format!("`{name}` is {ty}, of which a log holds only the hash");
                return Err(self.error(&filter.span, message));
            };
            let value = self.constant(&filter.value, value_type)?;
            let topic = B256::from(encode_abi(value_type, value));
            match topics.get_mut(index) {
                Some(place @ None) => *place = Some(topic),
                _ => return Err(self.error(&filter.span, format!("`{name}` is asked for twice"))),
            }
        }
        if topics.len() > 3 {
            return Err(LangError::new(
                self.text,
                0..0,
                format!("`{}` has more than three indexed parameters", event.name),
            ));
        }
        Ok(LogQuery {
            emitter,
            topic0: event.selector(),
            topics,
            aggregate,
        })
    }

    /// Where a parameter lies in a log of the event.
    fn field(&self, event: &Event, name: &str, span: &super::Span) -> Result<Aggregate, LangError> {
        let Some(index) = event.inputs.iter().position(|input| input.name == name) else {
            let known: Vec<_> = event.inputs.iter().map(|input| input.name.clone()).collect();
            let error = self.error(span, format!("`{}` has no parameter `{name:.60}`", event.name));
            return Err(error.help(format!("there are {}", listed(known.iter()))));
        };
        let input = event.inputs.get(index);
        let value_type = input.and_then(|input| input.ty.parse::<ValueType>().ok());
        let value_type = value_type.filter(|value_type| matches!(value_type, ValueType::Uint(_) | ValueType::Int(_)));
        let Some(value_type) = value_type else {
            return Err(self.error(span, format!("`{name}` is no number; only numbers have a sum")));
        };
        let field = if input.is_some_and(|input| input.indexed) {
            let before = event.inputs.iter().take(index).filter(|input| input.indexed).count();
            u8::try_from(before + 1).ok().map(LogField::Topic)
        } else {
            abi::data_word(event, index).map(LogField::Data)
        };
        let field = field.ok_or_else(|| self.error(span, format!("`{name}` lies too far back in the log")))?;
        Ok(Aggregate::Sum { field, value_type })
    }

    /// `logs(emitter or any, topic0, topic or any, ..)`
    fn raw_logs(&self, expr: &Expr, arguments: &[Argument], aggregate: Aggregate) -> Result<LogQuery, LangError> {
        let [emitter, topic0, topics @ ..] = arguments else {
            let error = self.error(
                &expr.span,
                "logs(..) needs who emitted them and the hash of the event's signature",
            );
            return Err(error.help("write logs(any, 0x<topic 0>, any, any)"));
        };
        if topics.len() > 3 {
            return Err(self.error(
                &expr.span,
                "a log has at most three topics besides that of its signature",
            ));
        }
        let emitter = match is_any(&emitter.value) {
            true => None,
            false => Some(self.address(&emitter.value)?),
        };
        let topic = |argument: &Argument| match is_any(&argument.value) {
            true => Ok(None),
            false => self.topic(&argument.value).map(Some),
        };
        Ok(LogQuery {
            emitter,
            topic0: self.topic(&topic0.value)?,
            topics: topics.iter().map(topic).collect::<Result<_, _>>()?,
            aggregate,
        })
    }

    /// `data[n]` or `topic[n]`
    fn raw_field(&self, expr: &Expr) -> Result<LogField, LangError> {
        if let ExprKind::Index(of, index) = &expr.kind
            && let ExprKind::Name(name) = &of.kind
        {
            match name.as_str() {
                "data" => return self.small(index, u8::MAX).map(LogField::Data),
                "topic" => return self.small(index, 3).map(LogField::Topic),
                _ => {}
            }
        }
        Err(self.error(&expr.span, "expected data[n] or topic[n]"))
    }

    /// A topic: the value of an indexed parameter, padded.
    fn topic(&self, expr: &Expr) -> Result<B256, LangError> {
        let value: U256 = self.slot(expr)?;
        Ok(value.into())
    }
}

fn logs_call(expr: &Expr) -> Option<&[Argument]> {
    match &expr.kind {
        ExprKind::Call(function, arguments) => match &function.kind {
            ExprKind::Name(name) if name == "logs" => Some(arguments),
            _ => None,
        },
        ExprKind::Labelled(of, _) => logs_call(of),
        _ => None,
    }
}

fn is_any(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Name(name) if name == "any")
}
