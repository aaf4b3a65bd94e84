//! From a confirmed violation, as the judge has it, to what the defence is told. Pure.

use alloy::primitives::{Address, B256, I256};
use defence::violation::{BrokenInvariant, CallStep, ConfirmedViolation, NetworkView, Severity, Suspect, TokenDelta};
use engine::{Call, CallKind, Invariant, Moved, Transaction, U256, ValueType};
use wire::Verdicts;

use crate::miners::Reply;

/// Unix milliseconds of the three moments that lead to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The transaction reached the validator.
    pub seen_ms: u64,
    /// The first answer claimed a violation.
    pub judged_ms: u64,
    /// The validator's own engine confirmed it.
    pub confirmed_ms: u64,
}

/// One invariant that one transaction breaks, by the validator's own engine.
#[derive(Debug, Clone, Copy)]
pub struct Confirmed<'a> {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// What breaks it.
    pub transaction: &'a Transaction,
    /// What is broken.
    pub invariant: &'a Invariant,
    /// Version of the set that it is in.
    pub set_version: u64,
    /// The value before and after.
    pub values: (U256, U256),
    /// From the transaction down to the write; empty where it was not found.
    pub path: &'a [Call],
    /// The balances that it changes, as far as they are told; nothing where it was not run again.
    pub moved: &'a Moved,
    /// How bad it is.
    pub severity: Severity,
    /// When.
    pub times: Times,
    /// What the miners had said by then.
    pub view: NetworkView,
}

impl Confirmed<'_> {
    /// As the defence takes it.
    #[must_use]
    pub fn violation(&self) -> ConfirmedViolation {
        let Self {
            transaction: tx,
            invariant,
            ..
        } = *self;
        let show = |value| number(invariant.value_type, value);
        ConfirmedViolation {
            chain_id: self.chain_id,
            invariant: BrokenInvariant {
                id: invariant.id,
                name: invariant.name.clone(),
                condition: condition(invariant),
                set_version: self.set_version,
                contract: invariant.contract,
            },
            severity: self.severity,
            suspect: Suspect {
                tx_hash: tx.hash(),
                sender: tx.sender(),
                target: tx.to(),
                selector: tx.to().and(tx.input().first_chunk().copied()),
                path: self.path.iter().map(step).collect(),
                value: tx.value(),
                raw: tx.raw().clone(),
                deltas: self.moved.deltas.iter().map(delta).collect(),
                more_deltas: self.moved.left_out,
                pre: show(self.values.0),
                post: show(self.values.1),
            },
            seen_ms: self.times.seen_ms,
            judged_ms: self.times.judged_ms,
            confirmed_ms: self.times.confirmed_ms,
            view: self.view,
        }
    }
}

/// A frame, as an incident's attacks are told apart by it.
fn step(call: &Call) -> CallStep {
    CallStep {
        to: call.address,
        selector: match call.kind {
            CallKind::Call => call.selector,
            CallKind::Create => None,
        },
    }
}

fn delta(delta: &engine::TokenDelta) -> TokenDelta {
    let engine::TokenDelta { token, holder, change } = *delta;
    TokenDelta { token, holder, change }
}

/// What must hold, for people: `uint128 at slot 0x1, byte 0 >= 1000`.
#[must_use]
pub fn condition(invariant: &Invariant) -> String {
    format!(
        "{} at slot {:#x}, byte {} {} {}",
        invariant.value_type,
        invariant.slot,
        invariant.offset,
        invariant.comparison,
        number(invariant.value_type, invariant.target)
    )
}

/// A decoded value, in decimal; an address or a word in hexadecimal digits.
#[must_use]
pub fn number(value_type: ValueType, value: U256) -> String {
    match value_type {
        ValueType::Int(_) => I256::from_raw(value).to_string(),
        ValueType::Uint(_) => value.to_string(),
        ValueType::Bool => (!value.is_zero()).to_string(),
        ValueType::Address => Address::from_word(B256::from(value)).to_string(),
        ValueType::FixedBytes(_) => format!("{value:#x}"),
    }
}

/// What the miners that have replied say, held against the own engine's verdict.
#[must_use]
pub fn votes(asked: usize, replies: &[Reply], own: &Verdicts) -> NetworkView {
    let answers = replies.iter().filter_map(|reply| reply.verdicts.as_ref().ok());
    view(asked, answers.map(|answer| answer.agrees_with(own)), true)
}

