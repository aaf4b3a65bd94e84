//! A second, instrumented run: which frames were open when a value was written, and what a reverted frame had done.
//!
//! revm's journal is an undo log: an entry holds the value before a write. So the value of a slot at any earlier point is the
//! first old value recorded after that point, else the present one ([`value_at`]). A frame is then the range of entries that
//! were added while it was open; what a reverted frame had added is gone, and so is its range.

use revm::{
    context::{
        ContextTr as _, TxEnv,
        journal::{JournalEntry, JournalInner},
    },
    interpreter::{CallInputs, FrameInput, interpreter_action::FrameInit},
};

use super::{
    handler::{Ctx, ExecutionEvm},
    moment::Moment,
};
use crate::{
    Address, U256,
    verdict::{Call, CallKind},
};

/// The journal of one execution.
pub(super) type Undo = JournalInner<JournalEntry>;

/// Frames of a traced run are counted up to here; deeper history is cut, and only paths are lost.
const MOST_FRAMES: usize = 1 << 16;

/// One frame of a traced run.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    call: Call,
    entered: Place,
    left: Place,
    reverted: bool,
}

/// A place in the history of an execution: how many entries and how many logs the journal had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) entries: usize,
    pub(super) logs: usize,
}

impl Place {
    /// Later than everything.
    const END: Self = Self {
        entries: usize::MAX,
        logs: usize::MAX,
    };

    pub(super) const fn now(journal: &Undo) -> Self {
        Self {
            entries: journal.journal.len(),
            logs: journal.logs.len(),
        }
    }
}

/// Is asked before the changes of a frame are undone: the state as it is, with what the frame did, and the frame.
pub(super) type OnRevert<'t> = &'t mut dyn FnMut(&mut Moment<'_, '_>, &Call);

/// What a traced run writes down.
pub(super) struct Trace<'t> {
    frames: Vec<Frame>,
    open: Vec<usize>,
    on_revert: OnRevert<'t>,
}

/// Looks at the frames of a run.
pub(super) trait Watcher {
    /// A frame that is about to begin.
    fn describe(&self, init: &FrameInit, context: &Ctx<'_>) -> Frame;
    /// It began; a creation knows only now where.
    fn enter(&mut self, frame: Frame, created: Option<Address>);
    /// It ended badly; its changes are still there.
    fn reverting<'a>(&mut self, evm: &mut ExecutionEvm<'a>, view_tx: &'a TxEnv);
    /// It ended, and what it did was kept or undone.
    fn leave(&mut self, journal: &Undo, kept: bool);
}

impl<'t> Trace<'t> {
    pub(super) fn new(on_revert: OnRevert<'t>) -> Self {
        Self {
            frames: Vec::new(),
            open: Vec::new(),
            on_revert,
        }
    }

    /// The frames that were open when this entry was added, from the outermost.
    pub(super) fn path(&self, entry: usize) -> Vec<Call> {
        self.open(|place| place.entries, entry)
    }

    /// The frames that were open when this log was emitted, from the outermost.
    pub(super) fn path_of_log(&self, log: usize) -> Vec<Call> {
        self.open(|place| place.logs, log)
    }

    fn open(&self, count: fn(Place) -> usize, at: usize) -> Vec<Call> {
        let open = |frame: &&Frame| !frame.reverted && count(frame.entered) <= at && at < count(frame.left);
        self.frames
            .iter()
            .filter(open)
            .map(|frame| frame.call.clone())
            .collect()
    }
}

impl Watcher for Trace<'_> {
    fn describe(&self, init: &FrameInit, context: &Ctx<'_>) -> Frame {
        let depth = u16::try_from(init.depth).unwrap_or(u16::MAX);
        let call = match &init.frame_input {
            FrameInput::Call(inputs) => Call {
                depth,
                kind: CallKind::Call,
                caller: inputs.caller,
                address: inputs.target_address,
                code: inputs.bytecode_address,
                selector: selector(inputs, context),
            },
            FrameInput::Create(inputs) => Call {
                depth,
                kind: CallKind::Create,
                caller: inputs.caller(),
                address: Address::ZERO,
                code: Address::ZERO,
                selector: None,
            },
            FrameInput::Empty => Call {
                depth,
                kind: CallKind::Call,
                caller: Address::ZERO,
                address: Address::ZERO,
                code: Address::ZERO,
                selector: None,
            },
        };
        Frame {
            call,
            entered: Place::now(&context.journaled_state.inner),
            left: Place::END,
            reverted: false,
        }
    }

    fn enter(&mut self, mut frame: Frame, created: Option<Address>) {
        if let Some(created) = created {
            (frame.call.address, frame.call.code) = (created, created);
        }
        if self.frames.len() < MOST_FRAMES {
            self.open.push(self.frames.len());
            self.frames.push(frame);
        } else {
            self.open.push(usize::MAX);
        }
    }

