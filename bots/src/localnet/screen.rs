//! A network alive on the terminal: what it does now, how much of it is judged and how fast, what came of it, and who is up.
//!
//! It takes the last lines of the terminal and leaves those above to what is said, so that nothing which was said is lost when the run
//! ends. The picture is a function of a [`View`] ([`draw`]), so that it can be tested without a terminal.

use std::io::{IsTerminal, Stderr, stderr, stdin, stdout};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, LineGauge, Paragraph, Row, Sparkline, Table, Widget, Wrap};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use super::progress::Standing;

/// Lines of the terminal that it takes.
const HEIGHT: u16 = 13;

/// A process of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alive {
    /// As in `validator-2`.
    pub(crate) name: String,
    /// Where it stands.
    pub(crate) state: State,
}

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, and is not ready yet.
    Starting,
    /// It serves.
    Up,
    /// It has ended.
    Down,
}

/// What there is to be seen.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// What is being done.
    pub(crate) phase: &'a str,
    /// Since the beginning.
    pub(crate) elapsed: Duration,
    /// Where the run stands.
    pub(crate) standing: &'a Standing,
    /// Transactions judged in each second so far.
    pub(crate) rates: &'a [u64],
    /// The processes.
    pub(crate) alive: &'a [Alive],
}

/// The terminal's last lines.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}

impl Screen {
    /// Takes the last lines, where there is a terminal. Keys stay with the shell: Ctrl-C is a signal as ever.
    pub(crate) fn open() -> Option<Self> {
        // The terminal is asked where its cursor stands, by one of them, and answers on another.
        if !(stdin().is_terminal() && stdout().is_terminal() && stderr().is_terminal()) {
            return None;
        }
        let viewport = Viewport::Inline(HEIGHT);
        let terminal = Terminal::with_options(CrosstermBackend::new(stderr()), TerminalOptions { viewport });
        terminal.ok().map(|terminal| Self { terminal })
    }

    // A terminal that is gone is no reason to end a run.

    /// Puts a line above.
    pub(crate) fn say(&mut self, line: &str) {
        let width = self.terminal.size().map_or(80, |size| size.width.max(1));
        let text = Paragraph::new(line).wrap(Wrap { trim: false });
        let height = line.chars().count().div_ceil(usize::from(width)).max(1);
        let height = u16::try_from(height).unwrap_or(u16::MAX);
        let _gone = self
            .terminal
            .insert_before(height, |buffer| text.render(buffer.area, buffer));
    }

    /// Shows this.
    pub(crate) fn show(&mut self, view: &View<'_>) {
        let _gone = self.terminal.draw(|frame| draw(frame, view));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _gone = self.terminal.clear();
        let _gone = self.terminal.show_cursor();
    }
}

/// Draws a view.
pub(crate) fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let standing = view.standing;
    let [head, gauge, middle, alive] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(3),
    ])
    .areas(frame.area());
    let seconds = view.elapsed.as_secs();
    let clock = format!(" {:02}:{:02}  ", seconds / 60, seconds % 60);
    frame.render_widget(Line::from(vec![clock.into(), view.phase.bold()]), head);

    let total = standing.total.unwrap_or(standing.logged);
    let ratio = if total > 0 {
        standing.judged as f64 / total as f64
    } else {
        0.0
    };
    let of = standing.total.map_or_else(|| "?".to_owned(), |total| total.to_string());
    let label = format!(" judged {} of {of}, logged {}", standing.judged, standing.logged);
    let filled = Style::new().fg(Color::Cyan);
    let bar = LineGauge::default()
        .ratio(ratio.min(1.0))
        .label(label)
        .filled_style(filled);
    frame.render_widget(bar, gauge);

    let [rates, counts] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(34)]).areas(middle);
    let title = format!("judged in each second, {:.1} on average", standing.tx_per_s);
    let width = usize::from(rates.width.saturating_sub(2));
    let newest = view.rates.iter().skip(view.rates.len().saturating_sub(width)).copied();
    let sparkline = Sparkline::default().data(newest).style(filled);
    frame.render_widget(sparkline.block(Block::bordered().title(title)), rates);
    frame.render_widget(table(standing), counts);

    let mut spans: Vec<Span<'_>> = Vec::new();
    for one in view.alive {
        let (sign, color) = match one.state {
            State::Up => ("●", Color::Green),
            State::Starting => ("○", Color::Yellow),
            State::Down => ("✕", Color::Red),
        };
        spans.extend([Span::styled(sign, color), format!(" {}  ", one.name).into()]);
    }
    frame.render_widget(Paragraph::new(Line::from(spans)).wrap(Wrap { trim: true }), alive);
}

fn table(standing: &Standing) -> Table<'static> {
    let mut counts = vec![
        ("incidents", standing.incidents.to_string()),
        ("block, epoch", format!("{}, {}", standing.block, standing.epoch)),
    ];
    if let Some(services) = standing.services {
        counts.extend([
            ("pauses by keepers", services.executions.to_string()),
            ("verdicts of auditors", services.verdicts.to_string()),
            ("bounties claimed", services.payouts.to_string()),
            ("billed", format!("{} s", services.billed_s)),
        ]);
    }
    let rows = counts
        .into_iter()
        .map(|(what, count)| Row::new([Cell::from(what), Cell::from(count).bold()]));
    Table::new(rows, [Constraint::Length(20), Constraint::Fill(1)]).block(Block::bordered())
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::localnet::services::Tally;

    fn shown(width: u16, height: u16, view: &View<'_>) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        terminal.backend().to_string()
    }

    fn alive(name: &str, state: State) -> Alive {
        Alive {
            name: name.to_owned(),
            state,
        }
    }

    #[test]
    fn a_screen_shows_how_far_it_is_what_came_of_it_and_who_is_up() {
        let standing = Standing {
            total: Some(40),
            logged: 31,
            judged: 30,
            tx_per_s: 12.34,
            incidents: 2,
            block: 17,
            epoch: 3,
            services: Some(Tally {
                executions: 1,
                verdicts: 6,
                payouts: 4,
                billed_s: 31,
            }),
        };
        let view = View {
            phase: "replaying",
            elapsed: Duration::from_secs(83),
            standing: &standing,
            rates: &[3, 9, 12, 6],
            alive: &[
                alive("platform", State::Up),
                alive("miner-3", State::Down),
                alive("keeper-1", State::Starting),
            ],
        };
        let screen = shown(100, HEIGHT, &view);
        for text in [
            "01:23  replaying",
            "judged 30 of 40, logged 31",
            "judged in each second, 12.3 on average",
            "incidents            2",
            "block, epoch         17, 3",
            "pauses by keepers    1",
            "billed               31 s",
            "● platform  ✕ miner-3  ○ keeper-1",
        ] {
            assert!(screen.contains(text), "{text} in\n{screen}");
        }
    }

    #[test]
    fn a_small_terminal_and_nothing_to_see_are_no_trouble() {
        let nothing = View {
            phase: "",
            elapsed: Duration::ZERO,
            standing: &Standing::default(),
            rates: &[],
            alive: &[],
        };
        for (width, height) in [(1, 1), (5, 3), (80, 24)] {
            shown(width, height, &nothing);
        }
    }
}
