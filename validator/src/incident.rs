//! From a confirmed violation, as the judge has it, to what the defence is told. Pure.

use alloy::primitives::{Address, B256, I256};
use defence::violation::{BrokenInvariant, CallStep, ConfirmedViolation, NetworkView, Severity, Suspect, TokenDelta};
use engine::{Call, CallKind, Moved, Transaction, U256, ValueType, Watched, Witness};
use protos::v1;
use wire::{MOST_READINGS, Verdicts};

use crate::miners::Reply;

/// Characters of a term's label that are told.
const LABEL: usize = 200;
/// Characters of what its terms say together, and of the expression itself.
const TOLD: usize = 400;
const CONDITION: usize = 1_000;

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
    /// Those of its sender that wait and go before it.
    pub predecessors: &'a [Transaction],
    /// What is broken.
    pub invariant: &'a Watched,
    /// Version of the set that it is in.
    pub set_version: u64,
    /// The evidence: what was read before and after.
    pub witness: &'a Witness,
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
        let (pre, post) = values(invariant, self.witness);
        ConfirmedViolation {
            chain_id: self.chain_id,
            invariant: BrokenInvariant {
                id: invariant.id(),
                name: invariant.name().to_owned(),
                condition: condition(invariant),
                set_version: self.set_version,
                contract: invariant.contract(),
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
                predecessors: self.predecessors.iter().map(|before| before.raw().clone()).collect(),
                deltas: self.moved.deltas.iter().map(delta).collect(),
                more_deltas: self.moved.left_out,
                pre,
                post,
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

/// What must hold, for people: `uint128 at slot 0x1, byte 0 >= 1000`, or the expression with its terms as their author wrote them.
#[must_use]
pub fn condition(invariant: &Watched) -> String {
    match invariant {
        Watched::Slot(invariant) => format!(
            "{} at slot {:#x}, byte {} {} {}",
            invariant.value_type,
            invariant.slot,
            invariant.offset,
            invariant.comparison,
            number(invariant.value_type, invariant.target)
        ),
        Watched::View(_) => invariant.expression(),
        Watched::Program(invariant) => shortened(&invariant.program.in_words(), CONDITION),
    }
}

/// What each term of an invariant says before and after, for people, at most [`MOST_READINGS`] of them; none of one over a single value.
fn readings(invariant: &Watched, witness: &Witness) -> Vec<v1::Reading> {
    // Both list each source once, in the order of the invariant.
    let sources = invariant.sources();
    let read = |(reading, (_, source)): (&engine::Reading, &(String, engine::lang::Source))| {
        let show = |value: Option<U256>| {
            value
                .map(|value| number(source.value_type(), value))
                .unwrap_or_default()
        };
        v1::Reading {
            label: shortened(&reading.label, LABEL),
            pre: show(reading.pre),
            post: show(reading.post),
        }
    };
    witness
        .readings
        .iter()
        .zip(&sources)
        .take(MOST_READINGS)
        .map(read)
        .collect()
}

/// At most so many characters of a text.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// The evidence as it is reported.
#[must_use]
pub fn evidence(invariant: &Watched, witness: &Witness) -> v1::Witness {
    v1::Witness {
        readings: readings(invariant, witness),
        ..wire::witness(witness)
    }
}

/// What is watched before and after, for people: the value itself, or each term of an expression with what it says.
#[must_use]
pub fn values(invariant: &Watched, witness: &Witness) -> (String, String) {
    let of_type = |value_type| (number(value_type, witness.pre), number(value_type, witness.post));
    match invariant {
        Watched::Slot(invariant) => of_type(invariant.value_type),
        Watched::View(invariant) => of_type(invariant.view.value_type),
        Watched::Program(_) => {
            let readings = readings(invariant, witness);
            let said = |value: fn(&v1::Reading) -> &str| {
                let known = readings.iter().filter(|reading| !value(reading).is_empty());
                let said: Vec<String> = match readings.as_slice() {
                    [_] => known.map(|reading| value(reading).to_owned()).collect(),
                    _ => known
                        .map(|reading| format!("{} = {}", reading.label, value(reading)))
                        .collect(),
                };
                if said.is_empty() {
                    "-".to_owned()
                } else {
                    shortened(&said.join(", "), TOLD)
                }
            };
            (said(|reading| &reading.pre), said(|reading| &reading.post))
        }
    }
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
    use engine::lang::{self, Names};
    use engine::{Comparison, Invariant, ProgramInvariant, Reading};

    use super::*;

    const VAULT: Address = Address::repeat_byte(7);

    fn invariant(value_type: ValueType, target: U256) -> Watched {
        let slot = U256::from(1);
        let invariant = Invariant::new(3, "cover", VAULT, slot, value_type, 0, Comparison::Ge, target);
        invariant.unwrap().into()
    }

    fn witness(pre: u64, post: u64, readings: Vec<Reading>) -> Witness {
        Witness {
            invariant_id: 3,
            tx_hash: B256::ZERO,
            contract: VAULT,
            slot: U256::ZERO,
            pre: U256::from(pre),
            post: U256::from(post),
            engine_version: String::new(),
            readings,
            path: Vec::new(),
        }
    }

    fn reading(label: &str, pre: Option<u64>, post: u64) -> Reading {
        Reading {
            label: label.to_owned(),
            contract: VAULT,
            slot: None,
            pre: pre.map(U256::from),
            post: Some(U256::from(post)),
        }
    }

    fn expression(text: &str) -> Watched {
        let text = text.replace("VAULT", &format!("{VAULT:#x}"));
        let program = lang::parse(&text, &Names::default()).unwrap();
        let (id, name) = (3, "backed".to_owned());
        Watched::Program(ProgramInvariant { id, name, program })
    }

    #[test]
    fn an_expression_is_told_by_its_terms_as_their_author_called_them() {
        let text =
            "call(VAULT, 0x01020304, 0, bool) \"vault.open()\" or slot(VAULT, 0x1, uint256) \"vault.debt\" <= tx.value";
        let backed = expression(text);
        assert_eq!(condition(&backed), "vault.open() or vault.debt <= tx.value");
        let read = vec![
            reading("vault.open()", Some(0), 0),
            reading("vault.debt", Some(4), 9),
            reading("tx.value", None, 7),
        ];
        let witness = witness(1, 0, read);
        let (pre, post) = values(&backed, &witness);
        assert_eq!(pre, "vault.open() = false, vault.debt = 4");
        assert_eq!(post, "vault.open() = false, vault.debt = 9, tx.value = 7");
        let told = evidence(&backed, &witness);
        assert_eq!(told.readings.len(), 3);
        assert_eq!(
            (told.readings[2].pre.as_str(), told.readings[2].post.as_str()),
            ("", "7")
        );
        assert_eq!(told.digest, wire::hash_bytes(witness.digest()));
    }

    #[test]
    fn an_expression_over_one_term_is_told_by_its_value() {
        let kept = expression("balance(VAULT) >= 90% of pre");
        let witness = witness(1, 0, vec![reading("x", Some(100), 89)]);
        assert_eq!(values(&kept, &witness), ("100".to_owned(), "89".to_owned()));
        let count =
            expression("count(logs(VAULT, 0x0000000000000000000000000000000000000000000000000000000000000007)) == 0");
        let logged = self::witness(1, 0, vec![reading("x", None, 2)]);
        assert_eq!(values(&count, &logged), ("-".to_owned(), "2".to_owned()));
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
            predecessors: std::slice::from_ref(&tx),
            invariant: &invariant(ValueType::Uint(128), U256::from(100)),
            set_version: 5,
            witness: &witness(120, 3, Vec::new()),
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
        assert_eq!(
            (&told.suspect.raw, told.suspect.predecessors.as_slice()),
            (&raw, &[raw.clone()][..])
        );
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
