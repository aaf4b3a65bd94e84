//! What the documentation of the score shows: the reward surface as a picture, and what the adversaries earned as a table.
//!
//! `bots scoring docs` makes both anew: the picture from the formula that the validator runs, the tables from the report of
//! `bots adversaries`. What always holds: the same parameters give the same picture, byte for byte.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plotters::coord::Shift;
use plotters::coord::combinators::LogCoord;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use validator::score::{Known, ScoreParameters, Window, confidence, score};

use crate::adversaries::Report;

/// The picture's name, beside the page.
pub const PICTURE: &str = "scoring.svg";
/// The page's name.
pub const PAGE: &str = "scoring.md";

const BEGIN: &str = "<!-- adversaries: begin -->";
const END: &str = "<!-- adversaries: end -->";

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const LINE: RGBColor = RGBColor(0x00, 0x66, 0xcc);
const OTHER: RGBColor = RGBColor(0xcc, 0x55, 0x00);

/// What `bots scoring` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The folder of the documentation, with `scoring.md` in it
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// What `bots adversaries --report` wrote; without it, the tables stay as they are
    #[arg(long, value_name = "FILE")]
    pub adversaries: Option<PathBuf>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ScoringError {
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// The report is none.
    #[error("{}: no report of `bots adversaries`: {reason}", path.display())]
    Report {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: serde_json::Error,
    },
    /// The page has no place for the tables.
    #[error("{}: the lines `{BEGIN}` and `{END}` are not there", .0.display())]
    NoPlace(PathBuf),
    /// The picture cannot be drawn.
    #[error("the picture cannot be drawn: {0}")]
    Picture(String),
}

/// Writes the picture, and the tables when there is a report.
///
/// # Errors
/// [`ScoringError`] names the file.
pub fn write(options: &Options) -> Result<(), ScoringError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |reason| ScoringError::File { path, reason }
    };
    let picture = options.folder.join(PICTURE);
    std::fs::write(&picture, surface(&ScoreParameters::default())?).map_err(file(&picture))?;
    let Some(report) = &options.adversaries else {
        return Ok(());
    };
    let text = std::fs::read(report).map_err(file(report))?;
    let report: Report = serde_json::from_slice(&text).map_err(|reason| ScoringError::Report {
        path: report.clone(),
        reason,
    })?;
    let page = options.folder.join(PAGE);
    let text = std::fs::read_to_string(&page).map_err(file(&page))?;
    let text = with_tables(&text, &report).ok_or_else(|| ScoringError::NoPlace(page.clone()))?;
    std::fs::write(&page, text).map_err(file(&page))
}

/// The page with the report's tables between its two marks; `None` when it has none.
fn with_tables(page: &str, report: &Report) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}{END}{after}", report.render()))
}

/// A miner that answers everything, right so often where something is violated and where nothing is.
fn miner(found: f64, held: f64, l99: Duration, asked: u64) -> Window {
    let of = |share: f64, whole: u64| (share * whole as f64).round() as u64;
    let (violating, safe) = (1_000, 100_000);
    Window {
        asked: violating + safe,
        answered: violating + safe,
        correct: of(found, violating) + of(held, safe),
        l99: Some(l99),
        violating,
        found: of(found, violating),
        known: Known {
            asked,
            violating: asked.min(violating),
            found: of(found, asked.min(violating)),
        },
    }
}

fn worth(window: &Window, parameters: &ScoreParameters) -> f64 {
    score(window, parameters).unwrap_or(0.0)
}

/// Three views of the score under `parameters`, as SVG: over both kinds of rightness, over the latency, and over the time since the
/// miner arrived.
///
/// # Errors
/// Never in practice: drawing goes to memory.
pub fn surface(parameters: &ScoreParameters) -> Result<String, ScoringError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (1_080, 360)).into_drawing_area();
        let drawn = area.fill(&WHITE).map_err(|error| error.to_string()).and_then(|()| {
            let parts = area.split_evenly((1, 3));
            let [rightness, latency, arrival] = &parts[..] else {
                return Err("the picture has three parts".to_owned());
            };
            draw_rightness(rightness, parameters).map_err(|error| error.to_string())?;
            draw_latency(latency, parameters).map_err(|error| error.to_string())?;
            draw_arrival(arrival, parameters).map_err(|error| error.to_string())?;
            area.present().map_err(|error| error.to_string())
        });
        drawn.map_err(ScoringError::Picture)?;
    }
    svg.push('\n');
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b, X> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, RangedCoordf64>>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The beginning of each view.
fn view<'a, 'b>(area: &'a Area<'b>, caption: &str) -> ChartBuilder<'a, 'a, SVGBackend<'b>> {
    let mut view = ChartBuilder::on(area);
    view.caption(caption, ("sans-serif", 14, &INK))
        .margin(8)
        .margin_right(20)
        .x_label_area_size(40)
        .y_label_area_size(48);
    view
}

