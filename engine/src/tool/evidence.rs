//! Violations and warnings as both commands write them.

use engine::{Address, B256, Call, CallKind, U256, ValueType, Warning, Watched, Witness, lang::Source};
use serde::Serialize;

use super::{observe::Observation, text};

/// One value that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Reading {
    pub(crate) label: String,
    /// `null` where it is not about a contract or an account.
    pub(crate) contract: Option<Address>,
    /// `null` where no storage was read.
    pub(crate) slot: Option<String>,
    pub(crate) pre: Option<String>,
    pub(crate) post: Option<String>,
    /// True for `uintN` and `intN`.
    #[serde(skip)]
    pub(crate) is_number: bool,
}

/// One frame of a call path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Frame {
    pub(crate) depth: u16,
    pub(crate) kind: &'static str,
    pub(crate) caller: Address,
    pub(crate) address: Address,
    pub(crate) code: Address,
    pub(crate) selector: Option<String>,
}

/// Why a violation is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Evidence {
    /// [`Witness::digest`]: what validators compare.
    pub(crate) digest: B256,
    pub(crate) tx: B256,
    /// Hash of the block it was executed in, where recorded.
    pub(crate) block_hash: Option<B256>,
    pub(crate) readings: Vec<Reading>,
    /// From the transaction down to the write that crossed the bound.
    pub(crate) path: Vec<Frame>,
    pub(crate) engine: String,
}

/// What a reverting transaction would have violated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Attempt {
    pub(crate) frame: Frame,
    pub(crate) pre: String,
    pub(crate) at_revert: String,
}

impl From<Observation> for Reading {
    fn from(observation: Observation) -> Self {
        let (contract, slot) = place(&observation.source);
        Self {
            label: observation.label,
            contract,
            slot,
            pre: observation.pre,
            post: observation.post,
            is_number: is_number(&observation.source),
        }
    }
}

fn place(source: &Source) -> (Option<Address>, Option<String>) {
    let slot = match source {
        Source::Slot { slot, .. } => Some(format!("{slot:#x}")),
        _ => None,
    };
    (source.contract(), slot)
}

impl From<&Call> for Frame {
    fn from(call: &Call) -> Self {
        Self {
            depth: call.depth,
            kind: match call.kind {
                CallKind::Call => "call",
                CallKind::Create => "create",
            },
            caller: call.caller,
            address: call.address,
            code: call.code,
            selector: call
                .selector
                .map(|selector| format!("0x{:08x}", u32::from_be_bytes(selector))),
        }
    }
}

impl Evidence {
    pub(crate) fn new(watched: &Watched, witness: &Witness, block_hash: Option<B256>) -> Self {
        Self {
            digest: witness.digest(),
            tx: witness.tx_hash,
            block_hash,
            readings: readings(watched, witness),
            path: witness.path.iter().map(Frame::from).collect(),
            engine: witness.engine_version.clone(),
        }
    }
}

/// What the witness says was read. The types of the values stand in the invariant.
fn readings(watched: &Watched, witness: &Witness) -> Vec<Reading> {
    let sources = watched.sources();
    if witness.readings.is_empty() {
        let value = |value| typed(sources.first().map(|(_, source)| source), value);
        let reading = |(label, source): &(String, Source)| {
            let (contract, slot) = place(source);
            Reading {
                label: label.clone(),
                contract,
                slot,
                pre: Some(value(witness.pre)),
                post: Some(value(witness.post)),
                is_number: is_number(source),
            }
        };
        return sources.iter().take(1).map(reading).collect();
    }
    // Both list each source once, in the order of the invariant.
    let sources = sources
        .iter()
        .map(|(_, source)| Some(source))
        .chain(std::iter::repeat(None));
    let reading = |(reading, source): (&engine::Reading, Option<&Source>)| Reading {
        label: reading.label.clone(),
        contract: source.map_or(Some(reading.contract), |source| place(source).0),
        slot: reading.slot.map(|slot| format!("{slot:#x}")),
        pre: reading.pre.map(|value| typed(source, value)),
        post: reading.post.map(|value| typed(source, value)),
        is_number: source.is_some_and(is_number),
    };
    witness.readings.iter().zip(sources).map(reading).collect()
}

fn typed(source: Option<&Source>, value: U256) -> String {
    source.map_or_else(
        || format!("{value:#x}"),
        |source| text::value(source.value_type(), value),
    )
}

impl Attempt {
    pub(crate) fn new(watched: &Watched, warning: &Warning) -> Self {
        let value = |value| match watched {
            Watched::Slot(invariant) => text::value(invariant.value_type, value),
            Watched::View(invariant) => text::value(invariant.view.value_type, value),
            Watched::Program(_) => (!U256::is_zero(&value)).to_string(),
        };
        Self {
            frame: Frame::from(&warning.frame),
            pre: value(warning.pre),
            at_revert: value(warning.at_revert),
        }
    }
}

fn is_number(source: &Source) -> bool {
    matches!(source.value_type(), ValueType::Uint(_) | ValueType::Int(_))
}

/// The values of an invariant that reads one thing, or one number beside what is none; of all others there is no such pair.
pub(crate) fn values(readings: &[Reading]) -> (Option<String>, Option<String>) {
    let mut numbers = readings.iter().filter(|reading| reading.is_number);
    match (readings, numbers.next(), numbers.next()) {
        ([one], ..) | (_, Some(one), None) => (one.pre.clone(), one.post.clone()),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_those_of_the_one_number() {
        let reading = |is_number, post: &str| Reading {
            label: String::new(),
            contract: None,
            slot: None,
            pre: None,
            post: Some(post.to_owned()),
            is_number,
        };
        let post = |readings: &[Reading]| values(readings).1;
        assert_eq!(post(&[reading(false, "0xaa")]), Some("0xaa".to_owned()));
        assert_eq!(
            post(&[reading(false, "0xaa"), reading(true, "7")]),
            Some("7".to_owned())
        );
        assert_eq!(post(&[reading(true, "8"), reading(true, "7")]), None);
        assert_eq!(post(&[reading(false, "0xaa"), reading(false, "0xbb")]), None);
        assert_eq!(post(&[]), None);
    }
}
