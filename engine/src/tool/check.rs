//! `engine check`: one recorded transaction against a set of invariants.

use std::{fmt::Write as _, path::Path};

use engine::{
    CompleteState, Context, Engine, Execution, Options, Outcome, Replay, Transaction, Transition, Verdict, Watched,
    case::{Case, CaseFile, Expected},
};
use serde::Serialize;

use super::{
    cli::CheckArgs,
    evidence::{Attempt, Evidence, Frame, Reading, values},
    exit::{Answer, Failure, say},
    invariants::{Invariants, is_of_the_case},
    observe::{Around, margin},
    text,
};

/// One invariant's line of the answer. This is what `--json` prints, in a list, in the order of the set: fields may be added, none
/// changes its meaning. Numbers are decimal text, since they have up to 512 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Checked {
    /// Name of the invariant.
    name: String,
    /// What it says.
    expression: String,
    /// `holds`, `violated` or `undecided`.
    verdict: &'static str,
    /// `untouched`, `kept`, `broke`, `restored` or `stayed_broken`; `null` when undecided.
    transition: Option<&'static str>,
    /// Value before the transaction of the one thing, or the one number, that the invariant reads; of one that reads several see
    /// `readings`.
    pre: Option<String>,
    /// Value after it.
    post: Option<String>,
    /// Signed distance to the bound after the transaction, at least zero exactly when the invariant holds; `null` when no
    /// numbers are compared or it is not known.
    margin: Option<String>,
    /// The same before it.
    margin_before: Option<String>,
    /// Why it is undecided.
    reason: Option<String>,
    /// All that the invariant reads.
    readings: Vec<Reading>,
    /// Evidence of a violation.
    witness: Option<Evidence>,
    /// What a frame that reverted would have violated.
    warnings: Vec<Attempt>,
}

pub(crate) fn run(args: &CheckArgs) -> Result<Answer, Failure> {
    // What the case carries needs the case first; a set that cannot be read should be told before anything is executed.
    let set = (!is_of_the_case(&args.invariants))
        .then(|| Invariants::read(&args.invariants))
        .transpose()?;
    let case = one_case(&args.case, args.id.as_deref())?;
    let invariants = match set {
        Some(set) => set,
        None => Invariants::of_case(&args.case, &case.id)?,
    };
    invariants.check_chain(&case.id, case.chain_id)?;
    let index = place(args, &case)?;
    let judged = judge(case, index, &invariants)?;
    let answer = answer(&judged.checked);
    let text = if args.json {
        let json = serde_json::to_string_pretty(&judged.checked);
        json.map_err(|error| Failure::Machine(error.to_string()))? + "\n"
    } else {
        human(&judged)
    };
    say(&text)?;
    Ok(answer)
}

/// The case of this id, or the only one.
fn one_case(path: &Path, id: Option<&str>) -> Result<Case, Failure> {
    let mut cases = CaseFile::open(path)?;
    let Some(id) = id else {
        let empty = || Failure::Input(format!("{}: holds no case", path.display()));
        let case = cases.next().ok_or_else(empty)??;
        return match cases.next().transpose()? {
            None => Ok(case),
            Some(other) => Err(Failure::Input(format!(
                "{}: holds several cases ({}, {}, ..): choose one with --id",
                path.display(),
                case.id,
                other.id
            ))),
        };
    };
    for case in cases {
        let case = case?;
        if case.id == id {
            return Ok(case);
        }
    }
    Err(Failure::Input(format!(
        "{}: holds no case {id:?}; check --id",
        path.display()
    )))
}

/// The place of the transaction that is meant.
fn place(args: &CheckArgs, case: &Case) -> Result<usize, Failure> {
    let number = case.transactions.len();
    let wrong = |why: String| {
        Err(Failure::Input(format!(
            "{}: case {} {why}",
            args.case.display(),
            case.id
        )))
    };
    match (args.tx, number) {
        (_, 0) => wrong("holds no transaction".to_owned()),
        (Some(index), _) if index < number => Ok(index),
        (None, 1) => Ok(0),
        (Some(index), _) => wrong(format!(
            "has no transaction {index}: choose 0 to {} with --tx",
            number - 1
        )),
        (None, _) => wrong(format!(
            "holds {number} transactions: choose one of 0 to {} with --tx",
            number - 1
        )),
    }
}

