//! Where the names of points are written in a plot.

/// Places for labels that cover neither points nor each other, as far as there are any.
#[derive(Default)]
pub(crate) struct Labels(Vec<(i32, i32, i32, i32)>);

impl Labels {
    pub(crate) fn keep_clear(&mut self, area: (i32, i32, i32, i32)) {
        self.0.push(area);
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
