//! Pictures for the page: SVG without fonts, scripts or references. Their colours are names that the page's CSS replaces.

use std::error::Error;

use plotters::prelude::*;

use super::worker::Latency;

const SIZE: (u32, u32) = (760, 240);
/// Points drawn; more are put together.
const POINTS: usize = 1000;

/// What the page's CSS knows the colours by.
const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
const GRID: RGBColor = RGBColor(0xcc, 0xcc, 0xcc);
const LINE: RGBColor = RGBColor(0x00, 0x66, 0xcc);
const BOUND: RGBColor = RGBColor(0xcc, 0x00, 0x00);

type Drawn = Result<String, Box<dyn Error>>;

/// Least margin of each block; a red line where it would break.
#[expect(clippy::cast_precision_loss, reason = "block numbers on an axis")]
pub(super) fn margins(points: &[(u64, f64)]) -> Drawn {
    let points = thinned(points);
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else {
        return Ok(String::new());
    };
    let (from, to) = (*first as f64, *last as f64);
    let beside = ((to - from) * 0.02).max(1.0);
    let least = points.iter().map(|(_, margin)| *margin).fold(0.0, f64::min);
    let most = points.iter().map(|(_, margin)| *margin).fold(0.0, f64::max);
    let above = if most > least { (most - least) * 0.08 } else { 1.0 };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(28)
            .y_label_area_size(84)
            .build_cartesian_2d((from - beside)..(to + beside), (least - above)..(most + above))?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(("sans-serif", 12, &INK))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|block| whole(*block))
            .y_label_formatter(&|margin| number(*margin))
            .draw()?;
        chart.draw_series(LineSeries::new(
            [(from - beside, 0.0), (to + beside, 0.0)],
            BOUND.stroke_width(1),
        ))?;
        let series = || points.iter().map(|(block, margin)| (*block as f64, *margin));
        chart.draw_series(LineSeries::new(series(), LINE.stroke_width(1)))?;
        chart.draw_series(series().map(|(block, margin)| {
            let colour = if margin < 0.0 { BOUND } else { LINE };
            Circle::new((block, margin), 3, colour.filled())
        }))?;
        area.present()?;
    }
    Ok(inline(&svg))
}

/// Time against share of the transactions, drawn towards the slowest.
pub(super) fn latency(latency: &Latency) -> Drawn {
    if latency.count() == 0 {
        return Ok(String::new());
    }
    // 0 is none, 1 is 90 %, 2 is 99 %, ..: as far as the number of transactions says anything.
    #[expect(clippy::cast_precision_loss, reason = "an axis")]
    let nines = (latency.count() as f64).log10().clamp(1.0, 5.0);
    let steps = 200_u32;
    let points: Vec<(f64, f64)> = (0..=steps)
        .map(|step| {
            let x = nines * f64::from(step) / f64::from(steps);
            (x, latency.quantile(1.0 - 10_f64.powf(-x)).max(0.001))
        })
        .collect();
    let least = points.iter().map(|(_, us)| *us).fold(f64::INFINITY, f64::min);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(28)
            .y_label_area_size(84)
            .build_cartesian_2d(0.0..nines, ((least * 0.8)..(latency.max() * 1.25)).log_scale())?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(("sans-serif", 12, &INK))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|nines| share(*nines))
            .y_label_formatter(&|us| format!("{} \u{b5}s", number(*us)))
            .draw()?;
        chart.draw_series(LineSeries::new(points, LINE.stroke_width(2)))?;
        area.present()?;
    }
    Ok(inline(&svg))
}

/// Between two blocks there is nothing to write.
fn whole(block: f64) -> String {
    if (block - block.round()).abs() < 1e-6 {
        format!("{block:.0}")
    } else {
        String::new()
    }
}

fn share(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-nines));
    let decimals = if nines < 2.0 {
        0
    } else {
        1 + usize::from(nines > 3.0) + usize::from(nines > 4.0)
    };
    format!("{percent:.decimals$}%")
}

/// A number of any size in few characters.
fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if (0.01..1e6).contains(&size) {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.1e}")
    }
}

/// At most [`POINTS`]: of neighbours the least, at the block where it was.
fn thinned(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let together = points.len().div_ceil(POINTS).max(1);
    let least = |some: &[(u64, f64)]| some.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(together).filter_map(least).collect()
}

/// Inside a page an SVG needs no namespace, and fits its column.
fn inline(svg: &str) -> String {
    let (width, height) = SIZE;
    svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1).replacen(
        &format!("width=\"{width}\" height=\"{height}\" "),
        "",
        1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_blocks_become_a_thousand_points_and_the_worst_is_among_them() {
        let points: Vec<(u64, f64)> = (0..30_000)
            .map(|block| (block, if block == 17_123 { -5.0 } else { 3.0 }))
            .collect();
        let thinned = thinned(&points);
        assert!(thinned.len() <= POINTS);
        assert!(thinned.contains(&(17_123, -5.0)));
    }

    #[test]
    fn one_block_and_numbers_of_any_size_can_be_drawn() {
        for points in [
            vec![(5, 0.0)],
            vec![(5, 1e150), (6, -1e150)],
            vec![(u64::MAX - 1, 1.0), (u64::MAX, 2.0)],
        ] {
            let svg = margins(&points).unwrap();
            assert!(
                svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && !svg.contains("http"),
                "{svg}"
            );
        }
        assert_eq!(margins(&[]).unwrap(), "");
    }

    #[test]
    fn labels_are_short() {
        assert_eq!((whole(22.0), whole(22.5)), ("22".to_owned(), String::new()));
        assert_eq!(
            (number(0.0), number(-1234.5), number(3e20)),
            ("0".into(), "-1234.5".into(), "3.0e20".into())
        );
        assert_eq!(
            (share(0.0), share(1.0), share(2.0), share(3.0)),
            ("0%".into(), "90%".into(), "99.0%".into(), "99.9%".into())
        );
    }
}
