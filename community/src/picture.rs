//! Pictures for reports, as SVG: lines over a count (ceremonies, epochs, raids), and bars by name. No font, script or reference in them.
//!
//! The pages of communities and of `bots localnet` draw with these, so that they look alike. What always holds: a picture of nothing is a
//! picture too, and the same values give the same bytes.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::{RangedCoordf64, RangedCoordu64};
use plotters::prelude::*;

const SIZE: (u32, u32) = (560, 320);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Told apart by colour-blind eyes too (Okabe and Ito, with two greys).
const COLOURS: [RGBColor; 9] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0x99, 0x99, 0x99),
    RGBColor(0x66, 0x66, 0x66),
];
/// Width of the place for lines, of a legend without its names, and of a letter, in pixels.
const WIDTH: u64 = 470;
const LEGEND: u64 = 45;
const LETTER: u64 = 6;
/// For names that are longer the legend covers a part of the lines.
const LETTERS: u64 = 30;
/// How much of its place a group of bars fills.
const FILLED: f64 = 0.8;
/// Height of a picture with bars, in highest bars: room for the legend, where no bar is.
const ABOVE_BARS: f64 = 1.45;

/// A picture that could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a picture cannot be drawn: {0}")]
pub struct PictureError(String);

/// A picture with lines over whole numbers.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// What it shows.
    pub caption: &'static str,
    /// Over what.
    pub over: &'static str,
    /// In which unit.
    pub unit: &'static str,
    /// The lines.
    pub lines: Vec<Line>,
}

/// A line of a picture.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// What it is of.
    pub name: String,
    /// Number of its colour; beyond the last one they begin anew.
    pub colour: usize,
    /// Where it goes through, from left to right.
    pub points: Vec<(u64, f64)>,
}

/// A picture with bars: groups that have a name, and in each one bar of every series; none where nothing was measured.
#[derive(Debug, Clone, Default)]
pub struct Bars {
    /// What it shows.
    pub caption: &'static str,
    /// In which unit.
    pub unit: &'static str,
    /// What the bars of a group are.
    pub series: Vec<&'static str>,
    /// The groups.
    pub groups: Vec<(String, Vec<Option<f64>>)>,
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, X> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, RangedCoordf64>>;
type Drawn<T = ()> = Result<T, Box<dyn Error>>;

impl Lines {
    /// Whether there is nothing to see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.points.is_empty())
    }

    /// As SVG.
    ///
    /// # Errors
    /// Never in practice: drawing goes to memory.
    pub fn draw(&self) -> Result<String, PictureError> {
        svg(|canvas| self.draw_on(canvas))
    }

    fn draw_on(&self, canvas: &Canvas<'_>) -> Drawn {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let first = all().map(|point| point.0).min().unwrap_or(0);
        let last = all().map(|point| point.0).max().unwrap_or(0);
        // Room for the legend, where no line is.
        let longest = self.lines.iter().map(|line| line.name.chars().count() as u64).max();
        let legend_width = LEGEND + LETTER * longest.unwrap_or(0).min(LETTERS);
        let end = last + 1 + (last - first) * legend_width / (WIDTH - legend_width);
        let most = all().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
        let mut chart: Chart<'_, '_, RangedCoordu64> =
            frame(canvas, self.caption).build_cartesian_2d(first..end, 0.0..most * 1.05)?;
        let number = |number: &u64| {
            if *number > last {
                String::new()
            } else {
                number.to_string()
            }
        };
        axes(&mut chart, 10, &number, (self.over, self.unit))?;
        for line in &self.lines {
            let colour = colour(line.colour);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)).point_size(2))?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
        }
        legend(&mut chart)
    }
}

impl Bars {
    /// As SVG.
    ///
    /// # Errors
    /// Never in practice: drawing goes to memory.
    pub fn draw(&self) -> Result<String, PictureError> {
        svg(|canvas| self.draw_on(canvas))
    }

