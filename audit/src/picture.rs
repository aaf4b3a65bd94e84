//! Uptime and latency of each peer, as SVG, and a page around it. No font, script or reference in it.

use std::error::Error;
use std::fmt::Write as _;

use defence::escape::{Format, escape};
use node::clock::date;
use plotters::prelude::*;

use crate::history::History;
use crate::rule::measure::Outcome;
use crate::store::Sample;

const WIDTH: u32 = 960;
/// Height of one peer's strip, pixels.
const STRIP: u32 = 150;
/// Points of a peer that are drawn; more are put together.
const POINTS: usize = 800;
/// Peers that are drawn.
const PEERS: usize = 100;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const LINE: RGBColor = RGBColor(0x00, 0x66, 0xcc);
const UP: RGBColor = RGBColor(0x2e, 0x9e, 0x5b);
const DOWN: RGBColor = RGBColor(0xcc, 0x33, 0x33);
const UNKNOWN: RGBColor = RGBColor(0xaa, 0xaa, 0xaa);

type Drawn = Result<String, Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// A time span of a peer: what it was, and its latency where it answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Beginning, Unix seconds of the chain.
    pub from: u64,
    /// End.
    pub to: u64,
    /// The worst of it: down before unknown before up.
    pub outcome: Outcome,
    /// The mean latency, milliseconds.
    pub latency_ms: Option<f64>,
}

/// One peer's samples, in the order of time, as at most `most` spans. A sample stands for the time until the next one, as far as that is not
/// more than twice the usual distance: where nobody measured, there is nothing.
#[must_use]
pub fn spans(samples: &[&Sample], most: usize) -> Vec<Span> {
    let mut distances: Vec<u64> = samples
        .windows(2)
        .filter_map(|pair| match pair {
            [one, next] => Some(next.row.at.saturating_sub(one.row.at)),
            _ => None,
        })
        .collect();
    distances.sort_unstable();
    let usual = distances.get(distances.len() / 2).copied().unwrap_or(300).max(1);
    let together = samples.len().div_ceil(most.max(1)).max(1);
    let starts = samples.iter().step_by(together);
    let following = samples
        .iter()
        .skip(together)
        .step_by(together)
        .map(|sample| Some(sample.row.at));
    starts
        .zip(following.chain(std::iter::once(None)))
        .zip(samples.chunks(together))
        .map(|((first, next), chunk)| {
            let last = chunk.last().map_or(first.row.at, |sample| sample.row.at);
            let end = last.saturating_add(usual.saturating_mul(2));
            let rank = |outcome: Outcome| match outcome {
                Outcome::Up => 0,
                Outcome::Unknown => 1,
                Outcome::Down => 2,
            };
            let worst = chunk
                .iter()
                .map(|sample| sample.row.outcome)
                .max_by_key(|outcome| rank(*outcome));
            let latencies: Vec<f64> = chunk
                .iter()
                .filter_map(|sample| sample.row.latency)
                .map(|us| f64::from(us) / 1e3)
                .collect();
            #[expect(clippy::cast_precision_loss, reason = "a mean")]
            let mean = (!latencies.is_empty()).then(|| latencies.iter().sum::<f64>() / latencies.len() as f64);
            Span {
                from: first.row.at,
                to: next.map_or(last.saturating_add(usual), |next| next.min(end)),
                outcome: worst.unwrap_or(Outcome::Unknown),
                latency_ms: mean,
            }
        })
        .collect()
}

/// The picture.
///
/// # Errors
/// Never in practice: drawing goes to memory.
pub fn draw(samples: &[Sample]) -> Drawn {
    let mut peers: Vec<u32> = samples.iter().map(|sample| sample.subject).collect();
    peers.sort_unstable();
    peers.dedup();
    peers.truncate(PEERS);
    let from = samples.iter().map(|sample| sample.row.at).min().unwrap_or_default();
    let to = samples
        .iter()
        .map(|sample| sample.row.at)
        .max()
        .unwrap_or_default()
        .max(from + 1);
    let mut svg = String::new();
    {
        let strips = u32::try_from(peers.len().max(1))?;
        let area = SVGBackend::with_string(&mut svg, (WIDTH, STRIP * strips)).into_drawing_area();
        area.fill(&WHITE)?;
        for (peer, strip) in peers.iter().zip(area.split_evenly((peers.len().max(1), 1))) {
            let own: Vec<&Sample> = samples.iter().filter(|sample| sample.subject == *peer).collect();
            draw_peer(&strip, *peer, &spans(&own, POINTS), (from, to))?;
        }
        area.present()?;
    }
    svg.push('\n');
    Ok(svg)
}

