//! `audit history`: what stands in the database, as a table, CSV, a picture or a page. Needs no node.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::Table;
use eyre::eyre;
use node::clock::date;
use node::exit::{Code, Failure, OrConfiguration as _};

use crate::config::Config;
use crate::duty::measure::name;
use crate::picture;
use crate::rule::measure::NO_LATENCY;
use crate::rule::measure::Outcome;
use crate::store::{Bounty, Report, Sample, Store};

/// Rows of reports and bounties that are shown at most.
const ROWS: u32 = 10_000;

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A summary for people
    Table,
    /// Every row, for other programs
    Csv,
    /// Uptime and latency of each peer, as a picture
    Svg,
    /// The picture and the tables, as a page
    Html,
}

/// Which rows a CSV file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Rows {
    /// What was measured
    Samples,
    /// What was reported
    Reports,
    /// What was earned
    Bounties,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// Samples, by peer and time.
    pub samples: Vec<Sample>,
    /// Verdicts, the newest first.
    pub reports: Vec<Report>,
    /// Bounties, the newest first.
    pub bounties: Vec<Bounty>,
}

/// Title, header and rows of a table.
pub type Section = (&'static str, Vec<&'static str>, Vec<Vec<String>>);

/// One peer, summed up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Samples by outcome: up, down, unknown.
    pub counts: (u64, u64, u64),
    /// Latencies in microseconds, sorted.
    pub latencies: Vec<u32>,
    /// Why it was down the last time, and when.
    pub last_failure: Option<(u64, String)>,
}

impl Summary {
    /// The known part in which it was up, 0 to 1; `None`: nothing is known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub fn uptime(&self) -> Option<f64> {
        let known = self.counts.0 + self.counts.1;
        (known > 0).then(|| self.counts.0 as f64 / known as f64)
    }

    /// A percentile of the latencies; `None` when there are none.
    #[must_use]
    pub fn latency(&self, percent: usize) -> Option<u32> {
        let last = self.latencies.len().checked_sub(1)?;
        self.latencies.get(last * percent.min(100) / 100).copied()
    }
}

/// Each peer, summed up.
#[must_use]
pub fn summaries(samples: &[Sample]) -> BTreeMap<u32, Summary> {
    let mut all: BTreeMap<u32, Summary> = BTreeMap::new();
    for sample in samples {
        let summary = all.entry(sample.subject).or_default();
        match sample.row.outcome {
            Outcome::Up => summary.counts.0 += 1,
            Outcome::Down => {
                summary.counts.1 += 1;
                summary.last_failure = Some((sample.row.at, format!("{}: {}", sample.step, sample.reason)));
            }
            Outcome::Unknown => summary.counts.2 += 1,
        }
        summary.latencies.extend(sample.row.latency);
    }
    for summary in all.values_mut() {
        summary.latencies.sort_unstable();
    }
    all
}

impl History {
    /// Reads it: of one peer or all, the last `since` of the chain's time before the newest sample.
    ///
    /// # Errors
    /// Exit code 2 without a database, 1 with an empty one.
    pub async fn read(config: &Config, peer: Option<u32>, since: Option<Duration>) -> Result<Self, Failure> {
        let place = config.place();
        if let Some(file) = place.file()
            && !file.exists()
        {
            return Err(Failure::configuration(eyre!(
                "there is no database {}; give --data or --database of the node that ran",
                file.display()
            )));
        }
        let store = Store::open(place).await.or_configuration()?;
        let mut samples = store.samples(peer, 0, u64::MAX).await?;
        if let Some(since) = since {
            let newest = samples.iter().map(|sample| sample.row.at).max().unwrap_or_default();
            let from = newest.saturating_sub(since.as_secs());
            samples.retain(|sample| sample.row.at >= from);
        }
        let mut reports = store.reports(ROWS).await?;
        reports.retain(|report| peer.is_none_or(|peer| report.subject == peer));
        let bounties = store.bounties(ROWS).await?;
        store.close().await;
        if samples.is_empty() && reports.is_empty() && bounties.is_empty() {
            return Err(Failure::new(Code::Negative, eyre!("nothing is recorded yet")));
        }
        Ok(Self {
            samples,
            reports,
            bounties,
        })
    }

    /// As text in a format.
    ///
    /// # Errors
    /// When a picture cannot be drawn.
    pub fn render(&self, format: Format, rows: Rows) -> Result<String, Failure> {
        let drawn = |error: Box<dyn std::error::Error>| Failure::from(eyre!("the picture cannot be drawn: {error}"));
        match format {
            Format::Table => Ok(self.tables()),
            Format::Csv => Ok(match rows {
                Rows::Samples => samples_csv(&self.samples),
                Rows::Reports => reports_csv(&self.reports),
                Rows::Bounties => bounties_csv(&self.bounties),
            }),
            Format::Svg => picture::draw(&self.samples).map_err(drawn),
            Format::Html => picture::page(self).map_err(drawn),
        }
    }