/// What the miners have said so far: `asked` of them, and of each answer whether it agrees with the truth.
#[must_use]
pub fn view(asked: usize, answers: impl IntoIterator<Item = bool>, arbitrated: bool) -> NetworkView {
    let (mut answered, mut agreed) = (0_u32, 0_u32);
    for agrees in answers {
        answered = answered.saturating_add(1);
        agreed = agreed.saturating_add(u32::from(agrees));
    }
    NetworkView {
        asked: u32::try_from(asked).unwrap_or(u32::MAX),
        answered,
        agreed,
        arbitrated,
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{address, bytes};
    use engine::Comparison;

    use super::*;

    const VAULT: Address = Address::repeat_byte(7);

    fn invariant(value_type: ValueType, target: U256) -> Invariant {
        Invariant::new(3, "cover", VAULT, U256::from(1), value_type, 0, Comparison::Ge, target).unwrap()
    }

    #[test]
    fn the_suspect_is_the_transaction_with_the_way_it_took() {
        // A legacy call of 0xc0de5 with one wei and no input.
        let raw = bytes!("e480843b9aca00830186a09400000000000000000000000000000000000c0de580801b0101");
        let sender = address!("0x0000000000000000000000000000000000005e4d");
        let tx = Transaction::with_sender(&raw, sender).unwrap();
        let frame = |depth, to: Address, selector| Call {
            depth,
            kind: CallKind::Call,
            caller: sender,
            address: to,
            code: to,
            selector,
        };
        let change = |token, holder, change: i64| engine::TokenDelta {
            token,
            holder,
            change: I256::try_from(change).unwrap(),
        };
        let moved = Moved {
            deltas: vec![
                change(None, VAULT, -7),
                change(Some(Address::repeat_byte(6)), sender, 90),
            ],
            left_out: 4,
        };
        let path = [
            frame(0, Address::repeat_byte(9), None),
            frame(1, VAULT, Some([1, 2, 3, 4])),
        ];
        let told = Confirmed {
            chain_id: 1,
            transaction: &tx,
            invariant: &invariant(ValueType::Uint(128), U256::from(100)),
            set_version: 5,
            values: (U256::from(120), U256::from(3)),
            path: &path,
            moved: &moved,
            severity: Severity::Critical,
            times: Times {
                seen_ms: 10,
                judged_ms: 20,
                confirmed_ms: 30,
            },
            view: view(3, [true, false], true),
        }
        .violation();
        assert_eq!(
            (told.suspect.tx_hash, told.suspect.sender, told.suspect.selector),
            (tx.hash(), sender, None)
        );
        assert_eq!((told.suspect.pre.as_str(), told.suspect.post.as_str()), ("120", "3"));
        assert_eq!(told.suspect.path[1].selector, Some([1, 2, 3, 4]));
        assert_eq!(told.suspect.raw, raw);
        let deltas = told.suspect.deltas.iter();
        let deltas: Vec<_> = deltas
            .map(|delta| (delta.token, delta.holder, delta.change.to_string()))
            .collect();
        assert_eq!(
            deltas,
            [
                (None, VAULT, "-7".to_owned()),
                (Some(Address::repeat_byte(6)), sender, "90".to_owned())
            ]
        );
        assert_eq!(told.suspect.more_deltas, 4);
        assert_eq!((told.seen_ms, told.judged_ms, told.confirmed_ms), (10, 20, 30));
        assert_eq!((told.view.asked, told.view.answered, told.view.agreed), (3, 2, 1));
        assert_eq!(told.invariant.condition, "uint128 at slot 0x1, byte 0 >= 100");
    }

    #[test]
    fn values_are_told_as_people_write_them() {
        assert_eq!(number(ValueType::Int(256), U256::MAX), "-1");
        assert_eq!(number(ValueType::Uint(8), U256::from(200)), "200");
        assert_eq!(number(ValueType::Bool, U256::from(1)), "true");
        assert_eq!(
            number(ValueType::Address, U256::from(255)),
            "0x00000000000000000000000000000000000000ff"
        );
        assert_eq!(number(ValueType::FixedBytes(2), U256::from(255)), "0xff");
    }
}