#[expect(clippy::cast_precision_loss, reason = "seconds on an axis")]
fn draw_peer(area: &Area<'_>, peer: u32, spans: &[Span], (from, to): (u64, u64)) -> Result<(), Box<dyn Error>> {
    let highest = spans
        .iter()
        .filter_map(|span| span.latency_ms)
        .fold(0.0_f64, f64::max)
        .max(0.001);
    let known = spans.iter().filter(|span| span.outcome != Outcome::Unknown).count();
    let up = spans.iter().filter(|span| span.outcome == Outcome::Up).count();
    let share = if known == 0 {
        "-".to_owned()
    } else {
        format!("{:.2} %", up as f64 * 100.0 / known as f64)
    };
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!("peer {peer}: up {share}; latency, ms"),
            ("sans-serif", 13, &INK),
        )
        .margin(6)
        .margin_right(20)
        .x_label_area_size(22)
        .y_label_area_size(60)
        .build_cartesian_2d(from as f64..to as f64, -highest * 0.25..highest * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(("sans-serif", 10, &INK))
        .x_labels(4)
        .y_labels(4)
        .x_label_formatter(&|at| date(whole(*at)))
        .y_label_formatter(&|ms| if *ms < 0.0 { String::new() } else { format!("{ms:.2}") })
        .draw()?;
    chart.draw_series(spans.iter().map(|span| {
        let colour = match span.outcome {
            Outcome::Up => UP,
            Outcome::Down => DOWN,
            Outcome::Unknown => UNKNOWN,
        };
        let corners = [
            (span.from as f64, -highest * 0.22),
            (span.to.min(to) as f64, -highest * 0.08),
        ];
        Rectangle::new(corners, colour.filled())
    }))?;
    // A line only where one answer follows another: over an outage there is none.
    for run in spans.split(|span| span.latency_ms.is_none()) {
        let points = run.iter().filter_map(|span| Some((span.from as f64, span.latency_ms?)));
        chart.draw_series(LineSeries::new(points, LINE.stroke_width(1)))?;
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an axis within the samples' times"
)]
fn whole(at: f64) -> u64 {
    at.max(0.0) as u64
}

/// The picture and the tables.
///
/// # Errors
/// As of [`draw`].
pub fn page(history: &History) -> Drawn {
    let mut body = draw(&history.samples)?;
    for (title, header, rows) in history.sections() {
        let _infallible = write!(body, "<h2>{title}</h2>\n<table><thead><tr>");
        for name in header {
            let _infallible = write!(body, "<th>{name}</th>");
        }
        body.push_str("</tr></thead><tbody>\n");
        for row in rows {
            body.push_str("<tr>");
            for cell in row {
                let _infallible = write!(body, "<td>{}</td>", escape(Format::Html, &cell));
            }
            body.push_str("</tr>\n");
        }
        body.push_str("</tbody></table>\n");
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Audit history</title>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <style>body{{font:14px sans-serif;margin:1em}}svg{{max-width:100%;height:auto}}table{{border-collapse:collapse}}\
         td,th{{border:1px solid #ddd;padding:2px 8px;text-align:left}}</style></head>\n<body><h1>Audit history</h1>\n{body}</body></html>\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::sample;

    #[test]
    fn where_nobody_measured_there_is_nothing() {
        let all = [
            sample(1, 0, Outcome::Up, Some(1_000)),
            sample(1, 300, Outcome::Up, Some(3_000)),
            sample(1, 600, Outcome::Down, None),
            sample(1, 9_000, Outcome::Up, None),
        ];
        let spans = spans(&all.iter().collect::<Vec<_>>(), 100);
        let ends: Vec<(u64, u64)> = spans.iter().map(|span| (span.from, span.to)).collect();
        assert_eq!(ends, [(0, 300), (300, 600), (600, 1_200), (9_000, 9_300)]);
        assert_eq!(spans[0].latency_ms, Some(1.0));
    }

    #[test]
    fn many_samples_become_few_spans_and_an_outage_stays_seen() {
        let all: Vec<Sample> = (0..10_000)
            .map(|n| {
                sample(
                    1,
                    n * 300,
                    if n == 5_003 { Outcome::Down } else { Outcome::Up },
                    Some(10),
                )
            })
            .collect();
        let spans = spans(&all.iter().collect::<Vec<_>>(), 100);
        assert_eq!(spans.len(), 100);
        assert_eq!(spans.iter().filter(|span| span.outcome == Outcome::Down).count(), 1);
    }

    #[test]
    fn a_page_shows_what_a_peer_said_as_text() {
        let history = History {
            samples: vec![
                sample(7, 0, Outcome::Up, Some(500)),
                sample(7, 300, Outcome::Down, None),
                sample(8, 300, Outcome::Unknown, None),
            ],
            ..History::default()
        };
        let page = page(&history).unwrap();
        assert!(page.contains("<svg") && page.contains("peer 7") && page.contains("peer 8"));
        assert!(page.contains("&lt;b&gt;=1") && !page.contains("<b>"));
        assert!(!page.contains("<script") && !page.contains("href="));
    }

    #[test]
    fn one_sample_and_none_are_drawn_too() {
        assert!(draw(&[]).unwrap().contains("<svg"));
        assert!(draw(&[sample(1, 5, Outcome::Down, None)]).unwrap().contains("peer 1"));
    }
}
