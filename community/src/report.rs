//! A report of a community: JSON for programs, and one page with pictures for people, which needs nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plotters::prelude::*;
use serde::Serialize;

use crate::error::CommunityError;
use crate::role::Role;
use crate::row::{RoleRow, Row};
use crate::simulate::{Cost, Outcome};

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// One for each role, in the order of [`Role::ALL`]; told apart by colour-blind eyes too (Okabe and Ito, with two greys).
const COLOURS: [RGBColor; 9] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x99, 0x99, 0x99),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0x66, 0x66, 0x66),
];
const SIZE: (u32, u32) = (560, 320);
/// Billionths in a unit of the currency.
const UNIT: f64 = 1e9;

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

/// A picture: what it shows, over what, in which unit.
struct Picture {
    caption: &'static str,
    over: &'static str,
    unit: &'static str,
    lines: Vec<Line>,
}

/// A line of a picture.
struct Line {
    name: String,
    colour: RGBColor,
    points: Vec<(u64, f64)>,
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
        let mut page = String::from(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
             <style>body{font:16px/1.5 system-ui,sans-serif;max-width:74rem;margin:2rem auto;padding:0 1rem;color:#222}\
             figure{display:inline-block;margin:0 .5rem 1rem 0}table{border-collapse:collapse;margin:1rem 0}\
             td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}\
             .bad{color:#b00}</style>\n",
        );
        let title = escaped(&self.title);
        let _written = write!(page, "<title>{title}</title></head><body>\n<h1>{title}</h1>\n");
        let Outcome { rows, broken } = &self.outcome;
        match broken.is_empty() {
            true => page.push_str("<p>Everything that must hold held in every ceremony.</p>\n"),
            false => {
                page.push_str("<ul class=\"bad\">\n");
                for what in broken {
                    let _written = writeln!(page, "<li>{}</li>", escaped(what));
                }
                page.push_str("</ul>\n");
            }
        }
        for picture in self.pictures() {
            if picture.lines.iter().any(|line| !line.points.is_empty()) {
                let _written = writeln!(page, "<figure>{}</figure>", draw(&picture)?);
            }
        }
        table(&mut page, rows);
        if let Some(newest) = rows.last() {
            roles(&mut page, newest);
        }
        page.push_str("</body></html>\n");
        Ok(page)
    }

    fn pictures(&self) -> Vec<Picture> {
        let rows = &self.outcome.rows;
        let of = |name: &str, colour: RGBColor, value: &dyn Fn(&Row) -> Option<f64>| Line {
            name: name.to_owned(),
            colour,
            points: rows
                .iter()
                .filter_map(|row| Some((row.ceremony, value(row)?)))
                .collect(),
        };
        let [blue, sky, orange, red, ..] = COLOURS;
        let milliseconds = |micros: u64| micros as f64 / 1e3;
        let incentive = |role: &RoleRow| role.incentive.map(|spread| spread.mean);
        let picture = |caption, unit, lines| Picture {
            caption,
            over: "ceremony",
            unit,
            lines,
        };
        let mut pictures = vec![
            picture(
                "population and supply",
                "",
                vec![
                    of("population", blue, &|row| Some(row.population as f64)),
                    of("attended", sky, &|row| Some(row.attended as f64)),
                    of("supply", orange, &|row| Some(row.supply as f64 / UNIT)),
                ],
            ),
            picture(
                "incentive of a miner, mean of its role",
                "of 65535",
                by_role(rows, &incentive),
            ),
            picture(
                "latency of a miner, 99th percentile, median of its role",
                "ms",
                by_role(rows, &|role| role.l99.map(milliseconds)),
            ),
            picture(
                "from a violation to its finding",
                "ms",
                vec![
                    of("median", blue, &|row| {
                        row.detection.map(|(median, _)| milliseconds(median))
                    }),
                    of("99th percentile", red, &|row| {
                        row.detection.map(|(_, worst)| milliseconds(worst))
                    }),
                ],
            ),
        ];
        let costs = |value: &dyn Fn(&Cost) -> Option<f64>| -> Vec<(u64, f64)> {
            let pairs = rows.iter().zip(&self.costs);
            pairs
                .filter_map(|(row, cost)| Some((row.ceremony, value(cost)?)))
                .collect()
        };
        let line = |name: &str, colour, points| Line {
            name: name.to_owned(),
            colour,
            points,
        };
        let wall = line("wall clock", blue, costs(&|cost| Some(cost.seconds)));
        let cpu = line("processor", sky, costs(&|cost| Some(cost.cpu_seconds)));
        let memory = line(
            "MiB",
            orange,
            costs(&|cost| cost.resident.map(|bytes| bytes as f64 / f64::from(1 << 20))),
        );
        pictures.push(picture("time of a ceremony", "s", vec![wall, cpu]));
        pictures.push(picture("memory after a ceremony", "MiB", vec![memory]));
        let raids = |value: &dyn Fn(&Pause) -> Option<f64>| -> Vec<(u64, f64)> {
            let pairs = (1..).zip(&self.pauses);
            pairs.filter_map(|(raid, pause)| Some((raid, value(pause)?))).collect()
        };
        pictures.push(Picture {
            over: "raid",
            ..picture(
                "from a raid to its pause, and to its block",
                "ms",
                vec![
                    line("pause", blue, raids(&|pause| pause.pooled_ms)),
                    line("block", red, raids(&|pause| Some(pause.block_ms))),
                ],
            )
        });
        pictures
    }
}

