//! The report as one page for people: everything in one file, nothing loaded, no script.

use std::collections::BTreeMap;

use askama::Template;
use community::picture::{Bars, Line, Lines, PictureError};

use super::{Growth, Incident, Miner, Report, share};
use crate::localnet::plan::{RAO_PER_TAO, Role};
use crate::localnet::tables::closing;

/// Incidents that are drawn.
const DRAWN: usize = 12;
/// Most miners of the latency's picture.
const MINERS: usize = 24;

/// A page that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// One of its pictures.
    #[error("the report's page cannot be made: {0}")]
    Picture(#[from] PictureError),
    /// The page around them.
    #[error("the report's page cannot be made: {0}")]
    Page(#[from] askama::Error),
}

#[derive(Template)]
#[template(path = "localnet.html")]
struct Page<'a> {
    report: &'a Report,
    failure: Option<String>,
    story: Vec<String>,
    pictures: Vec<String>,
}

impl Page<'_> {
    /// A share in percent.
    fn percent(&self, share: &f64) -> String {
        format!("{:.1} %", 100.0 * share)
    }
}

/// Makes the page.
///
/// # Errors
/// Never in practice: it is drawn into memory.
pub fn render(report: &Report) -> Result<String, PageError> {
    let drawn = [
        by_role(report).draw(),
        latency(report).draw(),
        incidents(report).draw(),
        growth(report).draw(),
    ];
    let page = Page {
        report,
        failure: report.failure(),
        story: closing(report).lines().map(str::to_owned).collect(),
        pictures: drawn.into_iter().collect::<Result<_, _>>()?,
    };
    Ok(page.render()?)
}

/// What a miner of each role has, on average.
fn by_role(report: &Report) -> Bars {
    let mut roles = BTreeMap::<Role, Vec<&Miner>>::new();
    for miner in &report.miners {
        roles.entry(miner.role).or_default().push(miner);
    }
    let mean = |miners: &[&Miner], of: fn(&Miner) -> f64| {
        Some(miners.iter().map(|miner| of(miner)).sum::<f64>() / miners.len().max(1) as f64)
    };
    let group = |(role, miners): (&Role, &Vec<&Miner>)| {
        let values = vec![
            mean(miners, |miner| miner.weight),
            mean(miners, |miner| miner.incentive),
        ];
        (role.to_string(), values)
    };
    Bars {
        caption: "weight and incentive of a miner, mean of its role",
        unit: "share",
        series: vec!["weight", "incentive"],
        groups: roles.iter().map(group).collect(),
    }
}

fn latency(report: &Report) -> Bars {
    let measured = |value: f64| (value > 0.0).then_some(value);
    let group = |miner: &Miner| {
        let values = vec![measured(miner.p50_ms), measured(miner.p99_ms)];
        (miner.uid.to_string(), values)
    };
    Bars {
        caption: "latency of each miner's answers, by uid",
        unit: "ms",
        series: vec!["median", "99th percentile"],
        groups: report.miners.iter().take(MINERS).map(group).collect(),
    }
}

/// How fast each violation was found, paused, and how long before its block.
fn incidents(report: &Report) -> Bars {
    let group = |(number, incident): (usize, &Incident)| {
        let ahead = incident.ms_before_inclusion.map(|ms| ms.max(0) as f64);
        let values = vec![
            Some(incident.seen_to_confirmed_ms),
            incident.seen_to_broadcast_ms,
            ahead,
        ];
        (format!("incident {}", number + 1), values)
    };
    Bars {
        caption: "each violation: seen to confirmed, to its pause in the pool; lead on its block",
        unit: "ms",
        series: vec!["confirmed after", "pause sent after", "lead on the block"],
        groups: report.incidents.iter().take(DRAWN).enumerate().map(group).collect(),
    }
}

/// Population and supply of the subnet, each as a share of its last value, so that both fit into one picture.
fn growth(report: &Report) -> Lines {
    let last = report.growth.last().copied().unwrap_or_default();
    let line = |colour, name, of: fn(&Growth) -> u64| Line {
        name,
        colour,
        points: report
            .growth
            .iter()
            .map(|one| (one.epoch, share(of(one), of(&last))))
            .collect(),
    };
    let supply = last.supply as f64 / RAO_PER_TAO as f64;
    Lines {
        caption: "population and supply of the subnet",
        over: "epoch of the ledger",
        unit: "of the last value",
        lines: vec![
            line(0, format!("population ({})", last.population), |one| one.population),
            line(1, format!("supply ({supply:.0} TAO staked)"), |one| one.supply),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::super::Service;
    use super::super::tests::{network, observed};
    use super::*;
    use crate::localnet::plan::Member;

    #[test]
    fn the_page_has_four_pictures_every_process_and_needs_nothing_else() {
        let mut seen = observed();
        seen.data = "a <b>chain</b>".to_owned();
        seen.services = vec![Service::new(Member::Keeper(1), "", &[("executions", 1)])];
        seen.growth = (1..=3)
            .map(|epoch| Growth {
                epoch,
                population: 7,
                supply: epoch * RAO_PER_TAO,
            })
            .collect();
        let page = render(&Report::new(&network(), seen).unwrap()).unwrap();
        assert_eq!(page.matches("<svg").count(), 4);
        assert!(page.contains("keeper-1") && page.contains("executions 1"), "{page}");
        assert!(
            page.contains("supply (3 TAO staked)") && page.contains("population (7)"),
            "{page}"
        );
        assert!(!page.contains("<b>chain") && page.contains("The lazy and the liar earn less"));
        let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http") && !elsewhere.contains("src=") && !elsewhere.contains("<script"));
    }

    #[test]
    fn a_run_that_failed_says_why_at_the_top() {
        let mut seen = observed();
        (seen.status.reported, seen.complete) = (99, false);
        let page = render(&Report::new(&network(), seen).unwrap()).unwrap();
        assert!(page.contains("99 of 100 assigned judgements were reported"), "{page}");
    }
}
