//! The pictures of the report's page, as SVG: bars by name, and lines over epochs. No font, script or reference in them.

use std::error::Error;

use plotters::prelude::*;

const SIZE: (u32, u32) = (560, 300);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Told apart by colour-blind eyes too (Okabe and Ito).
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xe6, 0x9f, 0x00),
];
/// How much of its place a group of bars fills.
const FILLED: f64 = 0.8;

/// A picture with bars: groups that have a name, and in each one bar of every series; none where nothing was measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Bars {
    pub(super) caption: &'static str,
    pub(super) unit: &'static str,
    pub(super) series: Vec<&'static str>,
    pub(super) groups: Vec<(String, Vec<Option<f64>>)>,
}

/// A picture with lines over epochs, each as a share of its last value, so that what is counted differently fits into one.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    pub(super) caption: &'static str,
    pub(super) lines: Vec<(String, Vec<(u64, f64)>)>,
}

type Drawn = Result<String, Box<dyn Error>>;

impl Bars {
    /// As SVG.
    ///
    /// # Errors
    /// Never in practice: drawing goes to memory.
    pub(super) fn draw(&self) -> Drawn {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE)?;
            let all = || self.groups.iter().flat_map(|(_, bars)| bars.iter().flatten().copied());
            let most = all().fold(f64::MIN_POSITIVE, f64::max);
            let count = self.groups.len().max(1);
            let name = |place: &f64| {
                let index = place.floor();
                let middle = (place - index - 0.5).abs() < 0.26;
                let group = self.groups.get(index.max(0.0) as usize).filter(|_| middle);
                group.map_or_else(String::new, |(name, _)| name.clone())
            };
            let mut chart = ChartBuilder::on(&area)
                .caption(self.caption, ("sans-serif", 15, &INK))
                .margin(8)
                .x_label_area_size(36)
                .y_label_area_size(64)
                .build_cartesian_2d(0.0..count as f64, 0.0..most * 1.45)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(WHITE)
                .bold_line_style(GRID)
                .axis_style(INK)
                .label_style(("sans-serif", 11, &INK))
                .x_labels(2 * count + 1)
                .x_label_formatter(&name)
                .y_desc(self.unit)
                .draw()?;
            let width = FILLED / self.series.len().max(1) as f64;
            for (number, (series, colour)) in self.series.iter().zip(COLOURS.iter().cycle()).enumerate() {
                let colour = *colour;
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
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .background_style(WHITE.mix(0.8))
                .label_font(("sans-serif", 11, &INK))
                .draw()?;
            area.present()?;
        }
        Ok(svg)
    }
}

impl Lines {
    /// As SVG.
    ///
    /// # Errors
    /// Never in practice: drawing goes to memory.
    pub(super) fn draw(&self) -> Drawn {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE)?;
            let places = || {
                self.lines
                    .iter()
                    .flat_map(|(_, points)| points.iter().map(|point| point.0))
            };
            let (first, last) = (places().min().unwrap_or(0), places().max().unwrap_or(0));
            let mut chart = ChartBuilder::on(&area)
                .caption(self.caption, ("sans-serif", 15, &INK))
                .margin(8)
                .x_label_area_size(36)
                .y_label_area_size(64)
                .build_cartesian_2d(first..last.max(first + 1), 0.0..1.4)?;
            chart
                .configure_mesh()
                .light_line_style(WHITE)
                .bold_line_style(GRID)
                .axis_style(INK)
                .label_style(("sans-serif", 11, &INK))
                .x_desc("epoch of the ledger")
                .y_desc("of the last value")
                .draw()?;
            for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
                let colour = *colour;
                let whole = points.last().map_or(1.0, |point| point.1.max(f64::MIN_POSITIVE));
                let shares = points.iter().map(|(epoch, value)| (*epoch, value / whole));
                chart
                    .draw_series(LineSeries::new(shares, colour.stroke_width(2)).point_size(2))?
                    .label(name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .label_font(("sans-serif", 11, &INK))
                .draw()?;
            area.present()?;
        }
        Ok(svg)
    }
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
    fn nothing_is_a_picture_too() {
        assert!(Bars::default().draw().unwrap().starts_with("<svg"));
        assert!(Lines::default().draw().unwrap().starts_with("<svg"));
    }
}
