//! A community in one process, ceremony after ceremony, and what must hold of it.
//!
//! Both `bots simulate` (so many ceremonies, in a folder that is gone afterwards) and `bots benchmark` (for ever, with time and memory)
//! run [`ceremony`]: the duties of each phase, then the next phase, on the embedded ledger.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::book::Book;
use crate::community::Community;
use crate::error::CommunityError;
use crate::growth::{self, Deviation};
use crate::phase::PHASES;
use crate::role::Role;
use crate::row::Row;
use crate::spec::{Raise, Rules, Spec};

/// From one look at a remote ledger's phase to the next.
const LOOK: Duration = Duration::from_millis(500);
/// Who must earn more than whom, the most first.
const ORDER: [Role; 4] = [Role::Honest, Role::Slow, Role::Lazy, Role::Liar];
/// The order must hold in every ceremony after this one.
const SETTLED: u64 = 2;

/// The figures of a simulation: the same seed gives the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The ceremonies, oldest first.
    pub rows: Vec<Row>,
    /// What does not hold, ceremony by ceremony.
    pub broken: Vec<String>,
}

/// What a ceremony took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Wall-clock time.
    pub seconds: f64,
    /// Time on the processor: what a busy machine leaves as it is.
    pub cpu_seconds: f64,
    /// What the process holds in memory afterwards, in bytes; none where the system does not say.
    pub resident: Option<u64>,
}

/// The community whose growth the golden vector tells: the income rises to 1.1 in the sixth ceremony.
pub fn golden(spec: Spec) -> Spec {
    let raise = Raise {
        from: 6,
        income: chain::local::params::Tao::from_rao(1_100_000_000),
    };
    Spec {
        rules: Rules {
            raises: vec![raise],
            ..spec.rules
        },
        ..spec
    }
}

/// Runs one ceremony: the duties of its three phases, and the next phase after each. Gives what it took.
///
/// On a remote ledger the next phase is waited for. Ends early, and with an error, on `shutdown`.
///
/// # Errors
/// A database, the ledger or the faucet fails.
pub async fn ceremony(community: &mut Community<'_>, shutdown: &CancellationToken) -> Result<Cost, CommunityError> {
    let (start, cpu) = (Instant::now(), ProcessTime::now());
    let number = community.held.book.now.number;
    // A community that was left in the middle of a ceremony finishes that.
    for _phase in 0..PHASES {
        if community.held.book.now.number != number {
            break;
        }
        if shutdown.is_cancelled() {
            return Err(CommunityError::Interrupted);
        }
        let done = community.duties().await?;
        tracing::info!(?done, "duties");
        next_phase(community, shutdown).await?;
    }
    community.settle().await?;
    Ok(Cost {
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu.elapsed().as_secs_f64(),
        resident: resident(),
    })
}

async fn next_phase(community: &mut Community<'_>, shutdown: &CancellationToken) -> Result<(), CommunityError> {
    if community.subnet.moment().await?.phase.is_none() {
        return community.advance().await;
    }
    let here = (community.held.book.now.number, community.held.book.phase);
    while (community.held.book.now.number, community.held.book.phase) == here {
        tokio::select! {
            () = shutdown.cancelled() => return Err(CommunityError::Interrupted),
            () = tokio::time::sleep(LOOK) => community.follow().await?,
        }
    }
    Ok(())
}

/// How what a ceremony takes changes over a run: the median of the last third over that of the first one. The first two ceremonies found
/// everything anew, and do not count; none with fewer than three after them.
pub fn trend(costs: &[Cost], of: impl Fn(&Cost) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = costs.iter().skip(2).filter_map(of).collect();
    let third = values.len() / 3;
    let median = |part: &[f64]| {
        let mut sorted = part.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    };
    let (first, last) = (
        median(values.get(..third)?)?,
        median(values.get(values.len() - third..)?)?,
    );
    (first > 0.0).then(|| last / first)
}

/// What the process holds in memory, in bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1_024)
}