    fn reverting<'a>(&mut self, evm: &mut ExecutionEvm<'a>, view_tx: &'a TxEnv) {
        if let Some(frame) = self.open.last().and_then(|index| self.frames.get(*index)) {
            (self.on_revert)(&mut Moment::new(evm, view_tx, frame.entered), &frame.call);
        }
    }

    fn leave(&mut self, journal: &Undo, kept: bool) {
        let Some(index) = self.open.pop() else { return };
        if let Some(frame) = self.frames.get_mut(index) {
            frame.left = Place::now(journal);
        }
        if !kept {
            // With it goes what the calls that it made had done, however they ended.
            for frame in self.frames.get_mut(index..).unwrap_or_default() {
                frame.reverted = true;
            }
        }
    }
}

fn selector(inputs: &CallInputs, context: &Ctx<'_>) -> Option<[u8; 4]> {
    let input = inputs.input.as_bytes_local(context.local());
    input.get(..4).and_then(|bytes| bytes.try_into().ok())
}

/// The value of a slot when the journal had so many entries; `None` when the execution never touched the slot.
pub(super) fn value_at(journal: &Undo, contract: Address, slot: U256, entries: usize) -> Option<U256> {
    let later = journal.journal.iter().skip(entries);
    let first = later.filter_map(|entry| match entry {
        JournalEntry::StorageChanged {
            key,
            had_value,
            address,
        } if *address == contract && *key == slot => Some(*had_value),
        _ => None,
    });
    first.take(1).next().or_else(|| {
        let account = journal.state.get(&contract)?;
        Some(account.storage.get(&slot)?.present_value)
    })
}

/// The entry whose write took the slot across a bound for the last time.
pub(super) fn crossing(
    journal: &Undo,
    contract: Address,
    slot: U256,
    holds: &dyn Fn(U256) -> Option<bool>,
) -> Option<usize> {
    let destroyed = journal.state.get(&contract).is_some_and(super::changes::is_destroyed);
    let mut after = if destroyed {
        U256::ZERO
    } else {
        value_at(journal, contract, slot, journal.journal.len())?
    };
    for (index, entry) in journal.journal.iter().enumerate().rev() {
        let before = match entry {
            JournalEntry::StorageChanged {
                key,
                had_value,
                address,
            } if *address == contract && *key == slot => *had_value,
            // Its storage goes with it.
            JournalEntry::AccountDestroyed { address, .. } if *address == contract && destroyed => {
                match value_at(journal, contract, slot, index) {
                    Some(before) => before,
                    // Nothing else wrote the slot.
                    None => return Some(index),
                }
            }
            _ => continue,
        };
        if holds(before) == Some(true) && holds(after) == Some(false) {
            return Some(index);
        }
        after = before;
    }
    None
}

#[cfg(test)]
mod tests {
    use alloy::{
        consensus::{SignableTransaction as _, TxLegacy},
        eips::eip2718::Encodable2718 as _,
        primitives::{B256, Bytes, Signature, TxKind, hex},
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Account, BlockEnv, CompleteState, Hardfork, Transaction,
        evm::{Fault, Machine, Rewind, Undone},
    };

    /// Runs a list of steps from its calldata, 96 bytes each: a place, a slot and a value. Place zero stores here, any other is an
    /// address that is called with slot and value.
    const RUNNER: &str = "60005b803611156 0 3b57604081602001600037803580156 0 2b57600060006040600060 00855af150603356\
        5b6020516000 51555b50606001600256 5b00";
    const STORE: &str = "60203560003555";
    const STORE_AND_REVERT: &str = "6020356000355560006000fd";
    const PLACES: [Address; 3] = [
        Address::repeat_byte(0x77),
        Address::repeat_byte(0x11),
        Address::repeat_byte(0x22),
    ];

    fn code(text: &str) -> Bytes {
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        hex::decode(digits).unwrap().into()
    }

    fn state() -> CompleteState {
        let mut state = CompleteState::default();
        for (address, code) in PLACES.into_iter().zip([RUNNER, STORE, STORE_AND_REVERT].map(code)) {
            let account = Account {
                nonce: 1,
                ..Account::default()
            };
            let slots = (0..3).map(|slot| (U256::from(slot), U256::from(7 + slot)));
            state.0.insert_contract(address, account, code, slots);
        }
        state
    }

    type Step = (usize, u64, u64);

    fn steps_of(steps: &[Step]) -> Transaction {
        let mut input = Vec::new();
        for (place, slot, value) in steps {
            let place = if *place == 0 { Address::ZERO } else { PLACES[*place] };
            input.extend_from_slice(place.into_word().as_slice());
            input.extend_from_slice(&U256::from(*slot).to_be_bytes::<32>());
            input.extend_from_slice(&U256::from(*value).to_be_bytes::<32>());
        }
        let tx = TxLegacy {
            chain_id: Some(1),
            gas_limit: 10_000_000,
            to: TxKind::Call(PLACES[0]),
            input: input.into(),
            ..TxLegacy::default()
        };
        let raw = tx
            .into_signed(Signature::new(U256::ZERO, U256::ZERO, false))
            .encoded_2718();
        Transaction::unsigned(&raw, Address::repeat_byte(0xa1), B256::ZERO).unwrap()
    }

