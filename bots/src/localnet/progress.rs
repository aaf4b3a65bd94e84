//! What is shown while the network runs: a screen on a terminal, a line now and then elsewhere. All of it goes to standard error.

use std::io::Write;
use std::time::{Duration, Instant};

use super::screen::{Alive, Screen, View};
use super::services::Tally;

/// Without a terminal, how often a line is written.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// Seconds whose rates are kept: more than a terminal is wide.
const RATES: usize = 512;

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
    screen: Option<Screen>,
    last_line: Option<Instant>,
    began: Instant,
    phase: String,
    standing: Standing,
    alive: Vec<Alive>,
    rates: Rates,
}

impl Progress {
    /// A screen where there is a terminal, lines otherwise.
    pub(crate) fn new() -> Self {
        Self {
            screen: Screen::open(),
            last_line: None,
            began: Instant::now(),
            phase: String::new(),
            standing: Standing::default(),
            alive: Vec::new(),
            rates: Rates::default(),
        }
    }

    /// Something happened that is worth a line of its own.
    pub(crate) fn say(&mut self, line: &str) {
        match &mut self.screen {
            Some(screen) => {
                screen.say(line);
                self.redraw();
            }
            None => write_line(line),
        }
    }

    /// What is being done now; without a terminal, a line.
    pub(crate) fn phase(&mut self, what: &str) {
        what.clone_into(&mut self.phase);
        if self.screen.is_none() {
            write_line(what);
            self.last_line = None;
        }
        self.redraw();
    }

    /// Where the run stands now, and who is up; without a terminal, a line every two seconds.
    pub(crate) fn update(&mut self, standing: &Standing, alive: Vec<Alive>) {
        self.rates.note(self.began.elapsed().as_secs(), standing.judged);
        (self.standing, self.alive) = (*standing, alive);
        if self.screen.is_none() && self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            write_line(&standing.counts());
            self.last_line = Some(Instant::now());
        }
        self.redraw();
    }

    fn redraw(&mut self) {
        if let Some(screen) = &mut self.screen {
            screen.show(&View {
                phase: &self.phase,
                elapsed: self.began.elapsed(),
                standing: &self.standing,
                rates: &self.rates.each,
                alive: &self.alive,
            });
        }
    }

    /// Clears the display, so that what follows stands alone.
    pub(crate) fn clear(&mut self) {
        self.screen = None;
    }
}

/// How many were judged in each second.
#[derive(Debug, Default)]
struct Rates {
    each: Vec<u64>,
    /// The second that is not over yet, and how many were judged before it.
    now: (u64, u64),
}

impl Rates {
    /// `judged` so far, in this second of the run.
    fn note(&mut self, second: u64, judged: u64) {
        let (last, before) = self.now;
        let passed = second.saturating_sub(last);
        if passed == 0 {
            return;
        }
        // Of several seconds in which nobody looked, each has its share.
        let each = judged.saturating_sub(before) / passed;
        self.each.extend((0..passed.min(RATES as u64)).map(|_| each));
        self.each.drain(..self.each.len().saturating_sub(RATES));
        self.now = (second, judged);
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

    #[test]
    fn each_second_has_what_was_judged_in_it_and_the_oldest_are_forgotten() {
        let mut rates = Rates::default();
        for (second, judged) in [(0, 3), (1, 5), (1, 6), (2, 9), (5, 21)] {
            rates.note(second, judged);
        }
        assert_eq!(rates.each, [5, 4, 4, 4, 4]);
        rates.note(10_000, 21);
        assert_eq!(rates.each.len(), RATES);
    }
}