/// What does not hold of a community after its newest ceremony.
pub fn broken(book: &Book, rows: &[Row]) -> Vec<String> {
    let mut broken = Vec::new();
    let Some(newest) = rows.last() else {
        return broken;
    };
    let ceremony = newest.ceremony;
    let mut must = |holds: bool, what: String| {
        if !holds {
            broken.push(format!("ceremony {ceremony}: {what}"));
        }
    };
    must(newest.population > 0, "nobody is left".to_owned());
    if ceremony >= 2 {
        must(newest.supply > 0, "nobody owns anything".to_owned());
    }
    if ceremony >= 3 && book.spec.max_population() > book.spec.bootstrappers {
        let founders = book.spec.bootstrappers;
        must(
            newest.population > founders,
            format!(
                "a population of {} has not grown beyond its {founders} founders",
                newest.population
            ),
        );
    }
    must(
        newest.population <= book.spec.max_population().max(book.spec.bootstrappers),
        format!(
            "a population of {} is more than {}",
            newest.population,
            book.spec.max_population()
        ),
    );
    let others = newest.seated.sum() - newest.seated.newbies;
    must(
        newest.seated.newbies * book.spec.rules.newbie_divider <= others,
        format!("{} newbies sit among {others} others", newest.seated.newbies),
    );
    must(
        newest.attended <= newest.seated.sum(),
        format!("{} attended, {} had a seat", newest.attended, newest.seated.sum()),
    );
    if let [.., before, newest] = rows {
        let income = before.attended * book.spec.rules.income_of(before.ceremony);
        must(
            before.supply + income == newest.supply,
            format!(
                "the supply is {}, and not {} and an income of {income}",
                newest.supply, before.supply
            ),
        );
    }
    for role in [Role::Honest, Role::Slow, Role::Sybil] {
        let wrong = newest.roles.get(&role).map_or(0, |seen| seen.answered - seen.correct);
        must(
            wrong == 0,
            format!("{wrong} answers by {role} miners, who execute everything, were not the truth"),
        );
    }
    if ceremony > SETTLED {
        broken.extend(disorder(newest));
    }
    broken
}

/// Where a role does not earn strictly more than the next worse one: the least of the one against the most of the other.
pub fn disorder(row: &Row) -> Vec<String> {
    let earned: Vec<_> = ORDER
        .into_iter()
        .filter_map(|role| Some((role, row.roles.get(&role)?.incentive?)))
        .collect();
    let pairs = earned.windows(2).filter_map(|pair| match pair {
        [(better, more), (worse, less)] if more.least <= less.most => Some(format!(
            "ceremony {}: the least incentive of {better} miners is {}, the most of {worse} ones {}",
            row.ceremony, more.least, less.most
        )),
        _ => None,
    });
    pairs.collect()
}

/// Compares the ceremonies with the golden vector; whether each was paid is known for those that are over.
///
/// # Errors
/// The first figure that differs.
pub fn compare_golden(rows: &[Row]) -> Result<(), Deviation> {
    let points: Vec<_> = rows.iter().map(Row::point).collect();
    let attendance: Vec<u64> = rows.iter().map(|row| row.attended).collect();
    growth::compare(&points, &attendance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{RoleRow, Spread};

    fn row(incentives: &[(Role, u16, u16)]) -> Row {
        let role = |(role, least, most): &(Role, u16, u16)| {
            let incentive = Some(Spread {
                least: *least,
                mean: f64::from(*least),
                most: *most,
            });
            (
                *role,
                RoleRow {
                    incentive,
                    ..RoleRow::default()
                },
            )
        };
        Row {
            ceremony: 3,
            roles: incentives.iter().map(role).collect(),
            ..Row::default()
        }
    }

    #[test]
    fn a_trend_is_the_last_third_over_the_first() {
        let costs: Vec<Cost> = [9.0, 9.0, 1.0, 1.0, 5.0, 7.0, 2.0, 2.0]
            .map(|seconds| Cost {
                seconds,
                cpu_seconds: seconds,
                resident: None,
            })
            .into();
        assert_eq!(trend(&costs, |cost| Some(cost.seconds)), Some(2.0));
        assert_eq!(trend(&costs[..4], |cost| Some(cost.seconds)), None);
        assert_eq!(trend(&costs, |cost| cost.resident.map(|bytes| bytes as f64)), None);
    }

    #[test]
    fn the_best_liar_must_earn_less_than_the_worst_lazy_one() {
        let good = row(&[
            (Role::Honest, 900, 950),
            (Role::Slow, 400, 500),
            (Role::Lazy, 20, 90),
            (Role::Liar, 0, 0),
        ]);
        assert!(disorder(&good).is_empty());
        let tied = row(&[(Role::Lazy, 0, 90), (Role::Liar, 0, 0)]);
        assert_eq!(
            disorder(&tied),
            ["ceremony 3: the least incentive of lazy miners is 0, the most of liar ones 0"]
        );
        let skipping = row(&[(Role::Honest, 100, 950), (Role::Liar, 0, 100)]);
        assert_eq!(disorder(&skipping).len(), 1, "roles that are not there are left out");
    }
}