    fn env() -> BlockEnv {
        BlockEnv {
            number: 1,
            timestamp: 1,
            beneficiary: Address::repeat_byte(0xbe),
            gas_limit: 30_000_000,
            base_fee: 0,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::ZERO),
            excess_blob_gas: Some(0),
            hardfork: Some(Hardfork::Cancun),
        }
    }

    fn run(machine: &mut Machine, state: &CompleteState, steps: &[Step]) -> Undo {
        let execution = machine
            .execute(&env(), &steps_of(steps), state, None, false)
            .unwrap_or_else(|fault: Fault| panic!("{fault:?}"));
        assert_eq!(execution.status, crate::Status::Success);
        let journal = machine.journal().unwrap().clone();
        machine.reset();
        journal
    }

    fn writes(journal: &Undo) -> impl Iterator<Item = usize> {
        let entries = journal.journal.iter().enumerate();
        entries
            .filter(|(_, entry)| matches!(entry, JournalEntry::StorageChanged { .. }))
            .map(|(index, _)| index)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_value_at_any_entry_is_that_of_executing_up_to_there(
            steps in prop::collection::vec((0_usize..3, 0_u64..3, 0_u64..12), 0..12)
        ) {
            let (state, mut machine) = (state(), Machine::new(1));
            let whole = run(&mut machine, &state, &steps);
            for upto in 0..=steps.len() {
                let part = run(&mut machine, &state, &steps[..upto]);
                // What the part wrote are the first writes of the whole.
                let entries = writes(&part).count().checked_sub(1).map_or(0, |last| writes(&whole).nth(last).unwrap() + 1);
                for (contract, slot) in PLACES.into_iter().flat_map(|place| (0..3).map(move |slot| (place, U256::from(slot)))) {
                    let executed = value_at(&part, contract, slot, part.journal.len()).unwrap_or(U256::from(7) + slot);
                    if let Some(indexed) = value_at(&whole, contract, slot, entries) {
                        prop_assert_eq!(indexed, executed, "{} of {} after {} steps", slot, contract, upto);
                    } else {
                        prop_assert_eq!(executed, U256::from(7) + slot);
                    }
                }
            }
        }

        #[test]
        fn on_the_way_back_every_value_is_that_of_the_index(
            steps in prop::collection::vec((0_usize..3, 0_u64..3, 0_u64..12), 0..12)
        ) {
            let (state, mut machine) = (state(), Machine::new(1));
            let slots = || PLACES.into_iter().flat_map(|place| (0..3).map(move |slot| (place, U256::from(slot))));
            let mut told = Ok(0);
            let mut back = |mut run: Rewind<'_, '_>| told = (|| {
                let whole = run.machine().journal().unwrap().clone();
                let mut points = 0;
                while let Some(undone) = run.step() {
                    let Undone::Write { entry, .. } = undone else { continue };
                    points += 1;
                    for (contract, slot) in slots() {
                        let (_, now) = run.machine().words(&state, contract, slot).unwrap();
                        let indexed = value_at(&whole, contract, slot, entry).unwrap_or(now);
                        prop_assert_eq!(indexed, now, "{} of {} at {}", slot, contract, entry);
                    }
                }
                for (contract, slot) in slots() {
                    let (before, now) = run.machine().words(&state, contract, slot).unwrap();
                    prop_assert_eq!((before, now), (U256::from(7) + slot, before));
                }
                for address in PLACES {
                    let (before, now) = run.machine().account(&state, address).unwrap();
                    prop_assert_eq!(before, now);
                }
                Ok(points)
            })();
            machine
                .explain(&env(), &steps_of(&steps), &state, None, &mut |_, _| {}, &mut back)
                .unwrap();
            // The fee and the nonce, at least.
            prop_assert!(told? >= 1);
        }

        #[test]
        fn the_crossing_is_the_last_write_from_inside_to_outside(
            steps in prop::collection::vec((0_usize..2, 0_u64..2, 0_u64..12), 0..12)
        ) {
            let (state, mut machine) = (state(), Machine::new(1));
            let journal = run(&mut machine, &state, &steps);
            let (contract, slot) = (PLACES[0], U256::from(1));
            let holds = |value: U256| Some(value >= U256::from(5));
            let mut value = U256::from(8);
            let mut last = None;
            let mut changes = writes(&journal).filter(|index| matches!(
                &journal.journal[*index],
                JournalEntry::StorageChanged { address, key, .. } if *address == contract && *key == slot
            ));
            for (_, _, next) in steps.iter().filter(|(place, at, _)| *place == 0 && *at == 1) {
                let next = U256::from(*next);
                if next != value {
                    let entry = changes.next().unwrap();
                    if holds(value) == Some(true) && holds(next) == Some(false) {
                        last = Some(entry);
                    }
                    value = next;
                }
            }
            prop_assert_eq!(crossing(&journal, contract, slot, &holds), last);
        }
    }
}
