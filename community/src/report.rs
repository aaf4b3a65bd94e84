//! A report of a community: JSON for programs, and one page with pictures for people, which needs nothing else.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use crate::error::CommunityError;
use crate::picture::{Line, Lines, PictureError};
use crate::role::Role;
use crate::row::{RoleRow, Row};
use crate::simulate::{Cost, Outcome};

/// Billionths in a unit of the currency.
const UNIT: f64 = 1e9;
/// Bytes in a MiB.
const MIB: f64 = 1_048_576.0;

/// What there is to report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What it is of.
    pub title: String,
    /// The figures.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What each ceremony took, where that was measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<Cost>,
    /// Raids that were paused on a real chain, where some were raced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<Pause>,
}

/// A raid on a real chain, in milliseconds from its sending.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pause {
    /// Until the pause was in the node's pool; none when it never was.
    pub pooled_ms: Option<f64>,
    /// Until the raid's block.
    pub block_ms: f64,
}

#[derive(Template)]
#[template(path = "community.html")]
struct Page<'a> {
    report: &'a Report,
    pictures: Vec<String>,
}

impl Page<'_> {
    /// An amount in units of the currency.
    fn units(&self, billionths: &u64) -> String {
        format!("{:.1}", *billionths as f64 / UNIT)
    }
}