/// The axes of a view with curves.
fn axes<X>(chart: &mut Chart<'_, '_, X>, number: &dyn Fn(&f64) -> String, (x, y): (&str, &str)) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(("sans-serif", 11, &INK))
        .x_labels(5)
        .y_labels(6)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(number)
        .draw()?;
    Ok(())
}

/// A curve with its name in the legend.
fn curve<X: Ranged<ValueType = f64>>(
    chart: &mut Chart<'_, '_, X>,
    points: impl Iterator<Item = (f64, f64)>,
    name: String,
    colour: RGBColor,
) -> Drawn {
    chart
        .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
        .label(name)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    Ok(())
}

fn legend<'a, 'b: 'a, X: Ranged>(chart: &mut Chart<'a, 'b, X>, position: SeriesLabelPosition) -> Drawn {
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE)
        .border_style(GRID)
        .label_font(("sans-serif", 11, &INK))
        .draw()?;
    Ok(())
}

/// The share of the best reward, as a colour: white is nothing.
fn shade(share: f64) -> RGBColor {
    let part = |full: f64| (255.0 - (255.0 - full) * share.clamp(0.0, 1.0)).round() as u8;
    RGBColor(part(0.0), part(102.0), part(204.0))
}

fn draw_rightness(area: &Area<'_>, parameters: &ScoreParameters) -> Drawn {
    const CELLS: u32 = 20;
    let l99 = parameters.latency_floor;
    let best = worth(&miner(1.0, 1.0, l99, u64::MAX), parameters);
    let mut chart = view(area, "reward by rightness, share of the best").build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    let at = |step: u32| f64::from(step) / f64::from(CELLS);
    let cells = (0..CELLS).flat_map(|x| (0..CELLS).map(move |y| (x, y)));
    chart.draw_series(cells.map(|(x, y)| {
        let middle = |step: u32| (f64::from(step) + 0.5) / f64::from(CELLS);
        let share = worth(&miner(middle(x), middle(y), l99, u64::MAX), parameters) / best;
        Rectangle::new([(at(x), at(y)), (at(x + 1), at(y + 1))], shade(share).filled())
    }))?;
    for level in [0.1, 0.25, 0.5, 0.75, 0.9] {
        let line = (0..=100).map(|step| f64::from(step) / 100.0).filter_map(|x| {
            // held * found = level^(1/b)
            let y = level_to_accuracy(level, parameters) / x;
            (y <= 1.0).then_some((x, y))
        });
        chart.draw_series(LineSeries::new(line, INK.stroke_width(1)))?;
    }
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(INK)
        .label_style(("sans-serif", 11, &INK))
        .x_labels(5)
        .y_labels(5)
        .x_desc("right where something is violated")
        .y_desc("right elsewhere")
        .draw()?;
    Ok(())
}

/// The accuracy that earns this share of the best reward, all else equal.
fn level_to_accuracy(level: f64, parameters: &ScoreParameters) -> f64 {
    if parameters.accuracy_exponent > 0.0 {
        level.powf(1.0 / parameters.accuracy_exponent)
    } else {
        1.0
    }
}

fn draw_latency(area: &Area<'_>, parameters: &ScoreParameters) -> Drawn {
    let best = worth(&miner(1.0, 1.0, parameters.latency_floor, u64::MAX), parameters);
    let mut chart: Chart<'_, '_, LogCoord<f64>> =
        view(area, "reward by L99, T/L99 bounded").build_cartesian_2d((0.01..12.0).log_scale(), 0.0..best * 1.05)?;
    let seconds = |seconds: &f64| format!("{seconds}");
    axes(
        &mut chart,
        &seconds,
        ("99th percentile of the latency, seconds", "score"),
    )?;
    for (rightness, colour) in [(1.0, LINE), (0.5, OTHER)] {
        let line = (0..=200).map(|step| {
            let seconds = 0.01 * 1_200.0_f64.powf(f64::from(step) / 200.0);
            let window = miner(1.0, rightness, Duration::from_secs_f64(seconds), u64::MAX);
            (seconds, worth(&window, parameters))
        });
        curve(&mut chart, line, format!("accuracy {rightness}"), colour)?;
    }
    legend(&mut chart, SeriesLabelPosition::MiddleRight)
}

