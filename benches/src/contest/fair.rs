//! That the two sides do the same: else comparing their times would mean nothing.

use alloy::primitives::U256;
use engine::{Comparison, Context, Status, Transition, ViewInvariant, WatchSet, Watched};
use revm::ExecuteEvm as _;

use super::{Contest, ContestError};

impl Contest {
    /// Both sides succeed with the same gas and the invariants are decided.
    pub(super) fn check(&self) -> Result<(), ContestError> {
        let (mut raw, mut engine) = (self.raw(), self.engine());
        for contender in &self.contenders {
            let name = contender.name;
            let unequal = |why: String| ContestError::Unequal { name, why };
            let plain = raw
                .transact(contender.fields.clone())
                .map_err(|error| unequal(error.to_string()))?
                .result;
            let outcome = engine
                .judge(&self.env, &contender.transaction, &self.state, &contender.invariants)
                .map_err(|error| unequal(error.to_string()))?;
            let execution = outcome
                .execution
                .as_ref()
                .ok_or_else(|| unequal("not executed".to_owned()))?;
            if !plain.is_success() || execution.status != Status::Success {
                return Err(unequal(format!("revm gave {plain:?}, the engine {}", execution.status)));
            }
            if plain.tx_gas_used() != execution.gas_used {
                return Err(unequal(format!(
                    "revm used {}, the engine {}",
                    plain.tx_gas_used(),
                    execution.gas_used
                )));
            }
            let set = self.crowd(contender, 3)?;
            let watched = engine
                .judge_watched(
                    &contender.transaction,
                    Context::new(&self.env, &self.state, &set, &self.options()),
                )
                .map_err(|error| unequal(error.to_string()))?;
            let touched = outcome
                .judgements
                .iter()
                .filter(|judgement| judgement.transition != Some(Transition::Untouched));
            if !touched.eq(&watched.judgements) {
                return Err(unequal("the set says something else".to_owned()));
            }
            if outcome
                .judgements
                .iter()
                .any(|judgement| judgement.transition.is_none())
            {
                return Err(unequal("the invariant is undecided".to_owned()));
            }
        }
        self.check_views()
    }

    /// Both sides read the same balance after the ERC-20 transfer.
    fn check_views(&self) -> Result<(), ContestError> {
        let name = "view";
        let unequal = |why: String| ContestError::Unequal { name, why };
        let Some(contender) = self.contenders.get(1) else {
            return Err(unequal("nothing is executed".to_owned()));
        };
        let mut raw = self.raw();
        raw.transact_one(contender.fields.clone())
            .map_err(|error| unequal(error.to_string()))?;
        let returned = self
            .raw_view(&mut raw)
            .ok_or_else(|| unequal("raw revm returned nothing".to_owned()))?;
        let balance = U256::try_from_be_slice(&returned).unwrap_or_default();
        // It breaks exactly where the balance after the transfer ends.
        let at_least = |target| {
            WatchSet::new(vec![Watched::View(ViewInvariant {
                id: 1,
                name: name.to_owned(),
                view: self.view.clone(),
                comparison: Comparison::Ge,
                target,
            })])
        };
        for (target, transition) in [
            (balance, Transition::Kept),
            (balance + U256::from(1), Transition::Broke),
        ] {
            let outcome = self
                .engine()
                .judge_watched(
                    &contender.transaction,
                    Context::new(&self.env, &self.state, &at_least(target)?, &self.options()),
                )
                .map_err(|error| unequal(error.to_string()))?;
            let seen: Vec<_> = outcome
                .judgements
                .iter()
                .map(|judgement| judgement.transition)
                .collect();
            if seen != [Some(transition)] {
                return Err(unequal(format!(
                    "revm read {balance}, the engine judged {:?}",
                    outcome.judgements
                )));
            }
        }
        Ok(())
    }
}
