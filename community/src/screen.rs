//! A community alive on the terminal: population, attendance, and what each role earns, ceremony by ceremony.
//!
//! The picture is a function of the rows ([`draw`]), so that it can be tested without a terminal; [`Screen`] puts it there, and gives
//! the terminal back as it was.

use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::Stylize;
use ratatui::text::Line;
use ratatui::widgets::{Bar, BarChart, BarGroup, Block, Cell, Row as Cells, Sparkline, Table};

use crate::book::Book;
use crate::error::CommunityError;
use crate::row::Row;
use crate::simulate::Cost;

/// Billionths in a unit of the currency.
const UNIT: u64 = 1_000_000_000;

/// A terminal that shows a community.
#[derive(Debug)]
pub struct Screen {
    terminal: ratatui::DefaultTerminal,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Standard output is none.
    pub fn open() -> Result<Self, CommunityError> {
        let terminal = ratatui::try_init().map_err(|error| CommunityError::Terminal(error.to_string()))?;
        Ok(Self { terminal })
    }

    /// Shows the community after its newest ceremony.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, book: &Book, rows: &[Row], cost: &Cost) -> Result<(), CommunityError> {
        let drawn = self.terminal.draw(|frame| draw(frame, &book.spec.name, rows, cost));
        drawn
            .map(drop)
            .map_err(|error| CommunityError::Terminal(error.to_string()))
    }

    /// Whether somebody has pressed `q` or Ctrl-C: a terminal that is taken sends no signal.
    pub fn is_left(&self) -> bool {
        let mut left = false;
        while event::poll(Duration::ZERO).unwrap_or(false) {
            if let Ok(Event::Key(key)) = event::read() {
                let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                left |= key.code == KeyCode::Char('q') || interrupted;
            }
        }
        left
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Draws a community after its newest ceremony.
pub fn draw(frame: &mut Frame<'_>, name: &str, rows: &[Row], cost: &Cost) {
    let Some(newest) = rows.last() else {
        return;
    };
    let [head, growth, bars, table] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(8),
        Constraint::Min(8),
        Constraint::Length(11),
    ])
    .areas(frame.area());
    let memory = cost
        .resident
        .map_or_else(String::new, |bytes| format!(", {} MiB", bytes >> 20));
    let line = format!(
        " {name}  ceremony {}  {} accounts  {} attended  supply {}  {:.2} s{memory}  (q ends)",
        newest.ceremony,
        newest.population,
        newest.attended,
        newest.supply / UNIT,
        cost.seconds
    );
    frame.render_widget(Line::from(line).bold(), head);

    let [population, attended] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(growth);
    for (title, area, of) in [
        (
            "population",
            population,
            (|row: &Row| row.population) as fn(&Row) -> u64,
        ),
        ("attended", attended, |row: &Row| row.attended),
    ] {
        let width = usize::from(area.width.saturating_sub(2));
        let values: Vec<u64> = rows.iter().skip(rows.len().saturating_sub(width)).map(of).collect();
        frame.render_widget(
            Sparkline::default().data(values).block(Block::bordered().title(title)),
            area,
        );
    }

    let incentives: Vec<Bar<'_>> = newest
        .roles
        .iter()
        .filter_map(|(role, seen)| {
            // At most 65535.
            let mean = seen.incentive?.mean.round() as u64;
            Some(Bar::default().value(mean).label(Line::from(role.name())))
        })
        .collect();
    let chart = BarChart::default()
        .block(Block::bordered().title("incentive of a miner, mean of its role"))
        .bar_width(11)
        .bar_gap(1)
        .data(BarGroup::default().bars(&incentives));
    frame.render_widget(chart, bars);

    let header = ["role", "miners", "right", "found", "L99 ms", "attended"].map(|text| Cell::from(text).bold());
    let cells = newest.roles.iter().map(|(role, seen)| {
        Cells::new([
            role.to_string(),
            seen.miners.to_string(),
            format!("{}/{}", seen.correct, seen.asked),
            format!("{}/{}", seen.found, seen.violating),
            seen.l99.map_or_else(String::new, |micros| (micros / 1_000).to_string()),
            seen.attended.to_string(),
        ])
    });
    let widths = [Constraint::Length(11); 6];
    frame.render_widget(Table::new(cells, widths).header(Cells::new(header)), table);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::role::Role;
    use crate::row::{RoleRow, Spread};

    fn shown(width: u16, height: u16, rows: &[Row]) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let cost = Cost {
            seconds: 1.25,
            cpu_seconds: 1.0,
            resident: Some(64 << 20),
        };
        terminal.draw(|frame| draw(frame, "bot-heron", rows, &cost)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_screen_shows_who_earns_what() {
        let seen = RoleRow {
            miners: 60,
            asked: 3_600,
            correct: 3_599,
            l99: Some(101_000),
            incentive: Spread::of(&[880, 882]),
            ..RoleRow::default()
        };
        let row = Row {
            ceremony: 5,
            population: 110,
            attended: 93,
            supply: 400 * UNIT,
            roles: BTreeMap::from([(Role::Honest, seen)]),
            ..Row::default()
        };
        let screen = shown(120, 40, std::slice::from_ref(&row));
        for text in [
            "bot-heron  ceremony 5  110 accounts  93 attended  supply 400  1.25 s, 64 MiB",
            "honest",
            "881",
            "3599/3600",
            "101",
        ] {
            assert!(screen.contains(text), "{text} in\n{screen}");
        }
    }

    #[test]
    fn a_small_terminal_and_no_ceremony_are_no_trouble() {
        shown(5, 3, &[Row::default()]);
        shown(80, 24, &[]);
    }
}