/// A judged transaction.
struct Judged {
    case: String,
    block: u64,
    index: usize,
    tx: Transaction,
    execution: Option<Execution>,
    expected: Option<Expected>,
    checked: Vec<Checked>,
}

fn judge(case: Case, index: usize, invariants: &Invariants) -> Result<Judged, Failure> {
    let (id, block_hash) = (case.id.clone(), case.block_hash);
    let mut engine = Engine::new(case.chain_id);
    let Some(tx) = case.transactions.get(index).cloned() else {
        return Err(Failure::Input(format!("case {id} has no transaction {index}")));
    };
    let expected = case.expect.per_tx.get(index).copied();
    let mut replay = Replay::new(case);
    let env = replay.env().clone();
    for _ in 0..index {
        replay
            .next()
            .transpose()
            .map_err(|error| Failure::Input(format!("case {id}: {error}")))?;
    }
    let pre = replay.state().clone();
    let options = Options {
        warnings: true,
        ..Options::default()
    };
    let outcome = engine.judge_watched(&tx, Context::new(&env, &pre, &invariants.set, &options))?;
    // A transaction that cannot be executed changes nothing; why not, the outcome says.
    let executed = matches!(replay.next(), Some(Ok(_)));
    let post: &CompleteState = if executed { replay.state() } else { &pre };
    let mut around = Around::new(&mut engine, (&env, &tx), (&pre, post), &invariants.set)?;
    let checked = invariants
        .set
        .watched()
        .iter()
        .zip(&invariants.expressions)
        .map(|(watched, expression)| check(watched, expression, &outcome, &mut around, block_hash))
        .collect();
    Ok(Judged {
        case: id,
        block: env.number,
        index,
        execution: outcome.execution,
        expected,
        checked,
        tx,
    })
}

/// What the outcome says of one invariant.
fn check(
    watched: &Watched,
    expression: &str,
    outcome: &Outcome,
    around: &mut Around<'_>,
    block_hash: Option<engine::B256>,
) -> Checked {
    let judgement = outcome
        .judgements
        .iter()
        .find(|judgement| judgement.invariant_id == watched.id());
    let (verdict, reason, witness) = match (judgement.map(|judgement| &judgement.verdict), &outcome.undecided) {
        (None, Some(reason)) | (Some(Verdict::Undecided(reason)), _) => ("undecided", Some(reason.to_string()), None),
        (Some(Verdict::Violated(witness)), _) => ("violated", None, Some(Evidence::new(watched, witness, block_hash))),
        (Some(Verdict::Holds) | None, _) => ("holds", None, None),
    };
    let transition = match judgement {
        Some(judgement) => judgement.transition,
        None => reason.is_none().then_some(Transition::Untouched),
    };
    let margins = match judgement {
        Some(judgement) if judgement.margin.is_some() => judgement.margin,
        _ if reason.is_none() => around.margins(watched, expression),
        _ => None,
    };
    // The witness is what others check; the values in it are those shown.
    let readings = match &witness {
        Some(witness) => witness.readings.clone(),
        None => around.observe(watched).into_iter().map(Reading::from).collect(),
    };
    let (pre, post) = values(&readings);
    let warnings = outcome
        .warnings
        .iter()
        .filter(|warning| warning.invariant_id == watched.id());
    Checked {
        name: watched.name().to_owned(),
        expression: expression.to_owned(),
        verdict,
        transition: transition.map(text::transition),
        pre,
        post,
        margin: margin(margins.map(|margins| margins.post)),
        margin_before: margin(margins.map(|margins| margins.pre)),
        reason,
        readings,
        witness,
        warnings: warnings.map(|warning| Attempt::new(watched, warning)).collect(),
    }
}

/// One violation outweighs all, one undecided all that hold.
fn answer(checked: &[Checked]) -> Answer {
    let has = |verdict| checked.iter().any(|checked| checked.verdict == verdict);
    match (has("violated"), has("undecided")) {
        (true, _) => Answer::Violated,
        (false, true) => Answer::Undecided,
        (false, false) => Answer::Holds,
    }
}

fn human(judged: &Judged) -> String {
    let mut text = String::new();
    let _infallible = write(&mut text, judged);
    text
}

