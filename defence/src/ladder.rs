//! The rule of escalation: what fires at once, and what fires when something has failed.
//!
//! Pure. An action without a ladder fires at once. Of each ladder the lowest rung that is for the violation fires at once, and each
//! next one when the one before has failed for good.

use std::collections::HashMap;

use crate::config::ActionConfig;
use crate::violation::ConfirmedViolation;

/// Actions that fire at once, the pause before all others.
#[must_use]
pub fn first<'a>(actions: &'a [ActionConfig], violation: &ConfirmedViolation) -> Vec<&'a ActionConfig> {
    let mut alone: Vec<&ActionConfig> = Vec::new();
    let mut lowest: HashMap<&str, &ActionConfig> = HashMap::new();
    for action in actions.iter().filter(|action| action.is_for(violation)) {
        match &action.ladder {
            None => alone.push(action),
            Some(ladder) => {
                let rung = lowest.entry(ladder).or_insert(action);
                if action.rung < rung.rung {
                    *rung = action;
                }
            }
        }
    }
    alone.extend(lowest.into_values());
    alone.sort_by_key(|action| (!action.kind.is_pause(), &action.id));
    alone
}

/// What fires when `failed` has failed for good: the next rung of its ladder that is for the violation.
#[must_use]
pub fn next<'a>(
    actions: &'a [ActionConfig],
    failed: &ActionConfig,
    violation: &ConfirmedViolation,
) -> Option<&'a ActionConfig> {
    failed.ladder.as_ref()?;
    actions
        .iter()
        .filter(|action| action.ladder == failed.ladder && action.rung > failed.rung && action.is_for(violation))
        .min_by_key(|action| action.rung)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::sample;
    use crate::violation::Severity;

    fn actions() -> Vec<ActionConfig> {
        let slack =
            |id: &str, rest: &str| format!("[[actions]]\nid = \"{id}\"\nkind = \"slack\"\nurl = \"env:U\"\n{rest}\n");
        let text = [
            slack("alone", ""),
            slack("third", "ladder = \"l\"\nrung = 3"),
            slack("second", "ladder = \"l\"\nrung = 2\nmin_severity = \"critical\""),
            slack("other", "invariants = [999]"),
            "[[actions]]\nid = \"stop\"\nkind = \"pause_agent\"\nfunction = \"pause()\"\nladder = \"l\"\nrung = 1\n"
                .to_owned(),
        ]
        .concat();
        toml::from_str::<Config>(&text).unwrap().actions
    }

    fn ids<'a>(actions: impl IntoIterator<Item = &'a ActionConfig>) -> Vec<&'a str> {
        actions.into_iter().map(|action| action.id.as_str()).collect()
    }

    #[test]
    fn the_pause_is_first_and_each_ladder_begins_at_its_lowest_rung() {
        assert_eq!(ids(first(&actions(), &sample::violation())), ["stop", "alone"]);
    }

    #[test]
    fn the_next_rung_is_one_that_is_for_the_violation() {
        let actions = actions();
        let mut violation = sample::violation();
        violation.severity = Severity::High;
        let stop = &actions[4];
        assert_eq!(ids(next(&actions, stop, &violation)), ["third"]);
        violation.severity = Severity::Critical;
        let second = next(&actions, stop, &violation).unwrap();
        assert_eq!(second.id, "second");
        assert_eq!(ids(next(&actions, second, &violation)), ["third"]);
        assert_eq!(ids(next(&actions, &actions[1], &violation)), Vec::<&str>::new());
        assert_eq!(ids(next(&actions, &actions[0], &violation)), Vec::<&str>::new());
    }
}