fn by_role(rows: &[Row], value: &dyn Fn(&RoleRow) -> Option<f64>) -> Vec<Line> {
    let mut points = BTreeMap::<Role, Vec<(u64, f64)>>::new();
    for row in rows {
        for (role, seen) in &row.roles {
            if let Some(value) = value(seen) {
                points.entry(*role).or_default().push((row.ceremony, value));
            }
        }
    }
    let line = |(role, colour): (Role, RGBColor)| {
        Some(Line {
            name: role.to_string(),
            colour,
            points: points.remove(&role)?,
        })
    };
    Role::ALL.into_iter().zip(COLOURS).filter_map(line).collect()
}

fn draw(picture: &Picture) -> Result<String, CommunityError> {
    let mut svg = String::new();
    draw_into(&mut svg, picture).map_err(|error| CommunityError::Report(error.to_string()))?;
    Ok(svg)
}

fn draw_into(svg: &mut String, picture: &Picture) -> Result<(), Box<dyn std::error::Error>> {
    let Picture {
        caption,
        over,
        unit,
        lines,
    } = picture;
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let all = || lines.iter().flat_map(|line| &line.points);
    let first = all().map(|point| point.0).min().unwrap_or(0);
    let last = all().map(|point| point.0).max().unwrap_or(0);
    // Room for the legend, where no line is.
    let end = last + 1 + (last - first) * 2 / 5;
    let most = all().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(&area)
        .caption(*caption, ("sans-serif", 15, &INK))
        .margin(8)
        .margin_right(16)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(first..end, 0.0..most * 1.05)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(("sans-serif", 11, &INK))
        .x_label_formatter(&|number| {
            if *number > last {
                String::new()
            } else {
                number.to_string()
            }
        })
        .x_labels(10)
        .x_desc(*over)
        .y_desc(*unit)
        .draw()?;
    for line in lines {
        let colour = line.colour;
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)).point_size(2))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11, &INK))
        .draw()?;
    area.present()?;
    Ok(())
}

fn table(page: &mut String, rows: &[Row]) {
    page.push_str(
        "<table><tr><th>ceremony</th><th>population</th><th>supply</th><th>registered</th><th>seated</th><th>of them newbies</th>\
         <th>meetups</th><th>attended</th><th>could not pay</th></tr>\n",
    );
    for row in rows {
        let _written = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{:.1}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            row.ceremony,
            row.population,
            row.supply as f64 / UNIT,
            row.registered.sum(),
            row.seated.sum(),
            row.seated.newbies,
            row.meetups,
            row.attended,
            row.unpaid
        );
    }
    page.push_str("</table>\n");
}

/// The miners of the newest ceremony, by role.
fn roles(page: &mut String, row: &Row) {
    let _written = write!(
        page,
        "<h2>Miners of ceremony {}</h2>\n<table><tr><th>role</th><th>miners</th><th>asked</th><th>answered</th><th>right</th><th>violations</th>\
         <th>found</th><th>attended</th><th>incentive: least</th><th>mean</th><th>most</th></tr>\n",
        row.ceremony
    );
    for (role, seen) in &row.roles {
        let [least, mean, most] = match seen.incentive {
            Some(spread) => [
                spread.least.to_string(),
                spread.mean.to_string(),
                spread.most.to_string(),
            ],
            None => Default::default(),
        };
        let _written = writeln!(
            page,
            "<tr><td>{role}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{least}</td><td>{mean}</td>\
             <td>{most}</td></tr>",
            seen.miners, seen.asked, seen.answered, seen.correct, seen.violating, seen.found, seen.attended
        );
    }
    page.push_str("</table>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
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
        assert!(page.contains("bots &lt;b&gt;&amp;co&lt;/b&gt;") && page.contains("&lt;nothing&gt;"));
        let raced = Report {
            pauses: vec![Pause {
                pooled_ms: Some(80.5),
                block_ms: 1_900.0,
            }],
            ..report()
        };
        assert_eq!(raced.to_html().unwrap().matches("<svg").count(), 5);
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