fn write(out: &mut String, judged: &Judged) -> std::fmt::Result {
    writeln!(
        out,
        "case        {} (block {}, transaction {})",
        judged.case, judged.block, judged.index
    )?;
    writeln!(out, "transaction {}", judged.tx.hash())?;
    if let Some(execution) = &judged.execution {
        let record = match judged.expected {
            None => "",
            Some(expected) if expected.agrees(execution) => ", as recorded",
            Some(_) => ", NOT as recorded",
        };
        writeln!(
            out,
            "execution   {}, gas {}{record}",
            execution.status,
            text::grouped(&execution.gas_used.to_string())
        )?;
    }
    for checked in &judged.checked {
        writeln!(out)?;
        one(out, checked)?;
    }
    let count = |verdict| {
        judged
            .checked
            .iter()
            .filter(|checked| checked.verdict == verdict)
            .count()
    };
    writeln!(
        out,
        "\n{} violated, {} undecided, {} hold",
        count("violated"),
        count("undecided"),
        count("holds")
    )
}

fn one(out: &mut String, checked: &Checked) -> std::fmt::Result {
    let transition = checked
        .transition
        .map(|transition| format!(" ({})", transition.replace('_', " ")));
    let verdict = checked.verdict.to_uppercase();
    writeln!(out, "{verdict:<9} {}{}", checked.name, transition.unwrap_or_default())?;
    writeln!(out, "  says     {}", checked.expression)?;
    if let Some(reason) = &checked.reason {
        writeln!(out, "  because  {reason}")?;
    }
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), text::grouped);
    if let (None, None) = (&checked.pre, &checked.post) {
        for reading in &checked.readings {
            writeln!(
                out,
                "  read     {}: {} -> {}",
                reading.label,
                shown(&reading.pre),
                shown(&reading.post)
            )?;
        }
    } else {
        writeln!(out, "  value    {} -> {}", shown(&checked.pre), shown(&checked.post))?;
    }
    if checked.margin.is_some() || checked.margin_before.is_some() {
        writeln!(
            out,
            "  margin   {} -> {}",
            shown(&checked.margin_before),
            shown(&checked.margin)
        )?;
    }
    if let Some(witness) = &checked.witness {
        writeln!(out, "  witness  {}", witness.digest)?;
        for reading in &witness.readings {
            let contract = reading
                .contract
                .map(|contract| contract.to_string())
                .unwrap_or_default();
            let slot = reading
                .slot
                .as_ref()
                .map(|slot| format!(" slot {slot}"))
                .unwrap_or_default();
            writeln!(out, "           read {contract}{slot}")?;
        }
        for frame in &witness.path {
            writeln!(out, "           {}", call(frame))?;
        }
    }
    for warning in &checked.warnings {
        writeln!(
            out,
            "  warning  would have been violated ({} -> {}) by a frame that reverted: {}",
            warning.pre,
            warning.at_revert,
            call(&warning.frame)
        )?;
    }
    Ok(())
}

/// A frame in one line, indented by its depth.
fn call(frame: &Frame) -> String {
    let indent = "  ".repeat(usize::from(frame.depth.min(40)));
    let code = if frame.code == frame.address {
        String::new()
    } else {
        format!(" (code of {})", frame.code)
    };
    let selector = frame
        .selector
        .as_deref()
        .map(|selector| format!(" {selector}"))
        .unwrap_or_default();
    format!("{indent}{} {}{selector}{code}", frame.kind, frame.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(verdict: &'static str) -> Checked {
        Checked {
            name: String::new(),
            expression: String::new(),
            verdict,
            transition: None,
            pre: None,
            post: None,
            margin: None,
            margin_before: None,
            reason: None,
            readings: Vec::new(),
            witness: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_violation_outweighs_what_is_undecided_and_that_what_holds() {
        let of =
            |verdicts: &[&'static str]| answer(&verdicts.iter().map(|verdict| checked(verdict)).collect::<Vec<_>>());
        assert_eq!(of(&["holds", "undecided", "violated"]), Answer::Violated);
        assert_eq!(of(&["undecided", "holds"]), Answer::Undecided);
        assert_eq!(of(&["holds"]), Answer::Holds);
    }
}
