//! Draws figures as an SVG: a line for each series, steps of equal width from one measured place to the next.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// What is drawn.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) across: String,
    pub(super) up: String,
    /// All measured at the same places.
    pub(super) series: Vec<Series>,
}

/// One line.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Told apart by those who see fewer colours, too (Okabe and Ito).
const COLOURS: [RGBColor; 3] = [RGBColor(130, 130, 130), RGBColor(0, 114, 178), RGBColor(213, 94, 0)];

impl Plot {
    /// Writes it to `path`.
    pub(super) fn draw(&self, path: &Path) -> Result<()> {
        self.svg(path).map_err(|error| anyhow!("{}: {error}", path.display()))
    }

    fn svg(&self, path: &Path) -> Result<(), Box<dyn std::error::Error + '_>> {
        let places: Vec<f64> =
            self.series.first().map(|one| one.points.iter().map(|(at, _)| *at).collect()).unwrap_or_default();
        let highest =
            self.series.iter().flat_map(|one| &one.points).map(|(_, value)| *value).fold(1.0, f64::max);
        let root = SVGBackend::new(path, (760, 400)).into_drawing_area();
        root.fill(&WHITE)?;
        let last = places.len().saturating_sub(1) as f64;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.2..last + 0.2, 0.0..highest * 1.3)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(&self.across)
            .y_desc(&self.up)
            .x_labels(places.len())
            .x_label_formatter(&|step| named(&places, *step))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .draw()?;
        for (one, colour) in self.series.iter().zip(COLOURS) {
            let points: Vec<(f64, f64)> =
                one.points.iter().enumerate().map(|(step, (_, value))| (step as f64, *value)).collect();
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                .label(&one.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        root.present()?;
        Ok(())
    }
}

/// The place that was measured at this step, if there is one.
fn named(places: &[f64], step: f64) -> String {
    let near = step.round();
    let place = if (step - near).abs() < 0.05 { places.get(near as usize) } else { None };
    place.map(|place| format!("{place}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_series_and_every_place_is_named() {
        let points = vec![(0.0, 10.0), (1000.0, 20.0), (100_000.0, 15.0)];
        let named = |name: &str| Series { name: name.to_owned(), points: points.clone() };
        let (title, across, up) = ("Rates".to_owned(), "entries".to_owned(), "in a second".to_owned());
        let plot = Plot { title, across, up, series: vec![named("uploads"), named("reads")] };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plot.svg");
        plot.draw(&path).unwrap();
        let drawn = std::fs::read_to_string(path).unwrap();
        for words in ["Rates", "entries", "in a second", "uploads", "reads", "1000", "100000"] {
            assert!(drawn.lines().any(|line| line.trim() == words), "{words} is not in the drawing");
        }
    }
}