fn draw_arrival(area: &Area<'_>, parameters: &ScoreParameters) -> Drawn {
    let full = parameters.probation_challenges.max(1);
    let mut chart: Chart<'_, '_, RangedCoordf64> =
        view(area, "confidence in the newly arrived").build_cartesian_2d(0.0..full as f64 * 2.0, 0.0..1.05)?;
    let words = ("challenges since it arrived", "share of the score that is earned");
    axes(&mut chart, &RangedCoordf64::format, words)?;
    for violating in 0..=parameters.probation_violations {
        let line = (0..=full * 2).map(|asked| {
            let known = Known {
                asked,
                violating,
                found: violating,
            };
            (asked as f64, confidence(&known, parameters))
        });
        let share = violating as f64 / parameters.probation_violations.max(1) as f64;
        let colour = shade(0.35 + 0.65 * share);
        curve(&mut chart, line, format!("asked about {violating} violations"), colour)?;
    }
    legend(&mut chart, SeriesLabelPosition::UpperLeft)
}

/// The parameters as a table in Markdown, with their defaults.
#[must_use]
pub fn parameters() -> String {
    let defaults = ScoreParameters::default();
    let mut text = String::from("| key | default | is |\n|---|---|---|\n");
    let seconds = |time: Duration| humantime::format_duration(time).to_string();
    for (key, default, is) in [
        ("throughput_exponent", defaults.throughput_exponent.to_string(), "a"),
        ("accuracy_exponent", defaults.accuracy_exponent.to_string(), "b"),
        ("latency_exponent", defaults.latency_exponent.to_string(), "g"),
        ("target_latency", seconds(defaults.target_latency), "T"),
        (
            "latency_floor",
            seconds(defaults.latency_floor),
            "the least L99 that is counted",
        ),
        (
            "smoothing",
            defaults.smoothing.to_string(),
            "the newest window's share in the moving average",
        ),
        (
            "probation_challenges",
            defaults.probation_challenges.to_string(),
            "challenges until a new miner earns in full",
        ),
        (
            "probation_violations",
            defaults.probation_violations.to_string(),
            "violations among them",
        ),
    ] {
        let _infallible = writeln!(text, "| `{key}` | {default} | {is} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docs(name: &str) -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
    }

    #[test]
    fn the_picture_in_the_documentation_is_of_the_formula_that_runs() {
        let drawn = surface(&ScoreParameters::default()).unwrap();
        assert!(drawn == docs(PICTURE), "run `bots scoring docs`");
    }

    #[test]
    fn the_page_names_every_parameter_with_its_default() {
        let page = docs(PAGE);
        for line in parameters().lines() {
            assert!(page.contains(line), "`{line}` is not on the page");
        }
    }

    #[test]
    fn the_tables_stand_between_the_marks() {
        let report = Report {
            seed: 1,
            networks: Vec::new(),
        };
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(
            with_tables(&page, &report).unwrap(),
            format!("a\n{BEGIN}\n\n{END}\nb\n")
        );
        assert_eq!(with_tables("nothing", &report), None);
        assert!(docs(PAGE).contains(BEGIN) && docs(PAGE).contains(END));
    }

    #[test]
    fn the_surface_is_highest_where_everything_is_right_and_nothing_where_violations_are_hidden() {
        let parameters = ScoreParameters::default();
        let l99 = parameters.latency_floor;
        let best = worth(&miner(1.0, 1.0, l99, 1_000), &parameters);
        assert!((best - 50.0).abs() < 1e-9);
        assert_eq!(worth(&miner(0.0, 1.0, l99, 1_000), &parameters), 0.0);
        assert_eq!(worth(&miner(1.0, 0.0, l99, 1_000), &parameters), 0.0);
    }
}
