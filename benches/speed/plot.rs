//! The roofline: values a second over bytes moved for each value, with the machine's limits as lines.

use gguf_codec::GgmlType;
use plotters::prelude::*;

/// What was measured in memory.
#[derive(Default)]
pub(crate) struct Points {
    /// Name, bytes for each value, billions of values a second, and whether the data was in cache.
    points: Vec<(String, f64, f64, bool)>,
    /// Bytes a second of the streaming fill, in billions.
    streaming: f64,
    /// The same of the fill in cache.
    fill: f64,
}

impl Points {
    pub(crate) fn add(
        &mut self,
        ty: GgmlType,
        name: &str,
        in_cache: bool,
        read: usize,
        written: usize,
        seconds: f64,
    ) {
        let values = written as f64 / if name.ends_with("f16") { 2.0 } else { 4.0 };
        let bytes = (read + written) as f64;
        match name {
            "fill" if in_cache => self.fill = self.fill.max(bytes / seconds / 1e9),
            "nt fill" if !in_cache => self.streaming = self.streaming.max(bytes / seconds / 1e9),
            "fill" | "nt fill" => {}
            name => {
                self.points.push((format!("{ty} {name}"), bytes / values, values / seconds / 1e9, in_cache))
            }
        }
    }

    pub(crate) fn draw(&self, path: &str) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::new(path, (960, 640)).into_drawing_area();
        root.fill(&WHITE)?;
        let most = self.points.iter().map(|point| point.2).fold(1.0, f64::max) * 1.2;
        let mut chart = ChartBuilder::on(&root)
            .caption("Dequantizing against the machine's limits, one thread", ("sans-serif", 22))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(2.0f64..6.0, 0.0..most)?;
        chart
            .configure_mesh()
            .x_desc("bytes read and written for each value")
            .y_desc("billions of values a second")
            .draw()?;
        for (limit, colour, name) in
            [(self.streaming, RED, "memory: non-temporal fill"), (self.fill, BLUE, "cache: fill")]
        {
            let line = (0..=80).map(|i| 2.0 + f64::from(i) * 0.05).map(|x| (x, (limit / x).min(most)));
            chart
                .draw_series(LineSeries::new(line, &colour))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
        for (name, x, y, in_cache) in &self.points {
            let colour = if *in_cache { BLUE } else { RED };
            chart.draw_series([Circle::new((*x, *y), 4, colour.filled())])?;
            let label = Text::new(name.clone(), (*x + 0.03, *y), ("sans-serif", 11).into_font());
            chart.draw_series([label])?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()?;
        root.present()?;
        Ok(())
    }
}
