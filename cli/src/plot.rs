//! What plots share: the names of points, and where they are written; the box that explains their colours.

use std::error::Error;

use plotters::chart::ChartContext;
use plotters::coord::{CoordTranslate, Shift};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Writes names beside their points, in a colour, where they cover nothing.
pub(crate) fn name_points<'n>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    labels: &mut Labels,
    points: impl IntoIterator<Item = ((i32, i32), &'n str)>,
    colour: RGBColor,
) -> Result<(), Box<dyn Error>> {
    for (point, name) in points {
        let style = ("sans-serif", 12).into_font().color(&colour).pos(Pos::new(HPos::Left, VPos::Top));
        area.draw(&Text::new(name, labels.place(point, name), style))?;
    }
    Ok(())
}

/// Draws the box that says what the colours of series mean.
pub(crate) fn explain<'svg, T: CoordTranslate>(
    chart: &mut ChartContext<'svg, SVGBackend<'svg>, T>,
    place: SeriesLabelPosition,
) -> Result<(), Box<dyn Error>> {
    chart
        .configure_series_labels()
        .position(place)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    Ok(())
}

/// Places for labels that cover neither points nor each other, as far as there are any.
#[derive(Default)]
pub(crate) struct Labels(Vec<(i32, i32, i32, i32)>);

impl Labels {
    /// Keeps the surroundings of a point clear.
    pub(crate) fn keep_clear(&mut self, (x, y): (i32, i32)) {
        self.0.push((x - 4, y - 4, x + 4, y + 4));
    }

    /// Where to write `text` beside a point: right, left, above or below it, or further off.
    pub(crate) fn place(&mut self, (x, y): (i32, i32), text: &str) -> (i32, i32) {
        let (width, height) = (text.len() as i32 * 7, 12);
        let mut places = Vec::new();
        for away in [0, 10, 20, 30] {
            let (right, left, middle) = (8 + away, -8 - away - width, -width / 2);
            for (dx, dy) in [
                (right, 0),
                (left, 0),
                (middle, -12 - away),
                (middle, 12 + away),
                (8, -10 - away),
                (8, 10 + away),
                (-8 - width, -10 - away),
                (-8 - width, 10 + away),
            ] {
                places.push((x + dx, y + dy - height / 2, x + dx + width, y + dy + height / 2));
            }
        }
        let overlaps = |a: &(i32, i32, i32, i32), b: &(i32, i32, i32, i32)| {
            a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
        };
        let free = places.iter().find(|place| !self.0.iter().any(|taken| overlaps(place, taken)));
        let place = *free.unwrap_or(&places[0]);
        self.0.push(place);
        (place.0, place.1)
    }
}