    fn draw_on(&self, canvas: &Canvas<'_>) -> Drawn {
        let all = self.groups.iter().flat_map(|(_, bars)| bars.iter().flatten().copied());
        let most = all.fold(f64::MIN_POSITIVE, f64::max);
        let count = self.groups.len().max(1);
        let across: Range<f64> = 0.0..count as f64;
        let mut chart: Chart<'_, '_, RangedCoordf64> =
            frame(canvas, self.caption).build_cartesian_2d(across, 0.0..most * ABOVE_BARS)?;
        // Each group has its name below its middle, and between two of them stands nothing.
        let name = |place: &f64| {
            let index = place.floor();
            let middle = (place - index - 0.5).abs() < 0.26;
            let group = self.groups.get(index.max(0.0) as usize).filter(|_| middle);
            group.map_or_else(String::new, |(name, _)| name.clone())
        };
        axes(&mut chart, 2 * count + 1, &name, ("", self.unit))?;
        let width = FILLED / self.series.len().max(1) as f64;
        for (number, series) in self.series.iter().enumerate() {
            let colour = colour(number);
            let bar = |(group, (_, bars)): (usize, &(String, Vec<Option<f64>>))| {
                let value = bars.get(number).copied().flatten()?;
                let left = group as f64 + (1.0 - FILLED) / 2.0 + width * number as f64;
                Some(Rectangle::new([(left, 0.0), (left + width, value)], colour.filled()))
            };
            chart
                .draw_series(self.groups.iter().enumerate().filter_map(bar))?
                .label(*series)
                .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour.filled()));
        }
        legend(&mut chart)
    }
}

fn colour(number: usize) -> RGBColor {
    COLOURS
        .iter()
        .cycle()
        .nth(number % COLOURS.len())
        .copied()
        .unwrap_or(INK)
}

/// What `draw` draws on a white ground.
fn svg(draw: impl FnOnce(&Canvas<'_>) -> Drawn) -> Result<String, PictureError> {
    let mut svg = String::new();
    let drawn = || {
        let canvas = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        canvas.fill(&WHITE)?;
        draw(&canvas)?;
        Ok(canvas.present()?)
    };
    let drawn: Drawn = drawn();
    drawn.map_err(|error| PictureError(error.to_string()))?;
    Ok(svg)
}

fn frame<'a, 'b>(canvas: &'a Canvas<'b>, caption: &str) -> ChartBuilder<'a, 'a, SVGBackend<'b>> {
    let mut frame = ChartBuilder::on(canvas);
    frame
        .caption(caption, ("sans-serif", 15, &INK))
        .margin(8)
        .margin_right(16)
        .x_label_area_size(36)
        .y_label_area_size(64);
    frame
}

fn axes<X>(
    chart: &mut Chart<'_, '_, X>,
    labels: usize,
    label: &dyn Fn(&X::ValueType) -> String,
    (over, unit): (&str, &str),
) -> Drawn
where
    X: Ranged + ValueFormatter<X::ValueType>,
{
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(("sans-serif", 11, &INK))
        .x_labels(labels)
        .x_label_formatter(label)
        .x_desc(over)
        .y_desc(unit)
        .draw()?;
    Ok(())
}

fn legend<'a, 'b: 'a, X: Ranged>(chart: &mut Chart<'a, 'b, X>) -> Drawn {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11, &INK))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_was_measured_is_a_bar() {
        let picture = Bars {
            caption: "latency",
            unit: "ms",
            series: vec!["p50", "p99"],
            groups: vec![
                ("one".to_owned(), vec![Some(1.0), Some(2.0)]),
                ("two".to_owned(), vec![Some(3.0), None]),
            ],
        };
        let svg = picture.draw().unwrap();
        let of = |colour: &str| svg.matches(&format!("fill=\"{colour}\"")).count();
        // Each series has a bar more, in the legend.
        assert_eq!((of("#0072B2"), of("#D55E00")), (3, 2), "{svg}");
        assert!(svg.contains("one") && svg.contains("two"), "{svg}");
    }

    #[test]
    fn every_line_has_its_colour_and_its_name() {
        let line = |name: &str, colour| Line {
            name: name.to_owned(),
            colour,
            points: vec![(1, 2.0), (2, 3.0)],
        };
        let picture = Lines {
            caption: "growth",
            over: "epoch",
            unit: "neurons",
            lines: vec![line("population", 0), line("attended", 10)],
        };
        let svg = picture.draw().unwrap();
        let of = |colour: &str| {
            svg.matches(&format!("<polyline fill=\"none\" opacity=\"1\" stroke=\"{colour}\""))
                .count()
        };
        // Each has a line more, in the legend.
        assert_eq!((of("#0072B2"), of("#D55E00")), (2, 2), "{svg}");
        for word in ["growth", "epoch", "neurons", "population", "attended"] {
            assert!(svg.contains(word), "{word}: {svg}");
        }
    }

    #[test]
    fn nothing_is_a_picture_too() {
        assert!(Lines::default().is_empty());
        assert!(Bars::default().draw().unwrap().starts_with("<svg"));
        assert!(Lines::default().draw().unwrap().starts_with("<svg"));
    }
}