    /// For people.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for (title, header, rows) in self.sections() {
            if rows.is_empty() {
                continue;
            }
            let mut table = Table::new();
            table.set_header(header);
            table.add_rows(rows);
            let _infallible = writeln!(text, "{title}\n{table}");
        }
        text.trim_end().to_owned()
    }

    /// Each table.
    #[must_use]
    pub fn sections(&self) -> Vec<Section> {
        let latency = |us: Option<u32>| {
            us.filter(|us| *us != NO_LATENCY)
                .map_or_else(|| "-".to_owned(), |us| us.to_string())
        };
        let peers = summaries(&self.samples).into_iter().map(|(peer, summary)| {
            let (up, down, unknown) = summary.counts;
            vec![
                peer.to_string(),
                (up + down + unknown).to_string(),
                summary
                    .uptime()
                    .map_or_else(|| "-".to_owned(), |share| format!("{:.3} %", share * 100.0)),
                down.to_string(),
                unknown.to_string(),
                latency(summary.latency(50)),
                latency(summary.latency(99)),
                summary
                    .last_failure
                    .map_or_else(String::new, |(at, reason)| format!("{} {reason}", date(at))),
            ]
        });
        let reports = self.reports.iter().map(|report| {
            vec![
                report.subject.to_string(),
                report.epoch.to_string(),
                report.failed.to_string(),
                report.known.to_string(),
                latency(Some(report.latency_us)),
                report.state.name().to_owned(),
                report.tx_hash.clone(),
                report.reason.clone(),
            ]
        });
        let bounties = self.bounties.iter().map(|bounty| {
            vec![
                bounty.epoch.to_string(),
                date(bounty.at),
                bounty.amount.to_string(),
                bounty.downtime.to_string(),
                bounty.latency_us.to_string(),
                bounty.tx_hash.clone(),
            ]
        });
        vec![
            (
                "peers",
                vec![
                    "peer",
                    "samples",
                    "uptime",
                    "down",
                    "unknown",
                    "p50 us",
                    "p99 us",
                    "last failure",
                ],
                peers.collect(),
            ),
            (
                "reports",
                vec![
                    "peer",
                    "epoch",
                    "failed",
                    "known",
                    "latency us",
                    "state",
                    "transaction",
                    "reason",
                ],
                reports.collect(),
            ),
            (
                "bounties",
                vec![
                    "epoch",
                    "paid at",
                    "base units",
                    "downtime",
                    "latency us",
                    "transaction",
                ],
                bounties.collect(),
            ),
        ]
    }
}

/// A field of a CSV file (RFC 4180). What a spreadsheet would take for a formula is text: a peer may have written it.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

fn samples_csv(samples: &[Sample]) -> String {
    let mut text = String::from("peer,chain_time,wall_ms,outcome,latency_us,step,reason\n");
    for Sample {
        subject,
        row,
        wall_ms,
        step,
        reason,
    } in samples
    {
        let latency = row.latency.map_or_else(String::new, |us| us.to_string());
        let (outcome, step, reason) = (name(row.outcome), field(step), field(reason));
        let _infallible = writeln!(
            text,
            "{subject},{},{wall_ms},{outcome},{latency},{step},{reason}",
            row.at
        );
    }
    text
}

fn reports_csv(reports: &[Report]) -> String {
    let mut text = String::from("peer,epoch,failed,known,latency_us,state,transaction,block,reason\n");
    for report in reports {
        let latency = if report.latency_us == NO_LATENCY {
            String::new()
        } else {
            report.latency_us.to_string()
        };
        let _infallible = writeln!(
            text,
            "{},{},{},{},{latency},{},{},{},{}",
            report.subject,
            report.epoch,
            report.failed,
            report.known,
            report.state.name(),
            report.tx_hash,
            report.block,
            field(&report.reason)
        );
    }
    text
}

fn bounties_csv(bounties: &[Bounty]) -> String {
    let mut text = String::from("epoch,chain_time,base_units,downtime,latency_us,transaction,block\n");
    for bounty in bounties {
        let _infallible = writeln!(
            text,
            "{},{},{},{},{},{},{}",
            bounty.epoch, bounty.at, bounty.amount, bounty.downtime, bounty.latency_us, bounty.tx_hash, bounty.block
        );
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rule::measure::Row;

    pub(crate) fn sample(subject: u32, at: u64, outcome: Outcome, latency: Option<u32>) -> Sample {
        let down = outcome == Outcome::Down;
        Sample {
            subject,
            row: Row { at, outcome, latency },
            wall_ms: at * 1_000,
            step: if down { "health".to_owned() } else { String::new() },
            reason: if down { "<b>=1,\"no\"".to_owned() } else { String::new() },
        }
    }

    #[test]
    fn a_peer_is_summed_up_by_what_is_known() {
        let samples = [
            sample(7, 1, Outcome::Up, Some(100)),
            sample(7, 2, Outcome::Up, Some(300)),
            sample(7, 3, Outcome::Down, None),
            sample(7, 4, Outcome::Unknown, None),
            sample(9, 4, Outcome::Unknown, None),
        ];
        let all = summaries(&samples);
        let seven = &all[&7];
        assert_eq!(seven.counts, (2, 1, 1));
        assert!((seven.uptime().unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(
            (seven.latency(50), seven.latency(99), seven.latency(100)),
            (Some(100), Some(100), Some(300))
        );
        assert_eq!(seven.last_failure.as_ref().unwrap().0, 3);
        assert_eq!((all[&9].uptime(), all[&9].latency(50)), (None, None));
    }

    #[test]
    fn a_field_is_text_whatever_a_peer_wrote() {
        assert_eq!(field("a"), "a");
        assert_eq!(field("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(field("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
        let text = samples_csv(&[sample(7, 1, Outcome::Down, None)]);
        assert_eq!(
            text.lines().nth(1).unwrap(),
            "7,1,1000,down,,health,\"<b>=1,\"\"no\"\"\""
        );
    }
}