impl Report {
    /// As JSON, with a newline at the end.
    pub fn to_json(&self) -> String {
        // Nothing in it has a form that JSON does not have.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// As a page that needs no other file.
    ///
    /// # Errors
    /// Never in practice: drawing goes to memory.
    pub fn to_html(&self) -> Result<String, CommunityError> {
        let seen = self.pictures().into_iter().filter(|picture| !picture.is_empty());
        let drawn: Result<Vec<String>, PictureError> = seen.map(|picture| picture.draw()).collect();
        let page = Page {
            report: self,
            pictures: drawn.map_err(|error| CommunityError::Report(error.to_string()))?,
        };
        page.render().map_err(|error| CommunityError::Report(error.to_string()))
    }

    fn pictures(&self) -> Vec<Lines> {
        let rows = &self.outcome.rows;
        let of = |value: &dyn Fn(&Row) -> Option<f64>| -> Vec<(u64, f64)> {
            let points = rows.iter().filter_map(|row| Some((row.ceremony, value(row)?)));
            points.collect()
        };
        let costs = |value: &dyn Fn(&Cost) -> Option<f64>| -> Vec<(u64, f64)> {
            let pairs = rows.iter().zip(&self.costs);
            pairs
                .filter_map(|(row, cost)| Some((row.ceremony, value(cost)?)))
                .collect()
        };
        let raids = |value: &dyn Fn(&Pause) -> Option<f64>| -> Vec<(u64, f64)> {
            let pairs = (1..).zip(&self.pauses);
            pairs.filter_map(|(raid, pause)| Some((raid, value(pause)?))).collect()
        };
        let milliseconds = |micros: u64| micros as f64 / 1e3;
        vec![
            lines(
                "population and supply",
                "ceremony",
                "",
                [
                    ("population", of(&|row| Some(row.population as f64))),
                    ("attended", of(&|row| Some(row.attended as f64))),
                    ("supply", of(&|row| Some(row.supply as f64 / UNIT))),
                ],
            ),
            Lines {
                caption: "incentive of a miner, mean of its role",
                over: "ceremony",
                unit: "of 65535",
                lines: by_role(rows, &|role| role.incentive.map(|spread| spread.mean)),
            },
            Lines {
                caption: "latency of a miner, 99th percentile, median of its role",
                over: "ceremony",
                unit: "ms",
                lines: by_role(rows, &|role| role.l99.map(milliseconds)),
            },
            lines(
                "from a violation to its finding",
                "ceremony",
                "ms",
                [
                    ("median", of(&|row| row.detection.map(|found| milliseconds(found.0)))),
                    (
                        "99th percentile",
                        of(&|row| row.detection.map(|found| milliseconds(found.1))),
                    ),
                ],
            ),
            lines(
                "time of a ceremony",
                "ceremony",
                "s",
                [
                    ("wall clock", costs(&|cost| Some(cost.seconds))),
                    ("processor", costs(&|cost| Some(cost.cpu_seconds))),
                ],
            ),
            lines(
                "memory after a ceremony",
                "ceremony",
                "MiB",
                [("resident", costs(&|cost| cost.resident.map(|bytes| bytes as f64 / MIB)))],
            ),
            lines(
                "from a raid to its pause, and to its block",
                "raid",
                "ms",
                [
                    ("pause", raids(&|pause| pause.pooled_ms)),
                    ("block", raids(&|pause| Some(pause.block_ms))),
                ],
            ),
        ]
    }
}

fn lines<const N: usize>(
    caption: &'static str,
    over: &'static str,
    unit: &'static str,
    named: [(&str, Vec<(u64, f64)>); N],
) -> Lines {
    let line = |(colour, (name, points)): (usize, (&str, _))| Line {
        name: name.to_owned(),
        colour,
        points,
    };
    Lines {
        caption,
        over,
        unit,
        lines: named.into_iter().enumerate().map(line).collect(),
    }
}

/// A line for each role that there is; a role has the same colour in every picture.
fn by_role(rows: &[Row], value: &dyn Fn(&RoleRow) -> Option<f64>) -> Vec<Line> {
    let mut points = BTreeMap::<Role, Vec<(u64, f64)>>::new();
    for row in rows {
        for (role, seen) in &row.roles {
            if let Some(value) = value(seen) {
                points.entry(*role).or_default().push((row.ceremony, value));
            }
        }
    }
    let line = |(colour, role): (usize, Role)| {
        Some(Line {
            name: role.to_string(),
            colour,
            points: points.remove(&role)?,
        })
    };
    Role::ALL.into_iter().enumerate().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Spread;

    fn report() -> Report {
        let row = |ceremony: u64| Row {
            ceremony,
            population: 10 * ceremony,
            supply: 1_000_000_000 * ceremony,
            detection: Some((50_000, 100_000)),
            roles: BTreeMap::from([(
                Role::Honest,
                RoleRow {
                    l99: Some(100_000),
                    incentive: Spread::of(&[600, 700]),
                    ..RoleRow::default()
                },
            )]),
            ..Row::default()
        };
        Report {
            title: "bots <b>&co</b>".to_owned(),
            outcome: Outcome {
                rows: (1..=3).map(row).collect(),
                broken: vec!["ceremony 3: <nothing>".to_owned()],
            },
            costs: Vec::new(),
            pauses: Vec::new(),
        }
    }

    #[test]
    fn a_page_has_its_pictures_and_needs_nothing_else() {
        let page = report().to_html().unwrap();
        assert_eq!(
            page.matches("<svg").count(),
            4,
            "nothing was measured of time and memory"
        );
        assert!(page.contains("<h1>bots &#60;b&#62;&#38;co") && page.contains("ceremony 3: &#60;nothing&#62;"));
        let raced = Report {
            pauses: vec![Pause {
                pooled_ms: Some(80.5),
                block_ms: 1_900.0,
            }],
            ..report()
        };
        assert_eq!(raced.to_html().unwrap().matches("<svg").count(), 5);
        assert!(page.contains("<td>3</td><td>30</td><td>3.0</td>"), "{page}");
        assert!(page.contains("<td>600</td><td>650</td><td>700</td>"), "{page}");
        let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http") && !elsewhere.contains("src=") && !elsewhere.contains("url("));
    }

    #[test]
    fn a_page_of_nothing_is_a_page() {
        let empty = Report {
            outcome: Outcome {
                rows: Vec::new(),
                broken: Vec::new(),
            },
            ..report()
        };
        assert!(!empty.to_html().unwrap().contains("<svg"));
    }
}
