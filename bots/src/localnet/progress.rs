//! What is shown while the network runs: a bar on a terminal, a line now and then elsewhere. All of it goes to standard error.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::services::Tally;

/// Without a terminal, how often a line is written.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// On a terminal, how often the bar is redrawn although nothing changed.
const TICK: Duration = Duration::from_millis(120);

/// Where the run stands.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Standing {
    /// Transactions in the recording, once they are counted.
    pub(crate) total: Option<u64>,
    /// Transactions in the platform's log.
    pub(crate) logged: u64,
    /// Transactions with a report.
    pub(crate) judged: u64,
    /// Judged transactions for each second so far.
    pub(crate) tx_per_s: f64,
    /// Confirmed violations.
    pub(crate) incidents: u64,
    /// Block of the ledger.
    pub(crate) block: u64,
    /// Epochs of the ledger.
    pub(crate) epoch: u64,
    /// What only a living chain has.
    pub(crate) services: Option<Tally>,
}

impl Standing {
    fn counts(&self) -> String {
        let total = self.total.map_or_else(|| "?".to_owned(), |total| total.to_string());
        let services = self.services.map_or_else(String::new, |tally| {
            format!(
                ", pauses {}, verdicts {}, bounties {}, billed {} s",
                tally.executions, tally.verdicts, tally.payouts, tally.billed_s
            )
        });
        format!(
            "logged {}/{total}, judged {}, {:.1} tx/s, incidents {}, block {}, epoch {}{services}",
            self.logged, self.judged, self.tx_per_s, self.incidents, self.block, self.epoch
        )
    }
}

/// The display.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
}

impl Progress {
    /// A bar when standard error is a terminal, lines otherwise.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(1);
            let style = ProgressStyle::with_template("{elapsed_precise} {prefix} [{wide_bar:.cyan/blue}] {msg}");
            bar.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, last_line: None }
    }

    /// Something happened that is worth a line of its own.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => write_line(line),
        }
    }

    /// What is being done now; without a terminal, a line.
    pub(crate) fn phase(&mut self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_prefix(what.to_owned()),
            None => {
                write_line(what);
                self.last_line = None;
            }
        }
    }

    /// Where the run stands now; without a terminal, a line every two seconds.
    pub(crate) fn update(&mut self, standing: &Standing) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(standing.total.unwrap_or(standing.logged));
                bar.set_position(standing.judged);
                bar.set_message(standing.counts());
            }
            None if self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) => {
                write_line(&standing.counts());
                self.last_line = Some(Instant::now());
            }
            None => {}
        }
    }

    /// Clears the display, so that what follows stands alone.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A display that nobody reads any more (a closed pipe) is no reason to end a run.
fn write_line(line: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_one_line_and_an_unknown_total_is_a_question_mark() {
        let mut standing = Standing {
            logged: 3,
            judged: 2,
            tx_per_s: 1.26,
            block: 9,
            ..Standing::default()
        };
        assert_eq!(
            standing.counts(),
            "logged 3/?, judged 2, 1.3 tx/s, incidents 0, block 9, epoch 0"
        );
        standing.total = Some(40);
        assert!(standing.counts().starts_with("logged 3/40,"));
        standing.services = Some(Tally {
            executions: 1,
            verdicts: 6,
            payouts: 2,
            billed_s: 31,
        });
        assert!(
            standing
                .counts()
                .ends_with("epoch 0, pauses 1, verdicts 6, bounties 2, billed 31 s")
        );
    }
}
