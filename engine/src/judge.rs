//! The rule: from a slot's word before and after a transaction to the verdict on an invariant.

use crate::{B256, ENGINE_VERSION, Invariant, Judgement, Reason, Transition, U256, Verdict, Witness};

/// A slot's word before and after the transaction; `None` when the transaction left it as it was.
pub(crate) type Words = Option<(U256, U256)>;

/// Judges one invariant.
pub(crate) fn judge(invariant: &Invariant, words: Words, tx_hash: B256) -> Judgement {
    let invariant_id = invariant.id;
    if let Err(error) = invariant.check() {
        return Judgement::undecided(invariant_id, Reason::Unsupported(error.to_string()));
    }
    let decided = |verdict, transition| Judgement {
        invariant_id,
        verdict,
        transition: Some(transition),
    };
    let Some((pre, post)) = words else {
        return decided(Verdict::Holds, Transition::Untouched);
    };
    let (Some(pre), Some(post)) = (invariant.read(pre), invariant.read(post)) else {
        return Judgement::undecided(invariant_id, Reason::Unsupported("value leaves its slot".to_owned()));
    };
    let transition = transition(invariant.holds(pre), invariant.holds(post));
    let verdict = match transition {
        Transition::Broke => Verdict::Violated(Witness {
            invariant_id,
            tx_hash,
            contract: invariant.contract,
            slot: invariant.slot,
            pre,
            post,
            engine_version: ENGINE_VERSION.to_owned(),
        }),
        Transition::Untouched | Transition::Kept | Transition::Restored | Transition::StayedBroken => Verdict::Holds,
    };
    decided(verdict, transition)
}

const fn transition(held: bool, holds: bool) -> Transition {
    match (held, holds) {
        (true, true) => Transition::Kept,
        (true, false) => Transition::Broke,
        (false, true) => Transition::Restored,
        (false, false) => Transition::StayedBroken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Comparison, ValueType};

    /// `uint64` at byte 8 of the slot must be at least 100.
    fn floor() -> Invariant {
        let contract = Address::repeat_byte(7);
        let (value_type, target) = (ValueType::Uint(64), U256::from(100));
        Invariant::new(
            3,
            "floor",
            contract,
            U256::from(1),
            value_type,
            8,
            Comparison::Ge,
            target,
        )
        .unwrap()
    }

    fn word(value: u64) -> U256 {
        U256::from(value) << 64
    }

    fn judged(pre: u64, post: u64) -> (Verdict, Transition) {
        let judgement = judge(&floor(), Some((word(pre), word(post))), B256::repeat_byte(9));
        (judgement.verdict, judgement.transition.unwrap())
    }

    #[test]
    fn only_the_transaction_that_breaks_an_invariant_violates_it() {
        assert_eq!(judged(200, 100), (Verdict::Holds, Transition::Kept));
        assert_eq!(judged(99, 98), (Verdict::Holds, Transition::StayedBroken));
        assert_eq!(judged(99, 100), (Verdict::Holds, Transition::Restored));
        let (Verdict::Violated(witness), Transition::Broke) = judged(100, 99) else {
            panic!("not found")
        };
        assert_eq!((witness.pre, witness.post), (U256::from(100), U256::from(99)));
        assert_eq!((witness.invariant_id, witness.slot), (3, U256::from(1)));
        assert_eq!(witness.tx_hash, B256::repeat_byte(9));
    }

    #[test]
    fn a_slot_left_as_it_was_is_untouched_even_when_broken() {
        let judgement = judge(&floor(), None, B256::ZERO);
        assert_eq!(
            (judgement.verdict, judgement.transition),
            (Verdict::Holds, Some(Transition::Untouched))
        );
    }

    #[test]
    fn an_invariant_that_cannot_be_read_is_undecided() {
        let mut broken = floor();
        broken.offset = 30;
        let judgement = judge(&broken, Some((U256::ZERO, U256::ZERO)), B256::ZERO);
        assert!(matches!(judgement.verdict, Verdict::Undecided(Reason::Unsupported(_))));
        assert_eq!(judgement.transition, None);
    }

    #[test]
    fn a_witness_has_one_digest_and_every_field_counts() {
        let witness = Witness {
            invariant_id: 1,
            tx_hash: B256::repeat_byte(2),
            contract: Address::repeat_byte(3),
            slot: U256::from(4),
            pre: U256::from(5),
            post: U256::from(6),
            engine_version: "7".to_owned(),
        };
        let digest = witness.digest();
        let changes: [fn(&mut Witness); 7] = [
            |w| w.invariant_id = 0,
            |w| w.tx_hash = B256::ZERO,
            |w| w.contract = Address::ZERO,
            |w| w.slot = U256::ZERO,
            |w| w.pre = U256::ZERO,
            |w| w.post = U256::ZERO,
            |w| w.engine_version = String::new(),
        ];
        for change in changes {
            let mut changed = witness.clone();
            change(&mut changed);
            assert_ne!(changed.digest(), digest);
        }
        // Computed once and kept: a change of this number is a change of the wire.
        assert_eq!(
            digest.to_string(),
            "0x98c2eb633c7b811f061d91bf028b1c32d3506f388808d1ad980f482c1fbf8ab9"
        );
    }
}
